//! A manager that keeps the tickets which its executors are started with, and else leaves all to the local backend.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use convoke::ids::ExecutorId;
use convoke::manager::{
    ApplicationSpec, ClusterManager, Descriptor, LaunchCommand, Launcher, ManagerSettings, Registration,
};
use convoke::resource::ResourceProfile;

#[derive(Debug)]
pub struct Recording {
    inner: Arc<dyn ClusterManager>,
    launched: Arc<Mutex<BTreeMap<ExecutorId, LaunchCommand>>>,
    launcher: Mutex<Option<Arc<dyn Launcher>>>,
}

impl Recording {
    pub fn of(master: &str, folder: Option<&Path>) -> Arc<Recording> {
        let mut settings = ManagerSettings::default();
        if let Some(folder) = folder {
            settings.options.insert("local.directory".to_owned(), folder.display().to_string());
        }
        Arc::new(Recording {
            inner: convoke::registry().manager_with(master, &settings).unwrap(),
            launched: Arc::default(),
            launcher: Mutex::default(),
        })
    }

    /// The commands of all executors that were started.
    pub fn launched(&self) -> BTreeMap<ExecutorId, LaunchCommand> {
        self.launched.lock().unwrap().clone()
    }

    /// The genuine command of an executor that nobody asked for.
    pub fn command(&self, executor: ExecutorId) -> LaunchCommand {
        let launcher = self.launcher.lock().unwrap().clone().expect("it is registered");
        launcher.launch(executor, &ResourceProfile::default())
    }
}

#[derive(Debug)]
struct Keeping {
    inner: Arc<dyn Launcher>,
    launched: Arc<Mutex<BTreeMap<ExecutorId, LaunchCommand>>>,
}

impl Launcher for Keeping {
    fn launch(&self, executor: ExecutorId, profile: &ResourceProfile) -> LaunchCommand {
        let command = self.inner.launch(executor, profile);
        self.launched.lock().unwrap().insert(executor, command.clone());
        command
    }
}

#[async_trait]
impl ClusterManager for Recording {
    fn describe(&self) -> Descriptor {
        self.inner.describe()
    }

    async fn register(&self, mut spec: ApplicationSpec) -> convoke::Result<Registration> {
        *self.launcher.lock().unwrap() = Some(spec.launcher.clone());
        spec.launcher = Arc::new(Keeping { inner: spec.launcher.clone(), launched: self.launched.clone() });
        self.inner.register(spec).await
    }
}
