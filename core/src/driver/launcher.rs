use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::executor::environment;
use crate::ids::ExecutorId;
use crate::manager::{LaunchCommand, Launcher, LogLimits, Program};
use crate::resource::ResourceProfile;
use crate::rpc::ticket::TicketOffice;

/// Makes the command of each executor: the same answer for the same executor, with its derived ticket.
#[derive(Debug)]
pub(crate) struct ExecutorLauncher {
    pub(crate) office: Arc<TicketOffice>,
    /// What all executors find alike.
    pub(crate) environment: BTreeMap<String, String>,
    pub(crate) arguments: Vec<String>,
    pub(crate) logs: LogLimits,
    pub(crate) grace: Duration,
}

impl Launcher for ExecutorLauncher {
    fn launch(&self, executor: ExecutorId, profile: &ResourceProfile) -> LaunchCommand {
        let mut command = LaunchCommand::new(Program::Bootstrap, self.office.ticket(executor, profile.id));
        command.args.clone_from(&self.arguments);
        command.env.clone_from(&self.environment);
        command.env.insert(environment::EXECUTOR.to_owned(), executor.to_string());
        command.env.insert(environment::PROFILE.to_owned(), profile.id.to_string());
        command.logs = self.logs.clone();
        command.grace = self.grace;
        command
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{ApplicationId, Incarnation, Name};

    #[test]
    fn asked_again_it_answers_the_same_and_the_ticket_is_nowhere_else() {
        let application = ApplicationId::from_parts(&Name::new("a").unwrap(), 1);
        let launcher = ExecutorLauncher {
            office: Arc::new(TicketOffice::new(application, Incarnation(1)).unwrap()),
            environment: BTreeMap::from([(environment::DRIVER.to_owned(), "h:1".to_owned())]),
            arguments: vec!["x".to_owned()],
            logs: LogLimits::default(),
            grace: Duration::from_secs(30),
        };
        let profile = ResourceProfile::default();
        let (one, again) =
            (launcher.launch(ExecutorId(3), &profile), launcher.launch(ExecutorId(3), &profile));
        assert_eq!((&one.env, &one.args, &one.ticket), (&again.env, &again.args, &again.ticket));
        assert_ne!(one.ticket, launcher.launch(ExecutorId(4), &profile).ticket);
        assert_eq!(one.env[environment::EXECUTOR], "3");
        assert_eq!(one.env[environment::PROFILE], "0");
        let ticket = crate::secret::to_hex(one.ticket.expose());
        assert!(one.env.values().chain(&one.args).all(|text| !text.contains(&ticket)));
    }
}
