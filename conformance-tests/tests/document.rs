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

/// What the README shows between these lines is made of `docs/certificates`.
const BEGIN: &str =
    "<!-- certificates: CONVOKE_UPDATE=1 cargo test -p convoke-conformance --test document -->\n";
const END: &str = "<!-- end of certificates -->";

#[test]
fn the_readme_shows_the_published_certificates() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let folder = root.join("docs/certificates");
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("docs/certificates can be read")
        .map(|entry| entry.expect("its entries can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "md"))
        .collect();
    files.sort();
    let rows = files.iter().map(|path| std::fs::read_to_string(path).expect("a certificate can be read"));
    let table = convoke_conformance::published::HEAD.to_owned() + &rows.collect::<String>();
    let path = root.join("README.md");
    let readme = std::fs::read_to_string(&path).expect("README.md can be read");
    let (before, rest) = readme.split_once(BEGIN).expect("README.md has a place for certificates");
    let (shown, after) = rest.split_once(END).expect("the place for certificates ends");
    if std::env::var_os("CONVOKE_UPDATE").is_some() {
        let readme = format!("{before}{BEGIN}\n{table}\n{END}{after}");
        std::fs::write(&path, readme).expect("README.md can be written");
        return;
    }
    assert!(
        shown.trim() == table.trim(),
        "README.md is not current: CONVOKE_UPDATE=1 cargo test -p convoke-conformance --test document"
    );
}
