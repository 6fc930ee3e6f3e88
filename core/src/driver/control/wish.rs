//! What is wanted: how many executors of which profile, and where.

use std::sync::Arc;

use super::Control;
use crate::error::{Error, Result};
use crate::ids::Name;
use crate::resource::ResourceProfile;

impl Control {
    /// Changes the wish for one profile.
    pub(in crate::driver) fn set_target(&self, profile: ResourceProfile, executors: u32) -> Result<()> {
        profile.check()?;
        let application = self.registered()?;
        let mut inner = self.inner();
        let profile = match inner.profiles.get(&profile.id) {
            Some(known) if **known != profile => {
                return Err(Error::invalid("profile", "a profile never changes under its id")
                    .with("profile", profile.id)
                    .help("give the changed profile an id of its own"));
            }
            Some(known) => known.clone(),
            None => Arc::new(profile),
        };
        let mut target = inner.target.clone().and(profile.clone(), executors);
        if let Some(want) = target.profiles.get_mut(&profile.id) {
            want.placement = self.settings.placement();
        }
        // A join may come before this returns; it finds the profile.
        inner.profiles.insert(profile.id, profile);
        inner.target = target.clone();
        drop(inner);
        application.set_target(target).map(|_| ())
    }

    /// Changes which hosts get no executor.
    pub(in crate::driver) fn exclude_hosts(&self, hosts: Vec<Name>) -> Result<()> {
        let application = self.registered()?;
        let target = {
            let mut inner = self.inner();
            inner.target.excluded = hosts;
            inner.target.clone()
        };
        application.set_target(target).map(|_| ())
    }

    /// How many executors are wanted, of all profiles.
    pub(in crate::driver) fn wanted(&self) -> u32 {
        self.inner().target.profiles.values().map(|want| want.executors).sum()
    }
}
