//! Objects that cannot be read, and servers that answer what was not asked.

use super::{Scene, Trial};
use crate::kit::{PATIENCE, within};
use agent_events::sandbox::{Fault, Rule, Spoil};
use serde_json::json;

pub const TRIALS: &[Trial] = &[
    ("an_object_that_is_no_json_in_a_watch_becomes_a_stub", garbled_in_a_watch),
    ("an_object_that_is_no_utf8_in_a_watch_becomes_a_stub", not_utf8_in_a_watch),
    ("an_object_with_a_field_of_a_wrong_type_in_a_watch_becomes_a_stub", number_in_a_watch),
    ("an_object_with_a_field_of_a_wrong_type_in_a_list_becomes_a_stub", number_in_a_list),
    ("an_object_whose_data_is_of_a_wrong_type_is_not_lost", data_number),
    ("an_object_that_is_no_json_in_a_list_becomes_a_stub_and_spares_the_others", garbled_in_a_list),
    ("an_object_without_identity_is_declared_and_spares_the_others", no_identity),
    ("a_line_that_is_too_long_becomes_a_stub", long_line),
    ("a_stub_becomes_the_object_as_soon_as_an_audit_can_fetch_it_and_once", mended),
    ("a_line_that_never_ends_becomes_a_stub", endless_line),
    ("an_object_of_another_kind_is_not_published", foreign_kind),
    ("an_object_of_another_namespace_is_not_published", foreign_namespace),
    ("a_full_secret_in_answer_to_a_metadata_request_never_leaves", full_secret),
];

fn poison(scene: &Scene, verb: &str, how: Spoil) {
    scene.faults().inject(Rule::new(Fault::Spoil(how)).of("configmaps").verb(verb).named("poison"));
}

/// One of them is spoilt for good, on the watch; it becomes a stub, and what is behind it goes on.
fn in_a_watch(how: Spoil, more: &[&str]) {
    let scene = Scene::with(100, "configmaps", more);
    scene.create_many(10);
    scene.seen("m-9");
    poison(&scene, "watch", how);
    scene.create("poison");
    scene.some_changes();
    scene.seen("n-0");
    assert!(scene.stub_of("poison").is_some(), "a stub in its place");
    scene.settle();
}

/// The same in the first list.
fn in_a_list(how: Spoil) -> Scene {
    let mut scene = Scene::unstarted(100, "configmaps", &[]);
    scene.create_many(10);
    scene.create("poison");
    poison(&scene, "list", how);
    scene.start();
    scene.some_changes();
    scene.seen("n-0");
    scene
}

fn garbled_in_a_watch() {
    in_a_watch(Spoil::Garbled, &[]);
}

fn not_utf8_in_a_watch() {
    in_a_watch(Spoil::NotUtf8, &[]);
}

fn number_in_a_watch() {
    in_a_watch(Spoil::WrongName, &[]);
}

fn number_in_a_list() {
    let scene = in_a_list(Spoil::WrongName);
    assert!(scene.stub_of("poison").is_some(), "a stub in its place");
    scene.settle();
}

fn data_number() {
    let scene = in_a_list(Spoil::DataNumber);
    poison(&scene, "watch", Spoil::DataNumber);
    scene.change("poison");
    scene.settle();
}

fn garbled_in_a_list() {
    let scene = in_a_list(Spoil::Garbled);
    assert!(scene.stub_of("poison").is_some(), "a stub in its place");
    scene.settle();
}

fn no_identity() {
    let scene = Scene::with(100, "configmaps", &[]);
    scene.create_many(10);
    scene.seen("m-9");
    poison(&scene, "watch", Spoil::NoIdentity);
    poison(&scene, "list", Spoil::NoIdentity);
    scene.create("poison");
    scene.some_changes();
    scene.seen("n-0");
    assert!(scene.gaps() > 0, "what cannot be named is declared");
    // As long as it stands there, it may be any of those that are missing.
    scene.faults().clear();
    scene.settle();
}

