//! What a real API server can do to whoever watches it, done to a real one.

use super::checker::{Record, fold, last_offsets, versions, violations};
use super::kit::{Parts, Product, Trial, Where::Real, eventually};
use super::losses::{Commits, gaps, silent_losses};
use agent_events::testing;
use serde_json::{Value, json};
use std::path::PathBuf;

/// On an API server of their own: they restart it, and set its storage back.
pub const TRIALS: &[Trial] = &[
    ("a_half_open_connection_is_given_up_and_resumed", Real, half_open),
    ("rights_that_are_edited_mid_life_park_the_kind_and_bring_it_back", Real, rights_edited),
    ("a_token_that_is_void_is_named_and_its_successor_taken_from_the_file", Real, token_void),
    ("an_etcd_that_is_restored_to_an_older_state_begins_a_new_history", Real, etcd_restored),
];

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Waits pass so many times as fast for as long as it lives.
struct Hurry;

impl Hurry {
    fn times(pace: u32) -> Self {
        testing::hurry(pace);
        Self
    }
}

impl Drop for Hurry {
    fn drop(&mut self) {
        testing::hurry(1);
    }
}

fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

/// ConfigMaps of a namespace, captured.
fn product(parts: &Parts, name: &str, more: &[&str]) -> Product {
    let scope = format!("watch.namespaces.{name}=true");
    let mut sets = vec![scope.as_str(), "watch.namespaces.default=false"];
    let others = ["pods", "services", "deployments", "statefulsets", "secrets", "events"];
    let off: Vec<String> = others.iter().map(|kind| format!("watch.{kind}.enabled=false")).collect();
    sets.extend(off.iter().map(String::as_str));
    sets.extend(more);
    parts.product(name, &sets)
}

fn create(parts: &Parts, namespace: &str, name: &str, commits: &mut Commits) -> String {
    let body = json!({"metadata": {"name": name}, "data": {"n": "0"}});
    commits.wrote(&parts.api("POST", &path(namespace), &body))
}

fn change(parts: &Parts, namespace: &str, name: &str, to: usize, commits: &mut Commits) {
    let body = json!({"data": {"n": to.to_string()}});
    commits.wrote(&parts.api("PATCH", &format!("{}/{name}", path(namespace)), &body));
}

fn delete(parts: &Parts, namespace: &str, name: &str, uid: &str, commits: &mut Commits) {
    parts.api("DELETE", &format!("{}/{name}", path(namespace)), &Value::Null);
    commits.deleted.push(uid.to_owned());
}

/// API server, folds and store agree; nothing is broken, nothing is lost in silence.
fn settled(parts: &Parts, product: &Product, name: &str, commits: &Commits) -> Vec<Record> {
    let mut records = Vec::new();
    eventually("fold, store and API server agree", || {
        let truth = versions(&parts.api("GET", &path(name), &Value::Null));
        records = parts.dump(&product.topic("k8s-configmaps"));
        let log = fold(&records) == truth && last_offsets(&records) == truth;
        (log && product.state("configmaps", name) == truth).then_some(())
    });
    let mut found = violations(&records);
    found.extend(silent_losses(commits, &records));
    println!("{name}: {} gap markers; silent losses: {}", gaps(&records).len(), found.len());
    assert_eq!(found, Vec::<String>::new());
    records
}

fn said(product: &Product, what: &str) {
    eventually(&format!("{what:?} is said"), || {
        let said = product.get("/api/v1/pipeline").1;
        (said["degraded"].to_string() + &said["watchers"].to_string()).contains(what).then_some(())
    });
}

fn half_open(parts: &Parts) {
    const NAME: &str = "half-open";
    let _hurry = Hurry::times(100);
    let mut commits = Commits::default();
    parts.namespace(NAME);
    let product = product(parts, NAME, &[]);
    create(parts, NAME, "before", &mut commits);
    parts.cluster().api_server().pause().expect("it stops");
    said(&product, "no answer within");
    parts.cluster().api_server().resume().expect("it goes on");
    for n in 0..20 {
        create(parts, NAME, &format!("m-{n}"), &mut commits);
    }
    let records = settled(parts, &product, NAME, &commits);
    assert_eq!(gaps(&records), Vec::new(), "what can be resumed is no gap");
    product.shutdown();
}

