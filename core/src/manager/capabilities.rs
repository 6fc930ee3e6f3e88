use std::time::Duration;

/// What a manager is, without asking it.
#[derive(Debug, Clone)]
pub struct Descriptor {
    /// `local`, `standalone`, `yarn`, `mesos`, or a user's own word.
    pub kind: &'static str,
    /// The backend's version.
    pub version: String,
    /// What it can do at the most.
    pub capabilities: Capabilities,
    /// The shortest lease that it can keep (a Mesos stream is known dead only after a missed heartbeat).
    pub least_lease: Duration,
}

/// What is claimed; each claim binds rules of the contract. Flat and honest: a flag without a rule doesn't exist.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Capabilities {
    /// The manager is another process that can be away, and other people can end applications there (R6, F4, F8).
    pub remote: bool,
    /// Executors run on several nodes, each of which can die alone (F2).
    pub multi_node: bool,
    /// Preferred hosts are honoured (A10).
    pub placement: bool,
    /// Excluded hosts are not used (A10).
    pub exclusion: bool,
    /// Required constraints hold (A10).
    pub constraints: bool,
    /// Named devices are granted exclusively (A11).
    pub devices: bool,
    /// An executor over its memory is ended (A5).
    pub memory_enforced: bool,
    /// An executor gets no more cpu than its own when others want theirs (A5).
    pub cpu_enforced: bool,
    /// What executors print can be read (E2).
    pub logs: bool,
    /// The manager's notices are told (L7).
    pub draining: bool,
    /// Executors outlive a restart of the manager (F3).
    pub survives_restart: bool,
    /// How join tickets reach executors (E3).
    pub secret_channel: SecretChannel,
}

/// How a join ticket reaches its executor. A level, not a flag, because E3 has three true answers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretChannel {
    /// Others can read it: only single-use tickets may travel.
    #[default]
    Visible,
    /// In a file that only its owner reads.
    OwnerOnlyFile,
    /// On an inherited descriptor that nobody else sees.
    Inherited,
}

macro_rules! with_flags {
    ($($flag:ident),*) => {
        impl Capabilities {
            $(
                #[doc = concat!("Claims `", stringify!($flag), "`.")]
                #[must_use]
                pub fn $flag(mut self) -> Capabilities {
                    self.$flag = true;
                    self
                }
            )*

            /// Says how join tickets travel.
            #[must_use]
            pub fn secret_channel(mut self, channel: SecretChannel) -> Capabilities {
                self.secret_channel = channel;
                self
            }

            /// The flags that are claimed, by name.
            pub fn claimed(&self) -> impl Iterator<Item = &'static str> {
                [$((stringify!($flag), self.$flag)),*].into_iter().filter_map(|(name, claimed)| claimed.then_some(name))
            }
        }
    };
}

with_flags!(
    remote,
    multi_node,
    placement,
    exclusion,
    constraints,
    devices,
    memory_enforced,
    cpu_enforced,
    logs,
    draining,
    survives_restart
);
