//! The API server, seen from here: raw bytes of lists and watches, with a deadline on every wait.
//!
//! The only place that imports `kube`. It is used for configuration, TLS, credentials and the requests themselves; the
//! watching is `domain::watch`. [`driver`] performs the requests of a watch core, on the shared runtime, and hands over
//! what came back in bounded amounts. `polite` bounds and counts all requests, `credentials` keeps the client's fresh.

pub mod client;
mod discovery;
pub mod driver;
pub mod identities;
pub mod polite;

mod credentials;

use crate::domain::discovery::Discovery;
use crate::domain::target::Target;
use crate::domain::watch::Request;
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use std::time::Duration;

/// An answer whose body is still to be read.
pub struct Response {
    /// HTTP status.
    pub status: u16,
    /// Retry-After in seconds, if given.
    pub retry_after: Option<Duration>,
    /// The body, as it arrives. An error's text says what happened and quotes nothing of the body.
    pub body: BoxStream<'static, Result<Bytes, String>>,
}

/// Whatever answers lists and watches: a real API server, or a scripted one in tests.
pub trait ApiServer: Send + Sync + 'static {
    /// Sends the request of a watcher. The error says what failed, for people.
    fn send<'a>(&'a self, target: &'a Target, request: &'a Request) -> BoxFuture<'a, Result<Response, String>>;

    /// What is served. The error says what failed, for people. A scripted server serves the built-in kinds.
    fn discover(&self) -> BoxFuture<'_, Result<Discovery, String>> {
        Box::pin(std::future::ready(Ok(Discovery::builtins())))
    }
}
