use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An amount of memory in mebibytes (1,048,576 bytes): `512MiB`, `4GiB`, `1.5GiB`.
///
/// Decimal units (`500MB`) are what they say and must come to whole mebibytes once rounded up; a bare number is
/// refused, since readers disagree on what it would mean. `M`, `m`, `G`, `g` are read as Spark reads them: binary.
///
/// ```
/// use convoke_core::units::MiB;
/// assert_eq!("1.5GiB".parse::<MiB>()?, MiB(1536));
/// assert_eq!(MiB(2048).to_string(), "2GiB");
/// # Ok::<(), convoke_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct MiB(pub u64);

impl MiB {
    /// The same in bytes, saturating.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0.saturating_mul(1 << 20)
    }
}

impl fmt::Display for MiB {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mib = self.0;
        f.pad(&if mib != 0 && mib.is_multiple_of(1 << 20) {
            format!("{}TiB", mib >> 20)
        } else if mib != 0 && mib.is_multiple_of(1 << 10) {
            format!("{}GiB", mib >> 10)
        } else {
            format!("{mib}MiB")
        })
    }
}

impl FromStr for MiB {
    type Err = Error;
    fn from_str(text: &str) -> Result<MiB> {
        let bad = |why: &'static str| {
            Error::invalid("memory", why)
                .with("text", format!("{text:?}"))
                .help("write memory like 512MiB, 4GiB or 1.5GiB")
        };
        let trimmed = text.trim();
        let end = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(trimmed.len());
        let (number, unit) = (&trimmed[..end], trimmed[end..].trim_start());
        let bytes_each: u128 = match unit {
            "" => return Err(bad("memory needs a unit")),
            "KiB" | "K" | "k" => 1 << 10,
            "MiB" | "M" | "m" => 1 << 20,
            "GiB" | "G" | "g" => 1 << 30,
            "TiB" | "T" | "t" => 1 << 40,
            "B" | "b" => 1,
            "kB" | "KB" => 1_000,
            "MB" => 1_000_000,
            "GB" => 1_000_000_000,
            "TB" => 1_000_000_000_000,
            _ => return Err(bad("not a unit of memory")),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || part.len() > 9 {
            return Err(bad("not an amount of memory"));
        }
        let whole: u128 =
            if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad("too much memory"))? };
        let scale = 10_u128.pow(part.len() as u32);
        let part: u128 =
            if part.is_empty() { 0 } else { part.parse().map_err(|_| bad("not an amount of memory"))? };
        let bytes = whole
            .checked_mul(scale)
            .and_then(|n| n.checked_add(part))
            .and_then(|n| n.checked_mul(bytes_each))
            .map(|n| n.div_ceil(scale))
            .ok_or_else(|| bad("too much memory"))?;
        let mib = bytes.div_ceil(1 << 20);
        // a pebibyte for one executor is a typing error
        if mib > 1 << 30 { Err(bad("too much memory: 1024TiB at the most")) } else { Ok(MiB(mib as u64)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn units_are_what_they_say() {
        for (text, mib) in [
            ("512MiB", 512),
            ("512M", 512),
            ("512m", 512),
            ("1.5GiB", 1536),
            ("1 GiB", 1024),
            ("500MB", 477),
            ("1B", 1),
            ("0MiB", 0),
            ("2T", 2 << 20),
        ] {
            assert_eq!(text.parse::<MiB>().unwrap(), MiB(mib), "{text}");
        }
        for bad in [
            "",
            "512",
            "MiB",
            "-1MiB",
            "1..5GiB",
            "1e9B",
            "99999999999999GiB",
            "5 parsecs",
            "1.0000000001GiB",
        ] {
            assert_eq!(bad.parse::<MiB>().unwrap_err().field(), Some("memory"), "{bad:?}");
        }
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(mib in 0_u64..(1 << 30)) {
            prop_assert_eq!(MiB(mib).to_string().parse::<MiB>().unwrap(), MiB(mib));
        }
    }
}
