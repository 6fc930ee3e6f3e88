//! The same through core's `Managed`: what a driver sees.

use super::*;
use convoke_core::manager::{
    Application, ClusterManager, Events, ExitCause, Managed, ManagerSettings, Outcome, Registry, Release,
    ReleaseAnswer, Target, Then, What,
};

async fn register(cluster: &Cluster, spec: ApplicationSpec) -> (Box<dyn Application>, Events) {
    let manager = Managed::new(mesos(cluster));
    let registration = manager.register(spec).await.unwrap();
    (registration.application, registration.events)
}

/// Reads events until one is what was waited for; all of them are in order and without a gap.
async fn until<A>(events: &mut Events, what: &str, mut look: impl FnMut(&What) -> Option<A>) -> A {
    let found = tokio::time::timeout(Duration::from_secs(30), async {
        while let Some(event) = events.next().await {
            if let Some(found) = look(&event.what) {
                return found;
            }
        }
        panic!("the events ended before: {what}");
    });
    found.await.unwrap_or_else(|_| panic!("not within 30 s: {what}"))
}

async fn launched(events: &mut Events, count: usize) -> Vec<ExecutorId> {
    let mut seen = Vec::new();
    let more = |what: &What| {
        if let What::Launched { executor, .. } = what {
            seen.push(*executor);
        }
        (seen.len() >= count).then(|| seen.clone())
    };
    until(events, &format!("{count} launched"), more).await
}

async fn exited(events: &mut Events, executor: ExecutorId) -> ExitCause {
    let exit = |what: &What| match what {
        What::Exited { executor: id, exit } if *id == executor => Some(exit.cause.clone()),
        _ => None,
    };
    until(events, "an exit", exit).await
}

#[tokio::test]
async fn a_target_is_reached_kept_and_given_up() {
    let cluster = Cluster::start(2);
    let (application, mut events) = register(&cluster, spec("target", 30, &SLEEP)).await;
    let framework = application.info().native;
    application.set_target(Target::of(profile(0, 1000, 64), 4)).unwrap();
    let ids = launched(&mut events, 4).await;
    let release = Release {
        executors: vec![ids[0]],
        grace: Duration::ZERO,
        then: Then::Replace,
        why: ExitCause::Released,
    };
    assert_eq!(application.release(&release), [(ids[0], ReleaseAnswer::Accepted)]);
    assert_eq!(exited(&mut events, ids[0]).await, ExitCause::Released);
    launched(&mut events, 1).await;
    eventually("four again", 10, || cluster.frameworks()[&framework] == 4).await;
    application.unregister(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
    assert!(!cluster.frameworks().contains_key(&framework));
    assert!(until(&mut events, "the end", |what| matches!(what, What::Ended { .. }).then_some(true)).await);
}

#[tokio::test]
async fn who_exits_unasked_is_replaced_under_a_new_id() {
    let cluster = Cluster::start(1);
    let script = "[ $EXECUTOR = 1 ] && exit 4; exec sleep 600";
    let (application, mut events) = register(&cluster, spec("replace", 30, &["/bin/sh", "-c", script])).await;
    application.set_target(Target::of(profile(0, 1000, 64), 1)).unwrap();
    let first = launched(&mut events, 1).await[0];
    if first == ExecutorId(1) {
        assert_eq!(exited(&mut events, first).await, ExitCause::Code(4));
        assert_ne!(launched(&mut events, 1).await[0], first);
    }
    application.unregister(Outcome::Succeeded, Duration::from_secs(20)).await.unwrap();
}

#[tokio::test]
async fn a_dropped_application_is_gone_within_its_lease() {
    let cluster = Cluster::start(1);
    let (application, mut events) = register(&cluster, spec("dropped", 25, &SLEEP)).await;
    application.set_target(Target::of(profile(0, 1000, 64), 2)).unwrap();
    launched(&mut events, 2).await;
    let framework = application.info().native;
    drop((application, events));
    eventually("gone", 40, || !cluster.frameworks().contains_key(&framework)).await;
}

#[tokio::test]
async fn a_master_url_makes_a_manager_that_reports_its_nodes() {
    let cluster = Cluster::start(2);
    let mut registry = Registry::new();
    convoke_mesos::register(&mut registry);
    let url = format!("mesos://{}", cluster.address);
    let manager = registry.manager_with(&url, &ManagerSettings::default()).unwrap();
    assert_eq!(manager.describe().kind, "mesos");
    let report = manager.cluster().await.unwrap();
    let mut hosts: Vec<_> = report.nodes.iter().map(|node| node.host.to_string()).collect();
    hosts.sort();
    assert_eq!(hosts, ["127.0.0.2", "127.0.0.3"]);
    assert!(report.nodes.iter().all(|it| it.total.cpus == Cpus::whole(4) && it.free.memory == MiB(4096)));
}
