//! Starts all processes from one thread that never ends.
//!
//! A parent-death signal that a child asks for is sent when the *thread* that started it ends, not its process. Threads of
//! a runtime come and go; this one stays.

use std::io;
use std::sync::{Mutex, PoisonError, mpsc};

use tokio::process::{Child, Command};
use tokio::runtime::Handle;
use tokio::sync::oneshot;

struct Order {
    command: Command,
    runtime: Handle,
    answer: oneshot::Sender<io::Result<Child>>,
}

/// Starts a process.
///
/// # Errors
/// As [`Command::spawn`].
///
/// # Cancel safety
/// A child whose starter has gone is dropped with the ends of its pipes, by which it learns that nobody wants it.
pub(crate) async fn spawn(command: Command) -> io::Result<Child> {
    let (answer, answered) = oneshot::channel();
    let order = Order { command, runtime: Handle::current(), answer };
    starter()?.send(order).map_err(|_| gone())?;
    answered.await.map_err(|_| gone())?
}

fn gone() -> io::Error {
    io::Error::other("the thread that starts processes is gone")
}

fn starter() -> io::Result<mpsc::Sender<Order>> {
    static STARTER: Mutex<Option<mpsc::Sender<Order>>> = Mutex::new(None);
    let mut starter = STARTER.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(orders) = &*starter {
        return Ok(orders.clone());
    }
    let (orders, taken) = mpsc::channel::<Order>();
    std::thread::Builder::new().name("convoke-start".to_owned()).spawn(move || {
        while let Ok(Order { mut command, runtime, answer }) = taken.recv() {
            let _within = runtime.enter();
            let started = command.spawn();
            drop(command); // and with it our copies of what the child has for itself
            let _ = answer.send(started); // nobody waits any more: dropping the child's pipes tells it
        }
    })?;
    *starter = Some(orders.clone());
    Ok(orders)
}
