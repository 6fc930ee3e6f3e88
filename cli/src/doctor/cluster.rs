//! One executor on the master: does it start, and does it reach its driver by each address?

use std::net::{TcpStream, ToSocketAddrs};
use std::time::Duration;

use convoke::clock::now;
use convoke::driver::{Driver, DriverBuilder};
use convoke::manager::{Finding, Outcome};
use convoke::{Error, Result};

/// How long an executor may take to come.
const COME_DEADLINE: Duration = Duration::from_secs(15);
/// How long its end may take.
const END_DEADLINE: Duration = Duration::from_secs(10);
/// How long one address may take to answer.
const DIAL_DEADLINE: Duration = Duration::from_secs(3);

/// Starts a driver and one executor, and has it dial back.
pub fn look(driver: DriverBuilder) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Err(error) = convoke::block_on(dial_back(driver, &mut findings)) {
        findings.push(Finding::error("driver", &error));
    }
    findings
}

/// What an executor does: dials each address, and says why one didn't answer.
#[convoke::task]
fn dial(addresses: Vec<String>) -> Vec<Option<String>> {
    addresses.iter().map(|address| answers(address).err()).collect()
}

fn answers(address: &str) -> Result<(), String> {
    let resolved =
        address.to_socket_addrs().map_err(|error| format!("its name isn't known there: {error}"))?;
    let mut last = "its name has no address there".to_owned();
    for socket in resolved {
        match TcpStream::connect_timeout(&socket, DIAL_DEADLINE) {
            Ok(_) => return Ok(()),
            Err(error) => last = format!("{socket}: {error}"),
        }
    }
    Err(last)
}

async fn dial_back(driver: DriverBuilder, findings: &mut Vec<Finding>) -> Result<()> {
    let began = now();
    // What it prints is nobody's business afterwards.
    let driver = driver.executors(1).manager_setting("local.logs-kept", "0s").start().await?;
    let addresses: Vec<_> = driver.addresses().iter().map(ToString::to_string).collect();
    findings.push(Finding::well("driver", format!("listens; executors dial {}", addresses.join(", "))));
    match driver.wait_ready(1, COME_DEADLINE).await {
        Ok(()) => {
            let took = now().since(began).as_millis();
            let on = host(&driver);
            findings.push(Finding::well("executor", format!("came{on}, and reached its driver, in {took} ms")));
            let refused: u64 = driver.refusals().values().sum();
            if refused > 0 {
                findings.push(Finding::weak(
                    "strangers",
                    format!("{refused} connections or calls were refused meanwhile"),
                    "something dials the driver's port: choose another with driver.port",
                ));
            }
            match driver.submit(dial, addresses.clone()).await {
                Ok(answers) => findings.extend(addresses.iter().zip(answers).map(|one| reached(one, &on))),
                Err(error) => findings.push(Finding::error("address", &Error::internal("the dialling task failed").source(error))),
            }
        }
        Err(error) => findings.push(Finding::wrong(
            "executor",
            error.to_string(),
            error.advice().unwrap_or(
                "convoke explain says whether it would be granted; where it was, see that its node reaches the driver's addresses (driver.advertise, driver.port)",
            ),
        )),
    }
    match driver.shutdown(Outcome::Succeeded, END_DEADLINE).await {
        Ok(()) => findings.push(Finding::well("end", "nothing is left")),
        Err(error) => findings.push(Finding::error("end", &error)),
    }
    Ok(())
}

fn host(driver: &Driver) -> String {
    let host = driver.executors().into_iter().find_map(|executor| executor.host);
    host.map(|host| format!(" on {host}")).unwrap_or_default()
}

fn reached((address, trouble): (&String, Option<String>), on: &str) -> Finding {
    match trouble {
        None => Finding::well("address", format!("{address} answers an executor{on}")),
        Some(why) => Finding::weak(
            "address",
            format!("{address} doesn't answer an executor{on}: {why}"),
            "executors try the others, which costs time: say which to dial with driver.advertise",
        ),
    }
}
