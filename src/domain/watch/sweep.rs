//! The end of a list: what it misses, how far that is believed, and the deletes that nobody reported.

use super::asking::{About, Reviewing};
use super::listing::Listing;
use super::types::Rebasing;
use super::watching::Watching;
use super::{Action, Commit, Lent, Notice, State, Step, Then, WatchCore};
use crate::domain::audit::{Suspect, Version};
use crate::domain::envelope::{Change, Inference, Observed, Op};
use crate::domain::index::{ListContext, Loss, Name, Write};
use crate::domain::kind::Tracking;
use crate::domain::redact::{self, Identity};
use crate::domain::rv::Rv;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

/// Who lives in the log alone, and in which version.
type Ghost = (Name, Version);

/// What a first list missed, and its version.
pub(super) struct Doubt {
    uids: HashSet<Arc<str>>,
    pub(super) rv: Rv,
}

pub(super) struct Sweep {
    list: ListContext,
    /// Where the watch begins when all is done.
    position: Rv,
    gone: std::vec::IntoIter<Arc<str>>,
    observed: Observed,
    covers_suspects: bool,
    partial: bool,
    /// The watch whose beginning was the list.
    stream: Option<Box<Watching>>,
}

/// Deletes that two lists agree on, and that nobody vouches for yet. Meanwhile the kind is watched.
pub(super) struct Owed {
    pub(super) sweep: Box<Sweep>,
    /// Why the first list was made.
    pub(super) cause: &'static str,
    /// When it is asked again whether we may list everything.
    pub(super) ask_at: Duration,
}

impl WatchCore {
    /// Nobody says whether most of the kind may really be gone: its deletes wait, and it is watched from where the lists lead.
    pub(super) fn defer(&mut self, owed: Owed, lent: Lent<'_>) -> Step {
        let position = owed.sweep.position.clone().max(lent.capture.position.clone());
        self.owed = Some(owed);
        let reason = "the deletes of most of it wait; it is watched".into();
        self.state = State::Waiting { until: lent.env.now, then: Then::Watch, parked: false, reason };
        Step::Commit(Commit { position: Some(position), defers: Some(true), ..Commit::default() })
    }

    /// The deletes may be written: of those who were not heard of since.
    pub(super) fn pay(&mut self, mut sweep: Sweep, lent: Lent<'_>) -> Step {
        let capture = lent.capture;
        if capture.deferred {
            let missing = capture.index.missing_as_of(&sweep.list.rv, capture.history_epoch);
            let missing: HashSet<Arc<str>> = missing.into_iter().collect();
            let gone: Vec<Arc<str>> = sweep.gone.filter(|uid| missing.contains(uid)).collect();
            sweep.gone = gone.into_iter();
            sweep.position = sweep.position.max(capture.position.clone());
        }
        self.state = State::Sweeping(sweep);
        Step::Again
    }

    /// Leaves those of whom only the log says that they live, and whose delete waits for an answer, out of what an audit found.
    pub(super) fn forget_owed(&self, suspects: &mut Vec<(Name, Suspect)>) {
        let sweep = match &self.state {
            State::Reviewing(Reviewing { about: About::MassDeletion(sweep, _), .. }) => Some(sweep),
            _ => self.owed.as_ref().map(|owed| &owed.sweep),
        };
        let Some(sweep) = sweep else { return };
        let owed: HashSet<&Arc<str>> = sweep.gone.as_slice().iter().collect();
        suspects.retain(|(_, suspect)| !matches!(suspect, Suspect::Ghost(version) if owed.contains(&version.uid)));
    }

    pub(super) fn list_done(&mut self, mut l: Listing, stream: Option<Box<Watching>>, lent: Lent<'_>) -> Step {
        let capture = lent.capture;
        self.by_pages = false;
        if stream.is_some() {
            self.unfinished = 0;
        }
        let (list, rv) = (l.context(), l.rv.clone().unwrap_or_default());
        let is_table = self.kind().tracking() == Tracking::Table;
        let missing =
            if is_table && !l.partial { capture.index.missing_as_of(&rv, capture.history_epoch) } else { Vec::new() };
        if l.gap.take().is_some() && !is_table {
            self.notices.push(Notice::QuietRelist);
        }
        let suspicious = missing.len() * 2 > l.known && missing.len() >= self.config.doubt_from;
        if suspicious && l.doubt.is_none() {
            // Rights that shrink, or a stale server, look like this: believe only a second list.
            self.notices.push(Notice::MassDeletion { missing: missing.len(), known: l.known });
            let doubt = Doubt { uids: missing.into_iter().collect(), rv };
            let delay = self.lists.reserve(lent.env.now);
            if delay.is_zero() {
                self.list("confirm", Some((doubt, l.cause)), capture, lent.env);
            } else {
                let why = "a second list is to confirm that most is gone".to_owned();
                self.wait(delay, Then::Confirm(doubt, l.cause), false, why, lent.env);
            }
            return Step::Idle;
        }
        let (mut gone, mut position) = (missing, rv);
        let confirmed = l.doubt.is_some() && !gone.is_empty();
        if let Some(Doubt { uids, rv }) = &l.doubt {
            gone.retain(|uid| uids.contains(uid));
            // What only the second list misses may have died between the two, and what neither shows may have lived there:
            // the watch from the first one tells.
            position = position.min(rv.clone());
        }
        let observed = match () {
            // With another redaction alone the scope is the same, and what is missing is gone.
            () if capture.rebase.as_ref().is_some_and(|rebase| rebase.reason == "selector") => Observed::Descoped,
            () if self.config.selected => Observed::Selector,
            () => Observed::Inferred,
        };
        let (covers_suspects, partial) = (l.covers_suspects, l.partial);
        let sweep = Sweep { list, position, gone: gone.into_iter(), observed, covers_suspects, partial, stream };
        if confirmed {
            self.review("list", About::MassDeletion(Box::new(sweep), l.cause));
            return Step::Idle;
        }
        self.state = State::Sweeping(sweep);
        Step::Again
    }

