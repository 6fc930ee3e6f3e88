//! The command line as data.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum, ValueHint};
use convoke::driver::settings::SETTINGS;

use crate::suggest;

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
  convoke status
  convoke logs --follow
  convoke explain --master 'local-cluster[2,2,1GiB]' --executors 5
  convoke doctor";

#[derive(Debug, Subcommand)]
pub enum Command {
    Submit(Submit),
    Status(Status),
    Logs(Logs),
    Kill(Kill),
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
    #[arg(long, value_name = "URL", value_parser = suggest::masters(), hide_possible_values = true)]
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
    #[arg(long = "conf", value_name = "KEY=VALUE", value_parser = suggest::settings(), hide_possible_values = true)]
    pub settings: Vec<String>,
    /// Read settings from this TOML file; flags and environment are stronger
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath)]
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
    /// A file or folder that every executor gets, under its own name or NAME; may be given several times
    #[arg(long = "file", value_name = "PATH[#NAME]", value_hint = ValueHint::AnyPath, hide = !ships_files())]
    pub files: Vec<String>,
    /// Where the driver runs: here (client), or on a node (cluster)
    #[arg(long, value_enum, default_value_t = DeployMode::Client)]
    pub deploy_mode: DeployMode,
    /// How progress is shown on standard error
    #[arg(long, value_enum, default_value_t = ProgressStyle::Auto, value_name = "STYLE")]
    pub progress: ProgressStyle,
    #[command(flatten)]
    pub configuration: Configuration,
    /// The program and its arguments
    #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "PROGRAM",
        value_hint = ValueHint::CommandWithArguments)]
    pub program: Vec<OsString>,
}

/// The setting behind `--file`.
pub const FILES: &str = "executor.files";

/// Whether this version of convoke ships files to executors.
fn ships_files() -> bool {
    SETTINGS.iter().any(|setting| setting.key == FILES)
}

const SUBMIT_EXAMPLES: &str = "\
Examples:
  convoke submit target/release/my-program input.txt
  convoke submit --master 'local-cluster[4,1,512MiB]' --executors 4 target/release/my-program
  convoke submit --executors 2 --conf lease=2m --conf driver.port=7077 target/release/my-program
  convoke submit --executor-env LANG=C --conf local.logs-kept=7d target/release/my-program > result.txt

Exit code: the program's own; 128 and the signal's number where a signal ended it (130 for Ctrl-C); 1 it could not be started,
2 wrong usage.";

/// Where the driver runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DeployMode {
    /// Here
    Client,
    /// On a node, where the master does that
    Cluster,
}

/// How progress is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ProgressStyle {
    /// A bar on a terminal, plain lines elsewhere
    Auto,
    /// One line that is drawn anew
    Bar,
    /// A line for each piece of news
    Plain,
    /// Not at all
    None,
}

/// Show the applications at a master, or one of them with its executors.
///
/// Without --master: those of this machine that are yours, whatever their local master.
#[derive(Debug, Args)]
#[command(after_help = STATUS_EXAMPLES)]
pub struct Status {
    /// An application: its id or the beginning of it, the manager's id, or its name
    pub application: Option<String>,
    #[command(flatten)]
    pub place: Where,
    /// Also those that have ended, as long as they are known
    #[arg(long)]
    pub all: bool,
    /// Look again and again [default: every second]
    #[arg(long, value_name = "EVERY", num_args = 0..=1, default_missing_value = "1s", require_equals = true)]
    pub watch: Option<String>,
    /// Print it as JSON; with --watch, one look a line
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub configuration: Configuration,
}

const STATUS_EXAMPLES: &str = "\
Examples:
  convoke status
  convoke status --all
  convoke status word-count --watch
  convoke status --master mesos://host:5050 --json";

/// Print what the executors of an application printed, also after its end.
///
/// Without an application: of the youngest. Each line begins with its executor and stream; one stream of one executor alone is
/// printed byte for byte.
#[derive(Debug, Args)]
#[command(after_help = LOGS_EXAMPLES)]
pub struct Logs {
    /// An application: its id or the beginning of it, the manager's id, or its name
    pub application: Option<String>,
    #[command(flatten)]
    pub place: Where,
    /// Only this executor; may be given several times
    #[arg(long, value_name = "N")]
    pub executor: Vec<u64>,
    /// Only standard output
    #[arg(long)]
    pub stdout: bool,
    /// Only standard error
    #[arg(long)]
    pub stderr: bool,
    /// Only the last lines of each stream
    #[arg(long, value_name = "LINES")]
    pub tail: Option<u64>,
    /// Go on as more is printed, until the application has ended
    #[arg(long, short)]
    pub follow: bool,
    #[command(flatten)]
    pub configuration: Configuration,
}

const LOGS_EXAMPLES: &str = "\
Examples:
  convoke logs
  convoke logs word-count --follow
  convoke logs word-count --executor 2 --stderr --tail 20
  convoke logs --master mesos://host:5050 word-count";

/// End an application with all of its executors.
///
/// Its driver is told who did it, and lives on; what its program does then is the program's own affair. Without an application:
/// the only one that runs.
#[derive(Debug, Args)]
#[command(after_help = KILL_EXAMPLES)]
pub struct Kill {
    /// An application: its id or the beginning of it, the manager's id, or its name
    pub application: Option<String>,
    #[command(flatten)]
    pub place: Where,
    /// How long its end may take
    #[arg(long, value_name = "DURATION", default_value = "30s")]
    pub deadline: String,
    #[command(flatten)]
    pub configuration: Configuration,
}

const KILL_EXAMPLES: &str = "\
Examples:
  convoke kill word-count
  convoke kill --master mesos://host:5050 word-count-5c0e

Exit code: 0 nothing of it is left, 1 something may be, 2 wrong usage.";

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
#[command(after_help = "Examples:\n  convoke settings\n  convoke settings --json | jq '.[].key'")]
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
