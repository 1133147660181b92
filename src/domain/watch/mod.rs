//! The watch core: list and watch of one kind in one scope, as a state machine without a socket, a clock or randomness.
//!
//! Bytes, statuses and ends of streams go in ([`Input`]); requests come out ([`Action`]); and [`WatchCore::next`] gives, one
//! report at a time, what is to be written ([`Commit`]). Nothing here mutates what outlives the actor: the caller applies a
//! commit to lane and [`Capture`] in one step, so that a panic anywhere leaves either all of a report behind or none of it.
//!
//! | phase | leaves by | to |
//! |---|---|---|
//! | Start | a position is known | Watch |
//! | | none | List |
//! | List (pages) | last page digested, more than half of the kind missing | List once more, to confirm |
//! | | last page digested | Sweep |
//! | | 410 while paging | List from the first page |
//! | Sweep (inferred deletes) | done; the list's version is the position | Watch |
//! | Watch | end of stream | Watch (at once after a healthy stream, else after backoff) |
//! | | 410, in the stream or as status | List |
//! | | 403 though lists are allowed | Wait for the poll interval, then List (list-only) |
//! | List, Watch | 403, 404 | Parked; tried again after 1 to 10 minutes |
//! | | any other failure | Wait (full-jitter backoff, Retry-After), then the same again |
//!
//! A list is one step for the position: it moves only when everything derived from the list has been committed. Backoff is
//! reset only by 60 healthy seconds of watch (or where there is no watch, by a finished list), never by an attempt: a server
//! that lists well and answers every watch with 410 is asked ever less often.

mod backoff;
mod digest;
pub mod line;
#[cfg(test)]
mod tests;
mod types;

pub use types::{Action, Capture, Commit, Config, Env, Input, ListMode, Notice, Phase, Point, Rebase, Request, Verb};

use super::index::{ListContext, Name};
use super::kind::Kind;
use super::redact::{self, Redactor};
use super::rv::Rv;
use backoff::Backoff;
use bytes::{Bytes, BytesMut};
use line::{Page, Status};
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

enum State {
    Start,
    Listing(Listing),
    Sweeping(Sweep),
    Watching(Watching),
    Waiting { until: Duration, then: Then, parked: bool, reason: String },
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Then {
    List(&'static str),
    Watch,
}

struct Listing {
    reason: &'static str,
    first: bool,
    /// Set in the second list after a suspected mass deletion.
    suspects: Option<Suspects>,
    /// Objects known when it began.
    known: usize,
    /// Version of the first page: what the whole list is as of.
    rv: Option<Rv>,
    response: Response,
    /// The page being digested.
    page: Option<(Bytes, Page, usize)>,
    begun: bool,
}

/// What a first list missed, and its version.
struct Suspects {
    uids: HashSet<Arc<str>>,
    rv: Rv,
}

struct Sweep {
    list: ListContext,
    /// Where the watch begins when all is done.
    position: Rv,
    gone: std::vec::IntoIter<Arc<str>>,
}

struct Watching {
    since: Duration,
    response: Response,
    buffer: BytesMut,
    /// Bytes of `buffer` already searched for a line end.
    searched: usize,
    events: u64,
    ended: Option<Result<(), String>>,
}

#[derive(Default)]
struct Response {
    status: Option<u16>,
    retry_after: Option<Duration>,
    /// Body of a list, or of a refusal.
    body: BytesMut,
}

/// The state machine of one kind in one scope.
pub struct WatchCore {
    config: Config,
    redactor: Redactor,
    state: State,
    request: u64,
    backoff: Backoff,
    park: Backoff,
    /// Namespaced or cluster-wide path, for the sentence that names a missing right.
    scope: Option<String>,
    actions: Vec<Action>,
    notices: Vec<Notice>,
    trouble: Option<String>,
    resync: Option<&'static str>,
    suspects: HashSet<Name>,
}

/// Bytes of an error body that are kept for its message.
const ERROR_BODY: usize = 64 << 10;
/// A watch that lasts this long is healthy.
const HEALTHY: Duration = Duration::from_secs(60);
/// Longest Retry-After that is believed: a broken proxy must not silence a kind for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// Below this many missing objects a mass deletion is ordinary.
const MASS_DELETION_MIN: usize = 20;

impl WatchCore {
    /// A core that has not begun. `scope` is the namespace, `None` for all.
    pub fn new(config: Config, redactor: Redactor, scope: Option<String>) -> Self {
        Self {
            config,
            redactor,
            state: State::Start,
            request: 0,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
            park: Backoff::new(Duration::from_secs(60), Duration::from_secs(600)),
            scope,
            actions: Vec::new(),
            notices: Vec::new(),
            trouble: None,
            resync: None,
            suspects: HashSet::new(),
        }
    }

    /// The kind.
    pub fn kind(&self) -> &Kind {
        self.redactor.kind()
    }

    /// Where it stands.
    pub fn phase(&self) -> Phase {
        let (name, reason) = match &self.state {
            State::Start => ("start", None),
            State::Listing(_) | State::Sweeping(_) => ("listing", None),
            State::Watching(_) => ("watching", None),
            State::Waiting { parked: true, reason, .. } => ("parked", Some(reason.clone())),
            State::Waiting { reason, .. } => ("waiting", Some(reason.clone())),
        };
        Phase { name, reason }
    }

    /// When [`WatchCore::tick`] must be called, if nothing else happens.
    pub fn wake_at(&self) -> Option<Duration> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            _ => None,
        }
    }

