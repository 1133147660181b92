use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

fn labels(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    pairs.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect()
}

fn takes(selector: &str, pairs: &[(&str, &str)]) -> bool {
    let labels = labels(pairs);
    LabelSelector::parse(selector)
        .unwrap_or_else(|e| panic!("{selector:?} {e}"))
        .matches(|key| labels.get(key).map(String::as_str))
}

#[test]
fn every_operator_takes_what_the_api_server_takes() {
    let web = &[("app", "web"), ("tier", "2"), ("empty", "")][..];
    for (selector, expected) in [
        ("", true),
        ("  ", true),
        ("app=web", true),
        ("app==web", true),
        ("app = web , tier=2", true),
        ("app=db", false),
        ("app!=db", true),
        ("app!=web", false),
        ("other!=web", true),
        ("app in (db,web)", true),
        ("app in (db)", false),
        ("app notin (db)", true),
        ("app notin (web)", false),
        ("other notin (web)", true),
        ("app", true),
        ("other", false),
        ("!other", true),
        ("! app", false),
        ("tier>1", true),
        ("tier>2", false),
        ("tier < 3", true),
        ("app<3", false),
        ("other<3", false),
        ("empty=", true),
        ("empty=,app", true),
        ("other=", false),
        ("app in (,web)", true),
        ("empty in (web,)", true),
        ("in in (in)", false),
        ("notin", false),
        ("app=in", false),
        ("k8s.io/name!=x", true),
    ] {
        assert_eq!(takes(selector, web), expected, "{selector:?}");
    }
    assert!(takes("in in (in,notin)", &[("in", "notin")]));
}

#[test]
fn an_error_names_the_byte_and_what_was_expected() {
    for (selector, position, word) in [
        ("app=web,", 8, "label key"),
        (",app", 0, "label key"),
        ("app web", 4, "expected ="),
        ("app=web tier", 8, "','"),
        ("app in web", 7, "'('"),
        ("app in ()", 8, "at least one"),
        ("app in (a", 9, "','"),
        ("app in (a b)", 10, "','"),
        ("!app=web", 4, "!app"),
        ("app=!", 4, "a value"),
        ("app>x", 4, "integer"),
        ("-app", 0, "letter or digit"),
        ("a/b/c=d", 0, "letters"),
        ("A.B/c", 0, "lower case"),
        ("/c", 0, "prefix"),
        ("a/", 0, "no name"),
        ("app=w\u{e9}b", 4, "letters"),
        ("app===web", 5, "a value"),
    ] {
        let error = LabelSelector::parse(selector).expect_err(selector);
        assert_eq!(error.position, position, "{selector:?}: {error}");
        assert!(error.message.contains(word), "{selector:?}: {error}");
    }
    let long = format!("app={}", "x".repeat(64));
    assert_eq!(LabelSelector::parse(&long).expect_err("too long").position, 4);
}

#[test]
fn field_selectors_know_their_fields_and_escapes() {
    let fields = |name: &str| match name {
        "metadata.name" => Some("a,b=c\\"),
        "status.phase" => Some("Running"),
        _ => None,
    };
    for (selector, expected) in [
        ("", true),
        ("status.phase=Running", true),
        ("status.phase==Running, metadata.name=a\\,b\\=c\\\\", true),
        ("status.phase!=Running", false),
        ("spec.nodeName=", true),
        ("spec.nodeName!=n1", true),
        ("status.phase=Running,,", true),
    ] {
        let parsed = FieldSelector::parse(selector).unwrap_or_else(|e| panic!("{selector:?} {e}"));
        assert_eq!(parsed.matches(fields), expected, "{selector:?}");
    }
    for (selector, position, word) in [
        ("status.phase=a,spec.replicas=1", 15, "metadata.name"),
        ("status.phase", 0, "field=value"),
        ("status.phase=a=b", 13, "\\="),
        ("status.phase=a\\", 13, "backslash"),
        ("status.phase=a\\x", 13, "\\x"),
    ] {
        let error = FieldSelector::parse(selector).expect_err(selector);
        assert_eq!(error.position, position, "{selector:?}: {error}");
        assert!(error.message.contains(word), "{selector:?}: {error}");
    }
}

proptest! {
    #[test]
    fn no_text_makes_a_parser_panic(text in "[ a-c=!,()<>\\\\.in/\u{e9}-]{0,24}") {
        for error in [LabelSelector::parse(&text).err(), FieldSelector::parse(&text).err()].into_iter().flatten() {
            prop_assert!(error.position <= text.len());
        }
    }

    #[test]
    fn what_is_written_is_what_is_understood(
        key in "[a-z]{1,3}", values in prop::collection::btree_set("[a-z0-9]{1,3}", 1..4), value in "[a-z0-9]{1,3}",
    ) {
        let list = values.iter().cloned().collect::<Vec<_>>().join(", ");
        let taken = takes(&format!("{key} in ({list})"), &[(&key, &value)]);
        prop_assert_eq!(taken, values.contains(&value));
        prop_assert_eq!(takes(&format!("{key} notin ({list})"), &[(&key, &value)]), !taken);
    }
}
