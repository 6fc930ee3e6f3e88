//! What the tests of this backend share: an application that runs shell commands, and a reporter that remembers.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    reason = "each test binary uses its own part; a failure here is a failed test"
)]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use convoke_core::Result;
use convoke_core::ids::{ApplicationId, ExecutorId, Name, ProfileId};
use convoke_core::manager::{
    ApplicationSpec, Capabilities, EndedBy, Exit, Grant, LaunchCommand, Launcher, ManagerSettings, Opened,
    Outcome, Page, Placement, Program, Provisioner, Provisioning, Report, Wanted,
};
use convoke_core::process::table::ProcessId;
use convoke_core::process::tree::kill_trees;
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::secret::Secret;
use convoke_core::units::{Cpus, MiB};
use convoke_local::Local;
use tokio::sync::watch;

/// Everything ends within this, or the test fails.
pub const BOUND: Duration = Duration::from_secs(30);

pub fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

/// What was reported of one executor.
#[derive(Debug, Clone, Default)]
pub struct Seen {
    pub grant: Option<Grant>,
    pub launched: bool,
    pub exits: Vec<Exit>,
    /// In the order of the reports.
    pub order: Vec<&'static str>,
}

#[derive(Debug)]
pub struct Recorder {
    seen: watch::Sender<BTreeMap<ExecutorId, Seen>>,
    ended: watch::Sender<Option<(Outcome, EndedBy)>>,
}

impl Recorder {
    fn new() -> Arc<Recorder> {
        Arc::new(Recorder { seen: watch::Sender::new(BTreeMap::new()), ended: watch::Sender::new(None) })
    }

    /// Waits until somebody else has ended the application.
    #[allow(dead_code, reason = "not every test needs all of this")]
    pub async fn ended(&self) -> (Outcome, EndedBy) {
        let mut ended = self.ended.subscribe();
        let told = tokio::time::timeout(BOUND, ended.wait_for(Option::is_some));
        told.await.expect("nobody ended it").unwrap().clone().unwrap()
    }

    fn note(&self, executor: ExecutorId, what: &'static str, change: impl FnOnce(&mut Seen)) {
        self.seen.send_modify(|all| {
            let seen = all.entry(executor).or_default();
            seen.order.push(what);
            change(seen);
        });
    }

    pub fn of(&self, executor: u64) -> Seen {
        self.seen.borrow().get(&ExecutorId(executor)).cloned().unwrap_or_default()
    }

    pub async fn until(&self, what: &str, holds: impl Fn(&BTreeMap<ExecutorId, Seen>) -> bool) {
        let mut changes = self.seen.subscribe();
        let waited = tokio::time::timeout(BOUND, changes.wait_for(|seen| holds(seen))).await;
        if waited.is_err() {
            panic!("not within {BOUND:?}: {what}; seen: {:#?}", self.seen.borrow());
        }
    }

    pub async fn launched(&self, executor: u64) -> Grant {
        let id = ExecutorId(executor);
        self.until(&format!("executor {executor} is launched"), |seen| {
            seen.get(&id).is_some_and(|seen| seen.launched)
        })
        .await;
        self.of(executor).grant.unwrap()
    }

    pub async fn exited(&self, executor: u64) -> Exit {
        let id = ExecutorId(executor);
        self.until(&format!("executor {executor} has exited"), |seen| {
            seen.get(&id).is_some_and(|seen| !seen.exits.is_empty())
        })
        .await;
        let seen = self.of(executor);
        assert_eq!(seen.exits.len(), 1, "an executor exits once");
        assert_eq!(seen.order.last(), Some(&"exited"), "its exit comes last");
        seen.exits[0].clone()
    }
}

impl Report for Recorder {
    fn page(&self, _: String) {}
    fn manager(&self, _: Result<()>) {}
    fn granted(&self, grant: Grant) {
        self.note(grant.executor, "granted", |seen| seen.grant = Some(grant.clone()));
    }
    fn launched(&self, executor: ExecutorId, _: Vec<Page>) {
        self.note(executor, "launched", |seen| seen.launched = true);
    }
    fn reachable(&self, _: ExecutorId, _: bool) {}
    fn draining(&self, _: Vec<ExecutorId>, _: Option<SystemTime>, _: String) {}
    fn exited(&self, executor: ExecutorId, exit: Exit) {
        self.note(executor, "exited", |seen| seen.exits.push(exit));
    }
    fn ended(&self, outcome: Outcome, by: EndedBy) {
        self.ended.send_replace(Some((outcome, by)));
    }
}

type Make = dyn Fn(ExecutorId) -> LaunchCommand + Send + Sync;

/// Launches what a closure says, with the names that core's own launcher gives.
pub struct Runs {
    application: ApplicationId,
    make: Box<Make>,
}

impl std::fmt::Debug for Runs {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Runs")
    }
}

