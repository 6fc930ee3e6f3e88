//! A master that is strict and does what it is told to: for what a real one can't be made to show.
//!
//! Strict: exact content types, required fields, stream ids, one stream per framework, one ACCEPT all or nothing, task ids
//! never used twice, one unacknowledged update per task at a time, no acknowledgement of what asked for none.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use convoke_mesos::v1::scheduler::{Call, Event, call, event};
use convoke_mesos::v1::task_status::{Reason, Source};
use convoke_mesos::v1::{self, TaskState, TaskStatus};
use prost::Message;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;

use crate::http::{Line, Request, answer, torn};

/// What goes wrong, once.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Answered with 500.
    ServerError,
    /// The connection breaks before the call counts.
    BreaksBefore,
    /// The call counts, and the connection breaks before the answer.
    BreaksAfter,
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) framework: Option<v1::FrameworkInfo>,
    pub(crate) removed: bool,
    pub(crate) subscriptions: u32,
    stream: Option<(String, mpsc::UnboundedSender<Vec<u8>>)>,
    suppressed: bool,
    /// By agent: what it has, in units.
    agents: BTreeMap<String, BTreeMap<String, f64>>,
    offers: BTreeMap<String, String>,
    made: u64,
    pub(crate) tasks: BTreeMap<String, Task>,
    pub(crate) calls: Vec<call::Type>,
    /// What a real master would have refused, or a user regretted.
    pub(crate) violations: Vec<String>,
    pub(crate) fault: Option<(call::Type, Fault)>,
    /// Who leads, if not this one.
    pub(crate) leader: Option<String>,
    /// So often it answers that there is no leader.
    pub(crate) unavailable: u32,
    /// What a caller has to show.
    pub(crate) authorization: Option<String>,
    pub(crate) heartbeats: bool,
}

#[derive(Debug)]
pub(crate) struct Task {
    pub(crate) info: v1::TaskInfo,
    pub(crate) state: TaskState,
    /// The first was sent, and waits for its acknowledgement; the others wait behind it.
    updates: VecDeque<TaskStatus>,
    pub(crate) acknowledged: u32,
}

pub(crate) struct FakeMaster {
    pub(crate) address: String,
    state: Arc<Mutex<State>>,
    serving: tokio::task::JoinHandle<()>,
}

impl Drop for FakeMaster {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

impl FakeMaster {
    pub(crate) async fn start(agents: &[&[(&str, f64)]], tls: Option<TlsAcceptor>) -> FakeMaster {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let own =
            |all: &[(&str, f64)]| all.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
        let agents =
            agents.iter().enumerate().map(|(place, all)| (format!("agent-{place}"), own(all))).collect();
        let state = Arc::new(Mutex::new(State { agents, heartbeats: true, ..State::default() }));
        let shared = state.clone();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (state, tls) = (shared.clone(), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => connection(stream, state).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                connection(stream, state).await;
                            }
                        }
                    }
                });
            }
        });
        FakeMaster { address, state, serving }
    }

    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap()
    }
}

async fn connection(mut line: impl Line, state: Arc<Mutex<State>>) {
    while let Some(request) = Request::read(&mut line).await {
        let handled = state.lock().unwrap().handle(&request);
        match handled {
            Handled::Break => return,
            Handled::Answer(status, headers, body) => {
                if answer(&mut line, status, &headers, &body).await.is_err() {
                    return;
                }
            }
            Handled::Stream(id, mut events) => {
                let head = format!(
                    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nMesos-Stream-Id: {id}\r\nContent-Type: application/x-protobuf\r\n\r\n"
                );
                if tokio::io::AsyncWriteExt::write_all(&mut line, head.as_bytes()).await.is_err() {
                    return;
                }
                let mut seed = 1;
                loop {
                    let next = tokio::time::timeout(Duration::from_secs(15), events.recv()).await;
                    let bytes = match next {
                        Ok(Some(bytes)) => bytes,
                        Ok(None) => break, // the stream's end
                        Err(_) if state.lock().unwrap().heartbeats => record(event::Type::Heartbeat, |_| {}),
                        Err(_) => continue,
                    };
                    if torn(&mut line, &bytes, &mut seed).await.is_err() {
                        return;
                    }
                }
                let _ = tokio::io::AsyncWriteExt::write_all(&mut line, b"0\r\n\r\n").await;
                return;
            }
        }
    }
}

