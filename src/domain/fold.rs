//! The fold: what each record of a topic does to the table it stands for. Writer and readers share these rules, so that
//! what the writer takes for durable at its start is what every reader holds.
//!
//! - A writer marker raises its partition's writer epoch. A record of a lower epoch behind it is *void*: a request of a
//!   killed process that landed late (a zombie). Its key is *shadowed*: compaction keeps the last offset of a key, and
//!   that is the void record, so the writer must publish the key again.
//! - What one writer writes of a key never goes back within one history epoch. A record that is older than what its own
//!   writer made of the key, or than the death of its uid, is *stale*: a producer that failed had written more than it knew,
//!   and who sent it all again was killed in the middle. It changes nothing and shadows its key, since it stands last in
//!   the log. An equal version is not stale (a repair); a higher history epoch wins whatever its version says, and so does
//!   a later writer, who began with what the log says.
//! - Otherwise the last offset of a key wins.
//! - `r`, `c`, `u` make a row. `d` takes it away and leaves a tombstone *owed*; the tombstone settles it. A later valid
//!   record of the key settles both owed and shadowed.
//! - The dead (uid and version of the delete) are remembered until capture has taken them over ([`Ledger::bury`]): a
//!   watch that resumes from an older version reports them once more.
//! - What is not ours is left alone, and counted by its reason.
//!
//! Data raises the epoch as a marker does. In a whole log that changes nothing (data of an epoch stands behind its
//! marker); in a compacted one, where only the last marker of a partition is left, it keeps more zombies out.

use super::envelope::{self, Envelope, Op, Table};
use super::index::Name;
use super::record::InRecord;
use super::rv::Rv;
use super::topic::{Marker, ObjectKey};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// Whose table it is: the keys of others are foreign.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The configured name of the cluster.
    pub cluster: &'a str,
    /// [`super::kind::Kind::id`].
    pub kind_id: &'a str,
}

/// Why a record changes nothing because it is not ours. A closed set: it labels a counter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ForeignReason {
    /// The topic is no table of this store.
    Topic,
    /// No key, or not UTF-8.
    Key,
    /// The key is not one of this cluster and kind, or the value names another object than the key.
    Name,
    /// The value is not an envelope, or one without the object.
    Value,
    /// No writer epoch.
    Epoch,
}

impl ForeignReason {
    /// The word that labels a counter.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Topic => "topic",
            Self::Key => "key",
            Self::Name => "name",
            Self::Value => "value",
            Self::Epoch => "epoch",
        }
    }
}

impl From<envelope::Foreign> for ForeignReason {
    fn from(foreign: envelope::Foreign) -> Self {
        match foreign {
            envelope::Foreign::Key => Self::Key,
            envelope::Foreign::Value(_) => Self::Value,
            envelope::Foreign::Epoch => Self::Epoch,
        }
    }
}

/// The death of an object.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// uid that died.
    pub uid: Arc<str>,
    /// The version of the delete; of an inferred one the version of the list that missed it, if that is higher.
    pub rv: Rv,
    /// The last version of it that was known: of a delete that was reported its own.
    pub last: Rv,
    /// History epoch it was written in.
    pub history_epoch: u64,
    /// Who wrote it.
    pub writer_epoch: u64,
}

/// What one record does.
#[derive(Debug)]
pub enum Step<'a> {
    /// The key stands for this object from here on; `after` is there.
    Live(Box<Envelope<'a>>),
    /// The object is gone; a tombstone is owed.
    Deleted(Death, Box<Envelope<'a>>),
    /// The tombstone.
    Tombstone {
        /// uid that died, if the tombstone says it.
        uid: Option<&'a str>,
        /// Version of its delete, if the tombstone says it.
        rv: Option<Rv>,
        /// History epoch that the version belongs to.
        history_epoch: u64,
    },
    /// A writer began here.
    Marker,
    /// A record of an older writer behind a newer one's marker: it changes nothing and shadows its key.
    Void,
    /// Something of ours that tables ignore: gap markers, markers of an older writer.
    Nothing,
    /// Not ours.
    Foreign(ForeignReason),
}

/// A record, judged.
#[derive(Debug)]
pub struct Judged<'a> {
    /// Which object it is about; `None` for markers and for what has no key of ours.
    pub at: Option<ObjectKey<'a>>,
    /// What it does.
    pub step: Step<'a>,
    /// The partition's writer epoch behind it.
    pub epoch: u64,
}

