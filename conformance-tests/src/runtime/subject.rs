//! A real driver on the subject's manager, and what the kit sees of it by itself.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use convoke_core::clock::{self, Moment};
use convoke_core::driver::jobs::TaskOptions;
use convoke_core::driver::{Driver, DriverEvent};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{Exit, Outcome, Registry};
use convoke_core::process::table::Entry;
use convoke_core::task::TaskError;
use convoke_core::units::{MiB, format_duration};
use convoke_core::{Error, Result};

use super::hand::Ticket;
use super::launches::{Launches, Watched};
use super::meddle::Meddler;
use super::relay::Relay;
use super::tally::Tally;
use super::tasks::{Act, Played, play};
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::verdict::{Checked, Finding};
use crate::witness::processes_with;

/// What of a driver differs from the kit's usual.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) executors: u32,
    pub(crate) slots: u32,
    pub(crate) insecure: bool,
    /// Executors dial through wires that the kit can cut.
    pub(crate) relayed: bool,
    pub(crate) heartbeat_interval: Duration,
    pub(crate) lost_after: Duration,
    pub(crate) memory: MiB,
}

impl Default for Setup {
    fn default() -> Setup {
        Setup {
            executors: 2,
            slots: 1,
            insecure: false,
            relayed: false,
            heartbeat_interval: Duration::from_millis(200),
            lost_after: Duration::from_secs(10),
            memory: MiB(128),
        }
    }
}

impl Setup {
    /// So many executors.
    pub(crate) fn of(executors: u32) -> Setup {
        Setup { executors, ..Setup::default() }
    }
}

/// A driver that a case works with.
pub(crate) struct Runtime {
    context: Context,
    pub(crate) driver: Driver,
    pub(crate) launches: Arc<Launches>,
    pub(crate) tally: Tally,
    setup: Setup,
    events: Arc<Mutex<Vec<(Moment, DriverEvent)>>>,
    _reading: Reading,
    meddler: Option<Arc<Meddler>>,
}

/// Reads the driver's events until it is dropped.
struct Reading(tokio::task::JoinHandle<()>);

impl Drop for Reading {
    fn drop(&mut self) {
        self.0.abort();
    }
}

impl Runtime {
    /// Starts a driver, does `what` with it once its executors are ready, and ends it whatever came of that.
    pub(crate) async fn with(
        context: &Context,
        setup: Setup,
        what: impl AsyncFnOnce(&Runtime) -> Checked,
    ) -> Checked {
        let runtime = Runtime::start(context, setup).await?;
        let checked = match runtime.ready(runtime.setup.executors).await {
            Ok(()) => what(&runtime).await,
            Err(finding) => Err(finding),
        };
        let ended = runtime.end().await;
        let evidence = checked?;
        ended.map(|()| evidence)
    }

    async fn start(context: &Context, setup: Setup) -> Result<Runtime, Finding> {
        let could_not = Finding::CouldNotRun;
        let reached_at = context.harness().reached_at();
        let token = context.witness().token().to_owned();
        let (pulse, timeline) = (context.pulse().clone(), context.timeline().clone());
        let tally =
            Tally::listen(&reached_at, &token, pulse.clone(), timeline.clone()).await.map_err(could_not)?;
        let meddle = context.harness().meddle();
        let insecure = setup.insecure || meddle.is_some();
        let meddler = meddle.map(Meddler::start).transpose().map_err(could_not)?.map(Arc::new);
        let launches = Launches::new(setup.relayed, meddler.clone(), pulse.clone())
            .map_err(|error| could_not(Error::host("can't stand between manager and driver", error)))?;
        let each = context.sizes().executor;
        let lease = context.deadline(DeadlineName::Lease).max(context.manager().describe().least_lease);
        let local = reached_at == "127.0.0.1";
        let bind: IpAddr = if local { [127, 0, 0, 1].into() } else { [0, 0, 0, 0].into() };
        let mut builder = Driver::builder_with(Registry::new())
            .ignore_environment()
            .manager(Arc::new(Watched { inner: context.manager().clone(), launches: launches.clone() }))
            .name("conformance")
            .bootstrap(context.bootstrap())
            .bootstrap_arguments(vec![super::EXECUTOR.to_owned(), token])
            .executors(setup.executors)
            .executor_cpus(each.cpus)
            .task_cpus(convoke_core::units::Cpus::from_millis(each.cpus.millis() / u64::from(setup.slots)))
            .executor_memory(MiB(each.memory.0.max(setup.memory.0)))
            .heartbeat_interval(setup.heartbeat_interval)
            .lost_after(setup.lost_after)
            .lease(lease.max(setup.heartbeat_interval * 2))
            .end_grace(Duration::from_millis(500))
            .bind(bind);
        if !local {
            builder = builder.advertise(reached_at);
        }
        if insecure {
            builder = builder.insecure();
        }
        let within = context.deadline(DeadlineName::Register);
        let driver = tokio::time::timeout(within, builder.start())
            .await
            .map_err(|_| {
                Finding::failed(
                    "never answered",
                    format!("a driver did not start within {}", format_duration(within)),
                )
            })?
            .map_err(|error| Finding::failed("no driver", format!("a driver does not start: {error:#}")))?;
        let events: Arc<Mutex<Vec<(Moment, DriverEvent)>>> = Arc::default();
        let (mut told, kept) = (driver.events(), events.clone());
        let reading = tokio::spawn(async move {
            while let Some(event) = told.next().await {
                timeline.note(format!("driver: {event:?}"));
                lock(&kept).push((clock::now(), event));
                pulse.ring();
            }
        });
        if let (Some(meddler), Some(address)) = (&meddler, driver.addresses().first()) {
            meddler.stand_before(&address.to_string());
        }
        Ok(Runtime {
            context: context.clone(),
            driver,
            launches,
            tally,
            setup,
            events,
            _reading: Reading(reading),
            meddler,
        })
    }

