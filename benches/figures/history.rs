//! The history of a cluster of Pods: change `n` is a function of `n` alone.
//!
//! The changes go round the Pods of the cluster. A Pod lives for eight to nine reports of its kubelet, is deleted, and another one
//! with a name and a uid of its own takes its place: of ten changes one is a delete and one a create.

use crate::pods;
use std::collections::HashMap;

/// Version of the cluster before its first change.
pub const BEGINNING: u64 = 1_000_000;
/// The topic, without a prefix.
pub const TOPIC: &str = "k8s-pods";
/// Changes of a life, create and delete among them.
const LIFE: u64 = 10;
/// Stands where a version stood.
const RV: u64 = 999_999_999_999;

/// Makes the lines of a watch. Keeps a Pod of each place, since to make one costs more than to digest it: those that follow
/// in its place have names and uids of their own, and otherwise look like it.
pub struct History {
    pods: u64,
    kept: HashMap<u64, Template>,
}

/// A Pod around what differs.
struct Template {
    to_name: String,
    to_uid: String,
    to_rv: String,
    /// Around each count of restarts.
    rest: Vec<String>,
}

enum What {
    Added,
    Modified,
    Deleted,
}

/// Which Pod of the cluster, in which life, and what of it. Places begin at different points of a life, so that deletes
/// are spread over time.
fn change(n: u64, pods: u64) -> (u64, u64, What) {
    let (place, turn) = (n % pods, n / pods);
    let at = turn + place % (LIFE - 1);
    let what = match at % LIFE {
        _ if turn == 0 => What::Added,
        0 => What::Added,
        9 => What::Deleted,
        _ => What::Modified,
    };
    (place, at / LIFE, what)
}

/// How many records change `n` is: a delete has its tombstone.
pub fn records(n: u64, pods: u64) -> u64 {
    match change(n, pods).2 {
        What::Deleted => 2,
        What::Added | What::Modified => 1,
    }
}

/// How many changes a version has behind it.
pub fn changes_at(rv: &str) -> u64 {
    rv.parse::<u64>().expect("a version of this history") - BEGINNING
}

/// The line that says that there were so many changes.
pub fn bookmark(changes: u64) -> String {
    let rv = BEGINNING + changes;
    format!(
        "{{\"type\":\"BOOKMARK\",\"object\":{{\"kind\":\"Pod\",\"apiVersion\":\"v1\",\"metadata\":{{\"resourceVersion\":\"{rv}\"}}}}}}\n"
    )
}

impl History {
    /// Of a cluster of so many Pods.
    pub fn new(pods: u64) -> Self {
        Self { pods, kept: HashMap::new() }
    }

    /// Change `n` as a watch shows it, without the end of its line.
    pub fn line(&mut self, n: u64) -> String {
        let (place, life, what) = change(n, self.pods);
        let word = match what {
            What::Added => "ADDED",
            What::Modified => "MODIFIED",
            What::Deleted => "DELETED",
        };
        let Template { to_name, to_uid, to_rv, rest } = self.kept.entry(place).or_insert_with(|| Template::new(place));
        let (rv, restarts) = (BEGINNING + n + 1, n / self.pods);
        let rest = rest.join(&restarts.to_string());
        format!("{{\"type\":\"{word}\",\"object\":{to_name}-{life}{to_uid}{life:08x}{to_rv}{rv}{rest}}}")
    }
}

impl Template {
    fn new(index: u64) -> Self {
        const RESTARTS: &str = "\"restartCount\":";
        let object = pods::stored(index, RV, 0);
        let (to_name, rest) = object.split_once("\",\"generateName\"").expect("a name");
        let (to_uid, rest) = rest.split_once("\",\"resourceVersion\":\"").expect("a version");
        let rest = rest.strip_prefix(&RV.to_string()).expect("the version");
        let mut parts = rest.split(RESTARTS);
        let mut rest = vec![parts.next().unwrap_or_default().to_owned()];
        for part in parts {
            if let Some(last) = rest.last_mut() {
                last.push_str(RESTARTS);
            }
            rest.push(part.trim_start_matches(|c: char| c.is_ascii_digit()).to_owned());
        }
        Self {
            to_name: to_name.to_owned(),
            // Of the uid its last eight digits say which life it is.
            to_uid: format!("\",\"generateName\"{}", &to_uid[..to_uid.len() - 8]),
            to_rv: "\",\"resourceVersion\":\"".to_owned(),
            rest,
        }
    }
}
