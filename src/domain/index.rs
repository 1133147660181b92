//! What is known of a kind, and what a report changes in it: the rules that turn ADDED, MODIFIED, DELETED and lists into
//! creates, updates and deletes without a repeat and without a loss.
//!
//! The index maps uid → version and name (about 0.3 KB an object). It outlives the watcher actor. The functions here only
//! say what is to be written ([`Write`]) and what that does to the index ([`Note`]); [`Index::note`] is applied in the same
//! step in which the writes enter the lane.

use super::envelope::{Change, Observed, Op};
use super::kind::{Kind, Tracking};
use super::redact::{self, Identity, Object, Redacted};
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
    },
    /// Nothing new, but a list showed it.
    Seen(Arc<str>),
    /// It is gone.
    Gone {
        /// uid.
        uid: Arc<str>,
        /// Version by which it was gone: of its delete, of the list that missed it, or of its successor.
        rv: Rv,
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
    /// The last list pass that showed it.
    pass: u32,
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
}

/// The index of one watcher.
#[derive(Debug, Default)]
pub struct Index {
    by_uid: HashMap<Arc<str>, Known>,
    by_name: HashMap<Name, Arc<str>>,
    /// uids whose death stands in the log, with the version by which they were gone: a resume from an older version replays
    /// them, after a restart of the process as after one of the watcher alone.
    dead: HashMap<Arc<str>, Rv>,
    pass: u32,
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
    pub fn restore_live(&mut self, at: Name, uid: Arc<str>, rv: Rv) {
        self.note(Note::Live { uid, at, rv });
    }

    /// Takes over a dead row of the fold at start. `rv` is the version by which it was gone: of an inferred delete
    /// `listRv` where the record still says it, else the version of the delete.
    pub fn restore_dead(&mut self, uid: Arc<str>, rv: Rv) {
        self.dead.insert(uid, rv);
    }

    /// Forgets the dead that a watch from `position` can no longer replay.
    pub fn bury(&mut self, position: &Rv) {
        self.dead.retain(|_, rv| *rv > *position);
    }

    /// Starts a list: from now on what is not [`Note::Seen`] or [`Note::Live`] is missing from it.
    pub fn begin_pass(&mut self) {
        self.pass = self.pass.wrapping_add(1);
    }

    /// Applies one note.
    pub fn note(&mut self, note: Note) {
        match note {
            Note::Live { uid, at, rv } => {
                self.dead.remove(&uid);
                self.by_name.insert(at.clone(), uid.clone());
                self.by_uid.insert(uid, Known { rv, at, pass: self.pass });
            }
            Note::Seen(uid) => {
                if let Some(known) = self.by_uid.get_mut(&uid) {
                    known.pass = self.pass;
                }
            }
            Note::Gone { uid, rv } => {
                if let Some(known) = self.by_uid.remove(&uid)
                    && self.by_name.get(&known.at) == Some(&uid)
                {
                    self.by_name.remove(&known.at);
                }
                // Forgotten when the position passes it; of a delete that a watch reported that is the same commit.
                self.dead.insert(uid, rv);
            }
        }
    }

    /// The uids that the current list pass has not shown, ordered by name.
    pub fn missing(&self) -> Vec<Arc<str>> {
        self.missing_where(|_| true)
    }

    /// As [`Index::missing`], without what is known at a newer version than the list's. Such a list came from a server
    /// that lags behind the one asked before; the watch that follows tells what became of those.
    pub fn missing_as_of(&self, list: &Rv) -> Vec<Arc<str>> {
        self.missing_where(|known| known.rv <= *list)
    }

    fn missing_where(&self, which: impl Fn(&Known) -> bool) -> Vec<Arc<str>> {
        let mut missing: Vec<_> = self.by_uid.iter().filter(|(_, k)| k.pass != self.pass && which(k)).collect();
        missing.sort_by(|a, b| a.1.at.cmp(&b.1.at));
        missing.into_iter().map(|(uid, _)| uid.clone()).collect()
    }

    /// uid and version of the live object of that name.
    pub fn live(&self, at: &Name) -> Option<(&Arc<str>, &Rv)> {
        let uid = self.by_name.get(at)?;
        self.by_uid.get(uid).map(|known| (uid, &known.rv))
    }

