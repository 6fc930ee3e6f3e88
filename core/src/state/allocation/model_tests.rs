//! A random schedule against a simulated backend.
