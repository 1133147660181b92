//! Drives the watch core as its actor does, with an API server that says what a test wants: what it asks for, what it
//! writes, when its position moves, and that it gets over everything (G1, G2, G8, G11).

use super::*;
use crate::domain::audit::{Suspect, Version};
use crate::domain::envelope::{Observed, Op, Table, Writer, read_table};
use crate::domain::gap::{Lasting, TOPIC};
use crate::domain::index::{Before, Name};
use crate::domain::record::{InRecord, OutRecord};
use crate::domain::redact::Policy;
use crate::domain::topic::Marker;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

mod difference;
mod events;
mod failures;
mod gaps;
mod guard;
mod history;
mod lists;
mod poison;
mod resume;
mod simulation;

mod streams;

/// Versions emitted lately, as the lane's overlay keeps them.
#[derive(Default)]
struct Overlay(HashMap<(Arc<str>, Rv), Bytes>);

impl Before for Overlay {
    fn before(&self, _: &Name, uid: &str, rv: &Rv) -> Option<Bytes> {
        self.0.get(&(uid.into(), rv.clone())).cloned()
    }
}

fn kind(plural: &str) -> Kind {
    Kind::builtin(plural).expect("built in")
}

fn config() -> Config {
    // Most of these know a handful of objects and say what one list does; the guard has tests of its own.
    Config { doubt_from: 20, page_size: 2, max_line: 2000, max_page: 4000, max_record: 1500, ..Config::default() }
}

fn writer(plural: &str) -> Writer {
    Writer::new(kind(plural), "t".into(), 1, "c", 1)
}

/// One watcher: the core, what outlives it, and the log it writes to.
struct Kit {
    core: WatchCore,
    capture: Capture,
    writer: Writer,
    overlay: Overlay,
    env: Env,
    log: Vec<OutRecord>,
    notices: Vec<Notice>,
    gaps: Vec<String>,
    /// What a checkpoint would say, were everything acked at once.
    durable: Point,
    /// The request that is open.
    request: Option<Request>,
    headed: bool,
}

impl Kit {
    fn new() -> Self {
        Self::of("services", config())
    }

    fn of(plural: &str, config: Config) -> Self {
        let redactor = Redactor::new(kind(plural), Arc::new(Policy::default()));
        let mut kit = Self {
            core: WatchCore::new(config, redactor, None),
            capture: Capture::default(),
            writer: writer(plural),
            overlay: Overlay::default(),
            env: Env { now: Duration::from_secs(1000), wall_ms: 0, chance: 0.5 },
            log: Vec::new(),
            notices: Vec::new(),
            gaps: Vec::new(),
            durable: Point::default(),
            request: None,
            headed: false,
        };
        kit.tick();
        kit
    }

    /// A kind that is watched from version 10, with `a` = u1@5 and `b` = u2@6 known.
    fn watching() -> Self {
        let mut kit = Self::new();
        kit.list("10", &[item("a", "u1", 5), item("b", "u2", 6)], "");
        kit.wait();
        assert_eq!(kit.asked(), "watch 10");
        kit.written();
        kit.notices.clear();
        kit
    }

    fn tick(&mut self) {
        self.core.tick(&self.capture, self.env);
        self.pump();
    }

    /// Digests all there is, applying each commit.
    fn pump(&mut self) {
        self.take_actions();
        while let Some(mut commit) = self.core.next(&self.capture, &self.writer, &self.overlay, self.env) {
            for object in std::mem::take(&mut commit.versions) {
                let o = object.get();
                self.overlay.0.insert((o.uid.clone(), o.rv.clone()), o.json.clone());
            }
            self.log.append(&mut commit.records);
            if let Some(point) = commit.point(&self.capture) {
                self.durable = point;
            }
            self.capture.apply(commit);
        }
        self.take_actions();
        self.notices.extend(self.core.notices());
    }

