//! Where the driver listens, what it advertises, and what it refuses to start with.

use std::net::Ipv4Addr;

use convoke_core::ErrorKind;
use convoke_core::driver::Driver;
use convoke_core::ids::ProfileId;
use convoke_core::manager::{Outcome, Registry};
use convoke_core::resource::ResourceProfile;

use super::executor::{FakeExecutor, Found};
use super::manager::TestManager;
use super::walk::world;
use super::{SOON, eventually};

#[tokio::test]
async fn what_is_advertised_may_differ_from_what_is_bound() {
    // The first can't be dialled, the second is a name for the bound address.
    let world = world(|builder| {
        builder.bind(Ipv4Addr::LOCALHOST.into()).advertise("127.0.0.1:1").advertise("localhost")
    })
    .await;
    let command = world.command(0);
    let port = world.driver.addresses()[1].port;
    let found = Found::of(&command);
    assert_eq!(found.addresses.len(), 2);
    assert_eq!(found.addresses[0].to_string(), "127.0.0.1:1");
    assert_eq!(found.addresses[1].to_string(), format!("localhost:{port}"));
    let executor = FakeExecutor::join(&command).await;
    assert_eq!(executor.joined.address, found.addresses[1], "the address that worked");
    executor.attach().await.unwrap();

    let mut nowhere = found;
    nowhere.addresses.truncate(1);
    let error = nowhere.join().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("127.0.0.1:1"), "{error}");
    assert!(error.advice().unwrap().contains("driver.advertise"));
}

#[tokio::test]
async fn a_fixed_port_in_use_makes_room() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = taken.local_addr().unwrap().port();
    let world = world(|builder| builder.port(port)).await;
    let found = world.driver.addresses()[0].port;
    assert!(found > port && found <= port.saturating_add(15), "{found}");
    FakeExecutor::join(&world.command(0)).await;
}

#[tokio::test]
async fn a_driver_does_not_start_with_what_can_not_be_right() {
    let manager = TestManager::new();
    let builder = || Driver::builder_with(Registry::new()).ignore_environment().manager(manager.clone());
    let field = |error: convoke_core::Error| error.field().map(ToOwned::to_owned);
    let absurd = builder().executor_memory("0MiB").start().await.unwrap_err();
    assert_eq!(field(absurd).as_deref(), Some("executor.memory"));
    let unreadable = builder().executor_memory("12 parsecs").start().await.unwrap_err();
    assert_eq!(unreadable.kind(), ErrorKind::InvalidRequest);
    assert!(unreadable.to_string().contains("executor_memory"), "{unreadable}");
    let nameless = builder().name("a\nb").start().await.unwrap_err();
    assert_eq!(nameless.kind(), ErrorKind::InvalidRequest);
    let unknown = builder().setting("driver.prot", "1").start().await.unwrap_err();
    assert_eq!(unknown.advice(), Some("did you mean driver.port?"));
    let advertised = builder().advertise("no such host").start().await.unwrap_err();
    assert_eq!(field(advertised).as_deref(), Some("driver.advertise"));
    let foreign = builder().bind("192.0.2.1".parse().unwrap()).start().await.unwrap_err();
    assert!(foreign.to_string().contains("192.0.2.1"), "{foreign}");
    let scheme = Driver::builder_with(Registry::new()).ignore_environment().master("spark://x").start().await;
    assert_eq!(scheme.unwrap_err().kind(), ErrorKind::Unsupported);
    assert!(!manager.was_asked(), "nothing happened at the manager");
}

#[tokio::test]
async fn a_profile_never_changes_under_its_id() {
    let world = world(|builder| builder).await;
    let mut profile = ResourceProfile { id: ProfileId(1), ..Default::default() };
    world.driver.set_target(profile.clone(), 3).unwrap();
    world.driver.set_target(profile.clone(), 4).unwrap();
    profile.each.memory.0 *= 2;
    let error = world.driver.set_target(profile, 4).unwrap_err();
    assert_eq!(error.field(), Some("profile"));
    world.driver.set_executors(3).unwrap();
}

#[tokio::test]
async fn a_start_that_is_dropped_leaves_nothing() {
    let manager = TestManager::new();
    manager.hang();
    let start = Driver::builder_with(Registry::new()).ignore_environment().manager(manager.clone()).start();
    let start = tokio::spawn(start);
    eventually("it is asked", || manager.was_asked()).await;
    start.abort();
    eventually("what was begun is dropped", || manager.dropped()).await;
}

#[tokio::test]
async fn the_end_of_the_application_is_told_to_those_who_wait() {
    let world = world(|builder| builder).await;
    let waiting = tokio::spawn(world.driver.wait_ready(1, SOON));
    let by = convoke_core::manager::EndedBy::Operator("somebody".to_owned());
    world.manager.tell(convoke_core::manager::What::Ended { outcome: Outcome::Killed, by });
    let error = waiting.await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.to_string().contains("somebody"), "{error}");
}
