//! What each worker has and what of it is free, and which worker fits a request.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use convoke_core::clock::Moment;
use convoke_core::ids::Name;
use convoke_core::manager::Constraint;
use convoke_core::resource::Resources;

use super::messages::{Offer, Request};
use super::settings::Spread;

/// A worker, as a place for executors.
#[derive(Debug, Clone)]
pub struct Node {
    /// The worker's name.
    pub worker: Name,
    /// Its host.
    pub host: Name,
    /// All that it has.
    pub total: Resources,
    /// What of it is free: nothing, where more is used than it has.
    pub free: Resources,
    /// What its executors hold. More than it has, where it came back smaller.
    used: Resources,
    /// Its attributes.
    pub attributes: BTreeMap<Name, String>,
    /// Whether it can be seen.
    pub here: bool,
    /// Whether it takes no new executors.
    pub draining: bool,
    /// Until when it is the last resort, since a launch failed for its own fault.
    pub ailing_until: Option<Moment>,
    free_devices: BTreeMap<Name, BTreeSet<String>>,
}

impl Node {
    /// Whether it fulfils a constraint. `host` is an attribute of every worker.
    pub(super) fn matches(&self, constraint: &Constraint) -> bool {
        let value_of = |attribute: &Name| match attribute.as_str() {
            "host" => Some(self.host.as_str()),
            _ => self.attributes.get(attribute).map(String::as_str),
        };
        match constraint {
            Constraint::Equals { attribute, value } => value_of(attribute) == Some(value.as_str()),
            Constraint::NotEquals { attribute, value } => value_of(attribute) != Some(value.as_str()),
            // A kind of constraint that this version doesn't know holds nowhere.
            _ => false,
        }
    }

    /// Whether it is open to new executors.
    pub(super) fn open(&self) -> bool {
        self.here && !self.draining
    }

    fn count_free(&mut self) {
        self.free = self.total.clone();
        let mut used = self.used.clone();
        used.cpus = used.cpus.min(self.total.cpus);
        used.memory = used.memory.min(self.total.memory);
        used.named.retain(|kind, _| self.total.named.contains_key(kind));
        for (kind, count) in &mut used.named {
            *count = (*count).min(self.total.named.get(kind).copied().unwrap_or(0));
        }
        let _ = self.free.take(&used); // no more than there is
    }

    fn takes(&self, request: &Request) -> bool {
        self.open()
            && self.free.fits(&request.need)
            && !request.excluded.contains(&self.host)
            && request.placement.required.iter().all(|constraint| self.matches(constraint))
    }
}

/// A node's place in [`Nodes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct NodeId(usize);

/// All workers that were seen and not given up.
#[derive(Debug, Default)]
pub(super) struct Nodes {
    nodes: Vec<Option<Node>>,
    by_worker: HashMap<Name, NodeId>,
    by_host: HashMap<Name, BTreeSet<NodeId>>,
    /// Those open to new executors, by free cpus: a choice looks at few of them.
    by_free_cpus: BTreeSet<(u64, NodeId)>,
    vacant: Vec<NodeId>,
    total_cpus: u64,
}

impl Nodes {
    pub(super) fn id(&self, worker: &Name) -> Option<NodeId> {
        self.by_worker.get(worker).copied()
    }

    pub(super) fn get(&self, id: NodeId) -> Option<&Node> {
        self.nodes.get(id.0)?.as_ref()
    }

