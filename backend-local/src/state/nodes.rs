//! Which executor goes on which simulated node.
//!
//! Requests that find no room are kept, in the order in which they came, and placed when there is room. One that fits
//! nowhere blocks none behind it (A9).

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::ids::{ExecutorId, Name};
use convoke_core::manager::{Constraint, Placement};
use convoke_core::resource::Resources;

/// One application that uses these nodes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct ApplicationKey(pub(crate) u64);

/// One executor of one of the applications.
pub(crate) type Key = (ApplicationKey, ExecutorId);

/// What an executor needs, and where it may go.
#[derive(Debug, Clone)]
pub(crate) struct Request {
    pub(crate) need: Resources,
    pub(crate) placement: Placement,
    pub(crate) excluded: Vec<Name>,
}

#[derive(Debug)]
pub(crate) enum NodesEvent {
    /// An executor is wanted. Said again it changes nothing.
    Wanted(Key, Request),
    /// It is wanted no more, or nothing of it is left. Unknown ones change nothing.
    Gone(Key),
    /// An executor was started on a node, or could not be for the node's own fault: others are tried before it (F7).
    LaunchTried { node: usize, worked: bool },
    /// A node died. Its executors still hold their places until they are gone.
    NodeDied(usize),
    /// A node that died is back.
    NodeReturned(usize),
}

/// What follows from an event.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Granted {
    pub(crate) key: Key,
    pub(crate) host: Name,
    /// Indexes of the devices that it alone holds.
    pub(crate) devices: BTreeMap<Name, Vec<String>>,
}

#[derive(Debug)]
pub(crate) struct Node {
    pub(crate) host: Name,
    pub(crate) total: Resources,
    pub(crate) free: Resources,
    pub(crate) up: bool,
    /// Whether the last launch failed for its own fault.
    ailing: bool,
    executors: usize,
    free_devices: BTreeMap<Name, BTreeSet<u64>>,
}

impl Node {
    /// Whether it fulfils a constraint. A node has one attribute: its `host`.
    pub(crate) fn matches(&self, constraint: &Constraint) -> bool {
        match constraint {
            Constraint::Equals { attribute, value } => {
                attribute.as_str() == "host" && self.host.as_str() == value
            }
            Constraint::NotEquals { attribute, value } => {
                attribute.as_str() != "host" || self.host.as_str() != value
            }
            // A kind of constraint that this backend doesn't know holds nowhere.
            _ => false,
        }
    }

    fn take_devices(&mut self, need: &Resources) -> BTreeMap<Name, Vec<u64>> {
        let mut taken = BTreeMap::new();
        for (name, count) in &need.named {
            let free = self.free_devices.entry(name.clone()).or_default();
            let indexes: Vec<u64> = free.iter().copied().take(usize::try_from(*count).unwrap_or(0)).collect();
            for index in &indexes {
                free.remove(index);
            }
            if !indexes.is_empty() {
                taken.insert(name.clone(), indexes);
            }
        }
        taken
    }
}

#[derive(Debug)]
struct Placed {
    node: usize,
    need: Resources,
    devices: BTreeMap<Name, Vec<u64>>,
}

/// The nodes, who is on them and who waits.
#[derive(Debug)]
pub(crate) struct Nodes {
    nodes: Vec<Node>,
    placed: BTreeMap<Key, Placed>,
    waiting: BTreeMap<u64, (Key, Request)>,
    /// Where in `waiting` each stands.
    places: BTreeMap<Key, u64>,
    next_place: u64,
}

impl Nodes {
    /// These nodes, all free.
    pub(crate) fn new(nodes: impl IntoIterator<Item = (Name, Resources)>) -> Nodes {
        let nodes = nodes
            .into_iter()
            .map(|(host, total)| Node {
                host,
                free_devices: total
                    .named
                    .iter()
                    .map(|(name, count)| (name.clone(), (0..*count).collect()))
                    .collect(),
                free: total.clone(),
                total,
                up: true,
                ailing: false,
                executors: 0,
            })
            .collect();
        Nodes {
            nodes,
            placed: BTreeMap::new(),
            waiting: BTreeMap::new(),
            places: BTreeMap::new(),
            next_place: 0,
        }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The number of the node of this name.
    pub(crate) fn find(&self, host: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.host.as_str() == host)
    }

