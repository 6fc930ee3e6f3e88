//! All functions that this program has registered, in the order of their names: a function's index in it is its number
//! on the wire, and driver and executors must have the same list.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::function::{Code, Registration, TaskFunction};
use crate::error::{Error, ErrorKind, Result};
use crate::secret::Digest;

/// The functions of this program.
#[derive(Debug)]
pub struct Registry {
    functions: Vec<&'static Registration>,
    digest: Digest,
}

impl Registry {
    /// The registry, collected once.
    ///
    /// # Errors
    /// `AlreadyExists` where two functions have the same name; both places are named.
    pub fn of_this_program() -> Result<&'static Registry> {
        static REGISTRY: OnceLock<Result<Registry>> = OnceLock::new();
        let collect = || Registry::collect(inventory::iter::<Registration>.into_iter());
        REGISTRY.get_or_init(collect).as_ref().map_err(Clone::clone)
    }

    /// A registry of nothing.
    pub(crate) fn empty() -> &'static Registry {
        static EMPTY: Registry = Registry { functions: Vec::new(), digest: Digest([0; 32]) };
        &EMPTY
    }

    fn collect(registrations: impl Iterator<Item = &'static Registration>) -> Result<Registry> {
        let mut functions: Vec<_> = registrations.collect();
        functions.sort_by_key(|function| function.name);
        if let Some(same) = functions.windows(2).find(|pair| pair[0].name == pair[1].name) {
            return Err(Error::new(ErrorKind::AlreadyExists, "two task functions have the same name")
                .with("name", same[0].name)
                .with("first", same[0].location)
                .with("second", same[1].location)
                .help("rename one, or move it into a module of its own"));
        }
        let mut names = String::new();
        for function in &functions {
            names.push_str(function.name);
            names.push('\n');
        }
        Ok(Registry { functions, digest: Digest::of(names.as_bytes()) })
    }

    /// The digest of the sorted names.
    #[must_use]
    pub fn digest(&self) -> Digest {
        self.digest
    }

    /// The sorted names.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.functions.iter().map(|function| function.name)
    }

    pub(crate) fn code(&self, index: u32) -> Option<(&'static str, Code)> {
        self.functions.get(index as usize).map(|function| (function.name, function.code))
    }

    /// The index of a function.
    ///
    /// # Errors
    /// `NotFound` where it isn't registered, which only a hand-written [`TaskFunction`] can be.
    pub fn index_of<F: TaskFunction>(&self) -> Result<u32> {
        match self.functions.binary_search_by_key(&F::NAME, |function| function.name) {
            Ok(index) => Ok(index as u32),
            Err(_) => Err(Error::new(ErrorKind::NotFound, "the function is not registered")
                .with("name", F::NAME)
                .help("put #[convoke::task] on it")),
        }
    }

    /// Refuses an executor with other functions, naming the difference.
    ///
    /// # Errors
    /// `Protocol`.
    pub fn check_same(&self, digest: &[u8], names: &[String]) -> Result<()> {
        if digest == self.digest.0 {
            return Ok(());
        }
        let mut sides: BTreeMap<&str, (bool, bool)> = BTreeMap::new();
        for name in self.names() {
            sides.entry(name).or_default().0 = true;
        }
        for name in names {
            sides.entry(name).or_default().1 = true;
        }
        let only = |driver: bool| {
            let mut missing: Vec<_> =
                sides.iter().filter(|(_, has)| **has == (driver, !driver)).map(|(name, _)| *name).collect();
            let count = missing.len();
            missing.truncate(5);
            match count {
                0 => "none".to_owned(),
                1..=5 => missing.join(", "),
                _ => format!("{} and {} more", missing.join(", "), count - 5),
            }
        };
        Err(Error::new(ErrorKind::Protocol, "the executor's task functions are not the driver's")
            .with("only_driver_has", only(true))
            .with("only_executor_has", only(false))
            .help(
                "driver and executors must run the same build. A library whose functions are missing on one side is not \
                 linked there: name it with `use the_library as _;`",
            ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn registration(name: &'static str, location: &'static str) -> &'static Registration {
        Box::leak(Box::new(Registration { name, code: Code::Sync(|_, _, _| Ok(())), location }))
    }

    #[test]
    fn duplicates_name_both_places() {
        let twice =
            [registration("a::f", "a.rs:1"), registration("b::g", "b.rs:1"), registration("a::f", "c.rs:9")];
        let error = Registry::collect(twice.into_iter()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::AlreadyExists);
        assert!(error.to_string().contains("a.rs:1") && error.to_string().contains("c.rs:9"), "{error}");
    }

    #[test]
    fn a_difference_is_named() {
        let ours =
            Registry::collect([registration("a::f", ""), registration("b::g", "")].into_iter()).unwrap();
        let theirs =
            Registry::collect([registration("a::f", ""), registration("c::h", "")].into_iter()).unwrap();
        let names: Vec<String> = theirs.names().map(str::to_owned).collect();
        ours.check_same(&ours.digest().0, &[]).unwrap();
        let error = ours.check_same(&theirs.digest().0, &names).unwrap_err();
        assert!(error.to_string().contains("only_driver_has: b::g, only_executor_has: c::h"), "{error}");
    }
}
