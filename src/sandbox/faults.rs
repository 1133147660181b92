//! Scripted faults: what a real API server does on a bad day, on request.
//!
//! A rule applies to requests or to open watches, of one resource or verb or of all, so many times or until it is cleared.

mod order;
mod spoil;

pub(super) use order::Order;
pub use spoil::Spoil;
pub(super) use spoil::with_metadata;

use super::object::Encoded;
use super::state::State;
use super::status::Status;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::watch;

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// The request is answered with this code: 403 (and access reviews deny it), 410, 429, 500, 503, 504, ...
    Refuse {
        /// HTTP code.
        code: u16,
        /// `Retry-After` in seconds.
        retry_after: Option<u64>,
    },
    /// The version that is asked for is one that this server has not come to, as where it lags behind another.
    TooLarge,
    /// Access reviews say no, and nothing is refused: rights that go while a list is under way.
    Denied,
    /// The answer comes later.
    Delay(Duration),
    /// An open watch gets an ERROR event with 410 and ends.
    Gone,
    /// An open watch gets the beginning of a line, and the connection breaks.
    PartialLine,
    /// The connection of an open watch breaks.
    Cut,
    /// Open watches stay open and say nothing.
    Stall,
    /// Open watches get no bookmarks.
    NoBookmarks,
    /// An open watch ends in order in the middle of a line, as where a proxy hides that its server died.
    HalfLine,
    /// An open watch reports the deletion of an object that never was.
    Ghost,
    /// An open watch gets a bookmark that is not true.
    Bookmark(Mark),
    /// A watch that begins with a list never says that the list is over.
    NoInitialEnd,
    /// A list or a watch is answered with headers, and then with nothing.
    Silent,
    /// A list or a watch is answered 200 with a page for people, as by a proxy.
    Html,
    /// A list or a watch is answered compressed, though nobody asked for it.
    Gzip,
    /// A body arrives byte by byte.
    Dribble,
    /// The lines of a watch end with CRLF, and empty ones stand between them.
    BlankLines,
    /// Every resourceVersion has 40 digits.
    LongVersions,
    /// A list is complete and empty, as to one who may see nothing.
    Empty,
    /// A further page of a list is answered 410, with a token for the rest as it is then.
    PageGone,
    /// Objects are written wrongly.
    Spoil(Spoil),
}

/// How a bookmark lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mark {
    /// It stands for the newest version, though changes before it are still to come.
    Early,
    /// It stands for version 1.
    Backwards,
    /// Its version is a word.
    Word,
}

/// A fault, and when it happens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// What goes wrong.
    pub fault: Fault,
    /// Only for this resource (`pods`, `deployments.apps`).
    pub resource: Option<String>,
    /// Only for this verb (`get`, `list`, `watch`, `create`, `update`, `patch`, `delete`, `deletecollection`).
    pub verb: Option<String>,
    /// Only for objects of this name; counts for `Spoil`.
    pub name: Option<String>,
    /// So many times; `None`: until cleared. `Stall`, `NoBookmarks` and `NoInitialEnd` last until cleared in any case.
    pub times: Option<u32>,
}

impl Rule {
    /// Everywhere, until cleared.
    pub fn new(fault: Fault) -> Self {
        Self { fault, resource: None, verb: None, name: None, times: None }
    }

    /// Only for a resource.
    pub fn of(mut self, resource: impl Into<String>) -> Self {
        self.resource = Some(resource.into());
        self
    }

    /// Only for a verb.
    pub fn verb(mut self, verb: impl Into<String>) -> Self {
        self.verb = Some(verb.into());
        self
    }

    /// Only for objects of that name.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Only so many times.
    pub fn times(mut self, times: u32) -> Self {
        self.times = Some(times);
        self
    }

    fn concerns(&self, verb: &str, resource: &str) -> bool {
        self.times != Some(0)
            && self.resource.as_deref().is_none_or(|r| r == resource)
            && self.verb.as_deref().is_none_or(|v| v == verb)
    }
}

/// A rule, and the change of the rules by which it came.
struct Active {
    rule: Rule,
    since: u64,
}

impl Active {
    /// A cut without a count is for those that had been asked for when it was ordered.
    fn is_cut_of_all(&self) -> bool {
        self.rule.fault == Fault::Cut && self.rule.times.is_none()
    }
}

/// The handle. Cheap to clone.
#[derive(Clone)]
pub struct Faults {
    state: State,
    rules: Arc<Mutex<Vec<Active>>>,
    changed: watch::Sender<u64>,
    lists: Arc<Lists>,
    /// How long a request for a version of the future is kept waiting, in milliseconds.
    future_ms: Arc<AtomicU64>,
}

/// As a real API server does.
const FUTURE: Duration = Duration::from_secs(3);

