//! Why somebody was refused: each reason is counted, and told in the log at a bounded rate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{self, Moment};
use crate::error::{Error, ErrorKind};

/// Why a connection or a call was refused (D1, D2).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum Refusal {
    /// Bytes that are no handshake of ours.
    Garbage,
    /// A certificate that another authority signed, another application's among them.
    ForeignCertificate,
    /// A handshake that took too long.
    SlowHandshake,
    /// Connected for too long without showing who it is.
    Idle,
    /// Too many connections at once that hadn't shown who they are; the oldest goes.
    LobbyFull,
    /// A call other than a join by somebody who hasn't shown who he is.
    Anonymous,
    /// A protocol of another number.
    OtherProtocol,
    /// A ticket for another application than this driver's.
    OtherApplication,
    /// A ticket or certificate of an earlier driver of this application.
    OtherIncarnation,
    /// Not the ticket of this executor id.
    WrongTicket,
    /// A ticket that its executor has used already, and lives.
    SpentTicket,
    /// A ticket that was used, of an executor that has ended since.
    ReplayedTicket,
    /// A ticket of an executor that isn't wanted any more.
    WithdrawnTicket,
    /// A certificate request that can't be read.
    BadCertificateRequest,
    /// An executor that doesn't count any more: declared lost, or ended (F5).
    Fenced,
    /// A supervisor's stream for an executor that has one.
    SecondSupervisor,
    /// The driver isn't ready, or is ending.
    NotServing,
    /// A request to the bootstrap's listener for anything else than its file.
    NotServedThere,
}

impl Refusal {
    /// The reason in words, for the one who is refused.
    #[must_use]
    pub const fn words(self) -> &'static str {
        match self {
            Refusal::Garbage => "that is no handshake of this protocol",
            Refusal::ForeignCertificate => "the certificate is not one of this application",
            Refusal::SlowHandshake => "the handshake took too long",
            Refusal::Idle => "connected for too long without showing who it is",
            Refusal::LobbyFull => "too many connections that haven't shown who they are",
            Refusal::Anonymous => "who calls this must show a certificate of this application",
            Refusal::OtherProtocol => "driver and executor speak different protocols",
            Refusal::OtherApplication => "the ticket is for another application",
            Refusal::OtherIncarnation => "the executor belongs to an earlier driver of this application",
            Refusal::WrongTicket => "that is not the ticket of this executor",
            Refusal::SpentTicket => "the ticket was used already",
            Refusal::ReplayedTicket => "the ticket was used by an executor that has ended",
            Refusal::WithdrawnTicket => "the executor is not wanted any more",
            Refusal::BadCertificateRequest => "the certificate request can't be used",
            Refusal::Fenced => "the executor was given up, and can't come back",
            Refusal::SecondSupervisor => "the executor has its supervisor already",
            Refusal::NotServing => "the driver takes no executor now",
            Refusal::NotServedThere => "nothing else than the bootstrap is served there",
        }
    }

    /// The kind of the error that the refused one gets.
    #[must_use]
    pub const fn kind(self) -> ErrorKind {
        match self {
            Refusal::OtherProtocol | Refusal::Garbage => ErrorKind::Protocol,
            Refusal::Fenced
            | Refusal::OtherIncarnation
            | Refusal::ReplayedTicket
            | Refusal::WithdrawnTicket => ErrorKind::Stale,
            Refusal::SpentTicket | Refusal::SecondSupervisor => ErrorKind::AlreadyExists,
            Refusal::BadCertificateRequest => ErrorKind::InvalidRequest,
            Refusal::NotServing | Refusal::Idle | Refusal::LobbyFull | Refusal::SlowHandshake => {
                ErrorKind::Unavailable
            }
            Refusal::NotServedThere => ErrorKind::NotFound,
            Refusal::ForeignCertificate
            | Refusal::Anonymous
            | Refusal::OtherApplication
            | Refusal::WrongTicket => ErrorKind::Unauthenticated,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.words())
    }
}

impl From<Refusal> for Error {
    fn from(refusal: Refusal) -> Error {
        let error = Error::new(refusal.kind(), refusal.words());
        match refusal.kind() {
            // Fenced, replayed or withdrawn: this very executor can't come back, on no connection.
            ErrorKind::Stale => error.retry(crate::error::Retry::Never),
            _ => error,
        }
    }
}

impl From<Refusal> for tonic::Status {
    fn from(refusal: Refusal) -> tonic::Status {
        super::status::to_status(&Error::from(refusal))
    }
}

/// Of each reason, one line is logged in so long; the next one says how many weren't.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Counts refusals and logs them at a bounded rate: a stranger costs neither the driver nor its log much.
#[derive(Debug, Default)]
pub struct Refusals(Mutex<BTreeMap<Refusal, Counted>>);

#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    count: u64,
    unlogged: u64,
    logged_at: Option<Moment>,
}

impl Refusals {
    /// Counts one, and logs it where its reason wasn't logged lately.
    pub fn note(&self, refusal: Refusal, from: impl fmt::Display, about: impl fmt::Display) {
        let now = clock::now();
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let counted = all.entry(refusal).or_default();
        counted.count += 1;
        if counted.logged_at.is_some_and(|at| now.since(at) < LOG_EVERY) {
            counted.unlogged += 1;
            return;
        }
        let unlogged = std::mem::take(&mut counted.unlogged);
        counted.logged_at = Some(now);
        drop(all);
        tracing::warn!(%from, %about, unlogged, "refused: {refusal}");
    }

    /// How often each reason was given.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Refusal, u64> {
        let all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(refusal, counted)| (*refusal, counted.count)).collect()
    }
}
