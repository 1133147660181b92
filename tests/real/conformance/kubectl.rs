//! What people type. kubectl is the client that asks for the most: both forms of discovery, tables, OpenAPI, protobuf.

use super::api::Api;
use super::creating::deployment;
use super::listing::event;
use super::selecting::pod;
use super::{Case, cases};
use serde_json::{Value, json};
use std::io::Write as _;
use std::process::{Command, Stdio};

pub const CASES: &[Case] = cases![
    kubectl_gets_what_is_there_in_all_its_forms,
    kubectl_applies_creates_configures_and_leaves_alone,
    kubectl_applies_on_the_server_side,
    kubectl_shows_what_an_apply_would_change,
    kubectl_labels_annotates_patches_scales_and_sets_images,
    kubectl_creates_replaces_and_deletes,
    kubectl_describes,
    kubectl_watches,
    kubectl_knows_resources_versions_and_events,
    kubectl_creates_without_a_manifest,
    kubectl_asks_what_it_may_do,
];

pub fn is_there() -> bool {
    let mut version = Command::new("kubectl");
    version.args(["version", "--client"]).stdout(Stdio::null()).stderr(Stdio::null());
    version.status().is_ok_and(|status| status.success())
}

/// kubectl in a namespace of its own.
struct Kubectl<'a> {
    api: &'a Api<'a>,
    namespace: String,
}

impl<'a> Kubectl<'a> {
    fn new(api: &'a Api<'a>) -> Self {
        Self { api, namespace: api.namespace() }
    }

    /// Whether it succeeded, its standard output, its standard error.
    fn run(&self, arguments: &str, input: &Value) -> (bool, String, String) {
        let mut child = Command::new("kubectl")
            .env("KUBECONFIG", self.api.kubeconfig())
            // Of discovery: a real server's is large, and slow to ask for each time.
            .arg("--cache-dir")
            .arg(self.api.directory().join("kubectl-cache"))
            .args(["--namespace", &self.namespace, "--request-timeout", "20s"])
            .args(arguments.split_ascii_whitespace())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("kubectl starts");
        // One that reads nothing has closed its end, and that is no fault.
        drop(child.stdin.take().expect("piped").write_all(input.to_string().as_bytes()));
        let output = child.wait_with_output().expect("kubectl ends");
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
        (output.status.success(), text(output.stdout), text(output.stderr))
    }

    /// Its standard output, if it succeeded.
    #[track_caller]
    fn says(&self, arguments: &str) -> String {
        self.says_of(arguments, &Value::Null)
    }

    #[track_caller]
    fn says_of(&self, arguments: &str, input: &Value) -> String {
        let (success, output, error) = self.run(arguments, input);
        assert!(success, "kubectl {arguments}: {error}{output}");
        output
    }

    fn make(&self, path: &str, body: &Value) {
        self.api.post(&format!("{path}/namespaces/{}/{}", self.namespace, plural(body)), body).created();
    }
}

fn plural(body: &Value) -> &'static str {
    if body["kind"] == "Pod" { "pods" } else { "deployments" }
}

/// A table's lines, each as its words.
fn words(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_ascii_whitespace().collect()).collect()
}

fn paused() -> Value {
    let mut body = deployment("d", 0);
    body["spec"]["paused"] = true.into();
    body
}

fn config_map(data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "c"}, "data": data})
}

