//! Hooks as a program of the operator's, for clusters that are examined from the command line.
//!
//! It is called as `PROGRAM HOOK ARGUMENT…`, with the master URL in `CONVOKE_MASTER`; [`Hook::form`] says with which
//! arguments, and what it prints. Its exit codes are 0 once the fault bites; 69 where it has no such hook, which makes the
//! rules that need it *not checkable*; 70 where the rule does not apply to this manager (standard output says why); any
//! other where it failed, which standard error explains.

use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::Name;
use convoke_core::{Error, ErrorKind};

use crate::harness::{Hook, Hooked, Hooks, Traffic, Unhooked};

/// `EX_UNAVAILABLE` of sysexits.h.
const NO_SUCH_HOOK: i32 = 69;
/// The rule that asks does not apply here.
const DOES_NOT_APPLY: i32 = 70;
/// A hook that takes longer has failed.
const WITHIN: Duration = Duration::from_secs(60);

/// A hooks program, or none: then there is no hook but the cluster's address.
#[derive(Debug, Clone)]
pub struct HooksProgram {
    program: Option<PathBuf>,
    master: String,
    address: String,
}

impl HooksProgram {
    /// This program, for the cluster behind this master URL, which another process reaches by this address.
    #[must_use]
    pub fn new(program: Option<PathBuf>, master: String, address: String) -> HooksProgram {
        HooksProgram { program, master, address }
    }

    /// Calls it; answers what it printed.
    async fn call(&self, hook: Hook, arguments: &[&str]) -> Hooked<String> {
        let Some(program) = &self.program else { return Err(Unhooked::NoSuchHook) };
        let about = |error: Error| error.with("program", program.display());
        let run = tokio::process::Command::new(program)
            .arg(hook.as_str())
            .args(arguments)
            .env("CONVOKE_MASTER", &self.master)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .output();
        let output = match tokio::time::timeout(WITHIN, run).await {
            Ok(Ok(output)) => output,
            Ok(Err(error)) => {
                let error = Error::host("can't start the hooks program", error);
                return Err(about(error.help("make it executable, and give its path")).into());
            }
            Err(_) => {
                let error = Error::new(ErrorKind::DeadlineExceeded, "the hooks program does not end");
                return Err(about(error).into());
            }
        };
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
        match output.status.code() {
            Some(0) => Ok(said(&output.stdout)),
            Some(NO_SUCH_HOOK) => Err(Unhooked::NoSuchHook),
            Some(DOES_NOT_APPLY) => Err(Unhooked::DoesNotApply(said(&output.stdout))),
            _ => {
                let error = Error::new(ErrorKind::Host, "the hooks program failed")
                    .with("status", output.status)
                    .with("said", said(&output.stderr));
                Err(about(error).into())
            }
        }
    }

    async fn told(&self, hook: Hook, arguments: &[&str]) -> Hooked {
        self.call(hook, arguments).await.map(drop)
    }

    async fn number<T: std::str::FromStr>(&self, hook: Hook, text: &str) -> Hooked<T> {
        text.parse().map_err(|_| {
            Error::new(ErrorKind::Host, "the hooks program did not print a number")
                .with("hook", hook.as_str())
                .with("printed", format!("{text:?}"))
                .into()
        })
    }
}

