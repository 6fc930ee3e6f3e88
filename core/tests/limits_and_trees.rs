//! Ending somebody else's trees, and limits that the kernel keeps.

#![allow(clippy::unwrap_used, reason = "a test that fails")]

mod support;

use std::collections::HashMap;
use std::process::{Command, Stdio};

use convoke_core::executor::role;
use convoke_core::manager::ExitCause;
use convoke_core::process::cgroup::{Cgroup, CgroupLimits};
use convoke_core::process::table::{ProcessId, Table};
use convoke_core::process::tree::kill_trees;
use convoke_core::rpc::v1;
use convoke_core::units::MiB;
use support::{Executor, ScriptedDriver, assignment, eventually};

#[test]
fn convoke_executor() {
    if std::env::var("CONVOKE_ROLE").is_ok_and(|role| role == "program")
        && std::env::var("CONVOKE_TEST_PROGRAM").is_ok_and(|does| does == "eat")
    {
        let mut eaten = Vec::new();
        loop {
            eaten.push(vec![1_u8; 4 << 20]);
        }
    }
    role::init();
}

/// Kills the tree also where the test fails.
struct KilledAtLast(ProcessId);

impl Drop for KilledAtLast {
    fn drop(&mut self) {
        let _ = kill_trees(&[self.0]);
    }
}

#[tokio::test]
async fn a_tree_that_forks_all_the_time_is_killed() {
    // It forks on and on, into sessions of their own: whoever kills one by one is too slow.
    let script = r#"trap "" TERM HUP INT; while :; do (sleep 0.02; setsid sleep 1000) & sleep 0.005; done"#;
    let mut root = Command::new("sh").args(["-c", script]).stdin(Stdio::null()).spawn().unwrap();
    let number = root.id() as i32;
    let id = ProcessId::of(root.id()).unwrap();
    let _at_last = KilledAtLast(id);
    let descendants = || Table::read().unwrap().descendants(&[number]);
    eventually("a crowd", || (descendants().len() > 40).then_some(())).await;
    let crowd: Vec<ProcessId> = descendants().iter().map(|entry| entry.id).collect();
    tokio::task::spawn_blocking(move || kill_trees(&[id])).await.unwrap().unwrap();
    assert!(crowd.iter().all(|process| !process.is_alive()));
    assert_eq!(std::os::unix::process::ExitStatusExt::signal(&root.wait().unwrap()), Some(9));
    kill_trees(&[id]).unwrap(); // what is gone is no error
}

#[tokio::test]
async fn the_kernel_ends_what_is_over_its_limit_and_the_account_says_so() {
    let name = format!("limit-{}", std::process::id());
    let limits = CgroupLimits { memory: Some(MiB(96)), ..CgroupLimits::default() };
    let group = match Cgroup::create(&name, &limits).unwrap() {
        Some(group) if group.keeps_memory() => group,
        _ => {
            eprintln!("skipped: this host lets us have no control group that limits memory");
            return;
        }
    };
    let assignment = v1::Assignment { memory_mib: 96, ..assignment() };
    let driver = ScriptedDriver::start(assignment, None).await;
    let variables =
        HashMap::from([("CONVOKE_TEST_PROGRAM", "eat".to_owned()), ("CONVOKE_CGROUPS", group.folders())]);
    let mut executor = Executor::start_with(driver.address, &variables);
    let (cause, message, _) = driver.ended().await;
    let exit = executor.exit_signal().await;
    let kills = group.memory_kills().unwrap();
    let left = group.processes();
    group.remove().unwrap();
    assert_eq!(cause, ExitCause::OutOfMemory { limit: MiB(96) }, "{message}");
    assert_eq!(exit, Some(9));
    assert!(kills > 0);
    assert_eq!(left, []);
}

#[tokio::test]
async fn a_dead_driver_leaves_no_control_group() {
    let name = format!("left-{}", std::process::id());
    let limits = CgroupLimits { memory: Some(MiB(512)), ..CgroupLimits::default() };
    let Some(group) = Cgroup::create(&name, &limits).unwrap() else {
        eprintln!("skipped: this host lets us have no control group");
        return;
    };
    let driver = ScriptedDriver::start(assignment(), None).await;
    let variables = HashMap::from([("CONVOKE_CGROUPS", group.folders())]);
    let mut executor = Executor::start_with(driver.address, &variables);
    driver.ready().await;
    executor.close_input();
    executor.exit().await;
    let folders = group.folders();
    let left: Vec<_> = folders.split(':').filter(|folder| std::fs::exists(folder).unwrap()).collect();
    group.remove().unwrap();
    assert_eq!(left, Vec::<&str>::new());
}
