//! One exit of what several witnesses saw (L2).

use super::executor::Leaving;
use crate::manager::{Exit, ExitCause};

/// What is known of one executor's end.
pub(super) struct Witnesses<'a> {
    /// The manager's word.
    pub(super) reported: Option<&'a Exit>,
    /// The supervisor's own account, through the driver.
    pub(super) account: Option<&'a Exit>,
    /// Whether we wanted it to end, and why.
    pub(super) leaving: Option<&'a Leaving>,
    /// Whether our stop was sent.
    pub(super) stop_sent: bool,
    /// Whether its manager saw it last.
    pub(super) reachable: bool,
}

impl Witnesses<'_> {
    /// The best cause: an act of the manager, then the supervisor's account, then a bare code or signal; what nothing but
    /// our stop explains has the release's reason.
    pub(super) fn exit(&self) -> Exit {
        let own = |exit: &&Exit| !self.explained_by_us(&exit.cause);
        let reported = self.reported.filter(own);
        let mut exit = reported
            .filter(|exit| is_act_of_the_manager(&exit.cause))
            .or_else(|| self.account.filter(own))
            .or(reported)
            .or_else(|| self.leaving.map(|leaving| &leaving.why).filter(|_| self.confirmed_or_seen()))
            .cloned()
            .unwrap_or_else(|| match self.leaving {
                Some(leaving) => Exit::new(
                    ExitCause::NodeLost,
                    format!(
                        "its manager couldn't see it, and it had no driver for a lease ({})",
                        leaving.why
                    ),
                ),
                None => Exit::new(ExitCause::Unknown, ""),
            });
        for other in [self.account, self.reported].into_iter().flatten() {
            if exit.message.is_empty() {
                exit.message.clone_from(&other.message);
            }
            if exit.log_tail.is_empty() {
                exit.log_tail.clone_from(&other.log_tail);
            }
        }
        exit
    }

    /// Whether somebody confirmed the end, or the executor was in its manager's sight until the lease ended it.
    fn confirmed_or_seen(&self) -> bool {
        self.reported.is_some() || self.account.is_some() || self.reachable
    }

    fn explained_by_us(&self, cause: &ExitCause) -> bool {
        if self.leaving.is_none() {
            return false;
        }
        match cause {
            // 143 and 137 are how shells and container runtimes tell SIGTERM and SIGKILL
            ExitCause::Code(0 | 143) | ExitCause::Signal(15) => true,
            ExitCause::Released
            | ExitCause::Withdrawn
            | ExitCause::Unregistered
            | ExitCause::LeaseExpired
            | ExitCause::LostContact
            | ExitCause::Unknown => true,
            ExitCause::Code(_) | ExitCause::Signal(9) | ExitCause::NeverStarted => self.stop_sent,
            _ => false,
        }
    }
}

/// Whether the manager did it, or saw it done, so that no account of the supervisor's explains it better. A launch that failed is
/// none: a supervisor that gave an account knows why, and did start.
pub(super) fn is_act_of_the_manager(cause: &ExitCause) -> bool {
    matches!(
        cause,
        ExitCause::Preempted
            | ExitCause::NodeLost
            | ExitCause::NodeDrained
            | ExitCause::KilledByOperator
            | ExitCause::OutOfMemory { .. }
            | ExitCause::LimitExceeded(_)
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Moment;
    use crate::manager::LaunchFailure;
    use crate::units::MiB;

    fn exit(
        reported: Option<ExitCause>,
        account: Option<ExitCause>,
        why: Option<ExitCause>,
        stop_sent: bool,
    ) -> ExitCause {
        let (reported, account) =
            (reported.map(|cause| Exit::new(cause, "manager")), account.map(|cause| Exit::new(cause, "own")));
        let leaving = why.map(|why| Leaving { stop_at: Moment::ZERO, why: Exit::new(why, ""), asked: true });
        Witnesses {
            reported: reported.as_ref(),
            account: account.as_ref(),
            leaving: leaving.as_ref(),
            stop_sent,
            reachable: true,
        }
        .exit()
        .cause
    }

    #[test]
    fn l2_the_managers_act_goes_before_the_account_and_that_before_a_bare_code() {
        use ExitCause::{Code, NodeLost, OutOfMemory, Preempted, Signal, Unknown};
        assert_eq!(exit(Some(Preempted), Some(Signal(15)), None, false), Preempted);
        assert_eq!(exit(Some(Code(137)), Some(Signal(9)), None, false), Signal(9));
        let oom = OutOfMemory { limit: MiB(64) };
        assert_eq!(exit(Some(Signal(9)), Some(oom.clone()), None, false), oom);
        assert_eq!(exit(Some(oom.clone()), Some(Signal(9)), None, false), oom);
        assert_eq!(exit(Some(Code(3)), None, None, false), Code(3));
        assert_eq!(exit(Some(NodeLost), None, Some(ExitCause::LostContact), true), NodeLost);
        assert_eq!(exit(Some(Unknown), None, None, false), Unknown);
        // To its manager, a supervisor that ends for a cause of its own looks like one that could not start.
        let failed = ExitCause::LaunchFailed(LaunchFailure::Other);
        assert_eq!(
            exit(Some(failed.clone()), Some(ExitCause::NeverReady), None, false),
            ExitCause::NeverReady
        );
        assert_eq!(exit(Some(failed.clone()), None, None, false), failed);
    }

    #[test]
    fn l2_what_only_our_stop_explains_has_the_releases_reason() {
        use ExitCause::{Code, LostContact, Released, Signal};
        assert_eq!(exit(Some(Signal(9)), None, Some(Released), true), Released);
        assert_eq!(exit(Some(Signal(9)), None, Some(LostContact), true), LostContact);
        assert_eq!(exit(Some(Code(0)), Some(Code(0)), Some(Released), false), Released, "drained");
        assert_eq!(exit(Some(Signal(11)), None, Some(Released), true), Signal(11));
        assert_eq!(exit(Some(Signal(9)), None, Some(Released), false), Signal(9), "before our stop");
        assert_eq!(exit(Some(Code(1)), Some(Code(1)), Some(Released), false), Code(1));
        assert_eq!(exit(None, None, Some(Released), true), Released, "the lease ended it");
    }
}
