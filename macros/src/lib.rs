//! The attribute macros of convoke.