/// Judges the next record of a partition whose writer epoch is `epoch` (0 before the first marker).
pub fn judge<'a>(scope: Scope<'_>, epoch: u64, record: &'a InRecord) -> Judged<'a> {
    let claimed = record.writer_epoch();
    let key = record.key.as_deref().unwrap_or_default();
    if Marker::parse(key).is_some() {
        return match envelope::read_table(record) {
            Ok(Table::WriterMarker(claimed)) if claimed >= epoch => {
                Judged { at: None, step: Step::Marker, epoch: claimed }
            }
            Ok(_) => Judged { at: None, step: Step::Nothing, epoch },
            Err(foreign) => Judged { at: None, step: Step::Foreign(foreign.into()), epoch },
        };
    }
    let at = ObjectKey::parse(key).filter(|at| at.cluster == scope.cluster && at.kind_id == scope.kind_id);
    let foreign = |reason| Judged { at, step: Step::Foreign(reason), epoch };
    let Some(key) = at else {
        return foreign(if std::str::from_utf8(key).is_ok_and(|k| !k.is_empty()) {
            ForeignReason::Name
        } else {
            ForeignReason::Key
        });
    };
    let Some(claimed) = claimed else { return foreign(ForeignReason::Epoch) };
    if claimed < epoch {
        // Before its value is looked at: what a zombie says does not matter.
        return Judged { at, step: Step::Void, epoch };
    }
    let step = match envelope::read_table(record) {
        Ok(Table::Change(envelope)) => change(key, envelope, claimed),
        Ok(Table::Tombstone { uid, rv, history_epoch }) => Step::Tombstone {
            uid: uid.filter(|uid| !uid.is_empty()),
            rv: rv.filter(|rv| !rv.is_empty()),
            history_epoch,
        },
        Ok(Table::WriterMarker(_) | Table::OtherMarker) => Step::Nothing,
        Err(reason) => Step::Foreign(reason.into()),
    };
    let epoch = if matches!(step, Step::Foreign(_)) { epoch } else { claimed };
    Judged { at, step, epoch }
}

fn change<'a>(key: ObjectKey<'_>, envelope: Box<Envelope<'a>>, writer_epoch: u64) -> Step<'a> {
    let source = &envelope.source;
    if source.name != key.name || source.namespace != key.namespace.unwrap_or_default() || source.uid.is_empty() {
        return Step::Foreign(ForeignReason::Name);
    }
    if envelope.op != Op::Delete {
        return if envelope.after.is_some() { Step::Live(envelope) } else { Step::Foreign(ForeignReason::Value) };
    }
    let last = Rv::new(&source.rv);
    let rv = source.list_rv.as_deref().map(Rv::new).filter(|list| *list > last).unwrap_or_else(|| last.clone());
    let (uid, history_epoch) = (source.uid.as_str().into(), source.history_epoch);
    let death = Death { uid, rv, last, history_epoch, writer_epoch };
    Step::Deleted(death, envelope)
}

/// Where a version stands among those of its key. There is no order between two writers, and none without a version: then
/// the last offset wins.
#[derive(Debug, Clone, Copy)]
pub struct Version<'a> {
    /// Who wrote it.
    pub writer_epoch: u64,
    /// History epoch, which goes before the version.
    pub history_epoch: u64,
    /// resourceVersion.
    pub rv: &'a Rv,
}

impl Version<'_> {
    fn is_newer_than(self, other: Version<'_>) -> bool {
        let known = !self.rv.is_empty() && !other.rv.is_empty();
        known
            && self.writer_epoch == other.writer_epoch
            && (self.history_epoch, self.rv) > (other.history_epoch, other.rv)
    }
}

/// What a table owes and remembers beside its rows.
#[derive(Debug, Default)]
pub struct Ledger {
    owed: HashMap<Name, Death>,
    dead: HashMap<Arc<str>, (Name, Death)>,
    shadowed: BTreeMap<Name, i64>,
    buried: bool,
}

