//! The house rules that a program can check, over the sources of the whole workspace.
//!
//! Clippy holds the rest: `disallowed-methods` in `clippy.toml`, `unwrap_used` and friends in the root `Cargo.toml`.

#![allow(clippy::unwrap_used, reason = "all of it is test code; helpers outside a test function too")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// The aim is 400; a file with more code than this holds more than one idea. Tests at its end, and files of tests, don't count as code.
const MOST_LINES: usize = 480;

/// What a decision may not know of: `core/src/state/` and every other `state` folder is pure.
const IMPURE: [&str; 8] =
    ["async ", ".await", "tokio::", "std::net", "std::fs", "Instant::now", "SystemTime::now", "clock::now"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` with this extension, without build output and hidden folders.
fn files(folder: &Path, extension: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "target" && !name.starts_with('.') {
            files(&path, extension, found);
        } else if path.extension().is_some_and(|found| found == extension) {
            found.push(path);
        }
    }
}

fn sources(extension: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(root(), extension, &mut found);
    assert!(!found.is_empty(), "no .{extension} file below {}", root().display());
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            (path.strip_prefix(root()).unwrap().to_owned(), text)
        })
        .collect()
}

fn assert_none(what: &str, offences: &[String]) {
    assert!(offences.is_empty(), "{what}:\n  {}", offences.join("\n  "));
}

/// Lines of a source file before the tests at its end.
fn code_lines(path: &Path, text: &str) -> usize {
    let name = path.file_stem().unwrap().to_string_lossy();
    if name.ends_with("test")
        || name.ends_with("tests")
        || path.components().any(|part| part.as_os_str() == "tests")
    {
        return 0;
    }
    text.lines().take_while(|line| !line.starts_with("mod tests {")).count()
}

#[test]
fn a_file_has_one_idea() {
    let mut offences = Vec::new();
    for (path, text) in sources("rs") {
        let lines = code_lines(&path, &text);
        if lines > MOST_LINES {
            offences.push(format!("{}: {lines} lines", path.display()));
        }
    }
    assert_none(&format!("more than {MOST_LINES} lines; split by concept"), &offences);
}

#[test]
fn decisions_are_pure() {
    let mut offences = Vec::new();
    for (path, text) in sources("rs") {
        let pure = path.components().any(|part| part.as_os_str() == "state") || path.ends_with("state.rs");
        if !pure || path.starts_with("tests") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            // a field may be called so
            let code = line.split("//").next().unwrap_or(line).replace(".awaited", "");
            for word in IMPURE.iter().filter(|word| code.contains(**word)) {
                offences.push(format!("{}:{}: {}", path.display(), number + 1, word.trim()));
            }
        }
    }
    assert_none("a state machine has no I/O, no async and no clock", &offences);
}

#[test]
fn nothing_is_left_undone() {
    let mut offences = Vec::new();
    for (path, text) in sources("rs") {
        if path.ends_with("house_rules.rs") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            for word in ["todo!(", "unimplemented!(", "#[ignore", "FIXME", "XXX"] {
                if line.contains(word) {
                    offences.push(format!("{}:{}: {word}", path.display(), number + 1));
                }
            }
        }
    }
    assert_none("left undone", &offences);
}

/// The numbers of the rules in `docs/contract.md`.
fn rules() -> BTreeSet<String> {
    let text = fs::read_to_string(root().join("docs/contract.md")).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("- **")?.split_once("**"))
        .map(|(rule, _)| rule.to_owned())
        .filter(|rule| is_rule(rule))
        .collect()
}

/// Whether this has the form of a rule's number.
fn is_rule(text: &str) -> bool {
    let mut letters = text.chars();
    let area = letters.next();
    let number = letters.as_str();
    area.is_some_and(|area| "RALETFSDC".contains(area))
        && (1..=2).contains(&number.len())
        && number.bytes().all(|byte| byte.is_ascii_digit())
}

#[test]
fn rules_are_numbered_without_a_gap() {
    let rules = rules();
    for (area, most) in
        [("R", 7), ("A", 12), ("L", 7), ("E", 4), ("T", 4), ("F", 8), ("S", 2), ("D", 14), ("C", 4)]
    {
        for number in 1..=most {
            assert!(rules.contains(&format!("{area}{number}")), "docs/contract.md lacks {area}{number}");
        }
    }
}

#[test]
fn quoted_rules_exist() {
    let rules = rules();
    let mut offences = Vec::new();
    for (path, text) in sources("rs") {
        for (number, line) in text.lines().enumerate() {
            let Some(list) = line.trim_start().strip_prefix("/// ") else { continue };
            // the list below a `# Rules` heading: `A1, A2, A12.`
            let words: Vec<_> = list.trim_end_matches('.').split(", ").collect();
            if words.iter().all(|word| is_rule(word)) {
                let unknown = words.iter().filter(|word| !rules.contains(**word));
                offences.extend(unknown.map(|rule| format!("{}:{}: {rule}", path.display(), number + 1)));
            }
        }
    }
    assert_none("rules that docs/contract.md doesn't have", &offences);
}

#[test]
fn links_between_documents_lead_somewhere() {
    let mut offences = Vec::new();
    for (path, text) in sources("md") {
        let folder = root().join(path.parent().unwrap());
        for link in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = link.split('#').next().unwrap_or(link);
            if !file.is_empty() && !file.contains("://") && !folder.join(file).exists() {
                offences.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert_none("links that lead nowhere", &offences);
}
