//! The driver's settings as data: one table of name, default, unit and meaning, from which code, environment and
//! documentation read.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::artifacts::{FileToShip, ProgramSettings};
use super::program::ExecutorProgram;
use crate::error::{Error, Result};
use crate::executor::environment;
use crate::ids::{Name, ProfileId};
use crate::manager::Platform;
use crate::manager::{ManagerSetting, Registry, variable};
use crate::resource::{ResourceProfile, Resources, TaskResources};
use crate::units::{Cpus, MiB, parse_duration};

/// All settings of a driver. Later ones win: defaults, then the environment (`CONVOKE_…`), then code.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct DriverSettings {
    /// `application.name`.
    pub name: Name,
    /// `application.user`.
    pub user: Option<Name>,
    /// `application.queue`.
    pub queue: Option<Name>,
    /// `master`; absent: a `local-cluster` that holds the executors asked for.
    pub master: Option<String>,
    /// `executors`.
    pub executors: u32,
    /// `executors.max`.
    pub max_executors: u32,
    /// `executor.cpus`.
    pub executor_cpus: Cpus,
    /// `executor.memory`.
    pub executor_memory: MiB,
    /// `executor.resources`.
    pub executor_resources: BTreeMap<Name, u64>,
    /// `task.cpus`.
    pub task_cpus: Cpus,
    /// `task.resources`.
    pub task_resources: BTreeMap<Name, u64>,
    /// `executor.env`.
    pub executor_env: BTreeMap<String, String>,
    /// The program that executors run instead of tasks; set by code alone.
    pub executor_program: Option<ExecutorProgram>,
    /// `driver.bind`; absent: loopback where the manager is in this process, else every address.
    pub bind: Option<IpAddr>,
    /// `driver.advertise`.
    pub advertise: Vec<String>,
    /// `driver.port`.
    pub port: u16,
    /// `bootstrap.port`.
    pub bootstrap_port: u16,
    /// `bootstrap.advertise`.
    pub bootstrap_advertise: Vec<String>,
    /// `executor.files` and `executor.archives`.
    pub files: Vec<FileToShip>,
    /// `executor.binary`, `executor.builds` and `bootstrap.binary`.
    pub(super) program: ProgramSettings,
    /// `insecure`.
    pub insecure: bool,
    /// `heartbeat.interval`.
    pub heartbeat_interval: Duration,
    /// `heartbeat.lost-after`.
    pub lost_after: Duration,
    /// `lease`.
    pub lease: Duration,
    /// `executor.launch-deadline`.
    pub launch_deadline: Duration,
    /// `executor.join-deadline`.
    pub join_deadline: Duration,
    /// `executor.cause-wait`.
    pub cause_wait: Duration,
    /// `executor.drain-grace`.
    pub drain_grace: Duration,
    /// `executor.end-grace`.
    pub end_grace: Duration,
    /// Backends' own settings (`local.directory`), by dotted key; whose value is read by the backend.
    pub manager: BTreeMap<String, String>,
    /// Which backends there are.
    backends: Registry,
}

impl Default for DriverSettings {
    fn default() -> DriverSettings {
        let profile = ResourceProfile::default();
        DriverSettings {
            name: default_name(),
            user: None,
            queue: None,
            master: None,
            executors: 2,
            max_executors: u32::MAX,
            executor_cpus: profile.each.cpus,
            executor_memory: profile.each.memory,
            executor_resources: BTreeMap::new(),
            task_cpus: profile.task.cpus,
            task_resources: BTreeMap::new(),
            executor_env: BTreeMap::new(),
            executor_program: None,
            bind: None,
            advertise: Vec::new(),
            port: 0,
            bootstrap_port: 0,
            bootstrap_advertise: Vec::new(),
            files: Vec::new(),
            program: ProgramSettings::default(),
            insecure: false,
            heartbeat_interval: Duration::from_secs(2),
            lost_after: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            launch_deadline: Duration::from_secs(60),
            join_deadline: Duration::from_secs(120),
            cause_wait: Duration::from_secs(5),
            drain_grace: Duration::from_secs(30),
            end_grace: Duration::from_secs(1),
            manager: BTreeMap::new(),
            backends: Registry::new(),
        }
    }
}

/// One setting, as people read it.
pub struct Setting {
    /// Its dotted key, which is also the `CONVOKE_…` variable: upper case, dots and dashes become underscores.
    pub key: &'static str,
    /// What holds where it isn't set, in words.
    pub default: &'static str,
    /// How its value is written.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
    apply: fn(&mut DriverSettings, &str) -> Result<()>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

impl Setting {
    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.key)
    }
}

