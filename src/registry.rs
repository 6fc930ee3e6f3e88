use convoke_core::driver::Backends;
use convoke_core::manager::Registry;

/// Schemes whose backends are planned: a URL that names one is told so, instead of "unknown".
const PLANNED: [&str; 2] = ["convoke", "yarn"];

/// The backends that are compiled in, by the schemes of their master URLs; a scheme of your own can be added.
///
/// ```
/// use std::sync::Arc;
/// let mut registry = convoke::registry();
/// registry.register("mine", Arc::new(|url, _settings| Err(convoke::Error::invalid("master", format!("{url}?")))));
/// assert!(registry.schemes().any(|scheme| scheme == "mine"));
/// ```
#[must_use]
pub fn registry() -> Registry {
    let mut registry = Registry::new();
    add(&mut registry);
    registry
}

// what `Driver::builder()` knows
inventory::submit! { Backends(add) }

fn add(registry: &mut Registry) {
    for scheme in PLANNED {
        registry.plan(scheme);
    }
    #[cfg(feature = "local")]
    convoke_local::register(registry);
    #[cfg(not(feature = "local"))]
    for scheme in ["local", "local-cluster", "local-inline"] {
        registry.know(scheme, "local");
    }
    #[cfg(feature = "mesos")]
    convoke_mesos::register(registry);
    #[cfg(not(feature = "mesos"))]
    registry.know("mesos", "mesos");
}

#[cfg(test)]
mod tests {
    use super::*;
    use convoke_core::ErrorKind;

    #[test]
    fn every_scheme_of_convoke_is_known() {
        let registry = registry();
        for url in ["convoke://host:7077", "yarn"] {
            let error = registry.manager(url).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Unsupported);
            assert!(error.advice().is_some(), "{error:?}");
        }
        let mesos = registry.manager("mesos://host:5050");
        assert_eq!(
            mesos.err().map(|error| error.kind()),
            (!cfg!(feature = "mesos")).then_some(ErrorKind::Unsupported)
        );
        let unknown = registry.manager("spark://host").unwrap_err();
        assert!(format!("{unknown:#}").contains("known here"), "{unknown:?}");
    }
}
