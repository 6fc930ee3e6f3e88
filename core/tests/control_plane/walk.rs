//! The walking path: an executor joins, beats, attaches, and ends with its driver.

use std::time::Duration;

use convoke_core::driver::{Driver, DriverBuilder, DriverEvent, ExecutorPhase};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{Heard, Outcome, Registry};
use convoke_core::rpc::client::Trust;
use convoke_core::rpc::v1::supervisor_order::Order;

use super::executor::FakeExecutor;
use super::manager::TestManager;
use super::plane::{TestPlane, Told};
use super::{SOON, eventually};

pub struct World {
    pub driver: Driver,
    pub manager: std::sync::Arc<TestManager>,
    pub plane: TestPlane,
}

/// A driver with a manager and a task plane of this test's own.
pub async fn world(adjust: impl FnOnce(DriverBuilder) -> DriverBuilder) -> World {
    world_at(TestManager::new(), adjust).await
}

/// The same with this manager.
pub async fn world_at(
    manager: std::sync::Arc<TestManager>,
    adjust: impl FnOnce(DriverBuilder) -> DriverBuilder,
) -> World {
    let plane = TestPlane::default();
    let builder = Driver::builder_with(Registry::new())
        .ignore_environment()
        .name("control plane")
        .executors(2)
        .executor_cpus("2")
        .executor_env("GREETING", "hello")
        .manager(manager.clone())
        .task_plane(plane.maker());
    let driver = adjust(builder).start().await.unwrap();
    World { driver, manager, plane }
}

impl World {
    pub fn command(&self, executor: u64) -> convoke_core::manager::LaunchCommand {
        let wanted = self.manager.wanted();
        wanted.into_iter().find(|(id, _)| id.0 == executor).expect("it is wanted").1
    }
}

async fn walk(insecure: bool) {
    let world = world(|builder| if insecure { builder.insecure() } else { builder }).await;
    let mut events = world.driver.events();
    let command = world.command(0);
    assert_eq!(insecure, matches!(super::executor::Found::of(&command).trust, Trust::Insecure));
    world.manager.grant(ExecutorId(0));
    eventually("it is granted", || !world.driver.executors().is_empty()).await;
    let mut executor = FakeExecutor::join(&command).await;
    let id = executor.id();
    assert_eq!(executor.joined.assignment.slots, 2);
    assert_eq!(executor.joined.assignment.environment["GREETING"], "hello");
    assert_eq!(executor.joined.assignment.heartbeat_interval_ms, 2000);
    assert!(executor.beat(Duration::ZERO).await);
    assert_eq!(world.manager.heard(id), [Heard::Joined]);

    let mut attached = executor.attach().await.unwrap();
    world.driver.wait_ready(1, SOON).await.unwrap();
    assert_eq!(world.plane.told(), [Told::Joined(id, 2), Told::Attached(id)]);
    let ready = &world.driver.executors()[0];
    assert_eq!((ready.executor, ready.phase, ready.process), (id, ExecutorPhase::Ready, Some(4242)));
    assert_eq!(ready.host.as_ref().map(|host| host.as_str()), Some("granted-host"));

    let mut told = Vec::new();
    while told.len() < 3 {
        told.push(events.next().await.unwrap());
    }
    assert!(matches!(told[0], DriverEvent::ExecutorGranted { executor, .. } if executor == id));
    assert!(matches!(told[1], DriverEvent::ExecutorJoined { executor, .. } if executor == id));
    assert!(matches!(told[2], DriverEvent::ExecutorReady { executor, .. } if executor == id));

    // Messages go both ways.
    attached.updates.send(Default::default()).await.unwrap();
    assert!(attached.messages.message().await.unwrap().is_some());

    let ending = tokio::spawn(world.driver.shutdown(Outcome::Succeeded, SOON));
    assert!(matches!(executor.order().await, Some(Order::End(end)) if end.cause.contains("Unregistered")));
    drop(executor);
    ending.await.unwrap().unwrap();
    assert_eq!(world.manager.unregistered(), Some(Outcome::Succeeded));
    assert!(world.manager.dropped());
    assert!(world.plane.was_told(&Told::Shutdown));
}

#[tokio::test]
async fn an_executor_joins_works_and_ends_with_its_driver() {
    walk(false).await;
}

#[tokio::test]
async fn without_encryption_where_it_is_asked_for() {
    walk(true).await;
}

#[test]
fn no_runtime_is_needed() {
    let manager = TestManager::new();
    let driver = Driver::builder_with(Registry::new())
        .ignore_environment()
        .manager(manager.clone())
        .start_blocking()
        .unwrap();
    let error = convoke_core::block_on(driver.wait_ready(1, Duration::from_millis(50))).unwrap_err();
    assert_eq!(error.kind(), convoke_core::ErrorKind::DeadlineExceeded);
    convoke_core::block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
    assert!(manager.dropped());
}

#[tokio::test]
async fn a_dropped_driver_tells_its_executors_to_end() {
    let world = world(|builder| builder).await;
    let mut executor = FakeExecutor::join(&world.command(0)).await;
    assert!(executor.beat(Duration::ZERO).await);
    let address = world.driver.addresses()[0].clone();
    let dropping = tokio::task::spawn_blocking(move || drop(world.driver));
    assert!(matches!(executor.order().await, Some(Order::End(_))));
    drop(executor);
    dropping.await.unwrap();
    assert!(world.manager.dropped());
    assert_eq!(world.manager.unregistered(), None);
    let again = tokio::net::TcpStream::connect((address.host.as_str(), address.port)).await;
    assert!(again.is_err(), "its port is closed");
}
