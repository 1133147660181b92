//! The log of the simulation: partitions of records as they arrived, its fold, and what must hold of it.

use super::api::Api;
use crate::domain::envelope::{Table, read_table};
use crate::domain::gap::{Lasting, TOPIC};
use crate::domain::index::Name;
use crate::domain::record::{InRecord, OutRecord};
use crate::domain::rv::Rv;
use crate::domain::watch::tests::is_of_a_gap;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A record, understood.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Row {
    key: String,
    /// `None` is a tombstone.
    op: Option<char>,
    uid: String,
    rv: u64,
    list_rv: Option<u64>,
    /// What readers drop repeats by.
    id: String,
}

pub struct Log {
    partitions: Vec<Vec<Row>>,
    /// Versions between which something may have been coalesced, as the log declares it.
    gaps: Vec<(u64, u64)>,
}

/// What a starting process learns from the log.
pub struct Fold {
    pub live: Vec<(Name, Arc<str>, Rv)>,
    pub dead: BTreeMap<Arc<str>, Rv>,
    /// Names that end in a death, and the version it was written with.
    pub ends: Vec<(Name, Rv)>,
    /// Deletes whose tombstone did not make it.
    pub unburied: Vec<(Name, Arc<str>, Rv)>,
    /// Keys whose last offset is a repeat of something older, with what they really stand for: whether it is alive.
    pub shadowed: Vec<(Name, Arc<str>, Rv, bool)>,
}

impl Row {
    fn of(record: &OutRecord) -> Self {
        let key = String::from_utf8(record.key.to_vec()).expect("UTF-8");
        let record = InRecord {
            topic: record.topic.clone(),
            partition: record.partition,
            offset: 0,
            timestamp_ms: 0,
            key: Some(record.key.clone()),
            value: record.value.clone(),
            headers: record.headers.iter().map(|(n, v)| ((*n).into(), Some(v.clone()))).collect(),
        };
        let number = |rv: &str| rv.parse().expect("a number");
        let id = record.header("ce_id").unwrap_or_default().to_owned();
        match read_table(&record).expect("our own record") {
            Table::Change(e) => Self {
                key,
                op: e.op.letter().chars().next(),
                uid: e.source.uid.clone(),
                rv: number(&e.source.rv),
                list_rv: e.source.list_rv.as_deref().map(number),
                id,
            },
            Table::Tombstone { uid, rv, .. } => Self {
                key,
                op: None,
                uid: uid.expect("ours has one").to_owned(),
                rv: number(rv.expect("ours has one").as_str()),
                list_rv: None,
                id: format!("{}:tombstone", uid.expect("ours has one")),
            },
            other => panic!("not written by a watcher: {other:?}"),
        }
    }

    fn is_end(&self) -> bool {
        matches!(self.op, None | Some('d'))
    }

    fn name(&self) -> &str {
        self.key.rsplit('/').next().unwrap_or_default()
    }

    fn at(&self) -> (Name, Arc<str>, Rv) {
        let at = Name { namespace: "n".into(), name: self.name().into() };
        (at, self.uid.as_str().into(), Rv::new(&self.rv.to_string()))
    }

    /// What may stand in the log once: here nobody is wrongly taken for dead, so a uid dies once.
    fn once(&self) -> String {
        match self.op {
            Some('d') => format!("{}:d", self.uid),
            Some(op) => format!("{}:{}:{op}", self.uid, self.rv),
            None => format!("{}:tombstone", self.uid),
        }
    }
}

impl Log {
    pub fn new(partitions: i32) -> Self {
        Self { partitions: (0..partitions).map(|_| Vec::new()).collect(), gaps: Vec::new() }
    }

    pub fn append(&mut self, record: &OutRecord) {
        if let Some(value) = record.value.as_deref().filter(|_| record.topic.ends_with(TOPIC)) {
            let gap: Lasting = serde_json::from_slice(value).expect("our own record");
            let number = |rv: Option<String>, other| rv.map_or(other, |rv| rv.parse().expect("a number"));
            self.gaps.push((number(gap.from, 0), number(gap.to, u64::MAX)));
        }
        if is_of_a_gap(record) {
            return;
        }
        self.partitions[record.partition as usize].push(Row::of(record));
    }

    /// For a look at one seed.
    #[allow(clippy::print_stderr)]
    pub fn show(&self, key: &str) {
        self.rows().filter(|row| row.key.ends_with(key)).for_each(|row| eprintln!("{row:?}"));
    }

    fn rows(&self) -> impl Iterator<Item = &Row> {
        self.partitions.iter().flatten()
    }

    pub fn len(&self) -> usize {
        self.rows().count()
    }

    fn last(&self) -> BTreeMap<&str, &Row> {
        self.rows().map(|row| (row.key.as_str(), row)).collect()
    }

