use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::artifacts::FileToShip;
use super::handle::Driver;
use super::program::ExecutorProgram;
use super::run;
use super::settings::DriverSettings;
use super::task_plane::MakeTaskPlane;
use super::value::SettingValue;
use crate::error::{Error, ErrorKind, Result};
use crate::executor::{role, test_binary};
use crate::ids::Name;
use crate::manager::{Bootstrap, ClusterManager, Constraint, ManagerSettings, Pace, Platform, Registry};
use crate::units::{Cpus, MiB};

/// Backends that every [`Driver::builder`] knows: the facade submits those that are compiled in, and so may anybody.
///
/// ```
/// use convoke_core::driver::Backends;
/// inventory::submit! { Backends(|registry| registry.know("mine", "mine")) }
/// ```
pub struct Backends(pub fn(&mut Registry));

inventory::collect!(Backends);

pub(super) fn default_registry() -> Registry {
    let mut registry = Registry::new();
    for Backends(add) in inventory::iter::<Backends> {
        add(&mut registry);
    }
    registry
}

type Change = Box<dyn FnOnce(&mut DriverSettings) -> Result<()> + Send>;

/// Builds a [`Driver`]. What is set here goes before the environment (`CONVOKE_…`), that before the defaults.
#[must_use = "a driver starts with `start`"]
pub struct DriverBuilder {
    registry: Registry,
    changes: Vec<Change>,
    environment: bool,
    advertise: Vec<String>,
    manager: Option<Arc<dyn ClusterManager>>,
    manager_settings: ManagerSettings,
    make_plane: Option<MakeTaskPlane>,
    bootstrap: Bootstrap,
    arguments: Option<Vec<String>>,
    options: BTreeMap<String, String>,
    tags: BTreeMap<Name, String>,
}

macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident($type:ty) => $field:ident;)*) => {
        impl DriverBuilder {
            $(
                $(#[$doc])*
                pub fn $name(self, $name: impl SettingValue<$type>) -> DriverBuilder {
                    let value = $name.value();
                    self.change(move |settings| {
                        settings.$field = value.map_err(|error| error.with("setting", stringify!($name)))?;
                        Ok(())
                    })
                }
            )*
        }
    };
}

setters! {
    /// The application's name.
    name(Name) => name;
    /// Processors of each executor.
    executor_cpus(Cpus) => executor_cpus;
    /// Memory of each executor's process tree.
    executor_memory(MiB) => executor_memory;
    /// Processors that one task occupies.
    task_cpus(Cpus) => task_cpus;
    /// How often an executor says that it lives.
    heartbeat_interval(Duration) => heartbeat_interval;
    /// Silent for so long, an executor is lost.
    lost_after(Duration) => lost_after;
    /// With no driver for so long, everything of the application ends.
    lease(Duration) => lease;
    /// How long an executor that is to leave may finish its tasks.
    drain_grace(Duration) => drain_grace;
    /// From SIGTERM to SIGKILL when a process tree is ended.
    end_grace(Duration) => end_grace;
    /// From granted to launched.
    launch_deadline(Duration) => launch_deadline;
    /// From launched to joined.
    join_deadline(Duration) => join_deadline;
    /// How long the manager's cause of an exit is waited for.
    cause_wait(Duration) => cause_wait;
    /// How long a task may go on after it was cancelled, or its time was up, before that costs its executor (D6).
    task_cancel_deadline(Duration) => task_cancel_deadline;
    /// Up for so long, an executor ends the brake on replacements (L5).
    healthy_after(Duration) => healthy_after;
    /// How replacements slow down after exits on the application's blame (L5): `"3 in 60s: 1s to 5m"`.
    brake(Pace) => brake;
    /// The same after exits before the executor joined that are not on the application's blame (L5).
    pace(Pace) => pace;
}

