//! The rules of the state, without HTTP.

use super::*;
use std::collections::VecDeque;

fn state() -> State {
    let now: jiff::Timestamp = "2026-11-23T10:00:00Z".parse().expect("a time");
    State::new(Origin::seeded(1).with_clock(move || now))
}

fn by() -> Write {
    Write::by("test")
}

fn pod(name: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}})
}

fn on_node(mut pod: Value) -> Value {
    pod["spec"]["nodeName"] = "node-1".into();
    pod
}

fn config_map(name: &str, value: &str) -> Value {
    json!({"metadata": {"name": name, "namespace": "default"}, "data": {"key": value}})
}

fn owned_by(mut object: Value, owner: &Object) -> Value {
    let reference = json!({"apiVersion": owner.text("/apiVersion"), "kind": owner.text("/kind"), "name": owner.name(),
                           "uid": owner.uid(), "controller": true, "blockOwnerDeletion": true});
    object["metadata"]["ownerReferences"] = json!([reference]);
    object
}

fn deployment(name: &str) -> Value {
    let template =
        json!({"metadata": {"labels": {"app": name}}, "spec": {"containers": [{"name": "app", "image": "app:1"}]}});
    json!({"metadata": {"name": name, "namespace": "default"},
           "spec": {"selector": {"matchLabels": {"app": name}}, "template": template}})
}

/// What a watch of `resource` from `revision` sees: `+key`, `~key`, `-key`.
fn seen(state: &State, resource: &str, revision: u64) -> Vec<String> {
    let changes = state.watch(resource, revision).and_then(|mut w| w.ready()).expect("history reaches back");
    let sign = |c: &Change| {
        if c.deleted {
            '-'
        } else if c.before.is_some() {
            '~'
        } else {
            '+'
        }
    };
    changes.iter().map(|c| format!("{}{}", sign(c), c.key)).collect()
}

#[test]
fn a_fresh_cluster_has_its_namespaces_and_an_identity() {
    let state = state();
    let names: Vec<_> = state.list("namespaces", "").unwrap().objects.iter().map(|n| n.name().to_owned()).collect();
    assert_eq!(names, ["default", "kube-node-lease", "kube-public", "kube-system"]);
    assert_eq!(state.cluster_uid().len(), 36);
    assert_eq!(state.get("services", "default", "kubernetes").unwrap().text("/spec/clusterIP"), "10.96.0.1");
}

#[test]
fn the_same_seed_gives_the_same_cluster() {
    assert_eq!(state().cluster_uid(), state().cluster_uid());
    assert_ne!(state().cluster_uid(), State::new(Origin::system()).cluster_uid());
}

