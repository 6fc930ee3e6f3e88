//! What executors fetch by digest, and how much of it went out.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::opened::OpenedFile;
use crate::error::Error;
use crate::manager::Platform;
use crate::rpc::limits::CHUNK_BYTES;
use crate::rpc::{status, v1};
use crate::secret::Digest;

/// Chunks that are read before they are sent, for each fetch.
const READ_AHEAD: usize = 2;

/// The application's files and its program's builds, by digest.
#[derive(Debug, Default)]
pub(crate) struct ArtifactStore {
    served: BTreeMap<Digest, Arc<Served>>,
    files: Vec<v1::File>,
    /// The application's program where the bootstrap isn't it.
    program: Vec<(Platform, Digest)>,
    /// Open as long as the application lives, though nobody fetches them from here.
    _held: Vec<(Platform, Arc<OpenedFile>)>,
}

#[derive(Debug)]
struct Served {
    name: String,
    file: Arc<OpenedFile>,
    fetches: AtomicU64,
    resumed: AtomicU64,
    sent_bytes: AtomicU64,
}

/// A file of the application, and how much of it its executors have fetched.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct ArtifactStatus {
    /// Its name, or the path of a program.
    pub name: String,
    /// Of what travels: of a folder, its packed form.
    pub sha256: Digest,
    /// How many bytes that is.
    pub bytes: u64,
    /// How often a fetch began, from the start or in the middle.
    pub fetches: u64,
    /// How many of those went on where an earlier one had broken off.
    pub resumed: u64,
    /// Bytes that were handed to connections.
    pub sent_bytes: u64,
}

impl ArtifactStore {
    pub(crate) fn new(
        files: Vec<(v1::File, Arc<OpenedFile>)>,
        program: Vec<(Platform, Arc<OpenedFile>)>,
        held: Vec<(Platform, Arc<OpenedFile>)>,
    ) -> ArtifactStore {
        let mut store = ArtifactStore { _held: held, ..ArtifactStore::default() };
        for (described, file) in files {
            store.serve(described.name.clone(), file);
            store.files.push(described);
        }
        for (platform, file) in program {
            store.program.push((platform, file.sha256()));
            store.serve(file.shown().to_owned(), file);
        }
        store
    }

    fn serve(&mut self, name: String, file: Arc<OpenedFile>) {
        let counts = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        let (digest, (fetches, resumed, sent_bytes)) = (file.sha256(), counts);
        self.served
            .entry(digest)
            .or_insert_with(|| Arc::new(Served { name, file, fetches, resumed, sent_bytes }));
    }

    /// Says what an executor whose bootstrap was built for `platform` needs.
    pub(crate) fn assign(&self, platform: &str, assignment: &mut v1::Assignment) {
        assignment.files.clone_from(&self.files);
        if self.program.is_empty() {
            return;
        }
        let node = Platform(platform.to_owned());
        // A static bootstrap says nothing of the node's C library: the supervisor looks before it starts what it gets.
        let build = |suits: &dyn Fn(&Platform) -> bool| self.program.iter().find(|(build, _)| suits(build));
        let found = build(&|build| *build == node)
            .or_else(|| build(&|build| build.runs_on(&node)))
            .or_else(|| build(&|build| node.runs_on(build)));
        match found {
            Some((_, digest)) => assignment.program_sha256 = digest.to_string(),
            None => {
                let has: Vec<_> = self.program.iter().map(|(platform, _)| platform.to_string()).collect();
                assignment.program_missing = format!(
                    "there is no build of the application for this node's {node}; there are builds for {}: \
                     see executor.builds",
                    has.join(", ")
                );
            }
        }
    }

    /// Sends the rest of a file from `offset` on.
    pub(crate) fn fetch(
        &self,
        digest: &str,
        offset: u64,
    ) -> Result<ReceiverStream<Result<v1::Chunk, Status>>, Status> {
        let found = digest.parse().ok().and_then(|digest: Digest| self.served.get(&digest));
        let Some(served) = found.cloned() else {
            return Err(Status::not_found(format!("this driver has no artifact {digest:.64?}")));
        };
        let total = served.file.bytes();
        if offset > total {
            return Err(Status::invalid_argument("a fetch from beyond the end of the artifact"));
        }
        served.fetches.fetch_add(1, Ordering::Relaxed);
        if offset > 0 {
            served.resumed.fetch_add(1, Ordering::Relaxed);
        }
        let (chunks, stream) = mpsc::channel(READ_AHEAD);
        tokio::spawn(async move {
            let mut at = offset;
            loop {
                // Room first: nothing is read for one who doesn't take it.
                let Ok(room) = chunks.reserve().await else { return };
                let reading = served.clone();
                let read = tokio::task::spawn_blocking(move || reading.file.read_at(at, CHUNK_BYTES)).await;
                let read = read.unwrap_or_else(|error| Err(Error::internal("the read failed").source(error)));
                match read {
                    Ok(bytes) => {
                        at += bytes.len() as u64;
                        served.sent_bytes.fetch_add(bytes.len() as u64, Ordering::Relaxed);
                        room.send(Ok(v1::Chunk { total, bytes }));
                        if at >= total {
                            return;
                        }
                    }
                    Err(error) => {
                        tracing::error!(%error, "a file of the application can't be served");
                        room.send(Err(status::to_status(&error)));
                        return;
                    }
                }
            }
        });
        Ok(ReceiverStream::new(stream))
    }

    /// Everything that is served.
    pub(crate) fn status(&self) -> Vec<ArtifactStatus> {
        let status = |(sha256, served): (&Digest, &Arc<Served>)| ArtifactStatus {
            name: served.name.clone(),
            sha256: *sha256,
            bytes: served.file.bytes(),
            fetches: served.fetches.load(Ordering::Relaxed),
            resumed: served.resumed.load(Ordering::Relaxed),
            sent_bytes: served.sent_bytes.load(Ordering::Relaxed),
        };
        self.served.iter().map(status).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn assigned(builds: &[&str], node: &str) -> String {
        let folder = tempfile::tempdir().unwrap();
        let mut program = Vec::new();
        for build in builds {
            let path = folder.path().join(build);
            std::fs::write(&path, build).unwrap();
            program.push((Platform((*build).to_owned()), Arc::new(OpenedFile::open(&path).unwrap())));
        }
        let mut assignment = v1::Assignment::default();
        ArtifactStore::new(Vec::new(), program, Vec::new()).assign(node, &mut assignment);
        let of =
            builds.iter().find(|build| assignment.program_sha256 == Digest::of(build.as_bytes()).to_string());
        of.map_or(assignment.program_missing, |build| (*build).to_owned())
    }

    #[test]
    fn a_node_gets_the_build_that_suits_it_best() {
        let builds = ["x86_64-linux-static", "x86_64-linux-gnu", "aarch64-linux-gnu"];
        assert_eq!(assigned(&builds, "x86_64-linux-gnu"), builds[1]);
        assert_eq!(assigned(&builds, "x86_64-linux-musl"), builds[0]);
        assert_eq!(assigned(&builds, "aarch64-linux-gnu"), builds[2]);
        assert_eq!(assigned(&builds, "aarch64-linux-static"), builds[2], "its libc isn't known");
        let missing = assigned(&builds, "aarch64-linux-musl");
        assert!(
            missing.contains("this node's aarch64-linux-musl") && missing.contains(builds[1]),
            "{missing}"
        );
        assert!(assigned(&builds, "riscv64-linux-gnu").contains("no build"));
    }
}
