//! D1, D2: who is refused, while the driver serves on.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use convoke_core::clock;
use convoke_core::executor::link::IdentityParts;
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::Then;
use convoke_core::rpc::client::Trust;
use convoke_core::rpc::status::from_status;
use convoke_core::rpc::v1::driver_client::DriverClient;
use convoke_core::rpc::{v1, version};
use convoke_core::secret::Secret;
use convoke_core::{Error, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::runtime::hand::{Beating, Ticket};
use crate::runtime::subject::{Runtime, Setup};
use crate::runtime::tasks::measure;
use crate::verdict::{Checked, Evidence, Finding};

/// How long the driver's speed is taken before, and at least while, strangers come.
const A_WHILE: Duration = Duration::from_millis(500);

pub(super) async fn tickets(context: Context) -> Checked {
    Runtime::with(&context, Setup::of(1), async |runtime| {
        let there = runtime.where_they_are(1, 1).await?;
        let genuine = ExecutorId(there[0].executor);
        let (evidence, served) = serving(runtime, async {
            let mut refused = Vec::new();
            let spent = runtime.ticket(genuine)?;
            refused.push(join_refused("a spent ticket", &spent).await?);

            // one that is given up before it joined
            let given_up = runtime.by_hand(2).await?;
            let withdrawn = runtime.ticket(given_up)?;
            let exit = runtime.context().deadline(DeadlineName::Exit);
            runtime
                .driver
                .drain(vec![given_up], Duration::ZERO, Then::LowerTarget)
                .await
                .map_err(Finding::from)?;
            runtime.loss_of(given_up, exit).await?;
            refused.push(join_refused("a withdrawn ticket", &withdrawn).await?);

            // one that the kit plays by hand: not joined yet, then joined, then gone
            let by_hand = runtime.by_hand(2).await?;
            let ticket = runtime.ticket(by_hand)?;
            let mut wrong = ticket.clone();
            wrong.ask.executor = ExecutorId(by_hand.0 + 1_000_000);
            refused.push(join_refused("the right ticket with a wrong id", &wrong).await?);
            let mut wrong = ticket.clone();
            wrong.ask.ticket = Secret::new(vec![7; 32]);
            refused.push(join_refused("a made-up ticket", &wrong).await?);
            let mut wrong = ticket.clone();
            wrong.ask.application =
                ApplicationId::generate(&Name::new("another").map_err(Finding::CouldNotRun)?)
                    .map_err(Finding::CouldNotRun)?;
            refused.push(join_refused("another application's id", &wrong).await?);

            let joined =
                ticket.join().await.map_err(|error| kept_out("a genuine ticket, unspent", &error))?;
            let supervised = ticket
                .supervise(&joined.identity)
                .await
                .map_err(|error| kept_out("who has joined", &error))?;
            let beating = Beating::start(supervised, Duration::from_millis(100));
            refused.push(join_refused("a ticket spent by hand", &ticket).await?);
            runtime.driver.set_executors(1).map_err(Finding::from)?;
            drop(beating);
            runtime.loss_of(by_hand, exit).await?;
            refused.push(join_refused("a replayed ticket", &ticket).await?);
            for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 4096], &[0; 4096]] {
                hung_up_on(&runtime.address(), garbage).await?;
                refused.push("garbage");
            }
            Ok(refused)
        })
        .await?;
        if runtime.lost(genuine).is_some() {
            return Err(Finding::failed("disturbed", "the executor that was there is lost"));
        }
        let own: u64 = runtime.driver.refusals().values().sum();
        Ok(served.with("refused", evidence.len()).with("refusals_by_the_drivers_count", own))
    })
    .await
}

