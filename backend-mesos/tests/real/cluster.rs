//! A real Mesos for one test: a master and agents on loopback, gone with it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::{Condvar, Mutex};
use std::time::Duration;

use convoke_core::process::table::ProcessId;
use convoke_core::process::tree::kill_trees;

/// So many more clusters may run at once; too many would only slow each other down.
static FREE: (Mutex<u32>, Condvar) = (Mutex::new(2), Condvar::new());

#[derive(Debug)]
pub(crate) struct Cluster {
    child: Child,
    folder: tempfile::TempDir,
    pub(crate) address: String,
}

fn tool() -> Command {
    // other packages' tests use this file, too
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    let places = ["tests/real-mesos/real_mesos.py", "backend-mesos/tests/real-mesos/real_mesos.py"];
    let mut command = Command::new("python3");
    command.arg(places.map(|place| here.join(place)).into_iter().find(|it| it.exists()).unwrap());
    command
}

/// Lets more clusters run at once.
pub(crate) fn allow(more: u32) {
    *FREE.0.lock().unwrap() += more;
}

impl Cluster {
    /// A master and so many agents of 4 cpus and 4 GiB, each a host of its own.
    pub(crate) fn start(agents: u32) -> Cluster {
        Cluster::with(agents, &[])
    }

    pub(crate) fn with(agents: u32, arguments: &[&str]) -> Cluster {
        let mut free = FREE.0.lock().unwrap();
        while *free == 0 {
            free = FREE.1.wait(free).unwrap();
        }
        *free -= 1;
        drop(free);
        let folder = tempfile::tempdir().unwrap();
        let mut child = tool()
            .args(["start", "--port", "0", "--hosts", "--die-with-parent", "--max-agent-pings", "3"])
            .args(["--resources", "cpus:4;mem:4096;disk:4096", "--agents", &agents.to_string(), "--work-dir"])
            .arg(folder.path())
            .args(arguments)
            .stdout(Stdio::piped())
            .spawn()
            .expect("python3 runs");
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let address = line
            .strip_prefix("READY http://")
            .and_then(|rest| rest.split(' ').next())
            .unwrap_or_else(|| panic!("the real Mesos did not start: {line:?}"))
            .to_owned();
        Cluster { child, folder, address }
    }

    /// `master kill`, `agent 0 pause` … as the tool's README lists them.
    pub(crate) fn control(&self, line: &str) {
        let mut socket = UnixStream::connect(self.folder.path().join("control.sock")).unwrap();
        writeln!(socket, "{line}").unwrap();
        let mut answer = String::new();
        BufReader::new(socket).read_line(&mut answer).unwrap();
        assert!(!answer.contains("\"error\""), "{line}: {answer}");
    }

    /// Which agent has this host name.
    pub(crate) fn agent_of(host: &str) -> u32 {
        host.rsplit('.').next().unwrap().parse::<u32>().unwrap() - 2
    }

    /// What the master itself says: an independent witness.
    pub(crate) fn state(&self) -> serde_json::Value {
        let answer =
            self.ask(&format!("GET /state HTTP/1.1\r\nHost: {0}\r\nConnection: close\r\n\r\n", self.address));
        serde_json::from_str(answer.trim()).expect("the master's state")
    }

    /// The frameworks that are there, by id, with how many tasks each has.
    pub(crate) fn frameworks(&self) -> BTreeMap<String, usize> {
        let state = self.state();
        let frameworks = state["frameworks"].as_array().unwrap();
        frameworks
            .iter()
            .map(|it| (it["id"].as_str().unwrap().to_owned(), it["tasks"].as_array().unwrap().len()))
            .collect()
    }

    /// Makes an empty file in the folder of the only task there is.
    pub(crate) fn touch_in_sandbox(&self, name: &str) {
        let latest = |path: &Path| path.join("runs/latest").is_dir();
        let mut folders = vec![self.folder.path().join("agents")];
        while let Some(folder) = folders.pop() {
            if latest(&folder) {
                std::fs::write(folder.join("runs/latest").join(name), "").unwrap();
                return;
            }
            let entries = std::fs::read_dir(&folder).unwrap().flatten();
            folders
                .extend(entries.filter(|it| it.file_type().is_ok_and(|it| it.is_dir())).map(|it| it.path()));
        }
        panic!("no task has a folder");
    }

    /// A node dies: its agent and all that this started, at once.
    pub(crate) fn kill_node(&self, agent: u32) {
        // frozen, it can start nothing while the rest is being killed
        self.control(&format!("agent {agent} pause"));
        kill_trees(&started_in(&self.folder.path().join("agents").join(agent.to_string()))).unwrap();
        self.control(&format!("agent {agent} kill"));
    }

    /// What an operator does to limit a role.
    pub(crate) fn quota(&self, role: &str, limits: &[(&str, f64)]) {
        let limits: serde_json::Map<_, _> = limits
            .iter()
            .map(|(name, limit)| ((*name).to_owned(), serde_json::json!({"value": limit})))
            .collect();
        let config = serde_json::json!({"role": role, "limits": limits});
        let call = serde_json::json!({"type": "UPDATE_QUOTA", "update_quota": {"quota_configs": [config]}});
        self.post("/api/v1", "application/json", &call.to_string());
    }

    /// What an operator does to end a framework.
    pub(crate) fn teardown(&self, framework: &str) {
        self.post("/teardown", "application/x-www-form-urlencoded", &format!("frameworkId={framework}"));
    }

    /// What an operator does to empty an agent.
    pub(crate) fn drain(&self, agent: &str) {
        let call = serde_json::json!({"type": "DRAIN_AGENT", "drain_agent": {"agent_id": {"value": agent}}});
        self.post("/api/v1", "application/json", &call.to_string());
    }

    fn post(&self, path: &str, kind: &str, body: &str) {
        let head = format!(
            "POST {path} HTTP/1.1\r\nHost: {}\r\nConnection: close\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n\r\n",
            self.address,
            body.len()
        );
        self.ask(&(head + body));
    }

    /// One exchange with the master; answers its body.
    fn ask(&self, request: &str) -> String {
        let mut stream = TcpStream::connect(&self.address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        stream.write_all(request.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").expect("an HTTP answer");
        assert!(head.starts_with("HTTP/1.1 20"), "{request}: {head}\n{body}");
        body.to_owned()
    }
}

impl Drop for Cluster {
    fn drop(&mut self) {
        let pid = self.child.id().to_string();
        let _ = Command::new("kill").args(["-TERM", &pid]).status();
        let end = std::time::Instant::now() + Duration::from_secs(20);
        while self.child.try_wait().is_ok_and(|status| status.is_none()) {
            if std::time::Instant::now() > end {
                let _ = self.child.kill();
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        *FREE.0.lock().unwrap() += 1;
        FREE.1.notify_one();
    }
}

/// What an agent started: whoever has its folder in his environment or works in it. Others are found below these.
fn started_in(folder: &Path) -> Vec<ProcessId> {
    let sandbox = format!("MESOS_DIRECTORY={}", folder.display());
    let started = |id: &u32| {
        let told = std::fs::read(format!("/proc/{id}/environ"))
            .is_ok_and(|all| all.split(|b| *b == 0).any(|it| it.starts_with(sandbox.as_bytes())));
        told || std::fs::read_link(format!("/proc/{id}/cwd"))
            .is_ok_and(|it| it.starts_with(folder.join("work/slaves")))
    };
    processes().filter(started).filter_map(ProcessId::of).collect()
}

pub(crate) fn processes() -> impl Iterator<Item = u32> {
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}
