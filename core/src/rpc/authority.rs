//! The application's ephemeral certificate authority. It lives and dies with its driver; its key never leaves the process.

use std::fmt;

use rcgen::{
    BasicConstraints, CertificateParams, CertificateSigningRequestParams, DistinguishedName, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, PKCS_ECDSA_P256_SHA256, PublicKeyData,
    SanType,
};
use rustls_pki_types::{CertificateDer, CertificateSigningRequestDer, PrivateKeyDer, PrivatePkcs8KeyDer};

use super::identity::Subject;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ApplicationId, ExecutorId, Incarnation};
use crate::secret::{Digest, Secret};

/// Signs one certificate for the driver and one for each executor.
pub struct Authority {
    application: ApplicationId,
    issuer: Issuer<'static, KeyPair>,
    certificate: CertificateDer<'static>,
}

impl Authority {
    /// A new authority with a key of its own.
    ///
    /// # Errors
    /// `Internal` where no key can be made.
    pub fn generate(application: ApplicationId) -> Result<Authority> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let mut params = CertificateParams::default();
        params.distinguished_name = name(&format!("convoke {application}"));
        params.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::DigitalSignature];
        let certificate = params.self_signed(&key).map_err(failed)?.der().clone();
        Ok(Authority { application, issuer: Issuer::new(params, key), certificate })
    }

    /// Its own certificate, DER.
    #[must_use]
    pub fn certificate(&self) -> &CertificateDer<'static> {
        &self.certificate
    }

    /// What an executor knows it by: the SHA-256 of its certificate. Public.
    #[must_use]
    pub fn pin(&self) -> Digest {
        Digest::of(&self.certificate)
    }

    /// A key and a certificate for the driver itself.
    ///
    /// # Errors
    /// `Internal` where no key can be made.
    pub fn driver(&self) -> Result<(CertificateDer<'static>, PrivateKeyDer<'static>)> {
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
        let subject = Subject::Driver(self.application.clone());
        let leaf = self.sign(&key, &subject, ExtendedKeyUsagePurpose::ServerAuth)?;
        Ok((leaf, PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()))))
    }

    /// The certificate of an executor. Of its request only the public key is used; the names are ours.
    ///
    /// # Errors
    /// `InvalidRequest` for a request that can't be read, isn't signed by its own key, or has no P-256 key.
    pub fn executor(
        &self,
        request: &[u8],
        executor: ExecutorId,
        incarnation: Incarnation,
    ) -> Result<CertificateDer<'static>> {
        let request = CertificateSigningRequestParams::from_der(&CertificateSigningRequestDer::from(request))
            .map_err(|error| {
                Error::invalid("certificate_request", "the certificate request can't be read").source(error)
            })?;
        if PublicKeyData::algorithm(&request.public_key) != &PKCS_ECDSA_P256_SHA256 {
            return Err(Error::invalid("certificate_request", "the key must be one of P-256"));
        }
        let subject = Subject::Executor { application: self.application.clone(), executor, incarnation };
        self.sign(&request.public_key, &subject, ExtendedKeyUsagePurpose::ClientAuth)
    }

    fn sign(
        &self,
        key: &impl PublicKeyData,
        subject: &Subject,
        usage: ExtendedKeyUsagePurpose,
    ) -> Result<CertificateDer<'static>> {
        let mut params = CertificateParams::default();
        let uri = subject.to_string();
        params.distinguished_name = name("convoke");
        params.subject_alt_names = vec![SanType::URI(uri.try_into().map_err(failed)?)];
        params.extended_key_usages = vec![usage];
        params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
        Ok(params.signed_by(key, &self.issuer).map_err(failed)?.der().clone())
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("application", &self.application).finish_non_exhaustive()
    }
}

/// A key of an executor's own, and the request for its certificate. The key never travels to the driver.
///
/// # Errors
/// `Internal` where no key can be made.
pub fn request() -> Result<(Secret, Vec<u8>)> {
    let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).map_err(failed)?;
    let request = CertificateParams::default().serialize_request(&key).map_err(failed)?;
    Ok((Secret::new(key.serialize_der()), request.der().to_vec()))
}

fn name(common: &str) -> DistinguishedName {
    let mut name = DistinguishedName::new();
    name.push(DnType::CommonName, common);
    name
}

fn failed(error: rcgen::Error) -> Error {
    Error::new(ErrorKind::Internal, "a certificate could not be made").source(error)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;
    use crate::rpc::identity::subject;

    #[test]
    fn names_come_from_the_driver_never_from_the_request() {
        let application = ApplicationId::from_parts(&Name::new("a").unwrap(), 1);
        let authority = Authority::generate(application.clone()).unwrap();
        let key = KeyPair::generate_for(&PKCS_ECDSA_P256_SHA256).unwrap();
        let mut lies = CertificateParams::default();
        lies.subject_alt_names =
            vec![SanType::URI(format!("convoke://{application}/driver").try_into().unwrap())];
        lies.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let request = lies.serialize_request(&key).unwrap();
        let leaf = authority.executor(request.der(), ExecutorId(4), Incarnation(1)).unwrap();
        assert_eq!(
            subject(&leaf).unwrap(),
            Subject::Executor { application, executor: ExecutorId(4), incarnation: Incarnation(1) }
        );
    }

    proptest::proptest! {
        #![proptest_config(proptest::prelude::ProptestConfig { cases: 300, ..Default::default() })]

        /// Whatever comes as a request: a certificate for its own key and our name, or a refusal; never a panic.
        #[test]
        fn any_request_is_signed_for_us_or_refused(
            noise in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..600),
            changes in proptest::collection::vec((proptest::prelude::any::<proptest::sample::Index>(), 1_u8..), 0..4),
            cut in proptest::prelude::any::<proptest::sample::Index>(),
        ) {
            use std::sync::LazyLock;
            static OURS: LazyLock<(ApplicationId, Authority, Vec<u8>)> = LazyLock::new(|| {
                let application = ApplicationId::from_parts(&Name::new("a").unwrap(), 1);
                (application.clone(), Authority::generate(application).unwrap(), request().unwrap().1)
            });
            let (application, authority, genuine) = &*OURS;
            let mut changed = genuine.clone();
            for (at, by) in &changes {
                let at = at.index(changed.len());
                changed[at] ^= by;
            }
            let short = &changed[..cut.index(changed.len())];
            for text in [&noise[..], &changed, short] {
                match authority.executor(text, ExecutorId(4), Incarnation(1)) {
                    Ok(leaf) => proptest::prop_assert_eq!(
                        subject(&leaf).unwrap(),
                        Subject::Executor {
                            application: application.clone(),
                            executor: ExecutorId(4),
                            incarnation: Incarnation(1),
                        }
                    ),
                    Err(error) => proptest::prop_assert_eq!(error.kind(), ErrorKind::InvalidRequest),
                }
            }
        }
    }

    #[test]
    fn a_broken_request_is_refused() {
        let application = ApplicationId::from_parts(&Name::new("a").unwrap(), 1);
        let authority = Authority::generate(application).unwrap();
        let (_, mut request) = request().unwrap();
        authority.executor(&request, ExecutorId(1), Incarnation(1)).unwrap();
        let last = request.len() - 1;
        request[last] ^= 1; // its signature
        for bad in [&request[..], &request[..20], b"", b"garbage"] {
            let error = authority.executor(bad, ExecutorId(1), Incarnation(1)).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
        }
    }
}
