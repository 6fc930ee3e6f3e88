use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};

use super::artifacts::ArtifactStatus;
use super::builder::DriverBuilder;
use super::control::{Control, ExecutorStatus};
use super::events::DriverEvents;
use super::run::{self, Ask, Next};
use super::settings::DriverSettings;
use super::task_plane::TaskPlane;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ApplicationId, ExecutorId, Name};
use crate::manager::{
    ApplicationInfo, LogChunk, LogRequest, Outcome, Registry, Release, ReleaseAnswer, Shortfall, Stream, Then,
};
use crate::resource::ResourceProfile;
use crate::rpc::refusal::Refusal;
use crate::state::executors::ExecutorEvent;
use crate::units::{HostPort, format_duration};

/// A driver: one application and the executors that it holds.
///
/// It listens for its executors on a thread of its own for as long as this value lives. Every future that it gives works
/// under any runtime, and with [`block_on`](crate::block_on) under none. Dropping it without
/// [`shutdown`](Driver::shutdown) tells its executors to end and abandons the application (T3); the lease does the rest. The drop
/// waits until they have hung up, which takes some milliseconds, and 0.3 s at the most where one doesn't answer: in async code, end a
/// driver with `shutdown`.
pub struct Driver {
    control: Arc<Control>,
    runtime: tokio::runtime::Handle,
    addresses: Vec<HostPort>,
    asks: Option<mpsc::UnboundedSender<Ask>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Driver {
    /// Begins a driver, with the backends that are compiled in (see [`Backends`](super::Backends)).
    pub fn builder() -> DriverBuilder {
        DriverBuilder::new(super::builder::default_registry())
    }

    /// Begins a driver that knows the backends of `registry`.
    pub fn builder_with(registry: Registry) -> DriverBuilder {
        DriverBuilder::new(registry)
    }

    pub(super) fn new(
        up: run::Up,
        asks: mpsc::UnboundedSender<Ask>,
        thread: std::thread::JoinHandle<()>,
    ) -> Driver {
        let run::Up { control, runtime, addresses } = up;
        Driver { control, runtime, addresses, asks: Some(asks), thread: Some(thread) }
    }

    /// The application's id.
    #[must_use]
    pub fn application(&self) -> &ApplicationId {
        &self.control.application_id
    }

    /// The settings that it was started with.
    #[must_use]
    pub fn settings(&self) -> &DriverSettings {
        &self.control.settings
    }

    /// The addresses that it advertises to executors.
    #[must_use]
    pub fn addresses(&self) -> &[HostPort] {
        &self.addresses
    }

    /// The manager's own id of the application, a page for people, and what this cluster claims (R5).
    ///
    /// # Errors
    /// `Unavailable` once the driver has ended.
    pub fn info(&self) -> Result<ApplicationInfo> {
        self.control.registered().map(|application| application.info())
    }

    /// Waits until `n` executors take tasks. While it waits, [`DriverEvent::ExecutorsMissing`](super::DriverEvent) and a warning
    /// (`tracing`) say what for.
    ///
    /// # Errors
    /// `DeadlineExceeded` after `timeout`, with the manager's reasons (A6); `Unavailable` where the application ends before.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn wait_ready(&self, n: usize, timeout: Duration) -> impl Future<Output = Result<()>> + Send + use<> {
        self.call(move |control| run::wait_ready(control, n, timeout))
    }

    /// Sets how many executors of the default profile are wanted: a total. Lowering it ends nothing that runs (A4).
    ///
    /// # Errors
    /// `InvalidRequest`; `Unavailable` once the driver has ended.
    pub fn set_executors(&self, executors: u32) -> Result<()> {
        self.set_target(self.control.settings.default_profile(), executors)
    }

    /// Sets how many executors of one profile are wanted, while jobs run; the other profiles' numbers stay.
    ///
    /// # Errors
    /// `InvalidRequest`, also for a profile that differs from an earlier one with its id; `Unavailable` once the driver has
    /// ended.
    pub fn set_target(&self, profile: ResourceProfile, executors: u32) -> Result<()> {
        let _within = self.runtime.enter(); // a manager may start something on it
        self.control.set_target(profile, executors)
    }

    /// Uses none of these hosts from now on, instead of those excluded before (A10). Executors that run there go on; those that
    /// were on their way there are wanted anew elsewhere.
    ///
    /// # Errors
    /// `Unavailable` once the driver has ended.
    pub fn exclude_hosts(&self, hosts: Vec<Name>) -> Result<()> {
        let _within = self.runtime.enter(); // a manager may start something on it
        self.control.exclude_hosts(hosts)
    }

    /// Lets these executors finish their running tasks, for `grace` at the most, and go.
    ///
    /// # Errors
    /// `Unavailable` once the driver has ended.
    pub async fn drain(
        &self,
        executors: Vec<ExecutorId>,
        grace: Duration,
        then: Then,
    ) -> Result<Vec<(ExecutorId, ReleaseAnswer)>> {
        self.call(move |control| async move {
            let application = control.registered()?;
            let mut answers = Vec::new();
            for executor in executors {
                // One that has joined is drained by us; the manager is told by the same step. Another is the manager's alone.
                if control.counts(executor) {
                    let why = "released by its driver".to_owned();
                    control.handle(executor, ExecutorEvent::Drain { why, grace, then });
                    answers.push((executor, ReleaseAnswer::Accepted));
                } else {
                    let why = crate::manager::ExitCause::Released;
                    let release = Release { executors: vec![executor], grace, then, why };
                    answers.extend(application.release(&release));
                }
            }
            Ok(answers)
        })
        .await
    }

