//! The bootstrap's listener: what nodes get from it, and what strangers don't, while an executor goes on undisturbed.

use std::path::Path;
use std::time::Duration;

use convoke_core::driver::{Driver, DriverBuilder, Refusal};
use convoke_core::ids::Name;
use convoke_core::manager::{Artifact, Bootstrap, Outcome, Platform, Registry, Source};
use convoke_core::secret::Digest;
use convoke_core::{Error, ErrorKind};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use super::manager::TestManager;
use super::refusals::{busy_world_at, raise_descriptor_limit};
use super::walk::World;
use super::{SOON, eventually};

fn bootstrap(path: &Path, content: &[u8]) -> Bootstrap {
    std::fs::write(path, content).unwrap();
    let artifact = Artifact {
        name: Name::new("bootstrap").unwrap(),
        sha256: Digest::of(content),
        bytes: content.len() as u64,
        executable: true,
        sources: vec![Source::DriverPath(path.to_str().unwrap().to_owned())],
    };
    Bootstrap { builds: vec![(Platform::current(), artifact)] }
}

/// Where a build can be had: host and port, and the path.
fn url(world: &World) -> (String, String) {
    let spec = world.manager.spec();
    let (_, build) = &spec.bootstrap.builds[0];
    let url = build.sources.iter().find_map(|source| match source {
        Source::Url(url) => Some(url.strip_prefix("http://").unwrap()),
        _ => None,
    });
    let (place, path) = url.unwrap().split_once('/').unwrap();
    (place.to_owned(), format!("/{path}"))
}

/// All that the other side says until it hangs up.
async fn said(place: &str, request: impl AsRef<[u8]>) -> Vec<u8> {
    let mut tcp = TcpStream::connect(place).await.unwrap();
    let _ = tcp.write_all(request.as_ref()).await; // it may have hung up by now
    let mut answer = Vec::new();
    let reading = tokio::time::timeout(SOON, tcp.read_to_end(&mut answer)).await;
    let _ = reading.expect("it hangs up"); // a reset is as good an end
    answer
}

fn parts(answer: &[u8]) -> (u16, String, &[u8]) {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").expect("a head");
    let head = String::from_utf8(answer[..end].to_vec()).unwrap().to_ascii_lowercase();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, head, &answer[end + 4..])
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: driver\r\n\r\n")
}

#[tokio::test]
async fn the_bootstrap_is_served_as_it_was_and_nothing_else_is() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("a build");
    let content: Vec<u8> = (0..300_007_u32).map(|index| (index % 251) as u8).collect();
    let bootstrap = bootstrap(&file, &content);
    let manager = TestManager::new();
    manager.fetch();
    let (world, good) = busy_world_at(manager, |builder: DriverBuilder| builder.bootstrap(bootstrap)).await;
    std::fs::remove_file(&file).unwrap(); // held open since

    let (place, path) = url(&world);
    assert!(path.contains(&Digest::of(&content).to_string()), "{path}");
    let answer = said(&place, get(&path)).await;
    let (status, head, body) = parts(&answer);
    assert_eq!((status, body == content), (200, true));
    assert!(head.contains(&format!("\r\ncontent-length: {}", content.len())), "{head}");
    // As Mesos' fetcher asks first, and as curl says it by HTTP/1.0.
    let answer = said(&place, get(&path).replace("GET", "HEAD")).await;
    let (status, head, body) = parts(&answer);
    assert_eq!((status, body.len()), (200, 0));
    assert!(head.contains(&format!("\r\ncontent-length: {}", content.len())), "{head}");
    let answer = said(&place, format!("GET {path} HTTP/1.0\r\n\r\n")).await;
    assert!(parts(&answer).2 == content);

    // Almost right is as wrong as anything: the answers are the same to the byte, but for their date.
    let undated = |answer: &[u8]| {
        let (status, head, body) = parts(answer);
        let lines = head.lines().filter(|line| !line.starts_with("date:")).map(str::to_owned);
        (status, lines.collect::<Vec<_>>(), body.to_vec())
    };
    let wrong = undated(&said(&place, get("/")).await);
    assert_eq!((wrong.0, wrong.2.len()), (404, 0));
    let (folder, name) = path.rsplit_once('/').unwrap();
    let mut guessed = path.clone();
    guessed.replace_range(1..2, if path.starts_with("/0") { "1" } else { "0" });
    let near = [
        path[..path.len() - 1].to_owned(),
        format!("{path}/"),
        format!("{path}x"),
        path.to_uppercase(),
        folder.to_owned(),
        format!("{folder}/../{name}"),
        format!("/{path}"),
        format!("/{}", path[1..].replace('/', "%2F")),
        guessed,
        "/../../../../etc/passwd".to_owned(),
    ];
    for path in near {
        assert_eq!(undated(&said(&place, get(&path)).await), wrong, "{path}");
    }
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "TRACE"] {
        let answers = [path.as_str(), "/"].map(|path| get(path).replace("GET", method));
        for request in answers {
            assert_eq!(parts(&said(&place, &request).await).0, 405, "{request}");
        }
    }
    assert_eq!(world.refused(Refusal::NotServedThere), 21);
    world.good_goes_on(&good).await;

    let dropping = tokio::task::spawn_blocking(move || drop(world.driver));
    dropping.await.unwrap();
    let closed = async { while TcpStream::connect(&place).await.is_ok() {} };
    tokio::time::timeout(SOON, closed).await.expect("its port is closed");
}

