use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use super::{Bootstrap, Launcher};
use crate::error::{Error, Result};
use crate::ids::{ApplicationId, Name};
use crate::secret::Digest;
use crate::units::{HostPort, format_duration};

/// What an application is, to its manager. Built by [`ApplicationSpec::builder`], which checks it (R2).
#[derive(Debug)]
#[non_exhaustive]
pub struct ApplicationSpec {
    /// Core's, the name and 64 random bits; names all that is made at the manager.
    pub id: ApplicationId,
    /// As people see it.
    pub name: Name,
    /// Whom to run as, where the manager lets one choose.
    pub user: Option<Name>,
    /// Where it queues.
    pub queue: Option<Name>,
    /// Tags that the manager shows.
    pub tags: BTreeMap<Name, String>,
    /// The driver's advertised addresses, in order of preference; public.
    pub driver: Vec<HostPort>,
    /// Pin of the application's certificate authority; public.
    pub trust: Digest,
    /// With no driver for so long, everything of the application ends (T2).
    pub lease: Duration,
    /// Hard cap, whatever the target says (A12).
    pub max_executors: u32,
    /// How its executors are replaced and given up.
    pub policy: ExecutorPolicy,
    /// The program that becomes an executor's supervisor.
    pub bootstrap: Bootstrap,
    /// Makes each executor's command.
    pub launcher: Arc<dyn Launcher>,
    /// The backend's own options; an unknown key is `InvalidRequest`.
    pub options: BTreeMap<String, String>,
}

impl ApplicationSpec {
    /// Begins a specification.
    #[must_use]
    pub fn builder(id: ApplicationId, name: Name, launcher: Arc<dyn Launcher>) -> ApplicationSpecBuilder {
        ApplicationSpecBuilder(ApplicationSpec {
            id,
            name,
            user: None,
            queue: None,
            tags: BTreeMap::new(),
            driver: Vec::new(),
            trust: Digest([0; 32]),
            lease: Duration::from_secs(30),
            max_executors: u32::MAX,
            policy: ExecutorPolicy::default(),
            bootstrap: Bootstrap::default(),
            launcher,
            options: BTreeMap::new(),
        })
    }

    /// Refuses a lease that a manager can't keep (R2).
    ///
    /// # Errors
    /// `InvalidRequest`, naming the least.
    pub fn check_lease(&self, least: Duration) -> Result<()> {
        if self.lease < least {
            return Err(Error::invalid("lease", "this manager can't keep so short a lease")
                .with("lease", format_duration(self.lease))
                .with("least", format_duration(least)));
        }
        Ok(())
    }

    /// Refuses options that a backend doesn't know (R2), naming the nearest known one.
    ///
    /// # Errors
    /// `InvalidRequest`.
    pub fn check_options(&self, known: &[&str]) -> Result<()> {
        match self.options.keys().find(|key| !known.contains(&key.as_str())) {
            None => Ok(()),
            Some(key) => Err(Error::invalid("options", "this backend has no such option")
                .with("option", key)
                .with("known", if known.is_empty() { "none".to_owned() } else { known.join(", ") })),
        }
    }
}

/// Builds an [`ApplicationSpec`].
#[derive(Debug)]
pub struct ApplicationSpecBuilder(ApplicationSpec);

macro_rules! setters {
    ($($(#[$doc:meta])* $field:ident: $ty:ty),* $(,)?) => {
        impl ApplicationSpecBuilder {
            $(
                $(#[$doc])*
                #[must_use]
                pub fn $field(mut self, $field: $ty) -> ApplicationSpecBuilder {
                    self.0.$field = $field;
                    self
                }
            )*
        }
    };
}

setters! {
    /// Whom to run as.
    user: Option<Name>,
    /// Where it queues.
    queue: Option<Name>,
    /// Tags that the manager shows.
    tags: BTreeMap<Name, String>,
    /// The driver's advertised addresses.
    driver: Vec<HostPort>,
    /// Pin of the certificate authority.
    trust: Digest,
    /// The lease.
    lease: Duration,
    /// The hard cap of executors.
    max_executors: u32,
    /// How executors are replaced and given up.
    policy: ExecutorPolicy,
    /// The bootstrap.
    bootstrap: Bootstrap,
    /// The backend's own options.
    options: BTreeMap<String, String>,
}

impl ApplicationSpecBuilder {
    /// Checks it all.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field (R2).
    pub fn build(self) -> Result<ApplicationSpec> {
        let spec = self.0;
        if spec.lease < Duration::from_millis(100) || spec.lease > Duration::from_secs(86_400) {
            return Err(Error::invalid("lease", "a lease lies between 100ms and 1d")
                .with("lease", format_duration(spec.lease)));
        }
        if spec.max_executors == 0 {
            return Err(Error::invalid("max_executors", "an application needs at least one executor"));
        }
        if let Some((key, _)) =
            spec.options.iter().find(|(key, value)| key.is_empty() || value.contains('\0'))
        {
            return Err(Error::invalid("options", "an option needs a name, and a value without NUL")
                .with("option", format!("{key:?}")));
        }
        Ok(spec)
    }
}

/// How executors are given up and replaced. The defaults are the contract's.
#[derive(Debug, Clone, PartialEq)]
pub struct ExecutorPolicy {
    /// From granted to launched (L3).
    pub launch_deadline: Duration,
    /// From launched to joined (L6).
    pub join_deadline: Duration,
    /// How long the other party's cause of an exit is waited for (L2).
    pub cause_wait: Duration,
    /// After exits on the application's blame (L5).
    pub brake: Pace,
    /// After exits before the join that are on nobody's or the infrastructure's blame (L5).
    pub pace: Pace,
    /// Up for so long, an executor counts as healthy again (L5).
    pub healthy_after: Duration,
}

impl Default for ExecutorPolicy {
    fn default() -> ExecutorPolicy {
        ExecutorPolicy {
            launch_deadline: Duration::from_secs(60),
            join_deadline: Duration::from_secs(120),
            cause_wait: Duration::from_secs(5),
            brake: Pace {
                after: 3,
                within: Duration::from_secs(60),
                first: Duration::from_secs(1),
                most: Duration::from_secs(300),
            },
            pace: Pace {
                after: 3,
                within: Duration::from_secs(60),
                first: Duration::from_secs(1),
                most: Duration::from_secs(30),
            },
            healthy_after: Duration::from_secs(60),
        }
    }
}

/// When replacing slows down, and how far: doubling from `first` to `most`, each ±20 %.
#[derive(Debug, Clone, PartialEq)]
pub struct Pace {
    /// After so many exits …
    pub after: u32,
    /// … in so long.
    pub within: Duration,
    /// The first pause.
    pub first: Duration,
    /// The longest pause.
    pub most: Duration,
}
