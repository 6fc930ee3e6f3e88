//! The command line.

use std::path::PathBuf;

use clap::Parser;
use convoke::manager::MasterUrl;
use convoke::{Error, Result};

/// Count the words in every text file below some paths, in separate executor processes.
///
/// A word is a run of letters and digits (Unicode: Alphabetic or a number), lower-cased. A file whose first 8 KiB hold a zero byte
/// isn't text and is left out, as are symbolic links; bytes that aren't UTF-8 are in no word.
#[derive(Debug, Parser)]
#[command(name = "word_count", after_help = EXAMPLES)]
pub struct Options {
    /// Files, or folders with files at any depth
    #[arg(required = true, value_name = "PATH")]
    pub paths: Vec<PathBuf>,

    /// The cluster manager to run on [default: $CONVOKE_MASTER, else a local-cluster that holds the executors]
    #[arg(long, value_name = "URL")]
    pub master: Option<String>,

    /// How many executors [default: 2, or 1 on local[n] and local-inline, which hold no more]
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    pub executors: Option<u32>,

    /// How many of the most frequent words to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    pub top: usize,

    /// Print {"counts": {word: n, …}} on standard output, and nothing else
    #[arg(long)]
    pub json: bool,
}

const EXAMPLES: &str = "\
Examples:
  cargo run --release --example word_count -- docs README.md
  cargo run --release --example word_count -- --executors 8 --json /usr/share/doc > counts.json
  cargo run --release --example word_count -- --master 'local[4]' docs

Exit code: 0 all counted, 1 something could not be read or the job failed, 2 wrong usage, 130 interrupted.";

impl Options {
    /// The master to run on and how many executors it shall hold.
    ///
    /// # Errors
    /// `InvalidRequest` for more than one executor where the master has one for all.
    pub fn place(&self, environment: Option<String>) -> Result<(String, u32)> {
        let named = self.master.clone().or(environment.filter(|url| !url.is_empty()));
        let Some(url) = named else {
            let executors = self.executors.unwrap_or(2);
            return Ok((format!("local-cluster[{executors},1,256MiB]"), executors));
        };
        let scheme = url.parse::<MasterUrl>()?.scheme().to_owned();
        let single = scheme == "local" || scheme == "local-inline";
        let executors = self.executors.unwrap_or(if single { 1 } else { 2 });
        if single && executors > 1 {
            return Err(Error::invalid("executors", "this master has one executor for all tasks")
                .with("master", url)
                .with("executors", executors)
                .help(format!(
                    "for {executors} of them, use --master 'local-cluster[{executors},1,256MiB]' or leave --master out"
                )));
        }
        Ok((url, executors))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn place(arguments: &[&str], environment: Option<&str>) -> Result<(String, u32)> {
        Options::try_parse_from(["word_count", "."].iter().chain(arguments))
            .unwrap()
            .place(environment.map(str::to_owned))
    }

    #[test]
    fn the_option_goes_before_the_environment_and_that_before_the_default() {
        assert_eq!(place(&[], None).unwrap(), ("local-cluster[2,1,256MiB]".to_owned(), 2));
        assert_eq!(place(&["--executors", "8"], Some("")).unwrap().0, "local-cluster[8,1,256MiB]");
        assert_eq!(place(&[], Some("local[4]")).unwrap(), ("local[4]".to_owned(), 1));
        assert_eq!(place(&["--master", "yarn"], Some("local[4]")).unwrap(), ("yarn".to_owned(), 2));
    }

    #[test]
    fn many_executors_on_one_process_name_the_master_that_has_them() {
        let error = place(&["--master", "local[4]", "--executors", "3"], None).unwrap_err();
        assert_eq!(error.field(), Some("executors"));
        assert!(error.advice().unwrap().contains("local-cluster[3,1,256MiB]"));
    }
}
