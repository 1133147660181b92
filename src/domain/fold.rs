//! The fold: what each record of a topic does to the table it stands for. Writer and readers share these rules, so that
//! what the writer takes for durable at its start is what every reader holds.
//!
//! - A writer marker raises its partition's writer epoch. A record of a lower epoch behind it is *void*: a request of a
//!   killed process that landed late (a zombie). Its key is *shadowed*: compaction keeps the last offset of a key, and
//!   that is the void record, so the writer must publish the key again.
//! - Otherwise the last offset of a key wins, whatever its version says.
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
use std::collections::{BTreeSet, HashMap};
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
    /// History epoch it was written in.
    pub history_epoch: u64,
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
        Ok(Table::Change(envelope)) => change(key, envelope),
        Ok(Table::Tombstone { uid, rv, .. }) => Step::Tombstone { uid, rv },
        Ok(Table::WriterMarker(_) | Table::OtherMarker) => Step::Nothing,
        Err(reason) => Step::Foreign(reason.into()),
    };
    let epoch = if matches!(step, Step::Foreign(_)) { epoch } else { claimed };
    Judged { at, step, epoch }
}

fn change<'a>(key: ObjectKey<'_>, envelope: Box<Envelope<'a>>) -> Step<'a> {
    let source = &envelope.source;
    if source.name != key.name || source.namespace != key.namespace.unwrap_or_default() || source.uid.is_empty() {
        return Step::Foreign(ForeignReason::Name);
    }
    if envelope.op != Op::Delete {
        return if envelope.after.is_some() { Step::Live(envelope) } else { Step::Foreign(ForeignReason::Value) };
    }
    let rv = Rv::new(&source.rv);
    let rv = source.list_rv.as_deref().map(Rv::new).filter(|list| *list > rv).unwrap_or(rv);
    let death = Death { uid: source.uid.as_str().into(), rv, history_epoch: source.history_epoch };
    Step::Deleted(death, envelope)
}

/// What a table owes and remembers beside its rows.
#[derive(Debug, Default)]
pub struct Ledger {
    owed: HashMap<Name, Death>,
    dead: HashMap<Arc<str>, (Name, Rv)>,
    /// Keys that end in a tombstone, and its version.
    ends: HashMap<Name, Rv>,
    shadowed: BTreeSet<Name>,
    buried: bool,
}

impl Ledger {
    /// A valid record made `at` stand for the object `uid`.
    pub fn live(&mut self, at: &Name, uid: &str) {
        self.owed.remove(at);
        self.shadowed.remove(at);
        self.ends.remove(at);
        // A uid dies once, except where the cluster's own history was rewound.
        self.dead.remove(uid);
    }

    /// A valid delete. Applying it twice changes nothing more.
    pub fn deleted(&mut self, at: &Name, death: Death) {
        self.shadowed.remove(at);
        self.remember(at, &death.uid, &death.rv);
        self.owed.insert(at.clone(), death);
    }

    /// A valid tombstone. Where it does not say who died, the delete before it did.
    pub fn tombstone(&mut self, at: &Name, uid: Option<&str>, rv: Option<Rv>) {
        self.shadowed.remove(at);
        self.owed.remove(at);
        if let (Some(uid), Some(rv)) = (uid, rv) {
            self.remember(at, &uid.into(), &rv);
            if !self.buried {
                self.ends.insert(at.clone(), rv);
            }
        }
    }

    /// The last offset of that key is not what readers hold.
    pub fn shadow(&mut self, at: Name) {
        self.shadowed.insert(at);
    }

    fn remember(&mut self, at: &Name, uid: &Arc<str>, rv: &Rv) {
        if self.buried {
            return;
        }
        let (_, known) = self.dead.entry(uid.clone()).or_insert_with(|| (at.clone(), rv.clone()));
        if *rv > *known {
            *known = rv.clone();
        }
    }

    /// Forgets the dead, and those who die from now on: capture remembers them itself as long as it must.
    pub fn bury(&mut self) {
        self.buried = true;
        self.dead = HashMap::new();
        self.ends = HashMap::new();
    }

    /// Keys whose delete has no tombstone yet.
    pub fn owed(&self) -> impl Iterator<Item = (&Name, &Death)> {
        self.owed.iter()
    }

    /// uid, name and version of the dead, those with a tombstone owed among them.
    pub fn dead(&self) -> impl Iterator<Item = (&Arc<str>, &Name, &Rv)> {
        self.dead.iter().map(|(uid, (at, rv))| (uid, at, rv))
    }

    /// Keys that end in a tombstone, with its version.
    pub fn ends(&self) -> impl Iterator<Item = (&Name, &Rv)> {
        self.ends.iter()
    }

    /// Keys that must be published again.
    pub fn shadowed(&self) -> impl Iterator<Item = &Name> {
        self.shadowed.iter()
    }
}

#[cfg(test)]
pub(crate) mod kit;
#[cfg(test)]
mod tests;
