//! Honest waiting. "It happens within a time" and "it does not happen for a time" are two tools with two deadlines; neither
//! sleeps and hopes.

use std::time::Duration;

use convoke_core::clock;
use tokio::sync::watch;

use crate::verdict::Finding;

/// How often what nobody announces (the process table, an answer of `explain`) is looked at again.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// Rings whenever something that a check may be waiting for has changed.
#[derive(Debug, Clone)]
pub struct Pulse(watch::Sender<u64>);

impl Default for Pulse {
    fn default() -> Pulse {
        Pulse(watch::Sender::new(0))
    }
}

impl Pulse {
    /// Something changed.
    pub fn ring(&self) {
        self.0.send_modify(|count| *count += 1);
    }

    /// Waits for the next change, or until it is time to look again anyway, or until `at_most` is over.
    async fn or(&self, changes: &mut watch::Receiver<u64>, at_most: Duration) {
        let _ = tokio::time::timeout(at_most.min(LOOK_AGAIN), changes.changed()).await; // both mean: look
    }
}

/// Waits until `look` answers `Some`, at most `within`; else what was expected did not happen: a failure that says `what`.
///
/// # Errors
/// [`Finding::Failed`] with the breach `never happened`, telling what `look` said last.
pub async fn eventually<T>(
    pulse: &Pulse,
    what: &str,
    within: Duration,
    mut look: impl AsyncFnMut() -> Result<T, String>,
) -> Result<T, Finding> {
    let mut changes = pulse.0.subscribe();
    let began = clock::now();
    loop {
        changes.borrow_and_update();
        let saw = match look().await {
            Ok(value) => return Ok(value),
            Err(saw) => saw,
        };
        let waited = clock::now().since(began);
        if waited >= within {
            return Err(Finding::failed(
                "never happened",
                format!(
                    "{what}: not within {}; last seen: {saw}",
                    convoke_core::units::format_duration(within)
                ),
            ));
        }
        pulse.or(&mut changes, within - waited).await;
    }
}

/// Watches for as long as `during` that `look` never answers `Some`: what it answered then is the failure.
///
/// # Errors
/// [`Finding::Failed`] with the breach `happened`.
pub async fn never(
    pulse: &Pulse,
    what: &str,
    during: Duration,
    mut look: impl AsyncFnMut() -> Option<String>,
) -> Result<(), Finding> {
    let mut changes = pulse.0.subscribe();
    let began = clock::now();
    loop {
        changes.borrow_and_update();
        if let Some(seen) = look().await {
            return Err(Finding::failed("happened", format!("{what}, yet it did: {seen}")));
        }
        let waited = clock::now().since(began);
        if waited >= during {
            return Ok(());
        }
        pulse.or(&mut changes, during - waited).await;
    }
}

/// Lets time pass that the environment needs, such as a lease that must run out: nothing is concluded from its end.
pub async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn eventually_ends_with_what_was_seen_last() {
        let pulse = Pulse::default();
        let mut looked = 0;
        let found = eventually(&pulse, "three looks", Duration::from_secs(1), async || {
            looked += 1;
            if looked == 3 { Ok(looked) } else { Err(format!("{looked}")) }
        })
        .await;
        assert_eq!(found.ok(), Some(3));
        let finding =
            eventually::<()>(&pulse, "a thing", Duration::from_millis(90), async || Err("nothing".into()))
                .await;
        assert!(
            matches!(finding, Err(Finding::Failed { breach: "never happened", seen }) if seen.contains("last seen: nothing"))
        );
    }

    #[tokio::test]
    async fn never_fails_as_soon_as_it_happens() {
        let pulse = Pulse::default();
        assert!(never(&pulse, "quiet", Duration::from_millis(100), async || None).await.is_ok());
        let mut looked = 0;
        let seen = never(&pulse, "quiet", Duration::from_secs(100), async || {
            looked += 1;
            (looked == 2).then(|| "noise".to_owned())
        })
        .await;
        assert!(matches!(seen, Err(Finding::Failed { breach: "happened", .. })));
    }
}
