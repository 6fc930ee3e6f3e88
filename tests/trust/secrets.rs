//! No ticket and no key lies where others can read it, at any moment of an application (E3).

use convoke::ids::ExecutorId;
use convoke::manager::{ClusterManager as _, SecretChannel, Then};
use convoke_conformance::scan::{Places, Secrets, Watch};
use rustix::process::Signal;

use super::job::{RunningJob, SOON, driver_in, shutdown};
use super::stranger::Found;

#[test]
fn no_ticket_and_no_key_is_seen_while_a_job_runs_and_executors_come_and_go() {
    // All that the backend writes, it writes below this folder.
    let folder = tempfile::tempdir().unwrap();
    let below = folder.path().join("convoke");
    let watch = Watch::start(Places::new().processes().readable_files(&below).logs(&below));
    let (driver, manager) = driver_in(Some(&below));
    assert_eq!(manager.describe().capabilities.secret_channel, SecretChannel::Inherited);
    let job = RunningJob::start(&driver);
    job.goes_on();
    // Executors that are killed, drained, added and replaced while it watches.
    let first = driver.executors()[0].clone();
    let supervisor = convoke::process::table::ProcessId::of(first.process.unwrap()).unwrap();
    supervisor.signal(Signal::KILL).unwrap();
    driver.set_executors(3).unwrap();
    job.goes_on();
    convoke::block_on(driver.wait_ready(3, SOON)).unwrap();
    let last = driver.executors().last().unwrap().executor;
    convoke::block_on(driver.drain(vec![last], SOON, Then::Replace)).unwrap();
    // A stranger with a ticket leaves no trace of it either.
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let replayed = Found::of(&manager.launched()[&first.executor]);
    runtime.block_on(replayed.join()).expect_err("it is refused");
    job.goes_on();
    job.finish();
    let executors = manager.launched();
    shutdown(driver);
    let seen = watch.finish();

    let mut secrets = Secrets::new().private_keys();
    for (executor, command) in &executors {
        secrets = secrets.secret(format!("the ticket of executor {executor}"), command.ticket.expose());
    }
    let leaks = seen.leaks(&secrets);
    assert!(leaks.is_empty(), "{}", leaks.iter().map(|leak| format!("{leak}\n")).collect::<String>());
    // It has looked: at each role of our executors, and at their logs.
    let application = |role: &str| seen.processes_with(&format!("CONVOKE_ROLE={role}"));
    for role in ["guard", "supervisor", "program"] {
        assert!(application(role) >= 2, "{role}: {}", application(role));
    }
    assert!(executors.len() >= 4, "{executors:?}");
    assert!(seen.files() > 0, "{seen:?}");
    assert!(!executors.contains_key(&ExecutorId(4_000)));
}
