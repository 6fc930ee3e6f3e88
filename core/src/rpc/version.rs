//! The number of the driver/executor protocol (D2).

use crate::error::{Error, ErrorKind, Result};

/// Grows with each change that the other side could misunderstand. Driver and executor must have the same.
pub const PROTOCOL: u32 = 1;

/// convoke's own version, for messages.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Refuses a peer that speaks another protocol, naming both (D2).
///
/// # Errors
/// `Protocol`.
pub fn check(peer: u32, peer_version: &str) -> Result<()> {
    if peer == PROTOCOL {
        return Ok(());
    }
    // A peer's text may be anything: print it quoted and short.
    let peer_version: String = peer_version.chars().take(32).collect();
    Err(Error::new(ErrorKind::Protocol, "driver and executor speak different protocols")
        .with("driver", format!("protocol {PROTOCOL}, convoke {VERSION}"))
        .with("executor", format!("protocol {peer}, convoke {peer_version:?}"))
        .help("build the program and its bootstrap with the same version of convoke"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mismatch_names_both() {
        check(PROTOCOL, VERSION).unwrap();
        let error = check(7, "9.9.9\u{1b}[31m").unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Protocol);
        let text = error.to_string();
        assert!(text.contains("protocol 1") && text.contains("protocol 7"), "{text}");
        assert!(text.contains(VERSION) && text.contains("9.9.9"), "{text}");
        assert!(!text.contains('\u{1b}'), "{text}");
    }
}
