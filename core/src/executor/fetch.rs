//! Fetching the application's files from its driver: each once per node, resumed where a connection broke, and whole before it
//! has its name (D8).

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::future::Future;
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Component, Path, PathBuf};
use std::time::Duration;

use super::cache::NodeCache;
use super::link::IdentityParts;
use crate::error::{Error, ErrorKind};
use crate::ids::{ApplicationId, Name};
use crate::manager::LaunchFailure;
use crate::process::elf;
use crate::process::spawn::NotStarted;
use crate::rpc::status::from_status;
use crate::rpc::v1::{self, fetch_request, file::Kind};
use crate::rpc::{client, limits};
use crate::secret::Digest;
use crate::units::HostPort;

/// Tries in a row that bring nothing more, before it is given up.
const VAIN_TRIES: u32 = 8;
/// The pause after the first of them; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);
/// A driver that sends nothing for so long is dialled anew.
const STALLS_FOR: Duration = Duration::from_secs(30);
/// What the application's own program is called here.
const PROGRAM: &str = "program";

/// What is to be fetched, and where from.
#[derive(Debug, Clone)]
pub(super) struct Order {
    pub(super) application: ApplicationId,
    pub(super) driver: Vec<HostPort>,
    pub(super) identity: IdentityParts,
    /// The application's program; `None` where this process is it.
    pub(super) program: Option<Digest>,
    pub(super) files: Vec<v1::File>,
}

impl Order {
    /// What an assignment asks for; `None` where it is nothing.
    pub(super) fn of(
        assignment: &v1::Assignment,
        application: &ApplicationId,
        driver: Vec<HostPort>,
        identity: &IdentityParts,
    ) -> Result<Option<Order>, NotStarted> {
        if !assignment.program_missing.is_empty() {
            return Err(NotStarted {
                failure: LaunchFailure::WrongPlatform,
                message: assignment.program_missing.clone(),
            });
        }
        let program = Some(&assignment.program_sha256).filter(|digest| !digest.is_empty());
        let program = program.map(|digest| digest.parse()).transpose().map_err(|error: Error| {
            NotStarted { failure: LaunchFailure::Other, message: error.to_string() }
        })?;
        if program.is_none() && assignment.files.is_empty() {
            return Ok(None);
        }
        let (application, identity) = (application.clone(), identity.clone());
        Ok(Some(Order { application, driver, identity, program, files: assignment.files.clone() }))
    }
}

/// What was fetched. The cache's part is kept while this is.
#[derive(Debug)]
pub(super) struct Fetched {
    /// The program to run; `None`: this process's own.
    pub(super) program: Option<PathBuf>,
    /// The application's files by name.
    pub(super) files: BTreeMap<String, PathBuf>,
    pub(super) _cache: NodeCache,
}

/// Fetches everything; with `directory`, links the files into it. Blocks: call it on a thread of its own.
///
/// # Errors
/// Why the executor can't be launched, for the account.
pub(super) fn fetch(order: &Order, directory: Option<&Path>) -> Result<Fetched, NotStarted> {
    let unwritable = |error: io::Error| not_written("the folder for fetched files", &error);
    let cache = NodeCache::open(&order.application).map_err(unwritable)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| NotStarted {
        failure: LaunchFailure::Other,
        message: format!("can't make a runtime: {error}"),
    })?;
    let mut source = Source { order, client: None };
    let mut get = |name: &str, digest: Digest, kind: Kind| {
        let failed = |failed: Failed| failed.not_started(name);
        runtime.block_on(source.get(&cache, digest, kind)).map_err(failed)
    };
    let program = order.program.map(|digest| get(PROGRAM, digest, Kind::Executable)).transpose()?;
    if let Some(program) = &program {
        elf::check_runs_here(program)?;
    }
    let mut files = BTreeMap::new();
    for file in &order.files {
        let digest = file.sha256.parse().map_err(|error| Failed::Driver(error).not_started(&file.name))?;
        let path = get(&file.name, digest, file.kind())?;
        if let Some(directory) = directory {
            link(&path, directory, &file.name).map_err(|error| {
                let failed = not_written(&format!("{:?} in the working directory", file.name), &error);
                if error.kind() == io::ErrorKind::AlreadyExists {
                    NotStarted { failure: LaunchFailure::Other, ..failed }
                } else {
                    failed
                }
            })?;
        }
        files.insert(file.name.clone(), path);
    }
    Ok(Fetched { program, files, _cache: cache })
}

