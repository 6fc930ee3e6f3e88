//! What would be in an application's way on this Mesos: looked at from here, and from an agent.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use convoke_core::error::{Error, ErrorKind, Result};
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    ApplicationSpec, Artifact, EndedBy, Exit, ExitCause, Finding, Grant, LaunchCommand, LaunchFailure,
    Launcher, Outcome, Page, Placement, Program, Provisioner, Report, Source, Wanted,
};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::secret::{Digest, Secret};
use convoke_core::units::{Cpus, HostPort, MiB};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UdpSocket};
use tokio::sync::Notify;

use crate::agents::{Agent, agents};
use crate::manager::{LEAST_LEASE, Mesos};
use crate::quota::{Quotas, quotas};
use crate::settings::Settings;
use crate::v1::http::Http;

/// What the task of the last look fetches from here.
const CONTENT: &[u8] = b"convoke was here\n";
/// A place for that task is waited for so long, and so long for its end.
const PLACE_WITHIN: Duration = Duration::from_secs(10);
const END_WITHIN: Duration = Duration::from_secs(20);

const MASTER: &str = "mesos master";
const CREDENTIALS: &str = "mesos credentials";
const AGENTS: &str = "mesos agents";
const ROLE: &str = "mesos role";
const WAY_BACK: &str = "way from an agent to this machine";

/// Looks; each finding only where those before it make it worth a look.
pub(crate) async fn diagnose(mesos: &Mesos, http: &Http, settings: &Settings) -> Vec<Finding> {
    let mut findings = Vec::new();
    let master = match lets_us_in(http, settings).await {
        Ok(master) => master,
        Err(error) => {
            let what = match error.kind() {
                ErrorKind::Unauthenticated | ErrorKind::PermissionDenied => CREDENTIALS,
                _ => MASTER,
            };
            findings.push(Finding::error(what, &error));
            return findings;
        }
    };
    let whom = settings.principal.as_deref().unwrap_or("nobody in particular");
    findings.push(Finding::well(CREDENTIALS, format!("frameworks of {whom} are let in")));
    let known = match agents(http, &master).await {
        Ok(agents) => quotas(http, &master, &settings.role).await.map(|quotas| (agents, quotas)),
        Err(error) => Err(error),
    };
    let (agents, quotas) = match known {
        Ok(known) => known,
        Err(error) => {
            findings.push(Finding::error(MASTER, &error));
            return findings;
        }
    };
    findings.push(Finding::well(MASTER, format!("{master} answers, and knows {} agents", agents.len())));
    findings.push(of_agents(&agents));
    findings.push(of_role(&settings.role, &quotas));
    if findings.iter().all(|finding| finding.verdict != convoke_core::manager::Verdict::Wrong) {
        findings.push(match way_back(mesos, &master).await {
            Ok(finding) => finding,
            Err(error) => Finding::error(WAY_BACK, &error),
        });
    }
    findings
}

