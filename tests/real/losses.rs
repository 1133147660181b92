//! What the API server acknowledged against what the log holds: a version that is in neither a record nor a declared gap is
//! lost in silence.

use super::checker::Record;
use super::kit::Parts;
use serde_json::Value;
use std::collections::{BTreeMap, HashMap, HashSet};

/// What a trial did, as the API server acknowledged it.
#[derive(Default, Debug)]
pub struct Commits {
    /// uid and resourceVersion of every version that was written.
    pub versions: Vec<(String, String)>,
    /// uids of what was deleted.
    pub deleted: Vec<String>,
}

impl Commits {
    /// Notes a version that the API server answered with; gives its uid.
    pub fn wrote(&mut self, object: &Value) -> String {
        let field = |name: &str| object["metadata"][name].as_str().expect("there").to_owned();
        self.versions.push((field("uid"), field("resourceVersion")));
        field("uid")
    }
}

/// A gap, as its marker in a partition declares it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Declared {
    pub partition: i32,
    pub from: Option<String>,
    pub to: Option<String>,
    pub reason: String,
    /// The last version that it can hide: `to`; where that is not known, the first that was watched behind its markers, since
    /// between two reports that no marker parts every change is reported. `None`: nothing was watched behind it.
    pub until: Option<String>,
}

/// One gap, which has a marker in each partition: from where, why, and which of those that agree in both.
type Which = (Option<String>, String, usize);

/// As versions are compared: by length, then as text.
fn order(rv: &str) -> (usize, &str) {
    (rv.len(), rv)
}

impl Declared {
    fn covers(&self, rv: &str) -> bool {
        self.from.as_deref().is_none_or(|from| order(from) <= order(rv))
            && self.until.as_deref().is_none_or(|until| order(rv) <= order(until))
    }

    /// The list that ended it showed everything that lived, or stubs of it: what it coalesced it wrote a later version of.
    /// Something that was a lie, or named nobody, may have stood in the place of anything.
    fn is_of_a_whole_list(&self) -> bool {
        !matches!(self.reason.as_str(), "server_lied" | "unreadable")
    }
}

fn is_watched(record: &Record) -> bool {
    record.source("observed") == Some("watch")
}

/// The gaps that are declared in a topic.
pub fn gaps(records: &[Record]) -> Vec<Declared> {
    let text = |r: &Record, name: &str| r.header(name).filter(|v| !v.is_empty()).map(str::to_owned);
    let mut found: Vec<Declared> = Vec::new();
    // Each with what was watched next.
    let mut same: HashMap<Which, Option<String>> = HashMap::new();
    let mut epochs: HashMap<i32, u64> = HashMap::new();
    let nth = |found: &[Declared], gap: &Declared| {
        let like = |g: &&Declared| (g.partition, &g.from, &g.reason) == (gap.partition, &gap.from, &gap.reason);
        found.iter().filter(like).count()
    };
    let mut open: Vec<(i32, Which)> = Vec::new();
    for record in records {
        let epoch = epochs.entry(record.partition).or_default();
        if record.key.starts_with('~') {
            *epoch = record.epoch().max(*epoch);
        }
        if record.key.starts_with("~gap/") {
            let to = text(record, "ce_gapto");
            let (from, reason) = (text(record, "ce_gapfrom"), text(record, "ce_gapreason").unwrap_or_default());
            let gap = Declared { partition: record.partition, from, reason, until: to.clone(), to };
            if gap.to.is_none() {
                let which = (gap.from.clone(), gap.reason.clone(), nth(&found, &gap));
                same.entry(which.clone()).or_default();
                open.push((gap.partition, which));
            }
            found.push(gap);
        } else if record.epoch() >= *epoch
            && is_watched(record)
            && let Some(rv) = record.source("rv")
        {
            for (_, which) in open.iter().filter(|(partition, _)| *partition == record.partition) {
                let is_behind = which.0.as_deref().is_none_or(|from| order(from) < order(rv));
                let next = same.get_mut(which).expect("entered with its marker");
                if is_behind && next.as_deref().is_none_or(|next| order(rv) < order(next)) {
                    *next = Some(rv.to_owned());
                }
            }
        }
    }
    for at in 0..found.len() {
        if found[at].to.is_none() {
            let which = (found[at].from.clone(), found[at].reason.clone(), nth(&found[..at], &found[at]));
            found[at].until = same[&which].clone();
        }
    }
    found
}

