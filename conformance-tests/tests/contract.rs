//! The kit says what the contract says, word for word.

use std::collections::BTreeMap;
use std::path::Path;

#[test]
fn every_statement_is_the_contracts() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/contract.md");
    let contract = std::fs::read_to_string(path).expect("docs/contract.md can be read");
    let written = rules_of(&contract);
    for rule in convoke_conformance::rules::all() {
        let said = written.get(rule.id).unwrap_or_else(|| panic!("{} is not in the contract", rule.id));
        assert_eq!(said, rule.statement, "{}", rule.id);
    }
    assert_eq!(written.len(), convoke_conformance::rules::all().count());
}

/// `- **A1** text` with its continuation lines.
fn rules_of(contract: &str) -> BTreeMap<String, String> {
    let mut rules: BTreeMap<String, String> = BTreeMap::new();
    let mut current = None;
    for line in contract.lines() {
        let entry = line.strip_prefix("- ").and_then(|rest| rest.split_once(' '));
        let id = entry.map(|(id, text)| (id.trim_matches('*'), text)).filter(|(id, _)| {
            let (area, number) = id.split_at(1.min(id.len()));
            "RALETFSDC".contains(area) && !number.is_empty() && number.bytes().all(|b| b.is_ascii_digit())
        });
        if let Some((id, text)) = id {
            rules.insert(id.to_owned(), text.to_owned());
            current = Some(id.to_owned());
        } else if let (Some(id), true) = (&current, line.starts_with("  ")) {
            if let Some(text) = rules.get_mut(id) {
                text.push(' ');
                text.push_str(line.trim());
            }
        } else {
            current = None;
        }
    }
    rules
}
