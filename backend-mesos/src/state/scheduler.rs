//! One framework: joins subscription, offers, tasks and reconciliation, and says what goes over the wire and what is told.

mod calls;
mod closing;
mod messages;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use convoke_core::Error;
use convoke_core::clock::Moment;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{ApplicationSpec, Exit, ExitCause, Wanted};
use convoke_core::units::HostPort;

pub use self::calls::APPLICATION_LABEL;
use self::closing::Closing;
pub use self::messages::{CallFailure, SchedulerCommand, SchedulerEvent, Told};
use super::offers::{Offers, OffersCommand, OffersEvent};
use super::reconciliation::{Reconciliation, ReconciliationCommand, ReconciliationEvent};
use super::subscription::{Subscription, SubscriptionCommand, SubscriptionEvent};
use super::tasks::{Tasks, TasksCommand};
use crate::settings::Settings;
use crate::v1;
use crate::v1::scheduler::{Call, Event, call, event};

/// What a KILL leaves a task between SIGTERM and SIGKILL: the executor's own supervisor takes one second of it.
const KILL_GRACE: Duration = Duration::from_secs(2);
/// Of so many executors that have exited it is remembered where they were, for their logs.
const MOST_HOMES: usize = 4096;

/// One framework of one application.
#[derive(Debug)]
pub struct Scheduler {
    spec: Arc<ApplicationSpec>,
    settings: Arc<Settings>,
    framework: Option<v1::FrameworkId>,
    subscription: Subscription,
    offers: Offers,
    tasks: Tasks,
    reconciliation: Reconciliation,
    homes: BTreeMap<ExecutorId, Home>,
    closing: Closing,
}

/// Where an executor is or was.
#[derive(Debug, Clone)]
pub struct Home {
    /// On which agent.
    pub agent: v1::AgentId,
    /// Where that agent listens, as its offer said.
    pub address: Option<HostPort>,
}

type Out = Vec<SchedulerCommand>;

impl Scheduler {
    /// One that has yet to subscribe.
    #[must_use]
    pub fn new(spec: Arc<ApplicationSpec>, settings: Arc<Settings>, seed: u64, now: Moment) -> Scheduler {
        Scheduler {
            subscription: Subscription::new(settings.masters.clone(), spec.lease, seed, now),
            offers: Offers::default(),
            tasks: Tasks::new(spec.id.clone()),
            reconciliation: Reconciliation::default(),
            homes: BTreeMap::new(),
            closing: Closing::No,
            framework: None,
            spec,
            settings,
        }
    }

    /// The framework's id, once it has one.
    #[must_use]
    pub fn framework(&self) -> Option<&v1::FrameworkId> {
        self.framework.as_ref()
    }

    /// The subscription, for reading.
    #[must_use]
    pub fn subscription(&self) -> &Subscription {
        &self.subscription
    }

    /// The role whose resources are used.
    #[must_use]
    pub fn role(&self) -> &str {
        crate::settings::role(&self.settings, self.spec.queue.as_ref())
    }

    /// The offers, for reading.
    #[must_use]
    pub fn offers(&self) -> &Offers {
        &self.offers
    }

    /// Where an executor is or was, and whether it may still be alive.
    #[must_use]
    pub fn home(&self, executor: ExecutorId) -> Option<(Home, bool)> {
        match self.tasks.get(executor) {
            Some(task) => Some((Home { agent: task.agent.clone(), address: task.address.clone() }, true)),
            None => self.homes.get(&executor).map(|home| (home.clone(), false)),
        }
    }

    /// Its task's id at Mesos.
    #[must_use]
    pub fn native(&self, executor: ExecutorId) -> String {
        self.tasks.native(executor)
    }

    /// How many executors may be alive.
    #[must_use]
    pub fn live(&self) -> usize {
        self.tasks.live().count()
    }

