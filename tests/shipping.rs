//! Code and files on their way to executors, through real processes (D8, E1, L3).

#![allow(
    clippy::unwrap_used,
    unreachable_pub,
    reason = "all of it is test code; helpers outside a test function too"
)]

#[allow(dead_code, reason = "shared with other tests")]
mod processes;

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use convoke::driver::{Driver, DriverBuilder, DriverEvent, Refusal};
use convoke::manager::{
    ApplicationSpec, ClusterManager, Descriptor, Exit, ExitCause, LaunchFailure, Outcome, Platform, Prologue,
    Registration, Source,
};
use convoke::secret::Digest;
use convoke::task::{Command as CommandTask, TaskContext};

use processes::{Job, programs_of, wait_until};
use rustix::process::{Pid, Signal};

convoke::test_executor!();

const SOON: Duration = Duration::from_secs(60);

/// What a task finds under a name: the digest of its bytes, and the folder's entries.
#[convoke::task]
fn look(context: &TaskContext, name: String) -> (Option<String>, Vec<String>) {
    let Some(path) = context.files().get(&name) else { return (None, Vec::new()) };
    if path.is_dir() {
        let mut found = Vec::new();
        entries(path, path, &mut found);
        found.sort();
        return (Some("folder".to_owned()), found);
    }
    (fs::read(path).ok().map(|bytes| Digest::of(&bytes).to_string()), Vec::new())
}

fn entries(root: &Path, folder: &Path, found: &mut Vec<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() {
            entries(root, &path, found);
        } else {
            let mode = fs::metadata(&path).unwrap().permissions().mode() & 0o111 != 0;
            let content = fs::read_to_string(&path).unwrap();
            found.push(format!("{}|{mode}|{content}", path.strip_prefix(root).unwrap().display()));
        }
    }
}

#[convoke::task]
fn process_of(_: u64) -> u32 {
    std::thread::sleep(Duration::from_millis(20));
    std::process::id()
}

fn builder(master: &str) -> DriverBuilder {
    Driver::builder().ignore_environment().master(master)
}

fn write(path: &Path, content: impl AsRef<[u8]>, mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, content).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

fn noise(bytes: usize) -> Vec<u8> {
    let mut seed = 7_u64;
    let step = |seed: &mut u64| {
        *seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (*seed >> 56) as u8
    };
    (0..bytes).map(|_| step(&mut seed)).collect()
}

/// Whether this application's executors have left anything in the node's cache.
fn is_cached(application: &str) -> bool {
    let cache = std::env::temp_dir().join(format!("convoke-cache-{}", rustix::process::geteuid().as_raw()));
    let mut folders = fs::read_dir(cache).into_iter().flatten().flatten();
    folders.any(|folder| folder.file_name().to_string_lossy().starts_with(application))
}

fn end(driver: Driver) {
    let application = driver.application().to_string();
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
    assert!(!is_cached(&application), "the last executor removes what was fetched");
}

