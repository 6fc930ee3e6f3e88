//! What goes into a scheduler and what comes out of it.

use convoke_core::Error;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{EndedBy, Exit, Grant, Wanted};
use convoke_core::units::HostPort;

use crate::v1::scheduler::{Call, Event, event};

/// What happened.
#[derive(Debug)]
pub enum SchedulerEvent {
    /// These are wanted.
    Start(Vec<Wanted>),
    /// These are wanted no more.
    Stop(Vec<ExecutorId>),
    /// The application is to end.
    Close,
    /// It is to end now, whatever is left.
    TearDown,
    /// The event stream's first record was SUBSCRIBED.
    Subscribed(event::Subscribed),
    /// A later record of the stream.
    Record(Box<Event>),
    /// The master that was asked names another as the leader.
    Redirected(HostPort),
    /// The stream could not be had, or has ended.
    Lost(Error),
    /// The master refused the subscription for good.
    Refused(String),
    /// A call was answered.
    Answered(Box<Call>, Result<(), CallFailure>),
    /// The deadline may have come.
    Tick,
}

/// Why a call failed.
#[derive(Debug, Clone)]
pub enum CallFailure {
    /// The stream is void, or nothing certain is known of the call: subscribe again, and ask.
    Void(Error),
    /// The master says that the call itself can't be right.
    Bad(Error),
}

/// What is to be done.
#[derive(Debug)]
pub enum SchedulerCommand {
    /// Subscribe there; drops what is there.
    Connect(HostPort),
    /// Drop the stream and all calls that wait for it.
    Disconnect,
    /// Send this after the calls before it were answered.
    Call(Box<Call>),
    /// Tell the core.
    Tell(Told),
}

/// What is told to the core.
#[derive(Debug)]
pub enum Told {
    /// Whether the manager is in reach.
    Manager(Result<(), Error>),
    /// An offer was taken for it.
    Granted(Grant),
    /// Its command runs.
    Launched(ExecutorId),
    /// Whether its agent is in sight.
    Reachable(ExecutorId, bool),
    /// Its agent is being drained.
    Draining(ExecutorId, String),
    /// It is over.
    Exited(ExecutorId, Exit),
    /// Somebody else ended the application.
    Ended(EndedBy),
}
