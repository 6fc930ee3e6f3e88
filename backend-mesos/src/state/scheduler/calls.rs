//! The calls that a framework makes.

use std::collections::BTreeMap;
use std::time::Duration;

use convoke_core::clock::Moment;
use convoke_core::ids::{ExecutorId, Name};
use convoke_core::manager::{Grant, Wanted};
use convoke_core::units::HostPort;

use super::{Home, MOST_HOMES, Out, Scheduler, SchedulerCommand, Told};
use crate::state::offers::{Acceptance, OffersEvent, REFUSE_UNFIT};
use crate::state::tasks::Task;
use crate::v1::scheduler::{Call, call};
use crate::{launch, settings, v1};

/// The label of a framework that names convoke's application.
pub const APPLICATION_LABEL: &str = "convoke.application";

impl Scheduler {
    /// The SUBSCRIBE to send: always suppressed, so that a framework whose driver vanished in the middle of it holds no offer.
    #[must_use]
    pub fn subscribe_call(&self, user: &str) -> Call {
        let role = settings::role(&self.settings, self.spec.queue.as_ref()).to_owned();
        let mut labels = vec![label(APPLICATION_LABEL, self.spec.id.as_str())];
        labels.extend(self.spec.tags.iter().map(|(name, value)| label(name.as_str(), value)));
        use v1::framework_info::capability::Type;
        let mut capabilities =
            vec![Type::TaskKillingState, Type::PartitionAware, Type::MultiRole, Type::ReservationRefinement];
        if self.settings.gpus {
            capabilities.push(Type::GpuResources);
        }
        let info = v1::FrameworkInfo {
            user: self.spec.user.as_ref().map_or(user, Name::as_str).to_owned(),
            name: self.spec.name.to_string(),
            id: self.framework.clone(),
            failover_timeout: Some(self.spec.lease.as_secs_f64()),
            checkpoint: Some(true),
            principal: self.settings.principal.clone(),
            capabilities: capabilities
                .into_iter()
                .map(|kind| v1::framework_info::Capability { r#type: Some(kind as i32) })
                .collect(),
            labels: Some(v1::Labels { labels }),
            roles: vec![role.clone()],
            ..Default::default()
        };
        Call {
            framework_id: self.framework.clone(),
            r#type: Some(call::Type::Subscribe as i32),
            subscribe: Some(call::Subscribe { framework_info: info, suppressed_roles: vec![role] }),
            ..Default::default()
        }
    }

    pub(super) fn decline(&mut self, offer_ids: Vec<v1::OfferId>, refuse: Duration, out: &mut Out) {
        let decline = call::Decline { offer_ids, filters: Some(filters(refuse)) };
        self.call(call::Type::Decline, |call| call.decline = Some(decline), out);
    }

    pub(super) fn accept(&mut self, now: Moment, taken: Acceptance, out: &mut Out) {
        let mut task_infos = Vec::new();
        for placed in taken.placed {
            let executor = placed.wanted.executor;
            let (command, grace) = match launch::command(&self.spec, self.spec.user.as_ref(), &placed.wanted)
            {
                Ok(command) => command,
                Err(exit) => {
                    self.tell_tasks(now, out, |tasks, told| tasks.ruled_out(executor, exit, told));
                    self.tell_offers(now, OffersEvent::Left(taken.host.clone()), out);
                    continue;
                }
            };
            let native = self.tasks.native(executor);
            out.push(SchedulerCommand::Tell(Told::Granted(Grant {
                executor,
                profile: placed.wanted.profile.id,
                native: native.clone(),
                host: Some(taken.host.clone()),
                actual: placed.actual.clone(),
                devices: BTreeMap::new(),
            })));
            self.accepted(executor, &taken.agent, &taken.host, &taken.address, &placed.wanted);
            let nanoseconds = i64::try_from(grace.as_nanos()).unwrap_or(i64::MAX);
            task_infos.push(v1::TaskInfo {
                name: native.clone(),
                task_id: v1::TaskId { value: native },
                agent_id: taken.agent.clone(),
                resources: placed.resources,
                command: Some(command),
                kill_policy: Some(v1::KillPolicy { grace_period: Some(v1::DurationInfo { nanoseconds }) }),
                ..Default::default()
            });
        }
        if task_infos.is_empty() {
            return self.decline(vec![taken.offer], REFUSE_UNFIT, out);
        }
        let operation = v1::offer::Operation {
            r#type: Some(v1::offer::operation::Type::Launch as i32),
            launch: Some(v1::offer::operation::Launch { task_infos }),
        };
        let accept = call::Accept {
            offer_ids: vec![taken.offer],
            operations: vec![operation],
            filters: Some(filters(REFUSE_UNFIT)),
        };
        self.call(call::Type::Accept, |call| call.accept = Some(accept), out);
    }

    pub(super) fn accepted(
        &mut self,
        executor: ExecutorId,
        agent: &v1::AgentId,
        host: &Name,
        address: &Option<HostPort>,
        wanted: &Wanted,
    ) {
        self.homes.insert(executor, Home { agent: agent.clone(), address: address.clone() });
        if self.homes.len() > MOST_HOMES {
            self.homes.pop_first();
        }
        let task = Task::new(agent.clone(), host.clone(), address.clone(), wanted.profile.each.memory);
        self.tasks.accepted(executor, task);
    }

    pub(super) fn call(&self, kind: call::Type, fill: impl FnOnce(&mut Call), out: &mut Out) {
        let mut call =
            Call { framework_id: self.framework.clone(), r#type: Some(kind as i32), ..Default::default() };
        fill(&mut call);
        out.push(SchedulerCommand::Call(Box::new(call)));
    }
}

fn filters(refuse: Duration) -> v1::Filters {
    v1::Filters { refuse_seconds: Some(refuse.as_secs_f64()) }
}

fn label(key: &str, value: &str) -> v1::Label {
    v1::Label { key: key.to_owned(), value: Some(value.to_owned()) }
}
