//! A driver finds the backends that are compiled in by itself.

#![allow(clippy::unwrap_used, reason = "a test")]

#[cfg(feature = "local")]
#[tokio::test(flavor = "multi_thread")]
async fn a_driver_knows_the_local_backend() {
    let builder = convoke::driver::Driver::builder().ignore_environment().master("local-cluster[1,1]");
    let error = builder.start().await.unwrap_err();
    assert!(error.message().contains("three parts"), "{error:?}");
}
