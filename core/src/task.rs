//! What applications run on their executors: registered functions, commands, shared values.
//!
//! ```
//! # extern crate convoke_core as convoke;
//! #[convoke::task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//! # fn main() {
//! assert_eq!(square(3), 9); // still a plain function
//! # }
//! ```

pub mod broadcast;
pub mod codec;
pub mod command;
pub mod context;
pub mod error;
pub mod function;
pub mod registry;

pub use broadcast::Broadcast;
pub use command::{Command, CommandOutput};
pub use context::TaskContext;
pub use error::{FailedTask, Never, Permanent, TaskError, TaskErrorKind, TaskFailure};
pub use function::TaskFunction;

/// What the expansion of `#[task]` uses; no part of the public API.
#[doc(hidden)]
pub mod expansion {
    pub use super::error::probe;
    pub use super::function::{
        AsyncRun, Code, Failure, Fallible, Registration, finish_fallible, finish_infallible, run_async,
        run_fallible, run_infallible,
    };
    pub use inventory;
}
