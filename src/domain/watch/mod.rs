//! The watch core: list and watch of one kind in one scope, as a state machine without a socket, a clock or randomness.
//!
//! Bytes, statuses and ends of streams go in ([`Input`]); requests come out ([`Action`]); and [`WatchCore::next`] gives, one
//! report at a time, what is to be written ([`Commit`]). Nothing here mutates what outlives the actor: the caller applies a
//! commit to lane and [`Capture`] in one step, so that a panic anywhere leaves either all of a report behind or none of it.
//!
//! | state | leaves by | to |
//! |---|---|---|
//! | Start | scope or redaction changed, no position is known, or an earlier life of the actor owed deletes | List |
//! | | the position is from a checkpoint | Probe |
//! | | the position is from an earlier life of the actor | Watch |
//! | Probe | 200: the server knows the version | Watch |
//! | | twice: the version is too large | List the newest: older than the position? then a new history epoch |
//! | | any other 4xx | List |
//! | | 5xx | Probe; but Watch where a watch broke and nothing else speaks for older versions: its bookmarks tell |
//! | List (pages, or one stream) | a page fails | the same page; smaller after two failures, at once if it was too large |
//! | | a page is never readable | its metadata: a stub for each object |
//! | | an item is not readable | its identity as far as it can be read, else the page's metadata; a stub |
//! | | 410 while paging | once with the server's own token (the later pages are newer), else the first page |
//! | | one stream is refused, breaks or never ends | the same list in pages; after two in a row, always |
//! | | its version is older than the position | List the newest: still older? then a new history epoch |
//! | | an audit proved that the log holds what the server's history never had | a new history epoch |
//! | | more than half of the kind is missing | List once more, within the budget, then Review: only if both agree, Sweep |
//! | Review of that | no answer | Watch, with the deletes owed and the durable position held; asked again after 30 s to 5 minutes |
//! | | last page digested | Sweep |
//! | Sweep (deletes nobody reported) | done; the version of the first page is the position | Watch |
//! | Watch | end of stream | Watch (at once after a healthy stream, else after backoff) |
//! | | 410, in the stream or as status; 400 | List, within the budget for lists |
//! | | a watch that broke or said nothing at all, a version that goes back | Probe |
//! | | three times a line that cannot be read behind one version | Peek |
//! | | no room in the lane for long, and much to digest | Pressed, until the lane is half empty; then the same again |
//! | Peek (metadata of the next change) | one line: a stub in its place | Watch behind it |
//! | | not readable either | List |
//! | Probe, List, Watch | 403 | Review |
//! | Review | allowed: the refusal was a passing one | backoff, then the same again |
//! | | no right to list | Parked; tried again after 1 to 10 minutes |
//! | | rights to list and none to watch | Wait for the poll interval, then List (list-only) |
//! | List, Watch | 404 | Parked; tried again at once when discovery says that the kind is served |
//! | | any other failure | Wait (full-jitter backoff, Retry-After), then the same again |
//!
//! A list is one step for the position: it moves only when everything derived from the list has been committed. What a list
//! coalesces is declared by a gap before the first change that it shows. Backoff is reset only by 60 healthy seconds of
//! watch (or where there is no watch, by a finished list), never by an attempt: a server that lists well and answers every
//! watch with 410 is asked ever less often, and two lists at once are followed by one in 30 s.

mod asking;
mod backoff;
pub mod line;
mod listing;
mod pages;
mod poison;
mod report;
mod sweep;
#[cfg(test)]
mod tests;
mod types;
mod watching;

pub use types::{Action, Capture, Commit, Config, Env, Input, ListMode, Notice, Phase, Point, Rebase, Request, Verb};

use super::audit::Suspect;
use super::envelope::Writer;
use super::index::{Before, Name};
use super::kind::Kind;
use super::redact::Redactor;
use super::rv::Rv;
use super::said;
use asking::{About, Probing, Reviewing};
use backoff::{Backoff, Budget};
use bytes::BytesMut;
use line::Status;
use listing::Listing;
use std::collections::HashMap;
use std::time::Duration;
use sweep::{Doubt, Owed, Sweep};
use watching::{Poison, Watching};

