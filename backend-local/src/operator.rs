//! What later processes of the user see of local applications, by their folders, and how they end one.

use std::fs;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::clock;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    ApplicationReport, ApplicationState, ExecutorReport, ExecutorState, Finding, LogChunk, LogRequest,
    Operator, Stream,
};
use convoke_core::process::cgroup::{Cgroup, CgroupLimits};
use convoke_core::process::logs::LogReader;
use convoke_core::units::{MiB, format_duration};
use convoke_core::{Error, ErrorKind, Result};
use tokio::task::AbortHandle;
use tokio_util::sync::CancellationToken;

use crate::folder::{self, ExecutorFolder};
use crate::record::{ApplicationRecord, EndRecord, ExecutorRecord, time};
use crate::settings::{DIRECTORY, LOGS_KEPT, LocalSettings};
use crate::{requests, sweep, tree};

/// Between looks at how an application or executor is.
const LOOK: Duration = Duration::from_millis(50);
/// The least free space that executors' folders want.
const LEAST_SPACE_MIB: u64 = 256;

/// The applications of this user on this host: of all drivers, whatever their local master.
#[derive(Debug, Clone)]
pub(crate) struct LocalOperator {
    directory: PathBuf,
}

impl LocalOperator {
    pub(crate) fn new(settings: &LocalSettings) -> LocalOperator {
        LocalOperator { directory: folder::directory(settings) }
    }

    fn find(&self, application: &ApplicationId) -> Result<PathBuf> {
        let path = self.directory.join(application.as_str());
        if ApplicationRecord::read(&path).is_some() {
            return Ok(path);
        }
        Err(Error::new(ErrorKind::NotFound, "there is no such local application")
            .with("application", application)
            .with("folder", self.directory.display())
            .help(format!("convoke status --all lists them; what has ended is kept for {LOGS_KEPT}")))
    }
}

/// Asks the file system on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    tokio::task::spawn_blocking(work).await.unwrap_or_else(|error| {
        Err(Error::internal("looking at the folders of applications failed").source(error))
    })
}

#[async_trait]
impl Operator for LocalOperator {
    async fn applications(&self) -> Result<Vec<ApplicationReport>> {
        let directory = self.directory.clone();
        blocking(move || {
            let all = folder::applications(&directory).map_err(|error| {
                Error::host("can't read the folder of applications", error)
                    .with("folder", directory.display())
                    .help(format!("it is set by {DIRECTORY}"))
            })?;
            Ok(all.into_iter().filter_map(|(id, path)| report(id, &path)).collect())
        })
        .await
    }

    async fn logs(
        &self,
        application: &ApplicationId,
        executor: ExecutorId,
        request: LogRequest,
    ) -> Result<Stream<Result<LogChunk>>> {
        let path = self.find(application)?;
        let folder = ExecutorFolder::below(&path.join(executor.to_string()));
        if ExecutorRecord::read(&folder.path).is_none() {
            return Err(Error::new(ErrorKind::NotFound, "the application has no such executor")
                .with("application", application)
                .with("executor", executor)
                .help(format!("convoke status {application} lists them")));
        }
        let ended = CancellationToken::new();
        let chunks = LogReader::stream(&folder.logs, &request, ended.clone())?;
        let watch = request.follow.then(|| {
            let application = application.clone();
            tokio::spawn(async move {
                while !has_ended(&application, &path, &folder) {
                    tokio::time::sleep(LOOK).await;
                }
                ended.cancel();
            })
            .abort_handle()
        });
        Ok(Box::pin(Watched { chunks, watch }))
    }

    async fn kill(&self, application: &ApplicationId, deadline: Duration) -> Result<()> {
        let path = self.find(application)?;
        let began = clock::now();
        let mut asked = false;
        loop {
            // Without a record either its folder is gone, and it with it.
            if EndRecord::read(&path).is_some() || ApplicationRecord::read(&path).is_none() {
                return Ok(());
            }
            if let Some(lock) = folder::take(&path) {
                let application = application.clone();
                return blocking(move || {
                    sweep::finish(&application, &path);
                    drop(lock);
                    Ok(())
                })
                .await;
            }
            if !asked {
                asked = requests::ask_to_end(&folder::requests(&path), &who()).map_err(|error| {
                    Error::host("can't ask the application's driver", error).with("application", application)
                })?;
            }
            if clock::now().since(began) > deadline {
                let driver = ApplicationRecord::read(&path).map_or(0, |record| record.driver_process);
                return Err(Error::new(ErrorKind::DeadlineExceeded, "its driver doesn't end it")
                    .with("application", application)
                    .with("driver's process", driver)
                    .with("deadline", format_duration(deadline))
                    .help(format!(
                        "end the driver itself: kill {driver} (kill -9 {driver} ends all of it, too)"
                    )));
            }
            tokio::time::sleep(LOOK / 2).await;
        }
    }
}

/// Ends its watch with it.
struct Watched {
    chunks: Stream<Result<LogChunk>>,
    watch: Option<AbortHandle>,
}