#[test]
fn the_server_sets_what_is_the_servers() {
    let state = state();
    let mut wanted = deployment("web");
    wanted["metadata"]["uid"] = "mine".into();
    wanted["metadata"]["generation"] = 7.into();
    wanted["status"] = json!({"replicas": 3});
    let web = state.create("deployments.apps", wanted, &by()).unwrap();
    assert_eq!((web.text("/kind"), web.text("/apiVersion")), ("Deployment", "apps/v1"));
    assert_eq!(web.uid().len(), 36);
    assert_eq!(web.text("/metadata/creationTimestamp"), "2026-11-23T10:00:00Z");
    assert_eq!(web.number("/metadata/generation"), Some(1));
    assert_eq!(web.revision(), state.revision());
    assert_eq!(web.number("/spec/replicas"), Some(1), "defaults are filled in");
    assert_eq!(web.value()["status"], json!({}), "a status is not for the creator to set");
    let json = std::str::from_utf8(&web.encoded().json).unwrap();
    assert!(json.starts_with(r#"{"kind":"Deployment","apiVersion":"apps/v1","metadata":{"#), "{json}");
    assert_eq!(serde_json::from_str::<Value>(json).unwrap(), *web.value());
}

#[test]
fn names_are_generated_and_checked() {
    let state = state();
    let mut wanted = pod("");
    wanted["metadata"] = json!({"generateName": "web-", "namespace": "default"});
    let name = state.create("pods", wanted, &by()).unwrap().name().to_owned();
    assert!(name.starts_with("web-") && name.len() == 9, "{name}");
    let refused = state.create("pods", pod("Web_1"), &by()).unwrap_err();
    assert_eq!((refused.code, refused.reason), (422, "Invalid"));
    let refused = state.create("pods", pod(""), &by()).unwrap_err();
    assert!(refused.message.contains("name or generateName is required"), "{refused}");
    let mut elsewhere = pod("web");
    elsewhere["metadata"]["namespace"] = "nowhere".into();
    let refused = state.create("pods", elsewhere, &by()).unwrap_err();
    assert_eq!((refused.code, refused.message.as_str()), (404, "namespaces \"nowhere\" not found"));
    state.create("pods", pod("web"), &by()).unwrap();
    assert_eq!(state.create("pods", pod("web"), &by()).unwrap_err().reason, "AlreadyExists");
}

#[test]
fn a_stale_version_is_refused_and_a_change_of_nothing_is_none() {
    let state = state();
    let first = state.create("configmaps", config_map("c", "1"), &by()).unwrap();
    let same = state.update("configmaps", first.value().clone(), &Write::by("other")).unwrap();
    assert_eq!(same.revision(), first.revision());
    let second = state.update("configmaps", config_map("c", "2"), &by()).unwrap();
    assert!(second.revision() > first.revision());
    let refused = state.update("configmaps", first.value().clone(), &by()).unwrap_err();
    assert_eq!((refused.code, refused.reason), (409, "Conflict"));
    assert!(refused.message.contains("the object has been modified"));
}

#[test]
fn status_and_spec_are_written_apart() {
    let state = state();
    let made = state.create("deployments.apps", deployment("web"), &by()).unwrap();
    let both = |v: &mut Value| {
        v["spec"]["replicas"] = 3.into();
        v["status"]["replicas"] = 9.into();
    };
    let spec = state.modify("deployments.apps", "default", "web", &by(), both).unwrap();
    assert_eq!((spec.number("/spec/replicas"), spec.number("/status/replicas")), (Some(3), None));
    assert_eq!(spec.number("/metadata/generation"), Some(2));
    let both = |v: &mut Value| {
        v["spec"]["replicas"] = 5.into();
        v["status"]["replicas"] = 2.into();
    };
    let status = state.modify("deployments.apps", "default", "web", &by().status(), both).unwrap();
    assert_eq!((status.number("/spec/replicas"), status.number("/status/replicas")), (Some(3), Some(2)));
    assert_eq!(status.number("/metadata/generation"), Some(2));
    let managers = status.value()["metadata"]["managedFields"].as_array().unwrap().clone();
    assert_eq!(managers.last().unwrap()["subresource"], "status");
    assert_eq!(made.uid(), status.uid());
}

#[test]
fn a_pod_on_a_node_is_given_its_grace_and_others_go_at_once() {
    let state = state();
    state.create("pods", on_node(pod("running")), &by()).unwrap();
    state.create("pods", pod("pending"), &by()).unwrap();
    let before = state.revision();
    let deleted = state.delete("pods", "default", "pending", &Deletion::default()).unwrap();
    assert!(matches!(deleted, Deleted::Gone(_)));
    let deleted = state.delete("pods", "default", "running", &Deletion::default()).unwrap();
    assert!(matches!(deleted, Deleted::Marked(_)));
    let running = state.get("pods", "default", "running").unwrap();
    assert_eq!(running.text("/metadata/deletionTimestamp"), "2026-11-23T10:00:30Z");
    assert_eq!(running.number("/metadata/deletionGracePeriodSeconds"), Some(30));
    state.delete("pods", "default", "running", &Deletion::default()).unwrap();
    state.delete("pods", "default", "running", &Deletion::now()).unwrap();
    assert_eq!(state.get("pods", "default", "running").unwrap_err().code, 404);
    // A pod passes through a marked version before it goes; asking twice for the same grace changes nothing.
    let expected = ["~default/pending", "-default/pending", "~default/running", "~default/running", "-default/running"];
    assert_eq!(seen(&state, "pods", before), expected);
}

#[test]
fn finalizers_hold_an_object_until_the_last_is_gone() {
    let state = state();
    let mut held = config_map("c", "1");
    held["metadata"]["finalizers"] = json!(["example.com/hold"]);
    state.create("configmaps", held, &by()).unwrap();
    let deleted = state.delete("configmaps", "default", "c", &Deletion::default()).unwrap();
    assert!(matches!(deleted, Deleted::Marked(_)) && deleted.object().is_terminating());
    let more = |v: &mut Value| v["metadata"]["finalizers"] = json!(["example.com/hold", "example.com/more"]);
    assert_eq!(state.modify("configmaps", "default", "c", &by(), more).unwrap_err().code, 422);
    let free = |v: &mut Value| v["metadata"]["finalizers"] = json!([]);
    state.modify("configmaps", "default", "c", &by(), free).unwrap();
    assert_eq!(state.get("configmaps", "default", "c").unwrap_err().code, 404);
}

#[test]
fn dependents_go_after_their_owner_or_stay_without_one() {
    let state = state();
    for how in [Propagation::Background, Propagation::Foreground, Propagation::Orphan] {
        let owner = state.create("deployments.apps", deployment("web"), &by()).unwrap();
        let middle = state.create("configmaps", owned_by(config_map("c", "1"), &owner), &by()).unwrap();
        state.create("pods", owned_by(pod("leaf"), &middle), &by()).unwrap();
        let deletion = Deletion { propagation: how, ..Deletion::default() };
        state.delete("deployments.apps", "default", "web", &deletion).unwrap();
        state.collect_garbage();
        assert_eq!(state.get("deployments.apps", "default", "web").unwrap_err().code, 404, "{how:?}");
        let middle = state.get("configmaps", "default", "c");
        if how == Propagation::Orphan {
            assert!(middle.unwrap().value().pointer("/metadata/ownerReferences").is_none());
            assert!(state.get("pods", "default", "leaf").is_ok());
        } else {
            assert_eq!(middle.unwrap_err().code, 404, "{how:?}");
            assert_eq!(state.get("pods", "default", "leaf").unwrap_err().code, 404, "{how:?}");
        }
    }
}

#[test]
fn a_namespace_goes_when_its_last_object_has_gone() {
    let state = state();
    state.create("namespaces", json!({"metadata": {"name": "team"}}), &by()).unwrap();
    let inside = |mut object: Value| {
        object["metadata"]["namespace"] = "team".into();
        object
    };
    state.create("pods", inside(on_node(pod("web"))), &by()).unwrap();
    state.create("configmaps", inside(config_map("c", "1")), &by()).unwrap();
    state.delete("namespaces", "", "team", &Deletion::default()).unwrap();
    state.collect_garbage();
    assert_eq!(state.get("namespaces", "", "team").unwrap().text("/status/phase"), "Terminating");
    assert_eq!(state.list("configmaps", "team").unwrap().objects.len(), 0);
    let refused = state.create("configmaps", inside(config_map("d", "1")), &by()).unwrap_err();
    assert_eq!(refused.reason, "Forbidden");
    state.delete("pods", "team", "web", &Deletion::now()).unwrap();
    state.collect_garbage();
    assert_eq!(state.get("namespaces", "", "team").unwrap_err().code, 404);
}

fn widgets() -> Value {
    json!({"metadata": {"name": "widgets.example.com"}, "spec": {
        "group": "example.com", "scope": "Namespaced", "names": {"plural": "widgets", "kind": "Widget"},
        "versions": [{"name": "v1", "served": true, "storage": true, "subresources": {"status": {}},
                      "schema": {"openAPIV3Schema": {"type": "object"}}}]}})
}

#[test]
fn a_definition_is_served_at_once_and_takes_its_objects_along() {
    let state = state();
    let widget = || json!({"metadata": {"name": "w", "namespace": "default"}, "spec": {"size": 1}});
    assert_eq!(state.create("widgets.example.com", widget(), &by()).unwrap_err().code, 404);
    state.create("customresourcedefinitions.apiextensions.k8s.io", widgets(), &by()).unwrap();
    let made = state.create("widgets.example.com", widget(), &by()).unwrap();
    assert_eq!((made.text("/apiVersion"), made.number("/metadata/generation")), ("example.com/v1", Some(1)));
    state
        .delete("customresourcedefinitions.apiextensions.k8s.io", "", "widgets.example.com", &Deletion::default())
        .unwrap();
    state.collect_garbage();
    assert_eq!(state.get("widgets.example.com", "default", "w").unwrap_err().code, 404);
    assert_eq!(state.list("customresourcedefinitions.apiextensions.k8s.io", "").unwrap().objects.len(), 0);
}

#[test]
fn a_list_of_the_past_is_what_was_there_then() {
    let state = state();
    let names = |revision| -> Vec<String> {
        let (versions, _) = state.list_at("configmaps", "default", "", Some(revision)).unwrap();
        let text = |v: &Encoded| {
            let value = v.value();
            format!("{}={}", text_at(&value, "/metadata/name"), text_at(&value, "/data/key"))
        };
        versions.iter().map(|v| text(v)).collect()
    };
    state.create("configmaps", config_map("a", "1"), &by()).unwrap();
    let then = state.create("configmaps", config_map("b", "1"), &by()).unwrap().revision();
    state.update("configmaps", config_map("a", "2"), &by()).unwrap();
    state.delete("configmaps", "default", "b", &Deletion::default()).unwrap();
    state.create("configmaps", config_map("c", "1"), &by()).unwrap();
    assert_eq!(names(then), ["a=1", "b=1"]);
    assert_eq!(names(state.revision()), ["a=2", "c=1"]);
    state.compact();
    assert_eq!(state.list_at("configmaps", "", "", Some(then)).unwrap_err().reason, "Expired");
    assert_eq!(state.watch("configmaps", then).unwrap().ready().unwrap_err().code, 410);
    assert!(state.watch("configmaps", state.revision()).unwrap().ready().unwrap().is_empty());
}

#[tokio::test]
async fn a_watch_waits_for_the_next_change() {
    let state = state();
    let mut watch = state.watch("pods", state.revision()).unwrap();
    let waiting = async {
        let changes = watch.next().await.unwrap();
        changes.iter().map(|c| c.key.to_string()).collect::<Vec<_>>()
    };
    let writing = async { state.create("pods", pod("web"), &by()).map(drop) };
    let (changes, written) = tokio::join!(waiting, writing);
    assert_eq!((changes, written), (vec!["default/web".to_owned()], Ok(())));
}

#[test]
fn a_dry_run_changes_nothing() {
    let state = state();
    let before = state.revision();
    let dry = Write { dry_run: true, ..by() };
    assert_eq!(state.create("pods", pod("web"), &dry).unwrap().name(), "web");
    assert_eq!((state.revision(), state.get("pods", "default", "web").unwrap_err().code), (before, 404));
}

#[test]
fn the_latest_manager_stands_last() {
    let state = state();
    state.create("configmaps", config_map("c", "1"), &Write::by("first")).unwrap();
    let latest = state.update("configmaps", config_map("c", "2"), &Write::by("second")).unwrap();
    let managers: Vec<_> = latest.value()["metadata"]["managedFields"].as_array().unwrap().iter().collect();
    let names: Vec<_> = managers.iter().map(|m| m["manager"].as_str().unwrap()).collect();
    assert_eq!(names, ["first", "second"]);
    assert_eq!(managers[1]["fieldsV1"], json!({"f:data": {}}));
}

#[test]
fn values_of_string_data_land_in_data() {
    let state = state();
    let secret = json!({"metadata": {"name": "s", "namespace": "default"}, "stringData": {"password": "hunter2"}});
    let made = state.create("secrets", secret, &by()).unwrap();
    assert_eq!(made.text("/data/password"), "aHVudGVyMg==");
    assert_eq!((made.value().get("stringData"), made.text("/type")), (None, "Opaque"));
}

#[test]
fn nonsense_is_refused_and_never_panics() {
    let state = state();
    for nonsense in [json!(null), json!(1), json!([]), json!("x")] {
        assert_eq!(state.create("pods", nonsense.clone(), &by()).unwrap_err().code, 400, "{nonsense}");
        for part in ["metadata", "spec", "status", "data", "stringData"] {
            for resource in state.resources() {
                let mut object = json!({"metadata": {"name": "x", "namespace": "default"}});
                object[part] = nonsense.clone();
                // Refused or taken: it must only not panic.
                state.create(&resource.qualified, object, &by()).map(drop).unwrap_or_default();
            }
        }
        for field in ["labels", "annotations", "finalizers", "ownerReferences", "name", "resourceVersion"] {
            let mut object = pod("y");
            object["metadata"][field] = nonsense.clone();
            state.create("pods", object, &by()).map(drop).unwrap_or_default();
        }
    }
}

#[test]
fn an_object_cannot_grow_beyond_what_can_be_kept() {
    let state = state();
    let nest = |v: &mut Value| {
        let old = v["data"].take();
        v["data"] = json!({"deeper": old});
    };
    // Not even by many small steps, as patches take them. (A ConfigMap's values must be texts; a custom one's need not.)
    state.create("customresourcedefinitions.apiextensions.k8s.io", widgets(), &by()).unwrap();
    state.create("widgets.example.com", json!({"metadata": {"name": "w"}, "data": {}}), &by()).unwrap();
    let refused = (0..200).find_map(|_| state.modify("widgets.example.com", "default", "w", &by(), nest).err());
    assert_eq!(refused.expect("there is an end to it").code, 400);
    let deepest = state.get("widgets.example.com", "default", "w").unwrap();
    assert_eq!(deepest.encoded().value(), *deepest.value(), "what is kept can be read again");
    let large = "x".repeat(1 << 20);
    state.create("widgets.example.com", json!({"metadata": {"name": "large"}, "data": {}}), &by()).unwrap();
    let refused = (0..9).find_map(|i| {
        let grow = |v: &mut Value| v["data"][format!("k{i}")] = large.as_str().into();
        state.modify("widgets.example.com", "default", "large", &by(), grow).err()
    });
    assert_eq!(refused.expect("there is an end to it").code, 413);
    state.create("configmaps", config_map("c", "1"), &by()).unwrap();
    let more = |v: &mut Value| v["data"]["more"] = large.as_str().into();
    let refused = state.modify("configmaps", "default", "c", &by(), more).unwrap_err();
    assert_eq!((refused.code, &refused.details["causes"][0]["reason"]), (422, &json!("FieldValueTooLong")));
}

#[test]
fn an_endless_grace_stays_within_the_calendar() {
    let state = state();
    state.create("pods", on_node(pod("web")), &by()).unwrap();
    let endless = Deletion { grace: Some(i64::MAX), ..Deletion::default() };
    state.delete("pods", "default", "web", &endless).unwrap();
    let deleted = state.delete("pods", "default", "web", &Deletion { grace: Some(5), ..Deletion::default() }).unwrap();
    assert_eq!(deleted.object().text("/metadata/deletionTimestamp"), "2026-11-23T10:00:05Z");
}

#[test]
fn history_is_forgotten_after_five_minutes_and_a_watch_that_has_read_all_of_it_goes_on() {
    let state = state();
    let begin = state.revision();
    let first = state.create("configmaps", config_map("a", "1"), &by()).expect("made");
    let mut minutes = VecDeque::new();
    for _ in 0..5 {
        state.forget_history(&mut minutes);
    }
    assert!(state.watch("configmaps", begin).is_ok_and(|mut w| w.ready().is_ok_and(|c| c.len() == 1)), "still there");
    state.create("configmaps", config_map("b", "1"), &by()).expect("made");
    state.forget_history(&mut minutes);
    let late = state.watch("configmaps", begin).and_then(|mut watch| watch.ready());
    assert_eq!(late.err().map(|status| status.code), Some(410));
    let up_to_date = state.watch("configmaps", first.revision()).and_then(|mut watch| watch.ready());
    assert_eq!(up_to_date.expect("what it has not read is there").len(), 1);
}
