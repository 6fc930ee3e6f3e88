//! One executor on the master: does it start, and does it reach its driver?

use std::time::Duration;

use convoke::clock::now;
use convoke::driver::DriverBuilder;
use convoke::manager::Outcome;
use convoke::{Error, Result};

use super::Finding;

/// How long an executor may take to come.
const COME_DEADLINE: Duration = Duration::from_secs(15);
/// How long its end may take.
const END_DEADLINE: Duration = Duration::from_secs(10);

/// Starts a driver and one executor, and has it dial back.
pub fn look(driver: DriverBuilder) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = convoke::block_on(dial_back(driver, &mut findings)) {
        findings.push(wrong("driver", &error));
    }
    findings
}

async fn dial_back(driver: DriverBuilder, findings: &mut Vec<Finding>) -> Result<()> {
    let began = now();
    let driver = driver.executors(1).start().await?;
    let addresses: Vec<_> = driver.addresses().iter().map(ToString::to_string).collect();
    findings.push(Finding::well("driver", format!("listens; executors dial {}", addresses.join(", "))));
    match driver.wait_ready(1, COME_DEADLINE).await {
        Ok(()) => findings.push(Finding::well(
            "executor",
            format!("started, and reached its driver, in {} ms", now().since(began).as_millis()),
        )),
        Err(error) => findings.push(wrong("executor", &error)),
    }
    let refused: u64 = driver.refusals().values().sum();
    if refused > 0 {
        findings.push(Finding::weak(
            "strangers",
            format!("{refused} connections or calls were refused meanwhile"),
            "something dials the driver's port: choose another with driver.port",
        ));
    }
    match driver.shutdown(Outcome::Succeeded, END_DEADLINE).await {
        Ok(()) => findings.push(Finding::well("end", "nothing is left")),
        Err(error) => findings.push(wrong("end", &error)),
    }
    Ok(())
}

fn wrong(what: &'static str, error: &Error) -> Finding {
    Finding::wrong(what, error.to_string(), error.advice().map(str::to_owned))
}