#[test]
fn files_are_found_byte_for_byte_and_fetched_once_per_node() {
    let folder = tempfile::tempdir().unwrap();
    let odd = "it's a \"script\" größe 漢字 $(exit 3).sh";
    write(&folder.path().join(odd), "#!/bin/sh\necho ran \"$1\"\n", 0o755);
    let data = noise(3 << 20);
    write(&folder.path().join("data"), &data, 0o644);
    write(&folder.path().join("empty"), "", 0o600);
    let tree = folder.path().join("a folder");
    write(&tree.join("deep/er/it's.txt"), "leaf", 0o644);
    write(&tree.join("run"), "#!/bin/sh\n", 0o755);
    std::os::unix::fs::symlink("run", tree.join("link")).unwrap();
    let archive = folder.path().join("lib.tar.gz");
    let packed = Command::new("tar").arg("-czf").arg(&archive).arg("-C").arg(&tree).arg(".").status();
    assert!(packed.unwrap().success());

    let mut driver = builder("local-cluster[3,1,256MiB]").executors(3);
    for name in [odd, "data", "empty", "a folder"] {
        driver = driver.file(folder.path().join(name));
    }
    let driver = driver
        .file_as("renamed/data.bin", folder.path().join("data"))
        .setting("executor.archives", archive.to_str().unwrap())
        .start_blocking()
        .unwrap();
    convoke::block_on(driver.wait_ready(3, SOON)).unwrap();
    fs::remove_dir_all(folder.path()).unwrap(); // held open since

    let look_at = |name: &str| driver.map(look, vec![name.to_owned(); 6]).wait().unwrap();
    for name in ["data", "renamed/data.bin"] {
        for (digest, _) in look_at(name) {
            assert_eq!(digest, Some(Digest::of(&data).to_string()), "{name}");
        }
    }
    assert_eq!(look_at("empty")[0].0, Some(Digest::of(b"").to_string()));
    assert_eq!(look_at("nothing")[0].0, None);
    for name in ["a folder", "lib"] {
        let expected = ["deep/er/it's.txt|false|leaf", "link|true|#!/bin/sh\n", "run|true|#!/bin/sh\n"];
        assert_eq!(
            look_at(name)[0],
            (Some("folder".to_owned()), expected.map(str::to_owned).to_vec()),
            "{name}"
        );
    }
    // A command finds them in its working directory.
    let command = CommandTask::new(format!("./{odd}")).arg("it's $HOME").check();
    let output = driver.submit_command(command).wait().unwrap();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), "ran it's $HOME\n");
    let command = CommandTask::new("cat").arg("a folder/deep/er/it's.txt").arg("renamed/data.bin").check();
    let output = driver.submit_command(command.most_output_bytes(8 << 20)).wait().unwrap();
    assert!(output.stdout.strip_prefix(b"leaf") == Some(&data[..]));

    // Three executors on one node, and each file came once.
    for artifact in driver.artifacts() {
        assert_eq!((artifact.fetches, artifact.sent_bytes), (1, artifact.bytes), "{artifact:?}");
    }
    assert_eq!(driver.artifacts().len(), 5, "the same bytes under two names are one");
    end(driver);
}

#[test]
fn an_executor_inside_the_driver_finds_them_too() {
    let folder = tempfile::tempdir().unwrap();
    write(&folder.path().join("data"), "inline", 0o644);
    let driver =
        builder("local-inline").executors(1).file(folder.path().join("data")).start_blocking().unwrap();
    let found = driver.map(look, ["data".to_owned()]).wait().unwrap();
    assert_eq!(found[0].0, Some(Digest::of(b"inline").to_string()));
    assert!(!Path::new("data").exists(), "nothing is put into the driver's own folder");
    let application = driver.application().to_string();
    convoke::block_on(driver.shutdown(Outcome::Succeeded, SOON)).unwrap();
    wait_until("what was fetched is removed", || !is_cached(&application));
}

/// Passes bytes on to the driver, and cuts the first connection that has brought so many of them down.
fn cutting_proxy(driver: u16, cut_after: u64) -> (u16, Arc<AtomicU64>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let (cuts, over) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
    let told = cuts.clone();
    std::thread::spawn(move || {
        for down in listener.incoming() {
            let (Ok(down), Ok(up)) = (down, TcpStream::connect(("127.0.0.1", driver))) else { continue };
            let (mut from_up, mut to_down) = (up.try_clone().unwrap(), down.try_clone().unwrap());
            let (cuts, over) = (cuts.clone(), over.clone());
            std::thread::spawn(move || {
                let (mut buffer, mut passed) = (vec![0; 64 << 10], 0);
                while let Ok(read @ 1..) = from_up.read(&mut buffer) {
                    passed += read as u64;
                    if passed > cut_after && !over.swap(true, Ordering::SeqCst) {
                        cuts.fetch_add(1, Ordering::SeqCst);
                        break;
                    }
                    if to_down.write_all(&buffer[..read]).is_err() {
                        break;
                    }
                }
                let _ = (from_up.shutdown(Shutdown::Both), to_down.shutdown(Shutdown::Both));
            });
            let (mut from_down, mut to_up) = (down, up);
            std::thread::spawn(move || {
                let _ = std::io::copy(&mut from_down, &mut to_up);
                let _ = (from_down.shutdown(Shutdown::Both), to_up.shutdown(Shutdown::Both));
            });
        }
    });
    (port, told)
}

