//! What a process that is killed, and one that finds the broker or the API server away, owes to its successor.

use super::checker::{fold, last_offsets, versions, violations};
use super::kit::{Parts, Product, Trial, Where::*, eventually, http_get};
use serde_json::{Value, json};

pub const TRIALS: &[Trial] = &[
    ("kill_9_under_way_then_60_changes_and_20_deletes_while_down_leave_no_ghost_and_no_gap", Both, killed_and_back),
    ("an_orderly_restart_writes_nothing_twice", Both, orderly_restart),
    ("a_broker_that_is_killed_and_comes_back_loses_nothing", Real, broker_away),
    ("an_api_server_that_is_killed_and_comes_back_loses_nothing", Both, api_server_away),
    ("started_while_both_ends_are_away_it_waits_and_says_so", Real, both_away_at_start),
];

const MAPS: &str = "configmaps";

fn map(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{MAPS}")
}

fn create(parts: &Parts, namespace: &str, name: &str) -> String {
    let made = parts.api("POST", &map(namespace), &json!({"metadata": {"name": name}, "data": {"n": "0"}}));
    made["metadata"]["uid"].as_str().expect("a uid").to_owned()
}

fn change(parts: &Parts, namespace: &str, name: &str, to: usize) {
    parts.api("PATCH", &format!("{}/{name}", map(namespace)), &json!({"data": {"n": to.to_string()}}));
}

/// API server, fold by marker, fold by last offset: all the same.
fn converged(parts: &Parts, namespace: &str, topic: &str) {
    let truth = versions(&parts.api("GET", &map(namespace), &Value::Null));
    let here = format!("/{namespace}/");
    let mut last = Vec::new();
    eventually("fold and API server agree", || {
        last = parts.dump(topic);
        last.retain(|r| r.key.starts_with('~') || r.key.contains(&here));
        (fold(&last) == truth && last_offsets(&last) == truth).then_some(())
    });
    assert_eq!(violations(&last), Vec::<String>::new());
}

fn killed_and_back(parts: &Parts) {
    parts.namespace("killed");
    let mut process = parts.process("killed", &["watch.all_namespaces=true"]);
    process.await_ready();
    let mut uids: Vec<String> = (0..100).map(|n| create(parts, "killed", &format!("m-{n}"))).collect();
    // What was never published owes no delete: those that will die are, the changes after them are under way.
    eventually("all are published", || (data(parts, "killed.k8s-configmaps") >= 100).then_some(()));
    for n in 0..50 {
        change(parts, "killed", &format!("m-{n}"), 1);
    }
    process.kill9();
    for n in 0..60 {
        change(parts, "killed", &format!("m-{n}"), 2);
    }
    // Ten of the twenty come back under their names: other objects.
    let dead: Vec<String> = uids.drain(80..100).collect();
    for n in 80..100 {
        parts.api("DELETE", &format!("{}/m-{n}", map("killed")), &Value::Null);
        if n % 2 == 0 {
            create(parts, "killed", &format!("m-{n}"));
        }
    }
    let again = testbed::Stopwatch::start();
    let mut process = parts.process("killed", &["watch.all_namespaces=true"]);
    process.await_ready();
    println!("ready {:.2} s after a restart", again.elapsed().as_secs_f64());
    converged(parts, "killed", "killed.k8s-configmaps");
    let records = parts.dump("killed.k8s-configmaps");
    for uid in &dead {
        let deletes = records.iter().filter(|r| r.op() == Some("d") && r.source("uid") == Some(uid)).count();
        assert_eq!(deletes, 1, "the delete of {uid}");
    }
    eventually("no ghost in the store", || {
        let (_, body) = http_get(process.api, "/api/v1/objects?kind=configmaps&namespace=killed&limit=5000");
        let ours = versions(&serde_json::from_slice(&body).expect("JSON"));
        (ours == versions(&parts.api("GET", &map("killed"), &Value::Null))).then_some(())
    });
    assert_eq!(process.terminate(), Some(0));
}

