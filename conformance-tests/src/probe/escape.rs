//! Children that try to escape: forked twice, sessions of their own, an empty environment, SIGTERM ignored. Each holds a
//! connection to the kit, which so counts what is left without asking anybody.

use std::process::{Command, Stdio};

use super::wire::{CHILD, FORK};
use super::{Identity, Kind, serve};

/// Starts the one in the middle, and waits until that has gone.
pub(super) fn fork(identity: &Identity) -> std::io::Result<()> {
    let status = command(identity, FORK)?.status()?;
    if status.success() {
        Ok(())
    } else {
        Err(std::io::Error::other(format!("the middle process: {status}")))
    }
}

/// The one in the middle: leaves its session, starts the child, and goes. Answers its exit code.
pub(super) fn pass_on(identity: &Identity) -> i32 {
    let started = rustix::process::setsid()
        .map_err(std::io::Error::from)
        .and_then(|_| command(identity, CHILD)?.spawn().map(drop));
    match started {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("convoke-conformance: {error}");
            71
        }
    }
}

/// The child: does nothing but exist, outside of every session that its executor knows.
pub(super) fn stay(identity: &Identity) -> i32 {
    let alone = rustix::process::setsid().map_err(std::io::Error::from).and_then(|_| ignore_terminate());
    match alone {
        // a lease of its own would make it well-behaved: it stays until somebody ends it
        Ok(()) => serve(&Identity { lease_ms: 600_000, ..identity.clone() }, Kind::Child),
        Err(error) => {
            eprintln!("convoke-conformance: {error}");
            71
        }
    }
}

/// Installs a handler that does nothing, for as long as the process lives.
pub(super) fn ignore_terminate() -> std::io::Result<()> {
    let (installed, ready) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = match tokio::runtime::Builder::new_current_thread().enable_all().build() {
            Ok(runtime) => runtime,
            Err(error) => return drop(installed.send(Err(error))),
        };
        runtime.block_on(async {
            match tokio::signal::unix::signal(tokio::signal::unix::SignalKind::terminate()) {
                Err(error) => drop(installed.send(Err(error))),
                Ok(mut terminate) => {
                    drop(installed.send(Ok(())));
                    while terminate.recv().await.is_some() {}
                }
            }
        });
    });
    ready.recv().map_err(std::io::Error::other)?
}

fn command(identity: &Identity, mode: &str) -> std::io::Result<Command> {
    let mut command = Command::new(std::env::current_exe()?);
    command
        .args(identity.arguments(mode))
        .env_clear()
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    Ok(command)
}
