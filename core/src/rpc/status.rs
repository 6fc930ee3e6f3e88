//! gRPC status ↔ [`Error`]: one code per kind, the exact kind and the advice beside it in the metadata.

use tonic::metadata::{MetadataMap, MetadataValue};
use tonic::{Code, Status};

use crate::error::{Error, ErrorKind, Retry};

const KIND: &str = "convoke-kind";
const RETRY: &str = "convoke-retry";
const HELP: &str = "convoke-help-bin";

/// Every kind with its code. A code that several kinds share reads back as the first of them where the metadata is missing.
const KINDS: [(ErrorKind, Code); 16] = [
    (ErrorKind::InvalidRequest, Code::InvalidArgument),
    (ErrorKind::Rejected, Code::FailedPrecondition),
    (ErrorKind::Unsupported, Code::Unimplemented),
    (ErrorKind::NotFound, Code::NotFound),
    (ErrorKind::AlreadyExists, Code::AlreadyExists),
    (ErrorKind::Unauthenticated, Code::Unauthenticated),
    (ErrorKind::PermissionDenied, Code::PermissionDenied),
    (ErrorKind::ResourcesExhausted, Code::ResourceExhausted),
    (ErrorKind::DeadlineExceeded, Code::DeadlineExceeded),
    (ErrorKind::Cancelled, Code::Cancelled),
    (ErrorKind::Unavailable, Code::Unavailable),
    (ErrorKind::Protocol, Code::FailedPrecondition),
    (ErrorKind::Stale, Code::Aborted),
    (ErrorKind::TaskFailed, Code::Aborted),
    (ErrorKind::Host, Code::Internal),
    (ErrorKind::Internal, Code::Internal),
];

/// The status that tells this error to a peer: kind, message, context and advice, but never its sources.
#[must_use]
pub fn to_status(error: &Error) -> Status {
    let code = KINDS.iter().find(|(kind, _)| *kind == error.kind()).map_or(Code::Internal, |(_, code)| *code);
    let mut metadata = MetadataMap::new();
    let kind = error.kind().words().replace(' ', "-");
    if let Ok(kind) = MetadataValue::try_from(kind) {
        metadata.insert(KIND, kind);
    }
    metadata.insert(RETRY, MetadataValue::from_static(retry_word(error.retry_advice())));
    if let Some(help) = error.advice() {
        metadata.insert_bin(HELP, MetadataValue::from_bytes(help.as_bytes()));
    }
    let mut message = error.message().to_owned();
    let context: Vec<_> = error.context().map(|(key, value)| format!("{key}: {value}")).collect();
    if !context.is_empty() {
        message.push_str(&format!(" ({})", context.join(", ")));
    }
    Status::with_metadata(code, message, metadata)
}

/// The error that a peer's status tells; what the connection itself failed of is `Unavailable`.
#[must_use]
pub fn from_status(status: &Status) -> Error {
    let told = status.metadata().get(KIND).and_then(|kind| kind.to_str().ok()).and_then(|told| {
        KINDS.iter().map(|(kind, _)| *kind).find(|kind| kind.words().replace(' ', "-") == told)
    });
    let kind = told.unwrap_or_else(|| match status.code() {
        // What h2 and hyper say of a connection that broke. h2's `too_many_data_frames` comes as ResourceExhausted.
        Code::Unknown | Code::Unavailable | Code::Cancelled | Code::ResourceExhausted => {
            ErrorKind::Unavailable
        }
        code => KINDS.iter().find(|(_, of)| *of == code).map_or(ErrorKind::Unavailable, |(kind, _)| *kind),
    });
    let mut error = Error::new(kind, status.message().to_owned());
    if told.is_none() {
        error = error.with("grpc", format!("{:?}", status.code()));
        if kind == ErrorKind::Unavailable {
            error = error.retry(Retry::Reconnect);
        }
    }
    let retry = status.metadata().get(RETRY).and_then(|retry| retry.to_str().ok());
    if let Some(retry) = RETRIES.into_iter().find(|advice| Some(retry_word(*advice)) == retry) {
        error = error.retry(retry);
    }
    if let Some(help) = status
        .metadata()
        .get_bin(HELP)
        .and_then(|help| help.to_bytes().ok())
        .and_then(|help| String::from_utf8(help.to_vec()).ok())
    {
        error = error.help(help);
    }
    error
}

const RETRIES: [Retry; 3] = [Retry::Never, Retry::Backoff, Retry::Reconnect];

const fn retry_word(retry: Retry) -> &'static str {
    match retry {
        Retry::Never => "never",
        Retry::Backoff => "backoff",
        Retry::Reconnect => "reconnect",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_kind_comes_back_with_its_advice() {
        for (kind, _) in KINDS {
            let error = Error::new(kind, "no").with("n", 1).help("do — this");
            let back = from_status(&to_status(&error));
            assert_eq!(back.kind(), kind);
            assert_eq!(back.message(), "no (n: 1)");
            assert_eq!(back.advice(), Some("do — this"));
            assert_eq!(back.retry_advice(), error.retry_advice());
        }
        for retry in RETRIES {
            let error = Error::new(ErrorKind::Stale, "no").retry(retry);
            assert_eq!(from_status(&to_status(&error)).retry_advice(), retry);
        }
    }

    #[test]
    fn a_broken_connection_asks_for_a_new_one() {
        for code in [Code::Unknown, Code::Cancelled, Code::ResourceExhausted, Code::Unavailable] {
            let error = from_status(&Status::new(code, "h2 protocol error"));
            assert_eq!((error.kind(), error.retry_advice()), (ErrorKind::Unavailable, Retry::Reconnect));
        }
    }
}
