//! Reading: lists by pages, counts, what capture takes over at its start, and figures.
//!
//! A list holds the index's lock for at most [`CHUNK`] rows at a time and looks at them after letting go.

use super::changes::{Entry, Operation};
use super::facts::{Facts, Space, Tag};
use super::row::{Object, Row};
use super::table::{Index, Table};
use super::{Store, lock};
use crate::domain::fold::{Death, ForeignReason};
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::domain::redact::Stub;
use crate::domain::rv::Rv;
use crate::domain::selector::{FieldSelector, LabelSelector, Test};
use serde::Serialize;
use std::collections::{BTreeMap, HashSet};
use std::ops::Bound;
use std::sync::Arc;

/// Rows taken under one lock: the writer waits no longer than it takes to clone so many `Arc`s.
const CHUNK: usize = 1024;

/// What a list, count or subscription is about.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Filter {
    /// Kinds; none means all. (A list or count is about one kind, given beside.)
    pub kinds: Vec<Kind>,
    /// One namespace, or all.
    pub namespace: Option<String>,
    /// Labels.
    pub labels: LabelSelector,
    /// Fields.
    pub fields: FieldSelector,
}

impl Filter {
    pub(super) fn has_kind(&self, kind: &Kind) -> bool {
        self.kinds.is_empty() || self.kinds.contains(kind)
    }

    fn matches(&self, at: &Name, facts: &Facts) -> bool {
        self.namespace.as_deref().is_none_or(|namespace| *namespace == *at.namespace)
            && self.labels.matches(|key| facts.label(key))
            && self.fields.matches(|field| facts.field(at, field))
    }

    pub(super) fn takes(&self, row: &Row) -> bool {
        self.matches(&row.at, &row.facts)
    }

    /// What a change is to someone who sees only what the filter takes.
    pub(super) fn sees(&self, entry: &Entry) -> Option<Operation> {
        if !self.has_kind(&entry.kind) {
            return None;
        }
        let now = self.takes(&entry.row);
        let was = entry.was.as_ref().map_or(now, |was| self.matches(&entry.row.at, was));
        match (entry.operation, was, now) {
            (Operation::Added, _, true) | (Operation::Modified, false, true) => Some(Operation::Added),
            (Operation::Modified, true, true) => Some(Operation::Modified),
            (Operation::Modified, true, false) | (Operation::Deleted, true, _) => Some(Operation::Deleted),
            _ => None,
        }
    }

    /// Tags one of which every object that it takes has; sets of alternatives, one for each requirement.
    fn required_tags(&self) -> Vec<Vec<Tag>> {
        let labels = self.labels.requirements().iter().filter_map(|r| match &r.test {
            Test::In(values) => Some(values.iter().map(|v| Tag::new(Space::Label, &r.key, v)).collect()),
            _ => None,
        });
        let fields = self.fields.terms().iter().filter(|t| t.equal && !t.value.is_empty());
        let fields = fields
            .filter(|t| !t.field.starts_with("metadata."))
            .map(|t| vec![Tag::new(Space::Field, t.field, &t.value)]);
        labels.chain(fields).collect()
    }
}

/// Next offset of a partition that was applied.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Position {
    /// Topic, with prefix.
    #[serde(serialize_with = "as_text")]
    pub topic: Arc<str>,
    /// Partition.
    pub partition: i32,
    /// Offset of the next record to apply.
    pub next: i64,
    /// Current writer epoch of the partition; 0 before the first marker.
    pub epoch: u64,
}

/// serde takes an `Arc<str>` only with a feature that all its users would be built anew for.
fn as_text<S: serde::Serializer>(text: &Arc<str>, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(text)
}

/// How far the log was applied when an answer was made: at least so far, for every partition of the kind's topic.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize)]
pub struct AsOf {
    /// The store's version.
    pub version: u64,
    /// Partitions that were applied.
    pub positions: Vec<Position>,
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct Page {
    /// Objects, by namespace and name.
    pub items: Vec<Object>,
    /// The last name of this page, if more follow it.
    pub more_after: Option<Name>,
    /// State that it shows at least.
    pub as_of: AsOf,
}

/// What capture takes over at its start.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Restored {
    /// Live objects: name, uid, version, and the history epoch that it belongs to.
    pub live: Vec<(Name, Arc<str>, Rv, u64)>,
    /// Those of the live whose identity alone is held, and why.
    pub stubs: Vec<(Name, Stub)>,
    /// Deletes without a tombstone: it must be written before anything else is.
    pub owed: Vec<(Name, Arc<str>, Rv)>,
    /// The dead, those with a tombstone owed among them.
    pub dead: Vec<Death>,
    /// Keys that end in a tombstone, or will: the last version of who died there, and its history epoch. Nothing older may be
    /// written behind it.
    pub ends: Vec<(Name, Rv, u64)>,
    /// Keys to be published again: the row, if it is live, else what a list of the API server says; with the time of the
    /// record that stands last (ms since 1970).
    pub shadowed: Vec<(Name, i64)>,
    /// The highest history epoch of all this.
    pub history_epoch: u64,
}

