//! The application's files: what its settings name, opened, and folders packed.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use super::opened::OpenedFile;
use crate::error::{Error, ErrorKind, Result};
use crate::ids::Name;
use crate::rpc::v1::{self, file::Kind};

/// More of them don't fit into a join; a folder is one.
const MOST_FILES: usize = 256;

/// A file or folder that executors find in their working directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileToShip {
    /// Where it is on the driver's host.
    pub path: PathBuf,
    /// What it is called there; absent: as here, an archive without its ending.
    pub name: Option<String>,
    /// Whether it is an archive that is to be unpacked.
    pub archive: bool,
}

impl FileToShip {
    /// Reads `PATH` or `PATH#NAME`. A `#` in the name of a file that exists is a part of it.
    #[must_use]
    pub fn parse(text: &str, archive: bool) -> FileToShip {
        match text.rsplit_once('#') {
            Some((path, name)) if !Path::new(text).exists() && !path.is_empty() && !name.is_empty() => {
                FileToShip { path: path.into(), name: Some(name.to_owned()), archive }
            }
            _ => FileToShip { path: text.into(), name: None, archive },
        }
    }

    fn shipped_name(&self) -> Result<String> {
        let invalid = |why: &'static str| {
            Error::invalid("executor.files", "this file can't be shipped")
                .with("path", self.path.display())
                .with("why", why)
        };
        let name = match &self.name {
            Some(name) => name.clone(),
            None => {
                let name =
                    self.path.file_name().ok_or_else(|| invalid("its path has no last part: name it"))?;
                let name = name.to_str().ok_or_else(|| invalid("its name is not UTF-8: give it another"))?;
                let ending = ARCHIVES
                    .iter()
                    .filter(|_| self.archive)
                    .find_map(|(ending, _)| name.strip_suffix(ending));
                ending.unwrap_or(name).to_owned()
            }
        };
        Name::new(&name).map_err(|error| invalid("its name is none").source(error))?;
        if !Path::new(&name).components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(invalid("its name leads out of the working directory"));
        }
        Ok(name)
    }
}

/// Archives by the end of their names.
const ARCHIVES: [(&str, Kind); 3] =
    [(".tar", Kind::Folder), (".tar.gz", Kind::CompressedFolder), (".tgz", Kind::CompressedFolder)];

/// Opens all of them; a folder is packed first. Blocks.
///
/// # Errors
/// `InvalidRequest` that names the path.
pub(super) fn open(files: &[FileToShip]) -> Result<Vec<(v1::File, Arc<OpenedFile>)>> {
    if files.len() > MOST_FILES {
        return Err(Error::invalid("executor.files", "too many files")
            .with("files", files.len())
            .with("most", MOST_FILES)
            .help("put them in a folder, and ship that"));
    }
    let mut opened: Vec<(v1::File, Arc<OpenedFile>)> = Vec::new();
    for file in files {
        let name = file.shipped_name()?;
        let clashes = |other: &str| {
            let (one, other) = (Path::new(&name), Path::new(other));
            one.starts_with(other) || other.starts_with(one)
        };
        if opened.iter().any(|(other, _)| clashes(&other.name)) {
            return Err(Error::invalid("executor.files", "two files of the application want the same name")
                .with("name", format!("{name:?}"))
                .with("path", file.path.display())
                .help("write PATH#NAME to give one another name"));
        }
        let (content, kind) = open_one(file)?;
        let (sha256, bytes) = (content.sha256().to_string(), content.bytes());
        opened.push((v1::File { name, sha256, bytes, kind: kind.into() }, Arc::new(content)));
    }
    Ok(opened)
}

