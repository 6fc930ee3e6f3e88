//! Executors that are programs of the node: starting, ending, and what is told of both.

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::sync::Arc;
use std::time::Duration;

use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    Artifact, Blame, Constraint, Exit, ExitCause, LaunchCommand, LaunchFailure, Program, Provisioning,
    Reason, Source,
};
use convoke_core::secret::{Digest, Secret};
use support::{manager, name, open, shell, wanted};

const FOREVER: &str = "read ticket; while :; do sleep 1000; done";

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_starts_and_stops_with_all_that_it_started() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[2,2,1GiB]", folder.path(), &[("local.logs-kept", "0s")]);
    let script = "(sh -c 'sleep 1000') & setsid sh -c 'sleep 1000' & sleep 1000";
    let application = open(&manager, move |_| shell(script)).await;
    application.start([wanted(1, 1, 256), wanted(2, 1, 256)]).await;
    let grants = [application.seen.launched(1).await, application.seen.launched(2).await];
    let mut hosts: Vec<_> = grants.iter().map(|grant| grant.host.clone().unwrap().to_string()).collect();
    hosts.sort();
    assert_eq!(hosts, ["node-1", "node-2"]);
    assert_eq!(grants[0].native, format!("{}-1", application.id));
    support::eventually("all are there", || application.processes().len() >= 8).await;

    application.stop(1).await;
    assert_eq!(application.seen.exited(1).await.cause, ExitCause::Released);
    assert_eq!(application.seen.of(1).order, ["granted", "launched", "exited"]);
    assert!(application.seen.of(2).exits.is_empty());
    application.close().await;
    assert_eq!(application.seen.exited(2).await.cause, ExitCause::Unregistered);
    assert_eq!(application.processes(), [0; 0]);
    assert_eq!(support::cgroups_of(&application.id), [""; 0].map(std::path::PathBuf::from));
    let own = folder.path().join(application.id.as_str());
    assert!(own.exists());
    drop(application);
    support::eventually("its folder is gone", || !own.exists()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn exits_are_told_as_they_were() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[1,8,1GiB]", folder.path(), &[]);
    let application = open(&manager, |id| match id.0 {
        1 => shell("exit 0"),
        2 => shell("echo no luck >&2; exit 3"),
        3 => shell("kill -9 $$"),
        4 => shell("kill -SEGV $$"),
        _ => shell("setsid sleep 1000 > /dev/null 2>&1 < /dev/null & exit 4"),
    })
    .await;
    application.start((1..=5).map(|id| wanted(id, 1, 64))).await;
    let exit = application.seen.exited(1).await;
    assert_eq!((exit.cause, exit.blame), (ExitCause::Code(0), Blame::Application));
    let exit = application.seen.exited(2).await;
    assert_eq!(exit.cause, ExitCause::Code(3));
    assert_eq!(&exit.log_tail[..], b"no luck\n");
    assert_eq!(application.seen.exited(3).await.cause, ExitCause::Signal(9));
    assert_eq!(application.seen.exited(4).await.cause, ExitCause::Signal(11));
    // Its child closed all that it had from its parent, and left its session.
    assert_eq!(application.seen.exited(5).await.cause, ExitCause::Code(4));
    assert_eq!(application.processes(), [0; 0]);
    application.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_ignores_its_end_or_is_stopped_is_killed() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[1,8,1GiB]", folder.path(), &[]);
    let application = open(&manager, |id| match id.0 {
        1 => shell("trap '' TERM; while :; do sleep 1; done"),
        _ => shell("kill -STOP $$; sleep 1000"),
    })
    .await;
    application.start([wanted(1, 1, 64), wanted(2, 1, 64)]).await;
    application.seen.launched(1).await;
    application.seen.launched(2).await;
    application.stop(1).await;
    application.stop(2).await;
    assert_eq!(application.seen.exited(1).await.cause, ExitCause::Released);
    assert_eq!(application.seen.exited(2).await.cause, ExitCause::Released);
    assert_eq!(application.processes(), [0; 0]);
    application.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn arguments_environment_and_files_arrive_byte_for_byte() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[1,8,1GiB]", folder.path(), &[]);
    let odd = "a 'b' \"c\" $(d) \\ ü\n*";
    let tool = folder.path().join("tool source");
    let text =
        "#!/bin/sh\nprintf '%s|' \"$@\" \"$ODD\" \"${CONVOKE_ROLE}\" \"${FROM_DRIVER-unset}\"\npwd\nls\n";
    std::fs::write(&tool, text).unwrap();
    let artifact = Artifact {
        name: name("wörk tool's"),
        sha256: Digest::of(text.as_bytes()),
        bytes: text.len() as u64,
        executable: true,
        sources: vec![Source::DriverPath(tool.display().to_string())],
    };
    let application = open(&manager, move |_| {
        let mut command = LaunchCommand::new(Program::File(artifact.name.clone()), Secret::new(*b"t"));
        command.args = vec![odd.to_owned(), String::new()];
        command.env.insert("ODD".to_owned(), odd.to_owned());
        command.files = vec![artifact.clone()];
        command
    })
    .await;
    application.start([wanted(1, 1, 64)]).await;
    assert_eq!(application.seen.exited(1).await.cause, ExitCause::Code(0));
    let work = folder.path().join(application.id.as_str()).join("1/work");
    let expected = format!("{odd}||{odd}|guard|unset|{}\nwörk tool's\n", work.display());
    assert_eq!(read_logs(&*application.provisioning, 1).await, expected);
    assert!(!work.exists(), "its working directory goes when it ends");
    application.close().await;
}

