//! What a page is told of a record of the event stream and of a change.

use crate::domain::record::InRecord;
use crate::messages::query::{Change, Operation};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;

/// What is shown of one sentence or list of fields at most; anybody may write to the topic.
const LONGEST: usize = 4096;

/// Kinds and namespaces that a page wants to see; empty means all.
#[derive(Debug, Clone, Default)]
pub(super) struct Filter {
    /// Kind ids.
    pub kinds: Vec<String>,
    /// Namespaces.
    pub namespaces: Vec<String>,
}

impl Filter {
    pub fn takes(&self, kind: &str, namespace: &str) -> bool {
        let among = |wanted: &[String], is: &str| wanted.is_empty() || wanted.iter().any(|w| w == is);
        among(&self.kinds, kind) && among(&self.namespaces, namespace)
    }
}

/// A record's value, as `domain::narrate` writes it.
#[derive(Debug, Deserialize)]
struct Told<'a> {
    #[serde(borrow)]
    id: Cow<'a, str>,
    #[serde(rename = "tsMs")]
    ts_ms: Option<i64>,
    #[serde(borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow, default)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(borrow, default)]
    rv: Cow<'a, str>,
    #[serde(borrow, default)]
    manager: Option<Cow<'a, str>>,
    #[serde(borrow, rename = "type")]
    what: Cow<'a, str>,
    #[serde(borrow, default)]
    severity: Cow<'a, str>,
    #[serde(borrow)]
    summary: Cow<'a, str>,
    #[serde(borrow, default)]
    changes: Option<&'a RawValue>,
}

/// One entry as it goes to a page.
#[derive(Debug, Serialize)]
struct Entry<'a> {
    /// The same whenever the same happening is told again.
    id: &'a str,
    /// When it happened, in ms since 1970.
    at: i64,
    kind: &'a str,
    namespace: &'a str,
    name: &'a str,
    rv: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    manager: Option<&'a str>,
    #[serde(rename = "type")]
    what: &'a str,
    severity: &'a str,
    summary: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    changes: Option<&'a RawValue>,
    partition: i32,
    offset: i64,
}

/// The JSON of what a record tells, if it tells something that the filter takes. Markers, and what others wrote in other
/// shapes, tell nothing here: `/topics/event-stream/records` shows them.
pub(super) fn of_record(record: &InRecord, filter: &Filter) -> Option<Vec<u8>> {
    let told: Told<'_> = serde_json::from_slice(record.value.as_deref()?).ok()?;
    if !filter.takes(&told.kind, &told.namespace) {
        return None;
    }
    let entry = Entry {
        id: &told.id,
        at: told.ts_ms.unwrap_or(record.timestamp_ms),
        kind: &told.kind,
        namespace: &told.namespace,
        name: &told.name,
        rv: &told.rv,
        manager: told.manager.as_deref(),
        what: &told.what,
        severity: &told.severity,
        summary: cut(&told.summary),
        changes: told.changes.filter(|changes| changes.get().len() <= LONGEST),
        partition: record.partition,
        offset: record.offset,
    };
    serde_json::to_vec(&entry).ok()
}

/// The JSON of a change, without the object.
pub(super) fn of_change(change: &Change) -> Vec<u8> {
    #[derive(Serialize)]
    struct Line<'a> {
        operation: Operation,
        kind: &'a str,
        namespace: &'a str,
        name: &'a str,
        rv: &'a str,
        /// When the record was written, in ms since 1970.
        at: i64,
        version: u64,
        /// No more than its identity is held.
        #[serde(skip_serializing_if = "std::ops::Not::not")]
        stub: bool,
    }
    let object = &change.object;
    let line = Line {
        operation: change.operation,
        kind: &object.kind().id(),
        namespace: object.namespace(),
        name: object.name(),
        rv: object.rv().as_str(),
        at: object.timestamp_ms(),
        version: change.version,
        stub: object.stub().is_some(),
    };
    // Words and numbers: nothing in it can fail to be written.
    serde_json::to_vec(&line).unwrap_or_default()
}

fn cut(text: &str) -> &str {
    let mut end = text.len().min(LONGEST);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(value: &str, filter: &Filter) -> Option<serde_json::Value> {
        let record = InRecord {
            topic: "event-stream".into(),
            partition: 2,
            offset: 7,
            timestamp_ms: 5,
            key: None,
            value: Some(value.to_owned().into()),
            headers: Vec::new(),
        };
        of_record(&record, filter).map(|json| serde_json::from_slice(&json).expect("JSON"))
    }

    #[test]
    fn an_entry_is_what_was_told_and_anything_else_on_the_topic_is_none() {
        let value = r#"{"id":"u:1:created","tsMs":9,"cluster":"c","kind":"pods","namespace":"shop","name":"w\"1","uid":"u",
            "rv":"1","type":"created","severity":"normal","summary":"pod w: created","changes":[{"path":"a","to":"b"}]}"#;
        let entry = told(value, &Filter::default()).expect("an entry");
        assert_eq!((&entry["at"], &entry["name"], &entry["offset"]), (&9.into(), &"w\"1".into(), &7.into()));
        assert_eq!(entry["changes"][0]["to"], "b");
        let only =
            |kind: &str, namespace: &str| Filter { kinds: vec![kind.into()], namespaces: vec![namespace.into()] };
        assert!(told(value, &only("pods", "shop")).is_some());
        assert!(told(value, &only("pods", "other")).is_none() && told(value, &only("services", "shop")).is_none());
        for foreign in ["", "null", "[]", "{}", r#"{"id":1}"#, "{", r#"{"type":"x","summary":"y"}"#] {
            assert!(told(foreign, &Filter::default()).is_none(), "{foreign}");
        }
        let long = value.replace("pod w: created", &"ä".repeat(LONGEST));
        let summary = told(&long, &Filter::default()).expect("an entry")["summary"].as_str().expect("text").len();
        assert_eq!(summary, LONGEST);
    }
}
