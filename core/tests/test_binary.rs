//! `test_executor!`: a libtest binary becomes an executor.

use std::process::Command;

mod within {
    convoke_core::test_executor!();
}

#[test]
fn a_test_binary_started_with_its_bootstrap_arguments_plays_the_role() {
    let arguments = convoke_core::executor::test_binary::bootstrap_arguments();
    assert_eq!(arguments[..2], ["--exact", "within::convoke_executor"]);
    // A supervisor without its variables says so: it was reached.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(arguments)
        .env("CONVOKE_ROLE", "guard")
        .output()
        .unwrap();
    assert_eq!(output.status.code(), Some(125));
    let errors = String::from_utf8_lossy(&output.stderr);
    assert!(errors.contains("supervisor can't go on") && errors.contains("CONVOKE_"), "{errors}");
}

#[test]
fn what_a_task_starts_plays_no_role_though_it_inherits_the_variable() {
    // No link on its standard input: the test runs as any other.
    let output = Command::new(std::env::current_exe().unwrap())
        .args(convoke_core::executor::test_binary::bootstrap_arguments())
        .env("CONVOKE_ROLE", "program")
        .stdin(std::process::Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success());
    assert!(String::from_utf8_lossy(&output.stdout).contains("1 passed"));
}
