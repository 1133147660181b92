//! Proves that a cut copies what stays byte for byte, replaces what has the wrong shape, and takes any shape without
//! failing. Rests on serde_json 1: raw values and ignored values are skipped without recursion, so depth is no limit.

use super::*;
use serde::de::DeserializeSeed as _;

struct Nobody;

impl Keys for Nobody {
    fn annotation(&self, key: &str) -> bool {
        key.starts_with("keep/")
    }

    fn env(&self, name: &str) -> bool {
        name == "ALLOWED"
    }

    fn full_values(&self, namespace: &str) -> bool {
        // Would also say yes to "no namespace": the cutter must not ask before it knows one.
        namespace.is_empty() || namespace == "open"
    }
}

fn cut(rule: Rule, source: &str) -> (String, Captured) {
    let mut cutter = Cutter::new(source.len(), &Nobody);
    let mut de = serde_json::Deserializer::from_str(source);
    Cut { cutter: &mut cutter, rule, at: NOWHERE }.deserialize(&mut de).expect("the source is JSON");
    de.end().expect("nothing behind it");
    (String::from_utf8(cutter.out).expect("UTF-8"), cutter.captured)
}

fn text(rule: Rule, source: &str) -> String {
    cut(rule, source).0
}

fn top(key: &str) -> Rule {
    match key {
        "metadata" => Rule::Metadata,
        "data" => Rule::Values(false),
        "binaryData" => Rule::Values(true),
        "gone" => Rule::Drop,
        "forbidden" => Rule::Forbidden,
        "env" => Rule::Array(&Rule::EnvVar),
        "kind" => Rule::CaptureDrop(Field::Kind),
        "secret" => Rule::Redact,
        _ => Rule::Keep,
    }
}

#[test]
fn what_stays_is_copied_byte_for_byte_with_its_numbers_escapes_spaces_and_order() {
    let kept = concat!(
        r#""z":1.0e+400,"a":-0.0,"big":123456789012345678901234567890,"#,
        r#""esc":"\u003ca\u003e \ud83d\ude00 \/ \ud800","uni":"ä→😀","#,
        r#""sp":{ "b" : [ 1 ,2 ,	null ] },"dup":1,"dup":2,"nul":null"#
    );
    assert_eq!(text(Rule::Object(top), &format!("{{{kept}}}")), format!("{{{kept}}}"));
    let cut_from_the_middle = format!("{{\"gone\":1,{kept},\"gone\":{{}}}}");
    assert_eq!(text(Rule::Object(top), &cut_from_the_middle), format!("{{{kept}}}"));
}

