//! The way of a pod.

use super::*;
use jiff::Timestamp;
use serde_json::json;

fn pod(spec: Value) -> Object {
    let mut pod = json!({"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p", "namespace": "n", "uid": "u"},
        "spec": {"nodeName": "a", "restartPolicy": "Always", "containers": [{"name": "c", "image": "i:1"}]},
        "status": {"phase": "Pending"}});
    json_patch::merge(&mut pod, &spec);
    Object::new(pod)
}

fn next(pod: &Object, seconds: i64) -> (Object, Vec<String>) {
    let place = Place {
        now: Timestamp::from_second(seconds).expect("a time"),
        host_ip: "10.0.0.1",
        pod_ip: "10.244.0.2".to_owned(),
        took: 1234,
        pulled: &|_| false,
    };
    let (status, said) = advance(pod, stage(pod), &place).expect("something follows");
    let mut value = pod.value().clone();
    value["status"] = status;
    (Object::new(value), said.into_iter().map(|s| format!("{} {}", s.reason, s.message)).collect())
}

#[test]
fn a_sound_pod_becomes_ready_in_three_steps() {
    let pod = pod(json!({}));
    assert_eq!(stage(&pod), Stage::Assigned);
    let (pod, _) = next(&pod, 1);
    assert_eq!(stage(&pod), Stage::Creating);
    assert_eq!(pod.text("/status/containerStatuses/0/state/waiting/reason"), "ContainerCreating");
    let (pod, said) = next(&pod, 2);
    assert_eq!((stage(&pod), pod.text("/status/phase")), (Stage::Starting, "Running"));
    assert!(said[0].starts_with("Pulled Successfully pulled image \"i:1\" in 1.234s"), "{said:?}");
    let (pod, _) = next(&pod, 3);
    assert_eq!((stage(&pod), super::super::parts::is_ready(&pod)), (Stage::Idle, true));
}

#[test]
fn a_pod_that_crashes_by_annotation_loops_and_waits_longer_each_time() {
    let mut at = pod(json!({"metadata": {"annotations": {BEHAVIOUR: "crash"}}}));
    let (mut stages, mut waits) = (Vec::new(), Vec::new());
    for second in 1..16 {
        if stage(&at) == Stage::BackOff {
            waits.push(lasts(Stage::BackOff, &at).expect("a wait").0);
        }
        at = next(&at, second).0;
        stages.push(stage(&at));
    }
    use Stage::*;
    assert_eq!(
        stages[..11],
        [Creating, Starting, Doomed, Exited, Starting, Doomed, Exited, BackOff, Starting, Doomed, Exited]
    );
    assert_eq!(waits, [10_000, 20_000]);
}

#[test]
fn a_pod_that_is_to_run_once_ends() {
    let mut at = pod(json!({"metadata": {"annotations": {BEHAVIOUR: "complete"}}, "spec": {"restartPolicy": "Never"}}));
    for second in 1..6 {
        at = next(&at, second).0;
    }
    assert_eq!((stage(&at), at.text("/status/phase")), (Stage::Idle, "Succeeded"));
}

#[test]
fn another_image_restarts_the_container_even_where_the_first_could_not_be_pulled() {
    let bad = pod(json!({"spec": {"containers": [{"name": "c", "image": "i:missing"}]}}));
    let (at, _) = next(&next(&bad, 1).0, 2);
    assert_eq!(stage(&at), Stage::PullFailed);
    let mut mended = at.value().clone();
    mended["spec"]["containers"][0]["image"] = "i:2".into();
    let mended = Object::new(mended);
    assert_eq!(stage(&mended), Stage::Changed);
    let (at, said) = next(&mended, 3);
    assert_eq!(stage(&at), Stage::Starting);
    assert!(said[0].starts_with("Killing Container c definition changed"), "{said:?}");
}

#[test]
fn a_grace_of_nothing_ends_a_pod_at_once() {
    let marked = json!({"metadata": {"deletionTimestamp": "2026-01-01T00:00:00Z", "deletionGracePeriodSeconds": 0}});
    assert_eq!(lasts(stage(&pod(marked.clone())), &pod(marked)), Some((0, 0)));
}