/// Rows and bytes of one kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct KindMemory {
    /// Kind id.
    pub kind: String,
    /// Number of objects.
    pub rows: usize,
    /// What they take, compressed, with what the maps take for them.
    pub bytes: usize,
}

/// What the store takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Memory {
    /// By kind.
    pub kinds: Vec<KindMemory>,
    /// Sum over the kinds.
    pub bytes: usize,
    /// Compressed bytes that the ring of changes refers to; most are current rows.
    pub ring_bytes: usize,
    /// The cap.
    pub max_bytes: usize,
}

#[derive(Debug, Default, Clone)]
pub(super) struct Counters {
    pub(super) applied: u64,
    pub(super) repeated: u64,
    pub(super) void: u64,
    pub(super) foreign: BTreeMap<ForeignReason, u64>,
    pub(super) events_expired: u64,
    pub(super) events_capped: u64,
}

/// Figures for people and metrics; counts are since the store was made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// Version of the newest change.
    pub version: u64,
    /// Rows and bytes.
    pub memory: Memory,
    /// More than the cap is held. Current state is never cut: fewer kinds or a higher `store.max_bytes` help.
    pub over_cap: bool,
    /// Records applied.
    pub applied: u64,
    /// Records that were applied before and skipped.
    pub repeated: u64,
    /// Records of an older writer behind a newer one's marker.
    pub void: u64,
    /// Records that are not ours, by reason.
    pub foreign: BTreeMap<ForeignReason, u64>,
    /// Kubernetes Events dropped by age.
    pub events_expired: u64,
    /// Kubernetes Events dropped by number.
    pub events_capped: u64,
    /// Kinds about which questions cannot be answered yet, with what is missing.
    pub missing: BTreeMap<String, String>,
    /// How far every partition was applied.
    pub positions: Vec<Position>,
}

impl Index {
    /// The rows of one namespace or of all, behind a name, in the order of pages.
    pub(super) fn within<'i>(
        &'i self,
        namespace: Option<&str>,
        after: Option<&Name>,
    ) -> impl Iterator<Item = (&'i Arc<Name>, &'i Arc<Row>)> {
        let namespace = namespace.map(Arc::<str>::from);
        let from = start(namespace.as_ref(), after);
        self.names
            .range::<Name, _>((bound(&from), Bound::Unbounded))
            .take_while(move |(at, _)| namespace.as_ref().is_none_or(|ns| *ns == at.namespace))
    }

    /// The rows that have one of the tags, behind a name, in the order of pages; at most `CHUNK` and whether that is all.
    fn tagged_within(&self, tags: &[Tag], namespace: Option<&str>, after: Option<&Name>) -> (Vec<Arc<Row>>, bool) {
        let namespace = namespace.map(Arc::<str>::from);
        let from = start(namespace.as_ref(), after);
        let mut rows: Vec<Arc<Row>> = Vec::new();
        for tag in tags {
            let names = self.tagged.get(tag).into_iter();
            let names = names.flat_map(|names| names.range::<Name, _>((bound(&from), Bound::Unbounded)));
            let names = names.take_while(|at| namespace.as_ref().is_none_or(|ns| *ns == at.namespace));
            rows.extend(names.take(CHUNK).filter_map(|at| self.names.get(at)).cloned());
        }
        if tags.len() > 1 {
            // Each alternative gave its first ones: what is first among all is among them. Labels have one value, so
            // none comes twice; owners are not asked for here.
            rows.sort_unstable_by(|a, b| a.at.cmp(&b.at));
        }
        let all = rows.len() < CHUNK;
        rows.truncate(CHUNK);
        (rows, all)
    }
}

/// Where to begin: behind `after`, or at the first name of the namespace.
fn start(namespace: Option<&Arc<str>>, after: Option<&Name>) -> Option<(Name, bool)> {
    let first = namespace.map(|ns| Name { namespace: ns.clone(), name: "".into() });
    match (first, after) {
        (Some(first), Some(after)) if *after < first => Some((first, true)),
        (_, Some(after)) => Some((after.clone(), false)),
        (first, None) => first.map(|first| (first, true)),
    }
}

