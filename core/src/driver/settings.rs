//! The driver's settings as data.

mod parse;
mod table;

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::artifacts::{FileToShip, ProgramSettings};
use super::program::ExecutorProgram;
use crate::error::{Error, Result};
use crate::executor::environment;
use crate::ids::{Name, ProfileId};
use crate::manager::{Constraint, ExecutorPolicy, ManagerSetting, Pace, Placement, Registry};
use crate::resource::{ResourceProfile, Resources, TaskResources};
use crate::rpc::limits::INLINE_BYTES;
use crate::units::{Cpus, MiB};

pub(super) use parse::pace as parse_pace;
pub use table::{SETTINGS, Setting};

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
    /// `task.attempts`.
    pub task_attempts: u32,
    /// `task.lost-attempts`.
    pub task_lost_attempts: u32,
    /// `task.cancel-deadline`.
    pub task_cancel_deadline: Duration,
    /// `task.inline-payload`, in bytes.
    pub inline_payload_bytes: usize,
    /// `task.largest-payload`, in bytes.
    pub largest_payload_bytes: usize,
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
    /// `driver.port-tries`.
    pub port_tries: u16,
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
    /// `executor.brake`.
    pub brake: Pace,
    /// `executor.pace`.
    pub pace: Pace,
    /// `executor.healthy-after`.
    pub healthy_after: Duration,
    /// `hosts.preferred`, with weights.
    pub preferred_hosts: Vec<(Name, u32)>,
    /// `hosts.excluded`.
    pub excluded_hosts: Vec<Name>,
    /// `hosts.required`.
    pub required_hosts: Vec<Constraint>,
    /// Backends' own settings (`local.directory`), by dotted key; whose value is read by the backend.
    pub manager: BTreeMap<String, String>,
    /// Which backends there are.
    backends: Registry,
}

impl Default for DriverSettings {
    fn default() -> DriverSettings {
        let profile = ResourceProfile::default();
        let policy = ExecutorPolicy::default();
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
            task_attempts: 4,
            task_lost_attempts: 8,
            task_cancel_deadline: Duration::from_secs(5),
            inline_payload_bytes: INLINE_BYTES,
            largest_payload_bytes: 1 << 30,
            executor_env: BTreeMap::new(),
            executor_program: None,
            bind: None,
            advertise: Vec::new(),
            port: 0,
            port_tries: 16,
            bootstrap_port: 0,
            bootstrap_advertise: Vec::new(),
            files: Vec::new(),
            program: ProgramSettings::default(),
            insecure: false,
            heartbeat_interval: Duration::from_secs(2),
            lost_after: Duration::from_secs(10),
            lease: Duration::from_secs(30),
            launch_deadline: policy.launch_deadline,
            join_deadline: policy.join_deadline,
            cause_wait: policy.cause_wait,
            drain_grace: Duration::from_secs(30),
            end_grace: Duration::from_secs(1),
            brake: policy.brake,
            pace: policy.pace,
            healthy_after: policy.healthy_after,
            preferred_hosts: Vec::new(),
            excluded_hosts: Vec::new(),
            required_hosts: Vec::new(),
            manager: BTreeMap::new(),
            backends: Registry::new(),
        }
    }
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

    /// How executors are given up and replaced.
    #[must_use]
    pub fn policy(&self) -> ExecutorPolicy {
        ExecutorPolicy {
            launch_deadline: self.launch_deadline,
            join_deadline: self.join_deadline,
            cause_wait: self.cause_wait,
            brake: self.brake.clone(),
            pace: self.pace.clone(),
            healthy_after: self.healthy_after,
        }
    }

    /// Where executors are preferred and required.
    #[must_use]
    pub fn placement(&self) -> Placement {
        Placement { preferred: self.preferred_hosts.clone(), required: self.required_hosts.clone() }
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
        if self.task_attempts == 0 {
            return Err(Error::invalid("task.attempts", "a task needs at least one"));
        }
        if self.task_lost_attempts == 0 {
            return Err(Error::invalid("task.lost-attempts", "at least one"));
        }
        if self.port_tries == 0 {
            return Err(Error::invalid("driver.port-tries", "at least one"));
        }
        // Many of them share a message, whose limit is 8 MiB.
        if !(1..=1 << 20).contains(&self.inline_payload_bytes) {
            return Err(Error::invalid("task.inline-payload", "between 1B and 1MiB")
                .with("bytes", self.inline_payload_bytes));
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
