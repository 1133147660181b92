//! Whether the oracle of silent losses finds a loss: one that finds none here is worthless everywhere else.

use super::checker::Record;
use super::losses::{Commits, silent_losses};
use serde_json::json;

pub const TRIALS: &[(&str, fn())] = &[
    ("an_open_gap_excuses_nothing_behind_the_first_version_that_is_watched_after_it", behind_the_next_report),
    ("an_open_gap_excuses_what_two_lists_have_between_them", between_two_lists),
    ("no_gap_of_a_list_excuses_a_version_whose_next_one_was_watched", watched_next),
    ("a_gap_with_an_end_excuses_nothing_behind_it", behind_the_end),
    ("what_a_writer_that_was_superseded_adds_closes_no_gap", superseded),
    ("a_delete_of_what_was_published_has_no_excuse", unreported_delete),
];

/// A topic of two partitions, as it is written.
#[derive(Default)]
struct Topic(Vec<Record>);

impl Topic {
    fn add(mut self, partition: i32, key: &str, value: Option<serde_json::Value>, headers: &[(&str, &str)]) -> Self {
        let offset = i64::try_from(self.0.len()).expect("few");
        let headers = headers.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        self.0.push(Record { partition, offset, key: key.into(), value, raw: Vec::new(), headers });
        self
    }

    /// A version of an object, in the partition of its name's length.
    fn version(self, uid: &str, rv: &str, observed: &str) -> Self {
        self.by("1", uid, rv, observed)
    }

    fn by(self, epoch: &str, uid: &str, rv: &str, observed: &str) -> Self {
        let source = json!({"uid": uid, "rv": rv, "observed": observed});
        let partition = i32::try_from(uid.len() % 2).expect("0 or 1");
        let value = json!({"op": "u", "source": source, "before": {}, "after": {}});
        self.add(partition, uid, Some(value), &[("ce_writerepoch", epoch)])
    }

    fn gap(self, reason: &str, from: &str, to: &str) -> Self {
        let headers = [("ce_gapfrom", from), ("ce_gapto", to), ("ce_gapreason", reason), ("ce_writerepoch", "1")];
        self.add(0, "~gap/0", None, &headers).add(1, "~gap/1", None, &headers)
    }

    /// What of these commits it lost.
    fn lost(mut self, commits: &[(&str, &str)], deleted: &[&str]) -> Vec<String> {
        self.0.sort_by_key(|r| (r.partition, r.offset));
        let versions = commits.iter().map(|(uid, rv)| ((*uid).to_owned(), (*rv).to_owned())).collect();
        let commits = Commits { versions, deleted: deleted.iter().map(|uid| (*uid).to_owned()).collect() };
        silent_losses(&commits, &self.0)
    }
}

fn behind_the_next_report() {
    let log = || {
        let log = Topic::default().version("a", "9", "watch").gap("server_lied", "9", "");
        log.version("bb", "12", "watch").version("a", "20", "watch")
    };
    assert_eq!(log().lost(&[("a", "9"), ("a", "10"), ("bb", "12"), ("a", "20")], &[]), Vec::<String>::new());
    assert_eq!(log().lost(&[("a", "15")], &[]), ["version 15 of a is lost in silence"]);
    assert_eq!(log().lost(&[("never-seen", "21")], &["never-seen"]).len(), 2, "its creation, and its delete");
    // A second time in the place where the first one was: each has its own next report.
    let twice = log().gap("server_lied", "20", "").gap("server_lied", "20", "").version("a", "23", "watch");
    assert_eq!(twice.lost(&[("a", "22"), ("a", "15")], &[]), ["version 15 of a is lost in silence"]);
}

fn between_two_lists() {
    let log = || Topic::default().version("a", "9", "relist").gap("list_only", "9", "").version("a", "30", "relist");
    assert_eq!(
        log().lost(&[("a", "10"), ("a", "29"), ("came-and-went", "20")], &["came-and-went"]),
        Vec::<String>::new()
    );
    // The right to watch is there again.
    let log = || log().version("bb", "40", "relist").version("a", "50", "watch");
    assert_eq!(log().lost(&[("a", "29"), ("bb", "35")], &[]), Vec::<String>::new());
    assert_eq!(log().lost(&[("bb", "60")], &[]), ["version 60 of bb is lost in silence"]);
}

fn watched_next() {
    for to in ["", "30"] {
        let log = || {
            let log = Topic::default().version("a", "9", "watch").gap("expired", "9", to);
            log.version("bb", "30", "relist").version("a", "40", "watch")
        };
        assert_eq!(log().lost(&[("bb", "20")], &[]), Vec::<String>::new());
        assert_eq!(
            log().lost(&[("a", "20")], &[]),
            ["version 20 of a is lost in silence"],
            "the list was of it, or newer"
        );
    }
}

fn behind_the_end() {
    let log = || Topic::default().version("a", "9", "watch").gap("expired", "9", "30").version("a", "31", "relist");
    assert_eq!(log().lost(&[("a", "30"), ("bb", "29")], &[]), Vec::<String>::new());
    assert_eq!(log().lost(&[("bb", "32"), ("a", "8")], &[]).len(), 2);
}

fn superseded() {
    let writer = |log: Topic, epoch: &str| {
        let headers = [("ce_writerepoch", epoch)];
        log.add(0, "~writer/0", None, &headers).add(1, "~writer/1", None, &headers)
    };
    let log = writer(Topic::default(), "2").gap("server_lied", "9", "").by("1", "a", "12", "watch");
    assert_eq!(log.by("2", "a", "20", "watch").lost(&[("bb", "15")], &[]), Vec::<String>::new());
}

fn unreported_delete() {
    let log = || Topic::default().version("a", "9", "watch").gap("list_only", "9", "");
    assert_eq!(log().lost(&[("a", "9")], &["a"]), ["the delete of a is lost in silence"]);
    assert_eq!(log().lost(&[("bb", "10")], &["bb"]), Vec::<String>::new());
}
