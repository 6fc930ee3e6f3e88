use std::collections::BTreeMap;
use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::Name;
use convoke_core::manager::ClusterManager;
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};
use convoke_core::{Error, Result};

use crate::deadlines::Deadlines;
use crate::runtime::meddle::Meddle;

/// What the author of a cluster manager writes to have it certified: how to get an environment, and what it holds.
///
/// All but [`Harness::environment`] has a default. A harness can be asked for several environments at once unless
/// [`Harness::side_by_side`] says otherwise.
#[async_trait]
pub trait Harness: Debug + Send + Sync + 'static {
    /// The subject's name on the certificate.
    fn subject(&self) -> String;

    /// A fresh environment. Whatever it started is gone when its guard is.
    ///
    /// # Errors
    /// Any: the rules that needed it are reported as "could not run".
    async fn environment(&self) -> Result<Environment>;

    /// The same cluster, reached from another process of this program by the address that the hook
    /// [`address`](Hooks::address) gave: the kit kills drivers there (T2). A manager that lives in its driver's process is
    /// simply made anew.
    ///
    /// # Errors
    /// `Unsupported` where the harness can't; the rules that need it are then not checkable.
    fn dial(&self, address: &str) -> Result<Arc<dyn ClusterManager>> {
        let _ = address;
        Err(Error::unsupported("this harness reaches its cluster from its own process alone"))
    }

    /// How long things take here.
    fn deadlines(&self) -> Deadlines {
        Deadlines::default()
    }

    /// The sizes that the scale rules run at (S1, S2), and what one of the kit's executors asks for.
    fn sizes(&self) -> Sizes {
        Sizes::default()
    }

    /// How many environments may exist at once. One where they share a cluster.
    fn side_by_side(&self) -> usize {
        4
    }

    /// Whether all environments are one and the same cluster: then a case that disturbs it runs alone.
    fn shared(&self) -> bool {
        false
    }

    /// Addresses that executors reach this process at. Loopback, where they run on this host.
    fn reached_at(&self) -> String {
        "127.0.0.1".to_owned()
    }

    /// Known failures, as the text of a waivers file (see [`Waivers`](crate::Waivers)).
    fn waivers(&self) -> Option<String> {
        None
    }

    /// What of the environment is a stand-in for the real thing (a fake helper): printed on the certificate.
    fn stand_ins(&self) -> Vec<String> {
        Vec::new()
    }

    /// What stands between executors and their driver in the runtime profile's checks: nothing, but for a mutant.
    fn meddle(&self) -> Option<Arc<dyn Meddle>> {
        None
    }

    /// What a driver that vanishes can leave at the manager all the same, and how long (T2), each as `KIND: how long`: printed on
    /// the certificate. An entry of the hook `list-existing` that begins with one of these kinds is no breach.
    fn leaves(&self) -> Vec<String> {
        Vec::new()
    }

    /// Where a document takes this harness's certificates from, without the ending: `docs/certificates/mine` keeps that of the
    /// manager profile in `docs/certificates/mine-manager.md`. A whole run as a test compares with it, and with
    /// `CONVOKE_UPDATE` set it writes it.
    fn published(&self) -> Option<PathBuf> {
        None
    }

    /// The command that a reader types to run all of this again.
    fn reproduce(&self) -> String {
        "cargo test --test conformance".to_owned()
    }
}

/// A cluster manager with all that it needs, for one case of one rule.
#[derive(Debug)]
pub struct Environment {
    /// The subject.
    pub manager: Arc<dyn ClusterManager>,
    /// What faults can be injected, and what can be counted independently.
    pub hooks: Arc<dyn Hooks>,
    /// What there is room for.
    pub room: Room,
    /// Ends what the environment started.
    pub guard: Box<dyn Guard>,
}

/// Ends what an environment started. Its drop must do so too, as well as it can.
#[async_trait]
pub trait Guard: Debug + Send + Sync {
    /// Ends all of it.
    ///
    /// # Errors
    /// Where something is left.
    async fn clean_up(self: Box<Self>) -> Result<()>;
}

/// Nothing to clean up.
#[async_trait]
impl Guard for () {
    async fn clean_up(self: Box<Self>) -> Result<()> {
        Ok(())
    }
}

