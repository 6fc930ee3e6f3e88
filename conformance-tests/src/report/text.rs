use std::fmt::Write as _;

use crate::certificate::Certificate;
use crate::outcome::RuleOutcome;
use crate::run::Run;
use crate::verdict::Verdict;

/// One rule in one line, as it is told while a run goes on.
#[must_use]
pub fn line(rule: &RuleOutcome) -> String {
    let took: f64 = rule.cases.iter().map(|case| case.took.as_secs_f64()).fold(0.0, f64::max);
    let mut line = format!("{:>4}  {:<13}", rule.rule.id, rule.verdict.words());
    if !rule.cases.is_empty() {
        let _ = write!(line, " {took:>6.1}s"); // writing to a String can't fail
    }
    if let Some(why) = &rule.why {
        let _ = write!(line, "  {}", why.lines().next().unwrap_or_default());
    }
    match (&rule.waived, rule.verdict) {
        (Some(reason), Verdict::Failed) => {
            let _ = write!(line, "  (waived: {reason})");
        }
        (Some(_), Verdict::Passed) => line.push_str("  waived, yet it passes: take the waiver out"),
        _ => {}
    }
    line
}

/// The whole report: each certificate with every rule, and each failure with all that helps to mend it.
#[must_use]
pub fn text(run: &Run) -> String {
    let mut out = String::new();
    for certificate in &run.certificates {
        for rule in certificate.rules.iter().filter(|rule| rule.fails()) {
            failure(&mut out, certificate, rule);
        }
    }
    for certificate in &run.certificates {
        heading(&mut out, certificate);
        for rule in &certificate.rules {
            let _ = writeln!(out, "{}", line(rule));
        }
        leaks(&mut out, certificate);
        out.push('\n');
    }
    out
}

fn heading(out: &mut String, certificate: &Certificate) {
    let about = &certificate.about;
    let _ = writeln!(
        out,
        "{}: {} certificate: {}",
        about.subject,
        certificate.profile.as_str(),
        certificate.standing().as_str().to_uppercase()
    );
    let counts: Vec<_> = Verdict::ALL
        .iter()
        .map(|verdict| format!("{} {}", certificate.count(*verdict), verdict.words()))
        .collect();
    let _ = writeln!(out, "  {}, in {:.1}s", counts.join(", "), certificate.took.as_secs_f64());
    let _ = writeln!(out, "  subject: {}; kit: {}", about.kind, env!("CARGO_PKG_VERSION"));
    let claims = if about.claims.is_empty() { "nothing".to_owned() } else { about.claims.join(", ") };
    let _ = writeln!(out, "  claims: {claims}; secret channel: {}", about.secret_channel);
    let deadlines: Vec<_> = about.deadlines.iter().map(|(name, time)| format!("{name}={time}")).collect();
    let _ = writeln!(out, "  deadlines: {}; sizes: {}", deadlines.join(" "), about.sizes);
    if !about.stand_ins.is_empty() {
        let _ = writeln!(out, "  stand-ins: {}", about.stand_ins.join(", "));
    }
    for left in &about.leaves {
        let _ = writeln!(out, "  T2, what a vanished driver can leave: {left}");
    }
    if !about.uncounted.is_empty() {
        let _ = writeln!(out, "  not counted by it: {}", about.uncounted.join(", "));
    }
    let _ = writeln!(out, "  again: {}", about.reproduce);
}

fn failure(out: &mut String, certificate: &Certificate, rule: &RuleOutcome) {
    let _ = writeln!(out, "---- {} {} ----", rule.rule.id, rule.verdict.words());
    let _ = writeln!(out, "{}", rule.rule.statement);
    if let (Verdict::Passed, Some(reason)) = (rule.verdict, &rule.waived) {
        let _ = writeln!(out, "It passes, and is waived all the same ({reason}): take the waiver out.\n");
        return;
    }
    for case in rule.cases.iter().filter(|case| case.verdict == Verdict::Failed) {
        let _ = writeln!(out, "\n  case:     {}", case.gist);
        let _ = writeln!(out, "  breach:   {}", case.breach.unwrap_or_default());
        let _ = writeln!(out, "  seen:     {}", case.why.as_deref().unwrap_or_default());
        out.push_str("  timeline:\n");
        for line in &case.timeline {
            let _ = writeln!(out, "    {line}");
        }
    }
    let _ = writeln!(out, "\n  look at:  {}", rule.rule.look_at);
    let _ = writeln!(out, "  again:    {}\n", certificate.reproduce_one(rule.rule.id));
}

fn leaks(out: &mut String, certificate: &Certificate) {
    for rule in &certificate.rules {
        for case in rule.cases.iter().filter(|case| !case.leaked.is_empty()) {
            let _ =
                writeln!(out, "  left after {} ({}): {}", rule.rule.id, case.gist, case.leaked.join("; "));
        }
    }
}