fn open_one(file: &FileToShip) -> Result<(OpenedFile, Kind)> {
    let unreadable = |error: io::Error| {
        Error::invalid("executor.files", "this file of the application can't be read")
            .with("path", file.path.display())
            .source(error)
    };
    let metadata = fs::metadata(&file.path).map_err(unreadable)?;
    if file.archive {
        let name = file.path.to_string_lossy();
        let kind = ARCHIVES.iter().find(|(ending, _)| name.ends_with(ending)).map(|(_, kind)| *kind);
        let kind = kind.ok_or_else(|| {
            Error::new(ErrorKind::InvalidRequest, "an archive of this kind can't be unpacked")
                .with("field", "executor.archives")
                .with("path", file.path.display())
                .help("it takes .tar, .tar.gz and .tgz; a folder needs no archive: name it as a file")
        })?;
        return Ok((OpenedFile::open(&file.path)?, kind));
    }
    if metadata.is_dir() {
        let packed = pack(&file.path).map_err(unreadable)?;
        return Ok((OpenedFile::of(packed, file.path.display().to_string())?, Kind::Folder));
    }
    let kind = if metadata.permissions().mode() & 0o111 == 0 { Kind::Plain } else { Kind::Executable };
    Ok((OpenedFile::open(&file.path)?, kind))
}

/// A folder as a tar, in a file that has no name: links stay links, and the order is that of the names.
fn pack(folder: &Path) -> io::Result<File> {
    let mut packed = tar::Builder::new(io::BufWriter::new(tempfile::tempfile()?));
    packed.follow_symlinks(false);
    pack_below(&mut packed, folder, Path::new(""))?;
    packed.into_inner()?.into_inner().map_err(io::IntoInnerError::into_error)
}

fn pack_below(packed: &mut tar::Builder<io::BufWriter<File>>, folder: &Path, below: &Path) -> io::Result<()> {
    let mut entries = fs::read_dir(folder)?.collect::<io::Result<Vec<_>>>()?;
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, name) = (entry.path(), below.join(entry.file_name()));
        let kind = entry.file_type()?;
        if kind.is_dir() {
            packed.append_dir(&name, &path)?;
            pack_below(packed, &path, &name)?;
        } else if kind.is_file() || kind.is_symlink() {
            packed.append_path_with_name(&path, &name)?;
        } else {
            let message = format!("{} is neither a file nor a folder nor a link", path.display());
            return Err(io::Error::new(io::ErrorKind::InvalidInput, message));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ship(path: &Path, name: Option<&str>) -> FileToShip {
        FileToShip { path: path.to_owned(), name: name.map(str::to_owned), archive: false }
    }

    #[test]
    fn a_name_may_be_given_behind_a_number_sign() {
        let folder = tempfile::tempdir().unwrap();
        let text = format!("{}/data.csv#the data", folder.path().display());
        let parsed = FileToShip::parse(&text, false);
        assert_eq!(parsed, ship(&folder.path().join("data.csv"), Some("the data")));
        fs::write(&text, "").unwrap();
        assert_eq!(FileToShip::parse(&text, false), ship(Path::new(&text), None), "there is such a file");
        assert_eq!(FileToShip::parse("/a/lib.tar.gz", true).shipped_name().unwrap(), "lib");
    }

    #[test]
    fn what_cant_be_shipped_is_refused_with_its_path() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a file");
        fs::write(&file, "x").unwrap();
        for name in ["../a", "/a", " a", "a\nb", ""] {
            let error = open(&[ship(&file, Some(name))]).unwrap_err();
            assert_eq!(error.field(), Some("executor.files"), "{name:?}");
        }
        for (one, other) in [("a", "a"), ("a", "a/b"), ("a/b", "a")] {
            assert!(open(&[ship(&file, Some(one)), ship(&file, Some(other))]).is_err(), "{one} {other}");
        }
        let missing = open(&[ship(&folder.path().join("missing"), None)]).unwrap_err();
        assert!(missing.to_string().contains("missing"), "{missing}");
        let zip = FileToShip { archive: true, ..ship(&file, None) };
        assert!(open(&[zip]).unwrap_err().advice().unwrap().contains(".tar.gz"));
        assert!(open(&vec![ship(&file, None); 257]).is_err());
    }

    #[test]
    fn a_folder_packs_the_same_each_time() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["z", "a b", "größe/it's"] {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        std::os::unix::fs::symlink("z", folder.path().join("link")).unwrap();
        let packed = || open(&[ship(folder.path(), Some("f"))]).unwrap().remove(0).0;
        assert_eq!(packed(), packed());
        assert_eq!(packed().kind(), Kind::Folder);
    }
}
