//! The program's process before it is known what the program is to be: a copy of the supervisor that waits for its setup. So
//! it is there when the join has been answered.

use std::io;
use std::os::unix::net::UnixStream;

use rustix::fd::OwnedFd;
use rustix::pipe::PipeFlags;

use crate::executor::environment::{PRIVATE, ROLE};
use crate::executor::guard::EXIT_NOT_STARTED;
use crate::process::copy::{self, Copied};

/// A process that waits to be the program. Dropped, it ends.
#[derive(Debug)]
pub(in crate::executor) struct Ahead {
    pub(super) process: u32,
    pub(super) link: UnixStream,
    pub(super) stdout: OwnedFd,
    pub(super) stderr: OwnedFd,
}

/// Which of the two processes this is.
#[derive(Debug)]
pub(in crate::executor) enum Started {
    /// The one that waits. Its standard input is the link, its environment the program's.
    Here,
    /// The supervisor. `None`: the program is started when it is known.
    Ahead(Option<Ahead>),
}

impl Ahead {
    /// Copies this process, where it can be. To be called before it has any other thread, on the one that ends last: the copy
    /// ends with it.
    pub(in crate::executor) fn start() -> Started {
        let ends = || -> io::Result<_> {
            let pipe = || rustix::pipe::pipe_with(PipeFlags::CLOEXEC);
            Ok((UnixStream::pair()?, pipe()?, pipe()?))
        };
        let Ok(((link, theirs), (stdout, out), (stderr, errors))) = ends() else {
            return Started::Ahead(None); // what keeps the program from starting as well is told then
        };
        match copy::copy() {
            None => Started::Ahead(None),
            Some(Copied::Original(process)) => {
                let process = process.as_raw_nonzero().get().unsigned_abs();
                Started::Ahead(Some(Ahead { process, link, stdout, stderr }))
            }
            Some(Copied::Copy) => {
                drop((link, stdout, stderr));
                if let Err(error) = settle(&theirs.into(), &out, &errors) {
                    eprintln!("convoke: the executor's program can't begin: {error}");
                    std::process::exit(EXIT_NOT_STARTED);
                }
                Started::Here
            }
        }
    }
}

/// Makes this process what one that was started anew as the program would be.
fn settle(link: &OwnedFd, stdout: &OwnedFd, stderr: &OwnedFd) -> io::Result<()> {
    // A signal to the supervisor's group is none to it.
    rustix::process::setpgid(None, None)?;
    rustix::stdio::dup2_stdin(link)?;
    rustix::stdio::dup2_stdout(stdout)?;
    rustix::stdio::dup2_stderr(stderr)?;
    if copy::change_environment(&PRIVATE, &[(ROLE, "program")]) {
        Ok(())
    } else {
        Err(io::Error::other("a copy of the supervisor has threads"))
    }
}
