use std::collections::BTreeMap;

use convoke_core::manager::Reason;
use convoke_core::units::{Cpus, MiB};
use proptest::prelude::*;

use super::*;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn cluster(nodes: u32, cpus: u32, memory: u64, gpu: u64) -> Nodes {
    let each = Resources::new(Cpus::whole(cpus), MiB(memory));
    let each = if gpu > 0 { each.with(name("gpu"), gpu) } else { each };
    Nodes::new((1..=nodes).map(|n| (name(&format!("node-{n}")), each.clone())))
}

fn request(cpus: u32, memory: u64) -> Request {
    Request {
        need: Resources::new(Cpus::whole(cpus), MiB(memory)),
        placement: Placement::default(),
        excluded: Vec::new(),
    }
}

fn key(n: u64) -> Key {
    (ApplicationKey(1), ExecutorId(n))
}

fn want(nodes: &mut Nodes, n: u64, request: &Request) -> Vec<String> {
    let mut out = Vec::new();
    nodes.handle(NodesEvent::Wanted(key(n), request.clone()), &mut out);
    out.iter().map(|granted| format!("{}@{}", granted.key.1, granted.host)).collect()
}

fn gone(nodes: &mut Nodes, n: u64) -> Vec<String> {
    let mut out = Vec::new();
    nodes.handle(NodesEvent::Gone(key(n)), &mut out);
    out.iter().map(|granted| format!("{}@{}", granted.key.1, granted.host)).collect()
}

fn equals(value: &str) -> Constraint {
    Constraint::Equals { attribute: name("host"), value: value.to_owned() }
}

#[test]
fn executors_are_spread_and_the_rest_waits_for_room() {
    let mut nodes = cluster(2, 2, 1024, 0);
    let one = request(1, 256);
    assert_eq!(want(&mut nodes, 1, &one), ["1@node-1"]);
    assert_eq!(want(&mut nodes, 2, &one), ["2@node-2"]);
    assert_eq!(want(&mut nodes, 2, &one), [""; 0], "said again it changes nothing");
    assert_eq!(want(&mut nodes, 3, &one), ["3@node-1"]);
    assert_eq!(want(&mut nodes, 4, &one), ["4@node-2"]);
    assert_eq!(want(&mut nodes, 5, &request(2, 256)), [""; 0]);
    assert_eq!(want(&mut nodes, 6, &one), [""; 0]);
    // 5 needs a whole node and does not block 6 (A9).
    assert_eq!(gone(&mut nodes, 2), ["6@node-2"]);
    assert_eq!(gone(&mut nodes, 1), [""; 0]);
    assert_eq!(gone(&mut nodes, 3), ["5@node-1"]);
}

#[test]
fn preferences_are_hints_exclusions_and_constraints_hold() {
    let mut nodes = cluster(3, 1, 1024, 0);
    let mut preferring = request(1, 256);
    preferring.placement.preferred = vec![(name("node-2"), 1), (name("node-3"), 5)];
    assert_eq!(want(&mut nodes, 1, &preferring), ["1@node-3"]);
    assert_eq!(want(&mut nodes, 2, &preferring), ["2@node-2"]);
    assert_eq!(want(&mut nodes, 3, &preferring), ["3@node-1"]);
    for n in 1..=3 {
        gone(&mut nodes, n);
    }
    let mut bound = request(1, 256);
    bound.placement.required = vec![equals("node-2")];
    assert_eq!(want(&mut nodes, 4, &bound), ["4@node-2"]);
    assert_eq!(want(&mut nodes, 5, &bound), [""; 0], "node-2 is full");
    let mut elsewhere = request(1, 256);
    elsewhere.excluded = vec![name("node-1"), name("node-2")];
    assert_eq!(want(&mut nodes, 6, &elsewhere), ["6@node-3"]);
    assert_eq!(want(&mut nodes, 7, &elsewhere), [""; 0]);
    assert_eq!(gone(&mut nodes, 4), ["5@node-2"]);
}