impl futures_core::Stream for Watched {
    type Item = Result<LogChunk>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.chunks.as_mut().poll_next(context)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(watch) = &self.watch {
            watch.abort();
        }
    }
}

fn has_ended(application: &ApplicationId, path: &Path, executor: &ExecutorFolder) -> bool {
    ExecutorRecord::read(&executor.path).is_none_or(|record| record.exit.is_some())
        || EndRecord::read(path).is_some()
        || (!folder::has_driver(path) && !tree::is_alive(application))
}

fn who() -> String {
    let user = rustix::process::geteuid().as_raw();
    user_name().map_or_else(|| format!("user {user}"), |name| name.to_string())
}

/// What the environment calls this user, on one line.
fn user_name() -> Option<Name> {
    ["USER", "LOGNAME"].iter().find_map(|variable| Name::new(std::env::var(variable).ok()?).ok())
}

fn report(id: ApplicationId, path: &Path) -> Option<ApplicationReport> {
    let record = ApplicationRecord::read(path)?;
    let state = match EndRecord::read(path) {
        Some(end) => {
            ApplicationState::Ended { outcome: end.outcome.map(Into::into), at: Some(time(end.at_ms)) }
        }
        None if folder::has_driver(path) => ApplicationState::Running,
        None => ApplicationState::Ended { outcome: None, at: None },
    };
    let over = matches!(state, ApplicationState::Ended { .. });
    let mut report = ApplicationReport::new(id.clone(), record.name, id.to_string(), state);
    report.user = user_name();
    report.since = Some(time(record.since_ms));
    report.driver_process = (!over).then_some(record.driver_process);
    report.logs = Some(path.display().to_string());
    for folder in fs::read_dir(path).into_iter().flatten().flatten() {
        let executor = folder.file_name().to_str().and_then(|name| name.parse().ok()).map(ExecutorId);
        if let (Some(executor), Some(record)) = (executor, ExecutorRecord::read(&folder.path())) {
            let state = match record.exit {
                Some(exit) => ExecutorState::Ended(exit),
                None if over => ExecutorState::Ended("ended with its driver".to_owned()),
                None => ExecutorState::Running,
            };
            let mut seen = ExecutorReport::new(id.native(executor), state);
            seen.host = Some(record.host);
            seen.resources = Some(record.resources);
            seen.since = Some(time(record.since_ms));
            seen.process = record.process;
            report.executors.insert(executor, seen);
        }
    }
    Some(report)
}

/// Looks at what executors of this host need. Blocks.
pub(crate) fn diagnose(settings: &LocalSettings) -> Vec<Finding> {
    vec![look_at_folder(settings), look_at_cgroups()]
}

fn look_at_folder(settings: &LocalSettings) -> Finding {
    const WHAT: &str = "folder";
    let directory = folder::directory(settings);
    if let Err(error) = folder::make_directory(&directory).and_then(|()| folder::lock_directory(&directory)) {
        return Finding::error(WHAT, &error);
    }
    let elsewhere = format!("name another folder with {DIRECTORY}, or with TMPDIR");
    match rustix::fs::statvfs(&directory) {
        Ok(space) => {
            let mib = space.f_bavail.saturating_mul(space.f_frsize) >> 20;
            let seen = format!("{} has {mib} MiB free", directory.display());
            if mib < LEAST_SPACE_MIB {
                Finding::wrong(WHAT, seen, elsewhere)
            } else {
                Finding::well(WHAT, seen)
            }
        }
        Err(error) => Finding::weak(WHAT, format!("{}: {error}", directory.display()), elsewhere),
    }
}

/// Whether the kernel keeps an executor within its memory: seen by making a group and removing it.
fn look_at_cgroups() -> Finding {
    const WHAT: &str = "cgroup";
    const WATCHED: &str =
        "executors over their memory are found by a watch, which a quick one escapes for a moment";
    let limits = CgroupLimits { memory: Some(MiB(64)), cpu_share: None, cpu_quota: None };
    match Cgroup::create(&format!("doctor-{}", std::process::id()), &limits) {
        Ok(Some(group)) => {
            let (kept, folders) = (group.keeps_memory(), group.folders());
            match group.remove() {
                Err(error) => Finding::error(WHAT, &error),
                Ok(()) if kept => Finding::well(
                    WHAT,
                    format!("each executor gets one, with its memory as limit ({})", parent(&folders)),
                ),
                Ok(()) => Finding::weak(WHAT, "there are groups, but none that keeps memory", WATCHED),
            }
        }
        Ok(None) => Finding::weak(
            WHAT,
            "this user may make none",
            format!("{WATCHED}; systemd-run --user --scope -p Delegate=yes gives a group of one's own"),
        ),
        Err(error) => Finding::weak(WHAT, error.to_string(), WATCHED),
    }
}

fn parent(folders: &str) -> String {
    let first = folders.split(':').next().unwrap_or_default();
    Path::new(first).parent().unwrap_or(Path::new(first)).display().to_string()
}
