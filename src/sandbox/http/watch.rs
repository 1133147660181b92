//! Watch: a stream of lines, one a change, for as long as the client and the faults allow.

use super::negotiate;
use super::query::{Parameters, Selection, invalid_options, revision};
use super::read;
use super::represent::Writer;
use super::target::Target;
use super::{Answer, Api};
use crate::sandbox::faults::{Fault, Faults, Mark, Spoil, with_metadata};
use crate::sandbox::object::{Encoded, Object};
use crate::sandbox::state::{Change, Watch};
use crate::sandbox::status::Status;
use axum::body::Body;
use axum::http::{HeaderMap, Response, header};
use bytes::Bytes;
use futures_util::stream;
use serde_json::json;
use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, sleep_until};

/// Between two bookmarks, as by a real API server.
const BOOKMARKS: Duration = Duration::from_secs(60);
/// A last bookmark comes so long before the end.
const LAST_BOOKMARK: Duration = Duration::from_secs(2);
/// Of a watch without `timeoutSeconds`; a real API server draws between 30 and 60 minutes.
const SHORTEST: u64 = 1800;
/// Long enough for written bytes to leave the process before a connection breaks.
const FLUSH: Duration = Duration::from_millis(50);
/// Existing objects written at a time.
const CHUNK: usize = 128;

/// Opens a watch that was asked for when the rules of faults were at generation `admitted`.
pub(super) fn open(api: &Api, target: &Target, headers: &HeaderMap, query: &Parameters, admitted: u64) -> Answer {
    let selection = Selection::of(query, &target.kind)?;
    let at = revision(query)?;
    let rule = query.text("resourceVersionMatch");
    let send_initial = match query.text("sendInitialEvents") {
        "" if !rule.is_empty() => {
            let why = "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided";
            return Err(invalid_options("resourceVersionMatch", why));
        }
        "" => None,
        _ if rule != "NotOlderThan" => {
            let why = "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan";
            return Err(invalid_options("resourceVersionMatch", why));
        }
        _ => Some(query.flag("sendInitialEvents")?),
    };
    negotiate::form(headers)?;
    let writer = read::writer(api, target, headers, query)?;
    let bookmarks = query.flag("allowWatchBookmarks")?;
    let resource = target.kind.qualified.clone();
    let from_now = !matches!(at, Some(1..));
    let (initial, position) = match send_initial {
        Some(true) => api.state.list_at(&resource, &target.namespace, "", None)?,
        None if from_now => api.state.list_at(&resource, &target.namespace, "", None)?,
        Some(false) if from_now => (Vec::new(), api.state.revision()),
        _ => (Vec::new(), at.unwrap_or_default()),
    };
    let seconds = query.number("timeoutSeconds")?.filter(|s| *s > 0);
    let seconds = seconds.unwrap_or_else(|| SHORTEST + api.state.origin().random() % SHORTEST);
    let deadline = Instant::now() + Duration::from_secs(seconds.min(86_400));
    let stream = Stream {
        watch: api.state.watch(&resource, position)?,
        initial: initial.into(),
        initial_end: (send_initial == Some(true) && bookmarks).then_some(position),
        // Kubernetes keeps no watch cache of Events, and so sends no bookmarks for them.
        bookmark_at: (bookmarks && resource != "events").then(|| next_bookmark(deadline)).flatten(),
        admitted,
        faults: api.faults.clone(),
        namespace: target.namespace.clone(),
        with_head: true,
        endless: false,
        ended: None,
        deadline,
        selection,
        resource,
        writer,
    };
    let stream = stream::unfold(stream, |mut stream| async move {
        let chunk = stream.next().await?;
        Some((chunk, stream))
    });
    let response = Response::builder().header(header::CONTENT_TYPE, "application/json");
    response.body(Body::from_stream(stream)).map_err(|e| Status::internal(e.to_string()))
}

fn next_bookmark(deadline: Instant) -> Option<Instant> {
    let now = Instant::now();
    let last = deadline.checked_sub(LAST_BOOKMARK).filter(|last| *last > now)?;
    Some(last.min(now + BOOKMARKS))
}

