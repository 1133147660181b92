//! What a restart costs, and what it does when the settings are not what they were.

use super::checker::{Record, fold};
use super::kit::{Parts, Process, Trial, Where::*, eventually, http_get};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::TcpStream;
use std::path::PathBuf;

pub const TRIALS: &[Trial] = &[
    ("after_kill_9_within_the_window_nothing_is_listed_and_the_saved_fold_is_gone_on_from", Both, within_the_window),
    ("a_damaged_saved_fold_is_left_aside_and_the_log_read_whole", Both, damaged),
    ("a_namespace_and_a_kind_that_are_captured_no_more_are_deleted_from_the_log_once", Both, leaving),
    ("what_another_redaction_hides_is_not_written_again_whatever_else_the_settings_change", Both, hidden_since),
    ("settings_that_are_taken_back_after_a_kill_leave_nothing_behind_of_what_they_did", Both, taken_back),
    ("when_the_redaction_changes_everything_is_written_anew_as_a_read_without_the_old_version", Both, other_policy),
];

const MAPS: &str = "configmaps";

fn map(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/{MAPS}")
}

fn create(parts: &Parts, namespace: &str, n: usize) {
    parts.api("POST", &map(namespace), &json!({"metadata": {"name": format!("m-{n}")}, "data": {"n": "0"}}));
}

fn of<'r>(records: &'r [Record], namespace: &str) -> Vec<&'r Record> {
    let here = format!("/{namespace}/");
    records.iter().filter(|r| r.key.contains(&here)).collect()
}

fn published(parts: &Parts, topic: &str, namespace: &str, count: usize) {
    eventually("all are published", || {
        let records = parts.dump(topic);
        (of(&records, namespace).len() >= count).then_some(())
    });
}

fn saved(parts: &Parts, prefix: &str) -> PathBuf {
    parts.directory().join(prefix).join("fold").join("configmaps.fold")
}

/// The lists that this process made, by its own count.
fn lists(process: &Process) -> Vec<String> {
    let (_, metrics) = http_get(process.ops, "/metrics");
    let metrics = String::from_utf8_lossy(&metrics).into_owned();
    metrics.lines().filter(|line| line.starts_with("agent_events_relists")).map(str::to_owned).collect()
}

fn agree(parts: &Parts, namespace: &str, topic: &str) {
    eventually("fold and API server agree", || {
        let truth = super::checker::versions(&parts.api("GET", &map(namespace), &Value::Null));
        let mut records = parts.dump(topic);
        let here = format!("/{namespace}/");
        records.retain(|r| r.key.starts_with('~') || r.key.contains(&here));
        (fold(&records) == truth).then_some(())
    });
}

fn within_the_window(parts: &Parts) {
    parts.namespace("window");
    let sets = ["watch.namespaces.window=true", "store.save_interval=\"1s\""];
    let mut process = parts.process("window", &sets);
    process.await_ready();
    assert_ne!(lists(&process), [""; 0], "without a checkpoint there is");
    for n in 0..120 {
        create(parts, "window", n);
    }
    let topic = "window.k8s-configmaps";
    published(parts, topic, "window", 120);
    let has = |bytes: &[u8], name: &str| bytes.windows(name.len()).any(|w| w == name.as_bytes());
    eventually("the fold is saved behind them", || {
        let bytes = std::fs::read(saved(parts, "window")).ok()?;
        (0..120).all(|n| has(&bytes, &format!("m-{n}"))).then_some(())
    });
    process.kill9();
    for n in 0..40 {
        parts.api("DELETE", &format!("{}/m-{n}", map("window")), &Value::Null);
    }
    for n in 120..150 {
        create(parts, "window", n);
    }
    let again = testbed::Stopwatch::start();
    let mut process = parts.process("window", &sets);
    process.await_ready();
    println!("ready {:.2} s after a kill", again.elapsed().as_secs_f64());
    agree(parts, "window", topic);
    assert_eq!(lists(&process), [""; 0], "within the window there is nothing to list");
    let said = process.stderr();
    assert!(said.contains("taken from the saved fold"), "{said}");
    let records = parts.dump(topic);
    let deletes = of(&records, "window").into_iter().filter(|r| r.op() == Some("d")).count();
    assert_eq!(deletes, 40);
    assert_eq!(process.terminate(), Some(0));
}

fn damaged(parts: &Parts) {
    parts.namespace("damaged");
    let sets = ["watch.namespaces.damaged=true"];
    let mut process = parts.process("damaged", &sets);
    process.await_ready();
    for n in 0..20 {
        create(parts, "damaged", n);
    }
    published(parts, "damaged.k8s-configmaps", "damaged", 20);
    assert_eq!(process.terminate(), Some(0));
    let path = saved(parts, "damaged");
    let mut bytes = std::fs::read(&path).expect("it is saved at the end");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(&path, bytes).expect("it can be damaged");
    let mut process = parts.process("damaged", &sets);
    process.await_ready();
    agree(parts, "damaged", "damaged.k8s-configmaps");
    let said = process.stderr();
    assert!(said.contains("the saved fold is not used") && said.contains("it is damaged"), "{said}");
    let (_, body) = http_get(process.api, "/api/v1/objects?kind=configmaps&namespace=damaged&limit=100");
    let body: Value = serde_json::from_slice(&body).expect("JSON");
    assert!(body["items"].as_array().is_some_and(|items| items.len() >= 20), "{body}");
    assert_eq!(process.terminate(), Some(0));
}

