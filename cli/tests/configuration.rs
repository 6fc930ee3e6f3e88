//! `docs/configuration.md` is made of the table of settings: `UPDATE_DOCS=1 cargo test -p convoke-cli --test configuration` writes it anew.

#![allow(clippy::unwrap_used, reason = "all of it is test code; helpers outside a test function too")]

use std::fmt::Write as _;
use std::path::Path;

use convoke::driver::settings::SETTINGS;

const HEAD: &str = "\
# Settings

Every setting of a driver and of the backends that come with convoke. `convoke submit` takes them by flag (`--conf KEY=VALUE`; the usual
ones have flags of their own), a program by variable of its environment, `--conf-file` by TOML (`[driver]` `port = 7077` is `driver.port`).
Flags go before variables, those before the file; what a program sets in code (`Driver::builder().executors(4)`) goes before all. An
unknown key, or variable that begins with `CONVOKE_`, is refused, and the nearest known one named.

This page is generated from the tables in the sources; `convoke settings` prints them, too.

";

const COLUMNS: &str =
    "| key | variable | default | written as | meaning |\n| --- | --- | --- | --- | --- |\n";

fn page() -> String {
    let mut page = String::from(HEAD) + COLUMNS;
    let mut row = |key: &str, variable: String, default: &str, unit: &str, meaning: &str| {
        let meaning = meaning.replace('|', "\\|");
        writeln!(page, "| `{key}` | `{variable}` | {default} | {unit} | {meaning} |").unwrap();
    };
    for one in SETTINGS {
        row(one.key, one.variable(), one.default, one.unit, one.meaning);
    }
    for one in convoke::registry().manager_settings() {
        row(one.key, one.variable(), one.default, one.unit, one.meaning);
    }
    page
}

#[test]
fn the_page_of_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/configuration.md is not current: UPDATE_DOCS=1 cargo test -p convoke-cli --test configuration"
    );
}