enum State {
    Start,
    Probing(Probing),
    Reviewing(Reviewing),
    Listing(Box<Listing>),
    Sweeping(Sweep),
    Watching(Box<Watching>),
    /// The lane has no room: no connection, until it is half empty; then this.
    Pressed(Then),
    Waiting {
        until: Duration,
        then: Then,
        parked: bool,
        reason: String,
    },
}

enum Then {
    List(&'static str),
    /// The same page again.
    Page(Box<Listing>),
    Watch,
    Probe,
    /// The second list after a suspected mass deletion.
    Confirm(Doubt, &'static str),
    /// A watch of metadata: what stands behind the position cannot be read otherwise.
    Peek,
}

#[derive(Default)]
struct Response {
    status: Option<u16>,
    retry_after: Option<Duration>,
    /// Body of a list, or of a refusal.
    body: BytesMut,
    /// More came than is kept: `body` is its beginning.
    is_cut: bool,
}

/// What every step works with: lent for the one call.
#[derive(Clone, Copy)]
struct Lent<'a> {
    capture: &'a Capture,
    writer: &'a Writer,
    before: &'a dyn Before,
    env: Env,
}

enum Step {
    Commit(Commit),
    Again,
    Idle,
}

/// The state machine of one kind in one scope.
pub struct WatchCore {
    config: Config,
    redactor: Redactor,
    state: State,
    request: u64,
    backoff: Backoff,
    park: Backoff,
    /// Between questions whether most of a kind may really be gone.
    asks: Backoff,
    lists: Budget,
    /// Objects a page now: less than configured after failures.
    page_size: u32,
    /// Namespaced or cluster-wide path, for the sentence that names a missing right, and what must be in it.
    scope: Option<String>,
    actions: Vec<Action>,
    notices: Vec<Notice>,
    trouble: Option<String>,
    /// A list that is asked for, and what it is to write anew.
    resync: Option<&'static str>,
    suspects: HashMap<Name, Suspect>,
    /// A later list, because the last one could not be believed or read in full.
    again_at: Option<(Duration, &'static str)>,
    /// Lists and probes in a row that speak for a rewound history.
    rewind_evidence: u8,
    /// The position before it last moved: where it turns out to be one that the server never had, the last to believe.
    moved_from: Rv,
    /// Deletes that wait for an answer.
    owed: Option<Owed>,
    /// The position whose server was asked whether versions really go back.
    probed_at: Option<Rv>,
    poison: Option<Poison>,
    /// Some uids of objects of other kinds that came behind the position: the metadata of one does not tell its kind.
    strangers: Vec<String>,
    /// When a stub last stood for what a watch could not be read of.
    stubbed_at: Option<Duration>,
    /// There is no right to watch, and a gap says so.
    list_only: bool,
    /// The server refuses lists as a stream, or does not bring them to an end.
    no_watch_list: bool,
    /// The list that is due is made page by page: as a stream it came to nothing.
    by_pages: bool,
    /// Lists as a stream that came to no end, since the last that did.
    unfinished: u8,
    /// It is parked since the kind is not served.
    unserved: bool,
}

/// Bytes of an error body that are kept for its message.
const ERROR_BODY: usize = 64 << 10;
/// A watch that lasts this long is healthy.
const HEALTHY: Duration = Duration::from_secs(60);
/// Longest Retry-After that is believed: a broken proxy must not silence a kind for a day.
const RETRY_AFTER_MAX: Duration = Duration::from_secs(600);
/// What is wrong while deletes are owed.
const UNANSWERED: &str =
    "most of the kind is gone, and whether we may still list all of it could not be found out: its deletes wait";
/// How many objects of other kinds are remembered.
const STRANGERS: usize = 16;
/// How long a lane may have no room before the connection is given up: acks that stall for less are ordinary.
const PATIENCE: Duration = Duration::from_secs(5);

impl WatchCore {
    /// A core that has not begun. `scope` is the namespace, `None` for all.
    pub fn new(config: Config, redactor: Redactor, scope: Option<String>) -> Self {
        Self {
            page_size: config.page_size.max(1),
            config,
            redactor,
            state: State::Start,
            request: 0,
            backoff: Backoff::new(Duration::from_millis(500), Duration::from_secs(60)),
            park: Backoff::new(Duration::from_secs(60), Duration::from_secs(600)),
            asks: Backoff::new(Duration::from_secs(30), Duration::from_secs(300)),
            lists: Budget::default(),
            scope,
            actions: Vec::new(),
            notices: Vec::new(),
            trouble: None,
            resync: None,
            suspects: HashMap::new(),
            again_at: None,
            rewind_evidence: 0,
            moved_from: Rv::default(),
            owed: None,
            probed_at: None,
            poison: None,
            strangers: Vec::new(),
            stubbed_at: None,
            list_only: false,
            no_watch_list: false,
            by_pages: false,
            unfinished: 0,
            unserved: false,
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
            State::Probing(_) => ("probing", None),
            State::Reviewing(_) => ("reviewing", None),
            State::Listing(_) | State::Sweeping(_) => ("listing", None),
            State::Watching(w) if w.initial.is_some() => ("listing", None),
            State::Watching(_) => ("watching", None),
            State::Pressed(_) => ("waiting", Some("the log takes no more for now; going on when it does".to_owned())),
            State::Waiting { parked: true, reason, .. } => ("parked", Some(reason.clone())),
            State::Waiting { reason, .. } => ("waiting", Some(reason.clone())),
        };
        Phase { name, reason }
    }

