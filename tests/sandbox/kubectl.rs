//! A walk with the real `kubectl`: what people will type, and what they will read.

use crate::kit::{Bed, PATIENCE, bed};
use serde_json::json;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Output, Stdio};
use tokio::sync::mpsc;

crate::trials![
    every_kind_is_listed_in_every_form,
    a_manifest_is_applied_changed_and_applied_again,
    server_side_apply_creates_and_merges,
    the_verbs_of_every_day,
    a_watch_shows_what_happens,
    things_are_described_with_their_events,
    things_are_deleted_and_waited_for,
    things_are_created_by_words,
    a_custom_resource_is_at_home,
    what_is_not_served_is_explained,
];

/// Why there is no `kubectl`.
pub fn missing() -> Option<String> {
    let found = std::process::Command::new("kubectl").args(["version", "--client"]).stdout(Stdio::null()).status();
    match found {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("kubectl version --client: {status}")),
        Err(error) => Some(format!("kubectl: {error}; put it on the PATH")),
    }
}

impl Bed {
    /// No request takes longer than `limit`; 0: none is too long.
    fn command(&self, words: &str, limit: &str) -> Command {
        let mut command = Command::new("kubectl");
        command.arg("--request-timeout").arg(limit);
        command
            .arg("--kubeconfig")
            .arg(self.sandbox.kubeconfig())
            .arg("--cache-dir")
            .arg(self.dir.path().join("cache"));
        // Words in single quotes stay together.
        let mut quoted = false;
        let mut word = String::new();
        for c in words.chars().chain([' ']) {
            match c {
                '\'' => quoted = !quoted,
                ' ' if !quoted => {
                    if !word.is_empty() {
                        command.arg(std::mem::take(&mut word));
                    }
                }
                c => word.push(c),
            }
        }
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    async fn output(&self, words: &str, input: &str) -> Output {
        let mut child = self.command(words, "20s").stdin(Stdio::piped()).spawn().expect("kubectl starts");
        let mut stdin = child.stdin.take().expect("piped");
        stdin.write_all(input.as_bytes()).expect("it reads");
        drop(stdin);
        #[allow(clippy::disallowed_methods, reason = "a child of the test is waited for, and the test waits for that")]
        let ended = tokio::task::spawn_blocking(move || child.wait_with_output());
        let ended = tokio::time::timeout(PATIENCE, ended).await;
        ended.unwrap_or_else(|_| panic!("kubectl {words} does not end")).expect("no panic").expect("kubectl ends")
    }

    /// Starts it, and gives its lines as they come.
    fn follow(&self, words: &str) -> Following {
        let mut child = self.command(words, "0").spawn().expect("kubectl starts");
        let stdout = child.stdout.take().expect("piped");
        let (into, lines) = mpsc::unbounded_channel();
        std::thread::spawn(move || {
            let lines = BufReader::new(stdout).lines().map_while(Result::ok);
            lines.for_each(|line| into.send(line).unwrap_or_default());
        });
        Following { child, lines }
    }

    /// What it prints; it must succeed.
    async fn kubectl(&self, words: &str) -> String {
        self.kubectl_with(words, "").await
    }

    async fn kubectl_with(&self, words: &str, input: &str) -> String {
        let output = self.output(words, input).await;
        let (text, error) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "kubectl {words}: {error}{text}");
        text.into_owned()
    }

    /// What it complains about; it must fail.
    async fn complaint(&self, words: &str) -> String {
        let output = self.output(words, "").await;
        assert!(!output.status.success(), "kubectl {words} succeeds: {}", String::from_utf8_lossy(&output.stdout));
        String::from_utf8_lossy(&output.stderr).into_owned()
    }
}

/// A `kubectl` that goes on until it is dropped.
struct Following {
    child: Child,
    lines: mpsc::UnboundedReceiver<String>,
}

impl Following {
    /// Its next line, with single blanks.
    async fn next(&mut self) -> String {
        let line = tokio::time::timeout(PATIENCE, self.lines.recv()).await.expect("a line in time");
        line.expect("it goes on").split_whitespace().collect::<Vec<_>>().join(" ")
    }
}

impl Drop for Following {
    fn drop(&mut self) {
        self.child.kill().unwrap_or_default();
        self.child.wait().map(drop).unwrap_or_default();
    }
}

const WEB: &str = "
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: app, image: 'nginx:1.27', ports: [{containerPort: 80}], env: [{name: A, value: '1'}]}
      - {name: side, image: 'side:1'}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data: {a: '1', b: '2'}