async fn read_logs(provisioning: &dyn Provisioning, executor: u64) -> String {
    use convoke_core::manager::{LogFrom, LogRequest, LogStream};
    use futures_util::StreamExt;
    let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Start, follow: true };
    let mut chunks = provisioning.logs(ExecutorId(executor), request).await.unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap().bytes);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn launches_that_fail_say_why() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[1,16,2GiB]", folder.path(), &[]);
    let plain = folder.path().join("plain");
    std::fs::write(&plain, "not a program").unwrap();
    let foreign = folder.path().join("foreign");
    // The head of an executable of another processor.
    let mut elf = vec![0x7f, b'E', b'L', b'F', 2, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0xf3, 0, 1, 0, 0, 0];
    elf.resize(128, 0);
    std::fs::write(&foreign, elf).unwrap();
    let script = folder.path().join("script");
    std::fs::write(&script, "#!/no/such/interpreter\n").unwrap();
    for file in [&foreign, &script] {
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(file, std::fs::Permissions::from_mode(0o755)).unwrap();
    }
    let changed = Artifact {
        name: name("data"),
        sha256: Digest::of(b"something else"),
        bytes: 14,
        executable: false,
        sources: vec![Source::DriverPath(plain.display().to_string())],
    };
    let missing =
        Artifact { sources: vec![Source::DriverPath("/no/such/file".to_owned())], ..changed.clone() };
    let escaping = Artifact { name: name("../data"), ..changed.clone() };
    let on_node = |path: &std::path::Path| {
        LaunchCommand::new(Program::OnNode(path.display().to_string()), Secret::new(*b"t"))
    };
    let application = open(&manager, move |id| match id.0 {
        1 => on_node("/no/such/program".as_ref()),
        2 => on_node("no-such-program-in-any-path".as_ref()),
        3 => on_node(&plain),
        4 => on_node(&foreign),
        5 => on_node(&script),
        6..=8 => {
            let mut command = shell("exit 0");
            command.files = vec![[&changed, &missing, &escaping][id.0 as usize - 6].clone()];
            command
        }
        _ => panic!("the application's launcher is broken"),
    })
    .await;
    application.start((1..=9).map(|id| wanted(id, 1, 64))).await;
    let data = || LaunchFailure::ArtifactUnavailable(name("data"));
    for (id, failure, text) in [
        (1, LaunchFailure::NoSuchProgram, "/no/such/program"),
        (2, LaunchFailure::NoSuchProgram, "no-such-program-in-any-path"),
        (3, LaunchFailure::NotExecutable, "plain"),
        (4, LaunchFailure::WrongPlatform, "foreign"),
        (5, LaunchFailure::WrongPlatform, "interpreter"),
        (6, data(), "SHA-256"),
        (7, data(), "/no/such/file"),
        (8, LaunchFailure::ArtifactUnavailable(name("../data")), "leads out"),
        (9, LaunchFailure::Other, "preparing"),
    ] {
        let Exit { cause, message, .. } = application.seen.exited(id).await;
        assert_eq!(cause, ExitCause::LaunchFailed(failure), "{id}: {message}");
        assert!(message.contains(text), "{id}: {message}");
        assert!(!application.seen.of(id).launched);
    }
    application.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn waiting_executors_are_placed_when_there_is_room() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[2,1,1GiB]", folder.path(), &[("local.devices", "gpu=1")]);
    let application = open(&manager, |_| shell(FOREVER)).await;
    assert!(application.capabilities.devices);
    let mut with_gpu = wanted(1, 1, 256);
    Arc::make_mut(&mut with_gpu.profile).each.named.insert(name("gpu"), 1);
    let mut bound = wanted(2, 1, 256);
    bound.placement.required =
        vec![Constraint::Equals { attribute: name("host"), value: "node-2".to_owned() }];
    application.start([with_gpu, bound.clone()]).await;
    let grant = application.seen.launched(1).await;
    assert_eq!(grant.devices[&name("gpu")], ["0"]);
    assert_eq!(application.seen.launched(2).await.host, Some(name("node-2")));

    let waits = wanted(3, 1, 256);
    let two = wanted(4, 2, 256);
    application.start([waits.clone(), two.clone()]).await;
    let reasons = application.provisioning.explain(Some(&waits)).await.unwrap();
    assert!(
        matches!(&reasons[..], [Reason::NothingFreeNow { needed: 1000, largest_free: 0, .. }]),
        "{reasons:?}"
    );
    let reasons = application.provisioning.explain(Some(&two)).await.unwrap();
    assert!(
        matches!(&reasons[..], [Reason::NoNodeLargeEnough { needed: 2000, largest_total: 1000, .. }]),
        "{reasons:?}"
    );
    // Excluded from where room appears.
    let mut away = wanted(5, 1, 256);
    away.excluded = Arc::from([name("node-1")]);
    application.start([away.clone()]).await;
    application.stop(4).await; // wanted no more, never granted: nothing is told
    application.stop(1).await;
    application.seen.exited(1).await;
    assert_eq!(application.seen.launched(3).await.host, Some(name("node-1")));
    application.stop(3).await;
    application.seen.exited(3).await;
    let reasons = loop {
        // Its place is free a moment after its exit was told.
        let reasons = application.provisioning.explain(Some(&away)).await.unwrap();
        if matches!(reasons[0], Reason::Excluded(_)) {
            break reasons;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    };
    assert!(
        matches!(&reasons[..], [Reason::Excluded(hosts), ..] if *hosts == [name("node-1")]),
        "{reasons:?}"
    );
    assert!(application.seen.of(5).grant.is_none());
    application.stop(2).await;
    assert_eq!(application.seen.launched(5).await.host, Some(name("node-2")));
    application.close().await;
    assert!(application.seen.of(4).order.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_that_dies_takes_its_executors_along() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[2,1,1GiB]", folder.path(), &[]);
    let application = open(&manager, |_| shell(FOREVER)).await;
    application.start([wanted(1, 1, 256), wanted(2, 1, 256)]).await;
    assert_eq!(application.seen.launched(1).await.host, Some(name("node-1")));
    application.seen.launched(2).await;
    manager.kill_node("node-1").unwrap();
    let exit = application.seen.exited(1).await;
    assert_eq!((exit.cause, exit.blame), (ExitCause::NodeLost, Blame::Infrastructure));
    application.start([wanted(3, 1, 256)]).await;
    assert!(application.seen.of(3).grant.is_none());
    manager.return_node("node-1").unwrap();
    assert_eq!(application.seen.launched(3).await.host, Some(name("node-1")));
    assert!(manager.kill_node("node-9").is_err());
    application.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn local_runs_one_executor_and_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local[3]", folder.path(), &[]);
    let application = open(&manager, |_| shell(FOREVER)).await;
    application.start([wanted(1, 1, 256), wanted(2, 1, 256)]).await;
    let grant = application.seen.launched(1).await;
    assert_eq!(grant.actual.cpus.millis(), 3000, "it gets all slots");
    let reasons = application.provisioning.explain(Some(&wanted(2, 1, 256))).await.unwrap();
    assert!(reasons[0].to_string().contains("local-cluster"), "{reasons:?}");
    application.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_kernel_ends_what_needs_too_much_memory() {
    let folder = tempfile::tempdir().unwrap();
    let manager = manager("local-cluster[1,2,1GiB]", folder.path(), &[]);
    // Two processes of 40 MB each: neither is over the limit alone.
    let eats = "awk 'BEGIN { s = \"x\"; while (length(s) < 40000000) s = s s; while (1) ; }'";
    let script = format!("{eats} & {eats} & wait; exit 9");
    let application = open(&manager, move |_| shell(&script)).await;
    application.start([wanted(1, 1, 64)]).await;
    application.seen.launched(1).await;
    if support::cgroups_of(&application.id).is_empty() {
        eprintln!("skipped: this host lets us have no control group");
    } else {
        let exit = application.seen.exited(1).await;
        assert!(matches!(exit.cause, ExitCause::OutOfMemory { limit } if limit.0 == 64), "{exit}");
        assert_eq!(exit.blame, Blame::Application);
        assert_eq!(application.processes(), [0; 0]);
    }
    application.close().await;
    assert!(support::cgroups_of(&application.id).is_empty());
}
