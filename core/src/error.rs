//! One error type: a kind to match on, advice on retrying, context to print, and the source kept.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

/// The result of most of convoke's calls.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What went wrong, to match on. Rules and tests assert kinds, never text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// The caller's request can't be right, whatever the cluster's state; the context names the `field`.
    InvalidRequest,
    /// The manager refused, in its own words (in the message).
    Rejected,
    /// This manager, host or build can't do that.
    Unsupported,
    /// What was named does not exist.
    NotFound,
    /// What was to be made exists already, or an address is in use.
    AlreadyExists,
    /// Credentials are missing or wrong.
    Unauthenticated,
    /// Known, but not allowed.
    PermissionDenied,
    /// A limit (memory, slots, message size, credits) was reached.
    ResourcesExhausted,
    /// It did not happen in time.
    DeadlineExceeded,
    /// Somebody cancelled it.
    Cancelled,
    /// The other side is out of reach for now.
    Unavailable,
    /// The other side speaks another protocol or version, or broke it.
    Protocol,
    /// An old incarnation, epoch or lease was used.
    Stale,
    /// A task of the application failed by its own doing: an error, a panic, the death of its executor.
    TaskFailed,
    /// A file or process operation of this host failed.
    Host,
    /// A bug of convoke.
    Internal,
}

impl ErrorKind {
    /// The kind in words, as it stands at the head of a printed error.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            ErrorKind::InvalidRequest => "invalid request",
            ErrorKind::Rejected => "rejected",
            ErrorKind::Unsupported => "unsupported",
            ErrorKind::NotFound => "not found",
            ErrorKind::AlreadyExists => "already exists",
            ErrorKind::Unauthenticated => "unauthenticated",
            ErrorKind::PermissionDenied => "permission denied",
            ErrorKind::ResourcesExhausted => "resources exhausted",
            ErrorKind::DeadlineExceeded => "deadline exceeded",
            ErrorKind::Cancelled => "cancelled",
            ErrorKind::Unavailable => "unavailable",
            ErrorKind::Protocol => "protocol error",
            ErrorKind::Stale => "stale",
            ErrorKind::TaskFailed => "task failed",
            ErrorKind::Host => "host error",
            ErrorKind::Internal => "internal error",
        }
    }
}

/// Whether trying again can help.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Retry {
    /// The same call fails again.
    Never,
    /// The same call may succeed later: wait, growing, with jitter.
    Backoff,
    /// A new connection (or registration) is needed first.
    Reconnect,
}

#[derive(Debug, Clone)]
struct Inner {
    kind: ErrorKind,
    retry: Retry,
    message: Cow<'static, str>,
    help: Option<Cow<'static, str>>,
    context: Vec<(&'static str, String)>,
    source: Option<Arc<dyn StdError + Send + Sync>>,
}

/// An error of convoke: eight bytes, cheap to pass, cheap to clone.
///
/// `Display` is one line (kind, message, context); the alternate form `{:#}` adds the sources and what to do
/// about it on lines of their own.
///
/// ```
/// use convoke_core::{Error, ErrorKind};
/// let error = Error::invalid("memory", "0 MiB is not enough for a process").help("ask for at least 16MiB");
/// assert_eq!(error.kind(), ErrorKind::InvalidRequest);
/// assert_eq!(error.field(), Some("memory"));
/// assert!(format!("{error:#}").contains("at least 16MiB"));
/// ```
#[derive(Clone)]
pub struct Error(Box<Inner>);

impl Error {
    /// An error of this kind, with the retry advice that is usual for it.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Error {
        let retry = match kind {
            ErrorKind::Unavailable | ErrorKind::ResourcesExhausted | ErrorKind::DeadlineExceeded => {
                Retry::Backoff
            }
            ErrorKind::Stale => Retry::Reconnect,
            _ => Retry::Never,
        };
        Error(Box::new(Inner {
            kind,
            retry,
            message: message.into(),
            help: None,
            context: Vec::new(),
            source: None,
        }))
    }

