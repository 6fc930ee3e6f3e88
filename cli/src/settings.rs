//! Settings by flag, environment and file, in that order of strength, checked before anything starts.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use convoke::driver::settings::{DriverSettings, SETTINGS};
use convoke::driver::{Driver, DriverBuilder};
use convoke::manager::{ClusterManager, ManagerSettings, Registry};
use convoke::{Error, Result};

use crate::arguments::{Configuration, Executors, Where};

/// Where a value was set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    File(PathBuf),
    Environment(String),
    Flag(String),
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Source::File(path) => write!(f, "the file {}", path.display()),
            Source::Environment(variable) => write!(f, "the environment variable {variable}"),
            Source::Flag(flag) => write!(f, "the flag {flag}"),
        }
    }
}

/// What is set, by dotted key: the strongest value of each, and where it was set.
#[derive(Debug)]
pub struct Chosen {
    values: BTreeMap<String, (String, Source)>,
    backends: Registry,
}

impl Chosen {
    /// Collects what file, environment and flags say.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the source, for an unknown key (with the nearest known one) and a value that can't be read.
    pub fn collect(
        configuration: &Configuration,
        place: &Where,
        executors: Option<&Executors>,
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Chosen> {
        let mut chosen = Chosen { values: BTreeMap::new(), backends: convoke::registry() };
        if let Some(path) = &configuration.conf_file {
            chosen.read_file(path)?;
        }
        let environment: BTreeMap<String, String> =
            environment.into_iter().filter(|(name, _)| name.starts_with("CONVOKE_")).collect();
        for (key, variable) in chosen.known() {
            if let Some(value) = environment.get(&variable) {
                chosen.set(key, value, Source::Environment(variable));
            }
        }
        for setting in &configuration.settings {
            let (key, value) = setting.split_once('=').ok_or_else(|| {
                Error::invalid("conf", "--conf takes a key and a value")
                    .with("text", format!("{setting:?}"))
                    .help("write --conf KEY=VALUE, such as --conf lease=2m")
            })?;
            chosen.set(key.trim(), value, Source::Flag("--conf".into()));
        }
        let mut flag = |key: &str, name: &str, value: &Option<String>| {
            if let Some(value) = value {
                chosen.set(key, value, Source::Flag(name.into()));
            }
        };
        flag("master", "--master", &place.master);
        if let Some(executors) = executors {
            flag("executors", "--executors", &executors.executors);
            flag("executor.cpus", "--executor-cpus", &executors.executor_cpus);
            flag("executor.memory", "--executor-memory", &executors.executor_memory);
            flag("task.cpus", "--task-cpus", &executors.task_cpus);
        }
        // variables that are no settings at all
        DriverSettings::with_backends(chosen.backends.clone()).set_from_environment(environment)?;
        Ok(chosen)
    }

    /// Every setting of driver and backends: its key and its variable.
    fn known(&self) -> Vec<(&'static str, String)> {
        let backends = self.backends.manager_settings().map(|setting| (setting.key, setting.variable()));
        SETTINGS.iter().map(|setting| (setting.key, setting.variable())).chain(backends).collect()
    }

    /// Adds lines to a setting of several lines, behind those set elsewhere.
    pub fn add_lines(&mut self, key: &str, flag: &str, lines: &[String]) {
        if lines.is_empty() {
            return;
        }
        let before = self.values.get(key).map(|(value, _)| format!("{value}\n")).unwrap_or_default();
        self.set(key, &(before + &lines.join("\n")), Source::Flag(flag.into()));
    }

    fn set(&mut self, key: &str, value: &str, source: Source) {
        self.values.insert(key.to_owned(), (value.to_owned(), source));
    }

    fn read_file(&mut self, path: &Path) -> Result<()> {
        let text = std::fs::read_to_string(path).map_err(|error| {
            Error::host("can't read the file of settings", error).with("file", path.display())
        })?;
        let table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            Error::invalid("conf-file", "the file of settings isn't TOML")
                .with("file", path.display())
                .source(error)
        })?;
        let source = Source::File(path.to_owned());
        for (key, value) in flat(&table)? {
            self.set(&key, &value, source.clone());
        }
        Ok(())
    }

    /// The settings of a driver.
    ///
    /// # Errors
    /// As [`collect`](Chosen::collect), and where two can't be right together.
    pub fn settings(&self) -> Result<DriverSettings> {
        let mut settings = DriverSettings::with_backends(self.backends.clone());
        for (key, (value, source)) in &self.values {
            settings.set(key, value).map_err(|error| error.with("set by", source))?;
        }
        settings.check()?;
        Ok(settings)
    }

    /// A driver with what was chosen, and nothing of the environment besides.
    pub fn driver(&self) -> DriverBuilder {
        let driver = Driver::builder().ignore_environment();
        self.values.iter().fold(driver, |driver, (key, (value, _))| driver.setting(key, value))
    }

    /// The manager behind the master, with its own settings.
    ///
    /// # Errors
    /// As [`Registry::manager_with`], also for what the backend doesn't take.
    pub fn manager(&self, settings: &DriverSettings) -> Result<Arc<dyn ClusterManager>> {
        let mut own = ManagerSettings::default();
        own.options.clone_from(&settings.manager);
        self.backends.manager_with(&settings.master_or_local(), &own)
    }

    /// The variables that a program shall find.
    pub fn variables(&self) -> impl Iterator<Item = (String, &str)> {
        let known = self.known().into_iter();
        known.filter_map(|(key, variable)| Some((variable, self.values.get(key)?.0.as_str())))
    }
}

