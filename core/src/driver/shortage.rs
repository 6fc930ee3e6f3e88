//! Says why executors don't come while they don't, instead of leaving people to wait in silence.

use std::sync::Arc;
use std::time::Duration;

use super::control::Control;
use super::events::DriverEvent;
use super::handle;

/// Executors may take so long before anything is said: the reasons are true by then (A6).
const FIRST: Duration = Duration::from_secs(2);
/// The manager is asked ever less often while its answer stays the same, down to this.
const MOST: Duration = Duration::from_secs(64);

pub(super) async fn tell(control: Arc<Control>) {
    let missing = |control: &Control| {
        let wanted = usize::try_from(control.wanted()).unwrap_or(usize::MAX);
        control.standing.borrow().ready < wanted
    };
    let mut told = None;
    let mut pause = FIRST;
    let mut was_missing = false;
    loop {
        tokio::time::sleep(pause).await;
        if !missing(&control) {
            (told, pause, was_missing) = (None, FIRST, false);
            continue;
        }
        if !std::mem::replace(&mut was_missing, true) {
            pause = FIRST; // it may have begun this very moment
            continue;
        }
        let Ok(application) = control.registered() else { continue };
        let shortfalls = match application.explain().await {
            Ok(shortfalls) => shortfalls,
            Err(error) => {
                tracing::debug!(%error, "the manager can't say why executors don't come");
                pause = (pause * 2).min(MOST);
                continue;
            }
        };
        let why = handle::reasons(&shortfalls);
        if !missing(&control) || told.as_ref() == Some(&why) {
            pause = (pause * 2).min(MOST);
            continue;
        }
        let (ready, wanted) = (control.standing.borrow().ready, control.wanted());
        let words = if why.is_empty() { "they were granted and are on their way" } else { why.as_str() };
        tracing::warn!(ready, wanted, why = words, "executors are missing");
        control.events.tell(DriverEvent::ExecutorsMissing { ready, wanted, shortfalls });
        told = Some(why);
        pause = FIRST;
    }
}
