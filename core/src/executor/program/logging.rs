//! What tasks print and trace goes to the executor's standard error, with the task's id where a task says it.

use std::fmt;

use tracing::{Event, Subscriber};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::{Format, Writer};
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use crate::task::TaskContext;

/// Installs a subscriber that writes to standard error, unless the application has one. `RUST_LOG` filters; `info` without.
pub(super) fn install() {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(false)
        .event_format(WithTask(Format::default().with_ansi(false)))
        .finish();
    // The application's own one stays.
    let _ = tracing::subscriber::set_global_default(subscriber);
}

/// Puts the running task in front of its events. A span of each task would say the same and cost each task more than a
/// tiny one takes.
struct WithTask(Format);

impl<S, N> FormatEvent<S, N> for WithTask
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if let Some(task) = TaskContext::current() {
            write!(writer, "task{{id={} attempt={}}} ", task.task(), task.attempt())?;
        }
        self.0.format_event(context, writer, event)
    }
}
