use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use convoke_core::ids::{ApplicationId, Name};
use convoke_core::manager::{ApplicationSpec, Artifact, Bootstrap, ClusterManager, Platform, Source};
use convoke_core::resource::ResourceProfile;
use convoke_core::secret::Digest;
use convoke_core::{Error, Result};

use crate::application::{Inner, Setup};
use crate::deadlines::{DeadlineName, Deadlines};
use crate::driven::Driven;
use crate::files::FileServer;
use crate::harness::{Environment, Guard, Harness, Hooks, Room, Sizes};
use crate::service::Service;
use crate::timeline::Timeline;
use crate::verdict::Finding;
use crate::wait::{self, Pulse};
use crate::witness::{News, Witness, processes_with};

/// All that one case's check has: the subject in a fresh environment, the hooks, the kit's own witness, and time.
#[derive(Debug, Clone)]
pub struct Context(Arc<Parts>);

#[derive(Debug)]
struct Parts {
    harness: Arc<dyn Harness>,
    manager: Arc<dyn ClusterManager>,
    hooks: Arc<dyn Hooks>,
    room: Room,
    guard: Mutex<Option<Box<dyn Guard>>>,
    deadlines: Deadlines,
    witness: Arc<Witness>,
    timeline: Arc<Timeline>,
    pulse: Pulse,
    applications: Arc<Mutex<Vec<Arc<Inner>>>>,
    bootstrap: Bootstrap,
    files: Option<FileServer>,
    service: Service,
    dispatching: tokio::task::JoinHandle<()>,
}

impl Drop for Parts {
    fn drop(&mut self) {
        self.dispatching.abort();
    }
}

impl Context {
    /// Makes an environment and listens for its probes.
    pub(crate) async fn open(
        harness: Arc<dyn Harness>,
        deadlines: Deadlines,
        token: String,
        bootstrap: Bootstrap,
    ) -> Result<Context> {
        let timeline = Arc::new(Timeline::start());
        let pulse = Pulse::default();
        let (news, heard) = tokio::sync::mpsc::unbounded_channel();
        let witness = Arc::new(
            Witness::listen(&harness.reached_at(), &token, pulse.clone(), timeline.clone(), news).await?,
        );
        let applications = Arc::new(Mutex::new(Vec::new()));
        let service = Service::start(
            &harness.reached_at(),
            Arc::downgrade(&applications),
            timeline.clone(),
            pulse.clone(),
        )
        .await?;
        let Environment { manager, hooks, room, guard } = harness.environment().await?;
        let files = if manager.fetches_bootstrap() {
            Some(FileServer::start(&harness.reached_at()).await?)
        } else {
            None
        };
        let mut bootstrap = bootstrap;
        for (_, artifact) in &mut bootstrap.builds {
            let path = artifact.sources.iter().find_map(|source| match source {
                Source::DriverPath(path) => Some(path.clone()),
                _ => None,
            });
            if let (Some(files), Some(path)) = (&files, path) {
                artifact.sources.push(Source::Url(files.url(Path::new(&path))));
            }
        }
        let dispatching = tokio::spawn(dispatch(
            heard,
            Arc::downgrade(&applications),
            Arc::downgrade(&witness),
            timeline.clone(),
            pulse.clone(),
        ));
        Ok(Context(Arc::new(Parts {
            harness,
            manager,
            hooks,
            room,
            guard: Mutex::new(Some(guard)),
            deadlines,
            witness,
            timeline,
            pulse,
            applications,
            bootstrap,
            files,
            service,
            dispatching,
        })))
    }

    /// The harness that the environment is of.
    #[must_use]
    pub fn harness(&self) -> &Arc<dyn Harness> {
        &self.0.harness
    }

    /// The subject.
    #[must_use]
    pub fn manager(&self) -> &Arc<dyn ClusterManager> {
        &self.0.manager
    }

    /// The hooks.
    #[must_use]
    pub fn hooks(&self) -> &dyn Hooks {
        &*self.0.hooks
    }

    /// What there is room for.
    #[must_use]
    pub fn room(&self) -> &Room {
        &self.0.room
    }

    /// The harness's sizes.
    #[must_use]
    pub fn sizes(&self) -> Sizes {
        self.0.harness.sizes()
    }

