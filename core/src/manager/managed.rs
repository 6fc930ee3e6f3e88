//! `Managed<P>`: what core makes of a [`Provisioner`].
//!
//! All decisions are [`AllocationState`](crate::state::allocation::AllocationState)'s; here bytes move: the wishes of the
//! application and the news of the backend go in, calls and events come out.

mod application;
mod clock;
mod ledger_stream;
mod runner;
mod shared;

#[cfg(test)]
mod tests;

use std::sync::Arc;

use async_trait::async_trait;

use self::application::ManagedApplication;
use self::ledger_stream::LedgerStream;
use self::shared::Shared;
use super::{
    ApplicationSpec, ClusterManager, ClusterReport, Descriptor, DriverHost, Events, Finding, Opened,
    Operator, Provisioner, Registration, Source,
};
use crate::error::{Error, ErrorKind, Result};
use crate::state::allocation::{AllocationEvent, AllocationSettings};

/// A [`ClusterManager`] made of a [`Provisioner`]: it reconciles with the target, keeps the event ledger, gives back
/// surplus, brakes crash loops and tries calls again.
///
/// What runs in the background runs on the tokio runtime that is current when an application registers, of either
/// flavour; with that runtime, the application is abandoned (T3).
///
/// # Rules
/// R1 to R6, A1 to A4, A6 to A10, A12, L1 to L7, T1, T3, F3, F4, F8: this side of each; the provisioner answers for its own.
#[derive(Debug)]
pub struct Managed<P: Provisioner> {
    provisioner: P,
}

impl<P: Provisioner> Managed<P> {
    /// Makes a cluster manager of a provisioner.
    #[must_use]
    pub fn new(provisioner: P) -> Managed<P> {
        Managed { provisioner }
    }

    /// The provisioner.
    #[must_use]
    pub fn provisioner(&self) -> &P {
        &self.provisioner
    }
}

#[async_trait]
impl<P: Provisioner> ClusterManager for Managed<P> {
    fn describe(&self) -> Descriptor {
        self.provisioner.describe()
    }

    async fn register(&self, spec: ApplicationSpec) -> Result<Registration> {
        let runtime = tokio::runtime::Handle::try_current().map_err(|error| {
            Error::unsupported("an application registers on a tokio runtime")
                .source(error)
                .help("call it within #[tokio::main] or Runtime::block_on")
        })?;
        spec.check_lease(self.provisioner.describe().least_lease)?;
        check_bootstrap(&spec)?;

        let spec = Arc::new(spec);
        let shared = Arc::new(Shared::new(settings(&spec)));
        let opened = match self.provisioner.open(spec.clone(), shared.clone()).await {
            Ok(opened) => opened,
            Err(error) => {
                shared.abandon(); // a backend that keeps its reporter reports to nobody
                return Err(error);
            }
        };
        // from here on nothing awaits: dropping the future leaves nothing that runs (R4)
        let Opened { provisioning, native, page, capabilities } = opened;
        shared.handle(AllocationEvent::Opened { logs: capabilities.logs });
        let events = Events::new(LedgerStream::new(shared.clone()));
        let application = ManagedApplication::start(
            &runtime,
            shared,
            Arc::from(provisioning),
            super::ApplicationInfo { id: spec.id.clone(), native, page, capabilities },
        );
        Ok(Registration { application: Box::new(application), events })
    }

    fn drivers(&self) -> Option<&dyn DriverHost> {
        self.provisioner.drivers()
    }

    fn operator(&self) -> Option<&dyn Operator> {
        self.provisioner.operator()
    }

    async fn diagnose(&self) -> Vec<Finding> {
        self.provisioner.diagnose().await
    }

    fn default_executor_cpus(&self) -> Option<crate::units::Cpus> {
        self.provisioner.default_executor_cpus()
    }

    fn fetches_bootstrap(&self) -> bool {
        self.provisioner.fetches_bootstrap()
    }

    async fn cluster(&self) -> Result<ClusterReport> {
        self.provisioner.cluster().await
    }
}

fn settings(spec: &ApplicationSpec) -> AllocationSettings {
    // the id's own random bits spread the retries of applications that began at the same moment
    let random = spec.id.as_str().rsplit_once('-').map(|(_, hex)| u64::from_str_radix(hex, 16));
    AllocationSettings {
        max_executors: spec.max_executors,
        lease: spec.lease,
        policy: spec.policy.clone(),
        driver: spec.driver.clone(),
        seed: random.and_then(Result::ok).unwrap_or(0),
    }
}

/// Refuses a bootstrap that can't be had (R2).
fn check_bootstrap(spec: &ApplicationSpec) -> Result<()> {
    for (platform, artifact) in &spec.bootstrap.builds {
        let missing = artifact.sources.iter().find_map(|source| match source {
            Source::DriverPath(path) => std::fs::metadata(path).err().map(|error| (path, error)),
            _ => None,
        });
        if let Some((path, error)) = missing {
            return Err(Error::invalid("bootstrap", "this file of the application can't be read")
                .with("platform", platform)
                .with("path", path)
                .source(error));
        }
        if artifact.sources.is_empty() {
            return Err(Error::new(ErrorKind::InvalidRequest, "a build of the bootstrap can be had nowhere")
                .with("field", "bootstrap")
                .with("platform", platform));
        }
    }
    Ok(())
}
