//! Waiting without a runtime: librdkafka's questions block, so they are asked on threads of their own.

use crate::log::LogError;
use futures_util::future::BoxFuture;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// Runs `work` on a thread of its own and gives its result. The thread ends by itself: all work here is bounded in time.
pub(super) fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> BoxFuture<'static, Result<T, LogError>> {
    Box::pin(async move {
        let (done, answer) = oneshot::channel();
        let ask = move || {
            // Nobody waits any more: the answer is no longer wanted.
            drop(done.send(work()));
        };
        std::thread::Builder::new()
            .name("kafka-admin".into())
            .spawn(ask)
            .map_err(|error| LogError::Refused(format!("no thread to ask Kafka with: {error}")))?;
        answer.await.unwrap_or_else(|_| Err(LogError::Refused("the thread that asked Kafka panicked".into())))
    })
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// Waits on this thread until `future` is ready, or until `give_up` says so; it is asked at least every 100 ms and whenever
/// this thread is unparked.
pub(super) fn wait_for<F: Future>(future: F, give_up: impl Fn() -> bool) -> Option<F::Output> {
    let mut future = std::pin::pin!(future);
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut Context::from_waker(&waker)) {
            return Some(output);
        }
        if give_up() {
            return None;
        }
        std::thread::park_timeout(Duration::from_millis(100));
    }
}

/// When to stop trying.
#[derive(Clone, Copy)]
pub(super) struct Deadline(Instant);

#[allow(clippy::disallowed_methods)] // An edge: how long a broker is waited for.
impl Deadline {
    pub fn after(time: Duration) -> Self {
        Self(Instant::now() + time)
    }

    /// What is left of it, at most `most`.
    pub fn left(self, most: Duration) -> Duration {
        self.0.saturating_duration_since(Instant::now()).min(most)
    }

    pub fn is_over(self) -> bool {
        self.left(Duration::MAX).is_zero()
    }
}
