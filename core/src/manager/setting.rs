/// One setting of a backend, as people read it; driver and command line take it by flag, environment and file like their own.
///
/// A backend declares its table with [`Registry::settings`](super::Registry::settings) and finds what was set in
/// [`ManagerSettings::options`](super::ManagerSettings::options).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ManagerSetting {
    /// Its dotted key, which begins with the backend's own word: `mesos.role`.
    pub key: &'static str,
    /// What holds where it isn't set, in words.
    pub default: &'static str,
    /// How its value is written.
    pub unit: &'static str,
    /// What it means.
    pub meaning: &'static str,
}

impl ManagerSetting {
    /// The environment variable that sets it.
    #[must_use]
    pub fn variable(&self) -> String {
        variable(self.key)
    }
}

/// The environment variable of a dotted key: upper case, dots and dashes become underscores.
pub(crate) fn variable(key: &str) -> String {
    format!("CONVOKE_{}", key.to_ascii_uppercase().replace(['.', '-'], "_"))
}
