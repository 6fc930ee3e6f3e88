//! Mutants that are wrong about several applications, about time, or about what they ask their manager.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use convoke_core::Result;
use convoke_core::clock::{self, Moment};
use convoke_core::ids::{ApplicationId, ExecutorId, ProfileId};
use convoke_core::manager::{
    Application, ApplicationInfo, ApplicationSpec, Generation, Outcome, Release, ReleaseAnswer, Target,
};
use convoke_core::resource::ResourceProfile;

use super::breakages::usual_profile;
use super::wrapped::Breakage;

/// Releases executors of these numbers in every application that it has.
#[derive(Debug, Default)]
pub(super) struct MixesUpApplications(Mutex<Vec<Weak<dyn Application>>>);

#[async_trait]
impl Breakage for MixesUpApplications {
    fn registered(&self, inner: &Arc<dyn Application>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(Arc::downgrade(inner));
    }
    fn release(&self, inner: &Arc<dyn Application>, release: &Release) -> Vec<(ExecutorId, ReleaseAnswer)> {
        let answers = inner.release(release);
        for other in self.0.lock().unwrap_or_else(PoisonError::into_inner).iter().filter_map(Weak::upgrade) {
            let _ = other.release(release); // that is the mistake
        }
        answers
    }
}

/// Gives one id to all once there are many.
#[derive(Debug, Default)]
pub(super) struct RunsOutOfIds(AtomicUsize);

#[async_trait]
impl Breakage for RunsOutOfIds {
    fn registered(&self, _: &Arc<dyn Application>) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
    fn info(&self, info: ApplicationInfo) -> ApplicationInfo {
        if self.0.load(Ordering::Relaxed) > 25 {
            return ApplicationInfo { native: "the last id".into(), ..info };
        }
        info
    }
}

/// Keeps applications for an hour, whatever their lease.
#[derive(Debug, Default)]
pub(super) struct ForgetsTheLease;

#[async_trait]
impl Breakage for ForgetsTheLease {
    fn specification(&self, spec: &mut ApplicationSpec) {
        // one that is too short is refused as ever
        if spec.lease >= Duration::from_secs(1) {
            spec.lease = Duration::from_secs(3600);
        }
    }
}

/// Wishes that come sooner than this after another are too quick for it.
const TOO_QUICK: Duration = Duration::from_millis(40);

/// Overhears wishes that follow one another quickly.
#[derive(Debug, Default)]
pub(super) struct OverhearsQuickWishes(Mutex<BTreeMap<ApplicationId, (Moment, Generation)>>);

#[async_trait]
impl Breakage for OverhearsQuickWishes {
    fn set_target(&self, inner: &Arc<dyn Application>, target: Target) -> Result<Generation> {
        let (id, now) = (inner.info().id, clock::now());
        let mut last = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((at, generation)) = last.get(&id)
            && now.since(*at) < TOO_QUICK
        {
            return Ok(*generation);
        }
        let generation = inner.set_target(target)?;
        last.insert(id, (now, generation));
        Ok(generation)
    }
}

/// Asks its manager about each pair of its executors, at the end.
#[derive(Debug, Default)]
pub(super) struct AsksAboutEachPair;

#[async_trait]
impl Breakage for AsksAboutEachPair {
    async fn unregister(
        &self,
        inner: &Arc<dyn Application>,
        outcome: Outcome,
        deadline: Duration,
    ) -> Result<()> {
        let executors = inner.snapshot().executors.len();
        let usual = usual_profile();
        let mut each = usual.each.clone();
        each.memory.0 <<= 20;
        // what never comes is asked about again and again
        let never = Arc::new(ResourceProfile { id: ProfileId(99), each, ..(*usual).clone() });
        if executors > 0 && inner.set_target(Target::of(never, 1)).is_ok() {
            for _ in 0..executors * executors {
                let _ = inner.explain().await; // the answer is of no use to it
            }
        }
        inner.unregister(outcome, deadline).await
    }
}
