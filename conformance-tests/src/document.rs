use std::fmt::Write as _;

use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::rule::{Rule, Subject};
use crate::rules;

const RUNNING: &str = "\
## Running it

On a cluster that exists, by its master URL:

```sh
convoke conformance --master 'local-cluster[2,2,1GiB]'
convoke conformance --master mesos://host:5050 --rule A2 --report json --hooks ./my-hooks --deadline settle=1m
```

Its exit code is 0 for a full certificate, 1 where a rule failed, 2 where it could not run, 3 where something could not be checked.

As a test of a manager's own crate (`harness = false` in `Cargo.toml`; `tests/conformance.rs` of this crate is one), where not checkable
rules fail nothing:

```sh
cargo test --test conformance                     # the whole profile, cases side by side
cargo test --test conformance -- A2 --report json # one rule, one area (A), or words of a statement
cargo nextest run --test conformance A2           # each rule is a test of its own
```

Known failures stand in a waivers file (`--waivers FILE`, or the harness's `waivers`): ids, below lines with `#` that give the reason. A waived
rule that passes fails the run.

";

const HOOKS: &str = "
## Hooks

All optional. Without one, the rules that need it are *not checkable*. A harness implements them as methods of `Hooks`; the command line
takes a program, and calls it as `PROGRAM HOOK ARGUMENT…` with the master URL in `CONVOKE_MASTER`. The program ends with

- 0 once the fault bites, and prints what the hook asks for;
- 69 where it has no such hook;
- 70 where what the rule speaks of does not exist at this manager (standard output says why): the rule is *not claimed*;
- any other code where it failed, which standard error explains.

";

/// `docs/conformance.md`: every rule with how it is checked, every deadline, every hook; generated from the entries.
#[must_use]
pub fn document() -> String {
    let mut out = String::from(
        "# Conformance\n\n\
         <!-- Generated from the kit's entries: CONVOKE_UPDATE=1 cargo test -p convoke-conformance --test document -->\n\n\
         Every rule of the contract, and what the kit exercises to see that it holds. A rule is reported as *passed*, *failed*,\n\
         *not claimed* (the manager does not claim what would bind it), *not checkable* (the environment lacks what the check\n\
         needs) or *not run*; never as passed for what was not exercised.\n\n\
         A failure prints what was seen with all events in order, where to look, and the command that runs that rule alone.\n\n",
    );
    out.push_str(RUNNING);
    let mut area = "";
    for rule in rules::all() {
        if area != &rule.id[..1] {
            area = &rule.id[..1];
            let _ = writeln!(out, "## {area}\n"); // writing to a String can't fail
        }
        entry(&mut out, rule);
    }
    out.push_str("## Deadlines\n\nParameters of the harness; `--deadline NAME=TIME` sets one for a run.\n\n");
    out.push_str("| name | default | what |\n| --- | --- | --- |\n");
    for name in DeadlineName::ALL {
        let default = convoke_core::units::format_duration(name.default());
        let _ = writeln!(out, "| `{}` | {default} | {} |", name.as_str(), name.meaning());
    }
    out.push_str(HOOKS);
    out.push_str("| hook | arguments → prints | what it does | needed by |\n| --- | --- | --- | --- |\n");
    for hook in Hook::ALL {
        let (name, form, meaning) = (hook.as_str(), hook.form(), hook.meaning());
        let _ = writeln!(out, "| `{name}` | {form} | {meaning} | {} |", needed_by(*hook));
    }
    out
}

fn needed_by(hook: Hook) -> String {
    let ids: Vec<_> = rules::all()
        .filter(|rule| rule.cases.iter().any(|case| case.hooks.contains(&hook)))
        .map(|rule| rule.id)
        .collect();
    if ids.is_empty() { "–".to_owned() } else { ids.join(", ") }
}

fn entry(out: &mut String, rule: &Rule) {
    let _ = write!(out, "**{}** ({}, {}", rule.id, rule.level.as_str(), rule.profile.as_str());
    if !rule.requires.is_empty() {
        let claims: Vec<_> = rule.requires.iter().map(|claim| claim.as_str()).collect();
        let _ = write!(out, "; where claimed: {}", claims.join(", "));
    }
    let _ = writeln!(out, ") {}\n", rule.statement);
    match rule.subject {
        Subject::Later(why) => {
            let _ = writeln!(out, "- *not run*: {why}.\n");
            return;
        }
        Subject::Exists if rule.cases.is_empty() => {
            out.push_str("- *not run*: the kit has no check for it yet.\n\n");
            return;
        }
        Subject::Exists => {}
    }
    for case in rule.cases {
        let _ = write!(out, "- {}", case.gist);
        let mut needs = Vec::new();
        needs.extend(case.requires.iter().map(|claim| format!("claim `{}`", claim.as_str())));
        needs.extend(case.hooks.iter().map(|hook| format!("hook `{}`", hook.as_str())));
        needs.extend(case.deadlines.iter().map(|name| format!("deadline `{}`", name.as_str())));
        if needs.is_empty() {
            out.push('\n');
        } else {
            let _ = writeln!(out, " ({})", needs.join(", "));
        }
    }
    let _ = writeln!(out, "- after a failure, look at {}.\n", rule.look_at);
}