    /// Whether the application has been closed, and whether it is known that nothing was left.
    #[must_use]
    pub fn closed(&self) -> Option<bool> {
        match self.closing {
            Closing::Over { clean } => Some(clean),
            _ => None,
        }
    }

    /// When [`SchedulerEvent::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        if matches!(self.closing, Closing::Over { .. }) {
            return None;
        }
        let mut deadlines = vec![self.subscription.next_deadline()];
        if self.subscription.live() {
            deadlines.extend([
                self.offers.next_deadline(),
                self.tasks.next_deadline(),
                self.reconciliation.next_deadline(),
            ]);
            if let Closing::Killing { again, .. } = self.closing {
                deadlines.push(Some(again));
            }
        }
        deadlines.into_iter().flatten().min()
    }

    /// Takes an event.
    pub fn handle(&mut self, now: Moment, event: SchedulerEvent, out: &mut Out) {
        match event {
            SchedulerEvent::Start(wanted) => self.start(now, wanted, out),
            SchedulerEvent::Stop(executors) => self.stop(now, executors, out),
            SchedulerEvent::Close => self.close(now, out),
            SchedulerEvent::TearDown => self.tear_down(out),
            SchedulerEvent::Subscribed(subscribed) => self.subscribed(now, subscribed, out),
            SchedulerEvent::Record(record) => self.record(now, *record, out),
            SchedulerEvent::Redirected(leader) => {
                self.tell_subscription(now, SubscriptionEvent::Redirected(leader), out)
            }
            SchedulerEvent::Lost(error) => self.lost(now, error, out),
            SchedulerEvent::Refused(words) => self.refused(now, words, out),
            SchedulerEvent::Answered(call, Ok(())) => self.answered(&call),
            SchedulerEvent::Answered(_, Err(CallFailure::Void(error))) => self.lost(now, error, out),
            SchedulerEvent::Answered(call, Err(CallFailure::Bad(error))) => {
                self.bad_call(now, &call, error, out)
            }
            SchedulerEvent::Tick => self.tick(now, out),
        }
        self.may_tear_down(out);
    }

    fn start(&mut self, now: Moment, wanted: Vec<Wanted>, out: &mut Out) {
        let wanted: Vec<_> = wanted
            .into_iter()
            .filter(|wanted| {
                // an id that was told as exited stays so: Mesos would run a task id twice
                self.tasks.get(wanted.executor).is_none() && !self.tasks.has_ended(wanted.executor)
            })
            .collect();
        if self.closing == Closing::No {
            self.tell_offers(now, OffersEvent::Want(wanted), out);
        } else {
            for wanted in wanted {
                self.tell_tasks(now, out, |tasks, told| tasks.stop(wanted.executor, told));
            }
        }
    }

    fn stop(&mut self, now: Moment, executors: Vec<ExecutorId>, out: &mut Out) {
        for executor in executors {
            self.offers.withdraw(executor);
            self.tell_tasks(now, out, |tasks, told| tasks.stop(executor, told));
        }
        self.tell_offers(now, OffersEvent::Want(Vec::new()), out);
    }

    fn subscribed(&mut self, now: Moment, subscribed: event::Subscribed, out: &mut Out) {
        self.framework = Some(subscribed.framework_id);
        self.tell_subscription(now, SubscriptionEvent::Subscribed, out);
        if let Closing::TearingDown { .. } = self.closing {
            return self.call(call::Type::Teardown, |_| {}, out);
        }
        let live: Vec<_> = self.tasks.live().map(|(executor, _)| executor).collect();
        self.tell_reconciliation(now, ReconciliationEvent::Subscribed(&live), out);
        self.tell_tasks(now, out, |tasks, told| tasks.subscribed(now, told));
        self.tell_offers(now, OffersEvent::Subscribed, out);
        if let Closing::Killing { again, .. } = &mut self.closing {
            *again = now;
            self.kill_all(now, out);
        }
    }

    fn record(&mut self, now: Moment, record: Event, out: &mut Out) {
        self.tell_subscription(now, SubscriptionEvent::Record, out);
        match event::Type::try_from(record.r#type.unwrap_or(0)) {
            Ok(event::Type::Offers) => {
                let offers = record.offers.map(|offers| offers.offers).unwrap_or_default();
                self.tell_offers(now, OffersEvent::Offers(offers), out);
            }
            Ok(event::Type::Update) => {
                if let Some(update) = record.update {
                    self.tell_tasks(now, out, |tasks, told| tasks.status(now, update.status, told));
                }
            }
            Ok(event::Type::Error) => {
                let words = record.error.map(|error| error.message).unwrap_or_default();
                self.refused(now, words, out);
            }
            Ok(event::Type::Failure) => {
                let agent = record.failure.and_then(|failure| failure.agent_id);
                tracing::debug!(agent = agent.map(|agent| agent.value), "an agent or executor failed");
            }
            // every offer is answered at once, so none that is rescinded is still held
            Ok(event::Type::Rescind | event::Type::Heartbeat) => {}
            _ => tracing::debug!(kind = record.r#type, "an event that isn't used"),
        }
    }

    fn refused(&mut self, now: Moment, words: String, out: &mut Out) {
        if self.closing == Closing::No {
            return self.tell_subscription(now, SubscriptionEvent::Refused(words), out);
        }
        // by our own TEARDOWN, an operator's or the lease: it is gone, and what it had is being ended
        self.over(out);
    }

    fn lost(&mut self, now: Moment, error: Error, out: &mut Out) {
        if matches!(self.closing, Closing::TearingDown { answered: true, .. } | Closing::Over { .. }) {
            return self.over(out); // the end of the stream is what TEARDOWN does
        }
        self.tell_subscription(now, SubscriptionEvent::Lost(error), out);
    }

    fn answered(&mut self, call: &Call) {
        if let (Closing::TearingDown { answered, .. }, Ok(call::Type::Teardown)) =
            (&mut self.closing, call::Type::try_from(call.r#type.unwrap_or(0)))
        {
            *answered = true;
        }
    }

    /// A bug of ours or a master that we don't understand. Of an ACCEPT it is certain that nothing was launched.
    fn bad_call(&mut self, now: Moment, call: &Call, error: Error, out: &mut Out) {
        tracing::error!(kind = call.r#type, %error, "the Mesos master refuses a call of ours");
        let launches =
            call.accept.iter().flat_map(|accept| &accept.operations).filter_map(|it| it.launch.as_ref());
        for info in launches.flat_map(|launch| &launch.task_infos) {
            let live = self.tasks.executor(&info.task_id.value).filter(|id| self.tasks.get(*id).is_some());
            if let Some(executor) = live {
                let exit = Exit::new(ExitCause::NeverStarted, error.to_string());
                self.tell_tasks(now, out, |tasks, told| tasks.ruled_out(executor, exit, told));
            }
        }
    }

    fn tick(&mut self, now: Moment, out: &mut Out) {
        self.tell_subscription(now, SubscriptionEvent::Tick, out);
        if !self.subscription.live() {
            return;
        }
        self.tell_tasks(now, out, |tasks, told| tasks.tick(now, told));
        self.tell_offers(now, OffersEvent::Tick, out);
        let live: Vec<_> = self.tasks.live().map(|(executor, _)| executor).collect();
        self.tell_reconciliation(now, ReconciliationEvent::Tick(&live), out);
        self.kill_all(now, out);
    }

    fn tell_subscription(&mut self, now: Moment, event: SubscriptionEvent, out: &mut Out) {
        let was_live = self.subscription.live();
        let mut commands = Vec::new();
        self.subscription.handle(now, event, &mut commands);
        if was_live && !self.subscription.live() {
            self.tell_offers(now, OffersEvent::Unsubscribed, out);
            self.tell_reconciliation(now, ReconciliationEvent::Unsubscribed, out);
        }
        for command in commands {
            out.push(match command {
                SubscriptionCommand::Connect(master) => SchedulerCommand::Connect(master),
                SubscriptionCommand::Disconnect => SchedulerCommand::Disconnect,
                SubscriptionCommand::Unreachable(error) => SchedulerCommand::Tell(Told::Manager(Err(error))),
                SubscriptionCommand::Recovered => SchedulerCommand::Tell(Told::Manager(Ok(()))),
                SubscriptionCommand::Ended(by) => SchedulerCommand::Tell(Told::Ended(by)),
            });
        }
    }

    fn tell_reconciliation(&mut self, now: Moment, event: ReconciliationEvent<'_>, out: &mut Out) {
        let mut commands = Vec::new();
        self.reconciliation.handle(now, event, &mut commands);
        for command in commands {
            let tasks = match command {
                ReconciliationCommand::Implicit => Vec::new(),
                ReconciliationCommand::Explicit(executors) => executors
                    .into_iter()
                    .filter_map(|executor| {
                        Some(call::reconcile::Task {
                            task_id: v1::TaskId { value: self.tasks.native(executor) },
                            agent_id: Some(self.tasks.get(executor)?.agent.clone()),
                        })
                    })
                    .collect(),
            };
            self.call(call::Type::Reconcile, |call| call.reconcile = Some(call::Reconcile { tasks }), out);
        }
    }

    fn tell_tasks(
        &mut self,
        now: Moment,
        out: &mut Out,
        act: impl FnOnce(&mut Tasks, &mut Vec<TasksCommand>),
    ) {
        let mut commands = Vec::new();
        act(&mut self.tasks, &mut commands);
        for command in commands {
            match command {
                TasksCommand::Kill(task_id, agent_id) => {
                    if self.subscription.live() {
                        let nanoseconds = KILL_GRACE.as_nanos() as i64;
                        let grace_period = Some(v1::DurationInfo { nanoseconds });
                        let kill = call::Kill {
                            task_id,
                            agent_id,
                            kill_policy: Some(v1::KillPolicy { grace_period }),
                        };
                        self.call(call::Type::Kill, |call| call.kill = Some(kill), out);
                    }
                }
                TasksCommand::Acknowledge(acknowledge) => {
                    self.call(call::Type::Acknowledge, |call| call.acknowledge = Some(acknowledge), out);
                }
                TasksCommand::Heard(executor) => {
                    self.tell_reconciliation(now, ReconciliationEvent::Heard(executor), out);
                }
                TasksCommand::Launched(executor) => {
                    out.push(SchedulerCommand::Tell(Told::Launched(executor)))
                }
                TasksCommand::Reachable(executor, yes) => {
                    out.push(SchedulerCommand::Tell(Told::Reachable(executor, yes)));
                }
                TasksCommand::Draining(executor, why) => {
                    out.push(SchedulerCommand::Tell(Told::Draining(executor, why)));
                }
                TasksCommand::Exited(executor, host, exit) => {
                    out.push(SchedulerCommand::Tell(Told::Exited(executor, exit)));
                    if let Some(host) = host {
                        self.tell_offers(now, OffersEvent::Left(host), out);
                    }
                }
            }
        }
    }

    fn tell_offers(&mut self, now: Moment, event: OffersEvent, out: &mut Out) {
        let mut commands = Vec::new();
        self.offers.handle(now, event, &mut commands);
        for command in commands {
            match command {
                OffersCommand::Revive => self.call(call::Type::Revive, |_| {}, out),
                OffersCommand::Suppress => self.call(call::Type::Suppress, |_| {}, out),
                OffersCommand::Decline(offer_ids, refuse) => self.decline(offer_ids, refuse, out),
                OffersCommand::Accept(acceptance) => self.accept(now, acceptance, out),
            }
        }
    }
}

#[cfg(test)]
mod tests;
