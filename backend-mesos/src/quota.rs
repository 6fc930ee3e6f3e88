//! What a role may use, and what it uses.

use std::collections::BTreeMap;

use convoke_core::error::Result;
use convoke_core::ids::Name;
use convoke_core::manager::{LimitScope, Reason};
use convoke_core::units::HostPort;

use crate::state::amounts::{Pool, Thousandths, own_name, thousandths};
use crate::v1::http::Http;
use crate::v1::master;

/// The quota of a role, or of one above it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Quota {
    pub(crate) role: String,
    /// By Mesos' names of resources.
    pub(crate) limits: BTreeMap<String, Thousandths>,
    pub(crate) used: BTreeMap<String, Thousandths>,
}

/// What the master knows of roles.
#[derive(Debug, Clone, Default)]
pub(crate) struct Quotas {
    pub(crate) of_role: Vec<Quota>,
    /// Roles to which something is guaranteed, others than ours.
    pub(crate) guaranteed_to: Vec<String>,
}

/// Asks for the quotas that bind this role.
pub(crate) async fn quotas(http: &Http, master: &HostPort, role: &str) -> Result<Quotas> {
    let ask = async |kind: master::call::Type| {
        let question = master::Call { r#type: Some(kind as i32), ..Default::default() };
        http.ask::<master::Response>(master, &question).await
    };
    let configs = ask(master::call::Type::GetQuota).await?.get_quota.unwrap_or_default().status.configs;
    if configs.is_empty() {
        return Ok(Quotas::default());
    }
    let roles = ask(master::call::Type::GetRoles).await?.get_roles.unwrap_or_default().roles;
    let binds = |of: &str| role == of || role.strip_prefix(of).is_some_and(|rest| rest.starts_with('/'));
    let mut quotas = Quotas::default();
    for config in configs {
        if !binds(&config.role) {
            if !config.guarantees.is_empty() {
                quotas.guaranteed_to.push(config.role);
            }
            continue;
        }
        let amounts =
            config.limits.iter().filter_map(|(name, limit)| Some((name.clone(), thousandths(limit.value)?)));
        let limits: BTreeMap<_, _> = amounts.collect();
        let held = roles.iter().filter(|known| known.name == config.role).flat_map(|known| &known.resources);
        let pool = Pool::new(&held.cloned().collect::<Vec<_>>());
        let used = limits.keys().map(|name| (name.clone(), pool.amount(name))).collect();
        quotas.of_role.push(Quota { role: config.role, limits, used });
    }
    Ok(quotas)
}

/// The limits that stand in the way of so much more.
pub(crate) fn reasons(quotas: &[Quota], needs: &[(String, Thousandths)]) -> Vec<Reason> {
    let in_unit = |name: &str, amount: Thousandths| if name == "cpus" { amount } else { amount / 1000 };
    let mut reasons = Vec::new();
    for quota in quotas {
        for (name, need) in needs {
            let Some(limit) = quota.limits.get(name) else { continue };
            let used = quota.used.get(name).copied().unwrap_or(0);
            if used.saturating_add(*need) <= *limit {
                continue;
            }
            if let Ok(named) = Name::new(format!("{} of role {}", own_name(name), quota.role)) {
                let (limit, used) = (in_unit(name, *limit), in_unit(name, used));
                reasons.push(Reason::Limit { scope: LimitScope::Role, name: named, limit, used });
            }
        }
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_a_reason_once_the_next_executor_would_go_over_it() {
        let quota = |used| Quota {
            role: "team".into(),
            limits: BTreeMap::from([("cpus".into(), 2000), ("mem".into(), 512_000)]),
            used: BTreeMap::from([("cpus".into(), used), ("mem".into(), 0)]),
        };
        let needs = [("cpus".to_owned(), 1000), ("mem".to_owned(), 64_000), ("gpus".to_owned(), 1000)];
        assert!(reasons(&[quota(1000)], &needs).is_empty());
        let told = reasons(&[quota(1001)], &needs);
        assert!(
            matches!(&told[..], [Reason::Limit { scope: LimitScope::Role, limit: 2000, used: 1001, .. }]),
            "{told:?}"
        );
    }
}