    /// When [`WatchCore::tick`] must be called, if nothing else happens.
    pub fn wake_at(&self) -> Option<Duration> {
        match &self.state {
            State::Waiting { until, .. } => Some(*until),
            State::Watching(w) => {
                let impatient = w.pressed_since.map(|since| since + PATIENCE);
                let is_free = w.peek.is_none() && w.initial.is_none();
                let ask_at = self.owed.as_ref().filter(|_| is_free).map(|owed| owed.ask_at);
                impatient.into_iter().chain(self.again_at.map(|(at, _)| at)).chain(ask_at).min()
            }
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
            State::Probing(p) => p.response.body.len(),
            State::Listing(l) => l.response.body.len() + l.page.as_ref().map_or(0, |p| p.body.len()),
            _ => 0,
        }
    }

    /// Begins, or goes on after a wait that is over.
    pub fn tick(&mut self, capture: &Capture, env: Env) {
        let is_due = match &self.state {
            State::Start => true,
            State::Waiting { until, .. } => *until <= env.now,
            _ => false,
        };
        if let Some(fault) = self.redactor.fault().filter(|_| is_due) {
            let reason = fault.to_string();
            let delay = self.park.next(env.chance).max(Duration::from_secs(60));
            return self.wait(delay, Then::List("first"), true, reason, env);
        }
        if let Some((_, reason)) = self.again_at.filter(|(at, _)| *at <= env.now) {
            self.again_at = None;
            self.resync.get_or_insert(reason);
        }
        let is_free = match &self.state {
            State::Watching(w) => w.peek.is_none() && w.initial.is_none(),
            State::Waiting { parked, then, .. } => !parked && matches!(then, Then::Watch),
            _ => false,
        };
        if is_free && let Some(reason) = self.resync.take() {
            match self.lists.turn(env.now) {
                Duration::ZERO => self.relist(reason, env),
                // The watch goes on until then.
                turn => {
                    let next = (env.now + turn, reason);
                    self.again_at = Some(self.again_at.filter(|(at, _)| *at <= next.0).unwrap_or(next));
                }
            }
        } else if is_free && let Some(owed) = self.owed.take_if(|owed| owed.ask_at <= env.now) {
            self.review("list", About::MassDeletion(owed.sweep, owed.cause));
        }
        match &self.state {
            State::Start => self.start(capture, env),
            State::Waiting { until, .. } if *until <= env.now => {
                let State::Waiting { then, .. } = std::mem::replace(&mut self.state, State::Start) else { return };
                match then {
                    Then::List(reason) => self.list(reason, None, capture, env),
                    Then::Page(listing) => {
                        self.state = State::Listing(listing);
                        self.send_page();
                    }
                    Then::Watch => self.watch(capture, env),
                    Then::Probe => self.probe(capture),
                    Then::Peek => self.peek(capture, env),
                    Then::Confirm(doubt, cause) => self.list("confirm", Some((doubt, cause)), capture, env),
                }
            }
            _ => {}
        }
    }

