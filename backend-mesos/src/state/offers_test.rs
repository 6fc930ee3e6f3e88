use super::*;
use convoke_core::ids::ProfileId;
use convoke_core::manager::Placement;
use convoke_core::resource::ResourceProfile;
use convoke_core::units::{Cpus, MiB};
use proptest::prelude::*;
use std::sync::Arc;

fn name(text: &str) -> Name {
    Name::new(text).unwrap()
}

fn wanted(executor: u64, cpus_millis: u64, memory: u64) -> Wanted {
    let each = Resources::new(Cpus::from_millis(cpus_millis), MiB(memory));
    let profile = ResourceProfile { id: ProfileId(0), each, ..ResourceProfile::default() };
    Wanted {
        executor: ExecutorId(executor),
        profile: Arc::new(profile),
        placement: Placement::default(),
        excluded: Arc::from([]),
    }
}

fn offer(id: &str, host: &str, cpus: f64, memory: f64) -> v1::Offer {
    let scalar = |name: &str, value| v1::Resource {
        name: name.into(),
        r#type: v1::value::Type::Scalar as i32,
        scalar: Some(v1::value::Scalar { value }),
        ..Default::default()
    };
    v1::Offer {
        id: v1::OfferId { value: id.into() },
        agent_id: v1::AgentId { value: format!("agent-{host}") },
        hostname: host.into(),
        resources: vec![scalar("cpus", cpus), scalar("mem", memory)],
        ..Default::default()
    }
}

fn subscribed() -> Offers {
    let mut offers = Offers::default();
    assert!(handle(&mut offers, OffersEvent::Subscribed).is_empty(), "nothing wanted, nothing said");
    offers
}

fn handle(offers: &mut Offers, event: OffersEvent) -> Vec<OffersCommand> {
    let mut out = Vec::new();
    offers.handle(Moment::ZERO, event, &mut out);
    out
}

fn placements(out: &[OffersCommand]) -> Vec<(String, Vec<u64>)> {
    out.iter()
        .filter_map(|command| match command {
            OffersCommand::Accept(taken) => Some((
                taken.host.to_string(),
                taken.placed.iter().map(|placed| placed.wanted.executor.0).collect(),
            )),
            _ => None,
        })
        .collect()
}

#[test]
fn demand_revives_and_its_end_suppresses() {
    let mut offers = subscribed();
    let out = handle(&mut offers, OffersEvent::Want(vec![wanted(1, 1000, 64), wanted(2, 1000, 64)]));
    assert!(matches!(out[..], [OffersCommand::Revive]));
    assert!(handle(&mut offers, OffersEvent::Want(vec![wanted(1, 1000, 64)])).is_empty(), "idempotent");
    let out = handle(&mut offers, OffersEvent::Offers(vec![offer("O1", "a", 4.0, 512.0)]));
    assert_eq!(placements(&out), [("a".to_owned(), vec![1, 2])], "several on one offer");
    assert!(matches!(out[1..], [OffersCommand::Suppress]));
    let out = handle(&mut offers, OffersEvent::Offers(vec![offer("O2", "a", 2.0, 384.0)]));
    assert!(
        matches!(&out[..], [OffersCommand::Decline(ids, REFUSE_IDLE)] if ids.len() == 1),
        "a late offer goes back"
    );
}

#[test]
fn nothing_is_said_without_a_stream_and_all_of_it_when_there_is_one() {
    let mut offers = Offers::default();
    assert!(handle(&mut offers, OffersEvent::Want(vec![wanted(1, 1000, 64)])).is_empty());
    assert!(matches!(handle(&mut offers, OffersEvent::Subscribed)[..], [OffersCommand::Revive]));
    handle(&mut offers, OffersEvent::Unsubscribed);
    assert_eq!(offers.next_deadline(), None);
    assert!(matches!(handle(&mut offers, OffersEvent::Subscribed)[..], [OffersCommand::Revive]));
}

#[test]
fn executors_are_spread_and_preferences_go_first() {
    let mut offers = subscribed();
    let mut picky = wanted(9, 1000, 64);
    picky.placement.preferred = vec![(name("b"), 1)];
    handle(&mut offers, OffersEvent::Want((1..5).map(|id| wanted(id, 1000, 64)).chain([picky]).collect()));
    let out = handle(
        &mut offers,
        OffersEvent::Offers(vec![offer("O1", "a", 8.0, 2048.0), offer("O2", "b", 8.0, 2048.0)]),
    );
    let mut placed = placements(&out);
    placed.sort();
    assert_eq!((placed[0].1.len(), placed[1].1.len()), (2, 3), "{placed:?}");
    assert!(placed[1].1.contains(&9));
    // who left makes room for the next one
    handle(&mut offers, OffersEvent::Left(name("b")));
    handle(&mut offers, OffersEvent::Left(name("b")));
    handle(&mut offers, OffersEvent::Want(vec![wanted(10, 1000, 64)]));
    let out = handle(
        &mut offers,
        OffersEvent::Offers(vec![offer("O3", "a", 8.0, 2048.0), offer("O4", "b", 8.0, 2048.0)]),
    );
    assert_eq!(placements(&out), [("b".to_owned(), vec![10])]);
}

