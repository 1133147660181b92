//! `deploy/kustomize` and `generate rbac`.

use super::kit::{NAMESPACE, Parts, Pod, Process, Trial, cli, elsewhere, eventually, shipped};
use super::objects;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::process::Command;

pub const TRIALS: &[Trial] = &[
    ("the_stream_that_is_printed_and_the_base_that_is_shipped_are_the_same_objects", one_source),
    ("the_dev_overlay_is_accepted_works_with_its_own_rights_and_leaves_nothing", the_dev_overlay),
    ("the_base_is_accepted_and_asks_for_what_only_the_site_knows", the_base),
    ("rights_in_named_namespaces_are_enough_and_end_there", named_namespaces),
];

fn one_source(parts: &Parts) {
    let base = parts.kubectl(&["kustomize", &shipped("kustomize/base").display().to_string()], None);
    let stream = cli(&["generate", "kustomize"]);
    objects::assert_same(
        &objects::comparable(objects::of_yaml(&stream)),
        &objects::comparable(objects::of_yaml(&base)),
    );
}

fn the_dev_overlay(parts: &Parts) {
    let before = parts.everything();
    let overlay = shipped("kustomize/overlays/dev").display().to_string();
    let apply = ["apply", "--server-side", "--validate=strict", "--kustomize", &overlay];
    parts.kubectl(&apply, None);
    // A second time changes nothing: what was sent is what is stored.
    let generation = |parts: &Parts| {
        let path = format!("/apis/apps/v1/namespaces/{NAMESPACE}/deployments/agent-events");
        parts.api("GET", &path, &Value::Null)["metadata"]["generation"].clone()
    };
    let first = generation(parts);
    parts.kubectl(&apply, None);
    assert_eq!(generation(parts), first);
    // Pods exist: the namespace's own Pod Security profile, which is enforced here, admits both.
    for (name, count) in [("agent-events", 1), ("kafka", 1)] {
        eventually(&format!("a pod of {name} is admitted"), || {
            let selector = format!("labelSelector=app.kubernetes.io%2Fname%3D{name}");
            let pods = parts.api("GET", &format!("/api/v1/namespaces/{NAMESPACE}/pods?{selector}"), &Value::Null);
            (pods["items"].as_array().map(Vec::len) == Some(count)).then_some(())
        });
    }

    let pod = Pod::of(parts, NAMESPACE, "agent-events");
    let mut process = pod.run(parts, "overlay.");
    process.await_all_up();
    let key = parts.a_change_lands("default", "overlay.");
    assert!(key.starts_with("dev/"), "the overlay's name of the cluster: {}", key);
    no_right_too_many(parts, &pod.token);
    assert_eq!(process.terminate(), Some(0));

    parts.kubectl(&["delete", "--kustomize", &overlay], None);
    parts.left_nothing(&before);
}

/// The rules that the API server itself counts for this token, beyond those of any service account, are those that are
/// meant; and a Secret stays a secret.
fn no_right_too_many(parts: &Parts, token: &str) {
    let account = json!({"metadata": {"name": "bare"}});
    parts.api("POST", &format!("/api/v1/namespaces/{NAMESPACE}/serviceaccounts"), &account);
    let bare = rules(parts, &parts.cluster.service_account_token(NAMESPACE, "bare").expect("a token"));
    let may: BTreeSet<String> = rules(parts, token).difference(&bare).cloned().collect();
    let mut meant = BTreeSet::from(["get  namespaces kube-system".to_owned()]);
    for verb in ["list", "watch"] {
        meant.extend(["pods", "services", "configmaps", "events"].map(|kind| format!("{verb}  {kind} ")));
        meant.extend(["deployments", "statefulsets"].map(|kind| format!("{verb} apps {kind} ")));
    }
    assert_eq!(may, meant);
    for (path, status) in [
        ("/api/v1/secrets", 403),
        ("/api/v1/namespaces/agent-events/secrets", 403),
        ("/api/v1/namespaces/default/pods/x", 403),
        ("/api/v1/nodes", 403),
        ("/api/v1/namespaces", 403),
        ("/api/v1/namespaces/default", 403),
        ("/api/v1/namespaces/kube-system", 200),
        ("/api/v1/pods?limit=1", 200),
    ] {
        assert_eq!(parts.status_as(token, path), status, "{path}");
    }
}