fn long_line() {
    let scene = Scene::with(100, "configmaps", &["watch.max_frame_bytes=\"64KiB\""]);
    scene.create_many(10);
    scene.seen("m-9");
    scene.create_with("poison", json!({"n": "x".repeat(200_000)}));
    scene.some_changes();
    scene.seen("n-0");
    assert!(scene.stub_of("poison").is_some(), "a stub in its place");
    scene.settle();
}

fn mended() {
    let more = ["watch.max_frame_bytes=\"64KiB\"", "watch.audit_interval=\"1s\"", "watch.poll_interval=\"200ms\""];
    let scene = Scene::with(100, "configmaps", &more);
    scene.create_many(10);
    scene.seen("m-9");
    scene.create_with("poison", json!({"n": "x".repeat(200_000)}));
    scene.seen("poison");
    within(PATIENCE, "the object is in the log", || scene.stub_of("poison").is_none().then_some(()));
    let audited = || scene.product().get("/api/v1/pipeline").1["watchers"][0]["audit"].clone();
    let mended_at = audited()["atMs"].as_i64();
    within(PATIENCE, "an audit finds no stub", || {
        let audit = audited();
        (audit["atMs"].as_i64() > mended_at && audit["stubs"] == 0 && audit["result"] == "equal").then_some(())
    });
    let records = scene.records().into_iter().filter(|r| r.key.ends_with("/default/poison"));
    let told = records.map(|r| {
        let source = &r.value.as_ref().expect("a change")["source"];
        (r.op().map(str::to_owned), source["observed"].clone(), source["stub"]["reason"].clone())
    });
    let told: Vec<_> = told.collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert_eq!((&told[0].2, &told[1].1, &told[1].2), (&json!("too_long"), &json!("audit"), &json!(null)));
    assert_eq!(told[1].0.as_deref(), Some("r"));
    scene.settle();
}

fn endless_line() {
    in_a_watch(Spoil::Endless, &["watch.max_frame_bytes=\"64KiB\""]);
}

/// Once on the watch and once in a list, it says that it is something else.
fn foreign(how: Spoil, sign: &str) {
    let scene = Scene::with(100, "configmaps", &[]);
    scene.create_many(10);
    scene.seen("m-9");
    scene.fault("watch", Fault::Spoil(how), Some(1));
    scene.change("m-0");
    scene.spent();
    scene.some_changes();
    scene.while_cut_off(|scene| {
        scene.fault("list", Fault::Spoil(how), Some(1));
        scene.some_changes();
        scene.faults().compact();
    });
    scene.spent();
    scene.some_changes();
    let published =
        scene.records().into_iter().find(|r| r.key.contains(sign) || String::from_utf8_lossy(&r.raw).contains(sign));
    assert!(published.is_none(), "{published:?}");
    scene.settle();
}

fn foreign_kind() {
    foreign(Spoil::ForeignKind, "\"kind\":\"Pod\"");
}

fn foreign_namespace() {
    foreign(Spoil::ForeignNamespace, "elsewhere");
}

fn full_secret() {
    const CANARY: &str = "Y2FuYXJ5LW9mLWEtc2VjcmV0";
    let mut scene = Scene::unstarted(100, "secrets", &[]);
    scene.create_with("listed", json!({"password": CANARY}));
    scene.faults().inject(Rule::new(Fault::Spoil(Spoil::Whole)).of("secrets"));
    scene.start();
    scene.create_with("watched", json!({"password": CANARY}));
    scene.seen("watched");
    for name in ["listed", "watched"] {
        assert!(scene.stub_of(name).is_some(), "{name}: a stub in its place");
    }
    let topics = ["k8s-secrets", "event-stream", "agent-events-gaps", "agent-events-checkpoints"];
    for topic in topics {
        for record in scene.parts.dump(&format!("scene.{topic}")) {
            assert!(!String::from_utf8_lossy(&record.raw).contains(CANARY), "{topic}: {}", record.key);
        }
    }
    let objects = scene.product().get("/api/v1/objects?kind=secrets&namespace=default").1.to_string();
    assert!(!objects.contains(CANARY), "over HTTP");
    scene.settle();
}
