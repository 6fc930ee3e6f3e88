//! Why somebody was refused: each reason is counted, and told in the log at a bounded rate.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, OnceLock, PoisonError};
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
    /// A message larger than its sender may send.
    Oversize,
    /// More calls at once than a caller may make who hasn't shown who he is.
    TooManyCalls,
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
            Refusal::Oversize => "the message is too large",
            Refusal::TooManyCalls => "too many calls at once for who hasn't shown who it is",
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
            Refusal::Oversize | Refusal::TooManyCalls => ErrorKind::ResourcesExhausted,
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

/// Of each reason, one line is logged and one event told in so long; the next one says how many weren't.
const LOG_EVERY: Duration = Duration::from_secs(1);

/// Counts refusals, and logs and tells them at a bounded rate: a stranger costs neither the driver nor its log much.
#[derive(Default)]
pub struct Refusals {
    counted: Mutex<BTreeMap<Refusal, Counted>>,
    tell: OnceLock<Box<dyn Fn(RefusalNote) + Send + Sync>>,
}

/// What is told of a refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefusalNote {
    /// Why.
    pub refusal: Refusal,
    /// From where the caller calls.
    pub from: String,
    /// What it wanted.
    pub about: String,
    /// How many of the same reason weren't told since the last one that was.
    pub untold: u64,
}

#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    count: u64,
    unlogged: u64,
    logged_at: Option<Moment>,
}

impl Refusals {
    /// Whom to tell from now on; the first one stays.
    pub fn tell_with(&self, tell: impl Fn(RefusalNote) + Send + Sync + 'static) {
        let _ = self.tell.set(Box::new(tell));
    }

    /// Counts one, and logs it where its reason wasn't logged lately.
    pub fn note(&self, refusal: Refusal, from: impl fmt::Display, about: impl fmt::Display) {
        let now = clock::now();
        let mut all = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
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
        if let Some(tell) = self.tell.get() {
            tell(RefusalNote { refusal, from: from.to_string(), about: about.to_string(), untold: unlogged });
        }
    }

    /// How often each reason was given.
    #[must_use]
    pub fn counts(&self) -> BTreeMap<Refusal, u64> {
        let all = self.counted.lock().unwrap_or_else(PoisonError::into_inner);
        all.iter().map(|(refusal, counted)| (*refusal, counted.count)).collect()
    }
}

impl fmt::Debug for Refusals {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Refusals").field(&self.counts()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    #[test]
    fn a_flood_is_counted_in_full_and_told_at_a_bounded_rate() {
        let told = Arc::new(Mutex::new(Vec::new()));
        let kept = told.clone();
        let refusals = Refusals::default();
        refusals.tell_with(move |note| kept.lock().unwrap().push(note));
        for _ in 0..1000 {
            refusals.note(Refusal::Garbage, "somewhere", "it said nonsense");
        }
        refusals.note(Refusal::SpentTicket, "elsewhere", "a join");
        assert_eq!(refusals.counts()[&Refusal::Garbage], 1000);
        let told = told.lock().unwrap();
        let of = |why| told.iter().filter(|note| note.refusal == why).count();
        assert!((1..=20).contains(&of(Refusal::Garbage)), "{told:?}");
        assert_eq!(of(Refusal::SpentTicket), 1, "another reason is told at once");
        assert_eq!((&*told[0].from, &*told[0].about, told[0].untold), ("somewhere", "it said nonsense", 0));
    }
}
