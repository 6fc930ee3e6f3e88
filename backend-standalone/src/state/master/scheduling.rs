//! Who gets what is free.

use super::*;

impl Master {
    /// Thousandths of a cpu that one application may hold.
    pub(crate) fn share(&self) -> u64 {
        self.nodes.total_cpus() / 1000 * u64::from(self.settings.share_millis)
            + self.nodes.total_cpus() % 1000 * u64::from(self.settings.share_millis) / 1000
    }

    /// Whether its share lets it hold `need` more; one executor it may always hold.
    pub(crate) fn within_share(&self, held_cpus: u64, need: &Resources) -> bool {
        held_cpus == 0 || held_cpus + need.cpus.millis() <= self.share()
    }

    pub(super) fn schedule(&mut self, now: Moment, out: &mut Vec<MasterCommand>) {
        for node in std::mem::take(&mut self.gained) {
            let nodes = &self.nodes;
            for application in self.applications.values_mut() {
                if application.waiting.len() > 0
                    && application.waiting.unblock(|request| nodes.fits_on(node, request))
                {
                    self.ready.insert(application.order);
                }
            }
        }
        match self.settings.order {
            Order::Fifo => {
                for order in std::mem::take(&mut self.ready) {
                    while self.grant_one(order, now, out) {}
                }
            }
            Order::Fair => {
                let held = |master: &Master, order: u64| {
                    let id = master.by_order.get(&order)?;
                    Some((master.applications.get(id)?.held_cpus, order))
                };
                let ready = std::mem::take(&mut self.ready);
                let mut poorest: BTreeSet<(u64, u64)> =
                    ready.into_iter().filter_map(|order| held(self, order)).collect();
                while let Some((_, order)) = poorest.pop_first() {
                    if self.grant_one(order, now, out) {
                        poorest.extend(held(self, order));
                    }
                }
            }
        }
    }

    /// Grants the next executor of this application; `false` where none can be granted now.
    fn grant_one(&mut self, order: u64, now: Moment, out: &mut Vec<MasterCommand>) -> bool {
        let Some(id) = self.by_order.get(&order).cloned() else { return false };
        let Some(application) = self.applications.get(&id) else { return false };
        if application.closing.is_some() || application.session.is_none() {
            return false;
        }
        let held_cpus = application.held_cpus;
        // Shapes that find no room are blocked one after the other, until one fits or none is left.
        loop {
            let Some(application) = self.applications.get(&id) else { return false };
            let Some((executor, request)) = application.waiting.first() else { return false };
            // Over its share is as without room, until one of its own ends or the cluster changes.
            let within = self.within_share(held_cpus, &request.need);
            let chosen = if within { self.nodes.choose(request, self.settings.spread, now) } else { None };
            let taken = chosen.and_then(|node| {
                let need = request.need.clone();
                Some((node, self.nodes.take(node, &need)?, need))
            });
            match taken {
                Some((node, devices, need)) => {
                    self.place(&id, executor, node, need, devices, out);
                    return true;
                }
                None => {
                    if let Some(application) = self.applications.get_mut(&id) {
                        application.waiting.block(executor);
                    }
                }
            }
        }
    }

    fn place(
        &mut self,
        id: &ApplicationId,
        executor: ExecutorId,
        node: NodeId,
        need: Resources,
        devices: BTreeMap<Name, Vec<String>>,
        out: &mut Vec<MasterCommand>,
    ) {
        let (Some(application), Some(node)) = (self.applications.get_mut(id), self.nodes.get(node)) else {
            return;
        };
        let Some(state) = application.executors.get_mut(&executor) else { return };
        application.waiting.remove(executor);
        application.held_cpus += need.cpus.millis();
        let key = (id.clone(), executor);
        let (worker, host) = (node.worker.clone(), node.host.clone());
        state.stage = Stage::Granted(Placed {
            worker: worker.clone(),
            need: need.clone(),
            devices: devices.clone(),
            launched: false,
            seen: false,
            sent: true,
            ending: None,
        });
        let launch = state.launch.clone();
        if let Some(worker) = self.workers.get_mut(&worker) {
            worker.executors.insert(key.clone());
        }
        out.push(MasterCommand::Store(Change::Granted {
            key: key.clone(),
            worker: worker.clone(),
            need: need.clone(),
            devices: devices.clone(),
        }));
        let granted = ApplicationCommand::Granted {
            executor,
            worker: worker.clone(),
            host,
            actual: need.clone(),
            devices: devices.clone(),
        };
        if let Some(application) = self.applications.get(id) {
            self.tell(application, granted, out);
        }
        if let Some(launch) = launch {
            self.order(&worker, WorkerCommand::Launch { key, devices, need, launch }, out);
        }
    }

    /// Gives back what an executor held, once.
    pub(super) fn free(&mut self, id: &ApplicationId, placed: &Placed, executor: ExecutorId) {
        self.nodes.give_back(&placed.worker, &placed.need, &placed.devices);
        if let Some(worker) = self.workers.get_mut(&placed.worker) {
            worker.executors.remove(&(id.clone(), executor));
            if worker.drain.is_some() {
                let heard = worker.heard;
                self.check_by(heard); // it may be empty now
            }
        }
        if let Some(node) = self.nodes.id(&placed.worker) {
            self.gained.insert(node);
        }
        if let Some(application) = self.applications.get_mut(id) {
            application.held_cpus -= placed.need.cpus.millis();
            let order = application.order;
            if application.waiting.unblock(|_| true) {
                self.may_be_granted(order);
            }
        }
    }
}
