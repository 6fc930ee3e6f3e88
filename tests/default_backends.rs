//! A driver finds the backends that are compiled in by itself.

#![allow(clippy::unwrap_used, reason = "a test")]

convoke::test_executor!();

#[cfg(feature = "local")]
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_knows_the_local_backend() {
    let builder = convoke::driver::Driver::builder().ignore_environment().master("local-cluster[1,1]");
    let error = builder.start().await.unwrap_err();
    assert!(error.message().contains("three parts"), "{error:?}");
}

#[test]
#[cfg(feature = "local")]
fn a_url_that_names_slots_sets_them() {
    let driver = convoke::driver::Driver::builder()
        .ignore_environment()
        .name("slots")
        .master("local[3]")
        .executors(1)
        .start_blocking()
        .unwrap();
    assert_eq!(driver.settings().executor_cpus, convoke::units::Cpus::whole(3));
    convoke::block_on(
        driver.shutdown(convoke::manager::Outcome::Succeeded, std::time::Duration::from_secs(20)),
    )
    .unwrap();
}