#[test]
fn exclusion_and_constraints_hold_and_are_counted() {
    let mut offers = subscribed();
    let mut elsewhere = wanted(1, 1000, 64);
    elsewhere.excluded = Arc::from([name("a")]);
    let mut rack = wanted(2, 1000, 64);
    rack.placement.required = vec![Constraint::Equals { attribute: name("rack"), value: "r1".into() }];
    handle(&mut offers, OffersEvent::Want(vec![elsewhere, rack]));
    let out = handle(&mut offers, OffersEvent::Offers(vec![offer("O1", "a", 8.0, 2048.0)]));
    assert!(matches!(&out[..], [OffersCommand::Decline(_, REFUSE_UNFIT)]), "{out:?}");
    assert_eq!(offers.rejections().get(&Rejection::Excluded(name("a"))), Some(&1));
    assert_eq!(offers.rejections().get(&Rejection::Constraint("rack=r1".into())), Some(&1));
    let mut racked = offer("O2", "b", 8.0, 2048.0);
    racked.attributes = vec![v1::Attribute {
        name: "rack".into(),
        r#type: v1::value::Type::Text as i32,
        text: Some(v1::value::Text { value: "r1".into() }),
        ..Default::default()
    }];
    let out = handle(&mut offers, OffersEvent::Offers(vec![racked]));
    assert_eq!(placements(&out), [("b".to_owned(), vec![1, 2])]);
}

#[test]
fn a_starving_profile_does_not_block_another() {
    let mut offers = subscribed();
    handle(&mut offers, OffersEvent::Want(vec![wanted(1, 64_000, 64), wanted(2, 1000, 64)]));
    let out = handle(&mut offers, OffersEvent::Offers(vec![offer("O1", "a", 2.0, 512.0)]));
    assert_eq!(placements(&out), [("a".to_owned(), vec![2])]);
    assert_eq!(offers.rejections().get(&Rejection::Lacks("cpus".into())), Some(&1));
    assert_eq!(offers.waiting().count(), 1);
}

#[test]
fn an_offer_that_makes_no_sense_goes_back() {
    let mut offers = subscribed();
    handle(&mut offers, OffersEvent::Want(vec![wanted(1, 1000, 64)]));
    let (mut nameless, mut agentless) = (offer("O1", "", 8.0, 512.0), offer("O2", "a", 8.0, 512.0));
    nameless.hostname.clear();
    agentless.agent_id.value.clear();
    let out = handle(&mut offers, OffersEvent::Offers(vec![nameless, agentless]));
    assert!(matches!(&out[..], [OffersCommand::Decline(ids, _)] if ids.len() == 2), "{out:?}");
}

proptest! {
    /// Every offer is answered exactly once and at once, no executor is placed twice, and no agent is filled beyond what
    /// it offered.
    #[test]
    fn never_hoarding_never_over(
        wants in prop::collection::vec((1_u64..5000, 16_u64..2048), 0..30),
        batches in prop::collection::vec(prop::collection::vec((0_u64..8000, 0_u64..4096, 0_usize..4), 0..6), 0..10),
    ) {
        let mut offers = subscribed();
        let list = wants.iter().enumerate().map(|(id, (cpus, memory))| wanted(id as u64, *cpus, *memory)).collect();
        let mut out = handle(&mut offers, OffersEvent::Want(list));
        let (mut placed_once, mut number) = (BTreeSet::new(), 0);
        for batch in batches {
            out.clear();
            let mut sent = BTreeMap::new();
            let batch = batch.into_iter().map(|(cpus, memory, host)| {
                number += 1;
                sent.insert(format!("O{number}"), (cpus, memory));
                offer(&format!("O{number}"), &format!("h{host}"), cpus as f64 / 1000.0, memory as f64)
            }).collect();
            offers.handle(Moment::ZERO, OffersEvent::Offers(batch), &mut out);
            for command in &out {
                match command {
                    OffersCommand::Decline(ids, _) => for id in ids {
                        prop_assert!(sent.remove(&id.value).is_some());
                    },
                    OffersCommand::Accept(taken) => {
                        let (cpus, memory) = sent.remove(&taken.offer.value).unwrap();
                        let sum = |get: fn(&Resources) -> u64| taken.placed.iter().map(|placed| get(&placed.actual)).sum::<u64>();
                        prop_assert!(sum(|each| each.cpus.millis()) <= cpus && sum(|each| each.memory.0) <= memory);
                        for placed in &taken.placed {
                            prop_assert!(placed_once.insert(placed.wanted.executor));
                            prop_assert_eq!(&placed.actual, &placed.wanted.profile.each);
                        }
                    }
                    OffersCommand::Revive | OffersCommand::Suppress => {}
                }
            }
            prop_assert!(sent.is_empty(), "held back: {:?}", sent);
        }
        prop_assert_eq!(placed_once.len() + offers.waiting().count(), wants.len());
    }
}