/// Tables within tables as dotted keys: `[driver]` `port = 7077` is `driver.port`.
fn flat(table: &toml::Table) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    for (key, value) in table {
        match value {
            toml::Value::Table(inner) => {
                found.extend(flat(inner)?.into_iter().map(|(rest, value)| (format!("{key}.{rest}"), value)));
            }
            toml::Value::String(text) => found.push((key.clone(), text.clone())),
            toml::Value::Integer(_) | toml::Value::Float(_) | toml::Value::Boolean(_) => {
                found.push((key.clone(), value.to_string()));
            }
            toml::Value::Array(_) | toml::Value::Datetime(_) => {
                return Err(Error::invalid("conf-file", "a setting is text, a number, true or false")
                    .with("setting", key)
                    .help("write lists as text: \"gpu=1,fpga=2\""));
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(file: &str, environment: &[(&str, &str)], flags: &[&str]) -> Result<Chosen> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("convoke.toml");
        std::fs::write(&path, file).unwrap();
        let configuration = Configuration {
            settings: flags.iter().map(|flag| (*flag).to_owned()).collect(),
            conf_file: Some(path),
        };
        let environment = environment.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
        Chosen::collect(&configuration, &Where { master: None }, None, environment)
    }

    #[test]
    fn a_flag_goes_before_the_environment_and_that_before_the_file() {
        let file = "lease = \"1m\"\nexecutors = 5\n[driver]\nport = 1\n";
        let chosen =
            collect(file, &[("CONVOKE_DRIVER_PORT", "2"), ("CONVOKE_EXECUTORS", "6")], &["executors=7"])
                .unwrap();
        let settings = chosen.settings().unwrap();
        assert_eq!((settings.executors, settings.port, settings.lease.as_secs()), (7, 2, 60));
        let variables: BTreeMap<_, _> = chosen.variables().collect();
        assert_eq!(variables["CONVOKE_EXECUTORS"], "7");
        assert_eq!(variables["CONVOKE_LEASE"], "1m");
        assert_eq!(variables.len(), 3);
    }

    #[test]
    fn settings_of_a_backend_are_like_the_drivers() {
        let chosen = collect(
            "[local]\nlogs-kept = \"2d\"\nmemory = \"2GiB\"",
            &[("CONVOKE_LOCAL_LOGS_KEPT", "3d")],
            &["local.devices=gpu=1"],
        )
        .unwrap();
        let settings = chosen.settings().unwrap();
        let own: Vec<_> = settings.manager.iter().map(|(key, value)| format!("{key}={value}")).collect();
        assert_eq!(own, ["local.devices=gpu=1", "local.logs-kept=3d", "local.memory=2GiB"]);
        let variables: BTreeMap<_, _> = chosen.variables().collect();
        assert_eq!(variables["CONVOKE_LOCAL_LOGS_KEPT"], "3d");
        assert!(chosen.manager(&settings).is_ok());
        let error = collect("", &[], &["local.log-kept=1d"]).unwrap().settings().unwrap_err();
        assert_eq!(error.advice(), Some("did you mean local.logs-kept?"));
        let chosen = collect("", &[], &["local.logs-kept=soon"]).unwrap();
        let error = chosen.manager(&chosen.settings().unwrap()).unwrap_err();
        assert!(error.to_string().contains("local.logs-kept"), "{error}");
    }

    #[test]
    fn a_mistake_names_where_it_was_made_and_what_was_meant() {
        let say = |error: Error| format!("{error:#}");
        let error = say(collect("[executor]\nmemroy = \"1GiB\"", &[], &[]).unwrap().settings().unwrap_err());
        assert!(error.contains("convoke.toml") && error.contains("executor.memory?"), "{error}");
        let error = say(collect("", &[], &["executor.memory=1"]).unwrap().settings().unwrap_err());
        assert!(error.contains("--conf") && error.contains("512MiB"), "{error}");
        let error = say(collect("", &[("CONVOKE_LAESE", "1m")], &[]).unwrap_err());
        assert!(error.contains("CONVOKE_LAESE") && error.contains("lease?"), "{error}");
        assert!(say(collect("", &[], &["lease"]).unwrap_err()).contains("KEY=VALUE"));
        assert!(say(collect("[driver", &[], &[]).unwrap_err()).contains("TOML"));
        assert!(say(collect("lease = [1]", &[], &[]).unwrap_err()).contains("lease"));
    }
}
