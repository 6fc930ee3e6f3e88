//! `docs/configuration.md` is made of the table of settings: `UPDATE_DOCS=1 cargo test --test configuration` writes it anew.

#![allow(clippy::unwrap_used, reason = "all of it is test code; helpers outside a test function too")]

use std::fmt::Write as _;
use std::path::Path;

use convoke::driver::settings::SETTINGS;

fn page() -> String {
    let mut page = String::from(
        "# Settings\n\n\
         Every setting of a driver. `convoke submit` takes them by flag (`--conf KEY=VALUE`; the usual ones have flags of their own), a\n\
         program by variable of its environment, `--conf-file` by TOML. Flags go before variables, those before the file; what a program sets in\n\
         code (`Driver::builder().executors(4)`) goes before all. An unknown key or variable that begins with `CONVOKE_` is refused.\n\n\
         This page is generated from `core/src/driver/settings.rs`.\n\n\
         | key | variable | default | written as | meaning |\n| --- | --- | --- | --- | --- |\n",
    );
    for setting in SETTINGS {
        let (variable, meaning) = (setting.variable(), setting.meaning.replace('|', "\\|"));
        writeln!(
            page,
            "| `{}` | `{variable}` | {} | {} | {meaning} |",
            setting.key, setting.default, setting.unit
        )
        .unwrap();
    }
    page
}

#[test]
fn the_page_of_settings_is_current() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/configuration.md");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    let written = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        written == page(),
        "docs/configuration.md is not current: UPDATE_DOCS=1 cargo test --test configuration"
    );
}
