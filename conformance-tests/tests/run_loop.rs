//! The run loop on a manager that is never there: nothing of it passes, what was not exercised is said, and the reports agree.

use std::sync::Arc;

use convoke_conformance::report::Format;
use convoke_conformance::{
    Environment, Harness, NoHooks, Options, Room, Selection, Standing, Verdict, become_probe_if_asked,
};
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    ApplicationSpec, ClusterManager, Descriptor, Managed, Opened, Outcome, Provisioner, Provisioning,
    Registration, Reporter, Wanted,
};
use convoke_core::{Error, ErrorKind, Result};

#[derive(Debug)]
struct Absent;

#[async_trait::async_trait]
impl ClusterManager for Absent {
    fn describe(&self) -> Descriptor {
        Descriptor {
            kind: "absent",
            version: "0".into(),
            capabilities: Default::default(),
            least_lease: std::time::Duration::from_millis(100),
        }
    }
    async fn register(&self, _: ApplicationSpec) -> Result<Registration> {
        Err(Error::new(ErrorKind::Unavailable, "nobody is there"))
    }
}

#[derive(Debug, Default)]
struct AbsentHarness {
    waivers: Option<&'static str>,
}

#[async_trait::async_trait]
impl Harness for AbsentHarness {
    fn subject(&self) -> String {
        "absent".into()
    }
    async fn environment(&self) -> Result<Environment> {
        Ok(Environment {
            manager: Arc::new(Absent),
            hooks: Arc::new(NoHooks),
            room: Room::default(),
            guard: Box::new(()),
        })
    }
    fn waivers(&self) -> Option<String> {
        self.waivers.map(str::to_owned)
    }
}

async fn run(harness: AbsentHarness, filters: &[&str]) -> convoke_conformance::Run {
    let filters = filters.iter().map(|filter| (*filter).to_owned()).collect();
    let options = Options { selection: Selection { filters, ..Selection::default() }, ..Options::default() };
    convoke_conformance::run(Arc::new(harness), &options, &mut |_| {}).await.expect("the kit can run")
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_passes_on_a_manager_that_is_not_there() {
    become_probe_if_asked();
    let run = run(AbsentHarness::default(), &["R"]).await;
    let manager = &run.certificates[0];
    assert_eq!(manager.standing(), Standing::Failed);
    assert_eq!(run.exit_code(), 1);
    let verdict = |id: &str| manager.rules.iter().find(|r| r.rule.id == id).map(|r| r.verdict);
    assert_eq!(verdict("R1"), Some(Verdict::Failed));
    assert_eq!(verdict("R6"), Some(Verdict::NotClaimed));
    assert_eq!(verdict("R7"), Some(Verdict::NotRun));
    assert_eq!(verdict("A1"), Some(Verdict::NotRun), "it was not selected");
    assert_eq!(manager.count(Verdict::Passed), 0);

    let text = Format::Text.render(&run);
    assert!(text.contains("nobody is there") && text.contains("-- R1"), "{text}");
    let json: serde_json::Value = serde_json::from_str(&Format::Json.render(&run)).expect("it is JSON");
    assert_eq!(json["certificates"][0]["certificate"], "failed");
    assert_eq!(json["certificates"][0]["rules"][0]["id"], "R1");
    assert_eq!(json["certificates"][0]["rules"][5]["verdict"], "not claimed");
    let junit = Format::Junit.render(&run);
    assert!(
        junit.contains("<failure message=") && junit.contains("skipped message=\"not claimed"),
        "{junit}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waiver_excuses_a_failure_and_is_never_a_full_certificate() {
    let waivers = Some("# nobody is there\nR1\n");
    let run = run(AbsentHarness { waivers }, &["R1"]).await;
    assert_eq!(run.certificates[0].standing(), Standing::Partial);
    assert_eq!(run.exit_code(), 3);
    assert!(Format::Text.render(&run).contains("waived: nobody is there"));
}

/// A manager that registers applications and grants nothing: R5 holds.
#[derive(Debug)]
struct Idle;

#[async_trait::async_trait]
impl Provisioner for Idle {
    fn describe(&self) -> Descriptor {
        Descriptor { kind: "idle", ..Absent.describe() }
    }
    async fn open(&self, spec: Arc<ApplicationSpec>, _: Reporter) -> Result<Opened> {
        let native = spec.id.to_string();
        Ok(Opened { provisioning: Box::new(Idle), native, page: None, capabilities: Default::default() })
    }
}

#[async_trait::async_trait]
impl Provisioning for Idle {
    async fn start(&self, _: Vec<Wanted>) -> Result<()> {
        Ok(())
    }
    async fn stop(&self, _: Vec<ExecutorId>) -> Result<()> {
        Ok(())
    }
    async fn close(&self, _: Outcome, _: std::time::Duration) -> Result<()> {
        Ok(())
    }
}

#[derive(Debug)]
struct Waived;

#[async_trait::async_trait]
impl Harness for Waived {
    fn subject(&self) -> String {
        "idle".into()
    }
    async fn environment(&self) -> Result<Environment> {
        Ok(Environment {
            manager: Arc::new(Managed::new(Idle)),
            hooks: Arc::new(NoHooks),
            room: Room::default(),
            guard: Box::new(()),
        })
    }
    fn waivers(&self) -> Option<String> {
        Some("# its ids are the same\nR5\n".into())
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_waived_rule_that_passes_fails_the_run() {
    let options = Options {
        selection: Selection { filters: vec!["R5".into()], ..Selection::default() },
        ..Options::default()
    };
    let harness = Arc::new(Waived);
    let run = convoke_conformance::run(harness, &options, &mut |_| {}).await.expect("the kit can run");
    let rule = run.certificates[0].rules.iter().find(|rule| rule.rule.id == "R5").expect("R5 is a rule");
    assert_eq!(rule.verdict, Verdict::Passed);
    assert!(rule.fails());
    assert_eq!((run.certificates[0].standing(), run.exit_code()), (Standing::Failed, 1));
    let text = Format::Text.render(&run);
    assert!(text.contains("take the waiver out") && text.contains("its ids are the same"), "{text}");
}
