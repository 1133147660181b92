use super::*;
use crate::domain::selector::{FieldSelector, LabelSelector};
use proptest::prelude::*;
use std::collections::BTreeSet;

fn filter(namespace: Option<&str>, labels: &str, fields: &str) -> Filter {
    Filter {
        kinds: Vec::new(),
        namespace: namespace.map(str::to_owned),
        labels: LabelSelector::parse(labels).unwrap(),
        fields: FieldSelector::parse(fields).unwrap(),
    }
}

fn names(objects: &[Object]) -> Vec<Name> {
    objects.iter().map(|o| o.at().clone()).collect()
}

/// All pages of a list, by their sizes.
fn paged(store: &Store, filter: &Filter, limit: usize) -> Vec<Vec<Name>> {
    let (mut pages, mut after) = (Vec::new(), None);
    loop {
        let page = store.list(&pods(), filter, after.as_ref(), limit);
        pages.push(names(&page.items));
        after = page.more_after;
        if after.is_none() {
            return pages;
        }
    }
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[ab]", "[xy]"), 0..3)
}

fn selector() -> impl Strategy<Value = String> {
    let requirement = prop_oneof![
        "[ab]=[xyz]",
        "[ab]!=[xyz]",
        "[ab] in \\([xyz],[xyz]\\)",
        "[ab] notin \\([xyz],[xyz]\\)",
        "[ab]",
        "![ab]"
    ];
    prop::collection::vec(requirement, 0..3).prop_map(|requirements| requirements.join(","))
}

proptest! {
    #[test]
    fn the_index_answers_as_looking_at_every_row_would(
        writes in prop::collection::vec((0u8..12, prop::option::of(labels())), 0..60),
        selectors in prop::collection::vec((selector(), prop::option::of("[abc]")), 1..6),
    ) {
        let (store, mut written) = (store(), Pods::default());
        for (number, labels) in writes {
            let records = match &labels {
                Some(labels) => {
                    let labels: Vec<_> = labels.iter().map(|(k, v)| (k.as_str(), v.as_str())).collect();
                    vec![written.put(number, &labels)]
                }
                None => written.delete(number),
            };
            store.apply(&records);
        }
        for (selector, namespace) in selectors {
            let filter = filter(namespace.as_deref(), &selector, "");
            let expected: Vec<Name> = written
                .live
                .iter()
                .filter(|(at, _)| namespace.as_deref().is_none_or(|n| *n == *at.namespace))
                .filter(|(_, (_, labels))| filter.labels.matches(|key| labels.get(key).map(String::as_str)))
                .map(|(at, _)| at.clone())
                .collect();
            let pages = paged(&store, &filter, 3);
            prop_assert!(pages.iter().all(|page| page.len() <= 3));
            prop_assert_eq!(pages.concat(), expected.clone(), "{}", selector);
            prop_assert_eq!(store.count(&pods(), &filter), expected.len(), "{}", selector);
        }
    }
}

#[test]
fn paging_visits_each_object_exactly_once() {
    let (store, mut written) = (store(), Pods::default());
    let log: Vec<_> = (0..101).map(|n| written.put(n, &[("app", if n < 50 { "web" } else { "db" })])).collect();
    store.apply(&log);
    for limit in [1, 2, 50, 51, 100, 101, 102, 5000] {
        for (filter, expected) in
            [(filter(None, "", ""), 101), (filter(Some("b"), "", ""), 50), (filter(None, "app=web", ""), 50)]
        {
            let pages = paged(&store, &filter, limit);
            let visited = pages.concat();
            assert_eq!(visited.len(), expected, "by {limit}");
            assert_eq!(visited.iter().collect::<BTreeSet<_>>().len(), expected, "by {limit}");
            assert!(visited.is_sorted());
            assert!(pages[..pages.len() - 1].iter().all(|page| page.len() == limit), "only the last page is short");
            assert!(!pages.last().unwrap().is_empty(), "a token is given only if more follows");
        }
    }
}

