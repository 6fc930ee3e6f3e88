use std::fs::{File, Metadata};
use std::io;
use std::os::unix::fs::{FileExt as _, MetadataExt as _};
use std::path::Path;

use bytes::{Bytes, BytesMut};

use crate::error::{Error, ErrorKind, Result};
use crate::secret::Digest;

/// Read at a time while a file is digested.
const DIGESTED_AT_A_TIME: usize = 256 << 10;

/// A file of the application, held open: it may be deleted, or another put in its place, and is still served as it was.
/// One that is written over where it lies is found out, and not served any more.
#[derive(Debug)]
pub(crate) struct OpenedFile {
    file: File,
    shown: String,
    state: State,
    sha256: Digest,
}

/// What changes when a file is written to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct State {
    bytes: u64,
    modified: (i64, i64),
}

impl State {
    fn of(metadata: &Metadata) -> State {
        State { bytes: metadata.size(), modified: (metadata.mtime(), metadata.mtime_nsec()) }
    }
}

impl std::os::fd::AsRawFd for OpenedFile {
    fn as_raw_fd(&self) -> i32 {
        self.file.as_raw_fd()
    }
}

impl OpenedFile {
    /// Opens and digests it. Blocks for as long as reading all of it takes.
    ///
    /// # Errors
    /// `InvalidRequest` that names the path, for what isn't a readable file.
    pub(crate) fn open(path: &Path) -> Result<OpenedFile> {
        let shown = path.display().to_string();
        let failed = |error: io::Error| unreadable(&shown).source(error);
        // Asked before it is opened: a pipe would wait for its writer.
        if !std::fs::metadata(path).map_err(failed)?.is_file() {
            return Err(unreadable(&shown).with("why", "it is no regular file"));
        }
        OpenedFile::of(File::open(path).map_err(failed)?, shown)
    }

    /// Digests an open file.
    pub(crate) fn of(file: File, shown: String) -> Result<OpenedFile> {
        let failed = |error: io::Error| unreadable(&shown).source(error);
        let before = State::of(&file.metadata().map_err(failed)?);
        let sha256 = digest(&file).map_err(failed)?;
        let state = State::of(&file.metadata().map_err(failed)?);
        if before != state {
            return Err(unreadable(&shown).with("why", "somebody wrote to it while it was read"));
        }
        Ok(OpenedFile { file, shown, state, sha256 })
    }

    /// This very program, also when its file was deleted or replaced since it began.
    pub(crate) fn own_program() -> Result<OpenedFile> {
        let mut opened = OpenedFile::open(Path::new("/proc/self/exe"))?;
        if let Ok(path) = std::env::current_exe() {
            opened.shown = path.display().to_string();
        }
        Ok(opened)
    }

    pub(crate) fn sha256(&self) -> Digest {
        self.sha256
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.state.bytes
    }

    /// Its path as it was opened, for people.
    pub(crate) fn shown(&self) -> &str {
        &self.shown
    }

    /// Up to `most` bytes from `offset` on; none only at its end. Blocks.
    ///
    /// # Errors
    /// `Stale` when somebody has written to it since it was digested.
    pub(crate) fn read_at(&self, offset: u64, most: usize) -> Result<Bytes> {
        let failed = |error: io::Error| {
            Error::host("can't read a file of the application", error).with("path", &self.shown)
        };
        let left = usize::try_from(self.bytes().saturating_sub(offset)).unwrap_or(usize::MAX);
        let mut bytes = BytesMut::zeroed(left.min(most));
        let read = self.file.read_exact_at(&mut bytes, offset);
        if State::of(&self.file.metadata().map_err(failed)?) != self.state {
            return Err(Error::new(
                ErrorKind::Stale,
                "a file of the application was written to while it was served",
            )
            .with("path", &self.shown)
            .help("put a new file in its place (write elsewhere, then rename) instead of writing over it"));
        }
        read.map_err(failed)?;
        Ok(bytes.freeze())
    }
}

fn unreadable(shown: &str) -> Error {
    Error::invalid("artifact", "this file of the application can't be read").with("path", shown)
}

/// Through `ring`, whose speed doesn't depend on how this program was compiled.
fn digest(file: &File) -> io::Result<Digest> {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    let mut buffer = vec![0; DIGESTED_AT_A_TIME];
    let mut offset = 0;
    loop {
        match file.read_at(&mut buffer, offset) {
            Ok(0) => break,
            Ok(read) => {
                context.update(&buffer[..read]);
                offset += read as u64;
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    let digest = context.finish();
    <[u8; 32]>::try_from(digest.as_ref()).map(Digest).map_err(io::Error::other)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_deleted_file_is_read_as_it_was_and_one_written_over_is_found_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("file");
        let content = vec![7; DIGESTED_AT_A_TIME * 2 + 1];
        std::fs::write(&path, &content).unwrap();
        let opened = OpenedFile::open(&path).unwrap();
        assert_eq!((opened.sha256(), opened.bytes()), (Digest::of(&content), content.len() as u64));
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"another").unwrap();
        assert_eq!(opened.read_at(content.len() as u64 - 2, 100).unwrap(), &content[..2]);
        assert_eq!(opened.read_at(content.len() as u64, 100).unwrap(), "");

        let opened = OpenedFile::open(&path).unwrap();
        std::fs::write(&path, b"shorter").unwrap();
        std::fs::write(&path, b"short").unwrap();
        assert_eq!(opened.read_at(0, 100).unwrap_err().kind(), ErrorKind::Stale);
    }

    #[test]
    fn what_is_no_file_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        for path in [folder.path().to_owned(), folder.path().join("missing")] {
            let error = OpenedFile::open(&path).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidRequest);
            assert!(error.to_string().contains(path.to_str().unwrap()), "{error}");
        }
        assert!(OpenedFile::own_program().unwrap().bytes() > 0);
    }
}