#[async_trait]
impl Hooks for HooksProgram {
    async fn kill_node(&self, host: &Name) -> Hooked {
        self.told(Hook::KillNode, &[host.as_str()]).await
    }
    async fn revive_node(&self, host: &Name) -> Hooked {
        self.told(Hook::ReviveNode, &[host.as_str()]).await
    }
    async fn kill_daemon(&self, host: &Name) -> Hooked {
        self.told(Hook::KillDaemon, &[host.as_str()]).await
    }
    async fn stop_manager(&self) -> Hooked {
        self.told(Hook::StopManager, &[]).await
    }
    async fn start_manager(&self) -> Hooked {
        self.told(Hook::StartManager, &[]).await
    }
    async fn cut_network(&self) -> Hooked {
        self.told(Hook::CutNetwork, &[]).await
    }
    async fn mend_network(&self) -> Hooked {
        self.told(Hook::MendNetwork, &[]).await
    }
    async fn fill_disk(&self, host: &Name) -> Hooked {
        self.told(Hook::FillDisk, &[host.as_str()]).await
    }
    async fn free_disk(&self, host: &Name) -> Hooked {
        self.told(Hook::FreeDisk, &[host.as_str()]).await
    }
    async fn take_resources(&self, executors: u32) -> Hooked {
        self.told(Hook::TakeResources, &[&executors.to_string()]).await
    }
    async fn give_resources(&self) -> Hooked {
        self.told(Hook::GiveResources, &[]).await
    }
    async fn over_grant(&self, native: &str) -> Hooked {
        self.told(Hook::OverGrant, &[native]).await
    }
    async fn count_processes(&self, application: &str) -> Hooked<u32> {
        let printed = self.call(Hook::CountProcesses, &[application]).await?;
        self.number(Hook::CountProcesses, &printed).await
    }
    async fn list_existing(&self, application: &str) -> Hooked<Vec<String>> {
        let printed = self.call(Hook::ListExisting, &[application]).await?;
        Ok(printed.lines().map(str::to_owned).collect())
    }
    async fn end_application(&self, native: &str) -> Hooked {
        self.told(Hook::EndApplication, &[native]).await
    }
    async fn drain_node(&self, host: &Name, after: Duration) -> Hooked {
        self.told(Hook::DrainNode, &[host.as_str(), &after.as_secs().to_string()]).await
    }
    async fn preempt(&self, native: &str) -> Hooked {
        self.told(Hook::Preempt, &[native]).await
    }
    async fn address(&self) -> Hooked<String> {
        Ok(self.address.clone())
    }
    async fn outcome_shown(&self, native: &str) -> Hooked<String> {
        self.call(Hook::OutcomeShown, &[native]).await
    }
    async fn traffic(&self) -> Hooked<Traffic> {
        let printed = self.call(Hook::Traffic, &[]).await?;
        let (calls, bytes) = printed.split_once(char::is_whitespace).unwrap_or((&printed, ""));
        Ok(Traffic {
            calls: self.number(Hook::Traffic, calls).await?,
            bytes: self.number(Hook::Traffic, bytes.trim()).await?,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[tokio::test]
    async fn codes_and_output_are_understood() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("hooks");
        let script = "#!/bin/sh\ncase \"$1\" in\n  traffic) echo 12 3456;;\n  list-existing) echo \"task of $2\"; echo $CONVOKE_MASTER;;\n\
            \x20 outcome-shown) echo it keeps none; exit 70;;\n  kill-node) echo no such node >&2; exit 1;;\n  *) exit 69;;\nesac\n";
        // written and closed by a child: nobody who forks meanwhile holds it open for writing
        let written = std::process::Command::new("sh")
            .args(["-c", "cat > \"$1\"", "sh"])
            .arg(&path)
            .stdin(Stdio::piped())
            .spawn()
            .and_then(|mut child| {
                use std::io::Write;
                child.stdin.take().unwrap().write_all(script.as_bytes())?;
                child.wait()
            });
        assert!(written.unwrap().success());
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        let hooks = HooksProgram::new(Some(path), "mine://somewhere".into(), String::new());
        assert_eq!(hooks.traffic().await.unwrap(), Traffic { calls: 12, bytes: 3456 });
        assert_eq!(hooks.list_existing("a-1").await.unwrap(), ["task of a-1", "mine://somewhere"]);
        assert!(matches!(hooks.stop_manager().await, Err(Unhooked::NoSuchHook)));
        assert!(
            matches!(hooks.outcome_shown("x").await, Err(Unhooked::DoesNotApply(why)) if why == "it keeps none")
        );
        let host = Name::new("node-1").unwrap();
        match hooks.kill_node(&host).await {
            Err(Unhooked::Failed(error)) => {
                assert!(format!("{error:#}").contains("no such node"), "{error:#}")
            }
            other => panic!("{other:?}"),
        }
    }
}
