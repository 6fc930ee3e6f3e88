//! `convoke conformance`: what of the contract a cluster manager keeps, rule by rule.

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use convoke::manager::{ClusterManager, ManagerSettings};
use convoke::{Error, Result};
use convoke_conformance::report::{self, Format};
use convoke_conformance::{Harness, LiveCluster, LiveHarness, Options, Profile, Selection, rules};

use crate::arguments::Conformance;
use crate::output::print;
use crate::settings::Chosen;

/// The kit could not run, or only in part.
const COULD_NOT_RUN: u8 = 2;

/// Runs the chosen rules on the cluster; progress goes to standard error, the report to standard output.
pub fn run(command: &Conformance) -> Result<ExitCode> {
    match examine(command) {
        Ok(code) => Ok(code),
        Err(error) => {
            eprintln!("convoke: {error:#}");
            Ok(ExitCode::from(COULD_NOT_RUN))
        }
    }
}

fn examine(command: &Conformance) -> Result<ExitCode> {
    let options = Options { selection: selection(command)?, deadlines: command.deadlines.clone() };
    if command.list {
        print(&list(&options.selection))?;
        return Ok(ExitCode::SUCCESS);
    }
    let format: Format = command.report.parse()?;
    let chosen = Chosen::collect(&command.configuration, &command.place, None, std::env::vars())?;
    let settings = chosen.settings()?;
    let Some(master) = settings.master.clone() else {
        return Err(Error::invalid("master", "there is no cluster manager to examine")
            .help("name one: --master 'local-cluster[2,2,1GiB]'"));
    };
    let place = Place { master: master.clone(), settings: settings.manager.clone() };
    let cluster = LiveCluster {
        subject: master.clone(),
        address: place.to_json(),
        make: Arc::new(move || place.manager()),
        hooks: command.hooks.clone(),
        reached_at: settings.advertise.first().cloned(),
        waivers: command.waivers.as_ref().map(waivers).transpose()?,
        reproduce: reproduce(command, &master),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Error::host("can't start a runtime", error))?;
    let ran = runtime.block_on(async {
        let harness: Arc<dyn Harness> = Arc::new(LiveHarness::look(cluster).await?);
        let count = rules::all().filter(|rule| options.selection.selects(rule)).count();
        eprintln!("examining {master}: {count} rules");
        convoke_conformance::run(harness, &options, &mut |rule| eprintln!("{}", report::line(rule))).await
    });
    // a subject that blocks for ever keeps a thread: it is not waited for
    runtime.shutdown_background();
    let ran = ran?;
    print(&format.render(&ran))?;
    Ok(ExitCode::from(ran.exit_code()))
}

/// What a cluster's manager is made of, here and in a driver that is killed.
struct Place {
    master: String,
    settings: BTreeMap<String, String>,
}

impl Place {
    fn manager(&self) -> Result<Arc<dyn ClusterManager>> {
        let mut settings = ManagerSettings::default();
        settings.options.clone_from(&self.settings);
        convoke::registry().manager_with(&self.master, &settings)
    }

    fn to_json(&self) -> String {
        serde_json::json!({ "master": self.master, "settings": self.settings }).to_string()
    }
}

/// The manager of a driver that the kit starts in a process of its own, to kill it.
pub fn dial(address: &str) -> Result<Arc<dyn ClusterManager>> {
    let not_ours = || Error::invalid("address", "not an address that the kit gave");
    let address: serde_json::Value =
        serde_json::from_str(address).map_err(|error| not_ours().source(error))?;
    let master = address["master"].as_str().ok_or_else(not_ours)?.to_owned();
    let settings = address["settings"].as_object().into_iter().flatten();
    let settings =
        settings.filter_map(|(key, value)| Some((key.clone(), value.as_str()?.to_owned()))).collect();
    Place { master, settings }.manager()
}

/// The manager profile unless another is named, or rules of the other are.
fn selection(command: &Conformance) -> Result<Selection> {
    let mut profiles: Vec<Profile> =
        command.profiles.iter().map(|profile| profile.parse()).collect::<Result<_>>()?;
    if profiles.is_empty() && command.rules.is_empty() {
        profiles.push(Profile::Manager);
    }
    let mut selection = Selection { profiles, filters: command.rules.clone(), ..Selection::default() };
    selection.check(rules::all())?;
    if selection.profiles.is_empty() {
        let mut profiles: Vec<_> =
            rules::all().filter(|rule| selection.selects(rule)).map(|rule| rule.profile).collect();
        profiles.sort_unstable();
        profiles.dedup();
        selection.profiles = profiles;
    }
    Ok(selection)
}

fn list(selection: &Selection) -> String {
    rules::all()
        .filter(|rule| selection.selects(rule))
        .map(|rule| {
            format!(
                "{:<4} {:<6} {:<8} {}\n",
                rule.id,
                rule.level.as_str(),
                rule.profile.as_str(),
                rule.statement
            )
        })
        .collect()
}

fn waivers(path: &std::path::PathBuf) -> Result<String> {
    std::fs::read_to_string(path)
        .map_err(|error| Error::host("can't read the waivers file", error).with("file", path.display()))
}

/// The command that runs it again, for a shell; `--rule` is added by whoever prints it.
fn reproduce(command: &Conformance, master: &str) -> String {
    let mut line = format!("convoke conformance --master '{master}'");
    for setting in &command.configuration.settings {
        line.push_str(&format!(" --conf '{setting}'"));
    }
    for (flag, path) in [
        ("--conf-file", &command.configuration.conf_file),
        ("--hooks", &command.hooks),
        ("--waivers", &command.waivers),
    ] {
        if let Some(path) = path {
            line.push_str(&format!(" {flag} '{}'", path.display()));
        }
    }
    for deadline in &command.deadlines {
        line.push_str(&format!(" --deadline {deadline}"));
    }
    line
}
