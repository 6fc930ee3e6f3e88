//! T2: drivers that die at once, at each stage.

use std::time::Duration;

use convoke_core::ids::ApplicationId;
use convoke_core::resource::Resources;
use convoke_core::units::MiB;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::doomed::{DoomedDriver, Stage};
use crate::probe::wire::ToProbe;
use crate::rules::nothing_at_the_manager_but;
use crate::verdict::{Checked, Evidence, Finding};

/// While it registers, and once it has.
pub(super) async fn queued(context: Context) -> Checked {
    let lease = lease(&context);
    let none = context.profile().each.clone();
    let mut applications = Vec::new();
    for stage in [Stage::Registering, Stage::Registered] {
        let mut driver = DoomedDriver::start(&context, lease, 0, &none).await?;
        driver.reach(&context, stage).await?;
        applications.push(driver.application.clone());
        driver.kill(&context).await?;
    }
    nothing_left(&context, lease, &applications).await
}

/// While it waits for executors that are not granted.
pub(super) async fn wanted(context: Context) -> Checked {
    let largest = context.room().largest_node.as_ref().map_or(MiB(1 << 29), |node| MiB(node.memory.0 * 2));
    let absurd = Resources::new(context.profile().each.cpus, largest);
    killed_at(&context, Stage::Wished, 2, &absurd).await
}

/// At the first news of a grant.
pub(super) async fn granted(context: Context) -> Checked {
    context.need_room(2)?;
    killed_at(&context, Stage::Granted, 2, &context.profile().each.clone()).await
}

/// At the first news of a start.
pub(super) async fn starting(context: Context) -> Checked {
    context.need_room(2)?;
    killed_at(&context, Stage::Launched, 2, &context.profile().each.clone()).await
}

async fn killed_at(context: &Context, stage: Stage, executors: u32, each: &Resources) -> Checked {
    let lease = lease(context);
    let mut driver = DoomedDriver::start(context, lease, executors, each).await?;
    driver.reach(context, stage).await?;
    let application = driver.application.clone();
    driver.kill(context).await?;
    nothing_left(context, lease, &[application]).await
}

/// While its executors run, with children that escaped: forked twice, sessions of their own, an empty environment.
pub(super) async fn running(context: Context) -> Checked {
    context.need_room(2)?;
    let lease = lease(&context);
    let mut driver = DoomedDriver::start(&context, lease, 2, &context.profile().each.clone()).await?;
    driver.reach(&context, Stage::Settled).await?;
    let application = driver.application.clone();
    let within = context.deadline(DeadlineName::Settle);
    let witness = context.witness();
    let executors = context
        .eventually("two executors", within, async || match witness.connected(&application) {
            both if both.len() == 2 => Ok(both),
            other => Err(format!("{other:?} are connected")),
        })
        .await?;
    for executor in executors {
        witness.ask(&application, executor, ToProbe::IgnoreTerminate).await?;
        witness.ask(&application, executor, ToProbe::Fork(2)).await?;
    }
    context
        .eventually("four escaped children", within, async || match witness.children(&application) {
            4 => Ok(()),
            other => Err(format!("{other} are connected")),
        })
        .await?;
    let processes = witness.in_process_table(&application).len();
    driver.kill(&context).await?;
    let evidence = nothing_left(&context, lease, &[application]).await?;
    Ok(evidence.with("processes_before", processes).with("escaped_children", 4))
}

fn lease(context: &Context) -> Duration {
    context.deadline(DeadlineName::Lease).max(context.manager().describe().least_lease)
}

/// Past the lease, and what it takes to see it: no process, nothing at the manager but what the harness names.
async fn nothing_left(context: &Context, lease: Duration, applications: &[ApplicationId]) -> Checked {
    crate::wait::pass(lease).await;
    let mut evidence = Evidence::new().with("lease_ms", lease.as_millis() as u64).with("left", 0);
    for application in applications {
        context.nothing_remains_of(application, context.deadline(DeadlineName::Exit)).await?;
        let looked =
            nothing_at_the_manager_but(context, application.as_str(), &context.harness().leaves()).await;
        evidence = match looked {
            Ok(stays) if stays.is_empty() => evidence.with("at_the_manager", 0),
            Ok(stays) => evidence.with("stays", stays),
            // no hook: the processes alone were seen
            Err(Finding::NotCheckable { lacks }) => {
                evidence.with("at_the_manager", format!("not looked at: {lacks}"))
            }
            Err(other) => return Err(other),
        };
    }
    // one that was on its way when its driver died may come up late
    context
        .never("nothing starts after its driver's end", context.deadline(DeadlineName::Quiet), async || {
            applications.iter().find_map(|application| context.witness().remains(application))
        })
        .await
        .map_err(|finding| match finding {
            Finding::Failed { seen, .. } => Finding::failed("left over", seen),
            other => other,
        })?;
    Ok(evidence)
}
