//! Registered functions: what `#[task]` makes of a function, and how an executor runs it.

use std::future::Future;
use std::pin::Pin;

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::codec;
use super::context::TaskContext;
use super::error::Report;

/// A function that executors can run, made by `#[task]`. The type is the function's name, so that it is passed as it is
/// called: `driver.map(square, 0..10)`.
pub trait TaskFunction: Send + Sync + 'static {
    /// Its argument; several arguments are a tuple, none is `()`.
    type Input: Serialize + DeserializeOwned + Send + 'static;
    /// What it gives.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// How it fails; [`Never`](super::Never) where it can't by itself.
    type Error: Serialize + DeserializeOwned + std::fmt::Display + Send + 'static;
    /// The name that it is registered under: its module's path and its own name.
    const NAME: &'static str;
}

/// `Result`, also behind an alias.
#[doc(hidden)]
pub trait Fallible {
    type Value;
    type Error;
    fn into_result(self) -> Result<Self::Value, Self::Error>;
}

impl<T, E> Fallible for Result<T, E> {
    type Value = T;
    type Error = E;
    fn into_result(self) -> Result<T, E> {
        self
    }
}

/// Why an attempt gave no value.
#[doc(hidden)]
#[derive(Debug)]
pub enum Failure {
    /// The function's own error.
    Error(Box<Report>),
    /// The argument or value could not be read or written.
    Unrunnable(crate::Error),
}

/// Runs on a slot's thread: decodes the argument, appends the encoded value.
pub type Body = fn(&[u8], &TaskContext, &mut Vec<u8>) -> Result<(), Failure>;

/// What a slot runs.
#[doc(hidden)]
#[derive(Debug, Clone, Copy)]
pub enum Code {
    Sync(Body),
    Async(AsyncBody),
}

#[doc(hidden)]
pub type AsyncBody = fn(&[u8], TaskContext) -> Result<AsyncRun, Failure>;

#[doc(hidden)]
pub type AsyncRun = Pin<Box<dyn Future<Output = Result<Vec<u8>, Failure>> + Send>>;

/// One registered function.
#[doc(hidden)]
#[derive(Debug)]
pub struct Registration {
    pub name: &'static str,
    pub code: Code,
    /// `file:line`, for the error about duplicates.
    pub location: &'static str,
}

inventory::collect!(Registration);

/// Runs a function that gives a plain value.
#[doc(hidden)]
pub fn run_infallible<I: DeserializeOwned, O: Serialize>(
    argument: &[u8],
    output: &mut Vec<u8>,
    run: impl FnOnce(I) -> O,
) -> Result<(), Failure> {
    let input = codec::decode::<I>(argument).map_err(Failure::Unrunnable)?;
    codec::encode_into(&run(input), output).map_err(Failure::Unrunnable)
}

/// Runs a function that gives a result.
#[doc(hidden)]
pub fn run_fallible<I: DeserializeOwned, R: Fallible>(
    argument: &[u8],
    output: &mut Vec<u8>,
    run: impl FnOnce(I) -> R,
    permanent: impl FnOnce(&R::Error) -> bool,
) -> Result<(), Failure>
where
    R::Value: Serialize,
    R::Error: Serialize + std::fmt::Display,
{
    let input = codec::decode::<I>(argument).map_err(Failure::Unrunnable)?;
    match run(input).into_result() {
        Ok(value) => codec::encode_into(&value, output).map_err(Failure::Unrunnable),
        Err(error) => Err(report(&error, permanent(&error))),
    }
}

fn report<E: Serialize + std::fmt::Display>(error: &E, permanent: bool) -> Failure {
    match codec::encode(error) {
        Ok(encoded) => Failure::Error(Box::new(Report {
            message: error.to_string(),
            location: String::new(),
            error: encoded,
            permanent,
            log_tail: Vec::new(),
        })),
        Err(unencodable) => Failure::Unrunnable(unencodable.with("error", error)),
    }
}

/// Begins an async function: decodes its argument; its future encodes what it gives.
#[doc(hidden)]
pub fn run_async<I: DeserializeOwned, F>(
    argument: &[u8],
    start: impl FnOnce(I) -> F,
    finish: fn(F::Output, &mut Vec<u8>) -> Result<(), Failure>,
) -> Result<AsyncRun, Failure>
where
    F: Future + Send + 'static,
{
    let input = codec::decode::<I>(argument).map_err(Failure::Unrunnable)?;
    let future = start(input);
    Ok(Box::pin(async move {
        let output = future.await;
        let mut bytes = Vec::new();
        finish(output, &mut bytes)?;
        Ok(bytes)
    }))
}

/// Encodes what an async function gave.
#[doc(hidden)]
pub fn finish_infallible<O: Serialize>(output: &O, into: &mut Vec<u8>) -> Result<(), Failure> {
    codec::encode_into(output, into).map_err(Failure::Unrunnable)
}

/// Encodes what a fallible async function gave.
#[doc(hidden)]
pub fn finish_fallible<R: Fallible>(
    output: R,
    into: &mut Vec<u8>,
    permanent: impl FnOnce(&R::Error) -> bool,
) -> Result<(), Failure>
where
    R::Value: Serialize,
    R::Error: Serialize + std::fmt::Display,
{
    match output.into_result() {
        Ok(value) => codec::encode_into(&value, into).map_err(Failure::Unrunnable),
        Err(error) => Err(report(&error, permanent(&error))),
    }
}
