//! Proves what leaves the cluster of an object and what does not (G6), kind by kind, and that nothing makes redaction panic.

use super::policy::ANNOTATIONS_DENIED;
use super::*;

mod configmaps;
mod policies;
mod properties;
mod secrets;
mod workloads;

/// Must never be seen behind a redactor.
const CANARY: &str = "c4n4ry";

fn policy() -> Arc<Policy> {
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    Arc::new(Policy {
        env_allow: set(&["LOG_LEVEL"]),
        annotations_deny: set(&["example.com/denied"]),
        secret_annotations_allow: set(&["example.com/kept"]),
        configmap_full_namespaces: set(&["open"]),
        ..Policy::default()
    })
}

fn redactor(plural: &str) -> Redactor {
    Redactor::new(Kind::builtin(plural).expect("built in"), policy())
}

fn redact(plural: &str, raw: &str) -> Object {
    let redacted = redactor(plural).redact(raw).expect("it can be redacted");
    serde_json::from_slice::<serde::de::IgnoredAny>(&redacted.get().json).expect("the result is JSON");
    redacted.get().clone()
}

fn json(plural: &str, raw: &str) -> String {
    String::from_utf8(redact(plural, raw).json.to_vec()).expect("UTF-8")
}

const IDENTITY: &str = r#""name":"a","namespace":"n","uid":"u1","resourceVersion":"7""#;

