//! Millions of tiny tasks, again and again: h2 ends a busy stream of tiny messages when they are sent carelessly.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};

use tracing::field::{Field, Visit};
use tracing::{Event, Metadata, Subscriber, span};

use super::{Shape, check, end};
use crate::{Result, now};

#[convoke::task]
fn tiny(x: u64) -> u64 {
    x
}

/// Messages of the driver that say that an executor's stream broke or was refused.
static BROKEN: AtomicU64 = AtomicU64::new(0);

/// Counts such messages.
struct Counter;

impl Subscriber for Counter {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_event() && metadata.target().starts_with("convoke_core::driver::jobs")
    }
    fn new_span(&self, _: &span::Attributes<'_>) -> span::Id {
        span::Id::from_u64(1)
    }
    fn record(&self, _: &span::Id, _: &span::Record<'_>) {}
    fn record_follows_from(&self, _: &span::Id, _: &span::Id) {}
    fn event(&self, event: &Event<'_>) {
        event.record(&mut Message);
    }
    fn enter(&self, _: &span::Id) {}
    fn exit(&self, _: &span::Id) {}
}

struct Message;

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" && format!("{value:?}").contains("stream") {
            BROKEN.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// One run: broken streams, and seconds. A result that is missing, doubled or wrong is an error.
pub(crate) fn run(tasks: u64) -> Result<(u64, f64)> {
    // Set by the first run, and for all of this process.
    let _ = tracing::subscriber::set_global_default(Counter);
    let driver = Shape::USUAL.driver()?;
    let before = BROKEN.load(Ordering::Relaxed);
    let start = now();
    let mut results = driver.map(tiny, 0..tasks).unordered();
    let mut sum = 0;
    let mut count = 0;
    while let Some(batch) = convoke::block_on(results.next_batch()) {
        for (_, value) in batch {
            sum += value?;
            count += 1;
        }
    }
    let seconds = start.elapsed().as_secs_f64();
    check("the number of results", count, tasks)?;
    check("the results' sum", sum, tasks * (tasks - 1) / 2)?;
    let broken = BROKEN.load(Ordering::Relaxed) - before;
    end(driver)?;
    Ok((broken, seconds))
}
