//! What the backend itself answers for.

use super::*;
use convoke_core::ErrorKind;
use convoke_core::manager::{
    Blame, EndedBy, ExitCause, LaunchFailure, LogFrom, LogRequest, LogStream, Outcome, Reason,
};
use futures_util::StreamExt;
use recorder::Said;

#[tokio::test]
async fn executors_start_stop_and_leave_nothing() {
    let cluster = Cluster::start(2);
    let (said, opened) = open(&cluster, spec("life", 30, &SLEEP)).await;
    let framework = opened.native.clone();
    assert!(opened.page.unwrap().contains(&framework));
    let provisioning = opened.provisioning;
    assert!(provisioning.explain(None).await.unwrap().is_empty());
    provisioning.start((1..=4).map(|id| wanted(id, 1000, 128)).collect()).await.unwrap();
    provisioning.start(vec![wanted(1, 1000, 128)]).await.unwrap();
    for id in 1..=4 {
        said.launched(id).await;
    }
    assert_eq!(cluster.frameworks()[&framework], 4);
    let hosts: std::collections::BTreeSet<_> = said
        .all()
        .into_iter()
        .filter_map(|it| if let Said::Granted(_, host) = it { Some(host) } else { None })
        .collect();
    assert_eq!(hosts.len(), 2, "spread over both agents: {hosts:?}");
    provisioning.stop(vec![ExecutorId(1), ExecutorId(99)]).await.unwrap();
    assert_eq!(said.cause(1).await, ExitCause::Released);
    assert_eq!(said.cause(99).await, ExitCause::Withdrawn, "one that never was");
    // an id that has exited stays so: Mesos itself would run it again
    provisioning.start(vec![wanted(1, 1000, 128), wanted(5, 1000, 128)]).await.unwrap();
    said.launched(5).await;
    assert_eq!(said.all().iter().filter(|it| matches!(it, Said::Launched(ExecutorId(1)))).count(), 1);
    provisioning.close(Outcome::Succeeded, Duration::from_secs(15)).await.unwrap();
    provisioning.close(Outcome::Succeeded, Duration::from_secs(1)).await.unwrap();
    assert!(!cluster.frameworks().contains_key(&framework));
}

#[tokio::test]
async fn an_exit_tells_its_true_cause() {
    let cluster = Cluster::start(1);
    for (argv, cause, blame) in [
        (vec!["/bin/sh", "-c", "exit 3"], ExitCause::Code(3), Blame::Application),
        (vec!["/bin/true"], ExitCause::Code(0), Blame::Application),
        (vec!["/bin/sh", "-c", "kill -SEGV $$"], ExitCause::Signal(11), Blame::Application),
        (vec!["/bin/sh", "-c", "kill -9 $$"], ExitCause::Signal(9), Blame::Unknown),
    ] {
        let (said, opened) = open(&cluster, spec("exits", 30, &argv)).await;
        opened.provisioning.start(vec![wanted(1, 100, 32)]).await.unwrap();
        let exit = said.exited(1).await;
        assert_eq!((exit.cause, exit.blame), (cause, blame), "{argv:?}: {}", exit.message);
        opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(10)).await.unwrap();
    }
}

/// A file that its agent can't fetch, and one that isn't what was announced.
#[tokio::test]
async fn a_file_that_is_missing_or_wrong_never_runs() {
    #[derive(Debug)]
    struct Bootstrap;
    impl Launcher for Bootstrap {
        fn launch(&self, _: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
            LaunchCommand::new(Program::Bootstrap, Secret::new([7; 16]))
        }
    }
    use convoke_core::manager::{Artifact, Bootstrap as Builds, Platform, Source};
    use convoke_core::secret::Digest;
    let cluster = Cluster::start(1);
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("program");
    std::fs::write(&program, "#!/bin/sh\nexit 5\n").unwrap();
    std::fs::set_permissions(&program, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
    let path = |path: &std::path::Path| Source::NodePath(path.to_str().unwrap().to_owned());
    let run = async |source: Source, content: &[u8]| {
        let artifact = Artifact {
            name: Name::new("program").unwrap(),
            sha256: Digest::of(content),
            bytes: content.len() as u64,
            executable: true,
            sources: vec![source],
        };
        let name = Name::new("fetch").unwrap();
        let id = ApplicationId::generate(&name).unwrap();
        let spec = ApplicationSpec::builder(id, name, Arc::new(Bootstrap))
            .bootstrap(Builds { builds: vec![(Platform::current(), artifact)] })
            .build()
            .unwrap();
        let (said, opened) = open(&cluster, spec).await;
        opened.provisioning.start(vec![wanted(1, 100, 32)]).await.unwrap();
        let exit = said.exited(1).await;
        opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(10)).await.unwrap();
        exit
    };
    let right = run(path(&program), b"#!/bin/sh\nexit 5\n").await;
    assert_eq!(right.cause, ExitCause::Code(5), "{}", right.message);
    let unavailable = |exit: &convoke_core::manager::Exit| {
        matches!(exit.cause, ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(_)))
    };
    let wrong = run(path(&program), b"something else").await;
    assert!(unavailable(&wrong) && wrong.message.contains("not what was sent"), "{wrong:?}");
    let missing = run(path(&folder.path().join("gone")), b"").await;
    assert!(unavailable(&missing) && missing.message.contains("can't be read"), "{missing:?}");
    let unfetched = run(Source::Url("http://127.0.0.1:1/gone".to_owned()), b"").await;
    assert!(unavailable(&unfetched), "{unfetched:?}");
}