    /// The kit's own witness.
    #[must_use]
    pub fn witness(&self) -> &Witness {
        &self.0.witness
    }

    /// What happens, for the report.
    #[must_use]
    pub fn timeline(&self) -> &Arc<Timeline> {
        &self.0.timeline
    }

    pub(crate) fn pulse(&self) -> &Pulse {
        &self.0.pulse
    }

    /// Where supervisors join.
    pub(crate) fn driver_address(&self) -> &str {
        &self.0.service.address
    }

    /// Where a file of the kit's can be had, by every kind of manager.
    pub(crate) fn sources(&self, path: &Path) -> Vec<Source> {
        let text = path.display().to_string();
        let mut sources = vec![Source::DriverPath(text.clone())];
        match &self.0.files {
            Some(files) => sources.push(Source::Url(files.url(path))),
            None => sources.push(Source::NodePath(text)),
        }
        sources
    }

    pub(crate) fn bootstrap(&self) -> Bootstrap {
        self.0.bootstrap.clone()
    }

    /// How long a deadline is.
    #[must_use]
    pub fn deadline(&self, name: DeadlineName) -> Duration {
        self.0.deadlines.of(name)
    }

    /// Says that the check needs room for so many of the kit's executors.
    ///
    /// # Errors
    /// [`Finding::NotCheckable`] where there is less.
    pub fn need_room(&self, executors: u32) -> Result<(), Finding> {
        match self.0.room.executors {
            Some(room) if room < executors => {
                Err(Finding::lacks(format!("room for {executors} executors; there is room for {room}")))
            }
            _ => Ok(()),
        }
    }

    /// What one of the kit's executors asks for, as profile 0.
    #[must_use]
    pub fn profile(&self) -> Arc<ResourceProfile> {
        self.profile_numbered(0)
    }

    /// The same resources under another id.
    #[must_use]
    pub fn profile_numbered(&self, id: u32) -> Arc<ResourceProfile> {
        let each = self.sizes().executor;
        let task = convoke_core::resource::TaskResources { cpus: each.cpus, ..Default::default() };
        Arc::new(ResourceProfile { id: convoke_core::ids::ProfileId(id), each, task })
    }

    /// Registers an application of the kit's, with everything as usual.
    ///
    /// # Errors
    /// [`Finding::Failed`] where `register` fails or doesn't answer in time.
    pub async fn register(&self) -> Result<Driven, Finding> {
        self.register_as(Setup::default()).await
    }

    /// Registers an application of the kit's.
    ///
    /// # Errors
    /// [`Finding::Failed`] where `register` fails or doesn't answer in time.
    pub async fn register_as(&self, setup: Setup) -> Result<Driven, Finding> {
        self.register_telling(setup, |_| {}).await
    }

    /// The same; `tell` is given its id before anything happens.
    pub(crate) async fn register_telling(
        &self,
        setup: Setup,
        tell: impl FnOnce(&ApplicationId),
    ) -> Result<Driven, Finding> {
        let (spec, inner) = self.specify(setup)?;
        let id = spec.id.clone();
        tell(&id);
        self.0.timeline.note(format!("register {id}"));
        let within = self.deadline(DeadlineName::Register);
        match tokio::time::timeout(within, self.0.manager.register(spec)).await {
            Err(_) => Err(Finding::failed(
                "never answered",
                format!("`register` did not answer within {}", convoke_core::units::format_duration(within)),
            )),
            Ok(Err(error)) => Err(Finding::failed("register failed", format!("{error:#}"))),
            Ok(Ok(registration)) => {
                self.0
                    .timeline
                    .note(format!("registered {id} as {}", registration.application.info().native));
                Ok(Driven::start(self.clone(), inner, registration))
            }
        }
    }

    /// The specification that [`Context::register_as`] would hand over.
    ///
    /// # Errors
    /// [`Finding::CouldNotRun`] where the kit itself can't make one.
    pub fn specify(&self, setup: Setup) -> Result<(ApplicationSpec, Arc<Inner>), Finding> {
        let inner = Inner::new(self, setup).map_err(Finding::CouldNotRun)?;
        self.0.applications.lock().unwrap_or_else(PoisonError::into_inner).push(inner.clone());
        let spec = inner.specification(self).map_err(Finding::CouldNotRun)?;
        Ok((spec, inner))
    }

