//! Over answers of a real API server (Kubernetes 1.37), cut down: with a definition of two versions, and an APIService behind
//! which there is nothing.

use super::*;
use proptest::prelude::*;
use serde_json::{Value, json};

const CORE: &[u8] = include_bytes!("recorded/api-aggregated.json");
const GROUPS: &[u8] = include_bytes!("recorded/apis-aggregated.json");
const LEGACY_CORE: &[u8] = include_bytes!("recorded/api-versions.json");
const LEGACY_GROUPS: &[u8] = include_bytes!("recorded/apis-groups.json");
const LEGACY_V1: &[u8] = include_bytes!("recorded/api-v1-resources.json");
const LEGACY_CERTIFICATES: &[u8] = include_bytes!("recorded/cert-manager-v1-resources.json");

fn aggregated(body: &[u8]) -> Vec<Group> {
    match read_answer(body) {
        Ok(Answer::Aggregated(groups)) => groups,
        other => panic!("{other:?}"),
    }
}

fn legacy(body: &[u8]) -> Vec<GroupVersions> {
    match read_answer(body) {
        Ok(Answer::Legacy(groups)) => groups,
        other => panic!("{other:?}"),
    }
}

fn real() -> Discovery {
    Discovery::of([aggregated(CORE), aggregated(GROUPS)].concat())
}

fn patterns(typed: &[&str]) -> Vec<Pattern> {
    typed.iter().map(|text| Pattern::parse(text).expect("a pattern")).collect()
}

fn resolve(typed: &[&str]) -> Resolved {
    real().resolve(&patterns(typed), |_| true, 100, "")
}

fn ids(resolved: &Resolved) -> Vec<String> {
    resolved.kinds.iter().map(|served| served.kind.id()).collect()
}

fn said(resolved: &Resolved) -> Vec<String> {
    resolved.missing.iter().map(Missing::to_string).collect()
}

/// A group with one resource in each of these versions.
fn group(name: &str, versions: &[(&str, &str, &[&str])]) -> Group {
    let version = |(version, plural, verbs): &(&str, &str, &[&str])| {
        let resource = Resource {
            plural: (*plural).to_owned(),
            singular: String::new(),
            kind: "Thing".to_owned(),
            short_names: Vec::new(),
            namespaced: true,
            verbs: verbs.iter().map(|verb| (*verb).to_owned()).collect(),
        };
        Version { name: (*version).to_owned(), resources: Ok(vec![resource]) }
    };
    Group { name: name.to_owned(), versions: versions.iter().map(version).collect() }
}

#[test]
fn an_aggregated_answer_gives_one_preferred_version_of_each_kind() {
    let found = real();
    let certificates = Kind::custom("cert-manager.io", "v1alpha2", "certificates", "Certificate", true);
    let Presence::Served(served) = found.presence(&certificates) else { panic!("served") };
    assert_eq!((served.kind.version(), served.kind.name(), served.kind.namespaced()), ("v1", "Certificate", true));
    assert_eq!(served.kind.short_names().collect::<Vec<_>>(), ["cert", "certs"]);
    assert!(served.can_be_watched());
    let nodes = Kind::custom("", "v1", "nodes", "Node", false);
    assert!(matches!(found.presence(&nodes), Presence::Served(served) if !served.kind.namespaced()));
    let autoscaler = Kind::custom("autoscaling", "v2", "horizontalpodautoscalers", "HorizontalPodAutoscaler", true);
    assert!(matches!(found.presence(&autoscaler), Presence::Served(served) if served.kind.version() == "v2"));
}

#[test]
fn the_beta_of_the_aggregated_answer_reads_alike() {
    let beta = String::from_utf8_lossy(GROUPS).replace("apidiscovery.k8s.io/v2", "apidiscovery.k8s.io/v2beta1");
    assert_eq!(aggregated(beta.as_bytes()), aggregated(GROUPS));
}

#[test]
fn a_group_whose_api_is_down_is_unknown_and_never_empty() {
    let found = real();
    assert_eq!(found.unknown().keys().collect::<Vec<_>>(), ["away.example.com"]);
    let away = Kind::custom("away.example.com", "v1", "things", "Thing", true);
    assert!(matches!(found.presence(&away), Presence::Unknown(why) if why.contains("stale")));
    let gone = Kind::custom("cert-manager.io", "v1", "issuers", "Issuer", true);
    assert_eq!(found.presence(&gone), Presence::Gone);
    for typed in ["things.away.example.com", "*.away.example.com", "*"] {
        let missing = resolve(&[typed]).missing;
        assert!(missing.iter().any(|missing| missing.unknown), "{typed}: {missing:?}");
    }
    let half = Group {
        name: "half.io".into(),
        versions: vec![
            Version { name: "v1".into(), resources: Err("HTTP 503".into()) },
            group("half.io", &[("v1beta1", "things", &["list", "watch"])]).versions.remove(0),
        ],
    };
    let half = Discovery::of(vec![half]);
    let others = Kind::custom("half.io", "v1", "others", "Other", true);
    assert_eq!(half.presence(&others), Presence::Unknown("HTTP 503"));
    assert_eq!(half.served().count(), 1, "what the other version says counts");
}

