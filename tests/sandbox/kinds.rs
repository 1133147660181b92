//! Any kind: found by discovery, in the new way and the old, asked for with its selectors, and checked.
#![allow(clippy::disallowed_methods, reason = "a server of old and a program that is waited for live beside the test")]

use crate::kit::*;
use crate::trials;
use agent_events::domain::discovery::{Discovery, Presence};
use agent_events::domain::kind::Kind;
use agent_events::domain::target::{Selectors, Target};
use agent_events::domain::watch::{Request, Verb};
use agent_events::kubernetes::ApiServer as _;
use agent_events::kubernetes::client::{Access, Cluster, Mode};
use agent_events::kubernetes::polite::Uncounted;
use agent_events::settings::{Sources, WatchSettings, load};
use futures_util::StreamExt as _;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

trials![
    a_definition_that_comes_and_goes_is_found_and_missed,
    an_api_server_of_old_is_asked_group_by_group_and_one_that_is_down_is_unknown,
    selectors_reach_the_api_server_in_lists_and_watches,
    check_says_of_every_kind_whether_it_is_served_and_may_be_watched,
];

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

fn definition(plural: &str, kind: &str) -> Value {
    json!({
        "metadata": {"name": format!("{plural}.example.com")},
        "spec": {
            "group": "example.com", "scope": "Namespaced",
            "names": {"plural": plural, "singular": kind.to_lowercase(), "kind": kind, "shortNames": ["w"]},
            "versions": [{"name": "v1", "served": true, "storage": true, "schema": {"openAPIV3Schema": {"type": "object"}}}],
        },
    })
}

async fn client(kubeconfig: &Path) -> Cluster {
    let access = Access { mode: Mode::Kubeconfig, kubeconfig: Some(kubeconfig.to_owned()), context: None };
    Cluster::connect(&access, "c", std::sync::Arc::new(Uncounted)).await.expect("its kubeconfig leads to it")
}

fn watch(set: &[&str]) -> WatchSettings {
    let set = ["cluster.name=c", "kafka.bootstrap=b:1"].iter().chain(set).map(|text| (*text).to_owned()).collect();
    load(&Sources { set, ..Sources::default() }).unwrap_or_else(|e| panic!("{e}")).settings.watch
}

fn ids(found: &Discovery, set: &[&str]) -> Vec<String> {
    watch(set).resolve(found, 1000, "").kinds.iter().map(|served| served.kind.id()).collect()
}

async fn a_definition_that_comes_and_goes_is_found_and_missed() {
    let bed = bed().await;
    let cluster = client(bed.sandbox.kubeconfig()).await;
    let widgets = Kind::custom("example.com", "v1", "widgets", "Widget", true);
    assert_eq!(cluster.discover().await.expect("it answers").presence(&widgets), Presence::Gone);
    bed.client.post(DEFINITIONS, &definition("widgets", "Widget")).await.ok();
    let found = cluster.discover().await.expect("it answers");
    let Presence::Served(served) = found.presence(&widgets) else { panic!("served") };
    assert!(served.can_be_watched() && served.kind.namespaced() && served.kind.goes_by("w"));
    assert!(found.unknown().is_empty());
    assert!(ids(&found, &["watch.\"*.example.com\".enabled=true"]).contains(&"widgets.example.com".to_owned()));
    let everything = ids(&found, &["watch.\"*\".enabled=true", "watch.all_namespaces=true"]);
    for id in ["pods", "nodes", "namespaces", "leases.coordination.k8s.io", "widgets.example.com"] {
        assert!(everything.contains(&id.to_owned()), "{id}: {everything:?}");
    }
    assert!(!everything.contains(&"events.events.k8s.io".to_owned()), "the same objects as events");
    let here = ids(&found, &["watch.\"*\".enabled=true", "watch.pods.enabled=false"]);
    assert!(!here.contains(&"nodes".to_owned()) && !here.contains(&"pods".to_owned()), "{here:?}");
    bed.client.delete(&format!("{DEFINITIONS}/widgets.example.com")).await.ok();
    assert_eq!(cluster.discover().await.expect("it answers").presence(&widgets), Presence::Gone);
}

/// Answers of a real API server, and of none.
fn answer_of_old(path: &str, accept: &str) -> (u16, &'static [u8]) {
    let recorded: &[u8] = match path {
        _ if accept.contains("APIGroupDiscoveryList") => return (406, b"{}"),
        "/api" => include_bytes!("../../src/domain/discovery/recorded/api-versions.json"),
        "/api/v1" => include_bytes!("../../src/domain/discovery/recorded/api-v1-resources.json"),
        "/apis" => include_bytes!("../../src/domain/discovery/recorded/apis-groups.json"),
        "/apis/cert-manager.io/v1" => {
            include_bytes!("../../src/domain/discovery/recorded/cert-manager-v1-resources.json")
        }
        "/apis/away.example.com/v1" => return (503, b"service unavailable"),
        _ => return (404, b"{}"),
    };
    (200, recorded)
}

