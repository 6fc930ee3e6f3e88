//! The scanner finds a canary planted in each place, and nothing where nobody else can read.

#![allow(clippy::unwrap_used, reason = "a test")]

use std::io::{Read as _, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use convoke_conformance::scan::{Leak, Place, Places, Secrets, Seen, Spelling, Watch, fetch};
use convoke_core::secret::to_hex;

/// A secret of this one test's own: others may run beside it and look at the same host.
fn canary() -> [u8; 32] {
    let (random, _) = convoke_core::rpc::authority::request().unwrap();
    convoke_core::secret::Digest::of(random.expose()).0
}

fn secrets(canary: [u8; 32]) -> Secrets {
    Secrets::new().secret("the canary", canary)
}

fn look(mut places: Places) -> Seen {
    let mut seen = Seen::default();
    places.look(&mut seen);
    seen
}

/// A process that waits, and is gone with this value.
struct Waiting(Child);

impl Waiting {
    fn start(command: &mut Command) -> Waiting {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        // It runs the program when that has answered.
        child.stdin.as_mut().unwrap().write_all(b"x").unwrap();
        child.stdout.as_mut().unwrap().read_exact(&mut [0]).unwrap();
        Waiting(child)
    }

    fn number(&self) -> i32 {
        i32::try_from(self.0.id()).unwrap()
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn places_of(leaks: &[Leak]) -> Vec<&Place> {
    leaks.iter().map(|leak| &leak.place).collect()
}

#[test]
fn in_a_command_line_and_in_an_environment() {
    let canary = canary();
    let hex = to_hex(&canary).to_ascii_uppercase();
    let line = Waiting::start(Command::new("sh").args(["-c", "cat; :", &format!("--ticket={hex}")]));
    let environment = Waiting::start(Command::new("cat").env("TICKET", &hex).env("SCANNED", "yes"));
    let seen = look(Places::new().processes());
    let leaks = seen.leaks(&secrets(canary));
    assert!(leaks.iter().all(|leak| leak.spelling == Spelling::Hex), "{leaks:?}");
    let command = "sh".to_owned();
    let line = Place::CommandLine { process: line.number(), command };
    let command = "cat".to_owned();
    let environment = Place::Environment { process: environment.number(), command };
    assert_eq!(places_of(&leaks), [&line, &environment]);
    assert_eq!(seen.processes_with("SCANNED=yes"), 1);
}

#[test]
fn in_a_process_that_came_and_went_while_it_watched() {
    let canary = canary();
    let watch = Watch::start(Places::new().processes());
    for spelling in [to_hex(&canary), format!("{canary:?}")] {
        let passing = Waiting::start(Command::new("cat").env("TICKET", spelling));
        let before = watch.passes();
        // The pass that is on its way may have passed it by; the next sees it.
        while watch.passes() < before + 2 {
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        drop(passing);
    }
    // Learnt only afterwards.
    let seen = watch.finish();
    let spellings: Vec<_> = seen.leaks(&secrets(canary)).into_iter().map(|leak| leak.spelling).collect();
    assert_eq!(spellings, [Spelling::Hex, Spelling::Numbers]);
    assert!(seen.passes() > 2);
}

fn write(path: &Path, bytes: impl AsRef<[u8]>, mode: u32) {
    std::fs::write(path, bytes).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn in_logs_whoever_may_read_them() {
    let canary = canary();
    let folder = tempfile::tempdir().unwrap();
    let deep = folder.path().join("executor-1");
    std::fs::create_dir(&deep).unwrap();
    let log = deep.join("stderr.1");
    write(&log, format!("joined with {}\n", to_hex(&canary)), 0o600);
    write(&deep.join("stdout"), "nothing", 0o644);
    let seen = look(Places::new().logs(folder.path()));
    assert_eq!(places_of(&seen.leaks(&secrets(canary))), [&Place::Log(log)]);
    assert_eq!(seen.files(), 2);
}

#[test]
fn in_a_log_that_was_made_anew_or_deleted_meanwhile() {
    let canary = canary();
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let (mut places, mut seen) = (Places::new().logs(folder.path()), Seen::default());
    write(&log, canary, 0o600);
    places.look(&mut seen);
    write(&log, "over it", 0o600);
    places.look(&mut seen);
    std::fs::remove_file(&log).unwrap();
    places.look(&mut seen);
    assert_eq!(places_of(&seen.leaks(&secrets(canary))), [&Place::Log(log)]);
}

#[test]
fn in_files_that_others_can_read_and_in_no_other() {
    let canary = canary();
    let folder = tempfile::tempdir().unwrap();
    // The system's folder for temporary files lets everybody pass; ours lets whom we say.
    let open = |mode| std::fs::set_permissions(folder.path(), std::fs::Permissions::from_mode(mode)).unwrap();
    let file = |name: &str, mode| {
        let path = folder.path().join(name);
        write(&path, to_hex(&canary), mode);
        path
    };
    let (all, group, own) = (file("all", 0o604), file("group", 0o640), file("own", 0o600));
    let leaks = || {
        let seen = look(Places::new().readable_files(folder.path()));
        seen.leaks(&secrets(canary)).into_iter().map(|leak| leak.place).collect::<Vec<_>>()
    };
    open(0o700);
    assert_eq!(leaks(), [], "nobody passes its folder");
    open(0o711);
    assert_eq!(leaks(), [Place::ReadableFile(all), Place::ReadableFile(group)]);
    drop(own);
    // A pipe is never waited at, and a link leads nowhere else.
    rustix::fs::mkfifoat(rustix::fs::CWD, folder.path().join("pipe"), 0o644.into()).unwrap();
    std::os::unix::fs::symlink("/proc/self/environ", folder.path().join("link")).unwrap();
    assert_eq!(leaks().len(), 2);
}

#[test]
fn in_a_status_page() {
    let canary = canary();
    let server = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = server.local_addr().unwrap().to_string();
    let body: String = canary.iter().map(|byte| format!("%{byte:02x}")).collect();
    let serving = std::thread::spawn(move || {
        let (mut caller, _) = server.accept().unwrap();
        let mut asked = [0; 1024];
        let read = caller.read(&mut asked).unwrap();
        write!(caller, "HTTP/1.0 200 OK\r\n\r\n{{\"task\": \"{body}\"}}").unwrap();
        String::from_utf8_lossy(&asked[..read]).into_owned()
    });
    let page = format!("http://{address}/state");
    let seen = look(Places::new().page(&page, move || fetch(&address, "/state")));
    assert!(serving.join().unwrap().starts_with("GET /state HTTP/1.0\r\n"));
    let leaks = seen.leaks(&secrets(canary));
    assert_eq!(places_of(&leaks), [&Place::Page(page)]);
    assert!(!leaks[0].to_string().contains(&to_hex(&canary)), "a report shows no secret");
}