#[tokio::test]
async fn what_cannot_be_met_is_explained_with_true_numbers_and_goes_on_by_itself() {
    let cluster = Cluster::start(2);
    let (said, opened) = open(&cluster, spec("demand", 30, &SLEEP)).await;
    let provisioning = opened.provisioning;
    provisioning
        .start(vec![wanted(1, 3000, 128), wanted(2, 3000, 128), wanted(3, 3000, 128), wanted(4, 9000, 128)])
        .await
        .unwrap();
    said.launched(1).await;
    said.launched(2).await;
    let reasons = provisioning.explain(Some(&wanted(3, 3000, 128))).await.unwrap();
    let [Reason::NothingFreeNow { resource, needed: 3000, largest_free: 1000 }] = &reasons[..] else {
        panic!("{reasons:?}")
    };
    assert_eq!(resource.as_str(), "cpus");
    let reasons = provisioning.explain(Some(&wanted(4, 9000, 128))).await.unwrap();
    assert!(
        matches!(&reasons[..], [Reason::NoNodeLargeEnough { needed: 9000, largest_total: 4000, .. }]),
        "{reasons:?}"
    );
    let host = Name::new("127.0.0.2").unwrap();
    let both: Arc<[Name]> = Arc::from([host, Name::new("127.0.0.3").unwrap()]);
    let reasons = provisioning.explain(Some(&Wanted { excluded: both, ..wanted(5, 100, 32) })).await.unwrap();
    assert!(matches!(&reasons[..], [Reason::Excluded(hosts)] if hosts.len() == 2), "{reasons:?}");
    provisioning.stop(vec![ExecutorId(1), ExecutorId(4)]).await.unwrap();
    assert_eq!(said.cause(4).await, ExitCause::Withdrawn);
    said.launched(3).await;
    provisioning.close(Outcome::Succeeded, Duration::from_secs(15)).await.unwrap();
}