/// Makes the file visible in the working directory, under its name.
fn link(path: &Path, directory: &Path, name: &str) -> io::Result<()> {
    let name = Path::new(name);
    if !name.components().all(|part| matches!(part, Component::Normal(_))) {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "its name leads out of the folder"));
    }
    let link = directory.join(name);
    if let Some(parent) = link.parent() {
        fs::create_dir_all(parent)?;
    }
    std::os::unix::fs::symlink(path, link)
}

/// Why a file isn't there.
enum Failed {
    /// The driver doesn't give it, or not as it should be.
    Driver(Error),
    /// It can't be kept here.
    Host(io::Error),
}

impl From<io::Error> for Failed {
    fn from(error: io::Error) -> Failed {
        Failed::Host(error)
    }
}

impl Failed {
    fn not_started(self, name: &str) -> NotStarted {
        match self {
            Failed::Host(error) => not_written(&format!("the file {name:?}"), &error),
            Failed::Driver(error) => NotStarted {
                failure: Name::new(name).map_or(LaunchFailure::Other, LaunchFailure::ArtifactUnavailable),
                message: format!("{error:#}"),
            },
        }
    }
}

fn not_written(what: &str, error: &io::Error) -> NotStarted {
    let failure = match LaunchFailure::from_io(error) {
        LaunchFailure::DiskFull => LaunchFailure::DiskFull,
        _ => LaunchFailure::UnwritableDirectory,
    };
    NotStarted { failure, message: format!("can't write {what}: {error}") }
}

struct Source<'a> {
    order: &'a Order,
    client: Option<client::Client>,
}

impl Source<'_> {
    /// The file of this digest, from this node's cache or the driver.
    async fn get(&mut self, cache: &NodeCache, digest: Digest, kind: Kind) -> Result<PathBuf, Failed> {
        let folder = matches!(kind, Kind::Folder | Kind::CompressedFolder);
        let name = match kind {
            Kind::Plain => digest.to_string(),
            Kind::Executable => format!("{digest}.run"),
            Kind::Folder | Kind::CompressedFolder => format!("{digest}.d"),
        };
        let path = cache.file(&name);
        if path.exists() {
            return Ok(path);
        }
        let mut part = cache.part(&name)?;
        if path.exists() {
            return Ok(path); // another fetched it while we waited for our turn
        }
        let mut receiving = Receiving::go_on(&mut part)?;
        self.receive(digest, &mut receiving).await?;
        let received = receiving.digest();
        if received != digest {
            cache.drop_part(&name)?;
            let error = Error::new(ErrorKind::Protocol, "the driver's file is not what was meant");
            return Err(Failed::Driver(error.with("SHA-256", received).with("wanted", digest)));
        }
        if folder {
            let unpacked = cache.file(&format!("{name}.unpacking"));
            let _ = fs::remove_dir_all(&unpacked); // of one who was killed over it
            unpack(&mut part, kind, &unpacked)?;
            fs::rename(&unpacked, &path)?;
            cache.drop_part(&name)?;
        } else {
            let mode = if kind == Kind::Executable { 0o555 } else { 0o444 };
            part.set_permissions(fs::Permissions::from_mode(mode))?;
            cache.finish(&name)?;
        }
        Ok(path)
    }

    /// Receives all of it, over as many connections as that takes.
    async fn receive(&mut self, digest: Digest, receiving: &mut Receiving<'_>) -> Result<(), Failed> {
        let mut vain = 0;
        loop {
            let before = receiving.bytes;
            match self.receive_some(digest, receiving).await {
                Ok(()) => return Ok(()),
                Err(Failed::Driver(error)) => {
                    self.client = None;
                    vain = if receiving.bytes > before { 0 } else { vain + 1 };
                    if is_final(&error) || vain >= VAIN_TRIES {
                        return Err(Failed::Driver(error));
                    }
                    tracing::warn!(%error, bytes = receiving.bytes, "a fetch broke off; it goes on from there");
                    tokio::time::sleep(FIRST_PAUSE * 2_u32.pow(vain)).await;
                }
                failed => return failed,
            }
        }
    }

    async fn receive_some(&mut self, digest: Digest, receiving: &mut Receiving<'_>) -> Result<(), Failed> {
        let order = self.order;
        let client = match &mut self.client {
            Some(client) => client,
            none => {
                let connected = client::connect(&order.driver, &order.application, &order.identity).await;
                none.insert(connected.map_err(Failed::Driver)?)
            }
        };
        let ask = v1::FetchRequest {
            what: Some(fetch_request::What::Artifact(digest.to_string())),
            offset: receiving.bytes,
        };
        let failed = |status: tonic::Status| Failed::Driver(from_status(&status));
        let mut chunks = patient(client.fetch(ask)).await?.map_err(failed)?.into_inner();
        let mut total = None;
        while let Some(chunk) = patient(chunks.message()).await?.map_err(failed)? {
            total = total.or(Some(chunk.total));
            receiving.take(&chunk.bytes)?;
        }
        if total == Some(receiving.bytes) {
            return Ok(());
        }
        let error =
            Error::new(ErrorKind::Unavailable, "the fetch ended early").with("bytes", receiving.bytes);
        Err(Failed::Driver(error))
    }
}

