//! Every mutant is caught by its own rule, with its own breach, and no rule outside its listed collateral fails.
//!
//! `CONVOKE_UPDATE=1` writes the table `docs/mutants.md`. Arguments: `--list`, parts of a mutant's name or its rule;
//! `--whole` runs every rule of the manager profile on each mutant, not only its own.

use std::process::ExitCode;
use std::sync::Arc;

use convoke_conformance::mutants::{self, ALL, Mutant, MutantHarness, why_unproven};
use convoke_conformance::{
    Options, Profile, Selection, Subject, Verdict, become_driver_if_asked, become_probe_if_asked, rules,
};
use futures_util::StreamExt;

fn main() -> ExitCode {
    become_probe_if_asked();
    become_driver_if_asked(mutants::dial);
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    if arguments.iter().any(|argument| argument == "--list") {
        if !arguments.iter().any(|argument| argument == "--ignored") {
            println!("mutants: test");
        }
        return ExitCode::SUCCESS;
    }
    let whole = arguments.iter().any(|argument| argument == "--whole");
    let filters: Vec<&String> = arguments.iter().filter(|a| !a.starts_with('-') && *a != "mutants").collect();
    let chosen: Vec<&'static Mutant> = ALL
        .iter()
        .filter(|m| filters.is_empty() || filters.iter().any(|f| m.name.contains(*f) || m.rule == *f))
        .collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("a runtime");
    let wrong = runtime.block_on(async {
        let mut wrong = Vec::new();
        let mut table = Vec::new();
        // most of the time each waits for what never happens
        let at_once = if whole { 2 } else { 6 };
        let mut examined = futures_util::stream::iter(&chosen)
            .map(|mutant| async move { (*mutant, examine(mutant, whole).await) })
            .buffered(at_once);
        while let Some((mutant, result)) = examined.next().await {
            match result {
                Ok(evidence) => {
                    eprintln!("caught  {:<4} {}: {evidence}", mutant.rule, mutant.name);
                    table.push((mutant, evidence));
                }
                Err(why) => {
                    eprintln!("MISSED  {:<4} {}: {why}", mutant.rule, mutant.name);
                    wrong.push(mutant.name);
                }
            }
        }
        if wrong.is_empty() && filters.is_empty() && std::env::var_os("CONVOKE_UPDATE").is_some() {
            std::fs::write(concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/mutants.md"), document(&table))
                .expect("docs/mutants.md can be written");
        }
        wrong
    });
    runtime.shutdown_background();
    if wrong.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Runs the kit on a mutant; answers what caught it, or what is wrong with that.
async fn examine(mutant: &'static Mutant, whole: bool) -> Result<String, String> {
    let filters = if whole { Vec::new() } else { vec![mutant.rule.to_owned()] };
    let selection = Selection { profiles: vec![Profile::Manager], filters, ..Selection::default() };
    let options = Options { selection, ..Options::default() };
    let run = convoke_conformance::run(Arc::new(MutantHarness(mutant)), &options, &mut |_| {})
        .await
        .map_err(|error| format!("{error:#}"))?;
    let rules = &run.certificates[0].rules;
    let own = rules.iter().find(|rule| rule.rule.id == mutant.rule).ok_or("no such rule")?;
    if own.verdict != Verdict::Failed {
        return Err(format!("{} is {}: {:?}", mutant.rule, own.verdict.words(), own.why));
    }
    let failed = own.cases.iter().find(|case| case.breach == Some(mutant.breach));
    let failed = failed.ok_or_else(|| {
        let breaches: Vec<_> = own.cases.iter().filter_map(|case| case.breach).collect();
        format!("caught by {breaches:?}, not by {:?}: {:?}", mutant.breach, own.why)
    })?;
    let others: Vec<_> = rules
        .iter()
        .filter(|rule| rule.verdict == Verdict::Failed && rule.rule.id != mutant.rule)
        .filter(|rule| !mutant.collateral.contains(&rule.rule.id))
        .map(|rule| format!("{}: {}", rule.rule.id, rule.why.clone().unwrap_or_default()))
        .collect();
    if !others.is_empty() {
        return Err(format!("rules outside its collateral fail too: {others:?}"));
    }
    Ok(failed.breach.unwrap_or_default().to_owned())
}

fn document(table: &[(&'static Mutant, String)]) -> String {
    let mut text = String::from(
        "# Mutants\n\n<!-- Generated: CONVOKE_UPDATE=1 cargo test -p convoke-conformance --test mutants -->\n\n\
         Managers that are broken in one way each, and the rule that caught each. Every test run checks a mutant against its own\n\
         rule; that no rule outside its collateral fails, `cargo test -p convoke-conformance --test mutants -- --whole` checks, in\n\
         about twenty minutes.\n\n\
         | rule | a manager that … | caught by the breach | collateral |\n| --- | --- | --- | --- |\n",
    );
    for (mutant, evidence) in table {
        let collateral =
            if mutant.collateral.is_empty() { "–".to_owned() } else { mutant.collateral.join(", ") };
        text.push_str(&format!("| {} | {} | {evidence} | {collateral} |\n", mutant.rule, mutant.name));
    }
    text.push_str("\n## Unproven\n\nRules of the manager profile that no mutant proves.\n\n| rule | why |\n| --- | --- |\n");
    for rule in
        rules::all().filter(|rule| rule.profile == Profile::Manager && rule.subject == Subject::Exists)
    {
        if !table.iter().any(|(mutant, _)| mutant.rule == rule.id) {
            text.push_str(&format!("| {} | {} |\n", rule.id, why_unproven(rule.id)));
        }
    }
    text.push_str(&convoke_conformance::mutants::runtime::table());
    text
}
