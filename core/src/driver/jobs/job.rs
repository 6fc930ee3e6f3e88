//! What a caller holds: a task, a job, its results in order or as they come.

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::plane::Tasks;
use super::results::{Item, Outcome, Results};
use super::sink::Sink;
use crate::block_on;
use crate::driver::JobProgress;
use crate::ids::JobId;
use crate::task::{TaskError, TaskFunction};

/// One submitted task: a future of its outcome, under any runtime.
///
/// Dropping it cancels the task; [`Task::detach`] lets it go on.
#[must_use = "a task that is dropped is cancelled"]
pub struct Task<F: TaskFunction> {
    results: Results<F>,
}

impl<F: TaskFunction> Task<F> {
    pub(super) fn new(results: Results<F>) -> Task<F> {
        Task { results }
    }

    /// Blocks the thread until the task is over. Not within an async runtime: await it there.
    ///
    /// # Errors
    /// Why the task gave no value.
    pub fn wait(self) -> Result<F::Output, TaskError<F::Error>> {
        block_on(self)
    }

    /// The id of the job that it is, as the driver's events name it.
    #[must_use]
    pub fn job(&self) -> JobId {
        self.results.job
    }

    /// Cancels it. Its outcome is then `Cancelled`, unless it was over before.
    pub fn cancel(&self) {
        self.results.cancel();
    }

    /// Lets it run without anybody to take its outcome.
    pub fn detach(self) {
        self.results.detach();
    }
}

impl<F: TaskFunction> Future for Task<F> {
    type Output = Outcome<F>;
    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Outcome<F>> {
        match std::task::ready!(self.results.poll_item(context)) {
            Some(item) => {
                // The sink's end is known to have come with its only result.
                let _ = self.results.poll_item(context);
                Poll::Ready(item.outcome)
            }
            None => {
                tracing::error!("a task was polled after it had given its outcome");
                Poll::Pending
            }
        }
    }
}

/// The tasks of one call of `map` or `stream`: a stream of their results in the order of their arguments.
///
/// A result that fails is an item like any other; [`Job::collect`] stops at the first. Dropping it cancels what isn't over.
#[must_use = "a job that is dropped is cancelled"]
pub struct Job<F: TaskFunction> {
    results: Results<F>,
    next: u64,
    /// Results that came before their turn, from position `next` on.
    early: VecDeque<Option<Item<F>>>,
    ended: bool,
}

impl<F: TaskFunction> Job<F> {
    pub(super) fn new(results: Results<F>) -> Job<F> {
        Job { results, next: 0, early: VecDeque::new(), ended: false }
    }

    /// Its id, as the driver's events name it.
    #[must_use]
    pub fn id(&self) -> JobId {
        self.results.job
    }

    /// All values in the order of their arguments.
    ///
    /// # Errors
    /// The first failure in that order; the rest of the job is then cancelled.
    ///
    /// # Cancel safety
    /// A dropped call cancels the job.
    pub async fn collect(mut self) -> Result<Vec<F::Output>, TaskError<F::Error>> {
        let mut values = Vec::new();
        while let Some(value) = self.next().await {
            values.push(value?);
        }
        Ok(values)
    }

    /// The next result in the order of the arguments; `None` after the last.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped call takes no result.
    pub async fn next(&mut self) -> Option<Result<F::Output, TaskError<F::Error>>> {
        std::future::poll_fn(|context| self.poll_in_order(context)).await
    }

    /// Results as they come, with the positions of their arguments.
    pub fn unordered(self) -> Unordered<F> {
        Unordered { results: self.results, early: self.early.into_iter().flatten().collect() }
    }

    /// Blocks the thread for all values, as [`Job::collect`]. Not within an async runtime: await there.
    ///
    /// # Errors
    /// As [`Job::collect`].
    pub fn wait(self) -> Result<Vec<F::Output>, TaskError<F::Error>> {
        block_on(self.collect())
    }

