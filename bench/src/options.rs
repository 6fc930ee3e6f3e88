//! The command line.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

/// Measures convoke beside a bare tonic stream between as many processes, in one run: medians, ranges, ratios, and the goals of
/// docs/performance.md.
///
/// Run it on a quiet machine, built with --release. Absolute figures drift between machines and minutes: compare the ratios of
/// one run. The caller sums the results, process ids are seen to differ, and each driver's port is probed for TLS.
#[derive(Debug, Parser)]
#[command(
    name = "convoke-bench",
    version,
    after_help = "Examples:
  convoke-bench                                every row, three rounds
  convoke-bench --only floor,single --rounds 9 one task there and back, and what it is compared with
  convoke-bench --peers --json >figures.json   beside Ray, Dask and Spark, for a program to read
  convoke-bench soak                           a million tiny tasks, twenty times

Rows that are ratios need `floor`. Exit status 1: something could not be measured, or a stream broke in the soak."
)]
pub(crate) struct Options {
    #[command(subcommand)]
    pub(crate) part: Option<Part>,

    /// How often everything is measured; the table shows medians
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    pub(crate) rounds: u32,

    /// No-op tasks of each measurement
    #[arg(long, global = true, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1000..))]
    pub(crate) tasks: u64,

    /// Only these groups of rows
    #[arg(long, value_name = "GROUPS", value_delimiter = ',', value_enum)]
    pub(crate) only: Vec<Group>,

    /// Also measures Ray, Dask and Spark, in environments of their own that are made (from PyPI) below the user's cache folder;
    /// Spark needs a JDK
    #[arg(long)]
    pub(crate) peers: bool,

    /// Prints JSON instead of a table
    #[arg(long)]
    pub(crate) json: bool,

    /// Writes the JSON to this file, too
    #[arg(long, value_name = "FILE")]
    pub(crate) save: Option<PathBuf>,
}

impl Options {
    pub(crate) fn wants(&self, group: Group) -> bool {
        self.only.is_empty() || self.only.contains(&group)
    }
}

/// Rows that are measured together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Group {
    /// The bare stream
    Floor,
    /// Executors ready, from nothing (P4)
    Start,
    /// No-op tasks a second, and their processor time (P1, P2)
    Noop,
    /// No-op tasks on 1×1, 2×1, 2×4, 8×1 and 32×1 executors × slots, with TLS and without
    Shapes,
    /// One task there and back: back to back, after a pause, chained (P3)
    Single,
    /// Results and arguments of 1 MiB, a shared value of 64 MiB (P6, P7)
    Bytes,
    /// Tasks of 10 ms; again with a program killed half-way (P8, P9)
    Slots,
    /// Memory of results that wait for their caller (P10); once
    Held,
    /// A million tiny tasks, twenty times, and no stream breaks (P11); once
    Soak,
    /// Driver, supervisor, program killed: until all of it is gone (P13)
    Ends,
    /// A program that is stopped (P14); once
    Stopped,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Part {
    /// Runs a million tiny tasks again and again: wrong results and broken streams fail
    Soak {
        /// How often
        #[arg(long, value_name = "N", default_value_t = 20)]
        runs: u32,
    },
    #[command(hide = true)]
    FloorPeer { address: String },
    #[command(hide = true)]
    HeldResults { results: u64 },
    #[command(hide = true)]
    LeaveBehind { script: String },
}