#[test]
fn the_reasons_have_true_numbers() {
    let mut nodes = cluster(2, 2, 1024, 1);
    let text = |nodes: &Nodes, request: &Request| {
        let reasons = nodes.explain(request).unwrap();
        reasons.iter().map(Reason::to_string).collect::<Vec<_>>().join("; ")
    };
    assert_eq!(text(&nodes, &request(1, 256)), "");
    assert_eq!(
        text(&nodes, &request(3, 256)),
        "no node is large enough: 3 cpus needed, the largest has 2 cpus in all"
    );
    assert_eq!(
        text(&nodes, &request(1, 2048)),
        "no node is large enough: 2GiB needed, the largest has 1GiB in all"
    );
    let mut fpga = request(1, 256);
    fpga.need = fpga.need.with(name("fpga"), 1);
    assert_eq!(text(&nodes, &fpga), "no node has any fpga");
    let mut gpus = request(1, 256);
    gpus.need = gpus.need.with(name("gpu"), 2);
    assert_eq!(text(&nodes, &gpus), "no node is large enough: 2 gpu needed, the largest has 1 gpu in all");

    want(&mut nodes, 1, &request(1, 768)); // node-1: 1 cpu and 256 MiB are left
    want(&mut nodes, 2, &request(2, 128)); // node-2: no cpu and 896 MiB are left
    assert_eq!(text(&nodes, &request(2, 128)), "nothing is free now: 2 cpus needed, 1 cpus free at the most");
    // Each is enough somewhere, never both together.
    assert_eq!(
        text(&nodes, &request(1, 512)),
        "nothing is free now: 1 cpus needed, 0 cpus free at the most; nothing is free now: 512MiB needed, 256MiB free at the most"
    );
    let mut bound = request(1, 128);
    bound.placement.required = vec![equals("node-9")];
    assert_eq!(text(&nodes, &bound), "no node fits host=node-9");
    let mut away = request(1, 128);
    away.excluded = vec![name("node-1")];
    assert_eq!(
        text(&nodes, &away),
        "excluded: node-1; nothing is free now: 1 cpus needed, 0 cpus free at the most"
    );
    away.excluded.push(name("node-2"));
    assert_eq!(text(&nodes, &away), "excluded: node-1, node-2");
}

#[test]
fn a_dead_node_takes_nobody_until_it_is_back() {
    let mut nodes = cluster(2, 1, 1024, 0);
    let one = request(1, 256);
    want(&mut nodes, 1, &one);
    let mut out = Vec::new();
    nodes.handle(NodesEvent::NodeDied(0), &mut out);
    assert_eq!(gone(&mut nodes, 1), [""; 0]);
    assert_eq!(want(&mut nodes, 2, &one), ["2@node-2"]);
    assert_eq!(want(&mut nodes, 3, &one), [""; 0]);
    nodes.handle(NodesEvent::NodeReturned(0), &mut out);
    assert_eq!(out.len(), 1);
    assert_eq!(out[0].host.as_str(), "node-1");
}

#[test]
fn a_node_that_could_not_launch_is_the_last_resort() {
    let mut nodes = cluster(2, 4, 1024, 0);
    let mut one = request(1, 64);
    one.placement.preferred = vec![(name("node-1"), 1)];
    nodes.handle(NodesEvent::LaunchTried { node: 0, worked: false }, &mut Vec::new());
    assert_eq!(want(&mut nodes, 1, &one), ["1@node-2"]);
    one.excluded = vec![name("node-2")];
    assert_eq!(want(&mut nodes, 2, &one), ["2@node-1"]);
    one.excluded.clear();
    nodes.handle(NodesEvent::LaunchTried { node: 0, worked: true }, &mut Vec::new());
    assert_eq!(want(&mut nodes, 3, &one), ["3@node-1"]);
}