#[test]
fn an_object_keeps_its_bytes_and_loses_managed_fields_and_the_last_applied_family() {
    let denied: String =
        ANNOTATIONS_DENIED.iter().chain(&["example.com/denied"]).map(|k| format!(r#""{k}":"{CANARY}","#)).collect();
    let source = format!(
        concat!(
            r#"{{"apiVersion":"v1","kind":"Service","metadata":{{{i},"annotations":{{{d}"kept":"\u003cb\u003e"}},"#,
            r#""managedFields":[{{"manager":"helm","operation":"Update","time":"2026-01-01T00:00:00Z"}}],"labels":{{"x":"y"}}}},"#,
            r#""spec":{{"n":1.50e+10,"big":99999999999999999999,"t":"ä\u00e4"}},"status":{{ }}}}"#
        ),
        i = IDENTITY,
        d = denied
    );
    let expected = format!(
        concat!(
            r#"{{"kind":"Service","apiVersion":"v1","metadata":{{{i},"annotations":{{"kept":"\u003cb\u003e"}},"labels":{{"x":"y"}}}},"#,
            r#""spec":{{"n":1.50e+10,"big":99999999999999999999,"t":"ä\u00e4"}},"status":{{ }}}}"#
        ),
        i = IDENTITY
    );
    let object = redact("services", &source);
    assert_eq!(std::str::from_utf8(&object.json).expect("UTF-8"), expected);
    assert_eq!((&*object.namespace, &*object.name, &*object.uid, object.rv.as_str()), ("n", "a", "u1", "7"));
    assert_eq!(object.manager.expect("read before it went").manager, "helm");
    assert_eq!(object.stub, None);
}

#[test]
fn an_item_of_a_list_has_the_same_bytes_as_the_object_in_a_watch() {
    for plural in ["pods", "services", "deployments", "statefulsets", "configmaps", "events"] {
        let kind = Kind::builtin(plural).expect("built in");
        let body = format!(r#""metadata":{{{IDENTITY}}},"spec":{{"a":[1,2]}},"data":{{"k":"v"}}"#);
        let watched = format!(r#"{{"kind":"{}","apiVersion":"{}",{body}}}"#, kind.name(), kind.api_version());
        let elsewhere = format!(r#"{{{body},"apiVersion":"{}","kind":"{}"}}"#, kind.api_version(), kind.name());
        let listed = format!("{{{body}}}");
        assert_eq!(json(plural, &watched), json(plural, &listed));
        assert_eq!(json(plural, &elsewhere), json(plural, &listed));
        assert!(json(plural, &listed).starts_with(&watched[..watched.len() - body.len() - 1]));
    }
}

#[test]
fn an_object_without_identity_is_refused_and_the_refusal_quotes_nothing() {
    let cases = [
        (format!(r#"{{"metadata":{{"uid":"u","resourceVersion":"1"}},"x":"{CANARY}"}}"#), "metadata.name is missing"),
        (format!(r#"{{"metadata":{{"name":"{CANARY}","resourceVersion":"1"}}}}"#), "metadata.uid is missing"),
        (r#"{"metadata":{"name":"a","uid":"u"}}"#.to_owned(), "metadata.resourceVersion is missing"),
        (r#"{"metadata":{"name":5,"uid":"u","resourceVersion":"1"}}"#.to_owned(), "metadata.name is missing"),
        (format!(r#""{CANARY}""#), "metadata.name is missing"),
        ("null".to_owned(), "metadata.name is missing"),
        (format!(r#"{{"metadata":{{"name":"{CANARY}"#), "not a JSON object at byte 27"),
        (format!(r#"{{"spec":{CANARY}}}"#), "not a JSON object at byte 9"),
        (format!(r#"{{"metadata":{{{IDENTITY}}}}} {CANARY}"#), "not a JSON object at byte 76"),
        (String::new(), "not a JSON object at byte 0"),
    ];
    for (raw, expected) in cases {
        let error = redactor("pods").redact(&raw).expect_err("refused");
        assert_eq!(error.to_string(), expected, "{raw}");
        assert!(!format!("{error:?}").contains(CANARY));
    }
}

#[test]
fn another_kind_than_the_one_asked_for_is_refused_and_its_name_shortened() {
    let raw = format!(r#"{{"kind":"{}","metadata":{{{IDENTITY}}}}}"#, "Status".repeat(100));
    let error = redactor("pods").redact(&raw).expect_err("refused").to_string();
    assert!(error.starts_with("expected kind Pod, the server sent \"StatusStatus"), "{error}");
    assert!(error.len() < 120, "{error}");
    // Metadata alone is asked for of Secrets only.
    let partial = format!(r#"{{"kind":"PartialObjectMetadata","metadata":{{{IDENTITY}}}}}"#);
    assert!(matches!(redactor("pods").redact(&partial), Err(DecodeError::WrongKind { .. })));
}

#[test]
fn debug_output_of_an_object_shows_its_identity_and_its_size_only() {
    let object = redactor("pods").redact(&format!(r#"{{"metadata":{{{IDENTITY}}},"x":"{CANARY}"}}"#)).expect("fine");
    let size = object.get().json.len();
    assert_eq!(format!("{object:?}"), format!("Redacted(Object(n/a uid=u1 rv=7 {size} bytes))"));
}

#[test]
fn an_object_too_large_for_the_log_becomes_its_identity_its_size_and_its_manager() {
    let kind = Kind::builtin("pods").expect("built in");
    let raw = format!(
        r#"{{"metadata":{{{IDENTITY},"managedFields":[{{"manager":"m","time":"t"}}]}},"spec":{{"x":"{}"}}}}"#,
        "y".repeat(1000)
    );
    let object = redactor("pods").redact(&raw).expect("fine");
    let stub = too_large(&object, &kind);
    let stub = stub.get();
    assert_eq!(stub.stub, Some(Stub { reason: "too_large", bytes: object.get().json.len() }));
    assert_eq!(&stub.json[..], format!(r#"{{"kind":"Pod","apiVersion":"v1","metadata":{{{IDENTITY}}}}}"#).as_bytes());
    assert_eq!(stub.manager, object.get().manager);
    assert_eq!((&stub.uid, &stub.rv), (&object.get().uid, &object.get().rv));
}

#[test]
fn the_last_known_state_is_what_is_at_hand_else_the_identity_without_an_empty_namespace() {
    let kind = Kind::builtin("pods").expect("built in");
    let rv = Rv::new("7");
    let identity = Identity { namespace: "", name: "a", uid: "u1", rv: &rv };
    let at_hand = Bytes::from_static(b"{\"kept\":true}");
    assert_eq!(last_known(&kind, &identity, Some(at_hand.clone())).get().json, at_hand);
    assert_eq!(&last_known(&kind, &identity, None).get().json[..], {
        br#"{"kind":"Pod","apiVersion":"v1","metadata":{"name":"a","uid":"u1","resourceVersion":"7"}}"#
    });
}