async fn patient<T>(answer: impl Future<Output = T>) -> Result<T, Failed> {
    tokio::time::timeout(STALLS_FOR, answer).await.map_err(|_| {
        Failed::Driver(Error::new(ErrorKind::Unavailable, "the driver sends nothing").with("for", "30s"))
    })
}

/// Whether asking again is in vain.
fn is_final(error: &Error) -> bool {
    super::supervisor::driver::is_refusal(error) || error.kind() == ErrorKind::NotFound
}

/// A file that is being received, and its digest so far.
struct Receiving<'a> {
    part: &'a mut File,
    bytes: u64,
    digest: ring::digest::Context,
}

impl Receiving<'_> {
    /// Goes on where whoever had it before stopped.
    fn go_on(part: &mut File) -> io::Result<Receiving<'_>> {
        let mut digest = ring::digest::Context::new(&ring::digest::SHA256);
        let mut buffer = vec![0; limits::CHUNK_BYTES];
        let mut bytes = 0;
        part.seek(SeekFrom::Start(0))?;
        loop {
            match part.read(&mut buffer) {
                Ok(0) => break,
                Ok(read) => {
                    digest.update(&buffer[..read]);
                    bytes += read as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Receiving { part, bytes, digest })
    }

    fn take(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.part.write_all(chunk)?;
        self.digest.update(chunk);
        self.bytes += chunk.len() as u64;
        Ok(())
    }

    fn digest(self) -> Digest {
        let mut digest = [0; 32];
        digest.copy_from_slice(self.digest.finish().as_ref());
        Digest(digest)
    }
}

/// Unpacks a tar; nothing of it lands outside of `folder`.
fn unpack(packed: &mut File, kind: Kind, folder: &Path) -> io::Result<()> {
    packed.seek(SeekFrom::Start(0))?;
    fs::create_dir(folder)?;
    let buffered = io::BufReader::with_capacity(limits::CHUNK_BYTES, packed);
    let reader: Box<dyn io::Read> = if kind == Kind::CompressedFolder {
        Box::new(flate2::read::MultiGzDecoder::new(buffered))
    } else {
        Box::new(buffered)
    };
    let mut archive = tar::Archive::new(reader);
    archive.set_preserve_mtime(true);
    archive.unpack(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_has_the_name_that_was_asked_for_and_stays_in_its_folder() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "content").unwrap();
        for name in ["it's a \"name\"", "größe/漢字.txt", "$(x)"] {
            link(&file, folder.path(), name).unwrap();
            assert_eq!(fs::read(folder.path().join(name)).unwrap(), b"content");
        }
        for name in ["../out", "/abs", "a/../../b"] {
            assert!(link(&file, folder.path(), name).is_err(), "{name}");
        }
        assert_eq!(link(&file, folder.path(), "$(x)").unwrap_err().kind(), io::ErrorKind::AlreadyExists);
    }

    #[test]
    fn what_was_received_before_counts() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("part");
        fs::write(&path, "half ").unwrap();
        let mut part = File::options().read(true).write(true).open(&path).unwrap();
        let mut receiving = Receiving::go_on(&mut part).unwrap();
        assert_eq!(receiving.bytes, 5);
        receiving.take(b"and half").unwrap();
        assert_eq!(receiving.digest(), Digest::of(b"half and half"));
        assert_eq!(fs::read(&path).unwrap(), b"half and half");
    }
}
