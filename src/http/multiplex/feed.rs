//! One page's stream: what it wakes up for, what it asks, and what it writes.

use super::Parts;
use super::entry::{self, Filter};
use super::position::{self, Plan, Position};
use crate::domain::topic::EVENT_STREAM;
use crate::http::life::LifeNote;
use crate::http::streams::{Encoding, HEARTBEAT, push_on_one_line};
use crate::http::{Faces, Version, topics};
use crate::log::{LogError, ReadBatch, Reader};
use crate::messages::client::Query;
use crate::messages::control::{ChildStatus, ControlError};
use crate::messages::query::{Change, KindMemory, Lagged, QueryError, Stats, Subscription};
use crate::observe::clock::wall_ms;
use bytes::Bytes;
use futures_util::future::{BoxFuture, pending};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::broadcast;
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, timeout};

/// A person does not see more than two pictures a second of figures.
const TICK: Duration = Duration::from_millis(500);
/// The tree is asked for so often; what happens in it is told at once.
const TREE_EVERY: Duration = Duration::from_secs(1);
/// A supervisor that does not answer within this is itself the news.
const TREE_DEADLINE: Duration = Duration::from_secs(5);
/// Bytes after which a chunk is handed over although more is waiting.
const CHUNK_BYTES: usize = 256 * 1024;
/// What one of the questions that are under way gave.
enum Answer {
    Counts(Result<Stats, QueryError>),
    Tree(Option<Result<Vec<ChildStatus>, ControlError>>),
    Reader(Result<(Plan, Reader), LogError>),
    Subscribed(Result<Subscription, QueryError>),
}

/// Where a source is that has to be opened.
enum Source<T> {
    Closed,
    Opening,
    Open(T),
    /// It will never be there.
    Refused,
}

impl<T> Source<T> {
    fn is_closed(&self) -> bool {
        matches!(self, Self::Closed)
    }
}

pub(super) struct Feed {
    faces: Faces,
    parts: Parts,
    filter: Filter,
    backlog: u64,
    position: Position,
    encoding: Encoding,
    greeted: bool,
    tick: Interval,
    spoke: Instant,
    /// Questions to the actors and the log: a stream never waits for one of them alone.
    under_way: FuturesUnordered<BoxFuture<'static, Answer>>,
    counting: bool,
    asking_tree: bool,
    asked_tree: Option<Instant>,
    life: broadcast::Receiver<LifeNote>,
    reader: Source<Reader>,
    subscription: Source<Subscription>,
    /// What was sent last of what is sent when it changes: pipeline, counts, actors.
    last: [Vec<u8>; 3],
}

/// What a feed wakes up for.
enum Wake {
    Tick,
    Life(Result<LifeNote, broadcast::error::RecvError>),
    Answer(Answer),
    Batch(Option<ReadBatch>),
    Change(Result<Change, Lagged>),
}

impl Feed {
    pub fn new(
        faces: Faces,
        parts: Parts,
        filter: Filter,
        backlog: u64,
        position: Position,
        encoding: Encoding,
    ) -> Self {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Self {
            parts,
            filter,
            backlog,
            position,
            encoding,
            greeted: false,
            tick,
            spoke: Instant::now(),
            under_way: FuturesUnordered::new(),
            counting: false,
            asking_tree: false,
            asked_tree: None,
            life: faces.life.listen(),
            reader: if parts.stream { Source::Closed } else { Source::Refused },
            subscription: if parts.changes { Source::Closed } else { Source::Refused },
            last: Default::default(),
            faces,
        }
    }

    /// The next bytes.
    pub async fn next(&mut self) -> Bytes {
        let mut out = Vec::new();
        if !std::mem::replace(&mut self.greeted, true) {
            self.greet(&mut out);
        }
        while out.is_empty() {
            match self.wake().await {
                Wake::Tick => self.look(&mut out),
                Wake::Life(note) => self.write_life(&mut out, note),
                Wake::Answer(answer) => self.take(answer, &mut out),
                Wake::Batch(batch) => self.write_batches(&mut out, batch),
                Wake::Change(change) => self.write_changes(&mut out, change),
            }
            if out.is_empty() && self.spoke.elapsed() >= HEARTBEAT {
                out.extend_from_slice(&self.encoding.heartbeat());
            }
        }
        self.spoke = Instant::now();
        out.into()
    }

    async fn wake(&mut self) -> Wake {
        tokio::select! {
            // In the order of what must not starve: figures and facts are few, entries may be many.
            biased;
            _ = self.tick.tick() => Wake::Tick,
            note = self.life.recv(), if self.parts.actors => Wake::Life(note),
            Some(answer) = self.under_way.next() => Wake::Answer(answer),
            change = changed(&mut self.subscription) => Wake::Change(change),
            batch = read(&mut self.reader) => Wake::Batch(batch),
        }
    }

