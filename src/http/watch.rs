//! `GET /api/v1/watch`: the objects as they are, then every change, as server-sent events or NDJSON.
//!
//! Events: `change`; `snapshot-end` behind the objects that were there; `reset`, when the given cursor is too old (forget
//! what you know: the snapshot that follows replaces it); `lagged`, when the client was slower than the kept changes are
//! long, followed by `reset`. Only what can be resumed from carries a cursor, so a client that breaks off within a
//! snapshot begins again.
//!
//! A client that does not read costs one chunk here: the subscription is a place in a ring that nobody waits for.

use super::objects::{CHUNK, client, problem_of, query};
use super::streams::{self, Encoding, HEARTBEAT, push_on_one_line};
use super::{Faces, params::Params, problem::Problem};
use crate::messages::client::{Query, StateClient};
use crate::messages::query::{Change, Cursor, Lagged, Object, Operation, Subscription};
use axum::extract::State;
use axum::http::{HeaderMap, Uri};
use axum::response::Response;
use bytes::Bytes;
use futures_util::stream;
use serde::Serialize;
use tokio::time::timeout;

/// Header of a client that comes back.
const LAST_EVENT_ID: &str = "last-event-id";
/// Bytes after which a chunk is handed over although more changes are waiting.
const CHUNK_BYTES: usize = 256 * 1024;

/// `?kind=pods,services&namespace=&labelSelector=&fieldSelector=&since=`.
pub(super) async fn watch(State(faces): State<Faces>, headers: HeaderMap, uri: Uri) -> Result<Response, Problem> {
    let known = ["kind", "namespace", "labelSelector", "fieldSelector", "since"];
    let params = Params::read(&uri, &known, &["kind"])?;
    let kinds = params.all("kind").flat_map(|kinds| kinds.split(',')).filter(|kind| !kind.is_empty());
    let kinds: Vec<String> = kinds.map(str::to_owned).collect();
    // A browser repeats what it was given last, which may be of another build: then it begins again. What a program
    // passes itself is refused when it is wrong.
    let last = headers.get(LAST_EVENT_ID).and_then(|id| id.to_str().ok());
    let last_is_good = last.filter(|id| id.parse::<Cursor>().is_ok());
    let since = last_is_good.or_else(|| params.text("since"));
    let mut feed = Feed {
        client: client(&faces)?,
        kinds,
        query: query(&params)?,
        encoding: Encoding::accepted(&headers),
        state: Phase::Changes,
        subscription: None,
    };
    let slot = faces.streams.take()?;
    let resumes = since.is_some() || last.is_some();
    let opening = feed.subscribe(since, resumes).await?;
    let pieces = stream::unfold((feed, slot, Some(opening)), |(mut feed, slot, opening)| async move {
        let piece = match opening {
            Some(opening) if !opening.is_empty() => opening,
            _ => feed.next().await?,
        };
        Some((piece, (feed, slot, None)))
    });
    Ok(streams::answer(Encoding::accepted(&headers), pieces))
}

/// Where the stream is: still giving what was there at the beginning, or following.
enum Phase {
    Snapshot(std::vec::IntoIter<Object>),
    Changes,
}

struct Feed {
    client: StateClient,
    kinds: Vec<String>,
    query: Query,
    encoding: Encoding,
    state: Phase,
    subscription: Option<Subscription>,
}

impl Feed {
    /// Subscribes; gives the first bytes: a `reset` where the client expected to go on and cannot.
    async fn subscribe(&mut self, since: Option<&str>, expects_to_resume: bool) -> Result<Bytes, Problem> {
        let kinds: Vec<&str> = self.kinds.iter().map(String::as_str).collect();
        let mut subscription = self.client.subscribe(&kinds, &self.query, since).await.map_err(problem_of)?;
        let resumed = subscription.resumed();
        self.state = if resumed { Phase::Changes } else { Phase::Snapshot(subscription.take_snapshot().into_iter()) };
        self.subscription = Some(subscription);
        let mut out = Vec::new();
        if expects_to_resume && !resumed {
            self.write(&mut out, &Event { event: "reset", ..Event::default() }, None);
        }
        Ok(out.into())
    }

