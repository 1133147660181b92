//! Kinds that come and go while the process runs.

use super::checker::{Record, fold, violations};
use super::kit::{Parts, Product, Trial, Where::*, eventually};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::process::Command;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

pub const TRIALS: &[Trial] = &[
    ("thirty_kinds_of_five_groups_that_appear_are_answered_for_within_ten_seconds", Both, thirty_appear),
    ("a_kind_that_goes_is_deleted_in_the_log_and_one_that_comes_back_is_watched_again", Both, goes_and_comes_back),
    ("a_kind_that_is_named_and_not_served_is_parked_and_watched_once_it_is", Both, named_and_not_served),
    ("a_kind_that_goes_while_the_process_is_down_is_deleted_in_the_log", Both, goes_while_down),
    ("a_kind_whose_scope_narrows_and_widens_or_that_is_taken_out_is_what_the_settings_say", Both, other_scopes),
    ("what_a_pattern_means_no_more_where_namespaces_are_named_is_deleted_from_the_log", Both, left_out),
    ("a_kind_that_is_defined_anew_as_another_is_watched_as_what_it_is_now", Both, defined_anew),
    ("a_kind_that_is_back_before_it_was_missed_twice_is_watched_again_within_ten_seconds", Both, back_at_once),
];

const PROMISED: Duration = Duration::from_secs(10);

#[allow(clippy::disallowed_methods, reason = "figures for whoever reads the run")]
fn now() -> Instant {
    Instant::now()
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Versions, and whether it is the one that is stored.
const ONE: &[(&str, bool)] = &[("v1", true)];

/// `k0s.g0.kinds.test`
pub fn id(plural: &str, group: &str) -> String {
    format!("{plural}.{group}")
}

pub fn define(parts: &Parts, plural: &str, group: &str) {
    define_in(parts, plural, group, ONE);
}

/// In these versions, each served, and stored in the one that says so; again where it is there already.
pub fn define_in(parts: &Parts, plural: &str, group: &str, versions: &[(&str, bool)]) {
    let kind = plural.trim_end_matches('s').to_uppercase();
    define_as(parts, plural, group, &kind, "Namespaced", versions);
}

/// The same with that `kind:` and scope.
fn define_as(parts: &Parts, plural: &str, group: &str, kind: &str, scope: &str, versions: &[(&str, bool)]) {
    // Anything may stand in it; `spec.set` is a set.
    let set = json!({"type": "array", "items": {"type": "string"}, "x-kubernetes-list-type": "set"});
    let spec = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"set": set}});
    let any = json!({"type": "object", "x-kubernetes-preserve-unknown-fields": true, "properties": {"spec": spec}});
    let schema = json!({"openAPIV3Schema": any});
    let version =
        |(name, storage): &(&str, bool)| json!({"name": name, "served": true, "storage": storage, "schema": schema});
    let versions: Vec<Value> = versions.iter().map(version).collect();
    let definition = json!({
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": id(plural, group)},
        "spec": {
            "group": group,
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind},
            "scope": scope,
            "versions": versions,
        },
    });
    let there = format!("{DEFINITIONS}/{}", id(plural, group));
    if parts.ask("GET", &there, &Value::Null).0 == 200 {
        parts.api("PATCH", &there, &definition);
    } else {
        parts.api("POST", DEFINITIONS, &definition);
    }
}

pub fn undefine(parts: &Parts, plural: &str, group: &str) {
    let path = format!("{DEFINITIONS}/{}", id(plural, group));
    parts.api("DELETE", &path, &Value::Null);
    eventually("the definition is gone", || (parts.ask("GET", &path, &Value::Null).0 == 404).then_some(()));
}

/// As soon as the API server takes it.
pub fn create(parts: &Parts, plural: &str, group: &str, namespace: &str, name: &str) {
    let object = json!({
        "apiVersion": format!("{group}/v1"),
        "kind": plural.trim_end_matches('s').to_uppercase(),
        "metadata": {"name": name},
        "spec": {"is": "there"},
    });
    let path = format!("/apis/{group}/v1/namespaces/{namespace}/{plural}");
    eventually("the object is taken", || {
        let (status, answer) = parts.ask("POST", &path, &object);
        assert!(matches!(status, 201 | 404 | 409 | 429 | 500..), "{path}: {status} {answer}");
        matches!(status, 201 | 409).then_some(())
    });
}

