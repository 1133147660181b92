//! What is known of a kind, and what a report changes in it: the rules that turn ADDED, MODIFIED, DELETED and lists into
//! creates, updates and deletes without a repeat and without a loss.
//!
//! Versions are comparable within one history epoch only: after a restored backup the same numbers mean other things.
//! Entries of an older *era* (before a rewind, or before scope or redaction changed) are written anew by the next list,
//! whatever their version.
//!
//! The index maps uid → version and name (about 0.3 KB an object). It outlives the watcher actor. The functions here only
//! say what is to be written ([`Write`]) and what that does to the index ([`Note`]); [`Index::note`] is applied in the same
//! step in which the writes enter the lane.

use super::envelope::{Change, Inference, Observed, Op};
use super::kind::{Kind, Tracking};
use super::redact::{self, Identity, Object, Redacted, Stub};
use super::rv::Rv;
use bytes::Bytes;
use std::collections::HashMap;
use std::sync::Arc;

/// The operation as the API server reports it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wire {
    /// ADDED in a watch.
    Added,
    /// MODIFIED in a watch.
    Modified,
    /// DELETED in a watch.
    Deleted,
    /// An item of a list.
    Listed,
}

/// One thing to write to the log, in order.
// Made and taken apart within one call, one or two at a time: a box each would cost more than the size of a tombstone.
#[allow(clippy::large_enum_variant)]
#[derive(Debug, Clone)]
pub enum Write {
    /// A change.
    Change(Change),
    /// The tombstone that follows a delete.
    Tombstone {
        /// Namespace; empty for cluster-scoped objects.
        namespace: Arc<str>,
        /// Name.
        name: Arc<str>,
        /// uid that died.
        uid: Arc<str>,
        /// Version of its delete.
        rv: Rv,
        /// The history that the version belongs to.
        history_epoch: u64,
    },
}

/// What happens to the index when the writes are in the lane.
#[derive(Debug, Clone)]
pub enum Note {
    /// The object stands at that version; seen in that list pass.
    Live {
        /// uid.
        uid: Arc<str>,
        /// Namespace and name.
        at: Name,
        /// Version.
        rv: Rv,
        /// The history it belongs to.
        history_epoch: u64,
        /// When that was, if it is known: milliseconds since 1970.
        seen_ms: Option<i64>,
        /// Set where the log holds its identity alone.
        stub: Option<Box<Stub>>,
    },
    /// Nothing new, but a list showed it at that time.
    Seen(Arc<str>, i64),
    /// It is gone.
    Gone {
        /// uid.
        uid: Arc<str>,
        /// Namespace and name.
        at: Name,
        /// Version that its delete is written with: its own, or the last known one. `None` where that is of another
        /// history: whatever stands behind it is newer, though its number may be smaller.
        last: Option<Rv>,
        /// Version by which it was gone: of its delete, of the list that missed it, or of its successor.
        rv: Rv,
        /// The history that the version belongs to.
        history_epoch: u64,
    },
}

/// Namespace and name of an object.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Name {
    /// Namespace; empty for cluster-scoped objects.
    pub namespace: Arc<str>,
    /// Name.
    pub name: Arc<str>,
}

#[derive(Debug, Clone)]
struct Known {
    rv: Rv,
    at: Name,
    history_epoch: u64,
    seen_ms: Option<i64>,
    /// The last list pass that showed it.
    pass: u32,
    /// The era in which it was written.
    era: u32,
    /// The log holds its identity alone. Boxed: nearly nothing is a stub.
    stub: Option<Box<Stub>>,
}

/// Where the old version of an object comes from, if it is at hand: the lane's overlay, or the store's row.
pub trait Before {
    /// The redacted bytes of exactly that version, or `None`.
    fn before(&self, at: &Name, uid: &str, rv: &Rv) -> Option<Bytes>;
}

/// A list in progress.
#[derive(Debug, Clone)]
pub struct ListContext {
    /// Version of the list.
    pub rv: Rv,
    /// Nothing was known of the kind before: everything is a snapshot.
    pub first: bool,
    /// Why it is made: a word from a closed set.
    pub reason: &'static str,
}

