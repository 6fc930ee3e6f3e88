//! Executors that fall silent, hang up, are declared gone, or are to go.

use std::time::Duration;

use convoke_core::ErrorKind;
use convoke_core::driver::{DriverEvent, ExecutorPhase};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{Exit, ExitCause, Heard, Reason, Then, What};
use convoke_core::rpc::v1;
use convoke_core::rpc::v1::supervisor_order::Order;
use convoke_core::rpc::v1::supervisor_report::Report;

use super::executor::FakeExecutor;
use super::plane::Told;
use super::walk::{World, world};
use super::{SOON, eventually};

/// A driver that loses an executor after 400 ms of silence, and waits for a cause for as long as `cause_wait`.
async fn quick_world(cause_wait: &'static str) -> World {
    world(|builder| builder.heartbeat_interval("50ms").lost_after("400ms").lease("5s").cause_wait(cause_wait))
        .await
}

#[tokio::test]
async fn a_silent_executor_is_lost_replaced_and_can_not_come_back() {
    let world = quick_world("30s").await;
    let mut events = world.driver.events();
    let mut executor = FakeExecutor::join(&world.command(0)).await;
    let (id, found) = (executor.id(), executor.found.clone());
    let mut attached = executor.attach().await.unwrap();
    assert!(executor.beat(Duration::ZERO).await);
    // It holds its connections, but says nothing.
    eventually("its tasks move", || world.plane.was_told(&Told::Gone(id))).await;
    assert_eq!(world.manager.released(id), Some(ExitCause::LostContact));
    assert!(world.manager.heard(id).contains(&Heard::HungUp));
    assert!(matches!(executor.order().await, Some(Order::End(end)) if end.cause.contains("LostContact")));
    assert!(executor.order().await.is_none(), "hung up");
    assert!(attached.messages.message().await.is_err(), "its tasks' stream is ended too");
    let error = found.join().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Stale);
    // Blame waits for the manager's word.
    assert!(!world.plane.told().iter().any(|told| matches!(told, Told::Lost(..))));
    world.manager.exit(id, Exit::new(ExitCause::NodeLost, "its rack is dark"));
    eventually("blame is laid", || world.plane.was_told(&Told::Lost(id, ExitCause::NodeLost))).await;
    assert!(world.driver.executors().is_empty());
    loop {
        if let DriverEvent::ExecutorLost { executor, exit } = events.next().await.unwrap() {
            assert_eq!((executor, exit.cause), (id, ExitCause::NodeLost));
            break;
        }
    }
}

#[tokio::test]
async fn a_broken_connection_moves_tasks_at_once_and_the_wait_for_a_cause_ends() {
    let world = quick_world("200ms").await;
    let executor = FakeExecutor::join(&world.command(0)).await;
    let id = executor.id();
    drop(executor);
    eventually("its tasks move", || world.plane.was_told(&Told::Gone(id))).await;
    assert_eq!(world.manager.heard(id), [Heard::Joined, Heard::HungUp]);
    eventually("blame is laid", || world.plane.was_told(&Told::Lost(id, ExitCause::LostContact))).await;
    assert_eq!(world.manager.released(id), Some(ExitCause::LostContact));
}

#[tokio::test]
async fn a_program_that_hangs_behind_its_supervisor_is_found() {
    let world = quick_world("30s").await;
    let mut executor = FakeExecutor::join(&world.command(0)).await;
    assert!(executor.beat(Duration::from_millis(399)).await);
    assert!(!executor.beat(Duration::from_millis(400)).await, "ended instead of renewed");
    let id = executor.id();
    eventually("it is released", || world.manager.released(id) == Some(ExitCause::LostContact)).await;
}

#[tokio::test]
async fn a_supervisors_account_reaches_the_manager() {
    let world = quick_world("30s").await;
    let executor = FakeExecutor::join(&world.command(0)).await;
    let id = executor.id();
    executor
        .report(Report::Ended(v1::ExecutorEnded {
            cause: serde_json::to_string(&ExitCause::Signal(11)).unwrap(),
            message: "crashed".to_owned(),
            log_tail: "segfault".into(),
        }))
        .await;
    eventually("its tasks move", || world.plane.was_told(&Told::Gone(id))).await;
    let account = Exit::new(ExitCause::Signal(11), "crashed").with_log_tail("segfault");
    assert_eq!(world.manager.heard(id), [Heard::Joined, Heard::Ended(account)]);
    world.manager.exit(id, Exit::new(ExitCause::Signal(11), "crashed"));
    eventually("blame is laid", || world.plane.was_told(&Told::Lost(id, ExitCause::Signal(11)))).await;
}

