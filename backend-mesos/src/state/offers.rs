//! What to take of an offer, when to ask for offers and when to ask for none.
//!
//! Demand drives it: with something wanted the role is revived, with nothing wanted it is suppressed. Each offer is answered
//! at once, by an ACCEPT or a DECLINE: nothing is ever held back for later.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::time::Duration;

use convoke_core::clock::Moment;
use convoke_core::ids::{ExecutorId, Name};
use convoke_core::manager::{Constraint, Wanted};
use convoke_core::resource::Resources;
use convoke_core::units::HostPort;

use super::amounts::{Pool, needs};
use crate::v1;

/// For how long an agent's resources are refused when nothing is wanted. A REVIVE clears it.
pub const REFUSE_IDLE: Duration = Duration::from_secs(300);
/// For how long they are when something is wanted and doesn't fit. More on the same agent is offered all the same: a filter
/// hides only what is contained in what was refused.
pub const REFUSE_UNFIT: Duration = Duration::from_secs(30);
/// With something wanted and no offer for so long, offers are asked for again.
pub const ASK_AGAIN: Duration = Duration::from_secs(60);

/// The offers of one framework in one role.
#[derive(Debug, Default)]
pub struct Offers {
    waiting: BTreeMap<ExecutorId, Wanted>,
    /// How many executors of ours each host has, for spreading them.
    on_host: HashMap<Name, u32>,
    subscribed: bool,
    suppressed: bool,
    /// Something new is wanted since the last REVIVE.
    fresh: bool,
    ask_again: Option<Moment>,
    rejected: BTreeMap<Rejection, u64>,
    offers_seen: u64,
}

/// Why an offer was of no use for an executor.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Rejection {
    /// Too little of this resource, by Mesos' name.
    Lacks(String),
    /// The host is excluded.
    Excluded(Name),
    /// A required constraint doesn't hold there.
    Constraint(String),
}

impl std::fmt::Display for Rejection {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rejection::Lacks(resource) => write!(f, "too little {resource}"),
            Rejection::Excluded(host) => write!(f, "{host} is excluded"),
            Rejection::Constraint(constraint) => write!(f, "{constraint} doesn't hold"),
        }
    }
}

/// What happened.
#[derive(Debug)]
pub enum OffersEvent {
    /// These are wanted.
    Want(Vec<Wanted>),
    /// A stream is there; the role was subscribed suppressed.
    Subscribed,
    /// The stream is gone, and with it every offer.
    Unsubscribed,
    /// OFFERS.
    Offers(Vec<v1::Offer>),
    /// An executor on this host is gone.
    Left(Name),
    /// The deadline may have come.
    Tick,
}

/// What is to be done.
#[derive(Debug)]
pub enum OffersCommand {
    /// REVIVE.
    Revive,
    /// SUPPRESS.
    Suppress,
    /// DECLINE these, for so long.
    Decline(Vec<v1::OfferId>, Duration),
    /// ACCEPT this one.
    Accept(Acceptance),
}

/// An offer that is taken, for one executor or several.
#[derive(Debug)]
pub struct Acceptance {
    /// Which offer.
    pub offer: v1::OfferId,
    /// On which agent.
    pub agent: v1::AgentId,
    /// Its host's name.
    pub host: Name,
    /// Where the agent itself listens.
    pub address: Option<HostPort>,
    /// For whom, with the resources that each gets.
    pub placed: Vec<Placed>,
}

/// An executor that found its place.
#[derive(Debug)]
pub struct Placed {
    /// Which.
    pub wanted: Wanted,
    /// Cut from the offer, as the master must get them back.
    pub resources: Vec<v1::Resource>,
    /// The same in the contract's terms.
    pub actual: Resources,
}

/// An offer as it is looked at.
struct Look {
    id: v1::OfferId,
    agent: v1::AgentId,
    host: Name,
    address: Option<HostPort>,
    pool: Pool,
    attributes: BTreeMap<String, Vec<String>>,
    /// Maintenance is planned for its agent.
    leaving: bool,
    placed: Vec<Placed>,
}

impl Offers {
    /// What waits for an offer.
    pub fn waiting(&self) -> impl Iterator<Item = &Wanted> {
        self.waiting.values()
    }

    /// Takes back what was wanted and has no place yet.
    pub fn withdraw(&mut self, executor: ExecutorId) -> bool {
        self.waiting.remove(&executor).is_some()
    }

