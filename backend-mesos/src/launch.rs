//! The task that becomes an executor: one command, its files, and what it finds in its environment. Pure.
//!
//! Mesos has no private channel to a task: its environment can be read through the agents' state. So nothing but the
//! single-use join ticket travels there. Its fetcher checks no digests either; a short prologue does, before anything of
//! what was fetched runs.

use convoke_core::executor::environment;
use convoke_core::ids::Name;
use convoke_core::manager::{
    ApplicationSpec, Artifact, Exit, ExitCause, LaunchCommand, LaunchFailure, Platform, Program, Source,
    Wanted,
};
use convoke_core::secret::to_hex;

use crate::v1;

/// What the prologue exits with instead of becoming the program; its last words on stderr say why, see [`prologue_failure`].
pub const NOT_LAUNCHED: i32 = 118;
/// The folder within a task's own where a supervisor keeps its program's output: the task's own files hold Mesos' words, too.
pub const LOG_FOLDER: &str = "convoke-logs";
/// The bootstrap's name in the task's folder.
const BOOTSTRAP: &str = "convoke-bootstrap";

/// For each file (its SHA-256, where it lies, its name, what to do): brings it to its place, and compares its SHA-256 with the
/// one that it should have. Then looks at the program (is it there, executable, of the platform that this very shell is of) and
/// becomes it. What a bare `exec` would make of these is an exit code that any program may have.
const PROLOGUE: &str = r#"fail() { echo "convoke: $1" >&2; exit 118; }
magic() { od -An -N20 -tx1 <"$1" 2>/dev/null | tr -d ' \n'; }
build() { printf %s "$1" | cut -c9-12,37-40; }
while [ "$1" != -- ]; do
  at=$2
  case $4 in
  data) cp -- "$2" "./$3" && chmod 644 "./$3" || fail "the file $3 can't be copied from $2"; at=./$3 ;;
  program) cp -- "$2" "./$3" && chmod 755 "./$3" || fail "the file $3 can't be copied from $2"; at=./$3 ;;
  fetched) [ "$2" = "./$3" ] || mv -- "$2" "./$3" || fail "the file $3 can't be put in its place"; at=./$3 ;;
  esac
  got=$(sha256sum <"$at") || fail "the file $3 can't be read at $at"
  [ "${got%% *}" = "$1" ] || fail "the file $3 is not what was sent: its SHA-256 is ${got%% *} instead of $1"
  shift 4
done
shift
program=$1
case $1 in
*/*) ;;
*) program=$(command -v -- "$1") || fail "there is no program $1" ;;
esac
case $program in
*/*) [ -e "$program" ] || fail "there is no program $1"
  [ -f "$program" ] && [ -x "$program" ] || fail "the program $1 can't be executed: it is no file, or has no permission to"
  elf=$(magic "$program")
  shell=$(magic /proc/$$/exe)
  case $elf$shell in
  7f454c46*7f454c46*) [ "$(build "$elf")" = "$(build "$shell")" ] || fail "the program $1 is built for another platform than this node's" ;;
  esac ;;
esac
exec "$@""#;

/// What the prologue complained of, in its own words, where `log` is the end of the task's stderr.
#[must_use]
pub fn prologue_failure(log: &str) -> Option<Exit> {
    let words = log.lines().rev().find_map(|line| line.strip_prefix("convoke: "))?;
    let failure = if log.contains("No space left on device") {
        LaunchFailure::DiskFull
    } else if let Some(about) = words.strip_prefix("the file ") {
        let name =
            [" can't be ", " is not what was sent"].iter().find_map(|words| about.split_once(words))?.0;
        Name::new(name).map_or(LaunchFailure::Other, LaunchFailure::ArtifactUnavailable)
    } else if words.starts_with("there is no program ") {
        LaunchFailure::NoSuchProgram
    } else if words.starts_with("the program ") && words.contains(" can't be executed") {
        LaunchFailure::NotExecutable
    } else if words.starts_with("the program ") && words.contains(" is built for another platform") {
        LaunchFailure::WrongPlatform
    } else {
        return None;
    };
    Some(Exit::new(ExitCause::LaunchFailed(failure), words).with_log_tail(log.as_bytes().to_vec()))
}