#[tokio::test]
async fn garbage_half_requests_and_a_thousand_open_ends_keep_no_node_out() {
    raise_descriptor_limit();
    let folder = tempfile::tempdir().unwrap();
    let content = vec![42; 100_000];
    let bootstrap = bootstrap(&folder.path().join("build"), &content);
    let manager = TestManager::new();
    manager.fetch();
    let (world, good) = busy_world_at(manager, |builder: DriverBuilder| builder.bootstrap(bootstrap)).await;
    let (place, path) = url(&world);

    let long = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n\r\n", "x".repeat(64 << 10));
    let many = format!("GET {path} HTTP/1.1\r\n{}\r\n", "A: b\r\n".repeat(1000));
    let garbage: [&[u8]; 5] = [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        &[0xff; 4096],
        b"\r\n\r\nNONSENSE\r\n\r\n",
        long.as_bytes(),
        many.as_bytes(),
    ];
    for bytes in garbage {
        let answer = said(&place, [bytes, b"\r\n\r\n"].concat()).await;
        assert!(!answer.starts_with(b"HTTP/1.1 2"), "{:?}", String::from_utf8_lossy(&answer));
    }
    assert!(world.refused(Refusal::Garbage) >= 3, "{:?}", world.driver.refusals());

    let mut open = Vec::new();
    for number in 0..1000 {
        let mut tcp = TcpStream::connect(&place).await.unwrap();
        if number % 2 == 0 {
            tcp.write_all(&get(&path).as_bytes()[..20]).await.unwrap();
        }
        open.push(tcp);
    }
    eventually("the oldest make room", || world.refused(Refusal::LobbyFull) >= 800).await;
    for _ in 0..3 {
        let answer = said(&place, get(&path)).await;
        assert!(parts(&answer).2 == content);
    }
    world.good_goes_on(&good).await;
    drop(open);
    world.driver.shutdown(Outcome::Succeeded, SOON).await.unwrap();
}

#[tokio::test]
async fn the_listener_has_addresses_of_its_own_and_is_off_unless_it_is_needed() {
    let start = |manager: std::sync::Arc<TestManager>| {
        Driver::builder_with(Registry::new()).ignore_environment().manager(manager)
    };
    let manager = TestManager::new();
    let driver = start(manager.clone()).start().await.unwrap();
    assert_eq!(manager.spec().bootstrap, Bootstrap::default());
    drop(driver);

    // This very program, where no build is named.
    let manager = TestManager::new();
    manager.fetch();
    let settings = [("bootstrap.advertise", "gateway:9, 10.1.2.3"), ("driver.advertise", "elsewhere")];
    let builder = settings
        .into_iter()
        .fold(start(manager.clone()), |builder, (key, value)| builder.setting(key, value));
    let driver = builder.start().await.unwrap();
    let spec = manager.spec();
    let (platform, own) = &spec.bootstrap.builds[0];
    let bytes = std::fs::read("/proc/self/exe").unwrap();
    assert_eq!((platform, own.bytes), (&Platform::current(), bytes.len() as u64));
    assert_eq!(own.sha256, Digest::of(&bytes));
    let urls: Vec<_> = own.sources.iter().map(|source| format!("{source:?}")).collect();
    assert!(
        urls[0].starts_with("Url(\"http://gateway:9/") && urls[1].contains("http://10.1.2.3:"),
        "{urls:?}"
    );
    drop(driver);

    // A build that isn't what it says is refused before anything happens at the manager.
    let folder = tempfile::tempdir().unwrap();
    let mut wrong = bootstrap(&folder.path().join("build"), b"one");
    std::fs::write(folder.path().join("build"), b"two").unwrap();
    let manager = TestManager::new();
    manager.fetch();
    let refused = |error: &Error| (error.kind(), error.field().map(str::to_owned));
    let error = start(manager.clone()).bootstrap(wrong.clone()).start().await.unwrap_err();
    assert_eq!(refused(&error), (ErrorKind::InvalidRequest, Some("bootstrap".to_owned())), "{error}");
    wrong.builds[0].1.sources = vec![Source::DriverPath("/nowhere".to_owned())];
    let error = start(manager.clone()).bootstrap(wrong).start().await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidRequest, "{error}");
    assert!(!manager.was_asked());
}

#[tokio::test]
async fn a_build_that_is_written_over_is_cut_off_and_never_passes_for_whole() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("build");
    let bootstrap = bootstrap(&file, &vec![1; 100_000]);
    let manager = TestManager::new();
    manager.fetch();
    let (world, _good) = busy_world_at(manager, |builder: DriverBuilder| builder.bootstrap(bootstrap)).await;
    std::fs::write(&file, vec![2; 100_001]).unwrap();
    let (place, path) = url(&world);
    let answer = tokio::time::timeout(Duration::from_secs(30), said(&place, get(&path))).await.unwrap();
    let received =
        answer.windows(4).position(|window| window == b"\r\n\r\n").map_or(0, |end| answer.len() - end - 4);
    assert!(received < 100_000, "{received}");
}