/// The first master that lets frameworks of ours in.
async fn lets_us_in(http: &Http, settings: &Settings) -> Result<HostPort> {
    let mut last = Error::internal("there is no master to ask");
    for master in &settings.masters {
        match http.greet(master).await {
            Ok(()) => return Ok(master.clone()),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn of_agents(agents: &[Agent]) -> Finding {
    let usable = agents.iter().filter(|agent| agent.active && !agent.draining).count();
    let draining = agents.iter().filter(|agent| agent.draining).count();
    if agents.is_empty() {
        let advice =
            "start one: mesos-agent --master=HOST:5050 --work_dir=DIR; its log says why it doesn't register";
        return Finding::wrong(AGENTS, "none is registered", advice);
    }
    let seen = format!("{usable} of {} can be used; {draining} are being drained", agents.len());
    match usable {
        0 => Finding::wrong(AGENTS, seen, "reactivate one (REACTIVATE_AGENT), or look why none is connected"),
        _ if usable < agents.len() => Finding::weak(AGENTS, seen, "the page /#/agents says which"),
        _ => Finding::well(AGENTS, seen),
    }
}

fn of_role(role: &str, quotas: &Quotas) -> Finding {
    let shown = |amounts: &BTreeMap<String, u64>| {
        let shown = amounts.iter().map(|(name, amount)| format!("{name} {}", *amount as f64 / 1000.0));
        shown.collect::<Vec<_>>().join(", ")
    };
    for quota in &quotas.of_role {
        let full = quota.limits.iter().find(|(name, limit)| quota.used.get(*name).unwrap_or(&0) >= *limit);
        if let Some((name, limit)) = full {
            let used = *quota.used.get(name).unwrap_or(&0) as f64 / 1000.0;
            let seen = format!(
                "the quota of {} leaves no {name}: {used} of {} are used",
                quota.role,
                *limit as f64 / 1000.0
            );
            return Finding::wrong(ROLE, seen, "raise it (UPDATE_QUOTA), or name another role: mesos.role");
        }
    }
    match (quotas.of_role.first(), quotas.guaranteed_to.as_slice()) {
        (Some(quota), _) => {
            let seen = format!("{role} may use {} and uses {}", shown(&quota.limits), shown(&quota.used));
            Finding::well(ROLE, seen)
        }
        (None, []) => Finding::well(ROLE, format!("{role}, and no role has a quota")),
        (None, others) => Finding::weak(
            ROLE,
            format!(
                "{role} has no quota, and what others are guaranteed goes before it: {}",
                others.join(", ")
            ),
            "give it one (UPDATE_QUOTA), or name a role that has: mesos.role",
        ),
    }
}

/// Has a task on an agent fetch a file from here, as it would fetch the executor's program.
async fn way_back(mesos: &Mesos, master: &HostPort) -> Result<Finding> {
    let failed = |error| Error::host("can't listen", error);
    let listener = TcpListener::bind("0.0.0.0:0").await.map_err(failed)?;
    let port = listener.local_addr().map_err(failed)?.port();
    let here = SocketAddr::new(own_address(master).await.map_err(failed)?.ip(), port);
    let serving = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream));
        }
    });
    let tried = try_a_task(mesos, &format!("http://{here}/convoke-doctor")).await;
    serving.abort();
    let advice = "executors must reach the driver: open its ports (driver.port, bootstrap.port), or name an address that they \
                  reach (driver.advertise)";
    Ok(match tried? {
        None => {
            let seen = format!("no agent had 0.1 cpus and 32 MiB within {} s", PLACE_WITHIN.as_secs());
            Finding::weak(
                WAY_BACK,
                seen,
                "run it again when there is room: convoke explain says what is in the way",
            )
        }
        Some(exit) => match exit.cause {
            ExitCause::Code(0) => Finding::well(WAY_BACK, format!("a task fetched a file from {here}")),
            ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(_)) => Finding::wrong(
                WAY_BACK,
                format!("a task could not fetch from {here}: {}", exit.message),
                advice,
            ),
            _ => Finding::wrong(
                WAY_BACK,
                format!("a task that only fetches from {here} ended so: {exit}"),
                advice,
            ),
        },
    })
}

/// The address that packets to the master leave from. None is sent.
async fn own_address(master: &HostPort) -> std::io::Result<SocketAddr> {
    let mut last = std::io::Error::other("the master's name has no address");
    for master in tokio::net::lookup_host((master.host.as_str(), master.port)).await? {
        let any = if master.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
        let connected = async {
            let socket = UdpSocket::bind(any).await?;
            socket.connect(master).await?;
            socket.local_addr()
        };
        match connected.await {
            Ok(address) => return Ok(address),
            Err(error) => last = error,
        }
    }
    Err(last)
}