    async fn end(self) -> Result<(), Finding> {
        let deadline = self.context.deadline(DeadlineName::Unregister);
        self.driver
            .shutdown(Outcome::Succeeded, deadline)
            .await
            .map_err(|error| Finding::failed("does not end", format!("`shutdown`: {error:#}")))
    }

    pub(crate) fn context(&self) -> &Context {
        &self.context
    }

    /// Where an executor dials.
    pub(crate) fn address(&self) -> String {
        match (&self.meddler, self.driver.addresses().first()) {
            (Some(meddler), _) => meddler.address().to_owned(),
            (None, Some(address)) => address.to_string(),
            (None, None) => String::new(),
        }
    }

    /// Waits until so many executors take tasks.
    pub(crate) async fn ready(&self, executors: u32) -> Result<(), Finding> {
        let within = self.context.deadline(DeadlineName::Settle);
        self.driver
            .wait_ready(executors as usize, within)
            .await
            .map_err(|error| Finding::failed("never ready", format!("{executors} executors: {error:#}")))
    }

    /// Waits until `look` answers `Ok`, within the deadline `settle`.
    pub(crate) async fn settles<T>(
        &self,
        what: &str,
        look: impl AsyncFnMut() -> Result<T, String>,
    ) -> Result<T, Finding> {
        self.context.eventually(what, self.context.deadline(DeadlineName::Settle), look).await
    }

    /// Waits until an attempt of this task runs, after the first `before` that ever did.
    pub(crate) async fn begun(&self, key: u64, before: usize) -> Result<Played, Finding> {
        let what = format!("attempt {} of task {key} begins", before + 1);
        self.settles(&what, async || {
            let runs = self.tally.of(key);
            runs.get(before).cloned().ok_or_else(|| format!("{} attempts began", runs.len()))
        })
        .await
    }

    /// Runs one task to its end, within the deadline `settle`.
    pub(crate) async fn run(
        &self,
        key: u64,
        act: Act,
        options: TaskOptions,
    ) -> Result<Result<Played, TaskError<String>>, Finding> {
        let task = self.driver.with(options).submit(play, self.tally.call(key, act));
        self.within(&format!("task {key} ends"), task).await
    }

    /// Waits for a future, for as long as the deadline `settle`.
    pub(crate) async fn within<T>(
        &self,
        what: &str,
        future: impl IntoFuture<Output = T>,
    ) -> Result<T, Finding> {
        let within = self.context.deadline(DeadlineName::Settle);
        tokio::time::timeout(within, future.into_future()).await.map_err(|_| {
            Finding::failed("never happened", format!("{what}: not within {}", format_duration(within)))
        })
    }

    /// What the driver told of an executor's end.
    pub(crate) fn lost(&self, executor: ExecutorId) -> Option<(Moment, Exit)> {
        lock(&self.events).iter().find_map(|(at, event)| match event {
            DriverEvent::ExecutorLost { executor: it, exit } if *it == executor => Some((*at, exit.clone())),
            _ => None,
        })
    }

    /// How many executors the driver told the end of.
    pub(crate) fn losses(&self) -> usize {
        lock(&self.events)
            .iter()
            .filter(|(_, event)| matches!(event, DriverEvent::ExecutorLost { .. }))
            .count()
    }

    /// Waits until the driver tells an executor's end.
    pub(crate) async fn loss_of(
        &self,
        executor: ExecutorId,
        within: Duration,
    ) -> Result<(Moment, Exit), Finding> {
        let what = format!("the driver tells the end of {executor:?}");
        self.context
            .eventually(&what, within, async || self.lost(executor).ok_or("not told".to_owned()))
            .await
    }

