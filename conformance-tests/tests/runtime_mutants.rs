//! Every mutant of the runtime profile is caught by its own rule, with its own breach.
//!
//! Arguments: `--list`, parts of a mutant's name or its rule; `--whole` runs every rule of the profile but D7 on each.

use std::process::ExitCode;
use std::sync::Arc;

use convoke_conformance::mutants::runtime::{ALL, RuntimeMutant, RuntimeMutantHarness};
use convoke_conformance::{Options, Profile, Selection, Verdict, become_probe_if_asked};

fn main() -> ExitCode {
    become_probe_if_asked();
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("runtime_mutants: test");
        }
        return ExitCode::SUCCESS;
    }
    let whole = arguments.iter().any(|argument| argument == "--whole");
    let filters: Vec<&String> =
        arguments.iter().filter(|a| !a.starts_with('-') && *a != "runtime_mutants").collect();
    let chosen: Vec<&'static RuntimeMutant> = ALL
        .iter()
        .filter(|m| filters.is_empty() || filters.iter().any(|f| m.name.contains(*f) || m.rule == *f))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let missed = runtime.block_on(async {
        let mut missed = 0;
        // what needs the machine to itself has it: D7 counts this process's own memory
        let (alone, together): (Vec<_>, Vec<_>) = chosen.into_iter().partition(|mutant| mutant.rule == "D7");
        for (mutants, at_once) in [(together, 4), (alone, 1)] {
            for some in mutants.chunks(at_once) {
                // a task each: what one computes keeps no other from its deadlines
                let examined: Vec<_> =
                    some.iter().map(|mutant| tokio::spawn(examine(mutant, whole))).collect();
                for (mutant, result) in some.iter().zip(futures_util::future::join_all(examined).await) {
                    match result.unwrap_or_else(|panicked| Err(panicked.to_string())) {
                        Ok(evidence) => eprintln!("caught  {:<4} {}: {evidence}", mutant.rule, mutant.name),
                        Err(why) => {
                            eprintln!("MISSED  {:<4} {}: {why}", mutant.rule, mutant.name);
                            missed += 1;
                        }
                    }
                }
            }
        }
        missed
    });
    runtime.shutdown_background();
    if missed == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the kit on a mutant; answers what caught it, or what is wrong with that.
async fn examine(mutant: &'static RuntimeMutant, whole: bool) -> Result<String, String> {
    let filters = if whole { Vec::new() } else { vec![mutant.rule.to_owned()] };
    let skipped = if mutant.rule == "D7" { Vec::new() } else { vec!["D7".to_owned()] };
    let selection =
        Selection { profiles: vec![Profile::Runtime], filters, skipped, exact: true, ..Selection::default() };
    let options = Options { selection, ..Options::default() };
    let run = convoke_conformance::run(Arc::new(RuntimeMutantHarness(mutant)), &options, &mut |_| {})
        .await
        .map_err(|error| format!("{error:#}"))?;
    let rules = &run.certificates[0].rules;
    let own = rules.iter().find(|rule| rule.rule.id == mutant.rule).ok_or("no such rule")?;
    if own.verdict != Verdict::Failed {
        return Err(format!("{} is {}: {:?}", mutant.rule, own.verdict.words(), own.why));
    }
    let breaches: Vec<_> = own.cases.iter().filter_map(|case| case.breach).collect();
    if !breaches.contains(&mutant.breach) {
        return Err(format!("caught by {breaches:?}, not by {:?}: {:?}", mutant.breach, own.why));
    }
    let others: Vec<_> = rules
        .iter()
        .filter(|rule| rule.verdict == Verdict::Failed && rule.rule.id != mutant.rule)
        .filter(|rule| !mutant.collateral.contains(&rule.rule.id))
        .map(|rule| format!("{}: {}", rule.rule.id, rule.why.clone().unwrap_or_default()))
        .collect();
    if !others.is_empty() {
        return Err(format!("rules outside its collateral fail too: {others:?}"));
    }
    Ok(own.why.clone().unwrap_or_default())
}
