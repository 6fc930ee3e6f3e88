//! What a README shows of a certificate: a row of a table, kept in a file beside the document that shows it.

use std::path::Path;

use convoke_core::{Error, Result};

use crate::certificate::Certificate;
use crate::rule::Subject;
use crate::verdict::Verdict;

/// Set, whatever was published is written anew.
const UPDATE: &str = "CONVOKE_UPDATE";

/// The row of a certificate: nothing in it changes from run to run.
#[must_use]
pub fn row(certificate: &Certificate) -> String {
    let ids = |verdict| -> String {
        let named = certificate
            .rules
            .iter()
            .filter(|rule| rule.verdict == verdict && !matches!(rule.rule.subject, Subject::Later(_)));
        let ids: Vec<_> = named.map(|rule| rule.rule.id).collect();
        if ids.is_empty() { "–".to_owned() } else { ids.join(" ") }
    };
    format!(
        "| {} | {} | {} | {} | {} | {} |\n",
        certificate.about.subject,
        certificate.profile.as_str(),
        certificate.standing().as_str(),
        certificate.count(Verdict::Passed),
        ids(Verdict::NotClaimed),
        match (ids(Verdict::NotCheckable).as_str(), ids(Verdict::NotRun).as_str()) {
            (one, "–") => one.to_owned(),
            ("–", other) => other.to_owned(),
            (one, other) => format!("{one} {other}"),
        },
    )
}

/// The head of a table of such rows.
pub const HEAD: &str = "| manager | profile | certificate | rules passed | not claimed | not checked |\n\
                        | --- | --- | --- | --- | --- | --- |\n";

/// Compares the certificates of a whole run with the published ones, or publishes them; answers what is out of date.
///
/// # Errors
/// `Host` where a file can't be written.
pub(crate) fn check(base: &Path, certificates: &[Certificate]) -> Result<Vec<String>> {
    let mut outdated = Vec::new();
    for certificate in certificates {
        let path = format!("{}-{}.md", base.display(), certificate.profile.as_str());
        let row = row(certificate);
        if std::env::var_os(UPDATE).is_some() {
            std::fs::write(&path, row)
                .map_err(|error| Error::host("can't publish the certificate", error).with("file", path))?;
            continue;
        }
        // one that was never published can't be out of date
        let Ok(published) = std::fs::read_to_string(&path) else { continue };
        if published != row {
            outdated.push(format!(
                "{path} has another certificate:\n  {}\nnow:\n  {}\npublish it with {UPDATE}=1 {}",
                published.trim(),
                row.trim(),
                certificate.about.reproduce
            ));
        }
    }
    Ok(outdated)
}
