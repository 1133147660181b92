//! An object as the client asked for it: whole, metadata only or as a row; in the version and group of the path.

use super::columns::{self, Column};
use super::negotiate::Form;
use super::target::{EVENTS, Target};
use crate::sandbox::object::{Encoded, text_at};
use crate::sandbox::status::Status;
use bytes::Bytes;
use jiff::Timestamp;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

/// How much of an object goes with its row.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Include {
    Metadata,
    Nothing,
    Object,
}

impl Include {
    pub fn parse(text: &str) -> Result<Self, Status> {
        match text {
            "" | "Metadata" => Ok(Self::Metadata),
            "None" => Ok(Self::Nothing),
            "Object" => Ok(Self::Object),
            other => Err(Status::bad_request(format!("includeObject {other:?} is unknown: None, Metadata or Object"))),
        }
    }
}

/// The way in which one request's objects are written.
pub(super) struct Writer {
    form: Form,
    include: Include,
    api_version: String,
    kind: String,
    list_kind: String,
    storage: bool,
    events: bool,
    bare_items: bool,
    columns: Vec<Column>,
    now: Timestamp,
}

#[derive(Deserialize)]
struct Partial<'a> {
    #[serde(borrow)]
    metadata: &'a RawValue,
}

const PARTIAL: &str = r#"{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":"#;

impl Writer {
    pub fn new(target: &Target, form: Form, include: Include, now: Timestamp) -> Self {
        let columns = if form == Form::Table { columns::columns(&target.kind, &target.version) } else { Vec::new() };
        Self {
            form,
            include,
            api_version: target.api_version(),
            kind: target.kind.kind.clone(),
            list_kind: target.kind.list_kind.clone(),
            events: target.group == EVENTS,
            storage: target.group != EVENTS && target.version == target.kind.storage_version(),
            bare_items: target.kind.is_builtin(),
            columns,
            now,
        }
    }

    /// The whole object in the path's version.
    fn whole(&self, object: &Encoded) -> Bytes {
        if self.storage {
            return object.json.clone();
        }
        if self.events {
            let value = to_events_v1(object.value());
            return Bytes::from(value.to_string());
        }
        let mut json = self.head().into_bytes();
        json.extend_from_slice(&object.json[object.body_at..]);
        Bytes::from(json)
    }

    fn head(&self) -> String {
        format!(
            "{{\"kind\":{},\"apiVersion\":{},",
            Value::from(self.kind.as_str()),
            Value::from(self.api_version.as_str())
        )
    }

    fn partial(&self, object: &Encoded) -> Vec<u8> {
        let partial: Partial<'_> = serde_json::from_slice(&object.json).expect("we wrote these bytes ourselves");
        let metadata = partial.metadata.get();
        let mut json = Vec::with_capacity(PARTIAL.len() + metadata.len() + 1);
        json.extend_from_slice(PARTIAL.as_bytes());
        json.extend_from_slice(metadata.as_bytes());
        json.push(b'}');
        json
    }

    fn row(&self, object: &Encoded) -> Value {
        let value = object.value();
        let cells: Vec<Value> = self.columns.iter().map(|c| c.cell(&value, self.now)).collect();
        let of_object = match self.include {
            Include::Nothing => Value::Null,
            Include::Metadata => {
                json!({"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": value["metadata"]})
            }
            Include::Object => serde_json::from_slice(&self.whole(object)).expect("we wrote these bytes ourselves"),
        };
        json!({"cells": cells, "object": of_object})
    }

    fn table(&self, metadata: Value, rows: Vec<Value>, with_head: bool) -> Vec<u8> {
        let definitions: Value =
            if with_head { self.columns.iter().map(columns::definition).collect() } else { Value::Null };
        let table = json!({"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": metadata,
                           "columnDefinitions": definitions, "rows": rows});
        table.to_string().into_bytes()
    }

    /// One object. `with_head`: whether a table says its columns.
    pub fn one(&self, object: &Encoded, with_head: bool) -> Bytes {
        match self.form {
            Form::Whole => self.whole(object),
            Form::Metadata => Bytes::from(self.partial(object)),
            Form::Table => {
                let metadata = json!({"resourceVersion": object.revision.to_string()});
                Bytes::from(self.table(metadata, vec![self.row(object)], with_head))
            }
        }
    }

