//! Takes all room but one executor's away, by a hook or, in a small cluster, by a rival application.

use convoke_core::manager::Outcome;

use crate::context::Context;
use crate::driven::Driven;
use crate::harness::{Hook, Unhooked};
use crate::verdict::Finding;

/// The most executors that a rival is made of.
const MOST_RIVALS: u32 = 32;

/// Room that was taken away.
pub(super) struct Taken(Option<Driven>);

/// Leaves room for one of the kit's executors.
pub(super) async fn all_but_one(context: &Context) -> Result<Taken, Finding> {
    let room = context.room().executors.filter(|room| *room <= 4096);
    let room = room.ok_or_else(|| Finding::lacks("a known, small room"))?;
    context.need_room(2)?;
    match context.hooks().take_resources(room - 1).await {
        Ok(()) => Ok(Taken(None)),
        Err(Unhooked::NoSuchHook) if room <= MOST_RIVALS => {
            let rival = context.register().await?;
            rival.target(room - 1)?;
            rival.settled(room - 1).await?;
            Ok(Taken(Some(rival)))
        }
        Err(unhooked) => Err(Finding::of_hook(Hook::TakeResources, unhooked)),
    }
}

impl Taken {
    /// Gives it back.
    pub(super) async fn give_back(self, context: &Context) -> Result<(), Finding> {
        match self.0 {
            Some(rival) => Ok(rival.unregister(Outcome::Succeeded).await??),
            None => {
                context.hooks().give_resources().await.map_err(|e| Finding::of_hook(Hook::GiveResources, e))
            }
        }
    }
}
