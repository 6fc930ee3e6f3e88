//! A driver with executors of this very test binary: guard, supervisor and program.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use convoke_core::driver::{Driver, DriverBuilder};
use convoke_core::executor::test_binary::bootstrap_arguments;
use convoke_core::ids::ApplicationId;
use convoke_core::manager::{Outcome, Registry};
use convoke_core::process::table::{ProcessId, Table};
use rustix::process::Signal;
use support::BOUND;

convoke_core::test_executor!();

fn driver(master: &str, folder: &Path) -> DriverBuilder {
    let mut registry = Registry::new();
    convoke_local::register(&mut registry);
    Driver::builder_with(registry)
        .ignore_environment()
        .master(master)
        .bootstrap_arguments(bootstrap_arguments())
        .manager_setting("local.directory", folder.display().to_string())
        .manager_setting("local.logs-kept", "0s") // what a test made is gone with it
}

async fn ended(driver: Driver, folder: &Path) {
    let application = driver.application().clone();
    driver.shutdown(Outcome::Succeeded, BOUND).await.unwrap();
    assert_eq!(support::processes_of(&application), [0; 0]);
    assert!(support::cgroups_of(&application).is_empty());
    let own = folder.join(application.as_str());
    support::eventually("its folder is gone", || !own.exists()).await;
}

/// The processes of one executor: guard, supervisor, program.
fn of_executor(application: &ApplicationId, executor: u64) -> BTreeSet<i32> {
    let entry = format!("CONVOKE_EXECUTOR={executor}");
    let all: BTreeSet<i32> = support::with_environment(&entry).into_iter().collect();
    support::processes_of(application).into_iter().filter(|number| all.contains(number)).collect()
}

fn signal(number: i32, signal: Signal) {
    assert!(ProcessId::of(u32::try_from(number).unwrap()).unwrap().signal(signal).unwrap());
}

/// Guard and supervisor, found by who started whom.
fn pair(of: &BTreeSet<i32>) -> (i32, i32) {
    let own = i32::try_from(std::process::id()).unwrap();
    let table = Table::read().unwrap();
    let child_of = |parent: i32| {
        let child =
            table.entries().iter().find(|entry| entry.parent == parent && of.contains(&entry.id.number));
        child.map(|entry| entry.id.number).unwrap()
    };
    let guard = child_of(own);
    (guard, child_of(guard))
}

#[tokio::test(flavor = "multi_thread")]
async fn executors_join_are_replaced_and_end_with_their_driver() {
    let folder = tempfile::tempdir().unwrap();
    let driver = driver("local-cluster[2,2,1GiB]", folder.path()).executors(3).start().await.unwrap();
    driver.wait_ready(3, BOUND).await.unwrap();
    let application = driver.application().clone();

    // Whichever part of an executor is killed or stopped for good, another executor takes its place.
    for part in 0..3 {
        let executor = driver.executors()[0].executor;
        let processes = of_executor(&application, executor.0);
        let (guard, supervisor) = pair(&processes);
        match part {
            0 => signal(guard, Signal::KILL),
            1 => signal(supervisor, Signal::KILL),
            _ => {
                // The driver hears no heartbeat; neither of the two that watch each other can act.
                signal(guard, Signal::STOP);
                signal(supervisor, Signal::STOP);
            }
        }
        support::eventually("it is gone", || {
            driver.executors().iter().all(|status| status.executor != executor)
        })
        .await;
        driver.wait_ready(3, BOUND).await.unwrap();
        support::eventually("all of it is gone", || of_executor(&application, executor.0).is_empty()).await;
    }
    ended(driver, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_that_is_dropped_leaves_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let driver = driver("local-cluster[1,2,1GiB]", folder.path()).executors(2).start().await.unwrap();
    driver.wait_ready(2, BOUND).await.unwrap();
    let application = driver.application().clone();
    drop(driver);
    support::eventually("its processes are gone", || support::processes_of(&application).is_empty()).await;
    let own = folder.path().join(application.as_str());
    support::eventually("its folder is gone", || !own.exists()).await;
    assert!(support::cgroups_of(&application).is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn what_can_not_be_had_is_told() {
    let folder = tempfile::tempdir().unwrap();
    let driver = driver("local-cluster[1,2,512MiB]", folder.path()).executors(3).start().await.unwrap();
    let error = driver.wait_ready(3, Duration::from_secs(5)).await.unwrap_err();
    assert!(format!("{error:#}").contains("nothing is free now"), "{error:#}");
    driver.wait_ready(2, BOUND).await.unwrap();
    ended(driver, folder.path()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn inline_there_is_an_executor_and_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let driver = driver("local-inline[2]", folder.path()).executors(1).start().await.unwrap();
    driver.wait_ready(1, BOUND).await.unwrap();
    assert_eq!(support::processes_of(driver.application()), [0; 0]);
    let first = driver.executors()[0].executor;
    driver
        .drain(vec![first], Duration::from_secs(5), convoke_core::manager::Then::LowerTarget)
        .await
        .unwrap();
    support::eventually("it has ended", || driver.executors().is_empty()).await;
    ended(driver, folder.path()).await;
}

const FOLDER: &str = "TEST_DRIVER_FOLDER";

/// Not a test of its own: what the child process of the test below does, which is started as such.
#[test]
fn plays_the_driver() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    if std::env::var_os("CONVOKE_ROLE").is_some() {
        return;
    }
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let builder = driver("local-cluster[2,2,1GiB]", Path::new(&folder));
        let driver = builder.executors(3).start().await.unwrap();
        driver.wait_ready(3, BOUND).await.unwrap();
        println!("\napplication {}", driver.application());
        std::future::pending::<()>().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn a_killed_driver_leaves_no_process() {
    let folder = tempfile::tempdir().unwrap();
    let mut killed = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plays_the_driver", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(killed.stdout.take().unwrap()).lines();
    let told =
        lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("application ")?.to_owned()));
    let dead: Option<ApplicationId> = told.map(|told| told.parse().unwrap());
    if let Some(dead) = &dead {
        assert!(support::processes_of(dead).len() >= 9);
    }
    killed.kill().unwrap();
    killed.wait().unwrap();
    let dead = dead.unwrap();
    support::eventually("its processes are gone", || support::processes_of(&dead).is_empty()).await;
    // The guards have taken their control groups along.
    support::eventually("its control groups are gone", || support::cgroups_of(&dead).is_empty()).await;
    // The next one sweeps what is no process.
    let driver = driver("local-cluster[1,1,1GiB]", folder.path()).executors(0).start().await.unwrap();
    assert!(!folder.path().join(dead.as_str()).exists());
    ended(driver, folder.path()).await;
}
