//! The first process of an executor: a guard, or a program of the node itself.

use std::io;
use std::process::ExitStatus;

use convoke_core::manager::{LogLimits, LogStream};
use convoke_core::process::logs::LogWriter;
use convoke_core::process::table::ProcessId;
use rustix::process::Signal;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::process::{Child, ChildStdin, ChildStdout};
use tokio::task::JoinHandle;

use crate::folder::ExecutorFolder;

/// A started process, and the ends of its pipes that are here.
#[derive(Debug)]
pub(crate) struct FirstProcess {
    child: Child,
    id: Option<ProcessId>,
    /// Its end says that the driver is gone.
    stdin: Option<ChildStdin>,
    witness: Witness,
    status: Option<ExitStatus>,
    ended: bool,
}

/// What a guard starts has the guard's standard output too, so that the end of the pipe says that guard *and* supervisor
/// are gone, which the exit of one of them does not.
#[derive(Debug)]
enum Witness {
    Pipe(Option<ChildStdout>),
    /// The output is what people read: those who keep it see its end.
    Keepers(Vec<JoinHandle<()>>),
}

impl FirstProcess {
    /// Takes charge of a process that was just started. `logs`: where its output is to be kept, if it doesn't do so itself.
    pub(crate) fn new(mut child: Child, logs: Option<(&ExecutorFolder, &LogLimits)>) -> FirstProcess {
        let id = child.id().and_then(ProcessId::of);
        let stdin = child.stdin.take();
        let witness = match logs {
            None => Witness::Pipe(child.stdout.take()),
            Some((folder, limits)) => {
                let stdout = child.stdout.take().map(|pipe| keep(pipe, LogStream::Stdout, folder, limits));
                let stderr = child.stderr.take().map(|pipe| keep(pipe, LogStream::Stderr, folder, limits));
                Witness::Keepers(stdout.into_iter().chain(stderr).collect())
            }
        };
        FirstProcess { child, id, stdin, witness, status: None, ended: false }
    }

    /// Who it is; known as long as it has not been waited for.
    pub(crate) fn id(&self) -> Option<ProcessId> {
        self.id
    }

    /// Writes to its standard input, which stays open.
    pub(crate) async fn give(&mut self, line: &[u8]) {
        if let Some(stdin) = &mut self.stdin
            && let Err(error) = stdin.write_all(line).await
        {
            tracing::debug!(%error, "an executor takes no ticket"); // how it ends says more
        }
    }

    /// Ends its standard input: its driver is gone, for it.
    pub(crate) fn hang_up(&mut self) {
        self.stdin = None;
    }

    /// Asks it to end; where it is stopped, it goes on for that.
    pub(crate) fn terminate(&self) {
        let Some(id) = self.id.filter(|_| !self.ended) else { return };
        for signal in [Signal::TERM, Signal::CONT] {
            if let Err(error) = id.signal(signal) {
                tracing::debug!(%error, "can't signal an executor");
            }
        }
    }

    /// Returns when this process has ended.
    ///
    /// # Cancel safety
    /// Cancel safe, and can be asked again.
    pub(crate) async fn exited(&mut self) {
        if !self.ended {
            match self.child.wait().await {
                Ok(status) => self.status = Some(status),
                // Somebody else in this program waits for all children: nobody can tell how it ended.
                Err(error) => tracing::debug!(%error, "can't tell how a process ended"),
            }
            self.ended = true;
        }
    }

    /// Returns when this process, and all others that have its output, are gone.
    ///
    /// # Cancel safety
    /// Cancel safe, and can be asked again.
    pub(crate) async fn gone(&mut self) {
        self.exited().await;
        match &mut self.witness {
            Witness::Pipe(pipe) => {
                let mut scrap = [0_u8; 4096];
                while let Some(open) = pipe {
                    match open.read(&mut scrap).await {
                        Ok(0) => *pipe = None,
                        Ok(_) => {} // a guard has nothing to say there
                        Err(error) => {
                            tracing::warn!(%error, "can't watch an executor's output");
                            *pipe = None;
                        }
                    }
                }
            }
            Witness::Keepers(keepers) => {
                while let Some(keeper) = keepers.last_mut() {
                    if let Err(error) = keeper.await {
                        tracing::warn!(%error, "what an executor printed is not all kept");
                    }
                    keepers.pop();
                }
            }
        }
    }

    /// How it ended, where that is known.
    pub(crate) fn status(&self) -> Option<ExitStatus> {
        self.status
    }
}

/// Keeps what is printed until nobody is left who could print. Never lets the printer wait for a full disk.
fn keep(
    mut pipe: impl AsyncRead + Unpin + Send + 'static,
    stream: LogStream,
    folder: &ExecutorFolder,
    limits: &LogLimits,
) -> JoinHandle<()> {
    let (folder, limits) = (folder.logs.clone(), limits.clone());
    tokio::spawn(async move {
        let mut writer = match LogWriter::open(&folder, stream, &limits) {
            Ok(writer) => Some(writer),
            Err(error) => {
                tracing::warn!(%error, "what an executor prints is not kept");
                None
            }
        };
        let mut buffer = vec![0_u8; 64 << 10];
        loop {
            match pipe.read(&mut buffer).await {
                Ok(0) => return,
                Ok(count) => {
                    let Some(mut open) = writer.take() else { continue };
                    let written = tokio::task::spawn_blocking(move || {
                        let result = open.write(&buffer[..count]);
                        (open, buffer, result)
                    });
                    match written.await {
                        Ok((open, back, result)) => {
                            if let Err(error) = result {
                                tracing::warn!(%error, "what an executor prints can't be kept");
                            }
                            (writer, buffer) = (Some(open), back);
                        }
                        Err(_) => return, // the runtime is shutting down
                    }
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => {
                    tracing::warn!(%error, "can't read what an executor prints");
                    return;
                }
            }
        }
    })
}
