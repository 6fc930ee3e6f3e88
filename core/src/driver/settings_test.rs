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
