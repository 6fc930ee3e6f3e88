use serde_json::json;

use crate::run::Run;

/// One document: `{"certificates": [{"profile", "certificate", "rules": [{"id", "level", "verdict", "evidence", …}, …]}, …]}`.
#[must_use]
pub fn json(run: &Run) -> String {
    let certificates: Vec<_> = run.certificates.iter().map(|certificate| certificate.json()).collect();
    format!("{:#}\n", json!({ "certificates": certificates }))
}