#[tokio::test]
async fn what_the_manager_declares_ended_gets_nothing_more() {
    let world = quick_world("30s").await;
    let mut executor = FakeExecutor::join(&world.command(0)).await;
    assert!(executor.beat(Duration::ZERO).await);
    let id = executor.id();
    world.manager.exit(id, Exit::new(ExitCause::Preempted, ""));
    assert!(matches!(executor.order().await, Some(Order::End(_))));
    assert!(!executor.beat(Duration::ZERO).await, "its lease is renewed no more");
    let told = [Told::Joined(id, 2), Told::Gone(id), Told::Lost(id, ExitCause::Preempted)];
    assert_eq!(world.plane.told(), told);
}

#[tokio::test]
async fn the_task_plane_condemns_as_a_last_resort() {
    let world = quick_world("30s").await;
    let mut executor = FakeExecutor::join(&world.command(0)).await;
    let id = executor.id();
    world.plane.control().condemn(id, "a task ignores its cancellation");
    assert!(matches!(executor.order().await, Some(Order::End(end)) if end.why.contains("ignores")));
    assert_eq!(world.manager.released(id), Some(ExitCause::Released));
    assert!(world.plane.was_told(&Told::Gone(id)));
    world.plane.control().condemn(id, "again");
    world.plane.control().condemn(ExecutorId(77), "never was");
}

#[tokio::test]
async fn draining_is_told_to_all_who_must_know() {
    let world = quick_world("30s").await;
    let executors =
        [FakeExecutor::join(&world.command(0)).await, FakeExecutor::join(&world.command(1)).await];
    let [mut first, mut second] = executors;
    first.attach().await.unwrap();
    let ids = vec![first.id()];
    let answers = world.driver.drain(ids, SOON, Then::LowerTarget).await.unwrap();
    assert_eq!(answers, [(first.id(), convoke_core::manager::ReleaseAnswer::Accepted)]);
    assert!(matches!(first.order().await, Some(Order::Drain(_))));
    assert!(world.plane.was_told(&Told::Draining(first.id())));
    assert_eq!(world.driver.executors()[0].phase, ExecutorPhase::Draining);
    assert_eq!(world.manager.released(first.id()), Some(ExitCause::Released));

    let why = "spot".to_owned();
    world.manager.tell(What::Draining { executors: vec![second.id()], until: None, why });
    assert!(matches!(second.order().await, Some(Order::Drain(drain)) if drain.why == "spot"));
    assert_eq!(world.manager.released(second.id()), Some(ExitCause::NodeDrained));
}

#[tokio::test]
async fn a_program_may_attach_again() {
    let world = quick_world("30s").await;
    let executor = FakeExecutor::join(&world.command(0)).await;
    let (found, identity) = (executor.found.clone(), executor.joined.identity.clone());
    let beating = executor.beat_on();
    for _ in 0..3 {
        let attached = super::executor::attach(&found, &identity).await.unwrap();
        world.driver.wait_ready(1, SOON).await.unwrap();
        drop(attached);
    }
    // It doesn't come back: it is lost, though its supervisor beats.
    eventually("it is lost", || world.plane.was_told(&Told::Gone(beating.id))).await;
}

#[tokio::test]
async fn waiting_in_vain_tells_the_managers_reasons() {
    let world = quick_world("30s").await;
    let resource = convoke_core::ids::Name::new("memory").unwrap();
    world.manager.set_reason(Reason::NoNodeLargeEnough { resource, needed: 4096, largest_total: 1024 });
    let error = world.driver.wait_ready(2, Duration::from_millis(100)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::DeadlineExceeded);
    let text = error.to_string();
    assert!(text.contains("4GiB needed, the largest has 1GiB"), "{text}");
    assert!(text.contains("ready: 0") && text.contains("wanted: 2"), "{text}");
}
