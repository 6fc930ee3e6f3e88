use std::time::Duration;

/// How a master schedules, and how patient it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterSettings {
    /// Whose wish is met first.
    pub order: Order,
    /// Whether executors are spread over the workers or packed on few.
    pub spread: Spread,
    /// The most of the cluster's cpus that one application may hold, in thousandths; one executor it may always hold. Nothing is
    /// taken back from an application that runs, so this is what keeps the first from holding everything while others wait.
    pub share_millis: u32,
    /// A worker that is silent for so long can't be seen: its executors are unreachable, and nothing new is placed there.
    pub worker_away_after: Duration,
    /// A worker that can't be seen for so long is given up: its executors are lost with their node (F2).
    pub worker_lost_after: Duration,
    /// A worker whose launch failed for its own fault is the last resort for so long (F7).
    pub ailing_for: Duration,
    /// How many ended applications are remembered, for people.
    pub finished_kept: usize,
}

impl Default for MasterSettings {
    fn default() -> MasterSettings {
        MasterSettings {
            order: Order::Fifo,
            spread: Spread::Out,
            share_millis: 800,
            worker_away_after: Duration::from_secs(10),
            worker_lost_after: Duration::from_secs(60),
            ailing_for: Duration::from_secs(60),
            finished_kept: 200,
        }
    }
}

/// Whose wish is met first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The application that registered first.
    Fifo,
    /// The application that holds the fewest cpus.
    Fair,
}

/// Where executors go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spread {
    /// On the worker with most cpus free.
    Out,
    /// On the worker with the fewest cpus free that still has room.
    Pack,
}
