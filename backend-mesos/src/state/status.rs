//! What a task's status means: state × reason (and, for a bare exit, the message) → news of an executor.
//!
//! | state | reason | news | blame |
//! |---|---|---|---|
//! | STAGING, STARTING, KILLING | any | it is there | |
//! | RUNNING | any | launched, reachable | |
//! | UNREACHABLE | any | unreachable: never an exit | |
//! | FINISHED | any | exited with code 0 | application |
//! | FAILED | none, or COMMAND_EXECUTOR_FAILED | the code or signal that the message names | application; unknown for SIGKILL and SIGTERM |
//! | FAILED | CONTAINER_LIMITATION_MEMORY | out of memory | application |
//! | FAILED | CONTAINER_LIMITATION, CONTAINER_LIMITATION_DISK, MAX_COMPLETION_TIME_REACHED | went over that limit | application |
//! | FAILED | CONTAINER_LAUNCH_FAILED | launch failed: artifact (the message tells of fetching), user, or other | application |
//! | FAILED | EXECUTOR_REGISTRATION_TIMEOUT | launch failed (fetching counts) | infrastructure |
//! | FAILED | EXECUTOR_REREGISTRATION_TIMEOUT, IO_SWITCHBOARD_EXITED | node lost: its agent lost hold of it | infrastructure |
//! | FAILED | EXECUTOR_TERMINATED | unknown: the task's parent died, of itself or of others | unknown |
//! | KILLED | AGENT_DRAINING | node drained | infrastructure |
//! | KILLED | CONTAINER_PREEMPTED | preempted | infrastructure |
//! | KILLED | FRAMEWORK_REMOVED | unregistered | nobody |
//! | KILLED | any other, after our KILL | released | nobody |
//! | KILLED | any other, without | killed by an operator | nobody |
//! | ERROR | any | never started, in the master's words | application: what it asked for can't be right |
//! | DROPPED | AGENT_DRAINING | node drained | infrastructure |
//! | DROPPED | any other | never started (offer, agent or task was gone) | infrastructure |
//! | LOST | INVALID_OFFERS | never started | infrastructure |
//! | GONE | CONTAINER_PREEMPTED | preempted | infrastructure |
//! | GONE, LOST, UNKNOWN | any other, when no status had come before | never started | infrastructure |
//! | GONE, LOST, UNKNOWN | any other | node lost | infrastructure |
//! | GONE_BY_OPERATOR | any | node drained after a drain's notice, else node lost | infrastructure |
//!
//! The source says only who tells: SOURCE_MASTER carries no uuid and isn't acknowledged. It changes no meaning, because
//! the same fact comes from the agent or, by reconciliation, from the master.

use convoke_core::ids::Name;
use convoke_core::manager::{Blame, Exit, ExitCause, LaunchFailure};
use convoke_core::units::MiB;

use crate::v1::TaskState;
use crate::v1::task_status::Reason;

/// What was known of the task before its status came.
#[derive(Debug, Clone, Copy, Default)]
pub struct Before {
    /// A KILL of ours was sent, or is wanted.
    pub stopping: bool,
    /// Some status of it had come.
    pub seen: bool,
    /// Its agent had said that it is being drained.
    pub draining: bool,
    /// The memory that it was given.
    pub memory: MiB,
}

/// What a status says of an executor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// It is there, and not launched as far as this tells.
    There {
        /// Because its agent is being drained.
        draining: bool,
    },
    /// Its command runs.
    Running,
    /// Its agent is out of sight; no verdict.
    Unreachable,
    /// It is over.
    Exited(Exit),
    /// A state that this version doesn't know.
    Unknown,
}