/// Under which circumstances something is reported.
#[derive(Debug, Clone, Copy)]
pub struct Seen<'a> {
    /// Set for the items of a list.
    pub list: Option<&'a ListContext>,
    /// Everything that was reported up to there is known.
    pub position: &'a Rv,
    /// The history that its version belongs to.
    pub history_epoch: u64,
    /// Wall clock, milliseconds since 1970.
    pub wall_ms: i64,
    /// A label or field selector is set: what appears or goes may only have entered or left it.
    pub selected: bool,
    /// Written anew by a list even if its version is known: an audit found the log to differ.
    pub suspect: bool,
}

/// What one report amounts to.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What to write, in order.
    pub writes: Vec<Write>,
    /// What that does to the index.
    pub notes: Vec<Note>,
    /// Why nothing is written; a word from a closed set.
    pub filtered: Option<&'static str>,
    /// Written only since the log holds a stub at that version: of no use if it becomes one again.
    pub mends: bool,
}

impl Outcome {
    fn filtered(reason: &'static str, note: Option<Note>) -> Self {
        Self { notes: note.into_iter().collect(), filtered: Some(reason), ..Self::default() }
    }
}

/// How a uid was found to be gone without being reported.
#[derive(Debug, Clone)]
pub struct Loss {
    /// Version at which it was found missing.
    pub seen_at: Rv,
    /// The history of that version.
    pub history_epoch: u64,
    /// When, milliseconds since 1970.
    pub wall_ms: i64,
    /// [`Observed::Inferred`], [`Observed::Selector`] or [`Observed::Descoped`].
    pub observed: Observed,
    /// A word from a closed set.
    pub reason: &'static str,
}

/// The index of one watcher.
#[derive(Debug, Default)]
pub struct Index {
    by_uid: HashMap<Arc<str>, Known>,
    by_name: HashMap<Name, Arc<str>>,
    /// uids whose death stands in the log, with the version by which they were gone: a resume from an older version replays
    /// them, after a restart of the process as after one of the watcher alone.
    dead: HashMap<Arc<str>, (u64, Rv)>,
    /// The version that the last delete of a name was written with: nothing that is older may be written behind it, whoever
    /// it was. A resume from before a list reports again what the list has skipped.
    ends: HashMap<Name, (u64, Rv)>,
    pass: u32,
    era: u32,
    /// Everything is being written anew for a change of scope or redaction.
    rebasing: bool,
    /// What is not written anew yet may hold what the redaction hides now.
    distrusted: bool,
}

impl Index {
    /// Number of live objects.
    pub fn len(&self) -> usize {
        self.by_uid.len()
    }

    /// Whether nothing is known.
    pub fn is_empty(&self) -> bool {
        self.by_uid.is_empty()
    }

    /// Takes over a row of the fold at start: a live object as the log has it.
    pub fn restore_live(&mut self, at: Name, uid: Arc<str>, rv: Rv, history_epoch: u64) {
        self.note(Note::Live { uid, at, rv, history_epoch, seen_ms: None, stub: None });
    }

    /// Of a live object that was taken over: the log holds its identity alone.
    pub fn restore_stub(&mut self, at: &Name, stub: Stub) {
        if let Some(known) = self.by_name.get(at).and_then(|uid| self.by_uid.get_mut(uid)) {
            known.stub = Some(Box::new(stub));
        }
    }

    /// Takes over a dead row of the fold at start. `rv` is the version by which it was gone: of an inferred delete
    /// `listRv` where the record still says it, else the version of the delete.
    pub fn restore_dead(&mut self, uid: Arc<str>, rv: Rv, history_epoch: u64) {
        self.dead.insert(uid, (history_epoch, rv));
    }

    /// Takes over where a key of the fold ends at start: the version that its last delete was written with.
    pub fn restore_end(&mut self, at: Name, last: Rv, history_epoch: u64) {
        self.ends.insert(at, (history_epoch, last));
    }