/// Objects in the table of a kind; `None` while there is none.
pub fn rows(product: &Product, kind: &str, namespace: &str) -> Option<usize> {
    let (status, body) = product.get(&format!("/api/v1/objects?kind={kind}&namespace={namespace}"));
    (status == 200).then(|| body["items"].as_array().expect("a list").len())
}

pub fn parked(product: &Product) -> BTreeMap<String, Value> {
    let (_, board) = product.get("/api/v1/pipeline");
    let parked = board["parked"].as_array().expect("a list").clone();
    parked.into_iter().map(|kind| (kind["kind"].as_str().expect("a name").to_owned(), kind)).collect()
}

/// Nothing else happens meanwhile, as in a cluster at night: no version tells the lists of before from those of now.
fn other_scopes(parts: &Parts) {
    let (group, plural) = ("scopes.kinds.test", "narrows");
    let kind = id(plural, group);
    define(parts, plural, group);
    for namespace in ["nar-a", "nar-b"] {
        parts.namespace(namespace);
        for name in ["x", "y"] {
            create(parts, plural, group, namespace, name);
        }
    }
    let policy = format!("watch.\"{kind}\".policy=\"full\"");
    let (a, b, all) = ("watch.namespaces.nar-a=true", "watch.namespaces.nar-b=true", "watch.all_namespaces=true");
    let scopes: [(&[&str], [usize; 2]); 6] =
        [(&[a, b], [2, 2]), (&[a], [2, 0]), (&[a, b], [2, 2]), (&[b], [0, 2]), (&[all], [2, 2]), (&[a, b], [2, 2])];
    let topic = format!("scopes.k8s-{kind}");
    for (scope, expected) in scopes {
        let sets: Vec<&str> = scope.iter().copied().chain([policy.as_str()]).collect();
        let product = parts.product("scopes", &sets);
        eventually(&format!("the rows of {scope:?}"), || {
            let rows = ["nar-a", "nar-b"].map(|namespace| rows(&product, &kind, namespace));
            (rows == expected.map(Some)).then_some(())
        });
        assert_eq!(product.topic(&format!("k8s-{kind}")), topic);
        product.shutdown();
    }
    let mut process = parts.process("scopes", &[a, b]);
    process.await_ready();
    let is_said = || process.stderr().contains("captured no more").then_some(());
    eventually("a kind that the settings name no more is deleted from the log", is_said);
    assert_eq!(process.terminate(), Some(0));
    let records = parts.dump(&topic);
    assert!(fold(&records).is_empty(), "{:?}", fold(&records));
    assert_eq!(violations(&records), Vec::<String>::new());
    let observed = records.iter().filter(|r| r.op() == Some("d")).map(|r| r.source("observed").map(str::to_owned));
    assert_eq!(observed.collect::<Vec<_>>(), vec![Some("descoped".to_owned()); 8]);
}

fn left_out(parts: &Parts) {
    let (group, plural) = ("left.kinds.test", "planets");
    let topic = format!("left.k8s-{}", id(plural, group));
    define_as(parts, plural, group, "PLANET", "Cluster", ONE);
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": "PLANET", "metadata": {"name": "mars"}});
    let path = format!("/apis/{group}/v1/{plural}");
    eventually("the kind is served", || (parts.ask("POST", &path, &object).0 == 201).then_some(()));
    let meant = format!("watch.\"*.{group}\".policy=\"full\"");
    let product = parts.product("left", &["watch.all_namespaces=true", &meant]);
    eventually("its object", || (rows(&product, &id(plural, group), "") == Some(1)).then_some(()));
    product.shutdown();
    let mut process = parts.process("left", &["watch.namespaces.default=true", &meant]);
    process.await_ready();
    eventually("its end is said", || process.stderr().contains("captured no more").then_some(()));
    assert_eq!(process.terminate(), Some(0));
    let records = parts.dump(&topic);
    assert!(fold(&records).is_empty(), "{:?}", fold(&records));
    assert_eq!(violations(&records), Vec::<String>::new());
    assert!(records.iter().all(|r| !r.key.starts_with("~gap/")), "nothing is unknown");
    undefine(parts, plural, group);
}