#[test]
fn a_fetch_goes_on_where_a_cut_connection_left_it() {
    const BYTES: u64 = 32 << 20;
    let folder = tempfile::tempdir().unwrap();
    let data = noise(BYTES as usize);
    write(&folder.path().join("data"), &data, 0o644);
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let (proxy, cuts) = cutting_proxy(port, BYTES / 2);
    let driver = builder("local-cluster[1,1,256MiB]")
        .executors(1)
        .port(port)
        .advertise(format!("127.0.0.1:{proxy}"))
        .file(folder.path().join("data"))
        .start_blocking()
        .unwrap();
    let found = driver.map(look, ["data".to_owned()]).wait().unwrap();
    assert_eq!(found[0].0, Some(Digest::of(&data).to_string()));
    assert_eq!(cuts.load(Ordering::SeqCst), 1, "the connection was cut");
    let [artifact] = &driver.artifacts()[..] else { panic!("one artifact") };
    assert_eq!((artifact.fetches, artifact.resumed), (2, 1), "{artifact:?}");
    // What was under way when it was cut is all that goes out twice: at most the connection's window and its buffers.
    assert!(artifact.sent_bytes >= BYTES && artifact.sent_bytes < BYTES + (14 << 20), "{artifact:?}");
    end(driver);
}

/// The exit of the first executor that is lost.
fn first_loss(driver: &Driver) -> Exit {
    let mut events = driver.events();
    let waiting = async {
        loop {
            match events.next().await {
                Some(DriverEvent::ExecutorLost { exit, .. }) => return exit,
                Some(_) => {}
                None => panic!("the driver ended"),
            }
        }
    };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
    runtime.block_on(async { tokio::time::timeout(SOON, waiting).await }).expect("an executor is lost")
}

#[test]
fn a_file_that_was_written_over_is_a_launch_failure_that_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("data");
    write(&path, noise(100_000), 0o644);
    let driver = builder("local-cluster[1,1,256MiB]").executors(0).file(&path).start_blocking().unwrap();
    write(&path, noise(100_001), 0o644);
    let losing = std::thread::scope(|scope| {
        let losing = scope.spawn(|| first_loss(&driver));
        std::thread::sleep(Duration::from_millis(50)); // the events are listened to
        driver.set_executors(1).unwrap();
        losing.join().unwrap()
    });
    let ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(name)) = &losing.cause else {
        panic!("{losing}: {}", String::from_utf8_lossy(&losing.log_tail));
    };
    assert_eq!(name.as_str(), "data");
    assert!(losing.message.contains("written to while it was served"), "{losing}");
    end(driver);
}

fn example(name: &str) -> PathBuf {
    let tests = std::env::current_exe().unwrap();
    let program = tests.parent().unwrap().parent().unwrap().join("examples").join(name);
    assert!(program.exists(), "{} isn't built: cargo build --examples", program.display());
    program
}

/// Text of about this many bytes below `folder`, and how often each word is in it.
fn corpus(folder: &Path, bytes: usize) -> BTreeMap<String, u64> {
    let mut counts = BTreeMap::new();
    for file in 0..4 {
        let mut text = String::new();
        for number in 0.. {
            let word = format!("word{}", (number * 31 + file) % 991);
            *counts.entry(word.clone()).or_default() += 1;
            text.push_str(&word);
            text.push(if number % 11 == 0 { '\n' } else { ' ' });
            if text.len() > bytes / 4 {
                break;
            }
        }
        fs::write(folder.join(format!("{file}.txt")), text).unwrap();
    }
    counts
}

/// Runs the word count from a copy of its program that is deleted as soon as its executors run, and kills two of them then.
fn word_count_of_a_deleted_binary(bootstrap: Option<&Path>) -> (Output, BTreeMap<String, u64>) {
    let folder = tempfile::tempdir().unwrap();
    let text = folder.path().join("text");
    fs::create_dir(&text).unwrap();
    let expected = corpus(&text, 24 << 20);
    let program = folder.path().join("the word count");
    fs::copy(example("word_count"), &program).unwrap();
    let mut command = Command::new(&program);
    command.args(["--json", "--executors", "2", text.to_str().unwrap()]).env_remove("CONVOKE_MASTER");
    if let Some(bootstrap) = bootstrap {
        command.env("CONVOKE_BOOTSTRAP_BINARY", bootstrap);
    }
    let mut job = Job::start(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()));
    // What waits to be the program is no program yet where that is fetched.
    let running = |of: Pid| {
        let is_it = |program: &Pid| {
            let runs = fs::read_link(format!("/proc/{}/exe", program.as_raw_nonzero()));
            bootstrap.is_none() || runs.is_ok_and(|runs| runs.to_string_lossy().contains("convoke-cache-"))
        };
        programs_of(of).into_iter().filter(is_it).collect::<Vec<_>>()
    };
    wait_until("executors run", || job.has_ended() || running(job.process()).len() == 2);
    fs::remove_file(&program).unwrap();
    if let Some(bootstrap) = bootstrap {
        fs::remove_file(bootstrap).unwrap();
    }
    let mut kills = 0;
    while !job.has_ended() && kills < 3 {
        if let Some(program) = running(job.process()).first().copied() {
            rustix::process::kill_process(program, Signal::KILL).unwrap();
            kills += 1;
            wait_until("the killed executor is gone", || !running(job.process()).contains(&program));
        }
        std::thread::sleep(Duration::from_millis(200));
    }
    assert!(kills > 1, "it ended too early");
    (job.finish(Duration::from_secs(120)), expected)
}

