//! For tests: a cluster in virtual time.

use super::*;
use crate::sandbox::Origin;
use serde_json::json;
use std::sync::atomic::{AtomicI64, Ordering};

/// A state whose clock stands until it is moved.
pub(in crate::sandbox) struct Clock(Arc<AtomicI64>);

impl Clock {
    pub fn new() -> Self {
        // 2026-01-01T00:00:00Z
        Self(Arc::new(AtomicI64::new(1_767_225_600_000)))
    }

    pub fn origin(&self, seed: u64) -> Origin {
        let at = self.0.clone();
        Origin::seeded(seed).with_clock(move || time(at.load(Ordering::Relaxed)))
    }

    pub fn now(&self) -> Timestamp {
        time(self.0.load(Ordering::Relaxed))
    }

    pub fn move_to(&self, at: Timestamp) {
        self.0.fetch_max(at.as_millisecond() + 1, Ordering::Relaxed);
    }
}

fn time(ms: i64) -> Timestamp {
    Timestamp::from_millisecond(ms).expect("a time of this century")
}

/// Controllers over a state in memory.
pub(in crate::sandbox) struct Kit {
    pub clock: Clock,
    pub state: State,
    pub controllers: Controllers,
}

impl Kit {
    /// With so many nodes.
    pub fn with_nodes(nodes: usize) -> Self {
        let clock = Clock::new();
        let state = State::new(clock.origin(7));
        for n in 0..nodes {
            let node = node::registration(&format!("node-{n}"), "p", "z", 20, 8, 32, clock.now());
            state.create(NODES, node, &Write::by("kubelet")).expect("a node");
        }
        let controllers = Controllers::new(state.clone(), Pace { delays: 1.0, seed: 7 }).expect("built-in resources");
        Self { clock, state, controllers }
    }

    /// Lets time pass from one due thing to the next, until it is so.
    pub fn until(&mut self, what: &str, mut so: impl FnMut(&State) -> bool) {
        let deadline = self.clock.now() + SignedDuration::from_secs(600);
        loop {
            let next = self.controllers.step(self.clock.now());
            self.state.collect_garbage();
            if so(&self.state) {
                return;
            }
            assert!(self.clock.now() < deadline, "never: {what}");
            self.clock.move_to(next.expect("heartbeats are always due"));
        }
    }

    /// Lets so much time pass.
    pub fn pass(&mut self, seconds: i64) {
        let end = self.clock.now() + SignedDuration::from_secs(seconds);
        self.until("time passes", |state| state.origin().now() >= end);
    }

    pub fn deploy(&self, name: &str, replicas: i64, image: &str) {
        let deployment = json!({
            "metadata": {"name": name, "namespace": "default"},
            "spec": {"replicas": replicas, "selector": {"matchLabels": {"app": name}}, "template": template(name, image)},
        });
        self.state.create(DEPLOYED, deployment, &Write::by("kubectl")).expect("a deployment");
    }

    pub fn pods(&self) -> Vec<Arc<Object>> {
        self.state.list(PODS, "default").expect("pods").objects
    }

    pub fn events(&self) -> Vec<String> {
        let events = self.state.list("events", "").expect("events").objects;
        events.iter().map(|e| format!("{}: {}", e.text("/reason"), e.text("/message"))).collect()
    }

    pub fn has_event(&self, start: &str) -> bool {
        self.events().iter().any(|e| e.starts_with(start))
    }

    pub fn set_image(&self, name: &str, image: &str) {
        let changed = self.state.modify(DEPLOYED, "default", name, &Write::by("kubectl-set"), |d| {
            d["spec"]["template"]["spec"]["containers"][0]["image"] = image.into();
        });
        changed.expect("the deployment is there");
    }
}

pub(in crate::sandbox) fn template(app: &str, image: &str) -> Value {
    json!({"metadata": {"labels": {"app": app}}, "spec": {"containers": [{"name": "app", "image": image}]}})
}

/// As `kubectl rollout status` sees it.
pub(in crate::sandbox) fn rolled_out(state: &State, name: &str) -> bool {
    let Ok(d) = state.get(DEPLOYED, "default", name) else { return false };
    let n = |field: &str| d.number(&format!("/status/{field}")).unwrap_or(0);
    let wanted = d.number("/spec/replicas").unwrap_or(1);
    n("observedGeneration") >= d.number("/metadata/generation").unwrap_or(0)
        && n("updatedReplicas") == wanted
        && n("replicas") == wanted
        && n("availableReplicas") == wanted
}