    /// Forgets the dead that a watch from `position` can no longer replay.
    pub fn bury(&mut self, position: &Rv) {
        self.dead.retain(|_, (_, rv)| *rv > *position);
        self.ends.retain(|_, (_, rv)| *rv > *position);
    }

    /// Starts a list: from now on what is not [`Note::Seen`] or [`Note::Live`] is missing from it.
    pub fn begin_pass(&mut self) {
        self.pass = self.pass.wrapping_add(1);
    }

    /// The history was rewound: nothing that is known may be compared with what comes, and whoever was dead may live.
    pub fn rewound(&mut self) {
        self.era += 1;
        self.dead = HashMap::new();
        self.ends = HashMap::new();
    }

    /// From now on lists write everything anew. A second call before [`Index::rebased`] changes nothing, so that a watcher
    /// that dies in between does not begin again.
    pub fn begin_rebase(&mut self) {
        if !std::mem::replace(&mut self.rebasing, true) {
            self.era += 1;
        }
    }

    /// What the log holds was redacted in another way, or nobody knows how: everything is to be written anew, and until then
    /// the bytes of what is known go nowhere.
    pub fn distrust(&mut self) {
        self.begin_rebase();
        self.distrusted = true;
    }

    /// Whether the bytes of what the log holds may be written again. Asked for all; what is written anew is trusted sooner.
    pub fn is_trusted(&self) -> bool {
        !self.distrusted
    }

    /// Everything has been written anew.
    pub fn rebased(&mut self) {
        self.rebasing = false;
        self.distrusted = false;
    }