    fn start(&mut self, capture: &Capture, env: Env) {
        match &capture.rebase {
            Some(rebase) => self.list(rebase.reason, None, capture, env),
            // What was owed died with the one who knew it.
            None if capture.deferred => self.list("unsettled", None, capture, env),
            None if capture.position.is_empty() => self.list("first", None, capture, env),
            None if capture.from_checkpoint => self.probe(capture),
            None => self.watch(capture, env),
        }
    }

    /// Lists again at the next turn, whatever goes on, and writes these objects anew even where the index holds their
    /// version: the log does not say what it should.
    pub fn resync(&mut self, reason: &'static str, mut suspects: Vec<(Name, Suspect)>) {
        let found = suspects.len();
        // Two lists have said the same of whom a delete is owed, and another list would not make it known any better.
        self.forget_owed(&mut suspects);
        if suspects.is_empty() && found > 0 {
            return;
        }
        self.resync = Some(reason);
        self.suspects.extend(suspects);
    }

    /// The lane takes nothing more for now. What is read and cannot be digested is bounded: if that lasts, the connection
    /// is given up and the version kept. Gives whether it was.
    pub fn no_room(&mut self, env: Env) -> bool {
        let State::Watching(w) = &mut self.state else { return false };
        if w.buffer.len() <= self.config.max_backlog {
            w.pressed_since = None;
            return false;
        }
        let since = *w.pressed_since.get_or_insert(env.now);
        if env.now.saturating_sub(since) < PATIENCE {
            return false;
        }
        self.notices.push(Notice::Backlog(w.buffer.len()));
        // Of a list that came as a stream there is no version yet to go on from.
        let then = self.again();
        self.close();
        self.state = State::Pressed(then);
        true
    }

    /// The lane is at most half full: a connection that was given up for lack of room is opened again.
    pub fn relieved(&mut self, env: Env) {
        if let State::Pressed(then) = &mut self.state {
            let then = std::mem::replace(then, Then::Watch);
            let reason = "the log takes more again".into();
            self.state = State::Waiting { until: env.now, then, parked: false, reason };
        }
    }

    /// Digests the next report, if one is complete. `None` means that there is nothing more to do until the next input.
    /// The caller applies the commit to its lane and to `capture` before it calls again.
    pub fn next(&mut self, capture: &Capture, writer: &Writer, before: &dyn Before, env: Env) -> Option<Commit> {
        let lent = Lent { capture, writer, before, env };
        loop {
            let step = match &mut self.state {
                State::Listing(l) if l.page.is_some() => self.next_item(lent),
                State::Sweeping(_) => self.next_gone(lent),
                State::Watching(w) => {
                    w.pressed_since = None;
                    self.next_line(lent)
                }
                State::Probing(p) if p.ended => self.probed(lent),
                State::Reviewing(r) if r.ended => self.reviewed(lent),
                _ => return None,
            };
            match step {
                Step::Commit(commit) => {
                    if commit.position.as_ref().is_some_and(|to| *to > capture.position) {
                        self.moved_from = capture.position.clone();
                        self.strangers.clear();
                    }
                    return Some(commit);
                }
                Step::Again => {}
                Step::Idle => return None,
            }
        }
    }