fn assert_counted((output, expected): (Output, BTreeMap<String, u64>)) {
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{said}");
    assert!(said.contains("signal 9"), "{said}");
    let printed: BTreeMap<String, BTreeMap<String, u64>> = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(printed["counts"], expected);
}

#[test]
fn a_program_that_is_deleted_goes_on_with_new_executors() {
    assert_counted(word_count_of_a_deleted_binary(None));
}

#[test]
fn a_bootstrap_fetches_the_program_also_when_both_are_deleted() {
    let folder = tempfile::tempdir().unwrap();
    let bootstrap = folder.path().join("another program that links convoke");
    fs::copy(example("pi"), &bootstrap).unwrap();
    assert_counted(word_count_of_a_deleted_binary(Some(&bootstrap)));
}

#[test]
fn another_platforms_build_is_told_before_anything_runs() {
    let folder = tempfile::tempdir().unwrap();
    let good = example("pi");
    let bytes = fs::read(&good).unwrap();
    let other = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
    let mut foreign = bytes.clone();
    foreign[18] = if cfg!(target_arch = "aarch64") { 62 } else { 183 };
    let (foreign_path, lost_path) = (folder.path().join("foreign"), folder.path().join("lost"));
    write(&foreign_path, &foreign, 0o755);
    // A loader that isn't there: as musl's is on a node with glibc.
    let loader =
        bytes.windows(11).position(|window| window == b"ld-linux-x8" || window == b"ld-linux-aa").unwrap();
    let mut lost = bytes;
    lost[loader..loader + 8].copy_from_slice(b"ld-nonex");
    write(&lost_path, &lost, 0o755);

    let failed = |builder: DriverBuilder| {
        let driver = builder.executors(1).start_blocking().unwrap();
        let exit = first_loss(&driver);
        end(driver);
        let ExitCause::LaunchFailed(LaunchFailure::WrongPlatform) = exit.cause else { panic!("{exit}") };
        exit.message
    };
    let local = || builder("local-cluster[1,1,256MiB]");
    let bootstrap = good.to_str().unwrap();
    let platform = Platform(format!("{other}-linux-gnu"));
    let refused = local().executor_build(platform.clone(), &foreign_path).start_blocking().unwrap_err();
    let builds =
        local().setting("bootstrap.binary", bootstrap).executor_build(platform.clone(), &foreign_path);
    for said in [refused.to_string(), failed(builds)] {
        let (has, here) = (&platform.0, &Platform::current().0);
        assert!(said.contains("no build") && said.contains(has) && said.contains(here), "{said}");
    }
    let said = failed(local().setting("bootstrap.binary", bootstrap).executor_binary(&lost_path));
    assert!(said.contains("ld-nonex") && said.contains("static"), "{said}");

    // What is said of a build must be true, and it must be a program.
    let wrong = local().executor_build(Platform::current(), &foreign_path).start_blocking().unwrap_err();
    assert!(wrong.to_string().contains(&platform.0), "{wrong}");
    write(&folder.path().join("script"), "#!/bin/sh\n".repeat(20), 0o755);
    let wrong = local().executor_binary(folder.path().join("script")).start_blocking().unwrap_err();
    assert_eq!(wrong.field(), Some("executor.binary"), "{wrong}");
}

/// The local backend, but for its bootstrap: a node fetches that by HTTP, checks it, and starts what it got.
#[derive(Debug)]
struct Fetching {
    local: Arc<dyn ClusterManager>,
    folder: PathBuf,
    url: Mutex<Option<(String, String)>>,
}

