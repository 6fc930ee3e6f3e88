use serde::{Deserialize, Serialize};

use super::Resources;
use crate::error::{Error, Result};
use crate::ids::ProfileId;
use crate::units::{Cpus, MiB};

/// What one task takes of its executor. Memory is the executor's: tasks share it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TaskResources {
    /// Processors that one task occupies; one by default.
    pub cpus: Cpus,
    /// Named resources that one task occupies.
    #[serde(default)]
    pub named: std::collections::BTreeMap<crate::ids::Name, u64>,
}

impl Default for TaskResources {
    fn default() -> TaskResources {
        TaskResources { cpus: Cpus::whole(1), named: Default::default() }
    }
}

/// What one executor gets, and what each of its tasks takes. Immutable under its id (R2).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ResourceProfile {
    /// Its id within the application; 0 is the default profile.
    pub id: ProfileId,
    /// What each executor gets at least (A5).
    pub each: Resources,
    /// What each task takes.
    pub task: TaskResources,
}

impl Default for ResourceProfile {
    /// One cpu and 256 MiB, one cpu a task.
    fn default() -> ResourceProfile {
        ResourceProfile {
            id: ProfileId(0),
            each: Resources::new(Cpus::whole(1), MiB(256)),
            task: TaskResources::default(),
        }
    }
}

impl ResourceProfile {
    /// How many tasks run at once on one executor: as many as fit, by the scarcest resource.
    #[must_use]
    pub fn slots(&self) -> u32 {
        let by_cpus =
            (self.task.cpus.millis() > 0).then(|| self.each.cpus.millis() / self.task.cpus.millis());
        let by_named = self
            .task
            .named
            .iter()
            .filter(|(_, need)| **need > 0)
            .map(|(name, need)| self.each.named.get(name).copied().unwrap_or(0) / need);
        let slots = by_cpus.into_iter().chain(by_named).min().unwrap_or(1);
        u32::try_from(slots).unwrap_or(u32::MAX).min(MOST_SLOTS)
    }

    /// Refuses what can't be right (R2): no cpus, under 16 MiB, a task larger than its executor, absurd amounts.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field.
    pub fn check(&self) -> Result<()> {
        if self.each.cpus.millis() == 0 {
            return Err(Error::invalid("executor.cpus", "an executor needs more than 0 cpus"));
        }
        if self.each.cpus > Cpus::whole(MOST_SLOTS) {
            return Err(
                Error::invalid("executor.cpus", "no node has so many cpus").with("cpus", self.each.cpus)
            );
        }
        if self.each.memory < LEAST_MEMORY {
            return Err(Error::invalid("executor.memory", "too little memory for a process")
                .with("memory", self.each.memory)
                .help("ask for at least 16MiB"));
        }
        if self.task.cpus.millis() == 0 && self.task.named.values().all(|count| *count == 0) {
            return Err(Error::invalid("task.cpus", "a task needs more than 0 cpus"));
        }
        if self.slots() == 0 {
            return Err(Error::invalid("task.cpus", "one task needs more than its executor has")
                .with("executor", &self.each)
                .with("task.cpus", self.task.cpus));
        }
        Ok(())
    }
}

/// The most tasks that one executor runs at once.
const MOST_SLOTS: u32 = 4096;
/// Less than this holds no executor process.
const LEAST_MEMORY: MiB = MiB(16);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::Name;

    #[test]
    fn slots_follow_the_scarcest_resource() {
        let gpu = Name::new("gpu").unwrap();
        let mut profile = ResourceProfile {
            each: Resources::new(Cpus::whole(4), MiB(256)).with(gpu.clone(), 2),
            ..Default::default()
        };
        assert_eq!(profile.slots(), 4);
        profile.task.named.insert(gpu, 1);
        assert_eq!(profile.slots(), 2);
        profile.task.cpus = Cpus::from_millis(500);
        assert_eq!(profile.slots(), 2);
        profile.task.named.clear();
        assert_eq!(profile.slots(), 8);
    }

    #[test]
    fn absurd_profiles_are_refused_by_field() {
        let with = |cpus, memory| ResourceProfile {
            each: Resources::new(Cpus::from_millis(cpus), MiB(memory)),
            ..Default::default()
        };
        assert_eq!(with(0, 256).check().unwrap_err().field(), Some("executor.cpus"));
        assert_eq!(with(1000, 0).check().unwrap_err().field(), Some("executor.memory"));
        assert_eq!(with(500, 256).check().unwrap_err().field(), Some("task.cpus"));
        assert_eq!(with(u64::MAX, 256).check().unwrap_err().field(), Some("executor.cpus"));
        with(1000, 256).check().unwrap();
    }
}