/// What an environment has room for: preconditions of the rules on allocation.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Room {
    /// How many of the kit's executors fit at once; `None`: as many as the kit asks for.
    pub executors: Option<u32>,
    /// What the largest node has in all, in what the manager counts. Nothing larger is ever granted.
    pub largest_node: Option<Resources>,
    /// Hosts, spelled as grants spell them.
    pub hosts: Vec<Name>,
    /// Resources that the manager does not count (YARN's default: cpus): printed on the certificate.
    pub uncounted: Vec<&'static str>,
}

/// How large the kit's own applications are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sizes {
    /// What one of the kit's executors asks for.
    pub executor: Resources,
    /// The largest target of S1; a quarter and a half of it are run too.
    pub scale: u32,
    /// How many applications register at once in S2.
    pub applications: u32,
    /// How many tasks D7 runs; a tenth of them is run too.
    pub tasks: u64,
}

impl Default for Sizes {
    fn default() -> Sizes {
        Sizes {
            executor: Resources::new(Cpus::from_millis(100), MiB(64)),
            scale: 40,
            applications: 100,
            tasks: 1_000_000,
        }
    }
}

macro_rules! hooks {
    ($($(#[doc = $doc:literal])+ $variant:ident, $name:literal;)*) => {
        /// A fault that a harness can inject, or a thing that it can count independently of the subject.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Hook {
            $($(#[doc = $doc])+ $variant,)*
        }

        impl Hook {
            /// All of them.
            pub const ALL: &'static [Hook] = &[$(Hook::$variant),*];

            /// As a hooks program is told it.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Hook::$variant => $name,)* }
            }

            /// What it does.
            #[must_use]
            pub fn meaning(self) -> &'static str {
                match self { $(Hook::$variant => concat!($($doc),+).trim_ascii_start(),)* }
            }
        }
    };
}

hooks! {
    /// Kills a node with all that runs on it, at once.
    KillNode, "kill-node";
    /// Brings a killed node back.
    ReviveNode, "revive-node";
    /// Kills a node's daemon alone; what it started runs on.
    KillDaemon, "kill-daemon";
    /// Stops the manager, or what stands for it, at once.
    StopManager, "stop-manager";
    /// Starts it again.
    StartManager, "start-manager";
    /// Cuts the network between this process and the manager.
    CutNetwork, "cut-network";
    /// Mends it.
    MendNetwork, "mend-network";
    /// Fills a node's disk, or makes its working folder unwritable.
    FillDisk, "fill-disk";
    /// Makes room again.
    FreeDisk, "free-disk";
    /// Takes so many of the kit's executors' worth of resources out of the cluster.
    TakeResources, "take-resources";
    /// Gives them back.
    GiveResources, "give-resources";
    /// Makes the manager grant one executor more than it is asked for.
    OverGrant, "over-grant";
    /// Counts the processes of an application that really exist, on all nodes.
    CountProcesses, "count-processes";
    /// Lists what exists at the manager in an application's name.
    ListExisting, "list-existing";
    /// Ends an application as an operator would.
    EndApplication, "end-application";
    /// Announces that a node will go, in so long.
    DrainNode, "drain-node";
    /// Takes one executor's resources for somebody else.
    Preempt, "preempt";
    /// Says how another process of this program reaches the cluster: what `Harness::dial` takes.
    Address, "address";
    /// Reads the outcome that the manager shows.
    OutcomeShown, "outcome-shown";
    /// Counts calls and bytes to the manager so far.
    Traffic, "traffic";
}

impl Hook {
    /// What a hooks program is given, and what it prints.
    #[must_use]
    pub const fn form(self) -> &'static str {
        match self {
            Hook::KillNode | Hook::ReviveNode | Hook::KillDaemon | Hook::FillDisk | Hook::FreeDisk => "HOST",
            Hook::DrainNode => "HOST SECONDS",
            Hook::TakeResources => "EXECUTORS",
            Hook::OverGrant | Hook::EndApplication => "NATIVE_ID",
            Hook::Preempt => "NATIVE_ID of an executor",
            Hook::CountProcesses => "APPLICATION_ID → a number",
            Hook::ListExisting => "APPLICATION_ID → a line for each thing",
            Hook::OutcomeShown => "NATIVE_ID → the manager's words",
            Hook::Traffic => "→ calls and bytes: two numbers",
            Hook::Address => "(the command line knows it)",
            Hook::StopManager
            | Hook::StartManager
            | Hook::CutNetwork
            | Hook::MendNetwork
            | Hook::GiveResources => "",
        }
    }

    /// Whether others on the same cluster would notice it, rather than that it only looks, or concerns one application.
    #[must_use]
    pub const fn disturbs(self) -> bool {
        !matches!(
            self,
            Hook::CountProcesses
                | Hook::ListExisting
                | Hook::OutcomeShown
                | Hook::Traffic
                | Hook::Preempt
                | Hook::Address
                | Hook::OverGrant
                | Hook::EndApplication
                | Hook::GiveResources
                | Hook::MendNetwork
        )
    }
}