pub(super) async fn certificates(context: Context) -> Checked {
    if context.harness().meddle().is_some() {
        return Err(Finding::lacks("encryption: something stands between executors and driver"));
    }
    Runtime::with(&context, Setup::of(0), async |ours| {
        let ticket = ours.ticket(ours.by_hand(1).await?)?;
        let mine = ticket.join().await.map_err(|error| kept_out("a genuine ticket", &error))?;
        let theirs = Runtime::with(&context, Setup::of(0), async |other| {
            let ticket = other.ticket(other.by_hand(1).await?)?;
            let theirs = ticket.join().await.map_err(|error| kept_out("a genuine ticket", &error))?;
            let (
                IdentityParts::Certificate { authority, .. },
                IdentityParts::Certificate { certificate, key, .. },
            ) = (mine.identity.clone(), theirs.identity)
            else {
                return Err(Finding::failed(
                    "no certificate",
                    "a driver with encryption gives no certificate",
                ));
            };
            // their certificate and key, by somebody who knows our authority, while they are in force
            let mixed = IdentityParts::Certificate { certificate, key, authority };
            if stream_opens(&ticket_of(ours)?, &mixed).await {
                return Err(Finding::failed("let in", "another application's certificate opens a stream"));
            }
            Ok(Evidence::new())
        })
        .await;
        theirs?;
        // and one's own does open one
        let supervised = ticket.supervise(&mine.identity).await;
        drop(supervised.map_err(|error| kept_out("one's own certificate", &error))?);
        let refusals: u64 = ours.driver.refusals().values().sum();
        Ok(Evidence::new()
            .with("foreign_certificates_refused", 1)
            .with("refusals_by_the_drivers_count", refusals))
    })
    .await
}

pub(super) async fn half_open(context: Context) -> Checked {
    raise_descriptor_limit()?;
    Runtime::with(&context, Setup::of(1), async |runtime| {
        let (opened, served) = serving(runtime, async {
            let mut half_open = Vec::new();
            for _ in 0..1000 {
                half_open.push(dial(&runtime.address()).await?);
            }
            // a new executor comes in all the same
            let ticket = runtime.ticket(runtime.by_hand(2).await?)?;
            let joined =
                ticket.join().await.map_err(|error| kept_out("among a thousand half-open ones", &error))?;
            let supervised = ticket.supervise(&joined.identity).await;
            drop(supervised.map_err(|error| kept_out("among a thousand half-open ones", &error))?);
            runtime.driver.set_executors(1).map_err(Finding::from)?;
            Ok(half_open.len())
        })
        .await?;
        Ok(served.with("half_open", opened).with("losses", runtime.losses()))
    })
    .await
}

pub(super) async fn protocol(context: Context) -> Checked {
    Runtime::with(&context, Setup { insecure: true, ..Setup::of(0) }, async |runtime| {
        let address = format!("http://{}", runtime.address());
        let mut client = DriverClient::connect(address).await.map_err(|error| {
            Finding::failed("kept out", format!("a driver that runs insecure takes no connection: {error}"))
        })?;
        let other = version::PROTOCOL + 1;
        let ask = v1::JoinRequest {
            protocol: other,
            version: "9.9.9".to_owned(),
            application: runtime.driver.application().to_string(),
            ..Default::default()
        };
        let error = match client.join(ask).await {
            Ok(_) => return Err(Finding::failed("let in", format!("protocol {other} joins"))),
            Err(status) => from_status(&status),
        };
        let words = format!("{error:#}");
        let both = [format!("protocol {other}"), format!("protocol {}", version::PROTOCOL)];
        if error.kind() != ErrorKind::Protocol || both.iter().any(|part| !words.contains(part)) {
            return Err(Finding::failed(
                "unhelpful",
                format!("another protocol's refusal does not name both: {words}"),
            ));
        }
        Ok(Evidence::new().with("refusal", words))
    })
    .await
}