impl Ledger {
    /// Whether a valid record of that writer is older than what its key stands for (`held`: the row), or than the death of
    /// its uid.
    pub fn is_stale(&self, held: Option<Version<'_>>, step: &Step<'_>, writer_epoch: u64) -> bool {
        let (rv, history_epoch, uid);
        match step {
            Step::Live(envelope) => {
                (rv, history_epoch) = (Rv::new(&envelope.source.rv), envelope.source.history_epoch);
                uid = Some(envelope.source.uid.as_str());
            }
            Step::Deleted(death, _) => (rv, history_epoch, uid) = (death.last.clone(), death.history_epoch, None),
            Step::Tombstone { rv: Some(of), history_epoch: of_epoch, .. } => {
                (rv, history_epoch, uid) = (of.clone(), *of_epoch, None);
            }
            _ => return false,
        }
        let version = Version { writer_epoch, history_epoch, rv: &rv };
        let death = uid.and_then(|uid| self.dead.get(uid)).map(|(_, death)| death);
        // What was only concluded to be dead, from a list, may come back at the version at which it was last known.
        let death = death.map(|death| Version {
            writer_epoch: death.writer_epoch,
            history_epoch: death.history_epoch,
            rv: &death.last,
        });
        [held, death].into_iter().flatten().any(|known| known.is_newer_than(version))
    }

    /// A valid record made `at` stand for the object `uid`.
    pub fn live(&mut self, at: &Name, uid: &str) {
        self.owed.remove(at);
        self.shadowed.remove(at);
        // A uid dies once, except where the cluster's own history was rewound.
        self.dead.remove(uid);
    }

    /// A valid delete. Applying it twice changes nothing more.
    pub fn deleted(&mut self, at: &Name, death: Death) {
        self.shadowed.remove(at);
        self.remember(at, &death);
        self.owed.insert(at.clone(), death);
    }

    /// A valid tombstone, with history and writer epoch. Where it does not say who died, the delete before it did.
    pub fn tombstone(&mut self, at: &Name, uid: Option<&str>, rv: Option<Rv>, epochs: (u64, u64)) {
        let (history_epoch, writer_epoch) = epochs;
        self.shadowed.remove(at);
        self.owed.remove(at);
        if let (Some(uid), Some(rv)) = (uid, rv) {
            self.remember(at, &Death { uid: uid.into(), last: rv.clone(), rv, history_epoch, writer_epoch });
        }
    }

    /// The last offset of that key is not what readers hold, but a record of that time (ms since 1970).
    pub fn shadow(&mut self, at: Name, timestamp_ms: i64) {
        self.shadowed.insert(at, timestamp_ms);
    }

    fn remember(&mut self, at: &Name, death: &Death) {
        if self.buried {
            return;
        }
        let (_, known) = self.dead.entry(death.uid.clone()).or_insert_with(|| (at.clone(), death.clone()));
        if death.history_epoch > known.history_epoch {
            *known = death.clone();
        } else if death.history_epoch == known.history_epoch {
            known.rv = known.rv.clone().max(death.rv.clone());
            known.last = known.last.clone().max(death.last.clone());
            known.writer_epoch = death.writer_epoch;
        }
    }

    /// Takes back what a saved fold remembers of a death.
    pub fn restore_dead(&mut self, at: &Name, death: &Death) {
        self.remember(at, death);
    }

    /// Takes back a tombstone that a saved fold knows as owed.
    pub fn restore_owed(&mut self, at: Name, death: Death) {
        self.owed.insert(at, death);
    }

    /// Forgets the dead, and those who die from now on: capture remembers them itself as long as it must.
    pub fn bury(&mut self) {
        self.buried = true;
        self.dead = HashMap::new();
    }

    /// Forgets the dead whom no resume can bring back any more, as the caller knows them; the others are for the next life.
    pub fn forget(&mut self, is_settled: impl Fn(&Name, &Death) -> bool) {
        self.dead.retain(|_, (at, death)| !is_settled(at, death));
    }

    /// Keys whose delete has no tombstone yet.
    pub fn owed(&self) -> impl Iterator<Item = (&Name, &Death)> {
        self.owed.iter()
    }

    /// The dead by name, those with a tombstone owed among them.
    pub fn dead(&self) -> impl Iterator<Item = (&Name, &Death)> {
        self.dead.values().map(|(at, death)| (at, death))
    }

    /// Keys that must be published again, with the time of the record that stands last.
    pub fn shadowed(&self) -> impl Iterator<Item = (&Name, i64)> {
        self.shadowed.iter().map(|(at, timestamp_ms)| (at, *timestamp_ms))
    }

    /// Whether the key must be published again.
    pub fn is_shadowed(&self, at: &Name) -> bool {
        self.shadowed.contains_key(at)
    }
}

#[cfg(test)]
pub(crate) mod kit;
#[cfg(test)]
mod tests;
