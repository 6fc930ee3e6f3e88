//! Estimates π by throwing darts on some executors: `cargo run --release --example pi -- [DARTS]`

/// How many of so many darts, thrown at the unit square, hit the circle in it.
#[convoke::task]
fn hits(seed: u64, darts: u64) -> u64 {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut random = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 11) as f64 / (1_u64 << 53) as f64
    };
    (0..darts).filter(|_| random().powi(2) + random().powi(2) <= 1.0).count() as u64
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    convoke::init();
    let darts: u64 = std::env::args().nth(1).map_or(Ok(10_000_000), |darts| darts.parse())?;
    let tasks = 100;
    let driver = convoke::Driver::builder().executors(2).start_blocking()?;
    let all: u64 = driver.map(hits, (0..tasks).map(move |seed| (seed, darts / tasks))).wait()?.iter().sum();
    println!("π is about {:.4}", 4.0 * all as f64 / (darts / tasks * tasks) as f64);
    Ok(())
}
