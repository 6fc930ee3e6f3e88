//! Three web servers on executors: Python's own, which knows nothing of convoke. They are found by their addresses and asked
//! for a page; one is killed, and replaced.
//!
//! `cargo run --example http_servers -- [FOLDER]` (the folder that they serve, by default this one)

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use convoke::driver::{DriverEvent, ExecutorProgram};
use convoke::manager::Outcome;
use convoke::units::HostPort;
use rustix::process::{Pid, Signal, kill_process};

const SOON: Duration = Duration::from_secs(60);

fn main() -> Result<(), Box<dyn std::error::Error>> {
    convoke::init();
    let folder = std::env::args().nth(1).unwrap_or_else(|| ".".to_owned());
    let folder = std::fs::canonicalize(folder)?.display().to_string();

    // `$(HTTP)` is the port: a free one of the server's node, which differs from server to server.
    let server = ExecutorProgram::new("python3")
        .args(["-m", "http.server", "$(HTTP)", "--bind", "127.0.0.1", "--directory"])
        .arg(folder)
        .env("PYTHONUNBUFFERED", "1")
        .port("HTTP");
    let driver = convoke::Driver::builder().executors(3).executor_program(server).start_blocking()?;
    let mut events = driver.events();
    convoke::block_on(driver.wait_ready(3, SOON))?;
    let servers = driver.executors();
    for server in &servers {
        let address = &server.addresses["HTTP"];
        println!("executor {} at {address}: {}", server.executor, first_line_of(address)?);
    }

    // No convoke in it: whatever ends it, its executor ends with it, and another one takes its place.
    let killed = &servers[0];
    let process = killed.program.and_then(|process| Pid::from_raw(i32::try_from(process).ok()?));
    kill_process(process.ok_or("it has no process")?, Signal::KILL)?;
    while let Some(event) = convoke::block_on(events.next()) {
        match event {
            DriverEvent::ExecutorLost { executor, exit } => println!("executor {executor} is gone: {exit}"),
            DriverEvent::ExecutorReady { executor, addresses }
                if servers.iter().all(|old| old.executor != executor) =>
            {
                let address = &addresses["HTTP"];
                println!("executor {executor} at {address}: {}", first_line_of(address)?);
                break;
            }
            _ => {}
        }
    }
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON))?;
    println!("all of them have ended");
    Ok(())
}

/// Asks for the start page: the first line of the answer.
fn first_line_of(address: &HostPort) -> std::io::Result<String> {
    let mut server = TcpStream::connect((address.host.as_str(), address.port))?;
    write!(server, "GET / HTTP/1.0\r\n\r\n")?;
    let mut answer = Vec::new();
    server.read_to_end(&mut answer)?;
    Ok(String::from_utf8_lossy(&answer).lines().next().unwrap_or_default().to_owned())
}