fn descoped(records: &[&Record]) -> usize {
    records.iter().filter(|r| r.op() == Some("d") && r.source("observed") == Some("descoped")).count()
}

fn leaving(parts: &Parts) {
    for namespace in ["stays", "leaves"] {
        parts.namespace(namespace);
        for n in 0..30 {
            create(parts, namespace, n);
        }
    }
    let topic = "leaving.k8s-configmaps";
    let mut process = parts.process("leaving", &["watch.all_namespaces=true"]);
    process.await_ready();
    published(parts, topic, "leaves", 30);
    assert_eq!(process.terminate(), Some(0));
    // Twice: the second start has nothing left to say.
    for _ in 0..2 {
        let mut process = parts.process("leaving", &["watch.namespaces.stays=true"]);
        process.await_ready();
        eventually("its objects are deleted from the log", || {
            let records = parts.dump(topic);
            (descoped(&of(&records, "leaves")) >= 30).then_some(())
        });
        agree(parts, "stays", topic);
        assert_eq!(process.terminate(), Some(0));
    }
    let records = parts.dump(topic);
    // With the map that every namespace of a real cluster has.
    let left = descoped(&of(&records, "leaves"));
    assert!((30..=31).contains(&left), "{left}");
    assert_eq!(descoped(&of(&records, "stays")), 0);
    // The kind itself.
    let mut process = parts.process("leaving", &["watch.namespaces.stays=true", "watch.configmaps.enabled=false"]);
    process.await_ready();
    eventually("the kind is said to be captured no more", || {
        process.stderr().contains("captured no more").then_some(())
    });
    assert_eq!(process.terminate(), Some(0));
    let records = parts.dump(topic);
    assert!(fold(&records).is_empty(), "{:?}", fold(&records));
    // And back: from a list.
    let mut process = parts.process("leaving", &["watch.namespaces.stays=true"]);
    process.await_ready();
    agree(parts, "stays", topic);
    assert_eq!(process.terminate(), Some(0));
}

/// A first life shows the values of a namespace; the second one hides them, in the same scope, in a wider one, in another
/// one, and without the kind.
fn hidden_since(parts: &Parts) {
    const VALUE: &str = "canary-of-another-redaction";
    let (shown, here) = ("redaction.configmaps.full_namespaces.hidden=true", "watch.namespaces.hidden=true");
    parts.namespace("hidden");
    let lives: [(&str, &[&str]); 4] = [
        ("hidden-same", &[here]),
        ("hidden-wider", &["watch.all_namespaces=true"]),
        ("hidden-elsewhere", &["watch.namespaces.default=true"]),
        ("hidden-nowhere", &[here, "watch.configmaps.enabled=false"]),
    ];
    for (prefix, sets) in lives {
        let topic = format!("{prefix}.k8s-configmaps");
        let path = |name: &str| format!("{}/{name}", map("hidden"));
        for name in ["stays", "goes"] {
            let body = json!({"metadata": {"name": name}, "data": {"n": VALUE}});
            parts.api("POST", &map("hidden"), &body);
        }
        let mut process = parts.process(prefix, &[here, shown]);
        process.await_ready();
        let holds = |record: &Record| record.value.as_ref().is_some_and(|value| value.to_string().contains(VALUE));
        eventually("the first life shows the values", || {
            (parts.dump(&topic).iter().filter(|record| holds(record)).count() >= 2).then_some(())
        });
        eventually("a checkpoint", || {
            let checkpoints = parts.dump(&format!("{prefix}.agent-events-checkpoints"));
            checkpoints.iter().any(|r| r.key.ends_with("/configmaps@hidden")).then_some(())
        });
        assert_eq!(process.terminate(), Some(0));
        let stood: Vec<(i32, i64)> = parts.dump(&topic).iter().map(|r| (r.partition, r.offset)).collect();
        parts.api("DELETE", &path("goes"), &Value::Null);
        let mut process = parts.process(prefix, sets);
        process.await_ready();
        let later = || -> Vec<Record> {
            let records = parts.dump(&topic).into_iter();
            records.filter(|r| !stood.contains(&(r.partition, r.offset)) && r.key.contains("/hidden/")).collect()
        };
        let is =
            |name: &str, op: &str| later().iter().any(|r| r.key.ends_with(&format!("/{name}")) && r.op() == Some(op));
        if prefix == "hidden-same" || prefix == "hidden-wider" {
            eventually("what went is deleted", || is("goes", "d").then_some(()));
            eventually("what stays is written anew", || is("stays", "r").then_some(()));
            parts.api("PATCH", &path("stays"), &json!({"metadata": {"labels": {"touched": "yes"}}}));
            eventually("and changes", || is("stays", "u").then_some(()));
            let (status, body) = http_get(process.api, "/api/v1/objects/configmaps/hidden/stays");
            assert!(status == 200 && !String::from_utf8_lossy(&body).contains(VALUE), "{prefix}: it is served");
        } else if prefix == "hidden-elsewhere" {
            eventually("what is out of scope is deleted", || (is("stays", "d") && is("goes", "d")).then_some(()));
        } else {
            let is_said = || process.stderr().contains("captured no more").then_some(());
            eventually("the kind is said to be captured no more", is_said);
        }
        assert_eq!(process.terminate(), Some(0));
        assert!(is("goes", "d"), "{prefix}");
        let held: Vec<Record> = later().into_iter().filter(holds).collect();
        assert!(held.is_empty(), "{prefix}: written again: {held:?}");
        parts.api("DELETE", &path("stays"), &Value::Null);
    }
}

