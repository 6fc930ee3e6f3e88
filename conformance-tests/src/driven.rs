use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    Application, ApplicationSpec, ExecutorPolicy, Exit, ExitCause, Generation, Heard, Outcome, Registration,
    Release, ReleaseAnswer, Shortfall, Target, Then,
};
use convoke_core::units::{HostPort, format_duration};
use convoke_core::{Error, Result};

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::launcher::{KitLauncher, Tweak};
use crate::probe::wire::{Found, FromProbe, ToProbe};
use crate::timeline::Timeline;
use crate::verdict::Finding;
use crate::view::{View, line};
use crate::witness::News;

/// What of an application differs from the kit's usual.
#[derive(Clone, Default)]
pub struct Setup {
    /// Its name.
    pub name: Option<String>,
    /// Its lease; the deadline `lease` else.
    pub lease: Option<Duration>,
    /// Its hard cap of executors.
    pub max_executors: Option<u32>,
    /// How its executors are replaced and given up.
    pub policy: Option<ExecutorPolicy>,
    /// Options for the backend.
    pub options: BTreeMap<String, String>,
    /// Its driver doesn't say that executors joined, as if they never had.
    pub deaf: bool,
    /// Changes the command of each executor.
    pub tweak: Option<Tweak>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("name", &self.name).finish_non_exhaustive()
    }
}

/// An application of the kit's before and after its registration.
#[derive(Debug)]
pub struct Inner {
    id: ApplicationId,
    name: Name,
    setup: Setup,
    handle: Mutex<Option<Arc<dyn Application>>>,
    view: Mutex<View>,
    timeline: Arc<Timeline>,
}

impl Inner {
    pub(crate) fn new(context: &Context, setup: Setup) -> Result<Arc<Inner>> {
        let name = Name::new(setup.name.as_deref().unwrap_or("conformance"))?;
        Ok(Arc::new(Inner {
            id: ApplicationId::generate(&name)?,
            name,
            setup,
            handle: Mutex::new(None),
            view: Mutex::default(),
            timeline: context.timeline().clone(),
        }))
    }

    pub(crate) fn specification(&self, context: &Context) -> Result<ApplicationSpec> {
        let lease = self.setup.lease.unwrap_or_else(|| {
            context.deadline(DeadlineName::Lease).max(context.manager().describe().least_lease)
        });
        let address: HostPort = context.witness().address().parse()?;
        let launcher = KitLauncher {
            token: context.witness().token().to_owned(),
            kit: context.witness().address().to_owned(),
            application: self.id.clone(),
            lease,
            tweak: self.setup.tweak.clone(),
        };
        let mut spec = ApplicationSpec::builder(self.id.clone(), self.name.clone(), Arc::new(launcher))
            .lease(lease)
            .driver(vec![address])
            .bootstrap(context.bootstrap())
            .options(self.setup.options.clone());
        if let Some(most) = self.setup.max_executors {
            spec = spec.max_executors(most);
        }
        if let Some(policy) = &self.setup.policy {
            spec = spec.policy(policy.clone());
        }
        spec.build()
    }

    pub(crate) fn id(&self) -> &ApplicationId {
        &self.id
    }

    fn handle(&self) -> Option<Arc<dyn Application>> {
        lock(&self.handle).clone()
    }

    /// Passes on what the witness saw; answers an executor that the subject doesn't want.
    pub(crate) fn hear(&self, news: &News) -> Option<ExecutorId> {
        let handle = self.handle()?;
        let (executor, heard) = match news {
            News::Called(_, executor) if self.setup.deaf => {
                self.timeline.note(format!("the deaf driver of {} hears nothing of {executor:?}", self.id));
                return None;
            }
            News::Called(_, executor) => (*executor, Heard::Joined),
            News::HungUp(_, executor) => (*executor, Heard::HungUp),
        };
        let wanted = handle.heard(executor, heard.clone());
        self.timeline
            .note(format!("heard({executor:?}, {heard:?}): {}", if wanted { "ours" } else { "not ours" }));
        (!wanted && matches!(news, News::Called(..))).then_some(executor)
    }

    /// Ends the application as well as it can, at the end of a case.
    pub(crate) async fn end(&self, deadline: Duration) {
        let Some(handle) = lock(&self.handle).take() else { return };
        if let Err(error) = handle.unregister(Outcome::Succeeded, deadline).await {
            self.timeline.note(format!("{} does not end: {error}", self.id));
        }
    }
}

