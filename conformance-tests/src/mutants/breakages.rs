//! What the mutants do, one type each.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::ids::ExecutorId;
use convoke_core::manager::{
    Application, ApplicationInfo, ApplicationSpec, Blame, Event, Exit, ExitCause, Generation, LogChunk,
    LogFrom, LogRequest, Outcome, Reason, Release, ReleaseAnswer, Shortfall, Stream, Target, Then, What,
};
use convoke_core::{Error, ErrorKind, Result};

use super::wrapped::Breakage;

macro_rules! mutants {
    ($($(#[$doc:meta])* $name:ident { $($body:item)* })*) => {
        $(
            $(#[$doc])*
            #[derive(Debug, Default)]
            pub(super) struct $name;
            #[async_trait]
            impl Breakage for $name { $($body)* }
        )*
    };
}

mutants! {
    /// Its own id of an application is empty.
    NoId {
        fn info(&self, info: ApplicationInfo) -> ApplicationInfo {
            ApplicationInfo { native: String::new(), ..info }
        }
    }
    /// Takes options that it does not know.
    TakesAnyOption {
        fn specification(&self, spec: &mut ApplicationSpec) {
            spec.options.clear();
        }
    }
    /// Claims what it doesn't describe, and shows a page that nobody can open.
    BadPage {
        fn info(&self, info: ApplicationInfo) -> ApplicationInfo {
            ApplicationInfo { page: Some("see the wiki".into()), ..info }
        }
    }
    /// Hides that somebody else ended the application: the stream just stops.
    HidesTheEnd {
        fn event(&self, _: &Arc<dyn Application>, event: Event) -> Vec<Event> {
            match event.what {
                What::Ended { by: convoke_core::manager::EndedBy::Operator(_), .. } => Vec::new(),
                _ => vec![event],
            }
        }
    }
    /// Wants one more than was asked for.
    OneTooMany {
        fn set_target(&self, inner: &Arc<dyn Application>, mut target: Target) -> Result<Generation> {
            for want in target.profiles.values_mut().filter(|want| want.executors == 4) {
                want.executors += 1;
            }
            inner.set_target(target)
        }
    }
    /// Lowers the target when an executor exits, instead of replacing it.
    ForgetsReplacements {
        fn event(&self, inner: &Arc<dyn Application>, event: Event) -> Vec<Event> {
            if let What::Exited { exit, .. } = &event.what
                && matches!(exit.cause, ExitCause::Code(_))
            {
                let left = inner.snapshot().executors.len();
                let profile = usual_profile();
                let _ = inner.set_target(Target::of(profile, u32::try_from(left).unwrap_or(0)));
            }
            vec![event]
        }
    }
    /// Ends what runs above a lowered target.
    EndsOnLowering {
        fn set_target(&self, inner: &Arc<dyn Application>, target: Target) -> Result<Generation> {
            let wanted: u32 = target.profiles.values().map(|want| want.executors).sum();
            let generation = inner.set_target(target)?;
            if wanted == 1 {
                let executors = inner.snapshot().executors.into_keys().skip(1).collect();
                let _ = inner.release(&Release {
                    executors,
                    grace: Duration::ZERO,
                    then: Then::LowerTarget,
                    why: ExitCause::Released,
                });
            }
            Ok(generation)
        }
    }
    /// Grants half of what was asked for, by its own words.
    GrantsLess {
        fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
            if let What::Granted(grant) = &mut event.what {
                grant.actual.memory.0 /= 2;
            }
            vec![event]
        }
    }
    /// Gives one reason for everything.
    OneReason {
        fn explain(&self, mut shortfalls: Vec<Shortfall>) -> Vec<Shortfall> {
            for short in &mut shortfalls {
                short.reasons = vec![Reason::Asked { ago: Duration::ZERO }];
            }
            shortfalls
        }
    }
    /// Answers for every id of a release as if it were its own.
    AcceptsAnyRelease {
        fn release(&self, inner: &Arc<dyn Application>, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
            let answers = inner.release(release);
            answers
                .into_iter()
                .map(|(id, answer)| match answer {
                    ReleaseAnswer::NeverHeardOf => (id, ReleaseAnswer::Accepted),
                    answer => (id, answer),
                })
                .collect()
        }
    }
    /// Kills at once what was to have a grace.
    NoGrace {
        fn release(&self, inner: &Arc<dyn Application>, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
            inner.release(&Release { grace: Duration::ZERO, ..release.clone() })
        }
    }
    /// Serves nobody while one profile starves.
    Blocks {
        fn set_target(&self, inner: &Arc<dyn Application>, mut target: Target) -> Result<Generation> {
            if target.profiles.len() > 1 {
                for want in target.profiles.values_mut() {
                    want.executors = 0;
                }
            }
            inner.set_target(target)
        }
    }
    /// Forgets which hosts are excluded.
    UsesExcluded {
        fn set_target(&self, inner: &Arc<dyn Application>, mut target: Target) -> Result<Generation> {
            target.excluded.clear();
            inner.set_target(target)
        }
    }
    /// Knows no maximum.
    NoMaximum {
        fn specification(&self, spec: &mut ApplicationSpec) {
            spec.max_executors = u32::MAX;
        }
    }
    /// Puts every exit down to code 1.
    LiesAboutCauses {
        fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
            if let What::Exited { exit, .. } = &mut event.what
                && matches!(exit.cause, ExitCause::Code(7))
            {
                exit.cause = ExitCause::Code(1);
            }
            vec![event]
        }
    }
    /// Blames the infrastructure for what the application did.
    LiesAboutBlame {
        fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
            if let What::Exited { exit, .. } = &mut event.what
                && exit.cause == ExitCause::Signal(6)
            {
                exit.blame = Blame::Infrastructure;
            }
            vec![event]
        }
    }
    /// Says only that a launch failed.
    SilentLaunchFailure {
        fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
            if let What::Exited { exit, .. } = &mut event.what
                && matches!(exit.cause, ExitCause::LaunchFailed(_))
            {
                exit.message = "failed".into();
            }
            vec![event]
        }
    }
    /// Does not tell that executors fail in a row.
    HidesTheCrashLoop {
        fn event(&self, _: &Arc<dyn Application>, event: Event) -> Vec<Event> {
            if matches!(event.what, What::ExecutorsFailing { .. }) { Vec::new() } else { vec![event] }
        }
    }
    /// Never brakes.
    NeverBrakes {
        fn specification(&self, spec: &mut ApplicationSpec) {
            for pace in [&mut spec.policy.brake, &mut spec.policy.pace] {
                pace.after = 10_000;
            }
        }
    }
    /// Never gives up what does not join.
    WaitsForEver {
        fn specification(&self, spec: &mut ApplicationSpec) {
            spec.policy.join_deadline = Duration::from_secs(3600);
        }
    }
    /// Keeps notices to itself.
    HidesNotices {
        fn event(&self, _: &Arc<dyn Application>, event: Event) -> Vec<Event> {
            if matches!(event.what, What::Draining { .. }) { Vec::new() } else { vec![event] }
        }
    }
    /// Gives a log from its start, wherever it was to begin.
    LogsFromTheStart {
        async fn logs(
            &self,
            inner: &Arc<dyn Application>,
            executor: ExecutorId,
            request: LogRequest,
        ) -> Result<Stream<Result<LogChunk>>> {
            inner.logs(executor, LogRequest { from: LogFrom::Start, ..request }).await
        }
    }
    /// Passes commands through something that eats quotes and drops names.
    EatsQuotes {
        fn specification(&self, spec: &mut ApplicationSpec) {
            spec.launcher = Arc::new(Mangled(spec.launcher.clone(), |command| {
                for argument in &mut command.args {
                    *argument = argument.replace('"', "");
                }
            }));
        }
    }
    /// Doesn't tell an executor who it is.
    Nameless {
        fn specification(&self, spec: &mut ApplicationSpec) {
            spec.launcher = Arc::new(Mangled(spec.launcher.clone(), |command| {
                command
                    .env
                    .insert(convoke_core::executor::environment::PROFILE.to_owned(), "7".to_owned());
            }));
        }
    }
    /// Says that an application has ended while it runs on.
    AnswersTooEarly {
        async fn unregister(&self, inner: &Arc<dyn Application>, outcome: Outcome, deadline: Duration) -> Result<()> {
            let inner = inner.clone();
            tokio::spawn(async move {
                tokio::time::sleep(Duration::from_millis(700)).await;
                inner.unregister(outcome, deadline).await
            });
            Ok(())
        }
    }
    /// Keeps applications whose handles were dropped.
    Immortal {
        fn survives_its_driver(&self) -> bool {
            true
        }
    }
    /// Shows every outcome as success.
    AllIsWell {
        async fn unregister(&self, inner: &Arc<dyn Application>, _: Outcome, deadline: Duration) -> Result<()> {
            inner.unregister(Outcome::Succeeded, deadline).await
        }
    }
    /// Puts a dead node down to the application.
    BlamesNobodyForNodes {
        fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
            if let What::Exited { exit, .. } = &mut event.what
                && exit.cause == ExitCause::NodeLost
            {
                *exit = Exit::new(ExitCause::Code(137), "");
            }
            vec![event]
        }
    }
    /// Hides outages.
    HidesOutages {
        fn event(&self, _: &Arc<dyn Application>, event: Event) -> Vec<Event> {
            let of_reach = matches!(event.what, What::ManagerUnreachable { .. } | What::ManagerRecovered { .. });
            if of_reach { Vec::new() } else { vec![event] }
        }
    }
    /// Tells a stopped manager as a refusal.
    WrongKind {
        fn refused(&self, error: Error) -> Error {
            if error.kind() == ErrorKind::Unavailable { Error::new(ErrorKind::Rejected, "no") } else { error }
        }
    }
}