/// Every version and every delete that is neither in a record nor in a gap. A delete of what was published has no excuse, and
/// neither has a version whose next one was watched, though a list came between the two.
pub fn silent_losses(commits: &Commits, records: &[Record]) -> Vec<String> {
    let mut there: HashMap<&str, BTreeMap<(usize, &str), &Record>> = HashMap::new();
    for record in records {
        if let (Some(uid), Some(rv)) = (record.source("uid"), record.source("rv")) {
            // The first one: a delete may carry the version of what it ended.
            there.entry(uid).or_default().entry(order(rv)).or_insert(record);
        }
    }
    let published: HashSet<&str> =
        records.iter().filter(|r| r.op() != Some("d")).filter_map(|r| r.source("uid")).collect();
    let dead: HashSet<&str> = records.iter().filter(|r| r.op() == Some("d")).filter_map(|r| r.source("uid")).collect();
    let gaps = gaps(records);
    let declared = |uid: &str, rv: &str| {
        let next = there.get(uid).and_then(|versions| versions.range(order(rv)..).next());
        let by_watch = next.is_some_and(|(_, record)| is_watched(record));
        gaps.iter().any(|gap| gap.covers(rv) && !(by_watch && gap.is_of_a_whole_list()))
    };
    let is_there = |uid: &str, rv: &str| there.get(uid).is_some_and(|versions| versions.contains_key(&order(rv)));
    let lost = commits.versions.iter().filter(|(uid, rv)| !is_there(uid, rv) && !declared(uid, rv));
    let mut found: Vec<String> = lost.map(|(uid, rv)| format!("version {rv} of {uid} is lost in silence")).collect();
    for uid in commits.deleted.iter().filter(|uid| !dead.contains(uid.as_str())) {
        let last = commits.versions.iter().rfind(|(u, _)| u == uid).map_or("", |(_, rv)| rv);
        if published.contains(uid.as_str()) || !declared(uid, last) {
            found.push(format!("the delete of {uid} is lost in silence"));
        }
    }
    found
}

/// Panics unless a gap for that reason is declared: by a marker in every partition of the kind's topic, before the first
/// record that was inferred behind it, and by a lasting copy.
pub fn assert_declared(parts: &Parts, prefix: &str, kind: &str, reasons: &[&str]) {
    let records = parts.dump(&format!("{prefix}.k8s-{kind}"));
    let mut first: BTreeMap<i32, i64> = BTreeMap::new();
    for record in records.iter().filter(|r| r.key.starts_with("~gap/")) {
        let reason = record.header("ce_gapreason").unwrap_or_default();
        if reasons.contains(&reason) {
            first.entry(record.partition).or_insert(record.offset);
        }
    }
    let partitions: HashSet<i32> = records.iter().map(|r| r.partition).collect();
    let without: Vec<_> = partitions.iter().filter(|p| !first.contains_key(p)).collect();
    assert!(without.is_empty(), "no marker of a gap ({reasons:?}) in partitions {without:?}: {:?}", gaps(&records));
    let explains = |r: &&Record| r.value.as_ref().is_some_and(|v| v["source"]["observed"] == "inferred");
    for record in records.iter().filter(explains) {
        assert!(record.offset > first[&record.partition], "{} stands before its gap", record.key);
    }
    let lasting = parts.dump(&format!("{prefix}.agent-events-gaps"));
    let copy = lasting.iter().filter_map(|r| r.value.as_ref()).find(|v| {
        v["kind"].as_str().is_some_and(|k| k == kind) && reasons.contains(&v["reason"].as_str().unwrap_or_default())
    });
    assert!(copy.is_some(), "no lasting copy of a gap ({reasons:?}) of {kind}: {lasting:?}");
}
