//! What the manager says.

use super::Control;
use crate::clock;
use crate::driver::events::DriverEvent;
use crate::manager::{Event, What};
use crate::state::executors::ExecutorEvent;

impl Control {
    pub(in crate::driver) fn manager_said(&self, event: Event) {
        match event.what {
            What::Granted(grant) => {
                let (executor, profile, host) = (grant.executor, grant.profile, grant.host);
                self.events.tell(DriverEvent::ExecutorGranted { executor, profile, host: host.clone() });
                self.handle(executor, ExecutorEvent::Granted { profile, host });
            }
            What::Launched { executor, .. } => self.handle(executor, ExecutorEvent::Launched),
            What::Exited { executor, exit } => self.handle(executor, ExecutorEvent::Exited(exit)),
            What::Unreachable { executor } => {
                tracing::info!(%executor, "its manager can't see it; it goes on while it is heard");
            }
            What::Reachable { executor } => tracing::info!(%executor, "its manager sees it again"),
            What::Draining { executors, until, why } => {
                let within = until.map(|until| until.duration_since(clock::wall_time()).unwrap_or_default());
                for executor in executors {
                    self.handle(executor, ExecutorEvent::WillGo { within, why: why.clone() });
                }
            }
            What::ExecutorsFailing { profile, recent, last, next_try } => {
                tracing::warn!(%profile, recent, %last, ?next_try, "executors fail in a row");
                self.events.tell(DriverEvent::ExecutorsFailing { profile, recent, last, next_try });
            }
            What::ManagerUnreachable { error } => {
                tracing::warn!(%error, "the manager is out of reach");
                self.events.tell(DriverEvent::ManagerUnreachable { error });
            }
            What::ManagerRecovered { outage } => {
                tracing::info!(?outage, "the manager is back");
                self.events.tell(DriverEvent::ManagerRecovered { outage });
            }
            What::Ended { outcome, by } => {
                tracing::info!(?outcome, ?by, "the application is over");
                self.end_all("the application is over");
                self.standing.send_modify(|standing| standing.ended = Some((outcome.clone(), by.clone())));
                self.events.tell(DriverEvent::Ended { outcome, by });
            }
        }
    }
}