    /// What executors fetch from this driver, and how much of it went out.
    #[must_use]
    pub fn artifacts(&self) -> Vec<ArtifactStatus> {
        self.control.artifacts.status()
    }

    /// Why the wish isn't met: nothing where all is well (A6).
    ///
    /// # Errors
    /// `Unavailable` once the driver has ended.
    ///
    /// # Cancel safety
    /// Cancel safe.
    pub fn explain(&self) -> impl Future<Output = Result<Vec<Shortfall>>> + Send + use<> {
        self.call(|control| async move { control.registered()?.explain().await })
    }

    /// Reads what an executor printed, as it runs and after its end (E2).
    ///
    /// # Errors
    /// `NotFound` for an executor that never was; `Unsupported` where the manager gives no logs.
    ///
    /// # Cancel safety
    /// Dropping the stream ends the reading.
    pub fn logs(
        &self,
        executor: ExecutorId,
        request: LogRequest,
    ) -> impl Future<Output = Result<Stream<Result<LogChunk>>>> + Send + use<> {
        self.call(move |control| async move {
            let mut chunks = control.registered()?.logs(executor, request).await?;
            // Read on the driver's runtime, which the manager's stream may need.
            let (sender, receiver) = mpsc::channel(8);
            tokio::spawn(async move {
                while let Some(chunk) = std::future::poll_fn(|cx| chunks.as_mut().poll_next(cx)).await {
                    if sender.send(chunk).await.is_err() {
                        return;
                    }
                }
            });
            Ok(Box::pin(tokio_stream::wrappers::ReceiverStream::new(receiver)) as Stream<_>)
        })
    }

    /// Every executor that hasn't ended, now.
    #[must_use]
    pub fn executors(&self) -> Vec<ExecutorStatus> {
        self.control.executors()
    }

    /// What happens from now on; for any number of readers.
    #[must_use]
    pub fn events(&self) -> DriverEvents {
        self.control.events.listen()
    }

    /// How often connections and calls were refused, by reason (D1).
    #[must_use]
    pub fn refusals(&self) -> BTreeMap<Refusal, u64> {
        self.control.refusals.counts()
    }

    /// Ends the application: its executors with all their children, and what is left of it at its manager (T1, T4). `Ok`
    /// says that nothing is left.
    ///
    /// # Errors
    /// `DeadlineExceeded` or `Unavailable` where something may be left; the lease ends that.
    ///
    /// # Cancel safety
    /// A dropped call is a dropped driver.
    pub async fn shutdown(mut self, outcome: Outcome, deadline: Duration) -> Result<()> {
        let done = self
            .call(move |control| async move {
                let ending = run::unregister(control, outcome, deadline);
                // A manager that doesn't keep its own deadline doesn't keep the caller.
                let most = deadline + Duration::from_secs(1);
                tokio::time::timeout(most, ending).await.unwrap_or_else(|_| {
                    Err(Error::new(ErrorKind::DeadlineExceeded, "the manager didn't answer")
                        .with("deadline", format_duration(deadline)))
                })
            })
            .await;
        if let Some(asks) = self.asks.take() {
            let _ = asks.send(Box::new(|_| Next::Stop)); // gone already: fine
        }
        done
    }

    /// The task plane, for the interface of jobs.
    #[allow(dead_code, reason = "the interface of jobs comes with the task plane")]
    pub(crate) fn plane(&self) -> Result<&Arc<dyn TaskPlane>> {
        self.control.plane().ok_or_else(gone)
    }

    /// Runs something on the driver's thread; its order among other calls is kept up to its first await.
    fn call<T, F, W>(&self, what: W) -> impl Future<Output = Result<T>> + Send + use<T, F, W>
    where
        T: Send + 'static,
        F: Future<Output = Result<T>> + Send + 'static,
        W: FnOnce(Arc<Control>) -> F + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        let ask: Ask = Box::new(move |control| {
            let doing = what(control.clone());
            Next::Wait(Box::pin(async move {
                let mut reply = reply;
                tokio::select! {
                    done = doing => { let _ = reply.send(done); }
                    () = reply.closed() => {}
                }
            }))
        });
        let sent = self.asks.as_ref().is_some_and(|asks| asks.send(ask).is_ok());
        async move { if sent { answer.await.unwrap_or_else(|_| Err(gone())) } else { Err(gone()) } }
    }
}

fn gone() -> Error {
    Error::new(ErrorKind::Unavailable, "the driver has ended")
}

/// All reasons of all shortfalls, on one line.
pub(super) fn reasons(shortfalls: &[Shortfall]) -> String {
    let all = shortfalls.iter().map(|shortfall| {
        let reasons: Vec<_> = shortfall.reasons.iter().map(ToString::to_string).collect();
        let of = match shortfall.profile {
            Some(profile) if profile.0 != 0 => format!("profile {profile}: "),
            _ => String::new(),
        };
        let reasons = if reasons.is_empty() { "no reason known".to_owned() } else { reasons.join(", ") };
        format!("{of}{} of {} executors: {reasons}", shortfall.live, shortfall.wanted)
    });
    all.collect::<Vec<_>>().join("; ")
}

impl Drop for Driver {
    fn drop(&mut self) {
        drop(self.asks.take());
        // Waits for the farewells to the executors: 0.3 s at the most.
        if let Some(thread) = self.thread.take()
            && thread.thread().id() != std::thread::current().id()
            && thread.join().is_err()
        {
            tracing::error!("the driver's thread panicked");
        }
    }
}

impl fmt::Debug for Driver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Driver")
            .field("application", &self.control.application_id)
            .field("addresses", &self.addresses)
            .finish_non_exhaustive()
    }
}