/// A line that is not whole.
const BROKEN_OFF: &[u8] = b"{\"type\":\"MODIFIED\",\"object\":{\"kind\":\"Po";

/// How a stream ends.
enum End {
    Orderly,
    Broken,
}

struct Stream {
    watch: Watch,
    initial: VecDeque<Arc<Encoded>>,
    initial_end: Option<u64>,
    bookmark_at: Option<Instant>,
    deadline: Instant,
    faults: Faults,
    admitted: u64,
    namespace: String,
    selection: Selection,
    resource: String,
    writer: Writer,
    with_head: bool,
    endless: bool,
    ended: Option<End>,
}

impl Stream {
    /// The next lines; `None` at the end, an error where the connection is to break.
    async fn next(&mut self) -> Option<std::io::Result<Bytes>> {
        let mut rules = self.faults.subscribe();
        loop {
            match self.ended {
                Some(End::Orderly) => return None,
                Some(End::Broken) => {
                    self.ended = Some(End::Orderly);
                    // What was written before must be on its way: an error discards what still waits.
                    tokio::time::sleep(FLUSH).await;
                    return Some(Err(std::io::Error::other("scripted fault: the connection breaks")));
                }
                None => {}
            }
            if self.endless {
                tokio::task::yield_now().await;
                return Some(Ok(Bytes::from(vec![b'a'; 64 << 10])));
            }
            let mut lines = Vec::new();
            match self.faults.on_stream(&self.resource, self.admitted) {
                Some(Fault::Stall) => {
                    // Silent until the script says otherwise; not even the deadline ends it.
                    rules.changed().await.ok()?;
                    continue;
                }
                Some(Fault::Gone) => {
                    self.end_with(
                        &Status::expired("The resourceVersion for the provided watch is too old."),
                        &mut lines,
                    );
                    return Some(Ok(lines.into()));
                }
                Some(Fault::PartialLine) => {
                    self.ended = Some(End::Broken);
                    return Some(Ok(Bytes::from_static(BROKEN_OFF)));
                }
                Some(Fault::HalfLine) => {
                    self.ended = Some(End::Orderly);
                    return Some(Ok(Bytes::from_static(BROKEN_OFF)));
                }
                Some(Fault::Ghost) => {
                    line("DELETED", &self.ghost(), &mut lines);
                    return Some(Ok(lines.into()));
                }
                Some(Fault::Bookmark(mark)) => {
                    line("BOOKMARK", &self.untrue(mark), &mut lines);
                    return Some(Ok(lines.into()));
                }
                Some(_) => {
                    self.ended = Some(End::Broken);
                    continue;
                }
                None => {}
            }
            self.write_next(&mut lines);
            if !lines.is_empty() {
                return Some(Ok(lines.into()));
            }
            if self.ended.is_some() {
                continue;
            }
            if Instant::now() >= self.deadline {
                return None;
            }
            if self.bookmark_at.is_some_and(|at| Instant::now() >= at) {
                self.bookmark_at = next_bookmark(self.deadline);
                if !self.faults.holds(Fault::NoBookmarks, &self.resource) {
                    line("BOOKMARK", &self.writer.bookmark(self.watch.position(), false), &mut lines);
                    return Some(Ok(lines.into()));
                }
            }
            let until = self.bookmark_at.map_or(self.deadline, |at| at.min(self.deadline));
            tokio::select! {
                () = self.watch.changed() => {}
                changed = rules.changed() => changed.ok()?,
                () = sleep_until(until) => {}
            }
        }
    }