    /// Who is on this node.
    pub(crate) fn on(&self, node: usize) -> impl Iterator<Item = Key> + '_ {
        self.placed.iter().filter(move |(_, placed)| placed.node == node).map(|(key, _)| *key)
    }

    /// How many executors this application holds.
    pub(crate) fn held_by(&self, application: ApplicationKey) -> usize {
        self.placed.range((application, ExecutorId(0))..=(application, ExecutorId(u64::MAX))).count()
    }

    pub(crate) fn handle(&mut self, event: NodesEvent, out: &mut Vec<Granted>) {
        match event {
            NodesEvent::Wanted(key, request) => {
                if self.placed.contains_key(&key) || self.places.contains_key(&key) {
                    return;
                }
                // Whoever waits already didn't fit, and nothing has become free: only the new one can be placed.
                if !self.place(key, &request, out) {
                    let place = self.next_place;
                    self.next_place += 1;
                    self.places.insert(key, place);
                    self.waiting.insert(place, (key, request));
                }
            }
            NodesEvent::Gone(key) => {
                if let Some(place) = self.places.remove(&key) {
                    self.waiting.remove(&place);
                }
                if let Some(placed) = self.placed.remove(&key) {
                    let node = &mut self.nodes[placed.node];
                    node.free.give_back(&placed.need);
                    node.executors -= 1;
                    for (name, indexes) in placed.devices {
                        node.free_devices.entry(name).or_default().extend(indexes);
                    }
                    self.place_waiting(out);
                }
            }
            NodesEvent::LaunchTried { node, worked } => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.ailing = !worked;
                }
            }
            NodesEvent::NodeDied(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.up = false;
                }
            }
            NodesEvent::NodeReturned(node) => {
                if let Some(node) = self.nodes.get_mut(node) {
                    node.up = true;
                    self.place_waiting(out);
                }
            }
        }
    }

    fn place_waiting(&mut self, out: &mut Vec<Granted>) {
        let places: Vec<u64> = self.waiting.keys().copied().collect();
        for place in places {
            let Some((key, request)) = self.waiting.remove(&place) else { continue };
            if self.place(key, &request, out) {
                self.places.remove(&key);
            } else {
                self.waiting.insert(place, (key, request));
            }
        }
    }

    fn place(&mut self, key: Key, request: &Request, out: &mut Vec<Granted>) -> bool {
        let Some(index) = self.choose(request) else { return false };
        let node = &mut self.nodes[index];
        if !node.free.take(&request.need) {
            return false;
        }
        node.executors += 1;
        let devices = node.take_devices(&request.need);
        let named = devices
            .iter()
            .map(|(name, ids)| (name.clone(), ids.iter().map(u64::to_string).collect()))
            .collect();
        out.push(Granted { key, host: node.host.clone(), devices: named });
        self.placed.insert(key, Placed { node: index, need: request.need.clone(), devices });
        true
    }

    /// The node with the heaviest preference; among those the one with the fewest executors, then with most memory free.
    /// One where the last launch failed is the last resort.
    fn choose(&self, request: &Request) -> Option<usize> {
        let open = self.nodes.iter().enumerate().filter(|(_, node)| {
            node.up
                && node.free.fits(&request.need)
                && !request.excluded.contains(&node.host)
                && request.placement.required.iter().all(|constraint| node.matches(constraint))
        });
        let weight = |node: &Node| {
            let of = request.placement.preferred.iter().filter(|(host, _)| *host == node.host);
            of.map(|(_, weight)| u64::from(*weight)).sum::<u64>()
        };
        open.min_by_key(|(index, node)| {
            (
                node.ailing,
                std::cmp::Reverse(weight(node)),
                node.executors,
                std::cmp::Reverse(node.free.memory),
                *index,
            )
        })
        .map(|(index, _)| index)
    }
}

#[cfg(test)]
#[path = "nodes_test.rs"]
mod tests;