#[test]
fn an_escaped_key_is_the_key_it_stands_for() {
    assert_eq!(text(Rule::Object(top), r#"{"\u0067one":1,"s\u0065cret":"x","d\u0061ta":{"k":"v"}}"#), {
        r#"{"secret":"[redacted]","data":{"k":"[redacted: 1 bytes]"}}"#
    });
    assert_eq!(text(Rule::Array(&Rule::EnvVar), r#"[{"n\u0061me":"X","v\u0061lue":"canary"}]"#), {
        r#"[{"name":"X","value":"[redacted]"}]"#
    });
    assert_eq!(text(Rule::Annotations, r#"{"drop\/me":"x","ke\u0065p\/\"it\n":1}"#), r#"{"keep/\"it\n":1}"#);
}

#[test]
fn a_key_given_twice_is_cut_twice() {
    assert_eq!(text(Rule::Object(top), r#"{"gone":1,"secret":"a","gone":2,"secret":"b","x":1,"x":2}"#), {
        r#"{"secret":"[redacted]","secret":"[redacted]","x":1,"x":2}"#
    });
}

#[test]
fn null_stays_null_wherever_a_value_would_be_replaced() {
    assert_eq!(text(Rule::Object(top), r#"{"secret":null,"data":null,"env":null,"metadata":null}"#), {
        r#"{"secret":null,"data":null,"env":null,"metadata":null}"#
    });
    assert_eq!(text(Rule::Values(false), r#"{"a":null}"#), r#"{"a":null}"#);
    assert_eq!(text(Rule::Object(top), r#"{"kind":null,"gone":null}"#), "{}");
}

#[test]
fn a_value_of_another_shape_than_expected_is_replaced_and_never_passed_on() {
    let shapes = [r#""canary""#, "4711.5", "-4711", "4711", "true", r#"["canary"]"#, r#"{"canary":"canary"}"#];
    for shape in shapes {
        for rule in [
            Rule::Object(|_| Rule::Redact),
            Rule::Array(&Rule::Redact),
            Rule::Array(&Rule::EnvVar),
            Rule::EnvVar,
            Rule::Annotations,
            Rule::Values(false),
            Rule::Values(true),
            Rule::MetadataOnly,
            Rule::Redact,
            Rule::Size,
            Rule::SizeBase64,
        ] {
            let out = text(rule, shape);
            assert!(!out.contains("4711") && !out.contains("\"canary\"]") && !out.contains("true"), "{out}");
            // Names of members may stay (they are names, not values); what they hold may not.
            assert!(!out.replace("\"canary\":", "").contains("canary"), "{out}");
            serde_json::from_str::<serde::de::IgnoredAny>(&out).expect("still JSON");
        }
    }
    for shape in shapes.iter().filter(|s| !s.starts_with('"')) {
        assert_eq!(text(Rule::Capture(Field::Name), shape), REDACTED);
        assert_eq!(cut(Rule::CaptureDrop(Field::Kind), shape), (String::new(), Captured::default()));
    }
}

#[test]
fn depth_is_no_limit_neither_kept_nor_dropped_nor_replaced() {
    let deep = format!("{}1{}", "[".repeat(20_000), "]".repeat(20_000));
    assert_eq!(text(Rule::Object(top), &format!("{{\"gone\":{deep},\"x\":{deep}}}")), format!("{{\"x\":{deep}}}"));
    assert_eq!(text(Rule::Object(top), &format!("{{\"secret\":{deep}}}")), r#"{"secret":"[redacted]"}"#);
    assert_eq!(
        text(Rule::Object(top), &format!("{{\"metadata\":{{\"managedFields\":{deep}}}}}")),
        r#"{"metadata":{}}"#
    );
}

#[test]
fn identity_is_remembered_as_it_reads_not_as_it_is_escaped() {
    let (out, captured) = cut(
        Rule::Object(top),
        r#"{"kind":"Pod","metadata":{"name":"a\u002db","namespace":"n","uid":"u\"1","resourceVersion":"12"}}"#,
    );
    assert_eq!(out, r#"{"metadata":{"name":"a-b","namespace":"n","uid":"u\"1","resourceVersion":"12"}}"#);
    assert_eq!((&*captured.name, &*captured.namespace, &*captured.uid), ("a-b", "n", "u\"1"));
    assert_eq!((&*captured.rv, &*captured.kind, captured.forbidden), ("12", "Pod", false));
}

#[test]
fn the_newest_manager_is_read_and_the_whole_of_managed_fields_goes() {
    let (out, captured) = cut(
        Rule::Metadata,
        r#"{"managedFields":[{"manager":"old","operation":"Apply","time":"2026-01-01T00:00:00Z","fieldsV1":{"f:x":{}}},
            {"manager":"n\u0065w","operation":"Update","time":"2026-01-03T00:00:00Z"},
            {"manager":"mid","operation":"Update","time":"2026-01-02T00:00:00Z"}],"name":"a"}"#,
    );
    assert_eq!(out, r#"{"name":"a"}"#);
    let newest = captured.manager.expect("one was there");
    assert_eq!((&*newest.manager, &*newest.operation, &*newest.time), ("new", "Update", "2026-01-03T00:00:00Z"));
    let same_second = r#"{"managedFields":[{"manager":"a","time":"t"},{"manager":"b","time":"t"}]}"#;
    assert_eq!(cut(Rule::Metadata, same_second).1.manager.expect("there").manager, "b");
}

#[test]
fn managed_fields_of_any_shape_never_make_an_object_unreadable() {
    for shape in [
        "null",
        "\"x\"",
        "1",
        "{\"a\":[{}]}",
        "[]",
        "[null]",
        "[1,-1,1.5,true,\"x\",[[]],{}]",
        r#"[{"manager":null,"operation":1,"time":{"a":[1]}}]"#,
        r#"[{"manager":["a"],"manager":true,"time":-1,"operation":1.5}]"#,
    ] {
        let source = format!(r#"{{"managedFields":{shape},"name":"a"}}"#);
        assert_eq!(text(Rule::Metadata, &source), r#"{"name":"a"}"#, "{shape}");
    }
    let good_behind_bad = r#"{"managedFields":[{"time":null},7,{"manager":"m","operation":"Apply","time":"t"}]}"#;
    assert_eq!(cut(Rule::Metadata, good_behind_bad).1.manager.expect("there").manager, "m");
}

#[test]
fn metadata_that_is_all_that_may_be_shown_is_cut_by_a_list_of_what_stays() {
    let kept = concat!(
        r#""name":"a","generateName":"a-","namespace":"n","uid":"u","resourceVersion":"1","generation":3,"#,
        r#""creationTimestamp":"t","deletionTimestamp":"t","deletionGracePeriodSeconds":30,"#,
        r#""labels":{"a":"b"},"ownerReferences":[{"kind":"X"}],"finalizers":["f"]"#
    );
    let source =
        format!(r#"{{{kept},"annotations":{{"x":"canary"}},"managedFields":[],"data":"canary","newer":{{}}}}"#);
    assert_eq!(text(Rule::MetadataOnly, &source), format!("{{{kept},\"annotations\":{{}}}}"));
    assert_eq!(text(Rule::Metadata, r#"{"name":"a","newer":1}"#), r#"{"name":"a","newer":1}"#);
}

#[test]
fn a_literal_environment_value_stays_only_behind_an_allowed_name() {
    let env = |e: &str| text(Rule::EnvVar, e);
    assert_eq!(env(r#"{"name":"ALLOWED","value":"1 \u003c 2"}"#), r#"{"name":"ALLOWED","value":"1 \u003c 2"}"#);
    assert_eq!(env(r#"{"name":"OTHER","value":"canary"}"#), r#"{"name":"OTHER","value":"[redacted]"}"#);
    assert_eq!(env(r#"{"value":"canary","name":"ALLOWED"}"#), r#"{"value":"[redacted]","name":"ALLOWED"}"#);
    let from = r#"{"name":"OTHER","valueFrom":{"secretKeyRef":{"name":"s","key":"k"}}}"#;
    assert_eq!(env(from), from);
    assert_eq!(env(r#"{"name":"OTHER","value":null}"#), r#"{"name":"OTHER","value":null}"#);
    assert_eq!(env(r#"{"name":"OTHER","value":{"a":"canary"}}"#), r#"{"name":"OTHER","value":"[redacted]"}"#);
    assert_eq!(env(r#"{"name":"OTHER","literal":"canary"}"#), r#"{"name":"OTHER","literal":"[redacted]"}"#);
    assert_eq!(env(r#"{"name":{"x":"canary"},"value":"canary"}"#), r#"{"name":"[redacted]","value":"[redacted]"}"#);
    assert_eq!(env(r#"{"name":"ALLOWED","name":"OTHER","value":"canary"}"#), {
        r#"{"name":"ALLOWED","name":"OTHER","value":"[redacted]"}"#
    });
    assert_eq!(env("{}"), "{}");
}

#[test]
fn sizes_stand_for_values_and_those_of_base64_are_of_what_it_decodes_to() {
    use base64::Engine as _;
    let engine = base64::engine::general_purpose::STANDARD;
    assert_eq!(text(Rule::Values(false), r#"{"a":"b\u00e4","e":""}"#), {
        r#"{"a":"[redacted: 3 bytes]","e":"[redacted: 0 bytes]"}"#
    });
    for length in 0..9 {
        let source = serde_json::json!({"k": engine.encode(vec![7_u8; length])}).to_string();
        let out: serde_json::Value = serde_json::from_str(&text(Rule::Values(true), &source)).expect("JSON");
        let note = engine.decode(out["k"].as_str().expect("text")).expect("a typed reader still decodes it");
        assert_eq!(String::from_utf8(note).expect("UTF-8"), format!("[redacted: {length} bytes]"));
    }
}

#[test]
fn full_values_are_kept_only_once_an_open_namespace_is_known() {
    let open = r#"{"metadata":{"namespace":"open"},"data":{"a":"shown"},"binaryData":{"b":"AAAA"}}"#;
    assert_eq!(text(Rule::Object(top), open), open);
    for closed in [
        r#"{"metadata":{"namespace":"other"},"data":{"a":"canary"}}"#,
        r#"{"data":{"a":"canary"},"metadata":{"namespace":"open"}}"#,
        r#"{"metadata":{"namespace":["open"]},"data":{"a":"canary"}}"#,
        r#"{"data":{"a":"canary"}}"#,
    ] {
        assert!(!text(Rule::Object(top), closed).contains("canary"), "{closed}");
    }
}

#[test]
fn a_forbidden_member_is_noted_whatever_it_holds() {
    for value in ["null", "{}", "\"canary\"", "[1]"] {
        let (out, captured) = cut(Rule::Object(top), &format!(r#"{{"forbidden":{value},"x":1}}"#));
        assert_eq!((&*out, captured.forbidden), (r#"{"x":1}"#, true));
    }
}
