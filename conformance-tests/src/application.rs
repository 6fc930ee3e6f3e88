use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convoke_core::Result;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    Application, ApplicationSpec, ExecutorPolicy, ExitCause, Heard, Outcome, Release, Then,
};
use convoke_core::rpc::v1;
use convoke_core::rpc::v1::supervisor_order::Order;
use convoke_core::secret::Secret;
use convoke_core::units::HostPort;
use tokio::sync::mpsc;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::launcher::{KitLauncher, Tweak};
use crate::timeline::Timeline;
use crate::view::View;
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
    /// Whom its probes call (`HOST:PORT`); this process's witness else.
    pub witness: Option<String>,
}

impl fmt::Debug for Setup {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Setup").field("name", &self.name).finish_non_exhaustive()
    }
}

/// Orders for one supervisor, and its end of them until it asks.
type OrderQueue = (mpsc::UnboundedSender<Order>, Option<mpsc::UnboundedReceiver<Order>>);

/// An application of the kit's before and after its registration.
#[derive(Debug)]
pub struct Inner {
    pub(crate) id: ApplicationId,
    name: Name,
    setup: Setup,
    pub(crate) handle: Mutex<Option<Arc<dyn Application>>>,
    pub(crate) view: Mutex<View>,
    pub(crate) timeline: Arc<Timeline>,
    launcher: KitLauncher,
    pub(crate) hung_up: tokio::sync::watch::Sender<bool>,
    /// What supervisors are to be told, kept until they ask.
    pub(crate) orders: Mutex<BTreeMap<ExecutorId, OrderQueue>>,
}

impl Inner {
    pub(crate) fn new(context: &Context, setup: Setup) -> Result<Arc<Inner>> {
        let name = Name::new(setup.name.as_deref().unwrap_or("conformance"))?;
        let id = ApplicationId::generate(&name)?;
        let lease = setup.lease.unwrap_or_else(|| {
            context.deadline(DeadlineName::Lease).max(context.manager().describe().least_lease)
        });
        let launcher = KitLauncher {
            token: context.witness().token().to_owned(),
            kit: setup.witness.clone().unwrap_or_else(|| context.witness().address().to_owned()),
            driver: context.driver_address().to_owned(),
            application: id.clone(),
            lease,
            tweak: setup.tweak.clone(),
            asked: Arc::default(),
        };
        Ok(Arc::new(Inner {
            id,
            name,
            setup,
            handle: Mutex::new(None),
            view: Mutex::default(),
            timeline: context.timeline().clone(),
            launcher,
            hung_up: tokio::sync::watch::Sender::new(false),
            orders: Mutex::default(),
        }))
    }

    pub(crate) fn specification(&self, context: &Context) -> Result<ApplicationSpec> {
        let address: HostPort = context.driver_address().parse()?;
        let mut spec =
            ApplicationSpec::builder(self.id.clone(), self.name.clone(), Arc::new(self.launcher.clone()))
                .lease(self.launcher.lease)
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

    pub(crate) fn handle(&self) -> Option<Arc<dyn Application>> {
        lock(&self.handle).clone()
    }

    /// Passes on what the witness saw of a probe without a supervisor; answers an executor that the subject doesn't want.
    pub(crate) fn hear(&self, news: &News) -> Option<ExecutorId> {
        match news {
            News::Called(_, executor) if self.setup.deaf => {
                self.timeline.note(format!("the deaf driver of {} hears nothing of {executor:?}", self.id));
                None
            }
            News::Called(_, executor) => (!self.tell(*executor, Heard::Joined)).then_some(*executor),
            News::HungUp(_, executor) => {
                let _ = self.tell(*executor, Heard::HungUp);
                None
            }
        }
    }

    /// Tells the subject what the driver heard; answers whether the executor is its.
    pub(crate) fn tell(&self, executor: ExecutorId, news: Heard) -> bool {
        let Some(handle) = self.handle() else { return true };
        let ours = handle.heard(executor, news.clone());
        let answer = if ours { "ours" } else { "not ours" };
        self.timeline.note(format!("{} heard({executor:?}, {news:?}): {answer}", self.id));
        ours
    }

    /// The driver's verdict on an executor that it has lost: replaced, if its manager has not told its exit already.
    pub(crate) fn give_up(&self, executor: ExecutorId) {
        let Some(handle) = self.handle() else { return };
        let (executors, grace) = (vec![executor], Duration::ZERO);
        let release = Release { executors, grace, then: Then::Replace, why: ExitCause::LostContact };
        let answers = handle.release(&release);
        self.timeline.note(format!("{} gives {executor:?} up: {answers:?}", self.id));
    }

    pub(crate) fn timeline(&self) -> &Timeline {
        &self.timeline
    }

    pub(crate) fn is_deaf(&self) -> bool {
        self.setup.deaf
    }

    pub(crate) fn has_hung_up(&self) -> bool {
        *self.hung_up.borrow()
    }

    /// Waits until the driver is gone.
    pub(crate) async fn hung_up(&self) {
        let mut hung_up = self.hung_up.subscribe();
        let _ = hung_up.wait_for(|gone| *gone).await; // the sender lives as long as this
    }

    pub(crate) fn is_ticket(&self, executor: ExecutorId, shown: &[u8]) -> bool {
        self.launcher.ticket(executor).expose() == shown
    }

    /// The ticket that an executor was given.
    pub(crate) fn ticket(&self, executor: ExecutorId) -> Secret {
        self.launcher.ticket(executor)
    }

    /// What an executor that has joined is to be.
    pub(crate) fn assignment(&self, executor: ExecutorId) -> v1::Assignment {
        let each =
            lock(&self.launcher.asked).get(&executor).map(|profile| profile.each.clone()).unwrap_or_default();
        let millis = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        v1::Assignment {
            slots: 1,
            cpus_millis: each.cpus.millis(),
            memory_mib: each.memory.0,
            heartbeat_interval_ms: 200,
            lost_after_ms: 10_000,
            lease_ms: millis(self.launcher.lease),
            end_grace_ms: 500,
            ..Default::default()
        }
    }

    /// The orders for an executor, with those that came before it asked.
    pub(crate) fn orders_for(&self, executor: ExecutorId) -> mpsc::UnboundedReceiver<Order> {
        let mut orders = lock(&self.orders);
        let (sender, kept) = mpsc::unbounded_channel();
        let kept = match orders.remove(&executor) {
            Some((sender, Some(kept))) => {
                orders.insert(executor, (sender, None));
                return kept;
            }
            _ => kept,
        };
        orders.insert(executor, (sender, None));
        kept
    }

    /// Ends the application as well as it can, at the end of a case.
    pub(crate) async fn end(&self, deadline: Duration) {
        let Some(handle) = lock(&self.handle).take() else { return };
        if let Err(error) = handle.unregister(Outcome::Succeeded, deadline).await {
            self.timeline.note(format!("{} does not end: {error}", self.id));
        }
    }
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
