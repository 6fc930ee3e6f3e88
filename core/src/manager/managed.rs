//! `Managed<P>`: what core makes of a [`Provisioner`].

use super::Provisioner;

/// A [`ClusterManager`](super::ClusterManager) made of a [`Provisioner`].
#[derive(Debug)]
pub struct Managed<P: Provisioner> {
    #[allow(dead_code, reason = "placeholder until the reconciler lands")]
    provisioner: P,
}
