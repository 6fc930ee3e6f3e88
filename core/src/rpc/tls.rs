//! TLS settings of both sides: 1.3 only, no resumption (it would skip the fence), the provider named (a process may hold
//! several, and a library installs no default).

use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme,
};
use rustls_pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};

use super::authority::Authority;
use super::identity::{Subject, subject};
use crate::error::{Error, ErrorKind, Result};
use crate::ids::ApplicationId;
use crate::secret::Digest;

const ALPN: &[u8] = b"h2";

fn provider() -> Arc<CryptoProvider> {
    Arc::new(rustls::crypto::ring::default_provider())
}

fn failed(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::new(ErrorKind::Internal, "TLS could not be set up").source(error)
}

/// The driver's side: a certificate of the caller is optional in the handshake (a joiner has none), and checked where shown.
///
/// # Errors
/// `Internal`.
pub fn driver_config(authority: &Authority) -> Result<Arc<ServerConfig>> {
    let provider = provider();
    let mut roots = RootCertStore::empty();
    roots.add(authority.certificate().clone()).map_err(failed)?;
    let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider.clone())
        .allow_unauthenticated()
        .build()
        .map_err(failed)?;
    let (leaf, key) = authority.driver()?;
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .with_client_cert_verifier(verifier)
        // The authority's certificate rides along: a joiner compares it with the pin.
        .with_single_cert(vec![leaf, authority.certificate().clone()], key)
        .map_err(failed)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// The executor's side.
///
/// # Errors
/// `InvalidRequest` for a key or certificate that can't be used.
pub fn executor_config(
    application: ApplicationId,
    pin: Digest,
    identity: Option<(CertificateDer<'static>, PrivateKeyDer<'static>)>,
) -> Result<Arc<ClientConfig>> {
    let provider = provider();
    let verifier = Arc::new(DriverVerifier { application, pin, provider: provider.clone() });
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13])
        .map_err(failed)?
        .dangerous()
        .with_custom_certificate_verifier(verifier);
    let mut config = match identity {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            builder.with_client_auth_cert(vec![certificate], key).map_err(|error| {
                Error::invalid("identity", "the certificate and its key can't be used").source(error)
            })?
        }
    };
    config.resumption = rustls::client::Resumption::disabled();
    config.alpn_protocols = vec![ALPN.to_vec()];
    Ok(Arc::new(config))
}

/// Checks a driver's certificate: the authority beside it has the pin, the leaf is signed by it for a server, and names the
/// driver of this application. Host names prove nothing here, so none is asked for.
#[derive(Debug)]
struct DriverVerifier {
    application: ApplicationId,
    pin: Digest,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for DriverVerifier {
    fn verify_server_cert(
        &self,
        leaf: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        let authority = others
            .iter()
            .find(|certificate| Digest::of(certificate) == self.pin)
            .ok_or(CertificateError::UnknownIssuer)?;
        let bad = |_| CertificateError::BadEncoding;
        let anchor = webpki::anchor_from_trusted_cert(authority).map_err(bad)?;
        webpki::EndEntityCert::try_from(leaf)
            .map_err(bad)?
            .verify_for_usage(
                self.provider.signature_verification_algorithms.all,
                &[anchor],
                &[],
                now,
                webpki::KeyUsage::server_auth(),
                None,
                None,
            )
            .map_err(|_| CertificateError::BadSignature)?;
        match subject(leaf) {
            Ok(Subject::Driver(application)) if application == self.application => {
                Ok(ServerCertVerified::assertion())
            }
            _ => Err(CertificateError::NotValidForName.into()),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(
            message,
            certificate,
            signature,
            &self.provider.signature_verification_algorithms,
        )
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
