//! What the command line says.

use std::path::PathBuf;

/// Counts the words of every text file below the given paths, in separate executor processes.
///
/// A word is a longest run of letters and digits, lower-cased. Symbolic links below the paths and files with a zero byte
/// near their start are left out.
#[derive(Debug, clap::Parser)]
#[command(after_help = "Examples:
  word_count docs                                  two executors on this machine
  word_count --executors 8 --json docs             as JSON, on eight
  word_count --master 'local-cluster[2,4,1GiB]' .  on two simulated nodes")]
pub(crate) struct Arguments {
    /// Files and folders
    #[arg(required = true, value_name = "PATH")]
    pub(crate) paths: Vec<PathBuf>,
    /// Where executors come from [default: a local-cluster that holds the executors asked for]
    #[arg(long, env = "CONVOKE_MASTER", value_name = "URL")]
    pub(crate) master: Option<String>,
    /// How many executors [default: 2; on local[n], which is one process, 1]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1024))]
    pub(crate) executors: Option<u32>,
    /// Print {"counts": {word: n, …}} on standard output, and nothing else
    #[arg(long)]
    pub(crate) json: bool,
    /// How many of the most frequent words the table shows
    #[arg(long, default_value_t = 20, value_name = "N")]
    pub(crate) top: usize,
}

impl Arguments {
    /// The master and the number of executors, one by the other where only one is said.
    pub(crate) fn master_and_executors(&self) -> convoke::Result<(String, u32)> {
        let Some(master) = self.master.clone() else {
            let executors = self.executors.unwrap_or(2);
            return Ok((format!("local-cluster[{executors},1,512MiB]"), executors));
        };
        let one_process = matches!(master.split(['[', ':']).next(), Some("local" | "local-inline"));
        let executors = self.executors.unwrap_or(if one_process { 1 } else { 2 });
        if one_process && executors > 1 {
            let cluster = format!("local-cluster[{executors},1,512MiB]");
            return Err(convoke::Error::invalid("executors", "this master holds one executor process")
                .with("master", &master)
                .with("executors", executors)
                .help(format!(
                    "for more of them write --master '{cluster}'; for more tasks at once, local[n]"
                )));
        }
        Ok((master, executors))
    }
}
