//! The controllers together, in virtual time.

use super::kit::{Kit, rolled_out, template};
use super::parts::{condition_of, is_ready};
use super::*;
use serde_json::json;

#[test]
fn a_deployment_comes_up_as_the_real_components_write_it() {
    let mut kit = Kit::with_nodes(2);
    kit.deploy("web", 3, "nginx:1.27");
    kit.until("rolled out", |s| rolled_out(s, "web"));
    let pods = kit.pods();
    assert_eq!(pods.len(), 3);
    for pod in &pods {
        assert!(is_ready(pod) && pod.text("/status/phase") == "Running", "{}", pod.value());
        assert!(pod.name().starts_with("web-") && !pod.text("/status/podIP").is_empty());
        let managers = pod.value()["metadata"]["managedFields"].to_string();
        for manager in ["kubelet", "kube-scheduler", "kube-controller-manager"] {
            assert!(managers.contains(manager), "{managers}");
        }
    }
    let nodes: BTreeSet<&str> = pods.iter().map(|p| p.text("/spec/nodeName")).collect();
    assert_eq!(nodes.len(), 2, "they spread");
    let web = kit.state.get(DEPLOYED, "default", "web").expect("web");
    let progressing = condition_of(web.value(), "Progressing").expect("a condition");
    assert_eq!(progressing["reason"], "NewReplicaSetAvailable");
    assert_eq!(condition_of(web.value(), "Available").expect("a condition")["status"], "True");
    for event in [
        "ScalingReplicaSet: Scaled up replica set web-",
        "SuccessfulCreate: Created pod: web-",
        "Scheduled: Successfully assigned default/web-",
        "Pulling: Pulling image \"nginx:1.27\"",
        "Pulled: Successfully pulled",
        "Created: Created container: app",
        "Started: Started container app",
    ] {
        assert!(kit.has_event(event), "{event} in {:#?}", kit.events());
    }
}

#[test]
fn a_rollout_never_goes_below_what_must_be_available_and_leaves_the_old_set_at_zero() {
    let mut kit = Kit::with_nodes(3);
    kit.deploy("web", 4, "nginx:1");
    kit.until("rolled out", |s| rolled_out(s, "web"));
    kit.set_image("web", "nginx:2");
    let mut least = i64::MAX;
    let mut most = 0;
    kit.until("rolled out again", |s| {
        let d = s.get(DEPLOYED, "default", "web").expect("web");
        least = least.min(d.number("/status/availableReplicas").unwrap_or(0));
        most = most.max(d.number("/status/replicas").unwrap_or(0));
        rolled_out(s, "web") && d.text("/spec/template/spec/containers/0/image") == "nginx:2"
    });
    assert!((3..=4).contains(&least) && most == 5, "least {least}, most {most}");
    kit.pass(5);
    let sets = kit.state.list(REPLICA_SETS, "default").expect("sets").objects;
    let mut sizes: Vec<_> = sets
        .iter()
        .map(|s| (s.text("/metadata/annotations/deployment.kubernetes.io~1revision"), s.number("/spec/replicas")))
        .collect();
    sizes.sort_unstable();
    assert_eq!(sizes, [("1", Some(0)), ("2", Some(4))]);
    assert!(kit.pods().iter().all(|p| p.text("/spec/containers/0/image") == "nginx:2"));
    // Back: the first set serves again, as revision 3.
    kit.set_image("web", "nginx:1");
    kit.until("rolled back", |s| rolled_out(s, "web"));
    let web = kit.state.get(DEPLOYED, "default", "web").expect("web");
    assert_eq!(web.text("/metadata/annotations/deployment.kubernetes.io~1revision"), "3");
    assert_eq!(kit.state.list(REPLICA_SETS, "default").expect("sets").objects.len(), 2);
}

