//! S1, S2: sizes.

use convoke_core::manager::Outcome;

use crate::context::Context;
use crate::harness::{Hook, Traffic};
use crate::verdict::{Checked, Evidence, Finding};

/// S1: calls and bytes per doubling of the target.
pub(super) async fn linear(context: Context) -> Checked {
    let most = context.sizes().scale.max(4);
    context.need_room(most)?;
    let mut measured: Vec<(u32, Traffic)> = Vec::new();
    for size in [most / 4, most / 2, most] {
        let before = traffic(&context).await?;
        let application = context.register().await?;
        application.target(size)?;
        application.settled(size).await?;
        application.unregister(Outcome::Succeeded).await??;
        let after = traffic(&context).await?;
        measured
            .push((size, Traffic { calls: after.calls - before.calls, bytes: after.bytes - before.bytes }));
    }
    for pair in measured.windows(2) {
        let ((small, at_small), (large, at_large)) = (pair[0], pair[1]);
        for (what, few, many) in
            [("calls", at_small.calls, at_large.calls), ("bytes", at_small.bytes, at_large.bytes)]
        {
            if many as f64 > 2.2 * few as f64 {
                let seen = format!("{few} {what} for {small} executors, {many} for {large}");
                return Err(Finding::failed("not linear", seen));
            }
        }
    }
    let told: Vec<String> =
        measured.iter().map(|(size, t)| format!("{size}: {} calls, {} bytes", t.calls, t.bytes)).collect();
    Ok(Evidence::new().with("measured", told))
}

async fn traffic(context: &Context) -> Result<Traffic, Finding> {
    context.hooks().traffic().await.map_err(|e| Finding::of_hook(Hook::Traffic, e))
}

/// S2: many register and unregister at once, each its own.
pub(super) async fn many_at_once(context: Context) -> Checked {
    let count = context.sizes().applications;
    let registering = (0..count).map(|_| context.register());
    let applications = futures_util::future::try_join_all(registering).await?;
    let mut natives = std::collections::BTreeSet::new();
    for application in &applications {
        let info = application.handle()?.info();
        if info.id != *application.id() || !natives.insert(info.native.clone()) {
            return Err(Finding::failed(
                "mixed",
                format!("{} has the id of another: {info:?}", application.id()),
            ));
        }
    }
    let ending = applications.iter().map(|application| application.unregister(Outcome::Succeeded));
    for ended in futures_util::future::try_join_all(ending).await? {
        ended.map_err(|error| Finding::failed("lost", format!("`unregister`: {error:#}")))?;
    }
    Ok(Evidence::new().with("applications", count))
}