/// What `agent-events verify` says, from outside.
fn verify(parts: &Parts, product: &Product, more: &[String]) -> Value {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    command.args(["verify", "-o", "json", "--server", &format!("http://{}", product.running.api_addr())]);
    parts.sets(&product.prefix).iter().chain(more).for_each(|set| {
        command.args(["--set", set]);
    });
    let output = command.output().expect("the binary runs");
    let said = String::from_utf8_lossy(&output.stdout);
    serde_json::from_str(&said).unwrap_or_else(|_| panic!("{said} {}", String::from_utf8_lossy(&output.stderr)))
}

fn deletes(records: &[Record]) -> usize {
    records.iter().filter(|record| record.op() == Some("d")).count()
}

fn of_the_groups(groups: &[String]) -> Vec<String> {
    groups.iter().map(|group| format!("watch.\"*.{group}\".policy=\"full\"")).collect()
}

fn thirty_appear(parts: &Parts) {
    parts.namespace("thirty");
    let groups: Vec<String> = (0..5).map(|n| format!("g{n}.thirty.test")).collect();
    let mut sets = of_the_groups(&groups);
    sets.push("watch.namespaces.thirty=true".into());
    let product = parts.product("thirty", &sets.iter().map(String::as_str).collect::<Vec<_>>());
    assert_eq!(parked(&product).len(), 5, "nothing of these groups is served yet: {:?}", parked(&product));
    let kinds: Vec<(String, String)> = (0..30).map(|n| (format!("k{n}s"), groups[n % groups.len()].clone())).collect();
    let mut waiting: Vec<(String, Instant)> = Vec::new();
    for (plural, group) in &kinds {
        define(parts, plural, group);
        waiting.push((id(plural, group), now()));
    }
    let mut slowest = Duration::ZERO;
    eventually("every kind has its topic and table", || {
        waiting.retain(|(kind, since)| {
            let is_there = rows(&product, kind, "thirty").is_some();
            if is_there {
                slowest = slowest.max(since.elapsed());
            }
            !is_there
        });
        waiting.is_empty().then_some(())
    });
    println!("30 kinds of 5 groups: topic and table of the slowest after {slowest:.1?}");
    assert!(slowest < PROMISED, "{slowest:?}");
    assert_eq!(parked(&product), BTreeMap::new());
    assert!(product.running.board().missing().is_empty(), "readiness stays");
    for (plural, group) in &kinds {
        (0..3).for_each(|n| create(parts, plural, group, "thirty", &format!("o-{n}")));
    }
    let created = now();
    for (plural, group) in &kinds {
        let kind = id(plural, group);
        eventually("all objects are in the table", || (rows(&product, &kind, "thirty") == Some(3)).then_some(()));
        let records = parts.dump(&product.topic(&format!("k8s-{kind}")));
        assert_eq!(violations(&records), Vec::<String>::new());
        assert_eq!(records.iter().filter(|record| record.op().is_some()).count(), 3, "{kind}");
    }
    println!("90 objects of 30 kinds: in tables and topics {:.1?} after the last was created", created.elapsed());
    let verdict = verify(parts, &product, &sets);
    assert_eq!(verdict["equal"], true, "{verdict}");
    let compared = verdict["kinds"].as_array().map_or(0, Vec::len);
    println!("verify: {compared} kinds are equal");
    assert!(compared >= 30, "{verdict}");
    for (plural, group) in &kinds {
        parts.api("DELETE", &format!("{DEFINITIONS}/{}", id(plural, group)), &Value::Null);
    }
    eventually("no watcher of them is left", || {
        let rows = product.running.board().watchers();
        rows.iter().all(|row| !row.target.kind.group().ends_with("thirty.test")).then_some(())
    });
    let left: usize =
        kinds.iter().map(|(plural, group)| rows(&product, &id(plural, group), "thirty").unwrap_or(1)).sum();
    assert_eq!(left, 0, "their tables are there, and empty");
}

