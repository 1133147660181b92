//! Lines and pages as servers write them, and as they do not.

use super::*;
use crate::domain::kind::Kind;
use crate::domain::redact::Policy;
use std::sync::Arc;

fn redactor(plural: &str) -> Redactor {
    Redactor::new(Kind::builtin(plural).expect("built in"), Arc::new(Policy::default()))
}

const OBJECT: &str = r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"7"},"x":[1.0]}"#;

fn read(line: &str) -> Result<Line, DecodeError> {
    read_line(&redactor("services"), line)
}

#[test]
fn the_order_of_type_and_object_does_not_matter() {
    let direct = redactor("services").redact(OBJECT).expect("fine");
    for line in [
        format!(r#"{{"type":"DELETED","object":{OBJECT}}}"#),
        format!(r#"{{"object":{OBJECT},"type":"DELETED"}}"#),
        format!(r#" {{ "new":{{}}, "ty\u0070e" : "DELETED" , "object" : {OBJECT} , "object":1, "type":"x" }} "#),
    ] {
        let Ok(Line::Event(Wire::Deleted, object)) = read(&line) else { panic!("{line}") };
        assert_eq!(object, direct);
    }
}

#[test]
fn every_type_of_event_is_told_apart() {
    for (text, wire) in [("ADDED", Wire::Added), ("MODIFIED", Wire::Modified), ("DELETED", Wire::Deleted)] {
        let line = format!(r#"{{"type":"{text}","object":{OBJECT}}}"#);
        assert!(matches!(read(&line), Ok(Line::Event(got, _)) if got == wire));
    }
    let bookmark =
        r#"{"type":"BOOKMARK","object":{"kind":"Pod","metadata":{"resourceVersion":"9","annotations":{"a":"b"}}}}"#;
    assert!(matches!(read(bookmark), Ok(Line::Bookmark { rv, initial_end: false }) if rv.as_str() == "9"));
    let error =
        r#"{"type":"ERROR","object":{"kind":"Status","code":410,"reason":"Expired","message":"too old","details":{}}}"#;
    assert!(matches!(read(error), Ok(Line::Error { code: 410, reason, too_large: false }) if reason == "Expired"));
    assert!(matches!(read(r#"{"type":"ERROR","object":{}}"#), Ok(Line::Error { code: 0, .. })));
}

#[test]
fn what_is_no_event_is_refused() {
    for line in [
        "",
        "null",
        "[]",
        "{}",
        r#"{"type":"ADDED"}"#,
        r#"{"object":{}}"#,
        r#"{"type":"OTHER","object":{}}"#,
        r#"{"type":7,"object":{}}"#,
        r#"{"type":"BOOKMARK","object":{"metadata":{"resourceVersion":""}}}"#,
        r#"{"type":"BOOKMARK","object":{}}"#,
        r#"{"type":"ADDED","object":null}"#,
    ] {
        assert!(read(line).is_err(), "{line}");
    }
    assert!(read(&format!(r#"{{"type":"ADDED","object":{OBJECT}}} x"#)).is_err());
}

#[test]
fn a_full_secret_is_a_stub_in_either_order() {
    let object = r#"{"data":{"k":"canary"},"metadata":{"name":"a","uid":"u","resourceVersion":"7"}}"#;
    for line in [format!(r#"{{"type":"ADDED","object":{object}}}"#), format!(r#"{{"object":{object},"type":"ADDED"}}"#)]
    {
        let read = read_line(&redactor("secrets"), &line).expect("as a stub");
        assert!(!format!("{read:?}").contains("canary"));
        let Line::Event(_, object) = read else { panic!("an event") };
        assert!(object.get().stub.is_some() && !String::from_utf8_lossy(&object.get().json).contains("canary"));
    }
}

#[test]
fn a_page_says_where_its_items_stand() {
    let body = r#" {"items":[ {"a":1} ,{"b":"}"}],"metadata":{"continue":"tok\u0065n","resourceVersion":"9","remainingItemCount":5}}"#;
    let page = read_page(body).expect("a page");
    assert_eq!((page.rv.as_str(), page.next.as_str()), ("9", "token"));
    let items: Vec<_> = page.items.iter().map(|place| &body[place.clone()]).collect();
    assert_eq!(items, [r#"{"a":1}"#, r#"{"b":"}"}"#]);
}

#[test]
fn a_page_without_a_version_is_refused_and_one_without_items_is_empty() {
    for body in ["", "{}", r#"{"metadata":{},"items":[]}"#, r#"{"metadata":{"resourceVersion":""}}"#] {
        assert!(read_page(body).is_err(), "{body}");
    }
    for rest in [r#"}"#, r#"},"items":null"#, r#"},"items":[]"#, r#","continue":null}"#, r#","continue":""}"#] {
        let page = read_page(&format!(r#"{{"metadata":{{"resourceVersion":"9"{rest}}}"#)).expect("a page");
        assert_eq!(page, Page { rv: Rv::new("9"), ..Page::default() });
    }
}
