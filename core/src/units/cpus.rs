use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// An amount of processors, in thousandths: `2`, `0.5`, `1.25`.
///
/// ```
/// use convoke_core::units::Cpus;
/// let half: Cpus = "0.5".parse()?;
/// assert_eq!(half.millis(), 500);
/// assert_eq!(Cpus::whole(2).to_string(), "2");
/// # Ok::<(), convoke_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Cpus(u64);

impl Cpus {
    /// `n` whole processors.
    #[must_use]
    pub const fn whole(n: u32) -> Cpus {
        Cpus(n as u64 * 1000)
    }

    /// `millis` thousandths of a processor.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Cpus {
        Cpus(millis)
    }

    /// Thousandths of a processor.
    #[must_use]
    pub const fn millis(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Cpus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, part) = (self.0 / 1000, self.0 % 1000);
        if part == 0 {
            return f.pad(&whole.to_string());
        }
        f.pad(format!("{whole}.{part:03}").trim_end_matches('0'))
    }
}

impl FromStr for Cpus {
    type Err = Error;
    fn from_str(text: &str) -> Result<Cpus> {
        let bad = |why: &'static str| {
            Error::invalid("cpus", why)
                .with("text", format!("{text:?}"))
                .help("write cpus like 2, 0.5 or 1.25")
        };
        let trimmed = text.trim();
        let (whole, part) = trimmed.split_once('.').unwrap_or((trimmed, ""));
        if whole.is_empty() && part.is_empty()
            || !(whole.bytes().chain(part.bytes())).all(|b| b.is_ascii_digit())
        {
            return Err(bad("not an amount of cpus"));
        }
        if part.len() > 3 && part[3..].bytes().any(|b| b != b'0') {
            return Err(bad("cpus are counted in thousandths, and this is finer"));
        }
        let whole: u64 =
            if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad("too many cpus"))? };
        let part: u64 = format!("{part:0<3}")[..3].parse().map_err(|_| bad("not an amount of cpus"))?;
        let millis = whole
            .checked_mul(1000)
            .and_then(|millis| millis.checked_add(part))
            .filter(|millis| *millis <= 1_000_000_000);
        millis.map(Cpus).ok_or_else(|| bad("too many cpus: a million at the most"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bad_amounts_are_refused() {
        for bad in ["", ".", "-1", "1e3", "two", "0.0001", "1,5", "99999999999999999999", "2000000"] {
            assert_eq!(bad.parse::<Cpus>().unwrap_err().field(), Some("cpus"), "{bad:?}");
        }
        assert_eq!(".5".parse::<Cpus>().unwrap(), Cpus(500));
        assert_eq!("0.2500".parse::<Cpus>().unwrap(), Cpus(250));
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(millis in 0_u64..1_000_000_000) {
            prop_assert_eq!(Cpus(millis).to_string().parse::<Cpus>().unwrap(), Cpus(millis));
        }
    }
}