macro_rules! table {
    ($($key:literal, $default:literal, $unit:literal, $meaning:literal, $apply:expr;)*) => {
        /// Every setting of a driver.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key, default: $default, unit: $unit, meaning: $meaning, apply: $apply,
        }),*];
    };
}

table! {
    "master", "a local-cluster that holds the executors", "URL",
        "The cluster manager: local[2], local-cluster[2,2,1GiB], convoke://host:7077, yarn, mesos://host:5050.",
        |s, v| { s.master = Some(v.trim().to_owned()); Ok(()) };
    "application.name", "the program's name", "text", "The application's name, as people and managers see it.",
        |s, v| { s.name = Name::new(v)?; Ok(()) };
    "application.user", "the user who runs the driver", "name", "Whom executors run as, where the manager lets one choose.",
        |s, v| { s.user = Some(Name::new(v)?); Ok(()) };
    "application.queue", "the manager's own default", "name", "The queue that the application waits in.",
        |s, v| { s.queue = Some(Name::new(v)?); Ok(()) };
    "executors", "2", "count", "How many executors are wanted.",
        |s, v| { s.executors = whole(v)?; Ok(()) };
    "executors.max", "no limit", "count", "The application never has more executors than this, whatever is wished.",
        |s, v| { s.max_executors = whole(v)?; Ok(()) };
    "executor.cpus", "1", "cpus", "Processors of each executor; fractions are allowed.",
        |s, v| { s.executor_cpus = v.parse()?; Ok(()) };
    "executor.memory", "256MiB", "memory", "Memory of each executor's whole process tree.",
        |s, v| { s.executor_memory = v.parse()?; Ok(()) };
    "executor.resources", "none", "NAME=COUNT,…", "Named resources of each executor, such as gpu=1.",
        |s, v| { s.executor_resources = named(v)?; Ok(()) };
    "executor.env", "none", "NAME=VALUE lines", "Variables of every executor's environment, one a line; added to those set before.",
        |s, v| { s.executor_env.extend(variables(v)?); Ok(()) };
    "executor.files", "none", "PATH[#NAME] lines",
        "Files and folders that executors find in their working directory, one a line; added to those set before.",
        |s, v| { s.files.extend(files(v, false)); Ok(()) };
    "executor.archives", "none", "PATH[#NAME] lines",
        "Archives (.tar, .tar.gz, .tgz) that are unpacked there to a folder: of their name without its ending, or of this one.",
        |s, v| { s.files.extend(files(v, true)); Ok(()) };
    "executor.binary", "the driver's own program", "PATH", "The program that executors run: a build of the application for their platform.",
        |s, v| { s.program.binary = Some(v.into()); Ok(()) };
    "executor.builds", "none", "PLATFORM=PATH,…", "Builds of it for several platforms, such as aarch64-linux-gnu or x86_64-linux-static.",
        |s, v| { s.program.builds.extend(builds(v)?); Ok(()) };
    "task.cpus", "1", "cpus", "Processors that one task occupies of its executor.",
        |s, v| { s.task_cpus = v.parse()?; Ok(()) };
    "task.resources", "none", "NAME=COUNT,…", "Named resources that one task occupies of its executor.",
        |s, v| { s.task_resources = named(v)?; Ok(()) };
    "driver.bind", "127.0.0.1 for local masters, else 0.0.0.0", "IP address", "The address that the driver listens on.",
        |s, v| { s.bind = Some(parsed(v, "an IP address of this machine")?); Ok(()) };
    "driver.advertise", "the bound address", "HOST[:PORT],…",
        "What executors dial, in order of preference; need not be an address of this machine.",
        |s, v| { s.advertise = list(v); Ok(()) };
    "driver.port", "any free one", "port", "The port that the driver listens on; when it is in use, the next fifteen are tried.",
        |s, v| { s.port = parsed(v, "a port (0 to 65535)")?; Ok(()) };
    "bootstrap.binary", "the executors' program", "PATH",
        "A program that links convoke (such as convoke itself) for nodes to start: it fetches the executors' program from the driver.",
        |s, v| { s.program.bootstrap = Some(v.into()); Ok(()) };
    "bootstrap.port", "any free one", "port",
        "Where nodes that fetch the executor's program from the driver (Mesos, YARN) get it; in use, the next fifteen are tried.",
        |s, v| { s.bootstrap_port = parsed(v, "a port (0 to 65535)")?; Ok(()) };
    "bootstrap.advertise", "the hosts of driver.advertise", "HOST[:PORT],…",
        "What those nodes dial for it, in order of preference; need not be an address of this machine.",
        |s, v| { s.bootstrap_advertise = list(v); Ok(()) };
    "insecure", "false", "true or false",
        "Gives up encryption and authentication: whoever reaches the driver's port, or listens on the way, can read and run all.",
        |s, v| { s.insecure = parsed(v, "true or false")?; Ok(()) };
    "heartbeat.interval", "2s", "duration", "How often an executor says that it lives.",
        |s, v| { s.heartbeat_interval = parse_duration(v)?; Ok(()) };
    "heartbeat.lost-after", "10s", "duration", "Silent for so long, an executor is lost: its tasks run elsewhere, and it is replaced.",
        |s, v| { s.lost_after = parse_duration(v)?; Ok(()) };
    "lease", "30s", "duration", "With no driver for so long, everything of the application ends by itself.",
        |s, v| { s.lease = parse_duration(v)?; Ok(()) };
    "executor.launch-deadline", "60s", "duration", "From granted to launched.",
        |s, v| { s.launch_deadline = parse_duration(v)?; Ok(()) };
    "executor.join-deadline", "120s", "duration", "From launched to joined.",
        |s, v| { s.join_deadline = parse_duration(v)?; Ok(()) };
    "executor.cause-wait", "5s", "duration", "How long the manager's cause of an exit is waited for before blame is laid.",
        |s, v| { s.cause_wait = parse_duration(v)?; Ok(()) };
    "executor.drain-grace", "30s", "duration", "How long an executor that is to leave may finish its running tasks.",
        |s, v| { s.drain_grace = parse_duration(v)?; Ok(()) };
    "executor.end-grace", "1s", "duration", "From SIGTERM to SIGKILL when a process tree is ended.",
        |s, v| { s.end_grace = parse_duration(v)?; Ok(()) };
}

