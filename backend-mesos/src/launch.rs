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

/// What the prologue exits with when a file isn't what was sent.
pub const WRONG_DIGEST: i32 = 118;
/// The bootstrap's name in the task's folder.
const BOOTSTRAP: &str = "convoke-bootstrap";

/// Compares each file's SHA-256 with the one that it should have, then becomes the program.
const PROLOGUE: &str = r#"while [ "$1" != -- ]; do
  got=$(sha256sum < "$2") || { echo "convoke: the file $2 can't be read" >&2; exit 118; }
  if [ "${got%% *}" != "$1" ]; then echo "convoke: the file $2 is not what was sent: its SHA-256 is ${got%% *}" >&2; exit 118; fi
  shift 2
done
shift
exec "$@""#;

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
    let mut uris = Vec::new();
    let mut checks = Vec::new();
    let mut fetch = |artifact: &Artifact, name: &str, executable: bool| {
        let uri = uri(artifact, name, executable)?;
        uris.push(uri);
        checks.extend([artifact.sha256.to_string(), name.to_owned()]);
        Ok::<_, Exit>(format!("./{name}"))
    };
    let program = match &launch.program {
        Program::Bootstrap => {
            let build =
                build(spec).ok_or_else(|| unavailable("the bootstrap", "the application names none"))?;
            Some(fetch(build, BOOTSTRAP, true)?)
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
        fetch(
            file,
            file.name.as_str(),
            file.executable || matches!(&launch.program, Program::File(name) if *name == file.name),
        )?;
    }
    let program = match (program, &launch.program) {
        (Some(program), _) => program,
        (None, Program::File(name)) if launch.files.iter().any(|file| file.name == *name) => {
            format!("./{name}")
        }
        (None, _) => return Err(unavailable("the program", "it isn't among the command's files")),
    };
    let command = if checks.is_empty() {
        argv(program.clone(), std::iter::once(program).chain(launch.args.iter().cloned()))
    } else {
        let prologue = ["sh".to_owned(), "-c".to_owned(), PROLOGUE.to_owned(), "convoke".to_owned()];
        let rest = checks.into_iter().chain(["--".to_owned(), program]).chain(launch.args.iter().cloned());
        argv("/bin/sh".to_owned(), prologue.into_iter().chain(rest))
    };
    let command = v1::CommandInfo {
        uris,
        environment: Some(environment_of(&launch)),
        user: user.map(ToString::to_string),
        ..command
    };
    Ok((command, launch.grace))
}

fn argv(value: String, arguments: impl Iterator<Item = String>) -> v1::CommandInfo {
    v1::CommandInfo {
        shell: Some(false),
        value: Some(value),
        arguments: arguments.collect(),
        ..Default::default()
    }
}

fn environment_of(launch: &LaunchCommand) -> v1::Environment {
    let variable =
        |name: &str, value: String| v1::environment::Variable { name: name.to_owned(), value: Some(value) };
    let mut variables: Vec<_> =
        launch.env.iter().map(|(name, value)| variable(name, value.clone())).collect();
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

fn uri(artifact: &Artifact, name: &str, executable: bool) -> Result<v1::command_info::Uri, Exit> {
    let value = artifact
        .sources
        .iter()
        .find_map(|source| match source {
            Source::Url(url) => Some(url.clone()),
            Source::NodePath(path) => Some(path.clone()),
            _ => None,
        })
        .ok_or_else(|| unavailable(name, "no URL or path of the node is known for it"))?;
    // the fetcher would refuse these, in words that help nobody
    if value.contains(['\'', '\\', '\0']) || name.contains(['/', '\'', '\\']) || matches!(name, "." | "..") {
        return Err(unavailable(
            name,
            "Mesos can't fetch a file whose name or URL holds quotes, slashes or backslashes",
        ));
    }
    Ok(v1::command_info::Uri {
        // its digest is in our URLs, so that a cached one is never an old one
        cache: Some(value.starts_with("http") && value.contains(&artifact.sha256.to_string())),
        value,
        executable: Some(executable),
        extract: Some(false),
        output_file: Some(name.to_owned()),
    })
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
    fn a_program_of_the_node_runs_without_a_shell() {
        let mut launch = LaunchCommand::new(Program::OnNode("/bin/echo".into()), Secret::new([0xab, 1]));
        launch.args = vec!["$(rm -rf ~)".into(), String::new()];
        let command = made(launch, Bootstrap::default()).unwrap();
        assert_eq!((command.shell, command.value.as_deref()), (Some(false), Some("/bin/echo")));
        assert_eq!(command.arguments, ["/bin/echo", "$(rm -rf ~)", ""]);
        let variables = command.environment.unwrap().variables;
        assert_eq!(
            (variables[0].name.as_str(), variables[0].value.as_deref()),
            (environment::TICKET, Some("hex:ab01"))
        );
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
        let run = || {
            std::process::Command::new(command.value.as_ref().unwrap())
                .args(&command.arguments[1..])
                .current_dir(folder.path())
                .output()
                .unwrap()
        };
        assert_eq!(run().status.code(), Some(WRONG_DIGEST), "not there");
        let path = folder.path().join(command.uris[0].output_file.as_ref().unwrap());
        std::fs::write(&path, b"#!/bin/sh\necho evil\n").unwrap();
        let mode = std::os::unix::fs::PermissionsExt::from_mode(0o755);
        std::fs::set_permissions(&path, mode).unwrap();
        let output = run();
        assert_eq!((output.status.code(), output.stdout.len()), (Some(WRONG_DIGEST), 0));
        assert!(String::from_utf8_lossy(&output.stderr).contains("not what was sent"));
        std::fs::write(&path, script).unwrap();
        assert_eq!(String::from_utf8_lossy(&run().stdout), "ran with a b, --\n");
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
