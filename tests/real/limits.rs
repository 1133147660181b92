//! Kinds that appear while the process runs and meet a limit: a topic that nobody made, a right that nobody gave, a number
//! that is full, a definition that moves. None is silent, and none holds up another kind.

use super::checker::{fold, violations};
use super::kinds::{create, define, define_in, id, parked, rows, undefine};
use super::kit::{Ends, Parts, Process, Product, Trial, Where::*, eventually, http_get, within};
use super::losses::{Commits, silent_losses};
use agent_events::sandbox::{Fault, Rule};
use serde_json::{Value, json};
use std::process::Command;
use std::time::Duration;

pub const TRIALS: &[Trial] = &[
    ("a_kind_without_a_topic_is_named_where_none_are_created_and_goes_on_once_it_is_made", Real, without_a_topic),
    ("a_kind_without_a_topic_at_the_start_waits_alone_and_goes_on_once_it_is_made", Real, without_a_topic_at_the_start),
    ("without_the_right_to_watch_definitions_it_is_named_and_what_is_named_is_watched", Both, definitions_forbidden),
    ("a_kind_whose_storage_version_changes_begins_again_and_loses_nothing", Both, storage_version_changes),
    ("a_kind_that_is_one_too_many_is_named_and_watched_once_there_is_room", Both, one_too_many),
];

/// What the board says that is wrong.
fn said(product: &Product, what: &str) {
    eventually(&format!("{what:?} is said"), || {
        product.get("/api/v1/pipeline").1["degraded"].to_string().contains(what).then_some(())
    });
}

fn map(parts: &Parts, product: &Product, namespace: &str, name: &str) {
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    parts.api("POST", &path, &json!({"metadata": {"name": name}}));
    let path = format!("/api/v1/objects/configmaps/{namespace}/{name}");
    eventually("other kinds live on", || (product.get(&path).0 == 200).then_some(()));
}

fn without_a_topic(parts: &Parts) {
    const NAME: &str = "by-hand";
    let (plural, group) = ("lates", "byhand.test");
    parts.namespace(NAME);
    let sets = ["watch.namespaces.by-hand=true", "watch.\"*.byhand.test\".policy=\"full\""];
    // The topics that are known today, as an operator has made them.
    parts.product(NAME, &sets).shutdown();
    let product = parts.product(NAME, &[&sets[..], &["topics.create=\"never\""]].concat());
    define(parts, plural, group);
    create(parts, plural, group, NAME, "early");
    let kind = id(plural, group);
    said(&product, "topic by-hand.k8s-lates.byhand.test is missing and topics.create is \\\"never\\\": create it");
    assert_eq!(parked(&product)[&kind]["kind"], kind.as_str());
    map(parts, &product, NAME, "meanwhile");
    assert!(product.running.board().missing().is_empty(), "readiness stays");
    let mut apply = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    apply.args(["topics", "apply"]);
    for set in parts.sets(NAME).iter().map(String::as_str).chain(sets) {
        apply.args(["--set", set]);
    }
    let applied = apply.output().expect("the binary runs");
    let made = String::from_utf8_lossy(&applied.stdout);
    assert!(made.contains("created   by-hand.k8s-lates.byhand.test"), "{applied:?}");
    // What is missing is looked for once a minute.
    within(Duration::from_secs(90), "the kind goes on", || (rows(&product, &kind, NAME) == Some(1)).then_some(()));
    eventually("it is parked no more", || parked(&product).is_empty().then_some(()));
    product.shutdown();
}

fn without_a_topic_at_the_start(parts: &Parts) {
    const NAME: &str = "not-made";
    parts.namespace(NAME);
    let namespace = "watch.namespaces.not-made=true";
    parts.product(NAME, &[namespace, "watch.services.enabled=false"]).shutdown();
    // Named by itself: no discovery is needed.
    let product = parts.product(NAME, &[namespace, "topics.create=\"never\""]);
    said(&product, "topic not-made.k8s-services is missing and topics.create is \\\"never\\\": create it");
    assert_eq!(parked(&product).keys().collect::<Vec<_>>(), ["services"]);
    map(parts, &product, NAME, "meanwhile");
    eventually("readiness is given", || product.running.board().missing().is_empty().then_some(()));
    let service = json!({"metadata": {"name": "s"}, "spec": {"ports": [{"port": 80}]}});
    parts.api("POST", &format!("/api/v1/namespaces/{NAME}/services"), &service);
    let mut apply = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    apply.args(["topics", "apply"]);
    for set in parts.sets(NAME).iter().map(String::as_str).chain([namespace]) {
        apply.args(["--set", set]);
    }
    let applied = apply.output().expect("the binary runs");
    assert!(String::from_utf8_lossy(&applied.stdout).contains("created   not-made.k8s-services"), "{applied:?}");
    within(Duration::from_secs(90), "the kind goes on", || (rows(&product, "services", NAME) == Some(1)).then_some(()));
    eventually("it is parked no more", || parked(&product).is_empty().then_some(()));
    product.shutdown();
}