#[test]
fn a_document_of_a_group_that_cannot_be_read_makes_that_group_unknown() {
    let mut document: Value = serde_json::from_slice(GROUPS).unwrap();
    for item in document["items"].as_array_mut().unwrap() {
        let name = item["metadata"]["name"].as_str().unwrap().to_owned();
        match name.as_str() {
            "apps" => item["versions"][0]["resources"][0]["resource"] = "../../api/v1/secrets".into(),
            "autoscaling" => item["versions"][0]["resources"] = json!("none"),
            "cert-manager.io" => item["metadata"]["name"] = "Bad/Name".into(),
            "events.k8s.io" => item["versions"] = Value::Null,
            _ => {}
        }
    }
    let found = Discovery::of(aggregated(document.to_string().as_bytes()));
    let unknown: Vec<_> = found.unknown().keys().map(String::as_str).collect();
    assert_eq!(unknown, ["apps", "autoscaling", "away.example.com", "events.k8s.io", "~"]);
    assert!(found.served().all(|served| !served.kind.path(None).contains("..")));
}

#[test]
fn the_lists_that_came_before_say_the_same() {
    assert_eq!(legacy(LEGACY_CORE), [GroupVersions { name: String::new(), versions: vec!["v1".into()] }]);
    let groups = legacy(LEGACY_GROUPS);
    let certificates = groups.iter().find(|group| group.name == "cert-manager.io").unwrap();
    assert_eq!(certificates.versions, ["v1", "v1alpha2"], "the preferred first");
    let v1 = read_resources(LEGACY_V1).unwrap();
    assert!(v1.iter().all(|resource| !resource.plural.contains('/')), "no subresource");
    let one = |name: &str, body| Group {
        name: name.into(),
        versions: vec![Version { name: "v1".into(), resources: read_resources(body) }],
    };
    let legacy = Discovery::of(vec![one("", LEGACY_V1), one("cert-manager.io", LEGACY_CERTIFICATES)]);
    let real = real();
    for served in legacy.served() {
        assert_eq!(real.presence(&served.kind), Presence::Served(served));
    }
    assert!(legacy.served().count() >= 4);
}

#[test]
fn one_storage_is_read_once() {
    assert!(real().served().all(|served| served.kind.group() != "events.k8s.io"));
    assert_eq!(said(&resolve(&["events.events.k8s.io"])), ["events.events.k8s.io: not served; did you mean events?"]);
    let both = ["list", "watch"];
    let old = Discovery::of(vec![
        group("extensions", &[("v1beta1", "ingresses", &both)]),
        group("networking.k8s.io", &[("v1", "ingresses", &both)]),
    ]);
    assert_eq!(old.served().map(|s| s.kind.id()).collect::<Vec<_>>(), ["ingresses.networking.k8s.io"]);
    let older = Discovery::of(vec![group("extensions", &[("v1beta1", "ingresses", &both)])]);
    assert_eq!(older.served().count(), 1, "where nobody else serves them");
}

#[test]
fn a_version_that_cannot_be_watched_goes_behind_one_that_can() {
    let found = Discovery::of(vec![group("a.io", &[("v2", "things", &["get"]), ("v1", "things", &["list", "watch"])])]);
    assert_eq!(found.served().map(|s| s.kind.version().to_owned()).collect::<Vec<_>>(), ["v1"]);
}

#[test]
fn patterns_mean_what_is_served_with_list_and_watch() {
    assert_eq!(ids(&resolve(&["certificates.cert-manager.io"])), ["certificates.cert-manager.io"]);
    assert_eq!(ids(&resolve(&["*.cert-manager.io"])), ["certificates.cert-manager.io"]);
    let apps = ["controllerrevisions.apps", "daemonsets.apps", "deployments", "replicasets.apps", "statefulsets"];
    assert_eq!(ids(&resolve(&["*.apps"])), apps);
    let core = ids(&resolve(&["*.core"]));
    assert!(core.contains(&"nodes".to_owned()) && core.contains(&"events".to_owned()), "{core:?}");
    assert!(!core.contains(&"componentstatuses".to_owned()), "it cannot be watched");
    let all = ids(&resolve(&["*"]));
    assert!(all.len() > core.len() + apps.len() && all.contains(&"namespaces".to_owned()), "{all:?}");
}

