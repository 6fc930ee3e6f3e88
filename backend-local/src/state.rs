//! Pure decisions: no I/O, no async, no clock.

pub(crate) mod explain;
pub(crate) mod nodes;
