//! What later processes of the user see of applications: frameworks with our label, their tasks, what these printed; and how
//! one is ended.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use convoke_core::clock;
use convoke_core::error::{Error, ErrorKind, Result};
use convoke_core::ids::{ApplicationId, ExecutorId, Name};
use convoke_core::manager::{
    ApplicationReport, ApplicationState, ExecutorReport, ExecutorState, LogChunk, LogRequest, Operator,
    Stream,
};

use crate::agents::{Agent, agents_of_any};
use crate::logs::{self, Author};
use crate::settings::Settings;
use crate::state::amounts::Pool;
use crate::state::scheduler::APPLICATION_LABEL;
use crate::v1::http::Http;
use crate::v1::master::response::get_frameworks::Framework;
use crate::v1::{FrameworkId, Task, TaskState, TimeInfo, master};

/// Between two looks at whether a framework is gone.
const LOOK: Duration = Duration::from_millis(200);

/// The applications of a Mesos.
#[derive(Debug, Clone)]
pub(crate) struct MesosOperator {
    http: Http,
    settings: Arc<Settings>,
}

/// What the master says at one moment.
struct Look {
    frameworks: Vec<(Framework, bool)>,
    tasks: Vec<Task>,
    agents: Vec<Agent>,
}

impl MesosOperator {
    pub(crate) fn new(http: Http, settings: Arc<Settings>) -> MesosOperator {
        MesosOperator { http, settings }
    }

    async fn ask(&self, question: &master::Call) -> Result<master::Response> {
        let mut last = Error::internal("there is no master to ask");
        for master in &self.settings.masters {
            match self.http.ask(master, question).await {
                Ok(answer) => return Ok(answer),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn tear_down(&self, framework: &str) -> Result<()> {
        let call = master::Call {
            r#type: Some(master::call::Type::Teardown as i32),
            teardown: Some(master::call::Teardown {
                framework_id: FrameworkId { value: framework.to_owned() },
            }),
        };
        let mut last = Error::internal("there is no master to ask");
        for master in &self.settings.masters {
            match self.http.tell(master, &call).await {
                Ok(()) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    async fn ask_for(&self, kind: master::call::Type) -> Result<master::Response> {
        self.ask(&master::Call { r#type: Some(kind as i32), ..Default::default() }).await
    }

    async fn tasks(&self) -> Result<Vec<Task>> {
        let tasks = self.ask_for(master::call::Type::GetTasks).await?.get_tasks.unwrap_or_default();
        let all = [tasks.pending_tasks, tasks.tasks, tasks.unreachable_tasks, tasks.completed_tasks];
        Ok(all.into_iter().flatten().collect())
    }

    async fn look(&self) -> Result<Look> {
        let known = self.ask_for(master::call::Type::GetFrameworks).await?.get_frameworks.unwrap_or_default();
        let live = known.frameworks.into_iter().map(|framework| (framework, true));
        let ended = known.completed_frameworks.into_iter().map(|framework| (framework, false));
        Ok(Look {
            frameworks: live.chain(ended).collect(),
            tasks: self.tasks().await?,
            agents: agents_of_any(&self.http, &self.settings).await?,
        })
    }

    fn page(&self, framework: &str) -> Option<String> {
        let master = self.settings.masters.first()?;
        Some(format!("{}://{master}/#/frameworks/{framework}", self.http.scheme()))
    }

    fn report(&self, look: &Look, framework: &Framework, lives: bool) -> Option<ApplicationReport> {
        let id = application_of(framework)?;
        let info = &framework.framework_info;
        let native = info.id.as_ref().map(|id| id.value.clone()).unwrap_or_default();
        let state = if lives {
            ApplicationState::Running
        } else {
            // Mesos keeps no outcome of a framework
            ApplicationState::Ended { outcome: None, at: framework.unregistered_time.and_then(moment) }
        };
        let mut report =
            ApplicationReport::new(id.clone(), Name::new(&info.name).ok()?, native.clone(), state);
        report.user = Name::new(&info.user).ok();
        report.since = framework.registered_time.and_then(moment);
        report.driver_host = info.hostname.as_ref().and_then(|host| Name::new(host).ok());
        report.page = self.page(&native);
        for task in look.tasks.iter().filter(|task| task.framework_id.value == native) {
            let Some(executor) = id.executor(&task.task_id.value) else { continue };
            let mut told = ExecutorReport::new(task.task_id.value.clone(), state_of(task));
            told.host = look
                .agents
                .iter()
                .find(|agent| agent.id == task.agent_id.value)
                .map(|agent| agent.host.clone());
            told.resources = Some(Pool::new(&task.resources).resources());
            let first = task.statuses.first().and_then(|status| status.timestamp);
            told.since = first.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok()).map(since_epoch);
            report.executors.insert(executor, told);
        }
        Some(report)
    }

    async fn framework(&self, application: &ApplicationId) -> Result<(Look, String, bool)> {
        let look = self.look().await?;
        let found = look
            .frameworks
            .iter()
            .find(|(framework, _)| application_of(framework).as_ref() == Some(application))
            .and_then(|(framework, lives)| {
                Some((framework.framework_info.id.as_ref()?.value.clone(), *lives))
            });
        let (native, lives) = found.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the Mesos master knows no such application of convoke")
                .with("application", application)
                .help("convoke status --all lists them; a master forgets those that ended when it is started anew")
        })?;
        Ok((look, native, lives))
    }
}

#[async_trait]
impl Operator for MesosOperator {
    async fn applications(&self) -> Result<Vec<ApplicationReport>> {
        let look = self.look().await?;
        let report = |(framework, lives): &(Framework, bool)| self.report(&look, framework, *lives);
        Ok(look.frameworks.iter().filter_map(report).collect())
    }

    async fn logs(
        &self,
        application: &ApplicationId,
        executor: ExecutorId,
        request: LogRequest,
    ) -> Result<Stream<Result<LogChunk>>> {
        let (look, framework, _) = self.framework(application).await?;
        let name = application.native(executor);
        let task = look.tasks.iter().find(|task| task.task_id.value == name).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "the application has no such executor")
                .with("application", application)
                .with("executor", executor)
        })?;
        let agent = look.agents.iter().find(|agent| agent.id == task.agent_id.value);
        let agent = agent.and_then(|agent| agent.address.clone()).ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "its agent is not registered with the Mesos master any more")
                .with("agent", &task.agent_id.value)
                .help("an agent keeps what a task printed for about a week, and shows it while it is there")
        })?;
        let author = Asked { operator: self.clone(), task: name.clone() };
        logs::read_of(self.http.clone(), Box::new(author), agent, &framework, &name, request).await
    }

    async fn kill(&self, application: &ApplicationId, deadline: Duration) -> Result<()> {
        let began = clock::now();
        let (_, framework, lives) = self.framework(application).await?;
        if lives {
            self.tear_down(&framework).await?;
        }
        loop {
            let (_, _, lives) = self.framework(application).await?;
            let left = self.tasks().await?;
            let left =
                left.iter().filter(|task| task.framework_id.value == framework && !is_over(task)).count();
            if !lives && left == 0 {
                return Ok(());
            }
            if clock::now().since(began) >= deadline {
                return Err(Error::new(ErrorKind::DeadlineExceeded, "the framework has not ended yet")
                    .with("framework", framework)
                    .with("tasks left", left));
            }
            tokio::time::sleep(LOOK).await;
        }
    }
}

