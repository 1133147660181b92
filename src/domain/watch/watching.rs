//! The watch: line by line, what ends it, and what is done about lines that cannot be read or cannot be true.

use super::asking::About;
use super::line::{self, Line, Status};
use super::listing::Listing;
use super::{
    Capture, Commit, Env, HEALTHY, Lent, Notice, Response, STRANGERS, State, Step, Then, Verb, WatchCore, poison, said,
};
use crate::domain::index::{ListContext, Wire};
use crate::domain::kind::Tracking;
use crate::domain::redact::{self, DecodeError, Object, Redacted, Stub};
use crate::domain::rv::Rv;
use bytes::BytesMut;
use std::time::Duration;

pub(super) struct Watching {
    since: Duration,
    pub(super) response: Response,
    pub(super) buffer: BytesMut,
    /// Bytes of `buffer` already searched for a line end.
    searched: usize,
    events: u64,
    /// A change came that moved the position.
    has_news: bool,
    pub(super) ended: Option<Result<(), String>>,
    /// Only metadata, and only its first change: what is wrong with it, and how long its line was.
    pub(super) peek: Option<Stub>,
    /// The list that the watch begins with.
    pub(super) initial: Option<Box<Listing>>,
    /// A lie of this connection was declared.
    lied: bool,
    pub(super) pressed_since: Option<Duration>,
}

/// What could not be read behind a position, and how often.
pub(super) struct Poison {
    at: Rv,
    times: u32,
    stub: Stub,
}

/// After so many tries behind one version its metadata is asked for.
const POISON_TRIES: u32 = 3;
/// Between the tries where a stub had to be made a minute ago.
const POISON_PAUSE: Duration = Duration::from_millis(250);
/// How a line begins by which the server ends a stream: of a list that never began, nothing is to be declared.
const ERROR_LINE: &[u8] = b"{\"type\":\"ERROR\"";
/// After so many lists in a row that came to no end as a stream none is asked for as one any more.
const UNFINISHED_MAX: u8 = 2;
/// A watch that was ended in order before that was not really served.
const SPOKEN: Duration = Duration::from_secs(5);
/// How long a watch waits for the metadata of something that must be there.
const PEEK_SECONDS: u32 = 10;

impl Watching {
    pub(super) fn new(env: Env) -> Self {
        Self {
            since: env.now,
            response: Response::default(),
            buffer: BytesMut::new(),
            searched: 0,
            events: 0,
            has_news: false,
            ended: None,
            peek: None,
            initial: None,
            lied: false,
            pressed_since: None,
        }
    }

    /// A watch whose beginning is a list.
    pub(super) fn beginning_with(list: Box<Listing>, env: Env) -> Self {
        Self { initial: Some(list), ..Self::new(env) }
    }
}

impl WatchCore {
    pub(super) fn watch_seconds(&self, env: Env) -> u32 {
        let (low, high) = self.config.watch_seconds;
        low + (f64::from(high.saturating_sub(low)) * env.chance) as u32
    }

    pub(super) fn watch(&mut self, capture: &Capture, env: Env) {
        let timeout_seconds = self.watch_seconds(env);
        self.state = State::Watching(Box::new(Watching::new(env)));
        self.send(Verb::Watch { rv: capture.position.clone(), timeout_seconds });
    }

    pub(super) fn peek(&mut self, capture: &Capture, env: Env) {
        let peek = self.poison.as_ref().map(|poison| poison.stub.clone());
        self.state = State::Watching(Box::new(Watching { peek, ..Watching::new(env) }));
        let rv = capture.position.clone();
        self.ask(Verb::Watch { rv, timeout_seconds: PEEK_SECONDS }, true);
    }

    /// The server answered a watch with a status that is not 200.
    pub(super) fn watch_refused(&mut self, env: Env) {
        let State::Watching(w) = &mut self.state else { return };
        let response = std::mem::take(&mut w.response);
        let (initial, peek) = (w.initial.as_ref().map(|l| l.cause()), w.peek.is_some());
        let code = response.status.unwrap_or(0);
        let status: Status<'_> = serde_json::from_slice(&response.body).unwrap_or_default();
        let reason = format!("watch answered {code} {}", said(&status));
        match (code, initial) {
            (400 | 403 | 405 | 415 | 422, Some(cause)) => {
                // Not served or not allowed in this form; whether lists are at all, the pages tell.
                self.no_watch_list = true;
                let pause = Duration::ZERO;
                self.wait(pause, Then::List(cause), false, format!("lists page by page: {reason}"), env);
            }
            (410, _) => self.relist("expired", env),
            (_, Some(cause)) => {
                self.rewind_evidence = u8::from(status.is_too_large());
                if code != 401 {
                    // Under load a watch cache may refuse this for as long as it lasts; pages need it less.
                    self.stream_came_to_nothing();
                }
                self.failed(reason, response.retry_after, Then::List(cause), env);
            }
            // A version that the server cannot read: the same again would be refused for ever.
            (400, _) => self.relist("version_refused", env),
            (403, _) if self.list_only => self.wait_for_poll(env),
            (403, _) => self.review("watch", About::Watch),
            (404, _) => self.not_served(Then::Watch, env),
            (401 | 429, _) => self.failed(reason, response.retry_after, Then::Watch, env),
            _ if status.is_too_large() => self.failed(reason, response.retry_after, Then::Probe, env),
            _ if peek => self.peek_failed(env),
            _ => self.failed(reason, response.retry_after, Then::Watch, env),
        }
    }

