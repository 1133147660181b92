//! Rendered objects, comparable whoever rendered them.

use serde_json::Value;
use std::collections::BTreeMap;

/// Every document of a YAML stream.
pub fn of_yaml(stream: &str) -> Vec<Value> {
    serde_saphyr::from_multiple(stream).expect("YAML documents")
}

/// By kind, namespace and name; without what each tool adds so that a changed setting starts the pod anew (kustomize: a
/// hash in the ConfigMap's name; Terraform: an annotation), and with settings as what they mean.
pub fn comparable(objects: Vec<Value>) -> BTreeMap<String, Value> {
    let map = objects.iter().find(|object| object["kind"] == "ConfigMap").expect("the settings");
    let named = map["metadata"]["name"].as_str().expect("a name").to_owned();
    let plain = match named.rsplit_once('-') {
        Some((name, hash)) if hash.len() == 10 && hash.contains(|c: char| c.is_ascii_digit()) => name.to_owned(),
        _ => named.clone(),
    };
    let mut comparable = BTreeMap::new();
    for mut object in objects {
        rename(&mut object, &named, &plain);
        if object["kind"] == "Deployment"
            && let Some(Value::Object(metadata)) = object.pointer_mut("/spec/template/metadata")
        {
            metadata.remove("annotations");
        }
        if let Some(site) = object.pointer_mut("/data/site.toml") {
            let meaning: toml::Table = site.as_str().expect("text").parse().expect("TOML");
            *site = serde_json::json!(meaning);
        }
        let text = |pointer: &str| object.pointer(pointer).and_then(Value::as_str).unwrap_or("-").to_owned();
        let id = [text("/kind"), text("/metadata/namespace"), text("/metadata/name")].join(" ");
        assert!(comparable.insert(id.clone(), object).is_none(), "{id} twice");
    }
    comparable
}

fn rename(value: &mut Value, from: &str, to: &str) {
    match value {
        Value::String(text) if text == from => to.clone_into(text),
        Value::Array(list) => list.iter_mut().for_each(|value| rename(value, from, to)),
        Value::Object(map) => map.values_mut().for_each(|value| rename(value, from, to)),
        _ => {}
    }
}

/// One difference at a time, so that it can be read.
#[track_caller]
pub fn assert_same(ours: &BTreeMap<String, Value>, theirs: &BTreeMap<String, Value>) {
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (id, object) in ours {
        assert!(*object == theirs[id], "{id} differs:\n{object:#}\n---\n{:#}", theirs[id]);
    }
}
