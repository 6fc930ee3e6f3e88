//! A driver for the tests and the transcript of the command line: squares numbers in executors, each taking a moment.
//!
//! ```text
//! convoke submit --executors 2 target/debug/examples/squares NUMBERS MILLISECONDS
//! ```

use std::process::ExitCode;
use std::time::Duration;

use convoke::Driver;
use convoke::manager::Outcome;

#[convoke::task]
fn square(number: u64, milliseconds: u64) -> u64 {
    println!("squaring {number}");
    std::thread::sleep(Duration::from_millis(milliseconds));
    number * number
}

fn main() -> ExitCode {
    convoke::init();
    let mut arguments = std::env::args().skip(1);
    let numbers: u64 = arguments.next().unwrap_or_default().parse().unwrap_or(10);
    let milliseconds: u64 = arguments.next().unwrap_or_default().parse().unwrap_or(100);
    match sum(numbers, milliseconds) {
        Ok(sum) => {
            println!("{sum}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("squares: {error}");
            ExitCode::FAILURE
        }
    }
}

fn sum(numbers: u64, milliseconds: u64) -> Result<u64, Box<dyn std::error::Error>> {
    let driver = Driver::builder().start_blocking()?;
    let squares = driver.map(square, (1..=numbers).map(move |number| (number, milliseconds))).wait()?;
    convoke::block_on(driver.shutdown(Outcome::Succeeded, Duration::from_secs(10)))?;
    Ok(squares.iter().sum())
}