#[test]
fn an_image_that_cannot_be_pulled_stops_the_rollout_and_a_rollback_mends_it() {
    let mut kit = Kit::with_nodes(2);
    kit.deploy("web", 3, "nginx:1");
    kit.until("rolled out", |s| rolled_out(s, "web"));
    kit.set_image("web", "nginx:does-not-exist");
    let waits = |s: &State| {
        let pods = s.list(PODS, "default").expect("pods").objects;
        pods.iter().any(|p| p.text("/status/containerStatuses/0/state/waiting/reason") == "ImagePullBackOff")
    };
    kit.until("ImagePullBackOff", waits);
    assert!(kit.has_event("Failed: Failed to pull image \"nginx:does-not-exist\""));
    assert!(kit.has_event("BackOff: Back-off pulling image"));
    kit.pass(30);
    let ready = kit.pods().iter().filter(|p| is_ready(p)).count();
    assert_eq!(ready, 3, "the old ones serve on");
    kit.set_image("web", "nginx:1");
    kit.until("rolled back", |s| rolled_out(s, "web"));
}

#[test]
fn a_container_that_dies_again_and_again_backs_off() {
    let mut kit = Kit::with_nodes(1);
    kit.deploy("web", 1, "nginx:1");
    kit.until("rolled out", |s| rolled_out(s, "web"));
    let name = kit.pods()[0].name().to_owned();
    assert!(kit.controllers.kill("default", &name, Death::OutOfMemory, kit.clock.now()));
    let restarts = |s: &State| {
        s.list(PODS, "default").expect("pods").objects[0].number("/status/containerStatuses/0/restartCount")
    };
    kit.until("one restart", |s| restarts(s) == Some(1));
    let pod = kit.pods()[0].clone();
    assert_eq!(pod.text("/status/containerStatuses/0/lastState/terminated/reason"), "OOMKilled");
    assert_eq!(pod.number("/status/containerStatuses/0/lastState/terminated/exitCode"), Some(137));
    kit.until("well again", |s| rolled_out(s, "web"));
    assert!(kit.controllers.kill("default", &name, Death::Crash, kit.clock.now()));
    let waits = |s: &State| {
        let pods = s.list(PODS, "default").expect("pods").objects;
        pods[0].text("/status/containerStatuses/0/state/waiting/reason") == "CrashLoopBackOff"
    };
    kit.until("CrashLoopBackOff", waits);
    kit.until("a second restart", |s| restarts(s) == Some(2));
    assert!(kit.has_event("BackOff: Back-off restarting failed container app in pod web-"));
}

#[test]
fn an_evicted_pod_is_replaced() {
    let mut kit = Kit::with_nodes(1);
    kit.deploy("web", 1, "nginx:1");
    kit.until("rolled out", |s| rolled_out(s, "web"));
    let name = kit.pods()[0].name().to_owned();
    assert!(kit.controllers.evict("default", &name, kit.clock.now()));
    kit.until("replaced", |s| s.list(PODS, "default").expect("pods").objects.len() == 2 && rolled_out(s, "web"));
    let evicted = kit.state.get(PODS, "default", &name).expect("it is kept to look at");
    assert_eq!((evicted.text("/status/phase"), evicted.text("/status/reason")), ("Failed", "Evicted"));
    assert!(kit.has_event("Evicted: The node was low on resource: memory."));
}

#[test]
fn pods_of_a_node_that_is_gone_are_replaced_and_end_when_it_is_back() {
    let mut kit = Kit::with_nodes(2);
    kit.deploy("web", 2, "nginx:1");
    kit.until("rolled out", |s| rolled_out(s, "web"));
    assert!(kit.controllers.node_down("node-0", kit.clock.now()));
    kit.until("not ready", |s| {
        parts::condition(s.get(NODES, "", "node-0").expect("a node").value(), "Ready") == "Unknown"
    });
    kit.until("replaced", |s| {
        let pods = s.list(PODS, "default").expect("pods").objects;
        pods.iter().filter(|p| is_ready(p) && p.text("/spec/nodeName") == "node-1").count() == 2
    });
    assert!(kit.has_event("NodeNotReady: Node is not ready") && kit.has_event("TaintManagerEviction"));
    assert!(kit.pods().iter().any(|p| p.is_terminating()), "nobody can tell that it has ended");
    let now = kit.clock.now();
    kit.controllers.node_up("node-0", now);
    kit.until("all is well", |s| {
        let pods = s.list(PODS, "default").expect("pods").objects;
        pods.len() == 2 && pods.iter().all(|p| is_ready(p))
    });
    let node = kit.state.get(NODES, "", "node-0").expect("a node");
    assert!(parts::condition(node.value(), "Ready") == "True" && node.value().pointer("/spec/taints").is_none());
}

