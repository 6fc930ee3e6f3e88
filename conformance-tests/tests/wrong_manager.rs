//! A manager of somebody else's, written on the public traits alone, with mistakes of its own: the kit tells each.
//!
//! It starts processes on this host by the shortest way that comes to mind: the program itself, and `kill` when it is to end.

#![allow(clippy::unwrap_used, reason = "all of it is test code")]

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use convoke_conformance::{
    Environment, Harness, NoHooks, Options, Room, Selection, Verdict, become_probe_if_asked,
};
use convoke_core::Result;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    ApplicationSpec, Capabilities, Descriptor, Exit, ExitCause, Grant, Managed, Opened, Outcome, Program,
    Provisioner, Provisioning, Reporter, Wanted,
};

/// One node, without books: everything is granted at once.
#[derive(Debug)]
struct Careless;

#[async_trait]
impl Provisioner for Careless {
    fn describe(&self) -> Descriptor {
        Descriptor {
            kind: "careless",
            version: "0.1.0".to_owned(),
            capabilities: Capabilities::default(),
            least_lease: Duration::from_millis(100),
        }
    }

    async fn open(&self, spec: Arc<ApplicationSpec>, report: Reporter) -> Result<Opened> {
        spec.check_options(&[])?;
        let provisioning = Box::new(Processes { spec, report, started: Mutex::default() });
        // mistake: every application has the same id
        let native = "the application".to_owned();
        Ok(Opened { provisioning, native, page: None, capabilities: Capabilities::default() })
    }
}

#[derive(Debug)]
struct Processes {
    spec: Arc<ApplicationSpec>,
    report: Reporter,
    started: Mutex<BTreeMap<ExecutorId, tokio::sync::oneshot::Sender<()>>>,
}

#[async_trait]
impl Provisioning for Processes {
    async fn start(&self, wanted: Vec<Wanted>) -> Result<()> {
        for wanted in wanted {
            self.start_one(&wanted);
            if wanted.executor == ExecutorId(3) {
                self.start_one(&wanted); // mistake: one process too many for the third executor
            }
        }
        Ok(())
    }

    async fn stop(&self, executors: Vec<ExecutorId>) -> Result<()> {
        for executor in executors {
            drop(self.started.lock().unwrap().remove(&executor));
        }
        Ok(())
    }

    async fn close(&self, _: Outcome, _: Duration) -> Result<()> {
        self.started.lock().unwrap().clear();
        Ok(()) // mistake: it doesn't wait for the end of anything
    }
}

impl Processes {
    fn start_one(&self, wanted: &Wanted) {
        let executor = wanted.executor;
        let command = self.spec.launcher.launch(executor, &wanted.profile);
        self.report.granted(Grant {
            executor,
            profile: wanted.profile.id,
            native: format!("process of {executor}"),
            host: None,
            actual: wanted.profile.each.clone(),
            devices: BTreeMap::new(),
        });
        let program = match command.program {
            Program::OnNode(path) => path.into(),
            _ => std::env::current_exe().unwrap(),
        };
        // mistake: without a guard and a supervisor, for it sets no role
        let started = tokio::process::Command::new(program)
            .args(&command.args)
            .envs(&command.env)
            .kill_on_drop(true)
            .spawn();
        let report = self.report.clone();
        let mut child = match started {
            Ok(child) => child,
            Err(_) => {
                // mistake: why a launch failed is lost
                return report.exited(executor, Exit::new(ExitCause::Unknown, ""));
            }
        };
        report.launched(executor, Vec::new());
        let (stop, stopped) = tokio::sync::oneshot::channel();
        self.started.lock().unwrap().insert(executor, stop);
        tokio::spawn(async move {
            let status = tokio::select! {
                status = child.wait() => status,
                _ = stopped => {
                    let _ = child.kill().await;
                    child.wait().await
                }
            };
            // mistake: a signal is told as success
            let code = status.ok().and_then(|status| status.code()).unwrap_or(0);
            report.exited(executor, Exit::new(ExitCause::Code(code), ""));
        });
    }
}

#[derive(Debug)]
struct Newcomer;

#[async_trait]
impl Harness for Newcomer {
    fn subject(&self) -> String {
        "a careless manager".to_owned()
    }
    async fn environment(&self) -> Result<Environment> {
        Ok(Environment {
            manager: Arc::new(Managed::new(Careless)),
            hooks: Arc::new(NoHooks),
            room: Room::default(),
            guard: Box::new(()),
        })
    }
    fn deadlines(&self) -> convoke_conformance::Deadlines {
        use convoke_conformance::DeadlineName::{Exit, Settle};
        let quick = Duration::from_secs(6);
        convoke_conformance::Deadlines::default().with(Settle, quick).with(Exit, quick)
    }
}

/// What each mistake is caught by; where it depends on who is quicker, by either.
const CAUGHT: [(&str, &str); 5] = [
    ("R5", "one id"),
    ("A2", "surplus or happened"),
    ("L3", "wrong cause"),
    ("F1", "wrong cause"),
    ("T1", "left over"),
];

fn main() -> ExitCode {
    become_probe_if_asked();
    if std::env::args().any(|argument| argument == "--list") {
        if !std::env::args().any(|argument| argument == "--ignored") {
            println!("a_wrong_manager_is_caught: test");
        }
        return ExitCode::SUCCESS;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let filters = CAUGHT.iter().map(|(rule, _)| (*rule).to_owned()).chain(["E4".to_owned()]).collect();
    let options = Options { selection: Selection { filters, ..Selection::default() }, ..Options::default() };
    let run = runtime.block_on(convoke_conformance::run(Arc::new(Newcomer), &options, &mut |_| {})).unwrap();
    runtime.shutdown_background();
    let rules = &run.certificates[0].rules;
    let mut missed = 0;
    for (id, breach) in CAUGHT {
        let rule = rules.iter().find(|rule| rule.rule.id == id).unwrap();
        let seen: Vec<_> = rule.cases.iter().filter_map(|case| case.breach).collect();
        let caught = rule.verdict == Verdict::Failed && seen.iter().any(|seen| breach.contains(seen));
        eprintln!(
            "{} {id}: {breach}: {seen:?} {}",
            if caught { "caught" } else { "MISSED" },
            rule.why.as_deref().unwrap_or("")
        );
        missed += usize::from(!caught);
    }
    // what it does right is not held against it
    let right = rules.iter().find(|rule| rule.rule.id == "E4").unwrap();
    eprintln!("E4 {}", right.verdict.words());
    if missed == 0 && right.verdict == Verdict::Passed { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}