    /// Lines for what is there at first, else for what has happened since.
    fn write_next(&mut self, lines: &mut Vec<u8>) {
        if !self.initial.is_empty() {
            let first = self.initial.len().min(CHUNK);
            for version in self.initial.drain(..first).collect::<Vec<_>>() {
                if version.matches(&self.selection.labels, &self.selection.fields) {
                    self.write("ADDED", &version, lines);
                }
            }
            if !lines.is_empty() || !self.initial.is_empty() {
                return;
            }
        }
        if let Some(revision) =
            self.initial_end.take().filter(|_| !self.faults.holds(Fault::NoInitialEnd, &self.resource))
        {
            line("BOOKMARK", &self.writer.bookmark(revision, true), lines);
            return;
        }
        match self.watch.ready() {
            Ok(changes) => changes.iter().for_each(|change| self.write_change(change, lines)),
            Err(_) if self.watch.is_rewound() => self.ended = Some(End::Broken),
            Err(status) if status.code == 410 => {
                let why = Status::expired("The resourceVersion for the provided watch is too old.");
                self.end_with(&why, lines);
            }
            // Its definition was deleted: all its objects were reported as deleted before.
            Err(_) => self.ended = Some(End::Orderly),
        }
    }

    fn write_change(&mut self, change: &Change, lines: &mut Vec<u8>) {
        let inside = match self.namespace.as_str() {
            "" => true,
            namespace => change.key.split_once('/').is_some_and(|(n, _)| n == namespace),
        };
        if !inside {
            return;
        }
        let takes = |version: &Encoded| version.matches(&self.selection.labels, &self.selection.fields);
        let before = change.before.as_deref().filter(|b| takes(b));
        let after = !change.deleted && takes(&change.after);
        match (before, after) {
            (None, false) => {}
            (None, true) => self.write("ADDED", &change.after, lines),
            (Some(_), true) => self.write("MODIFIED", &change.after, lines),
            (Some(_), false) if change.deleted => self.write("DELETED", &change.after, lines),
            (Some(before), false) => {
                // It left the selection: its last version inside, at the revision at which it left.
                let mut value = before.value();
                value["metadata"]["resourceVersion"] = change.revision.to_string().into();
                self.write("DELETED", Object::new(value).encoded(), lines);
            }
        }
    }

    fn write(&mut self, kind: &str, version: &Encoded, lines: &mut Vec<u8>) {
        if self.endless {
            // Its newline would be an end.
            return;
        }
        let object = self.writer.one(version, self.with_head);
        self.with_head = false;
        match self.faults.spoils("watch", &self.resource, version, self.writer.is_metadata()) {
            None => line(kind, &object, lines),
            Some(Spoil::Twice) => (0..2).for_each(|_| line(kind, &object, lines)),
            Some(Spoil::Endless) => {
                line(kind, &object, lines);
                lines.truncate(lines.len() - 3);
                self.endless = true;
            }
            Some(how) => line(kind, &how.apply(version, &object), lines),
        }
    }

    fn ghost(&self) -> Vec<u8> {
        let namespace = if self.namespace.is_empty() { "default" } else { &self.namespace };
        let fields = [("name", "ghost"), ("namespace", namespace), ("uid", "00000000-0000-4000-8000-000000000000")];
        with_metadata(&self.writer.bookmark(self.faults.revision(), false), &fields)
    }

    fn untrue(&self, mark: Mark) -> Vec<u8> {
        match mark {
            Mark::Early => self.writer.bookmark(self.faults.revision(), false),
            Mark::Backwards => self.writer.bookmark(1, false),
            Mark::Word => with_metadata(&self.writer.bookmark(1, false), &[("resourceVersion", "latest")]),
        }
    }

    fn end_with(&mut self, status: &Status, lines: &mut Vec<u8>) {
        line("ERROR", status.to_value().to_string().as_bytes(), lines);
        self.ended = Some(End::Orderly);
    }
}

fn line(kind: &str, object: &[u8], lines: &mut Vec<u8>) {
    debug_assert!(!object.contains(&b'\n'), "a line break in {}", json!(String::from_utf8_lossy(object)));
    lines.reserve(object.len() + 40);
    lines.extend_from_slice(b"{\"type\":\"");
    lines.extend_from_slice(kind.as_bytes());
    lines.extend_from_slice(b"\",\"object\":");
    lines.extend_from_slice(object);
    lines.extend_from_slice(b"}\n");
}
