//! The arithmetic of rollouts.

use super::*;

fn deployment(spec: Value) -> Object {
    let template =
        json!({"metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "c", "image": "new"}]}});
    let mut all = json!({"kind": "Deployment", "apiVersion": "apps/v1", "metadata": {"name": "web", "namespace": "n", "uid": "u",
        "generation": 2}, "spec": {"replicas": 4, "template": template, "selector": {"matchLabels": {"app": "web"}},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": "25%", "maxUnavailable": "25%"}}}});
    json_patch::merge(&mut all["spec"], &spec);
    Object::new(all)
}

fn set(hash: &str, revision: i64, wanted: i64, available: i64) -> Arc<Object> {
    Arc::new(Object::new(json!({"kind": "ReplicaSet", "apiVersion": "apps/v1",
        "metadata": {"name": format!("web-{hash}"), "labels": {"pod-template-hash": hash}, "resourceVersion": revision.to_string(),
            "annotations": {REVISION: revision.to_string(), DESIRED: "4"}},
        "spec": {"replicas": wanted}, "status": {"replicas": wanted, "readyReplicas": available, "availableReplicas": available}})))
}

fn sizes(plan: &Plan) -> Vec<(&str, i64)> {
    plan.change.iter().map(|c| (c.name.as_str(), c.replicas)).collect()
}

fn decide(deployment: &Object, sets: &[Arc<Object>]) -> Plan {
    plan(deployment, sets, Timestamp::UNIX_EPOCH).expect("a sound deployment")
}

#[test]
fn the_first_set_is_as_large_as_wanted() {
    let plan = decide(&deployment(json!({})), &[]);
    let created = plan.create.expect("a set");
    assert_eq!(created["spec"]["replicas"], 4);
    assert_eq!(created["metadata"]["annotations"][REVISION], "1");
    assert_eq!(plan.revision, "1");
    assert_eq!(
        plan.said[0].message,
        format!("Scaled up replica set {} from 0 to 4", text_at(&created, "/metadata/name"))
    );
}

#[test]
fn a_rollout_begins_with_the_surge_and_takes_no_more_than_may_be_missing() {
    let old = set("old", 1, 4, 4);
    let plan = decide(&deployment(json!({})), &[old]);
    // 25 % of 4: one more, one less.
    assert_eq!(plan.create.as_ref().expect("a set")["spec"]["replicas"], 1);
    assert_eq!(sizes(&plan), [("web-old", 3)]);
}

#[test]
fn sick_pods_of_old_sets_go_first() {
    let template = deployment(json!({})).value()["spec"]["template"].clone();
    let hash = template_hash(&template);
    let plan = decide(&deployment(json!({})), &[set("old", 1, 3, 3), set("bad", 2, 2, 0), set(&hash, 3, 0, 0)]);
    assert!(sizes(&plan).contains(&("web-bad", 0)), "{:?}", plan.change);
}

#[test]
fn a_recreate_waits_until_the_old_pods_are_gone() {
    let recreate = deployment(json!({"strategy": {"type": "Recreate", "rollingUpdate": null}}));
    let plan = decide(&recreate, &[set("old", 1, 4, 4)]);
    assert_eq!(plan.create.expect("a set")["spec"]["replicas"], 0);
    assert_eq!(plan.change[0].replicas, 0);
}

#[test]
fn a_paused_deployment_changes_nothing() {
    let plan = decide(&deployment(json!({"paused": true})), &[set("old", 1, 4, 4)]);
    assert!(plan.create.is_none() && plan.change.is_empty(), "{:?}", plan.change);
}

#[test]
fn history_is_cut() {
    let mut sets: Vec<_> = (1..=5).map(|n| set(&format!("old{n}"), n, 0, 0)).collect();
    let hash = template_hash(&deployment(json!({})).value()["spec"]["template"]);
    sets.push(set(&hash, 6, 4, 4));
    let plan = decide(&deployment(json!({"revisionHistoryLimit": 2})), &sets);
    assert_eq!(plan.delete, ["web-old1", "web-old2", "web-old3"]);
    assert_eq!(
        condition_of(&json!({"status": plan.status}), "Progressing").expect("set")["reason"],
        "NewReplicaSetAvailable"
    );
}

#[test]
fn a_rollout_that_stands_still_misses_its_deadline() {
    let hash = template_hash(&deployment(json!({})).value()["spec"]["template"]);
    let mut value = deployment(json!({"progressDeadlineSeconds": 60})).value().clone();
    let sets = [set("old", 1, 3, 3), set(&hash, 2, 2, 0)];
    let first = plan(&Object::new(value.clone()), &sets, Timestamp::UNIX_EPOCH).expect("sound");
    value["status"] = first.status;
    let later = first.again.expect("a deadline");
    let late = plan(&Object::new(value), &sets, later).expect("sound");
    let condition = condition_of(&json!({"status": late.status}), "Progressing").cloned().expect("a condition");
    assert_eq!((text_at(&condition, "/status"), text_at(&condition, "/reason")), ("False", "ProgressDeadlineExceeded"));
}

#[test]
fn nonsense_is_left_alone() {
    assert!(plan(&deployment(json!({"replicas": "many"})), &[], Timestamp::UNIX_EPOCH).is_none());
    assert!(plan(&deployment(json!({"template": null})), &[], Timestamp::UNIX_EPOCH).is_none());
}