    pub(super) fn next_gone(&mut self, lent: Lent<'_>) -> Step {
        let Lent { capture, writer, before, env } = lent;
        let State::Sweeping(sweep) = &mut self.state else { return Step::Idle };
        if let Some(uid) = sweep.gone.next() {
            let (mut writes, mut notes) = (Vec::new(), Vec::new());
            let loss = Loss {
                seen_at: sweep.list.rv.clone(),
                history_epoch: capture.history_epoch,
                wall_ms: env.wall_ms,
                observed: sweep.observed,
                reason: sweep.list.reason,
            };
            capture.index.gone(self.redactor.kind(), &uid, &loss, before, &mut writes, &mut notes);
            return Step::Commit(self.commit(writes, notes, None, writer, env));
        }
        let mut commit = Commit { position: Some(sweep.position.clone()), ..Commit::default() };
        let list = sweep.list.clone();
        // What a list could not show is neither written anew nor known to be gone: a later one is to end that. Of a stream
        // nobody could: each would write all the others anew once more, and what it could not show ends with its TTL.
        let is_stream = self.redactor.kind().tracking() == Tracking::Stream;
        if capture.rebase.is_some() && (is_stream || !sweep.partial) {
            commit.rebase = Rebasing::Done;
        }
        if !sweep.partial {
            self.asks.reset();
            commit.defers = capture.deferred.then_some(false);
        }
        if std::mem::take(&mut sweep.covers_suspects) {
            // Whom the list did not show and nobody knew to live: only the log thinks that it does.
            let suspects = std::mem::take(&mut self.suspects).into_iter();
            let ghosts: Vec<Ghost> = suspects
                .filter_map(|(at, suspect)| match suspect {
                    Suspect::Ghost(version) if capture.index.live(&at).is_none() => Some((at, version)),
                    _ => None,
                })
                .collect();
            let writes = ghosts.iter().flat_map(|ghost| self.lay(ghost, &list, lent)).collect();
            commit.records = self.commit(writes, Vec::new(), None, writer, env).records;
        }
        let State::Sweeping(sweep) = &mut self.state else { return Step::Idle };
        let (partial, stream) = (sweep.partial, sweep.stream.take());
        self.state = match stream {
            Some(stream) => {
                self.actions.push(Action::Listed);
                State::Watching(stream)
            }
            // The position is applied by the caller before the watch is opened from it.
            None => {
                let reason = "list is complete".into();
                State::Waiting { until: env.now, then: Then::Watch, parked: false, reason }
            }
        };
        if partial {
            // Deletes may be missing: a later list tells, ever less often while the server does not mend its ways.
            let delay = self.park.next(env.chance).max(Duration::from_secs(60));
            self.again_at = Some((env.now + delay, "unreadable"));
        } else {
            self.park.reset();
        }
        Step::Commit(commit)
    }

    /// The end of what neither the list shows nor the index knows: only the log says that it lives.
    fn lay(&self, (at, Version { uid, rv, .. }): &Ghost, list: &ListContext, lent: Lent<'_>) -> [Write; 2] {
        let Lent { capture, before, env, .. } = lent;
        let identity = Identity { namespace: &at.namespace, name: &at.name, uid, rv };
        let history_epoch = capture.history_epoch;
        let json = capture.index.is_trusted().then(|| before.before(at, uid, rv)).flatten();
        let delete = Change {
            op: Op::Delete,
            observed: Observed::Audit,
            snapshot: false,
            list_rv: Some(list.rv.clone()),
            inference: Some(Inference { reason: list.reason, window: (None, env.wall_ms) }),
            history_epoch,
            before: None,
            object: redact::last_known(self.kind(), &identity, json),
        };
        let (namespace, name) = (at.namespace.clone(), at.name.clone());
        [Write::Change(delete), Write::Tombstone { namespace, name, uid: uid.clone(), rv: rv.clone(), history_epoch }]
    }
}
