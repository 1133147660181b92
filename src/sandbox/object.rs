//! An object, serialised once: lists, watches and the journal share its bytes.

use super::resource::Resource;
use crate::domain::selector::{FIELDS, FieldSelector, LabelSelector};
use bytes::Bytes;
use serde_json::Value;
use std::sync::Arc;

/// One version of an object as bytes, with what selectors ask. Kept for history, where a tree would cost five times as much.
#[derive(Debug)]
pub struct Encoded {
    /// Its resourceVersion.
    pub revision: u64,
    /// Its uid.
    pub uid: Box<str>,
    /// `{"kind":..,"apiVersion":..,"metadata":..,..}`
    pub json: Bytes,
    /// Where `"metadata"` begins in `json`: items of a list leave out what stands before it.
    pub body_at: usize,
    labels: Box<[(Box<str>, Box<str>)]>,
    fields: Box<[(&'static str, Box<str>)]>,
    /// uids of its owners.
    pub(super) owners: Box<[Box<str>]>,
}

impl Encoded {
    /// Whether both selectors take it.
    pub fn matches(&self, labels: &LabelSelector, fields: &FieldSelector) -> bool {
        let label = |key: &str| self.labels.iter().find(|(k, _)| **k == *key).map(|(_, v)| &**v);
        let field = |path: &str| self.fields.iter().find(|(k, _)| *k == path).map(|(_, v)| &**v);
        (labels.is_empty() || labels.matches(label)) && (fields.is_empty() || fields.matches(field))
    }

    /// As a tree.
    pub fn value(&self) -> Value {
        serde_json::from_slice(&self.json).expect("we wrote these bytes ourselves")
    }
}

/// The current version of an object: the tree and the bytes.
#[derive(Debug)]
pub struct Object {
    value: Value,
    encoded: Arc<Encoded>,
}

impl Object {
    /// Takes the tree of an object whose metadata is complete.
    pub(super) fn new(value: Value) -> Self {
        let encoded = Arc::new(encode(&value));
        Self { value, encoded }
    }

    /// The tree.
    pub fn value(&self) -> &Value {
        &self.value
    }

    /// The bytes.
    pub fn encoded(&self) -> &Arc<Encoded> {
        &self.encoded
    }

    /// Its name.
    pub fn name(&self) -> &str {
        self.text("/metadata/name")
    }

    /// Its namespace; empty where it has none.
    pub fn namespace(&self) -> &str {
        self.text("/metadata/namespace")
    }

    /// Its uid.
    pub fn uid(&self) -> &str {
        &self.encoded.uid
    }

    /// Its resourceVersion.
    pub fn revision(&self) -> u64 {
        self.encoded.revision
    }

    /// A text in it by JSON pointer (`/spec/nodeName`); empty where it is not there or no text.
    pub fn text(&self, pointer: &str) -> &str {
        text_at(&self.value, pointer)
    }

    /// A number in it by JSON pointer.
    pub fn number(&self, pointer: &str) -> Option<i64> {
        self.value.pointer(pointer).and_then(Value::as_i64)
    }

    /// One of its labels.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.value.get("metadata")?.get("labels")?.get(key)?.as_str()
    }

    /// Whether its deletion has begun.
    pub fn is_terminating(&self) -> bool {
        self.value.pointer("/metadata/deletionTimestamp").is_some()
    }
}

/// A text by JSON pointer; empty where it is not there or no text.
pub fn text_at<'v>(value: &'v Value, pointer: &str) -> &'v str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or_default()
}

/// How the store names an object within its resource: `namespace/name`, or `name` where there are no namespaces. The
/// order of these is the order of lists, as in etcd.
pub fn key_of(namespace: &str, name: &str) -> String {
    if namespace.is_empty() { name.to_owned() } else { format!("{namespace}/{name}") }
}

fn encode(value: &Value) -> Encoded {
    let mut json = Vec::with_capacity(1024);
    let mut put = |key: &str, value: &Value| {
        json.push(if json.is_empty() { b'{' } else { b',' });
        serde_json::to_writer(&mut json, key).expect("a text into memory");
        json.push(b':');
        serde_json::to_writer(&mut json, value).expect("a tree of JSON into memory");
        json.len()
    };
    // The order in which a real API server writes: people read it, and lists leave the first two out.
    put("kind", &value["kind"]);
    let body_at = put("apiVersion", &value["apiVersion"]) + 1;
    put("metadata", &value["metadata"]);
    let content = value.as_object().into_iter().flatten();
    for (key, value) in content.filter(|(k, _)| !matches!(k.as_str(), "kind" | "apiVersion" | "metadata" | "status")) {
        put(key, value);
    }
    if let Some(status) = value.get("status") {
        put("status", status);
    }
    json.push(b'}');
    let text = |v: &Value| v.as_str().map(Box::from);
    let labels = value.pointer("/metadata/labels").and_then(Value::as_object).into_iter().flatten();
    let owners = value.pointer("/metadata/ownerReferences").and_then(Value::as_array).into_iter().flatten();
    Encoded {
        revision: text_at(value, "/metadata/resourceVersion").parse().unwrap_or_default(),
        uid: text_at(value, "/metadata/uid").into(),
        json: Bytes::from(json),
        body_at,
        labels: labels.filter_map(|(k, v)| Some((k.as_str().into(), text(v)?))).collect(),
        fields: FIELDS.iter().filter_map(|field| Some((*field, field_of(value, field)?))).collect(),
        owners: owners.filter_map(|o| text(o.get("uid")?)).collect(),
    }
}

fn field_of(value: &Value, path: &str) -> Option<Box<str>> {
    let found = path.split('.').try_fold(value, |at, step| at.get(step))?;
    found.as_str().map(Box::from)
}

/// Kind and apiVersion are the resource's, whatever the writer says.
pub(super) fn set_type(value: &mut Value, resource: &Resource) {
    value["kind"] = resource.kind.as_str().into();
    value["apiVersion"] = resource.api_version(resource.storage_version()).into();
}
