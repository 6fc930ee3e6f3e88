//! Large results, arguments and shared values.

use std::fmt;
use std::time::Duration;

use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{Shape, check, end};
use crate::floor::MEBIBYTE;
use crate::{Result, now};

/// Bytes that are encoded as such: a `Vec<u8>` is a sequence of numbers to serde, each encoded by itself.
#[derive(Debug, Clone)]
struct Blob(Vec<u8>);

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_bytes(&self.0)
    }
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Blob, D::Error> {
        struct Bytes;
        impl Visitor<'_> for Bytes {
            type Value = Blob;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("bytes")
            }
            fn visit_bytes<E>(self, bytes: &[u8]) -> std::result::Result<Blob, E> {
                Ok(Blob(bytes.to_vec()))
            }
            fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> std::result::Result<Blob, E> {
                Ok(Blob(bytes))
            }
        }
        deserializer.deserialize_byte_buf(Bytes)
    }
}

impl Blob {
    /// So long, and marked with `mark`.
    fn new(bytes: usize, mark: u64) -> Blob {
        let mut blob = vec![7; bytes];
        blob[..8].copy_from_slice(&mark.to_le_bytes());
        Blob(blob)
    }

    /// Its mark, where it is as long as it should be.
    fn mark(&self, bytes: usize) -> u64 {
        let head = self.0.get(..8).and_then(|head| head.try_into().ok()).map(u64::from_le_bytes);
        head.filter(|_| self.0.len() == bytes).unwrap_or(u64::MAX >> 16)
    }
}

#[convoke::task]
fn large_result(mark: u64) -> Blob {
    Blob::new(MEBIBYTE, mark)
}

#[convoke::task]
fn large_argument(blob: Blob) -> u64 {
    blob.mark(MEBIBYTE)
}

#[convoke::task]
fn shared(value: convoke::task::Broadcast<Blob>) -> Result<(u32, u64), String> {
    let value = value.value().map_err(|error| error.to_string())?;
    std::thread::sleep(Duration::from_millis(5)); // so that one slot doesn't take both
    Ok((std::process::id(), value.mark(SHARED)))
}

const SHARED: usize = 64 * MEBIBYTE;

/// MB/s of results and of arguments of 1 MiB.
pub(crate) fn throughput(mebibytes: u64) -> Result<(f64, f64)> {
    let driver = Shape::USUAL.driver()?;
    let megabytes = (mebibytes as usize * MEBIBYTE) as f64 / 1e6;
    let expected = mebibytes * (mebibytes - 1) / 2;
    driver.map(large_result, 0..8).wait()?;

    let start = now();
    let mut results = driver.map(large_result, 0..mebibytes).unordered();
    let mut sum = 0;
    while let Some(batch) = convoke::block_on(results.next_batch()) {
        for (_, blob) in batch {
            sum += blob?.mark(MEBIBYTE);
        }
    }
    let results = megabytes / start.elapsed().as_secs_f64();
    check("the results' sum", sum, expected)?;

    let start = now();
    let marks = driver.map(large_argument, (0..mebibytes).map(|mark| Blob::new(MEBIBYTE, mark))).wait()?;
    let arguments = megabytes / start.elapsed().as_secs_f64();
    check("the results' sum", marks.iter().sum(), expected)?;
    end(driver)?;
    Ok((results, arguments))
}

/// Milliseconds from a value of 64 MiB in the caller's hands until a task on each of two executors has seen all of it.
pub(crate) fn broadcast() -> Result<f64> {
    let driver = Shape::USUAL.driver()?;
    driver.map(large_result, 0..8).wait()?;
    let value = Blob::new(SHARED, 42);
    let start = now();
    let handle = driver.broadcast(value)?;
    let seen = driver.map(shared, [handle.clone(), handle.clone()]).wait()?;
    let taken = start.elapsed().saturating_sub(Duration::from_millis(5));
    drop(handle); // the value is forgotten with the last one here
    match seen.as_slice() {
        [(one, 42), (other, 42)] if one != other => {}
        _ => return Err(format!("the value was seen as {seen:?}").into()),
    }
    end(driver)?;
    Ok(taken.as_secs_f64() * 1e3)
}