/// The table above.
#[must_use]
pub fn meaning(state: i32, reason: Option<i32>, message: &str, before: Before) -> News {
    let Ok(state) = TaskState::try_from(state) else { return News::Unknown };
    let named = reason.and_then(|number| Reason::try_from(number).ok());
    let exit = |cause: ExitCause| News::Exited(Exit::new(cause, told(state, reason, message)));
    let blamed = |cause: ExitCause, blame: Blame| {
        let mut exit = Exit::new(cause, told(state, reason, message));
        exit.blame = blame;
        News::Exited(exit)
    };
    match state {
        TaskState::TaskStaging | TaskState::TaskStarting => News::There { draining: false },
        TaskState::TaskKilling => News::There { draining: named == Some(Reason::AgentDraining) },
        TaskState::TaskRunning => News::Running,
        TaskState::TaskUnreachable => News::Unreachable,
        TaskState::TaskFinished => exit(ExitCause::Code(0)),
        TaskState::TaskFailed => match named {
            Some(Reason::ContainerLimitationMemory) => exit(ExitCause::OutOfMemory { limit: before.memory }),
            Some(Reason::ContainerLimitation) => exit(limit("container")),
            Some(Reason::ContainerLimitationDisk) => exit(limit("disk")),
            Some(Reason::MaxCompletionTimeReached) => exit(limit("completion time")),
            Some(Reason::ContainerLaunchFailed) => exit(ExitCause::LaunchFailed(launch_failure(message))),
            Some(Reason::ExecutorRegistrationTimeout) => {
                blamed(ExitCause::LaunchFailed(LaunchFailure::Other), Blame::Infrastructure)
            }
            Some(Reason::ExecutorReregistrationTimeout | Reason::IoSwitchboardExited) => {
                exit(ExitCause::NodeLost)
            }
            // a reason that we don't know must not be told as the application's doing
            Some(Reason::CommandExecutorFailed) => exit(bare_exit(message)),
            None if reason.is_none() => exit(bare_exit(message)),
            _ => exit(ExitCause::Unknown),
        },
        TaskState::TaskKilled => exit(match named {
            Some(Reason::AgentDraining) => ExitCause::NodeDrained,
            Some(Reason::ContainerPreempted) => ExitCause::Preempted,
            Some(Reason::FrameworkRemoved) => ExitCause::Unregistered,
            _ if before.stopping => ExitCause::Released,
            _ if before.draining => ExitCause::NodeDrained,
            _ => ExitCause::KilledByOperator,
        }),
        TaskState::TaskError => blamed(ExitCause::NeverStarted, Blame::Application),
        TaskState::TaskDropped if named == Some(Reason::AgentDraining) => exit(ExitCause::NodeDrained),
        TaskState::TaskDropped => exit(ExitCause::NeverStarted),
        TaskState::TaskLost if named == Some(Reason::InvalidOffers) => exit(ExitCause::NeverStarted),
        TaskState::TaskGone if named == Some(Reason::ContainerPreempted) => exit(ExitCause::Preempted),
        TaskState::TaskGoneByOperator if before.draining => exit(ExitCause::NodeDrained),
        TaskState::TaskGoneByOperator => exit(ExitCause::NodeLost),
        TaskState::TaskGone | TaskState::TaskLost | TaskState::TaskUnknown => {
            exit(if before.seen { ExitCause::NodeLost } else { ExitCause::NeverStarted })
        }
    }
}

fn limit(name: &str) -> ExitCause {
    Name::new(name).map_or(ExitCause::Unknown, ExitCause::LimitExceeded)
}

/// State, reason and message in Mesos' own words, for people.
fn told(state: TaskState, reason: Option<i32>, message: &str) -> String {
    let mut text = state.as_str_name().to_owned();
    if let Some(number) = reason {
        match Reason::try_from(number) {
            Ok(reason) => text.push_str(&format!(" {}", reason.as_str_name())),
            Err(_) => text.push_str(&format!(" REASON_{number}")),
        }
    }
    if !message.is_empty() {
        text.push_str(&format!(": {message}"));
    }
    text
}

