use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::path::PathBuf;
use std::time::Duration;

use crate::error::{Error, Result};
use crate::executor::environment as names;
use crate::ids::{ApplicationId, ExecutorId, Incarnation, ProfileId};
use crate::manager::LogLimits;
use crate::process::cgroup::Cgroup;
use crate::rpc::client::Trust;
use crate::secret::{Secret, from_hex};
use crate::units::{HostPort, MiB};

/// What a supervisor finds in its environment.
#[derive(Debug)]
pub(in crate::executor) struct ExecutorStart {
    pub(in crate::executor) driver: Vec<HostPort>,
    pub(in crate::executor) trust: Trust,
    pub(in crate::executor) application: ApplicationId,
    pub(in crate::executor) executor: ExecutorId,
    pub(in crate::executor) profile: ProfileId,
    pub(in crate::executor) incarnation: Incarnation,
    pub(in crate::executor) lease: Duration,
    pub(in crate::executor) ticket: TicketSource,
    pub(in crate::executor) logs: Option<PathBuf>,
    pub(in crate::executor) log_limits: LogLimits,
    pub(in crate::executor) cgroup: Option<Cgroup>,
    pub(in crate::executor) devices: BTreeMap<String, Vec<String>>,
    pub(in crate::executor) guard: Option<u32>,
}

/// Where the ticket is.
#[derive(Debug)]
pub(in crate::executor) enum TicketSource {
    /// A line of standard input, whose end means that the driver is gone.
    Input,
    File(PathBuf),
    Inline(Secret),
}

impl ExecutorStart {
    /// Reads the variables of [`environment`](names) with `variable`.
    ///
    /// # Errors
    /// `InvalidRequest` that names the variable which is missing or can't be read.
    pub(in crate::executor) fn from_environment(
        variable: &dyn Fn(&str) -> Option<String>,
    ) -> Result<ExecutorStart> {
        let needed = |name: &'static str| {
            variable(name).ok_or_else(|| {
                Error::invalid("environment", "an executor's variable is missing")
                    .with("variable", name)
                    .help("executors are started by a cluster manager, with these variables set")
            })
        };
        let bad = |name: &'static str| {
            move || {
                Error::invalid("environment", "an executor's variable can't be read").with("variable", name)
            }
        };
        let number = |name| needed(name)?.parse::<u64>().map_err(|_| bad(name)());
        let small = |name| u32::try_from(number(name)?).map_err(|_| bad(name)());
        let driver = needed(names::DRIVER)?
            .split(',')
            .map(|address| address.trim().parse::<HostPort>())
            .collect::<Result<Vec<_>>>()
            .map_err(|error| bad(names::DRIVER)().source(error))?;
        Ok(ExecutorStart {
            driver,
            trust: needed(names::TRUST)?.parse().map_err(|error| bad(names::TRUST)().source(error))?,
            application: needed(names::APPLICATION)?.parse()?,
            executor: ExecutorId(number(names::EXECUTOR)?),
            profile: ProfileId(small(names::PROFILE)?),
            incarnation: Incarnation(small(names::INCARNATION)?),
            lease: Duration::from_millis(number(names::LEASE_MS)?),
            ticket: ticket_source(&needed(names::TICKET)?).ok_or_else(bad(names::TICKET))?,
            logs: variable(names::LOGS).map(PathBuf::from),
            log_limits: match variable(names::LOG_LIMITS) {
                Some(limits) => log_limits(&limits).ok_or_else(bad(names::LOG_LIMITS))?,
                None => LogLimits::default(),
            },
            cgroup: variable(names::CGROUPS).map(|folders| Cgroup::from_folders(OsStr::new(&folders))),
            devices: match variable(names::DEVICES) {
                Some(devices) => {
                    serde_json::from_str(&devices).map_err(|error| bad(names::DEVICES)().source(error))?
                }
                None => BTreeMap::new(),
            },
            guard: match variable(names::GUARD) {
                Some(guard) => Some(guard.parse().map_err(|_| bad(names::GUARD)())?),
                None => None,
            },
        })
    }
}

