//! Every kind, from the API server to whoever asks, and back to where it came from.

use super::checker::{duplicates, fold, last_offsets, versions, violations};
use super::kit::{Parts, Trial, Where::*, eventually, http_get};
use serde_json::{Value, json};
use std::collections::BTreeMap;

pub const TRIALS: &[Trial] = &[
    ("every_kind_but_events_agrees_from_the_api_server_to_the_command_line", Both, every_kind_agrees),
    ("every_event_created_is_in_the_topic", Both, every_event_is_in_the_topic),
    ("no_value_of_a_secret_leaves_the_process", Both, no_secret_leaves),
    ("a_rollout_is_told_on_the_event_stream", Both, a_rollout_is_told),
    ("a_kind_that_is_not_allowed_is_parked_alone_and_names_the_missing_rule", Real, a_forbidden_kind_is_parked),
    ("several_namespaces_are_watched_and_no_other", Both, several_namespaces),
    ("a_wrong_number_of_partitions_is_refused_with_the_remedy", Both, wrong_partitions_are_refused),
    ("a_wrong_token_is_said_and_retried", Real, a_wrong_token_is_said),
];

/// Plural, path and a body for every built-in kind but Events.
pub fn samples(namespace: &str) -> Vec<(&'static str, String, Value)> {
    let core = format!("/api/v1/namespaces/{namespace}");
    let apps = format!("/apis/apps/v1/namespaces/{namespace}");
    let template =
        json!({"metadata": {"labels": {"app": "x"}}, "spec": {"containers": [{"name": "c", "image": "nginx:1.25"}]}});
    let workload =
        json!({"replicas": 1, "selector": {"matchLabels": {"app": "x"}}, "template": template, "serviceName": "x"});
    let mut deployment = workload.clone();
    deployment.as_object_mut().expect("an object").remove("serviceName");
    vec![
        ("pods", format!("{core}/pods"), json!({"spec": template["spec"]})),
        ("services", format!("{core}/services"), json!({"spec": {"ports": [{"port": 80}]}})),
        ("configmaps", format!("{core}/configmaps"), json!({"data": {"k": "v"}})),
        ("secrets", format!("{core}/secrets"), json!({"stringData": {"k": "v"}})),
        ("deployments", format!("{apps}/deployments"), json!({"spec": deployment})),
        ("statefulsets", format!("{apps}/statefulsets"), json!({"spec": workload})),
    ]
}

fn named(mut body: Value, name: &str) -> Value {
    body["metadata"] = json!({"name": name});
    body
}

fn every_kind_agrees(parts: &Parts) {
    let product = parts.product("agree", &["watch.all_namespaces=true"]);
    parts.namespace("agree");
    let samples = samples("agree");
    for (_, path, body) in &samples {
        for name in ["kept", "changed", "gone"] {
            parts.api("POST", path, &named(body.clone(), name));
        }
        parts.api("PATCH", &format!("{path}/changed"), &json!({"metadata": {"labels": {"touched": "yes"}}}));
        let delete = json!({"gracePeriodSeconds": 0});
        parts.api("DELETE", &format!("{path}/gone"), &delete);
    }
    for (kind, path, _) in &samples {
        // The API server's own list is the truth; pods and workloads still move, so all sides are asked until they agree.
        let topic = product.topic(&format!("k8s-{kind}"));
        let in_namespace = |records: &[super::checker::Record]| -> Vec<super::checker::Record> {
            let here = |r: &&super::checker::Record| r.key.starts_with('~') || r.key.contains("/agree/");
            records.iter().filter(here).cloned().collect()
        };
        let records = eventually(&format!("{kind}: API server, topic and store agree"), || {
            let truth = versions(&parts.api("GET", path, &Value::Null));
            let records = in_namespace(&parts.dump(&topic));
            (fold(&records) == truth && product.state(kind, "agree") == truth && truth.len() >= 2).then_some(records)
        });
        assert_eq!(fold(&records), last_offsets(&records), "{kind}: markers hide nothing");
        assert_eq!(violations(&records), Vec::<String>::new(), "{kind}");
        assert_eq!(duplicates(&records), 0, "{kind}: no failure, no duplicate");
        let gone: Vec<_> = records.iter().filter(|r| r.key.ends_with("/agree/gone")).collect();
        assert!(
            gone.iter().any(|r| r.op() == Some("d")) && gone.last().is_some_and(|r| r.value.is_none()),
            "{kind}: {gone:?}"
        );
        let changed = records.iter().filter(|r| r.key.ends_with("/agree/changed") && r.op() == Some("u")).count();
        assert!(changed >= 1, "{kind}: the update has its before");
        agrees_with_cli(parts, &product, kind, path);
    }
    every_object_is_the_servers_own(parts, &product);
    product.shutdown();
}