fn bound(from: &Option<(Name, bool)>) -> Bound<&Name> {
    match from {
        Some((name, true)) => Bound::Included(name),
        Some((name, false)) => Bound::Excluded(name),
        None => Bound::Unbounded,
    }
}

/// Walks what a filter takes of a table, a chunk at a time.
struct Walk<'t> {
    table: &'t Table,
    filter: &'t Filter,
    /// The alternatives of the requirement that leaves the fewest; `None` walks all names.
    tags: Option<Vec<Tag>>,
    after: Option<Name>,
    done: bool,
}

impl<'t> Walk<'t> {
    fn new(table: &'t Table, filter: &'t Filter, after: Option<&Name>) -> Self {
        let required = filter.required_tags();
        let index = table.index();
        let size = |tags: &Vec<Tag>| tags.iter().filter_map(|t| index.tagged.get(t)).map(|names| names.len()).sum();
        let tags = required.into_iter().min_by_key(|tags| -> usize { size(tags) });
        Self { table, filter, tags, after: after.cloned(), done: false }
    }

    fn next_chunk(&mut self) -> Option<Vec<Arc<Row>>> {
        if self.done {
            return None;
        }
        let namespace = self.filter.namespace.as_deref();
        let mut rows = {
            let index = self.table.index();
            let (rows, all) = match &self.tags {
                Some(tags) => index.tagged_within(tags, namespace, self.after.as_ref()),
                None => {
                    let within = index.within(namespace, self.after.as_ref());
                    let rows: Vec<_> = within.take(CHUNK).map(|(_, row)| row.clone()).collect();
                    let all = rows.len() < CHUNK;
                    (rows, all)
                }
            };
            self.done = all;
            rows
        };
        if let Some(last) = rows.last() {
            self.after = Some((*last.at).clone());
        }
        rows.retain(|row| self.filter.takes(row));
        Some(rows)
    }
}

impl Store {
    /// A page of at most `limit` objects behind the name `after`. Nothing for a kind that is not held.
    pub fn list(&self, kind: &Kind, filter: &Filter, after: Option<&Name>, limit: usize) -> Page {
        // Before the rows: what they show is at least this.
        let as_of = self.as_of(kind);
        let mut items = Vec::new();
        let Some(table) = self.table(kind) else { return Page { items, more_after: None, as_of } };
        let mut walk = Walk::new(&table, filter, after);
        while let Some(rows) = walk.next_chunk() {
            for row in rows {
                if items.len() == limit {
                    let more_after = items.last().map(|last: &Object| last.at().clone());
                    return Page { items, more_after, as_of };
                }
                items.push(Object::new(table.kind.clone(), row));
            }
        }
        Page { items, more_after: None, as_of }
    }

    /// How many objects a filter takes.
    pub fn count(&self, kind: &Kind, filter: &Filter) -> usize {
        let Some(table) = self.table(kind) else { return 0 };
        if filter.labels.is_empty() && filter.fields.is_empty() {
            let index = table.index();
            return match &filter.namespace {
                Some(namespace) => index.namespaces.get(namespace.as_str()).copied().unwrap_or(0),
                None => index.names.len(),
            };
        }
        let mut walk = Walk::new(&table, filter, None);
        std::iter::from_fn(|| walk.next_chunk()).map(|rows| rows.len()).sum()
    }

    /// Objects of every kind that name this uid as an owner.
    pub fn owned_by(&self, uid: &str) -> Vec<Object> {
        let tag = Tag::new(Space::Owner, "", uid);
        let mut owned = Vec::new();
        for table in &self.tables().all {
            let index = table.index();
            let names = index.tagged.get(&tag).into_iter().flatten();
            let rows = names.filter_map(|at| index.names.get(at));
            owned.extend(rows.map(|row| Object::new(table.kind.clone(), row.clone())));
        }
        owned
    }

    /// Where a reader goes on: the next offset of every partition that was applied. Others begin at their beginning.
    pub fn positions(&self) -> Vec<Position> {
        self.tables().all.iter().flat_map(|table| table.positions()).collect()
    }

    /// How far the kind's log was applied.
    pub fn as_of(&self, kind: &Kind) -> AsOf {
        let positions = self.table(kind).map(|table| table.positions()).unwrap_or_default();
        AsOf { version: self.version(), positions }
    }

