//! What a task's panic said and where, for its caller; the usual hook still prints it into the executor's log.

use std::cell::{Cell, RefCell};
use std::sync::Once;

thread_local! {
    static WATCHED: Cell<bool> = const { Cell::new(false) };
    static LAST: RefCell<Option<(String, String)>> = const { RefCell::new(None) };
}

/// Puts a hook in front of the present one, once per process.
pub(super) fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let usual = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            if WATCHED.get() {
                let location = panic.location().map(ToString::to_string).unwrap_or_default();
                LAST.set(Some((message(panic.payload()), location)));
            }
            usual(panic);
        }));
    });
}

/// Keeps this thread's panics for [`take`].
pub(super) fn watch() {
    WATCHED.set(true);
}

/// The message and location of this thread's last panic.
pub(super) fn take() -> (String, String) {
    LAST.take().unwrap_or_default()
}

fn message(payload: &dyn std::any::Any) -> String {
    let text = payload
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| payload.downcast_ref::<String>().cloned());
    text.unwrap_or_else(|| "a value that is no text".to_owned())
}