/// Why a hook did nothing.
#[derive(Debug, Clone)]
pub enum Unhooked {
    /// The harness doesn't have it: the rules that need it are not checkable.
    NoSuchHook,
    /// What the rule speaks of does not exist at this manager (it keeps no outcomes), and why: the rule is not claimed.
    DoesNotApply(String),
    /// It has it, and it failed.
    Failed(Error),
}

impl From<Error> for Unhooked {
    fn from(error: Error) -> Unhooked {
        Unhooked::Failed(error)
    }
}

/// The answer of a hook.
pub type Hooked<T = ()> = Result<T, Unhooked>;

/// Calls and bytes to a manager.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Traffic {
    /// Requests sent.
    pub calls: u64,
    /// Bytes of their bodies, both ways.
    pub bytes: u64,
}

/// Faults and independent counts. Every hook is optional: by default there is no such hook.
///
/// A fault returns once it bites; what it can't be sure of, it reports as failed.
#[async_trait]
#[allow(unused_variables, reason = "the defaults have no hook to pass them to")]
pub trait Hooks: Debug + Send + Sync {
    /// [`Hook::KillNode`].
    async fn kill_node(&self, host: &Name) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::ReviveNode`].
    async fn revive_node(&self, host: &Name) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::KillDaemon`].
    async fn kill_daemon(&self, host: &Name) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::StopManager`].
    async fn stop_manager(&self) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::StartManager`].
    async fn start_manager(&self) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::CutNetwork`].
    async fn cut_network(&self) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::MendNetwork`].
    async fn mend_network(&self) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::FillDisk`].
    async fn fill_disk(&self, host: &Name) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::FreeDisk`].
    async fn free_disk(&self, host: &Name) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::TakeResources`].
    async fn take_resources(&self, executors: u32) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::GiveResources`].
    async fn give_resources(&self) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::OverGrant`]: to the application of this native id.
    async fn over_grant(&self, native: &str) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::CountProcesses`]: of the application with this id of convoke's.
    async fn count_processes(&self, application: &str) -> Hooked<u32> {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::ListExisting`]: of the application with this id of convoke's.
    async fn list_existing(&self, application: &str) -> Hooked<Vec<String>> {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::EndApplication`]: the one of this native id.
    async fn end_application(&self, native: &str) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::DrainNode`]: in so long, the node will go.
    async fn drain_node(&self, host: &Name, after: Duration) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::Preempt`]: the executor of this native id.
    async fn preempt(&self, native: &str) -> Hooked {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::Address`]: for [`Harness::dial`], in a process that is killed (T2).
    async fn address(&self) -> Hooked<String> {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::OutcomeShown`]: of the application of this native id, in the manager's words.
    async fn outcome_shown(&self, native: &str) -> Hooked<String> {
        Err(Unhooked::NoSuchHook)
    }
    /// [`Hook::Traffic`]: since the environment was made.
    async fn traffic(&self) -> Hooked<Traffic> {
        Err(Unhooked::NoSuchHook)
    }
}

/// No hooks at all.
#[derive(Debug, Clone, Copy, Default)]
pub struct NoHooks;
impl Hooks for NoHooks {}

/// Options that every registration of the kit carries to the manager under test, by the backend's own keys.
pub type ManagerOptions = BTreeMap<String, String>;
