//! Secrets: only their metadata, whatever the server sends.

use super::*;

fn refused(raw: &str) -> Object {
    let object = redact("secrets", raw);
    assert_eq!(object.stub, Some(Stub { reason: "full_object_refused", bytes: raw.len() }));
    assert_eq!(
        &object.json[..],
        format!(r#"{{"kind":"Secret","apiVersion":"v1","metadata":{{{IDENTITY}}}}}"#).as_bytes()
    );
    object
}

#[test]
fn metadata_is_taken_with_the_listed_annotations_and_nothing_of_managed_fields() {
    let raw = format!(
        concat!(
            r#"{{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{{{i},"labels":{{"a":"b"}},"#,
            r#""annotations":{{"kubectl.kubernetes.io/last-applied-configuration":"{c}","x":"{c}","example.com/kept":"yes"}},"#,
            r#""managedFields":[{{"manager":"m","operation":"Apply","time":"t","fieldsV1":{{"f:data":{{"f:{c}":{{}}}}}}}}]}}}}"#
        ),
        i = IDENTITY,
        c = CANARY
    );
    let object = redact("secrets", &raw);
    let expected = format!(
        concat!(
            r#"{{"kind":"Secret","apiVersion":"v1","metadata":{{{i},"labels":{{"a":"b"}},"#,
            r#""annotations":{{"example.com/kept":"yes"}}}}}}"#
        ),
        i = IDENTITY
    );
    assert_eq!(std::str::from_utf8(&object.json).expect("UTF-8"), expected);
    assert_eq!((object.stub, object.manager.map(|m| m.manager)), (None, Some("m".to_owned())));
}

#[test]
fn the_items_of_a_metadata_list_carry_no_kind_and_are_taken() {
    let raw = format!(r#"{{"metadata":{{{IDENTITY}}}}}"#);
    assert_eq!(redact("secrets", &raw).stub, None);
}

#[test]
fn a_full_secret_is_refused_and_only_its_identity_is_kept() {
    for member in [
        format!(r#""data":{{"k":"{CANARY}"}}"#),
        format!(r#""stringData":{{"k":"{CANARY}"}}"#),
        format!(r#""d\u0061ta":"{CANARY}""#),
        format!(r#""unknown":["{CANARY}"]"#),
        r#""data":null"#.to_owned(),
        r#""type":"Opaque""#.to_owned(),
        r#""immutable":true"#.to_owned(),
    ] {
        for kind in ["Secret", "PartialObjectMetadata"] {
            let rest = format!(r#""annotations":{{"example.com/kept":"{CANARY}"}},"labels":{{"l":"{CANARY}"}}"#);
            refused(&format!(r#"{{"kind":"{kind}","metadata":{{{IDENTITY},{rest}}},{member}}}"#));
            refused(&format!(r#"{{{member},"metadata":{{{IDENTITY},{rest}}},"kind":"{kind}"}}"#));
        }
        refused(&format!(r#"{{"metadata":{{{IDENTITY}}},{member}}}"#));
    }
}

#[test]
fn a_secret_that_calls_itself_one_is_refused_even_without_data() {
    refused(&format!(r#"{{"kind":"Secret","apiVersion":"v1","metadata":{{{IDENTITY}}}}}"#));
}

#[test]
fn what_a_refusal_says_of_a_secret_holds_nothing_of_it() {
    for raw in [
        format!(r#"{{"data":{{"k":"{CANARY}"}},"metadata":{{"name":"a"}}}}"#),
        format!(r#"{{"data":{{"k":"{CANARY}"}}"#),
        format!(r#"{{"data":{CANARY}}}"#),
        format!(r#"{{"kind":{{"x":"{CANARY}"}},"metadata":{{}}}}"#),
    ] {
        let error = redactor("secrets").redact(&raw).expect_err("refused");
        assert!(!format!("{error} {error:?}").contains(CANARY), "{error:?}");
    }
    let taken = redactor("secrets")
        .redact(&format!(r#"{{"metadata":{{{IDENTITY}}},"data":{{"k":"{CANARY}"}}}}"#))
        .expect("as a stub");
    assert!(!format!("{taken:?}").contains(CANARY));
}

#[test]
fn annotations_of_the_wrong_shape_never_pass_the_list() {
    for shape in [format!(r#""{CANARY}""#), format!(r#"["{CANARY}"]"#), format!(r#"{{"x":["{CANARY}"]}}"#)] {
        let raw =
            format!(r#"{{"metadata":{{{IDENTITY},"annotations":{shape},"managedFields":{shape},"newer":{shape}}}}}"#);
        assert!(!json("secrets", &raw).contains(CANARY), "{shape}");
    }
}