    /// Waits until `look` answers `Ok`.
    ///
    /// # Errors
    /// [`Finding::Failed`] once the deadline is over.
    pub async fn eventually<T>(
        &self,
        what: &str,
        within: Duration,
        look: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, Finding> {
        wait::eventually(&self.0.pulse, what, within, look).await
    }

    /// Watches that `look` never answers `Some`.
    ///
    /// # Errors
    /// [`Finding::Failed`] as soon as it does.
    pub async fn never(
        &self,
        what: &str,
        during: Duration,
        look: impl AsyncFnMut() -> Option<String>,
    ) -> Result<(), Finding> {
        wait::never(&self.0.pulse, what, during, look).await
    }

    /// Ends whatever the case left, and says what the subject leaked past that.
    pub(crate) async fn close(self) -> Result<Vec<String>> {
        let applications =
            std::mem::take(&mut *self.0.applications.lock().unwrap_or_else(PoisonError::into_inner));
        let deadline = self.deadline(DeadlineName::Unregister);
        let ended = applications.iter().map(|inner| inner.end(deadline));
        // what does not end here is looked for below
        let _ = tokio::time::timeout(deadline * 2, futures_util::future::join_all(ended)).await;
        drop(applications);
        let guard = self.0.guard.lock().unwrap_or_else(PoisonError::into_inner).take();
        let cleaned = match guard {
            Some(guard) => guard.clean_up().await,
            None => Ok(()),
        };
        let leaked = leaked(self.witness().token());
        cleaned.map(|()| leaked)
    }
}

/// Ends the processes of a case that are still there, by the token in their arguments, and tells them.
fn leaked(token: &str) -> Vec<String> {
    processes_with(token)
        .into_iter()
        .map(|process| {
            let ended = i32::try_from(process)
                .ok()
                .and_then(rustix::process::Pid::from_raw)
                .map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            match ended {
                Some(Ok(())) => format!("process {process}, ended by the kit"),
                _ => format!("process {process}"),
            }
        })
        .collect()
}

/// Passes what the witness saw to the application that it belongs to.
async fn dispatch(
    mut heard: tokio::sync::mpsc::UnboundedReceiver<News>,
    applications: Weak<Mutex<Vec<Arc<Inner>>>>,
    witness: Weak<Witness>,
    timeline: Arc<Timeline>,
    pulse: Pulse,
) {
    while let Some(news) = heard.recv().await {
        let Some(applications) = applications.upgrade() else { return };
        let (News::Called(application, _) | News::HungUp(application, _)) = &news;
        let inner = applications
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .iter()
            .find(|inner| inner.id() == application)
            .cloned();
        match inner {
            Some(inner) => {
                if let (Some(unwanted), Some(witness)) = (inner.hear(&news), witness.upgrade()) {
                    witness.hang_up(inner.id(), unwanted);
                }
            }
            None => timeline.note(format!("news of an application that nobody knows: {news:?}")),
        }
        pulse.ring();
    }
}

/// This program, as a bootstrap: digested once.
pub(crate) fn this_program() -> Result<Bootstrap> {
    static DIGESTED: std::sync::OnceLock<Result<Bootstrap>> = std::sync::OnceLock::new();
    DIGESTED.get_or_init(digest_this_program).clone()
}

fn digest_this_program() -> Result<Bootstrap> {
    let path = std::env::current_exe().map_err(|error| Error::host("this program's own path", error))?;
    let bytes = std::fs::read(&path).map_err(|error| Error::host("can't read this program", error))?;
    let path = path.to_str().ok_or_else(|| Error::invalid("path", "this program's path is not UTF-8"))?;
    Ok(Bootstrap {
        builds: vec![(
            Platform::current(),
            Artifact {
                name: Name::new("convoke-conformance")?,
                sha256: Digest::of(&bytes),
                bytes: bytes.len() as u64,
                executable: true,
                sources: vec![Source::DriverPath(path.to_owned()), Source::NodePath(path.to_owned())],
            },
        )],
    })
}