#[async_trait::async_trait]
impl ClusterManager for Fetching {
    fn describe(&self) -> Descriptor {
        self.local.describe()
    }

    fn fetches_bootstrap(&self) -> bool {
        true
    }

    async fn register(&self, mut spec: ApplicationSpec) -> convoke::Result<Registration> {
        let (_, build) = &mut spec.bootstrap.builds[0];
        let [Source::Url(url)] = &build.sources[..] else { panic!("{:?}", build.sources) };
        let (place, path) = url.strip_prefix("http://").unwrap().split_once('/').unwrap();
        let (place, path) = (place.to_owned(), format!("/{path}"));
        *self.url.lock().unwrap() = Some((place.clone(), path.clone()));
        let answer = tokio::task::spawn_blocking(move || said(&place, &get(&path))).await.unwrap();
        let end = answer.windows(4).position(|window| window == b"\r\n\r\n").unwrap() + 4;
        let fetched = self.folder.join("convoke-bootstrap");
        write(&fetched, &answer[end..], 0o755);
        let prologue = Prologue::new().platform(&Platform::current()).file("convoke-bootstrap", build.sha256);
        let checked = prologue.command("/bin/true", [""; 0]);
        let checked =
            Command::new(&checked[0]).args(&checked[1..]).current_dir(&self.folder).status().unwrap();
        assert!(checked.success());
        build.sources = vec![Source::NodePath(fetched.to_str().unwrap().to_owned())];
        self.local.register(spec).await
    }
}

fn get(path: &str) -> String {
    format!("GET {path} HTTP/1.1\r\nHost: driver\r\n\r\n")
}

fn said(place: &str, request: &str) -> Vec<u8> {
    let mut tcp = TcpStream::connect(place).unwrap();
    let _ = tcp.write_all(request.as_bytes()); // it may have hung up by now
    let mut answer = Vec::new();
    let _ = tcp.read_to_end(&mut answer); // a reset is as good an end
    answer
}

#[test]
fn a_fetched_bootstrap_works_on_while_strangers_are_at_the_listener() {
    let folder = tempfile::tempdir().unwrap();
    let local = convoke::registry().manager("local-cluster[2,1,256MiB]").unwrap();
    let manager = Arc::new(Fetching { local, folder: folder.path().to_owned(), url: Mutex::default() });
    let driver = Driver::builder()
        .ignore_environment()
        .executors(2)
        .manager(manager.clone())
        .start_blocking()
        .unwrap();
    convoke::block_on(driver.wait_ready(2, SOON)).unwrap();
    let job = driver.map(process_of, 0..200);
    let (place, path) = manager.url.lock().unwrap().clone().unwrap();
    let mut half_open = Vec::new();
    for number in 0..200 {
        let mut tcp = TcpStream::connect(&place).unwrap();
        let _ = tcp.write_all(&get(&path).as_bytes()[..number % 30]);
        half_open.push(tcp);
        if number % 10 == 0 {
            assert!(!said(&place, "\u{16}\u{3}nonsense\r\n\r\n").starts_with(b"HTTP/1.1 2"));
            assert!(said(&place, &get(&path[..path.len() - 1])).starts_with(b"HTTP/1.1 404"));
        }
    }
    let processes = job.wait().unwrap();
    assert_eq!(processes.len(), 200);
    for process in processes {
        let running = fs::read_link(format!("/proc/{process}/exe")).unwrap();
        assert!(running.ends_with("convoke-bootstrap"), "{}", running.display());
    }
    let refusals = driver.refusals();
    assert!(refusals[&Refusal::NotServedThere] >= 20 && refusals[&Refusal::LobbyFull] >= 50, "{refusals:?}");
    end(driver);
}

#[test]
fn executors_run_the_binary_that_was_named() {
    // The same program under another name: this test's own tasks are in it.
    let folder = tempfile::tempdir().unwrap();
    let copy = folder.path().join("a copy");
    fs::copy(std::env::current_exe().unwrap(), &copy).unwrap();
    let driver =
        builder("local-cluster[2,1,256MiB]").executors(2).executor_binary(&copy).start_blocking().unwrap();
    fs::remove_file(&copy).unwrap();
    let processes = driver.map(process_of, 0..20).wait().unwrap();
    for process in processes {
        let running = fs::read_link(format!("/proc/{process}/exe")).unwrap();
        assert!(running.to_string_lossy().contains("a copy"), "{}", running.display());
    }
    end(driver);
}