    /// The caller's `field` can't be right.
    pub fn invalid(field: &'static str, message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::InvalidRequest, message).with("field", field)
    }

    /// `what` is not something that this manager, host or build offers.
    pub fn unsupported(what: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Unsupported, what)
    }

    /// A bug of convoke: an invariant did not hold.
    pub fn internal(message: impl Into<Cow<'static, str>>) -> Error {
        Error::new(ErrorKind::Internal, message)
    }

    /// An operation of this host failed.
    pub fn host(doing: impl Into<Cow<'static, str>>, source: std::io::Error) -> Error {
        let kind = match source.kind() {
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::PermissionDenied => ErrorKind::PermissionDenied,
            std::io::ErrorKind::AddrInUse | std::io::ErrorKind::AlreadyExists => ErrorKind::AlreadyExists,
            std::io::ErrorKind::ConnectionRefused
            | std::io::ErrorKind::ConnectionReset
            | std::io::ErrorKind::NotConnected => ErrorKind::Unavailable,
            _ => ErrorKind::Host,
        };
        Error::new(kind, doing).source(source)
    }

    /// Adds a fact to print.
    #[must_use]
    pub fn with(mut self, key: &'static str, value: impl fmt::Display) -> Error {
        self.0.context.push((key, value.to_string()));
        self
    }

    /// Says what the reader can do about it.
    #[must_use]
    pub fn help(mut self, help: impl Into<Cow<'static, str>>) -> Error {
        self.0.help = Some(help.into());
        self
    }

    /// Overrides the retry advice.
    #[must_use]
    pub fn retry(mut self, retry: Retry) -> Error {
        self.0.retry = retry;
        self
    }

    /// Keeps the cause.
    #[must_use]
    pub fn source(mut self, source: impl StdError + Send + Sync + 'static) -> Error {
        self.0.source = Some(Arc::new(source));
        self
    }

    /// What to match on.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether trying again can help.
    #[must_use]
    pub fn retry_advice(&self) -> Retry {
        self.0.retry
    }

    /// The message alone, without kind and context.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// What the reader can do about it, if we know.
    #[must_use]
    pub fn advice(&self) -> Option<&str> {
        self.0.help.as_deref()
    }

    /// The request's field that can't be right, for [`ErrorKind::InvalidRequest`].
    #[must_use]
    pub fn field(&self) -> Option<&str> {
        self.0.context.iter().find(|(key, _)| *key == "field").map(|(_, value)| value.as_str())
    }

    /// The facts added by [`Error::with`].
    pub fn context(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.context.iter().map(|(key, value)| (*key, value.as_str()))
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.0.kind.words(), self.0.message)?;
        for (index, (key, value)) in self.0.context.iter().enumerate() {
            write!(f, "{}{key}: {value}", if index == 0 { " (" } else { ", " })?;
        }
        if !self.0.context.is_empty() {
            f.write_str(")")?;
        }
        if f.alternate() {
            let mut source = StdError::source(self);
            while let Some(error) = source {
                write!(f, "\n  because: {error}")?;
                source = error.source();
            }
            if let Some(help) = &self.0.help {
                write!(f, "\n  help: {help}")?;
            }
        } else if let Some(source) = &self.0.source {
            write!(f, ": {source}")?;
        }
        Ok(())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self:#}\n  retry: {:?}", self.0.retry)
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_for_display_and_all_of_it_for_alternate() {
        let io = std::io::Error::new(std::io::ErrorKind::AddrInUse, "address in use");
        let error =
            Error::host("can't listen", io).with("address", "127.0.0.1:7077").help("choose another port");
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert_eq!(
            error.to_string(),
            "already exists: can't listen (address: 127.0.0.1:7077): address in use"
        );
        assert!(format!("{error:#}").ends_with("help: choose another port"));
        assert_eq!(size_of::<Error>(), 8);
    }
}