#[test]
fn a_pod_that_no_node_can_take_says_so_and_comes_up_when_one_can() {
    let mut kit = Kit::with_nodes(0);
    kit.deploy("web", 1, "nginx:1");
    kit.until("an event", |s| {
        s.list("events", "default").expect("events").objects.iter().any(|e| e.text("/reason") == "FailedScheduling")
    });
    let node = node::registration("late", "p", "z", 20, 8, 32, kit.clock.now());
    kit.state.create(NODES, node, &Write::by("kubelet")).expect("a node");
    kit.until("rolled out", |s| rolled_out(s, "web"));
}

#[test]
fn a_stateful_set_comes_and_goes_in_order() {
    let mut kit = Kit::with_nodes(2);
    let set = json!({"metadata": {"name": "pg", "namespace": "default"},
        "spec": {"replicas": 3, "serviceName": "pg", "selector": {"matchLabels": {"app": "pg"}}, "template": template("pg", "postgres:17")}});
    kit.state.create(STATEFUL_SETS, set, &Write::by("kubectl")).expect("a set");
    let ready = |s: &State| s.get(STATEFUL_SETS, "default", "pg").expect("pg").number("/status/readyReplicas");
    kit.until("three", |s| ready(s) == Some(3));
    let names: Vec<String> = kit.pods().iter().map(|p| p.name().to_owned()).collect();
    assert_eq!(names, ["pg-0", "pg-1", "pg-2"]);
    kit.state
        .patch_merge(STATEFUL_SETS, "default", "pg", &json!({"spec": {"replicas": 1}}), &Write::by("kubectl"))
        .expect("scaled");
    kit.until("one", |s| s.list(PODS, "default").expect("pods").objects.len() == 1);
    assert_eq!(kit.pods()[0].name(), "pg-0");
}

#[test]
fn a_start_in_the_middle_of_everything_goes_on() {
    let mut kit = Kit::with_nodes(2);
    kit.deploy("web", 4, "nginx:1");
    for _ in 0..40 {
        // A new process each time, a moment later.
        kit.controllers = Controllers::new(kit.state.clone(), Pace { delays: 0.0, seed: 1 }).expect("controllers");
        let next = kit.controllers.step(kit.clock.now()).expect("heartbeats");
        kit.clock.move_to(next);
    }
    assert!(rolled_out(&kit.state, "web"), "{}", kit.state.get(DEPLOYED, "default", "web").expect("web").value());
    assert_eq!(kit.pods().len(), 4);
}

#[test]
fn odd_objects_are_skipped_and_everything_can_be_deleted() {
    let mut kit = Kit::with_nodes(1);
    kit.deploy("web", 2, "nginx:1");
    kit.until("rolled out", |s| rolled_out(s, "web"));
    let write = Write::by("kubectl");
    let odd = json!({"metadata": {"name": "odd", "namespace": "default"}, "spec": {"replicas": 2,
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": {"a": 1}, "maxUnavailable": []}},
        "selector": {"matchLabels": {"app": "odd"}},
        "template": {"metadata": {"labels": {"app": "odd"}, "annotations": {"a": "b"}},
            "spec": {"containers": [{"name": "c", "image": "i", "resources": 7}], "tolerations": "all", "nodeSelector": []}}}});
    // Whether it is refused or taken, nothing breaks.
    kit.state.create(DEPLOYED, odd, &write).ok();
    let pod = kit.pods()[0].clone();
    kit.state
        .modify(PODS, "default", pod.name(), &Write::by("kubectl").status(), |p| p["status"] = json!(["odd"]))
        .ok();
    kit.state
        .modify(NODES, "", "node-0", &Write::by("kubectl").status(), |n| n["status"] = json!({"conditions": 7}))
        .ok();
    kit.pass(60);
    for resource in [DEPLOYED, REPLICA_SETS, PODS, NODES, "events", STATEFUL_SETS] {
        for object in kit.state.list(resource, "").expect("a list").objects {
            kit.state.delete(resource, object.namespace(), object.name(), &Deletion::now()).ok();
        }
    }
    kit.pass(60);
    assert!(kit.pods().is_empty(), "nobody wants a pod");
}