/// Takes the right to hear of definitions from whoever asks with these settings, until it is dropped.
struct Forbidden<'p>(&'p Parts, Vec<String>);

impl<'p> Forbidden<'p> {
    const FAULT: Fault = Fault::Refuse { code: 403, retry_after: None };

    fn new(parts: &'p Parts, name: &str, group: &str) -> Self {
        let Ends::Real { cluster, .. } = &parts.ends else {
            for verb in ["list", "watch"] {
                let definitions = "customresourcedefinitions.apiextensions.k8s.io";
                parts.sandbox().faults().inject(Rule::new(Self::FAULT).of(definitions).verb(verb));
            }
            return Self(parts, Vec::new());
        };
        const RBAC: &str = "/apis/rbac.authorization.k8s.io/v1";
        let meta = json!({"name": name});
        let account = format!("/api/v1/namespaces/{name}/serviceaccounts");
        parts.api("POST", &account, &json!({"metadata": meta}));
        let rules = json!([{"apiGroups": [group], "resources": ["*"], "verbs": ["list", "watch"]}]);
        parts.api("POST", &format!("{RBAC}/clusterroles"), &json!({"metadata": meta, "rules": rules}));
        let binding = json!({"metadata": meta,
            "subjects": [{"kind": "ServiceAccount", "name": name, "namespace": name}],
            "roleRef": {"kind": "ClusterRole", "name": name, "apiGroup": "rbac.authorization.k8s.io"}});
        parts.api("POST", &format!("{RBAC}/clusterrolebindings"), &binding);
        let token = cluster.service_account_token(name, name).expect("a token");
        let kubeconfig = cluster.kubeconfig_for(&token).expect("a kubeconfig").display().to_string();
        Self(parts, vec![format!("cluster.kubeconfig={kubeconfig:?}"), "cluster.id=\"an-id\"".into()])
    }
}

impl Drop for Forbidden<'_> {
    fn drop(&mut self) {
        if let Ends::Laptop(sandbox) = &self.0.ends {
            sandbox.faults().lift(Self::FAULT);
        }
    }
}

fn definitions_forbidden(parts: &Parts) {
    const NAME: &str = "unheard";
    const GROUP: &str = "unheard.test";
    parts.namespace(NAME);
    define(parts, "knowns", GROUP);
    create(parts, "knowns", GROUP, NAME, "early");
    let forbidden = Forbidden::new(parts, NAME, GROUP);
    let mut sets: Vec<String> = ["pods", "services", "deployments", "statefulsets", "secrets", "events", "configmaps"]
        .map(|kind| format!("watch.{kind}.enabled=false"))
        .into();
    sets.extend(["knowns", "lates"].map(|plural| format!("watch.\"{plural}.{GROUP}\".policy=\"full\"")));
    sets.extend([format!("watch.namespaces.{NAME}=true"), "watch.poll_interval=\"2s\"".into()]);
    sets.extend(forbidden.1.iter().cloned());
    let mut process = parts.process(NAME, &sets.iter().map(String::as_str).collect::<Vec<_>>());
    process.await_ready();
    // Well before the minute after which whatever is missing is looked for.
    let soon = Duration::from_secs(25);
    let there = |process: &Process, plural: &str, name: &str| {
        let path = format!("/api/v1/objects/{plural}.{GROUP}/{NAME}/{name}");
        within(soon, &path, || (http_get(process.api, &path).0 == 200).then_some(()));
    };
    there(&process, "knowns", "early");
    eventually("the right that is missing is named", || {
        let log = process.stderr();
        let names_it = log.contains("definitions cannot be watched") && log.contains("customresourcedefinitions");
        (names_it && log.contains("RBAC needs")).then_some(())
    });
    define(parts, "lates", GROUP);
    create(parts, "lates", GROUP, NAME, "at-last");
    there(&process, "lates", "at-last");
    create(parts, "knowns", GROUP, NAME, "later");
    there(&process, "knowns", "later");
    assert_eq!(process.stderr().matches("definitions cannot be watched").count(), 1, "said once");
    assert_eq!(process.terminate(), Some(0));
}