/// Tells every exit twice, with numbers that hide it.
#[derive(Debug, Default)]
pub(super) struct DoublesExits {
    extra: AtomicU64,
}

#[async_trait]
impl Breakage for DoublesExits {
    fn event(&self, _: &Arc<dyn Application>, mut event: Event) -> Vec<Event> {
        let is_exit = matches!(event.what, What::Exited { .. });
        event.seq += self.extra.load(Ordering::Relaxed);
        if !is_exit {
            return vec![event];
        }
        self.extra.fetch_add(1, Ordering::Relaxed);
        let mut again = event.clone();
        again.seq += 1;
        vec![event, again]
    }
}

/// Loses the first launch, and leaves a gap.
#[derive(Debug, Default)]
pub(super) struct LosesAnEvent {
    lost: AtomicBool,
}

#[async_trait]
impl Breakage for LosesAnEvent {
    fn event(&self, _: &Arc<dyn Application>, event: Event) -> Vec<Event> {
        let lose = matches!(&event.what, What::Exited { exit, .. } if exit.cause == ExitCause::Released)
            && !self.lost.swap(true, Ordering::Relaxed);
        if lose { Vec::new() } else { vec![event] }
    }
}

/// Changes each command that a launcher gives.
#[derive(Debug)]
pub(super) struct Mangled(
    pub(super) Arc<dyn convoke_core::manager::Launcher>,
    pub(super) fn(&mut convoke_core::manager::LaunchCommand),
);

impl convoke_core::manager::Launcher for Mangled {
    fn launch(
        &self,
        executor: ExecutorId,
        profile: &convoke_core::resource::ResourceProfile,
    ) -> convoke_core::manager::LaunchCommand {
        let mut command = self.0.launch(executor, profile);
        (self.1)(&mut command);
        command
    }
}

/// The kit's usual profile, which the mutants that wish by themselves need.
pub(super) fn usual_profile() -> Arc<convoke_core::resource::ResourceProfile> {
    let each = crate::harness::Sizes::default().executor;
    let task = convoke_core::resource::TaskResources { cpus: each.cpus, ..Default::default() };
    Arc::new(convoke_core::resource::ResourceProfile { id: convoke_core::ids::ProfileId(0), each, task })
}
