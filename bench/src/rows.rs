//! Convoke's own rows. Clocks run from the public call to its result in the caller's hands.

pub(crate) mod bytes;
pub(crate) mod ends;
pub(crate) mod held;
pub(crate) mod killed;
pub(crate) mod soak;
pub(crate) mod stopped;
pub(crate) mod tasks;

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::Duration;

use convoke::driver::{Driver, DriverBuilder};
use convoke::manager::Outcome;

use crate::{Result, now};

/// Nothing here takes longer, or it has failed.
pub(crate) const SOON: Duration = Duration::from_secs(60);

/// So many executors of so many slots, and whether they speak mutual TLS.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) executors: u32,
    pub(crate) slots: u32,
    pub(crate) tls: bool,
}

impl Shape {
    /// What most rows are measured with.
    pub(crate) const USUAL: Shape = Shape { executors: 2, slots: 1, tls: true };

    pub(crate) fn builder(self) -> Result<DriverBuilder> {
        let Shape { executors, slots, tls } = self;
        let builder = Driver::builder()
            .ignore_environment()
            .master(format!("local-cluster[{executors},{slots},256MiB]"))
            .executor_cpus(convoke::units::Cpus::whole(slots))
            .executors(executors);
        Ok(if tls { builder } else { builder.insecure() })
    }

    /// All executors ready, and seen to encrypt or not.
    pub(crate) fn driver(self) -> Result<Driver> {
        let driver = self.builder()?.start_blocking()?;
        ready(&driver, self.executors)?;
        probe(&driver, self.tls)?;
        Ok(driver)
    }
}

pub(crate) fn ready(driver: &Driver, executors: u32) -> Result<()> {
    Ok(convoke::block_on(driver.wait_ready(executors as usize, SOON))?)
}

pub(crate) fn end(driver: Driver) -> Result<()> {
    Ok(convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON))?)
}

/// Milliseconds until so many executors take tasks, from nothing.
pub(crate) fn start(executors: u32) -> Result<f64> {
    let shape = Shape { executors, ..Shape::USUAL };
    let start = now();
    let driver = shape.builder()?.start_blocking()?;
    ready(&driver, executors)?;
    let taken = start.elapsed();
    end(driver)?;
    Ok(taken.as_secs_f64() * 1e3)
}

/// Speaks HTTP/2 in the clear to the driver's port: only a driver without TLS answers in kind.
fn probe(driver: &Driver, tls: bool) -> Result<()> {
    let address = driver.addresses().first().ok_or("the driver has no address")?.to_string();
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0")?;
    let mut head = [0; 9];
    const SETTINGS: u8 = 4;
    let in_the_clear = stream.read_exact(&mut head).is_ok() && head[3] == SETTINGS;
    if in_the_clear == tls {
        return Err(format!("the driver's port is encrypted: {}; it should be: {tls}", !in_the_clear).into());
    }
    Ok(())
}

pub(crate) fn check(what: &str, sum: u64, expected: u64) -> Result<()> {
    if sum == expected { Ok(()) } else { Err(format!("{what}: {sum} instead of {expected}").into()) }
}