    /// Whether this one waits for an offer.
    #[must_use]
    pub fn waits(&self, executor: ExecutorId) -> bool {
        self.waiting.contains_key(&executor)
    }

    /// Why offers were of no use since the last new wish, and how often.
    #[must_use]
    pub fn rejections(&self) -> &BTreeMap<Rejection, u64> {
        &self.rejected
    }

    /// How many offers came since the last new wish.
    #[must_use]
    pub fn offers_seen(&self) -> u64 {
        self.offers_seen
    }

    /// When [`OffersEvent::Tick`] is due.
    #[must_use]
    pub fn next_deadline(&self) -> Option<Moment> {
        self.ask_again
    }

    /// Takes an event. What it changes of the demand is told by [`Offers::settle`].
    pub fn handle(&mut self, now: Moment, event: OffersEvent, out: &mut Vec<OffersCommand>) {
        match event {
            OffersEvent::Want(wanted) => {
                for wanted in wanted {
                    if let std::collections::btree_map::Entry::Vacant(entry) =
                        self.waiting.entry(wanted.executor)
                    {
                        entry.insert(wanted);
                        self.fresh = true;
                    }
                }
                if self.fresh {
                    self.rejected.clear();
                    self.offers_seen = 0;
                }
            }
            OffersEvent::Subscribed => (self.subscribed, self.suppressed, self.fresh) = (true, true, true),
            OffersEvent::Unsubscribed => self.subscribed = false,
            OffersEvent::Offers(offers) => self.offers(now, offers, out),
            OffersEvent::Left(host) => {
                if let Some(count) = self.on_host.get_mut(&host) {
                    *count = count.saturating_sub(1);
                    if *count == 0 {
                        self.on_host.remove(&host);
                    }
                }
            }
            OffersEvent::Tick => {
                if self.ask_again.is_some_and(|due| due <= now) && !self.waiting.is_empty() {
                    self.fresh = true;
                }
            }
        }
        self.settle(now, out);
    }

    /// Brings the role's standing at the master in line with the demand.
    pub fn settle(&mut self, now: Moment, out: &mut Vec<OffersCommand>) {
        if !self.subscribed {
            self.ask_again = None;
        } else if self.waiting.is_empty() {
            (self.fresh, self.ask_again) = (false, None);
            if !self.suppressed {
                self.suppressed = true;
                out.push(OffersCommand::Suppress);
            }
        } else if self.fresh || self.suppressed {
            (self.fresh, self.suppressed, self.ask_again) = (false, false, Some(now + ASK_AGAIN));
            out.push(OffersCommand::Revive);
        }
    }

    fn offers(&mut self, now: Moment, offers: Vec<v1::Offer>, out: &mut Vec<OffersCommand>) {
        self.offers_seen += offers.len() as u64;
        if !self.waiting.is_empty() {
            self.ask_again = Some(now + ASK_AGAIN);
        }
        let mut unreadable = Vec::new();
        let mut looks: Vec<Look> = Vec::new();
        for offer in offers {
            let id = offer.id.clone();
            match Look::read(offer) {
                Some(look) => looks.push(look),
                None => unreadable.push(id),
            }
        }
        let (on_host, rejected) = (&mut self.on_host, &mut self.rejected);
        self.waiting.retain(|_, wanted| match place(wanted, &mut looks, on_host, rejected) {
            None => true,
            Some((look, resources)) => {
                *on_host.entry(look.host.clone()).or_default() += 1;
                let actual = Pool::new(&resources).resources();
                look.placed.push(Placed { wanted: wanted.clone(), resources, actual });
                false
            }
        });
        let (used, unused): (Vec<_>, Vec<_>) = looks.into_iter().partition(|look| !look.placed.is_empty());
        out.extend(used.into_iter().map(|look| OffersCommand::Accept(look.taken())));
        unreadable.extend(unused.into_iter().map(|look| look.id));
        if !unreadable.is_empty() {
            let refuse = if self.waiting.is_empty() { REFUSE_IDLE } else { REFUSE_UNFIT };
            out.push(OffersCommand::Decline(unreadable, refuse));
        }
    }
}

/// Weight of the preference, whether it stays, how few of ours are there, cpus: compared in this order.
type Rank = (u32, bool, std::cmp::Reverse<u32>, u64);

