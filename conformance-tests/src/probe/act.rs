use std::io::Write;

use super::wire::{FromProbe, ToProbe};
use super::{Identity, escape, find};

/// Carries out one order. Some never answer.
pub(super) fn carry_out(order: &ToProbe, identity: &Identity) -> FromProbe {
    match order {
        ToProbe::Exit(code) => std::process::exit(*code),
        ToProbe::Signal(number) => signal(*number),
        ToProbe::Stop => signal(rustix::process::Signal::STOP.as_raw()),
        ToProbe::Eat(mib) => eat(*mib),
        ToProbe::Print { to_stderr, text, times } => {
            for _ in 0..*times {
                let written = if *to_stderr {
                    std::io::stderr().write_all(text.as_bytes()).and_then(|()| std::io::stderr().flush())
                } else {
                    std::io::stdout().write_all(text.as_bytes()).and_then(|()| std::io::stdout().flush())
                };
                if let Err(error) = written {
                    return FromProbe::Trouble(format!("can't print: {error}"));
                }
            }
            FromProbe::Done("printed".into())
        }
        ToProbe::Fork(count) => match (0..*count).try_for_each(|_| escape::fork(identity)) {
            Ok(()) => FromProbe::Done(format!("forked {count}")),
            Err(error) => FromProbe::Trouble(format!("can't fork: {error}")),
        },
        ToProbe::Spin(threads) => {
            for _ in 0..*threads {
                std::thread::spawn(|| {
                    loop {
                        std::hint::spin_loop();
                    }
                });
            }
            FromProbe::Done(format!("{threads} threads spin"))
        }
        ToProbe::Report => FromProbe::Found(Box::new(find::look_around())),
        ToProbe::IgnoreTerminate => match escape::ignore_terminate() {
            Ok(()) => FromProbe::Done("SIGTERM is ignored".into()),
            Err(error) => FromProbe::Trouble(format!("can't ignore SIGTERM: {error}")),
        },
    }
}

fn signal(number: i32) -> FromProbe {
    let Some(signal) = rustix::process::Signal::from_named_raw(number) else {
        return FromProbe::Trouble(format!("no such signal: {number}"));
    };
    match rustix::process::kill_process(rustix::process::getpid(), signal) {
        Ok(()) => FromProbe::Done(format!("signal {number} sent")),
        Err(error) => FromProbe::Trouble(format!("can't send signal {number}: {error}")),
    }
}

/// Takes memory and writes to each page, so that it is resident; kept until the process ends.
fn eat(mib: u64) -> FromProbe {
    for taken in 0..mib {
        let mut piece = vec![0_u8; 1 << 20];
        for page in piece.chunks_mut(4096) {
            page[0] = (taken % 251) as u8 + 1;
        }
        std::hint::black_box(&piece);
        std::mem::forget(piece);
    }
    FromProbe::Done(format!("took {mib} MiB"))
}
