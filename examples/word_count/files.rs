//! Which files there are, and into which pieces they are cut.

use std::collections::HashSet;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// Large enough that a task is worth its way, small enough that a lost one costs little.
const PIECE_BYTES: u64 = 8 << 20;
/// A zero byte in so many first bytes: not text.
const LOOKED_AT_BYTES: u64 = 8 << 10;

/// The words of `path` that begin in `start..end`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Piece {
    pub(crate) path: String,
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// What is below the paths.
#[derive(Debug, Default)]
pub(crate) struct Found {
    pub(crate) pieces: Vec<Piece>,
    pub(crate) files: usize,
    pub(crate) bytes: u64,
    /// Files that aren't text.
    pub(crate) left_out: usize,
    /// What can't be read, in words; the rest is counted all the same.
    pub(crate) problems: Vec<String>,
}

/// Finds the text files below `paths`. A file that two paths lead to counts once.
pub(crate) fn find(paths: &[PathBuf]) -> Found {
    let (mut found, mut seen) = (Found::default(), HashSet::new());
    let mut waiting = Vec::new();
    for path in paths {
        match path.canonicalize() {
            Ok(path) => waiting.push(path),
            Err(error) => found.problems.push(format!("{}: {error}", path.display())),
        }
    }
    waiting.reverse();
    while let Some(path) = waiting.pop() {
        if let Err(error) = look_at(&path, &mut waiting, &mut seen, &mut found) {
            found.problems.push(format!("{}: {error}", path.display()));
        }
    }
    found
}

fn look_at(
    path: &Path,
    waiting: &mut Vec<PathBuf>,
    seen: &mut HashSet<PathBuf>,
    found: &mut Found,
) -> std::io::Result<()> {
    let metadata = path.symlink_metadata()?;
    if metadata.is_dir() {
        let mut entries =
            path.read_dir()?.map(|entry| Ok(entry?.path())).collect::<std::io::Result<Vec<_>>>()?;
        entries.sort_by(|a, b| b.cmp(a));
        waiting.append(&mut entries);
        return Ok(());
    }
    if !metadata.is_file() || !seen.insert(path.to_owned()) {
        return Ok(());
    }
    let Some(name) = path.to_str() else {
        return Err(std::io::Error::other("its name is not UTF-8"));
    };
    let mut head = Vec::new();
    File::open(path)?.take(LOOKED_AT_BYTES).read_to_end(&mut head)?;
    if head.contains(&0) {
        found.left_out += 1;
        return Ok(());
    }
    found.files += 1;
    found.bytes += metadata.len();
    let mut start = 0;
    while start < metadata.len() {
        let end = (start + PIECE_BYTES).min(metadata.len());
        found.pieces.push(Piece { path: name.to_owned(), start, end });
        start = end;
    }
    Ok(())
}
