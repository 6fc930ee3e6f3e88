use std::time::Duration;

use crate::error::{Error, Result};

/// Reads a duration as people write it: `30s`, `500ms`, `1m30s`, `2h`, `1.5s`. A bare number is refused.
///
/// # Errors
/// `InvalidRequest` for anything else, and for more than a hundred years.
///
/// ```
/// use std::time::Duration;
/// use convoke_core::units::parse_duration;
/// assert_eq!(parse_duration("1m30s")?, Duration::from_secs(90));
/// # Ok::<(), convoke_core::Error>(())
/// ```
pub fn parse_duration(text: &str) -> Result<Duration> {
    let bad = |why: &'static str| {
        Error::invalid("duration", why)
            .with("text", format!("{text:?}"))
            .help("write durations like 30s, 500ms, 1m30s or 2h")
    };
    let mut rest = text.trim();
    if rest.is_empty() {
        return Err(bad("not a duration"));
    }
    let mut nanos: u128 = 0;
    while !rest.is_empty() {
        let end = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .ok_or_else(|| bad("a duration needs a unit"))?;
        let (number, tail) = rest.split_at(end);
        let unit_end = tail.find(|c: char| c.is_ascii_digit() || c == '.' || c == ' ').unwrap_or(tail.len());
        let (unit, next) = tail.split_at(unit_end);
        let each: u128 = match unit {
            "ns" => 1,
            "us" | "µs" => 1_000,
            "ms" => 1_000_000,
            "s" => 1_000_000_000,
            "m" | "min" => 60_000_000_000,
            "h" => 3_600_000_000_000,
            "d" => 86_400_000_000_000,
            _ => return Err(bad("not a unit of time (ms, s, m, h, d)")),
        };
        let (whole, part) = number.split_once('.').unwrap_or((number, ""));
        if (whole.is_empty() && part.is_empty()) || part.contains('.') || part.len() > 9 {
            return Err(bad("not a duration"));
        }
        let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().map_err(|_| bad("too long"))? };
        let fraction: u128 =
            if part.is_empty() { 0 } else { part.parse().map_err(|_| bad("not a duration"))? };
        let add = whole.checked_mul(each).map(|n| n + fraction * each / 10_u128.pow(part.len() as u32));
        nanos = add.and_then(|add| nanos.checked_add(add)).ok_or_else(|| bad("too long"))?;
        rest = next.trim_start();
    }
    if nanos > 100 * 365 * 86_400 * 1_000_000_000 {
        return Err(bad("too long: a hundred years at the most"));
    }
    Ok(Duration::new((nanos / 1_000_000_000) as u64, (nanos % 1_000_000_000) as u32))
}

/// Prints a duration so that [`parse_duration`] reads the same back.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    use std::fmt::Write as _;
    let (mut seconds, nanos) = (duration.as_secs(), duration.subsec_nanos());
    let mut text = String::new();
    for (unit, each) in [("d", 86_400), ("h", 3_600), ("m", 60)] {
        if seconds >= each {
            let _ = write!(text, "{}{unit}", seconds / each); // writing to a String can't fail
            seconds %= each;
        }
    }
    let (value, unit) = match nanos {
        0 => (seconds.to_string(), "s"),
        _ if seconds > 0 => (format!("{seconds}.{}", format!("{nanos:09}").trim_end_matches('0')), "s"),
        _ if nanos % 1_000_000 == 0 => ((nanos / 1_000_000).to_string(), "ms"),
        _ if nanos % 1_000 == 0 => ((nanos / 1_000).to_string(), "us"),
        _ => (nanos.to_string(), "ns"),
    };
    if text.is_empty() || value != "0" {
        text.push_str(&value);
        text.push_str(unit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_as_people_write_them() {
        for (text, millis) in [
            ("30s", 30_000),
            ("500ms", 500),
            ("1m30s", 90_000),
            ("2h", 7_200_000),
            ("1.5s", 1_500),
            ("1h 5m", 3_900_000),
            ("0s", 0),
        ] {
            assert_eq!(parse_duration(text).unwrap(), Duration::from_millis(millis), "{text}");
        }
        for bad in [
            "",
            "30",
            "s",
            "-1s",
            "1M",
            "1.2.3s",
            "99999999999999999999d",
            "300000000000000000000000000000000000000000h",
        ] {
            assert_eq!(parse_duration(bad).unwrap_err().field(), Some("duration"), "{bad:?}");
        }
        assert_eq!(format_duration(Duration::from_secs(90)), "1m30s");
        assert_eq!(format_duration(Duration::ZERO), "0s");
    }

    proptest! {
        #[test]
        fn prints_what_it_parses(seconds in 0_u64..3_000_000_000, nanos in 0_u32..1_000_000_000) {
            let duration = Duration::new(seconds, nanos);
            prop_assert_eq!(parse_duration(&format_duration(duration)).unwrap(), duration);
        }
    }
}