#[test]
fn a_page_goes_on_behind_a_name_that_is_gone() {
    let (store, mut written) = (store(), Pods::default());
    let log: Vec<_> = [0, 2, 4, 6].map(|n| written.put(n, &[])).into();
    store.apply(&log);
    let after = store.list(&pods(), &Filter::default(), None, 2).more_after;
    assert_eq!(after, Some(kit::name(2)));
    store.apply(&written.delete(2));
    store.apply(&[written.put(1, &[])]);
    let page = store.list(&pods(), &Filter::default(), after.as_ref(), 9);
    assert_eq!(names(&page.items), [kit::name(4), kit::name(6), kit::name(1)], "pod-1 is in namespace b");
}

#[test]
fn fields_are_selected_by_as_they_stand_in_the_bytes() {
    let store = store();
    let pod = |n: u8, node: &str, phase: &str| {
        let at = kit::name(n);
        let object = format!(
            r#"{{"metadata":{{"name":"{}"}},"spec":{{"nodeName":"{node}"}},"status":{{"phase":"{phase}"}}}}"#,
            at.name
        );
        InRecord { offset: i64::from(n), ..kit::change(1, "c", &at, &format!("u{n}"), 1, &object) }
    };
    store.apply(&[pod(0, "n1", "Running"), pod(1, "n2", "Running"), pod(2, "n1", "Pending"), pod(3, "", "Pending")]);
    for (fields, expected) in [
        ("spec.nodeName=n1", &[0, 2][..]),
        ("spec.nodeName=n1,status.phase=Running", &[0]),
        ("status.phase!=Running", &[2, 3]),
        ("spec.nodeName=", &[3]),
        ("spec.nodeName=n9", &[]),
        ("metadata.name=pod-1", &[1]),
        ("metadata.namespace=a", &[0, 2]),
    ] {
        let expected: Vec<_> = expected.iter().map(|n| kit::name(*n)).collect();
        assert_eq!(names(&store.list(&pods(), &filter(None, "", fields), None, 9).items), expected, "{fields}");
    }
}

#[test]
fn a_list_of_more_than_a_chunk_is_whole() {
    let (store, mut written) = (store(), Pods::default());
    let at = |n: usize| Name { namespace: "a".into(), name: format!("p{n:05}").as_str().into() };
    let log: Vec<_> = (0..3000)
        .map(|n| {
            let object = kit::object(&at(n), "u", 1, &[("even".to_owned(), (n % 2 == 0).to_string())].into());
            written.numbered(kit::change(1, "c", &at(n), "u", 1, &object))
        })
        .collect();
    store.apply(&log);
    for (selector, expected) in
        [("", 3000), ("even=true", 1500), ("even in (true,false)", 3000), ("even,even!=true", 1500)]
    {
        let filter = filter(None, selector, "");
        let listed = store.list(&pods(), &filter, None, 5000);
        assert_eq!((listed.items.len(), listed.more_after), (expected, None), "{selector}");
        assert_eq!(paged(&store, &filter, 700).concat().len(), expected, "{selector}");
        assert_eq!(store.count(&pods(), &filter), expected, "{selector}");
    }
}

#[test]
fn the_objects_of_an_owner_are_found_in_every_kind() {
    let store = store();
    let owned = |topic: &str, kind_id: &str, n: u8| {
        let at = kit::name(n);
        let object = r#"{"metadata":{"ownerReferences":[{"uid":"owner"},{"uid":"other"}]}}"#;
        let mut record = kit::change(1, "c", &at, "u", 1, object);
        record.key = Some(kit::key(&at).replace("/pods/", &format!("/{kind_id}/")).into());
        InRecord { topic: topic.into(), ..record }
    };
    store.apply(&[owned("k8s-pods", "pods", 1), owned("k8s-services", "services", 2)]);
    let found = store.owned_by("owner").iter().map(|o| (o.kind().id(), o.at().clone())).collect::<Vec<_>>();
    assert_eq!(found, [("pods".into(), kit::name(1)), ("services".into(), kit::name(2))]);
    assert!(store.owned_by("nobody").is_empty());
}
