//! The probe as the program of an executor: besides its connection to the kit it keeps the link to its supervisor.

use std::io::Write;
use std::os::unix::net::UnixStream;
use std::time::Duration;

use convoke_core::executor::link::{ToProgram, ToSupervisor, read_setup};

use super::{Identity, Kind, serve};

/// Says that it is ready and alive, ends when it is drained or its supervisor is gone, and serves the kit meanwhile.
pub(super) fn run(identity: &Identity) -> i32 {
    match attach() {
        Ok(()) => serve(identity, Kind::Supervised),
        Err(error) => {
            eprintln!("convoke-conformance: no link to a supervisor: {error}");
            71
        }
    }
}

fn attach() -> Result<(), String> {
    let link =
        rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(|error| error.to_string())?;
    let link = UnixStream::from(link);
    let setup = read_setup(&link).map_err(|error| error.to_string())?.ok_or("it ended at once")?;
    let mut alive = link.try_clone().map_err(|error| error.to_string())?;
    say(&mut alive, &ToSupervisor::Attached).map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        while say(&mut alive, &ToSupervisor::Alive).is_ok() {
            std::thread::sleep(setup.heartbeat_interval.max(Duration::from_millis(20)));
        }
    });
    std::thread::spawn(move || {
        use std::io::BufRead;
        for line in std::io::BufReader::new(link).lines() {
            match line.ok().and_then(|line| serde_json::from_str::<ToProgram>(&line).ok()) {
                Some(ToProgram::Drain) => std::process::exit(0),
                Some(ToProgram::Setup(_) | ToProgram::LogTail { .. }) => {}
                None => break,
            }
        }
        std::process::exit(0) // its supervisor is gone
    });
    Ok(())
}

fn say(link: &mut UnixStream, message: &ToSupervisor) -> std::io::Result<()> {
    let mut line = serde_json::to_vec(message).map_err(std::io::Error::other)?;
    line.push(b'\n');
    link.write_all(&line)
}