/// The command of one executor, and how long a drained agent gives it to end.
///
/// # Errors
/// The exit of an executor that can't be launched, because a file of it can be had nowhere.
pub fn command(
    spec: &ApplicationSpec,
    user: Option<&Name>,
    wanted: &Wanted,
) -> Result<(v1::CommandInfo, std::time::Duration), Exit> {
    let launch = spec.launcher.launch(wanted.executor, &wanted.profile);
    let mut files = Files::default();
    let program = match &launch.program {
        Program::Bootstrap => {
            let build =
                build(spec).ok_or_else(|| unavailable("the bootstrap", "the application names none"))?;
            Some(files.run(build)?)
        }
        Program::OnNode(program) => Some(program.clone()),
        Program::File(_) => None,
        _ => {
            return Err(Exit::new(
                ExitCause::LaunchFailed(LaunchFailure::Other),
                "an unknown kind of program",
            ));
        }
    };
    for file in &launch.files {
        files.bring(
            file,
            file.executable || matches!(&launch.program, Program::File(name) if *name == file.name),
        )?;
    }
    let Files { uris, checks } = files;
    let program = match (program, &launch.program) {
        (Some(program), _) => program,
        (None, Program::File(name)) if launch.files.iter().any(|file| file.name == *name) => {
            format!("./{name}")
        }
        (None, _) => return Err(unavailable("the program", "it isn't among the command's files")),
    };
    let prologue = ["sh".to_owned(), "-c".to_owned(), PROLOGUE.to_owned(), "convoke".to_owned()];
    let rest = checks.into_iter().chain(["--".to_owned(), program]).chain(launch.args.iter().cloned());
    let command = v1::CommandInfo {
        shell: Some(false),
        value: Some("/bin/sh".to_owned()),
        arguments: prologue.into_iter().chain(rest).collect(),
        ..Default::default()
    };
    let command = v1::CommandInfo {
        uris,
        environment: Some(environment_of(&launch)),
        user: user.map(ToString::to_string),
        ..command
    };
    Ok((command, launch.grace))
}

fn environment_of(launch: &LaunchCommand) -> v1::Environment {
    let variable =
        |name: &str, value: String| v1::environment::Variable { name: name.to_owned(), value: Some(value) };
    let mut variables: Vec<_> =
        launch.env.iter().map(|(name, value)| variable(name, value.clone())).collect();
    let limits = format!("{}x{}", launch.logs.file.0, launch.logs.rolled);
    for (name, value) in [
        (environment::ROLE, "guard".to_owned()),
        (environment::LOGS, LOG_FOLDER.to_owned()),
        (environment::LOG_LIMITS, limits),
    ] {
        variables.retain(|known| known.name != name);
        variables.push(variable(name, value));
    }
    if !launch.ticket.expose().is_empty() {
        variables.push(variable(environment::TICKET, format!("hex:{}", to_hex(launch.ticket.expose()))));
    }
    v1::Environment { variables }
}

/// This program's own platform where there is a build for it, else the first build: agents don't tell theirs, and a wrong one
/// is a launch failure that says so.
fn build(spec: &ApplicationSpec) -> Option<&Artifact> {
    let builds = &spec.bootstrap.builds;
    let own = Platform::current();
    builds
        .iter()
        .find(|(platform, _)| *platform == own)
        .or_else(|| builds.first())
        .map(|(_, artifact)| artifact)
}

/// The files of one task: what Mesos fetches, and what the prologue then does with each.
#[derive(Default)]
struct Files {
    uris: Vec<v1::command_info::Uri>,
    checks: Vec<String>,
}

impl Files {
    /// The bootstrap: what lies on the node runs where it is. Answers what to run.
    fn run(&mut self, artifact: &Artifact) -> Result<String, Exit> {
        let name = artifact.name.as_str();
        match source(artifact)? {
            Source::NodePath(path) => {
                self.check(artifact, path, name, "in-place");
                Ok(path.clone())
            }
            Source::Url(url) => {
                self.fetch(artifact, url, BOOTSTRAP.to_owned(), true)?;
                self.check(artifact, &format!("./{BOOTSTRAP}"), BOOTSTRAP, "fetched");
                Ok(format!("./{BOOTSTRAP}"))
            }
            _ => Err(nowhere(artifact)),
        }
    }