    fn greet(&self, out: &mut Vec<u8>) {
        let Version { name, version, api } = Version::of_this_build();
        if self.encoding == Encoding::Sse {
            // A browser waits for 3 s otherwise before it comes back; a restart takes less.
            out.extend_from_slice(b"retry: 1000\n");
        }
        let hello = serde_json::json!({
            "name": name, "version": version, "api": api, "chaos": self.faces.chaos, "at": wall_ms(),
            "subscribed": self.parts.names(),
        });
        self.write(out, "hello", false, hello.to_string().as_bytes());
    }

    /// Shows what has changed, and asks for what is due.
    fn look(&mut self, out: &mut Vec<u8>) {
        if self.parts.pipeline {
            // Words and numbers: nothing in it can fail to be written.
            let json = serde_json::to_vec(&self.faces.board.show()).unwrap_or_default();
            self.write_if_new(out, 0, "pipeline", json);
            self.count();
        }
        if self.parts.actors && self.asked_tree.is_none_or(|asked| asked.elapsed() >= TREE_EVERY) {
            self.ask_tree();
        }
        if self.reader.is_closed() {
            self.open_reader();
        }
        if self.subscription.is_closed() {
            self.subscribe();
        }
    }

    fn count(&mut self) {
        if let Some(client) = self.faces.client.get().cloned()
            && !std::mem::replace(&mut self.counting, true)
        {
            self.under_way.push(Box::pin(async move { Answer::Counts(client.stats().await) }));
        }
    }

    fn ask_tree(&mut self) {
        if let Some(control) = self.faces.control.get().cloned()
            && !std::mem::replace(&mut self.asking_tree, true)
        {
            self.asked_tree = Some(Instant::now());
            let asked = async move { Answer::Tree(timeout(TREE_DEADLINE, control.tree()).await.ok()) };
            self.under_way.push(Box::pin(asked));
        }
    }

    fn open_reader(&mut self) {
        let (Some(log), Some(topics)) = (self.faces.log.get().cloned(), self.faces.topics.get()) else { return };
        let Ok(topic) = topics::find(&topics, EVENT_STREAM) else {
            self.reader = Source::Refused;
            return;
        };
        self.reader = Source::Opening;
        let (seen, backlog) = (self.position.stream.clone(), self.backlog);
        let opened = async move {
            let plan = position::plan(&seen, &log.offsets(&topic).await?, backlog);
            let topic: Arc<str> = topic.into();
            let from = plan.starts().map(|(partition, start)| (topic.clone(), partition, start)).collect();
            let reader = log.read(from)?;
            Ok((plan, reader))
        };
        self.under_way.push(Box::pin(async move { Answer::Reader(opened.await) }));
    }

    fn subscribe(&mut self) {
        let Some(client) = self.faces.client.get().cloned() else { return };
        self.subscription = Source::Opening;
        let (kinds, since) = (self.filter.kinds.clone(), self.position.changes.map(|cursor| cursor.to_string()));
        let subscribed = async move {
            let kinds: Vec<&str> = kinds.iter().map(String::as_str).collect();
            Answer::Subscribed(client.subscribe(&kinds, &Query::default(), since.as_deref()).await)
        };
        self.under_way.push(Box::pin(subscribed));
    }

    fn take(&mut self, answer: Answer, out: &mut Vec<u8>) {
        match answer {
            Answer::Counts(stats) => {
                self.counting = false;
                if let Ok(stats) = stats {
                    self.write_if_new(out, 1, "counts", counts(&stats));
                }
            }
            Answer::Tree(tree) => {
                self.asking_tree = false;
                let shown = match tree {
                    Some(Ok(items)) => serde_json::json!({ "items": items }),
                    Some(Err(error)) => serde_json::json!({ "problem": error.to_string() }),
                    None => serde_json::json!({ "problem": "the supervisor does not answer" }),
                };
                self.write_if_new(out, 2, "actors", shown.to_string().into_bytes());
            }
            Answer::Reader(Ok((plan, reader))) => {
                if plan.missed > 0 {
                    self.write(out, "lagged", false, &of("stream", plan.missed));
                }
                if plan.reset {
                    self.write(out, "reset", false, &of("stream", 0));
                }
                self.position.stream = plan.from;
                self.reader = Source::Open(reader);
            }
            // The board says that the log is away; asked again at the next tick.
            Answer::Reader(Err(_)) => self.reader = Source::Closed,
            Answer::Subscribed(Ok(mut subscription)) => {
                if !subscription.resumed() && self.position.changes.is_some() {
                    self.write(out, "reset", false, &of("changes", 0));
                }
                // Changes are told, not objects: whoever needs those asks for them.
                drop(subscription.take_snapshot());
                self.position.changes = Some(subscription.cursor());
                self.subscription = Source::Open(subscription);
            }
            Answer::Subscribed(Err(error)) if error.is_transient() => self.subscription = Source::Closed,
            Answer::Subscribed(Err(error)) => {
                self.subscription = Source::Refused;
                let json = serde_json::json!({ "of": "changes", "code": error.code(), "detail": error.to_string() });
                self.write(out, "problem", false, json.to_string().as_bytes());
            }
        }
    }

