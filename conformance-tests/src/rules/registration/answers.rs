//! R1, R4, R5, R6: what `register` answers, what it leaves, and how others end an application.

use convoke_core::ErrorKind;
use convoke_core::clock;
use convoke_core::manager::{EndedBy, What};

use crate::application::Setup;
use crate::context::Context;
use crate::deadlines::DeadlineName;
use crate::harness::Hook;
use crate::verdict::{Checked, Evidence, Finding};

/// R1: an application that registers has an id at once, and waits for no executor.
pub(super) async fn with_an_id(context: Context) -> Checked {
    let began = clock::now();
    let application = context.register().await?;
    let took = clock::now().since(began);
    let info = application.handle()?.info();
    if info.native.trim().is_empty() {
        return Err(Finding::failed("no id", "the manager's own id of the application is empty"));
    }
    if info.id != *application.id() {
        return Err(Finding::failed(
            "another's id",
            format!("registered {}, got {}", application.id(), info.id),
        ));
    }
    Ok(Evidence::new().with("native", info.native).with("answered_after_ms", millis(took)))
}

/// R1: a manager that is away is an error that says so, within the deadline, and leaves nothing behind.
pub(super) async fn unreachable(context: Context) -> Checked {
    let hooks = context.hooks();
    hooks.stop_manager().await.map_err(|e| Finding::of_hook(Hook::StopManager, e))?;
    context.timeline().note("the manager was stopped");
    let (spec, inner) = context.specify(Setup::default())?;
    let within = context.deadline(DeadlineName::Fault);
    let answer = tokio::time::timeout(within, context.manager().register(spec)).await;
    hooks.start_manager().await.map_err(|e| Finding::of_hook(Hook::StartManager, e))?;
    match answer {
        Err(_) => Err(Finding::failed("never answered", "`register` waits for a manager that is away")),
        Ok(Ok(_)) => Err(Finding::failed("registered", "`register` succeeded while the manager was stopped")),
        Ok(Err(error)) if error.kind() == ErrorKind::Unavailable => {
            let evidence = Evidence::new().with("error", error.to_string());
            nothing_at_the_manager(&context, inner.id().as_str()).await.map(|()| evidence)
        }
        Ok(Err(error)) => Err(Finding::failed(
            "wrong kind",
            format!("a stopped manager gives {:?}, not Unavailable: {error}", error.kind()),
        )),
    }
}

/// R4: the future of `register`, dropped after each number of polls, leaves nothing past the lease.
pub(super) async fn dropped_anywhere(context: Context) -> Checked {
    let mut dropped = Vec::new();
    let mut polls = 0_u32;
    loop {
        polls += 1;
        let (spec, inner) = context.specify(Setup::default())?;
        let mut registering = context.manager().register(spec);
        let mut answered = None;
        for _ in 0..polls {
            // a poll that is pending gets a moment, so that the next one finds something new
            match tokio::time::timeout(std::time::Duration::from_millis(2), &mut registering).await {
                Ok(answer) => {
                    answered = Some(answer);
                    break;
                }
                Err(_) => tokio::task::yield_now().await,
            }
        }
        drop(registering);
        match answered {
            None if polls < 200 => dropped.push(inner.id().clone()),
            None => {
                return Err(Finding::failed(
                    "never answered",
                    "`register` was still pending after 200 polls",
                ));
            }
            Some(answer) => {
                drop(answer?);
                dropped.push(inner.id().clone());
                break;
            }
        }
    }
    context.timeline().note(format!("registrations dropped at {} points", dropped.len()));
    for application in &dropped {
        nothing_at_the_manager(&context, application.as_str()).await?;
    }
    Ok(Evidence::new().with("dropped", dropped.len()))
}

/// Waits until the manager has nothing in this application's name, for a lease and what the manager needs to see it.
pub(crate) async fn nothing_at_the_manager(context: &Context, application: &str) -> Result<(), Finding> {
    nothing_at_the_manager_but(context, application, &[]).await.map(drop)
}

/// The same, but for the kinds of things that [`leaves`](crate::Harness::leaves) names; answers those that are there.
pub(crate) async fn nothing_at_the_manager_but(
    context: &Context,
    application: &str,
    stays: &[String],
) -> Result<Vec<String>, Finding> {
    let lease = context.deadline(DeadlineName::Lease).max(context.manager().describe().least_lease);
    let within = lease + context.deadline(DeadlineName::Exit);
    let may_stay = |entry: &str| {
        stays.iter().filter_map(|stay| stay.split(':').next()).any(|kind| entry.starts_with(kind))
    };
    let mut trouble = None;
    let waited = context
        .eventually(&format!("nothing of {application} at the manager"), within, async || {
            match context.hooks().list_existing(application).await {
                Ok(left) if left.iter().all(|entry| may_stay(entry)) => Ok(left),
                Ok(left) => Err(left.join(", ")),
                Err(unhooked) => {
                    trouble = Some(Finding::of_hook(Hook::ListExisting, unhooked));
                    Ok(Vec::new())
                }
            }
        })
        .await;
    match (trouble, waited) {
        (Some(finding), _) => Err(finding),
        (None, Err(Finding::Failed { seen, .. })) => Err(Finding::failed("left over", seen)),
        (None, other) => other,
    }
}

/// R5: ids of the manager's own differ, pages can be opened, and no more is claimed than described.
pub(super) async fn native_ids(context: Context) -> Checked {
    let (one, other) = (context.register().await?, context.register().await?);
    let (one, other) = (one.handle()?.info(), other.handle()?.info());
    if one.native == other.native {
        return Err(Finding::failed("one id", format!("two applications have the native id {}", one.native)));
    }
    for page in [&one.page, &other.page].into_iter().flatten() {
        if !page.starts_with("http://") && !page.starts_with("https://") {
            return Err(Finding::failed("no page", format!("a person can't open {page:?}")));
        }
    }
    let most = context.manager().describe().capabilities;
    if let Some(more) = one.capabilities.claimed().find(|claim| most.claimed().all(|known| known != *claim)) {
        return Err(Finding::failed("over-claim", format!("{more} is claimed, and not in the description")));
    }
    Ok(Evidence::new().with("native", one.native).with("page", one.page))
}

/// R6: an end by an operator is told last, with who, after every executor's exit.
pub(super) async fn ended_by_others(context: Context) -> Checked {
    context.need_room(2)?;
    let application = context.register().await?;
    application.target(2)?;
    application.settled(2).await?;
    let native = application.handle()?.info().native;
    context.hooks().end_application(&native).await.map_err(|e| Finding::of_hook(Hook::EndApplication, e))?;
    context.timeline().note("an operator ended the application");
    let within = context.deadline(DeadlineName::Fault);
    context
        .eventually("the end of the stream", within, async || {
            application.told(|v| if v.over { Ok(()) } else { Err(v.summary()) })
        })
        .await?;
    let (left, last) = application.told(|v| (v.live(), v.events.last().map(|(_, e)| e.what.clone())));
    let Some(What::Ended { outcome, by }) = last else {
        return Err(Finding::failed("no end", format!("the last event is {last:?}, not Ended")));
    };
    if !left.is_empty() {
        return Err(Finding::failed("no exit", format!("the stream ended, and {left:?} never exited")));
    }
    if by == EndedBy::Application {
        return Err(Finding::failed("wrong teller", "the end is put down to the application itself"));
    }
    application.nothing_remains(within).await?;
    Ok(Evidence::new().with("by", format!("{by:?}")).with("outcome", format!("{outcome:?}")))
}

pub(super) fn millis(time: std::time::Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
