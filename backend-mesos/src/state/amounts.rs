//! Amounts of resources in fixed point: Mesos compares scalars in thousandths, so they are whole numbers of those here, and
//! adding and taking them never drifts.

use convoke_core::ids::Name;
use convoke_core::resource::Resources;
use convoke_core::units::{Cpus, MiB};

use crate::v1;

/// Thousandths of a resource's unit: of a cpu, of a mebibyte, of a device.
pub type Thousandths = u64;

/// A scalar of the wire in thousandths, rounded as Mesos rounds; `None` for what is no amount.
#[must_use]
pub fn thousandths(value: f64) -> Option<Thousandths> {
    let scaled = (value * 1000.0).round();
    // up to 2^53 every whole number has a double of its own
    (scaled.is_finite() && (0.0..=9_007_199_254_740_992.0).contains(&scaled)).then_some(scaled as u64)
}

/// Mesos' name of a profile's resource.
#[must_use]
pub fn wire_name(resource: &str) -> &str {
    match resource {
        "memory" => "mem",
        "gpu" => "gpus",
        other => other,
    }
}

/// Our name of Mesos' resource.
#[must_use]
pub fn own_name(resource: &str) -> &str {
    match resource {
        "mem" => "memory",
        "gpus" => "gpu",
        other => other,
    }
}

/// What one executor takes, by Mesos' names; nothing of what it needs none of.
#[must_use]
pub fn needs(each: &Resources) -> Vec<(String, Thousandths)> {
    each.amounts()
        .map(|(name, amount)| {
            let thousandths = if name == "cpus" { amount } else { amount.saturating_mul(1000) };
            (wire_name(name).to_owned(), thousandths)
        })
        .filter(|(_, amount)| *amount > 0)
        .collect()
}

/// What can be taken of an offer, or of an agent: plain scalars that are ours to use. Revocable, shared and provided resources
/// and disks that are more than space are left alone.
#[derive(Debug, Clone, Default)]
pub struct Pool {
    portions: Vec<Portion>,
}

/// One resource of an offer. A name may come several times: unreserved, and once for each reservation.
#[derive(Debug, Clone)]
struct Portion {
    /// As it was offered: role, reservations and allocation go back to the master unchanged.
    template: v1::Resource,
    left: Thousandths,
}

impl Pool {
    /// Reads the resources of an offer or an agent.
    #[must_use]
    pub fn new(resources: &[v1::Resource]) -> Pool {
        let portions = resources
            .iter()
            .filter(|resource| {
                resource.r#type == v1::value::Type::Scalar as i32
                    && resource.revocable.is_none()
                    && resource.shared.is_none()
                    && resource.disk.is_none()
                    && resource.provider_id.is_none()
            })
            .filter_map(|resource| {
                let left = thousandths(resource.scalar?.value)?;
                Some(Portion { template: resource.clone(), left })
            })
            .collect();
        Pool { portions }
    }

    /// How much there is of a resource, by Mesos' name.
    #[must_use]
    pub fn amount(&self, name: &str) -> Thousandths {
        self.portions
            .iter()
            .filter(|portion| portion.template.name == name)
            .fold(0, |sum, portion| sum.saturating_add(portion.left))
    }

    /// The first resource that there isn't enough of.
    #[must_use]
    pub fn lacks<'a>(&self, needs: &'a [(String, Thousandths)]) -> Option<&'a str> {
        needs.iter().find(|(name, amount)| self.amount(name) < *amount).map(|(name, _)| name.as_str())
    }

    /// Takes what is needed, reserved portions first, or nothing where it isn't all there.
    pub fn take(&mut self, needs: &[(String, Thousandths)]) -> Option<Vec<v1::Resource>> {
        if self.lacks(needs).is_some() {
            return None;
        }
        let mut taken = Vec::new();
        for (name, amount) in needs {
            let mut still = *amount;
            for reserved in [true, false] {
                for portion in &mut self.portions {
                    let is_reserved = !portion.template.reservations.is_empty();
                    let part = portion.left.min(still);
                    if portion.template.name != *name || is_reserved != reserved || part == 0 {
                        continue;
                    }
                    portion.left -= part;
                    still -= part;
                    let scalar = Some(v1::value::Scalar { value: part as f64 / 1000.0 });
                    taken.push(v1::Resource { scalar, ..portion.template.clone() });
                }
            }
        }
        Some(taken)
    }

    /// The same in the contract's terms: whole mebibytes and devices.
    #[must_use]
    pub fn resources(&self) -> Resources {
        let mut resources =
            Resources::new(Cpus::from_millis(self.amount("cpus")), MiB(self.amount("mem") / 1000));
        for portion in &self.portions {
            let wire = portion.template.name.as_str();
            if matches!(wire, "cpus" | "mem" | "disk") {
                continue;
            }
            if let Ok(name) = Name::new(own_name(wire)) {
                resources = resources.with(name, self.amount(wire) / 1000);
            }
        }
        resources
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    pub(crate) fn scalar(name: &str, value: f64) -> v1::Resource {
        v1::Resource {
            name: name.into(),
            r#type: v1::value::Type::Scalar as i32,
            scalar: Some(v1::value::Scalar { value }),
            ..Default::default()
        }
    }

    #[test]
    fn reserved_portions_go_first_and_keep_what_makes_them_reserved() {
        let reservation =
            v1::resource::ReservationInfo { role: Some("analytics".into()), ..Default::default() };
        let mut pool = Pool::new(&[
            scalar("cpus", 2.0),
            v1::Resource { reservations: vec![reservation.clone()], ..scalar("cpus", 1.5) },
        ]);
        let taken = pool.take(&[("cpus".into(), 2000)]).unwrap();
        assert_eq!(taken.len(), 2);
        assert_eq!(
            (taken[0].reservations.as_slice(), taken[0].scalar.unwrap().value),
            (&[reservation][..], 1.5)
        );
        assert_eq!((taken[1].reservations.len(), taken[1].scalar.unwrap().value), (0, 0.5));
        assert_eq!(pool.amount("cpus"), 1500);
        assert!(pool.take(&[("cpus".into(), 1501)]).is_none());
        assert_eq!(pool.amount("cpus"), 1500, "a refusal takes nothing");
    }

    #[test]
    fn what_may_be_taken_back_or_is_shared_is_never_taken() {
        let pool = Pool::new(&[
            v1::Resource { revocable: Some(v1::resource::RevocableInfo {}), ..scalar("cpus", 8.0) },
            v1::Resource { shared: Some(v1::resource::SharedInfo {}), ..scalar("cpus", 8.0) },
            v1::Resource { disk: Some(v1::resource::DiskInfo {}), ..scalar("disk", 8.0) },
            scalar("mem", f64::NAN),
            scalar("mem", -1.0),
            scalar("mem", 1e300),
        ]);
        assert_eq!((pool.amount("cpus"), pool.amount("disk"), pool.amount("mem")), (0, 0, 0));
    }

    proptest! {
        #[test]
        fn a_thousand_times_a_tenth_is_a_hundred(parts in prop::collection::vec(1_u64..2000, 1..300)) {
            let total: u64 = parts.iter().sum();
            let mut pool = Pool::new(&[scalar("cpus", total as f64 / 1000.0)]);
            for part in &parts {
                let taken = pool.take(&[("cpus".into(), *part)]).unwrap();
                prop_assert_eq!(thousandths(taken[0].scalar.unwrap().value), Some(*part));
            }
            prop_assert_eq!(pool.amount("cpus"), 0);
        }
    }
}
