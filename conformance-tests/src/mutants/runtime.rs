//! Mutants of the runtime profile: genuine executors of the reference manager, with something between them and their driver
//! that speaks the protocol, over the real socket, with their real tickets and sessions.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use bytes::Bytes;
use convoke_core::Result;
use convoke_core::rpc::v1::executor_message::Message;
use convoke_core::rpc::v1::{self, Ending};
use convoke_core::rpc::version;
use convoke_core::task::codec;
use convoke_core::task::error::Report;
use tonic::Status;

use crate::deadlines::{DeadlineName, Deadlines};
use crate::harness::{Environment, Harness, Sizes};
use crate::reference::ReferenceHarness;
use crate::runtime::meddle::Meddle;

/// One mutant of the runtime profile, as data.
pub struct RuntimeMutant {
    /// What it is, behind "an executor that …" or "a driver that …".
    pub name: &'static str,
    /// The rule that must catch it.
    pub rule: &'static str,
    /// The kind of breach that must be seen.
    pub breach: &'static str,
    /// Rules that may break with it.
    pub collateral: &'static [&'static str],
    meddle: fn() -> Arc<dyn Meddle>,
}

impl fmt::Debug for RuntimeMutant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RuntimeMutant")
            .field("name", &self.name)
            .field("rule", &self.rule)
            .finish_non_exhaustive()
    }
}

const fn mutant<M: Meddle + Default>(
    rule: &'static str,
    name: &'static str,
    breach: &'static str,
    collateral: &'static [&'static str],
) -> RuntimeMutant {
    RuntimeMutant { name, rule, breach, collateral, meddle: || Arc::new(M::default()) }
}

/// All of them, in the order of their rules.
pub static ALL: &[RuntimeMutant] = &[
    mutant::<LetsAnybodyIn>("D1", "a driver that lets anybody in", "let in", &["D3", "F5"]),
    mutant::<SpeaksAnything>("D2", "a driver that takes every protocol for its own", "unhelpful", &[]),
    mutant::<RunsTwice>(
        "D3",
        "an executor that runs each task twice, and answers twice",
        "ran twice",
        &["D4", "D5", "D6", "D12"],
    ),
    mutant::<AnothersId>("D3", "an executor that answers with another's id", "wrong value", &["D7"]),
    mutant::<Garbage>("D3", "an executor that answers with garbage", "wrong value", EVERYTHING),
    mutant::<NoAnswer>("D3", "an executor that does not answer at all", "never happened", EVERYTHING),
    mutant::<NeverAgain>("D4", "an executor that calls every failure final", "attempts", &[]),
    mutant::<LosesWords>("D5", "an executor that keeps a panic's words to itself", "wrong failure", &[]),
    mutant::<Mangles>("D8", "a driver that mangles what is fetched", "not whole", &[]),
    mutant::<DoesNotLeave>(
        "D12",
        "an executor that does not hear that it is to leave",
        "never happened",
        &[],
    ),
    mutant::<LongLease>("F5", "an executor that outlives its lease", "left over", &[]),
    mutant::<AlwaysWell>("F6", "a supervisor that says its program is well", "never happened", &[]),
];

const EVERYTHING: &[&str] = &["D1", "D4", "D5", "D6", "D7", "D8", "D12", "F5", "F6"];

/// The section of `docs/mutants.md` on the runtime profile.
#[must_use]
pub fn table() -> String {
    let mut text = String::from(
        "\n## Runtime profile\n\nGenuine executors of the reference manager, with something between them and their driver that speaks the protocol (`src/mutants/runtime.rs`);\n\
         `cargo test -p convoke-conformance --test runtime_mutants` sees that each is caught (with `-- --whole`, that\n\
         nothing outside its collateral fails).\n\n\
         | rule | what is broken | caught by the breach | collateral |\n| --- | --- | --- | --- |\n",
    );
    for mutant in ALL {
        let collateral =
            if mutant.collateral.is_empty() { "–".to_owned() } else { mutant.collateral.join(", ") };
        text.push_str(&format!("| {} | {} | {} | {collateral} |\n", mutant.rule, mutant.name, mutant.breach));
    }
    text.push_str(
        "\nD3's third case goes the other way about: an executor made by hand answers twice, late, with another's id, with garbage and with\n\
         contradictions, and the driver must be right all the same. *Unproven*: D6 and D7 (an\n\
         executor that answers late when it was cancelled and a driver that grows are yet to be seen caught), D14 (the kit has no check for it yet).\n",
    );
    text
}

