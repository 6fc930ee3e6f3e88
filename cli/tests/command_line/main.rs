//! The command line as a person uses it.

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "all of it is test code; helpers outside a test function too"
)]

mod operator;
mod submit;
mod support;

use support::{Place, stderr, stdout};

fn run(arguments: &[&str]) -> std::process::Output {
    Place::new().run(arguments)
}

#[test]
fn what_a_cluster_can_grant_is_granted_and_given_back() {
    let output = run(&["explain", "--master", "local-cluster[2,1,1GiB]", "--executors", "2"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert!(stdout(&output).contains("all 2 executors"));
}

#[test]
fn what_it_cannot_grant_is_said_with_numbers() {
    let asked = ["--master", "local-cluster[2,1,1GiB]", "--executor-memory", "2GiB", "--wait", "3s"];
    let output = run(&[&["explain"][..], &asked].concat());
    assert_eq!(output.status.code(), Some(1), "{}", stderr(&output));
    let said = stdout(&output);
    assert!(said.contains("2GiB needed, the largest has 1GiB") && said.contains("vain"), "{said}");
    let output = run(&[&["explain", "--json"][..], &asked].concat());
    let value: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((value["wanted"].as_u64(), value["granted"].as_u64()), (Some(2), Some(0)));
    assert_eq!(value["reasons"][0]["permanent"], true);
}

#[test]
fn doctor_has_an_executor_dial_back() {
    let output = run(&["doctor", "--json"]);
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    let told: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = told["findings"].as_array().unwrap();
    for what in ["folder", "driver", "executor", "address", "end"] {
        let finding = findings.iter().find(|finding| finding["what"] == what).unwrap();
        assert_eq!(finding["verdict"], "well", "{finding}");
    }
    assert!(findings.iter().all(|finding| finding["verdict"] == "well" || finding["advice"].is_string()));
}

#[test]
fn doctor_says_what_is_wrong_and_what_to_do() {
    let output = run(&["doctor", "--conf", "local.directory=/proc/nowhere"]);
    assert_eq!(output.status.code(), Some(1), "{}", stdout(&output));
    let said = stdout(&output);
    assert!(said.contains("wrong  folder") && said.contains("help: choose another folder"), "{said}");
    assert!(said.contains("not tried") && said.ends_with("One thing is wrong.\n"), "{said}");
    let output = run(&["doctor", "--conf", "driver.advertise=no-such-host.invalid,127.0.0.1"]);
    let said = stdout(&output);
    assert!(
        said.contains("weak   address      no-such-host.invalid:") && said.contains("driver.advertise"),
        "{said}"
    );
}

#[test]
fn mistakes_say_what_why_and_what_to_do() {
    for (arguments, words) in [
        (&["submit", "--master", "spark://x", "true"][..], &["spark", "known here"][..]),
        (&["submit", "--master", "yarn", "true"], &["yarn", "no backend for that yet"]),
        (&["submit", "--master", "local[", "true"], &["local[2]"]),
        (&["submit", "--conf", "executor.memroy=1GiB", "true"], &["--conf", "did you mean executor.memory?"]),
        (&["submit", "--executors", "many", "true"], &["--executors", "whole number"]),
        (&["submit", "--deploy-mode", "cluster", "true"], &["cluster mode", "leave --deploy-mode out"]),
        (&["submit", "--conf", "local.logs-kpt=1d", "true"], &["--conf", "did you mean local.logs-kept?"]),
        (&["submit", "--conf", "local.memory=much", "true"], &["local.memory", "512MiB"]),
        (
            &["submit", "--conf", "mesos.tls=perhaps", "--master", "mesos://h:1", "true"],
            &["mesos.tls", "true nor false"],
        ),
        (&["kill", "--deadline", "soon"], &["30s, 500ms"]),
        (&["executor"], &["cluster managers start"]),
    ] {
        let output = run(arguments);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {said}");
        assert!(words.iter().all(|word| said.contains(word)), "{arguments:?}: {said}");
        assert_eq!(stdout(&output), "");
    }
}

#[test]
fn a_program_that_cannot_be_started_is_told_why() {
    let place = Place::new();
    let file = |name: &str, text: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = place.path().join(name);
        std::fs::write(&path, text).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.display().to_string()
    };
    for (program, words) in [
        ("./no-such-program".to_owned(), "build it first"),
        ("no-such-program".to_owned(), "name it by its path"),
        ("/".to_owned(), "it is a folder"),
        (file("data", "1 2 3", 0o600), "chmod +x"),
        (file("garbage", "\x7fELF and no more", 0o700), "no program of this machine"),
        (file("script", "#!/no/such/interpreter\n", 0o700), "interpreter"),
    ] {
        let output = place.run(&["submit", &program]);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(1), "{program}: {said}");
        assert!(said.contains(words) && said.contains("\n  help: "), "{program}: {said}");
    }
}

#[test]
fn help_teaches_by_example_and_shells_complete() {
    for command in
        ["submit", "status", "logs", "kill", "explain", "doctor", "conformance", "settings", "completions"]
    {
        let help = stdout(&run(&[command, "--help"]));
        assert!(help.contains("Examples:\n  convoke ") || help.contains("Example:\n  "), "{command}: {help}");
    }
    let bash = stdout(&run(&["completions", "bash"]));
    for value in ["driver.port=", "local.logs-kept=", "local-cluster[2,2,1GiB]", "cluster", "plain"] {
        assert!(bash.contains(value), "{value}");
    }
    let settings = stdout(&run(&["settings"]));
    assert!(
        settings.contains("CONVOKE_DRIVER_PORT") && settings.contains("CONVOKE_LOCAL_LOGS_KEPT"),
        "{settings}"
    );
}