    /// Cancels what isn't over; those results are then `Cancelled`.
    pub fn cancel(&self) {
        self.results.cancel();
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> JobProgress {
        self.results.tasks.progress_of(&self.results.sink)
    }

    /// A handle that tells how far it is while the job itself is being awaited.
    #[must_use]
    pub fn watch(&self) -> JobWatch {
        JobWatch(Arc::clone(&self.results.tasks), Arc::clone(&self.results.sink))
    }

    fn poll_in_order(&mut self, context: &mut Context<'_>) -> Poll<Option<Outcome<F>>> {
        loop {
            if let Some(Some(_)) = self.early.front()
                && let Some(Some(item)) = self.early.pop_front()
            {
                self.next += 1;
                self.results.taken(&item);
                return Poll::Ready(Some(item.outcome));
            }
            if self.ended {
                return Poll::Ready(None);
            }
            self.results.give_back();
            match std::task::ready!(self.results.poll_items(context)) {
                Some(items) => items.into_iter().for_each(|item| self.keep(item)),
                None => self.ended = true,
            }
        }
    }

    fn keep(&mut self, item: Item<F>) {
        // The window bounds how far ahead it can be.
        let ahead = usize::try_from(item.position - self.next).unwrap_or(usize::MAX);
        while self.early.len() <= ahead {
            self.early.push_back(None);
        }
        self.early[ahead] = Some(item);
    }
}

impl<F: TaskFunction> futures_core::Stream for Job<F> {
    type Item = Outcome<F>;
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Outcome<F>>> {
        self.poll_in_order(context)
    }
}

/// The results of a job as they come: `(position of the argument, result)`.
#[must_use = "a job that is dropped is cancelled"]
pub struct Unordered<F: TaskFunction> {
    results: Results<F>,
    early: VecDeque<Item<F>>,
}

impl<F: TaskFunction> Unordered<F> {
    /// The next result; `None` after the last.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped call takes no result.
    pub async fn next(&mut self) -> Option<(u64, Result<F::Output, TaskError<F::Error>>)> {
        std::future::poll_fn(|context| self.poll_one(context)).await
    }

    /// All results that are there, at least one, in one go; `None` after the last. The way to take a flood of tiny ones.
    ///
    /// # Cancel safety
    /// Cancel safe: a dropped call takes no result.
    pub async fn next_batch(&mut self) -> Option<Vec<(u64, Result<F::Output, TaskError<F::Error>>)>> {
        std::future::poll_fn(|context| self.poll_batch(context)).await
    }

    /// Blocks the thread for the next result. Not within an async runtime.
    pub fn wait_next(&mut self) -> Option<<Unordered<F> as futures_core::Stream>::Item> {
        block_on(self.next())
    }

    /// Cancels what isn't over; those results are then `Cancelled`.
    pub fn cancel(&self) {
        self.results.cancel();
    }

    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> JobProgress {
        self.results.tasks.progress_of(&self.results.sink)
    }

    /// A handle that tells how far it is.
    #[must_use]
    pub fn watch(&self) -> JobWatch {
        JobWatch(Arc::clone(&self.results.tasks), Arc::clone(&self.results.sink))
    }

    fn poll_one(&mut self, context: &mut Context<'_>) -> Poll<Option<(u64, Outcome<F>)>> {
        let item = match self.early.pop_front() {
            Some(item) => Some(item),
            None => std::task::ready!(self.results.poll_item(context)),
        };
        Poll::Ready(item.map(|item| {
            self.results.taken(&item);
            (item.position, item.outcome)
        }))
    }

    fn poll_batch(
        &mut self,
        context: &mut Context<'_>,
    ) -> Poll<Option<Vec<<Unordered<F> as futures_core::Stream>::Item>>> {
        let items = if self.early.is_empty() {
            std::task::ready!(self.results.poll_items(context))
        } else {
            Some(std::mem::take(&mut self.early))
        };
        Poll::Ready(items.map(|items| {
            let results = items.into_iter().map(|item| {
                self.results.taken(&item);
                (item.position, item.outcome)
            });
            results.collect()
        }))
    }
}

impl<F: TaskFunction> futures_core::Stream for Unordered<F> {
    type Item = (u64, Outcome<F>);
    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_one(context)
    }
}

/// Tells how far a job is, beside the job.
#[derive(Clone)]
pub struct JobWatch(Arc<Tasks>, Arc<Sink>);

impl JobWatch {
    /// How far it is.
    #[must_use]
    pub fn progress(&self) -> JobProgress {
        self.0.progress_of(&self.1)
    }
}

impl fmt::Debug for JobWatch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.progress().fmt(f)
    }
}

macro_rules! debug_by_name {
    ($($name:ident),*) => {
        $(impl<F: TaskFunction> fmt::Debug for $name<F> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.debug_struct(stringify!($name)).field("function", &F::NAME).field("job", &self.results.job).finish_non_exhaustive()
            }
        })*
    };
}
debug_by_name!(Task, Job, Unordered);

impl<F: TaskFunction> Unpin for Task<F> {}
impl<F: TaskFunction> Unpin for Job<F> {}
impl<F: TaskFunction> Unpin for Unordered<F> {}
