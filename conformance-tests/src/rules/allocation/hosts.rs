//! A10: hosts that are preferred, excluded, required.

use convoke_core::ids::Name;
use convoke_core::manager::{Constraint, Target};

use crate::context::Context;
use crate::driven::Driven;
use crate::verdict::{Checked, Evidence, Finding};

fn hosts(context: &Context) -> Result<(Name, Name), Finding> {
    match context.room().hosts.as_slice() {
        [one, .., other] => Ok((one.clone(), other.clone())),
        _ => Err(Finding::lacks("two hosts with known names")),
    }
}

fn used(application: &Driven) -> Vec<Name> {
    application.told(|v| v.executors.values().filter_map(|t| t.granted.as_ref()?.host.clone()).collect())
}

/// Excluded hosts are not used.
pub(super) async fn excluded(context: Context) -> Checked {
    context.need_room(4)?;
    let (one, _) = hosts(&context)?;
    let application = context.register().await?;
    let mut target = Target::of(context.profile(), 4);
    target.excluded = vec![one.clone()];
    application.wish(target)?;
    application.settled(4).await?;
    let used = used(&application);
    if used.contains(&one) {
        Err(Finding::failed("excluded", format!("{one} was used: {used:?}")))
    } else {
        Ok(Evidence::new().with("excluded", one.as_str()))
    }
}

/// Required hosts are used alone; preferred ones stop nothing.
pub(super) async fn required(context: Context) -> Checked {
    context.need_room(2)?;
    let (_, other) = hosts(&context)?;
    let application = context.register().await?;
    let mut target = Target::of(context.profile(), 2);
    let host = Name::new("host").map_err(Finding::CouldNotRun)?;
    for want in target.profiles.values_mut() {
        want.placement.required =
            vec![Constraint::Equals { attribute: host.clone(), value: other.as_str().to_owned() }];
    }
    application.wish(target)?;
    application.settled(2).await?;
    let used = used(&application);
    if used.iter().all(|host| *host == other) {
        Ok(Evidence::new().with("required", other.as_str()))
    } else {
        Err(Finding::failed("not required", format!("{used:?}, not {other}")))
    }
}

/// A preferred host that does not exist stops nothing.
pub(super) async fn preferred(context: Context) -> Checked {
    let application = context.register().await?;
    let mut target = Target::of(context.profile(), 1);
    let nowhere = Name::new("no-such-host.invalid").map_err(Finding::CouldNotRun)?;
    for want in target.profiles.values_mut() {
        want.placement.preferred = vec![(nowhere.clone(), 10)];
    }
    application.wish(target)?;
    application.settled(1).await?;
    Ok(Evidence::new().with("preferred", nowhere.as_str()))
}
