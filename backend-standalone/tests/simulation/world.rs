//! A cluster in one thread: links that delay, break and say things late; crashes; and what has to hold all the same.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use convoke_core::clock::Moment;
use convoke_core::ids::Name;
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_standalone::state::{
    ApplicationCommand, Change, ClientAction, ClientEvent, Key, Master, MasterCommand, MasterEvent,
    MasterSettings, Offer, Order, Session, Spread, WorkerAction, WorkerCommand, WorkerEvent,
};

use super::driver::SimulatedDriver;
use super::faults::{Fault, Schedule};
use super::node::SimulatedWorker;

const LEASE: Duration = Duration::from_secs(30);
const TICK: Duration = Duration::from_millis(500);

/// A message under way, by who it is for.
#[derive(Debug, Clone)]
#[expect(clippy::enum_variant_names, reason = "they read as what they are")]
enum Message {
    ForMaster(MasterEvent),
    ForWorker(usize, Session, u64, WorkerCommand),
    ForDriver(usize, Session, ApplicationCommand),
}

/// Who is at the far end of a session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Worker(usize),
    Driver(usize),
}

pub(crate) struct World {
    rng: fastrand::Rng,
    faults: BTreeSet<Fault>,
    now: Moment,
    settings: MasterSettings,
    master: Option<Master>,
    epoch: u64,
    stored: Vec<Change>,
    workers: Vec<SimulatedWorker>,
    drivers: Vec<SimulatedDriver>,
    sessions: BTreeMap<Session, End>,
    next_session: u64,
    /// Messages under way: when they arrive, in which order they were sent.
    under_way: BTreeMap<(Moment, u64), Message>,
    sent: u64,
    /// When the last message of each session and direction arrives: within one, order is kept.
    arrives: BTreeMap<(Session, bool), Moment>,
    pub(crate) steps: u64,
    trace: bool,
}

impl World {
    pub(crate) fn new(schedule: &Schedule) -> World {
        let mut rng = fastrand::Rng::with_seed(schedule.seed);
        let settings = MasterSettings {
            order: if rng.bool() { Order::Fifo } else { Order::Fair },
            spread: if rng.bool() { Spread::Out } else { Spread::Pack },
            ..MasterSettings::default()
        };
        let workers = (0..rng.usize(1..=4))
            .map(|number| {
                let name = Name::new(format!("worker-{number}")).expect("a name");
                SimulatedWorker::new(
                    name,
                    Resources::new(Cpus::whole(rng.u32(2..=6)), MiB(rng.u64(2..=4) * 512)),
                )
            })
            .collect();
        let drivers = (0..rng.u64(1..=3)).map(SimulatedDriver::new).collect();
        World {
            rng,
            faults: schedule.faults.iter().copied().collect(),
            now: Moment::ZERO,
            master: Some(Master::new(settings.clone(), 1)),
            settings,
            epoch: 1,
            stored: Vec::new(),
            workers,
            drivers,
            sessions: BTreeMap::new(),
            next_session: 0,
            under_way: BTreeMap::new(),
            sent: 0,
            arrives: BTreeMap::new(),
            steps: 0,
            trace: schedule.trace,
        }
    }

    /// Runs the whole schedule: trouble, then peace, then the books.
    pub(crate) fn run(schedule: &Schedule) -> u64 {
        let mut world = World::new(schedule);
        for _ in 0..schedule.steps {
            world.trouble();
            world.step();
        }
        // Peace for longer than every patience there is.
        for _ in 0..700 {
            world.connect_all(true);
            world.step();
        }
        world.check_peace();
        world.steps
    }

    fn chance(&mut self, fault: Fault, one_in: u32) -> bool {
        self.rng.u32(..one_in) == 0 && self.faults.contains(&fault)
    }