#[tokio::test]
async fn logs_are_read_live_and_after_the_end() {
    let cluster = Cluster::start(1);
    let script =
        "echo first; printf '\\377\\n'; echo second >&2; while [ ! -e go ]; do sleep 0.05; done; echo last";
    let (said, opened) = open(&cluster, spec("logs", 30, &["/bin/sh", "-c", script])).await;
    opened.provisioning.start(vec![wanted(1, 100, 32)]).await.unwrap();
    said.launched(1).await;
    let read = async |stream, follow| {
        let request = LogRequest { stream, from: LogFrom::Start, follow };
        let chunks: Vec<_> = opened.provisioning.logs(ExecutorId(1), request).await.unwrap().collect().await;
        chunks.into_iter().flat_map(|chunk| chunk.unwrap().bytes.to_vec()).collect::<Vec<u8>>()
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(10);
    while !read(LogStream::Stdout, false).await.windows(7).any(|part| part == b"first\n\xff") {
        assert!(tokio::time::Instant::now() < until, "the first lines are not there");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Last(2), follow: true };
    let following = opened.provisioning.logs(ExecutorId(1), request).await.unwrap();
    cluster.touch_in_sandbox("go");
    let chunks: Vec<_> = following.collect().await;
    let bytes: Vec<u8> = chunks.into_iter().flat_map(|chunk| chunk.unwrap().bytes.to_vec()).collect();
    assert!(
        bytes.ends_with(b"last\n") && bytes.starts_with(b"\xff\n"),
        "{:?}",
        String::from_utf8_lossy(&bytes)
    );
    said.exited(1).await;
    let stderr = String::from_utf8_lossy(&read(LogStream::Stderr, false).await).into_owned();
    assert!(stderr.contains("second"), "{stderr}");
    let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Start, follow: false };
    let unknown = opened.provisioning.logs(ExecutorId(7), request).await.err().unwrap();
    assert_eq!(unknown.kind(), ErrorKind::NotFound);
    opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn a_refusal_is_told_in_the_masters_words_and_leaves_nothing() {
    let cluster = Cluster::with(1, &["--master-flag", "roles=analytics"]);
    let name = Name::new("refused").unwrap();
    let id = ApplicationId::generate(&name).unwrap();
    let spec = ApplicationSpec::builder(id, name.clone(), Arc::new(Runs(vec!["/bin/true".into()])))
        .queue(Some(Name::new("nobody").unwrap()))
        .build()
        .unwrap();
    let error = mesos(&cluster).open(Arc::new(spec), Arc::new(Recorder::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Rejected, "{error}");
    assert!(error.message().contains("role"), "{error}");
    assert!(cluster.frameworks().is_empty());
    let short = super::spec("short", 3, &SLEEP);
    let error = mesos(&cluster).open(Arc::new(short), Arc::new(Recorder::default())).await.unwrap_err();
    assert_eq!(error.field(), Some("lease"));
    let nobody = Mesos::new(Settings::new(vec!["127.0.0.1:1".parse().unwrap()])).unwrap();
    let error =
        nobody.open(Arc::new(super::spec("x", 30, &SLEEP)), Arc::new(Recorder::default())).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
}

/// The credentials of one principal, and what makes a master want them.
pub(super) fn credentials() -> (tempfile::NamedTempFile, Vec<String>) {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), r#"{"credentials":[{"principal":"me","secret":"hunter2"}]}"#).unwrap();
    let credentials = format!("credentials={}", file.path().display());
    let flags = ["authenticate_http_frameworks=true", "http_framework_authenticators=basic", &credentials];
    let arguments = flags.iter().flat_map(|flag| ["--master-flag".to_owned(), (*flag).to_owned()]);
    (file, arguments.collect())
}

#[tokio::test]
async fn authentication_is_by_principal_and_secret() {
    let (_file, arguments) = credentials();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cluster = Cluster::with(1, &arguments);
    let error = mesos(&cluster)
        .open(Arc::new(spec("stranger", 30, &SLEEP)), Arc::new(Recorder::default()))
        .await
        .unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unauthenticated);
    let mut settings = Settings::new(vec![cluster.address.parse().unwrap()]);
    (settings.principal, settings.secret) = (Some("me".into()), Some(Secret::new(*b"hunter2")));
    let said = Arc::new(Recorder::default());
    let opened =
        Mesos::new(settings).unwrap().open(Arc::new(spec("me", 30, &SLEEP)), said.clone()).await.unwrap();
    opened.provisioning.start(vec![wanted(1, 100, 32)]).await.unwrap();
    said.launched(1).await;
    opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(10)).await.unwrap();
}

