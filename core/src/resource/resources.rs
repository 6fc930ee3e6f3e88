use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};
use crate::ids::Name;
use crate::units::{Cpus, MiB};

/// Amounts of cpus, memory and named resources (`gpu`), of a node or of one executor.
///
/// Printed and parsed as `cpus=2,memory=4GiB,gpu=1`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Resources {
    /// Processors, in thousandths.
    pub cpus: Cpus,
    /// Memory of the whole process tree.
    pub memory: MiB,
    /// Whole devices and the like, by name.
    #[serde(default)]
    pub named: BTreeMap<Name, u64>,
}

impl Resources {
    /// Cpus and memory, and nothing else.
    #[must_use]
    pub fn new(cpus: Cpus, memory: MiB) -> Resources {
        Resources { cpus, memory, named: BTreeMap::new() }
    }

    /// Adds `count` of the resource `name`.
    #[must_use]
    pub fn with(mut self, name: Name, count: u64) -> Resources {
        self.named.insert(name, count);
        self
    }

    /// Whether all of `need` is there.
    #[must_use]
    pub fn fits(&self, need: &Resources) -> bool {
        need.cpus <= self.cpus
            && need.memory <= self.memory
            && need.named.iter().all(|(name, count)| *count <= self.named.get(name).copied().unwrap_or(0))
    }

    /// Takes `need` away, or changes nothing and answers `false` where it isn't all there.
    #[must_use]
    pub fn take(&mut self, need: &Resources) -> bool {
        if !self.fits(need) {
            return false;
        }
        self.cpus = Cpus::from_millis(self.cpus.millis() - need.cpus.millis());
        self.memory = MiB(self.memory.0 - need.memory.0);
        for (name, count) in &need.named {
            if let Some(have) = self.named.get_mut(name) {
                *have -= count;
            }
        }
        true
    }

    /// Gives back what [`Resources::take`] took.
    pub fn give_back(&mut self, taken: &Resources) {
        self.cpus = Cpus::from_millis(self.cpus.millis() + taken.cpus.millis());
        self.memory = MiB(self.memory.0 + taken.memory.0);
        for (name, count) in &taken.named {
            *self.named.entry(name.clone()).or_default() += count;
        }
    }

    /// Every amount with its name and smallest unit (thousandths of a cpu, mebibytes, devices), as
    /// [`Reason`](crate::manager::Reason) reports them.
    pub fn amounts(&self) -> impl Iterator<Item = (&str, u64)> {
        [("cpus", self.cpus.millis()), ("memory", self.memory.0)]
            .into_iter()
            .chain(self.named.iter().map(|(name, count)| (name.as_str(), *count)))
    }
}

impl fmt::Display for Resources {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "cpus={},memory={}", self.cpus, self.memory)?;
        for (name, count) in &self.named {
            write!(f, ",{name}={count}")?;
        }
        Ok(())
    }
}

impl FromStr for Resources {
    type Err = Error;
    fn from_str(text: &str) -> Result<Resources> {
        let mut resources = Resources::default();
        for part in text.split(',').filter(|part| !part.trim().is_empty()) {
            let (name, amount) = part.split_once('=').ok_or_else(|| {
                Error::invalid("resources", "a resource is written NAME=AMOUNT")
                    .with("text", format!("{part:?}"))
                    .help("write resources like cpus=2,memory=4GiB,gpu=1")
            })?;
            match name.trim() {
                "cpus" => resources.cpus = amount.parse()?,
                "memory" => resources.memory = amount.parse()?,
                name => {
                    let count = amount.trim().parse().map_err(|_| {
                        Error::invalid("resources", "a named resource is counted in whole numbers")
                            .with("text", format!("{part:?}"))
                            .help("write it like gpu=1")
                    })?;
                    if resources.named.insert(Name::new(name)?, count).is_some() {
                        return Err(Error::invalid("resources", "the same resource is named twice")
                            .with("resource", name));
                    }
                }
            }
        }
        Ok(resources)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn resources_parse_and_print() {
        let text = "cpus=0.5,memory=4GiB,gpu=1";
        assert_eq!(text.parse::<Resources>().unwrap().to_string(), text);
        assert!("cpus".parse::<Resources>().is_err());
        assert!("gpu=1,gpu=2".parse::<Resources>().is_err());
        assert!("gpu=-1".parse::<Resources>().is_err());
    }

    proptest! {
        #[test]
        fn taking_and_giving_back_changes_nothing(cpus in 0_u64..9000, memory in 0_u64..9000, need_cpus in 0_u64..9000, need_memory in 0_u64..9000, gpu in 0_u64..3) {
            let name = Name::new("gpu").unwrap();
            let mut have = Resources::new(Cpus::from_millis(cpus), MiB(memory)).with(name.clone(), 2);
            let need = Resources::new(Cpus::from_millis(need_cpus), MiB(need_memory)).with(name, gpu);
            let before = have.clone();
            if have.take(&need) {
                have.give_back(&need);
            }
            prop_assert_eq!(before, have);
        }
    }
}
