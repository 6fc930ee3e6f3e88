use std::fmt::Write as _;

use crate::certificate::Certificate;
use crate::outcome::RuleOutcome;
use crate::run::Run;
use crate::verdict::Verdict;

/// JUnit's XML: a suite for each certificate, a test case for each rule; what was not exercised is skipped, with the reason.
#[must_use]
pub fn junit(run: &Run) -> String {
    let mut xml = String::from("<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites>\n");
    for certificate in &run.certificates {
        suite(&mut xml, certificate);
    }
    xml.push_str("</testsuites>\n");
    xml
}

fn suite(xml: &mut String, certificate: &Certificate) {
    let failures = certificate.rules.iter().filter(|rule| rule.fails()).count();
    let skipped =
        certificate.rules.len() - certificate.count(Verdict::Passed) - certificate.count(Verdict::Failed);
    let _ = writeln!(
        xml, // writing to a String can't fail
        "  <testsuite name=\"{}\" tests=\"{}\" failures=\"{failures}\" skipped=\"{skipped}\" time=\"{:.3}\">",
        escaped(&format!("{} {}", certificate.about.subject, certificate.profile.as_str())),
        certificate.rules.len(),
        certificate.took.as_secs_f64()
    );
    for rule in &certificate.rules {
        case(xml, certificate, rule);
    }
    xml.push_str("  </testsuite>\n");
}

fn case(xml: &mut String, certificate: &Certificate, rule: &RuleOutcome) {
    let took: f64 = rule.cases.iter().map(|case| case.took.as_secs_f64()).sum();
    let _ = write!(
        xml,
        "    <testcase classname=\"{}\" name=\"{}\" time=\"{took:.3}\"",
        certificate.profile.as_str(),
        rule.rule.id
    );
    let why = rule.why.as_deref().unwrap_or("a waived rule passed: the waiver is out of date");
    if rule.fails() {
        let mut details = format!("{}\n\n{why}\n", rule.rule.statement);
        for case in rule.cases.iter().filter(|case| case.verdict == Verdict::Failed) {
            let _ = writeln!(details, "\n{}\n{}", case.gist, case.timeline.join("\n"));
        }
        let _ = write!(details, "\n{}\n", certificate.reproduce_one(rule.rule.id));
        let _ = writeln!(
            xml,
            ">\n      <failure message=\"{}\">{}</failure>\n    </testcase>",
            escaped(why),
            escaped(&details)
        );
    } else if rule.verdict == Verdict::Passed {
        xml.push_str("/>\n");
    } else {
        let reason = format!("{}: {why}", rule.verdict.words());
        let _ = writeln!(xml, ">\n      <skipped message=\"{}\"/>\n    </testcase>", escaped(&reason));
    }
}

/// Text as XML takes it: the five characters escaped, control characters left out.
fn escaped(text: &str) -> String {
    let mut xml = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '<' => xml.push_str("&lt;"),
            '>' => xml.push_str("&gt;"),
            '&' => xml.push_str("&amp;"),
            '"' => xml.push_str("&quot;"),
            '\'' => xml.push_str("&apos;"),
            '\n' | '\t' => xml.push(c),
            c if c.is_control() => xml.push('\u{fffd}'),
            c => xml.push(c),
        }
    }
    xml
}

#[cfg(test)]
mod tests {
    #[test]
    fn xml_takes_any_text() {
        assert_eq!(super::escaped("a<b>&\"'\u{1}"), "a&lt;b&gt;&amp;&quot;&apos;\u{fffd}");
    }
}
