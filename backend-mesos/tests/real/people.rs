//! What people ask: why not, what is wrong, what runs, what it printed.

use super::*;
use convoke_core::manager::{
    ApplicationState, ExecutorState, Finding, LimitScope, LogFrom, LogRequest, LogStream, Outcome, Reason,
    Verdict,
};
use futures_util::StreamExt;

fn with_role(cluster: &Cluster, role: &str) -> Mesos {
    let mut settings = Settings::new(vec![cluster.address.parse().unwrap()]);
    settings.role = role.to_owned();
    Mesos::new(settings).unwrap()
}

fn finding<'a>(findings: &'a [Finding], what: &str) -> &'a Finding {
    findings.iter().find(|it| it.what == what).unwrap_or_else(|| panic!("{what}: {findings:#?}"))
}

#[tokio::test]
async fn a_quota_is_explained_and_diagnosed_with_its_numbers() {
    let cluster = Cluster::start(1);
    cluster.quota("team", &[("cpus", 2.0)]);
    let mesos = with_role(&cluster, "team");
    let said = Arc::new(Recorder::default());
    let opened = mesos.open(Arc::new(spec("quota", 30, &SLEEP)), said.clone()).await.unwrap();
    opened.provisioning.start(vec![wanted(1, 2000, 64), wanted(2, 1000, 64)]).await.unwrap();
    said.launched(1).await;
    let reasons = opened.provisioning.explain(Some(&wanted(2, 1000, 64))).await.unwrap();
    let is_limit = |it: &Reason| matches!(it, Reason::Limit { scope: LimitScope::Role, name, limit: 2000, used: 2000 } if name.as_str() == "cpus of role team");
    assert!(reasons.iter().any(is_limit), "{reasons:?}");
    let findings = mesos.diagnose().await;
    let role = finding(&findings, "mesos role");
    assert_eq!(role.verdict, Verdict::Wrong, "{role:?}");
    assert!(role.seen.contains("2 of 2"), "{role:?}");
    opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(15)).await.unwrap();
    // another role has none, while somebody's is set
    let findings = with_role(&cluster, "others").diagnose().await;
    assert!(finding(&findings, "mesos role").seen.contains("others"), "{findings:#?}");
}

#[tokio::test]
async fn a_healthy_cluster_is_found_well_and_an_empty_or_closed_one_not() {
    let cluster = Cluster::start(1);
    let findings = mesos(&cluster).diagnose().await;
    assert!(findings.iter().all(|it| it.verdict == Verdict::Well), "{findings:#?}");
    let way = finding(&findings, "way from an agent to this machine");
    assert!(way.seen.contains("fetched"), "{way:?}");
    cluster.control("agent 0 shutdown");
    eventually("no agent", 15, || cluster.state()["slaves"].as_array().is_some_and(|all| all.is_empty()))
        .await;
    let findings = mesos(&cluster).diagnose().await;
    let agents = finding(&findings, "mesos agents");
    assert!(agents.verdict == Verdict::Wrong && agents.advice.is_some(), "{agents:?}");
    cluster.control("master kill");
    let findings = mesos(&cluster).diagnose().await;
    assert_eq!(finding(&findings, "mesos master").verdict, Verdict::Wrong, "{findings:#?}");
}

#[tokio::test]
async fn wrong_credentials_are_found() {
    let (_file, arguments) = super::provisioner::credentials();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let cluster = Cluster::with(1, &arguments);
    let findings = mesos(&cluster).diagnose().await;
    let found = finding(&findings, "mesos credentials");
    assert!(
        found.verdict == Verdict::Wrong && found.advice.as_ref().unwrap().contains("mesos.principal"),
        "{found:?}"
    );
    let mut settings = Settings::new(vec![cluster.address.parse().unwrap()]);
    (settings.principal, settings.secret) = (Some("me".into()), Some(Secret::new(*b"hunter2")));
    let findings = Mesos::new(settings).unwrap().diagnose().await;
    assert!(findings.iter().all(|it| it.verdict == Verdict::Well), "{findings:#?}");
}

#[tokio::test]
async fn later_processes_see_read_and_end_an_application() {
    let cluster = Cluster::start(1);
    let said = Arc::new(Recorder::default());
    let spec = Arc::new(spec("seen", 30, &["/bin/sh", "-c", "echo hello; exec sleep 600"]));
    let opened = mesos(&cluster).open(spec.clone(), said.clone()).await.unwrap();
    opened.provisioning.start(vec![wanted(1, 500, 64)]).await.unwrap();
    said.launched(1).await;
    let later = mesos(&cluster);
    let operator = later.operator().unwrap();
    let all = operator.applications().await.unwrap();
    assert_eq!((all.len(), &all[0].id, &all[0].native), (1, &spec.id, &opened.native));
    let executor = &all[0].executors[&ExecutorId(1)];
    assert_eq!(
        (&executor.state, executor.host.as_ref().unwrap().as_str()),
        (&ExecutorState::Running, "127.0.0.2")
    );
    assert_eq!(executor.resources.as_ref().unwrap().cpus, Cpus::from_millis(500));
    let read = async |follow| {
        let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Start, follow };
        let mut chunks = operator.logs(&spec.id, ExecutorId(1), request).await.unwrap();
        let mut text = Vec::new();
        while let Some(chunk) = chunks.next().await {
            text.extend_from_slice(&chunk.unwrap().bytes);
        }
        String::from_utf8(text).unwrap()
    };
    let until = tokio::time::Instant::now() + Duration::from_secs(20);
    while !read(false).await.contains("hello") {
        assert!(tokio::time::Instant::now() < until, "its line is not there");
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let (followed, killed) = tokio::join!(read(true), operator.kill(&spec.id, Duration::from_secs(20)));
    killed.unwrap();
    assert!(followed.contains("hello"), "{followed}");
    operator.kill(&spec.id, Duration::from_secs(1)).await.unwrap();
    let all = operator.applications().await.unwrap();
    assert!(matches!(all[0].state, ApplicationState::Ended { at: Some(_), .. }), "{all:?}");
    said.until("the end", 15, |all| {
        all.iter().any(|it| matches!(it, recorder::Said::Ended(_))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_same_in_json() {
    let cluster = Cluster::start(1);
    let mut settings = Settings::new(vec![cluster.address.parse().unwrap()]);
    settings.wire = convoke_mesos::settings::Wire::Json;
    let mesos = Mesos::new(settings).unwrap();
    let said = Arc::new(Recorder::default());
    let spec = spec("json", 30, &["/bin/sh", "-c", "echo in JSON; exit 3"]);
    let opened = mesos.open(Arc::new(spec), said.clone()).await.unwrap();
    opened.provisioning.start(vec![wanted(1, 500, 64)]).await.unwrap();
    assert_eq!(said.cause(1).await, convoke_core::manager::ExitCause::Code(3));
    let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Start, follow: false };
    let mut chunks = opened.provisioning.logs(ExecutorId(1), request).await.unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap().bytes);
    }
    assert!(String::from_utf8_lossy(&text).contains("in JSON"));
    assert_eq!(mesos.cluster().await.unwrap().nodes.len(), 1);
    assert!(opened.provisioning.explain(Some(&wanted(2, 100, 32))).await.unwrap().is_empty());
    opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(15)).await.unwrap();
    assert!(cluster.frameworks().is_empty());
}