enum Handled {
    Break,
    Answer(&'static str, String, Vec<u8>),
    Stream(String, mpsc::UnboundedReceiver<Vec<u8>>),
}

fn says(status: &'static str, words: &str) -> Handled {
    Handled::Answer(status, String::new(), words.as_bytes().to_vec())
}

/// A record in its frame.
pub(crate) fn record(kind: event::Type, fill: impl FnOnce(&mut Event)) -> Vec<u8> {
    let mut event = Event { r#type: Some(kind as i32), ..Default::default() };
    fill(&mut event);
    let bytes = event.encode_to_vec();
    [format!("{}\n", bytes.len()).into_bytes(), bytes].concat()
}

impl State {
    fn handle(&mut self, request: &Request) -> Handled {
        if request.line != "POST /api/v1/scheduler HTTP/1.1" {
            return says("404 Not Found", "");
        }
        if self.authorization.as_deref().is_some_and(|wanted| request.header("authorization") != Some(wanted))
        {
            let headers = "WWW-Authenticate: Basic realm=\"mesos-master-scheduler\"\r\n".to_owned();
            return Handled::Answer("401 Unauthorized", headers, Vec::new());
        }
        if let Some(leader) = &self.leader {
            let headers = format!("Location: //{leader}/api/v1/scheduler\r\n");
            return Handled::Answer("307 Temporary Redirect", headers, Vec::new());
        }
        if self.unavailable > 0 {
            self.unavailable -= 1;
            return says("503 Service Unavailable", "No leader elected");
        }
        if request.header("content-type") != Some("application/x-protobuf") {
            return says("415 Unsupported Media Type", "Expecting one of the known types");
        }
        let Ok(call) = Call::decode(&request.body[..]) else {
            return says("400 Bad Request", "Failed to parse");
        };
        let Ok(kind) = call::Type::try_from(call.r#type.unwrap_or(0)) else {
            return says("400 Bad Request", "Expecting 'type' to be present");
        };
        self.calls.push(kind);
        let fault = self.fault.take_if(|(at, _)| *at == kind).map(|(_, fault)| fault);
        match fault {
            Some(Fault::ServerError) => return says("500 Internal Server Error", "made up"),
            Some(Fault::BreaksBefore) => return Handled::Break,
            _ => {}
        }
        let handled = self.call(request, kind, call);
        if fault == Some(Fault::BreaksAfter) { Handled::Break } else { handled }
    }

    fn call(&mut self, request: &Request, kind: call::Type, call: Call) -> Handled {
        let shown = request.header("mesos-stream-id");
        if kind == call::Type::Subscribe {
            if shown.is_some() {
                return says(
                    "400 Bad Request",
                    "Subscribe calls should not include the 'Mesos-Stream-Id' header",
                );
            }
            return self.subscribe(call);
        }
        let Some(id) = &call.framework_id else { return says("400 Bad Request", "Expecting 'framework_id'") };
        let known = self.framework.as_ref().and_then(|it| it.id.as_ref()).is_some_and(|own| own == id);
        if !known || self.removed {
            return says("400 Bad Request", "Framework cannot be found");
        }
        match (&self.stream, shown) {
            (None, _) => return says("403 Forbidden", "Framework is not subscribed"),
            (Some((own, _)), Some(shown)) if own == shown => {}
            _ => return says("400 Bad Request", "The stream ID included in this request didn't match"),
        }
        match kind {
            call::Type::Revive => {
                self.suppressed = false;
                self.offer_all();
            }
            call::Type::Suppress => self.suppressed = true,
            call::Type::Decline => {
                for id in call.decline.into_iter().flat_map(|it| it.offer_ids) {
                    self.offers.remove(&id.value); // an invalid one is ignored
                }
            }
            call::Type::Accept => self.accept(call.accept.unwrap_or_default()),
            call::Type::Acknowledge => self.acknowledge(call.acknowledge.unwrap_or_default()),
            call::Type::Kill => {
                let id = call.kill.unwrap_or_default().task_id.value;
                if self.tasks.get(&id).is_some_and(|task| !is_terminal(task.state)) {
                    self.update(
                        &id,
                        TaskState::TaskKilled,
                        None,
                        "Command terminated with signal Terminated",
                    );
                }
            }
            call::Type::Reconcile => self.reconcile(call.reconcile.unwrap_or_default()),
            call::Type::Teardown => {
                (self.removed, self.stream) = (true, None);
            }
            other => self.violations.push(format!("an unexpected call: {other:?}")),
        }
        Handled::Answer("202 Accepted", String::new(), Vec::new())
    }

    fn subscribe(&mut self, call: Call) -> Handled {
        let Some(mut info) = call.subscribe.clone().map(|it| it.framework_info) else {
            return says("400 Bad Request", "Expecting 'subscribe' to be present");
        };
        if info.user.is_empty() || info.name.is_empty() || call.framework_id != info.id {
            return says("400 Bad Request", "a required field is missing");
        }
        let (events, receiver) = mpsc::unbounded_channel();
        let send_error = |words: &str| {
            let message = words.to_owned();
            let _ = events.send(record(event::Type::Error, |it| it.error = Some(event::Error { message })));
        };
        self.made += 1;
        let stream = format!("stream-{}", self.made);
        match (&info.id, &self.framework) {
            (None, Some(_)) => self.violations.push("a second framework was made".into()),
            (Some(_), None) => {
                send_error("Framework has been removed");
                return Handled::Stream(stream, receiver);
            }
            _ => {}
        }
        if self.removed {
            send_error("Framework has been removed");
            return Handled::Stream(stream, receiver);
        }
        let id = v1::FrameworkId { value: "framework-1".into() };
        info.id = Some(id.clone());
        self.subscriptions += 1;
        self.suppressed = call.subscribe.is_some_and(|it| it.suppressed_roles == info.roles);
        self.framework = Some(info);
        // without a word: whatever was offered is void
        self.offers.clear();
        let old = self.stream.replace((stream.clone(), events));
        if let Some((_, old)) = old {
            let message = "Framework failed over".to_owned();
            let _ = old.send(record(event::Type::Error, |it| it.error = Some(event::Error { message })));
        }
        self.send(record(event::Type::Subscribed, |it| {
            it.subscribed = Some(event::Subscribed {
                framework_id: id,
                heartbeat_interval_seconds: Some(15.0),
                ..Default::default()
            });
        }));
        self.send(record(event::Type::Heartbeat, |_| {}));
        // an agent sends again what nobody acknowledged
        let waiting: Vec<_> = self.tasks.values().filter_map(|task| task.updates.front().cloned()).collect();
        for status in waiting {
            self.send_status(status);
        }
        Handled::Stream(stream, receiver)
    }

    /// Bytes on the stream, whatever they are.
    pub(crate) fn send(&self, bytes: Vec<u8>) {
        if let Some((_, stream)) = &self.stream {
            let _ = stream.send(bytes);
        }
    }

    /// The stream ends.
    pub(crate) fn cut(&mut self) {
        self.stream = None;
    }

    fn send_status(&self, status: TaskStatus) {
        self.send(record(event::Type::Update, |it| it.update = Some(event::Update { status })));
    }

    fn free(&self, agent: &str) -> BTreeMap<String, f64> {
        let mut free = self.agents[agent].clone();
        let here = self.tasks.values().filter(|it| it.info.agent_id.value == agent && !is_terminal(it.state));
        for resource in here.flat_map(|task| &task.info.resources) {
            *free.entry(resource.name.clone()).or_default() -= resource.scalar.map_or(0.0, |it| it.value);
        }
        free
    }

    fn offer_all(&mut self) {
        let can_gpus = self
            .framework
            .iter()
            .flat_map(|it| &it.capabilities)
            .any(|it| it.r#type == Some(v1::framework_info::capability::Type::GpuResources as i32));
        let offered: BTreeSet<_> = self.offers.values().cloned().collect();
        let mut offers = Vec::new();
        for agent in self.agents.keys().cloned().collect::<Vec<_>>() {
            let free = self.free(&agent);
            if offered.contains(&agent)
                || free["cpus"] < 0.01
                || (self.agents[&agent].contains_key("gpus") && !can_gpus)
            {
                continue;
            }
            self.made += 1;
            let id = format!("offer-{}", self.made);
            let resource = |(name, value): (&String, &f64)| v1::Resource {
                name: name.clone(),
                r#type: v1::value::Type::Scalar as i32,
                scalar: Some(v1::value::Scalar { value: *value }),
                allocation_info: Some(v1::resource::AllocationInfo { role: Some("*".into()) }),
                ..Default::default()
            };
            offers.push(v1::Offer {
                id: v1::OfferId { value: id.clone() },
                framework_id: v1::FrameworkId { value: "framework-1".into() },
                agent_id: v1::AgentId { value: agent.clone() },
                hostname: agent.clone(),
                resources: free.iter().filter(|(_, value)| **value > 0.0).map(resource).collect(),
                ..Default::default()
            });
            self.offers.insert(id, agent);
        }
        if !offers.is_empty() {
            self.send(record(event::Type::Offers, |it| it.offers = Some(event::Offers { offers })));
        }
    }

    fn accept(&mut self, accept: call::Accept) {
        let taken: Vec<_> = accept.offer_ids.iter().map(|id| self.offers.remove(&id.value)).collect();
        let infos = accept.operations.into_iter().flat_map(|it| it.launch.unwrap_or_default().task_infos);
        for info in infos.collect::<Vec<_>>() {
            let id = info.task_id.value.clone();
            let status = |state: TaskState, reason: Reason| TaskStatus {
                task_id: info.task_id.clone(),
                state: state as i32,
                reason: Some(reason as i32),
                source: Some(Source::Master as i32),
                agent_id: Some(info.agent_id.clone()),
                ..Default::default()
            };
            let wrong = info.command.is_none()
                || info.name.is_empty()
                || info.resources.is_empty()
                || self.tasks.contains_key(&id)
                || info
                    .resources
                    .iter()
                    .any(|it| it.name == "gpus" && it.scalar.is_some_and(|it| it.value.fract() != 0.0));
            if taken.iter().any(Option::is_none) {
                self.send_status(status(TaskState::TaskDropped, Reason::InvalidOffers));
            } else if wrong || taken.iter().flatten().any(|agent| *agent != info.agent_id.value) {
                self.violations.push(format!("a task that is refused: {info:?}"));
                self.send_status(status(TaskState::TaskError, Reason::TaskInvalid));
            } else {
                let free = self.free(&info.agent_id.value);
                for resource in &info.resources {
                    if resource.scalar.map_or(0.0, |it| it.value) > free[&resource.name] + 0.0005 {
                        self.violations.push(format!("more than was offered: {resource:?} of {free:?}"));
                    }
                }
                let task =
                    Task { info, state: TaskState::TaskStaging, updates: VecDeque::new(), acknowledged: 0 };
                self.tasks.insert(id.clone(), task);
                self.update(&id, TaskState::TaskStarting, None, "");
                self.update(&id, TaskState::TaskRunning, None, "");
            }
        }
    }

    /// An update from the task's agent; one after the other, each once the one before was acknowledged.
    pub(crate) fn update(&mut self, id: &str, state: TaskState, reason: Option<Reason>, message: &str) {
        self.made += 1;
        let made = self.made;
        let Some(task) = self.tasks.get_mut(id) else { panic!("no task {id}") };
        task.state = state;
        let status = TaskStatus {
            task_id: task.info.task_id.clone(),
            state: state as i32,
            reason: reason.map(|it| it as i32),
            message: Some(message.to_owned()),
            source: Some(Source::Executor as i32),
            agent_id: Some(task.info.agent_id.clone()),
            uuid: Some(u128::from(made).to_be_bytes().to_vec().into()),
            ..Default::default()
        };
        task.updates.push_back(status.clone());
        if task.updates.len() == 1 {
            self.send_status(status);
        }
    }

    /// What the master itself says; it asks for no acknowledgement.
    pub(crate) fn masters_word(&mut self, id: &str, state: TaskState, reason: Reason) {
        let task = self.tasks.get_mut(id).unwrap();
        let status = TaskStatus {
            task_id: task.info.task_id.clone(),
            state: state as i32,
            reason: Some(reason as i32),
            source: Some(Source::Master as i32),
            agent_id: Some(task.info.agent_id.clone()),
            ..Default::default()
        };
        self.send_status(status);
    }

    fn acknowledge(&mut self, acknowledge: call::Acknowledge) {
        let id = &acknowledge.task_id.value;
        let Some(task) = self.tasks.get_mut(id) else {
            return self.violations.push(format!("an acknowledgement for no task: {acknowledge:?}"));
        };
        match task.updates.front() {
            Some(first) if first.uuid.as_ref() == Some(&acknowledge.uuid) => {
                task.updates.pop_front();
                task.acknowledged += 1;
            }
            // one that was sent again may be acknowledged again
            _ if acknowledge.uuid.len() == 16 => {}
            _ => self.violations.push(format!("an acknowledgement of nothing: {acknowledge:?}")),
        }
        if let Some(next) = self.tasks[id].updates.front().cloned() {
            self.send_status(next);
        }
    }

    fn reconcile(&mut self, reconcile: call::Reconcile) {
        let named: Vec<_> = reconcile.tasks.iter().map(|task| task.task_id.value.clone()).collect();
        let all = self.tasks.iter().filter(|(_, task)| !is_terminal(task.state)).map(|(id, _)| id.clone());
        let asked = if named.is_empty() { all.collect() } else { named };
        for id in asked {
            let (state, agent) = match self.tasks.get(&id) {
                Some(task) => (task.state, Some(task.info.agent_id.clone())),
                None => (TaskState::TaskGone, None),
            };
            self.send_status(TaskStatus {
                task_id: v1::TaskId { value: id },
                state: state as i32,
                reason: Some(Reason::Reconciliation as i32),
                source: Some(Source::Master as i32),
                agent_id: agent,
                ..Default::default()
            });
        }
    }
}

fn is_terminal(state: TaskState) -> bool {
    use TaskState::*;
    matches!(
        state,
        TaskFinished
            | TaskFailed
            | TaskKilled
            | TaskError
            | TaskLost
            | TaskDropped
            | TaskGone
            | TaskGoneByOperator
    )
}
