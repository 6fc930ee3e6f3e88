//! The run loop on a manager that is never there: nothing of it passes, what was not exercised is said, and the reports agree.

use std::sync::Arc;

use convoke_conformance::report::Format;
use convoke_conformance::{
    Environment, Harness, NoHooks, Options, Room, Selection, Standing, Verdict, become_probe_if_asked,
};
use convoke_core::manager::{ApplicationSpec, ClusterManager, Descriptor, Registration};
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