fn storage_version_changes(parts: &Parts) {
    const NAME: &str = "moves";
    let (plural, group) = ("movers", "moves.test");
    let kind = id(plural, group);
    parts.namespace(NAME);
    define_in(parts, plural, group, &[("v1beta1", true)]);
    let path = |version: &str| format!("/apis/{group}/{version}/namespaces/{NAME}/{plural}");
    let mut commits = Commits::default();
    let mut write = |version: &str, name: &str, turn: usize| {
        let object = json!({"apiVersion": format!("{group}/{version}"), "kind": "MOVER",
            "metadata": {"name": name}, "spec": {"turn": turn}});
        let path = path(version);
        let written = eventually("the object is taken", || {
            let (status, answer) = match turn {
                0 => parts.ask("POST", &path, &object),
                _ => parts.ask("PATCH", &format!("{path}/{name}"), &object),
            };
            assert!(matches!(status, 200 | 201 | 404 | 429 | 500..), "{path}: {status} {answer}");
            matches!(status, 200 | 201).then_some(answer)
        });
        commits.wrote(&serde_json::from_str(&written).expect("JSON"));
    };
    ["a", "b", "c"].iter().for_each(|name| write("v1beta1", name, 0));
    let sets = [format!("watch.\"{kind}\".policy=\"full\""), format!("watch.namespaces.{NAME}=true")];
    let product = parts.product(NAME, &sets.each_ref().map(String::as_str));
    eventually("all are there", || (rows(&product, &kind, NAME) == Some(3)).then_some(()));
    define_in(parts, plural, group, &[("v1", true), ("v1beta1", false)]);
    // Before, while and after its watcher moves.
    (1..=3).for_each(|turn| write("v1beta1", "a", turn));
    let version = || {
        let rows = product.running.board().watchers();
        rows.iter().find(|row| row.target.kind.id() == kind).map(|row| row.target.kind.version().to_owned())
    };
    let mut turn = 3;
    eventually("it is watched as the newer version", || {
        turn += 1;
        write("v1beta1", "b", turn);
        (version().as_deref() == Some("v1")).then_some(())
    });
    write("v1", "d", 0);
    write("v1", "c", 1);
    let topic = product.topic(&format!("k8s-{kind}"));
    let mut records = Vec::new();
    eventually("fold, store and API server agree", || {
        let truth = super::checker::versions(&parts.api("GET", &path("v1"), &Value::Null));
        records = parts.dump(&topic);
        (fold(&records) == truth && product.state(&kind, NAME) == truth).then_some(())
    });
    assert_eq!(records.iter().filter(|record| record.op() == Some("d")).count(), 0, "nothing was deleted");
    assert_eq!(violations(&records), Vec::<String>::new());
    assert_eq!(silent_losses(&commits, &records), Vec::<String>::new());
    product.shutdown();
    undefine(parts, plural, group);
}

fn one_too_many(parts: &Parts) {
    const NAME: &str = "full";
    const GROUP: &str = "full.test";
    parts.namespace(NAME);
    let builtin = ["pods", "services", "deployments", "statefulsets", "secrets", "events"];
    let mut sets: Vec<String> = builtin.map(|kind| format!("watch.{kind}.enabled=false")).into();
    // ConfigMaps, and two more.
    sets.extend(["watch.max_kinds=3".into(), format!("watch.\"*.{GROUP}\".policy=\"full\"")]);
    sets.push(format!("watch.namespaces.{NAME}=true"));
    let product = parts.product(NAME, &sets.iter().map(String::as_str).collect::<Vec<_>>());
    for plural in ["as", "bs"] {
        define(parts, plural, GROUP);
        create(parts, plural, GROUP, NAME, "o");
        let kind = id(plural, GROUP);
        eventually("there is room for it", || (rows(&product, &kind, NAME) == Some(1)).then_some(()));
    }
    define(parts, "cs", GROUP);
    create(parts, "cs", GROUP, NAME, "o");
    let third = id("cs", GROUP);
    said(&product, "cs.full.test: more than watch.max_kinds = 3 kinds are served: raise it, or name fewer");
    assert_eq!(parked(&product).keys().collect::<Vec<_>>(), [&third]);
    assert_eq!(rows(&product, &third, NAME), None, "it is not there, rather than empty");
    map(parts, &product, NAME, "meanwhile");
    for plural in ["as", "bs"] {
        create(parts, plural, GROUP, NAME, "p");
        let kind = id(plural, GROUP);
        eventually("what has its place keeps it", || (rows(&product, &kind, NAME) == Some(2)).then_some(()));
    }
    undefine(parts, "as", GROUP);
    eventually("it has the place of one that went", || (rows(&product, &third, NAME) == Some(1)).then_some(()));
    assert!(!parked(&product).contains_key(&third), "{:?}", parked(&product));
    product.shutdown();
    ["bs", "cs"].iter().for_each(|plural| undefine(parts, plural, GROUP));
}