/// A harness of one mutant, on the reference's environment.
#[derive(Debug)]
pub struct RuntimeMutantHarness(pub &'static RuntimeMutant);

#[async_trait]
impl Harness for RuntimeMutantHarness {
    fn subject(&self) -> String {
        self.0.name.to_owned()
    }

    async fn environment(&self) -> Result<Environment> {
        ReferenceHarness::default().environment().await
    }

    fn deadlines(&self) -> Deadlines {
        Deadlines::default()
            .with(DeadlineName::Settle, Duration::from_secs(15))
            .with(DeadlineName::Exit, Duration::from_secs(8))
    }

    fn sizes(&self) -> Sizes {
        ReferenceHarness::default().sizes()
    }

    fn meddle(&self) -> Option<Arc<dyn Meddle>> {
        Some((self.0.meddle)())
    }
}

/// The updates in an executor's message.
fn updates(answer: &mut v1::ExecutorMessage) -> Option<&mut v1::TaskUpdates> {
    match &mut answer.message {
        Some(Message::Updates(updates)) => Some(updates),
        _ => None,
    }
}

/// Rewrites the payload of each attempt that ended so.
fn each_payload(updates: &mut v1::TaskUpdates, rewrite: impl Fn(Ending, Bytes) -> Bytes) {
    let mut rest = std::mem::take(&mut updates.payload);
    let mut payload = Vec::new();
    for (place, length) in updates.lengths.iter_mut().enumerate() {
        let own = rest.split_to((*length as usize).min(rest.len()));
        let ending = updates.endings.get(place).copied().unwrap_or(0);
        let ending = i32::try_from(ending).ok().and_then(|ending| Ending::try_from(ending).ok());
        let written = rewrite(ending.unwrap_or(Ending::Value), own);
        *length = u32::try_from(written.len()).unwrap_or(u32::MAX);
        payload.extend_from_slice(&written);
    }
    updates.payload = payload.into();
}

/// Rewrites a failure's report.
fn each_report(answer: &mut v1::ExecutorMessage, of: Ending, rewrite: impl Fn(&mut Report)) {
    let Some(updates) = updates(answer) else { return };
    each_payload(updates, |ending, payload| {
        let Some(mut report) = (ending == of).then(|| codec::decode::<Report>(&payload).ok()).flatten()
        else {
            return payload;
        };
        rewrite(&mut report);
        codec::encode(&report).map_or(payload, Bytes::from)
    });
}

macro_rules! meddlers {
    ($($name:ident { $($method:item)* })*) => {
        $(
            #[derive(Debug, Default)]
            struct $name;
            impl Meddle for $name { $($method)* }
        )*
    };
}

meddlers! {
    LetsAnybodyIn {
        fn refused(&self, _: Status) -> Result<v1::JoinResponse, Status> {
            let assignment = v1::Assignment { slots: 1, ..Default::default() };
            Ok(v1::JoinResponse { session: vec![0; 40].into(), assignment: Some(assignment), ..Default::default() })
        }
    }
    SpeaksAnything {
        fn join(&self, ask: &mut v1::JoinRequest) {
            ask.protocol = version::PROTOCOL;
        }
    }
    RunsTwice {
        fn tasks(&self, mut message: v1::DriverMessage) -> Vec<v1::DriverMessage> {
            if let Some(batch) = &mut message.tasks {
                let attempts = if batch.attempts.is_empty() { vec![1; batch.tasks.len()] } else { std::mem::take(&mut batch.attempts) };
                // the second time as an attempt of its own, since an executor takes no attempt twice
                batch.attempts = attempts.iter().copied().chain(attempts.iter().map(|attempt| attempt + 100)).collect();
                batch.tasks.extend_from_within(..);
                batch.lengths.extend_from_within(..);
                if batch.functions.len() > 1 {
                    batch.functions.extend_from_within(..);
                }
                if batch.time_limits_ms.len() > 1 {
                    batch.time_limits_ms.extend_from_within(..);
                }
                batch.payload = [&batch.payload[..], &batch.payload[..]].concat().into();
            }
            vec![message]
        }
    }
    AnothersId {
        fn answer(&self, mut answer: v1::ExecutorMessage) -> Vec<v1::ExecutorMessage> {
            if let Some(updates) = updates(&mut answer) && updates.attempts.is_empty() {
                updates.tasks.reverse();
            }
            vec![answer]
        }
    }
    Garbage {
        fn answer(&self, mut answer: v1::ExecutorMessage) -> Vec<v1::ExecutorMessage> {
            if let Some(updates) = updates(&mut answer) {
                each_payload(updates, |_, payload| vec![0xff; payload.len()].into());
            }
            vec![answer]
        }
    }
    NoAnswer {
        fn answer(&self, mut answer: v1::ExecutorMessage) -> Vec<v1::ExecutorMessage> {
            if updates(&mut answer).is_some() { Vec::new() } else { vec![answer] }
        }
    }
    NeverAgain {
        fn answer(&self, mut answer: v1::ExecutorMessage) -> Vec<v1::ExecutorMessage> {
            each_report(&mut answer, Ending::Failed, |report| report.permanent = true);
            vec![answer]
        }
    }
    LosesWords {
        fn answer(&self, mut answer: v1::ExecutorMessage) -> Vec<v1::ExecutorMessage> {
            each_report(&mut answer, Ending::Panicked, |report| report.message.clear());
            vec![answer]
        }
    }
    Mangles {
        fn chunk(&self, chunk: &mut v1::Chunk) {
            let mut bytes = chunk.bytes.to_vec();
            if let Some(byte) = bytes.last_mut() {
                *byte ^= 1;
            }
            chunk.bytes = bytes.into();
        }
    }
    DoesNotLeave {
        fn order(&self, order: v1::SupervisorOrder) -> Vec<v1::SupervisorOrder> {
            let drains = matches!(order.order, Some(v1::supervisor_order::Order::Drain(_)));
            if drains { Vec::new() } else { vec![order] }
        }
    }
    LongLease {
        fn joined(&self, answer: &mut v1::JoinResponse) {
            if let Some(assignment) = &mut answer.assignment {
                assignment.lease_ms = 600_000;
                assignment.lost_after_ms = 600_000;
            }
        }
    }
    AlwaysWell {
        fn report(&self, mut report: v1::SupervisorReport) -> Vec<v1::SupervisorReport> {
            if let Some(v1::supervisor_report::Report::Heartbeat(beat)) = &mut report.report {
                beat.program_silent_ms = 0;
            }
            vec![report]
        }
    }
}
