//! All decisions of the backend: plain state machines, without I/O, clock or task of their own.
//!
//! [`scheduler`] joins the others, and the shell in `application.rs` does what it says:
//!
//! ```text
//! start, stop, close ─▶ scheduler ─▶ subscription   where, when and whether to (re)subscribe
//! records of a stream ─▶    │     ─▶ offers         what to take of an offer, when to revive and suppress
//! answers to calls    ─▶    │     ─▶ tasks          status × source × reason → launched, reachable, exited
//! deadlines           ─▶    │     ─▶ reconciliation what to ask about again, and when
//!                           ▼
//!              Connect, Call, Report …
//! ```

pub mod amounts;
pub mod offers;
pub mod reconciliation;
pub mod scheduler;
pub mod status;
pub mod subscription;
pub mod tasks;
