//! The published list of rules is what the kit checks.

use std::path::Path;

#[test]
fn the_document_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/conformance.md");
    let document = convoke_conformance::document();
    if std::env::var_os("CONVOKE_UPDATE").is_some() {
        std::fs::write(&path, document).expect("docs/conformance.md can be written");
        return;
    }
    let published = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        published == document,
        "docs/conformance.md is not current: CONVOKE_UPDATE=1 cargo test -p convoke-conformance --test document"
    );
}