/// Verb, group, resource and names of everything that a token may do in our namespace.
fn rules(parts: &Parts, token: &str) -> BTreeSet<String> {
    let path = "/apis/authorization.k8s.io/v1/selfsubjectrulesreviews";
    let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SelfSubjectRulesReview", "spec": {"namespace": NAMESPACE}});
    let answer = parts.cluster.request_as(token, "POST", path, "application/json", &review.to_string());
    let answer: Value = serde_json::from_str(&answer.expect("it answers").body).expect("JSON");
    assert_eq!(answer["status"]["incomplete"], false);
    let words = |rule: &Value, field: &str| -> Vec<String> {
        let words = rule[field].as_array().cloned().unwrap_or_default();
        words.iter().map(|word| word.as_str().expect("text").to_owned()).collect()
    };
    let mut rules = BTreeSet::new();
    for rule in answer["status"]["resourceRules"].as_array().expect("rules") {
        let names = words(rule, "resourceNames").join(",");
        for group in words(rule, "apiGroups") {
            for resource in words(rule, "resources") {
                rules.extend(words(rule, "verbs").iter().map(|verb| format!("{verb} {group} {resource} {names}")));
            }
        }
    }
    rules
}

fn the_base(parts: &Parts) {
    let before = parts.everything();
    let base = shipped("kustomize/base").display().to_string();
    parts.kubectl(&["apply", "--server-side", "--validate=strict", "--kustomize", &base], None);
    let pod = Pod::of(parts, NAMESPACE, "agent-events");
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    let etc = pod.path("etc").display().to_string();
    command.args(pod.args.iter().map(|arg| arg.replace("/etc/agent-events", &etc))).env_clear();
    let mut process = Process::start(&mut command, &[]);
    assert_eq!(process.ends(), Some(78));
    for key in ["cluster.name", "kafka.bootstrap"] {
        assert!(process.stderr().contains(key), "{}", process.stderr());
    }
    parts.kubectl(&["delete", "--kustomize", &base], None);
    parts.left_nothing(&before);
}

fn named_namespaces(parts: &Parts) {
    let before = parts.everything();
    for name in ["shop", "till", "elsewhere", "watching"] {
        parts.api("POST", "/api/v1/namespaces", &json!({"metadata": {"name": name}}));
    }
    let flags = ["--namespace=shop,till", "--resources=configmaps,secrets,statefulsets"];
    let rights = cli(&[&["generate", "rbac", "--install-namespace=watching", "--name=narrow"], &flags[..]].concat());
    parts.kubectl(&["apply", "--server-side", "--validate=strict", "--filename=-"], Some(&rights));
    let token = parts.cluster.service_account_token("watching", "narrow").expect("a token");

    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    let data = tempfile::tempdir().expect("a directory");
    command.arg("run").args(flags).env_clear();
    let mut sets = elsewhere(parts, "narrow.");
    sets.extend(["cluster.mode=kubeconfig".to_owned(), "cluster.name=narrow".to_owned()]);
    let kubeconfig = parts.cluster.kubeconfig_for(&token).expect("a kubeconfig");
    sets.push(format!("cluster.kubeconfig={:?}", kubeconfig.display().to_string()));
    sets.push(format!("data_dir={:?}", data.path().display().to_string()));
    let mut process = Process::start(&mut command, &sets);
    process.await_all_up();
    assert!(process.readiness().contains("watch-secrets@till"), "{}", process.readiness());
    parts.a_change_lands("till", "narrow.");
    assert_eq!(process.terminate(), Some(0));
    for (path, status) in [
        ("/api/v1/namespaces/shop/configmaps", 200),
        ("/api/v1/namespaces/elsewhere/configmaps", 403),
        ("/api/v1/configmaps", 403),
        ("/api/v1/namespaces/shop/pods", 403),
    ] {
        assert_eq!(parts.status_as(&token, path), status, "{path}");
    }

    parts.kubectl(&["delete", "--filename=-"], Some(&rights));
    parts.kubectl(&["delete", "namespace", "shop", "till", "elsewhere", "watching"], None);
    parts.left_nothing(&before);
}
