//! Processes of this host: starting them, limiting them, reading what they print, and ending whole trees of them for
//! certain.

pub mod cgroup;
pub(crate) mod copy;
pub mod elf;
pub mod exit;
pub mod limits;
pub mod logs;
pub mod memory;
pub mod spawn;
pub mod table;
pub mod tree;
