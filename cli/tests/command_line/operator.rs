//! `status`, `logs` and `kill`, from another process than the driver's.

use std::io::Read;
use std::process::Stdio;

use crate::support::{Place, end_of, processes_with, stderr, stdout, wait_until};

#[test]
fn a_running_application_is_seen_followed_and_ended() {
    let place = Place::new();
    let job = place.submit(&["--executors", "2", "--progress", "plain"], 10_000, 20).spawn().unwrap();
    let id = place.until_running(2);
    let seen = stdout(&place.run(&["status"]));
    assert!(seen.contains(&id) && seen.contains("running") && seen.contains("process "), "{seen}");
    let seen = stdout(&place.run(&["status", "squares"]));
    assert!(seen.contains("node-2") && seen.contains("cpus=1,memory=256MiB"), "{seen}");

    let mut follower = place
        .convoke(&["logs", &id, "--follow"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut first = [0; 64];
    follower.stdout.as_mut().unwrap().read_exact(&mut first).unwrap();
    assert!(String::from_utf8_lossy(&first).contains("out] squaring "), "{first:?}");

    // Drained, so that it isn't held up by a full pipe while its end is awaited.
    let mut out = follower.stdout.take().unwrap();
    let reader = std::thread::spawn(move || {
        let mut rest = Vec::new();
        out.read_to_end(&mut rest).unwrap();
        rest
    });
    let killed = place.run(&["kill", "squares"]);
    assert_eq!(killed.status.code(), Some(0), "{}", stderr(&killed));
    assert!(stdout(&killed).contains(&id));
    assert_eq!(processes_with(&format!("CONVOKE_APPLICATION={id}")), 0);
    assert_eq!(end_of(follower).status.code(), Some(0), "following ends with the application");
    assert!(!reader.join().unwrap().is_empty());

    // The driver is told, and it is its program that ends, with a code of its own.
    let ended = end_of(job);
    assert_eq!(ended.status.code(), Some(1), "{}", stderr(&ended));
    assert!(stderr(&ended).contains("convoke: the application was ended by "), "{}", stderr(&ended));
    assert!(!stderr(&ended).contains("out of reach"), "{}", stderr(&ended));
    let status = place.status().unwrap();
    assert_eq!((&status["state"], &status["executors"][0]["state"]), (&"killed".into(), &"ended".into()));
    let again = place.run(&["kill", &id]);
    assert!(again.status.success() && stdout(&again).contains("already"), "{}", stdout(&again));
}

#[test]
fn logs_are_read_after_the_end_by_stream_and_by_the_last_lines() {
    let place = Place::new();
    let done = place.submit(&["--executors", "1", "--progress", "none"], 20, 1).output().unwrap();
    assert_eq!((done.status.code(), stdout(&done).as_str(), stderr(&done).as_str()), (Some(0), "2870\n", ""));
    let all = place.run(&["logs", "squares", "--executor", "1", "--stdout"]);
    let expected: String = (1..=20).map(|number| format!("squaring {number}\n")).collect();
    assert_eq!(stdout(&all), expected, "{}", stderr(&all));
    let last = place.run(&["logs", "--stdout", "--tail", "2"]);
    assert_eq!(stdout(&last), "[1 out] squaring 19\n[1 out] squaring 20\n");
    assert!(stderr(&last).contains("logs of squares-"), "{}", stderr(&last));
    let followed = place.run(&["logs", "squares", "--executor", "1", "--stdout", "--tail", "1", "--follow"]);
    assert_eq!(stdout(&followed), "squaring 20\n");
    let wrong = place.run(&["logs", "squares", "--executor", "7"]);
    assert!(wrong.status.code() == Some(1) && stderr(&wrong).contains("it has: 1"), "{}", stderr(&wrong));
    assert!(stdout(&place.run(&["status"])).contains("One has ended: convoke status --all"));
}

#[test]
fn who_is_killed_without_a_word_is_seen_so_and_leaves_its_logs() {
    let place = Place::new();
    let mut job = place.submit(&["--executors", "1", "--progress", "none"], 10_000, 20).spawn().unwrap();
    let id = place.until_running(1);
    let printed = || stdout(&place.run(&["logs", &id, "--stdout"])).contains("squaring 1");
    wait_until("it has printed", printed);
    let driver = place.status().unwrap()["driver_process"].as_u64().unwrap();
    let driver = rustix::process::Pid::from_raw(i32::try_from(driver).unwrap()).unwrap();
    rustix::process::kill_process(driver, rustix::process::Signal::KILL).unwrap();
    assert_eq!(job.wait().unwrap().code(), Some(137));
    assert_eq!(processes_with(&format!("CONVOKE_APPLICATION={id}")), 0);
    assert_eq!(place.status().unwrap()["state"], "ended");
    assert!(printed());
    // What it left is swept by whoever ends it.
    assert!(place.run(&["kill", &id]).status.success());
    assert!(printed());
}

#[test]
fn nothing_to_see_is_said() {
    let place = Place::new();
    let seen = place.run(&["status"]);
    assert_eq!((seen.status.code(), stdout(&seen).as_str()), (Some(0), "No application runs at local.\n"));
    assert_eq!(stdout(&place.run(&["status", "--json"])), "[]\n");
    for (arguments, words) in [
        (&["logs"][..], "no application whose logs"),
        (&["kill"], "no application runs"),
        (&["status", "word-count"], "no application is called so"),
    ] {
        let output = place.run(arguments);
        assert!(output.status.code() == Some(1) && stderr(&output).contains(words), "{}", stderr(&output));
        assert!(stderr(&output).contains("  help: "), "{}", stderr(&output));
    }
}