impl DriverSettings {
    /// The defaults; also takes the settings of these backends.
    #[must_use]
    pub fn with_backends(backends: Registry) -> DriverSettings {
        DriverSettings { backends, ..DriverSettings::default() }
    }

    /// Sets one by its dotted key. A backend's own setting is kept in [`manager`](DriverSettings::manager), as text.
    ///
    /// # Errors
    /// `InvalidRequest` for a key that isn't one (the nearest is named) or a value that can't be read.
    pub fn set(&mut self, key: &str, value: &str) -> Result<()> {
        if let Some(setting) = SETTINGS.iter().find(|setting| setting.key == key) {
            return (setting.apply)(self, value).map_err(|error| error.with("setting", setting.key));
        }
        if !self.backends.manager_settings().any(|setting| setting.key == key) {
            return Err(unknown(key, &self.backends));
        }
        self.manager.insert(key.to_owned(), value.to_owned());
        Ok(())
    }

    /// Sets all that the environment says: every variable that begins with `CONVOKE_` must be a setting, or one of those
    /// that executors find (which are left alone).
    ///
    /// # Errors
    /// As [`set`](DriverSettings::set), naming the variable.
    pub fn set_from_environment(
        &mut self,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<()> {
        for (variable, value) in variables {
            if !variable.starts_with("CONVOKE_") || NOT_SETTINGS.contains(&variable.as_str()) {
                continue;
            }
            if self.backends.variables().any(|known| known == variable) {
                continue;
            }
            let ours =
                SETTINGS.iter().find(|setting| setting.variable() == variable).map(|setting| setting.key);
            let backends = || self.backends.manager_settings().find(|setting| setting.variable() == variable);
            let key = ours.or_else(|| backends().map(|setting| setting.key)).map_or_else(
                || variable["CONVOKE_".len()..].to_ascii_lowercase().replace('_', "."),
                ToOwned::to_owned,
            );
            self.set(&key, &value).map_err(|error| error.with("variable", &variable))?;
        }
        Ok(())
    }

    /// The profile of executors that nothing else is said for.
    #[must_use]
    pub fn default_profile(&self) -> ResourceProfile {
        let mut each = Resources::new(self.executor_cpus, self.executor_memory);
        each.named.clone_from(&self.executor_resources);
        let task = TaskResources { cpus: self.task_cpus, named: self.task_resources.clone() };
        ResourceProfile { id: ProfileId(0), each, task }
    }

    /// The master: as set, else a local cluster that holds the executors asked for.
    #[must_use]
    pub fn master_or_local(&self) -> String {
        self.master.clone().unwrap_or_else(|| {
            let cpus = self.executor_cpus.millis().div_ceil(1000).max(1);
            format!("local-cluster[{},{cpus},{}]", self.executors.max(1), self.executor_memory)
        })
    }

    /// The address to listen on, where the manager is `remote` (another process) or not.
    #[must_use]
    pub fn bind_address(&self, remote: bool) -> IpAddr {
        let usual = if remote { Ipv4Addr::UNSPECIFIED } else { Ipv4Addr::LOCALHOST };
        self.bind.unwrap_or(IpAddr::V4(usual))
    }

    /// Refuses what can't be right together.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field.
    pub fn check(&self) -> Result<()> {
        self.default_profile().check()?;
        if self.heartbeat_interval < Duration::from_millis(10) {
            return Err(Error::invalid("heartbeat.interval", "too short: 10ms at the least"));
        }
        if self.lost_after < self.heartbeat_interval * 2 {
            return Err(Error::invalid("heartbeat.lost-after", "must be at least two heartbeat intervals"));
        }
        if self.lease < self.heartbeat_interval * 2 {
            return Err(Error::invalid("lease", "must be at least two heartbeat intervals"));
        }
        if self.executors > self.max_executors {
            return Err(Error::invalid("executors", "more than executors.max")
                .with("executors", self.executors)
                .with("executors.max", self.max_executors));
        }
        if let Some(program) = &self.executor_program {
            program.check()?;
        }
        for (name, value) in &self.executor_env {
            if name.is_empty() || name.contains(['=', '\0']) || value.contains('\0') {
                return Err(Error::invalid("executor_env", "not a name and value of an environment")
                    .with("name", format!("{name:?}")));
            }
        }
        Ok(())
    }
}

/// Variables that executors and their tasks find: no settings of a driver that a task may start.
const NOT_SETTINGS: &[&str] = &[
    environment::ROLE,
    environment::DRIVER,
    environment::APPLICATION,
    environment::EXECUTOR,
    environment::PROFILE,
    environment::INCARNATION,
    environment::TRUST,
    environment::LEASE_MS,
    environment::TICKET,
    environment::LOGS,
    environment::LOG_LIMITS,
    environment::CGROUPS,
    environment::DEVICES,
    environment::CACHE,
    "CONVOKE_LOG",
    "CONVOKE_PROGRESS",
];

fn unknown(key: &str, backends: &Registry) -> Error {
    let error = Error::invalid("setting", "there is no such setting").with("setting", key);
    let backend = key.split('.').next().unwrap_or_default();
    if let Some(feature) = backends.absent_feature(backend) {
        let version = env!("CARGO_PKG_VERSION");
        return error.help(format!(
            "this program was built without that backend; build it with: convoke = {{ version = \"{version}\", features = [\"{feature}\"] }}"
        ));
    }
    let known = || {
        let ours = SETTINGS.iter().map(|setting| setting.key);
        ours.chain(backends.manager_settings().map(|setting: &ManagerSetting| setting.key))
    };
    let nearest = known()
        .map(|known| (strsim::jaro_winkler(known, key), known))
        .max_by(|one, other| one.0.total_cmp(&other.0));
    match nearest {
        Some((likeness, nearest)) if likeness > 0.7 => error.help(format!("did you mean {nearest}?")),
        _ => error.help(format!("there are: {}", known().collect::<Vec<_>>().join(", "))),
    }
}

fn parsed<T: FromStr>(text: &str, what: &'static str) -> Result<T> {
    text.trim().parse().map_err(|_| {
        Error::invalid("value", "the value can't be read")
            .with("text", format!("{text:?}"))
            .with("wanted", what)
    })
}

fn variables(text: &str) -> Result<Vec<(String, String)>> {
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

fn files(text: &str, archive: bool) -> impl Iterator<Item = FileToShip> {
    text.lines().filter(|line| !line.is_empty()).map(move |line| FileToShip::parse(line, archive))
}

fn builds(text: &str) -> Result<Vec<(Platform, PathBuf)>> {
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

fn list(text: &str) -> Vec<String> {
    text.split(',').map(|part| part.trim().to_owned()).filter(|part| !part.is_empty()).collect()
}

fn whole(text: &str) -> Result<u32> {
    parsed(text, "a whole number")
}

fn named(text: &str) -> Result<BTreeMap<Name, u64>> {
    let resources: Resources = text.parse()?;
    if resources.cpus.millis() != 0 || resources.memory.0 != 0 {
        return Err(Error::invalid("resources", "cpus and memory are settings of their own"));
    }
    Ok(resources.named)
}

fn default_name() -> Name {
    let program = std::env::current_exe().ok();
    let stem = program.as_deref().and_then(std::path::Path::file_stem).and_then(|stem| stem.to_str());
    stem.and_then(|stem| Name::new(stem).ok()).unwrap_or_else(|| {
        #[expect(clippy::expect_used, reason = "a constant")]
        Name::new("convoke").expect("a name")
    })
}

#[cfg(test)]
#[path = "settings_test.rs"]
mod tests;
