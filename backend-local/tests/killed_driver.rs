//! A driver that is killed leaves nothing for long (T2).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use convoke_core::ids::ApplicationId;
use convoke_core::manager::{ApplicationState, Provisioner as _};
use support::{manager, open, shell, wanted};

const FOLDER: &str = "TEST_DRIVER_FOLDER";

/// Not a test of its own: what the child process of the test below does, which is started as such.
#[test]
fn plays_the_driver() {
    let Ok(folder) = std::env::var(FOLDER) else { return };
    let runtime = tokio::runtime::Runtime::new().unwrap();
    runtime.block_on(async {
        let manager = manager("local-cluster[1,4,1GiB]", Path::new(&folder), &[]);
        let application = open(&manager, |id| match id.0 {
            // One ends with its standard input, the other one's children go on and hide.
            1 => shell("read ticket; read nothing"),
            _ => shell("setsid sh -c 'sleep 1000' & sleep 1000"),
        })
        .await;
        application.start([wanted(1, 1, 64), wanted(2, 1, 64)]).await;
        application.seen.launched(1).await;
        application.seen.launched(2).await;
        support::eventually("all are there", || application.processes().len() >= 4).await;
        println!("\napplication {}", application.id);
        std::future::pending::<()>().await;
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_killed_driver_left_is_swept_by_the_next() {
    let folder = tempfile::tempdir().unwrap();
    let mut driver = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "plays_the_driver", "--nocapture"])
        .env(FOLDER, folder.path())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(driver.stdout.take().unwrap()).lines();
    let told =
        lines.map_while(Result::ok).find_map(|line| Some(line.strip_prefix("application ")?.to_owned()));
    driver.kill().unwrap();
    driver.wait().unwrap();
    let dead: ApplicationId = told.unwrap().parse().unwrap();
    assert!(folder.path().join(dead.as_str()).exists());

    let manager = manager("local-cluster[1,4,1GiB]", folder.path(), &[]);
    let alive = open(&manager, |_| shell("sleep 1000")).await;
    assert_eq!(support::processes_of(&dead), [0; 0]);
    assert!(support::cgroups_of(&dead).is_empty());
    let left = folder.path().join(dead.as_str());
    assert!(!left.join("1/work").exists() && left.join("1/logs").exists(), "logs stay, and nothing else");
    let operator = manager.operator().unwrap();
    let report = operator.applications().await.unwrap().into_iter().find(|report| report.id == dead).unwrap();
    assert!(matches!(report.state, ApplicationState::Ended { outcome: None, at: Some(_) }), "{report:?}");

    // A driver that lives is left alone.
    alive.start([wanted(1, 1, 64)]).await;
    alive.seen.launched(1).await;
    let third = open(&manager, |_| shell("sleep 1000")).await;
    assert!(folder.path().join(alive.id.as_str()).exists());
    assert!(!alive.processes().is_empty());
    third.close().await;
    alive.close().await;
}
