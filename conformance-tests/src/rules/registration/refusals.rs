//! R2: what can't be right is refused before anything happens.

use std::sync::Arc;
use std::time::Duration;

use convoke_core::manager::{Bootstrap, Source, Target};
use convoke_core::resource::{ResourceProfile, Resources};
use convoke_core::units::{Cpus, MiB};
use convoke_core::{ErrorKind, Result};

use crate::application::Setup;
use crate::context::Context;
use crate::driven::Driven;
use crate::verdict::{Checked, Evidence, Finding};

/// A registration with an unknown option, a lease that is too short, or a bootstrap that isn't there.
pub(super) async fn registrations(context: Context) -> Checked {
    let mut refused = Vec::new();
    let mut option = Setup::default();
    option.options.insert("conformance.no-such-option".into(), "1".into());
    let (spec, inner) = context.specify(option)?;
    refused.push(refusal(&context, "an unknown option", context.manager().register(spec).await.map(drop))?);
    nothing_ran(&context, inner.id())?;

    let least = context.manager().describe().least_lease;
    if least > Duration::from_millis(100) {
        let (spec, inner) = context.specify(Setup { lease: Some(least / 2), ..Setup::default() })?;
        let answer = context.manager().register(spec).await.map(drop);
        refused.push(refusal(&context, "a lease under the least", answer)?);
        nothing_ran(&context, inner.id())?;
    }

    let (mut spec, inner) = context.specify(Setup::default())?;
    spec.bootstrap = missing(spec.bootstrap);
    refused.push(refusal(&context, "a missing artifact", context.manager().register(spec).await.map(drop))?);
    nothing_ran(&context, inner.id())?;
    Ok(Evidence::new().with("refused", refused))
}

/// The same file under a path where nothing is.
fn missing(mut bootstrap: Bootstrap) -> Bootstrap {
    for (_, artifact) in &mut bootstrap.builds {
        artifact.sources = vec![Source::DriverPath("/nonexistent/convoke-conformance".into())];
    }
    bootstrap
}

/// A wish with no cpus, with absurd amounts, or with a profile that changed under its id.
pub(super) async fn wishes(context: Context) -> Checked {
    let application = context.register().await?;
    let usual = context.profile();
    let with = |each: Resources| Arc::new(ResourceProfile { each, ..(*usual).clone() });
    let mut refused = Vec::new();
    for (what, each) in [
        ("no cpus", Resources::new(Cpus::from_millis(0), MiB(64))),
        ("no memory", Resources::new(Cpus::from_millis(100), MiB(0))),
        ("a million cpus", Resources::new(Cpus::whole(1_000_000), MiB(64))),
    ] {
        let answer = application.handle()?.set_target(Target::of(with(each), 1)).map(drop);
        refused.push(refusal(&context, what, answer)?);
    }
    application.wish(Target::of(usual.clone(), 0))?;
    let larger = Resources::new(usual.each.cpus, MiB(usual.each.memory.0 * 2));
    let answer = application.handle()?.set_target(Target::of(with(larger), 1)).map(drop);
    refused.push(refusal(&context, "a profile that changed under its id", answer)?);
    quiet(&context, &application).await?;
    Ok(Evidence::new().with("refused", refused))
}

async fn quiet(context: &Context, application: &Driven) -> Result<(), Finding> {
    context
        .never("a refused wish does nothing", context.deadline(crate::DeadlineName::Quiet), async || {
            let granted = application.told(|v| v.executors.len());
            let ran = context.witness().ever(application.id());
            (granted + ran > 0).then(|| format!("{granted} executors told of, {ran} probes called"))
        })
        .await
}

fn refusal(context: &Context, what: &str, answer: Result<()>) -> Result<String, Finding> {
    match answer {
        Ok(()) => Err(Finding::failed("not refused", format!("{what} was taken"))),
        Err(error) if error.kind() != ErrorKind::InvalidRequest => Err(Finding::failed(
            "wrong kind",
            format!("{what} is refused as {:?}, not InvalidRequest: {error}", error.kind()),
        )),
        Err(error) if error.field().is_none() => {
            Err(Finding::failed("no field", format!("the refusal of {what} names no field: {error}")))
        }
        Err(error) => {
            context.timeline().note(format!("{what}: {error}"));
            Ok(format!("{what}: {error}"))
        }
    }
}

fn nothing_ran(context: &Context, application: &convoke_core::ids::ApplicationId) -> Result<(), Finding> {
    match context.witness().ever(application) {
        0 => Ok(()),
        ran => Err(Finding::failed("ran", format!("{ran} probes called for a refused registration"))),
    }
}