#[derive(Debug, Clone)]
enum Step {
    Want(u64, Request),
    Gone(u64),
    Died(usize),
    Returned(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let host = (1_u32..5).prop_map(|n| name(&format!("node-{n}")));
    let request = (
        1_u64..2500,
        1_u64..700,
        0_u64..3,
        proptest::collection::vec((host.clone(), 0_u32..9), 0..3),
        proptest::collection::vec(host.clone(), 0..2),
        proptest::option::weighted(0.2, host),
    )
        .prop_map(|(cpus, memory, gpu, preferred, excluded, bound)| Request {
            need: Resources::new(Cpus::from_millis(cpus), MiB(memory)).with(name("gpu"), gpu),
            placement: Placement {
                preferred,
                required: bound.iter().map(|host| equals(host.as_str())).collect(),
            },
            excluded,
        });
    let step = prop_oneof![
        4 => (0_u64..40, request).prop_map(|(n, request)| Step::Want(n, request)),
        3 => (0_u64..40).prop_map(Step::Gone),
        1 => (0_usize..3).prop_map(Step::Died),
        1 => (0_usize..3).prop_map(Step::Returned),
    ];
    proptest::collection::vec(step, 1..120)
}

proptest! {
    #[test]
    fn nothing_is_overcommitted_doubled_forgotten_or_kept_waiting(steps in steps()) {
        let mut nodes = cluster(3, 2, 1024, 2);
        // The model: who was granted what, and who was asked for and not granted.
        let mut held: BTreeMap<Key, (Request, Granted)> = BTreeMap::new();
        let mut asked: BTreeMap<Key, Request> = BTreeMap::new();
        for step in steps {
            let mut out = Vec::new();
            match step {
                Step::Want(n, request) => {
                    if !held.contains_key(&key(n)) {
                        asked.entry(key(n)).or_insert_with(|| request.clone());
                    }
                    nodes.handle(NodesEvent::Wanted(key(n), request), &mut out);
                }
                Step::Gone(n) => {
                    held.remove(&key(n));
                    asked.remove(&key(n));
                    nodes.handle(NodesEvent::Gone(key(n)), &mut out);
                }
                Step::Died(node) => nodes.handle(NodesEvent::NodeDied(node), &mut out),
                Step::Returned(node) => nodes.handle(NodesEvent::NodeReturned(node), &mut out),
            }
            for granted in out {
                let request = asked.remove(&granted.key);
                prop_assert!(request.is_some(), "granted without being asked for: {granted:?}");
                let request = request.unwrap();
                prop_assert!(!request.excluded.contains(&granted.host));
                prop_assert!(request.placement.required.iter().all(|c| *c == equals(granted.host.as_str())));
                let up = nodes.find(granted.host.as_str()).map(|node| nodes.nodes()[node].up);
                prop_assert_eq!(up, Some(true));
                held.insert(granted.key, (request, granted));
            }
            // What is free is what is not held, and no device is held twice.
            for node in nodes.nodes() {
                let mut left = node.total.clone();
                let mut devices = Vec::new();
                for (request, Granted { host, devices: named, .. }) in held.values() {
                    if *host == node.host {
                        prop_assert!(left.take(&request.need), "{} is overcommitted", node.host);
                        let indexes = named.get("gpu").cloned().unwrap_or_default();
                        prop_assert_eq!(indexes.len() as u64, request.need.named["gpu"]);
                        devices.extend(indexes);
                    }
                }
                prop_assert_eq!(&left, &node.free);
                let count = devices.len();
                devices.sort();
                devices.dedup();
                prop_assert_eq!(devices.len(), count);
            }
            // Nobody waits who could be placed, and everybody who waits is told why.
            for request in asked.values() {
                prop_assert_eq!(nodes.choose(request), None);
                prop_assert!(!nodes.explain(request).unwrap().is_empty());
            }
            prop_assert_eq!(nodes.held_by(ApplicationKey(1)), held.len());
        }
    }
}
