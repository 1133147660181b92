//! What is asked for and what is not: selectors, and more namespaces than are watched one by one.

use super::checker::violations;
use super::kit::{Parts, Trial, Where::Both, eventually};
use serde_json::json;

pub const TRIALS: &[Trial] = &[
    ("what_a_selector_leaves_out_is_not_written_and_what_leaves_it_is_deleted_as_such", Both, selectors),
    ("more_than_twenty_namespaces_are_one_watch_and_no_other_is_written", Both, many_namespaces),
];

fn selectors(parts: &Parts) {
    parts.namespace("selected");
    let product = parts.product(
        "selected",
        &[
            "watch.all_namespaces=true",
            "watch.configmaps.label_selector=\"team in (a),!hidden\"",
            "watch.services.field_selector=\"metadata.name!=hidden\"",
        ],
    );
    let path = |name: &str| format!("/api/v1/namespaces/selected/configmaps{name}");
    let named = |name: &str, labels: serde_json::Value| json!({"metadata": {"name": name, "labels": labels}});
    for (name, labels) in [("in", json!({"team": "a"})), ("out", json!({"team": "b"})), ("stays", json!({"team": "a"}))]
    {
        parts.api("POST", &path(""), &named(name, labels));
    }
    for name in ["shown", "hidden"] {
        let body = json!({"metadata": {"name": name}, "spec": {"ports": [{"port": 80}]}});
        parts.api("POST", "/api/v1/namespaces/selected/services", &body);
    }
    let relabel = |name: &str, team: &str| {
        parts.api("PATCH", &path(&format!("/{name}")), &json!({"metadata": {"labels": {"team": team}}}));
    };
    let topic = product.topic("k8s-configmaps");
    let ops = |name: &str| -> Vec<String> {
        let records = parts.dump(&topic);
        let of_name = records.iter().filter(|r| r.key.ends_with(&format!("/selected/{name}")));
        let short = of_name.map(|r| format!("{} {}", r.op().unwrap_or("t"), r.source("observed").unwrap_or_default()));
        short.map(|s| s.trim().to_owned()).collect()
    };
    let is_shown = |kind: &str, name: &str| product.get(&format!("/api/v1/objects/{kind}/selected/{name}")).0 == 200;
    eventually("what is selected is there", || {
        (is_shown("configmaps", "in") && is_shown("configmaps", "stays") && is_shown("services", "shown")).then_some(())
    });
    relabel("in", "b");
    eventually("what left the selector is gone", || (!is_shown("configmaps", "in")).then_some(()));
    relabel("out", "a");
    eventually("what entered it is there", || is_shown("configmaps", "out").then_some(()));
    relabel("in", "a");
    eventually("what came back, too", || is_shown("configmaps", "in").then_some(()));
    assert_eq!(ops("in"), ["r selector", "d selector", "t", "r selector"]);
    assert_eq!(ops("out"), ["r selector"], "nothing was written while it was not selected");
    assert_eq!(ops("stays"), ["r selector"]);
    assert_eq!(violations(&parts.dump(&topic)), Vec::<String>::new());
    assert!(!parts.dump(&product.topic("k8s-services")).iter().any(|r| r.key.ends_with("/hidden")));
    product.shutdown();
}

fn many_namespaces(parts: &Parts) {
    let namespaces: Vec<String> = (0..22).map(|n| format!("many-{n}")).collect();
    namespaces.iter().for_each(|namespace| parts.namespace(namespace));
    let (left_out, captured) = namespaces.split_last().expect("there are some");
    let sets: Vec<String> = captured.iter().map(|namespace| format!("watch.namespaces.{namespace}=true")).collect();
    let product = parts.product("many", &sets.iter().map(String::as_str).collect::<Vec<_>>());
    for namespace in std::iter::once(left_out).chain(captured) {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        parts.api("POST", &path, &json!({"metadata": {"name": "here"}}));
    }
    eventually("all that count are there", || {
        let there = |namespace: &String| product.get(&format!("/api/v1/objects/configmaps/{namespace}/here")).0 == 200;
        captured.iter().all(there).then_some(())
    });
    let pipeline = product.get("/api/v1/pipeline").1;
    let watchers = pipeline["watchers"].as_array().expect("rows").iter().filter(|w| w["kind"] == "configmaps").count();
    assert_eq!(watchers, 1, "one watch of all, filtered here");
    let key = format!("/{left_out}/here");
    assert!(!parts.dump(&product.topic("k8s-configmaps")).iter().any(|r| r.key.ends_with(&key)));
    product.shutdown();
}
