//! The shell with a scripted backend, under paused time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;

use super::super::*;
use super::Managed;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::{ApplicationId, ExecutorId, Name};
use crate::resource::ResourceProfile;
use crate::secret::Secret;

/// What a test tells the backend to do, and what it sees of it.
#[derive(Debug, Default)]
struct Script {
    reporter: Option<Reporter>,
    calls: Vec<String>,
    running: BTreeSet<ExecutorId>,
    /// Wishes are granted, launched at once.
    grants: bool,
    out_of_reach: bool,
    panics: bool,
    close_hangs: bool,
    opens: u32,
    alive: Arc<()>,
}

#[derive(Debug, Clone, Default)]
struct Scripted(Arc<Mutex<Script>>);

#[derive(Debug)]
struct ScriptedApplication(
    Scripted,
    #[expect(dead_code, reason = "its count tells whether it was dropped")] Arc<()>,
);

impl Scripted {
    fn granting() -> Scripted {
        let scripted = Scripted::default();
        scripted.set(|script| script.grants = true);
        scripted
    }
    fn set<R>(&self, change: impl FnOnce(&mut Script) -> R) -> R {
        change(&mut self.0.lock().unwrap())
    }
    fn reporter(&self) -> Reporter {
        self.set(|script| script.reporter.clone().unwrap())
    }
    fn calls(&self) -> Vec<String> {
        self.set(|script| script.calls.clone())
    }
    /// The backend's half of the application and its calls that run.
    fn alive(&self) -> usize {
        self.set(|script| Arc::strong_count(&script.alive) - 1)
    }
    fn call(&self, call: String) -> Result<()> {
        self.set(|script| {
            script.calls.push(call);
            assert!(!script.panics, "scripted panic");
            if script.out_of_reach {
                Err(Error::new(ErrorKind::Unavailable, "scripted outage"))
            } else {
                Ok(())
            }
        })
    }
}

#[async_trait]
impl Provisioner for Scripted {
    fn describe(&self) -> Descriptor {
        Descriptor {
            kind: "scripted",
            version: "1".into(),
            capabilities: Capabilities::default().logs(),
            least_lease: Duration::from_secs(1),
        }
    }
    async fn open(&self, _spec: Arc<ApplicationSpec>, report: Reporter) -> Result<Opened> {
        self.set(|script| script.opens += 1);
        self.call("open".into())?;
        tokio::time::sleep(Duration::from_secs(1)).await;
        let alive = self.set(|script| {
            script.reporter = Some(report);
            script.alive.clone()
        });
        Ok(Opened {
            provisioning: Box::new(ScriptedApplication(self.clone(), alive)),
            native: "native-1".into(),
            page: None,
            capabilities: self.describe().capabilities,
        })
    }
}

#[async_trait]
impl Provisioning for ScriptedApplication {
    async fn start(&self, wanted: Vec<Wanted>) -> Result<()> {
        let ids: Vec<_> = wanted.iter().map(|wanted| wanted.executor.0).collect();
        self.0.call(format!("start {ids:?}"))?;
        tokio::task::yield_now().await;
        let (grants, report) = self.0.set(|script| (script.grants, script.reporter.clone().unwrap()));
        for wanted in wanted.into_iter().filter(|_| grants) {
            self.0.set(|script| script.running.insert(wanted.executor));
            report.granted(Grant {
                executor: wanted.executor,
                profile: wanted.profile.id,
                native: wanted.executor.to_string(),
                host: None,
                actual: wanted.profile.each.clone(),
                devices: BTreeMap::new(),
            });
            report.launched(wanted.executor, vec![]);
        }
        Ok(())
    }
    async fn stop(&self, executors: Vec<ExecutorId>) -> Result<()> {
        self.0.call(format!("stop {:?}", executors.iter().map(|id| id.0).collect::<Vec<_>>()))?;
        let report = self.0.reporter();
        for id in executors {
            if self.0.set(|script| script.running.remove(&id)) {
                report.exited(id, Exit::new(ExitCause::Signal(15), ""));
            }
        }
        Ok(())
    }
    async fn close(&self, _outcome: Outcome, deadline: Duration) -> Result<()> {
        self.0.call("close".into())?;
        if self.0.set(|script| script.close_hangs) {
            tokio::time::sleep(deadline * 100).await;
        }
        let all = self.0.set(|script| std::mem::take(&mut script.running));
        let report = self.0.reporter();
        for id in all {
            report.exited(id, Exit::new(ExitCause::Signal(15), ""));
        }
        Ok(())
    }
    async fn explain(&self, like: Option<&Wanted>) -> Result<Vec<Reason>> {
        self.0.call("explain".into())?;
        Ok(like.map(|_| Reason::NodesDraining(1)).into_iter().collect())
    }
    async fn logs(&self, executor: ExecutorId, _request: LogRequest) -> Result<Stream<Result<LogChunk>>> {
        let chunk = LogChunk {
            missing: Missing::Nothing,
            bytes: Bytes::from(format!("log of {executor}")),
            end: LogPosition("0".into()),
        };
        Ok(Box::pin(futures_util::stream::iter([Ok(chunk)])))
    }
}

