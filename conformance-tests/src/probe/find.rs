use std::os::unix::fs::PermissionsExt;

use convoke_core::secret::Digest;
use rustix::process::{Resource, getrlimit};

use super::wire::{Found, FoundFile};

/// Says what this process finds around itself.
pub(super) fn look_around() -> Found {
    let folder = std::env::current_dir().map(|folder| folder.display().to_string()).unwrap_or_default();
    Found {
        arguments: std::env::args_os().map(|argument| argument.to_string_lossy().into_owned()).collect(),
        environment: std::env::vars_os()
            .map(|(name, value)| (name.to_string_lossy().into_owned(), value.to_string_lossy().into_owned()))
            .collect(),
        files: files(&folder),
        folder,
        limits: [
            ("address_space_bytes", Resource::As),
            ("open_files", Resource::Nofile),
            ("processes", Resource::Nproc),
            ("core_bytes", Resource::Core),
        ]
        .into_iter()
        .map(|(name, resource)| (name.to_owned(), getrlimit(resource).current))
        .collect(),
        cgroups: std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default(),
    }
}

/// The regular files of a folder; those over 64 MiB with an empty digest.
fn files(folder: &str) -> Vec<FoundFile> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<FoundFile> = entries
        .filter_map(|entry| {
            let entry = entry.ok()?;
            let about = std::fs::metadata(entry.path()).ok().filter(std::fs::Metadata::is_file)?;
            let sha256 = if about.len() > 64 << 20 {
                String::new()
            } else {
                Digest::of(&std::fs::read(entry.path()).ok()?).to_string()
            };
            Some(FoundFile {
                name: entry.file_name().to_string_lossy().into_owned(),
                sha256,
                executable: about.permissions().mode() & 0o100 != 0,
            })
        })
        .collect();
    files.sort_by(|a, b| a.name.cmp(&b.name));
    files
}