fn kubectl_gets_what_is_there_in_all_its_forms(api: &Api<'_>) {
    let k = Kubectl::new(api);
    let (success, _, error) = k.run("get pods", &Value::Null);
    assert!(success && error.starts_with("No resources found in "), "{error}");
    k.make("/api/v1", &pod("p"));
    k.make("/apis/apps/v1", &paused());
    let table = k.says("get pods");
    assert_eq!(words(&table)[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(words(&table)[1][..4], ["p", "0/1", "Pending", "0"]);
    let wide = k.says("get po -o wide");
    assert!(wide.lines().next().is_some_and(|head| head.contains("NOMINATED NODE")), "{wide}");
    assert_eq!(words(&k.says("get deploy,pods")).iter().flatten().filter(|word| word.contains('/')).count(), 4);
    assert_eq!(k.says("get pods -o name"), "pod/p\n");
    assert_eq!(k.says("get pod p -o jsonpath={.spec.containers[0].image}"), "image:1");
    assert!(k.says("get pods -o yaml").contains("kind: Pod\n"));
    assert!(k.says("get pods -A").contains(&k.namespace));
    assert!(k.says("get all").contains("deployment.apps/d"));
    let (success, _, error) = k.run("get pod nope", &Value::Null);
    assert!(!success);
    assert_eq!(error, "Error from server (NotFound): pods \"nope\" not found\n");
    let (success, _, error) = k.run("get nopes", &Value::Null);
    assert!(!success && error.contains("the server doesn't have a resource type \"nopes\""), "{error}");
}

fn kubectl_applies_creates_configures_and_leaves_alone(api: &Api<'_>) {
    let k = Kubectl::new(api);
    let apply = |body: &Value| k.says_of("apply -f -", body);
    assert_eq!(apply(&config_map(json!({"a": "1", "b": "2"}))), "configmap/c created\n");
    assert_eq!(apply(&config_map(json!({"a": "1", "b": "2"}))), "configmap/c unchanged\n");
    assert_eq!(apply(&config_map(json!({"a": "3"}))), "configmap/c configured\n");
    assert_eq!(k.says("get configmap c -o jsonpath={.data}"), "{\"a\":\"3\"}");
    let mut body = paused();
    assert_eq!(apply(&body), "deployment.apps/d created\n");
    assert_eq!(apply(&body), "deployment.apps/d unchanged\n");
    let containers = &mut body["spec"]["template"]["spec"]["containers"];
    *containers = json!([{"name": "side", "image": "image:1"}, {"name": "main", "image": "image:2"}]);
    assert_eq!(apply(&body), "deployment.apps/d configured\n");
    let images = k.says("get deployment d -o jsonpath={.spec.template.spec.containers[*].name}");
    assert_eq!(images, "side main");
    body["spec"]["template"]["spec"]["containers"] = json!([{"name": "main", "image": "image:2"}]);
    assert_eq!(apply(&body), "deployment.apps/d configured\n");
    assert_eq!(k.says("get deployment d -o jsonpath={.spec.template.spec.containers[*].name}"), "main");
}

fn kubectl_applies_on_the_server_side(api: &Api<'_>) {
    let k = Kubectl::new(api);
    for data in [json!({"a": "1"}), json!({"a": "1"}), json!({"a": "2"})] {
        let said = k.says_of("apply --server-side -f -", &config_map(data.clone()));
        assert_eq!(said, "configmap/c serverside-applied\n");
        assert_eq!(k.says("get configmap c -o jsonpath={.data}"), data.to_string());
    }
}

fn kubectl_shows_what_an_apply_would_change(api: &Api<'_>) {
    let k = Kubectl::new(api);
    k.says_of("apply -f -", &config_map(json!({"a": "1"})));
    assert_eq!(k.says_of("diff -f -", &config_map(json!({"a": "1"}))), "");
    let (equal, difference, error) = k.run("diff -f -", &config_map(json!({"a": "2"})));
    assert!(!equal && difference.contains("-  a: \"1\"\n+  a: \"2\"\n"), "{difference}{error}");
    assert_eq!(
        k.says_of("apply --dry-run=server -f -", &config_map(json!({"a": "2"}))),
        "configmap/c configured (server dry run)\n"
    );
    assert_eq!(k.says("get configmap c -o jsonpath={.data.a}"), "1");
}

fn kubectl_labels_annotates_patches_scales_and_sets_images(api: &Api<'_>) {
    let k = Kubectl::new(api);
    k.make("/apis/apps/v1", &paused());
    assert_eq!(k.says("label deployment d tier=front"), "deployment.apps/d labeled\n");
    assert_eq!(k.says("get deployments -l tier=front -o name"), "deployment.apps/d\n");
    assert_eq!(k.says("label deployment d tier-"), "deployment.apps/d unlabeled\n");
    assert_eq!(k.says("annotate deployment d why=because"), "deployment.apps/d annotated\n");
    assert_eq!(k.says("scale deployment d --replicas=3"), "deployment.apps/d scaled\n");
    assert_eq!(k.says("set image deployment/d main=image:7"), "deployment.apps/d image updated\n");
    assert_eq!(k.says("set env deployment/d A=1"), "deployment.apps/d env updated\n");
    let merge = r#"patch deployment d --type=merge -p {"spec":{"minReadySeconds":5}}"#;
    assert_eq!(k.says(merge), "deployment.apps/d patched\n");
    let json = r#"patch deployment d --type=json -p [{"op":"remove","path":"/spec/minReadySeconds"}]"#;
    assert_eq!(k.says(json), "deployment.apps/d patched\n");
    let found = api.get(&format!("/apis/apps/v1/namespaces/{}/deployments/d", k.namespace)).ok();
    super::api::assert_like(
        &found,
        &json!({
            "metadata": {"annotations": {"why": "because"}},
            "spec": {"replicas": 3, "template": {"spec": {"containers": [{
                "name": "main", "image": "image:7", "env": [{"name": "A", "value": "1"}],
            }]}}},
        }),
    );
}

fn kubectl_creates_replaces_and_deletes(api: &Api<'_>) {
    let k = Kubectl::new(api);
    assert_eq!(k.says_of("create -f -", &config_map(json!({"a": "1"}))), "configmap/c created\n");
    let (success, _, error) = k.run("create -f -", &config_map(json!({"a": "1"})));
    assert!(
        !success && error.contains("(AlreadyExists)") && error.contains("configmaps \"c\" already exists"),
        "{error}"
    );
    assert_eq!(k.says_of("replace -f -", &config_map(json!({"b": "2"}))), "configmap/c replaced\n");
    assert_eq!(k.says("get configmap c -o jsonpath={.data}"), "{\"b\":\"2\"}");
    assert_eq!(
        k.says("delete configmap c").lines().next().map(|line| line.starts_with("configmap \"c\" deleted")),
        Some(true)
    );
    k.make("/api/v1", &pod("p"));
    k.make("/api/v1", &pod("q"));
    assert!(k.says("delete pod p").starts_with("pod \"p\" deleted"));
    let (success, _, error) = k.run("delete pod p", &Value::Null);
    assert!(!success && error.contains("(NotFound)"), "{error}");
    assert!(k.says("delete pods --all").starts_with("pod \"q\" deleted"));
}

fn kubectl_describes(api: &Api<'_>) {
    let k = Kubectl::new(api);
    k.make("/api/v1", &pod("p"));
    k.make("/apis/apps/v1", &paused());
    let uid = api.get(&format!("/api/v1/namespaces/{}/pods/p", k.namespace)).ok()["metadata"]["uid"].clone();
    let about = json!({"kind": "Pod", "namespace": k.namespace, "name": "p", "uid": uid});
    let body = json!({
        "metadata": {"name": "p.1"}, "type": "Warning", "reason": "Failed", "message": "no such image", "count": 2,
        "involvedObject": about, "source": {"component": "kubelet"},
        "firstTimestamp": "2026-11-23T10:00:00Z", "lastTimestamp": "2026-11-23T10:00:01Z",
    });
    api.post(&format!("/api/v1/namespaces/{}/events", k.namespace), &body).created();
    let describes = |what: &str, expected: &[&str]| {
        let said = k.says(&format!("describe {what}"));
        let said = said.split_ascii_whitespace().collect::<Vec<_>>().join(" ");
        for expected in expected {
            assert!(said.contains(expected), "no {expected:?} in {said}");
        }
    };
    describes(
        "pod p",
        &["Name: p Namespace: ", "Image: image:1", "Warning Failed", "(x2 over", "kubelet no such image"],
    );
    describes("deployment d", &["Name: d Namespace: ", "Selector: app=d", "Image: image:1", "Replicas: 0 desired"]);
    describes(&format!("namespace {}", k.namespace), &["Status: Active"]);
}

fn kubectl_watches(api: &Api<'_>) {
    let k = Kubectl::new(api);
    k.make("/api/v1", &pod("p"));
    let mut child = Command::new("kubectl")
        .env("KUBECONFIG", api.kubeconfig())
        .args(["--namespace", &k.namespace, "--request-timeout", "20s", "get", "pods", "-w", "--output-watch-events"])
        .stdout(Stdio::piped())
        .spawn()
        .expect("kubectl starts");
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().expect("piped")));
    let mut next = || {
        let line = lines.next().expect("a line").expect("UTF-8");
        line.split_ascii_whitespace().take(2).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(next(), "EVENT NAME");
    assert_eq!(next(), "ADDED p");
    k.make("/api/v1", &pod("q"));
    assert_eq!(next(), "ADDED q");
    api.delete(&format!("/api/v1/namespaces/{}/pods/q", k.namespace), &Value::Null).ok();
    assert_eq!((next(), next()), ("MODIFIED q".into(), "DELETED q".into()));
    child.kill().expect("it can be ended");
    child.wait().expect("it ends");
}

fn kubectl_knows_resources_versions_and_events(api: &Api<'_>) {
    let k = Kubectl::new(api);
    let table = k.says("api-resources");
    let row = |name: &str| {
        let rows = words(&table);
        rows.into_iter().find(|row| row[0] == name).unwrap_or_else(|| panic!("no {name} in {table}")).join(" ")
    };
    assert_eq!(row("pods"), "pods po v1 true Pod");
    assert_eq!(row("deployments"), "deployments deploy apps/v1 true Deployment");
    assert_eq!(row("nodes"), "nodes no v1 false Node");
    assert!(k.says("version").contains("Server Version: v1."));
    event(api, &k.namespace, "e");
    let events = k.says("get events");
    assert!(events.contains("for the suite") && events.contains("pod/nobody"), "{events}");
    assert!(k.says("events").contains("for the suite"));
}

fn kubectl_creates_without_a_manifest(api: &Api<'_>) {
    let k = Kubectl::new(api);
    assert_eq!(k.says("create configmap c --from-literal=a=1"), "configmap/c created\n");
    assert_eq!(k.says("create secret generic s --from-literal=a=1"), "secret/s created\n");
    assert_eq!(k.says("create deployment d --image=image:1 --replicas=0"), "deployment.apps/d created\n");
}

fn kubectl_asks_what_it_may_do(api: &Api<'_>) {
    let k = Kubectl::new(api);
    assert_eq!(k.says("auth can-i list pods"), "yes\n");
}
