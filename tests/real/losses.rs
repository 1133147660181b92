//! What the API server acknowledged against what the log holds: a version that is in neither a record nor a declared gap is
//! lost in silence.

use super::checker::Record;
use super::kit::Parts;
use serde_json::Value;
use std::collections::{BTreeMap, HashSet};

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
}

impl Declared {
    fn covers(&self, rv: &str) -> bool {
        let before = |a: &str, b: &str| (a.len(), a) <= (b.len(), b);
        self.from.as_deref().is_none_or(|from| before(from, rv)) && self.to.as_deref().is_none_or(|to| before(rv, to))
    }
}

/// The gaps that are declared in a topic.
pub fn gaps(records: &[Record]) -> Vec<Declared> {
    let markers = records.iter().filter(|r| r.key.starts_with("~gap/"));
    let text = |r: &Record, name: &str| r.header(name).filter(|v| !v.is_empty()).map(str::to_owned);
    markers
        .map(|r| Declared {
            partition: r.partition,
            from: text(r, "ce_gapfrom"),
            to: text(r, "ce_gapto"),
            reason: text(r, "ce_gapreason").unwrap_or_default(),
        })
        .collect()
}

/// Every version and every delete that is neither in a record nor in a gap. A delete of what was published has no excuse.
pub fn silent_losses(commits: &Commits, records: &[Record]) -> Vec<String> {
    let there: HashSet<(&str, &str)> =
        records.iter().filter_map(|r| Some((r.source("uid")?, r.source("rv")?))).collect();
    let published: HashSet<&str> =
        records.iter().filter(|r| r.op() != Some("d")).filter_map(|r| r.source("uid")).collect();
    let dead: HashSet<&str> = records.iter().filter(|r| r.op() == Some("d")).filter_map(|r| r.source("uid")).collect();
    let gaps = gaps(records);
    let declared = |rv: &str| gaps.iter().any(|gap| gap.covers(rv));
    let lost = commits.versions.iter().filter(|(uid, rv)| !there.contains(&(uid, rv)) && !declared(rv));
    let mut found: Vec<String> = lost.map(|(uid, rv)| format!("version {rv} of {uid} is lost in silence")).collect();
    for uid in commits.deleted.iter().filter(|uid| !dead.contains(uid.as_str())) {
        let last = commits.versions.iter().rfind(|(u, _)| u == uid).map_or("", |(_, rv)| rv);
        if published.contains(uid.as_str()) || !declared(last) {
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
