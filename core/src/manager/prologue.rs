use super::{LaunchFailure, Platform};
use crate::ids::Name;
use crate::secret::Digest;

/// What runs before anything of what a fetcher brought: a few lines of `/bin/sh` that compare the platform and each file's
/// SHA-256 with what they should be, and then become the program.
///
/// For managers whose fetchers check nothing themselves (Mesos, YARN). It needs `sh`, `uname` and `sha256sum` on the node.
///
/// ```
/// use convoke_core::manager::Prologue;
/// use convoke_core::secret::Digest;
/// let argv = Prologue::new().file("bootstrap", Digest::of(b"its bytes")).command("./bootstrap", ["--flag"]);
/// assert_eq!(argv[0], "/bin/sh");
/// ```
#[derive(Debug, Clone)]
pub struct Prologue {
    machine: &'static str,
    loader: &'static str,
    checks: Vec<String>,
}

const SCRIPT: &str = r#"platform() { echo "convoke: wrong platform: $1" >&2; exit 119; }
[ -z "$1" ] || [ "$(uname -m)" = "$1" ] || platform "the program is built for $1, and this node is $(uname -m)"
[ -z "$2" ] || [ -e "$2" ] || platform "the program needs $2, which this node has not; a static build needs none"
shift 2
while [ "$1" != -- ]; do
  got=$(sha256sum < "$2") || { echo "convoke: the file $2 can't be read" >&2; exit 118; }
  if [ "${got%% *}" != "$1" ]; then echo "convoke: the file $2 is not what was sent: its SHA-256 is ${got%% *}" >&2; exit 118; fi
  shift 2
done
shift
exec "$@""#;

impl Prologue {
    /// What it exits with when a file isn't what was sent.
    pub const WRONG_DIGEST: i32 = 118;
    /// What it exits with on a node that the program wasn't built for.
    pub const WRONG_PLATFORM: i32 = 119;

    /// One that checks nothing yet.
    #[must_use]
    pub fn new() -> Prologue {
        Prologue { machine: "", loader: "", checks: Vec::new() }
    }

    /// Checks that the node runs programs that were built for `platform`: its processor, and where they aren't static the
    /// C library's loader. A platform that isn't known here is left to the node.
    #[must_use]
    pub fn platform(mut self, platform: &Platform) -> Prologue {
        (self.machine, self.loader) = match platform.0.as_str() {
            "x86_64-linux-gnu" => ("x86_64", "/lib64/ld-linux-x86-64.so.2"),
            "aarch64-linux-gnu" => ("aarch64", "/lib/ld-linux-aarch64.so.1"),
            "riscv64-linux-gnu" => ("riscv64", "/lib/ld-linux-riscv64-lp64d.so.1"),
            other if other.starts_with("x86_64-linux-") => ("x86_64", ""),
            other if other.starts_with("aarch64-linux-") => ("aarch64", ""),
            other if other.starts_with("riscv64-linux-") => ("riscv64", ""),
            _ => ("", ""),
        };
        self
    }

    /// Checks the file of this name in the working directory.
    #[must_use]
    pub fn file(mut self, name: impl Into<String>, sha256: Digest) -> Prologue {
        self.checks.extend([sha256.to_string(), name.into()]);
        self
    }

    /// The command, `argv[0]` first, that checks and then becomes `program` with `arguments`. Nothing of them is expanded by
    /// the shell that this starts; a manager that has one of its own quotes each.
    #[must_use]
    pub fn command(
        &self,
        program: impl Into<String>,
        arguments: impl IntoIterator<Item = impl Into<String>>,
    ) -> Vec<String> {
        let mut argv: Vec<String> =
            ["/bin/sh", "-c", SCRIPT, "convoke", self.machine, self.loader].map(str::to_owned).to_vec();
        argv.extend(self.checks.iter().cloned());
        argv.extend(["--".to_owned(), program.into()]);
        argv.extend(arguments.into_iter().map(Into::into));
        argv
    }

    /// The launch failure that an exit code of a launch which never joined means; `file` is what was to run.
    #[must_use]
    pub fn failure(code: i32, file: &Name) -> Option<LaunchFailure> {
        match code {
            Prologue::WRONG_DIGEST => Some(LaunchFailure::ArtifactUnavailable(file.clone())),
            Prologue::WRONG_PLATFORM => Some(LaunchFailure::WrongPlatform),
            _ => None,
        }
    }
}

impl Default for Prologue {
    fn default() -> Prologue {
        Prologue::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;
    use std::path::Path;
    use std::process::{Command, Output};

    fn run(argv: &[String], folder: &Path) -> Output {
        Command::new(&argv[0]).args(&argv[1..]).current_dir(folder).output().unwrap()
    }

    #[test]
    fn runs_what_was_sent_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let (script, data) = (b"#!/bin/sh\necho \"ran with $1, $2, $3\"\n", b"data");
        let argv = Prologue::new()
            .file("the script", Digest::of(script))
            .file("it's data", Digest::of(data))
            .command("./the script", ["a b", "--", "$(exit 3)'"]);
        let code = |output: &Output| (output.status.code(), output.stdout.len());
        assert_eq!(code(&run(&argv, folder.path())), (Some(118), 0), "neither is there");
        let write = |name, content: &[u8]| {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
        };
        write("the script", b"#!/bin/sh\necho evil\n");
        write("it's data", data);
        let output = run(&argv, folder.path());
        assert_eq!(code(&output), (Some(118), 0));
        assert!(String::from_utf8_lossy(&output.stderr).contains("the file the script is not what was sent"));
        write("the script", script);
        write("it's data", b"dat");
        assert_eq!(code(&run(&argv, folder.path())), (Some(118), 0));
        write("it's data", data);
        let output = run(&argv, folder.path());
        assert_eq!(String::from_utf8_lossy(&output.stdout), "ran with a b, --, $(exit 3)'\n");
    }

    #[test]
    fn another_platform_is_told_before_anything_runs() {
        let folder = tempfile::tempdir().unwrap();
        let said = |platform: &str| {
            let prologue = Prologue::new().platform(&Platform(platform.to_owned()));
            let output = run(&prologue.command("/bin/echo", ["ran"]), folder.path());
            (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
        };
        let other = if cfg!(target_arch = "aarch64") { "x86_64" } else { "aarch64" };
        for libc in ["gnu", "static"] {
            let (code, words) = said(&format!("{other}-linux-{libc}"));
            assert_eq!(code, Some(Prologue::WRONG_PLATFORM));
            assert!(words.contains(&format!("built for {other}")), "{words}");
        }
        assert_eq!(said(&Platform::current().0).0, Some(0));
        assert_eq!(said("vax-bsd-unknown").0, Some(0), "unknown here: the node tells");
    }
}