impl DriverBuilder {
    pub(super) fn new(registry: Registry) -> DriverBuilder {
        DriverBuilder {
            registry,
            changes: Vec::new(),
            environment: true,
            advertise: Vec::new(),
            manager: None,
            manager_settings: ManagerSettings::default(),
            make_plane: None,
            bootstrap: Bootstrap::default(),
            arguments: None,
            options: BTreeMap::new(),
            tags: BTreeMap::new(),
        }
    }

    fn change(
        mut self,
        change: impl FnOnce(&mut DriverSettings) -> Result<()> + Send + 'static,
    ) -> DriverBuilder {
        self.changes.push(Box::new(change));
        self
    }

    /// The master URL, which chooses the backend: `local-cluster[2,1,512MiB]`.
    pub fn master(self, url: impl Into<String>) -> DriverBuilder {
        let url = url.into();
        self.change(move |settings| {
            settings.master = Some(url);
            Ok(())
        })
    }

    /// A manager of one's own instead of a master URL.
    pub fn manager(mut self, manager: Arc<dyn ClusterManager>) -> DriverBuilder {
        self.manager = Some(manager);
        self
    }

    /// How many executors are wanted from the start.
    pub fn executors(self, executors: u32) -> DriverBuilder {
        self.change(move |settings| {
            settings.executors = executors;
            Ok(())
        })
    }

    /// The most executors that the application ever has.
    pub fn max_executors(self, most: u32) -> DriverBuilder {
        self.change(move |settings| {
            settings.max_executors = most;
            Ok(())
        })
    }

    /// Attempts of a task that may fail, where its call says nothing else: 4 by default (D4).
    pub fn task_attempts(self, attempts: u32) -> DriverBuilder {
        self.change(move |settings| {
            settings.task_attempts = attempts;
            Ok(())
        })
    }

    /// Attempts of a task that may be lost through no fault of the application: 8 by default (D4).
    pub fn task_lost_attempts(self, attempts: u32) -> DriverBuilder {
        self.change(move |settings| {
            settings.task_lost_attempts = attempts;
            Ok(())
        })
    }

    /// Prefers a host for executors, with a weight among others: a hint, which never stops an allocation (A10).
    pub fn prefer_host(self, host: impl SettingValue<Name>, weight: u32) -> DriverBuilder {
        let host = host.value();
        self.change(move |settings| {
            settings.preferred_hosts.push((host?, weight));
            Ok(())
        })
    }

    /// Gives this host no executor (A10). [`Driver::exclude_hosts`] changes it later.
    pub fn exclude_host(self, host: impl SettingValue<Name>) -> DriverBuilder {
        let host = host.value();
        self.change(move |settings| {
            settings.excluded_hosts.push(host?);
            Ok(())
        })
    }

    /// Requires this of every host that gets an executor (A10).
    pub fn require(self, constraint: Constraint) -> DriverBuilder {
        self.change(move |settings| {
            settings.required_hosts.push(constraint);
            Ok(())
        })
    }

    /// A variable of every executor's environment. It travels encrypted; the manager doesn't see it.
    pub fn executor_env(self, name: impl Into<String>, value: impl Into<String>) -> DriverBuilder {
        let (name, value) = (name.into(), value.into());
        self.change(move |settings| {
            settings.executor_env.insert(name, value);
            Ok(())
        })
    }

    /// Ships a file, or a folder with all that is in it, to every executor: tasks find it by [`TaskContext::files`], commands in
    /// their working directory, under the last part of its path.
    ///
    /// It is opened and digested when the driver starts, and served as it was then, also when it is deleted or replaced;
    /// writing over it where it lies fails those who fetch it after that. Each node fetches it once. What it gets may not be
    /// written to: copy it first.
    ///
    /// [`TaskContext::files`]: crate::task::TaskContext::files
    pub fn file(self, path: impl Into<PathBuf>) -> DriverBuilder {
        self.ship(FileToShip { path: path.into(), name: None, archive: false })
    }