fn agrees_with_cli(parts: &Parts, product: &super::kit::Product, kind: &str, path: &str) {
    eventually(&format!("{kind}: the command line agrees"), || {
        let said: Value =
            serde_json::from_str(&product.cli(&["get", kind, "-n", "agree", "-o", "json"])).expect("JSON");
        (versions(&said) == versions(&parts.api("GET", path, &Value::Null))).then_some(())
    });
}

/// What is kept of an object is byte for byte what the server says: compared as JSON, without what is redacted.
fn every_object_is_the_servers_own(parts: &Parts, product: &super::kit::Product) {
    let mut truth = parts.api("GET", "/api/v1/namespaces/agree/services/changed", &Value::Null);
    truth["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    let (status, ours) = product.get("/api/v1/objects/services/agree/changed");
    assert_eq!((status, &ours), (200, &truth));
}

fn every_event_is_in_the_topic(parts: &Parts) {
    parts.namespace("events");
    let product = parts.product("events", &["watch.all_namespaces=true"]);
    let mut created = Vec::new();
    for number in 0..200 {
        let event = json!({
            "metadata": {"name": format!("e-{number}")}, "type": "Warning", "reason": "Tried", "message": "it happened",
            "involvedObject": {"kind": "Pod", "namespace": "events", "name": "p", "apiVersion": "v1"},
        });
        let made = parts.api("POST", "/api/v1/namespaces/events/events", &event);
        created.push(made["metadata"]["uid"].as_str().expect("a uid").to_owned());
    }
    let topic = product.topic("k8s-events");
    eventually("all events are in the topic", || {
        let records = parts.dump(&topic);
        let there: BTreeMap<&str, &str> = records.iter().filter_map(|r| Some((r.source("uid")?, r.op()?))).collect();
        created.iter().all(|uid| there.contains_key(uid.as_str())).then_some(())
    });
    product.shutdown();
}

fn no_secret_leaves(parts: &Parts) {
    parts.namespace("canary");
    let mut process = parts.process("canary", &["watch.all_namespaces=true", "observe.log=\"trace\""]);
    process.await_ready();
    // base64 of a canary is a canary, too.
    let canaries = [
        "c4n4ry-data",
        "YzRuNHJ5LWRhdGE=",
        "c4n4ry-string",
        "c4n4ry-annotation",
        "c4n4ry-applied",
        "c4n4ry-env",
        "c4n4ry-config",
    ];
    let secret = json!({
        "metadata": {"name": "s", "annotations": {
            "example.com/token": "c4n4ry-annotation",
            "kubectl.kubernetes.io/last-applied-configuration": "{\"stringData\":{\"k\":\"c4n4ry-applied\"}}"}},
        "data": {"k": "YzRuNHJ5LWRhdGE="}, "stringData": {"l": "c4n4ry-string"},
    });
    let path = "/api/v1/namespaces/canary/secrets";
    parts.api("POST", path, &secret);
    parts.api("PATCH", &format!("{path}/s"), &json!({"stringData": {"m": "c4n4ry-string"}}));
    let pod = json!({"metadata": {"name": "p"}, "spec": {"containers": [
        {"name": "c", "image": "i", "env": [{"name": "TOKEN", "value": "c4n4ry-env"}]}]}});
    parts.api("POST", "/api/v1/namespaces/canary/pods", &pod);
    let config = json!({"metadata": {"name": "m", "annotations": {
        "kubectl.kubernetes.io/last-applied-configuration": "{\"data\":{\"k\":\"c4n4ry-applied\"}}"}}, "data": {"k": "c4n4ry-config"}});
    parts.api("POST", "/api/v1/namespaces/canary/configmaps", &config);
    for (kind, name) in [("secrets", "s"), ("pods", "p"), ("configmaps", "m")] {
        eventually(&format!("{kind} are served"), || {
            (http_get(process.api, &format!("/api/v1/objects/{kind}/canary/{name}")).0 == 200).then_some(())
        });
    }
    parts.api("DELETE", &format!("{path}/s"), &Value::Null);
    let topic = "canary.k8s-secrets";
    eventually("the delete is in the topic", || {
        parts.dump(topic).iter().any(|r| r.key.ends_with("/s") && r.op() == Some("d")).then_some(())
    });
    let mut seen: Vec<(String, Vec<u8>)> = Vec::new();
    for topic in ["k8s-secrets", "k8s-pods", "k8s-configmaps", "event-stream", "agent-events-checkpoints"] {
        let records = parts.dump(&format!("canary.{topic}"));
        let bytes = records
            .iter()
            .flat_map(|r| [r.raw.clone(), r.key.clone().into_bytes(), format!("{:?}", r.headers).into_bytes()]);
        seen.push((topic.into(), bytes.collect::<Vec<_>>().concat()));
    }
    for path in ["objects?kind=secrets", "objects?kind=pods", "objects?kind=configmaps", "pipeline", "actors", "topics"]
    {
        seen.push((path.into(), http_get(process.api, &format!("/api/v1/{path}")).1));
    }
    seen.push(("metrics".into(), http_get(process.ops, "/metrics").1));
    assert_eq!(process.terminate(), Some(0));
    let log = process.stderr();
    assert!(log.contains("taken over") || log.contains("list begins"), "the log is there to be searched");
    seen.push(("log".into(), log.into_bytes()));
    for (place, bytes) in seen {
        for canary in canaries {
            let hit = bytes.windows(canary.len()).any(|w| w == canary.as_bytes());
            assert!(!hit, "{canary} is in {place}");
        }
    }
}

fn a_rollout_is_told(parts: &Parts) {
    parts.namespace("told");
    let product = parts.product("told", &["watch.namespaces.told=true"]);
    let (_, path, body) = samples("told").into_iter().find(|s| s.0 == "deployments").expect("there");
    parts.api("POST", &path, &named(body, "web"));
    eventually("it is ready", || {
        let web = parts.api("GET", &format!("{path}/web"), &Value::Null);
        (web["status"]["readyReplicas"] == 1).then_some(())
    });
    let containers = json!([{"name": "c", "image": "nginx:1.26"}]);
    parts.api(
        "PATCH",
        &format!("{path}/web"),
        &json!({"spec": {"replicas": 2, "template": {"spec": {"containers": containers}}}}),
    );
    parts.api("DELETE", &format!("{path}/web"), &json!({"propagationPolicy": "Background"}));
    let topic = product.topic("event-stream");
    let told = eventually("it is told", || {
        let told: Vec<String> =
            parts.dump(&topic).iter().filter_map(|r| Some(r.value.as_ref()?["summary"].as_str()?.to_owned())).collect();
        told.iter().any(|s| s == "deployment web: deleted").then_some(told)
    });
    for expected in
        ["deployment web: created", "deployment web: image nginx:1.25 → nginx:1.26", "deployment web: replicas 1 → 2"]
    {
        assert!(told.iter().any(|s| s == expected), "{expected}: {told:#?}");
    }
    product.shutdown();
}

fn a_forbidden_kind_is_parked(parts: &Parts) {
    parts.namespace("parked");
    let rule = json!({"metadata": {"name": "reader"}, "rules": [
        {"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]});
    parts.api("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/parked/roles", &rule);
    let binding = json!({"metadata": {"name": "reader"},
        "subjects": [{"kind": "User", "name": "nobody", "apiGroup": "rbac.authorization.k8s.io"}],
        "roleRef": {"kind": "Role", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}});
    parts.api("POST", "/apis/rbac.authorization.k8s.io/v1/namespaces/parked/rolebindings", &binding);
    let kubeconfig = parts.cluster().kubeconfig_for(parts.cluster().nobody_token()).expect("a kubeconfig");
    let kubeconfig = format!("cluster.kubeconfig={:?}", kubeconfig.display().to_string());
    let product = parts.product(
        "parked",
        &[&kubeconfig, "cluster.id=\"parked\"", "watch.namespaces.parked=true", "watch.namespaces.default=false"],
    );
    parts.api("POST", "/api/v1/namespaces/parked/configmaps", &json!({"metadata": {"name": "still"}}));
    eventually("the kind that is allowed goes on", || {
        (product.get("/api/v1/objects/configmaps/parked/still").0 == 200).then_some(())
    });
    let (_, pipeline) = product.get("/api/v1/pipeline");
    let pods =
        pipeline["watchers"].as_array().expect("rows").iter().find(|w| w["kind"] == "pods").expect("pods").clone();
    assert_eq!(pods["phase"], "parked");
    let reason = pods["reason"].as_str().expect("a reason");
    assert!(reason.contains(r#"{apiGroups: [""], resources: ["pods"], verbs: ["list", "watch"]}"#), "{reason}");
    product.shutdown();
}

fn several_namespaces(parts: &Parts) {
    for namespace in ["several-a", "several-b", "several-c"] {
        parts.namespace(namespace);
    }
    let product = parts.product("several", &["watch.namespaces.several-a=true", "watch.namespaces.several-b=true"]);
    for namespace in ["several-c", "several-a", "several-b"] {
        let path = format!("/api/v1/namespaces/{namespace}/configmaps");
        parts.api("POST", &path, &json!({"metadata": {"name": "here"}}));
    }
    for namespace in ["several-a", "several-b"] {
        eventually(namespace, || {
            (product.get(&format!("/api/v1/objects/configmaps/{namespace}/here")).0 == 200).then_some(())
        });
    }
    let records = parts.dump(&product.topic("k8s-configmaps"));
    assert!(!records.iter().any(|r| r.key.contains("several-c")));
    product.shutdown();
}

fn wrong_partitions_are_refused(parts: &Parts) {
    let product = parts.product("wrong", &["watch.all_namespaces=true"]);
    product.shutdown();
    let mut process = parts.process("wrong", &["topics.k8s-pods.partitions=13"]);
    assert_eq!(process.child.wait().expect("it ends").code(), Some(78));
    let said = process.stderr();
    assert!(said.contains("wrong.k8s-pods") && said.contains("12") && said.contains("13"), "{said}");
}

fn a_wrong_token_is_said(parts: &Parts) {
    let kubeconfig = parts.cluster().kubeconfig_for("no-such-token").expect("a kubeconfig");
    let kubeconfig = format!("cluster.kubeconfig={:?}", kubeconfig.display().to_string());
    let product = parts.product_unready("token", &[&kubeconfig]);
    eventually("it is said", || {
        let (_, pipeline) = product.get("/api/v1/pipeline");
        let degraded = pipeline["degraded"].to_string();
        (degraded.contains("401") && degraded.contains("token")).then_some(())
    });
    assert_eq!(http_get(product.running.ops_addr(), "/livez").0, 200, "it is alive and waits");
    assert_eq!(http_get(product.running.ops_addr(), "/readyz").0, 503);
    product.shutdown();
}