    /// The next bytes; `None` when the state can no longer be reached.
    async fn next(&mut self) -> Option<Bytes> {
        let mut out = Vec::new();
        if let Phase::Snapshot(objects) = &mut self.state {
            let chunk: Vec<Object> = objects.take(CHUNK).collect();
            if chunk.is_empty() {
                self.state = Phase::Changes;
                let cursor = self.subscription.as_ref()?.cursor().to_string();
                self.write(&mut out, &Event { event: "snapshot-end", cursor: Some(&cursor), ..Event::default() }, None);
            }
            for object in &chunk {
                self.write_object(&mut out, Operation::Added, object, None);
            }
            return Some(out.into());
        }
        match timeout(HEARTBEAT, self.subscription.as_mut()?.next()).await {
            Err(_) => return Some(self.encoding.heartbeat()),
            Ok(Err(lagged)) => return self.begin_again(lagged).await,
            Ok(Ok(change)) => self.write_change(&mut out, &change),
        }
        // What is there already goes along; a lag that shows here shows again at the next call.
        while out.len() < CHUNK_BYTES {
            match self.subscription.as_mut()?.try_next() {
                Ok(Some(change)) => self.write_change(&mut out, &change),
                Ok(None) | Err(Lagged { .. }) => break,
            }
        }
        Some(out.into())
    }

    async fn begin_again(&mut self, lagged: Lagged) -> Option<Bytes> {
        let mut out = Vec::new();
        self.write(&mut out, &Event { event: "lagged", missed: Some(lagged.missed), ..Event::default() }, None);
        // The client comes back by itself when this ends the stream.
        out.extend_from_slice(&self.subscribe(None, true).await.ok()?);
        Some(out.into())
    }

    fn write_change(&self, out: &mut Vec<u8>, change: &Change) {
        let Some(subscription) = &self.subscription else { return };
        let cursor = Cursor { version: change.version, ..subscription.cursor() };
        self.write_object(out, change.operation, &change.object, Some(&cursor.to_string()));
    }

    fn write_object(&self, out: &mut Vec<u8>, operation: Operation, object: &Object, cursor: Option<&str>) {
        let (partition, offset) = object.record();
        let kind = object.kind().id();
        let event = Event {
            event: "change",
            cursor,
            operation: Some(operation),
            snapshot: cursor.is_none(),
            kind: Some(&kind),
            namespace: Some(object.namespace()),
            name: Some(object.name()),
            timestamp: Some(object.timestamp_ms()),
            partition: Some(partition),
            offset: Some(offset),
            stub: object.stub().is_some(),
            missed: None,
        };
        self.write(out, &event, Some(&object.json()));
    }

    fn write(&self, out: &mut Vec<u8>, event: &Event<'_>, object: Option<&[u8]>) {
        if self.encoding == Encoding::Sse {
            if let Some(cursor) = event.cursor {
                out.extend_from_slice(format!("id: {cursor}\n").as_bytes());
            }
            out.extend_from_slice(format!("event: {}\ndata: ", event.event).as_bytes());
        }
        // Words and numbers: nothing in it can fail to be written.
        let mut json = serde_json::to_vec(event).unwrap_or_default();
        if let Some(object) = object {
            json.pop();
            json.extend_from_slice(b",\"object\":");
            out.extend_from_slice(&json);
            push_on_one_line(out, object);
            out.push(b'}');
        } else {
            out.extend_from_slice(&json);
        }
        out.extend_from_slice(if self.encoding == Encoding::Sse { b"\n\n" } else { b"\n" });
    }
}

/// One event; `object` is spliced in behind it.
#[derive(Debug, Default, Serialize)]
struct Event<'a> {
    event: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    cursor: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    operation: Option<Operation>,
    /// Part of what was there at the beginning.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    snapshot: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
    /// When the record was written, in ms since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    timestamp: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    partition: Option<i32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    offset: Option<i64>,
    /// The object is no more than its identity.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    stub: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    missed: Option<u64>,
}
