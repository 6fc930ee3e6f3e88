//! A live driver against a manager and executors that each test plays itself: joins, refusals, losses, the end.

#![allow(unreachable_pub, clippy::unwrap_used, clippy::expect_used, reason = "a test crate")]

mod executor;
mod fetching;
mod loss;
mod manager;
mod plane;
mod refusals;
mod serving;
mod walk;

use std::time::Duration;

/// A bound for what must happen soon: generous, so that only a hang reaches it.
const SOON: Duration = Duration::from_secs(30);

/// Waits until `condition` holds.
async fn eventually(what: &str, condition: impl Fn() -> bool) {
    let waiting = async {
        while !condition() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap_or_else(|_| panic!("never happened: {what}"));
}
