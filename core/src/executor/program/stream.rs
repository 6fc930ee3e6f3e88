//! The program's stream of tasks. A stream that breaks is replaced by another; only a driver that refuses it, or can't be
//! reached, ends the program. (How long it may be without one is its supervisor's affair: the lease.)

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::StreamExt as _;
use tokio::sync::{mpsc, watch};

use super::carrier::Remote;
use super::engine::{Engine, EngineSetup};
use super::life::{self, Wish};
use super::log_tail::LogTail;
use super::outbox::Outbox;
use crate::clock;
use crate::error::{Error, ErrorKind, Result, Retry};
use crate::executor::link::ProgramSetup;
use crate::rpc::client::{self, Client};
use crate::rpc::status::from_status;
use crate::rpc::v1::{self, executor_message::Message};
use crate::task::registry::Registry;

/// How often a broken stream is replaced at once, in a row.
const QUICK_TRIES: u32 = 3;

pub(super) async fn serve(
    setup: &ProgramSetup,
    mut wish: watch::Receiver<Wish>,
    log_tail: Option<Arc<LogTail>>,
    attached: impl FnOnce() -> Result<()>,
) -> Result<()> {
    let client = connect(setup).await?;
    let carrier = Remote::new(tokio::runtime::Handle::current(), client.clone(), log_tail);
    let engine = Engine::start(EngineSetup {
        executor: setup.executor,
        slots: setup.slots,
        devices: setup.devices.clone(),
        files: setup.files.clone(),
        inline_bytes: setup.inline_bytes,
        carrier: carrier.clone(),
    })?;
    let mut attached = Some(attached);
    let mut client = Some(client);
    let mut tries = 0;
    loop {
        let connected = match client.take() {
            Some(client) => Ok(client),
            None => connect(setup).await.inspect(|client| carrier.reconnected(client.clone())),
        };
        let ended = match connected {
            Ok(client) => {
                let first = attached.take();
                let worked = || first.map_or(Ok(()), |attached| attached());
                one_stream(setup, client, &engine, &mut wish, worked, &mut tries).await
            }
            Err(error) => Err(error),
        };
        let error = match ended {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        tries += 1;
        if attached.is_some() || error.retry_advice() == Retry::Never && error.kind() != ErrorKind::Internal {
            engine.stop();
            return Err(error);
        }
        tracing::warn!(%error, tries, "the stream of tasks broke; it is replaced");
        if tries > QUICK_TRIES {
            let pause = tokio::time::sleep(Duration::from_millis(100 << (tries - QUICK_TRIES).min(5)));
            tokio::select! {
                () = pause => {}
                changed = wish.wait_for(|wish| *wish == Wish::End) => {
                    drop(changed);
                    engine.stop();
                    return Ok(());
                }
            }
        }
    }
}

async fn connect(setup: &ProgramSetup) -> Result<Client> {
    client::connect(&setup.driver, &setup.application, &setup.identity).await
}

/// Serves one stream until it breaks (`Err`), or the program's work is done.
async fn one_stream(
    setup: &ProgramSetup,
    mut client: Client,
    engine: &Engine,
    wish: &mut watch::Receiver<Wish>,
    attached: impl FnOnce() -> Result<()>,
    tries: &mut u32,
) -> Result<()> {
    let registry = Registry::of_this_program()?;
    let held = engine.held();
    let hello = v1::ExecutorHello {
        process: std::process::id(),
        slots: setup.slots,
        functions: registry.digest().0.to_vec().into(),
        function_names: registry.names().map(str::to_owned).collect(),
        held_tasks: held.iter().map(|(task, _)| task.0).collect(),
        held_attempts: held.iter().map(|(_, attempt)| *attempt).collect(),
    };
    // Held until this function returns: without it the stream up ends, and the driver's side with it.
    let (_open, ended) = mpsc::channel::<()>(1);
    let outbound = Outbound { hello: Some(hello), outbox: Arc::clone(engine.outbox()), ended };
    let mut inbound = client.attach(outbound).await.map_err(|status| from_status(&status))?.into_inner();
    attached()?;
    *tries = 0;

    let mut limits_at = None;
    let mut draining = false;
    let drained = life::idle(engine);
    tokio::pin!(drained);
    loop {
        let look = async {
            match limits_at {
                Some(at) => {
                    let until: crate::clock::Moment = at;
                    tokio::time::sleep(until.since(clock::now())).await;
                }
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            message = inbound.next() => match message {
                Some(Ok(message)) => {
                    let limited = message.tasks.as_ref().is_some_and(|tasks| !tasks.time_limits_ms.is_empty());
                    engine.obey(message)?;
                    if limited {
                        limits_at = engine.look_at_time_limits(clock::now());
                    }
                }
                // The driver ends the stream only when everything has ended.
                None if draining => return Ok(()),
                None => return Err(Error::new(ErrorKind::Unavailable, "the driver ended the stream of tasks")),
                Some(Err(status)) => return Err(from_status(&status)),
            },
            () = look => limits_at = engine.look_at_time_limits(clock::now()),
            changed = wish.changed(), if !draining => {
                let now = if changed.is_ok() { *wish.borrow_and_update() } else { Wish::End };
                match now {
                    Wish::Run => {}
                    Wish::Drain => {
                        draining = true;
                        engine.drain();
                    }
                    Wish::End => {
                        engine.stop();
                        return Ok(());
                    }
                }
            }
            () = &mut drained, if draining => {
                // All is in the outbox, which is closed: its stream ends when it is empty, and the driver's answer ends then.
                while inbound.next().await.is_some_and(|message| message.is_ok()) {}
                return Ok(());
            }
        }
    }
}

/// What goes up: the hello, then whatever is ready.
struct Outbound {
    hello: Option<v1::ExecutorHello>,
    outbox: Arc<Outbox>,
    /// Ends when this stream has been given up: an old stream must not take what its successor has to send.
    ended: mpsc::Receiver<()>,
}

impl futures_core::Stream for Outbound {
    type Item = v1::ExecutorMessage;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<v1::ExecutorMessage>> {
        if let Some(hello) = self.hello.take() {
            return Poll::Ready(Some(v1::ExecutorMessage { message: Some(Message::Hello(hello)) }));
        }
        if self.ended.poll_recv(context).is_ready() {
            return Poll::Ready(None);
        }
        let updates = std::task::ready!(self.outbox.poll_next(context));
        Poll::Ready(updates.map(|updates| v1::ExecutorMessage { message: Some(Message::Updates(updates)) }))
    }
}