/// Lists that are being answered, so that a trial can see how many there were at a time.
#[derive(Default)]
struct Lists {
    now: AtomicUsize,
    most: AtomicUsize,
    all: AtomicUsize,
    watches: AtomicUsize,
}

/// A list that is being answered.
pub(super) struct OneList(Arc<Lists>);

impl Drop for OneList {
    fn drop(&mut self) {
        self.0.now.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Faults {
    pub(super) fn new(state: State) -> Self {
        let future_ms = Arc::new(AtomicU64::new(FUTURE.as_millis() as u64));
        Self { state, rules: Arc::default(), changed: watch::Sender::new(0), lists: Arc::default(), future_ms }
    }

    /// Keeps requests for a version of the future waiting for so long, where a real API server takes 3 s: for trials whose
    /// client is in a hurry.
    pub fn wait_for_future(&self, time: Duration) {
        self.future_ms.store(u64::try_from(time.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    pub(super) fn future(&self) -> Duration {
        Duration::from_millis(self.future_ms.load(Ordering::Relaxed))
    }

    /// How many lists were answered at the same time at most, and how many in all; without those that only ask whether a
    /// version is known (`limit=1`, `resourceVersionMatch=NotOlderThan`).
    pub fn lists(&self) -> (usize, usize) {
        (self.lists.most.load(Ordering::Relaxed), self.lists.all.load(Ordering::Relaxed))
    }

    /// How many watches were opened.
    pub fn watches(&self) -> usize {
        self.lists.watches.load(Ordering::Relaxed)
    }

    pub(super) fn one_watch(&self) {
        self.lists.watches.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn one_list(&self) -> OneList {
        let now = self.lists.now.fetch_add(1, Ordering::Relaxed) + 1;
        self.lists.most.fetch_max(now, Ordering::Relaxed);
        self.lists.all.fetch_add(1, Ordering::Relaxed);
        OneList(self.lists.clone())
    }

    /// From now on, or once.
    pub fn inject(&self, rule: Rule) {
        tracing::info!(?rule, "a fault is scripted");
        self.changed.send_modify(|now| {
            *now += 1;
            let since = *now;
            self.with(|rules| {
                rules.retain(|r| !r.is_cut_of_all() || r.rule.resource != rule.resource);
                rules.push(Active { rule, since });
            });
        });
    }

    /// Everything is well again.
    pub fn clear(&self) {
        self.with(Vec::clear);
        self.changed.send_modify(|now| *now += 1);
    }

    /// One fault happens no more.
    pub fn lift(&self, fault: Fault) {
        self.with(|rules| rules.retain(|r| r.rule.fault != fault));
        self.changed.send_modify(|now| *now += 1);
    }

    /// The rules that still apply.
    pub fn rules(&self) -> Vec<Rule> {
        self.with(|rules| rules.iter().filter(|r| !r.is_cut_of_all()).map(|r| r.rule.clone()).collect())
    }

    /// Breaks the connections of all watches that are open or asked for now (of one resource).
    pub fn cut_watches(&self, resource: Option<&str>) {
        self.inject(Rule { resource: resource.map(str::to_owned), ..Rule::new(Fault::Cut) });
    }

    /// Forgets all history: resumed watches and continue tokens get 410.
    pub fn compact(&self) {
        self.state.compact();
    }

    /// The revision leaps ahead.
    pub fn jump(&self, by: u64) -> Result<u64, Status> {
        self.state.jump(by)
    }

    /// The cluster is as it was at `revision`, as after a restored backup; watches break.
    pub fn rewind(&self, revision: u64) -> Result<(), Status> {
        self.state.rewind(revision)
    }

    fn with<T>(&self, act: impl FnOnce(&mut Vec<Active>) -> T) -> T {
        let mut rules = self.rules.lock().unwrap_or_else(PoisonError::into_inner);
        let done = act(&mut rules);
        rules.retain(|r| r.rule.times != Some(0));
        done
    }

    /// What becomes of a request: how long it waits, and how it is refused.
    pub(super) fn on_request(&self, verb: &str, resource: &str) -> (Duration, Option<Status>) {
        self.with(|rules| {
            let (mut delay, mut refusal) = (Duration::ZERO, None);
            for rule in rules.iter_mut().map(|r| &mut r.rule).filter(|r| r.concerns(verb, resource)) {
                match rule.fault {
                    Fault::Delay(by) => delay += by,
                    Fault::Refuse { code, retry_after } if refusal.is_none() => {
                        refusal = Some(refuse(code, retry_after, verb, resource));
                    }
                    Fault::TooLarge if refusal.is_none() => {
                        let why = format!("Too large resource version, current: {}", self.state.revision());
                        refusal = Some(Status::new(504, "Timeout", why));
                    }
                    _ => continue,
                }
                rule.times = rule.times.map(|n| n - 1);
            }
            (delay, refusal)
        })
    }

    /// Whether an access review says no.
    pub(super) fn denies(&self, verb: &str, resource: &str) -> bool {
        let says_no = |fault| matches!(fault, Fault::Denied | Fault::Refuse { code: 403, .. });
        let refuses = |r: &Rule| says_no(r.fault) && r.concerns(verb, resource);
        self.with(|rules| rules.iter().any(|r| refuses(&r.rule)))
    }

    /// What happens to an open watch that was asked for at generation `admitted`.
    pub(super) fn on_stream(&self, resource: &str, admitted: u64) -> Option<Fault> {
        self.with(|rules| {
            let streams = |f: Fault| {
                use Fault::*;
                matches!(f, Gone | PartialLine | Cut | Stall | HalfLine | Ghost | Bookmark(_))
            };
            let found = rules.iter_mut().find(|r| {
                let late = r.is_cut_of_all() && admitted >= r.since;
                streams(r.rule.fault) && !late && r.rule.concerns("watch", resource)
            });
            let rule = &mut found?.rule;
            if rule.fault != Fault::Stall {
                rule.times = rule.times.map(|n| n - 1);
            }
            Some(rule.fault)
        })
    }

    /// Whether that lasts until it is cleared.
    pub(super) fn holds(&self, fault: Fault, resource: &str) -> bool {
        self.with(|rules| rules.iter().any(|r| r.rule.fault == fault && r.rule.concerns("watch", resource)))
    }

    /// Whether it happens to this request, and one time less from now on.
    pub(super) fn takes(&self, fault: Fault, verb: &str, resource: &str) -> bool {
        !self.spend(|f| f == fault, verb, resource).is_empty()
    }

    /// What becomes of the body of an answer.
    pub(super) fn on_answer(&self, verb: &str, resource: &str) -> Vec<Fault> {
        use Fault::*;
        self.spend(|f| matches!(f, Silent | Html | Gzip | Dribble | BlankLines | LongVersions), verb, resource)
    }

    fn spend(&self, is_meant: impl Fn(Fault) -> bool, verb: &str, resource: &str) -> Vec<Fault> {
        self.with(|rules| {
            let mut found = Vec::new();
            for rule in rules.iter_mut().map(|r| &mut r.rule) {
                if is_meant(rule.fault) && rule.concerns(verb, resource) {
                    rule.times = rule.times.map(|n| n - 1);
                    found.push(rule.fault);
                }
            }
            found
        })
    }

    /// How an object is to be written wrongly, if it is. What is wrong with a field beyond metadata does not show where only
    /// metadata is asked for.
    pub(super) fn spoils(&self, verb: &str, resource: &str, object: &Encoded, metadata_only: bool) -> Option<Spoil> {
        self.with(|rules| {
            let rule = rules.iter_mut().map(|r| &mut r.rule).find(|rule| {
                let Fault::Spoil(how) = rule.fault else { return false };
                let name = || object.value().pointer("/metadata/name").and_then(|n| n.as_str()).map(str::to_owned);
                rule.concerns(verb, resource)
                    && how.shows(metadata_only)
                    && rule.name.as_deref().is_none_or(|wanted| name().as_deref() == Some(wanted))
            })?;
            rule.times = rule.times.map(|n| n - 1);
            match rule.fault {
                Fault::Spoil(how) => Some(how),
                _ => None,
            }
        })
    }

    /// The newest revision.
    pub(super) fn revision(&self) -> u64 {
        self.state.revision()
    }

    /// How often the rules have changed.
    pub(super) fn generation(&self) -> u64 {
        *self.changed.borrow()
    }

    /// Counts the changes of the rules.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }
}

fn refuse(code: u16, retry_after: Option<u64>, verb: &str, resource: &str) -> Status {
    let status = match code {
        403 => {
            let who = "User \"sandbox\" cannot";
            let (plural, group) = resource.split_once('.').unwrap_or((resource, ""));
            let why = format!("{who} {verb} resource {plural:?} in API group {group:?} at the cluster scope");
            Status::new(403, "Forbidden", format!("{resource} is forbidden: {why}"))
        }
        401 => Status::new(401, "Unauthorized", "Unauthorized"),
        410 => Status::expired("The resourceVersion for the provided list is too old."),
        429 => Status::new(429, "TooManyRequests", "too many requests, please try again later"),
        500 => Status::internal("scripted fault"),
        503 => Status::new(503, "ServiceUnavailable", "the server is currently unable to handle the request"),
        504 => Status::new(504, "Timeout", "the request did not complete within the allotted time"),
        other => Status::new(other, "", "scripted fault"),
    };
    match retry_after {
        Some(seconds) => status.retry_after(seconds),
        None => status,
    }
}