    /// Runs a task on each of so many executors, so that it is known where they are, by the kit's own count: one entry for
    /// each executor.
    pub(crate) async fn where_they_are(
        &self,
        executors: u32,
        first_key: u64,
    ) -> Result<Vec<Played>, Finding> {
        let keys = first_key..first_key + u64::from(executors);
        let waiting: Vec<_> =
            keys.clone().map(|key| self.driver.submit(play, self.tally.call(key, Act::Wait))).collect();
        let mut found = Vec::new();
        for key in keys.clone() {
            found.push(self.begun(key, 0).await?);
        }
        keys.for_each(|key| self.tally.let_go(key));
        for task in waiting {
            self.within("a waiting task ends once it is let go", task)
                .await?
                .map_err(|error| Finding::failed("wrong ending", format!("{error:#}")))?;
        }
        Ok(found)
    }

    /// Says that the check needs executors in processes of their own, on this host.
    pub(crate) async fn apart(&self) -> Result<(), Finding> {
        let key = u64::MAX;
        let played = self
            .run(key, Act::Return, TaskOptions::default())
            .await?
            .map_err(|error| Finding::failed("wrong ending", format!("{error:#}")))?;
        if played.boot != crate::probe::boot() {
            return Err(Finding::lacks("executors on this host, whose processes can be stopped and counted"));
        }
        if played.process == std::process::id() {
            return Err(Finding::lacks("executors in processes of their own"));
        }
        Ok(())
    }

    /// Every process of this case's executors, by the process table.
    pub(crate) fn processes(&self) -> Vec<u32> {
        processes_with(self.context.witness().token())
    }

    /// The ticket of an executor, as its driver wrote it.
    pub(crate) fn ticket(&self, executor: ExecutorId) -> Result<Ticket, Finding> {
        let command = self.launches.command(executor).ok_or_else(|| {
            Finding::CouldNotRun(Error::internal("the kit saw no command").with("executor", executor))
        })?;
        let mut ticket = Ticket::of(&command).map_err(Finding::CouldNotRun)?;
        if let Some(meddler) = &self.meddler {
            ticket.driver = vec![meddler.address().parse().map_err(Finding::CouldNotRun)?];
        }
        Ok(ticket)
    }

    /// The wire between an executor and its driver.
    pub(crate) fn relay(&self, executor: ExecutorId) -> Result<Arc<Relay>, Finding> {
        self.launches
            .relay(executor)
            .ok_or_else(|| Finding::CouldNotRun(Error::internal("no relay").with("executor", executor)))
    }

    /// Lets the manager start `one` more executor than `now`, and waits to play it by hand.
    pub(crate) async fn by_hand(&self, total: u32) -> Result<ExecutorId, Finding> {
        let before = self.launches.handed();
        self.launches.hand_over(true);
        self.driver.set_executors(total).map_err(Finding::from)?;
        let handed = self
            .settles("the manager asks for one more executor's command", async || {
                let handed = self.launches.handed();
                handed.into_iter().find(|it| !before.contains(it)).ok_or("none".to_owned())
            })
            .await;
        self.launches.hand_over(false);
        handed
    }
}

/// The process above another, by the process table: a program's supervisor, a supervisor's guard.
pub(crate) fn parent_of(process: u32) -> Option<u32> {
    let entry = i32::try_from(process).ok().and_then(Entry::read)?;
    u32::try_from(entry.parent).ok()
}

/// Whether a process is there and hasn't ended.
pub(crate) fn is_alive(process: u32) -> bool {
    i32::try_from(process).ok().and_then(Entry::read).is_some_and(|entry| entry.is_alive())
}

/// Sends a signal, and for SIGSTOP waits until the process table shows that it bites.
pub(crate) async fn signal(
    runtime: &Runtime,
    process: u32,
    signal: rustix::process::Signal,
) -> Result<(), Finding> {
    let could_not =
        |error: std::io::Error| Finding::CouldNotRun(Error::host("can't signal an executor", error));
    let number = i32::try_from(process).ok();
    let pid = number.and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| could_not(std::io::Error::other("no process")))?;
    rustix::process::kill_process(pid, signal).map_err(|error| could_not(error.into()))?;
    runtime.context().timeline().note(format!("the kit sends signal {} to {process}", signal.as_raw()));
    if signal == rustix::process::Signal::STOP {
        runtime
            .settles("the process is stopped", async || {
                let stopped = number.and_then(Entry::read).is_some_and(|entry| entry.is_stopped());
                stopped.then_some(()).ok_or("it runs".to_owned())
            })
            .await?;
    }
    Ok(())
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
