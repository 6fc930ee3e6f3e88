//! The local manager.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::manager::{
    ApplicationSpec, Capabilities, ClusterReport, Descriptor, Finding, ManagerSettings, MasterUrl, Opened,
    Operator, Provisioner, Reporter, SecretChannel,
};
use convoke_core::units::Cpus;
use convoke_core::{Error, Result};

use crate::application::{LocalApplication, Shared};
use crate::cluster::Cluster;
use crate::folder::ApplicationFolder;
use crate::launch;
use crate::master::LocalMaster;
use crate::operator::LocalOperator;
use crate::settings::LocalSettings;

/// The local manager: executors are processes of this host, on simulated nodes.
///
/// A value is one cluster, shared by all applications that are opened with it; a clone is the same cluster.
#[derive(Debug, Clone)]
pub struct Local {
    cluster: Arc<Cluster>,
    operator: LocalOperator,
}

impl Local {
    /// The manager behind `local[…]`, `local-cluster[…]` or `local-inline[…]`.
    ///
    /// # Errors
    /// `InvalidRequest` for a URL or a setting that can't be right.
    pub fn new(url: &MasterUrl, settings: &ManagerSettings) -> Result<Local> {
        let processors = std::thread::available_parallelism()
            .map_or(1, |count| u32::try_from(count.get()).unwrap_or(u32::MAX));
        Local::with(LocalMaster::parse(url, processors)?, LocalSettings::read(settings)?)
    }

    /// A manager of this shape with these settings.
    ///
    /// # Errors
    /// None yet that [`LocalMaster::parse`] would let through.
    pub fn with(master: LocalMaster, settings: LocalSettings) -> Result<Local> {
        let operator = LocalOperator::new(&settings);
        Ok(Local { cluster: Arc::new(Cluster::new(master, settings)?), operator })
    }

    /// Lets a simulated node die: all that runs on it is killed at once, and nothing is placed there until
    /// [`Local::return_node`].
    ///
    /// # Errors
    /// `NotFound` for a name that no node has.
    pub fn kill_node(&self, host: &str) -> Result<()> {
        self.cluster.node_died(host)
    }

    /// Brings a node back that was killed.
    ///
    /// # Errors
    /// `NotFound` for a name that no node has.
    pub fn return_node(&self, host: &str) -> Result<()> {
        self.cluster.node_returned(host)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default()
            .placement()
            .exclusion()
            .constraints()
            .secret_channel(SecretChannel::Inherited);
        // In the caller's own process nobody limits memory, and what tasks print is the caller's.
        let apart = !matches!(self.cluster.master, LocalMaster::Inline { .. });
        capabilities.memory_enforced = apart;
        capabilities.logs = apart;
        capabilities.devices = !self.cluster.settings.devices.is_empty();
        capabilities.multi_node = self.cluster.master.nodes() > 1;
        capabilities
    }
}

#[async_trait]
impl Provisioner for Local {
    fn describe(&self) -> Descriptor {
        Descriptor {
            kind: "local",
            version: env!("CARGO_PKG_VERSION").to_owned(),
            capabilities: self.capabilities(),
            least_lease: Duration::from_millis(100),
        }
    }

    fn default_executor_cpus(&self) -> Option<Cpus> {
        self.cluster.master.only_executor()
    }

    async fn open(&self, spec: Arc<ApplicationSpec>, report: Reporter) -> Result<Opened> {
        spec.check_options(&[])?;
        spec.check_lease(self.describe().least_lease)?;
        if let Err(why) = launch::bootstrap_path(&spec.bootstrap) {
            return Err(Error::invalid("bootstrap", why));
        }
        let settings = self.cluster.settings.clone();
        let (id, name) = (spec.id.clone(), spec.name.clone());
        let made = tokio::task::spawn_blocking(move || ApplicationFolder::create(&settings, &id, &name));
        let folder = made
            .await
            .map_err(|error| Error::internal("making the application's folder failed").source(error))??;
        let native = spec.id.to_string();
        let shared = Shared::new(Arc::clone(&self.cluster), spec, report, folder);
        Ok(Opened {
            provisioning: Box::new(LocalApplication::new(shared)),
            native,
            page: None,
            capabilities: self.capabilities(),
        })
    }

    fn operator(&self) -> Option<&dyn Operator> {
        Some(&self.operator)
    }

    async fn diagnose(&self) -> Vec<Finding> {
        let settings = self.cluster.settings.clone();
        let looked = tokio::task::spawn_blocking(move || crate::operator::diagnose(&settings)).await;
        looked.unwrap_or_else(|error| {
            vec![Finding::error("local", &Error::internal("looking at this host failed").source(error))]
        })
    }

    async fn cluster(&self) -> Result<ClusterReport> {
        Ok(self.cluster.report())
    }
}
