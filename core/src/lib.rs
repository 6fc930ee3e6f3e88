//! The core of convoke: the cluster manager contract and the driver/executor protocol.

pub mod clock;
pub mod driver;
pub mod error;
pub mod executor;
pub mod ids;
pub mod manager;
pub mod resource;
pub mod rpc;
pub mod secret;
pub mod state;
pub mod units;

pub use error::{Error, ErrorKind, Result, Retry};