fn ticket_source(text: &str) -> Option<TicketSource> {
    if text == "stdin" {
        Some(TicketSource::Input)
    } else if let Some(path) = text.strip_prefix("file:") {
        Some(TicketSource::File(path.into()))
    } else {
        Some(TicketSource::Inline(Secret::new(from_hex(text.strip_prefix("hex:")?)?)))
    }
}

fn log_limits(text: &str) -> Option<LogLimits> {
    let (mebibytes, rolled) = text.split_once('x')?;
    let file = MiB(mebibytes.parse().ok().filter(|mebibytes| *mebibytes > 0)?);
    Some(LogLimits { file, rolled: rolled.parse().ok()? })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn whole() -> BTreeMap<&'static str, &'static str> {
        BTreeMap::from([
            (names::DRIVER, "192.0.2.1:7077,[2001:db8::1]:7077"),
            (names::TRUST, "insecure"),
            (names::APPLICATION, "a-0000000000000001"),
            (names::EXECUTOR, "7"),
            (names::PROFILE, "0"),
            (names::INCARNATION, "1"),
            (names::LEASE_MS, "30000"),
            (names::TICKET, "hex:00ff"),
            (names::LOG_LIMITS, "4x2"),
            (names::DEVICES, r#"{"gpu":["0","1"]}"#),
        ])
    }

    fn read(variables: &BTreeMap<&str, &str>) -> Result<ExecutorStart> {
        ExecutorStart::from_environment(&|name| variables.get(name).map(|value| (*value).to_owned()))
    }

    #[test]
    fn reads_what_the_manager_set() {
        let start = read(&whole()).unwrap();
        assert_eq!(start.driver.len(), 2);
        assert_eq!(start.lease, Duration::from_secs(30));
        assert_eq!(start.log_limits, LogLimits { file: MiB(4), rolled: 2 });
        assert_eq!(start.devices["gpu"], ["0", "1"]);
        assert!(matches!(start.ticket, TicketSource::Inline(ticket) if ticket.expose() == [0, 255]));
    }

    proptest::proptest! {
        /// What a manager hands to an executor is read or refused, never a panic; a ticket comes out as it went in.
        #[test]
        fn any_environment_is_read_or_refused(
            which in 0_usize..10,
            value in "\\PC{0,40}",
            ticket in proptest::collection::vec(proptest::prelude::any::<u8>(), 1..64),
        ) {
            let mut variables = whole();
            let name = variables.keys().nth(which).copied().unwrap();
            variables.insert(name, &value);
            let _ = read(&variables);
            let _ = ticket_source(&value);
            let mut variables = whole();
            let text = format!("hex:{}", crate::secret::to_hex(&ticket));
            variables.insert(names::TICKET, &text);
            let start = read(&variables).unwrap();
            proptest::prop_assert!(matches!(start.ticket, TicketSource::Inline(read) if read.expose() == ticket));
        }
    }

    #[test]
    fn a_bad_variable_is_named() {
        for (name, value) in [
            (names::DRIVER, "nonsense"),
            (names::EXECUTOR, "-1"),
            (names::PROFILE, "4294967296"),
            (names::TRUST, "abc"),
            (names::TICKET, "hex:0"),
            (names::TICKET, "secret"),
            (names::LOG_LIMITS, "0x3"),
            (names::DEVICES, "gpu"),
            (names::GUARD, "me"),
        ] {
            let mut variables = whole();
            variables.insert(name, value);
            let error = read(&variables).unwrap_err();
            assert!(error.context().any(|fact| fact == ("variable", name)), "{name}={value}: {error}");
        }
        let mut variables = whole();
        variables.remove(names::LEASE_MS);
        let error = read(&variables).unwrap_err();
        assert!(error.context().any(|fact| fact == ("variable", names::LEASE_MS)), "{error}");
    }
}