    fn take_actions(&mut self) {
        for action in self.core.actions() {
            if action == Action::Listed {
                continue;
            }
            self.request = match action {
                Action::Send(request) => Some(request),
                Action::Close | Action::Listed => None,
            };
            self.headed = false;
        }
    }

    fn input(&mut self, input: Input) {
        let id = self.request.as_ref().expect("a request is open").id;
        self.core.input(id, input, self.env);
        self.pump();
    }

    fn head(&mut self, status: u16) {
        if !std::mem::replace(&mut self.headed, true) {
            self.input(Input::Head { status, retry_after: None });
        }
    }

    /// The open request is answered in full.
    fn answer(&mut self, status: u16, body: &str) {
        self.head(status);
        self.input(Input::Body(Bytes::copy_from_slice(body.as_bytes())));
        self.input(Input::End);
    }

    fn list(&mut self, rv: &str, items: &[String], next: &str) {
        assert!(self.asked().starts_with("list"), "{}", self.asked());
        self.answer(200, &page(rv, items, next));
    }

    fn stream(&mut self, bytes: &str) {
        assert!(self.asked().starts_with("watch"), "{}", self.asked());
        self.head(200);
        self.input(Input::Body(Bytes::copy_from_slice(bytes.as_bytes())));
    }

    /// Lets the time pass that the core wants to wait, and says how long that was.
    fn wait(&mut self) -> Duration {
        let until = self.core.wake_at().expect("it waits");
        let waited = until.saturating_sub(self.env.now);
        self.env.now = self.env.now.max(until);
        self.tick();
        waited
    }

    fn pass(&mut self, seconds: u64) {
        self.env.now += Duration::from_secs(seconds);
    }

    /// What was asked of the API server last, in short; empty if nothing is open.
    fn asked(&self) -> String {
        // Of Secrets everything is.
        let as_metadata = self.request.as_ref().is_some_and(|r| r.metadata_only) && !self.core.redactor.metadata_only();
        match self.request.as_ref().map(|r| &r.verb) {
            None => String::new(),
            Some(Verb::Probe { rv }) => format!("probe {rv}"),
            Some(Verb::Review { verb }) => format!("review {verb}"),
            Some(Verb::WatchList { at_least, .. }) => {
                format!("watch-list{}", at_least.as_ref().map_or(String::new(), |rv| format!(" at least {rv}")))
            }
            Some(Verb::Watch { rv, .. }) if as_metadata => format!("peek {rv}"),
            Some(Verb::Watch { rv, .. }) => format!("watch {rv}"),
            Some(Verb::List { next, at_least, .. }) => {
                let from = next.as_ref().map_or(String::new(), |n| format!(" from {n}"));
                let at_least = at_least.as_ref().map_or(String::new(), |rv| format!(" at least {rv}"));
                format!("list{from}{at_least}{}", if as_metadata { " metadata" } else { "" })
            }
        }
    }

    /// What was written since this was asked last.
    fn written(&mut self) -> Vec<String> {
        let written = std::mem::take(&mut self.log);
        self.gaps.extend(written.iter().filter_map(gap));
        written.iter().filter(|r| !is_of_a_gap(r)).map(short).collect()
    }

    /// The gaps that were declared since this was asked last: `expired 10..30`.
    fn gaps(&mut self) -> Vec<String> {
        let mut gaps = std::mem::take(&mut self.gaps);
        gaps.extend(self.log.iter().filter_map(gap));
        self.log.retain(|r| !is_of_a_gap(r));
        gaps
    }