/// A registered application that the kit drives.
#[derive(Debug)]
pub struct Driven {
    context: Context,
    inner: Arc<Inner>,
    reading: tokio::task::JoinHandle<()>,
}

impl Drop for Driven {
    fn drop(&mut self) {
        self.reading.abort();
    }
}

impl Driven {
    pub(crate) fn start(context: Context, inner: Arc<Inner>, registration: Registration) -> Driven {
        let Registration { application, mut events } = registration;
        *lock(&inner.handle) = Some(Arc::from(application));
        let (reader, pulse) = (inner.clone(), context.pulse().clone());
        let reading = tokio::spawn(async move {
            while let Some(event) = events.next().await {
                reader.timeline.note(format!("{} {}", reader.id, line(&event)));
                lock(&reader.view).add(clock::now(), event);
                pulse.ring();
            }
            reader.timeline.note(format!("{} the stream of events ends", reader.id));
            lock(&reader.view).over = true;
            pulse.ring();
        });
        Driven { context, inner, reading }
    }

    /// convoke's id of it.
    #[must_use]
    pub fn id(&self) -> &ApplicationId {
        &self.inner.id
    }

    /// The handle under test.
    ///
    /// # Errors
    /// [`Finding::CouldNotRun`] once it was dropped.
    pub fn handle(&self) -> Result<Arc<dyn Application>, Finding> {
        self.inner
            .handle()
            .ok_or_else(|| Finding::CouldNotRun(Error::internal("the check uses a handle that it dropped")))
    }

    /// Looks at what was told so far.
    pub fn told<T>(&self, look: impl FnOnce(&View) -> T) -> T {
        look(&lock(&self.inner.view))
    }

    /// Wishes for so many executors of the kit's profile.
    ///
    /// # Errors
    /// [`Finding::Failed`] where the subject refuses.
    pub fn target(&self, executors: u32) -> Result<Generation, Finding> {
        self.wish(Target::of(self.context.profile(), executors))
    }

    /// Wishes for this.
    ///
    /// # Errors
    /// [`Finding::Failed`] where the subject refuses.
    pub fn wish(&self, target: Target) -> Result<Generation, Finding> {
        let wants: Vec<String> = target
            .profiles
            .values()
            .map(|want| format!("{:?}: {}", want.profile.id, want.executors))
            .collect();
        self.inner.timeline.note(format!("{} wishes {}", self.inner.id, wants.join(", ")));
        self.handle()?
            .set_target(target)
            .map_err(|error| Finding::failed("wish refused", format!("`set_target`: {error:#}")))
    }

    /// Releases these.
    ///
    /// # Errors
    /// [`Finding::CouldNotRun`] once the handle was dropped.
    pub fn release(
        &self,
        executors: &[ExecutorId],
        grace: Duration,
        then: Then,
    ) -> Result<Vec<(ExecutorId, ReleaseAnswer)>, Finding> {
        self.inner.timeline.note(format!(
            "{} releases {executors:?} with {} grace, then {then:?}",
            self.inner.id,
            format_duration(grace)
        ));
        let release = Release { executors: executors.to_vec(), grace, then, why: ExitCause::Released };
        Ok(self.handle()?.release(&release))
    }

    /// Waits until exactly so many executors are granted, launched and connected, each once.
    ///
    /// # Errors
    /// [`Finding::Failed`] where it does not come to that within the deadline `settle`.
    pub async fn settled(&self, executors: u32) -> Result<Vec<ExecutorId>, Finding> {
        let within = self.context.deadline(DeadlineName::Settle);
        let what = format!("{executors} executors of {} granted, launched and connected", self.inner.id);
        self.context
            .eventually(&what, within, async || {
                let live = self.told(View::live);
                let launched = self.told(|v| live.iter().filter(|id| v.executors[id].launched).count());
                let probes = self.context.witness().probes(self.id());
                let connected: Vec<_> = self.context.witness().connected(self.id()).into_iter().collect();
                let want = executors as usize;
                if live.len() == want && launched == want && probes == want && connected == live {
                    Ok(live)
                } else {
                    Err(format!("{} live, {launched} launched, {probes} probes connected", live.len()))
                }
            })
            .await
    }