#[tokio::test]
async fn a_master_that_is_killed_and_started_costs_no_executor() {
    let cluster = Cluster::start(2);
    let (said, opened) = open(&cluster, spec("master", 60, &SLEEP)).await;
    let provisioning = opened.provisioning;
    provisioning.start(vec![wanted(1, 1000, 128), wanted(2, 1000, 128)]).await.unwrap();
    said.launched(1).await;
    said.launched(2).await;
    cluster.control("master kill");
    said.until("an outage", 10, |all| all.iter().any(|it| matches!(it, Said::Manager(false))).then_some(()))
        .await;
    provisioning.start(vec![wanted(3, 500, 64)]).await.unwrap();
    assert!(provisioning.stop(vec![ExecutorId(1)]).await.is_err());
    assert!(matches!(provisioning.explain(None).await.unwrap()[..], [Reason::ManagerUnreachable]));
    cluster.control("master start");
    said.until("its end", 30, |all| all.iter().any(|it| matches!(it, Said::Manager(true))).then_some(()))
        .await;
    said.launched(3).await;
    // Mesos answers 202 to a KILL that it drops while agents are coming back: whoever wants it gone says so again
    let until = tokio::time::Instant::now() + Duration::from_secs(30);
    while !said.all().iter().any(|it| matches!(it, Said::Exited(ExecutorId(1), _))) {
        assert!(tokio::time::Instant::now() < until, "{:#?}", said.all());
        let _ = provisioning.stop(vec![ExecutorId(1)]).await;
        tokio::time::sleep(Duration::from_millis(500)).await;
    }
    assert_eq!(said.cause(1).await, ExitCause::Released);
    assert!(
        !said.all().iter().any(|it| matches!(it, Said::Exited(ExecutorId(2 | 3), _))),
        "{:#?}",
        said.all()
    );
    provisioning.close(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn a_frozen_agent_is_unreachable_and_what_was_stopped_meanwhile_ends_when_it_is_back() {
    let cluster = Cluster::start(2);
    let (said, opened) = open(&cluster, spec("frozen", 60, &SLEEP)).await;
    let provisioning = opened.provisioning;
    provisioning.start(vec![wanted(1, 3000, 128), wanted(2, 3000, 128)]).await.unwrap();
    said.launched(1).await;
    said.launched(2).await;
    let host = |id| {
        said.all()
            .into_iter()
            .find_map(|it| match it {
                Said::Granted(executor, host) if executor == ExecutorId(id) => Some(host),
                _ => None,
            })
            .unwrap()
    };
    let frozen = Cluster::agent_of(&host(1));
    cluster.control(&format!("agent {frozen} pause"));
    let reachable = |yes| {
        move |all: &[Said]| {
            all.iter().any(|it| matches!(it, Said::Reachable(ExecutorId(1), is) if *is == yes)).then_some(())
        }
    };
    said.until("unreachable", 20, reachable(false)).await;
    provisioning.stop(vec![ExecutorId(1)]).await.unwrap();
    tokio::time::sleep(Duration::from_secs(1)).await;
    assert!(!said.all().iter().any(|it| matches!(it, Said::Exited(..))), "out of sight is no exit");
    cluster.control(&format!("agent {frozen} resume"));
    assert_eq!(said.cause(1).await, ExitCause::Released);
    provisioning.close(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn an_agent_that_is_killed_and_started_keeps_its_executors() {
    let cluster = Cluster::start(1);
    let (said, opened) = open(&cluster, spec("agent", 60, &SLEEP)).await;
    let provisioning = opened.provisioning;
    provisioning.start(vec![wanted(1, 1000, 128)]).await.unwrap();
    said.launched(1).await;
    cluster.control("agent 0 restart");
    // it is back when it can start another one
    provisioning.start(vec![wanted(2, 1000, 128)]).await.unwrap();
    said.launched(2).await;
    assert!(!said.all().iter().any(|it| matches!(it, Said::Exited(..))), "{:#?}", said.all());
    provisioning.close(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn what_a_drain_ends_is_told_as_drained() {
    let cluster = Cluster::start(2);
    let (said, opened) = open(&cluster, spec("drain", 30, &SLEEP)).await;
    opened.provisioning.start(vec![wanted(1, 100, 32)]).await.unwrap();
    said.launched(1).await;
    let state = cluster.state();
    cluster.drain(state["frameworks"][0]["tasks"][0]["slave_id"].as_str().unwrap());
    assert_eq!(said.cause(1).await, ExitCause::NodeDrained);
    let told = |it: &Said| matches!(it, Said::Draining(ids) if ids[..] == [ExecutorId(1)]);
    assert!(said.all().iter().any(told), "{:#?}", said.all());
    opened.provisioning.start(vec![wanted(2, 100, 32)]).await.unwrap();
    said.launched(2).await;
    opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(15)).await.unwrap();
}

#[tokio::test]
async fn an_operators_teardown_is_told_as_the_end() {
    let cluster = Cluster::start(1);
    let (said, opened) = open(&cluster, spec("operator", 30, &SLEEP)).await;
    opened.provisioning.start(vec![wanted(1, 100, 32)]).await.unwrap();
    said.launched(1).await;
    cluster.teardown(&opened.native);
    let by = |said: &Said| if let Said::Ended(by) = said { Some(by.clone()) } else { None };
    let by = said.until("the end", 15, |all| all.iter().find_map(by)).await;
    assert!(matches!(by, EndedBy::Manager(_) | EndedBy::Operator(_)), "{by:?}");
    opened.provisioning.close(Outcome::Killed, Duration::from_secs(1)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_open_anywhere_leaves_no_framework_that_is_alive() {
    let cluster = Cluster::start(1);
    let manager = mesos(&cluster);
    for step in 0..60_u64 {
        let open = manager.open(Arc::new(spec("dropped", 25, &SLEEP)), Arc::new(Recorder::default()));
        let _ = tokio::time::timeout(Duration::from_micros(step * 100), open)
            .await
            .map(|opened| opened.map(|opened| opened.native));
    }
    // torn down at once, or given up by its connection and gone after the lease
    let active = || {
        let state = cluster.state();
        let all = state["frameworks"].as_array().unwrap();
        all.iter().filter(|it| it["active"] == true).count()
    };
    eventually("no active framework", 15, || active() == 0).await;
}
