//! Mutants that are wrong when something fails, about devices and tickets, or leave something.

use std::any::Any;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    Application, ApplicationSpec, Blame, Event, Exit, ExitCause, LaunchFailure, Program, What,
};
use convoke_core::secret::to_hex;

use super::breakages::{Mangled, usual_profile};
use super::wrapped::Breakage;

/// Adds events to a stream, and numbers it so that no gap shows.
#[derive(Debug, Default)]
struct Renumbering(AtomicU64);

impl Renumbering {
    /// The event, and these behind it.
    fn and(&self, mut event: Event, more: Vec<What>) -> Vec<Event> {
        event.seq += self.0.fetch_add(more.len() as u64, Ordering::Relaxed);
        let (seq, at) = (event.seq, event.at);
        let more = (seq + 1..).zip(more).map(|(seq, what)| Event { seq, at, what }).collect::<Vec<_>>();
        std::iter::once(event).chain(more).collect()
    }
}

/// Starts programs without a supervisor.
#[derive(Debug, Default)]
pub(super) struct Unsupervised;

#[async_trait]
impl Breakage for Unsupervised {
    fn specification(&self, spec: &mut ApplicationSpec) {
        spec.launcher = Arc::new(Mangled(spec.launcher.clone(), |command| {
            if command.program == Program::Bootstrap
                && let Ok(program) = std::env::current_exe()
            {
                command.program = Program::OnNode(program.display().to_string());
            }
        }));
    }
}

/// Gives up all executors of a manager that is out of reach.
#[derive(Debug, Default)]
pub(super) struct GivesUpInOutages(Renumbering);

#[async_trait]
impl Breakage for GivesUpInOutages {
    fn event(&self, inner: &Arc<dyn Application>, event: Event) -> Vec<Event> {
        let mut exits = Vec::new();
        if matches!(event.what, What::ManagerUnreachable { .. }) {
            let live = inner.snapshot().executors.into_keys();
            let exit = || Exit::new(ExitCause::NodeLost, "its manager is away");
            exits.extend(live.map(|executor| What::Exited { executor, exit: exit() }));
        }
        self.0.and(event, exits)
    }
}

/// Puts a node's full disk down to the application.
#[derive(Debug, Default)]
pub(super) struct BlamesForDisks;

#[async_trait]
impl Breakage for BlamesForDisks {
    fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
        if let What::Exited { exit, .. } = &mut event.what
            && exit.cause == ExitCause::LaunchFailed(LaunchFailure::DiskFull)
        {
            exit.blame = Blame::Application;
        }
        vec![event]
    }
}

/// Sees executors again that have exited with their node.
#[derive(Debug, Default)]
pub(super) struct SeesTheDead(Renumbering);

#[async_trait]
impl Breakage for SeesTheDead {
    fn event(&self, _: &Arc<dyn Application>, event: Event) -> Vec<Event> {
        let again = match &event.what {
            What::Exited { executor, exit } if exit.cause == ExitCause::NodeLost => {
                vec![What::Reachable { executor: *executor }]
            }
            _ => Vec::new(),
        };
        self.0.and(event, again)
    }
}

/// Gives everybody the first device.
#[derive(Debug, Default)]
pub(super) struct OneDeviceForAll;

#[async_trait]
impl Breakage for OneDeviceForAll {
    fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
        if let What::Granted(grant) = &mut event.what {
            grant.devices.values_mut().flatten().for_each(|device| *device = "0".to_owned());
        }
        vec![event]
    }
}

/// Writes each ticket into the command line.
#[derive(Debug, Default)]
pub(super) struct TellsTickets;

#[async_trait]
impl Breakage for TellsTickets {
    fn specification(&self, spec: &mut ApplicationSpec) {
        spec.launcher = Arc::new(Mangled(spec.launcher.clone(), |command| {
            // behind what a probe reads, before what a check looks for
            let place = command.args.len().min(6);
            command.args.insert(place, to_hex(command.ticket.expose()));
        }));
    }
}

/// Keeps a helper process for each application, which only its own orderly end takes away.
#[derive(Debug, Default)]
pub(super) struct LeavesAHelper;

#[derive(Debug)]
struct Helper(Child);

impl Drop for Helper {
    fn drop(&mut self) {
        let _ = self.0.kill().and_then(|()| self.0.wait()); // it has ended by itself
    }
}

#[async_trait]
impl Breakage for LeavesAHelper {
    fn companion(&self, spec: &ApplicationSpec) -> Option<Box<dyn Any + Send>> {
        let command = spec.launcher.launch(ExecutorId(0), &usual_profile());
        let helper = Command::new("sh")
            .args(["-c", "while :; do sleep 1; done"])
            .args(command.args) // they name the application and the run: so the kit finds it
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn();
        helper.ok().map(|helper| Box::new(Helper(helper)) as Box<dyn Any + Send>)
    }
}
