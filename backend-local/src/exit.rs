//! What the end of a process says about its executor (L2).

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;

use convoke_core::manager::{Exit, ExitCause, LaunchFailure, LogFrom, LogStream};
use convoke_core::process::logs::LogReader;
use convoke_core::units::MiB;

use crate::folder::ExecutorFolder;
use crate::launch::SUPERVISOR_LOG;

/// A guard or supervisor that could not do its work ends with this code, and says why on standard error.
const NOT_STARTED: i32 = 125;
/// How much of the log goes with an exit.
const TAIL_BYTES: u64 = 4096;

/// All that is known of an end.
#[derive(Debug)]
pub(crate) struct Evidence {
    /// What its parent was told.
    pub(crate) status: Option<ExitStatus>,
    /// Why we stopped it, where we did.
    pub(crate) stopped: Option<ExitCause>,
    /// Whether it had to be killed from outside.
    pub(crate) killed_from_outside: bool,
    /// How often the kernel ended a process of it for its memory.
    pub(crate) memory_kills: u64,
    /// Its limit.
    pub(crate) limit: MiB,
    /// Whether its first process is a guard of ours.
    pub(crate) guarded: bool,
}

/// The exit that the evidence shows: what the kernel did for memory goes before our stop, that before a bare code.
pub(crate) fn of(evidence: &Evidence) -> Exit {
    let killed = if evidence.killed_from_outside { "; the rest of it was killed from outside" } else { "" };
    let how = match evidence.status {
        Some(status) => status.to_string(),
        None => "nobody was told how it ended".to_owned(),
    };
    let failed = evidence.status.is_none_or(|status| !status.success());
    if evidence.memory_kills > 0 && failed {
        let limit = evidence.limit;
        let message =
            format!("the kernel ended a process of it, for all of it together needed more than {limit}");
        return Exit::new(ExitCause::OutOfMemory { limit }, message);
    }
    if let Some(cause) = &evidence.stopped {
        return Exit::new(cause.clone(), format!("{how}{killed}"));
    }
    let cause = match evidence.status.map(|status| (status.code(), status.signal())) {
        Some((Some(NOT_STARTED), _)) if evidence.guarded => {
            let message = "its guard or supervisor could not do its work; its log says why";
            return Exit::new(ExitCause::LaunchFailed(LaunchFailure::Other), message);
        }
        Some((Some(code), _)) => ExitCause::Code(code),
        Some((None, Some(signal))) => ExitCause::Signal(signal),
        Some((None, None)) | None => ExitCause::Unknown,
    };
    Exit::new(cause, format!("{how}{killed}"))
}

/// Adds the end of what it printed. Blocks.
pub(crate) fn with_log_tail(exit: Exit, folder: &ExecutorFolder) -> Exit {
    let printed = LogReader::open(&folder.logs, LogStream::Stderr, &LogFrom::Last(TAIL_BYTES))
        .and_then(|mut reader| reader.next_chunk());
    match printed {
        Ok(Some(chunk)) => return exit.with_log_tail(chunk.bytes),
        Ok(None) => {} // it printed nothing, or never came to
        Err(error) => tracing::debug!(%error, "can't read an executor's log"),
    }
    match tail(&folder.logs.join(SUPERVISOR_LOG)) {
        Ok(tail) => exit.with_log_tail(tail),
        Err(_) => exit, // it was never started
    }
}

fn tail(path: &std::path::Path) -> std::io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let length = file.seek(SeekFrom::End(0))?;
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.take(TAIL_BYTES).read_to_end(&mut bytes)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn evidence(wait_status: i32) -> Evidence {
        Evidence {
            status: Some(ExitStatus::from_raw(wait_status)),
            stopped: None,
            killed_from_outside: false,
            memory_kills: 0,
            limit: MiB(64),
            guarded: true,
        }
    }

    #[test]
    fn the_best_evidence_wins() {
        assert_eq!(of(&evidence(3 << 8)).cause, ExitCause::Code(3));
        assert_eq!(of(&evidence(0)).cause, ExitCause::Code(0));
        assert_eq!(of(&evidence(9)).cause, ExitCause::Signal(9));
        assert_eq!(of(&evidence(125 << 8)).cause, ExitCause::LaunchFailed(LaunchFailure::Other));
        assert_eq!(of(&Evidence { guarded: false, ..evidence(125 << 8) }).cause, ExitCause::Code(125));
        assert_eq!(of(&Evidence { status: None, ..evidence(0) }).cause, ExitCause::Unknown);
        let stopped = Evidence { stopped: Some(ExitCause::Released), ..evidence(15) };
        assert_eq!(of(&stopped).cause, ExitCause::Released);
        let out_of_memory = Evidence { memory_kills: 1, ..stopped };
        assert_eq!(of(&out_of_memory).cause, ExitCause::OutOfMemory { limit: MiB(64) });
    }
}