---
apiVersion: v1
kind: Service
metadata: {name: web}
spec: {selector: {app: web}, ports: [{port: 80}]}
";

async fn every_kind_is_listed_in_every_form() {
    let bed = bed().await;
    bed.kubectl_with("apply -f -", WEB).await;
    for resource in bed.sandbox.state().resources() {
        for form in ["", "-o wide", "-o json", "-o yaml", "-o name"] {
            let scope = if resource.namespaced { "-A" } else { "" };
            bed.kubectl(&format!("get {} {scope} {form}", resource.qualified)).await;
        }
    }
    assert_eq!(
        bed.kubectl("get cm -l '!missing' --field-selector metadata.name=settings -o name").await,
        "configmap/settings\n"
    );
    let wide = bed.kubectl("get deploy -o wide").await;
    assert!(wide.starts_with("NAME   READY   UP-TO-DATE   AVAILABLE   AGE   CONTAINERS   IMAGES"), "{wide}");
    assert!(wide.contains("web    0/2     0            0"), "{wide}");
    let services = bed.kubectl("get svc web").await;
    assert!(services.starts_with("NAME   TYPE        CLUSTER-IP") && services.contains("80/TCP"), "{services}");
    let all = bed.kubectl("get all -A").await;
    assert!(all.contains("deployment.apps/web") && all.contains("service/kubernetes"), "{all}");
    let resources = bed.kubectl("api-resources").await;
    assert!(resources.contains("deployments") && resources.contains("sts"), "{resources}");
    assert!(bed.kubectl("version").await.contains("sandbox"));
    assert!(bed.kubectl("get --raw /readyz").await.contains("ok"));
}

