//! The table of settings: name, default, unit and meaning, from which code, environment and documentation read.

use super::DriverSettings;
use super::parse::{
    builds, bytes, constraints, files, list, named, names, pace, parsed, variables, weighted, whole,
};
use crate::error::Result;
use crate::ids::Name;
use crate::manager::variable;
use crate::units::parse_duration;

/// One setting, as people read it.
pub struct Setting {
    /// Its dotted key, which is also the `CONVOKE_…` variable: upper case, dots and dashes become underscores.
    pub key: &'static str,
    /// What holds where it isn't set, in words.
    pub default: &'static str,
    /// How its value is written.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
    pub(super) apply: fn(&mut DriverSettings, &str) -> Result<()>,
}

impl std::fmt::Debug for Setting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.key)
    }
}

impl Setting {
    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.key)
    }
}

macro_rules! table {
    ($($key:literal, $default:literal, $unit:literal, $meaning:literal, $apply:expr;)*) => {
        /// Every setting of a driver.
        pub const SETTINGS: &[Setting] = &[$(Setting {
            key: $key, default: $default, unit: $unit, meaning: $meaning, apply: $apply,
        }),*];
    };
}

table! {
    "master", "a local-cluster that holds the executors", "URL",
        "The cluster manager: local[2], local-cluster[2,2,1GiB], convoke://host:7077, yarn, mesos://host:5050.",
        |s, v| { s.master = Some(v.trim().to_owned()); Ok(()) };
    "application.name", "the program's name", "text", "The application's name, as people and managers see it.",
        |s, v| { s.name = Name::new(v)?; Ok(()) };
    "application.user", "the user who runs the driver", "name", "Whom executors run as, where the manager lets one choose.",
        |s, v| { s.user = Some(Name::new(v)?); Ok(()) };
    "application.queue", "the manager's own default", "name", "The queue that the application waits in.",
        |s, v| { s.queue = Some(Name::new(v)?); Ok(()) };
    "executors", "2", "count", "How many executors are wanted.",
        |s, v| { s.executors = whole(v)?; Ok(()) };
    "executors.max", "no limit", "count", "The application never has more executors than this, whatever is wished.",
        |s, v| { s.max_executors = whole(v)?; Ok(()) };
    "executor.cpus", "1", "cpus", "Processors of each executor; fractions are allowed.",
        |s, v| { s.executor_cpus = v.parse()?; Ok(()) };
    "executor.memory", "256MiB", "memory", "Memory of each executor's whole process tree.",
        |s, v| { s.executor_memory = v.parse()?; Ok(()) };
    "executor.resources", "none", "NAME=COUNT,…", "Named resources of each executor, such as gpu=1.",
        |s, v| { s.executor_resources = named(v)?; Ok(()) };
    "executor.env", "none", "NAME=VALUE lines", "Variables of every executor's environment, one a line; added to those set before.",
        |s, v| { s.executor_env.extend(variables(v)?); Ok(()) };
    "executor.files", "none", "PATH[#NAME] lines",
        "Files and folders that executors find in their working directory, one a line; added to those set before.",
        |s, v| { s.files.extend(files(v, false)); Ok(()) };
    "executor.archives", "none", "PATH[#NAME] lines",
        "Archives (.tar, .tar.gz, .tgz) that are unpacked there to a folder: of their name without its ending, or of this one.",
        |s, v| { s.files.extend(files(v, true)); Ok(()) };
    "executor.binary", "the driver's own program", "PATH", "The program that executors run: a build of the application for their platform.",
        |s, v| { s.program.binary = Some(v.into()); Ok(()) };
    "executor.builds", "none", "PLATFORM=PATH,…", "Builds of it for several platforms, such as aarch64-linux-gnu or x86_64-linux-static.",
        |s, v| { s.program.builds.extend(builds(v)?); Ok(()) };
    "task.cpus", "1", "cpus", "Processors that one task occupies of its executor.",
        |s, v| { s.task_cpus = v.parse()?; Ok(()) };
    "task.resources", "none", "NAME=COUNT,…", "Named resources that one task occupies of its executor.",
        |s, v| { s.task_resources = named(v)?; Ok(()) };
    "task.attempts", "4", "count", "Attempts of a task that may fail before it has failed, where its call says nothing else.",
        |s, v| { s.task_attempts = whole(v)?; Ok(()) };
    "task.lost-attempts", "8", "count", "Attempts of a task that may be lost through no fault of the application.",
        |s, v| { s.task_lost_attempts = whole(v)?; Ok(()) };
    "task.cancel-deadline", "5s", "duration", "A task that goes on for so long after it was cancelled, or its time was up, costs its executor.",
        |s, v| { s.task_cancel_deadline = parse_duration(v)?; Ok(()) };
    "task.inline-payload", "256KiB", "memory", "Arguments and values up to this ride on the stream of tasks; larger ones are streamed apart.",
        |s, v| { s.inline_payload_bytes = bytes(v)?; Ok(()) };
    "task.largest-payload", "1GiB", "memory", "A task with a larger argument or value fails: the driver holds it in memory.",
        |s, v| { s.largest_payload_bytes = bytes(v)?; Ok(()) };
    "driver.bind", "127.0.0.1 for local masters, else 0.0.0.0", "IP address", "The address that the driver listens on.",
        |s, v| { s.bind = Some(parsed(v, "an IP address of this machine")?); Ok(()) };
    "driver.advertise", "the bound address", "HOST[:PORT],…",
        "What executors dial, in order of preference; need not be an address of this machine.",
        |s, v| { s.advertise = list(v); Ok(()) };
    "driver.port", "any free one", "port", "The port that the driver listens on; when it is in use, the next ones are tried.",
        |s, v| { s.port = parsed(v, "a port (0 to 65535)")?; Ok(()) };
    "driver.port-tries", "16", "count", "How many ports are tried, from driver.port on.",
        |s, v| { s.port_tries = parsed(v, "a whole number (1 to 65535)")?; Ok(()) };
    "bootstrap.binary", "the executors' program", "PATH",
        "A program that links convoke (such as convoke itself) for nodes to start: it fetches the executors' program from the driver.",
        |s, v| { s.program.bootstrap = Some(v.into()); Ok(()) };
    "bootstrap.port", "any free one", "port",
        "Where nodes that fetch the executor's program from the driver (Mesos, YARN) get it; in use, the next ones are tried (driver.port-tries).",
        |s, v| { s.bootstrap_port = parsed(v, "a port (0 to 65535)")?; Ok(()) };
    "bootstrap.advertise", "the hosts of driver.advertise", "HOST[:PORT],…",
        "What those nodes dial for it, in order of preference; need not be an address of this machine.",
        |s, v| { s.bootstrap_advertise = list(v); Ok(()) };
    "insecure", "false", "true or false",
        "Gives up encryption and authentication: whoever reaches the driver's port, or listens on the way, can read and run all.",
        |s, v| { s.insecure = parsed(v, "true or false")?; Ok(()) };
    "heartbeat.interval", "2s", "duration", "How often an executor says that it lives.",
        |s, v| { s.heartbeat_interval = parse_duration(v)?; Ok(()) };
    "heartbeat.lost-after", "10s", "duration", "Silent for so long, an executor is lost: its tasks run elsewhere, and it is replaced.",
        |s, v| { s.lost_after = parse_duration(v)?; Ok(()) };
    "lease", "30s", "duration", "With no driver for so long, everything of the application ends by itself.",
        |s, v| { s.lease = parse_duration(v)?; Ok(()) };
    "executor.launch-deadline", "60s", "duration", "From granted to launched.",
        |s, v| { s.launch_deadline = parse_duration(v)?; Ok(()) };
    "executor.join-deadline", "120s", "duration", "From launched to joined.",
        |s, v| { s.join_deadline = parse_duration(v)?; Ok(()) };
    "executor.cause-wait", "5s", "duration", "How long the manager's cause of an exit is waited for before blame is laid.",
        |s, v| { s.cause_wait = parse_duration(v)?; Ok(()) };
    "executor.drain-grace", "30s", "duration", "How long an executor that is to leave may finish its running tasks.",
        |s, v| { s.drain_grace = parse_duration(v)?; Ok(()) };
    "executor.end-grace", "1s", "duration", "From SIGTERM to SIGKILL when a process tree is ended.",
        |s, v| { s.end_grace = parse_duration(v)?; Ok(()) };
    "executor.brake", "3 in 60s: 1s to 5m", "pace",
        "After so many exits on the application's blame in that time, a replacement waits: at first so long, doubling to so long.",
        |s, v| { s.brake = pace(v)?; Ok(()) };
    "executor.pace", "3 in 60s: 1s to 30s", "pace",
        "The same after exits before the executor joined that are not on the application's blame.",
        |s, v| { s.pace = pace(v)?; Ok(()) };
    "executor.healthy-after", "60s", "duration", "Up for so long, an executor ends the brake.",
        |s, v| { s.healthy_after = parse_duration(v)?; Ok(()) };
    "hosts.preferred", "none", "HOST[=WEIGHT],…", "Hosts that executors are placed on where they can be: hints, which never stop an allocation.",
        |s, v| { s.preferred_hosts = weighted(v)?; Ok(()) };
    "hosts.excluded", "none", "HOST,…", "Hosts that get no executor.",
        |s, v| { s.excluded_hosts = names(v)?; Ok(()) };
    "hosts.required", "none", "ATTRIBUTE=VALUE, ATTRIBUTE!=VALUE, …", "What must hold of every host that gets one: host, rack, label, or the manager's own attribute.",
        |s, v| { s.required_hosts = constraints(v)?; Ok(()) };
}
