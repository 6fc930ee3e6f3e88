//! Join tickets: derived from one random secret of the application, never stored.

use std::fmt;

use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use crate::error::{Error, Result};
use crate::ids::{ApplicationId, ExecutorId, Incarnation, ProfileId};
use crate::secret::Secret;

/// Derives tickets and checks them. What a ticket is bound to: application, incarnation, executor and profile.
///
/// That a ticket is used only once isn't known here: its executor's state is its life
/// ([`state::executors`](crate::state::executors)).
pub struct TicketOffice {
    secret: Secret,
    application: ApplicationId,
    incarnation: Incarnation,
}

impl TicketOffice {
    /// An office with a secret of its own.
    ///
    /// # Errors
    /// `Host` when the system has no randomness to give.
    pub fn new(application: ApplicationId, incarnation: Incarnation) -> Result<TicketOffice> {
        let mut secret = [0_u8; 32];
        getrandom::fill(&mut secret)
            .map_err(|error| Error::host("no randomness", std::io::Error::other(error)))?;
        Ok(TicketOffice { secret: Secret::new(secret), application, incarnation })
    }

    /// The ticket of this executor: the same each time.
    #[must_use]
    pub fn ticket(&self, executor: ExecutorId, profile: ProfileId) -> Secret {
        Secret::new(self.code("join", executor, profile).finalize().into_bytes().as_slice())
    }

    /// Whether this is the executor's ticket; takes the same time whatever is wrong with it.
    #[must_use]
    pub fn is_ticket(&self, ticket: &[u8], executor: ExecutorId, profile: ProfileId) -> bool {
        self.code("join", executor, profile).verify_slice(ticket).is_ok()
    }

    /// The session of an executor that has joined an insecure driver.
    #[must_use]
    pub fn session(&self, executor: ExecutorId) -> Secret {
        let mut session = executor.0.to_be_bytes().to_vec();
        session.extend_from_slice(&self.code("session", executor, ProfileId(0)).finalize().into_bytes());
        Secret::new(session)
    }

    /// The executor whose session this is.
    #[must_use]
    pub fn executor_of_session(&self, session: &[u8]) -> Option<ExecutorId> {
        let (executor, code) = session.split_first_chunk::<8>()?;
        let executor = ExecutorId(u64::from_be_bytes(*executor));
        self.code("session", executor, ProfileId(0)).verify_slice(code).ok().map(|()| executor)
    }

    fn code(&self, purpose: &str, executor: ExecutorId, profile: ProfileId) -> Hmac<Sha256> {
        #[expect(clippy::expect_used, reason = "HMAC takes keys of any length")]
        let mut code = Hmac::<Sha256>::new_from_slice(self.secret.expose()).expect("any key length");
        // Each part has a fixed length or an end mark that it can't contain, so that no two tuples read alike.
        code.update(b"convoke ");
        code.update(purpose.as_bytes());
        code.update(b"\0");
        code.update(self.application.as_str().as_bytes());
        code.update(b"\0");
        code.update(&self.incarnation.0.to_be_bytes());
        code.update(&executor.0.to_be_bytes());
        code.update(&profile.0.to_be_bytes());
        code
    }
}

impl fmt::Debug for TicketOffice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TicketOffice")
            .field("application", &self.application)
            .field("incarnation", &self.incarnation)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;

    #[test]
    fn a_ticket_is_bound_to_all_of_it() {
        let application = |n| ApplicationId::from_parts(&Name::new("a").unwrap(), n);
        let office = TicketOffice::new(application(1), Incarnation(1)).unwrap();
        let (executor, profile) = (ExecutorId(7), ProfileId(0));
        let ticket = office.ticket(executor, profile);
        assert_eq!(ticket, office.ticket(executor, profile), "asked again: the same");
        assert!(office.is_ticket(ticket.expose(), executor, profile));
        assert!(!office.is_ticket(ticket.expose(), ExecutorId(8), profile));
        assert!(!office.is_ticket(ticket.expose(), executor, ProfileId(1)));
        assert!(!office.is_ticket(&ticket.expose()[..31], executor, profile));
        assert!(!office.is_ticket(&[], executor, profile));
        let same_secret = |application, incarnation| TicketOffice {
            secret: office.secret.clone(),
            application,
            incarnation,
        };
        assert!(!same_secret(application(2), Incarnation(1)).is_ticket(ticket.expose(), executor, profile));
        assert!(!same_secret(application(1), Incarnation(2)).is_ticket(ticket.expose(), executor, profile));
        let other_secret = TicketOffice::new(application(1), Incarnation(1)).unwrap();
        assert!(!other_secret.is_ticket(ticket.expose(), executor, profile));
    }

    proptest::proptest! {
        /// No bytes but the very ticket are one, and no bytes but a session name an executor.
        #[test]
        fn any_bytes_are_no_ticket(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..80),
            executor: u64,
            profile: u32,
            at in proptest::prelude::any::<proptest::sample::Index>(),
            by in 1_u8..,
        ) {
            let application = ApplicationId::from_parts(&Name::new("a").unwrap(), 1);
            let office = TicketOffice::new(application, Incarnation(1)).unwrap();
            let (executor, profile) = (ExecutorId(executor), ProfileId(profile));
            proptest::prop_assert!(!office.is_ticket(&bytes, executor, profile));
            proptest::prop_assert_eq!(office.executor_of_session(&bytes), None);
            let mut ticket = office.ticket(executor, profile).expose().to_vec();
            let at_ticket = at.index(ticket.len());
            ticket[at_ticket] ^= by;
            proptest::prop_assert!(!office.is_ticket(&ticket, executor, profile));
            let mut session = office.session(executor).expose().to_vec();
            proptest::prop_assert_eq!(office.executor_of_session(&session), Some(executor));
            let at_session = at.index(session.len());
            session[at_session] ^= by;
            proptest::prop_assert_eq!(office.executor_of_session(&session), None);
        }
    }

    #[test]
    fn a_session_names_its_executor_and_is_no_ticket() {
        let application = ApplicationId::from_parts(&Name::new("a").unwrap(), 1);
        let office = TicketOffice::new(application, Incarnation(1)).unwrap();
        let session = office.session(ExecutorId(7));
        assert_eq!(office.executor_of_session(session.expose()), Some(ExecutorId(7)));
        let mut other = session.expose().to_vec();
        other[7] = 8;
        assert_eq!(office.executor_of_session(&other), None);
        assert_eq!(office.executor_of_session(b"short"), None);
        assert!(!office.is_ticket(&session.expose()[8..], ExecutorId(7), ProfileId(0)));
    }
}