    /// Waits for an executor's exit.
    ///
    /// # Errors
    /// [`Finding::Failed`] where it does not come in time.
    pub async fn exit_of(&self, executor: ExecutorId, within: Duration) -> Result<Exit, Finding> {
        self.context
            .eventually(&format!("the exit of {executor:?}"), within, async || {
                self.told(|v| v.exit(executor).cloned().ok_or_else(|| v.summary()))
            })
            .await
    }

    /// Waits until nothing of it exists: no connection, and on this host no process.
    ///
    /// # Errors
    /// [`Finding::Failed`] where something is left.
    pub async fn nothing_remains(&self, within: Duration) -> Result<(), Finding> {
        self.context.nothing_remains_of(self.id(), within).await
    }

    /// Tells an executor's probe something that has no answer.
    ///
    /// # Errors
    /// [`Finding::Failed`] where it isn't there.
    pub fn order(&self, executor: ExecutorId, order: ToProbe) -> Result<(), Finding> {
        self.context.witness().order(self.id(), executor, order)
    }

    /// Tells an executor's probe something and waits for the answer.
    ///
    /// # Errors
    /// [`Finding::Failed`] where it isn't there, or does not answer within the deadline `settle`.
    pub async fn ask(&self, executor: ExecutorId, order: ToProbe) -> Result<FromProbe, Finding> {
        let within = self.context.deadline(DeadlineName::Settle);
        let text = format!("{order:?}");
        tokio::time::timeout(within, self.context.witness().ask(self.id(), executor, order))
            .await
            .map_err(|_| Finding::failed("no answer", format!("{executor:?} did not answer {text}")))?
    }

    /// What an executor finds around itself.
    ///
    /// # Errors
    /// As [`Driven::ask`].
    pub async fn found(&self, executor: ExecutorId) -> Result<Found, Finding> {
        match self.ask(executor, ToProbe::Report).await? {
            FromProbe::Found(found) => Ok(*found),
            other => Err(Finding::CouldNotRun(
                Error::internal("not a report").with("answer", format!("{other:?}")),
            )),
        }
    }

    /// Asks why the wish isn't met.
    ///
    /// # Errors
    /// [`Finding::Failed`] where it doesn't answer within the deadline `register`, or with an error.
    pub async fn explain(&self) -> Result<Vec<Shortfall>, Finding> {
        let handle = self.handle()?;
        tokio::time::timeout(self.context.deadline(DeadlineName::Register), handle.explain())
            .await
            .map_err(|_| Finding::failed("never answered", "`explain` does not answer"))?
            .map_err(|error| Finding::failed("explain failed", format!("`explain`: {error:#}")))
    }

    /// Unregisters with the deadline of that name; the handle stays for more calls.
    ///
    /// # Errors
    /// The subject's own error; [`Finding::Failed`] as the outer one where it answers too late.
    pub async fn unregister(&self, outcome: Outcome) -> Result<Result<()>, Finding> {
        let deadline = self.context.deadline(DeadlineName::Unregister);
        self.inner.timeline.note(format!("{} unregisters: {outcome:?}", self.inner.id));
        let handle = self.handle()?;
        let answer = tokio::time::timeout(
            deadline + self.context.deadline(DeadlineName::Quiet),
            handle.unregister(outcome, deadline),
        )
        .await
        .map_err(|_| {
            Finding::failed(
                "late",
                format!("`unregister` did not answer within {}", format_duration(deadline)),
            )
        })?;
        self.inner.timeline.note(format!("{} unregister answers {answer:?}", self.inner.id));
        Ok(answer)
    }

    /// Drops handle and events, as a driver does that forgets its application (T3).
    pub fn abandon(self) {
        self.inner.timeline.note(format!("{} is abandoned", self.inner.id));
        drop(lock(&self.inner.handle).take());
    }
}

impl Context {
    /// Waits until nothing of an application exists.
    ///
    /// # Errors
    /// [`Finding::Failed`] with the breach `left over`.
    pub async fn nothing_remains_of(
        &self,
        application: &ApplicationId,
        within: Duration,
    ) -> Result<(), Finding> {
        self.eventually(&format!("nothing left of {application}"), within, async || {
            self.witness().remains(application).map_or(Ok(()), Err)
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("left over", seen),
            other => other,
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