impl Launcher for Runs {
    fn launch(&self, executor: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
        let mut command = (self.make)(executor);
        command.env.insert("CONVOKE_APPLICATION".to_owned(), self.application.to_string());
        command.env.insert("CONVOKE_EXECUTOR".to_owned(), executor.to_string());
        command
    }
}

/// `/bin/sh -c SCRIPT`.
pub fn shell(script: &str) -> LaunchCommand {
    let mut command = LaunchCommand::new(Program::OnNode("/bin/sh".to_owned()), Secret::new(*b"ticket"));
    command.args = vec!["-c".to_owned(), script.to_owned()];
    command
}

/// An application that is open at a local manager, in a folder of its own.
pub struct Application {
    pub id: ApplicationId,
    pub provisioning: Box<dyn Provisioning>,
    pub capabilities: Capabilities,
    pub seen: Arc<Recorder>,
}

pub fn manager(url: &str, directory: &Path, options: &[(&str, &str)]) -> Local {
    let mut settings = ManagerSettings::default();
    settings.options.insert("local.directory".to_owned(), directory.display().to_string());
    for (key, value) in options {
        settings.options.insert((*key).to_owned(), (*value).to_owned());
    }
    Local::new(&url.parse().unwrap(), &settings).unwrap()
}

pub async fn open(
    manager: &Local,
    make: impl Fn(ExecutorId) -> LaunchCommand + Send + Sync + 'static,
) -> Application {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    let random = (u64::from(std::process::id()) << 32) | COUNT.fetch_add(1, Ordering::Relaxed);
    let id = ApplicationId::from_parts(&name("test"), random);
    let launcher = Arc::new(Runs { application: id.clone(), make: Box::new(make) });
    let spec = ApplicationSpec::builder(id.clone(), name("test"), launcher).build().unwrap();
    let seen = Recorder::new();
    let Opened { provisioning, capabilities, .. } =
        manager.open(Arc::new(spec), Arc::clone(&seen) as _).await.unwrap();
    Application { id, provisioning, capabilities, seen }
}

impl Application {
    pub async fn start(&self, executors: impl IntoIterator<Item = Wanted>) {
        self.provisioning.start(executors.into_iter().collect()).await.unwrap();
    }

    pub async fn stop(&self, executor: u64) {
        self.provisioning.stop(vec![ExecutorId(executor)]).await.unwrap();
    }

    pub async fn close(&self) {
        self.provisioning.close(Outcome::Succeeded, BOUND).await.unwrap();
    }

    /// The processes that were started for it and run.
    pub fn processes(&self) -> Vec<i32> {
        processes_of(&self.id)
    }
}

impl Drop for Application {
    /// A test that failed leaves nothing either: its process may end before anybody else has looked.
    fn drop(&mut self) {
        if std::thread::panicking() {
            let left: Vec<ProcessId> = self.processes().into_iter().filter_map(process).collect();
            let _ = kill_trees(&left);
            for folder in cgroups_of(&self.id) {
                let _ = std::fs::remove_dir(folder);
            }
        }
    }
}

fn process(number: i32) -> Option<ProcessId> {
    ProcessId::of(u32::try_from(number).ok()?)
}

/// The processes that were started for an application and run.
pub fn processes_of(application: &ApplicationId) -> Vec<i32> {
    with_environment(&format!("CONVOKE_APPLICATION={application}"))
}

/// The processes that were started with this in their environment and run.
pub fn with_environment(entry: &str) -> Vec<i32> {
    let numbers = std::fs::read_dir("/proc").unwrap().flatten();
    numbers
        .filter_map(|folder| folder.file_name().to_str()?.parse().ok())
        .filter(|number: &i32| {
            let environment = std::fs::read(format!("/proc/{number}/environ")).unwrap_or_default();
            environment.split(|byte| *byte == 0).any(|line| line == entry.as_bytes())
        })
        .collect()
}

pub fn wanted(executor: u64, cpus: u32, memory: u64) -> Wanted {
    Wanted {
        executor: ExecutorId(executor),
        profile: Arc::new(ResourceProfile {
            id: ProfileId(0),
            each: Resources::new(Cpus::whole(cpus), MiB(memory)),
            ..Default::default()
        }),
        placement: Placement::default(),
        excluded: Arc::from([]),
    }
}

/// Waits until something holds that nobody reports.
pub async fn eventually(what: &str, holds: impl Fn() -> bool) {
    let waited = tokio::time::timeout(BOUND, async {
        while !holds() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    assert!(waited.await.is_ok(), "not within {BOUND:?}: {what}");
}

/// Cgroup folders that bear this application's name.
pub fn cgroups_of(application: &ApplicationId) -> Vec<PathBuf> {
    let mut found = Vec::new();
    let mut look = vec![PathBuf::from("/sys/fs/cgroup")];
    while let Some(folder) = look.pop() {
        for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
            if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
                if entry.file_name().to_string_lossy().contains(application.as_str()) {
                    found.push(entry.path());
                }
                look.push(entry.path());
            }
        }
    }
    found
}
