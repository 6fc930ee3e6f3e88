//! Ray, Dask and Spark, each in a Python environment of its own, measured by a script of a hundred lines.

use std::fs;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::figures::Figures;
use crate::{Result, now};

/// A system that convoke is compared with. Versions are fixed: figures of other ones are other figures.
#[derive(Debug)]
struct Peer {
    name: &'static str,
    packages: &'static [&'static str],
    script: &'static str,
}

static PEERS: [Peer; 3] = [
    Peer { name: "ray", packages: &["ray==2.60.0"], script: include_str!("../peers/ray.py") },
    Peer {
        name: "dask",
        packages: &["dask==2026.8.0", "distributed==2026.8.0"],
        script: include_str!("../peers/dask.py"),
    },
    Peer { name: "spark", packages: &["pyspark==4.3.0"], script: include_str!("../peers/spark.py") },
];

const COMMON: &str = include_str!("../peers/common.py");
/// Of all rows of one system in one round.
const PATIENCE: Duration = Duration::from_secs(180);

/// What a script reports, and how it is shown.
const ROWS: [(&str, &str, &str); 10] = [
    ("start.2", "2 workers ready", "ms"),
    ("start.8", "8 workers ready", "ms"),
    ("noop", "no-op tasks", "/s"),
    ("cpu", "processor time of a no-op, all processes", "µs"),
    ("single.p50", "one task, back to back, p50", "µs"),
    ("single.p99", "one task, back to back, p99", "µs"),
    ("results", "results of 1 MiB", "MB/s"),
    ("arguments", "arguments of 1 MiB", "MB/s"),
    ("broadcast", "64 MiB shared with 2 workers", "ms"),
    ("slots", "2,000 tasks of 10 ms on 2 slots", "s"),
];

/// A system that is installed.
#[derive(Debug)]
pub(crate) struct System {
    peer: &'static Peer,
    folder: PathBuf,
    measured: std::cell::Cell<bool>,
}

/// Installs what isn't there yet. What can't be installed is said, and isn't measured.
pub(crate) fn prepare(figures: &mut Figures) -> Vec<System> {
    let mut systems = Vec::new();
    for peer in &PEERS {
        match install(peer) {
            Ok(folder) => systems.push(System { peer, folder, measured: std::cell::Cell::new(false) }),
            Err(error) => {
                eprintln!("{}: can't be installed: {error}", peer.name);
                figures.failed(peer.name, &error);
            }
        }
    }
    systems
}

fn cache() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let cache = set("XDG_CACHE_HOME").or_else(|| Some(set("HOME")?.join(".cache")));
    Ok(cache.ok_or("neither XDG_CACHE_HOME nor HOME says where to install")?.join("convoke-bench"))
}

fn install(peer: &Peer) -> Result<PathBuf> {
    let folder = cache()?.join(peer.name);
    let marker = folder.join("convoke-bench-packages");
    let packages = peer.packages.join("\n");
    if fs::read_to_string(&marker).is_ok_and(|installed| installed == packages) {
        return Ok(folder);
    }
    eprintln!("installing {} in {}", peer.packages.join(" "), folder.display());
    fs::create_dir_all(&folder)?;
    succeed(Command::new("python3").args(["-m", "venv"]).arg(&folder))?;
    let pip = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    succeed(Command::new(python(&folder)).args(pip).args(peer.packages))?;
    fs::write(marker, packages)?;
    Ok(folder)
}

fn python(folder: &Path) -> PathBuf {
    folder.join("bin").join("python")
}

fn succeed(command: &mut Command) -> Result<()> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let last =
        said.lines().rev().take(5).collect::<Vec<_>>().into_iter().rev().collect::<Vec<_>>().join("\n");
    Err(format!("{} ended with {}:\n{last}", command.get_program().display(), output.status).into())
}

impl System {
    pub(crate) fn name(&self) -> &'static str {
        self.peer.name
    }

    /// Runs the script once and takes its figures in.
    pub(crate) fn measure(&self, figures: &mut Figures) -> Result<()> {
        let folder = tempfile::tempdir()?;
        // Not by the system's own name, which the script imports.
        let script = folder.path().join("measure.py");
        fs::write(&script, format!("{COMMON}\n{}", self.peer.script))?;
        let mut command = Command::new(python(&self.folder));
        command.arg(&script).current_dir(folder.path()).stdin(Stdio::null()).stdout(Stdio::piped());
        command.stderr(fs::File::create(folder.path().join("errors"))?);
        // Nothing of what it does is anybody's affair but ours.
        command.env("RAY_USAGE_STATS_ENABLED", "0").env_remove("PYTHONPATH");
        if !self.measured.replace(true) {
            command.env("PEER_LONG", "1");
        }
        let mut process = command.spawn()?;
        let mut stdout = process.stdout.take().ok_or("no output")?;
        let reading = std::thread::spawn(move || {
            let mut text = String::new();
            stdout.read_to_string(&mut text).map(|_| text)
        });
        let start = now();
        let status = loop {
            if let Some(status) = process.try_wait()? {
                break status;
            }
            if start.elapsed() > PATIENCE {
                process.kill()?;
                process.wait()?;
                return Err("it takes too long".into());
            }
            std::thread::sleep(Duration::from_millis(20));
        };
        let text = reading.join().map_err(|_| "its output can't be read")??;
        for line in text.lines() {
            let Some((key, value)) = line.split_once(' ') else { continue };
            let known = ROWS.iter().find(|(row, _, _)| *row == key);
            if let (Some((_, what, unit)), Ok(value)) = (known, value.parse()) {
                let what = format!("{}: {what}", self.peer.name);
                figures.add(&format!("{}.{key}", self.peer.name), &what, unit, value);
            }
        }
        if !status.success() {
            let said = fs::read_to_string(folder.path().join("errors")).unwrap_or_default();
            let last = said.lines().last().unwrap_or_default().to_owned();
            return Err(format!("its script ended with {status}: {last}").into());
        }
        Ok(())
    }
}
