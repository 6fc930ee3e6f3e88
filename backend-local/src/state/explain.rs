//! Why a request finds no room, with true numbers (A6).

use convoke_core::Result;
use convoke_core::ids::Name;
use convoke_core::manager::Reason;
use convoke_core::resource::Resources;

use super::nodes::{Node, Nodes, Request};

impl Nodes {
    /// What speaks against granting this now, the weightiest first; empty where nothing does.
    pub(crate) fn explain(&self, request: &Request) -> Result<Vec<Reason>> {
        let up: Vec<&Node> = self.nodes().iter().filter(|node| node.up).collect();
        let matching: Vec<&Node> = up
            .iter()
            .copied()
            .filter(|node| request.placement.required.iter().all(|constraint| node.matches(constraint)))
            .collect();
        if matching.is_empty() && !request.placement.required.is_empty() {
            let alone = request
                .placement
                .required
                .iter()
                .filter(|constraint| !up.iter().any(|node| node.matches(constraint)));
            let mut reasons: Vec<Reason> = alone.cloned().map(Reason::UnmatchedConstraint).collect();
            if reasons.is_empty() {
                // Each holds somewhere, but nowhere all of them.
                reasons =
                    request.placement.required.iter().cloned().map(Reason::UnmatchedConstraint).collect();
            }
            return Ok(reasons);
        }
        let (excluded, open): (Vec<&Node>, Vec<&Node>) =
            matching.iter().partition(|node| request.excluded.contains(&node.host));
        if open.iter().any(|node| node.free.fits(&request.need)) {
            return Ok(Vec::new());
        }
        let mut reasons = missing_names(&matching, &request.need);
        if reasons.is_empty() {
            reasons = shortage(
                &open,
                &request.need,
                |node| &node.total,
                |resource, needed, largest_total| Reason::NoNodeLargeEnough {
                    resource,
                    needed,
                    largest_total,
                },
            )?;
        }
        if reasons.is_empty() {
            reasons = shortage(
                &open,
                &request.need,
                |node| &node.free,
                |resource, needed, largest_free| Reason::NothingFreeNow { resource, needed, largest_free },
            )?;
        }
        let kept_away: Vec<Name> = excluded
            .iter()
            .filter(|node| open.is_empty() || node.free.fits(&request.need))
            .map(|node| node.host.clone())
            .collect();
        if !kept_away.is_empty() {
            reasons.insert(0, Reason::Excluded(kept_away));
        }
        if up.is_empty() {
            reasons.push(Reason::Other { code: Name::new("no-node")?, text: "no node is up".to_owned() });
        }
        Ok(reasons)
    }
}

fn missing_names(nodes: &[&Node], need: &Resources) -> Vec<Reason> {
    need.named
        .iter()
        .filter(|(name, count)| {
            **count > 0 && nodes.iter().all(|node| node.total.named.get(*name).copied().unwrap_or(0) == 0)
        })
        .map(|(name, _)| Reason::NoSuchResource(name.clone()))
        .collect()
}

/// The resources of which no node has enough; where each is enough somewhere but never all together, those that the nodes
/// which come closest lack.
fn shortage(
    nodes: &[&Node],
    need: &Resources,
    has: impl Fn(&Node) -> &Resources,
    reason: impl Fn(Name, u64, u64) -> Reason,
) -> Result<Vec<Reason>> {
    if nodes.is_empty() || nodes.iter().any(|node| has(node).fits(need)) {
        return Ok(Vec::new());
    }
    let amount = |node: &Node, resource: &str| {
        has(node).amounts().find(|(name, _)| *name == resource).map_or(0, |(_, amount)| amount)
    };
    let lacks = |node: &Node| need.amounts().filter(|(name, needed)| amount(node, name) < *needed).count();
    let nowhere = need.amounts().any(|(name, needed)| nodes.iter().all(|node| amount(node, name) < needed));
    let least = nodes.iter().map(|node| lacks(node)).min().unwrap_or(0);
    let mut reasons = Vec::new();
    for (resource, needed) in need.amounts() {
        let short: Vec<u64> = nodes
            .iter()
            .filter(|node| nowhere || lacks(node) == least)
            .map(|node| amount(node, resource))
            .filter(|amount| *amount < needed)
            .collect();
        let told = if nowhere { short.len() == nodes.len() } else { !short.is_empty() };
        if told {
            let largest = short.into_iter().max().unwrap_or(0);
            reasons.push(reason(Name::new(resource)?, needed, largest));
        }
    }
    Ok(reasons)
}
