//! An error as a person reads it: one line what, one line why, one line what to do.

use std::error::Error as _;

use convoke::{Error, ErrorKind};

/// Those lines.
pub fn text(error: &Error) -> String {
    let named = |field: &str| {
        error.message().contains(field)
            || error.context().any(|(key, value)| key != "field" && value.contains(field))
    };
    let mut why: Vec<_> = error
        .context()
        .filter(|(key, value)| *key != "field" || !named(value))
        .map(|(key, value)| format!("{key} {value}"))
        .collect();
    let mut source = error.source();
    while let Some(cause) = source {
        why.push(cause.to_string().trim_end().replace('\n', "\n        "));
        source = cause.source();
    }
    if why.is_empty() {
        why.push(error.kind().words().to_owned());
    }
    let help = error.advice().unwrap_or(match error.kind() {
        ErrorKind::InvalidRequest => {
            "convoke help COMMAND shows how it is written, convoke settings what can be set"
        }
        ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => {
            "see that it runs and can be reached from here (convoke doctor), then try again"
        }
        ErrorKind::PermissionDenied => "see whose it is, and ask its owner",
        _ => "CONVOKE_LOG=debug tells more",
    });
    format!("convoke: {}\n  why:  {}\n  help: {help}\n", error.message(), why.join("; "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_why_and_what_to_do() {
        let error =
            Error::invalid("memory", "memory needs a unit").with("set by", "the flag --x").help("write 1GiB");
        assert_eq!(
            text(&error),
            "convoke: memory needs a unit\n  why:  set by the flag --x\n  help: write 1GiB\n"
        );
        let bare = Error::new(ErrorKind::NotFound, "there is none");
        assert!(text(&bare).contains("\n  why:  not found\n  help: "), "{}", text(&bare));
    }
}
