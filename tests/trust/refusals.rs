//! Each refusal against a live driver, while a job runs on undisturbed (D1).

use std::time::Duration;

use convoke::driver::{Driver, DriverEvent, DriverEvents, Refusal};
use convoke::executor::link::IdentityParts;
use convoke::ids::{ApplicationId, ExecutorId, Incarnation, Name};
use convoke::manager::Then;
use convoke::rpc::client;
use convoke::rpc::client::Trust;
use convoke::secret::{Digest, Secret};
use convoke::{Error, ErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::job::{RunningJob, SOON, driver, shutdown};
use super::stranger::{Found, Rude, oversized_join};

fn refused(driver: &Driver, why: Refusal) -> u64 {
    driver.refusals().get(&why).copied().unwrap_or(0)
}

async fn counted(driver: &Driver, why: Refusal, at_least: u64) {
    for _ in 0..SOON.as_millis() {
        if refused(driver, why) >= at_least {
            return;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    panic!("{why:?} isn't counted: {:?}", driver.refusals());
}

async fn told(events: &mut DriverEvents, why: Refusal) -> String {
    let found = async {
        loop {
            match events.next().await.expect("the driver goes on") {
                DriverEvent::Refused { refusal, from, about, .. } if refusal == why => {
                    return format!("{from}: {about}");
                }
                DriverEvent::ExecutorLost { executor, exit } => {
                    panic!("executor {executor} was lost: {exit}")
                }
                _ => {}
            }
        }
    };
    tokio::time::timeout(SOON, found).await.unwrap_or_else(|_| panic!("{why:?} isn't told"))
}

async fn refused_join(found: &Found, kind: ErrorKind) -> Error {
    let error = found.join().await.expect_err("it is refused");
    assert_eq!(error.kind(), kind, "{error}");
    error
}

#[test]
fn every_stranger_is_refused_and_told_of_while_a_job_runs_on() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (driver, manager) = driver();
    let job = RunningJob::start(&driver);
    let mut events = driver.events();
    let (first, second) = {
        let launched = manager.launched();
        let mut commands = launched.values().map(Found::of);
        (commands.next().unwrap(), commands.next().unwrap())
    };
    let nobody = Found::of(&manager.command(ExecutorId(4_000)));
    runtime.block_on(async {
        // A spent ticket: its executor lives.
        refused_join(&first, ErrorKind::AlreadyExists).await;
        let about = told(&mut events, Refusal::SpentTicket).await;
        assert!(
            about.starts_with("127.0.0.1:") && about.contains(&first.ask.executor.to_string()),
            "{about}"
        );
        job.goes_on();

        // A genuine ticket of an executor that isn't wanted (any more).
        refused_join(&nobody, ErrorKind::Stale).await;
        told(&mut events, Refusal::WithdrawnTicket).await;

        // The right ticket with a wrong id, with one bit turned, and none at all.
        let mut wrong = first.clone();
        wrong.ask.executor = ExecutorId(4_001);
        refused_join(&wrong, ErrorKind::Unauthenticated).await;
        let mut wrong = nobody.clone();
        wrong.ask.executor = second.ask.executor;
        refused_join(&wrong, ErrorKind::Unauthenticated).await;
        let mut wrong = first.clone();
        let mut ticket = wrong.ask.ticket.expose().to_vec();
        ticket[7] ^= 1;
        wrong.ask.ticket = Secret::new(ticket);
        refused_join(&wrong, ErrorKind::Unauthenticated).await;
        wrong.ask.ticket = Secret::new(Vec::new());
        refused_join(&wrong, ErrorKind::Unauthenticated).await;
        counted(&driver, Refusal::WrongTicket, 4).await;
        told(&mut events, Refusal::WrongTicket).await;
        job.goes_on();

        // Of another driver of this application, and of another application.
        let mut earlier = first.clone();
        earlier.ask.incarnation = Incarnation(7);
        refused_join(&earlier, ErrorKind::Stale).await;
        told(&mut events, Refusal::OtherIncarnation).await;
        let mut other = first.clone();
        other.trust = Trust::Pin(Digest::of(b"another authority"));
        refused_join(&other, ErrorKind::Unauthenticated).await;

        // Garbage, in the clear and within HTTP/2.
        for garbage in [&b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..], &[0xff; 4096], &[0x16, 3, 1, 2, 0, 1]] {
            let mut stranger = first.dial().await;
            let _ = stranger.write_all(garbage).await; // it may be hung up on in the middle
            let _ = stranger.shutdown().await;
            let mut answer = Vec::new();
            let _ = tokio::time::timeout(SOON, stranger.read_to_end(&mut answer)).await.expect("it hangs up");
        }
        counted(&driver, Refusal::Garbage, 3).await;
        told(&mut events, Refusal::Garbage).await;
        job.goes_on();

        // A message larger than any join: refused by its announced size.
        oversized_join(&first, 128 << 10).await;
        counted(&driver, Refusal::Oversize, 1).await;
        told(&mut events, Refusal::Oversize).await;

        // Many calls at once on one connection.
        let mut rude = Rude::start(first.anonymous().await).await;
        for stream in (1..=9).step_by(2) {
            rude.begin_join(stream).await.unwrap();
        }
        let (_, headers) = rude.answer(&[1], 9).await.expect("an answer to the fifth");
        assert!(!headers.is_empty());
        told(&mut events, Refusal::TooManyCalls).await;
        // So many that HTTP/2 itself is broken: it hangs up, or takes no notice.
        for stream in (11..2_011).step_by(2) {
            if rude.begin_join(stream).await.is_err() {
                break;
            }
        }
        drop(rude);
        job.goes_on();
    });
    runtime.block_on(another_applications_certificate(&driver, &first, &mut events));
    job.goes_on();

    // Drained, and replayed.
    let gone = second.ask.executor;
    runtime.block_on(async {
        driver.drain(vec![gone], SOON, Then::Replace).await.unwrap();
        while driver.executors().iter().any(|executor| executor.executor == gone) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        refused_join(&second, ErrorKind::Stale).await;
        counted(&driver, Refusal::ReplayedTicket, 1).await;
    });
    job.goes_on();
    assert!(job.finish() > 0);
    shutdown(driver);
}

async fn another_applications_certificate(driver: &Driver, ours: &Found, events: &mut DriverEvents) {
    let application = ApplicationId::generate(&Name::new("another application").unwrap()).unwrap();
    let authority = convoke::rpc::authority::Authority::generate(application).unwrap();
    let (key, request) = convoke::rpc::authority::request().unwrap();
    let certificate = authority.executor(&request, ours.ask.executor, ours.ask.incarnation).unwrap();
    // The authority's certificate is public: every handshake shows it.
    let shown = {
        let connection = ours.anonymous().await;
        let chain = connection.get_ref().1.peer_certificates().unwrap();
        chain.last().unwrap().to_vec()
    };
    let identity = IdentityParts::Certificate {
        certificate: certificate.to_vec(),
        authority: shown,
        key: key.expose().to_vec(),
    };
    let refused = match client::supervise(&ours.addresses, &ours.ask.application, &identity).await {
        Err(error) => error,
        Ok((_reports, mut orders)) => {
            convoke::rpc::status::from_status(&orders.message().await.expect_err("the connection is broken"))
        }
    };
    assert!(matches!(refused.kind(), ErrorKind::Unavailable | ErrorKind::Unauthenticated), "{refused}");
    told(events, Refusal::ForeignCertificate).await;
    assert!(self::refused(driver, Refusal::ForeignCertificate) >= 1);
}

#[test]
fn a_thousand_half_open_connections_and_a_flood_of_joins_keep_nobody_out() {
    raise_descriptor_limit();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let (driver, manager) = driver();
    let job = RunningJob::start(&driver);
    let found = manager.launched().values().map(Found::of).next().unwrap();
    let mut events = driver.events();
    runtime.block_on(async {
        let mut half_open = Vec::new();
        for number in 0..1000 {
            half_open.push(found.dial().await);
            if number % 100 == 0 {
                job.goes_on();
            }
        }
        counted(&driver, Refusal::LobbyFull, 400).await;
        told(&mut events, Refusal::LobbyFull).await;
        // A flood of refused joins is told at a bounded rate, and counted in full.
        for _ in 0..200 {
            found.join().await.expect_err("a spent ticket");
        }
        assert_eq!(refused(&driver, Refusal::SpentTicket), 200);
        job.goes_on();
        // A new executor joins through the crowd.
        driver.set_executors(3).unwrap();
        driver.wait_ready(3, SOON).await.unwrap();
        drop(half_open);
    });
    let mut told = (0, 0);
    runtime.block_on(async {
        // All that was told up to now: the next event may be long in coming.
        while let Ok(Some(event)) = tokio::time::timeout(Duration::ZERO, events.next()).await {
            if let DriverEvent::Refused { refusal: Refusal::SpentTicket, untold, .. } = event {
                told = (told.0 + 1, told.1 + untold);
            }
        }
    });
    assert!(told.0 >= 1 && told.0 < 200, "told {} times", told.0);
    assert!(told.0 + told.1 <= 200, "{told:?}");
    assert!(job.finish() > 0);
    shutdown(driver);
}

/// Both ends of the connections are in this process.
fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(8192), |most| Some(most.min(8192)));
    setrlimit(Resource::Nofile, limit).unwrap();
}
