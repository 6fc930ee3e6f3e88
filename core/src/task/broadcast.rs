//! A value that all tasks share, sent to each executor once.

use std::any::Any;
use std::collections::HashMap;
use std::fmt;
use std::marker::PhantomData;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::codec;
use super::context::TaskContext;
use crate::error::{Error, ErrorKind, Result};

/// A handle of a shared value: cheap to clone, and serializable, so that it travels in tasks' arguments.
///
/// Made by `Driver::broadcast`. An executor fetches the value when its first task asks, decodes it once, and keeps it until the
/// driver has dropped its last handle.
pub struct Broadcast<T> {
    blob: u64,
    here: Option<Here<T>>,
    value: PhantomData<fn() -> T>,
}

/// On the driver: the value, and what forgets the blob when the last handle goes.
struct Here<T> {
    value: Arc<T>,
    guard: Arc<dyn Any + Send + Sync>,
}

impl<T> Broadcast<T> {
    pub(crate) fn new(blob: u64, value: Arc<T>, guard: Arc<dyn Any + Send + Sync>) -> Broadcast<T> {
        Broadcast { blob, here: Some(Here { value, guard }), value: PhantomData }
    }
}

impl<T: DeserializeOwned + Send + Sync + 'static> Broadcast<T> {
    /// The value. In a task the first call on an executor blocks until it has come.
    ///
    /// # Errors
    /// `NotFound` where the driver has dropped its last handle; `InvalidRequest` outside of tasks, for a handle that came
    /// out of a decoder; `Protocol` for a value that can't be decoded; `Unavailable` where the driver can't be reached.
    pub fn value(&self) -> Result<Arc<T>> {
        if let Some(here) = &self.here {
            return Ok(Arc::clone(&here.value));
        }
        let context = TaskContext::current().ok_or_else(|| {
            Error::new(
                ErrorKind::InvalidRequest,
                "a broadcast value can be had in tasks and where it was made",
            )
        })?;
        let host = &context.attempt.host;
        let value = host.broadcasts().value(self.blob, || {
            let bytes = host.fetch(self.blob)?;
            Ok(Arc::new(codec::decode::<T>(&bytes)?))
        })?;
        value.downcast().map_err(|_| {
            Error::new(ErrorKind::InvalidRequest, "the broadcast value was read as another type before")
                .with("type", std::any::type_name::<T>())
        })
    }
}

impl<T> Clone for Broadcast<T> {
    fn clone(&self) -> Broadcast<T> {
        let here = self
            .here
            .as_ref()
            .map(|here| Here { value: Arc::clone(&here.value), guard: Arc::clone(&here.guard) });
        Broadcast { blob: self.blob, here, value: PhantomData }
    }
}

impl<T> fmt::Debug for Broadcast<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Broadcast").field("blob", &self.blob).finish_non_exhaustive()
    }
}

impl<T> Serialize for Broadcast<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> std::result::Result<S::Ok, S::Error> {
        self.blob.serialize(serializer)
    }
}

impl<'de, T> Deserialize<'de> for Broadcast<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> std::result::Result<Broadcast<T>, D::Error> {
        Ok(Broadcast { blob: u64::deserialize(deserializer)?, here: None, value: PhantomData })
    }
}

type Shared = Arc<dyn Any + Send + Sync>;

/// The decoded values of one executor. Tasks that ask at once wait for the one that fetches; a failure isn't kept.
#[derive(Debug, Default)]
pub(crate) struct Cache(Mutex<HashMap<u64, Arc<OnceLock<Result<Shared>>>>>);

impl Cache {
    fn value<T: Send + Sync + 'static>(
        &self,
        blob: u64,
        fetch: impl FnOnce() -> Result<Arc<T>>,
    ) -> Result<Shared> {
        let cell = Arc::clone(self.0.lock().unwrap_or_else(PoisonError::into_inner).entry(blob).or_default());
        let value = cell.get_or_init(|| fetch().map(|value| value as Shared)).clone();
        if value.is_err() {
            self.forget(blob);
        }
        value
    }

    pub(crate) fn forget(&self, blob: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(&blob);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_fetched_once_and_a_failure_again() {
        let cache = Cache::default();
        let failed = cache.value::<u64>(1, || Err(Error::new(ErrorKind::Unavailable, "away")));
        assert_eq!(failed.unwrap_err().kind(), ErrorKind::Unavailable);
        for _ in 0..2 {
            let mut fetched = 0;
            let value = cache.value(2, || {
                fetched += 1;
                Ok(Arc::new(7_u64))
            });
            assert_eq!(*value.unwrap().downcast::<u64>().unwrap(), 7);
            assert!(fetched <= 1);
        }
        assert!(cache.value(2, || -> Result<Arc<u64>> { panic!("kept") }).is_ok());
        cache.forget(2);
        assert_eq!(*cache.value(2, || Ok(Arc::new(8_u64))).unwrap().downcast::<u64>().unwrap(), 8);
    }
}