/// The best of the offers for one executor: preferred hosts, then those not about to leave, then those with fewest of ours,
/// then those with most cpus free. Why the others were of no use is counted.
fn place<'a>(
    wanted: &Wanted,
    looks: &'a mut [Look],
    on_host: &HashMap<Name, u32>,
    rejected: &mut BTreeMap<Rejection, u64>,
) -> Option<(&'a mut Look, Vec<v1::Resource>)> {
    let needs = needs(&wanted.profile.each);
    let mut best: Option<(usize, Rank)> = None;
    for (index, look) in looks.iter().enumerate() {
        if let Some(rejection) = look.unfit(wanted, &needs) {
            *rejected.entry(rejection).or_default() += 1;
            continue;
        }
        let preferred = wanted
            .placement
            .preferred
            .iter()
            .filter(|(host, _)| *host == look.host)
            .map(|(_, weight)| *weight)
            .max()
            .unwrap_or(0);
        let ours = on_host.get(&look.host).copied().unwrap_or(0);
        let rank = (preferred, !look.leaving, std::cmp::Reverse(ours), look.pool.amount("cpus"));
        if best.as_ref().is_none_or(|(_, known)| rank > *known) {
            best = Some((index, rank));
        }
    }
    let look = looks.get_mut(best?.0)?;
    let resources = look.pool.take(&needs)?;
    Some((look, resources))
}

impl Look {
    /// `None` for an offer without what every offer has.
    fn read(offer: v1::Offer) -> Option<Look> {
        let host = Name::new(&offer.hostname).ok()?;
        if offer.agent_id.value.is_empty() {
            return None;
        }
        let mut attributes: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for attribute in &offer.attributes {
            attributes.entry(attribute.name.clone()).or_default().extend(attribute_values(attribute));
        }
        let address = offer.url.and_then(|url| {
            let port = u16::try_from(url.address.port).ok()?;
            Some(HostPort::new(url.address.ip.or(url.address.hostname)?, port))
        });
        Some(Look {
            id: offer.id,
            agent: offer.agent_id,
            host,
            address,
            pool: Pool::new(&offer.resources),
            attributes,
            leaving: offer.unavailability.is_some(),
            placed: Vec::new(),
        })
    }

    fn unfit(&self, wanted: &Wanted, needs: &[(String, u64)]) -> Option<Rejection> {
        if wanted.excluded.contains(&self.host) {
            return Some(Rejection::Excluded(self.host.clone()));
        }
        if let Some(unmet) = wanted.placement.required.iter().find(|constraint| !self.holds(constraint)) {
            return Some(Rejection::Constraint(unmet.to_string()));
        }
        self.pool.lacks(needs).map(|name| Rejection::Lacks(name.to_owned()))
    }

    fn holds(&self, constraint: &Constraint) -> bool {
        holds(constraint, &self.host, &self.attributes)
    }

    fn taken(self) -> Acceptance {
        Acceptance {
            offer: self.id,
            agent: self.agent,
            host: self.host,
            address: self.address,
            placed: self.placed,
        }
    }
}

/// Whether a constraint holds on an agent. `host` is its host's name; anything else is an attribute, and one that the agent
/// doesn't have differs from every value. What isn't known here doesn't hold.
#[must_use]
pub fn holds(constraint: &Constraint, host: &Name, attributes: &BTreeMap<String, Vec<String>>) -> bool {
    let has = |attribute: &Name, value: &str| match attribute.as_str() {
        "host" => host.as_str() == value,
        other => attributes.get(other).is_some_and(|values| values.iter().any(|known| known == value)),
    };
    match constraint {
        Constraint::Equals { attribute, value } => has(attribute, value),
        Constraint::NotEquals { attribute, value } => !has(attribute, value),
        _ => false,
    }
}

/// An attribute's values as text: a set has several.
#[must_use]
pub fn attribute_values(attribute: &v1::Attribute) -> BTreeSet<String> {
    let scalar = attribute.scalar.map(|scalar| scalar.value.to_string());
    let text = attribute.text.as_ref().map(|text| text.value.clone());
    let set = attribute.set.iter().flat_map(|set| set.item.iter().cloned());
    scalar.into_iter().chain(text).chain(set).collect()
}

#[cfg(test)]
#[path = "offers_test.rs"]
mod tests;
