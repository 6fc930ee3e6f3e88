//! The executor side: a guard and a supervisor that watch each other, and the program that runs tasks.
//!
//! ```text
//! cluster manager ── starts ──▶ guard ── starts ──▶ supervisor ── starts ──▶ program ── runs ──▶ tasks
//!                               (subreaper)          (subreaper, joins,       (slots, task stream)
//!                                                     lease, limits, logs)
//! ```
//!
//! Nothing acts after its own `kill -9`, so two processes watch each other: whichever of guard and supervisor is left
//! ends the whole tree (F1).

mod cache;
pub mod environment;
mod fetch;
pub mod guard;
pub mod inline;
pub mod link;
pub mod program;
pub mod role;
mod supervisor;
pub mod test_binary;
