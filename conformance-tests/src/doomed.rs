//! Drivers in processes of their own, which the kit kills (T2). Their executors' probes call the kit's witness, not theirs.

use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::{ApplicationId, ProfileId};
use convoke_core::manager::{Artifact, Bootstrap, ClusterManager, Platform, Target, What};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::units::{Cpus, MiB};
use convoke_core::{Error, Result};
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdout, Command};

use crate::application::Setup;
use crate::context::Context;
use crate::deadlines::{DeadlineName, Deadlines};
use crate::harness::{Environment, Harness, Hook, NoHooks, Room};
use crate::verdict::Finding;

/// The argument that makes this program a driver that is to be killed: `DRIVER address orders-as-JSON`.
const DRIVER: &str = "convoke-kit-driver";

/// How far a driver has come; it says each as it gets there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Stage {
    /// It is about to register.
    Registering,
    /// The manager has taken the application.
    Registered,
    /// It wished for executors.
    Wished,
    /// One was granted.
    Granted,
    /// One is being started.
    Launched,
    /// All are there.
    Settled,
}

impl Stage {
    const fn word(self) -> &'static str {
        match self {
            Stage::Registering => "application",
            Stage::Registered => "registered",
            Stage::Wished => "wished",
            Stage::Granted => "granted",
            Stage::Launched => "launched",
            Stage::Settled => "settled",
        }
    }
}

/// What a driver is to do.
#[derive(Debug, Serialize, Deserialize)]
struct Orders {
    token: String,
    witness: String,
    reached_at: String,
    lease_ms: u64,
    executors: u32,
    cpus_millis: u64,
    memory_mib: u64,
    builds: Vec<(Platform, Artifact)>,
}

/// Plays the driver, and never returns, where this process was started for that. Call it in `main` behind
/// [`become_probe_if_asked`](crate::become_probe_if_asked), with what [`Harness::dial`] does; [`main`](crate::main) does so.
pub fn become_driver_if_asked(dial: impl FnOnce(&str) -> Result<Arc<dyn ClusterManager>>) {
    let arguments: Vec<String> = std::env::args().collect();
    let [_, mode, address, orders] = arguments.as_slice() else { return };
    if mode != DRIVER {
        return;
    }
    std::thread::spawn(|| {
        // whoever started it is gone: so is the need for it
        let _ = std::io::Read::read(&mut std::io::stdin(), &mut [0_u8]);
        std::process::exit(0);
    });
    let code = match drive(dial, address, orders) {
        Ok(()) => 0,
        Err(error) => {
            eprintln!("convoke-conformance: a driver can't go on: {error:#}");
            1
        }
    };
    std::process::exit(code);
}

