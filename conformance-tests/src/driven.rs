use std::sync::Arc;
use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::{ApplicationId, ExecutorId};
use convoke_core::manager::{
    Application, Exit, ExitCause, Generation, Outcome, Registration, Release, ReleaseAnswer, Shortfall,
    Target, Then,
};
use convoke_core::rpc::v1;
use convoke_core::rpc::v1::supervisor_order::Order;
use convoke_core::secret::Secret;
use convoke_core::units::format_duration;
use convoke_core::{Error, Result};
use tokio::sync::mpsc;

use crate::application::{Inner, lock};
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::probe::wire::{Found, FromProbe, ToProbe};
use crate::verdict::Finding;
use crate::view::{View, line};

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

    /// The ticket that an executor was given.
    pub(crate) fn ticket(&self, executor: ExecutorId) -> Secret {
        self.inner.ticket(executor)
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

    /// Tells an executor's supervisor to drain it, as a driver does.
    pub fn drain(&self, executor: ExecutorId) {
        let order = Order::Drain(v1::Drain { why: "the kit drains it".into() });
        let mut orders = lock(&self.inner.orders);
        let (sender, _) = orders.entry(executor).or_insert_with(|| {
            let (sender, kept) = mpsc::unbounded_channel();
            (sender, Some(kept))
        });
        let _ = sender.send(order); // nobody hears it once it is gone
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
        self.inner.hung_up.send_replace(true);
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
