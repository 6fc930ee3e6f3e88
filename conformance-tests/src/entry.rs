use std::process::ExitCode;
use std::sync::Arc;

use convoke_core::Result;

use crate::doomed::become_driver_if_asked;
use crate::harness::Harness;
use crate::probe::become_probe_if_asked;
use crate::published;
use crate::report::{self, Format};
use crate::rule::Profile;
use crate::rules;
use crate::run::{Options, Run, run};

/// The whole of a `tests/conformance.rs` with `harness = false`: runs the kit on `H`, as a test program does.
///
/// Understands what `cargo test` and `cargo nextest` say (`--list`, filters, `--exact`, `--skip`) and ids as filters (`A2`,
/// `A`); `--report text|json|junit`, `--profile`, `--deadline NAME=TIME` besides. Other options of libtest are ignored.
/// The profile is `manager` unless another is named. Not checkable and not claimed rules don't fail a test run; the
/// certificate names them.
pub fn main<H: Harness + Default>() -> ExitCode {
    main_of::<H>(&[Profile::Manager])
}

/// As [`main`], with these profiles where the command line names none.
pub fn main_of<H: Harness + Default>(profiles: &[Profile]) -> ExitCode {
    become_probe_if_asked();
    become_driver_if_asked(|address| H::default().dial(address));
    let arguments = match TestArguments::parse(std::env::args().skip(1), profiles) {
        Ok(arguments) => arguments,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    if arguments.list {
        list(&arguments);
        return ExitCode::SUCCESS;
    }
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => {
            eprintln!("no runtime: {error}");
            return ExitCode::from(2);
        }
    };
    let harness: Arc<dyn Harness> = Arc::new(H::default());
    let mut progress = |rule: &crate::outcome::RuleOutcome| eprintln!("{}", report::line(rule));
    let ran = runtime.block_on(run(harness.clone(), &arguments.options, &mut progress));
    // a subject that blocks for ever keeps a thread: it is not waited for
    runtime.shutdown_background();
    match ran {
        Err(error) => {
            eprintln!("could not run: {error:#}");
            ExitCode::from(2)
        }
        Ok(ran) => {
            print!("{}", arguments.format.render(&ran));
            match ran.exit_code() {
                0 | 3 if arguments.options.selection.is_everything() => publish(&*harness, &ran),
                0 | 3 => ExitCode::SUCCESS,
                code => ExitCode::from(code),
            }
        }
    }
}

/// Whether the certificates are the published ones, where some are.
fn publish(harness: &dyn Harness, ran: &Run) -> ExitCode {
    let Some(base) = harness.published() else { return ExitCode::SUCCESS };
    match published::check(&base, &ran.certificates) {
        Ok(outdated) if outdated.is_empty() => ExitCode::SUCCESS,
        Ok(outdated) => {
            outdated.iter().for_each(|what| eprintln!("{what}"));
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("{error:#}");
            ExitCode::from(2)
        }
    }
}

/// As libtest lists: `A2: test`. Nothing of it is ignored.
fn list(arguments: &TestArguments) {
    let mut count = 0;
    if !arguments.ignored {
        for rule in rules::all().filter(|rule| arguments.options.selection.selects(rule)) {
            println!("{}: test", rule.id);
            count += 1;
        }
    }
    if !arguments.terse {
        println!("\n{count} tests, 0 benchmarks");
    }
}

#[derive(Debug, Default)]
struct TestArguments {
    list: bool,
    ignored: bool,
    terse: bool,
    format: Format,
    options: Options,
}

impl TestArguments {
    fn parse(arguments: impl Iterator<Item = String>, profiles: &[Profile]) -> Result<TestArguments> {
        let mut parsed = TestArguments::default();
        let mut arguments = arguments.peekable();
        while let Some(argument) = arguments.next() {
            let (flag, mut value) = match argument.split_once('=') {
                Some((flag, value)) if flag.starts_with("--") => (flag.to_owned(), Some(value.to_owned())),
                _ => (argument.clone(), None),
            };
            let mut value = || value.take().or_else(|| arguments.next()).unwrap_or_default();
            match flag.as_str() {
                "--list" => parsed.list = true,
                "--ignored" => parsed.ignored = true,
                "--exact" => parsed.options.selection.exact = true,
                "--skip" => parsed.options.selection.skipped.push(value()),
                "--rule" => parsed.options.selection.filters.push(value()),
                "--report" => parsed.format = value().parse()?,
                "--deadline" => parsed.options.deadlines.push(value()),
                "--profile" => parsed.options.selection.profiles.push(value().parse()?),
                "--format" => parsed.terse = value() == "terse",
                // libtest's, with a value of their own
                "--test-threads" | "--logfile" | "--color" | "--shuffle-seed" | "-Z" => drop(value()),
                flag if flag.starts_with('-') => {}
                _ => parsed.options.selection.filters.push(argument),
            }
        }
        if parsed.options.selection.profiles.is_empty() {
            parsed.options.selection.profiles.extend(profiles);
        }
        Ok(parsed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> TestArguments {
        TestArguments::parse(line.split_whitespace().map(str::to_owned), &[Profile::Manager]).unwrap()
    }

    #[test]
    fn what_cargo_test_and_nextest_say_is_understood() {
        let nextest = parse("--list --format terse --ignored");
        assert!(nextest.list && nextest.ignored && nextest.terse);
        let one = parse("A2 --exact --nocapture");
        assert!(one.options.selection.exact);
        assert_eq!(one.options.selection.filters, ["A2"]);
        let odd =
            parse("--test-threads 4 -q --color=always --show-output --deadline settle=3s --report=json");
        assert!(odd.options.selection.filters.is_empty());
        assert_eq!(odd.options.deadlines, ["settle=3s"]);
        assert_eq!(odd.format, Format::Json);
    }
}