    pub(super) fn next_line(&mut self, lent: Lent<'_>) -> Step {
        let env = lent.env;
        let State::Watching(w) = &mut self.state else { return Step::Idle };
        let Some(length) = w.buffer[w.searched..].iter().position(|b| *b == b'\n').map(|i| w.searched + i) else {
            w.searched = w.buffer.len();
            if w.buffer.len() > self.config.max_line {
                let stub = Stub { reason: "too_long", bytes: w.buffer.len() };
                let what = format!("a watch line is longer than {} bytes", self.config.max_line);
                self.unreadable(what, stub, lent);
                return Step::Idle;
            }
            if let Some(ended) = w.ended.take() {
                self.watch_ended(ended, env);
            }
            return Step::Idle;
        };
        if w.initial.as_ref().is_some_and(|l| !l.has_begun()) && !w.buffer.starts_with(ERROR_LINE) {
            return self.list_begins(None, lent);
        }
        let line = w.buffer.split_to(length + 1);
        w.searched = 0;
        let text = line[..length].trim_ascii();
        if text.is_empty() {
            return Step::Again;
        }
        w.events += 1;
        let lasted = env.now.saturating_sub(w.since);
        if w.events == 1 || lasted >= HEALTHY {
            if self.again_at.is_none() {
                self.park.reset();
            }
            self.list_only = false;
        }
        if lasted >= HEALTHY {
            self.backoff.reset();
        }
        if w.peek.is_some() {
            return self.peeked(text, lent);
        }
        let read = std::str::from_utf8(text).map_err(|e| DecodeError::Json(e.valid_up_to()));
        match read.and_then(|text| line::read_line(&self.redactor, text)) {
            Ok(Line::Event(wire, object)) => self.event(wire, object, lent),
            Ok(Line::Bookmark { rv, initial_end }) => self.bookmark(rv, initial_end, lent),
            Ok(Line::Error { code: 410, .. }) => {
                self.relist("expired", env);
                Step::Idle
            }
            Ok(Line::Error { code, reason, too_large }) => {
                let then = if too_large { Then::Probe } else { self.again() };
                self.failed(format!("the watch ended with {code} {reason}"), None, then, env);
                Step::Idle
            }
            Err(DecodeError::WrongKind { .. }) => {
                let who = std::str::from_utf8(text).ok().and_then(poison::event);
                let new = who.map(|(_, who)| who.uid).filter(|uid| !self.strangers.contains(uid));
                self.strangers.extend(new.filter(|_| self.strangers.len() < STRANGERS));
                self.lied("wrong_kind", lent)
            }
            Err(e) => {
                // Never skipped: the next version would advance the position past it. Resume from the last good one.
                let what = format!("a watch line behind version {} cannot be read: {e}", lent.capture.position);
                self.unreadable(what, Stub { reason: "undecodable", bytes: length }, lent);
                Step::Idle
            }
        }
    }

