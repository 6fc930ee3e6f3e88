//! Around each call: what is refused before its handler sees it is reported like any other refusal, and a connection that
//! hasn't shown who it is makes few calls at once.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::task::{Context, Poll};

use tonic::codegen::http::{Request, Response};
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::identity::Peer;
use super::refusal::{Refusal, Refusals};

/// Watches the calls of a server.
#[derive(Debug, Clone)]
pub(crate) struct WatchCalls {
    pub(crate) refusals: Arc<Refusals>,
    /// Calls at once on one connection.
    pub(crate) most_calls: Option<u32>,
}

impl<S> Layer<S> for WatchCalls {
    type Service = Watched<S>;
    fn layer(&self, inner: S) -> Watched<S> {
        Watched { inner, watch: self.clone() }
    }
}

/// A service whose calls are watched.
#[derive(Debug, Clone)]
pub(crate) struct Watched<S> {
    inner: S,
    watch: WatchCalls,
}

/// A call that is being answered.
struct Call(Arc<AtomicU32>);

impl Drop for Call {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl<S, B, R> Service<Request<B>> for Watched<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    S::Error: 'static,
    R: Default + Send + 'static,
{
    type Response = Response<R>;
    type Error = S::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Response<R>, S::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let refusals = self.watch.refusals.clone();
        let peer = request.extensions().get::<Peer>();
        let from = peer.map_or_else(|| "nowhere".to_owned(), |peer| peer.address.to_string());
        let about: String = request.uri().path().chars().take(64).collect();
        let call = peer.map(|peer| {
            let calls = peer.calls.clone();
            (calls.fetch_add(1, Ordering::Relaxed), Call(calls))
        });
        if let (Some((before, _)), Some(most)) = (&call, self.watch.most_calls)
            && *before >= most
        {
            refusals.note(Refusal::TooManyCalls, from, about);
            let refused = Status::from(Refusal::TooManyCalls).into_http();
            return Box::pin(async move { Ok(refused) });
        }
        let answer = self.inner.call(request);
        Box::pin(async move {
            let _call = call;
            let answer = answer.await?;
            if Status::from_header_map(answer.headers()).is_some_and(|status| is_oversize(&status)) {
                refusals.note(Refusal::Oversize, from, about);
            }
            Ok(answer)
        })
    }
}

/// Whether a message was refused by its announced size. Only these words of tonic's tell it from other uses of the code.
pub(crate) fn is_oversize(status: &Status) -> bool {
    status.code() == Code::OutOfRange && status.message().contains("length too large")
}