    /// The access review that is asked for says yes or no.
    fn review(&mut self, allowed: bool) {
        assert!(self.asked().starts_with("review"), "{}", self.asked());
        self.answer(201, &format!(r#"{{"kind":"SelfSubjectAccessReview","status":{{"allowed":{allowed}}}}}"#));
    }

    fn position(&self) -> &str {
        self.capture.position.as_str()
    }

    fn durable(&self) -> &str {
        self.durable.rv.as_str()
    }

    /// The actor died; its successor begins.
    fn succeed(&mut self) {
        let redactor = Redactor::new(self.core.kind().clone(), Arc::new(Policy::default()));
        self.core = WatchCore::new(self.core.config.clone(), redactor, None);
        self.tick();
    }

    fn phase(&self) -> String {
        let Phase { name, reason } = self.core.phase();
        reason.map_or(name.to_owned(), |reason| format!("{name}: {reason}"))
    }
}

/// A marker, or a lasting copy.
fn is_of_a_gap(record: &OutRecord) -> bool {
    record.topic.ends_with(TOPIC) || matches!(Marker::parse(&record.key), Some(Marker::Gap(_)))
}

fn gap(record: &OutRecord) -> Option<String> {
    let value = record.value.as_deref().filter(|_| record.topic.ends_with(TOPIC))?;
    let gap: Lasting = serde_json::from_slice(value).expect("our own record");
    let unknown = if gap.deletes_unknown { " deletes unknown" } else { "" };
    Some(format!("{} {}..{}{unknown}", gap.reason, gap.from.unwrap_or_default(), gap.to.unwrap_or_default()))
}

/// A record in short: `u u1@7 relist snapshot before`, `d u1@5 inferred (9)`, `t u1@5`.
fn short(record: &OutRecord) -> String {
    let read = InRecord {
        topic: record.topic.clone(),
        partition: record.partition,
        offset: 0,
        timestamp_ms: 0,
        key: Some(record.key.clone()),
        value: record.value.clone(),
        headers: record.headers.iter().map(|(n, v)| ((*n).into(), Some(v.clone()))).collect(),
    };
    match read_table(&read).expect("our own record") {
        Table::Change(e) => {
            let mut text = format!("{} {}@{}", e.op.letter(), e.source.uid, e.source.rv);
            if e.source.observed != Observed::Watch {
                text += &format!(" {:?}", e.source.observed).to_lowercase();
            }
            if let Some(rv) = &e.source.list_rv {
                text += &format!(" ({rv})");
            }
            if e.source.snapshot {
                text += " snapshot";
            }
            if e.before.is_some() && e.op != Op::Delete {
                text += " before";
            }
            text
        }
        Table::Tombstone { uid, rv, .. } => {
            format!("t {}@{}", uid.expect("ours has one"), rv.expect("ours has one"))
        }
        other => format!("{other:?}"),
    }
}

fn item(name: &str, uid: &str, rv: u64) -> String {
    format!(
        r#"{{"metadata":{{"name":"{name}","namespace":"n","uid":"{uid}","resourceVersion":"{rv}"}},"spec":{{"v":{rv}}}}}"#
    )
}

fn page(rv: &str, items: &[String], next: &str) -> String {
    format!(
        r#"{{"kind":"List","apiVersion":"v1","metadata":{{"resourceVersion":"{rv}","continue":"{next}"}},"items":[{}]}}"#,
        items.join(",")
    )
}

fn event(wire: &str, name: &str, uid: &str, rv: u64) -> String {
    format!("{{\"type\":\"{wire}\",\"object\":{}}}\n", item(name, uid, rv))
}

fn bookmark(rv: u64) -> String {
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"Service\",\"metadata\":{{\"resourceVersion\":\"{rv}\",\"creationTimestamp\":null}}}}}}\n"
    )
}

fn status(code: u16, reason: &str) -> String {
    format!(
        r#"{{"kind":"Status","apiVersion":"v1","metadata":{{}},"message":"said why","reason":"{reason}","code":{code}}}"#
    )
}

fn error(code: u16, reason: &str) -> String {
    format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", status(code, reason))
}

/// What a server says of a version that it has not come to.
fn too_large() -> String {
    status(504, "Timeout").replace("said why", "Too large resource version: 99, current: 50")
}

const NONE: [&str; 0] = [];
