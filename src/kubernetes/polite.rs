//! Every request of the process, whoever makes it: bounded in rate, told to whoever counts.
//!
//! API Priority and Fairness protects the server from us as a whole; this protects the others of our priority level from
//! a bug of ours.

use crate::domain::budget::Bucket;
use kube::client::Body;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;
use tokio::time::{Instant, Sleep};
use tower::{BoxError, Layer, Service};

/// Requests a second on average, and at once: what client-go's controllers are given. A calm process needs less than one.
const RATE: (u32, u32) = (20, 40);

/// Who counts requests.
pub trait Traffic: Send + Sync + 'static {
    /// A request was answered with that status; 0 where no answer came or nobody waited for it.
    fn answered(&self, verb: &'static str, status: u16);
    /// A request waited for its turn.
    fn waited(&self, time: Duration);
}

/// For commands, which nobody scrapes.
pub struct Uncounted;

impl Traffic for Uncounted {
    fn answered(&self, _: &'static str, _: u16) {}
    fn waited(&self, _: Duration) {}
}

/// What all clients of the process share; a client that is built anew goes on with it.
#[derive(Clone)]
pub struct Manners {
    bucket: Arc<Mutex<Bucket>>,
    began: Instant,
    traffic: Arc<dyn Traffic>,
}

impl Manners {
    /// With a full bucket.
    pub fn new(traffic: Arc<dyn Traffic>) -> Self {
        Self { bucket: Arc::new(Mutex::new(Bucket::new(RATE.0, RATE.1))), began: Instant::now(), traffic }
    }

    fn take(&self) -> Duration {
        let now = self.began.elapsed();
        self.bucket.lock().unwrap_or_else(PoisonError::into_inner).take(now)
    }
}

impl<S> Layer<S> for Manners {
    type Service = Polite<S>;

    fn layer(&self, inner: S) -> Polite<S> {
        Polite { inner, manners: self.clone(), wait: None, granted: false }
    }
}

/// The client's transport with manners.
pub struct Polite<S> {
    inner: S,
    manners: Manners,
    wait: Option<Pin<Box<Sleep>>>,
    granted: bool,
}

type Answer<R> = Pin<Box<dyn Future<Output = Result<R, BoxError>> + Send>>;

impl<S, B> Service<http::Request<Body>> for Polite<S>
where
    S: Service<http::Request<Body>, Response = http::Response<B>, Error = BoxError>,
    S::Future: Send + 'static,
{
    type Response = http::Response<B>;
    type Error = BoxError;
    type Future = Answer<Self::Response>;

    // The turn is waited for here and not in the call: the client sends one after the other, so order is kept.
    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        if !self.granted {
            let manners = &self.manners;
            let wait = self.wait.get_or_insert_with(|| {
                let delay = manners.take();
                if !delay.is_zero() {
                    manners.traffic.waited(delay);
                }
                Box::pin(tokio::time::sleep(delay))
            });
            ready!(wait.as_mut().poll(cx));
            (self.wait, self.granted) = (None, true);
        }
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        self.granted = false;
        let counted = Counted { traffic: self.manners.traffic.clone(), verb: verb(&request), status: 0 };
        let answer = self.inner.call(request);
        Box::pin(async move {
            // The whole of it: a block takes only the fields that it names, and then nothing would be counted.
            let mut counted = counted;
            let answer = answer.await;
            counted.status = answer.as_ref().map_or(0, |a| a.status().as_u16());
            answer
        })
    }
}

/// Counts also the request whose caller stopped waiting.
struct Counted {
    traffic: Arc<dyn Traffic>,
    verb: &'static str,
    status: u16,
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.traffic.answered(self.verb, self.status);
    }
}

/// The request's verb, from a closed set: a collection's path is not told from an object's, which only reviews and the
/// identity ask for.
fn verb(request: &http::Request<Body>) -> &'static str {
    let query = request.uri().query().unwrap_or_default();
    match *request.method() {
        http::Method::GET if query.split('&').any(|p| p == "watch=true" || p == "watch=1") => "watch",
        http::Method::GET if query.split('&').any(|p| p.starts_with("limit=")) => "list",
        http::Method::GET => "get",
        http::Method::POST => "create",
        _ => "other",
    }
}