    fn event(&mut self, wire: Wire, object: Redacted<Object>, lent: Lent<'_>) -> Step {
        let State::Watching(w) = &mut self.state else { return Step::Idle };
        let rv = object.get().rv.clone();
        if let Some(l) = &w.initial {
            // As of which version the list is stands at its end; each object is at least as of its own.
            let list = ListContext { rv: l.at_least().max(rv), ..l.context() };
            let shown = if wire == Wire::Deleted { Wire::Deleted } else { Wire::Listed };
            let at = (shown == Wire::Listed).then_some(&list);
            return match self.lie(object.get(), None) {
                Some(what) => self.lied(what, lent),
                None => Step::Commit(self.report(shown, object, at, lent, None)),
            };
        }
        if let Some(what) = self.lie(object.get(), None) {
            return self.lied(what, lent);
        }
        let position = &lent.capture.position;
        let (known, repeated) = self.knows(&object, lent);
        if wire == Wire::Deleted && rv == *position && !known && self.kind().tracking() == Tracking::Table {
            // Nothing else can be of that version: it is the report that brought us here, once more.
            self.notices.extend([Notice::Received, Notice::Filtered("dead")]);
            return Step::Again;
        }
        // The end of a stream's object is only a TTL, which may be told with the version that it ends.
        let is_ttl = wire == Wire::Deleted && self.kind().tracking() == Tracking::Stream;
        if rv < *position && !repeated && !is_ttl {
            self.notices.push(Notice::Lie("version_backwards"));
            let is_news = self.outcome(wire, object, None, false, lent).filtered.is_none();
            if is_news || self.probed_at.as_ref() == Some(position) {
                // We were led past it: only a list shows what else stands before the position.
                self.relist("server_lied", lent.env);
            } else {
                let why = format!("a change at version {rv} came behind version {position}");
                self.ask_whether_rewound(position, why, lent.env);
            }
            return Step::Idle;
        }
        self.poison = None;
        if let State::Watching(w) = &mut self.state {
            w.has_news |= rv > *position;
        }
        Step::Commit(self.report(wire, object, None, lent, Some(rv)))
    }

    /// Whether the object is known, and whether at that very version: a repeat, or the delete of an object to which some
    /// servers give no version of its own.
    fn knows(&self, object: &Redacted<Object>, lent: Lent<'_>) -> (bool, bool) {
        let o = object.get();
        let at = crate::domain::index::Name { namespace: o.namespace.clone(), name: o.name.clone() };
        match lent.capture.index.live(&at) {
            Some((uid, rv)) if *uid == o.uid => (true, *rv == o.rv),
            _ => (false, false),
        }
    }

    fn bookmark(&mut self, rv: Rv, initial_end: bool, lent: Lent<'_>) -> Step {
        let position = &lent.capture.position;
        if !rv.is_numeric() {
            return self.lied("version_not_numeric", lent);
        }
        let State::Watching(w) = &mut self.state else { return Step::Idle };
        if let Some(l) = &w.initial {
            if !initial_end {
                return Step::Again;
            }
            if rv < *position {
                // As a list of pages that is older than what is known: those say what to make of it.
                self.rewind_evidence = 1;
                let cause = l.cause();
                self.notices.push(Notice::Lie("version_backwards"));
                self.failed(
                    format!("a list is as of version {rv}, older than {position}"),
                    None,
                    Then::List(cause),
                    lent.env,
                );
                return Step::Idle;
            }
            let State::Watching(mut w) = std::mem::replace(&mut self.state, State::Start) else { return Step::Idle };
            let Some(mut listing) = w.initial.take() else { return Step::Idle };
            listing.ends_at(rv);
            return self.list_done(*listing, Some(w), lent);
        }
        if rv < *position {
            self.notices.push(Notice::Lie("version_backwards"));
            if self.probed_at.as_ref() == Some(position) {
                return Step::Again;
            }
            let why = format!("the server stands at version {rv}, and has shown us {position}");
            self.ask_whether_rewound(position, why, lent.env);
            return Step::Idle;
        }
        Step::Commit(Commit { position: Some(rv), ..Commit::default() })
    }

    /// Something that cannot be true came: not taken, declared once for each connection, and the stream goes on.
    fn lied(&mut self, what: &'static str, lent: Lent<'_>) -> Step {
        self.notices.push(Notice::Lie(what));
        let State::Watching(w) = &mut self.state else { return Step::Idle };
        if let Some(l) = &mut w.initial {
            // It may have been one of ours: nothing is concluded from what such a list misses.
            l.partial = true;
        }
        if std::mem::replace(&mut w.lied, true) {
            return Step::Again;
        }
        let records = self.gap("server_lied", None, true, lent);
        // In case it stood in the place of something of ours.
        if self.again_at.is_none() {
            let delay = self.park.next(lent.env.chance).max(Duration::from_secs(60));
            self.again_at = Some((lent.env.now + delay, "server_lied"));
        }
        Step::Commit(Commit { records, ..Commit::default() })
    }

