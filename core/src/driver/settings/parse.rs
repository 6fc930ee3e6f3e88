//! How the values of settings are written.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::str::FromStr;

use crate::driver::artifacts::FileToShip;
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::manager::{Constraint, Pace, Platform};
use crate::resource::Resources;
use crate::units::{format_duration, parse_duration};

pub(super) fn parsed<T: FromStr>(text: &str, what: &'static str) -> Result<T> {
    text.trim().parse().map_err(|_| {
        Error::invalid("value", "the value can't be read")
            .with("text", format!("{text:?}"))
            .with("wanted", what)
    })
}

pub(super) fn variables(text: &str) -> Result<Vec<(String, String)>> {
    let lines = text.lines().filter(|line| !line.is_empty());
    lines
        .map(|line| {
            let (name, value) =
                line.split_once('=').filter(|(name, _)| !name.is_empty()).ok_or_else(|| {
                    Error::invalid("executor.env", "not a name and value of an environment")
                        .with("text", format!("{line:?}"))
                        .help("write NAME=VALUE")
                })?;
            Ok((name.to_owned(), value.to_owned()))
        })
        .collect()
}

pub(super) fn files(text: &str, archive: bool) -> impl Iterator<Item = FileToShip> {
    text.lines().filter(|line| !line.is_empty()).map(move |line| FileToShip::parse(line, archive))
}

pub(super) fn builds(text: &str) -> Result<Vec<(Platform, PathBuf)>> {
    let all = list(text);
    let builds = all.iter().map(|build| {
        let (platform, path) = build.split_once('=').ok_or_else(|| {
            Error::invalid("executor.builds", "not a platform and its build")
                .with("text", format!("{build:?}"))
                .help("write PLATFORM=PATH, such as aarch64-linux-gnu=target/aarch64/app")
        })?;
        Ok((Platform(platform.trim().to_owned()), PathBuf::from(path.trim())))
    });
    builds.collect()
}

pub(super) fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

pub(super) fn whole(text: &str) -> Result<u32> {
    parsed(text, "a whole number")
}

pub(super) fn named(text: &str) -> Result<BTreeMap<Name, u64>> {
    let resources: Resources = text.parse()?;
    if resources.cpus.millis() != 0 || resources.memory.0 != 0 {
        return Err(Error::invalid("resources", "cpus and memory are settings of their own"));
    }
    Ok(resources.named)
}

/// A list with commas between.
fn listed(text: &str) -> impl Iterator<Item = &str> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty())
}

pub(super) fn names(text: &str) -> Result<Vec<Name>> {
    listed(text).map(Name::new).collect()
}

pub(super) fn weighted(text: &str) -> Result<Vec<(Name, u32)>> {
    let one = |part: &str| match part.split_once('=') {
        Some((host, weight)) => {
            Ok((Name::new(host.trim())?, parsed(weight, "a whole number as the weight")?))
        }
        None => Ok((Name::new(part)?, 1)),
    };
    listed(text).map(one).collect()
}

pub(super) fn constraints(text: &str) -> Result<Vec<Constraint>> {
    let one = |part: &str| {
        let (attribute, value) = part.split_once('=').ok_or_else(|| {
            Error::invalid("value", "not a constraint")
                .with("text", format!("{part:?}"))
                .help("write ATTRIBUTE=VALUE or ATTRIBUTE!=VALUE, such as rack=r1 or host!=node-7")
        })?;
        let value = value.trim().to_owned();
        Ok(match attribute.trim().strip_suffix('!') {
            Some(attribute) => Constraint::NotEquals { attribute: Name::new(attribute.trim())?, value },
            None => Constraint::Equals { attribute: Name::new(attribute.trim())?, value },
        })
    };
    listed(text).map(one).collect()
}

/// `3 in 60s: 1s to 5m`.
pub(in crate::driver) fn pace(text: &str) -> Result<Pace> {
    let bad = || {
        Error::invalid("value", "not a pace")
            .with("text", format!("{text:?}"))
            .help("write EXITS in TIME: FIRST to MOST, such as 3 in 60s: 1s to 5m")
    };
    let (when, pauses) = text.split_once(':').ok_or_else(bad)?;
    let (after, within) = when.split_once(" in ").ok_or_else(bad)?;
    let (first, most) = pauses.split_once(" to ").ok_or_else(bad)?;
    let pace = Pace {
        after: after.trim().parse().map_err(|_| bad())?,
        within: parse_duration(within.trim())?,
        first: parse_duration(first.trim())?,
        most: parse_duration(most.trim())?,
    };
    if pace.after == 0 || pace.first.is_zero() || pace.first > pace.most {
        return Err(bad()
            .with("first", format_duration(pace.first))
            .with("most", format_duration(pace.most)));
    }
    Ok(pace)
}

/// An amount of bytes: `256KiB`.
pub(super) fn bytes(text: &str) -> Result<usize> {
    let text = text.trim();
    let (number, unit) = text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()));
    let each = match unit.trim_start() {
        "B" => 1,
        "KiB" => 1 << 10,
        "MiB" => 1 << 20,
        "GiB" => 1 << 30,
        _ => 0,
    };
    number.parse().ok().filter(|_| each > 0).and_then(|number: usize| number.checked_mul(each)).ok_or_else(
        || {
            Error::invalid("value", "not an amount of bytes")
                .with("text", format!("{text:?}"))
                .help("write it like 64KiB, 1MiB or 2GiB")
        },
    )
}