async fn an_api_server_of_old_is_asked_group_by_group_and_one_that_is_down_is_unknown() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("bound");
    let server = tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    match socket.read_u8().await {
                        Ok(byte) => head.push(byte),
                        Err(_) => return,
                    }
                }
                let head = String::from_utf8_lossy(&head).into_owned();
                let path = head.split(' ').nth(1).unwrap_or_default();
                let accept = head.lines().find(|line| line.to_lowercase().starts_with("accept:")).unwrap_or_default();
                let (status, body) = answer_of_old(path, accept);
                let head =
                    format!("HTTP/1.1 {status} x\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
                drop(socket.write_all(&[head.as_bytes(), body].concat()).await);
            });
        }
    });
    let dir = tempfile::tempdir().expect("a directory");
    let kubeconfig = dir.path().join("kubeconfig");
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\ncontexts: [{{name: c, context: {{cluster: c, user: u}}}}]\n\
         clusters: [{{name: c, cluster: {{server: \"http://{address}\"}}}}]\nusers: [{{name: u, user: {{}}}}]\n"
    );
    std::fs::write(&kubeconfig, text).expect("it is written");
    let found = client(&kubeconfig).await.discover().await.expect("it answers");
    server.abort();
    let served: Vec<String> = found.served().map(|served| served.kind.id()).collect();
    assert_eq!(served, ["bindings", "nodes", "pods", "certificates.cert-manager.io"]);
    let unknown: Vec<(&str, bool)> =
        found.unknown().iter().map(|(group, why)| (group.as_str(), why.contains("HTTP 503"))).collect();
    let want = [("autoscaling", false), ("away.example.com", true), ("cert-manager.io", false)];
    assert_eq!(unknown, want, "v1alpha2 of cert-manager.io and autoscaling are not answered for here");
}

async fn selectors_reach_the_api_server_in_lists_and_watches() {
    let bed = bed().await;
    let cluster = client(bed.sandbox.kubeconfig()).await;
    let before = bed.sandbox.state().revision();
    for (name, value) in [("a", "yes"), ("b", "no"), ("c", "yes")] {
        let path = "/api/v1/namespaces/default/configmaps";
        bed.client.post(path, &config_map(name, value)).await.ok();
    }
    let selectors = Selectors { label: Some("value in (yes)".into()), field: Some("metadata.name!=c".into()) };
    let target = Target { selectors, ..Target::all(Kind::builtin("configmaps").expect("built in")) };
    let list = Verb::List { limit: 5, next: None, at_least: None };
    let answer = cluster.send(&target, &Request { id: 1, verb: list, metadata_only: false }).await.expect("it answers");
    let body: Vec<_> = answer.body.map(|chunk| chunk.expect("whole")).collect().await;
    let list: Value = serde_json::from_slice(&body.concat()).expect("a list");
    let names: Vec<&Value> = list["items"].as_array().expect("items").iter().map(|i| &i["metadata"]["name"]).collect();
    assert_eq!(names, ["a"]);
    let verb = Verb::Watch { rv: (&*before.to_string()).into(), timeout_seconds: 1 };
    let answer = cluster.send(&target, &Request { id: 2, verb, metadata_only: false }).await.expect("it answers");
    let body: Vec<_> = answer.body.map(|chunk| chunk.expect("whole")).collect().await;
    let lines = String::from_utf8(body.concat()).expect("text");
    let added: Vec<&str> = lines.lines().filter(|line| line.contains("\"ADDED\"")).collect();
    assert!(added.len() == 1 && added[0].contains("\"name\":\"a\""), "{lines}");
}

async fn check_says_of_every_kind_whether_it_is_served_and_may_be_watched() {
    let bed = bed().await;
    bed.client.post(DEFINITIONS, &definition("widgets", "Widget")).await.ok();
    bed.client.fault(&json!({"fault": "refuse", "code": 403, "resource": "widgets.example.com", "verb": "list"})).await;
    let data = tempfile::tempdir().expect("a directory");
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    command.args(["check", "-o", "json"]).env_clear().current_dir(data.path());
    for set in [
        "cluster.mode=kubeconfig".to_owned(),
        format!("cluster.kubeconfig={:?}", bed.sandbox.kubeconfig().display().to_string()),
        "cluster.name=c".to_owned(),
        "log.engine=embedded".to_owned(),
        "watch.\"widgets.example.com\".enabled=true".to_owned(),
        "watch.nodes.enabled=true".to_owned(),
        "watch.podz.enabled=true".to_owned(),
        "watch.\"*.coordination.k8s.io\".enabled=true".to_owned(),
        "watch.max_kinds=9".to_owned(),
    ] {
        command.args(["--set", &set]);
    }
    let run = tokio::task::spawn_blocking(move || command.output()).await.expect("it ends").expect("it runs");
    let report: Value = serde_json::from_slice(&run.stdout).unwrap_or_else(|e| panic!("{e}: {run:?}"));
    let line = |check: &str| {
        let lines = report["checks"].as_array().expect("lines").iter();
        lines.clone().find(|line| line["check"] == check).cloned().unwrap_or_else(|| panic!("no {check}: {report:#}"))
    };
    assert_eq!((run.status.code(), &report["healthy"]), (Some(10), &json!(false)));
    let pods = line("rights on pods in default");
    assert_eq!((&pods["state"], &pods["detail"]), (&json!("ok"), &json!("served as v1; may list and watch")));
    assert_eq!(line("rights on nodes")["state"], "ok");
    let missing = line("kind podz");
    assert_eq!((&missing["state"], &missing["remedy"]), (&json!("warning"), &json!("did you mean pods?")));
    let beyond = line("kinds served");
    assert_eq!(beyond["detail"], "1 are beyond watch.max_kinds = 9: leases.coordination.k8s.io");
    let refused = line("rights on widgets.example.com in default");
    assert_eq!(refused["detail"], "served as example.com/v1; may not list");
    let remedy = refused["remedy"].as_str().expect("a remedy");
    assert!(remedy.contains("--verb=list,watch --resource=widgets.example.com"), "{remedy}");
    assert!(remedy.contains("'watch.\"widgets.example.com\".enabled=false'"), "{remedy}");
}
