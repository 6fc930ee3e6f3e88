//! What a backend reports, kept for looking at.

use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use convoke_core::error::Result;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{EndedBy, Exit, ExitCause, Grant, Outcome, Page, Report};

#[derive(Debug, Clone)]
pub(crate) enum Said {
    Manager(bool),
    Granted(ExecutorId, String),
    Launched(ExecutorId),
    Reachable(ExecutorId, bool),
    Draining(Vec<ExecutorId>),
    Exited(ExecutorId, Exit),
    Ended(EndedBy),
}

#[derive(Debug, Default)]
pub(crate) struct Recorder(Mutex<Vec<Said>>);

impl Recorder {
    pub(crate) fn all(&self) -> Vec<Said> {
        self.0.lock().unwrap().clone()
    }

    fn say(&self, said: Said) {
        self.0.lock().unwrap().push(said);
    }

    /// Waits until `look` finds something in what was said.
    pub(crate) async fn until<A>(
        self: &Arc<Self>,
        what: &str,
        seconds: u64,
        look: impl Fn(&[Said]) -> Option<A>,
    ) -> A {
        let found = tokio::time::timeout(Duration::from_secs(seconds), async {
            loop {
                if let Some(found) = look(&self.all()) {
                    return found;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        });
        match found.await {
            Ok(found) => found,
            Err(_) => panic!("not seen within {seconds} s: {what}; said: {:#?}", self.all()),
        }
    }

    pub(crate) async fn launched(self: &Arc<Self>, executor: u64) {
        let is = |said: &Said| matches!(said, Said::Launched(id) if id.0 == executor);
        self.until(&format!("launched {executor}"), 20, |all| all.iter().any(is).then_some(())).await;
    }

    pub(crate) async fn exited(self: &Arc<Self>, executor: u64) -> Exit {
        let exit = |said: &Said| match said {
            Said::Exited(id, exit) if id.0 == executor => Some(exit.clone()),
            _ => None,
        };
        self.until(&format!("exited {executor}"), 30, |all| all.iter().find_map(exit)).await
    }

    pub(crate) async fn cause(self: &Arc<Self>, executor: u64) -> ExitCause {
        self.exited(executor).await.cause
    }
}

impl Report for Recorder {
    fn page(&self, _: String) {}
    fn manager(&self, reach: Result<()>) {
        self.say(Said::Manager(reach.is_ok()));
    }
    fn granted(&self, grant: Grant) {
        self.say(Said::Granted(grant.executor, grant.host.map(|host| host.to_string()).unwrap_or_default()));
    }
    fn launched(&self, executor: ExecutorId, _: Vec<Page>) {
        self.say(Said::Launched(executor));
    }
    fn reachable(&self, executor: ExecutorId, yes: bool) {
        self.say(Said::Reachable(executor, yes));
    }
    fn draining(&self, executors: Vec<ExecutorId>, _: Option<SystemTime>, _: String) {
        self.say(Said::Draining(executors));
    }
    fn exited(&self, executor: ExecutorId, exit: Exit) {
        self.say(Said::Exited(executor, exit));
    }
    fn ended(&self, _: Outcome, by: EndedBy) {
        self.say(Said::Ended(by));
    }
}