    /// As [`file`](DriverBuilder::file), under another name: a relative path.
    pub fn file_as(self, name: impl Into<String>, path: impl Into<PathBuf>) -> DriverBuilder {
        self.ship(FileToShip { path: path.into(), name: Some(name.into()), archive: false })
    }

    /// Ships an archive (`.tar`, `.tar.gz`, `.tgz`) that executors unpack to a folder of this name.
    pub fn archive_as(self, name: impl Into<String>, path: impl Into<PathBuf>) -> DriverBuilder {
        self.ship(FileToShip { path: path.into(), name: Some(name.into()), archive: true })
    }

    fn ship(self, file: FileToShip) -> DriverBuilder {
        self.change(move |settings| {
            settings.files.push(file);
            Ok(())
        })
    }

    /// Executors run this program instead of the driver's own: another build of the application, such as a static one.
    pub fn executor_binary(self, path: impl Into<PathBuf>) -> DriverBuilder {
        let path = path.into();
        self.change(move |settings| {
            settings.program.binary = Some(path);
            Ok(())
        })
    }

    /// Adds a build of it for nodes of this platform (`aarch64-linux-gnu`); again for a further one.
    pub fn executor_build(self, platform: Platform, path: impl Into<PathBuf>) -> DriverBuilder {
        let path = path.into();
        self.change(move |settings| {
            settings.program.builds.push((platform, path));
            Ok(())
        })
    }

    /// Executors run `program` with these arguments instead of tasks: a program that doesn't link convoke (D14). More about
    /// it, ports above all, can be said with [`executor_program`](Self::executor_program).
    pub fn executor_command(
        self,
        program: impl Into<String>,
        args: impl IntoIterator<Item = impl Into<String>>,
    ) -> DriverBuilder {
        self.executor_program(ExecutorProgram::new(program).args(args))
    }

    /// Executors run this program instead of tasks (D14).
    pub fn executor_program(self, program: ExecutorProgram) -> DriverBuilder {
        self.change(move |settings| {
            settings.executor_program = Some(program);
            Ok(())
        })
    }

    /// The address to listen on.
    pub fn bind(self, address: IpAddr) -> DriverBuilder {
        self.change(move |settings| {
            settings.bind = Some(address);
            Ok(())
        })
    }

    /// What executors dial (`HOST` or `HOST:PORT`); again for a further one.
    pub fn advertise(mut self, address: impl Into<String>) -> DriverBuilder {
        self.advertise.push(address.into());
        self
    }

    /// The port to listen on; in use, the next ones are tried (`driver.port-tries`). 0: any free one.
    pub fn port(self, port: u16) -> DriverBuilder {
        self.change(move |settings| {
            settings.port = port;
            Ok(())
        })
    }

    /// Gives up encryption and authentication between driver and executors: whoever reaches the driver's port can run
    /// anything in this application, and whoever listens on the way can read all of it.
    pub fn insecure(self) -> DriverBuilder {
        self.change(|settings| {
            settings.insecure = true;
            Ok(())
        })
    }

    /// Any setting by its dotted key, as [`SETTINGS`](super::settings::SETTINGS) lists them.
    pub fn setting(self, key: impl Into<String>, value: impl Into<String>) -> DriverBuilder {
        let (key, value) = (key.into(), value.into());
        self.change(move |settings| settings.set(&key, &value))
    }

    /// Leaves the environment (`CONVOKE_…`) alone.
    pub fn ignore_environment(mut self) -> DriverBuilder {
        self.environment = false;
        self
    }

    /// An option of the backend's own; one that it doesn't know is refused.
    pub fn option(mut self, name: impl Into<String>, value: impl Into<String>) -> DriverBuilder {
        self.options.insert(name.into(), value.into());
        self
    }

    /// A setting of the backend itself, by dotted key.
    pub fn manager_setting(mut self, key: impl Into<String>, value: impl Into<String>) -> DriverBuilder {
        self.manager_settings.options.insert(key.into(), value.into());
        self
    }

