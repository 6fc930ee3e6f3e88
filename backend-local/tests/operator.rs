//! What other processes of the user see of an application, and how they end it (R6).

#![allow(clippy::unwrap_used, reason = "a test")]

mod support;

use std::time::Duration;

use convoke_core::ErrorKind;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    ApplicationReport, ApplicationState, EndedBy, ExecutorState, LogFrom, LogRequest, LogStream, Operator,
    Outcome, Provisioner as _,
};
use convoke_local::Local;
use futures_util::StreamExt as _;
use support::{manager, open, shell, wanted};

/// What must not be reached.
const BOUND: Duration = Duration::from_secs(20);

/// Another process of the user sees no more than a manager of its own.
fn another(folder: &std::path::Path) -> Local {
    manager("local[1]", folder, &[])
}

async fn report(operator: &dyn Operator, application: &support::Application) -> ApplicationReport {
    let all = operator.applications().await.unwrap();
    all.into_iter().find(|report| report.id == application.id).unwrap()
}

async fn read(operator: &dyn Operator, application: &support::Application, follow: bool) -> String {
    let request = LogRequest { stream: LogStream::Stdout, from: LogFrom::Start, follow };
    let mut chunks = operator.logs(&application.id, ExecutorId(1), request).await.unwrap();
    let mut text = Vec::new();
    while let Some(chunk) = chunks.next().await {
        text.extend_from_slice(&chunk.unwrap().bytes);
    }
    String::from_utf8(text).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_application_is_seen_read_and_ended_from_outside() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = manager("local-cluster[1,4,1GiB]", folder.path(), &[]);
    let application =
        open(&cluster, |_| shell("echo first; trap 'echo last; exit 0' TERM; sleep 1000 & wait")).await;
    application.start([wanted(1, 1, 64)]).await;
    application.seen.launched(1).await;

    let other = another(folder.path());
    let operator = other.operator().unwrap();
    let seen = report(operator, &application).await;
    assert_eq!((seen.state, seen.name.as_str()), (ApplicationState::Running, "test"));
    assert_eq!(seen.driver_process, Some(std::process::id()));
    let executor = &seen.executors[&ExecutorId(1)];
    assert_eq!(executor.state, ExecutorState::Running);
    assert_eq!(executor.host.as_ref().map(|host| host.as_str()), Some("node-1"));

    // Following ends with the executor.
    let (text, killed) =
        tokio::join!(tokio::time::timeout(BOUND, read(operator, &application, true)), async {
            support::eventually("it has printed", || {
                std::fs::read_to_string(folder.path().join(application.id.as_str()).join("1/logs/stdout.0"))
                    .is_ok_and(|text| text.contains("first"))
            })
            .await;
            operator.kill(&application.id, BOUND).await
        });
    killed.unwrap();
    assert_eq!(text.unwrap(), "first\nlast\n");
    assert_eq!(application.processes(), [0; 0]);
    assert!(matches!(application.seen.ended().await, (Outcome::Killed, EndedBy::Operator(_))));

    // The driver lives on, and what it says of the end comes too late.
    application.close().await;
    let id = application.id.clone();
    drop(application);
    let all = operator.applications().await.unwrap();
    let seen = all.into_iter().find(|report| report.id == id).unwrap(); // kept
    assert!(matches!(seen.state, ApplicationState::Ended { outcome: Some(Outcome::Killed), .. }), "{seen:?}");
    assert!(
        matches!(&seen.executors[&ExecutorId(1)].state, ExecutorState::Ended(how) if how.contains("operator")),
        "{seen:?}"
    );
    operator.kill(&id, BOUND).await.unwrap(); // again changes nothing
    let unknown = "never-there-0000000000000001".parse().unwrap();
    assert_eq!(operator.kill(&unknown, BOUND).await.unwrap_err().kind(), ErrorKind::NotFound);
}

#[tokio::test(flavor = "multi_thread")]
async fn logs_that_nobody_wants_go_with_their_application() {
    let folder = tempfile::tempdir().unwrap();
    let cluster = manager("local-cluster[1,4,1GiB]", folder.path(), &[("local.logs-kept", "0s")]);
    let application = open(&cluster, |_| shell("echo here")).await;
    application.start([wanted(1, 1, 64)]).await;
    application.seen.exited(1).await;
    let path = folder.path().join(application.id.as_str());
    assert!(path.join("1/logs").exists());
    application.close().await;
    drop(application);
    support::eventually("its folder is gone", || !path.exists()).await;
}