    /// Takes the actions that came up.
    pub fn actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }

    /// Takes what is worth counting.
    pub fn notices(&mut self) -> Vec<Notice> {
        std::mem::take(&mut self.notices)
    }

    /// Bytes received and not yet digested.
    pub fn buffered(&self) -> usize {
        match &self.state {
            State::Watching(w) => w.buffer.len() + w.response.body.len(),
            State::Listing(l) => l.response.body.len() + l.page.as_ref().map_or(0, |p| p.0.len()),
            _ => 0,
        }
    }

    /// Begins, or goes on after a wait that is over.
    pub fn tick(&mut self, capture: &Capture, env: Env) {
        match &self.state {
            State::Start if capture.position.is_empty() => self.list("first", None, capture),
            State::Start => self.watch(capture, env),
            State::Waiting { until, then, .. } if *until <= env.now => match *then {
                Then::List(reason) => self.list(reason, None, capture),
                Then::Watch => self.watch(capture, env),
            },
            _ => {}
        }
    }

    /// Lists again at the next turn, whatever goes on, and writes these objects anew even where the index holds their
    /// version: the log does not say what it should.
    pub fn resync(&mut self, reason: &'static str, suspects: Vec<Name>) {
        self.resync = Some(reason);
        self.suspects.extend(suspects);
    }

    /// Takes what happened to request `id`.
    pub fn input(&mut self, id: u64, input: Input, env: Env) {
        if id != self.request {
            return;
        }
        match (&mut self.state, input) {
            (
                State::Listing(Listing { response, .. }) | State::Watching(Watching { response, .. }),
                Input::Head { status, retry_after },
            ) => {
                response.status = Some(status);
                response.retry_after = retry_after;
                if status == 200 {
                    self.trouble = None;
                }
            }
            (State::Listing(l), Input::Body(bytes)) => {
                let limit = if l.response.status == Some(200) { self.config.max_page } else { ERROR_BODY };
                if l.response.body.len() + bytes.len() > limit {
                    if l.response.status == Some(200) {
                        let reason = format!("a list page is larger than {limit} bytes");
                        self.failed(reason, None, env);
                    }
                    return;
                }
                l.response.body.extend_from_slice(&bytes);
            }
            (State::Watching(w), Input::Body(bytes)) => {
                if w.response.status == Some(200) {
                    w.buffer.extend_from_slice(&bytes);
                } else if w.response.body.len() + bytes.len() <= ERROR_BODY {
                    w.response.body.extend_from_slice(&bytes);
                }
            }
            (State::Listing(_), Input::End) => self.list_ended(env),
            (State::Watching(w), Input::End) => {
                if w.response.status == Some(200) {
                    w.ended = Some(Ok(()));
                } else {
                    self.refused(env);
                }
            }
            (State::Watching(w), Input::Broken(reason)) => w.ended = Some(Err(reason)),
            (State::Listing(_), Input::Broken(reason)) => self.failed(reason, None, env),
            _ => {}
        }
    }

    fn send(&mut self, verb: Verb) {
        self.request += 1;
        self.actions.push(Action::Send(Request { id: self.request, verb }));
    }

    fn list(&mut self, reason: &'static str, suspects: Option<Suspects>, capture: &Capture) {
        self.notices.push(Notice::Relist(reason));
        // A second list is of no use if an older one is allowed to answer.
        let newest = suspects.as_ref().map_or(&capture.position, |s| (&s.rv).max(&capture.position));
        let at_least = (!newest.is_empty()).then(|| newest.clone());
        // Without a position nothing is known of what was created since: everything is a snapshot.
        let first = !capture.synced;
        self.state = State::Listing(Listing {
            reason,
            first,
            suspects,
            known: 0,
            rv: None,
            response: Response::default(),
            page: None,
            begun: false,
        });
        self.send(Verb::List { limit: self.config.page_size, next: None, at_least, metadata_only: false });
    }

    fn watch(&mut self, capture: &Capture, env: Env) {
        let (low, high) = self.config.watch_seconds;
        let timeout_seconds = low + (f64::from(high.saturating_sub(low)) * env.chance) as u32;
        self.state = State::Watching(Watching {
            since: env.now,
            response: Response::default(),
            buffer: BytesMut::new(),
            searched: 0,
            events: 0,
            ended: None,
        });
        self.send(Verb::Watch { rv: capture.position.clone(), timeout_seconds, metadata_only: false });
    }

    fn wait(&mut self, delay: Duration, then: Then, parked: bool, reason: String, env: Env) {
        // What an abandoned connection still delivers must not be taken for the next one's.
        self.request += 1;
        self.actions.push(Action::Close);
        self.state = State::Waiting { until: env.now + delay, then, parked, reason };
    }

    /// What to do again after a failure in the present state.
    fn again(&self) -> Then {
        match &self.state {
            State::Watching(_) => Then::Watch,
            State::Waiting { then, .. } => *then,
            State::Listing(l) => Then::List(l.reason),
            _ => Then::List("first"),
        }
    }

    /// What went wrong last, until the API server answers well again: an outage, for people.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    fn failed(&mut self, reason: String, retry_after: Option<Duration>, env: Env) {
        self.trouble = Some(reason.clone());
        let delay = self.backoff.next(env.chance).max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
        self.wait(delay, self.again(), false, reason, env);
    }

    /// The server answered with a status that is not 200.
    fn refused(&mut self, env: Env) {
        let (response, watching) = match &mut self.state {
            State::Listing(l) => (std::mem::take(&mut l.response), false),
            State::Watching(w) => (std::mem::take(&mut w.response), true),
            _ => return,
        };
        let code = response.status.unwrap_or(0);
        let status: Status<'_> = serde_json::from_slice(&response.body).unwrap_or_default();
        let message: String = status.message.0.chars().filter(|c| !c.is_control()).take(300).collect();
        let verb = if watching { "watch" } else { "list" };
        match code {
            410 => self.relist(if watching { "expired" } else { "page_expired" }, env),
            // A version that the server cannot read: the same again would be refused for ever.
            400 if watching => self.relist("version_refused", env),
            403 if watching => self.list_only(env),
            403 | 404 => {
                let reason = if code == 403 { self.missing_right(verb) } else { self.not_served() };
                let delay = self.park.next(env.chance).max(Duration::from_secs(60));
                self.wait(delay, self.again(), true, reason, env);
            }
            _ => self.failed(format!("{verb} answered {code} {message}"), response.retry_after, env),
        }
    }

    fn list_only(&mut self, env: Env) {
        self.backoff.reset();
        let reason = format!("lists every {:?}: {}", self.config.poll_interval, self.missing_right("watch"));
        self.wait(self.config.poll_interval, Then::List("poll"), false, reason, env);
    }

    /// The rule that RBAC must grant, as it would be written.
    fn missing_right(&self, verb: &str) -> String {
        let kind = self.kind();
        let place = self
            .scope
            .as_ref()
            .map_or_else(|| "in a ClusterRole".to_owned(), |ns| format!("in a Role of namespace {ns}"));
        format!(
            "not allowed to {verb} {}: RBAC needs {{apiGroups: [\"{}\"], resources: [\"{}\"], verbs: [\"list\", \"watch\"]}} {place}",
            kind.plural(),
            kind.group(),
            kind.plural()
        )
    }

    fn not_served(&self) -> String {
        format!("the API server does not serve {} {}", self.kind().api_version(), self.kind().plural())
    }

    fn relist(&mut self, reason: &'static str, env: Env) {
        // Through the wait state, so that a server that always answers 410 meets the backoff.
        let delay = self.backoff.next(env.chance);
        self.wait(delay, Then::List(reason), false, format!("list again: {reason}"), env);
    }

    fn list_ended(&mut self, env: Env) {
        let State::Listing(l) = &mut self.state else { return };
        if l.response.status != Some(200) {
            return self.refused(env);
        }
        let body = std::mem::take(&mut l.response).body.freeze();
        let page = std::str::from_utf8(&body)
            .map_err(|e| redact::DecodeError::Json(e.valid_up_to()))
            .and_then(line::read_page);
        match page {
            Ok(page) => {
                l.rv.get_or_insert_with(|| page.rv.clone());
                l.page = Some((body, page, 0));
            }
            Err(e) => {
                self.notices.push(Notice::Undecodable(format!("list page: {e}")));
                self.failed(format!("a list page cannot be read: {e}"), None, env);
            }
        }
    }

    fn watch_ended(&mut self, ended: Result<(), String>, env: Env) {
        let State::Watching(w) = &self.state else { return };
        let lasted = env.now.saturating_sub(w.since);
        if lasted >= HEALTHY {
            self.backoff.reset();
        }
        match ended {
            // Servers end a watch at its timeout, and cut slow readers off: both are ordinary, the version is good.
            Ok(()) if w.events > 0 || lasted >= Duration::from_secs(5) => {
                let delay = Duration::from_secs_f64(env.chance.clamp(0.0, 1.0));
                self.wait(delay, Then::Watch, false, "the server ended the watch".into(), env);
            }
            Ok(()) => self.failed("the server ended the watch at once".into(), None, env),
            Err(reason) => self.failed(reason, None, env),
        }
    }
}
