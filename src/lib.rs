//! convoke gives a program executors, processes that run its tasks, on whatever cluster manager its users have.
//!
//! ```no_run
//! #[convoke::task]
//! fn square(x: u64) -> u64 {
//!     x * x
//! }
//!
//! fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     convoke::init(); // driver and executors are the same program: an executor goes no further
//!     let driver = convoke::Driver::builder().executors(2).start_blocking()?;
//!     assert_eq!(driver.map(square, [1, 2, 3]).wait()?, [1, 4, 9]);
//!     Ok(())
//! }
//! ```
//!
//! In tests, where libtest has `main`, [`test_executor!`] takes the place of [`init`].
//!
//! # Masters
//!
//! The manager is chosen by a master URL when the program starts ([`DriverBuilder::master`](driver::DriverBuilder::master), else the
//! variable `CONVOKE_MASTER`); [`registry`] maps its scheme to one of the backends that are compiled in:
//!
//! | master URL | where executors run | feature |
//! | --- | --- | --- |
//! | `local[n]`, `local[*]` | one child process of this machine with n slots | `local` (default) |
//! | `local-cluster[nodes,cpus,memory]` | any number of child processes on simulated nodes | `local` (default) |
//! | `local-inline` | threads of this process, for debuggers | `local` (default) |
//! | `mesos://host:port[,host:port…]` | tasks of an Apache Mesos cluster | `mesos` |
//!
//! convoke's own standalone master (`convoke://host:port`) and YARN are planned. A manager of your own plugs in as ours do:
//! implement [`manager::Provisioner`], wrap it in [`manager::Managed`], and register its scheme.
//!
//! ```
//! let error = convoke::registry().manager("yarn").unwrap_err();
//! assert_eq!(error.kind(), convoke::ErrorKind::Unsupported);
//! ```
//!
//! The rules that every manager keeps are quoted by number (`A2`) and stand in the repository's `docs/contract.md`.

mod registry;

pub use convoke_core::driver::Driver;
pub use convoke_core::executor::role::init;
pub use convoke_core::*;
pub use registry::registry;
