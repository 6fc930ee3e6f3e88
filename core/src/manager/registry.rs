use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use super::{ClusterManager, ManagerSetting};
use crate::error::{Error, ErrorKind, Result};

/// A master URL: `local[2]`, `local-cluster[2,4,1GiB]`, `convoke://host:7077`, `yarn`, `mesos://host:5050`.
///
/// Only its scheme is read here; the rest is the backend's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MasterUrl {
    scheme: String,
    rest: String,
}

impl MasterUrl {
    /// What chooses the backend: `local`, `local-cluster`, `convoke`, `yarn`, `mesos` …
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.scheme
    }

    /// All that follows the scheme, with its `[…]` or `://…`.
    #[must_use]
    pub fn rest(&self) -> &str {
        &self.rest
    }

    /// What stands in `[…]` behind the scheme, where nothing else does.
    #[must_use]
    pub fn brackets(&self) -> Option<&str> {
        self.rest.strip_prefix('[')?.strip_suffix(']')
    }

    /// What stands behind `://`.
    #[must_use]
    pub fn authority(&self) -> Option<&str> {
        self.rest.strip_prefix("://")
    }
}

impl fmt::Display for MasterUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.scheme, self.rest)
    }
}

impl FromStr for MasterUrl {
    type Err = Error;
    fn from_str(text: &str) -> Result<MasterUrl> {
        let text = text.trim();
        let end =
            text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '-' || c == '+')).unwrap_or(text.len());
        let (scheme, rest) = text.split_at(end);
        let shaped =
            rest.is_empty() || rest.starts_with("://") || (rest.starts_with('[') && rest.ends_with(']'));
        if scheme.is_empty() || !shaped || text.chars().any(char::is_control) {
            return Err(Error::invalid("master", "not a master URL")
                .with("url", format!("{text:?}"))
                .help("write one like local[2], local-cluster[2,2,1GiB] or convoke://host:7077"));
        }
        Ok(MasterUrl { scheme: scheme.to_ascii_lowercase(), rest: rest.to_owned() })
    }
}

/// What a factory is told besides the URL.
#[derive(Debug, Clone, Default)]
#[non_exhaustive]
pub struct ManagerSettings {
    /// Settings of the backend, by dotted key.
    pub options: BTreeMap<String, String>,
}

/// Makes a manager of a master URL.
pub type ManagerFactory =
    Arc<dyn Fn(&MasterUrl, &ManagerSettings) -> Result<Arc<dyn ClusterManager>> + Send + Sync>;

/// Maps the scheme of a master URL to the backend behind it.
///
/// ```
/// use convoke_core::manager::Registry;
/// let mut registry = Registry::new();
/// registry.know("mesos", "mesos");
/// let error = registry.manager("mesos://host:5050").unwrap_err();
/// assert!(format!("{error:#}").contains("features = [\"mesos\"]"));
/// ```
#[derive(Clone, Default)]
pub struct Registry {
    factories: BTreeMap<String, ManagerFactory>,
    /// Schemes that are known but can't be used.
    absent: BTreeMap<String, Absent>,
    /// The settings of each backend, by its own word.
    settings: BTreeMap<&'static str, &'static [ManagerSetting]>,
    /// Variables that backends read by themselves.
    variables: BTreeSet<&'static str>,
}

/// Why a known scheme can't be used.
#[derive(Debug, Clone)]
enum Absent {
    /// This Cargo feature brings it.
    Feature(String),
    /// Its backend is not written yet.
    Planned,
}

impl Registry {
    /// An empty registry.
    #[must_use]
    pub fn new() -> Registry {
        Registry::default()
    }

    /// Adds a scheme, or replaces it.
    pub fn register(&mut self, scheme: &str, factory: ManagerFactory) {
        self.absent.remove(scheme);
        self.factories.insert(scheme.to_owned(), factory);
    }

    /// Makes known that `scheme` needs the Cargo feature `feature`.
    pub fn know(&mut self, scheme: &str, feature: &str) {
        if !self.factories.contains_key(scheme) {
            self.absent.insert(scheme.to_owned(), Absent::Feature(feature.to_owned()));
        }
    }

    /// Makes known that `scheme` is planned: no version of convoke has a backend for it yet.
    pub fn plan(&mut self, scheme: &str) {
        if !self.factories.contains_key(scheme) {
            self.absent.insert(scheme.to_owned(), Absent::Planned);
        }
    }

    /// Declares the settings of a backend, whose keys begin with `backend` and a dot.
    pub fn settings(&mut self, backend: &'static str, settings: &'static [ManagerSetting]) {
        self.settings.insert(backend, settings);
    }

    /// Declares a variable of the environment that begins with `CONVOKE_`, which a backend reads by itself and which is no
    /// setting: a secret, which may not stand in a command line.
    pub fn variable(&mut self, name: &'static str) {
        self.variables.insert(name);
    }

