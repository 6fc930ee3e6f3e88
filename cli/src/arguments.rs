//! The command line as data.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

/// Executors for programs built with convoke, on whatever cluster manager you have.
#[derive(Debug, Parser)]
#[command(name = "convoke", version, after_help = EXAMPLES, propagate_version = true, subcommand_required = true)]
pub struct Arguments {
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  convoke submit --master 'local-cluster[2,2,1GiB]' --executors 2 target/release/my-program input.txt
  convoke explain --master 'local-cluster[2,2,1GiB]' --executors 5
  convoke doctor";

#[derive(Debug, Subcommand)]
pub enum Command {
    Submit(Submit),
    Explain(Explain),
    Doctor(Doctor),
    Conformance(Conformance),
    Settings(Settings),
    Completions(Completions),
    Executor,
}

/// Which cluster manager, and what of it.
#[derive(Debug, Args)]
pub struct Where {
    /// The cluster manager: local[2], local-cluster[2,2,1GiB] … [default: a local-cluster that holds the executors]
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,
}

/// What executors are asked for.
#[derive(Debug, Args)]
pub struct Executors {
    /// How many executors
    #[arg(long, value_name = "N")]
    pub executors: Option<String>,
    /// Processors of each executor; fractions are allowed
    #[arg(long, value_name = "CPUS")]
    pub executor_cpus: Option<String>,
    /// Memory of each executor's whole process tree
    #[arg(long, value_name = "MEMORY")]
    pub executor_memory: Option<String>,
    /// Processors that one task occupies of its executor
    #[arg(long, value_name = "CPUS")]
    pub task_cpus: Option<String>,
}

/// Any setting, and the file of settings.
#[derive(Debug, Args)]
pub struct Configuration {
    /// Set any setting by its name (convoke settings lists them); may be given several times
    #[arg(long = "conf", value_name = "KEY=VALUE")]
    pub settings: Vec<String>,
    /// Read settings from this TOML file; flags and environment are stronger
    #[arg(long, value_name = "FILE")]
    pub conf_file: Option<PathBuf>,
}

/// Run a program built with convoke on a cluster manager.
///
/// The settings reach it as CONVOKE_… variables; what its own code sets is stronger. Its standard output and exit code pass through
/// unchanged. Ctrl-C ends it and its executors; twice, at once.
#[derive(Debug, Args)]
#[command(after_help = SUBMIT_EXAMPLES)]
pub struct Submit {
    #[command(flatten)]
    pub place: Where,
    #[command(flatten)]
    pub executors: Executors,
    /// A variable that every executor finds in its environment; may be given several times
    #[arg(long, value_name = "NAME=VALUE")]
    pub executor_env: Vec<String>,
    /// Where the driver runs: here (client), or on a node (cluster)
    #[arg(long, value_enum, default_value_t = DeployMode::Client)]
    pub deploy_mode: DeployMode,
    #[command(flatten)]
    pub configuration: Configuration,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM")]
    pub program: Vec<OsString>,
}

const SUBMIT_EXAMPLES: &str = "\
Examples:
  convoke submit target/release/my-program input.txt
  convoke submit --master 'local-cluster[4,1,512MiB]' --executors 4 target/release/my-program
  convoke submit --executors 2 --conf lease=2m --conf driver.port=7077 target/release/my-program";

/// Where the driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeployMode {
    Client,
    Cluster,
}

/// Say whether a cluster would grant these executors, and if not, why.
///
/// Asks for them in earnest, waits a moment, and gives them back.
#[derive(Debug, Args)]
#[command(after_help = EXPLAIN_EXAMPLES)]
pub struct Explain {
    #[command(flatten)]
    pub place: Where,
    #[command(flatten)]
    pub executors: Executors,
    #[command(flatten)]
    pub configuration: Configuration,
    /// How long to wait for them
    #[arg(long, value_name = "DURATION", default_value = "5s")]
    pub wait: String,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

const EXPLAIN_EXAMPLES: &str = "\
Examples:
  convoke explain --master 'local-cluster[2,2,1GiB]' --executors 5
  convoke explain --master 'local-cluster[2,2,1GiB]' --executor-memory 4GiB --json

Exit code: 0 all would be granted, 1 not all, 2 wrong usage.";

/// Check what this machine can do, what is wrong, and what to do about it.
#[derive(Debug, Args)]
#[command(after_help = DOCTOR_EXAMPLES)]
pub struct Doctor {
    #[command(flatten)]
    pub place: Where,
    #[command(flatten)]
    pub configuration: Configuration,
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

const DOCTOR_EXAMPLES: &str = "\
Examples:
  convoke doctor
  convoke doctor --master 'local-cluster[1,1,512MiB]' --json

Exit code: 0 all well, 1 something is wrong, 2 wrong usage.";

/// Examine a cluster manager: which rules of the contract hold, rule by rule, with a certificate.
///
/// Its own small applications (0.1 cpu and 64 MiB an executor, short leases) are registered, watched and ended. What happens is
/// counted by their connections and, where they run on this host, in the process table; never by what the manager says.
#[derive(Debug, Args)]
#[command(after_help = CONFORMANCE_EXAMPLES)]
pub struct Conformance {
    #[command(flatten)]
    pub place: Where,
    /// Which certificate: manager or runtime [default: manager, or that of the rules named]
    #[arg(long = "profile", value_name = "PROFILE")]
    pub profiles: Vec<String>,
    /// Only this rule (A2), area (A), or words of a statement; may be given several times
    #[arg(long = "rule", value_name = "RULE")]
    pub rules: Vec<String>,
    /// List the rules instead
    #[arg(long)]
    pub list: bool,
    /// A program that injects faults and counts independently, called as PROGRAM HOOK ARGUMENT…; docs/conformance.md has its protocol
    #[arg(long, value_name = "PROGRAM")]
    pub hooks: Option<PathBuf>,
    /// How long something may take (settle=1m); docs/conformance.md lists them; may be given several times
    #[arg(long = "deadline", value_name = "NAME=TIME")]
    pub deadlines: Vec<String>,
    /// A file of known failures with their reasons; a waived rule that passes fails the run
    #[arg(long, value_name = "FILE")]
    pub waivers: Option<PathBuf>,
    /// How it is reported on standard output: text, json or junit
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub report: String,
    #[command(flatten)]
    pub configuration: Configuration,
}

const CONFORMANCE_EXAMPLES: &str = "\
Examples:
  convoke conformance --master 'local-cluster[2,2,1GiB]'
  convoke conformance --master mesos://host:5050 --rule A2 --rule L --report json
  convoke conformance --master mesos://host:5050 --hooks ./my-hooks --deadline settle=1m

Exit code: 0 a full certificate, 1 a rule failed, 2 it could not run, 3 partial: something could not be checked.";

/// List every setting: its name, its variable, default, unit and meaning.
#[derive(Debug, Args)]
pub struct Settings {
    /// Print it as JSON
    #[arg(long)]
    pub json: bool,
}

/// Print completions for a shell.
#[derive(Debug, Args)]
#[command(after_help = "Example:\n  source <(convoke completions bash)")]
pub struct Completions {
    pub shell: clap_complete::Shell,
}
