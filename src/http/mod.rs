//! HTTP: what the process says about itself (ops listener) and what it knows (API listener).
//!
//! Knows messages, never actors: objects come through [`StateClient`], actors through [`ActorControl`], everything about
//! the process from the board. The probes read atomics only; they never ask a mailbox, the log or the API server, so a
//! stuck part is reported and not waited for. Runs on the shared runtime; a handler that hangs hangs alone.
//!
//! One file a subject: [`ops`] probes and metrics, `objects` and `watch` the state, `process` the pipeline and the
//! actors, `kinds` what is captured, [`gaps`] what is missing, `topics` and [`records`] the log, `page` what a browser shows
//! and `multiplex` the one stream that it lives on
//! ([`live`] is about the process being alive). `params` is how a query string is read, [`problem`] how an error looks,
//! `guard` what a browser may not do, [`serve`] the listeners.

pub mod gaps;
mod guard;
pub mod kinds;
mod life;
pub mod live;
mod multiplex;
mod objects;
pub mod ops;
mod page;
mod params;
pub mod problem;
mod process;
pub mod records;
mod serve;
mod streams;
pub mod topics;
mod watch;

pub use life::{LifeFeed, LifeNote};
pub use process::{Done, Version};
pub use serve::{HttpError, bind, serve};
pub use streams::StreamLimit;

use crate::log::Log;
use crate::messages::client::StateClient;
use crate::messages::control::ActorControl;
use crate::observe::board::Board;
use crate::observe::metrics::Metrics;
use axum::Router;
use axum::middleware::{from_fn, from_fn_with_state};
use axum::routing::{get, post};
use live::Beats;
use std::sync::{Arc, OnceLock};

/// What the handlers read. Made before anything is connected, so that both listeners answer from the first moment; the
/// cells are filled as the parts come up.
#[derive(Clone, Default)]
pub struct Faces {
    /// How the process is doing.
    pub board: Arc<Board>,
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// Whether what must move still moves.
    pub beats: Arc<Beats>,
    /// The way to the state, once it is there.
    pub client: Arc<OnceLock<StateClient>>,
    /// The supervision tree, once it runs.
    pub control: Arc<OnceLock<Arc<dyn ActorControl>>>,
    /// The log, once it is open.
    pub log: Arc<OnceLock<Arc<dyn Log>>>,
    /// What happens to the actors.
    pub life: LifeFeed,
    /// Our topics as they should be, once they are known.
    pub topics: Arc<topics::TopicTable>,
    /// `chaos.enabled`: whether actors may be killed and restarted by hand.
    pub chaos: bool,
    /// Bounds the streams that are open at once.
    pub streams: StreamLimit,
}

/// Probes and metrics: `/livez`, `/readyz`, `/startupz`, `/metrics`. Holds no object's content.
pub fn ops_router(faces: Faces) -> Router {
    Router::new()
        .route("/livez", get(ops::livez))
        .route("/startupz", get(ops::startupz))
        .route("/readyz", get(ops::readyz))
        .route("/metrics", get(ops::metrics))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .with_state(faces)
}

/// `/api/v1/...`, and the page at `/`.
pub fn api_router(faces: Faces) -> Router {
    Router::new()
        .route("/", get(page::index))
        .route("/ui/{file}", get(page::asset))
        .route("/api/v1/objects", get(objects::list))
        .route("/api/v1/objects/{kind}/{namespace}/{name}", get(objects::one))
        .route("/api/v1/watch", get(watch::watch))
        .route("/api/v1/live", get(multiplex::live))
        .route("/api/v1/kinds", get(kinds::kinds))
        .route("/api/v1/pipeline", get(process::pipeline))
        .route("/api/v1/actors", get(process::actors))
        .route("/api/v1/actors/{*call}", post(process::control))
        .route("/api/v1/topics", get(topics::list))
        .route("/api/v1/topics/{topic}/records", get(records::read))
        .route("/api/v1/gaps", get(gaps::list))
        .route("/api/v1/version", get(process::version))
        .fallback(problem::no_such_path)
        .method_not_allowed_fallback(problem::no_such_method)
        .layer(from_fn_with_state(faces.clone(), guard::own_pages_only))
        .layer(from_fn(problem::no_sniffing))
        .with_state(faces)
}