/// Keeps the driver busy while `what` happens; answers what came of it, and how the driver served meanwhile.
async fn serving<T>(
    runtime: &Runtime,
    what: impl Future<Output = Result<T, Finding>>,
) -> Result<(T, Evidence), Finding> {
    let over = AtomicBool::new(false);
    let done = AtomicU64::new(0);
    let load = async {
        while !over.load(Ordering::Relaxed) {
            let lengths = runtime.driver.map(measure, vec![vec![1_u8; 16]; 64]).collect();
            let lengths = runtime.within("tasks run on", lengths).await?;
            match lengths {
                Ok(lengths) if lengths.iter().all(|length| *length == 16) => {
                    done.fetch_add(64, Ordering::Relaxed);
                }
                other => return Err(Finding::failed("wrong value", format!("among strangers: {other:?}"))),
            }
        }
        Ok(())
    };
    let watched = async {
        let alone = rate(&done, async { tokio::time::sleep(A_WHILE).await }).await.1;
        let (came, among) = rate(&done, async {
            let (came, ()) = tokio::join!(what, tokio::time::sleep(A_WHILE));
            came
        })
        .await;
        over.store(true, Ordering::Relaxed);
        (came, alone, among)
    };
    let (loaded, (came, alone, among)) = tokio::join!(load, watched);
    let came = came?;
    loaded?;
    let served = done.load(Ordering::Relaxed);
    let evidence = Evidence::new()
        .with("tasks_served", served)
        .with("tasks_per_second_before", alone)
        .with("tasks_per_second_meanwhile", among)
        .with("speed_kept_percent", among * 100 / alone.max(1));
    Ok((came, evidence))
}

/// How fast tasks end while this happens.
async fn rate<T>(done: &AtomicU64, what: impl Future<Output = T>) -> (T, u64) {
    let (before, began) = (done.load(Ordering::Relaxed), clock::now());
    let came = what.await;
    let tasks = done.load(Ordering::Relaxed) - before;
    let millis = u64::try_from(clock::now().since(began).as_millis()).unwrap_or(u64::MAX).max(1);
    (came, tasks * 1000 / millis)
}

async fn join_refused(who: &'static str, ticket: &Ticket) -> Result<&'static str, Finding> {
    match ticket.join().await {
        Ok(_) => Err(Finding::failed("let in", format!("{who} joins"))),
        // a driver that doesn't answer at all has not refused
        Err(error) if error.kind() == ErrorKind::Unavailable && matches!(ticket.trust, Trust::Insecure) => {
            Err(Finding::failed("no answer", format!("{who}: {error:#}")))
        }
        Err(_) => Ok(who),
    }
}

fn kept_out(who: &str, error: &Error) -> Finding {
    Finding::failed("kept out", format!("{who}: {error:#}"))
}

fn ticket_of(runtime: &Runtime) -> Result<Ticket, Finding> {
    let handed = runtime.launches.handed();
    let executor =
        handed.first().ok_or_else(|| Finding::CouldNotRun(Error::internal("nothing was handed over")))?;
    runtime.ticket(*executor)
}

/// Whether a supervisor's stream opens and stays.
async fn stream_opens(ticket: &Ticket, identity: &IdentityParts) -> bool {
    match ticket.supervise(identity).await {
        Err(_) => false,
        Ok((reports, mut orders)) => {
            let answer = tokio::time::timeout(Duration::from_secs(2), orders.message()).await;
            drop(reports);
            !matches!(answer, Ok(Err(_) | Ok(None)))
        }
    }
}

async fn dial(address: &str) -> Result<TcpStream, Finding> {
    TcpStream::connect(address)
        .await
        .map_err(|error| Finding::CouldNotRun(Error::host("the driver's port takes no connection", error)))
}

async fn hung_up_on(address: &str, garbage: &[u8]) -> Result<(), Finding> {
    let mut stranger = dial(address).await?;
    let _ = stranger.write_all(garbage).await; // it may be hung up on in the middle
    let mut answer = Vec::new();
    let end = tokio::time::timeout(Duration::from_secs(20), stranger.read_to_end(&mut answer)).await;
    end.map(drop).map_err(|_| Finding::failed("let in", "garbage is not hung up on within 20 seconds"))
}

/// Both ends of a thousand connections are in this process.
fn raise_descriptor_limit() -> Result<(), Finding> {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    if limit.maximum.is_some_and(|most| most < 4096) {
        return Err(Finding::lacks("4,096 open files"));
    }
    limit.current =
        Some(limit.current.unwrap_or(8192).max(limit.maximum.map_or(8192, |most| most.min(8192))));
    setrlimit(Resource::Nofile, limit).map_err(|error| {
        Finding::CouldNotRun(Error::host("can't raise the limit of open files", error.into()))
    })
}