    /// Takes what happened to request `id`.
    pub fn input(&mut self, id: u64, input: Input, env: Env) {
        if id != self.request {
            return;
        }
        let Some(response) = self.response() else { return };
        match input {
            Input::Head { status, retry_after } => {
                response.status = Some(status);
                response.retry_after = retry_after;
                if status == 200 {
                    self.trouble = None;
                }
            }
            Input::Body(bytes) => {
                let good = response.status == Some(200);
                let limit = match &mut self.state {
                    State::Watching(w) if good => return w.buffer.extend_from_slice(&bytes),
                    // Metadata of one object; that may be a megabyte, and the list's own version stand behind it.
                    State::Listing(_) | State::Probing(_) if good => self.config.max_page,
                    _ => ERROR_BODY,
                };
                let Some(response) = self.response() else { return };
                if response.body.len() + bytes.len() <= limit && !response.is_cut {
                    response.body.extend_from_slice(&bytes);
                    return;
                }
                // Nothing is left out in the middle: what is behind a hole would be read as if it stood elsewhere.
                response.is_cut = true;
                if good && matches!(self.state, State::Listing(_)) {
                    self.page_too_large(env);
                }
            }
            Input::End => match &mut self.state {
                State::Listing(_) => self.list_ended(env),
                State::Watching(w) if w.response.status == Some(200) => w.ended = Some(Ok(())),
                State::Watching(_) => self.watch_refused(env),
                State::Probing(p) => p.ended = true,
                State::Reviewing(r) => r.ended = true,
                _ => {}
            },
            Input::Broken(reason) => match &mut self.state {
                State::Watching(w) => w.ended = Some(Err(reason)),
                State::Listing(_) => self.page_failed(reason, None, env),
                State::Probing(_) => self.failed(reason, None, Then::Probe, env),
                State::Reviewing(r) => {
                    r.response = Response::default();
                    r.ended = true;
                }
                _ => {}
            },
        }
    }

    /// What has come of the answer to the open request.
    fn response(&mut self) -> Option<&mut Response> {
        match &mut self.state {
            State::Listing(l) => Some(&mut l.response),
            State::Watching(w) => Some(&mut w.response),
            State::Probing(p) => Some(&mut p.response),
            State::Reviewing(r) => Some(&mut r.response),
            _ => None,
        }
    }

    fn send(&mut self, verb: Verb) {
        self.ask(verb, self.redactor.metadata_only());
    }

    fn ask(&mut self, verb: Verb, metadata_only: bool) {
        self.request += 1;
        self.actions.push(Action::Send(Request { id: self.request, verb, metadata_only }));
    }

    /// What an abandoned connection still delivers must not be taken for the next one's.
    fn close(&mut self) {
        self.request += 1;
        self.actions.push(Action::Close);
    }

    fn wait(&mut self, delay: Duration, then: Then, parked: bool, reason: String, env: Env) {
        self.close();
        self.unserved = false;
        self.state = State::Waiting { until: env.now + delay, then, parked, reason };
    }

    /// What went wrong last, until the API server answers well again: an outage, for people.
    pub fn trouble(&self) -> Option<&str> {
        let is_asked_again = self.asks.is_raised()
            && matches!(&self.state, State::Reviewing(r) if matches!(r.about, About::MassDeletion(..)));
        self.trouble.as_deref().or((self.owed.is_some() || is_asked_again).then_some(UNANSWERED))
    }

    fn failed(&mut self, reason: String, retry_after: Option<Duration>, then: Then, env: Env) {
        self.trouble = Some(reason.clone());
        let delay = self.backoff.next(env.chance).max(retry_after.unwrap_or_default().min(RETRY_AFTER_MAX));
        self.wait(delay, then, false, reason, env);
    }

    /// Lists again, within the budget: through the wait state, so that a server that always answers 410 meets the backoff.
    fn relist(&mut self, reason: &'static str, env: Env) {
        let delay = self.backoff.next(env.chance).max(self.lists.reserve(env.now));
        self.wait(delay, Then::List(reason), false, format!("list again: {reason}"), env);
    }

    /// The kind is left alone for a while.
    fn park(&mut self, reason: String, then: Then, env: Env) {
        let delay = self.park.next(env.chance).max(Duration::from_secs(60));
        self.wait(delay, then, true, reason, env);
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

    /// 404: left alone until somebody says that it is served, and else asked for now and then.
    fn not_served(&mut self, then: Then, env: Env) {
        let reason = format!("the API server does not serve {} {}", self.kind().api_version(), self.kind().plural());
        self.park(reason, then, env);
        self.unserved = true;
    }

    /// Discovery says that the kind is served: what waits for nothing but that goes on.
    pub fn served(&mut self, env: Env) {
        if let State::Waiting { until, parked: true, .. } = &mut self.state
            && std::mem::take(&mut self.unserved)
        {
            *until = env.now;
        }
    }
}

/// What the server says about a refusal, as far as it may be repeated.
fn refusal(status: &Status<'_>, redactor: &Redactor) -> String {
    said::refusal(&status.reason.0, &status.message.0, redactor.hides_values())
}
