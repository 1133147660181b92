//! Scripted faults: what a real API server does on a bad day, on request.
//!
//! A rule applies to requests or to open watches, of one resource or verb or of all, so many times or until it is cleared.

use super::state::State;
use super::status::Status;
use serde::{Deserialize, Serialize};
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
    /// So many times; `None`: until cleared. `Stall` and `NoBookmarks` last until cleared in any case.
    pub times: Option<u32>,
}

impl Rule {
    /// Everywhere, until cleared.
    pub fn new(fault: Fault) -> Self {
        Self { fault, resource: None, verb: None, times: None }
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
    /// A cut without a count is for those that were open when it was ordered.
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
}

impl Faults {
    pub(super) fn new(state: State) -> Self {
        Self { state, rules: Arc::default(), changed: watch::Sender::new(0) }
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

    /// The rules that still apply.
    pub fn rules(&self) -> Vec<Rule> {
        self.with(|rules| rules.iter().filter(|r| !r.is_cut_of_all()).map(|r| r.rule.clone()).collect())
    }

    /// Breaks the connections of all watches that are open now (of one resource).
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
                    _ => continue,
                }
                rule.times = rule.times.map(|n| n - 1);
            }
            (delay, refusal)
        })
    }

    /// Whether an access review says no.
    pub(super) fn denies(&self, verb: &str, resource: &str) -> bool {
        let refuses = |r: &Rule| matches!(r.fault, Fault::Refuse { code: 403, .. }) && r.concerns(verb, resource);
        self.with(|rules| rules.iter().any(|r| refuses(&r.rule)))
    }

    /// What happens to an open watch that was opened at generation `opened`.
    pub(super) fn on_stream(&self, resource: &str, opened: u64) -> Option<Fault> {
        self.with(|rules| {
            let streams = |f: Fault| matches!(f, Fault::Gone | Fault::PartialLine | Fault::Cut | Fault::Stall);
            let found = rules.iter_mut().find(|r| {
                let late = r.is_cut_of_all() && opened >= r.since;
                streams(r.rule.fault) && !late && r.rule.concerns("watch", resource)
            });
            let rule = &mut found?.rule;
            if rule.fault != Fault::Stall {
                rule.times = rule.times.map(|n| n - 1);
            }
            Some(rule.fault)
        })
    }

    pub(super) fn drops_bookmarks(&self, resource: &str) -> bool {
        self.with(|rules| {
            rules.iter().any(|r| r.rule.fault == Fault::NoBookmarks && r.rule.concerns("watch", resource))
        })
    }

    /// Counts the changes of the rules.
    pub(super) fn subscribe(&self) -> watch::Receiver<u64> {
        self.changed.subscribe()
    }

    /// Does what a script asks for.
    pub(super) fn order(&self, order: &Order) -> Result<(), Status> {
        let needs = |field: &str| Status::bad_request(format!("fault {:?} needs {field}", order.fault));
        let fault = match order.fault.as_str() {
            "compact" => return Ok(self.compact()),
            "cut" if order.times.is_none() => return Ok(self.cut_watches(order.resource.as_deref())),
            "jump" => return self.jump(order.by.ok_or_else(|| needs("by"))?).map(drop),
            "rewind" => return self.rewind(order.to.ok_or_else(|| needs("to"))?),
            "refuse" => {
                let code = order.code.filter(|c| (400..600).contains(c)).ok_or_else(|| needs("code, 400 to 599"))?;
                Fault::Refuse { code, retry_after: order.retry_after_seconds }
            }
            "delay" => Fault::Delay(Duration::from_millis(order.milliseconds.ok_or_else(|| needs("milliseconds"))?)),
            "gone" => Fault::Gone,
            "partial-line" => Fault::PartialLine,
            "cut" => Fault::Cut,
            "stall" => Fault::Stall,
            "no-bookmarks" => Fault::NoBookmarks,
            other => {
                let known = "compact, cut, delay, gone, jump, no-bookmarks, partial-line, refuse, rewind, stall";
                return Err(Status::bad_request(format!("fault {other:?} is unknown: these are known: {known}")));
            }
        };
        self.inject(Rule { fault, resource: order.resource.clone(), verb: order.verb.clone(), times: order.times });
        Ok(())
    }
}

/// The body of `POST /sandbox/faults`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(super) struct Order {
    fault: String,
    resource: Option<String>,
    verb: Option<String>,
    times: Option<u32>,
    code: Option<u16>,
    retry_after_seconds: Option<u64>,
    milliseconds: Option<u64>,
    by: Option<u64>,
    to: Option<u64>,
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