fn orderly_restart(parts: &Parts) {
    parts.namespace("orderly");
    let topic = "orderly.k8s-configmaps";
    let mut process = parts.process("orderly", &["watch.namespaces.orderly=true"]);
    process.await_ready();
    for n in 0..20 {
        create(parts, "orderly", &format!("m-{n}"));
    }
    converged(parts, "orderly", topic);
    assert_eq!(process.terminate(), Some(0));
    let before = data(parts, topic);
    let mut process = parts.process("orderly", &["watch.namespaces.orderly=true"]);
    process.await_ready();
    change(parts, "orderly", "m-0", 1);
    converged(parts, "orderly", topic);
    assert_eq!(process.terminate(), Some(0));
    assert_eq!(data(parts, topic), before + 1, "one change, one record");
}

/// Number of records that are not markers.
fn data(parts: &Parts, topic: &str) -> usize {
    parts.dump(topic).iter().filter(|r| !r.key.starts_with('~')).count()
}

fn broker_away(parts: &Parts) {
    parts.namespace("broker");
    let product = parts.product("broker", &["watch.namespaces.broker=true"]);
    create(parts, "broker", "before");
    parts.kafka().kill9().expect("the broker can be killed");
    for n in 0..30 {
        create(parts, "broker", &format!("m-{n}"));
    }
    assert_eq!(http_get(product.running.ops_addr(), "/livez").0, 200);
    assert_eq!(http_get(product.running.ops_addr(), "/readyz").0, 200, "an outage is degraded, not unready");
    named(&product, "has acknowledged nothing");
    parts.kafka().restart().expect("the broker comes back");
    converged(parts, "broker", &product.topic("k8s-configmaps"));
    healed(&product);
    product.shutdown();
}

fn api_server_away(parts: &Parts) {
    parts.namespace("server");
    let product = parts.product("server", &["watch.namespaces.server=true"]);
    create(parts, "server", "before");
    parts.kill_api_server();
    named(&product, "the API server");
    assert_eq!(http_get(product.running.ops_addr(), "/readyz").0, 200, "an outage is degraded, not unready");
    parts.restart_api_server();
    for n in 0..30 {
        create(parts, "server", &format!("m-{n}"));
    }
    parts.api("DELETE", &format!("{}/before", map("server")), &Value::Null);
    converged(parts, "server", &product.topic("k8s-configmaps"));
    healed(&product);
    product.shutdown();
}

/// An outage is said.
fn named(product: &Product, what: &str) {
    eventually(what, || product.get("/api/v1/pipeline").1["degraded"].to_string().contains(what).then_some(()));
}

/// And so is its end.
fn healed(product: &Product) {
    eventually("nothing is degraded any more", || {
        (product.get("/api/v1/pipeline").1["degraded"] == json!([])).then_some(())
    });
}

fn both_away_at_start(parts: &Parts) {
    parts.namespace("away");
    parts.kafka().kill9().expect("the broker can be killed");
    parts.cluster().api_server().pause().expect("the API server can be stopped");
    let product = parts.product_unready("away", &["watch.namespaces.away=true"]);
    eventually("the API server is named", || {
        let degraded = product.get("/api/v1/pipeline").1["degraded"].to_string();
        degraded.contains("API server").then_some(())
    });
    parts.cluster().api_server().resume().expect("the API server goes on");
    eventually("the broker is named", || {
        let degraded = product.get("/api/v1/pipeline").1["degraded"].to_string();
        degraded.contains(&parts.kafka().bootstrap()).then_some(())
    });
    assert_eq!(http_get(product.running.ops_addr(), "/livez").0, 200);
    parts.kafka().restart().expect("the broker comes back");
    create(parts, "away", "first");
    converged(parts, "away", &product.topic("k8s-configmaps"));
    product.shutdown();
}
