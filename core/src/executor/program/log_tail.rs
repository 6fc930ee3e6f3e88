//! The end of this program's own standard error, for the report of a task that failed. Its supervisor keeps it, so that it is
//! there also where the program dies; the program asks for it over their link.

use std::io::Write as _;
use std::os::unix::net::UnixStream;
use std::sync::{Condvar, Mutex, PoisonError};
use std::time::Duration;

use crate::clock::{self, Moment};
use crate::executor::link::ToSupervisor;

/// Reports that carry a tail, a second: a flood of failing tasks is not to become a flood of logs.
const MOST_PER_SECOND: u32 = 20;
/// How long the supervisor may take to read what was printed, and to answer.
const PATIENCE: Duration = Duration::from_millis(200);

/// Asks for the tail, one slot at a time.
#[derive(Debug)]
pub(super) struct LogTail {
    asking: Mutex<Asking>,
    answer: Mutex<Option<String>>,
    answered: Condvar,
}

#[derive(Debug)]
struct Asking {
    link: UnixStream,
    second: Moment,
    used: u32,
}

impl LogTail {
    pub(super) fn new(link: UnixStream) -> LogTail {
        LogTail {
            asking: Mutex::new(Asking { link, second: Moment::ZERO, used: 0 }),
            answer: Mutex::default(),
            answered: Condvar::new(),
        }
    }

    /// What the supervisor answered.
    pub(super) fn answered(&self, text: String) {
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = Some(text);
        self.answered.notify_all();
    }

    /// The tail with all that was printed before this call; empty where it can't be had in time. Blocks a slot's thread.
    pub(super) fn get(&self) -> String {
        let mut asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let now = clock::now();
        if now.since(asking.second) >= Duration::from_secs(1) {
            (asking.second, asking.used) = (now, 0);
        }
        asking.used += 1;
        if asking.used > MOST_PER_SECOND {
            asking.used = MOST_PER_SECOND;
            return String::new();
        }
        let until = now + PATIENCE;
        while rustix::io::ioctl_fionread(rustix::stdio::stderr()).is_ok_and(|unread| unread > 0) {
            if clock::now() >= until {
                break;
            }
            std::thread::sleep(Duration::from_micros(200));
        }
        *self.answer.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let question = serde_json::to_vec(&ToSupervisor::LogTail).map(|mut line| {
            line.push(b'\n');
            line
        });
        if !question.is_ok_and(|line| asking.link.write_all(&line).is_ok()) {
            return String::new(); // the supervisor is gone, and so are we
        }
        let answer = self.answer.lock().unwrap_or_else(PoisonError::into_inner);
        let waited = self.answered.wait_timeout_while(answer, PATIENCE, |answer| answer.is_none());
        let (mut answer, _) = waited.unwrap_or_else(PoisonError::into_inner);
        answer.take().unwrap_or_default()
    }
}
