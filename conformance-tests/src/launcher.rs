use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use convoke_core::executor::environment;
use convoke_core::ids::{ApplicationId, ExecutorId};
use convoke_core::manager::{LaunchCommand, Launcher, Program};
use convoke_core::resource::ResourceProfile;
use convoke_core::secret::{Digest, Secret};

use crate::probe::Identity;
use crate::probe::wire::PROBE;

/// Changes an executor's command.
pub type Tweak = Arc<dyn Fn(ExecutorId, LaunchCommand) -> LaunchCommand + Send + Sync>;

/// Makes probes of executors: this very program, as an executor's guard, with a probe's arguments.
#[derive(Clone)]
pub(crate) struct KitLauncher {
    pub(crate) token: String,
    pub(crate) kit: String,
    /// Where supervisors join.
    pub(crate) driver: String,
    pub(crate) application: ApplicationId,
    pub(crate) lease: Duration,
    pub(crate) tweak: Option<Tweak>,
    /// What each executor that was asked for is to get.
    pub(crate) asked: Arc<Mutex<BTreeMap<ExecutorId, ResourceProfile>>>,
}

impl KitLauncher {
    /// Derived, so that it need not be kept.
    pub(crate) fn ticket(&self, executor: ExecutorId) -> Secret {
        let digest = Digest::of(format!("{}/{}/{executor}", self.token, self.application).as_bytes());
        Secret::new(digest.0.to_vec())
    }

    fn lease_ms(&self) -> u64 {
        u64::try_from(self.lease.as_millis()).unwrap_or(u64::MAX)
    }
}

impl Launcher for KitLauncher {
    fn launch(&self, executor: ExecutorId, profile: &ResourceProfile) -> LaunchCommand {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).insert(executor, profile.clone());
        let mut command = LaunchCommand::new(Program::Bootstrap, self.ticket(executor));
        let identity = Identity {
            token: self.token.clone(),
            kit: self.kit.clone(),
            application: self.application.to_string(),
            executor: executor.0,
            lease_ms: self.lease_ms(),
        };
        command.args = identity.arguments(PROBE);
        command.env = [
            (environment::DRIVER, self.driver.clone()),
            (environment::APPLICATION, self.application.to_string()),
            (environment::EXECUTOR, executor.0.to_string()),
            (environment::PROFILE, profile.id.0.to_string()),
            (environment::INCARNATION, "1".to_owned()),
            (environment::TRUST, "insecure".to_owned()),
            (environment::LEASE_MS, self.lease_ms().to_string()),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        match &self.tweak {
            Some(tweak) => tweak(executor, command),
            None => command,
        }
    }
}

impl fmt::Debug for KitLauncher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KitLauncher").field("application", &self.application).finish_non_exhaustive()
    }
}
