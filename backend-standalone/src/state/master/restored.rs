//! What a restarted master begins with.

use super::*;

impl Master {
    /// A master of this epoch that knows what was stored. Workers and drivers say the rest when they come; who doesn't come is given up
    /// as if it had been heard last at `now`.
    #[must_use]
    pub fn restored(
        settings: MasterSettings,
        epoch: u64,
        now: Moment,
        changes: impl IntoIterator<Item = Change>,
    ) -> Master {
        let mut master = Master::new(settings, epoch);
        for change in changes {
            master.replay(now, change);
        }
        master.check_at = master.next_check();
        master
    }

    fn replay(&mut self, now: Moment, change: Change) {
        match change {
            Change::Application { application, name, owner, lease, order } => {
                self.next_order = self.next_order.max(order + 1);
                self.by_order.insert(order, application.clone());
                self.applications.insert(application, Application::new(name, owner, lease, order, now));
            }
            Change::ApplicationOver(application) => {
                if let Some(application) = self.applications.remove(&application) {
                    self.by_order.remove(&application.order);
                }
            }
            Change::Granted { key, worker, need, devices } => {
                let Some(application) = self.applications.get_mut(&key.0) else { return };
                application.held_cpus += need.cpus.millis();
                let placed = Placed {
                    worker: worker.clone(),
                    need,
                    devices,
                    launched: false,
                    seen: false,
                    sent: false,
                    ending: None,
                };
                let executor = Executor { stage: Stage::Granted(placed), launch: None };
                application.executors.insert(key.1, executor);
                self.workers.entry(worker).or_insert_with(|| WorkerState::new(now)).executors.insert(key);
            }
            Change::Gone(key) => {
                let Some(application) = self.applications.get_mut(&key.0) else { return };
                if let Some(Executor { stage: Stage::Granted(placed), .. }) =
                    application.executors.remove(&key.1)
                {
                    application.held_cpus -= placed.need.cpus.millis();
                    if let Some(worker) = self.workers.get_mut(&placed.worker) {
                        worker.executors.remove(&key);
                    }
                }
            }
        }
    }
}
