//! How to reach a Mesos and as whom, from the master URL and the settings beside it.

use std::collections::BTreeMap;
use std::path::PathBuf;

use convoke_core::error::{Error, Result};
use convoke_core::ids::Name;
use convoke_core::manager::{ManagerSetting, ManagerSettings, MasterUrl};
use convoke_core::secret::Secret;
use convoke_core::units::HostPort;

/// The environment variable that a secret is read from where no file is named: never an argument, which others can read.
pub const SECRET_VARIABLE: &str = "CONVOKE_MESOS_SECRET";
/// What is read of the settings.
pub const SETTINGS: &[ManagerSetting] = &[
    setting(
        "mesos.role",
        "*",
        "role",
        "The role whose resources are used; an application's queue goes before it.",
    ),
    setting("mesos.principal", "none", "name", "Whom to authenticate as (HTTP basic)."),
    setting(
        "mesos.secret-file",
        "the variable CONVOKE_MESOS_SECRET",
        "path",
        "A file with the principal's secret; never the secret itself, which others could read.",
    ),
    setting("mesos.tls", "false", "true or false", "Speaks TLS to masters and agents."),
    setting("mesos.ca-file", "the system's", "path", "Certificate authorities to trust (PEM); implies TLS."),
    setting(
        "mesos.gpus",
        "false",
        "true or false",
        "Uses agents that have gpus; without it Mesos offers nothing of them.",
    ),
    setting(
        "mesos.wire",
        "protobuf",
        "protobuf or json",
        "How messages are written; json is for looking at them on the way, and slower.",
    ),
];

const fn setting(
    key: &'static str,
    default: &'static str,
    unit: &'static str,
    meaning: &'static str,
) -> ManagerSetting {
    ManagerSetting { key, default, unit, meaning }
}

/// How to reach a Mesos and as whom.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Settings {
    /// Where its masters listen.
    pub masters: Vec<HostPort>,
    /// The role whose resources are used.
    pub role: String,
    /// Whom to authenticate as.
    pub principal: Option<String>,
    /// The principal's secret.
    pub secret: Option<Secret>,
    /// Whether masters and agents speak TLS.
    pub tls: bool,
    /// Certificate authorities to trust instead of the system's.
    pub ca_file: Option<PathBuf>,
    /// Whether agents with gpus are used.
    pub gpus: bool,
    /// How messages are written.
    pub wire: Wire,
}

/// How messages are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Wire {
    /// In protobuf.
    #[default]
    Protobuf,
    /// In JSON, for looking at them on the way.
    Json,
}

impl Settings {
    /// Those of a cluster without authentication, with these masters.
    #[must_use]
    pub fn new(masters: Vec<HostPort>) -> Settings {
        Settings {
            masters,
            role: "*".to_owned(),
            principal: None,
            secret: None,
            tls: false,
            ca_file: None,
            gpus: false,
            wire: Wire::default(),
        }
    }

    /// Reads `mesos://host:port[,host:port…]` and the settings beside it; files are read later.
    ///
    /// # Errors
    /// `InvalidRequest`, naming the field; `Unsupported` for leader discovery by ZooKeeper.
    pub fn read(url: &MasterUrl, settings: &ManagerSettings) -> Result<Settings> {
        let authority = url.authority().unwrap_or_default();
        if authority.starts_with("zk://") {
            return Err(Error::unsupported("finding the leading Mesos master by ZooKeeper is not there yet")
                .with("url", url)
                .help("name the masters themselves: mesos://host:5050,host:5050"));
        }
        let masters = authority
            .split(',')
            .map(|part| {
                // a bracket or one colon means a port; Mesos' own is 5050
                if part.contains(':') { part.parse() } else { format!("{part}:5050").parse() }
            })
            .collect::<Result<Vec<HostPort>>>()
            .map_err(|error| {
                Error::invalid("master", "not the address of a Mesos master")
                    .with("url", url)
                    .help("write it like mesos://host:5050 or mesos://host:5050,host2:5050")
                    .source(error)
            })?;
        let read = Settings::new(masters).with_options(&settings.options)?;
        read.check()?;
        Ok(read)
    }

