//! A whole driver: the agents fetch this very test binary from it, and executors of it join.

use std::fs;
use std::process::{Command, Stdio};

use super::*;
use convoke_core::driver::{Driver, Refusal};
use convoke_core::executor::test_binary::bootstrap_arguments;
use convoke_core::manager::{Outcome, Registry};

const BOUND: Duration = Duration::from_secs(60);

fn driver(cluster: &Cluster) -> convoke_core::driver::DriverBuilder {
    let mut registry = Registry::new();
    convoke_mesos::register(&mut registry);
    Driver::builder_with(registry)
        .ignore_environment()
        .master(format!("mesos://{}", cluster.address))
        .bootstrap_arguments(bootstrap_arguments())
}

/// The bootstrap that a task of this application became: its guard.
fn guard_of(application: &str) -> Option<u32> {
    let entries = [format!("CONVOKE_APPLICATION={application}"), "CONVOKE_ROLE=guard".to_owned()];
    cluster::processes().find(|id| {
        let is_bootstrap = fs::read_link(format!("/proc/{id}/exe"))
            .is_ok_and(|exe| exe.file_name().is_some_and(|name| name == "convoke-bootstrap"));
        is_bootstrap
            && fs::read(format!("/proc/{id}/environ")).is_ok_and(|all| {
                let all: Vec<_> = all.split(|b| *b == 0).collect();
                entries.iter().all(|entry| all.contains(&entry.as_bytes()))
            })
    })
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_join_over_the_bootstrap_listener_and_a_replayed_ticket_is_refused() {
    let cluster = Cluster::start(2);
    let driver = driver(&cluster).executors(2).start().await.unwrap();
    driver.wait_ready(2, BOUND).await.unwrap();
    let application = driver.application().to_string();
    let guard = guard_of(&application).expect("a guard of the application");
    // all that the task got from Mesos, taken by somebody else
    let read = |what| fs::read(format!("/proc/{guard}/{what}")).unwrap();
    let split = |bytes: Vec<u8>| -> Vec<String> {
        let parts = bytes.split(|b| *b == 0).map(|it| String::from_utf8_lossy(it).into_owned());
        parts.filter(|it| !it.is_empty()).collect()
    };
    let (environment, arguments) = (split(read("environ")), split(read("cmdline")));
    assert!(environment.iter().any(|it| it.starts_with("CONVOKE_TICKET=hex:")), "only the ticket travels");
    let folder = tempfile::tempdir().unwrap();
    let mut thief = Command::new(format!("/proc/{guard}/exe"))
        .args(&arguments[1..])
        .env_clear()
        .envs(environment.iter().filter_map(|it| it.split_once('=')))
        .current_dir(folder.path())
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    eventually("the replay is refused and reported", 30, || {
        driver.refusals().get(&Refusal::SpentTicket).copied().unwrap_or(0) > 0
    })
    .await;
    eventually("the thief ends", 30, || thief.try_wait().unwrap().is_some()).await;
    driver.wait_ready(2, BOUND).await.unwrap();
    driver.shutdown(Outcome::Succeeded, BOUND).await.unwrap();
    assert!(cluster.frameworks().is_empty());
    assert_eq!(guard_of(&application), None);
}