#[derive(Debug)]
struct NoLauncher;
impl Launcher for NoLauncher {
    fn launch(&self, _executor: ExecutorId, _profile: &ResourceProfile) -> LaunchCommand {
        LaunchCommand::new(Program::Bootstrap, Secret::new(vec![]))
    }
}

fn spec() -> ApplicationSpecBuilder {
    let name = Name::new("test").unwrap();
    ApplicationSpec::builder(ApplicationId::from_parts(&name, 1), name, Arc::new(NoLauncher))
}

async fn register(scripted: &Scripted) -> Registration {
    Managed::new(scripted.clone()).register(spec().build().unwrap()).await.unwrap()
}

fn target(executors: u32) -> Target {
    Target::of(Arc::new(ResourceProfile::default()), executors)
}

/// The next event within a minute of paused time.
async fn next(registration: &mut Registration) -> What {
    let event = tokio::time::timeout(Duration::from_secs(60), registration.events.next());
    event.await.expect("an event within a minute").expect("the stream goes on").what
}

async fn next_launched(registration: &mut Registration) -> ExecutorId {
    loop {
        if let What::Launched { executor, .. } = next(registration).await {
            return executor;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn executors_come_are_replaced_and_go_with_their_application() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    assert_eq!(registration.application.info().native, "native-1");
    scripted.reporter().page("http://page".into());
    assert_eq!(registration.application.info().page.as_deref(), Some("http://page"));

    registration.application.set_target(target(2)).unwrap();
    let first = next_launched(&mut registration).await;
    let second = next_launched(&mut registration).await;
    assert_eq!([first.0, second.0], [1, 2]);
    assert!(registration.application.heard(first, Heard::Joined));
    assert!(!registration.application.heard(ExecutorId(99), Heard::Joined));
    assert!(registration.application.explain().await.unwrap().is_empty());

    scripted.set(|script| script.running.remove(&first));
    scripted.reporter().exited(first, Exit::new(ExitCause::Preempted, ""));
    assert!(matches!(next(&mut registration).await, What::Exited { executor, .. } if executor == first));
    assert_eq!(next_launched(&mut registration).await, ExecutorId(3));

    let application = &registration.application;
    application.unregister(Outcome::Succeeded, Duration::from_secs(5)).await.unwrap();
    application.unregister(Outcome::Succeeded, Duration::from_secs(5)).await.unwrap();
    let mut last = None;
    while let Some(event) = registration.events.next().await {
        last = Some(event.what);
    }
    assert!(matches!(last, Some(What::Ended { by: EndedBy::Application, .. })), "{last:?}");
    assert_eq!(scripted.calls().iter().filter(|call| *call == "close").count(), 1);
    drop(registration);
    tokio::task::yield_now().await;
    assert_eq!(scripted.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn a8_a_release_with_grace_stops_at_its_deadline() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    registration.application.set_target(target(1)).unwrap();
    let executor = next_launched(&mut registration).await;
    let begun = tokio::time::Instant::now();
    let answers = registration.application.release(&Release {
        executors: vec![executor],
        grace: Duration::from_secs(30),
        then: Then::LowerTarget,
        why: ExitCause::Released,
    });
    assert_eq!(answers, [(executor, ReleaseAnswer::Accepted)]);
    let What::Exited { exit, .. } = next(&mut registration).await else { panic!("an exit") };
    assert_eq!(exit.cause, ExitCause::Released);
    assert_eq!(begun.elapsed().as_secs(), 30);
}

#[tokio::test(start_paused = true)]
async fn r2_a_specification_that_cannot_be_right_never_reaches_the_manager() {
    let scripted = Scripted::default();
    let managed = Managed::new(scripted.clone());
    let short = spec().lease(Duration::from_millis(500)).build().unwrap();
    assert_eq!(managed.register(short).await.unwrap_err().field(), Some("lease"));
    let artifact = Artifact {
        name: Name::new("program").unwrap(),
        sha256: crate::secret::Digest([0; 32]),
        bytes: 1,
        executable: true,
        sources: vec![Source::DriverPath("/no/such/file".into())],
    };
    let missing =
        spec().bootstrap(Bootstrap { builds: vec![(Platform::current(), artifact)] }).build().unwrap();
    assert_eq!(managed.register(missing).await.unwrap_err().field(), Some("bootstrap"));
    assert_eq!(scripted.set(|script| script.opens), 0);
}

#[tokio::test(start_paused = true)]
async fn r1_an_error_of_open_is_the_answer_and_leaves_nothing() {
    let scripted = Scripted::default();
    scripted.set(|script| script.out_of_reach = true);
    let error = Managed::new(scripted.clone()).register(spec().build().unwrap()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(scripted.alive(), 0);
}

#[tokio::test(start_paused = true)]
async fn r4_dropping_the_future_of_register_leaves_nothing_running() {
    let scripted = Scripted::default();
    let managed = Managed::new(scripted.clone());
    let register = managed.register(spec().build().unwrap());
    assert!(tokio::time::timeout(Duration::from_millis(500), register).await.is_err());
    assert_eq!((scripted.set(|script| script.opens), scripted.alive()), (1, 0));
}

#[tokio::test(start_paused = true)]
async fn t3_dropping_the_handle_ends_all_of_it_in_this_process() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    registration.application.set_target(target(1)).unwrap();
    next_launched(&mut registration).await;
    let Registration { application, mut events } = registration;
    drop(application);
    assert!(events.next().await.is_none(), "the stream ends bare: abandoned");
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert_eq!(scripted.alive(), 0);
    scripted.reporter().exited(ExecutorId(1), Exit::new(ExitCause::Code(1), ""));
    tokio::time::sleep(Duration::from_secs(600)).await;
    assert!(!scripted.calls().contains(&"start [2]".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn f4_an_outage_is_told_and_the_wish_holds() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    scripted.set(|script| script.out_of_reach = true);
    registration.application.set_target(target(1)).unwrap();
    assert!(matches!(next(&mut registration).await, What::ManagerUnreachable { .. }));
    let shortfalls = registration.application.explain().await.unwrap();
    assert!(matches!(shortfalls[0].reasons[..], [Reason::ManagerUnreachable]), "{shortfalls:?}");
    tokio::time::sleep(Duration::from_secs(20)).await;
    let calls = scripted.calls().len();
    assert!(calls < 15, "{calls} calls in an outage of 20 s");
    registration.application.set_target(target(2)).unwrap();
    scripted.set(|script| script.out_of_reach = false);
    let mut launched = BTreeSet::new();
    while launched.len() < 2 {
        launched.insert(next_launched(&mut registration).await);
    }
}

#[tokio::test(start_paused = true)]
async fn a_backend_that_panics_is_called_again() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    scripted.set(|script| script.panics = true);
    registration.application.set_target(target(1)).unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    scripted.0.clear_poison();
    scripted.set(|script| script.panics = false);
    assert_eq!(next_launched(&mut registration).await, ExecutorId(1));
}

#[tokio::test(start_paused = true)]
async fn t1_unregister_answers_with_an_error_at_its_deadline() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    registration.application.set_target(target(1)).unwrap();
    next_launched(&mut registration).await;
    scripted.set(|script| script.close_hangs = true);
    let begun = tokio::time::Instant::now();
    let deadline = Duration::from_secs(5);
    let error = registration.application.unregister(Outcome::Killed, deadline).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    assert!(begun.elapsed() < Duration::from_secs(9));
    scripted.set(|script| script.close_hangs = false);
    registration.application.unregister(Outcome::Killed, deadline).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn t1_a_dropped_unregister_goes_on_in_the_background() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    registration.application.set_target(target(1)).unwrap();
    next_launched(&mut registration).await;
    let unregister = registration.application.unregister(Outcome::Succeeded, Duration::from_secs(5));
    assert!(futures_util::FutureExt::now_or_never(unregister).is_none());
    loop {
        if matches!(next(&mut registration).await, What::Ended { .. }) {
            break;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a6_explain_has_the_backends_words_and_logs_know_their_own() {
    let scripted = Scripted::default();
    let registration = register(&scripted).await;
    assert!(registration.application.explain().await.unwrap().is_empty());
    registration.application.set_target(target(2)).unwrap();
    let shortfalls = registration.application.explain().await.unwrap();
    assert!(matches!(shortfalls[0].reasons[..], [Reason::NodesDraining(1)]), "{shortfalls:?}");
    let request = LogRequest { stream: LogStream::Stderr, from: LogFrom::Start, follow: false };
    let logs = &registration.application;
    assert!(logs.logs(ExecutorId(1), request.clone()).await.is_ok());
    let error = logs.logs(ExecutorId(50), request).await.err().unwrap();
    assert_eq!(error.kind(), ErrorKind::NotFound);
}

#[tokio::test(start_paused = true)]
async fn l6_the_tail_of_the_log_comes_with_the_exit() {
    let scripted = Scripted::granting();
    let mut registration = register(&scripted).await;
    registration.application.set_target(target(1)).unwrap();
    next_launched(&mut registration).await;
    loop {
        let event = tokio::time::timeout(Duration::from_secs(150), registration.events.next());
        if let What::Exited { exit, .. } = event.await.unwrap().unwrap().what {
            assert_eq!((exit.cause, &exit.log_tail[..]), (ExitCause::NeverJoined, &b"log of 1"[..]));
            break;
        }
    }
}

/// The handle is used from a thread without a runtime, and from another runtime than the one it was registered on.
#[test]
fn it_works_on_either_flavour_and_says_when_its_runtime_is_gone() {
    let flavours = [
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap(),
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap(),
    ];
    for runtime in flavours {
        let scripted = Scripted::granting();
        let mut registration = runtime.block_on(register(&scripted));
        registration.application.set_target(target(3)).unwrap();
        runtime.block_on(async {
            for _ in 0..3 {
                next_launched(&mut registration).await;
            }
        });
        drop(runtime);
        let other = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let unregister = registration.application.unregister(Outcome::Succeeded, Duration::from_secs(60));
        let error = other.block_on(unregister).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
        assert!(other.block_on(registration.events.next()).is_none());
    }
}