    fn with_options(mut self, options: &BTreeMap<String, String>) -> Result<Settings> {
        for (key, value) in options.iter().filter(|(key, _)| key.starts_with("mesos.")) {
            match key.as_str() {
                "mesos.role" => self.role = value.clone(),
                "mesos.principal" => self.principal = Some(value.clone()),
                "mesos.secret-file" => {
                    let secret = std::fs::read(value).map_err(|error| {
                        Error::host("can't read the Mesos secret", error).with("file", value)
                    })?;
                    self.secret = Some(Secret::new(secret.trim_ascii().to_vec()));
                }
                "mesos.tls" => self.tls = flag("mesos.tls", value)?,
                "mesos.ca-file" => (self.tls, self.ca_file) = (true, Some(value.into())),
                "mesos.gpus" => self.gpus = flag("mesos.gpus", value)?,
                "mesos.wire" => {
                    self.wire = match value.as_str() {
                        "protobuf" => Wire::Protobuf,
                        "json" => Wire::Json,
                        _ => {
                            return Err(Error::invalid("mesos.wire", "neither protobuf nor json")
                                .with("value", format!("{value:?}")));
                        }
                    }
                }
                unknown => {
                    let known: Vec<_> = SETTINGS.iter().map(|setting| setting.key).collect();
                    return Err(Error::invalid("options", "the Mesos backend has no such setting")
                        .with("option", unknown)
                        .with("known", known.join(", ")));
                }
            }
        }
        if self.principal.is_some() && self.secret.is_none() {
            self.secret = std::env::var(SECRET_VARIABLE).ok().map(|secret| Secret::new(secret.into_bytes()));
        }
        Ok(self)
    }

    /// Refuses what the master would, in words that help (R2).
    fn check(&self) -> Result<()> {
        check_role(&self.role)?;
        let colon = |text: &[u8]| text.contains(&b':');
        if self.principal.as_ref().is_some_and(|principal| colon(principal.as_bytes()))
            || self.secret.as_ref().is_some_and(|secret| colon(secret.expose()))
        {
            return Err(Error::invalid(
                "mesos.principal",
                "Mesos allows no colon in a principal or its secret",
            ));
        }
        Ok(())
    }
}

/// Refuses a role that Mesos would.
///
/// # Errors
/// `InvalidRequest`.
pub fn check_role(role: &str) -> Result<()> {
    let part_is_bad = |part: &str| {
        part.is_empty()
            || matches!(part, "." | ".." | "*")
            || part.starts_with('-')
            || part.contains(|c: char| c.is_whitespace() || c.is_control())
    };
    if role != "*" && role.split('/').any(part_is_bad) {
        return Err(Error::invalid("role", "not a role of Mesos")
            .with("role", format!("{role:?}"))
            .help("a role is `*`, or names joined by slashes without white space, like analytics/reports"));
    }
    Ok(())
}

/// The role of an application: its queue, where it names one.
#[must_use]
pub fn role<'a>(settings: &'a Settings, queue: Option<&'a Name>) -> &'a str {
    queue.map_or(settings.role.as_str(), Name::as_str)
}

fn flag(field: &'static str, value: &str) -> Result<bool> {
    match value {
        "true" => Ok(true),
        "false" => Ok(false),
        _ => Err(Error::invalid(field, "neither true nor false").with("value", format!("{value:?}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(url: &str, options: &[(&str, &str)]) -> Result<Settings> {
        let mut settings = ManagerSettings::default();
        settings.options =
            options.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        Settings::read(&url.parse().unwrap(), &settings)
    }

    #[test]
    fn a_url_names_one_master_or_several() {
        let settings = read("mesos://a:5051,b,[::1]:5050", &[("local.x", "not ours")]).unwrap();
        let masters: Vec<_> = settings.masters.iter().map(ToString::to_string).collect();
        assert_eq!(masters, ["a:5051", "b:5050", "[::1]:5050"]);
        assert_eq!((settings.role.as_str(), settings.tls), ("*", false));
        for bad in ["mesos", "mesos://", "mesos://a:port", "mesos://a:1,,b:1"] {
            assert_eq!(read(bad, &[]).unwrap_err().field(), Some("master"), "{bad}");
        }
        let zookeeper = read("mesos://zk://a:2181/mesos", &[]).unwrap_err();
        assert_eq!(zookeeper.kind(), convoke_core::ErrorKind::Unsupported);
    }

    #[test]
    fn settings_are_checked_before_anything_happens() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "hunter2\n").unwrap();
        let path = file.path().to_str().unwrap();
        let settings =
            read("mesos://a:1", &[("mesos.principal", "me"), ("mesos.secret-file", path)]).unwrap();
        assert_eq!(settings.secret.unwrap().expose(), b"hunter2");
        assert_eq!(read("mesos://a:1", &[("mesos.rool", "x")]).unwrap_err().field(), Some("options"));
        assert_eq!(read("mesos://a:1", &[("mesos.tls", "yes")]).unwrap_err().field(), Some("mesos.tls"));
        assert_eq!(
            read("mesos://a:1", &[("mesos.principal", "a:b")]).unwrap_err().field(),
            Some("mesos.principal")
        );
        for role in ["", "a//b", "a/..", "-x", "a b", "*/a"] {
            assert_eq!(
                read("mesos://a:1", &[("mesos.role", role)]).unwrap_err().field(),
                Some("role"),
                "{role:?}"
            );
        }
        assert!(read("mesos://a:1", &[("mesos.role", "a/b")]).is_ok());
    }
}
