//! The local backend of convoke.