/// The command executor tells an exit in words only.
fn bare_exit(message: &str) -> ExitCause {
    if let Some(code) = message.strip_prefix("Command exited with status ") {
        let digits: String = code.chars().take_while(|c| c.is_ascii_digit() || *c == '-').collect();
        return digits.parse().map_or(ExitCause::Unknown, ExitCause::Code);
    }
    message
        .strip_prefix("Command terminated with signal ")
        .and_then(|name| signal_number(name.trim_end_matches(" (core dumped)").trim()))
        .map_or(ExitCause::Unknown, ExitCause::Signal)
}

/// The number of a signal in `strsignal`'s words, as Mesos prints them.
fn signal_number(name: &str) -> Option<i32> {
    if let Some(number) = name.strip_prefix("Unknown signal ") {
        return number.parse().ok();
    }
    Some(match name {
        "Hangup" => 1,
        "Interrupt" => 2,
        "Quit" => 3,
        "Illegal instruction" => 4,
        "Trace/breakpoint trap" => 5,
        "Aborted" => 6,
        "Bus error" => 7,
        "Floating point exception" => 8,
        "Killed" => 9,
        "User defined signal 1" => 10,
        "Segmentation fault" => 11,
        "User defined signal 2" => 12,
        "Broken pipe" => 13,
        "Alarm clock" => 14,
        "Terminated" => 15,
        "CPU time limit exceeded" => 24,
        "File size limit exceeded" => 25,
        "Bad system call" => 31,
        _ => return None,
    })
}

