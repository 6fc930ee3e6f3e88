//! The application's files on the driver's side: what nodes and executors get from it (D8).
//!
//! | file | what |
//! | --- | --- |
//! | `opened` | a file that is held open, so that it can be deleted or replaced while it is served |
//! | `bootstrap` | which builds of the bootstrap there are, and where each can be had |
//! | `listener` | the HTTP listener for nodes that fetch the bootstrap; off unless the manager needs it |

mod bootstrap;
mod listener;
mod opened;

pub(super) use bootstrap::{BootstrapPlace, prepare};
