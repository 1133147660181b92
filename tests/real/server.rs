//! What a real API server can do to whoever watches it, done to a real one.

use super::checker::{Record, fold, last_offsets, versions, violations};
use super::kit::{PATIENCE, Parts, Process, Product, Trial, Where::Real, eventually};
use super::losses::{Commits, gaps, silent_losses};
use agent_events::testing;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD as BASE64;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::Command;

/// On an API server of their own: they restart it, and set its storage back.
pub const TRIALS: &[Trial] = &[
    ("a_half_open_connection_is_given_up_and_resumed", Real, half_open),
    ("rights_that_are_edited_mid_life_park_the_kind_and_bring_it_back", Real, rights_edited),
    ("where_only_lists_are_allowed_changes_and_deletes_are_found_by_lists", Real, list_only),
    ("a_token_that_is_void_is_named_and_its_successor_taken_from_the_file", Real, token_void),
    ("in_a_cluster_a_token_that_expires_is_followed_by_the_one_in_its_file_and_nothing_is_lost", Real, token_expires),
    ("an_etcd_that_is_restored_to_an_older_state_begins_a_new_history", Real, etcd_restored),
];

const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";

/// Waits pass so many times as fast for as long as it lives.
pub struct Hurry;

impl Hurry {
    pub fn times(pace: u32) -> Self {
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
pub fn product(parts: &Parts, name: &str, more: &[&str]) -> Product {
    let product = product_unready(parts, name, more);
    if let Err(missing) = product.running.ready(PATIENCE) {
        panic!("not ready: {missing:?}");
    }
    product
}

/// The same without waiting for readiness.
pub fn product_unready(parts: &Parts, name: &str, more: &[&str]) -> Product {
    let scope = format!("watch.namespaces.{name}=true");
    let mut sets = vec![scope.as_str(), "watch.namespaces.default=false"];
    let others = ["pods", "services", "deployments", "statefulsets", "secrets", "events"];
    let off: Vec<String> = others.iter().map(|kind| format!("watch.{kind}.enabled=false")).collect();
    sets.extend(off.iter().map(String::as_str));
    sets.extend(more);
    parts.product_unready(name, &sets)
}

pub fn create(parts: &Parts, namespace: &str, name: &str, commits: &mut Commits) -> String {
    let body = json!({"metadata": {"name": name}, "data": {"n": "0"}});
    commits.wrote(&parts.api("POST", &path(namespace), &body))
}

pub fn change(parts: &Parts, namespace: &str, name: &str, to: usize, commits: &mut Commits) {
    let body = json!({"data": {"n": to.to_string()}});
    commits.wrote(&parts.api("PATCH", &format!("{}/{name}", path(namespace)), &body));
}

pub fn delete(parts: &Parts, namespace: &str, name: &str, uid: &str, commits: &mut Commits) {
    parts.api("DELETE", &format!("{}/{name}", path(namespace)), &Value::Null);
    commits.deleted.push(uid.to_owned());
}

/// API server, folds and store agree; nothing is broken, nothing is lost in silence.
pub fn settled(parts: &Parts, product: &Product, name: &str, commits: &Commits) -> Vec<Record> {
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

fn with_kubeconfig(kubeconfig: &Path) -> [String; 2] {
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

fn list_only(parts: &Parts) {
    const NAME: &str = "list-only";
    let mut commits = Commits::default();
    parts.namespace(NAME);
    let token = account(parts, NAME);
    let rules = json!({"rules": [{"apiGroups": [""], "resources": ["configmaps"], "verbs": ["list"]}]});
    parts.api("PATCH", &format!("{RBAC}/namespaces/{NAME}/roles/reader"), &rules);
    let kubeconfig = with_kubeconfig(&parts.cluster().kubeconfig_for(&token).expect("a kubeconfig"));
    let [kubeconfig, id] = kubeconfig.each_ref().map(String::as_str);
    let product = product(parts, NAME, &[kubeconfig, id, "watch.poll_interval=\"1s\""]);
    let uids: Vec<String> = (0..10).map(|n| create(parts, NAME, &format!("m-{n}"), &mut commits)).collect();
    said(&product, "lists every 1s");
    settled(parts, &product, NAME, &commits);
    delete(parts, NAME, "m-0", &uids[0], &mut commits);
    change(parts, NAME, "m-1", 1, &mut commits);
    let records = settled(parts, &product, NAME, &commits);
    assert!(gaps(&records).iter().all(|gap| gap.reason == "list_only") && !gaps(&records).is_empty());
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

fn kubeconfig_with_token_file(parts: &Parts, token_file: &Path) -> PathBuf {
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

/// How long the API server takes a token that has expired, for the sake of clocks that are not the same.
const LEEWAY: i64 = 60;

/// A token of the account of the namespace's name that is taken for so many seconds more; the API server itself gives none
/// for less than ten minutes.
fn short_token(parts: &Parts, name: &str, seconds: i64) -> String {
    let account = parts.api("GET", &format!("/api/v1/namespaces/{name}/serviceaccounts/reader"), &Value::Null);
    let now = agent_events::observe::clock::wall_ms() / 1000;
    let expires = now + seconds - LEEWAY;
    let claims = json!({"iss": "https://kubernetes.default.svc", "aud": ["api"], "iat": now - 600, "nbf": now - 600,
        "exp": expires, "sub": format!("system:serviceaccount:{name}:reader"),
        "kubernetes.io": {"namespace": name,
            "serviceaccount": {"name": "reader", "uid": account["metadata"]["uid"]}}});
    let header = json!({"alg": "ES256", "typ": "JWT"});
    let signed = format!("{}.{}", BASE64.encode(header.to_string()), BASE64.encode(claims.to_string()));
    let key = parts.cluster().kubeconfig_path().with_file_name("service-account.key");
    let key = PrivateKeyDer::from_pem_file(key).expect("the key of the API server");
    let key = rustls::crypto::ring::sign::any_ecdsa_type(&key).expect("P-256");
    let signer = key.choose_scheme(&[rustls::SignatureScheme::ECDSA_NISTP256_SHA256]).expect("its scheme");
    let der = signer.sign(signed.as_bytes()).expect("signed");
    // SEQUENCE of two INTEGERs, each as long as it needs; a JWT wants two numbers of 32 bytes.
    let number = |at: usize| {
        let length = usize::from(der[at + 1]);
        let bytes = &der[at + 2..at + 2 + length];
        let bytes = &bytes[bytes.len().saturating_sub(32)..];
        ([vec![0; 32 - bytes.len()], bytes.to_vec()].concat(), at + 2 + length)
    };
    let (r, next) = number(2);
    let (s, _) = number(next);
    format!("{signed}.{}", BASE64.encode([r, s].concat()))
}

/// What the kubelet mounts, and how it changes it: all files at once, by a link.
struct Mounted(PathBuf);

impl Mounted {
    fn new(parts: &Parts, name: &str, token: &str) -> Self {
        let mounted = Self(parts.directory().join("serviceaccount"));
        std::fs::create_dir(&mounted.0).expect("made");
        for file in ["token", "ca.crt", "namespace"] {
            std::os::unix::fs::symlink(format!("..data/{file}"), mounted.0.join(file)).expect("linked");
        }
        mounted.write(parts, name, token, 1);
        mounted
    }

    fn write(&self, parts: &Parts, name: &str, token: &str, round: usize) {
        let files = self.0.join(format!("..{round}"));
        std::fs::create_dir(&files).expect("made");
        std::fs::copy(parts.cluster().ca_path(), files.join("ca.crt")).expect("copied");
        std::fs::write(files.join("token"), token).expect("written");
        std::fs::write(files.join("namespace"), name).expect("written");
        let link = self.0.join("..new");
        std::os::unix::fs::symlink(format!("..{round}"), &link).expect("linked");
        std::fs::rename(link, self.0.join("..data")).expect("in its place");
    }

    /// The binary, which finds these files where a Pod has them.
    fn seen_by(&self, url: &str) -> Command {
        let (host, port) = url.trim_start_matches("https://").split_once(':').expect("a port");
        let mount =
            "mount -t tmpfs none /var/run && mkdir -p \"$0\" && mount --bind \"$1\" \"$0\" && shift && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["-rm", "sh", "-c", mount, "/var/run/secrets/kubernetes.io/serviceaccount"]);
        command.arg(&self.0).arg(env!("CARGO_BIN_EXE_agent-events"));
        command.envs([("KUBERNETES_SERVICE_HOST", host), ("KUBERNETES_SERVICE_PORT", port)]);
        command
    }
}

fn token_expires(parts: &Parts) {
    const NAME: &str = "in-cluster";
    let may_mount = Command::new("unshare").args(["-rm", "true"]).status().is_ok_and(|status| status.success());
    if !may_mount {
        // A right of the machine, and no tool that could be installed: named, but no failure of the product.
        return eprintln!("SKIPPED the token in a cluster: this machine allows no mounts of one's own (unshare -rm)");
    }
    let mut commits = Commits::default();
    parts.namespace(NAME);
    account(parts, NAME);
    let first = short_token(parts, NAME, 30);
    let mounted = Mounted::new(parts, NAME, &first);
    let others = ["pods", "services", "deployments", "statefulsets", "secrets", "events"];
    let mut sets = parts.sets(NAME);
    sets.retain(|set| !set.starts_with("cluster.kubeconfig") && !set.starts_with("cluster.mode"));
    sets.extend(others.map(|kind| format!("watch.{kind}.enabled=false")));
    sets.extend(["cluster.mode=\"in-cluster\"".into(), "cluster.id=\"an-id\"".into()]);
    sets.extend([format!("watch.namespaces.{NAME}=true"), "watch.namespaces.default=false".into()]);
    let arguments: Vec<String> =
        std::iter::once("run".into()).chain(sets.into_iter().flat_map(|set| ["--set".into(), set])).collect();
    let mut process = Process::of(mounted.seen_by(&parts.cluster().url()), &arguments);
    process.await_ready();
    let uid = create(parts, NAME, "before", &mut commits);
    let topic = format!("{NAME}.k8s-configmaps");
    eventually("it is in the log", || parts.dump(&topic).iter().any(|r| r.source("uid") == Some(&uid)).then_some(()));
    // As the kubelet does: the next token is there before the last has expired.
    let next = parts.cluster().service_account_token(NAME, "reader").expect("a token");
    mounted.write(parts, NAME, &next, 2);
    eventually("the first token has expired", || {
        let answer = parts.cluster().request_as(&first, "GET", &path(NAME), "", "").expect("an answer");
        (answer.status == 401).then_some(())
    });
    create(parts, NAME, "meanwhile", &mut commits);
    // Nothing that was asked with the old token is open any more.
    parts.kill_api_server();
    parts.restart_api_server();
    for n in 0..20 {
        create(parts, NAME, &format!("m-{n}"), &mut commits);
    }
    delete(parts, NAME, "before", &uid, &mut commits);
    let mut records = Vec::new();
    eventually("fold and API server agree", || {
        let truth = versions(&parts.api("GET", &path(NAME), &Value::Null));
        records = parts.dump(&topic);
        (fold(&records) == truth).then_some(())
    });
    assert_eq!(violations(&records), Vec::<String>::new());
    // A server that has just come back may not know its own roles yet, and refuse: that may cost a gap, and nothing else.
    assert_eq!(silent_losses(&commits, &records), Vec::<String>::new());
    assert_eq!(process.terminate(), Some(0), "it is the same process");
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
