//! The README's main job on a real Mesos: the agents fetch it from its driver, one of them dies meanwhile, and every word is
//! counted all the same.
#![cfg(all(feature = "mesos", target_arch = "x86_64", target_os = "linux"))]
#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    unreachable_pub,
    reason = "all of it is test code; helpers outside a test function too"
)]

#[allow(dead_code, reason = "the backend's own tests use the rest of it")]
#[path = "../backend-mesos/tests/real/cluster.rs"]
mod cluster;
#[allow(dead_code, reason = "the tests of the local word count use the rest of it")]
mod processes;

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::process::{Command, Stdio};
use std::time::Duration;

use cluster::Cluster;
use processes::Job;

#[test]
fn an_agent_that_dies_costs_no_word() {
    let folder = tempfile::tempdir().unwrap();
    let (mut text, mut expected, mut seed) = (String::new(), BTreeMap::<String, u64>::new(), 1_u64);
    while text.len() < 24 << 20 {
        seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let word = ["Straße", "the", "THE", "漢字"][(seed >> 62) as usize].to_owned()
            + &((seed >> 40) % 97).to_string();
        *expected.entry(word.to_lowercase()).or_default() += 1;
        write!(text, "{word}{}", if seed & 4096 == 0 { '\n' } else { ' ' }).unwrap();
    }
    std::fs::write(folder.path().join("text"), text).unwrap();
    let cluster = Cluster::start(2);
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples/word_count");
    let mut command = Command::new(&program);
    command
        .args(["--json", "--executors", "2", "--master", &format!("mesos://{}", cluster.address)])
        .arg(folder.path())
        .env_remove("CONVOKE_MASTER")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    let mut job = Job::start(&mut command);
    let ran = |cluster: &Cluster| cluster.frameworks().values().sum::<usize>();
    processes::wait_until("both agents have an executor", || job.has_ended() || ran(&cluster) == 2);
    std::thread::sleep(Duration::from_millis(1500)); // into the middle of the counting, more or less
    let counting = !job.has_ended();
    cluster.kill_node(1);
    let output = job.finish(Duration::from_secs(180));
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    let mut printed: BTreeMap<String, BTreeMap<String, u64>> =
        serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed.remove("counts").unwrap(), expected, "{said}");
    assert!(counting, "it had ended before the agent was killed: {said}");
    assert!(cluster.frameworks().is_empty(), "nothing is left");
}
