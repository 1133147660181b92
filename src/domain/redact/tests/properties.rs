//! Over arbitrary JSON: redaction never panics, gives JSON, settles after one pass, and lets no canary through.

use super::*;
use proptest::prelude::*;
use serde_json::{Map, Value};

const KINDS: [&str; 7] = ["pods", "services", "deployments", "statefulsets", "configmaps", "secrets", "events"];

/// Keys that rules know, so that arbitrary documents reach the rules, and some that they do not.
fn key() -> impl Strategy<Value = String> {
    const KNOWN: &[&str] = &[
        "metadata",
        "spec",
        "data",
        "stringData",
        "binaryData",
        "template",
        "containers",
        "initContainers",
        "env",
        "name",
        "value",
        "valueFrom",
        "annotations",
        "managedFields",
        "labels",
        "kind",
        "apiVersion",
        "namespace",
        "uid",
        "resourceVersion",
        "time",
        "manager",
        "operation",
    ];
    prop_oneof![8 => proptest::sample::select(KNOWN).prop_map(str::to_owned), 1 => ".{0,6}"]
}

fn json_of(leaf: impl Strategy<Value = Value> + 'static) -> impl Strategy<Value = Value> {
    leaf.prop_recursive(6, 48, 6, |inner| {
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
            proptest::collection::vec((key(), inner), 0..6).prop_map(|m| Value::Object(m.into_iter().collect())),
        ]
    })
}

fn any_json() -> impl Strategy<Value = Value> {
    json_of(prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i64>().prop_map(Value::from),
        any::<f64>().prop_map(Value::from),
        ".{0,12}".prop_map(Value::from),
        Just(Value::from("Secret")),
    ])
}

/// Any shape whose every string is the canary. Its keys are no canaries: the names of members are not what is hidden.
fn canaries() -> impl Strategy<Value = Value> {
    json_of(Just(Value::from(CANARY)))
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        other => Map::from_iter([("x".to_owned(), other)]),
    }
}

fn with_identity(value: Value) -> Map<String, Value> {
    let mut top = object(value);
    top.remove("kind");
    let mut metadata = top.remove("metadata").map(object).unwrap_or_default();
    for (key, value) in [("name", "a"), ("namespace", "n"), ("uid", "u"), ("resourceVersion", "7")] {
        metadata.insert(key.to_owned(), value.into());
    }
    top.insert("metadata".to_owned(), metadata.into());
    top
}

/// Replaces every string below `env` and in the denied places; the rest of the document is arbitrary and clean.
fn plant(top: &mut Map<String, Value>, canary: &Value, allowed_shapes: bool) {
    let metadata = object(top["metadata"].take());
    let mut metadata = metadata;
    let denied = ANNOTATIONS_DENIED.iter().map(|k| ((*k).to_owned(), canary.clone())).collect::<Map<_, _>>();
    metadata.insert("annotations".into(), denied.into());
    metadata.insert("managedFields".into(), canary.clone());
    top.insert("metadata".into(), metadata.into());
    let env = if allowed_shapes {
        serde_json::json!([{"name": "X", "value": canary}, {"value": canary}])
    } else {
        serde_json::json!(CANARY)
    };
    let containers = serde_json::json!([{"env": env, "image": "x"}]);
    let pod_spec =
        serde_json::json!({"containers": containers, "initContainers": containers, "ephemeralContainers": containers});
    let mut spec = pod_spec.as_object().expect("an object").clone();
    spec.insert("template".into(), serde_json::json!({"spec": pod_spec}));
    top.insert("spec".into(), spec.into());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn redaction_never_panics_whatever_the_text(text in ".{0,80}", json in any_json(), cut in 0_usize..400) {
        let whole = json.to_string();
        let torn: String = whole.chars().take(cut).collect();
        for plural in KINDS {
            let redactor = redactor(plural);
            for raw in [&text, &whole, &torn] {
                if let Ok(object) = redactor.redact(raw) {
                    prop_assert!(serde_json::from_slice::<Value>(&object.get().json).is_ok());
                }
            }
        }
    }

    #[test]
    fn redaction_settles_after_one_pass(json in any_json()) {
        let raw = Value::Object(with_identity(json)).to_string();
        for plural in KINDS {
            let redactor = redactor(plural);
            let Ok(once) = redactor.redact(&raw) else { continue };
            let once = String::from_utf8(once.get().json.to_vec()).expect("UTF-8");
            // A Secret is only ever taken as metadata: that is how a server would send what we wrote.
            let again = if plural == "secrets" { once.replacen("\"Secret\"", "\"PartialObjectMetadata\"", 1) } else { once.clone() };
            let twice = redactor.redact(&again).expect("its own output");
            let twice = String::from_utf8(twice.get().json.to_vec()).expect("UTF-8");
            prop_assert_eq!(twice, once);
        }
    }

    #[test]
    fn no_canary_passes_a_place_where_values_must_go(json in any_json(), canary in canaries(), shapes: bool) {
        let mut top = with_identity(json);
        plant(&mut top, &canary, shapes);
        let raw = Value::Object(top).to_string();
        for plural in ["pods", "deployments", "statefulsets"] {
            // A pod's `spec.template` is not a pod template and the other way round: only what the kind has is planted.
            let mut top: Map<String, Value> = serde_json::from_str(&raw).expect("JSON");
            let spec = top["spec"].as_object_mut().expect("an object");
            let template = spec.remove("template").expect("planted");
            if plural != "pods" {
                top.insert("spec".into(), serde_json::json!({"template": template}));
            }
            let object = redact(plural, &Value::Object(top).to_string());
            prop_assert!(!String::from_utf8_lossy(&object.json).contains(CANARY));
            prop_assert!(object.manager.is_none_or(|m| m.operation == CANARY || m.operation.is_empty()));
        }
    }

    #[test]
    fn no_canary_in_the_values_of_a_configmap_passes(json in any_json(), canary in canaries(), data in canaries()) {
        let mut top = with_identity(json);
        plant(&mut top, &canary, true);
        top.remove("spec");
        top.insert("data".into(), data.clone());
        top.insert("binaryData".into(), data);
        let object = redact("configmaps", &Value::Object(top).to_string());
        prop_assert!(!String::from_utf8_lossy(&object.json).contains(CANARY));
    }

    #[test]
    fn no_canary_of_a_secret_passes_from_anywhere_but_its_labels_and_owners(
        top in canaries(), metadata in canaries(), kind in prop::sample::select(vec!["", "Secret", "PartialObjectMetadata"]),
    ) {
        let mut top = with_identity(top);
        let mut all = object(metadata);
        for shown in ["labels", "ownerReferences", "finalizers", "generateName"] {
            all.remove(shown);
        }
        all.extend(object(top["metadata"].take()).into_iter().filter(|(k, _)| k != "labels"));
        top.insert("metadata".into(), all.into());
        if !kind.is_empty() {
            top.insert("kind".into(), kind.into());
        }
        let redacted = redactor("secrets").redact(&Value::Object(top).to_string());
        let shown = format!("{redacted:?}");
        prop_assert!(!shown.contains(CANARY));
        let object = redacted.expect("it has an identity");
        prop_assert!(!String::from_utf8_lossy(&object.get().json).contains(CANARY));
    }
}