/// A service account that may read ConfigMaps of the namespace of its name.
fn account(parts: &Parts, name: &str) -> String {
    parts.api("POST", &format!("/api/v1/namespaces/{name}/serviceaccounts"), &json!({"metadata": {"name": "reader"}}));
    let rules = json!([{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list", "watch"]}]);
    parts.api(
        "POST",
        &format!("{RBAC}/namespaces/{name}/roles"),
        &json!({"metadata": {"name": "reader"}, "rules": rules}),
    );
    allow(parts, name);
    parts.cluster().service_account_token(name, "reader").expect("a token")
}

fn allow(parts: &Parts, name: &str) {
    let binding = json!({"metadata": {"name": "reader"},
        "subjects": [{"kind": "ServiceAccount", "name": "reader", "namespace": name}],
        "roleRef": {"kind": "Role", "name": "reader", "apiGroup": "rbac.authorization.k8s.io"}});
    parts.api("POST", &format!("{RBAC}/namespaces/{name}/rolebindings"), &binding);
}

fn with_kubeconfig(kubeconfig: &std::path::Path) -> [String; 2] {
    [format!("cluster.kubeconfig={:?}", kubeconfig.display().to_string()), "cluster.id=\"an-id\"".into()]
}

fn rights_edited(parts: &Parts) {
    const NAME: &str = "rights";
    let _hurry = Hurry::times(600);
    let mut commits = Commits::default();
    parts.namespace(NAME);
    let token = account(parts, NAME);
    let kubeconfig = with_kubeconfig(&parts.cluster().kubeconfig_for(&token).expect("a kubeconfig"));
    let product = product(parts, NAME, &kubeconfig.each_ref().map(String::as_str));
    let uids: Vec<String> = (0..10).map(|n| create(parts, NAME, &format!("m-{n}"), &mut commits)).collect();
    settled(parts, &product, NAME, &commits);
    parts.api("DELETE", &format!("{RBAC}/namespaces/{NAME}/rolebindings/reader"), &Value::Null);
    // An open watch outlives the right to it, until it is opened again.
    parts.kill_api_server();
    parts.restart_api_server();
    said(&product, "RBAC needs");
    delete(parts, NAME, "m-0", &uids[0], &mut commits);
    change(parts, NAME, "m-1", 1, &mut commits);
    allow(parts, NAME);
    settled(parts, &product, NAME, &commits);
    product.shutdown();
}

fn token_void(parts: &Parts) {
    const NAME: &str = "void";
    let _hurry = Hurry::times(100);
    let mut commits = Commits::default();
    parts.namespace(NAME);
    let token = account(parts, NAME);
    let token_file = parts.directory().join("token");
    std::fs::write(&token_file, &token).expect("written");
    let kubeconfig = with_kubeconfig(&kubeconfig_with_token_file(parts, &token_file));
    let product = product(parts, NAME, &kubeconfig.each_ref().map(String::as_str));
    create(parts, NAME, "before", &mut commits);
    settled(parts, &product, NAME, &commits);
    // The account is another one from now on: its old tokens are void at once, as expired ones are.
    let accounts = format!("/api/v1/namespaces/{NAME}/serviceaccounts");
    parts.api("DELETE", &format!("{accounts}/reader"), &Value::Null);
    parts.kill_api_server();
    parts.restart_api_server();
    said(&product, "401");
    parts.api("POST", &accounts, &json!({"metadata": {"name": "reader"}}));
    create(parts, NAME, "meanwhile", &mut commits);
    let token = parts.cluster().service_account_token(NAME, "reader").expect("a token");
    std::fs::write(&token_file, token).expect("written");
    settled(parts, &product, NAME, &commits);
    product.shutdown();
}

fn kubeconfig_with_token_file(parts: &Parts, token_file: &std::path::Path) -> PathBuf {
    let (server, ca) = (parts.cluster().url(), parts.cluster().ca_path());
    let config = json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "file",
        "clusters": [{"name": "file", "cluster": {"server": server, "certificate-authority": ca}}],
        "users": [{"name": "file", "user": {"tokenFile": token_file}}],
        "contexts": [{"name": "file", "context": {"cluster": "file", "user": "file"}}],
    });
    let path = parts.directory().join("kubeconfig-with-token-file");
    std::fs::write(&path, config.to_string()).expect("written");
    path
}

fn etcd_restored(parts: &Parts) {
    const NAME: &str = "restored";
    // The API server thinks 3 s over a version of the future: our own deadline must be longer.
    let _hurry = Hurry::times(8);
    let mut commits = Commits::default();
    parts.namespace(NAME);
    let uids: Vec<String> = (0..20).map(|n| create(parts, NAME, &format!("m-{n}"), &mut commits)).collect();
    let backup = parts.directory().join("etcd-backup");
    parts.cluster().back_up(&backup).expect("a backup");
    let product = product(parts, NAME, &[]);
    for n in 0..100 {
        change(parts, NAME, &format!("m-{}", n % 10), n, &mut commits);
    }
    for (n, uid) in uids.iter().enumerate().skip(10).take(5) {
        delete(parts, NAME, &format!("m-{n}"), uid, &mut commits);
    }
    create(parts, NAME, "only-then", &mut commits);
    settled(parts, &product, NAME, &commits);
    parts.cluster().restore_backup(&backup).expect("the cluster is as it was");
    let after = create(parts, NAME, "after", &mut commits);
    let records = settled(parts, &product, NAME, &commits);
    let record = records.iter().find(|r| r.source("uid") == Some(&after)).expect("it is published");
    let history = record.value.as_ref().and_then(|v| v["source"]["historyEpoch"].as_u64());
    println!("{NAME}: history epoch {history:?} behind the restore");
    assert!(history > Some(0), "a new history: {history:?}");
    assert!(gaps(&records).iter().any(|gap| gap.reason == "history_rewound"), "{:?}", gaps(&records));
    product.shutdown();
}
