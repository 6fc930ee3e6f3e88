//! What `status`, `logs` and `kill` have in common: a manager that can be asked, and the application that is meant.

use std::future::Future;
use std::sync::Arc;

use convoke::manager::{ApplicationReport, ApplicationState, ClusterManager, Operator};
use convoke::{Error, ErrorKind, Result};

use crate::arguments::{Configuration, Where};
use crate::settings::Chosen;

/// Where no master is named: the applications of this machine.
const USUAL_MASTER: &str = "local";

/// A manager to ask.
#[derive(Debug, Clone)]
pub struct Asked {
    pub master: String,
    manager: Arc<dyn ClusterManager>,
}

impl Asked {
    /// The master that flags, environment and file name.
    pub fn open(configuration: &Configuration, place: &Where) -> Result<Asked> {
        let chosen = Chosen::collect(configuration, place, None, std::env::vars())?;
        let mut settings = chosen.settings()?;
        let master = settings.master.get_or_insert_with(|| USUAL_MASTER.to_owned()).clone();
        let manager = chosen.manager(&settings)?;
        if manager.operator().is_none() {
            return Err(Error::unsupported("this master doesn't tell of applications to later processes")
                .with("master", &master)
                .with("backend", manager.describe().kind)
                .help("look at the manager's own page, or at the driver that holds the application"));
        }
        Ok(Asked { master, manager })
    }

    /// What can be asked.
    pub fn operator(&self) -> Result<&dyn Operator> {
        self.manager.operator().ok_or_else(|| Error::unsupported("this master tells nothing of applications"))
    }

    /// All applications, the youngest first.
    pub async fn applications(&self) -> Result<Vec<ApplicationReport>> {
        let mut all = self.operator()?.applications().await?;
        all.sort_by(|one, other| other.since.cmp(&one.since).then_with(|| one.id.cmp(&other.id)));
        Ok(all)
    }

    /// The application that `text` means: its id, the manager's id of it, the beginning of one, or a name that only one has.
    pub async fn find(&self, text: &str) -> Result<ApplicationReport> {
        find(self.applications().await?, text).map_err(|error| error.with("master", &self.master))
    }
}

/// Runs something on a runtime of its own.
pub fn run<T>(what: impl Future<Output = Result<T>>) -> Result<T> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("can't start a runtime", error))?
        .block_on(what)
}

/// Whether an application hasn't ended.
pub fn is_alive(application: &ApplicationReport) -> bool {
    !matches!(application.state, ApplicationState::Ended { .. })
}

fn find(all: Vec<ApplicationReport>, text: &str) -> Result<ApplicationReport> {
    if let Some(found) = all.iter().find(|one| one.id.as_str() == text || one.native == text) {
        return Ok(found.clone());
    }
    let begins: Vec<_> =
        all.iter().filter(|one| one.id.as_str().starts_with(text) || one.native.starts_with(text)).collect();
    let named: Vec<_> = all.iter().filter(|one| one.name.as_str() == text).collect();
    // Of several, the one that lives is meant; where none does, the youngest.
    let only = |candidates: &[&ApplicationReport]| -> Option<ApplicationReport> {
        let living: Vec<_> = candidates.iter().filter(|one| is_alive(one)).collect();
        match living[..] {
            [one] => Some((**one).clone()),
            [] => candidates.iter().max_by_key(|one| one.since).map(|one| (*one).clone()),
            _ => None,
        }
    };
    if let Some(found) = only(&begins).or_else(|| only(&named)) {
        return Ok(found);
    }
    let candidates = if begins.is_empty() { named } else { begins };
    if candidates.is_empty() {
        return Err(Error::new(ErrorKind::NotFound, "no application is called so")
            .with("application", format!("{text:?}"))
            .help("convoke status --all lists them; the beginning of an id is enough"));
    }
    let ids: Vec<_> = candidates.iter().map(|one| one.id.as_str()).collect();
    Err(Error::invalid("application", "several are called so")
        .with("application", format!("{text:?}"))
        .help(format!("say which: {}", ids.join(", "))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke::ids::{ApplicationId, Name};

    fn application(name: &str, random: u64, alive: bool) -> ApplicationReport {
        let name = Name::new(name).unwrap();
        let id = ApplicationId::from_parts(&name, random);
        let state = if alive {
            ApplicationState::Running
        } else {
            ApplicationState::Ended { outcome: None, at: None }
        };
        ApplicationReport::new(id.clone(), name, id.to_string(), state)
    }

    #[test]
    fn an_application_is_found_by_what_people_type() {
        let all = || {
            vec![application("a job", 1, false), application("a job", 2, true), application("pi", 3, false)]
        };
        let name = |text: &str| find(all(), text).map(|found| found.id.to_string());
        assert_eq!(name("a job").unwrap(), "a-job-0000000000000002", "the living one");
        assert_eq!(name("a-job-0000000000000001").unwrap(), "a-job-0000000000000001");
        assert_eq!(name("pi").unwrap(), "pi-0000000000000003");
        assert_eq!(name("nothing").unwrap_err().kind(), ErrorKind::NotFound);
        let two = find(vec![application("x", 1, true), application("x", 2, true)], "x").unwrap_err();
        assert!(two.advice().unwrap().contains("x-0000000000000001"), "{two:?}");
    }
}