    /// Per key the newest version, and of equal ones the last. A producer that failed may have written what it reports
    /// as failed; it is sent again, older versions first, and a process that is killed in the middle of that leaves the
    /// older version behind the newer. Whoever takes the last offset (`by_version` false) forgets the newer one.
    pub fn fold(&self, by_version: bool) -> Fold {
        let last = self.last();
        let mut newest: BTreeMap<&str, &Row> = BTreeMap::new();
        let mut dead: BTreeMap<Arc<str>, Rv> = BTreeMap::new();
        for row in self.rows() {
            let held = newest.entry(&row.key).or_insert(row);
            if !by_version || row.rv >= held.rv {
                *held = row;
            }
            if row.is_end() {
                let gone = Rv::new(&row.list_rv.unwrap_or(row.rv).to_string());
                let known = dead.entry(row.uid.as_str().into()).or_default();
                *known = gone.max(known.clone());
            }
        }
        let held = || newest.values();
        Fold {
            live: held().filter(|r| !r.is_end()).map(|r| r.at()).collect(),
            dead,
            ends: held().filter(|r| r.op.is_none()).map(|r| (r.at().0, r.at().2)).collect(),
            unburied: held().filter(|r| r.op == Some('d')).map(|r| r.at()).collect(),
            shadowed: held()
                .filter(|r| r.op != Some('d') && last[r.key.as_str()] != **r)
                .map(|r| {
                    let (at, uid, rv) = r.at();
                    (at, uid, rv, !r.is_end())
                })
                .collect(),
        }
    }

    /// What does not hold, if anything.
    pub fn faults(&self, api: &Api, reported: &[(String, u64)], strict: bool) -> BTreeSet<String> {
        let mut faults = BTreeSet::new();
        self.check_state(api, &mut faults);
        self.check_order(strict, &mut faults);
        self.check_deaths(api, &mut faults);
        self.check_loss(reported, &mut faults);
        faults
    }

    fn check_state(&self, api: &Api, faults: &mut BTreeSet<String>) {
        let live = self.last().into_values().filter(|r| !r.is_end());
        let folded: BTreeMap<_, _> = live.map(|r| (r.name().to_owned(), (r.uid.clone(), r.rv))).collect();
        let expected = api.state_at(u64::MAX);
        if folded != expected {
            faults.insert(format!("state: the log says {folded:?}, the API server {expected:?}"));
        }
        for row in self.last().into_values().filter(|r| r.op == Some('d')) {
            faults.insert(format!("death: no tombstone behind {row:?}"));
        }
    }

    /// Per key the versions never go back, and with known outcomes nothing stands there twice.
    fn check_order(&self, strict: bool, faults: &mut BTreeSet<String>) {
        let (mut once, mut seen) = (BTreeSet::new(), BTreeSet::new());
        let mut newest: BTreeMap<&str, u64> = BTreeMap::new();
        let mut owner: BTreeMap<&str, (&str, bool)> = BTreeMap::new();
        for row in self.rows() {
            if strict && !once.insert(row.once()) {
                faults.insert(format!("duplicate: {row:?}"));
            }
            // Readers drop repeats by their id.
            if !seen.insert(&row.id) {
                continue;
            }
            let before = newest.insert(&row.key, row.rv).unwrap_or(0);
            if before > row.rv {
                faults.insert(format!("order: {row:?} behind version {before}"));
            }
            let (uid, dead) = owner.get(row.key.as_str()).copied().unwrap_or((&row.uid, true));
            if uid != row.uid && !dead {
                faults.insert(format!("death: {row:?} stands before the delete of {uid}"));
            }
            owner.insert(&row.key, (&row.uid, row.is_end()));
        }
    }

    fn check_deaths(&self, api: &Api, faults: &mut BTreeSet<String>) {
        let live: BTreeSet<_> = api.state_at(u64::MAX).into_values().map(|(uid, _)| uid).collect();
        let told: BTreeSet<_> = self.rows().filter(|r| r.op == Some('d')).map(|r| &r.uid).collect();
        for row in self.rows() {
            if !live.contains(&row.uid) && !told.contains(&row.uid) {
                faults.insert(format!("death: {} was published and its delete was not", row.uid));
            }
            if live.contains(&row.uid) && told.contains(&row.uid) {
                faults.insert(format!("death: {} lives and was declared dead", row.uid));
            }
        }
    }

    /// Every change that was reported, or a later version of its object, is in the log; unless a list came between, which
    /// is declared as a gap.
    fn check_loss(&self, reported: &[(String, u64)], faults: &mut BTreeSet<String>) {
        let mut durable: BTreeMap<&str, u64> = BTreeMap::new();
        for row in self.rows() {
            let newest = if row.op == Some('d') { u64::MAX } else { row.rv };
            let known = durable.entry(&row.uid).or_default();
            *known = newest.max(*known);
        }
        for (uid, rv) in reported {
            let declared = self.gaps.iter().any(|(from, to)| from < rv && rv <= to);
            if !declared && durable.get(uid.as_str()).is_none_or(|newest| newest < rv) {
                faults.insert(format!("loss: {uid}@{rv} was reported and is not in the log"));
            }
        }
    }
}