    pub(super) fn of(&self, worker: &Name) -> Option<&Node> {
        self.get(self.id(worker)?)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Node> {
        self.nodes.iter().flatten()
    }

    /// Thousandths of a cpu of all nodes, those out of sight included: a limit doesn't waver with a broken connection.
    pub(super) fn total_cpus(&self) -> u64 {
        self.total_cpus
    }

    /// Adds a worker, or takes its offer anew; what its executors hold is taken from it afterwards.
    pub(super) fn offer(&mut self, worker: &Name, offer: Offer) -> NodeId {
        self.remove(worker);
        let free_devices: BTreeMap<Name, BTreeSet<String>> =
            offer.devices.iter().map(|(kind, ids)| (kind.clone(), ids.iter().cloned().collect())).collect();
        let mut total = offer.total;
        // What is named and has no list of its own is numbered.
        let mut free_devices = free_devices;
        for (kind, count) in &total.named {
            free_devices
                .entry(kind.clone())
                .or_insert_with(|| (0..*count).map(|index| index.to_string()).collect());
        }
        for (kind, ids) in &free_devices {
            total.named.insert(kind.clone(), ids.len() as u64);
        }
        let node = Node {
            worker: worker.clone(),
            host: offer.host,
            free: total.clone(),
            used: Resources::default(),
            total,
            attributes: offer.attributes,
            here: true,
            draining: offer.draining,
            ailing_until: None,
            free_devices,
        };
        self.total_cpus += node.total.cpus.millis();
        let id = self.vacant.pop().unwrap_or(NodeId(self.nodes.len()));
        self.by_worker.insert(worker.clone(), id);
        self.by_host.entry(node.host.clone()).or_default().insert(id);
        if id.0 == self.nodes.len() {
            self.nodes.push(Some(node));
        } else {
            self.nodes[id.0] = Some(node);
        }
        self.index(id);
        id
    }

    /// Forgets a worker.
    pub(super) fn remove(&mut self, worker: &Name) {
        let Some(id) = self.by_worker.remove(worker) else { return };
        self.unindex(id);
        let Some(node) = self.nodes.get_mut(id.0).and_then(Option::take) else { return };
        self.total_cpus -= node.total.cpus.millis();
        if let Some(ids) = self.by_host.get_mut(&node.host) {
            ids.remove(&id);
            if ids.is_empty() {
                self.by_host.remove(&node.host);
            }
        }
        self.vacant.push(id);
    }

    fn index(&mut self, id: NodeId) {
        if let Some(node) = self.get(id)
            && node.open()
        {
            let entry = (node.free.cpus.millis(), id);
            self.by_free_cpus.insert(entry);
        }
    }

    fn unindex(&mut self, id: NodeId) {
        if let Some(node) = self.get(id) {
            let entry = (node.free.cpus.millis(), id);
            self.by_free_cpus.remove(&entry);
        }
    }

    /// Changes a node with what depends on it.
    fn change<T>(&mut self, id: NodeId, change: impl FnOnce(&mut Node) -> T) -> Option<T> {
        self.unindex(id);
        let answer = self.nodes.get_mut(id.0)?.as_mut().map(change);
        self.index(id);
        answer
    }

    pub(super) fn set_here(&mut self, worker: &Name, here: bool) {
        if let Some(id) = self.id(worker) {
            self.change(id, |node| node.here = here);
        }
    }

    pub(super) fn set_draining(&mut self, worker: &Name) {
        if let Some(id) = self.id(worker) {
            self.change(id, |node| node.draining = true);
        }
    }

    pub(super) fn set_ailing(&mut self, worker: &Name, until: Option<Moment>) {
        if let Some(id) = self.id(worker)
            && let Some(Some(node)) = self.nodes.get_mut(id.0)
        {
            node.ailing_until = until;
        }
    }

    /// Takes `need` for a new executor, and says which devices it gets; `None` where it doesn't fit.
    pub(super) fn take(&mut self, id: NodeId, need: &Resources) -> Option<BTreeMap<Name, Vec<String>>> {
        self.change(id, |node| {
            if !node.free.fits(need) {
                return None;
            }
            node.used.give_back(need);
            node.count_free();
            let mut devices = BTreeMap::new();
            for (kind, count) in need.named.iter().filter(|(_, count)| **count > 0) {
                let free = node.free_devices.entry(kind.clone()).or_default();
                let count = usize::try_from(*count).unwrap_or(usize::MAX);
                let ids: Vec<String> = free.iter().take(count).cloned().collect();
                for id in &ids {
                    free.remove(id);
                }
                devices.insert(kind.clone(), ids);
            }
            Some(devices)
        })?
    }

    /// Takes what an executor holds that runs there already, whether it fits or not.
    pub(super) fn hold(&mut self, id: NodeId, need: &Resources, devices: &BTreeMap<Name, Vec<String>>) {
        self.change(id, |node| {
            node.used.give_back(need);
            node.count_free();
            for (kind, ids) in devices {
                if let Some(free) = node.free_devices.get_mut(kind) {
                    for id in ids {
                        free.remove(id);
                    }
                }
            }
        });
    }

    pub(super) fn give_back(
        &mut self,
        worker: &Name,
        need: &Resources,
        devices: &BTreeMap<Name, Vec<String>>,
    ) {
        let Some(id) = self.id(worker) else { return };
        self.change(id, |node| {
            let _ = node.used.take(need); // all that is given back was held
            node.count_free();
            for (kind, ids) in devices {
                node.free_devices.entry(kind.clone()).or_default().extend(ids.iter().cloned());
            }
        });
    }

    /// Whether this node has room for it now.
    pub(super) fn fits_on(&self, id: NodeId, request: &Request) -> bool {
        self.get(id).is_some_and(|node| node.takes(request))
    }

    /// The node for this request: one of the preferred hosts, the heaviest first; else by the least or the most cpus free. One where a
    /// launch failed lately is the last resort.
    pub(super) fn choose(&self, request: &Request, spread: Spread, now: Moment) -> Option<NodeId> {
        let ailing =
            |id: NodeId| self.get(id).is_none_or(|node| node.ailing_until.is_some_and(|until| now < until));
        let mut last_resort = None;
        let mut preferred: Vec<&(Name, u32)> = request.placement.preferred.iter().collect();
        preferred.sort_by_key(|(_, weight)| std::cmp::Reverse(*weight));
        let wished = preferred.into_iter().filter_map(|(host, _)| self.by_host.get(host)).flatten().copied();
        let need = request.need.cpus.millis();
        let with_room = self.by_free_cpus.range((need, NodeId(0))..).map(|(_, id)| *id);
        let any: Box<dyn Iterator<Item = NodeId>> = match spread {
            Spread::Out => Box::new(with_room.rev()),
            Spread::Pack => Box::new(with_room),
        };
        for id in wished.chain(any) {
            if !self.fits_on(id, request) {
                continue;
            }
            if !ailing(id) {
                return Some(id);
            }
            last_resort = last_resort.or(Some(id));
        }
        last_resort
    }
}