    /// A file that the executor finds under its name. It is fetched under a name of ours: the fetcher refuses quotes.
    fn bring(&mut self, artifact: &Artifact, executable: bool) -> Result<(), Exit> {
        let name = artifact.name.as_str();
        if name.contains('/') || matches!(name, "." | "..") {
            return Err(unavailable(name, "a file's name is no path"));
        }
        match source(artifact)? {
            Source::NodePath(path) => {
                let how = if executable { "program" } else { "data" };
                self.check(artifact, path, name, how);
            }
            Source::Url(url) => {
                // What of its name the fetcher takes, so that the fetcher's words name the file.
                let plain = |c: &char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_');
                let told: String = name.chars().filter(plain).collect();
                let fetched = format!("convoke-fetched-{}-{told}", self.uris.len());
                self.check(artifact, &format!("./{fetched}"), name, "fetched");
                self.fetch(artifact, url, fetched, executable)?;
            }
            _ => return Err(nowhere(artifact)),
        }
        Ok(())
    }

    fn check(&mut self, artifact: &Artifact, at: &str, name: &str, how: &str) {
        self.checks.extend([artifact.sha256.to_string(), at.to_owned(), name.to_owned(), how.to_owned()]);
    }

    fn fetch(&mut self, artifact: &Artifact, url: &str, to: String, executable: bool) -> Result<(), Exit> {
        // the fetcher would refuse these, in words that help nobody
        if url.contains(['\'', '\\', '\0']) {
            let why = "Mesos can't fetch from a URL that holds quotes or backslashes";
            return Err(unavailable(artifact.name.as_str(), why));
        }
        self.uris.push(v1::command_info::Uri {
            // its digest is in our URLs, so that a cached one is never an old one
            cache: Some(url.starts_with("http") && url.contains(&artifact.sha256.to_string())),
            value: url.to_owned(),
            executable: Some(executable),
            extract: Some(false),
            output_file: Some(to),
        });
        Ok(())
    }
}

/// Where an agent can have it: the first place that isn't the driver's own disk.
fn source(artifact: &Artifact) -> Result<&Source, Exit> {
    let usable = |source: &&Source| matches!(source, Source::Url(_) | Source::NodePath(_));
    artifact.sources.iter().find(usable).ok_or_else(|| nowhere(artifact))
}

fn nowhere(artifact: &Artifact) -> Exit {
    unavailable(artifact.name.as_str(), "no URL or path of the node is known for it")
}