fn goes_and_comes_back(parts: &Parts) {
    parts.namespace("comes");
    let (plural, group) = ("visitors", "comes.test");
    let sets = [format!("watch.\"{}\".policy=\"full\"", id(plural, group)), "watch.namespaces.comes=true".into()];
    define(parts, plural, group);
    create(parts, plural, group, "comes", "a");
    let product = parts.product("comes", &sets.each_ref().map(String::as_str));
    let (kind, topic) = (id(plural, group), product.topic("k8s-visitors.comes.test"));
    for round in 1..=2 {
        create(parts, plural, group, "comes", "b");
        eventually("both are there", || (rows(&product, &kind, "comes") == Some(2)).then_some(()));
        undefine(parts, plural, group);
        eventually("it is parked", || parked(&product).contains_key(&kind).then_some(()));
        eventually("its watcher is gone", || {
            let rows = product.running.board().watchers();
            rows.iter().all(|row| row.target.kind.id() != kind).then_some(())
        });
        assert_eq!(rows(&product, &kind, "comes"), Some(0), "the table stays");
        let records = parts.dump(&topic);
        assert_eq!(violations(&records), Vec::<String>::new());
        assert_eq!(deletes(&records), 2 * round);
        define(parts, plural, group);
        create(parts, plural, group, "comes", "a");
        eventually("it is watched again", || (rows(&product, &kind, "comes") == Some(1)).then_some(()));
        assert!(!parked(&product).contains_key(&kind), "{:?}", parked(&product));
    }
}

fn named_and_not_served(parts: &Parts) {
    let (plural, group) = ("lates", "named.test");
    let kind = id(plural, group);
    let sets = [format!("watch.\"{kind}\".policy=\"full\""), "watch.podz.policy=\"full\"".into()];
    let product = parts.product("named", &sets.each_ref().map(String::as_str));
    let known = parked(&product);
    assert_eq!(known["podz"]["didYouMean"], "pods", "{known:?}");
    assert!(known.contains_key(&kind), "{known:?}");
    let degraded = product.get("/api/v1/pipeline").1["degraded"].to_string();
    assert!(degraded.contains("podz: not served; did you mean pods?"), "{degraded}");
    define(parts, plural, group);
    create(parts, plural, group, "default", "at-last");
    eventually("it is watched", || (rows(&product, &kind, "default") == Some(1)).then_some(()));
    assert_eq!(parked(&product).keys().collect::<Vec<_>>(), ["podz"]);
}

fn goes_while_down(parts: &Parts) {
    let (plural, group) = ("ghosts", "down.test");
    let kind = id(plural, group);
    let set = format!("watch.\"{kind}\".policy=\"full\"");
    define(parts, plural, group);
    (0..2).for_each(|n| create(parts, plural, group, "default", &format!("g-{n}")));
    let product = parts.product("ghosts", &[&set]);
    eventually("both are there", || (rows(&product, &kind, "default") == Some(2)).then_some(()));
    product.shutdown();
    undefine(parts, plural, group);
    let product = parts.product("ghosts", &[&set]);
    eventually("they are deleted", || (rows(&product, &kind, "default") == Some(0)).then_some(()));
    eventually("it is parked", || parked(&product).contains_key(&kind).then_some(()));
    let records = parts.dump(&product.topic("k8s-ghosts.down.test"));
    assert_eq!((deletes(&records), violations(&records)), (2, Vec::new()));
}

/// An object of what is defined now, as soon as the API server takes it.
fn create_as(parts: &Parts, plural: &str, group: &str, kind: &str, namespace: Option<&str>, name: &str) {
    let object = json!({"apiVersion": format!("{group}/v1"), "kind": kind, "metadata": {"name": name}});
    let place = namespace.map(|namespace| format!("namespaces/{namespace}/")).unwrap_or_default();
    let path = format!("/apis/{group}/v1/{place}{plural}");
    eventually("the object is taken", || {
        let (status, answer) = parts.ask("POST", &path, &object);
        // The API server may answer for the definition of before for a moment.
        assert!(matches!(status, 201 | 400 | 404 | 405 | 409 | 429 | 500..), "{path}: {status} {answer}");
        matches!(status, 201 | 409).then_some(())
    });
}

