//! What the operator API says of a cluster's agents.

use std::collections::{BTreeMap, BTreeSet};

use convoke_core::error::{Error, Result};
use convoke_core::ids::Name;
use convoke_core::manager::NodeReport;
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, HostPort};

use crate::settings::Settings;
use crate::state::amounts::{Pool, Thousandths};
use crate::state::offers::attribute_values;
use crate::v1::http::Http;
use crate::v1::{DrainState, master};

/// One registered agent.
#[derive(Debug, Clone)]
pub(crate) struct Agent {
    pub(crate) id: String,
    /// Where it listens itself, where it says so.
    pub(crate) address: Option<HostPort>,
    pub(crate) host: Name,
    pub(crate) total: Pool,
    allocated: Pool,
    offered: Pool,
    pub(crate) attributes: BTreeMap<String, Vec<String>>,
    /// It is connected and gives resources.
    pub(crate) active: bool,
    pub(crate) draining: bool,
}

/// Asks the leading master for its agents.
pub(crate) async fn agents(http: &Http, master: &HostPort) -> Result<Vec<Agent>> {
    let question = master::Call { r#type: Some(master::call::Type::GetAgents as i32), ..Default::default() };
    let answer: master::Response = http.ask(master, &question).await?;
    Ok(answer.get_agents.unwrap_or_default().agents.into_iter().filter_map(Agent::read).collect())
}

/// Asks one master after the other, until one answers; each passes on to the leader.
pub(crate) async fn agents_of_any(http: &Http, settings: &Settings) -> Result<Vec<Agent>> {
    let mut last = Error::internal("there is no master to ask");
    for master in &settings.masters {
        match agents(http, master).await {
            Ok(agents) => return Ok(agents),
            Err(error) => last = error,
        }
    }
    Err(last)
}

impl Agent {
    fn read(agent: master::response::get_agents::Agent) -> Option<Agent> {
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for attribute in &agent.agent_info.attributes {
            attributes.entry(attribute.name.clone()).or_default().extend(attribute_values(attribute));
        }
        let draining = agent.drain_info.is_some_and(|info| info.state != DrainState::Unknown as i32);
        // `slave(1)@10.0.0.7:5051`
        let address = agent.pid.as_ref().and_then(|pid| pid.split_once('@')?.1.parse().ok());
        Some(Agent {
            id: agent.agent_info.id.as_ref().map(|id| id.value.clone()).unwrap_or_default(),
            address,
            host: Name::new(&agent.agent_info.hostname).ok()?,
            total: Pool::new(&agent.total_resources),
            allocated: Pool::new(&agent.allocated_resources),
            offered: Pool::new(&agent.offered_resources),
            attributes,
            active: agent.active && !agent.deactivated.unwrap_or(false),
            draining,
        })
    }

    /// What of a resource is neither used nor offered to somebody.
    pub(crate) fn free(&self, name: &str) -> Thousandths {
        self.total
            .amount(name)
            .saturating_sub(self.allocated.amount(name))
            .saturating_sub(self.offered.amount(name))
    }

    /// The names of all that it has.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.total.amount(name) > 0
    }

    pub(crate) fn report(self) -> NodeReport {
        let state = match (self.active, self.draining) {
            (_, true) => "DRAINING",
            (true, false) => "ACTIVE",
            (false, false) => "INACTIVE",
        };
        let total = self.total.resources();
        let mut free = Resources::new(
            Cpus::from_millis(self.free("cpus")),
            convoke_core::units::MiB(self.free("mem") / 1000),
        );
        let names: BTreeSet<_> = total.named.keys().cloned().collect();
        for name in names {
            let count = self.free(crate::state::amounts::wire_name(name.as_str())) / 1000;
            free = free.with(name, count);
        }
        NodeReport { host: self.host, total, free, state: state.to_owned() }
    }
}
