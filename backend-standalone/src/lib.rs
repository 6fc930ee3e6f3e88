//! convoke's own cluster manager, for users with machines and no cluster manager: a master, and a worker on each node.
//!
//! What is here so far are the decisions of both ([`state`]), as machines without sockets, and a simulation that runs them through
//! crashes, restarts and lost messages. The processes around them come next; until then no master URL leads here.
//!
//! ```
//! use convoke_core::clock::Moment;
//! use convoke_standalone::state::{Master, MasterSettings};
//!
//! let mut master = Master::new(MasterSettings::default(), 1);
//! let mut commands = Vec::new();
//! master.settle(Moment::ZERO, &mut commands);
//! assert!(commands.is_empty(), "a master without workers or applications has nothing to do");
//! ```

pub mod state;
