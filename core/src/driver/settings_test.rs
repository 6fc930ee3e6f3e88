use super::*;

fn environment(pairs: &[(&str, &str)]) -> Result<DriverSettings> {
    let mut settings = DriverSettings::default();
    let pairs = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
    settings.set_from_environment(pairs).map(|()| settings)
}

#[test]
fn every_setting_is_reached_by_its_variable() {
    let settings = environment(&[
        ("CONVOKE_MASTER", "local[2]"),
        ("CONVOKE_DRIVER_PORT", "7077"),
        ("CONVOKE_EXECUTOR_MEMORY", "1GiB"),
        ("CONVOKE_HEARTBEAT_LOST_AFTER", "3s"),
        ("CONVOKE_EXECUTOR_RESOURCES", "gpu=2"),
        ("CONVOKE_EXECUTOR_ENV", "LANG=C\nA=b=c"),
        ("CONVOKE_EXECUTOR", "7"),
        ("PATH", "/bin"),
    ])
    .unwrap();
    assert_eq!(settings.master_or_local(), "local[2]");
    assert_eq!((settings.port, settings.executor_memory), (7077, MiB(1024)));
    assert_eq!(settings.executor_env["A"], "b=c");
    assert_eq!(settings.lost_after, Duration::from_secs(3));
    assert_eq!(settings.default_profile().each.to_string(), "cpus=1,memory=1GiB,gpu=2");
    let mut variables: Vec<_> = SETTINGS.iter().map(Setting::variable).collect();
    variables.extend(NOT_SETTINGS.iter().map(|name| (*name).to_owned()));
    let all = variables.len();
    variables.sort();
    variables.dedup();
    assert_eq!(variables.len(), all, "no two share a variable");
}

#[test]
fn a_typing_error_is_refused_with_the_nearest() {
    let error = environment(&[("CONVOKE_EXECUTER_MEMORY", "1GiB")]).unwrap_err();
    assert_eq!(error.advice(), Some("did you mean executor.memory?"));
    let error = DriverSettings::default().set("driver.prot", "1").unwrap_err();
    assert_eq!(error.advice(), Some("did you mean driver.port?"));
    let error = DriverSettings::default().set("driver.port", "70777").unwrap_err();
    assert!(error.to_string().contains("driver.port"), "{error}");
    let error = DriverSettings::default().set("xyz", "1").unwrap_err();
    assert!(error.advice().unwrap().contains("executor.memory"));
}

#[test]
fn the_default_master_holds_what_is_asked_for() {
    let mut settings = DriverSettings::default();
    settings.set("executor.cpus", "1.5").unwrap();
    settings.set("executors", "3").unwrap();
    assert_eq!(settings.master_or_local(), "local-cluster[3,2,256MiB]");
}

#[test]
fn absurd_settings_are_refused_by_field() {
    let field = |key, value| {
        let mut settings = DriverSettings::default();
        settings.set(key, value).unwrap();
        settings.check().unwrap_err().field().map(ToOwned::to_owned)
    };
    assert_eq!(field("executor.cpus", "0").as_deref(), Some("executor.cpus"));
    assert_eq!(field("executor.memory", "1MiB").as_deref(), Some("executor.memory"));
    assert_eq!(field("task.cpus", "2").as_deref(), Some("task.cpus"));
    assert_eq!(field("heartbeat.lost-after", "3s").as_deref(), Some("heartbeat.lost-after"));
    assert_eq!(field("executors.max", "1").as_deref(), Some("executors"));
    DriverSettings::default().check().unwrap();
}

const MINE: &[ManagerSetting] =
    &[ManagerSetting { key: "mine.log-level", default: "low", unit: "word", meaning: "How loud." }];

#[test]
fn settings_of_a_backend_are_taken_where_it_is_there() {
    let mut backends = Registry::new();
    backends.settings("mine", MINE);
    backends.variable("CONVOKE_MINE_SECRET");
    backends.know("theirs", "theirs");
    let mut settings = DriverSettings::with_backends(backends);
    settings.set("mine.log-level", "high").unwrap();
    let environment = [("CONVOKE_MINE_LOG_LEVEL", "higher"), ("CONVOKE_MINE_SECRET", "hush")];
    let environment = environment.map(|(name, value)| (name.to_owned(), value.to_owned()));
    settings.set_from_environment(environment).unwrap();
    assert_eq!(settings.manager["mine.log-level"], "higher");
    assert_eq!(
        settings.set("mine.log-levl", "1").unwrap_err().advice(),
        Some("did you mean mine.log-level?")
    );
    assert!(
        settings
            .set("theirs.anything", "1")
            .unwrap_err()
            .advice()
            .unwrap()
            .contains("features = [\"theirs\"]")
    );
    assert!(DriverSettings::default().set("mine.log-level", "1").is_err());
}

#[test]
fn every_default_of_the_contract_is_a_setting() {
    let mut settings = DriverSettings::default();
    let policy = settings.policy();
    assert_eq!(policy, ExecutorPolicy::default());
    for (key, value) in [
        ("executor.brake", "5 in 30s: 2s to 1m"),
        ("executor.pace", "2 in 10s: 500ms to 10s"),
        ("executor.healthy-after", "2m"),
        ("task.attempts", "2"),
        ("task.lost-attempts", "3"),
        ("task.cancel-deadline", "1s"),
        ("task.inline-payload", "64KiB"),
        ("task.largest-payload", "2GiB"),
        ("driver.port-tries", "4"),
        ("hosts.preferred", "node-1=3, node-2"),
        ("hosts.excluded", "node-3,node-4"),
        ("hosts.required", "rack=r1, host!=node-9"),
    ] {
        settings.set(key, value).unwrap();
    }
    settings.check().unwrap();
    let policy = settings.policy();
    let seconds = Duration::from_secs;
    assert_eq!(policy.brake, Pace { after: 5, within: seconds(30), first: seconds(2), most: seconds(60) });
    assert_eq!((policy.pace.after, policy.pace.most, policy.healthy_after), (2, seconds(10), seconds(120)));
    assert_eq!((settings.task_attempts, settings.task_lost_attempts), (2, 3));
    assert_eq!(settings.task_cancel_deadline, seconds(1));
    assert_eq!((settings.inline_payload_bytes, settings.largest_payload_bytes), (64 << 10, 2 << 30));
    let host = |name: &str| Name::new(name).unwrap();
    assert_eq!(settings.placement().preferred, [(host("node-1"), 3), (host("node-2"), 1)]);
    assert_eq!(settings.excluded_hosts, [host("node-3"), host("node-4")]);
    let required: Vec<_> = settings.placement().required.iter().map(ToString::to_string).collect();
    assert_eq!(required, ["rack=r1", "host!=node-9"]);

    for (key, value, help) in [
        ("executor.brake", "often", "3 in 60s: 1s to 5m"),
        ("executor.brake", "3 in 60s: 5s to 1s", "3 in 60s: 1s to 5m"),
        ("hosts.required", "rack", "rack=r1"),
        ("task.inline-payload", "64", "64KiB"),
    ] {
        let error = settings.set(key, value).unwrap_err();
        assert!(error.advice().unwrap_or_default().contains(help), "{key}={value}: {error:#}");
        assert!(error.to_string().contains(key), "{error}");
    }
}