async fn serve(mut stream: TcpStream) {
    let mut request = [0; 4096];
    let head = format!(
        "HTTP/1.1 200 OK\r\nContent-Length: {}\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n",
        CONTENT.len()
    );
    // whoever hangs up here fetches nothing, and that is told
    if stream.read(&mut request).await.is_ok() && stream.write_all(head.as_bytes()).await.is_ok() {
        let _ = stream.write_all(CONTENT).await;
        let _ = stream.shutdown().await;
    }
}

/// Runs one task that fetches this URL; how it ended, or `None` where it found no place.
async fn try_a_task(mesos: &Mesos, url: &str) -> Result<Option<Exit>> {
    let name = Name::new("convoke-doctor")?;
    let id = ApplicationId::generate(&name)?;
    let launcher = Arc::new(Fetches(url.to_owned()));
    let spec = ApplicationSpec::builder(id, name, launcher).lease(LEAST_LEASE).build()?;
    let heard = Arc::new(Heard::default());
    let opened = mesos.open(Arc::new(spec), heard.clone()).await?;
    let each = Resources::new(Cpus::from_millis(100), MiB(32));
    let wanted = Wanted {
        executor: ExecutorId(1),
        profile: Arc::new(ResourceProfile { each, ..ResourceProfile::default() }),
        placement: Placement::default(),
        excluded: Arc::from([]),
    };
    opened.provisioning.start(vec![wanted]).await?;
    let placed = heard.until(PLACE_WITHIN, |it| it.granted).await;
    if placed {
        heard.until(END_WITHIN, |it| it.exit.is_some()).await;
    }
    let exit = heard.0.lock().unwrap_or_else(PoisonError::into_inner).exit.clone();
    if let Err(error) = opened.provisioning.close(Outcome::Succeeded, Duration::from_secs(5)).await {
        tracing::warn!(%error, "the doctor's framework could not be closed; its lease ends it");
    }
    Ok(placed.then(|| exit.unwrap_or_else(|| Exit::new(ExitCause::Unknown, "it did not end"))))
}

#[derive(Debug)]
struct Fetches(String);

impl Launcher for Fetches {
    fn launch(&self, _: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
        let mut command = LaunchCommand::new(Program::OnNode("true".to_owned()), Secret::new([]));
        if let Ok(name) = Name::new("from-the-driver") {
            command.files.push(Artifact {
                name,
                sha256: Digest::of(CONTENT),
                bytes: CONTENT.len() as u64,
                executable: false,
                sources: vec![Source::Url(self.0.clone())],
            });
        }
        command
    }
}

/// What was reported of that task.
#[derive(Debug, Default)]
struct Heard(Mutex<Known>, Notify);

#[derive(Debug, Default)]
struct Known {
    granted: bool,
    exit: Option<Exit>,
}

impl Heard {
    fn hear(&self, change: impl FnOnce(&mut Known)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.1.notify_one();
    }

    async fn until(&self, within: Duration, holds: impl Fn(&Known) -> bool) -> bool {
        let waiting = async {
            while !holds(&self.0.lock().unwrap_or_else(PoisonError::into_inner)) {
                self.1.notified().await;
            }
        };
        tokio::time::timeout(within, waiting).await.is_ok()
    }
}

impl Report for Heard {
    fn page(&self, _: String) {}
    fn manager(&self, _: Result<()>) {}
    fn granted(&self, _: Grant) {
        self.hear(|known| known.granted = true);
    }
    fn launched(&self, _: ExecutorId, _: Vec<Page>) {}
    fn reachable(&self, _: ExecutorId, _: bool) {}
    fn draining(&self, _: Vec<ExecutorId>, _: Option<SystemTime>, _: String) {}
    fn exited(&self, _: ExecutorId, exit: Exit) {
        self.hear(|known| (known.granted, known.exit) = (true, Some(exit)));
    }
    fn ended(&self, _: Outcome, by: EndedBy) {
        let words = format!("its framework was ended: {by:?}");
        self.hear(|known| known.exit = Some(Exit::new(ExitCause::Unregistered, words)));
    }
}
