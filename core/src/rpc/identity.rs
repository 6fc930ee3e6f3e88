//! Who a certificate is, and who a call comes from.

use std::fmt;
use std::net::SocketAddr;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::AtomicU32;

use rustls_pki_types::CertificateDer;
use tonic::{Extensions, metadata::MetadataMap};

use super::accept::Seat;
use super::refusal::Refusal;
use super::ticket::TicketOffice;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ApplicationId, ExecutorId, Incarnation};

/// Metadata that carries a session where the driver runs insecure.
pub const SESSION_METADATA: &str = "convoke-session-bin";

/// Whom a certificate names, as a URI: `convoke://<application>/driver` or
/// `convoke://<application>/executor/<id>/incarnation/<n>`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// The application's driver.
    Driver(ApplicationId),
    /// One of its executors.
    Executor {
        /// The application.
        application: ApplicationId,
        /// Which executor.
        executor: ExecutorId,
        /// Which driver of the application admitted it.
        incarnation: Incarnation,
    },
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Subject::Driver(application) => write!(f, "convoke://{application}/driver"),
            Subject::Executor { application, executor, incarnation } => {
                write!(f, "convoke://{application}/executor/{executor}/incarnation/{incarnation}")
            }
        }
    }
}

impl FromStr for Subject {
    type Err = Error;
    fn from_str(text: &str) -> Result<Subject> {
        let bad = || Error::new(ErrorKind::Unauthenticated, "a certificate names no executor or driver");
        let parts: Vec<_> = text.strip_prefix("convoke://").ok_or_else(bad)?.split('/').collect();
        match parts[..] {
            [application, "driver"] => Ok(Subject::Driver(application.parse()?)),
            [application, "executor", executor, "incarnation", incarnation] => Ok(Subject::Executor {
                application: application.parse()?,
                executor: ExecutorId(executor.parse().map_err(|_| bad())?),
                incarnation: Incarnation(incarnation.parse().map_err(|_| bad())?),
            }),
            _ => Err(bad()),
        }
    }
}

/// The subject of a certificate whose chain was checked already: its one URI.
///
/// # Errors
/// `Unauthenticated` for a certificate that names nobody of ours, or several.
pub fn subject(certificate: &CertificateDer<'_>) -> Result<Subject> {
    let bad = |error: webpki::Error| {
        Error::new(ErrorKind::Unauthenticated, "not a certificate").source(std::io::Error::other(error))
    };
    let parsed = webpki::EndEntityCert::try_from(certificate).map_err(bad)?;
    let mut names = parsed.valid_uri_names();
    match (names.next(), names.next()) {
        (Some(name), None) => name.parse(),
        _ => Err(Error::new(ErrorKind::Unauthenticated, "a certificate names no executor or driver")),
    }
}

/// The peer of a connection, as the acceptor found it; tonic hands it to each call.
#[derive(Debug, Clone)]
pub struct Peer {
    /// Where it calls from.
    pub address: SocketAddr,
    /// Whom its certificate names.
    pub subject: Option<Subject>,
    /// Its seat in the lobby, which it leaves once it has shown that it is an executor that counts.
    pub(crate) seat: Seat,
    /// Calls that are being answered on this connection.
    pub(crate) calls: Arc<AtomicU32>,
}

/// The executor that a call comes from: by certificate, or by session where there are none.
///
/// That it still counts is the table's to say.
///
/// # Errors
/// The refusal to give.
pub fn caller(
    extensions: &Extensions,
    metadata: &MetadataMap,
    insecure: Option<&TicketOffice>,
    incarnation: Incarnation,
) -> Result<ExecutorId, Refusal> {
    let peer = extensions.get::<Peer>();
    if let Some(office) = insecure {
        let session = metadata.get_bin(SESSION_METADATA).and_then(|value| value.to_bytes().ok());
        let executor = session.and_then(|session| office.executor_of_session(&session));
        return executor.ok_or(Refusal::Anonymous);
    }
    match peer.and_then(|peer| peer.subject.as_ref()) {
        Some(Subject::Executor { executor, incarnation: of, .. }) if *of == incarnation => Ok(*executor),
        Some(Subject::Executor { .. }) => Err(Refusal::OtherIncarnation),
        Some(Subject::Driver(_)) | None => Err(Refusal::Anonymous),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;

    proptest::proptest! {
        /// A name that reads as a subject prints as itself; no other text, and no other bytes, panic.
        #[test]
        fn any_text_is_a_subject_or_none(
            text in "(convoke://)?[a-z0-9-]{0,40}(/driver|/executor/[0-9+-]{0,22}/incarnation/[0-9]{0,12})?\\PC{0,8}",
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..400),
        ) {
            if let Ok(subject) = text.parse::<Subject>() {
                proptest::prop_assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
            }
            let _ = subject(&CertificateDer::from(bytes));
        }
    }

    #[test]
    fn subjects_print_and_parse() {
        let application = ApplicationId::from_parts(&Name::new("word count").unwrap(), 3);
        for subject in [
            Subject::Driver(application.clone()),
            Subject::Executor { application, executor: ExecutorId(9), incarnation: Incarnation(2) },
        ] {
            assert_eq!(subject.to_string().parse::<Subject>().unwrap(), subject);
        }
        for bad in [
            "",
            "convoke://",
            "http://a-0000000000000000/driver",
            "convoke://a-0000000000000000/executor/x/incarnation/1",
        ] {
            assert!(bad.parse::<Subject>().is_err(), "{bad}");
        }
    }
}
