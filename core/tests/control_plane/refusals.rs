//! Who is refused, and why (D1, D2), while a well-behaved executor goes on undisturbed.

use std::time::Duration;

use convoke_core::driver::{DriverBuilder, Refusal};
use convoke_core::executor::link::IdentityParts;
use convoke_core::ids::{ExecutorId, Incarnation, Name, ProfileId};
use convoke_core::rpc::client::Trust;
use convoke_core::rpc::v1::driver_client::DriverClient;
use convoke_core::rpc::{v1, version};
use convoke_core::secret::{Digest, Secret};
use convoke_core::{Error, ErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::executor::{FakeExecutor, Found, attach};
use super::manager::TestManager;
use super::plane::Told;
use super::walk::{World, world_at};
use super::{SOON, eventually};

async fn busy_world(insecure: bool) -> (World, super::executor::Beating) {
    let adjust = |builder: DriverBuilder| if insecure { builder.insecure() } else { builder };
    busy_world_at(TestManager::new(), adjust).await
}

pub async fn busy_world_at(
    manager: std::sync::Arc<TestManager>,
    adjust: impl FnOnce(DriverBuilder) -> DriverBuilder,
) -> (World, super::executor::Beating) {
    let adjust =
        |builder: DriverBuilder| adjust(builder.executors(8).heartbeat_interval("20ms").lost_after("10s"));
    let world = world_at(manager, adjust).await;
    let good = FakeExecutor::join(&world.command(0)).await;
    (world, good.beat_on())
}

impl World {
    pub fn refused(&self, why: Refusal) -> u64 {
        self.driver.refusals().get(&why).copied().unwrap_or(0)
    }

    async fn dial(&self) -> TcpStream {
        let address = &self.driver.addresses()[0];
        TcpStream::connect((address.host.as_str(), address.port)).await.unwrap()
    }

    /// The good executor still has its lease renewed.
    pub async fn good_goes_on(&self, good: &super::executor::Beating) {
        let before = good.renewals();
        eventually("the good executor's lease is renewed", || good.renewals() > before + 2).await;
        assert!(good.lives());
        assert!(!self.plane.was_told(&Told::Gone(good.id)));
    }
}

async fn refused_join(found: &Found) -> Error {
    found.join().await.expect_err("it is refused")
}

#[tokio::test]
async fn every_misuse_of_a_ticket_has_its_own_refusal() {
    for insecure in [false, true] {
        let (world, good) = busy_world(insecure).await;
        let found = |executor| Found::of(&world.command(executor));
        let expect = |error: &Error, kind, why: Refusal| {
            assert_eq!(error.kind(), kind, "{why:?}: {error}");
            assert_eq!(error.retry_advice() == convoke_core::Retry::Never, kind != ErrorKind::Unavailable);
            assert_eq!(world.refused(why), 1, "{:?}", world.driver.refusals());
        };

        // Spent, then replayed.
        let spent = found(1);
        let executor = FakeExecutor::join(&world.command(1)).await;
        expect(&refused_join(&spent).await, ErrorKind::AlreadyExists, Refusal::SpentTicket);
        drop(executor);
        eventually("it is gone", || world.plane.was_told(&Told::Gone(ExecutorId(1)))).await;
        expect(&refused_join(&spent).await, ErrorKind::Stale, Refusal::ReplayedTicket);

        // Withdrawn: its manager doesn't want it any more.
        let withdrawn = found(2);
        world.manager.withdraw(ExecutorId(2));
        expect(&refused_join(&withdrawn).await, ErrorKind::Stale, Refusal::WithdrawnTicket);

        // The right ticket with a wrong id, a wrong profile, and cut short.
        let mut wrong = found(3);
        wrong.ask.executor = ExecutorId(4);
        expect(&refused_join(&wrong).await, ErrorKind::Unauthenticated, Refusal::WrongTicket);
        let mut wrong = found(3);
        wrong.ask.profile = ProfileId(1);
        assert_eq!(refused_join(&wrong).await.kind(), ErrorKind::Unauthenticated);
        let mut wrong = found(3);
        wrong.ask.ticket = Secret::new(wrong.ask.ticket.expose()[..16].to_vec());
        assert_eq!(refused_join(&wrong).await.kind(), ErrorKind::Unauthenticated);
        assert_eq!(world.refused(Refusal::WrongTicket), 3);

        // Of another driver of this application.
        let mut earlier = found(3);
        earlier.ask.incarnation = Incarnation(7);
        expect(&refused_join(&earlier).await, ErrorKind::Stale, Refusal::OtherIncarnation);

        // None of it spent the ticket of the executor that it was tried with.
        FakeExecutor::join(&world.command(3)).await;
        world.good_goes_on(&good).await;
    }
}

#[tokio::test]
async fn another_protocol_is_refused_with_both_named() {
    let (world, good) = busy_world(true).await;
    let address = format!("http://{}", world.driver.addresses()[0]);
    let mut client = DriverClient::connect(address).await.unwrap();
    let ask = v1::JoinRequest { protocol: 999, version: "9.9.9".to_owned(), ..Default::default() };
    let status = client.join(ask).await.unwrap_err();
    let error = convoke_core::rpc::status::from_status(&status);
    assert_eq!(error.kind(), ErrorKind::Protocol);
    for part in ["protocol 999", "9.9.9", &format!("protocol {}", version::PROTOCOL), version::VERSION] {
        assert!(error.to_string().contains(part), "{part}: {error}");
    }
    assert!(error.advice().is_some());
    assert_eq!(world.refused(Refusal::OtherProtocol), 1);

    // Another application's id, by somebody who doesn't ask whom he talks to.
    let ask = v1::JoinRequest {
        protocol: version::PROTOCOL,
        application: "other-0000000000000000".to_owned(),
        ..Default::default()
    };
    assert!(client.join(ask).await.is_err());
    assert_eq!(world.refused(Refusal::OtherApplication), 1);

    // Calls that need a session, without one and with a forged one.
    let none = client.supervise(tokio_stream::empty()).await.unwrap_err();
    assert_eq!(none.code(), tonic::Code::Unauthenticated);
    let mut forged = tonic::Request::new(v1::FetchRequest::default());
    let session = tonic::metadata::MetadataValue::from_bytes(&[0; 40]);
    forged.metadata_mut().insert_bin("convoke-session-bin", session);
    assert_eq!(client.fetch(forged).await.unwrap_err().code(), tonic::Code::Unauthenticated);
    assert_eq!(world.refused(Refusal::Anonymous), 2);
    world.good_goes_on(&good).await;
}

#[tokio::test]
async fn garbage_is_hung_up_on() {
    for (insecure, garbage) in [
        (false, &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
        (true, &b"GET / HTTP/1.1\r\nHost: x\r\n\r\n"[..]),
        (false, &[0xff; 4096][..]),
        (true, &[0_u8; 4096][..]),
        // A good beginning, and nothing behind it.
        (true, &b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\xff\xff\xff\xff\xff\xff\xff\xff\xff"[..]),
    ] {
        let (world, good) = busy_world(insecure).await;
        let mut stranger = world.dial().await;
        let _ = stranger.write_all(garbage).await; // it may be hung up on in the middle
        let mut answer = Vec::new();
        let end = tokio::time::timeout(SOON, stranger.read_to_end(&mut answer)).await;
        end.expect("the driver hangs up").ok();
        if !garbage.starts_with(b"PRI") {
            eventually("it is counted", || world.refused(Refusal::Garbage) == 1).await;
        }
        world.good_goes_on(&good).await;
    }
}

#[tokio::test]
async fn another_applications_certificate_is_refused() {
    let (world, good) = busy_world(false).await;
    let other = super::walk::world(|builder| builder).await;
    let ours = Found::of(&world.command(1)).join().await.unwrap();
    let theirs = Found::of(&other.command(1)).join().await.unwrap();

    // Their certificate and key, by somebody who knows our authority.
    let (IdentityParts::Certificate { authority, .. }, IdentityParts::Certificate { certificate, key, .. }) =
        (ours.identity, theirs.identity)
    else {
        panic!("certificates");
    };
    let mixed = IdentityParts::Certificate { certificate, key, authority };
    let found = Found::of(&world.command(2));
    let error = match found.connect(&mixed).await {
        Err(error) => error,
        Ok(mut client) => {
            let status = client.supervise(tokio_stream::pending()).await.unwrap_err();
            convoke_core::rpc::status::from_status(&status)
        }
    };
    assert_eq!(error.kind(), ErrorKind::Unavailable, "the connection is broken: {error}");
    eventually("it is counted", || world.refused(Refusal::ForeignCertificate) == 1).await;

    // A driver that isn't the one that was pinned gets no ticket.
    let mut fooled = found.clone();
    fooled.trust = Trust::Pin(Digest::of(b"another authority"));
    let error = refused_join(&fooled).await;
    assert_eq!(error.kind(), ErrorKind::Unauthenticated, "{error}");
    let mut fooled = found.clone();
    fooled.ask.application = convoke_core::ids::ApplicationId::from_parts(&Name::new("other").unwrap(), 1);
    assert_eq!(refused_join(&fooled).await.kind(), ErrorKind::Unauthenticated);
    found.join().await.expect("its ticket is unspent");
    world.good_goes_on(&good).await;
}

#[tokio::test]
async fn a_certificate_is_needed_for_all_but_a_join() {
    let (world, good) = busy_world(false).await;
    // An executor that was given up keeps a genuine certificate. It opens nothing any more.
    let executor = FakeExecutor::join(&world.command(1)).await;
    let (id, found, identity) = (executor.id(), executor.found.clone(), executor.joined.identity.clone());
    let mut before = found.connect(&identity).await.unwrap();
    let blob = || v1::FetchRequest { what: Some(v1::fetch_request::What::Blob(1)), offset: 0 };
    assert!(before.fetch(blob()).await.is_ok());
    drop(executor);
    eventually("it is gone", || world.plane.was_told(&Told::Gone(id))).await;
    for client in [&mut before, &mut found.connect(&identity).await.unwrap()] {
        let status = client.fetch(blob()).await.unwrap_err();
        assert_eq!(convoke_core::rpc::status::from_status(&status).kind(), ErrorKind::Stale);
        let status = client.supervise(tokio_stream::pending()).await.unwrap_err();
        assert_eq!(convoke_core::rpc::status::from_status(&status).kind(), ErrorKind::Stale);
    }
    let status = attach(&found, &identity).await.err().expect("refused");
    assert_eq!(convoke_core::rpc::status::from_status(&status).kind(), ErrorKind::Stale);
    assert_eq!(world.refused(Refusal::Fenced), 5);
    world.good_goes_on(&good).await;
}

#[tokio::test]
async fn a_thousand_half_open_connections_keep_nobody_out() {
    raise_descriptor_limit();
    for insecure in [false, true] {
        let (world, good) = busy_world(insecure).await;
        let mut half_open = Vec::new();
        for _ in 0..1000 {
            half_open.push(world.dial().await);
        }
        eventually("the oldest make room", || world.refused(Refusal::LobbyFull) >= 400).await;
        world.good_goes_on(&good).await;
        let command = world.command(1);
        let joining = tokio::time::timeout(Duration::from_secs(5), FakeExecutor::join(&command));
        let mut joined = joining.await.expect("a new executor joins at once");
        assert!(joined.beat(Duration::ZERO).await);
        joined.attach().await.unwrap();
    }
}

/// Both ends of the connections are in this process.
pub fn raise_descriptor_limit() {
    use rustix::process::{Resource, getrlimit, setrlimit};
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum.map_or(Some(8192), |most| Some(most.min(8192)));
    setrlimit(Resource::Nofile, limit).unwrap();
}
