//! Carrying out what the table of executors decides.

use super::Control;
use crate::driver::events::DriverEvent;
use crate::driver::task_plane::JoinedExecutor;
use crate::ids::{ExecutorId, ProfileId};
use crate::manager::{Exit, ExitCause, Release};
use crate::rpc::v1;
use crate::state::executors::ExecutorCommand;

impl Control {
    pub(super) fn run_commands(&self) {
        {
            let mut inner = self.inner();
            if inner.running || inner.commands.is_empty() {
                return;
            }
            inner.running = true;
        }
        // Also when a command panics, the next caller goes on.
        let _done = Done(self);
        while let Some(command) = self.next_command() {
            self.run(command);
        }
        self.publish_standing();
    }

    fn run(&self, command: ExecutorCommand) {
        tracing::debug!(?command, "executor");
        match command {
            ExecutorCommand::Hear(executor, news) => {
                let wanted = self.application().is_some_and(|application| application.heard(executor, news));
                tracing::debug!(%executor, wanted, "told the manager");
            }
            ExecutorCommand::Joined(executor) => self.tell_joined(executor),
            ExecutorCommand::Ready(executor) => {
                let addresses = self.addresses(executor);
                self.events.tell(DriverEvent::ExecutorReady { executor, addresses });
            }
            ExecutorCommand::Draining(executor, why) => {
                if let Some(plane) = self.plane() {
                    plane.executor_draining(executor);
                }
                self.events.tell(DriverEvent::ExecutorDraining { executor, why });
            }
            ExecutorCommand::Renew(executor, number) => {
                self.order(executor, v1::supervisor_order::Order::Renewed(number));
            }
            ExecutorCommand::OrderDrain(executor, why) => {
                self.order(executor, v1::supervisor_order::Order::Drain(v1::Drain { why }));
            }
            ExecutorCommand::OrderEnd(executor, exit) => self.order(executor, end_order(&exit)),
            ExecutorCommand::Gone(executor) => {
                // Dropping the sender ends the stream behind what was ordered.
                if let Some(connections) = self.inner().connections.remove(&executor) {
                    connections.cancel.cancel();
                }
                if let Some(plane) = self.plane() {
                    plane.executor_gone(executor);
                }
            }
            ExecutorCommand::Lost(executor, exit) => {
                tracing::info!(%executor, %exit, blame = ?exit.blame, "executor lost");
                if let Some(plane) = self.plane() {
                    plane.executor_lost(executor, &exit);
                }
                self.events.tell(DriverEvent::ExecutorLost { executor, exit });
            }
            ExecutorCommand::Release { executor, grace, then, why } => {
                if self.inner().ending {
                    return; // all of it goes; nothing is to be replaced
                }
                if let Some(application) = self.application() {
                    let answers =
                        application.release(&Release { executors: vec![executor], grace, then, why });
                    tracing::debug!(?answers, "released");
                }
            }
        }
    }

    fn tell_joined(&self, executor: ExecutorId) {
        let joined = {
            let inner = self.inner();
            let Some(entry) = inner.table.entry(executor) else { return };
            let profile = entry.profile.unwrap_or(ProfileId(0));
            JoinedExecutor {
                executor,
                profile,
                slots: inner.profiles.get(&profile).map_or(1, |profile| profile.slots()),
                host: entry.host.clone(),
            }
        };
        self.events.tell(DriverEvent::ExecutorJoined { executor, host: joined.host.clone() });
        if let Some(plane) = self.plane() {
            plane.executor_joined(joined);
        }
    }

    fn order(&self, executor: ExecutorId, order: v1::supervisor_order::Order) {
        let mut inner = self.inner();
        let Some(connections) = inner.connections.get_mut(&executor) else { return };
        let Some(orders) = &connections.orders else { return };
        let renewal = matches!(order, v1::supervisor_order::Order::Renewed(_));
        let sent = orders.try_send(Ok(v1::SupervisorOrder { order: Some(order) }));
        if sent.is_err() && !renewal {
            // It doesn't read. The end of its stream says the same to it, and the lease does the rest.
            tracing::warn!(%executor, "its supervisor takes no orders: hanging up");
            connections.orders = None;
        }
    }

    /// Tells every executor to end; nothing is replaced, and no task goes on.
    pub(in crate::driver) fn end_all(&self, why: &str) {
        let joined: Vec<_> = {
            let mut inner = self.inner();
            inner.ending = true;
            inner.table.iter().map(|(executor, _)| executor).collect()
        };
        if let Some(plane) = self.plane() {
            plane.shutdown();
        }
        let exit = Exit::new(ExitCause::Unregistered, why.to_owned());
        for executor in joined {
            self.order(executor, end_order(&exit));
        }
    }
}

/// Lets the next caller run commands.
struct Done<'a>(&'a Control);

impl Drop for Done<'_> {
    fn drop(&mut self) {
        self.0.inner().running = false;
    }
}

fn end_order(exit: &Exit) -> v1::supervisor_order::Order {
    let cause = serde_json::to_string(&exit.cause).unwrap_or_default(); // an enum of plain values: can't fail
    v1::supervisor_order::Order::End(v1::End { why: exit.message.clone(), cause })
}
