//! Executors under `cargo test`, where libtest owns `main`.
//!
//! The test binary itself is the executor: it is started again with the arguments that make libtest run one test, which
//! calls [`init`](super::role::init). [`test_executor!`](crate::test_executor) writes that test and says where it is.

/// Where a test binary's [`test_executor!`](crate::test_executor) is.
#[derive(Debug)]
#[doc(hidden)]
pub struct TestExecutor {
    /// The test's path, with the crate's name before it.
    pub path: &'static str,
}

inventory::collect!(TestExecutor);

/// The arguments with which this very binary becomes an executor (with [`ROLE`](super::environment::ROLE) set): none for a
/// program that calls [`init`](super::role::init) in `main`, those for libtest in a test binary.
#[must_use]
pub fn bootstrap_arguments() -> Vec<String> {
    match inventory::iter::<TestExecutor>.into_iter().next() {
        Some(test) => {
            // libtest names tests without the crate.
            let path = test.path.split_once("::").map_or(test.path, |(_, path)| path);
            ["--exact", path, "--nocapture", "--test-threads=1"].map(str::to_owned).to_vec()
        }
        None => Vec::new(),
    }
}

/// Makes the tests of a crate able to start executors of their own binary. Write it once per test binary, anywhere:
/// at the top of `src/lib.rs` for the crate's own tests, at the top of each file of `tests/`.
///
/// ```
/// convoke_core::test_executor!();
/// ```
#[macro_export]
macro_rules! test_executor {
    () => {
        #[cfg(test)]
        #[test]
        fn convoke_executor() {
            // Anything but an executor passes this test at once.
            $crate::executor::role::init();
        }

        #[cfg(test)]
        const _: () = {
            use $crate::__private::inventory;
            $crate::__private::inventory::submit! {
                $crate::executor::test_binary::TestExecutor {
                    path: ::core::concat!(::core::module_path!(), "::convoke_executor"),
                }
            }
        };
    };
}
