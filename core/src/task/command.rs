//! Command tasks: any program, run on an executor like a function.

use std::fmt;
use std::process::Stdio;

use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWriteExt as _};

use super::TaskContext;

/// A program to run as a task: nothing passes through a shell.
///
/// ```
/// use convoke_core::task::Command;
/// let command = Command::new("python3").arg("-c").arg("print(input())").stdin("hello\n").env("LANG", "C");
/// ```
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Command {
    program: String,
    arguments: Vec<String>,
    environment: Vec<(String, String)>,
    directory: Option<String>,
    stdin: Vec<u8>,
    most_output_bytes: u64,
    check: bool,
}

impl Command {
    /// Runs `program`: a path on the executor's node, or a name found by its `PATH`.
    pub fn new(program: impl Into<String>) -> Command {
        Command {
            program: program.into(),
            arguments: Vec::new(),
            environment: Vec::new(),
            directory: None,
            stdin: Vec::new(),
            most_output_bytes: 1 << 20,
            check: false,
        }
    }

    /// Adds an argument.
    #[must_use]
    pub fn arg(mut self, argument: impl Into<String>) -> Command {
        self.arguments.push(argument.into());
        self
    }

    /// Adds arguments.
    #[must_use]
    pub fn args(mut self, arguments: impl IntoIterator<Item = impl Into<String>>) -> Command {
        self.arguments.extend(arguments.into_iter().map(Into::into));
        self
    }

    /// Sets a variable of its environment, which otherwise is the executor's.
    #[must_use]
    pub fn env(mut self, name: impl Into<String>, value: impl Into<String>) -> Command {
        self.environment.push((name.into(), value.into()));
        self
    }

    /// Runs it in this folder; otherwise the executor's working directory.
    #[must_use]
    pub fn directory(mut self, directory: impl Into<String>) -> Command {
        self.directory = Some(directory.into());
        self
    }

    /// Gives it these bytes on standard input, then its end. Without, standard input is empty.
    #[must_use]
    pub fn stdin(mut self, bytes: impl Into<Vec<u8>>) -> Command {
        self.stdin = bytes.into();
        self
    }

    /// Keeps so many bytes of its output and of its errors each, 1 MiB by default; the rest is read and thrown away, and
    /// counted.
    #[must_use]
    pub fn most_output_bytes(mut self, bytes: u64) -> Command {
        self.most_output_bytes = bytes;
        self
    }

    /// Makes an exit code other than 0, or a signal, a failure of the attempt instead of a result.
    #[must_use]
    pub fn check(mut self) -> Command {
        self.check = true;
        self
    }
}

/// How a command ended and what it wrote.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommandOutput {
    /// Its exit code; `None` where a signal ended it.
    pub code: Option<i32>,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// The beginning of its standard output, up to the limit.
    pub stdout: Vec<u8>,
    /// Bytes of standard output that were thrown away.
    pub stdout_dropped_bytes: u64,
    /// The beginning of its standard error, up to the limit.
    pub stderr: Vec<u8>,
    /// Bytes of standard error that were thrown away.
    pub stderr_dropped_bytes: u64,
}

impl CommandOutput {
    /// Whether it exited with code 0.
    #[must_use]
    pub fn success(&self) -> bool {
        self.code == Some(0)
    }
}

/// A command gave no result.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum CommandError {
    /// It could not be started.
    NotStarted {
        /// The program.
        program: String,
        /// Why.
        message: String,
    },
    /// It could not be fed or read.
    Broken {
        /// Why.
        message: String,
    },
    /// It ended otherwise than with code 0, and [`Command::check`] was asked for.
    Failed(Box<CommandOutput>),
}

impl fmt::Display for CommandError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommandError::NotStarted { program, message } => write!(f, "can't start {program:?}: {message}"),
            CommandError::Broken { message } => write!(f, "the command's pipes broke: {message}"),
            CommandError::Failed(output) => {
                match (output.code, output.signal) {
                    (Some(code), _) => write!(f, "the command exited with code {code}")?,
                    (None, Some(signal)) => write!(f, "signal {signal} ended the command")?,
                    (None, None) => f.write_str("the command ended")?,
                }
                let stderr = String::from_utf8_lossy(&output.stderr);
                match stderr.trim_end().lines().last() {
                    Some(line) => write!(f, ": {line}"),
                    None => Ok(()),
                }
            }
        }
    }
}

impl std::error::Error for CommandError {}

/// The task behind `Driver::submit_command`.
#[crate::task]
pub async fn run_command(context: &TaskContext, command: Command) -> Result<CommandOutput, CommandError> {
    let mut process = tokio::process::Command::new(&command.program);
    for name in crate::executor::environment::PRIVATE {
        process.env_remove(name);
    }
    process
        .args(&command.arguments)
        .envs(command.environment.iter().map(|(name, value)| (name, value)))
        .env("CONVOKE_TASK", context.task().to_string())
        .env("CONVOKE_ATTEMPT", context.attempt().to_string())
        .stdin(if command.stdin.is_empty() { Stdio::null() } else { Stdio::piped() })
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    if let Some(directory) = &command.directory {
        process.current_dir(directory);
    }
    let mut child = process.spawn().map_err(|error| CommandError::NotStarted {
        program: command.program.clone(),
        message: error.to_string(),
    })?;
    let group = Group(child.id());

    let stdin = child.stdin.take();
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A program that doesn't read its input to the end is no error.
            let _ = stdin.write_all(&command.stdin).await;
        }
    };
    let most = command.most_output_bytes;
    let broken = |error: std::io::Error| CommandError::Broken { message: error.to_string() };
    let ((), stdout, stderr) =
        futures_util::join!(feed, capture(child.stdout.take(), most), capture(child.stderr.take(), most));
    let status = child.wait().await.map_err(broken)?;
    drop(group);
    let (stdout, stdout_dropped_bytes) = stdout.map_err(broken)?;
    let (stderr, stderr_dropped_bytes) = stderr.map_err(broken)?;
    let signal = std::os::unix::process::ExitStatusExt::signal(&status);
    let output = CommandOutput {
        code: status.code(),
        signal,
        stdout,
        stdout_dropped_bytes,
        stderr,
        stderr_dropped_bytes,
    };
    if command.check && !output.success() {
        return Err(CommandError::Failed(Box::new(output)));
    }
    Ok(output)
}

/// Ends the command's process group, also when its task is cancelled.
struct Group(Option<u32>);

impl Drop for Group {
    fn drop(&mut self) {
        let group = self.0.and_then(|id| i32::try_from(id).ok()).and_then(rustix::process::Pid::from_raw);
        if let Some(group) = group {
            // It may be gone already.
            let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
        }
    }
}

async fn capture(pipe: Option<impl AsyncRead + Unpin>, most: u64) -> std::io::Result<(Vec<u8>, u64)> {
    let (mut kept, mut dropped) = (Vec::new(), 0);
    if let Some(mut pipe) = pipe {
        let mut buffer = vec![0; 16 << 10];
        loop {
            let read = pipe.read(&mut buffer).await?;
            if read == 0 {
                break;
            }
            let room = usize::try_from(most).unwrap_or(usize::MAX).saturating_sub(kept.len());
            kept.extend_from_slice(&buffer[..read.min(room)]);
            dropped += read.saturating_sub(room) as u64;
        }
    }
    Ok((kept, dropped))
}
