//! A11: named resources.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use convoke_core::executor::environment;
use convoke_core::ids::{ExecutorId, Name};
use convoke_core::manager::{Reason, Target, Then};
use convoke_core::resource::ResourceProfile;

use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::driven::Driven;
use crate::verdict::{Checked, Evidence, Finding};

/// All devices of a cluster that the kit has to itself are taken only where there are no more than these.
const MOST_DEVICES: u64 = 16;

/// Devices are granted whole, each to one executor, which knows which; what is given back is granted again.
pub(super) async fn exclusive(context: Context) -> Checked {
    let (name, on_one) = context
        .room()
        .largest_node
        .as_ref()
        .and_then(|node| node.named.iter().find(|(_, count)| **count >= 2))
        .map(|(name, count)| (name.clone(), *count))
        .ok_or_else(|| Finding::lacks("a node with two devices of a name"))?;
    let all = on_one * context.room().hosts.len().max(1) as u64;
    let exhaust = !context.harness().shared() && all <= MOST_DEVICES;
    let count = if exhaust { u32::try_from(all).unwrap_or(2) } else { 2 };
    context.need_room(count + 1)?;
    let mut each = context.profile().each.clone();
    each.named.insert(name.clone(), 1);
    let profile = Arc::new(ResourceProfile { each, ..(*context.profile_numbered(7)).clone() });
    let application = context.register().await?;
    application.wish(Target::of(profile.clone(), count))?;
    let executors = application.settled(count).await?;
    let held = devices(&application, &executors, &name).await?;
    let mut evidence = Evidence::new()
        .with("devices", held.values().map(|(host, id)| format!("{host}: {name} {id}")).collect::<Vec<_>>());
    if exhaust {
        application.wish(Target::of(profile, count + 1))?;
        let within = context.deadline(DeadlineName::Explain);
        let reason = context
            .eventually("`explain` tells that no device is free", within, async || {
                let shortfalls = application.explain().await.map_err(|finding| format!("{finding:?}"))?;
                let reasons: Vec<&Reason> = shortfalls.iter().flat_map(|short| &short.reasons).collect();
                let short = reasons.iter().find(
                    |reason| matches!(reason, Reason::NothingFreeNow { resource, .. } if *resource == name),
                );
                short.map(ToString::to_string).ok_or_else(|| format!("{reasons:?}"))
            })
            .await?;
        application.release(&executors[..1], Duration::ZERO, Then::LowerTarget)?;
        application.exit_of(executors[0], context.deadline(DeadlineName::Exit)).await?;
        let after = application.settled(count).await?;
        let again = devices(&application, &after, &name).await?;
        let freed = &held[&executors[0]];
        if !again.values().any(|device| device == freed) {
            return Err(Finding::failed("not given back", format!("{freed:?} is free, and nobody has it")));
        }
        evidence = evidence.with("reason", reason);
    }
    Ok(evidence)
}

/// The one device of each executor, by its grant and by what it finds itself; fails where two have the same.
async fn devices(
    application: &Driven,
    executors: &[ExecutorId],
    name: &Name,
) -> Result<BTreeMap<ExecutorId, (String, String)>, Finding> {
    let mut held = BTreeMap::new();
    for executor in executors {
        let granted = application.told(|v| v.executors[executor].granted.clone());
        let granted = granted.ok_or_else(|| Finding::failed("no grant", format!("{executor:?} has none")))?;
        let host = granted.host.map(|host| host.to_string()).unwrap_or_default();
        let told = granted.devices.get(name).cloned().unwrap_or_default();
        let environment = application.found(*executor).await?.environment;
        let found: BTreeMap<String, Vec<String>> = environment
            .get(environment::DEVICES)
            .and_then(|json| serde_json::from_str(json).ok())
            .unwrap_or_default();
        let found = found.get(name.as_str()).cloned().unwrap_or_default();
        let [device] = found.as_slice() else {
            let seen = format!("{executor:?} was to have one {name}, and finds {found:?}");
            return Err(Finding::failed("not told", seen));
        };
        // an empty grant leaves it to the supervisor's look
        if !told.is_empty() && told != found {
            let seen = format!("{executor:?} was granted {name} {told:?}, and finds {found:?}");
            return Err(Finding::failed("not its device", seen));
        }
        held.insert(*executor, (host, device.clone()));
    }
    let different: BTreeSet<_> = held.values().collect();
    if different.len() < held.len() {
        return Err(Finding::failed("not exclusive", format!("two executors have one device: {held:?}")));
    }
    Ok(held)
}
