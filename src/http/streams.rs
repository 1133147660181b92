//! Long answers: NDJSON and server-sent events, pulled by the client, so that a slow one costs its own bounded buffer.

use super::problem::Problem;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use futures_util::Stream;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Streams at once in the process. Each holds a subscription or a reader: about a megabyte at worst.
const STREAMS: usize = 64;
/// Something is sent at least so often, so that both ends notice when the other is gone.
pub(super) const HEARTBEAT: Duration = Duration::from_secs(15);

/// The bound on open streams; clones share it.
#[derive(Debug, Clone)]
pub struct StreamLimit(Arc<Semaphore>);

impl Default for StreamLimit {
    fn default() -> Self {
        Self::of(STREAMS)
    }
}

impl StreamLimit {
    /// At most `streams` at once.
    pub fn of(streams: usize) -> Self {
        Self(Arc::new(Semaphore::new(streams)))
    }

    /// A slot, given back when it is dropped.
    pub(super) fn take(&self) -> Result<OwnedSemaphorePermit, Problem> {
        let detail = "as many streams are open as the process allows; close one, or try again";
        self.0.clone().try_acquire_owned().map_err(|_| Problem::unavailable("too_many_streams", detail, 5))
    }
}

/// How a stream is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Encoding {
    /// `text/event-stream`.
    Sse,
    /// `application/x-ndjson`.
    Ndjson,
}

impl Encoding {
    /// What the client accepts; NDJSON where it names neither, which curl shows as it is.
    pub fn accepted(headers: &HeaderMap) -> Self {
        let accepts = headers.get_all(header::ACCEPT);
        let sse = accepts.iter().any(|value| value.to_str().is_ok_and(|text| text.contains("text/event-stream")));
        if sse { Self::Sse } else { Self::Ndjson }
    }

    fn content_type(self) -> &'static str {
        match self {
            Self::Sse => "text/event-stream",
            Self::Ndjson => "application/x-ndjson",
        }
    }

    /// What keeps a silent stream alive: a comment, an empty line.
    pub fn heartbeat(self) -> Bytes {
        match self {
            Self::Sse => Bytes::from_static(b":\n\n"),
            Self::Ndjson => Bytes::from_static(b"\n"),
        }
    }
}

/// An answer of these pieces, each flushed as it comes.
pub(super) fn answer(encoding: Encoding, pieces: impl Stream<Item = Bytes> + Send + 'static) -> Response {
    use futures_util::StreamExt as _;
    let mut response = Response::new(Body::from_stream(pieces.map(Ok::<_, Infallible>)));
    response.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(encoding.content_type()));
    // nginx and its like hold a stream back without it.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    response
}

/// JSON text on one line: line breaks in valid JSON stand between tokens only.
pub(super) fn push_on_one_line(out: &mut Vec<u8>, json: &[u8]) {
    let start = out.len();
    out.extend_from_slice(json);
    for byte in &mut out[start..] {
        if matches!(byte, b'\n' | b'\r') {
            *byte = b' ';
        }
    }
}