fn launch_failure(message: &str) -> LaunchFailure {
    let lower = message.to_ascii_lowercase();
    if lower.contains("fetch") {
        Name::new("a file to fetch").map_or(LaunchFailure::Other, LaunchFailure::ArtifactUnavailable)
    } else if lower.contains("no such user")
        || lower.contains("failed to get user")
        || lower.contains("getpwnam")
    {
        LaunchFailure::NoSuchUser
    } else if lower.contains("no space left") {
        LaunchFailure::DiskFull
    } else {
        LaunchFailure::Other
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exit(state: TaskState, reason: Option<Reason>, message: &str, before: Before) -> Exit {
        match meaning(state as i32, reason.map(|reason| reason as i32), message, before) {
            News::Exited(exit) => exit,
            other => panic!("{state:?} {reason:?}: {other:?}"),
        }
    }

    #[test]
    fn an_exit_is_read_from_the_command_executors_words() {
        for (message, cause) in [
            ("Command exited with status 3", ExitCause::Code(3)),
            ("Command terminated with signal Segmentation fault (core dumped)", ExitCause::Signal(11)),
            ("Command terminated with signal Killed", ExitCause::Signal(9)),
            ("Command terminated with signal Unknown signal 62", ExitCause::Signal(62)),
            ("Command terminated with signal Gnirps", ExitCause::Unknown),
            ("something new", ExitCause::Unknown),
        ] {
            assert_eq!(
                exit(TaskState::TaskFailed, None, message, Before::default()).cause,
                cause,
                "{message}"
            );
        }
        // a reason of a later Mesos is not guessed at, whatever the message
        let News::Exited(unknown) = meaning(3, Some(99), "Command exited with status 3", Before::default())
        else {
            panic!("an exit")
        };
        assert_eq!((unknown.cause, unknown.blame), (ExitCause::Unknown, Blame::Unknown));
        assert!(unknown.message.contains("REASON_99"), "{}", unknown.message);
    }

    #[test]
    fn every_row_of_the_table() {
        use Blame::*;
        use ExitCause as C;
        use TaskState::*;
        let (fresh, seen) = (Before::default(), Before { seen: true, memory: MiB(64), ..Before::default() });
        let stopping = Before { stopping: true, ..seen };
        let draining = Before { draining: true, ..seen };
        let rows: Vec<(TaskState, Option<Reason>, Before, C, Blame)> = vec![
            (TaskFinished, None, seen, C::Code(0), Application),
            (
                TaskFailed,
                Some(Reason::ContainerLimitationMemory),
                seen,
                C::OutOfMemory { limit: MiB(64) },
                Application,
            ),
            (TaskFailed, Some(Reason::ContainerLimitationDisk), seen, limit("disk"), Application),
            (TaskFailed, Some(Reason::MaxCompletionTimeReached), seen, limit("completion time"), Application),
            (
                TaskFailed,
                Some(Reason::ContainerLaunchFailed),
                seen,
                C::LaunchFailed(LaunchFailure::Other),
                Application,
            ),
            (
                TaskFailed,
                Some(Reason::ExecutorRegistrationTimeout),
                seen,
                C::LaunchFailed(LaunchFailure::Other),
                Infrastructure,
            ),
            (TaskFailed, Some(Reason::ExecutorReregistrationTimeout), seen, C::NodeLost, Infrastructure),
            (TaskFailed, Some(Reason::ExecutorTerminated), seen, C::Unknown, Unknown),
            (TaskKilled, Some(Reason::AgentDraining), stopping, C::NodeDrained, Infrastructure),
            (TaskKilled, Some(Reason::ContainerPreempted), seen, C::Preempted, Infrastructure),
            (TaskKilled, Some(Reason::FrameworkRemoved), seen, C::Unregistered, Nobody),
            (TaskKilled, Some(Reason::TaskKilledDuringLaunch), stopping, C::Released, Nobody),
            (TaskKilled, None, stopping, C::Released, Nobody),
            (TaskKilled, None, draining, C::NodeDrained, Infrastructure),
            (TaskKilled, None, seen, C::KilledByOperator, Nobody),
            (TaskError, Some(Reason::TaskInvalid), seen, C::NeverStarted, Application),
            (TaskDropped, Some(Reason::InvalidOffers), fresh, C::NeverStarted, Infrastructure),
            (TaskDropped, Some(Reason::AgentDraining), fresh, C::NodeDrained, Infrastructure),
            (TaskLost, Some(Reason::InvalidOffers), fresh, C::NeverStarted, Infrastructure),
            (TaskLost, Some(Reason::AgentRemoved), seen, C::NodeLost, Infrastructure),
            (TaskGone, Some(Reason::ContainerPreempted), seen, C::Preempted, Infrastructure),
            (TaskGone, Some(Reason::Reconciliation), seen, C::NodeLost, Infrastructure),
            (TaskGone, Some(Reason::Reconciliation), fresh, C::NeverStarted, Infrastructure),
            (TaskUnknown, Some(Reason::Reconciliation), seen, C::NodeLost, Infrastructure),
            (TaskGoneByOperator, Some(Reason::AgentRemovedByOperator), seen, C::NodeLost, Infrastructure),
            (
                TaskGoneByOperator,
                Some(Reason::AgentRemovedByOperator),
                draining,
                C::NodeDrained,
                Infrastructure,
            ),
        ];
        for (state, reason, before, cause, blame) in rows {
            let exit = exit(state, reason, "", before);
            assert_eq!((exit.cause, exit.blame), (cause, blame), "{state:?} {reason:?} {before:?}");
        }
    }

    #[test]
    fn what_is_out_of_sight_or_new_is_no_exit() {
        for state in [
            TaskState::TaskStaging,
            TaskState::TaskStarting,
            TaskState::TaskRunning,
            TaskState::TaskKilling,
            TaskState::TaskUnreachable,
        ] {
            for reason in [
                None,
                Some(Reason::Reconciliation),
                Some(Reason::AgentRemoved),
                Some(Reason::AgentReregistered),
            ] {
                let news = meaning(state as i32, reason.map(|reason| reason as i32), "", Before::default());
                assert!(!matches!(news, News::Exited(_)), "{state:?} {reason:?}");
            }
        }
        assert_eq!(meaning(14, None, "", Before::default()), News::Unknown);
    }
}