    fn unreadable(&mut self, what: String, stub: Stub, lent: Lent<'_>) {
        self.notices.push(Notice::Undecodable(what.clone()));
        let State::Watching(w) = &self.state else { return };
        if w.peek.is_some() {
            return self.peek_failed(lent.env);
        }
        if let Some(l) = &w.initial {
            // Pages have ways to get over it.
            self.no_watch_list = true;
            let cause = l.cause();
            return self.failed(what, None, Then::List(cause), lent.env);
        }
        let at = &lent.capture.position;
        let times = self.poison.as_ref().filter(|poison| poison.at == *at).map_or(1, |poison| poison.times + 1);
        // An object that is poisoned and keeps changing must not hold up its kind for ever longer.
        let again = self.stubbed_at.is_some_and(|at| lent.env.now.saturating_sub(at) < HEALTHY);
        let then = if times < POISON_TRIES { Then::Watch } else { Then::Peek };
        self.poison = Some(Poison { at: at.clone(), times, stub });
        if again {
            return self.wait(POISON_PAUSE, then, false, what, lent.env);
        }
        self.failed(what, None, then, lent.env);
    }

    /// The metadata of what stands behind the position.
    fn peeked(&mut self, text: &[u8], lent: Lent<'_>) -> Step {
        let text = String::from_utf8_lossy(text);
        let Some((wire, who)) = poison::event(&text) else {
            match line::read_line(&self.redactor, &text) {
                Ok(Line::Error { code: 410, .. }) => self.relist("expired", lent.env),
                _ => self.peek_failed(lent.env),
            }
            return Step::Idle;
        };
        let is_ours = ["", "PartialObjectMetadata", self.kind().name()].contains(&who.kind.as_str());
        if !is_ours || self.strangers.contains(&who.uid) {
            // The watch did not stop at it: what cannot be read stands behind it.
            return self.lied("wrong_kind", lent);
        }
        let out_of_scope = self.scope.as_deref().is_some_and(|ns| ns != who.namespace);
        let State::Watching(w) = &mut self.state else { return Step::Idle };
        let Some(stub) = w.peek.take().filter(|_| who.is_whole() && !out_of_scope && who.rv > lent.capture.position)
        else {
            self.peek_failed(lent.env);
            return Step::Idle;
        };
        let object = redact::stub(self.kind(), &who.borrowed(), stub);
        let commit = self.report(wire, object, None, lent, Some(who.rv));
        self.poison = None;
        self.stubbed_at = Some(lent.env.now);
        self.backoff.reset();
        self.wait(Duration::ZERO, Then::Watch, false, "a stub stands for what cannot be read".into(), lent.env);
        Step::Commit(commit)
    }

    /// Who it is cannot be found out: a list shows what became of all the others.
    fn peek_failed(&mut self, env: Env) {
        self.poison = None;
        self.relist("unreadable", env);
    }

    /// What to do again after a failure of this watch. A list that it was to begin with, and that was answered, is made in
    /// pages: what broke it may break it again, and pages go on where they broke.
    pub(super) fn again(&mut self) -> Then {
        let State::Watching(w) = &self.state else { return Then::Watch };
        let Some(cause) = w.initial.as_ref().map(|l| l.cause()) else { return Then::Watch };
        if w.response.status == Some(200) {
            self.stream_came_to_nothing();
        }
        Then::List(cause)
    }

    fn stream_came_to_nothing(&mut self) {
        self.by_pages = true;
        self.unfinished = self.unfinished.saturating_add(1);
        self.no_watch_list |= self.unfinished >= UNFINISHED_MAX;
    }

    fn watch_ended(&mut self, ended: Result<(), String>, env: Env) {
        let State::Watching(w) = &self.state else { return };
        if w.peek.is_some() {
            return self.peek_failed(env);
        }
        let lasted = env.now.saturating_sub(w.since);
        if lasted >= HEALTHY {
            self.backoff.reset();
        }
        let (events, has_news) = (w.events, w.has_news);
        let mut then = self.again();
        // A server that was away may come back with an older history, in which our version is to come: a watch from there is
        // opened, and stays silent, without a bookmark, until it is ended in order. So one of which nothing was heard is as
        // good a reason to ask as one that broke; where there are bookmarks, there is none in ordinary times.
        if matches!(then, Then::Watch) && (ended.is_err() || events == 0 && lasted >= SPOKEN) {
            then = Then::Probe;
        }
        match ended {
            // Servers end a watch at its timeout, and cut slow readers off: both are ordinary. A greeting is no service: a
            // bookmark or an old change, and then the end, is a failure like any other.
            Ok(()) if has_news || lasted >= SPOKEN => {
                let delay = Duration::from_secs_f64(env.chance.clamp(0.0, 1.0));
                self.wait(delay, then, false, "the server ended the watch".into(), env);
            }
            Ok(()) => self.failed("the server ended the watch at once".into(), None, then, env),
            Err(reason) => self.failed(reason, None, then, env),
        }
    }
}