    /// A tag that the manager shows.
    pub fn tag(mut self, name: Name, value: impl Into<String>) -> DriverBuilder {
        self.tags.insert(name, value.into());
        self
    }

    /// The program that becomes an executor's supervisor. Absent: the executors' program, which by default is this very one. A
    /// bootstrap that isn't the executors' program fetches that from the driver.
    pub fn bootstrap(mut self, bootstrap: Bootstrap) -> DriverBuilder {
        self.bootstrap = bootstrap;
        self
    }

    /// Arguments with which the bootstrap becomes an executor.
    pub fn bootstrap_arguments(mut self, arguments: Vec<String>) -> DriverBuilder {
        self.arguments = Some(arguments);
        self
    }

    /// A task plane of one's own, for tests of the control plane.
    pub fn task_plane(mut self, make: MakeTaskPlane) -> DriverBuilder {
        self.make_plane = Some(make);
        self
    }

    /// Starts the driver: it listens, registers the application, and wishes for its executors. Waits for none of them:
    /// [`wait_ready`](Driver::wait_ready) does.
    ///
    /// # Errors
    /// `InvalidRequest` for settings that can't be right, before anything happens; `AlreadyExists` for ports in use;
    /// otherwise as [`ClusterManager::register`].
    ///
    /// # Cancel safety
    /// Dropping the call abandons what was begun (R4).
    pub async fn start(self) -> Result<Driver> {
        let setup = self.setup()?;
        let (asks, inbox) = mpsc::unbounded_channel();
        let (up, is_up) = oneshot::channel();
        let thread = run::spawn(setup, up, inbox)?;
        let up = is_up.await.map_err(|_| Error::internal("the driver's thread ended as it started"))??;
        Ok(Driver::new(up, asks, thread))
    }

    /// [`start`](Self::start), for programs without a runtime.
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_blocking(self) -> Result<Driver> {
        crate::block_on(self.start())
    }

    fn setup(self) -> Result<run::Setup> {
        if role::is_executor() {
            // It would start executors that start executors.
            return Err(Error::new(
                ErrorKind::Unsupported,
                "this process was started to be an executor, and tries to be a driver",
            )
            .help("call convoke::init() first in main"));
        }
        let mut settings = DriverSettings::with_backends(self.registry.clone());
        if self.environment {
            let variables = std::env::vars_os()
                .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
            settings.set_from_environment(variables)?;
        }
        for change in self.changes {
            change(&mut settings)?;
        }
        if !self.advertise.is_empty() {
            settings.advertise = self.advertise;
        }
        settings.check()?;
        // What code says of the backend itself goes before flags and environment.
        let mut manager_settings = self.manager_settings;
        for (key, value) in &settings.manager {
            manager_settings.options.entry(key.clone()).or_insert_with(|| value.clone());
        }
        let manager = match self.manager {
            Some(manager) => manager,
            None => self.registry.manager_with(&settings.master_or_local(), &manager_settings)?,
        };
        // A default that was left alone gives way to what the master URL says: `local[4]` runs four tasks at once.
        if settings.executor_cpus == DriverSettings::default().executor_cpus
            && let Some(cpus) = manager.default_executor_cpus()
        {
            settings.executor_cpus = cpus;
        }
        let make_plane = self.make_plane.unwrap_or_else(|| match &settings.executor_program {
            Some(program) => super::no_task_plane(program.program()),
            None => super::default_task_plane(&settings),
        });
        Ok(run::Setup {
            settings,
            manager,
            make_plane,
            bootstrap: self.bootstrap,
            arguments: self.arguments.unwrap_or_else(test_binary::bootstrap_arguments),
            options: self.options,
            tags: self.tags,
        })
    }
}

impl fmt::Debug for DriverBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DriverBuilder").field("registry", &self.registry).finish_non_exhaustive()
    }
}
