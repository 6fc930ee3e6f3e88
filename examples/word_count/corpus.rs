//! What is to be counted: the text files below some paths, cut into pieces that no word crosses.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

/// About how much one task reads, in bytes: some tens of milliseconds of work.
const PIECE_BYTES: u64 = 4 << 20;
/// How many small files one task takes at the most.
const PIECES_PER_TASK: usize = 256;
/// How much of a file is looked at to tell whether it is text.
const PROBE_BYTES: usize = 8 << 10;

/// A range of bytes of one file; no word crosses its borders.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Piece {
    /// The absolute path as bytes: a file's name need not be UTF-8.
    pub path: Vec<u8>,
    /// The first byte.
    pub start: u64,
    /// The byte after the last.
    pub end: u64,
}

/// All that is to be counted, and what isn't.
#[derive(Debug, Default)]
pub struct Corpus {
    /// What each task counts.
    pub tasks: Vec<Vec<Piece>>,
    /// How many files that is.
    pub files: usize,
    /// How many bytes that is.
    pub bytes: u64,
    /// Files that aren't text, and symbolic links, which aren't followed: left out on purpose.
    pub skipped: Vec<(PathBuf, &'static str)>,
    /// What could not be read.
    pub problems: Vec<(PathBuf, String)>,
}

impl Corpus {
    /// Finds the text files at or below `paths`; each is taken once, however often it is named.
    ///
    /// Fails where a path does not exist or can't be looked at; what can't be read further below is a problem, not a failure.
    pub fn find(paths: &[PathBuf]) -> Result<Corpus, (PathBuf, io::Error)> {
        let mut corpus = Corpus::default();
        let mut files = BTreeSet::new();
        for path in paths {
            // absolute, since an executor has a working directory of its own
            let path = path.canonicalize().map_err(|error| (path.clone(), error))?;
            corpus.walk(path, &mut files);
        }
        let mut task = Vec::new();
        let mut task_bytes = 0;
        for path in files {
            match pieces(&path) {
                Ok(Some(pieces)) => {
                    corpus.files += 1;
                    for piece in pieces {
                        let bytes = piece.end - piece.start;
                        if !task.is_empty()
                            && (task_bytes + bytes > PIECE_BYTES || task.len() == PIECES_PER_TASK)
                        {
                            corpus.tasks.push(std::mem::take(&mut task));
                            task_bytes = 0;
                        }
                        corpus.bytes += bytes;
                        task_bytes += bytes;
                        task.push(piece);
                    }
                }
                Ok(None) => corpus.skipped.push((path, "not text")),
                Err(error) => corpus.problems.push((path, error.to_string())),
            }
        }
        if !task.is_empty() {
            corpus.tasks.push(task);
        }
        Ok(corpus)
    }

    /// Collects the regular files at or below `path`.
    fn walk(&mut self, path: PathBuf, files: &mut BTreeSet<PathBuf>) {
        let mut waiting = vec![path];
        while let Some(path) = waiting.pop() {
            let kind = match fs::symlink_metadata(&path) {
                Ok(metadata) => metadata.file_type(),
                Err(error) => {
                    self.problems.push((path, error.to_string()));
                    continue;
                }
            };
            if kind.is_file() {
                files.insert(path);
            } else if kind.is_dir() {
                match fs::read_dir(&path).and_then(Iterator::collect::<io::Result<Vec<_>>>) {
                    Ok(entries) => waiting.extend(entries.iter().map(fs::DirEntry::path)),
                    Err(error) => self.problems.push((path, error.to_string())),
                }
            } else if kind.is_symlink() {
                self.skipped.push((path, "a symbolic link"));
            } else {
                self.skipped.push((path, "not a regular file"));
            }
        }
    }
}

/// The pieces of a file; `None` where it isn't text: where its first 8 KiB hold a zero byte, as git and grep tell.
fn pieces(path: &Path) -> io::Result<Option<Vec<Piece>>> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let mut probe = Vec::with_capacity(PROBE_BYTES);
    file.by_ref().take(PROBE_BYTES as u64).read_to_end(&mut probe)?;
    if probe.contains(&0) {
        return Ok(None);
    }
    let mut pieces = Vec::new();
    let mut start = 0;
    while start < length {
        let end = if length - start <= PIECE_BYTES + PIECE_BYTES / 2 {
            length
        } else {
            border(&mut file, start + PIECE_BYTES)?.unwrap_or(length).min(length)
        };
        pieces.push(Piece { path: path.as_os_str().as_bytes().to_vec(), start, end });
        start = end;
    }
    Ok(Some(pieces))
}

/// The first place at or behind `from` where a file can be cut: just after an ASCII byte that is in no word.
///
/// Such a byte ends a word, and no character of UTF-8 reaches across it, in broken text neither.
fn border(file: &mut File, from: u64) -> io::Result<Option<u64>> {
    let mut block = [0; 4096];
    let mut at = file.seek(SeekFrom::Start(from))?;
    loop {
        let read = match file.read(&mut block) {
            Ok(0) => return Ok(None),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        let found = block[..read].iter().position(|byte| byte.is_ascii() && !byte.is_ascii_alphanumeric());
        if let Some(index) = found {
            return Ok(Some(at + index as u64 + 1));
        }
        at += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_huge_file_is_cut_where_no_word_is() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("text");
        let text = "Straße größer Ελλάδα 漢字かな ".repeat(600_000);
        fs::write(&path, &text).unwrap();
        let corpus = Corpus::find(&[folder.path().to_owned(), path]).unwrap();
        assert_eq!((corpus.files, corpus.bytes), (1, text.len() as u64));
        assert!(corpus.tasks.len() > 3, "{}", corpus.tasks.len());
        let mut at = 0;
        for piece in corpus.tasks.iter().flatten() {
            assert_eq!(piece.start, at);
            at = piece.end;
            assert!(at == text.len() as u64 || text.as_bytes()[at as usize - 1] == b' ');
        }
        assert_eq!(at, text.len() as u64);
    }

    #[test]
    fn what_is_left_out_is_said() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("binary"), b"\x7fELF\0\0").unwrap();
        fs::write(folder.path().join("empty"), b"").unwrap();
        fs::write(folder.path().join("text"), b"one").unwrap();
        std::os::unix::fs::symlink("text", folder.path().join("link")).unwrap();
        let corpus = Corpus::find(&[folder.path().to_owned()]).unwrap();
        assert_eq!((corpus.files, corpus.bytes, corpus.tasks.len()), (2, 3, 1));
        let why: Vec<_> = corpus.skipped.iter().map(|(_, why)| *why).collect();
        assert_eq!(why.len(), 2);
        assert!(why.contains(&"not text") && why.contains(&"a symbolic link"));
        assert!(Corpus::find(&[folder.path().join("nothing")]).is_err());
    }

    #[test]
    fn many_small_files_share_a_task() {
        let folder = tempfile::tempdir().unwrap();
        for number in 0..300 {
            fs::write(folder.path().join(number.to_string()), b"word").unwrap();
        }
        let corpus = Corpus::find(&[folder.path().to_owned()]).unwrap();
        assert_eq!((corpus.files, corpus.tasks.len()), (300, 2));
    }
}
