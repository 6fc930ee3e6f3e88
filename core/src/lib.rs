//! The core of convoke: the cluster manager contract and the driver/executor protocol.

// The expansion of `#[task]` says `::convoke`, here too.
extern crate self as convoke;

mod blocking;
pub mod clock;
pub mod driver;
pub mod error;
pub mod executor;
pub mod ids;
pub mod manager;
pub mod process;
pub mod resource;
pub mod rpc;
pub mod secret;
pub mod state;
pub mod task;
pub mod units;

pub use blocking::block_on;
pub use convoke_macros::task;
pub use error::{Error, ErrorKind, Result, Retry};

/// What macros of this crate name in other crates; nobody else may.
#[doc(hidden)]
pub mod __private {
    pub use inventory;
}
