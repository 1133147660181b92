//! ConfigMaps: keys and sizes, unless the namespace shows full values.

use super::*;

fn configmap(namespace: &str, rest: &str) -> String {
    format!(r#"{{"metadata":{{"name":"a","namespace":"{namespace}","uid":"u1","resourceVersion":"7"}},{rest}}}"#)
}

#[test]
fn values_become_sizes_and_notes_in_base64_still_decode() {
    use base64::Engine as _;
    let out =
        json("configmaps", &configmap("n", r#""data":{"k":"c4n4ry"},"binaryData":{"b":"YzRuNHJ5"},"immutable":true"#));
    assert!(!out.contains(CANARY) && !out.contains("YzRuNHJ5"), "{out}");
    let value: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(value["data"]["k"], "[redacted: 6 bytes]");
    assert_eq!(value["immutable"], true);
    let note = value["binaryData"]["b"].as_str().expect("text");
    let note = base64::engine::general_purpose::STANDARD.decode(note).expect("decodes");
    assert_eq!(note, b"[redacted: 6 bytes]");
}

#[test]
fn a_listed_namespace_shows_full_values_byte_for_byte() {
    let rest = r#""data":{"k":"\u003cshown\u003e"},"binaryData":{"b":"AA=="}"#;
    assert!(json("configmaps", &configmap("open", rest)).ends_with(&format!("{rest}}}")));
}

#[test]
fn values_in_front_of_the_metadata_are_never_shown() {
    let raw = r#"{"data":{"k":"c4n4ry"},"metadata":{"name":"a","namespace":"open","uid":"u1","resourceVersion":"7"}}"#;
    assert!(!json("configmaps", raw).contains(CANARY));
}

#[test]
fn a_copy_in_last_applied_goes_in_every_namespace() {
    for namespace in ["open", "n"] {
        let raw = format!(
            concat!(
                r#"{{"metadata":{{"annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{c}"}},"name":"a","#,
                r#""namespace":"{ns}","uid":"u1","resourceVersion":"7"}}}}"#
            ),
            c = CANARY,
            ns = namespace
        );
        assert!(!json("configmaps", &raw).contains(CANARY));
    }
}

#[test]
fn data_of_the_wrong_shape_is_replaced() {
    for data in [r#""c4n4ry""#, r#"["c4n4ry"]"#, r#"{"k":{"x":"c4n4ry"}}"#, r#"{"k":["c4n4ry"]}"#] {
        let out = json("configmaps", &configmap("n", &format!(r#""data":{data},"binaryData":{data}"#)));
        assert!(!out.contains(CANARY), "{out}");
    }
}