    fn write_life(&mut self, out: &mut Vec<u8>, note: Result<LifeNote, broadcast::error::RecvError>) {
        // Facts that were missed are in the tree, too.
        if let Ok(note) = note {
            self.write(out, "life", false, &serde_json::to_vec(&note).unwrap_or_default());
        }
        self.ask_tree();
    }

    fn write_batches(&mut self, out: &mut Vec<u8>, mut batch: Option<ReadBatch>) {
        loop {
            let Some(ReadBatch { records }) = batch else {
                // The engine cannot go on: read again from where it came to.
                self.reader = Source::Closed;
                return;
            };
            for record in &records {
                self.position.stream.insert(record.partition, record.offset + 1);
                if let Some(json) = entry::of_record(record, &self.filter) {
                    self.write(out, "stream", true, &json);
                }
            }
            // What is there already goes along, as far as there is room.
            let Source::Open(reader) = &mut self.reader else { return };
            if out.len() >= CHUNK_BYTES {
                return;
            }
            match reader.batches.try_recv() {
                Ok(next) => batch = Some(next),
                Err(_) => return,
            }
        }
    }

    fn write_changes(&mut self, out: &mut Vec<u8>, mut change: Result<Change, Lagged>) {
        loop {
            match change {
                Ok(change) => {
                    if let Some(cursor) = &mut self.position.changes {
                        cursor.version = change.version;
                    }
                    if self.filter.takes(&change.object.kind().id(), change.object.namespace()) {
                        self.write(out, "change", true, &entry::of_change(&change));
                    }
                }
                Err(Lagged { missed }) => {
                    self.write(out, "lagged", false, &of("changes", missed));
                    self.subscription = Source::Closed;
                    return;
                }
            }
            let Source::Open(subscription) = &mut self.subscription else { return };
            if out.len() >= CHUNK_BYTES {
                return;
            }
            change = match subscription.try_next() {
                Ok(Some(next)) => Ok(next),
                Ok(None) => return,
                Err(lagged) => Err(lagged),
            };
        }
    }

    fn write_if_new(&mut self, out: &mut Vec<u8>, which: usize, event: &str, json: Vec<u8>) {
        if self.last[which] != json {
            self.write(out, event, false, &json);
            self.last[which] = json;
        }
    }

    /// Writes one event; `json` is an object.
    fn write(&self, out: &mut Vec<u8>, event: &str, resumable: bool, json: &[u8]) {
        let cursor = resumable.then(|| self.position.to_string());
        if self.encoding == Encoding::Sse {
            if let Some(cursor) = &cursor {
                out.extend_from_slice(format!("id: {cursor}\n").as_bytes());
            }
            out.extend_from_slice(format!("event: {event}\ndata: ").as_bytes());
        }
        out.extend_from_slice(format!("{{\"event\":\"{event}\"").as_bytes());
        if let Some(cursor) = &cursor {
            out.extend_from_slice(format!(",\"cursor\":\"{cursor}\"").as_bytes());
        }
        let members = json.strip_prefix(b"{").unwrap_or(json);
        if members != b"}" {
            out.push(b',');
        }
        push_on_one_line(out, members);
        out.extend_from_slice(if self.encoding == Encoding::Sse { b"\n\n" } else { b"\n" });
    }
}

async fn read(source: &mut Source<Reader>) -> Option<ReadBatch> {
    match source {
        Source::Open(reader) => reader.batches.recv().await,
        _ => pending().await,
    }
}

async fn changed(source: &mut Source<Subscription>) -> Result<Change, Lagged> {
    match source {
        Source::Open(subscription) => subscription.next().await,
        _ => pending().await,
    }
}

/// What of the stream is concerned, and how much of it is left out.
fn of(part: &str, missed: u64) -> Vec<u8> {
    serde_json::json!({ "of": part, "missed": missed }).to_string().into_bytes()
}

/// Objects a kind, and how much of the store they take.
fn counts(stats: &Stats) -> Vec<u8> {
    let kind = |k: &KindMemory| serde_json::json!({ "kind": k.kind, "objects": k.rows, "bytes": k.bytes, "missing": stats.missing.get(&k.kind) });
    let memory = &stats.memory;
    let shown = serde_json::json!({
        "version": stats.version, "kinds": memory.kinds.iter().map(kind).collect::<Vec<_>>(), "bytes": memory.bytes,
        "maxBytes": memory.max_bytes, "overCap": stats.over_cap,
    });
    shown.to_string().into_bytes()
}
