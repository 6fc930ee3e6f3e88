//! What outlives the daemon: a file with its books, and the executors that it finds again.

use std::collections::BTreeMap;
use std::time::Duration;

use convoke_core::clock;
use convoke_core::ids::{ApplicationId, ExecutorId};
use convoke_core::manager::ExitCause;
use convoke_core::process::table::ProcessId;

use super::cluster::{Booked, Placed};
use super::daemon::Daemon;

impl Daemon {
    /// Writes down what a daemon that is started anew must know.
    pub(super) fn keep(&self) {
        let kept: Vec<_> = self
            .cluster()
            .applications
            .iter()
            .map(|(id, booked)| {
                (id.clone(), booked.native.clone(), booked.lease_ms, booked.executors.clone())
            })
            .collect();
        let (new, path) = (self.folder.join("state.new"), self.folder.join("state"));
        let written = serde_json::to_vec(&kept)
            .map_err(std::io::Error::other)
            .and_then(|bytes| std::fs::write(&new, bytes))
            .and_then(|()| std::fs::rename(&new, &path));
        if let Err(error) = written {
            eprintln!("the reference's daemon can't keep its state: {error}");
        }
    }

    /// Takes back what a daemon before this one started.
    pub(super) fn remember(&self) -> std::io::Result<()> {
        let Ok(bytes) = std::fs::read(self.folder.join("state")) else { return Ok(()) };
        type Kept = Vec<(ApplicationId, String, u64, BTreeMap<ExecutorId, Placed>)>;
        let kept: Kept = serde_json::from_slice(&bytes)?;
        for (id, native, lease_ms, executors) in kept {
            for (executor, placed) in &executors {
                if placed.exit.is_none() {
                    self.cluster().occupy(placed);
                    let (daemon, id, executor) = (self.clone(), id.clone(), *executor);
                    let guard = placed.guard;
                    tokio::spawn(async move { daemon.adopt(&id, executor, guard).await });
                }
            }
            let alone_since = clock::now();
            let booked = Booked { native, lease_ms, executors, alone_since, ..Booked::default() };
            self.cluster().applications.insert(id, booked);
        }
        Ok(())
    }

    /// Watches an executor that isn't this process's child: its code can't be known, only its end.
    async fn adopt(&self, application: &ApplicationId, executor: ExecutorId, guard: Option<(i32, u64)>) {
        let Some((number, started_ticks)) = guard else {
            let why = "the manager was killed while it was being started".to_owned();
            return self.ended(application, executor, ExitCause::NeverStarted, why).await;
        };
        let guard = ProcessId { number, started_ticks };
        while guard.is_alive() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        self.ended(application, executor, ExitCause::Unknown, "it ended out of sight".into()).await;
    }
}
