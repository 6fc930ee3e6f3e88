//! Why a request finds no room, with true numbers (A6).

use convoke_core::Result;
use convoke_core::ids::{ApplicationId, Name};
use convoke_core::manager::{LimitScope, Reason};
use convoke_core::resource::Resources;

use super::master::Master;
use super::messages::Request;
use super::nodes::Node;

impl Master {
    /// What speaks against granting this to the application now, the weightiest first; empty where nothing does.
    ///
    /// # Errors
    /// None in practice: only names of resources that can't be names.
    pub fn explain(&self, application: &ApplicationId, request: &Request) -> Result<Vec<Reason>> {
        let nodes: Vec<&Node> = self.nodes().collect();
        let seen: Vec<&Node> = nodes.iter().copied().filter(|node| node.here).collect();
        if seen.is_empty() {
            let text = match nodes.len() {
                0 => "no worker has registered".to_owned(),
                away => format!("none of {away} workers can be seen"),
            };
            return Ok(vec![Reason::Other { code: Name::new("no workers")?, text }]);
        }
        let required = &request.placement.required;
        let matching: Vec<&Node> = seen
            .iter()
            .copied()
            .filter(|node| required.iter().all(|constraint| node.matches(constraint)))
            .collect();
        if matching.is_empty() {
            let alone =
                required.iter().filter(|constraint| !seen.iter().any(|node| node.matches(constraint)));
            let mut reasons: Vec<Reason> = alone.cloned().map(Reason::UnmatchedConstraint).collect();
            if reasons.is_empty() {
                reasons = required.iter().cloned().map(Reason::UnmatchedConstraint).collect();
            }
            return Ok(reasons);
        }
        let mut reasons = Vec::new();
        if let Some((held, share)) = self.over_share(application, request) {
            let name = Name::new("cpus of the cluster, in thousandths")?;
            reasons.push(Reason::Limit { scope: LimitScope::Application, name, limit: share, used: held });
        }
        let (excluded, rest): (Vec<&Node>, Vec<&Node>) =
            matching.iter().copied().partition(|node| request.excluded.contains(&node.host));
        let (draining, open): (Vec<&Node>, Vec<&Node>) = rest.into_iter().partition(|node| node.draining);
        if open.iter().any(|node| node.free.fits(&request.need)) {
            return Ok(reasons);
        }
        let pool = if open.is_empty() { &matching } else { &open };
        let shortages = shortages(pool, request)?;
        let no_size_fits = shortages.iter().any(Reason::permanent);
        reasons.extend(shortages);
        let would = |node: &&&Node| node.total.fits(&request.need);
        if !no_size_fits || open.is_empty() {
            let kept_away: Vec<Name> = excluded.iter().filter(would).map(|node| node.host.clone()).collect();
            if !kept_away.is_empty() {
                reasons.push(Reason::Excluded(kept_away));
            }
            let draining = draining.iter().filter(would).count();
            if draining > 0 {
                reasons.push(Reason::NodesDraining(u32::try_from(draining).unwrap_or(u32::MAX)));
            }
        }
        Ok(reasons)
    }
}

fn shortages(nodes: &[&Node], request: &Request) -> Result<Vec<Reason>> {
    let need = &request.need;
    let mut missing = Vec::new();
    for (name, _) in need.named.iter().filter(|(_, count)| **count > 0) {
        if !nodes.iter().any(|node| node.total.named.get(name).is_some_and(|count| *count > 0)) {
            missing.push(Reason::NoSuchResource(name.clone()));
        }
    }
    if !missing.is_empty() {
        return Ok(missing);
    }
    let total = short(
        nodes,
        need,
        |node| &node.total,
        |resource, needed, largest_total| Reason::NoNodeLargeEnough { resource, needed, largest_total },
    )?;
    if !total.is_empty() {
        return Ok(total);
    }
    short(
        nodes,
        need,
        |node| &node.free,
        |resource, needed, largest_free| Reason::NothingFreeNow { resource, needed, largest_free },
    )
}

/// The resources that are short on every node, each with the largest amount: of the nodes on which all else fits, or of all where there
/// is none. Empty where a node fits.
fn short(
    nodes: &[&Node],
    need: &Resources,
    of: impl Fn(&Node) -> &Resources,
    reason: impl Fn(Name, u64, u64) -> Reason,
) -> Result<Vec<Reason>> {
    if nodes.iter().any(|node| of(node).fits(need)) {
        return Ok(Vec::new());
    }
    let amount = |resources: &Resources, name: &str| {
        resources.amounts().find(|(known, _)| *known == name).map_or(0, |(_, amount)| amount)
    };
    let mut reasons = Vec::new();
    for (name, needed) in need.amounts() {
        let else_fits = |node: &&&Node| {
            need.amounts().all(|(other, needed)| other == name || amount(of(node), other) >= needed)
        };
        let largest = nodes.iter().filter(else_fits).map(|node| amount(of(node), name)).max();
        if let Some(largest) = largest.filter(|largest| *largest < needed) {
            reasons.push(reason(Name::new(name)?, needed, largest));
        }
    }
    if reasons.is_empty() {
        for (name, needed) in need.amounts() {
            let largest = nodes.iter().map(|node| amount(of(node), name)).max().unwrap_or(0);
            if largest < needed {
                reasons.push(reason(Name::new(name)?, needed, largest));
            }
        }
    }
    if reasons.is_empty() {
        // Each amount is there somewhere, but nowhere all of them: what the node with most cpus lacks.
        if let Some(node) = nodes.iter().max_by_key(|node| of(node).cpus) {
            for (name, needed) in need.amounts() {
                let have = amount(of(node), name);
                if have < needed {
                    reasons.push(reason(Name::new(name)?, needed, have));
                }
            }
        }
    }
    Ok(reasons)
}
