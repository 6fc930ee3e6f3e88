//! A Mesos cluster as the core sees it.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::clock;
use convoke_core::error::{Error, Result};
use convoke_core::manager::{
    ApplicationSpec, Capabilities, ClusterReport, Descriptor, Finding, Managed, Opened, Operator,
    Provisioner, Registry, Reporter, SecretChannel,
};

use crate::agents::agents_of_any;
use crate::application;
use crate::doctor;
use crate::operator::MesosOperator;
use crate::settings::{self, Settings};
use crate::state::scheduler::Scheduler;
use crate::v1::http::Http;

/// The shortest lease: a stream counts as lost after 20 s of silence, and the framework has to be taken back within it.
pub const LEAST_LEASE: Duration = Duration::from_secs(25);

/// Adds the scheme `mesos` to a registry.
pub fn register(registry: &mut Registry) {
    registry.settings("mesos", settings::SETTINGS);
    registry.variable(settings::SECRET_VARIABLE);
    registry.register(
        "mesos",
        Arc::new(|url, settings| Ok(Arc::new(Managed::new(Mesos::new(Settings::read(url, settings)?)?)))),
    );
}

/// A Mesos cluster, by the v1 HTTP API of its masters.
#[derive(Debug)]
pub struct Mesos {
    settings: Arc<Settings>,
    http: Http,
    operator: MesosOperator,
}

impl Mesos {
    /// The cluster behind these settings. No I/O but reading the certificate authorities.
    ///
    /// # Errors
    /// `InvalidRequest` or `NotFound` for certificate authorities that can't be read.
    pub fn new(settings: Settings) -> Result<Mesos> {
        if settings.masters.is_empty() {
            return Err(Error::invalid("master", "there is no Mesos master in it"));
        }
        let settings = Arc::new(settings);
        let http = Http::new(settings.clone())?;
        Ok(Mesos { operator: MesosOperator::new(http.clone(), settings.clone()), http, settings })
    }
}

#[async_trait]
impl Provisioner for Mesos {
    fn describe(&self) -> Descriptor {
        Descriptor {
            kind: "mesos",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: Capabilities::default()
                .remote()
                .multi_node()
                .placement()
                .exclusion()
                .constraints()
                .logs()
                .survives_restart()
                .secret_channel(SecretChannel::Visible),
            least_lease: LEAST_LEASE,
        }
    }

    fn fetches_bootstrap(&self) -> bool {
        true
    }

    async fn open(&self, spec: Arc<ApplicationSpec>, report: Reporter) -> Result<Opened> {
        spec.check_lease(LEAST_LEASE)?;
        spec.check_options(&[])?;
        settings::check_role(settings::role(&self.settings, spec.queue.as_ref()))?;
        let seed = seed()?;
        let scheduler = Scheduler::new(spec.clone(), self.settings.clone(), seed, clock::now());
        let subscribed = application::open(self.http.clone(), scheduler, spec, report, own_user()).await?;
        let page =
            format!("{}://{}/#/frameworks/{}", self.http.scheme(), subscribed.master, subscribed.framework);
        Ok(Opened {
            provisioning: Box::new(subscribed.handle),
            native: subscribed.framework,
            page: Some(page),
            capabilities: self.describe().capabilities,
        })
    }

    fn operator(&self) -> Option<&dyn Operator> {
        Some(&self.operator)
    }

    async fn diagnose(&self) -> Vec<Finding> {
        doctor::diagnose(self, &self.http, &self.settings).await
    }

    async fn cluster(&self) -> Result<ClusterReport> {
        let agents = agents_of_any(&self.http, &self.settings).await?;
        Ok(ClusterReport { nodes: agents.into_iter().map(|agent| agent.report()).collect() })
    }
}

fn seed() -> Result<u64> {
    getrandom::u64().map_err(|error| Error::host("no randomness", std::io::Error::other(error)))
}

/// Whom a task runs as where the application doesn't say: whoever runs this program, as Mesos' own clients do.
fn own_user() -> String {
    ["USER", "LOGNAME"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|user| !user.is_empty()))
        .unwrap_or_else(|| "root".to_owned())
}