    /// What capture of a kind takes over at its start, of the names that it covers. Complete once our own writer markers
    /// were applied.
    pub fn restored(&self, kind: &Kind, covers: impl Fn(&Name) -> bool) -> Restored {
        let Some(table) = self.table(kind) else { return Restored::default() };
        let mut history_epoch = 0;
        let index = table.index();
        let live = index.names.iter().filter(|(at, _)| covers(at)).map(|(at, row)| {
            history_epoch = history_epoch.max(row.history_epoch);
            ((**at).clone(), row.uid.clone(), row.rv.clone(), row.history_epoch)
        });
        let live: Vec<_> = live.collect();
        let stub = |row: &Row| row.stub.as_deref().cloned();
        let stubs = index.names.iter().filter(|(at, _)| covers(at));
        let stubs = stubs.filter_map(|(at, row)| Some(((**at).clone(), stub(row)?))).collect();
        drop(index);
        let ledger = lock(&table.ledger);
        let owed = ledger.owed().filter(|(at, _)| covers(at));
        let mut owed: Vec<_> = owed.map(|(at, death)| (at.clone(), death.uid.clone(), death.rv.clone())).collect();
        owed.sort_unstable();
        let mut dead: Vec<_> = ledger.dead().filter(|(at, _)| covers(at)).map(|(_, death)| death.clone()).collect();
        dead.sort_unstable_by(|a, b| a.uid.cmp(&b.uid));
        history_epoch = dead.iter().map(|death| death.history_epoch).fold(history_epoch, u64::max);
        let shadowed = ledger.shadowed().filter(|(at, _)| covers(at)).map(|(at, ms)| (at.clone(), ms)).collect();
        let ends = ends(ledger.dead().filter(|(at, _)| covers(at)), &live);
        Restored { live, stubs, owed, dead, ends, shadowed, history_epoch }
    }

    /// What the store takes.
    pub fn memory(&self) -> Memory {
        let kinds: Vec<_> = self.tables().all.iter().map(|table| table.memory()).collect();
        let bytes = kinds.iter().map(|k| k.bytes).sum();
        Memory { kinds, bytes, ring_bytes: self.changes.bytes(), max_bytes: self.max_bytes }
    }

    /// Whether more is held than `max_bytes`. Current state is never cut: that is for whoever asks to act on.
    pub fn over_cap(&self) -> bool {
        let bytes: usize = self.tables().all.iter().map(|t| t.index().bytes).sum();
        bytes > self.max_bytes
    }

    /// All figures.
    pub fn stats(&self) -> Stats {
        let counters = lock(&self.counters).clone();
        let tables = self.tables();
        let missing =
            tables.all.iter().filter_map(|t| Some((t.kind_id.clone(), lock(&t.missing).as_deref()?.to_owned())));
        Stats {
            version: self.version(),
            memory: self.memory(),
            over_cap: self.over_cap(),
            applied: counters.applied,
            repeated: counters.repeated,
            void: counters.void,
            foreign: counters.foreign,
            events_expired: counters.events_expired,
            events_capped: counters.events_capped,
            missing: missing.collect(),
            positions: self.positions(),
        }
    }
}

impl Table {
    fn positions(&self) -> Vec<Position> {
        let progress = lock(&self.progress);
        let position = |(partition, progress): (&i32, &super::table::Progress)| Position {
            topic: self.topic.clone(),
            partition: *partition,
            next: progress.next,
            epoch: progress.epoch,
        };
        progress.iter().map(position).collect()
    }

    fn memory(&self) -> KindMemory {
        let index = self.index();
        KindMemory { kind: self.kind_id.clone(), rows: index.names.len(), bytes: index.bytes }
    }
}

/// Names whose last is a death, with the newest of their dead: of each history, since their versions do not compare.
fn ends<'a>(
    dead: impl Iterator<Item = (&'a Name, &'a Death)>,
    live: &[(Name, Arc<str>, Rv, u64)],
) -> Vec<(Name, Rv, u64)> {
    let live: HashSet<&Name> = live.iter().map(|(at, ..)| at).collect();
    let mut newest: BTreeMap<(&Name, u64), &Rv> = BTreeMap::new();
    for (at, death) in dead.filter(|(at, _)| !live.contains(at)) {
        let last = newest.entry((at, death.history_epoch)).or_insert(&death.last);
        *last = (*last).max(&death.last);
    }
    newest.into_iter().map(|((at, history_epoch), last)| (at.clone(), last.clone(), history_epoch)).collect()
}
