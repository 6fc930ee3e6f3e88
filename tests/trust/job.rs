//! A job that runs while something else happens, and whose results are counted.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use convoke::driver::Driver;
use convoke::manager::Outcome;

use super::manager::Recording;

pub const SOON: Duration = Duration::from_secs(60);

#[convoke::task]
fn square(x: u64) -> u64 {
    x * x
}

/// A driver of two executors on a manager that keeps tickets.
pub fn driver() -> (Driver, Arc<Recording>) {
    driver_in(None)
}

/// The same, with the backend's files in this folder.
pub fn driver_in(folder: Option<&Path>) -> (Driver, Arc<Recording>) {
    let manager = Recording::of("local-cluster[4,1,256MiB]", folder);
    let driver = Driver::builder_with(convoke::registry())
        .ignore_environment()
        .name("a job of trust")
        .manager(manager.clone())
        .executors(2)
        .executor_memory("128MiB")
        .start_blocking()
        .unwrap();
    convoke::block_on(driver.wait_ready(2, SOON)).unwrap();
    (driver, manager)
}

/// A job without end: its arguments are given until it is finished, and every value is checked.
pub struct RunningJob {
    stop: Arc<AtomicBool>,
    done: Arc<AtomicU64>,
    checking: std::thread::JoinHandle<u64>,
    given: Arc<AtomicU64>,
}

impl RunningJob {
    pub fn start(driver: &Driver) -> RunningJob {
        let (stop, done) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let given = Arc::new(AtomicU64::new(0));
        let (stopped, counted) = (stop.clone(), given.clone());
        let arguments = (0_u64..).take_while(move |_| !stopped.load(Ordering::Relaxed)).inspect(move |_| {
            counted.fetch_add(1, Ordering::Relaxed);
        });
        let mut job = driver.map(square, arguments);
        let counted = done.clone();
        let checking = std::thread::spawn(move || {
            let mut position = 0;
            while let Some(value) = convoke::block_on(job.next()) {
                assert_eq!(value.unwrap(), position * position);
                position += 1;
                counted.store(position, Ordering::Relaxed);
            }
            position
        });
        RunningJob { stop, done, checking, given }
    }

    /// Waits until it has gone on by some results.
    pub fn goes_on(&self) {
        let before = self.done.load(Ordering::Relaxed);
        for _ in 0..SOON.as_millis() {
            if self.done.load(Ordering::Relaxed) > before + 100 {
                return;
            }
            assert!(!self.checking.is_finished(), "the job has ended");
            std::thread::sleep(Duration::from_millis(1));
        }
        panic!("the job stands still at {before}");
    }

    /// Every argument that was given has its value, each once and in order.
    pub fn finish(self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let results = self.checking.join().unwrap();
        assert_eq!(results, self.given.load(Ordering::Relaxed));
        results
    }
}

pub fn shutdown(driver: Driver) {
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
}