fn taken_back(parts: &Parts) {
    const VALUE: &str = "canary-of-settings-taken-back";
    const OBJECTS: usize = 300;
    parts.namespace("taken");
    for n in 0..OBJECTS {
        let labels = json!({"half": (n % 2).to_string()});
        let body = json!({"metadata": {"name": format!("m-{n}"), "labels": labels}, "data": {"n": VALUE}});
        parts.api("POST", &map("taken"), &body);
    }
    let (here, topic) = ("watch.namespaces.taken=true", "taken.k8s-configmaps");
    let mut process = parts.process("taken", &[here]);
    process.await_ready();
    eventually("a checkpoint", || {
        let checkpoints = parts.dump("taken.agent-events-checkpoints");
        checkpoints.iter().any(|r| r.key.ends_with("/configmaps@taken")).then_some(())
    });
    assert_eq!(process.terminate(), Some(0));
    // A mistake, that is killed while everything is written anew.
    let shown = "redaction.configmaps.full_namespaces.taken=true";
    let half = "watch.configmaps.label_selector=\"half=1\"";
    let mut process = parts.process("taken", &[here, shown, half, "watch.page_size=1"]);
    eventually("it listens", || TcpStream::connect(process.ops).ok());
    eventually("it writes", || {
        let (_, metrics) = http_get(process.ops, "/metrics");
        let written = String::from_utf8_lossy(&metrics).into_owned();
        let is_ours = |line: &&str| {
            line.starts_with("agent_events_changes") && line.contains("configmaps") && line.contains("published")
        };
        written.lines().any(|line| is_ours(&line) && !line.ends_with(" 0")).then_some(())
    });
    process.kill9();
    let mut process = parts.process("taken", &[here]);
    process.await_ready();
    agree(parts, "taken", topic);
    let (status, body) = http_get(process.api, "/api/v1/objects?kind=configmaps&namespace=taken&limit=1000");
    let body = String::from_utf8_lossy(&body).into_owned();
    assert!(status == 200 && body.contains("m-1\"") && !body.contains(VALUE), "what was shown by mistake is served");
    assert_eq!(process.terminate(), Some(0));
    let records = parts.dump(topic);
    let last: BTreeMap<&str, &Record> = records.iter().map(|r| (r.key.as_str(), r)).collect();
    let holds = |record: &&&Record| record.value.as_ref().is_some_and(|value| value.to_string().contains(VALUE));
    let held: Vec<_> = last.values().filter(holds).map(|r| &r.key).collect();
    assert!(held.is_empty(), "it stands last in the log: {held:?}");
}

fn other_policy(parts: &Parts) {
    parts.namespace("policy");
    for n in 0..20 {
        create(parts, "policy", n);
    }
    let topic = "policy.k8s-configmaps";
    let mut process = parts.process("policy", &["watch.namespaces.policy=true"]);
    process.await_ready();
    published(parts, topic, "policy", 20);
    // Something to go on from: a checkpoint is written once a second.
    eventually("a checkpoint", || {
        let checkpoints = parts.dump("policy.agent-events-checkpoints");
        checkpoints.iter().any(|r| r.key.ends_with("/configmaps@policy")).then_some(())
    });
    assert_eq!(process.terminate(), Some(0));
    let before = of(&parts.dump(topic), "policy").len();
    let whole = ["watch.namespaces.policy=true", "redaction.configmaps.full_namespaces.policy=true"];
    let mut process = parts.process("policy", &whole);
    process.await_ready();
    eventually("everything is written anew", || {
        let records = parts.dump(topic);
        let anew = of(&records, "policy").into_iter().filter(|r| {
            let value = r.value.as_ref();
            value.is_some_and(|v| v["op"] == "r" && v["before"].is_null() && v["after"]["data"]["n"] == "0")
        });
        (anew.count() >= 20).then_some(())
    });
    agree(parts, "policy", topic);
    assert_eq!(process.terminate(), Some(0));
    // The same again is no change.
    let ours = || of(&parts.dump(topic), "policy").len();
    let after = ours();
    assert!(after > before);
    let mut process = parts.process("policy", &whole);
    process.await_ready();
    assert_eq!(process.terminate(), Some(0));
    assert_eq!(ours(), after, "an unchanged policy writes nothing anew");
}
