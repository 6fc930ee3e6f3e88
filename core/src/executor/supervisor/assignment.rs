//! What the driver's assignment means for the decisions.

use std::time::Duration;

use super::foreign;
use crate::rpc::{limits, v1};
use crate::state::supervision::{ForeignTerms, Terms};
use crate::units::MiB;

/// The terms of an assignment, where the kernel keeps its memory limit or doesn't.
pub(super) fn terms(assignment: &v1::Assignment, memory_kept: bool) -> Terms {
    let ready_deadline = assignment.foreign.as_ref().map(|foreign| foreign.ready_deadline_ms);
    Terms {
        heartbeat_interval: at_least(assignment.heartbeat_interval_ms),
        lost_after: at_least(assignment.lost_after_ms),
        lease: at_least(assignment.lease_ms),
        end_grace: Duration::from_millis(assignment.end_grace_ms),
        memory: Some(MiB(assignment.memory_mib)).filter(|limit| limit.0 > 0),
        watch_memory: !memory_kept,
        ready_deadline: ready_deadline.filter(|deadline| *deadline > 0).map(Duration::from_millis),
        foreign: assignment.foreign.as_ref().map(|foreign| ForeignTerms {
            stop_signal: foreign::stop_signal(&foreign.stop_signal).as_raw(),
            awaited: foreign::awaited(foreign),
        }),
    }
}

/// Up to which size values of tasks ride on the stream.
pub(in crate::executor) fn inline_bytes(assignment: &v1::Assignment) -> usize {
    match usize::try_from(assignment.inline_bytes) {
        Ok(0) | Err(_) => limits::INLINE_BYTES,
        Ok(bytes) => bytes.min(1 << 20),
    }
}

/// A driver that says nothing of it, or nonsense, makes nobody spin.
pub(in crate::executor) fn at_least(ms: u64) -> Duration {
    Duration::from_millis(ms.max(10))
}