    fn trouble(&mut self) {
        if self.rng.u8(..3) == 0 {
            self.connect_all(false);
        }
        if self.chance(Fault::MasterCrashes, 60) {
            self.crash_master();
        }
        if self.chance(Fault::LinkBreaks, 20) {
            let sessions: Vec<Session> = self.sessions.keys().copied().collect();
            if !sessions.is_empty() {
                let session = sessions[self.rng.usize(..sessions.len())];
                self.break_link(session);
            }
        }
        for index in 0..self.workers.len() {
            if self.chance(Fault::WorkerCrashes, 150) {
                self.break_links_of(End::Worker(index));
                self.workers[index].crash();
            } else if self.workers[index].machine.is_none() && self.rng.u8(..10) == 0 {
                self.workers[index].restart();
            }
            if self.chance(Fault::WorkerStopsForLong, 200) {
                let seconds = self.rng.u64(5..120);
                let until = self.now + Duration::from_secs(seconds);
                let stopped = &mut self.workers[index].stopped_until;
                *stopped = until.max(*stopped);
            }
            if self.chance(Fault::ProcessDies, 40) {
                self.kill_a_process(index);
            }
            if self.chance(Fault::Drain, 600) {
                let event = MasterEvent::DrainWorker {
                    worker: self.workers[index].name.clone(),
                    deadline: self.rng.bool().then_some(Duration::from_secs(20)),
                    why: "maintenance".to_owned(),
                };
                self.tell_master(event);
            }
        }
        for index in 0..self.drivers.len() {
            self.change_wish(index);
            if self.chance(Fault::DriverDies, 400) && self.drivers[index].alive {
                self.break_links_of(End::Driver(index));
                self.drivers[index].alive = false;
                self.drivers[index].died_at = Some(self.now);
                self.drivers[index].wanted.clear();
            }
        }
    }

    fn change_wish(&mut self, index: usize) {
        let driver = &mut self.drivers[index];
        if !driver.alive || driver.closed {
            return;
        }
        let actions = match self.rng.u8(..40) {
            0..=6 => driver.want(&mut self.rng),
            7..=9 => driver.stop_one(&mut self.rng),
            10 if self.rng.u8(..10) == 0 => driver.close(),
            _ => Vec::new(),
        };
        self.carry_out_driver(index, actions);
    }

    fn kill_a_process(&mut self, index: usize) {
        let keys: Vec<Key> = self.workers[index].processes.keys().cloned().collect();
        if !keys.is_empty() {
            let key = &keys[self.rng.usize(..keys.len())];
            let exit = convoke_core::manager::Exit::new(convoke_core::manager::ExitCause::Signal(9), "");
            if let Some(process) = self.workers[index].processes.get_mut(key) {
                process.ends_at.get_or_insert((self.now, exit));
            }
        }
    }

    fn crash_master(&mut self) {
        self.trace(|| "the master crashes".to_owned());
        self.master = None;
        let sessions: Vec<Session> = self.sessions.keys().copied().collect();
        for session in sessions {
            self.break_link(session);
        }
        self.epoch += 1;
        self.master =
            Some(Master::restored(self.settings.clone(), self.epoch, self.now, self.stored.iter().cloned()));
    }

    /// Both ends hear of it, each in its time; what is under way is lost, or arrives late.
    fn break_link(&mut self, session: Session) {
        let Some(end) = self.sessions.remove(&session) else { return };
        self.trace(|| format!("{session:?} of {end:?} breaks"));
        let late = self.faults.contains(&Fault::LateMessages);
        if !late {
            self.under_way.retain(|_, message| session_of(message) != Some(session));
        }
        match end {
            End::Worker(index) => {
                let name = self.workers[index].name.clone();
                if self.workers[index].session == Some(session) {
                    self.workers[index].session = None;
                    self.worker_hears(index, WorkerEvent::HungUp(session));
                }
                self.tell_master(MasterEvent::WorkerHungUp(name, session));
            }
            End::Driver(index) => {
                let id = self.drivers[index].id.clone();
                if self.drivers[index].session == Some(session) {
                    self.drivers[index].session = None;
                    let actions = self.drivers[index].handle(ClientEvent::HungUp(session));
                    self.carry_out_driver(index, actions);
                }
                self.tell_master(MasterEvent::ApplicationHungUp(id, session));
            }
        }
    }

