use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use super::super::Event;
use super::shared::Shared;
use crate::clock::wall_time;
use crate::state::allocation::AllocationEvent;

/// The events of one application, read from the ledger: nothing is buffered on the way, so nothing can be lost on it (L1).
pub(super) struct LedgerStream {
    shared: Arc<Shared>,
}

impl LedgerStream {
    pub(super) fn new(shared: Arc<Shared>) -> LedgerStream {
        LedgerStream { shared }
    }

    fn read(&self) -> Option<Event> {
        self.shared.with(|state, now, out| {
            let entry = state.read(now)?;
            state.handle(now, AllocationEvent::EventsRead, out);
            let ago = now.since(entry.at);
            let at = wall_time();
            Some(Event { seq: entry.seq, at: at.checked_sub(ago).unwrap_or(at), what: entry.what })
        })
    }
}

impl Stream for LedgerStream {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        if let Some(event) = self.read() {
            return Poll::Ready(Some(event));
        }
        if self.shared.wait_for_event(cx.waker()) { Poll::Pending } else { Poll::Ready(None) }
    }
}

impl Drop for LedgerStream {
    fn drop(&mut self) {
        self.shared.handle(AllocationEvent::ReaderDropped);
    }
}