    /// The settings of all backends, by backend.
    pub fn manager_settings(&self) -> impl Iterator<Item = &'static ManagerSetting> + '_ {
        self.settings.values().flat_map(|settings| settings.iter())
    }

    /// The variables that backends read by themselves.
    pub fn variables(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.variables.iter().copied()
    }

    /// How to get the backend whose settings begin with `backend`, where it is known and absent.
    #[must_use]
    pub fn absent_feature(&self, backend: &str) -> Option<&str> {
        match self.absent.get(backend) {
            Some(Absent::Feature(feature)) => Some(feature),
            _ => None,
        }
    }

    /// The schemes that can be used.
    pub fn schemes(&self) -> impl Iterator<Item = &str> {
        self.factories.keys().map(String::as_str)
    }

    /// The manager behind a master URL, with default settings.
    ///
    /// # Errors
    /// As [`Registry::manager_with`].
    pub fn manager(&self, url: &str) -> Result<Arc<dyn ClusterManager>> {
        self.manager_with(url, &ManagerSettings::default())
    }

    /// The manager behind a master URL.
    ///
    /// # Errors
    /// `InvalidRequest` for a malformed URL; `Unsupported` for a scheme that isn't compiled in (naming the feature), isn't
    /// written yet (saying so), or that nobody knows (listing the known ones).
    pub fn manager_with(&self, url: &str, settings: &ManagerSettings) -> Result<Arc<dyn ClusterManager>> {
        let url: MasterUrl = url.parse()?;
        if let Some(factory) = self.factories.get(url.scheme()) {
            return factory(&url, settings);
        }
        let known = self.schemes().collect::<Vec<_>>().join(", ");
        match self.absent.get(url.scheme()) {
            Some(Absent::Feature(feature)) => {
                return Err(Error::new(
                    ErrorKind::Unsupported,
                    "this program was built without that backend",
                )
                .with("url", &url)
                .help(format!(
                    "build it with: convoke = {{ version = \"{}\", features = [\"{feature}\"] }}",
                    env!("CARGO_PKG_VERSION")
                )));
            }
            Some(Absent::Planned) => {
                return Err(Error::new(ErrorKind::Unsupported, "convoke has no backend for that yet")
                    .with("url", &url)
                    .help(format!("known here: {known}; a manager of your own can be registered")));
            }
            None => {}
        }
        let mut help = format!("known here: {known}");
        let features: Vec<_> = self
            .absent
            .iter()
            .filter_map(|(scheme, absent)| match absent {
                Absent::Feature(feature) => Some(format!("{scheme} (feature {feature})")),
                Absent::Planned => None,
            })
            .collect();
        if !features.is_empty() {
            help.push_str(&format!("; with a feature: {}", features.join(", ")));
        }
        Err(Error::new(ErrorKind::Unsupported, "no backend has this scheme")
            .with("scheme", url.scheme())
            .help(help))
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Registry")
            .field("schemes", &self.factories.keys())
            .field("absent", &self.absent)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn urls_are_split_at_their_scheme() {
        let url: MasterUrl = "local-cluster[2,4,1GiB]".parse().unwrap();
        assert_eq!((url.scheme(), url.brackets()), ("local-cluster", Some("2,4,1GiB")));
        let url: MasterUrl = "convoke://a:1,b:2".parse().unwrap();
        assert_eq!((url.scheme(), url.authority()), ("convoke", Some("a:1,b:2")));
        for bad in ["", "://x", "local[2", "local]", "local 2", "[2]", "http:/x"] {
            assert_eq!(bad.parse::<MasterUrl>().unwrap_err().field(), Some("master"), "{bad:?}");
        }
    }

    #[test]
    fn an_unknown_scheme_lists_the_known_ones() {
        let mut registry = Registry::new();
        registry.register("mine", Arc::new(|_, _| Err(Error::internal("not made in this test"))));
        registry.know("yarn", "yarn");
        let text = format!("{:#}", registry.manager("spark://x").unwrap_err());
        assert!(text.contains("mine") && text.contains("yarn (feature yarn)"), "{text}");
    }

    #[test]
    fn a_planned_backend_says_so_until_it_is_there() {
        let mut registry = Registry::new();
        registry.plan("mesos");
        let text = format!("{:#}", registry.manager("mesos://host:5050").unwrap_err());
        assert!(text.contains("no backend for that yet") && text.contains("mesos://host:5050"), "{text}");
        registry.register("mesos", Arc::new(|_, _| Err(Error::internal("not made in this test"))));
        assert_eq!(registry.manager("mesos://host:5050").unwrap_err().kind(), ErrorKind::Internal);
    }
}