    /// Applies one note.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Live { uid, at, rv, history_epoch, seen_ms, stub } => {
                self.dead.remove(&uid);
                self.by_name.insert(at.clone(), uid.clone());
                let (pass, era) = (self.pass, self.era);
                self.by_uid.insert(uid, Known { rv, at, history_epoch, seen_ms, pass, era, stub });
            }
            Note::Seen(uid, now_ms) => {
                if let Some(known) = self.by_uid.get_mut(&uid) {
                    known.pass = self.pass;
                    known.seen_ms = Some(now_ms);
                }
            }
            Note::Gone { uid, at, last, rv, history_epoch } => {
                if let Some(known) = self.by_uid.remove(&uid)
                    && self.by_name.get(&known.at) == Some(&uid)
                {
                    self.by_name.remove(&known.at);
                }
                // Forgotten when the position passes it; of a delete that a watch reported that is the same commit.
                if let Some(last) = last {
                    self.restore_end(at, last, history_epoch);
                }
                self.dead.insert(uid, (history_epoch, rv));
            }
        }
    }

    /// The uids that the current list pass has not shown, ordered by name, without what is known at a newer version than
    /// the list's. Such a list came from a server that lags behind the one asked before; the watch that follows tells what
    /// became of those.
    pub fn missing_as_of(&self, list: &Rv, history_epoch: u64) -> Vec<Arc<str>> {
        let is_missing = |k: &Known| k.pass != self.pass && (k.history_epoch != history_epoch || k.rv <= *list);
        let mut missing: Vec<_> = self.by_uid.iter().filter(|(_, known)| is_missing(known)).collect();
        missing.sort_by(|a, b| a.1.at.cmp(&b.1.at));
        missing.into_iter().map(|(uid, _)| uid.clone()).collect()
    }

    /// All live uids, ordered by name.
    pub fn everything(&self) -> Vec<Arc<str>> {
        let mut all: Vec<_> = self.by_uid.iter().collect();
        all.sort_by(|a, b| a.1.at.cmp(&b.1.at));
        all.into_iter().map(|(uid, _)| uid.clone()).collect()
    }

    /// uid and version of the live object of that name.
    pub fn live(&self, at: &Name) -> Option<(&Arc<str>, &Rv)> {
        let uid = self.by_name.get(at)?;
        self.by_uid.get(uid).map(|known| (uid, &known.rv))
    }

    /// Why the log holds no more than the identity of the live object of that name, if so.
    pub fn stub(&self, at: &Name) -> Option<&Stub> {
        self.by_uid.get(self.by_name.get(at)?)?.stub.as_deref()
    }

    /// The history that the version of the live object of that name belongs to.
    pub fn history_epoch(&self, at: &Name) -> Option<u64> {
        self.by_uid.get(self.by_name.get(at)?).map(|known| known.history_epoch)
    }

    /// What to write of one report of a kind tracked as a table.
    pub fn reported(
        &self,
        kind: &Kind,
        wire: Wire,
        object: Redacted<Object>,
        seen: Seen<'_>,
        before: &dyn Before,
    ) -> Outcome {
        debug_assert_eq!(kind.tracking(), Tracking::Table);
        let Seen { list, position, history_epoch, wall_ms, selected, suspect } = seen;
        let o = object.get();
        let at = Name { namespace: o.namespace.clone(), name: o.name.clone() };
        let (uid, rv) = (o.uid.clone(), o.rv.clone());
        let known = self.by_uid.get(&uid);
        let comparable = |known: &Known| known.history_epoch == history_epoch;
        let stale = known.is_some_and(|known| known.era != self.era);
        let suspect = suspect && known.is_some_and(|known| known.rv == rv);
        // A list shows what could not be carried: it costs no more than to look whether it can be now.
        let mends = list.is_some()
            && o.stub.is_none()
            && known.is_some_and(|k| k.stub.is_some() && k.rv == rv && comparable(k) && !stale && !suspect);
        if let Some(known) = known
            && comparable(known)
            // A uid dies once, so its delete is no repeat even if the server gave it no version of its own.
            && (rv < known.rv || rv == known.rv && wire != Wire::Deleted && !stale && !suspect && !mends)
        {
            return match list {
                Some(_) => Outcome::filtered("known", Some(Note::Seen(uid, wall_ms))),
                None => Outcome::filtered("replayed", None),
            };
        }
        if known.is_none()
            && let Some((_, death)) = self.dead.get(&uid).filter(|(epoch, _)| *epoch == history_epoch)
            // What a newer list or report shows alive was wrongly taken for dead: it comes back.
            && (wire == Wire::Deleted || list.map_or(rv <= *death, |l| l.rv < *death))
        {
            return Outcome::filtered("dead", None);
        }
        if known.is_none() && list.is_none() && self.ends.get(&at).is_some_and(|d| d.0 == history_epoch && rv <= d.1) {
            return Outcome::filtered("superseded", None);
        }
        let (mut writes, mut notes) = (Vec::new(), Vec::new());
        if known.is_none()
            && let Some(predecessor) = self.by_name.get(&at)
            && let Some(last) = self.by_uid.get(predecessor)
        {
            if comparable(last) && last.rv >= rv {
                // The name already belongs to a successor; its predecessor's death stands in the log.
                return Outcome::filtered("superseded", None);
            }
            let seen_at = list.map_or_else(|| rv.clone(), |l| l.rv.clone());
            let observed = Observed::Inferred;
            let loss = Loss { seen_at, history_epoch, wall_ms, observed, reason: "recreated" };
            self.gone(kind, predecessor, &loss, before, &mut writes, &mut notes);
        }
        if wire == Wire::Deleted {
            let (namespace, name) = (at.namespace.clone(), at.name.clone());
            writes.push(Write::Change(Change {
                op: Op::Delete,
                observed: if selected { Observed::Selector } else { Observed::Watch },
                snapshot: false,
                list_rv: None,
                inference: None,
                history_epoch,
                before: None,
                object,
            }));
            writes.push(Write::Tombstone { namespace, name, uid: uid.clone(), rv: rv.clone(), history_epoch });
            notes.push(Note::Gone { uid, at, last: Some(rv.clone()), rv, history_epoch });
            return Outcome { writes, notes, ..Outcome::default() };
        }
        let first = list.is_some_and(|l| l.first);
        let old = known.filter(|_| !stale && !suspect && !mends).and_then(|k| before.before(&at, &uid, &k.rv));
        let entered = selected && known.is_none() && !first;
        let op = match (known, &old) {
            (Some(_), Some(_)) => Op::Update,
            // It may have entered the selector: neither a creation nor an old version is at hand.
            _ if entered => Op::Read,
            (Some(_), None) => Op::Read,
            (None, _) if first || wire == Wire::Modified => Op::Read,
            (None, _) => Op::Create,
        };
        let observed = match list {
            _ if suspect => Observed::Audit,
            Some(list) if mends && list.reason == "audit" => Observed::Audit,
            _ if entered => Observed::Selector,
            Some(_) => Observed::Relist,
            None => Observed::Watch,
        };
        // What the log holds at that version already, or held until it was wrongly taken for dead.
        let again = stale || suspect || mends || known.is_none() && rv <= *position;
        let stub = object.get().stub.clone().map(Box::new);
        writes.push(Write::Change(Change {
            op,
            observed,
            snapshot: first,
            list_rv: list.filter(|_| again).map(|l| l.rv.clone()),
            inference: None,
            history_epoch,
            before: old,
            object,
        }));
        notes.push(Note::Live { uid, at, rv, history_epoch, seen_ms: Some(wall_ms), stub });
        Outcome { writes, notes, filtered: None, mends }
    }

    /// The delete of a uid that a list or a successor of its name shows to be gone: never reported, so inferred. It carries
    /// the last known version and its history, so that the order per key holds, and the version at which it was found
    /// missing.
    pub fn gone(
        &self,
        kind: &Kind,
        uid: &Arc<str>,
        loss: &Loss,
        before: &dyn Before,
        writes: &mut Vec<Write>,
        notes: &mut Vec<Note>,
    ) {
        let Some(known) = self.by_uid.get(uid) else { return };
        let identity = Identity { namespace: &known.at.namespace, name: &known.at.name, uid, rv: &known.rv };
        let is_trusted = !self.distrusted || known.era == self.era;
        let json = is_trusted.then(|| before.before(&known.at, uid, &known.rv)).flatten();
        let object = redact::last_known(kind, &identity, json);
        writes.push(Write::Change(Change {
            op: Op::Delete,
            observed: loss.observed,
            snapshot: false,
            list_rv: Some(loss.seen_at.clone()),
            inference: Some(Inference { reason: loss.reason, window: (known.seen_ms, loss.wall_ms) }),
            history_epoch: known.history_epoch,
            before: None,
            object,
        }));
        writes.push(Write::Tombstone {
            namespace: known.at.namespace.clone(),
            name: known.at.name.clone(),
            uid: uid.clone(),
            rv: known.rv.clone(),
            history_epoch: known.history_epoch,
        });
        let (at, rv) = (known.at.clone(), loss.seen_at.clone());
        let last = (known.history_epoch == loss.history_epoch).then(|| known.rv.clone());
        notes.push(Note::Gone { uid: uid.clone(), at, last, rv, history_epoch: loss.history_epoch });
    }
}

/// The write of one report of a kind tracked as a stream (Kubernetes Events): nothing is folded, so there is no `before`,
/// a disappearance is only a TTL, and what is not newer than the position was reported before.
pub fn streamed(wire: Wire, object: Redacted<Object>, seen: Seen<'_>) -> Outcome {
    if wire == Wire::Deleted {
        return Outcome::filtered("events_deleted", None);
    }
    if object.get().rv <= *seen.position {
        return Outcome::filtered(if seen.list.is_some() { "known" } else { "replayed" }, None);
    }
    let change = Change {
        op: if wire == Wire::Added { Op::Create } else { Op::Read },
        observed: if seen.list.is_some() { Observed::Relist } else { Observed::Watch },
        snapshot: seen.list.is_some_and(|l| l.first),
        list_rv: None,
        inference: None,
        history_epoch: seen.history_epoch,
        before: None,
        object,
    };
    Outcome { writes: vec![Write::Change(change)], ..Outcome::default() }
}

#[cfg(test)]
mod tests;
