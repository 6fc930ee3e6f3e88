//! Executors of a program that has ended: local ones are processes of this machine, which end by themselves a moment later.
//! Whoever gets the prompt back shall find none.

use std::fs;
use std::time::Duration;

use convoke::clock::now;
use convoke::process::table::ProcessId;
use convoke::process::tree::kill_trees;
use convoke::{Error, Result};
use rustix::process::{Pid, WaitOptions};

/// Makes this process the parent of whatever its children leave behind.
pub fn adopt() -> Result<()> {
    #[cfg(target_os = "linux")]
    rustix::process::set_child_subreaper(Some(rustix::process::getpid()))
        .map_err(|error| Error::host("can't look after the program's executors", error.into()))?;
    Ok(())
}

/// Waits until no executor is left, for so long at the most. Other processes that the program left on purpose are none of ours.
pub async fn wait(most: Duration) {
    let began = now();
    while now().since(began) < most {
        // reap what has ended
        while let Ok(Some(_)) = rustix::process::wait(WaitOptions::NOHANG) {}
        if !children().any(is_executor) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// Ends them at once, with all that they started.
pub fn end() {
    let roots: Vec<_> = children()
        .filter(|child| is_executor(*child))
        .filter_map(|child| ProcessId::of(u32::try_from(child.as_raw_nonzero().get()).ok()?))
        .collect();
    if !roots.is_empty()
        && let Err(error) = kill_trees(&roots)
    {
        eprintln!("convoke: can't end all executors: {error}");
    }
}

fn children() -> impl Iterator<Item = Pid> {
    let own = rustix::process::getpid().as_raw_nonzero().get();
    let entries = fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter_map(move |entry| {
        let id: i32 = entry.file_name().to_str()?.parse().ok()?;
        let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
        let parent: i32 = stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
        (parent == own).then(|| Pid::from_raw(id)).flatten()
    })
}

fn is_executor(process: Pid) -> bool {
    let environment = fs::read(format!("/proc/{}/environ", process.as_raw_nonzero())).unwrap_or_default();
    environment.split(|byte| *byte == 0).any(|entry| entry.starts_with(b"CONVOKE_ROLE="))
}
