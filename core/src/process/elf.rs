//! What a program's ELF header says of the machine that it was built for.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::process::{Command, Stdio};

use super::spawn::NotStarted;
use crate::manager::LaunchFailure;

/// A program header that names the loader.
const PT_INTERP: u32 = 3;
/// Longer ones are nonsense.
const LONGEST_LOADER: u64 = 4096;
/// The most program headers that are looked at.
const MOST_HEADERS: u16 = 256;

/// The part of an ELF header that says where a program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Elf {
    class: u8,
    order: u8,
    machine: u16,
    /// The loader that the kernel starts in its place; a static program has none.
    pub interpreter: Option<String>,
}

impl Elf {
    /// Reads the header; `None` for what is no ELF file.
    ///
    /// # Errors
    /// Where it can't be read.
    pub fn read(file: &File) -> io::Result<Option<Elf>> {
        let mut head = [0; 64];
        match file.read_exact_at(&mut head, 0) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        if head[..4] != *b"\x7fELF" {
            return Ok(None);
        }
        let (class, order) = (head[4], head[5]);
        let number = |bytes: &[u8]| {
            let digit = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
            if order == 2 { bytes.iter().fold(0, digit) } else { bytes.iter().rev().fold(0, digit) }
        };
        let short = |at: usize| u16::try_from(number(&head[at..at + 2])).unwrap_or(u16::MAX);
        let machine = short(18);
        let wide = class == 2;
        let (table, size, count) = if wide {
            (number(&head[32..40]), short(54), short(56))
        } else {
            (number(&head[28..32]), short(42), short(44))
        };
        let mut interpreter = None;
        for index in 0..count.min(MOST_HEADERS) {
            let mut entry = [0; 56];
            let entry = &mut entry[..if wide { 56 } else { 32 }];
            file.read_exact_at(entry, table.saturating_add(u64::from(index) * u64::from(size)))?;
            if number(&entry[..4]) != u64::from(PT_INTERP) {
                continue;
            }
            let (at, bytes) = if wide {
                (number(&entry[8..16]), number(&entry[32..40]))
            } else {
                (number(&entry[4..8]), number(&entry[16..20]))
            };
            let mut path = vec![0; usize::try_from(bytes.min(LONGEST_LOADER)).unwrap_or(0)];
            file.read_exact_at(&mut path, at)?;
            path.retain(|byte| *byte != 0);
            interpreter = Some(String::from_utf8_lossy(&path).into_owned());
        }
        Ok(Some(Elf { class, order, machine, interpreter }))
    }

    /// The processor's name, as Rust's targets spell it.
    #[must_use]
    pub fn processor(&self) -> String {
        let name = match (self.machine, self.class) {
            (3, _) => "x86",
            (20, _) => "powerpc",
            (21, _) => "powerpc64",
            (22, _) => "s390x",
            (40, _) => "arm",
            (62, _) => "x86_64",
            (183, _) => "aarch64",
            (243, 1) => "riscv32",
            (243, _) => "riscv64",
            (258, _) => "loongarch64",
            (other, _) => return format!("machine{other}"),
        };
        name.to_owned()
    }
}

/// Whether this host runs `program`: its processor, its loader, and the libraries and versions that it asks of them. Nothing of
/// it runs: the node's own loader is asked to list what it would load.
///
/// # Errors
/// `WrongPlatform` in words that say what it needs and what is here.
pub fn check_runs_here(program: &Path) -> Result<(), NotStarted> {
    let wrong = |message: String| NotStarted { failure: LaunchFailure::WrongPlatform, message };
    let unreadable = |error: io::Error| NotStarted {
        failure: LaunchFailure::from_io(&error),
        message: format!("{}: {error}", program.display()),
    };
    let read = |path: &Path| File::open(path).and_then(|file| Elf::read(&file));
    let Some(theirs) = read(program).map_err(unreadable)? else { return Ok(()) }; // a script: its first line says what runs it
    // Where the host can't say what it is, the kernel says it when the program is started.
    if let Ok(Some(ours)) = read(Path::new("/proc/self/exe"))
        && (theirs.machine, theirs.class, theirs.order) != (ours.machine, ours.class, ours.order)
    {
        return Err(wrong(format!(
            "the program is built for {}, and this node is {}",
            theirs.processor(),
            ours.processor()
        )));
    }
    let Some(loader) = &theirs.interpreter else { return Ok(()) };
    if !Path::new(loader).exists() {
        return Err(wrong(format!(
            "the program needs {loader}, which this node has not; a static build needs none"
        )));
    }
    let listed = Command::new(loader).arg("--list").arg(program).stdin(Stdio::null()).output();
    if let Ok(listed) = listed {
        let words = [listed.stderr, listed.stdout].concat();
        let words = String::from_utf8_lossy(&words);
        if let Some(missing) = words.lines().find(|line| line.contains("not found")) {
            return Err(wrong(format!(
                "this node's libraries don't suit the program: {}; a static build needs none",
                missing.trim()
            )));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_program_is_for_this_host_and_another_machines_is_not() {
        let own = Path::new("/proc/self/exe");
        let elf = Elf::read(&File::open(own).unwrap()).unwrap().unwrap();
        assert_eq!(elf.processor(), std::env::consts::ARCH);
        check_runs_here(own).unwrap();

        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        let mut bytes = std::fs::read(own).unwrap();
        let (machine, name) = if elf.machine == 183 { (62, "x86_64") } else { (183, "aarch64") };
        bytes[18] = machine;
        std::fs::write(&other, &bytes[..4096]).unwrap();
        let refused = check_runs_here(&other).unwrap_err();
        assert_eq!(refused.failure, LaunchFailure::WrongPlatform);
        assert!(refused.message.contains(&format!("built for {name}")), "{}", refused.message);
    }

    #[test]
    fn a_loader_that_isnt_here_is_named() {
        let own = std::fs::read("/proc/self/exe").unwrap();
        let elf = Elf::read(&File::open("/proc/self/exe").unwrap()).unwrap().unwrap();
        let Some(loader) = elf.interpreter else { return }; // a static build of these tests
        let at = own.windows(loader.len()).position(|window| window == loader.as_bytes()).unwrap();
        let mut bytes = own[..own.len().min(1 << 16)].to_vec();
        let nowhere = vec![b'n'; loader.len() - 1];
        bytes[at + 1..at + loader.len()].copy_from_slice(&nowhere);
        let folder = tempfile::tempdir().unwrap();
        let other = folder.path().join("other");
        std::fs::write(&other, bytes).unwrap();
        let refused = check_runs_here(&other).unwrap_err();
        assert!(refused.message.contains("needs /nnn"), "{}", refused.message);
    }

    #[test]
    fn scripts_and_scraps_are_no_programs_of_a_machine() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        for content in ["#!/bin/sh\n".repeat(20).as_bytes(), b"\x7fELF", b""] {
            std::fs::write(&file, content).unwrap();
            assert_eq!(Elf::read(&File::open(&file).unwrap()).unwrap(), None);
        }
    }
}
