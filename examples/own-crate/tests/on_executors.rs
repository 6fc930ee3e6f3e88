//! Tests of this crate on real executor processes.

use convoke::Driver;
use own_crate::primes_below;

// Once in each file of `tests/`: the executors of these tests are this very test binary, started again.
convoke::test_executor!();

#[test]
fn one_task_goes_there_and_back() -> Result<(), Box<dyn std::error::Error>> {
    let driver = Driver::builder().master("local[2]").start_blocking()?;
    assert_eq!(driver.submit(primes_below, 20).wait()?, 8);
    Ok(())
}
