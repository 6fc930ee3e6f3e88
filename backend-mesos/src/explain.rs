//! Why nothing is granted: from what the agents have, use and offer, and from what our own look at their offers found.

use convoke_core::error::Result;
use convoke_core::ids::Name;
use convoke_core::manager::{Constraint, Reason, Wanted};

use crate::agents::{Agent, agents};
use crate::application::Shared;
use crate::quota::{self, quotas};
use crate::state::amounts::{Thousandths, needs, own_name};
use crate::state::offers::{Offers, holds};

/// Why an executor like this isn't granted; for `None`, why nothing would be.
pub(crate) async fn explain(shared: &Shared, like: Option<&Wanted>) -> Result<Vec<Reason>> {
    let live = shared.read(|scheduler| scheduler.subscription().live());
    let (true, Some(master)) = (live, shared.master()) else {
        return Ok(vec![Reason::ManagerUnreachable]);
    };
    let agents = agents(&shared.http, &master).await?;
    let mut found = reasons(&agents, like);
    let Some(like) = like else { return Ok(found) };
    let role = shared.read(|it| it.role().to_owned());
    match quotas(&shared.http, &master, &role).await {
        Ok(quotas) => found.extend(quota::reasons(&quotas.of_role, &needs(&like.profile.each))),
        // who may not look at quotas still learns the rest
        Err(error) => tracing::debug!(%error, "the quotas can't be read"),
    }
    if found.is_empty() {
        found = shared.read(|it| of_offers(it.offers(), like, it.role()));
    }
    Ok(found)
}

/// Where there is room and all the same nothing is granted: what our own look at the offers found.
fn of_offers(offers: &Offers, like: &Wanted, role: &str) -> Vec<Reason> {
    if !offers.waiting().any(|waiting| waiting.profile.id == like.profile.id) {
        return Vec::new();
    }
    let seen = offers.offers_seen();
    if seen == 0 {
        let text = format!(
            "agents have room, and the master has offered none of it to role {role} since it was asked for"
        );
        return other("no-offer", &text);
    }
    let why: Vec<String> =
        offers.rejections().iter().map(|(why, times)| format!("{why} ({times} times)")).collect();
    if why.is_empty() {
        return Vec::new();
    }
    other("offers-rejected", &format!("{seen} offers came, and none was of use: {}", why.join(", ")))
}

/// The reasons, the weightiest first. Empty: nothing that is known stands in its way.
pub(crate) fn reasons(agents: &[Agent], like: Option<&Wanted>) -> Vec<Reason> {
    if agents.is_empty() {
        return other("no-agents", "no agent is registered with the Mesos master");
    }
    let draining = agents.iter().filter(|agent| agent.draining).count();
    let usable: Vec<_> = agents.iter().filter(|agent| agent.active && !agent.draining).collect();
    if usable.is_empty() {
        return match draining {
            0 => other("no-active-agents", "no agent is connected to the Mesos master"),
            count => vec![Reason::NodesDraining(count as u32)],
        };
    }
    let Some(like) = like else { return Vec::new() };
    let mut reasons = Vec::new();
    let unmatched = |constraint: &&Constraint| {
        !usable.iter().any(|agent| holds(constraint, &agent.host, &agent.attributes))
    };
    reasons.extend(
        like.placement.required.iter().filter(unmatched).map(|it| Reason::UnmatchedConstraint(it.clone())),
    );
    let holding: Vec<_> = usable
        .into_iter()
        .filter(|agent| like.placement.required.iter().all(|it| holds(it, &agent.host, &agent.attributes)))
        .collect();
    let (excluded, allowed): (Vec<_>, Vec<_>) =
        holding.into_iter().partition(|agent| like.excluded.contains(&agent.host));
    let needs = needs(&like.profile.each);
    let fits = |agent: &Agent, amount: &dyn Fn(&Agent, &str) -> Thousandths| {
        needs.iter().all(|(name, need)| amount(agent, name) >= *need)
    };
    let total = |agent: &Agent, name: &str| agent.total.amount(name);
    let free = |agent: &Agent, name: &str| agent.free(name);
    if allowed.iter().any(|agent| fits(agent, &free)) {
        return reasons;
    }
    let in_the_way: Vec<Name> =
        excluded.iter().filter(|agent| fits(agent, &free)).map(|it| it.host.clone()).collect();
    if !in_the_way.is_empty() || (allowed.is_empty() && !excluded.is_empty()) {
        let hosts = if in_the_way.is_empty() {
            excluded.iter().map(|it| it.host.clone()).collect()
        } else {
            in_the_way
        };
        reasons.push(Reason::Excluded(hosts));
    }
    let large_enough = allowed.iter().any(|agent| fits(agent, &total));
    for (name, need) in &needs {
        let Ok(own) = Name::new(own_name(name)) else { continue };
        if !agents.iter().any(|agent| agent.has(name)) {
            reasons.push(Reason::NoSuchResource(own));
            continue;
        }
        if allowed.is_empty() {
            continue;
        }
        let amount: &dyn Fn(&Agent, &str) -> Thousandths = if large_enough { &free } else { &total };
        let largest = largest(&allowed, name, &needs, amount);
        if largest >= *need {
            continue;
        }
        let (needed, largest) = (in_unit(name, *need), in_unit(name, largest));
        reasons.push(if large_enough {
            Reason::NothingFreeNow { resource: own, needed, largest_free: largest }
        } else {
            Reason::NoNodeLargeEnough { resource: own, needed, largest_total: largest }
        });
    }
    if draining > 0 {
        reasons.push(Reason::NodesDraining(draining as u32));
    }
    reasons
}

/// The most of one resource among the agents on which all else fits; among all of them, where there is none.
fn largest(
    agents: &[&Agent],
    name: &str,
    needs: &[(String, Thousandths)],
    amount: &dyn Fn(&Agent, &str) -> Thousandths,
) -> Thousandths {
    let rest_fits = |agent: &Agent| {
        needs.iter().filter(|(other, _)| other != name).all(|(other, need)| amount(agent, other) >= *need)
    };
    let most = |agents: &mut dyn Iterator<Item = &&Agent>| agents.map(|agent| amount(agent, name)).max();
    most(&mut agents.iter().filter(|agent| rest_fits(agent)))
        .or_else(|| most(&mut agents.iter()))
        .unwrap_or(0)
}

/// Thousandths in the unit of [`Reason`]: thousandths of a cpu, mebibytes, devices.
fn in_unit(name: &str, amount: Thousandths) -> u64 {
    if name == "cpus" { amount } else { amount / 1000 }
}

fn other(code: &str, text: &str) -> Vec<Reason> {
    Name::new(code).map(|code| vec![Reason::Other { code, text: text.to_owned() }]).unwrap_or_default()
}