#[test]
fn what_is_not_served_is_named_with_what_was_meant() {
    for (typed, text) in [
        ("podz", "podz: not served; did you mean pods?"),
        ("pod", "pod: not served; did you mean pods?"),
        ("deploy", "deploy: not served; did you mean deployments?"),
        ("certificates", "certificates: not served; did you mean certificates.cert-manager.io?"),
        ("cert", "cert: not served; did you mean certificates.cert-manager.io?"),
        (
            "certificate.cert-manager.io",
            "certificate.cert-manager.io: not served; did you mean certificates.cert-manager.io?",
        ),
        (
            "certificates.cert-manger.io",
            "certificates.cert-manger.io: not served; did you mean certificates.cert-manager.io?",
        ),
        ("namespace", "namespace: not served; did you mean namespaces.core?"),
        ("xylophones.example.com", "xylophones.example.com: not served"),
        (
            "*.cert-manger.io",
            "*.cert-manger.io: no kind of it is served with list and watch; did you mean *.cert-manager.io?",
        ),
        ("componentstatuses", "componentstatuses: it is served, but cannot be listed and watched (only: get, list)"),
    ] {
        let resolved = resolve(&[typed]);
        assert_eq!(said(&resolved), [text]);
        assert!(resolved.kinds.is_empty());
    }
}

#[test]
fn a_built_in_kind_needs_nobody_to_say_that_it_is_there() {
    let resolved = Discovery::default().resolve(&patterns(&["pods", "secrets"]), |_| true, 100, "");
    assert_eq!(ids(&resolved), ["pods", "secrets"]);
}

#[test]
fn the_cap_leaves_out_and_names_what_was_not_named() {
    let everything = resolve(&["*"]);
    let cap = real().resolve(&patterns(&["*", "certificates.cert-manager.io"]), |_| true, 3, "");
    assert_eq!(cap.kinds.len(), 3);
    assert_eq!(cap.kinds[0].kind.id(), "certificates.cert-manager.io", "what is named comes first");
    assert_eq!(cap.over_cap.len() + 3, everything.kinds.len());
    assert_eq!(
        real().resolve(&patterns(&["*"]), |kind| kind.plural() != "pods", 100, "").kinds.len() + 1,
        everything.kinds.len()
    );
}

fn any_json() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        any::<i32>().prop_map(Value::from),
        "[a-zA-Z0-9./~-]{0,6}".prop_map(Value::from),
    ];
    leaf.prop_recursive(4, 24, 4, |inner| {
        let names = "items|versions|metadata|name|version|resources|resource|verbs|kind|groups|responseKind|freshness";
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(names, inner, 0..5).prop_map(|map| json!(map)),
        ]
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    /// Kinds or a reason, never a panic; and whatever is found can stand in a URL and in a topic's name.
    #[test]
    fn any_document_is_answered(mut document in any_json(), kind in 0usize..4, noise in any::<Vec<u8>>()) {
        let kinds = ["APIGroupDiscoveryList", "APIVersions", "APIGroupList", "APIResourceList"];
        if let Some(map) = document.as_object_mut() {
            map.insert("kind".into(), kinds[kind].into());
        }
        let body = document.to_string();
        let mut groups = Vec::new();
        if let Ok(Answer::Aggregated(found)) = read_answer(body.as_bytes()) {
            groups.extend(found);
        }
        groups.push(Group {
            name: "x.io".into(),
            versions: vec![Version { name: "v1".into(), resources: read_resources(body.as_bytes()) }],
        });
        let found = Discovery::of(groups);
        let resolved = found.resolve(&patterns(&["*", "pods", "x.y.io"]), |_| true, 5, "");
        for served in &resolved.kinds {
            prop_assert!(served.kind.path(None).bytes().all(|b| b.is_ascii_alphanumeric() || b"/.-".contains(&b)));
        }
        prop_assert!(read_answer(&noise).is_err() && read_resources(&noise).is_err());
    }
}

#[test]
fn a_kind_whose_topic_would_have_too_long_a_name_is_said_whoever_means_it_and_the_prefix_counts() {
    let (name, plural) = (format!("{}.example", "g".repeat(60)), "p".repeat(63));
    let found = Discovery::of(vec![group(&name, &[("v1", &plural, &["list", "watch"])])]);
    let id = format!("{plural}.{name}");
    let prefix = |topic: usize| "x".repeat(topic - "k8s-".len() - id.len());
    for pattern in [id.clone(), format!("*.{name}"), "*".to_owned()] {
        let resolved = |topic| found.resolve(&patterns(&[&pattern]), |_| true, 100, &prefix(topic));
        assert_eq!((ids(&resolved(249)), said(&resolved(249))), (vec![id.clone()], vec![]));
        let resolved = resolved(250);
        assert_eq!(ids(&resolved), Vec::<String>::new());
        assert_eq!((resolved.missing[0].pattern.as_str(), resolved.missing.len()), (id.as_str(), 1));
        assert!(resolved.missing[0].why.contains("longer than Kafka's 249"), "{}", resolved.missing[0]);
    }
    let none = found.resolve(&patterns(&["*"]), |_| false, 100, &prefix(250));
    assert_eq!(said(&none), Vec::<String>::new(), "nobody wants it");
}