    /// The writes and notes of one report of a kind tracked as a table. `list` is set for the items of a list.
    pub fn reported(
        &self,
        kind: &Kind,
        wire: Wire,
        object: Redacted<Object>,
        list: Option<&ListContext>,
        before: &dyn Before,
    ) -> (Vec<Write>, Vec<Note>) {
        debug_assert_eq!(kind.tracking(), Tracking::Table);
        let o = object.get();
        let at = Name { namespace: o.namespace.clone(), name: o.name.clone() };
        let (uid, rv) = (o.uid.clone(), o.rv.clone());
        let known = self.by_uid.get(&uid);
        if let Some(known) = known
            // A uid dies once, so its delete is no repeat even if the server gave it no version of its own.
            && (rv < known.rv || rv == known.rv && wire != Wire::Deleted)
        {
            // A replay, or a list that shows what is known.
            let seen = if list.is_some() { vec![Note::Seen(uid)] } else { Vec::new() };
            return (Vec::new(), seen);
        }
        if known.is_none()
            && let Some(death) = self.dead.get(&uid)
            // What a newer list or report shows alive was wrongly taken for dead: it comes back.
            && (wire == Wire::Deleted || list.map_or(&rv, |l| &l.rv) <= death)
        {
            return (Vec::new(), Vec::new());
        }
        let (mut writes, mut notes) = (Vec::new(), Vec::new());
        if known.is_none()
            && let Some((predecessor, last_rv)) = self.live(&at)
        {
            if *last_rv >= rv {
                // The name already belongs to a successor; its predecessor's death stands in the log.
                return (Vec::new(), Vec::new());
            }
            let seen_at = list.map_or_else(|| rv.clone(), |l| l.rv.clone());
            self.gone(kind, &predecessor.clone(), &seen_at, before, &mut writes, &mut notes);
        }
        if wire == Wire::Deleted {
            let change = Change {
                op: Op::Delete,
                observed: Observed::Watch,
                snapshot: false,
                list_rv: None,
                before: None,
                object,
            };
            writes.push(Write::Change(change));
            writes.push(Write::Tombstone { namespace: at.namespace, name: at.name, uid: uid.clone(), rv: rv.clone() });
            notes.push(Note::Gone { uid, rv });
            return (writes, notes);
        }
        let old = known.and_then(|k| before.before(&at, &uid, &k.rv));
        let op = match (known, &old, wire, list) {
            (Some(_), Some(_), ..) => Op::Update,
            (Some(_), None, ..) => Op::Read,
            (None, _, Wire::Listed, Some(ListContext { first: true, .. })) => Op::Read,
            (None, _, Wire::Modified, _) => Op::Read,
            (None, ..) => Op::Create,
        };
        let observed = if list.is_some() { Observed::Relist } else { Observed::Watch };
        let snapshot = list.is_some_and(|l| l.first);
        writes.push(Write::Change(Change { op, observed, snapshot, list_rv: None, before: old, object }));
        notes.push(Note::Live { uid, at, rv });
        (writes, notes)
    }

    /// The delete of a uid that a list or a successor of its name shows to be gone: never reported, so inferred. It carries
    /// the last known version, so that the order per key holds, and the version at which it was found missing.
    pub fn gone(
        &self,
        kind: &Kind,
        uid: &Arc<str>,
        seen_at: &Rv,
        before: &dyn Before,
        writes: &mut Vec<Write>,
        notes: &mut Vec<Note>,
    ) {
        let Some(known) = self.by_uid.get(uid) else { return };
        let identity = Identity { namespace: &known.at.namespace, name: &known.at.name, uid, rv: &known.rv };
        let object = redact::last_known(kind, &identity, before.before(&known.at, uid, &known.rv));
        writes.push(Write::Change(Change {
            op: Op::Delete,
            observed: Observed::Inferred,
            snapshot: false,
            list_rv: Some(seen_at.clone()),
            before: None,
            object,
        }));
        writes.push(Write::Tombstone {
            namespace: known.at.namespace.clone(),
            name: known.at.name.clone(),
            uid: uid.clone(),
            rv: known.rv.clone(),
        });
        notes.push(Note::Gone { uid: uid.clone(), rv: seen_at.clone() });
    }
}

/// The write of one report of a kind tracked as a stream (Kubernetes Events): nothing is folded, so there is no `before`,
/// a disappearance is only a TTL, and what is not newer than `position` was reported before.
pub fn streamed(wire: Wire, object: Redacted<Object>, position: &Rv, list: Option<&ListContext>) -> Option<Write> {
    if wire == Wire::Deleted || object.get().rv <= *position {
        return None;
    }
    let op = if wire == Wire::Added { Op::Create } else { Op::Read };
    let observed = if list.is_some() { Observed::Relist } else { Observed::Watch };
    let snapshot = list.is_some_and(|l| l.first);
    Some(Write::Change(Change { op, observed, snapshot, list_rv: None, before: None, object }))
}

#[cfg(test)]
mod tests;