    /// Whether only metadata is asked for.
    pub fn is_metadata(&self) -> bool {
        self.form == Form::Metadata
    }

    /// A collection. `metadata`: of the list; `spoil`: what a scripted fault makes of an item's bytes.
    pub fn list<'o>(
        &self,
        metadata: Map<String, Value>,
        objects: impl Iterator<Item = &'o Encoded>,
        spoil: impl Fn(&Encoded, &[u8]) -> Option<Vec<u8>>,
    ) -> Bytes {
        if self.form == Form::Table {
            return Bytes::from(self.table(metadata.into(), objects.map(|o| self.row(o)).collect(), true));
        }
        let (kind, api_version) = match self.form {
            Form::Metadata => ("PartialObjectMetadataList", "meta.k8s.io/v1"),
            _ => (self.list_kind.as_str(), self.api_version.as_str()),
        };
        let metadata = Value::Object(metadata);
        let mut json =
            format!("{{\"kind\":\"{kind}\",\"apiVersion\":\"{api_version}\",\"metadata\":{metadata},\"items\":[")
                .into_bytes();
        for (i, object) in objects.enumerate() {
            if i > 0 {
                json.push(b',');
            }
            let start = json.len();
            match self.form {
                Form::Metadata => json.extend_from_slice(&self.partial(object)),
                // Items of a built-in type carry neither kind nor apiVersion.
                _ if self.bare_items && self.events => {
                    let mut value = to_events_v1(object.value());
                    let fields = value.as_object_mut().expect("an object");
                    fields.remove("kind");
                    fields.remove("apiVersion");
                    json.extend_from_slice(value.to_string().as_bytes());
                }
                _ if self.bare_items => {
                    json.push(b'{');
                    json.extend_from_slice(&object.json[object.body_at..]);
                }
                _ => json.extend_from_slice(&self.whole(object)),
            }
            if let Some(spoilt) = spoil(object, &json[start..]) {
                json.truncate(start);
                json.extend_from_slice(&spoilt);
            }
        }
        json.extend_from_slice(b"]}");
        Bytes::from(json)
    }

    /// The object of a bookmark.
    pub fn bookmark(&self, revision: u64, initial_events_end: bool) -> Vec<u8> {
        let mut metadata = json!({"resourceVersion": revision.to_string(), "creationTimestamp": null});
        if initial_events_end {
            metadata["annotations"] = json!({"k8s.io/initial-events-end": "true"});
        }
        match self.form {
            Form::Table => self.table(metadata, Vec::new(), false),
            Form::Metadata => format!("{PARTIAL}{metadata}}}").into_bytes(),
            Form::Whole => format!("{}\"metadata\":{metadata}}}", self.head()).into_bytes(),
        }
    }
}

/// The core's Event in the words of `events.k8s.io/v1`.
pub(super) fn to_events_v1(mut event: Value) -> Value {
    event["apiVersion"] = "events.k8s.io/v1".into();
    let Some(map) = event.as_object_mut() else { return event };
    for (old, new) in RENAMED {
        if let Some(value) = map.remove(*old) {
            map.insert((*new).to_owned(), value);
        }
    }
    if !map.contains_key("eventTime") {
        map.insert("eventTime".into(), Value::Null);
    }
    event
}

/// And back.
pub(super) fn from_events_v1(mut event: Value) -> Value {
    let namespace = text_at(&event, "/metadata/namespace").to_owned();
    if let Some(map) = event.as_object_mut() {
        map.insert("apiVersion".into(), "v1".into());
        for (old, new) in RENAMED {
            if let Some(value) = map.remove(*new) {
                map.insert((*old).to_owned(), value);
            }
        }
        map.entry("involvedObject").or_insert_with(|| json!({"namespace": namespace}));
    }
    event
}

const RENAMED: &[(&str, &str)] = &[
    ("involvedObject", "regarding"),
    ("message", "note"),
    ("count", "deprecatedCount"),
    ("firstTimestamp", "deprecatedFirstTimestamp"),
    ("lastTimestamp", "deprecatedLastTimestamp"),
    ("source", "deprecatedSource"),
    ("reportingComponent", "reportingController"),
];