fn drive(
    dial: impl FnOnce(&str) -> Result<Arc<dyn ClusterManager>>,
    address: &str,
    orders: &str,
) -> Result<()> {
    let orders: Orders =
        serde_json::from_str(orders).map_err(|error| Error::internal("a driver's orders").source(error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("can't start a runtime", error))?;
    runtime.block_on(async {
        let harness = Dialled { manager: dial(address)?, reached_at: orders.reached_at.clone() };
        let bootstrap = Bootstrap { builds: orders.builds.clone() };
        let context =
            Context::open(Arc::new(harness), Deadlines::default(), orders.token.clone(), bootstrap).await?;
        let trouble = |finding: Finding| Error::internal(format!("{finding:?}"));
        match run(&context, &orders).await {
            Ok(()) => Ok(()),
            Err(finding) => Err(trouble(finding)),
        }
    })
}

/// A cluster that somebody else's harness looks after.
#[derive(Debug)]
struct Dialled {
    manager: Arc<dyn ClusterManager>,
    reached_at: String,
}

#[async_trait]
impl Harness for Dialled {
    fn subject(&self) -> String {
        "dialled".to_owned()
    }
    async fn environment(&self) -> Result<Environment> {
        Ok(Environment {
            manager: self.manager.clone(),
            hooks: Arc::new(NoHooks),
            room: Room::default(),
            guard: Box::new(()),
        })
    }
    fn reached_at(&self) -> String {
        self.reached_at.clone()
    }
}

async fn run(context: &Context, orders: &Orders) -> Result<(), Finding> {
    let setup = Setup {
        lease: Some(Duration::from_millis(orders.lease_ms)),
        witness: Some(orders.witness.clone()),
        ..Setup::default()
    };
    let application =
        context.register_telling(setup, |id| println!("{} {id}", Stage::Registering.word())).await?;
    println!("{}", Stage::Registered.word());
    let each = Resources::new(Cpus::from_millis(orders.cpus_millis), MiB(orders.memory_mib));
    let profile = Arc::new(ResourceProfile { id: ProfileId(0), each, ..(*context.profile()).clone() });
    if orders.executors > 0 {
        application.wish(Target::of(profile, orders.executors))?;
        println!("{}", Stage::Wished.word());
        let long = Duration::from_secs(600);
        for (stage, which) in [
            (Stage::Granted, (|what| matches!(what, What::Granted(_))) as fn(&What) -> bool),
            (Stage::Launched, |what| matches!(what, What::Launched { .. })),
        ] {
            context
                .eventually(stage.word(), long, async || {
                    let there = application.told(|v| v.events.iter().any(|(_, event)| which(&event.what)));
                    if there { Ok(()) } else { Err(String::new()) }
                })
                .await?;
            println!("{}", stage.word());
        }
        // the probes call whoever started this process: it counts them
        context
            .eventually(Stage::Settled.word(), long, async || {
                let launched =
                    application.told(|v| v.executors.values().filter(|told| told.launched).count());
                if launched >= orders.executors as usize { Ok(()) } else { Err(String::new()) }
            })
            .await?;
        println!("{}", Stage::Settled.word());
    }
    std::future::pending().await
}

/// A driver that runs in a process of its own.
#[derive(Debug)]
pub(crate) struct DoomedDriver {
    child: Child,
    lines: Lines<BufReader<ChildStdout>>,
    /// Its application.
    pub(crate) application: ApplicationId,
}

impl DoomedDriver {
    /// Starts one that wishes for so many executors of this size.
    pub(crate) async fn start(
        context: &Context,
        lease: Duration,
        executors: u32,
        each: &Resources,
    ) -> Result<DoomedDriver, Finding> {
        let address = context.hooks().address().await.map_err(|e| Finding::of_hook(Hook::Address, e))?;
        let orders = Orders {
            token: context.witness().token().to_owned(),
            witness: context.witness().address().to_owned(),
            reached_at: context.harness().reached_at(),
            lease_ms: u64::try_from(lease.as_millis()).unwrap_or(u64::MAX),
            executors,
            cpus_millis: each.cpus.millis(),
            memory_mib: each.memory.0,
            builds: context.bootstrap().builds,
        };
        let orders = serde_json::to_string(&orders)
            .map_err(|error| Finding::CouldNotRun(Error::internal("orders as JSON").source(error)))?;
        let could_not = |error| Finding::CouldNotRun(Error::host("can't start a driver", error));
        let mut child = Command::new(std::env::current_exe().map_err(could_not)?)
            .args([DRIVER, &address, &orders])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .map_err(could_not)?;
        let stdout = child.stdout.take().ok_or_else(|| {
            Finding::CouldNotRun(Error::internal("a driver's standard output was not piped"))
        })?;
        let mut lines = BufReader::new(stdout).lines();
        let first = next(&mut lines, context.deadline(DeadlineName::Register)).await?;
        let application =
            first.strip_prefix(Stage::Registering.word()).and_then(|id| id.trim().parse().ok()).ok_or_else(
                || Finding::CouldNotRun(Error::internal("a driver said no id").with("line", first)),
            )?;
        context.timeline().note(format!("a driver of {application} runs in process {:?}", child.id()));
        Ok(DoomedDriver { child, lines, application })
    }

    /// Waits until it has come so far.
    pub(crate) async fn reach(&mut self, context: &Context, stage: Stage) -> Result<(), Finding> {
        if stage == Stage::Registering {
            return Ok(());
        }
        let within = context.deadline(DeadlineName::Settle);
        while next(&mut self.lines, within).await? != stage.word() {}
        context.timeline().note(format!("the driver of {} has {}", self.application, stage.word()));
        Ok(())
    }

    /// SIGKILL, at once.
    pub(crate) async fn kill(mut self, context: &Context) -> Result<(), Finding> {
        let killed = self.child.kill().await;
        context.timeline().note(format!("the driver of {} was killed", self.application));
        killed.map_err(|error| Finding::CouldNotRun(Error::host("can't kill a driver", error)))
    }
}

/// The next line; a driver that ends by itself could not do what it was told.
async fn next(lines: &mut Lines<BufReader<ChildStdout>>, within: Duration) -> Result<String, Finding> {
    match tokio::time::timeout(within, lines.next_line()).await {
        Ok(Ok(Some(line))) => Ok(line),
        Ok(_) => Err(Finding::CouldNotRun(
            Error::internal("a driver ended before it was killed")
                .help("its standard error says why; the program's `main` must call become_driver_if_asked"),
        )),
        Err(_) => Err(Finding::failed("never happened", "a driver of its own process gets no further")),
    }
}
