//! `GET /api/v1/live`: everything a page shows, as one stream: a browser opens six connections to a host at most.
//!
//! Events, by subscription (`?subscribe=pipeline,actors,stream,changes`; without it all but `changes`):
//!
//! | event | subscription | when |
//! |---|---|---|
//! | `hello` | | first: version, whether chaos is enabled |
//! | `pipeline` | pipeline | the board, when it has changed, every 500 ms at most |
//! | `counts` | pipeline | objects a kind, likewise |
//! | `actors` | actors | the tree, when it has changed, every second and after every fact |
//! | `life` | actors | an actor went down, is up again |
//! | `stream` | stream | an entry of event-stream, once it is durable |
//! | `change` | changes | an object changed; without the object |
//! | `lagged`, `reset` | stream, changes | the reader was too far behind, or knows another log: something is left out |
//! | `problem` | | a part of the stream cannot be given, and why |
//!
//! It answers from the first moment of the process: what is not there yet comes by itself. Entries and changes carry a cursor
//! (`id` of server-sent events) that `Last-Event-ID` or `since` resumes behind.
//!
//! A client that does not read costs what its sources hold (a bounded channel, a place in a ring) and is waited for by nobody.

mod entry;
mod feed;
mod position;

use self::entry::Filter;
use self::feed::Feed;
use self::position::Position;
use super::params::Params;
use super::problem::Problem;
use super::streams::{self, Encoding};
use super::{Faces, objects};
use crate::messages::query::QueryError;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, Uri};
use axum::response::Response;
use futures_util::stream;

/// Entries from before that a page may ask for.
const BACKLOG: u64 = 1000;
/// The parts of the stream.
const PARTS: [&str; 4] = ["pipeline", "actors", "stream", "changes"];

/// `?subscribe=&kind=&namespace=&since=&backlog=`.
pub(super) async fn live(State(faces): State<Faces>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let lists = ["subscribe", "kind", "namespace"];
    let params = Params::read(&uri, &["subscribe", "kind", "namespace", "since", "backlog"], &lists)?;
    let list = |name| {
        let all = params.all(name).flat_map(|names| names.split(',')).filter(|name| !name.is_empty());
        all.map(str::to_owned).collect::<Vec<String>>()
    };
    let filter = Filter { kinds: list("kind"), namespaces: list("namespace") };
    refuse_unknown_kinds(&faces, &filter)?;
    let parts = Parts::read(&list("subscribe"))?;
    let backlog = params.parsed::<u64>("backlog", "a number of entries")?.unwrap_or_default();
    if backlog > BACKLOG {
        return Err(Problem::bad_parameter("backlog", format!("is at most {BACKLOG}")));
    }
    // What a browser repeats may be of another build: then it begins again. What a program passes itself is refused.
    let last = headers.get("last-event-id").and_then(|id| id.to_str().ok()).and_then(|id| id.parse().ok());
    let asked = params.text("since").map(str::parse::<Position>).transpose();
    let asked = asked.map_err(|text| Problem::new(StatusCode::BAD_REQUEST, "bad_cursor", text))?;
    let slot = faces.streams.take()?;
    let encoding = Encoding::accepted(&headers);
    let feed = Feed::new(faces, parts, filter, backlog, last.or(asked).unwrap_or_default(), encoding);
    let pieces =
        stream::unfold((feed, slot), |(mut feed, slot)| async move { Some((feed.next().await, (feed, slot))) });
    Ok(streams::answer(encoding, pieces))
}

/// Before the watchers are known every kind may still come.
fn refuse_unknown_kinds(faces: &Faces, filter: &Filter) -> Result<(), Problem> {
    let mut known: Vec<String> = faces.board.watchers().iter().map(|row| row.target.kind.id()).collect();
    known.dedup();
    match filter.kinds.iter().find(|kind| !known.is_empty() && !known.contains(kind)) {
        Some(kind) => {
            Err(objects::problem_of(QueryError::UnknownKind { kind: kind.chars().take(100).collect(), known }))
        }
        None => Ok(()),
    }
}

/// What was subscribed to.
#[derive(Debug, Clone, Copy, Default)]
struct Parts {
    pipeline: bool,
    actors: bool,
    stream: bool,
    changes: bool,
}

impl Parts {
    fn read(names: &[String]) -> Result<Self, Problem> {
        if names.is_empty() {
            return Ok(Self { pipeline: true, actors: true, stream: true, changes: false });
        }
        let mut parts = Self::default();
        for name in names {
            match name.as_str() {
                "pipeline" => parts.pipeline = true,
                "actors" => parts.actors = true,
                "stream" => parts.stream = true,
                "changes" => parts.changes = true,
                other => {
                    let other: String = other.chars().take(64).collect();
                    let why = format!("{other:?} is none of {}", PARTS.join(", "));
                    return Err(Problem::bad_parameter("subscribe", why));
                }
            }
        }
        Ok(parts)
    }

    fn names(self) -> Vec<&'static str> {
        let given = [self.pipeline, self.actors, self.stream, self.changes];
        PARTS.into_iter().zip(given).filter_map(|(name, given)| given.then_some(name)).collect()
    }
}
