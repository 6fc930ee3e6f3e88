//! `cargo run -p own-crate`: counts primes on two executors.

use own_crate::primes_below;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    // first of all: the same program is driver and executor, and an executor goes no further
    convoke::init();
    let driver = convoke::Driver::builder().executors(2).start_blocking()?;
    for (limit, primes) in
        [1_000, 10_000, 100_000].into_iter().zip(driver.map(primes_below, [1_000, 10_000, 100_000]).wait()?)
    {
        println!("{primes} primes below {limit}");
    }
    Ok(())
}