    fn break_links_of(&mut self, end: End) {
        let sessions: Vec<Session> =
            self.sessions.iter().filter(|(_, at)| **at == end).map(|(session, _)| *session).collect();
        for session in sessions {
            self.break_link(session);
        }
    }

    fn connect_all(&mut self, peace: bool) {
        for index in 0..self.workers.len() {
            let worker = &mut self.workers[index];
            if worker.machine.is_none() && peace {
                worker.restart();
            }
            let worker = &self.workers[index];
            if worker.machine.is_some()
                && worker.session.is_none()
                && worker.stopped_until <= self.now
                && !worker.left
            {
                let session = self.new_session(End::Worker(index));
                self.workers[index].session = Some(session);
                self.worker_hears(index, WorkerEvent::Connected(session));
            }
        }
        for index in 0..self.drivers.len() {
            let driver = &self.drivers[index];
            if driver.alive && driver.session.is_none() && !driver.over {
                let session = self.new_session(End::Driver(index));
                self.drivers[index].session = Some(session);
                let actions = self.drivers[index].handle(ClientEvent::Connected(session));
                self.carry_out_driver(index, actions);
            }
        }
    }

    fn new_session(&mut self, end: End) -> Session {
        self.next_session += 1;
        let session = Session(self.next_session);
        self.sessions.insert(session, end);
        session
    }

