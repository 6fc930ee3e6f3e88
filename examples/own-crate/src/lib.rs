//! A crate of one's own: its task, and a function that runs it on whatever executors a driver holds.

use convoke::Driver;

// The tests below start executors, too. There libtest has `main`, so this line takes the place of `convoke::init()`.
convoke::test_executor!();

/// How many primes there are below a number. A task is a plain function; executors find it by its name.
#[convoke::task]
pub fn primes_below(limit: u64) -> usize {
    (2..limit).filter(|n| (2..).take_while(|d| d * d <= *n).all(|d| n % d != 0)).count()
}

/// Counts the primes below each of these on the executors of `driver`; the results come in the order of the limits.
pub async fn count_primes(driver: &Driver, limits: Vec<u64>) -> Result<Vec<usize>, convoke::task::TaskError> {
    driver.map(primes_below, limits).collect().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke::manager::Outcome;
    use std::time::Duration;

    #[test]
    fn a_task_is_still_a_function() {
        assert_eq!(primes_below(100), 25);
    }

    #[test]
    fn executors_count_the_same() -> Result<(), Box<dyn std::error::Error>> {
        let driver = Driver::builder().master("local-cluster[2,1,256MiB]").executors(2).start_blocking()?;
        let counts = convoke::block_on(count_primes(&driver, vec![10, 100, 1_000]))?;
        assert_eq!(counts, [4, 25, 168]);
        convoke::block_on(driver.shutdown(Outcome::Succeeded, Duration::from_secs(10)))?;
        Ok(())
    }
}
