//! Settings of the backend.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use convoke_core::ids::Name;
use convoke_core::manager::{ManagerSetting, ManagerSettings};
use convoke_core::resource::Resources;
use convoke_core::units::{MiB, parse_duration};
use convoke_core::{Error, Result};

/// Where executors' folders are made; the system's folder for temporary files by default.
pub const DIRECTORY: &str = "local.directory";
/// Memory of the one node of `local[n]`; all of this host's by default.
pub const MEMORY: &str = "local.memory";
/// Named resources of each node (`gpu=2`), granted whole, by index; none by default.
pub const DEVICES: &str = "local.devices";

/// How long the logs of an application that has ended are kept; `0s`: not at all.
pub const LOGS_KEPT: &str = "local.logs-kept";

/// What may be set, for people.
pub const SETTINGS: &[ManagerSetting] = &[
    ManagerSetting {
        key: DIRECTORY,
        default: "convoke-UID in the folder for temporary files",
        unit: "path",
        meaning: "Where executors' folders are made, and logs kept.",
    },
    ManagerSetting {
        key: MEMORY,
        default: "all of this host's",
        unit: "memory",
        meaning: "Memory of the one node of local[n].",
    },
    ManagerSetting {
        key: DEVICES,
        default: "none",
        unit: "NAME=COUNT,…",
        meaning: "Named resources of each node, such as gpu=2; granted whole, by index.",
    },
    ManagerSetting {
        key: LOGS_KEPT,
        default: "1d",
        unit: "duration",
        meaning: "How long the logs of an application that has ended are kept (of a hundred applications and 1 GiB at the most); 0s: not at all.",
    },
];

const DAY: Duration = Duration::from_secs(86_400);
/// Every index of every node is kept in a table.
const MOST_DEVICES: u64 = 1024;

/// The settings of one local manager.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalSettings {
    /// As [`DIRECTORY`].
    pub directory: Option<PathBuf>,
    /// As [`MEMORY`].
    pub memory: Option<MiB>,
    /// As [`DEVICES`].
    pub devices: BTreeMap<Name, u64>,
    /// As [`LOGS_KEPT`].
    pub logs_kept: Duration,
}

impl Default for LocalSettings {
    fn default() -> LocalSettings {
        LocalSettings { directory: None, memory: None, devices: BTreeMap::new(), logs_kept: DAY }
    }
}

impl LocalSettings {
    /// Reads the keys that begin with `local.`; the others are other backends' affair.
    ///
    /// # Errors
    /// `InvalidRequest` for an unknown `local.` key and for a value that can't be read.
    pub fn read(settings: &ManagerSettings) -> Result<LocalSettings> {
        let mut read = LocalSettings::default();
        for (key, value) in settings.options.iter().filter(|(key, _)| key.starts_with("local.")) {
            let bad = |why: &'static str| {
                Error::invalid("settings", why).with("key", key).with("value", format!("{value:?}"))
            };
            match key.as_str() {
                DIRECTORY if value.is_empty() => return Err(bad("a folder's path is not empty")),
                DIRECTORY => read.directory = Some(PathBuf::from(value)),
                MEMORY => {
                    let memory = value.parse().map_err(|error: Error| error.with("key", key))?;
                    read.memory = Some(memory);
                }
                DEVICES => read.devices = devices(value).map_err(|error| error.with("key", key))?,
                LOGS_KEPT => {
                    read.logs_kept = parse_duration(value).map_err(|error| error.with("key", key))?;
                }
                _ => {
                    let known: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
                    return Err(bad("the local backend has no such setting")
                        .help(format!("it has {}", known.join(", "))));
                }
            }
        }
        Ok(read)
    }
}

fn devices(text: &str) -> Result<BTreeMap<Name, u64>> {
    let help = "write devices like gpu=2";
    let resources: Resources = text.parse().map_err(|error: Error| error.help(help))?;
    if resources.cpus.millis() > 0 || resources.memory.0 > 0 {
        return Err(
            Error::invalid("settings", "cpus and memory of a node stand in the master URL").help(help)
        );
    }
    match resources.named.iter().find(|(_, count)| **count > MOST_DEVICES) {
        Some((name, count)) => {
            Err(Error::invalid("settings", "a node has 1024 devices of a name at the most")
                .with("device", name)
                .with("count", count))
        }
        None => Ok(resources.named),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(key: &str, value: &str) -> Result<LocalSettings> {
        let mut settings = ManagerSettings::default();
        settings.options.insert(key.to_owned(), value.to_owned());
        LocalSettings::read(&settings)
    }

    #[test]
    fn settings_are_read_and_typing_errors_told() {
        assert_eq!(read(DEVICES, "gpu=2,fpga=1").unwrap().devices.len(), 2);
        assert_eq!(read(MEMORY, "2GiB").unwrap().memory, Some(MiB(2048)));
        assert_eq!(read("driver.port", "nonsense").unwrap(), LocalSettings::default());
        for (key, value) in [
            ("local.directroy", "/tmp"),
            (DIRECTORY, ""),
            (MEMORY, "2"),
            (DEVICES, "gpu=many"),
            (DEVICES, "cpus=2"),
            (DEVICES, "gpu=99999999999"),
            (LOGS_KEPT, "7"),
        ] {
            let error = read(key, value).unwrap_err();
            assert_eq!(error.kind(), convoke_core::ErrorKind::InvalidRequest, "{key}={value}");
            assert!(error.to_string().contains(key), "{error}");
        }
    }
}