    /// Half a second passes.
    fn step(&mut self) {
        self.steps += 1;
        self.now = self.now + TICK;
        for index in 0..self.workers.len() {
            if self.workers[index].stopped_until > self.now {
                continue;
            }
            for (session, epoch, command) in std::mem::take(&mut self.workers[index].unread) {
                self.worker_hears(index, WorkerEvent::Told(session, epoch, command));
            }
            for event in self.workers[index].due(self.now) {
                self.worker_hears(index, event);
            }
            if let Some(session) = self.workers[index].session {
                let heartbeat = MasterEvent::WorkerHeard(self.workers[index].name.clone(), session);
                self.send(session, true, Message::ForMaster(heartbeat));
            }
        }
        for index in 0..self.drivers.len() {
            if let (true, Some(session)) = (self.drivers[index].alive, self.drivers[index].session) {
                let heartbeat = MasterEvent::ApplicationHeard(self.drivers[index].id.clone(), session);
                self.send(session, true, Message::ForMaster(heartbeat));
            }
        }
        self.executors_keep_their_lease();
        while let Some(entry) = self.under_way.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            let message = entry.remove();
            self.deliver(message);
        }
        let mut out = Vec::new();
        if let Some(master) = &mut self.master {
            master.settle(self.now, &mut out);
        }
        self.carry_out_master(out);
        self.check_always();
    }

    /// The supervisor of an executor ends it when its driver is gone for the lease, whatever its worker does.
    fn executors_keep_their_lease(&mut self) {
        let now = self.now;
        for driver in &self.drivers {
            let gone = driver.died_at.is_some_and(|at| now >= at + LEASE);
            for worker in &mut self.workers {
                for (key, process) in &mut worker.processes {
                    let hung_up = driver.exited.contains(&key.1);
                    if key.0 == driver.id && (gone || hung_up) {
                        let cause = convoke_core::manager::ExitCause::LeaseExpired;
                        let end = if gone { now } else { now + LEASE };
                        process.ends_at.get_or_insert((end, convoke_core::manager::Exit::new(cause, "")));
                    }
                }
            }
        }
    }

    fn send(&mut self, session: Session, to_master: bool, message: Message) {
        let delay = Duration::from_millis(self.rng.u64(0..800));
        let earliest = self.arrives.get(&(session, to_master)).copied().unwrap_or(Moment::ZERO);
        let at = (self.now + delay).max(earliest);
        self.arrives.insert((session, to_master), at);
        self.sent += 1;
        self.under_way.insert((at, self.sent), message.clone());
        if self.chance(Fault::MessageTwice, 30) {
            self.sent += 1;
            self.under_way.insert((at, self.sent), message);
        }
    }

    fn trace(&self, what: impl FnOnce() -> String) {
        if self.trace {
            eprintln!("{:>7.1} s  {}", self.now.as_nanos() as f64 / 1e9, what());
        }
    }

    fn deliver(&mut self, message: Message) {
        if !matches!(
            message,
            Message::ForMaster(MasterEvent::WorkerHeard(..) | MasterEvent::ApplicationHeard(..))
        ) {
            self.trace(|| format!("{message:?}"));
        }
        match message {
            Message::ForMaster(event) => self.tell_master(event),
            Message::ForWorker(index, session, epoch, command) => {
                if self.workers[index].stopped_until <= self.now {
                    self.worker_hears(index, WorkerEvent::Told(session, epoch, command));
                } else {
                    // A stopped process reads nothing; what was sent waits in its socket, in its order.
                    self.workers[index].unread.push((session, epoch, command));
                }
            }
            Message::ForDriver(index, session, command) => {
                if self.drivers[index].alive {
                    let actions = self.drivers[index].handle(ClientEvent::Told(session, command));
                    self.carry_out_driver(index, actions);
                }
            }
        }
    }

    fn tell_master(&mut self, event: MasterEvent) {
        let mut out = Vec::new();
        if let Some(master) = &mut self.master {
            master.handle(self.now, event, &mut out);
        }
        self.carry_out_master(out);
    }

    fn carry_out_master(&mut self, commands: Vec<MasterCommand>) {
        for command in commands {
            match command {
                MasterCommand::Store(change) => self.stored.push(change),
                MasterCommand::Worker(session, command) => {
                    if let Some(End::Worker(index)) = self.sessions.get(&session).copied() {
                        self.send(session, false, Message::ForWorker(index, session, self.epoch, command));
                    }
                }
                MasterCommand::Application(session, command) => {
                    if let Some(End::Driver(index)) = self.sessions.get(&session).copied() {
                        self.send(session, false, Message::ForDriver(index, session, command));
                    }
                }
                MasterCommand::HangUp(session) => self.break_link(session),
            }
        }
    }

    fn worker_hears(&mut self, index: usize, event: WorkerEvent) {
        let fails = self.chance(Fault::LaunchFails, 20);
        let delay = Duration::from_millis(self.rng.u64(100..3000));
        self.trace(|| format!("  worker {index} hears {event:?}"));
        let actions = self.workers[index].handle(self.now, event, fails, delay);
        self.trace(|| format!("  worker {index} does {actions:?}"));
        for action in actions {
            let name = self.workers[index].name.clone();
            match action {
                WorkerAction::Register(session, running) => {
                    let offer = Offer {
                        host: name.clone(),
                        total: self.workers[index].total.clone(),
                        devices: BTreeMap::new(),
                        attributes: BTreeMap::new(),
                        draining: false,
                    };
                    let event = MasterEvent::WorkerRegistered { worker: name, session, offer, running };
                    self.send(session, true, Message::ForMaster(event));
                }
                WorkerAction::Report(session, key, report) => {
                    let event = MasterEvent::WorkerReported(name, session, key, report);
                    self.send(session, true, Message::ForMaster(event));
                }
                WorkerAction::HangUp(session) => self.break_link(session),
                other => unreachable!("{other:?} is the worker's own affair"),
            }
        }
    }

    fn carry_out_driver(&mut self, index: usize, actions: Vec<ClientAction>) {
        for action in actions {
            let id = self.drivers[index].id.clone();
            let (session, event) = match action {
                ClientAction::Register { session, again, wish } => {
                    let name = Name::new("app").expect("a name");
                    let event = MasterEvent::ApplicationRegistered {
                        application: id,
                        session,
                        owner: name.clone(),
                        name,
                        lease: LEASE,
                        again,
                        wish,
                    };
                    (session, event)
                }
                ClientAction::Say(session, event) => {
                    (session, MasterEvent::ApplicationSaid(id, session, event))
                }
                ClientAction::Close(session, outcome) => {
                    (session, MasterEvent::ApplicationClosed(id, session, outcome))
                }
                other => unreachable!("{other:?} is the driver's own affair"),
            };
            self.send(session, true, Message::ForMaster(event));
        }
    }

    /// What holds at every moment.
    fn check_always(&self) {
        let mut alive: BTreeMap<&Key, &Name> = BTreeMap::new();
        for worker in &self.workers {
            let mut free = worker.total.clone();
            for (key, process) in &worker.processes {
                assert!(
                    free.take(&process.need),
                    "{} holds more than it has, at {:?}",
                    worker.name,
                    self.now
                );
                if let Some(other) = alive.insert(key, &worker.name) {
                    panic!("{key:?} runs on {other} and on {} at once", worker.name);
                }
            }
        }
    }

    /// What holds once all is quiet.
    fn check_peace(&self) {
        let master = self.master.as_ref().expect("a master");
        let running: BTreeSet<&Key> =
            self.workers.iter().flat_map(|worker| worker.processes.keys()).collect();
        for driver in &self.drivers {
            if !driver.alive || driver.over {
                assert!(
                    !running.iter().any(|(id, _)| *id == driver.id),
                    "executors of {} are left behind",
                    driver.id
                );
                assert!(
                    !master.applications().any(|known| known.application == driver.id),
                    "{} is still known",
                    driver.id
                );
                continue;
            }
            assert!(!driver.closed || driver.over, "{} was closed and isn't over", driver.id);
            for (id, executor) in running.iter().filter(|(id, _)| *id == driver.id) {
                assert!(
                    driver.wanted.contains_key(executor),
                    "{executor:?} of {id} runs, and nobody wants it"
                );
            }
            for executor in driver.granted.iter().filter(|executor| !driver.wanted.contains_key(executor)) {
                assert!(driver.exited.contains(executor), "{executor:?} of {} never exited", driver.id);
            }
            for (executor, need) in &driver.wanted {
                if !running.contains(&(driver.id.clone(), *executor)) {
                    self.check_no_room(driver, need);
                }
            }
        }
    }

    /// A wish that isn't met has a reason that is true.
    fn check_no_room(&self, driver: &SimulatedDriver, need: &Resources) {
        let master = self.master.as_ref().expect("a master");
        let request = convoke_standalone::state::Request {
            need: need.clone(),
            placement: convoke_core::manager::Placement::default(),
            excluded: Vec::new(),
        };
        let reasons = master.explain(&driver.id, &request).expect("reasons");
        let view: Vec<_> = master.workers().collect();
        assert!(
            !reasons.is_empty(),
            "{} waits for {need}, and nothing stands in its way: {view:#?}",
            driver.id
        );
    }
}

fn session_of(message: &Message) -> Option<Session> {
    match message {
        Message::ForWorker(_, session, ..) | Message::ForDriver(_, session, _) => Some(*session),
        Message::ForMaster(event) => match event {
            MasterEvent::WorkerRegistered { session, .. }
            | MasterEvent::WorkerHeard(_, session)
            | MasterEvent::WorkerReported(_, session, ..)
            | MasterEvent::ApplicationRegistered { session, .. }
            | MasterEvent::ApplicationHeard(_, session)
            | MasterEvent::ApplicationSaid(_, session, _)
            | MasterEvent::ApplicationClosed(_, session, _) => Some(*session),
            _ => None,
        },
    }
}