fn unavailable(name: &str, why: &str) -> Exit {
    let failure = Name::new(name).map_or(LaunchFailure::Other, LaunchFailure::ArtifactUnavailable);
    Exit::new(ExitCause::LaunchFailed(failure), why)
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_core::ids::{ApplicationId, ExecutorId};
    use convoke_core::manager::{Bootstrap, Launcher, Placement};
    use convoke_core::resource::ResourceProfile;
    use convoke_core::secret::{Digest, Secret};
    use std::sync::Arc;

    #[derive(Debug)]
    struct Fixed(LaunchCommand);
    impl Launcher for Fixed {
        fn launch(&self, _: ExecutorId, _: &ResourceProfile) -> LaunchCommand {
            self.0.clone()
        }
    }

    fn made(command: LaunchCommand, bootstrap: Bootstrap) -> Result<v1::CommandInfo, Exit> {
        let name = Name::new("words").unwrap();
        let spec =
            ApplicationSpec::builder(ApplicationId::from_parts(&name, 1), name, Arc::new(Fixed(command)))
                .bootstrap(bootstrap)
                .build()
                .unwrap();
        let wanted = Wanted {
            executor: ExecutorId(1),
            profile: Arc::new(ResourceProfile::default()),
            placement: Placement::default(),
            excluded: Arc::from([]),
        };
        super::command(&spec, None, &wanted).map(|(command, _)| command)
    }

    fn artifact(name: &str, content: &[u8], source: Source) -> Artifact {
        Artifact {
            name: Name::new(name).unwrap(),
            sha256: Digest::of(content),
            bytes: content.len() as u64,
            executable: true,
            sources: vec![Source::DriverPath("/elsewhere".into()), source],
        }
    }

    #[test]
    fn arguments_reach_a_program_of_the_node_as_they_are() {
        let mut launch = LaunchCommand::new(Program::OnNode("/bin/echo".into()), Secret::new([0xab, 1]));
        launch.args = vec!["$(rm -rf ~)".into(), String::new()];
        let command = made(launch, Bootstrap::default()).unwrap();
        assert_eq!((command.shell, command.value.as_deref()), (Some(false), Some("/bin/sh")));
        let output = run(&command, std::path::Path::new("/"));
        assert_eq!(String::from_utf8_lossy(&output.stdout), "$(rm -rf ~) \n");
        let variables = command.environment.unwrap().variables;
        let value = |name: &str| variables.iter().find(|it| it.name == name).and_then(|it| it.value.clone());
        assert_eq!(value(environment::TICKET).as_deref(), Some("hex:ab01"));
        assert_eq!(value(environment::ROLE).as_deref(), Some("guard"));
    }

    fn run(command: &v1::CommandInfo, folder: &std::path::Path) -> std::process::Output {
        std::process::Command::new(command.value.as_ref().unwrap())
            .args(&command.arguments[1..])
            .current_dir(folder)
            .output()
            .unwrap()
    }

    fn failure(output: &std::process::Output) -> (String, String) {
        assert_eq!((output.status.code(), output.stdout.len()), (Some(NOT_LAUNCHED), 0), "nothing ran");
        let exit = prologue_failure(&String::from_utf8_lossy(&output.stderr)).unwrap();
        match exit.cause {
            ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(name)) => {
                (name.to_string(), exit.message)
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_prologue_runs_what_it_was_sent_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let script = b"#!/bin/sh\necho \"ran with $1, $2\"\n";
        let url = format!("http://driver:1/{}", Digest::of(script));
        let bootstrap =
            Bootstrap { builds: vec![(Platform("any".into()), artifact("b", script, Source::Url(url)))] };
        let mut launch = LaunchCommand::new(Program::Bootstrap, Secret::new([1]));
        launch.args = vec!["a b".into(), "--".into()];
        let command = made(launch, bootstrap).unwrap();
        assert_eq!((command.uris[0].cache, command.uris[0].extract), (Some(true), Some(false)));
        assert!(failure(&run(&command, folder.path())).1.contains("can't be read"), "not there");
        let path = folder.path().join(command.uris[0].output_file.as_ref().unwrap());
        std::fs::write(&path, b"#!/bin/sh\necho evil\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let (name, words) = failure(&run(&command, folder.path()));
        assert_eq!(name, BOOTSTRAP);
        assert!(
            words.contains("not what was sent") && words.contains(&Digest::of(script).to_string()),
            "{words}"
        );
        std::fs::write(&path, script).unwrap();
        assert_eq!(String::from_utf8_lossy(&run(&command, folder.path()).stdout), "ran with a b, --\n");
    }

    #[test]
    fn files_of_any_name_come_from_nodes_and_urls_and_a_bootstrap_of_the_node_runs_where_it_lies() {
        let (node, folder) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let odd = "it's a \"tool\" für uns";
        let on_node = |name: &str, content: &[u8]| {
            let path = node.path().join(name);
            std::fs::write(&path, content).unwrap();
            artifact(name, content, Source::NodePath(path.to_str().unwrap().into()))
        };
        let script = b"#!/bin/sh\necho \"$0\"; cat -- \"./-plain\"; stat -c '%a %n' ./*\n";
        let builds = vec![(Platform::current(), on_node("boot strap", script))];
        let path = node.path().join("boot strap");
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        let mut launch = LaunchCommand::new(Program::Bootstrap, Secret::new([1]));
        let fetched = Artifact {
            executable: false,
            ..artifact("what's up", b"up", Source::Url("http://driver:1/x".into()))
        };
        launch.files = vec![
            Artifact { executable: false, ..on_node("-plain", b"plain\n") },
            on_node(odd, b"tool"),
            fetched,
        ];
        let command = made(launch, Bootstrap { builds }).unwrap();
        assert_eq!((command.uris.len(), command.uris[0].cache), (1, Some(false)));
        std::fs::write(folder.path().join(command.uris[0].output_file.as_ref().unwrap()), b"up").unwrap();
        let output = run(&command, folder.path());
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        assert!(said.starts_with(&format!("{}\nplain\n", path.display())), "{said} {output:?}");
        assert!(said.contains(&format!("755 ./{odd}")) && said.contains("what's up"), "{said}");
        assert!(folder.path().join("-plain").is_file());
        std::fs::write(node.path().join(odd), b"another").unwrap();
        assert_eq!(failure(&run(&command, folder.path())).0, odd);
    }

    #[test]
    fn a_program_that_cannot_run_here_is_told_apart_from_one_that_ran() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, bytes: &[u8], mode| {
            let path = folder.path().join(name);
            std::fs::write(&path, bytes).unwrap();
            std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(mode)).unwrap();
            path.to_str().unwrap().to_owned()
        };
        let mut foreign = std::fs::read("/bin/sh").unwrap();
        foreign[18..20].copy_from_slice(&[0xf7, 0x00]); // eBPF
        for (program, failure) in [
            ("/nonexistent/x".to_owned(), LaunchFailure::NoSuchProgram),
            ("no-such-name".to_owned(), LaunchFailure::NoSuchProgram),
            (file("data", b"x", 0o644), LaunchFailure::NotExecutable),
            ("/tmp".to_owned(), LaunchFailure::NotExecutable),
            (file("foreign", &foreign, 0o755), LaunchFailure::WrongPlatform),
        ] {
            let launch = LaunchCommand::new(Program::OnNode(program.clone()), Secret::new([1]));
            let output = run(&made(launch, Bootstrap::default()).unwrap(), folder.path());
            let exit = prologue_failure(&String::from_utf8_lossy(&output.stderr)).unwrap();
            assert_eq!(
                (output.status.code(), exit.cause),
                (Some(NOT_LAUNCHED), ExitCause::LaunchFailed(failure))
            );
            assert!(exit.message.contains(&program), "{}", exit.message);
        }
        let launch = LaunchCommand::new(Program::OnNode("true".into()), Secret::new([1]));
        let output = run(&made(launch, Bootstrap::default()).unwrap(), folder.path());
        assert_eq!(output.status.code(), Some(0), "one that the shell has built in, too");
        let mut launch = LaunchCommand::new(Program::OnNode("sh".into()), Secret::new([1]));
        launch.args = vec!["-c".into(), "exit 7".into()];
        let output = run(&made(launch, Bootstrap::default()).unwrap(), folder.path());
        assert_eq!(output.status.code(), Some(7), "found by its name");
        assert!(prologue_failure("convoke: something of the program's own").is_none());
    }

    #[test]
    fn what_can_be_had_nowhere_is_a_launch_failure() {
        let failed = |launch, bootstrap| match made(launch, bootstrap).unwrap_err().cause {
            ExitCause::LaunchFailed(LaunchFailure::ArtifactUnavailable(name)) => name.to_string(),
            other => panic!("{other:?}"),
        };
        let launch = |program| LaunchCommand::new(program, Secret::new([1]));
        assert_eq!(failed(launch(Program::Bootstrap), Bootstrap::default()), "the bootstrap");
        assert_eq!(
            failed(launch(Program::File(Name::new("x").unwrap())), Bootstrap::default()),
            "the program"
        );
        let mut quoted = launch(Program::OnNode("/bin/true".into()));
        quoted.files = vec![artifact("data", b"", Source::Url("http://driver:1/it's".into()))];
        assert_eq!(failed(quoted, Bootstrap::default()), "data");
    }
}