/// What `/api/v1/kinds` says of a kind: its `kind:`, and whether it lives in namespaces.
fn shown(product: &Product, kind: &str) -> Option<(String, bool)> {
    let (_, kinds) = product.get("/api/v1/kinds");
    let kinds = kinds["items"].as_array().expect("a list").clone();
    let item = kinds.into_iter().find(|item| item["id"] == kind)?;
    Some((item["name"].as_str()?.to_owned(), item["namespaced"].as_bool()?))
}

fn names(product: &Product, kind: &str) -> Vec<String> {
    let (status, body) = product.get(&format!("/api/v1/objects?kind={kind}"));
    let items = body["items"].as_array().filter(|_| status == 200).cloned().unwrap_or_default();
    items.iter().map(|item| item["metadata"]["name"].as_str().expect("a name").to_owned()).collect()
}

fn defined_anew(parts: &Parts) {
    let group = "anew.test";
    let (named, scoped) = (id("shapes", group), id("places", group));
    let sets = [&named, &scoped].map(|kind| format!("watch.\"{kind}\".policy=\"full\""));
    define_as(parts, "shapes", group, "Shape", "Namespaced", ONE);
    create_as(parts, "shapes", group, "Shape", Some("default"), "s-0");
    define_as(parts, "places", group, "Place", "Namespaced", ONE);
    create_as(parts, "places", group, "Place", Some("default"), "p-0");
    let product = parts.product("anew", &sets.each_ref().map(String::as_str));
    eventually("both are there", || {
        (names(&product, &named) == ["s-0"] && names(&product, &scoped) == ["p-0"]).then_some(())
    });
    for (round, (kind, scope)) in [("Form", "Cluster"), ("Shape", "Namespaced")].into_iter().enumerate() {
        let (shape, place) = (format!("s-{}", round + 1), format!("p-{}", round + 1));
        let namespace = (scope == "Namespaced").then_some("default");
        undefine(parts, "shapes", group);
        define_as(parts, "shapes", group, kind, "Namespaced", ONE);
        undefine(parts, "places", group);
        define_as(parts, "places", group, "Place", scope, ONE);
        create_as(parts, "shapes", group, kind, Some("default"), &shape);
        create_as(parts, "places", group, "Place", namespace, &place);
        eventually("what there is now is there, and nothing else", || {
            (names(&product, &named) == [shape.as_str()] && names(&product, &scoped) == [place.as_str()]).then_some(())
        });
        assert_eq!(shown(&product, &named), Some((kind.to_owned(), true)));
        assert_eq!(shown(&product, &scoped), Some(("Place".to_owned(), namespace.is_some())));
    }
    for kind in [&named, &scoped] {
        let records = parts.dump(&product.topic(&format!("k8s-{kind}")));
        assert_eq!((deletes(&records), violations(&records)), (2, Vec::new()), "{kind}");
    }
    let verdict = verify(parts, &product, &sets);
    assert_eq!(verdict["equal"], true, "{verdict}");
}

fn back_at_once(parts: &Parts) {
    let (plural, group) = ("returners", "once.test");
    let kind = id(plural, group);
    let set = format!("watch.\"{kind}\".policy=\"full\"");
    define(parts, plural, group);
    create(parts, plural, group, "default", "a");
    let product = parts.product("once", &[&set]);
    eventually("it is there", || (names(&product, &kind) == ["a"]).then_some(()));
    undefine(parts, plural, group);
    eventually("its watch is refused, or its watcher gone", || {
        let rows = product.running.board().watchers();
        rows.iter().all(|row| row.target.kind.id() != kind || row.parked.load(Ordering::Acquire)).then_some(())
    });
    define(parts, plural, group);
    create(parts, plural, group, "default", "b");
    let since = now();
    eventually("it is watched again", || (names(&product, &kind) == ["b"]).then_some(()));
    println!("a kind that was parked and is back: watched again after {:.1?}", since.elapsed());
    assert!(since.elapsed() < PROMISED, "{:?}", since.elapsed());
}
