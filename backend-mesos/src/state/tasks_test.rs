use super::*;
use crate::v1::TaskState;
use convoke_core::manager::Blame;
use proptest::prelude::*;

fn tasks() -> Tasks {
    Tasks::new(ApplicationId::from_parts(&Name::new("words").unwrap(), 7))
}

fn accepted(tasks: &mut Tasks, executor: u64) {
    let agent = v1::AgentId { value: "S1".into() };
    tasks.accepted(ExecutorId(executor), Task::new(agent, Name::new("node-1").unwrap(), None, MiB(64)));
}

fn status(tasks: &Tasks, executor: u64, state: TaskState) -> v1::TaskStatus {
    v1::TaskStatus {
        task_id: v1::TaskId { value: tasks.native(ExecutorId(executor)) },
        state: state as i32,
        agent_id: Some(v1::AgentId { value: "S1".into() }),
        ..Default::default()
    }
}

fn take(tasks: &mut Tasks, now: Moment, status: v1::TaskStatus) -> Vec<TasksCommand> {
    let mut out = Vec::new();
    tasks.status(now, status, &mut out);
    out
}

fn kills(out: &[TasksCommand]) -> usize {
    out.iter().filter(|command| matches!(command, TasksCommand::Kill(..))).count()
}

#[test]
fn an_update_is_acknowledged_last_and_only_if_it_asks_for_it() {
    let mut tasks = tasks();
    accepted(&mut tasks, 1);
    let running = status(&tasks, 1, TaskState::TaskRunning);
    let asking = v1::TaskStatus { uuid: Some(vec![7; 16].into()), ..running.clone() };
    let out = take(&mut tasks, Moment::ZERO, asking.clone());
    assert_eq!(out[..2], [TasksCommand::Heard(ExecutorId(1)), TasksCommand::Launched(ExecutorId(1))]);
    assert!(matches!(&out[2], TasksCommand::Acknowledge(it) if it.uuid == vec![7; 16]));
    // sent again because our acknowledgement was lost: acknowledged again, told once
    let again = take(&mut tasks, Moment::ZERO, asking);
    assert!(matches!(again[..], [TasksCommand::Heard(_), TasksCommand::Acknowledge(_)]), "{again:?}");
    // by reconciliation: without a uuid
    assert_eq!(take(&mut tasks, Moment::ZERO, running), [TasksCommand::Heard(ExecutorId(1))]);
    // a stranger's too, or its agent never forgets it
    let mut stranger = status(&tasks, 1, TaskState::TaskFinished);
    stranger.task_id.value = "somebody-0".into();
    stranger.uuid = Some(vec![1; 16].into());
    assert!(matches!(take(&mut tasks, Moment::ZERO, stranger)[..], [TasksCommand::Acknowledge(_)]));
}

#[test]
fn unreachable_is_no_exit_and_a_stopped_one_is_killed_when_it_is_back() {
    let mut tasks = tasks();
    accepted(&mut tasks, 1);
    let (running, unreachable) =
        (status(&tasks, 1, TaskState::TaskRunning), status(&tasks, 1, TaskState::TaskUnreachable));
    take(&mut tasks, Moment::ZERO, running.clone());
    let out = take(&mut tasks, Moment::ZERO, unreachable.clone());
    assert_eq!(out[1], TasksCommand::Reachable(ExecutorId(1), false));
    assert_eq!(take(&mut tasks, Moment::ZERO, unreachable).len(), 1, "told once");
    let mut out = Vec::new();
    tasks.stop(ExecutorId(1), &mut out);
    tasks.stop(ExecutorId(1), &mut out);
    assert_eq!(kills(&out), 2, "each time that it is asked for");
    let out = take(&mut tasks, Moment::ZERO, running);
    assert_eq!(out[1], TasksCommand::Reachable(ExecutorId(1), true));
    assert_eq!(kills(&out), 1);
    let killed = status(&tasks, 1, TaskState::TaskKilled);
    let out = take(&mut tasks, Moment::ZERO, killed);
    assert!(matches!(&out[1], TasksCommand::Exited(_, Some(_), exit) if exit.cause == ExitCause::Released));
}

#[test]
fn what_has_exited_stays_exited_and_is_killed_until_it_is_gone() {
    let mut tasks = tasks();
    accepted(&mut tasks, 1);
    let (running, lost) = (status(&tasks, 1, TaskState::TaskRunning), status(&tasks, 1, TaskState::TaskLost));
    take(&mut tasks, Moment::ZERO, running.clone());
    take(&mut tasks, Moment::ZERO, lost);
    assert!(tasks.has_ended(ExecutorId(1)));
    let out = take(&mut tasks, Moment::ZERO, running.clone());
    assert!(matches!(out[..], [TasksCommand::Kill(..)]), "{out:?}");
    let (mut now, mut sent) = (Moment::ZERO, 0);
    for _ in 0..10 {
        now = tasks.next_deadline().unwrap();
        let mut out = Vec::new();
        tasks.tick(now, &mut out);
        sent += kills(&out);
    }
    assert_eq!(sent, 10);
    assert!(now.since(Moment::ZERO) < LONGEST_WAIT * 10);
    let killed = status(&tasks, 1, TaskState::TaskKilled);
    assert!(take(&mut tasks, now, killed).is_empty(), "no second exit");
    assert_eq!(tasks.next_deadline(), None);
}

#[test]
fn a_task_that_the_master_rejects_was_never_started_and_its_words_are_kept() {
    let mut tasks = tasks();
    accepted(&mut tasks, 1);
    let error = v1::TaskStatus {
        message: Some("Task uses no resources".into()),
        reason: Some(v1::task_status::Reason::TaskInvalid as i32),
        ..status(&tasks, 1, TaskState::TaskError)
    };
    let out = take(&mut tasks, Moment::ZERO, error);
    let TasksCommand::Exited(_, _, exit) = &out[1] else { panic!("{out:?}") };
    assert_eq!((&exit.cause, exit.blame), (&ExitCause::NeverStarted, Blame::Application));
    assert!(exit.message.contains("Task uses no resources"));
}

proptest! {
    #[test]
    fn ended_ids_are_remembered_in_as_few_ranges_as_there_are_gaps(ids in prop::collection::vec(0_u64..60, 0..80)) {
        let mut ended = Ended::default();
        for id in &ids {
            ended.insert(ExecutorId(*id));
        }
        for id in 0..60 {
            prop_assert_eq!(ended.contains(ExecutorId(id)), ids.contains(&id));
        }
        let gaps = (0..60).filter(|id| ids.contains(id) && !ids.contains(&(id + 1))).count();
        prop_assert_eq!(ended.ranges.len(), gaps);
    }
}