/// A task that nobody of ours holds: the master is asked.
struct Asked {
    operator: MesosOperator,
    task: String,
}

#[async_trait]
impl Author for Asked {
    async fn is_alive(&self) -> bool {
        // a master that can't be asked tells nothing of an end
        self.operator
            .tasks()
            .await
            .is_ok_and(|tasks| tasks.iter().any(|task| task.task_id.value == self.task && !is_over(task)))
    }
}

/// The application that a framework was made for, by its label.
fn application_of(framework: &Framework) -> Option<ApplicationId> {
    let labels = &framework.framework_info.labels.as_ref()?.labels;
    labels.iter().find(|label| label.key == APPLICATION_LABEL)?.value.as_ref()?.parse().ok()
}

fn is_over(task: &Task) -> bool {
    matches!(state_of(task), ExecutorState::Ended(_))
}

fn state_of(task: &Task) -> ExecutorState {
    let words = || task.statuses.last().map(|status| status.message().to_owned()).unwrap_or_default();
    match TaskState::try_from(task.state) {
        Ok(TaskState::TaskStaging | TaskState::TaskStarting) => ExecutorState::Starting,
        Ok(TaskState::TaskRunning | TaskState::TaskKilling | TaskState::TaskUnreachable) => {
            ExecutorState::Running
        }
        Ok(state) => ExecutorState::Ended(format!("{}: {}", state.as_str_name(), words())),
        Err(_) => ExecutorState::Ended(format!("state {}: {}", task.state, words())),
    }
}

fn moment(time: TimeInfo) -> Option<SystemTime> {
    u64::try_from(time.nanoseconds).ok().map(Duration::from_nanos).map(since_epoch)
}

fn since_epoch(time: Duration) -> SystemTime {
    SystemTime::UNIX_EPOCH + time
}