async fn a_manifest_is_applied_changed_and_applied_again() {
    let bed = bed().await;
    assert!(bed.kubectl_with("apply -f -", WEB).await.contains("deployment.apps/web created"));
    let again = bed.kubectl_with("apply -f -", WEB).await;
    assert_eq!(again, "deployment.apps/web unchanged\nconfigmap/settings unchanged\nservice/web unchanged\n");
    let changed = WEB.replace("nginx:1.27", "nginx:1.28").replace(", b: '2'", "").replace("value: '1'", "value: '2'");
    let diff = bed.output("diff -f -", &changed).await;
    let text = String::from_utf8_lossy(&diff.stdout).into_owned();
    assert_eq!(diff.status.code(), Some(1), "{text}");
    assert!(text.contains("-      - image: nginx:1.27") || text.contains("nginx:1.28"), "{text}");
    let applied = bed.kubectl_with("apply -f -", &changed).await;
    assert_eq!(applied, "deployment.apps/web configured\nconfigmap/settings configured\nservice/web unchanged\n");
    let containers = bed.kubectl("get deploy web -o jsonpath={.spec.template.spec.containers[*].image}").await;
    assert_eq!(containers, "nginx:1.28 side:1");
    assert_eq!(bed.kubectl("get cm settings -o jsonpath={.data}").await, r#"{"a":"1"}"#);
    let without = changed.replace("      - {name: side, image: 'side:1'}\n", "");
    bed.kubectl_with("apply -f -", &without).await;
    let containers = bed.kubectl("get deploy web -o jsonpath={.spec.template.spec.containers[*].name}").await;
    assert_eq!(containers, "app", "what is gone from the manifest is gone from the list");
}

async fn server_side_apply_creates_and_merges() {
    let bed = bed().await;
    bed.kubectl_with("apply --server-side -f -", WEB).await;
    bed.kubectl("label cm settings kept=yes").await;
    bed.kubectl_with("apply --server-side --field-manager me -f -", &WEB.replace("a: '1'", "a: '9'")).await;
    assert_eq!(bed.kubectl("get cm settings -o jsonpath={.data.a}{.metadata.labels.kept}").await, "9yes");
    let managers =
        bed.kubectl("get cm settings -o jsonpath={.metadata.managedFields[*].manager} --show-managed-fields").await;
    assert!(managers.contains("me") && managers.contains("kubectl-label"), "{managers}");
}

async fn the_verbs_of_every_day() {
    let bed = bed().await;
    bed.kubectl_with("create -f -", WEB).await;
    bed.kubectl("scale deploy/web --replicas=4").await;
    bed.kubectl("label deploy/web tier=front").await;
    bed.kubectl("annotate deploy/web note=hello").await;
    bed.kubectl("set image deploy/web app=nginx:1.29").await;
    bed.kubectl("set env deploy/web B=2").await;
    bed.kubectl("rollout restart deploy/web").await;
    let seen = bed.kubectl("get deploy web -o json").await;
    let seen: serde_json::Value = serde_json::from_str(&seen).unwrap();
    assert_eq!((&seen["spec"]["replicas"], &seen["metadata"]["labels"]["tier"]), (&json!(4), &json!("front")));
    assert_eq!(seen["metadata"]["annotations"]["note"], "hello");
    let app = &seen["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(
        (&app["image"], &app["env"]),
        (&json!("nginx:1.29"), &json!([{"name": "A", "value": "1"}, {"name": "B", "value": "2"}]))
    );
    bed.kubectl(r#"patch cm settings -p '{"data":{"c":"3"}}'"#).await;
    bed.kubectl(r#"patch cm settings --type=merge -p '{"data":{"a":null}}'"#).await;
    bed.kubectl(r#"patch cm settings --type=json -p '[{"op":"replace","path":"/data/b","value":"9"}]'"#).await;
    assert_eq!(bed.kubectl("get cm settings -o jsonpath={.data}").await, r#"{"b":"9","c":"3"}"#);
    bed.kubectl_with(
        "replace -f -",
        "# YAML\n{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {z: '1'}}",
    )
    .await;
    assert_eq!(bed.kubectl("get cm settings -o jsonpath={.data}").await, r#"{"z":"1"}"#);
    bed.kubectl("run once --image=busybox").await;
    assert!(bed.kubectl("get pod once").await.contains("Pending"));
    bed.kubectl("get events").await;
    bed.kubectl("events").await;
    bed.kubectl("expose deploy web --name front --port 80").await;
    assert!(bed.kubectl("auth can-i list pods").await.contains("yes"));
}

async fn a_watch_shows_what_happens() {
    let bed = bed().await;
    bed.kubectl_with("apply -f -", WEB).await;
    let mut maps = bed.follow("get cm -w --no-headers -o custom-columns=N:.metadata.name,D:.data.a");
    assert_eq!(maps.next().await, "settings 1");
    bed.kubectl(r#"patch cm settings -p '{"data":{"a":"7"}}'"#).await;
    assert_eq!(maps.next().await, "settings 7");
    let mut table = bed.follow("get deploy -w");
    assert!(table.next().await.starts_with("NAME READY"));
    assert!(table.next().await.starts_with("web 0/2"));
    bed.kubectl("scale deploy/web --replicas=5").await;
    assert!(table.next().await.starts_with("web 0/5"));
}

async fn things_are_described_with_their_events() {
    let bed = bed().await;
    bed.kubectl_with("apply -f -", WEB).await;
    bed.kubectl("run once --image=busybox").await;
    let uid = bed.kubectl("get pod once -o jsonpath={.metadata.uid}").await;
    let event = json!({"apiVersion": "v1", "kind": "Event", "metadata": {"name": "once.1"}, "type": "Warning",
        "reason": "FailedScheduling", "message": "no node wants it", "count": 1, "lastTimestamp": "2026-11-23T10:00:00Z",
        "involvedObject": {"apiVersion": "v1", "kind": "Pod", "name": "once", "namespace": "default", "uid": uid}});
    bed.kubectl_with("create -f -", &event.to_string()).await;
    let pod = bed.kubectl("describe pod once").await;
    assert!(pod.contains("FailedScheduling") && pod.contains("no node wants it"), "{pod}");
    assert!(bed.kubectl("describe deploy web").await.contains("RollingUpdate"));
    assert!(bed.kubectl("events --for pod/once").await.contains("no node wants it"));
    let node = json!({"apiVersion": "v1", "kind": "Node", "metadata": {"name": "n1"},
                      "status": {"conditions": [{"type": "Ready", "status": "True"}], "nodeInfo": {"kubeletVersion": "v1.37.2"}}});
    bed.kubectl_with("create -f -", &node.to_string()).await;
    bed.kubectl("describe node n1").await;
    assert!(bed.kubectl("get nodes").await.contains("Ready"));
    bed.kubectl("cordon n1").await;
    assert!(bed.kubectl("get nodes").await.contains("SchedulingDisabled"));
    bed.kubectl("taint node n1 a=b:NoSchedule").await;
}

async fn things_are_created_by_words() {
    let bed = bed().await;
    bed.kubectl("create namespace team").await;
    bed.kubectl("create configmap c -n team --from-literal=a=1 --from-literal=b=").await;
    bed.kubectl("create secret generic s -n team --from-literal=password=hunter2").await;
    bed.kubectl("create deployment web -n team --image=nginx:1.27 --replicas=3 --port=80 -- sleep 7").await;
    bed.kubectl("create service clusterip web -n team --tcp=80:8080").await;
    bed.kubectl("create serviceaccount robot -n team").await;
    assert_eq!(bed.kubectl("get cm c -n team -o jsonpath={.data}").await, r#"{"a":"1","b":""}"#);
    assert_eq!(
        bed.kubectl("get secret s -n team -o jsonpath={.type}{.data}").await,
        r#"Opaque{"password":"aHVudGVyMg=="}"#
    );
    let web = bed.kubectl("get deploy web -n team -o json").await;
    let web: serde_json::Value = serde_json::from_str(&web).unwrap();
    let container = &web["spec"]["template"]["spec"]["containers"][0];
    assert_eq!((&web["spec"]["replicas"], &container["image"]), (&json!(3), &json!("nginx:1.27")));
    assert_eq!((&container["command"], &container["ports"][0]["containerPort"]), (&json!(["sleep", "7"]), &json!(80)));
    let port = bed.kubectl("get svc web -n team -o jsonpath={.spec.ports[0].port}/{.spec.ports[0].targetPort}").await;
    assert_eq!(port, "80/8080");
    assert!(bed.kubectl("auth can-i list pods").await.contains("yes"));
    bed.client.fault(&json!({"fault": "refuse", "code": 403, "resource": "pods", "verb": "list"})).await;
    assert!(bed.complaint("get pods").await.contains("Forbidden"));
    assert!(String::from_utf8_lossy(&bed.output("auth can-i list pods", "").await.stdout).contains("no"));
    bed.kubectl("auth can-i --list").await;
}

async fn things_are_deleted_and_waited_for() {
    let bed = bed().await;
    bed.kubectl_with("apply -f -", WEB).await;
    bed.kubectl("run once --image=busybox").await;
    bed.kubectl("delete pod once").await;
    bed.kubectl("delete svc web --wait=false").await;
    bed.kubectl("delete deploy web --cascade=foreground").await;
    bed.kubectl("delete cm --all").await;
    assert_eq!(bed.kubectl("get cm,deploy,pods -o name").await, "");
    bed.kubectl_with("create -f -", "# YAML\n{apiVersion: v1, kind: Namespace, metadata: {name: team}}").await;
    bed.kubectl_with("apply -n team -f -", WEB).await;
    bed.kubectl("delete ns team").await;
    assert!(bed.complaint("get ns team").await.contains("NotFound"));
    assert!(bed.complaint("delete ns kube-system").await.contains("Forbidden"));
}

async fn a_custom_resource_is_at_home() {
    let bed = bed().await;
    let definition = "
apiVersion: apiextensions.k8s.io/v1
kind: CustomResourceDefinition
metadata: {name: widgets.example.com}
spec:
  group: example.com
  scope: Namespaced
  names: {plural: widgets, singular: widget, kind: Widget, shortNames: [wd]}
  versions:
  - name: v1
    served: true
    storage: true
    schema: {openAPIV3Schema: {type: object, x-kubernetes-preserve-unknown-fields: true}}
    additionalPrinterColumns: [{name: Size, type: integer, jsonPath: .spec.size}]
";
    bed.kubectl_with("apply -f -", definition).await;
    bed.kubectl("wait --for=condition=Established crd/widgets.example.com --timeout=5s").await;
    let widget = "# YAML\n{apiVersion: example.com/v1, kind: Widget, metadata: {name: w}, spec: {size: 3}}";
    bed.kubectl_with("apply -f -", widget).await;
    bed.kubectl_with("apply -f -", &widget.replace("size: 3", "size: 4")).await;
    let list = bed.kubectl("get wd").await;
    assert!(list.starts_with("NAME   SIZE") && list.contains("w      4"), "{list}");
    bed.kubectl("delete crd widgets.example.com").await;
    bed.complaint("get widgets").await;
}

async fn what_is_not_served_is_explained() {
    let bed = bed().await;
    bed.kubectl("run once --image=busybox").await;
    assert!(bed.complaint("exec once -- ls").await.contains("does not"));
    assert!(bed.complaint("top pods").await.contains("not available"));
    assert!(bed.complaint("explain pods").await.contains("not found"));
    assert!(bed.complaint("get jobs").await.contains("doesn't have a resource type"));
    assert!(bed.complaint("create role r --verb=get --resource=pods").await.contains("could not find"));
}
