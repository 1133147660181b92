//! A day in the life, in virtual time.

use super::*;
use crate::sandbox::controllers::kit::Clock;
use crate::sandbox::controllers::{DEPLOYED, NODES, PODS, STATEFUL_SETS};
use crate::sandbox::{Deletion, Write};
use serde_json::json;
use std::collections::BTreeSet;

struct World {
    clock: Clock,
    state: State,
    life: Life,
}

fn lifelike(rate: u32, seed: u64) -> LifeOptions {
    LifeOptions { lifelike: true, rate, seed, scenario: None }
}

impl World {
    fn new(options: LifeOptions) -> Self {
        let clock = Clock::new();
        let state = State::new(clock.origin(options.seed));
        let life = Life::new(state.clone(), options).expect("a life");
        Self { clock, state, life }
    }

    fn restart(&mut self, options: LifeOptions) {
        self.life = Life::new(self.state.clone(), options).expect("a life");
    }

    /// Lets so much time pass; `see` looks after each step.
    fn live(&mut self, seconds: i64, mut see: impl FnMut(&State)) {
        let end = self.clock.now() + SignedDuration::from_secs(seconds);
        while self.clock.now() < end {
            let next = self.life.step(self.clock.now());
            self.state.collect_garbage();
            see(&self.state);
            self.clock.move_to(next);
        }
    }

    fn count(&self, resource: &str) -> usize {
        self.state.list(resource, "").map_or(0, |l| l.objects.len())
    }

    fn reasons(&self) -> BTreeSet<String> {
        let events = self.state.list("events", "").expect("events").objects;
        events.iter().map(|e| e.text("/reason").to_owned()).collect()
    }

    fn all_ready(&self) -> bool {
        let ready = |resource: &str| {
            let objects = self.state.list(resource, "").expect("a list").objects;
            objects
                .iter()
                .all(|o| o.number("/status/readyReplicas").unwrap_or(0) == o.number("/spec/replicas").unwrap_or(0))
        };
        ready(DEPLOYED) && ready(STATEFUL_SETS)
    }
}

#[test]
fn a_fresh_cluster_stands_within_seconds_and_a_second_start_finds_it() {
    let mut world = World::new(lifelike(5, 1));
    world.live(4, |_| {});
    assert!(world.all_ready(), "everything serves");
    assert!(world.count(PODS) >= 25 && world.count(NODES) == 4, "{} pods", world.count(PODS));
    let counts = |world: &World| {
        [DEPLOYED, STATEFUL_SETS, "services", "configmaps", "secrets", NODES, catalogue::PROMOTIONS]
            .map(|r| world.count(r))
    };
    let before = counts(&world);
    assert!(before.iter().all(|n| *n >= 3), "{before:?}");
    world.restart(lifelike(5, 1));
    world.live(3, |_| {});
    assert_eq!(counts(&world), before, "nothing is there twice");
}

#[test]
fn half_a_minute_shows_what_there_is() {
    for seed in 1..4 {
        let mut world = World::new(lifelike(5, seed));
        let mut waits = BTreeSet::new();
        let mut deaths = BTreeSet::new();
        world.live(30, |state| {
            for pod in state.list(PODS, "").expect("pods").objects {
                waits.insert(pod.text("/status/containerStatuses/0/state/waiting/reason").to_owned());
                deaths.insert(pod.text("/status/containerStatuses/0/lastState/terminated/reason").to_owned());
                deaths.insert(pod.text("/status/reason").to_owned());
            }
        });
        let reasons = world.reasons();
        for reason in [
            "Scheduled",
            "Pulling",
            "Pulled",
            "Created",
            "Started",
            "Killing",
            "BackOff",
            "Failed",
            "ScalingReplicaSet",
            "SuccessfulCreate",
            "SuccessfulDelete",
            "Unhealthy",
            "NodeNotReady",
            "TaintManagerEviction",
            "Evicted",
        ] {
            assert!(reasons.contains(reason), "seed {seed}: {reason} in {reasons:?}");
        }
        for wait in ["ContainerCreating", "ErrImagePull", "ImagePullBackOff", "CrashLoopBackOff"] {
            assert!(waits.contains(wait), "seed {seed}: {wait} in {waits:?}");
        }
        for death in ["OOMKilled", "Error", "Evicted"] {
            assert!(deaths.contains(death), "seed {seed}: {death} in {deaths:?}");
        }
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let life = |seed| {
        let mut world = World::new(lifelike(20, seed));
        world.live(60, |_| {});
        let events = world.state.list("events", "").expect("events").objects;
        let mut said: Vec<String> =
            events.iter().map(|e| format!("{} {}", e.text("/reason"), e.text("/message"))).collect();
        said.sort_unstable();
        (said, world.state.revision())
    };
    assert_eq!(life(3), life(3));
    assert_ne!(life(3), life(4));
}

#[test]
fn the_rate_is_kept_and_nothing_grows() {
    for rate in [5, 100] {
        let mut world = World::new(lifelike(rate, 1));
        world.live(60, |_| {});
        let (revision, pods) = (world.state.revision(), world.count(PODS));
        let seconds = if rate == 5 { 900 } else { 60 };
        world.live(seconds, |_| {});
        #[allow(clippy::cast_precision_loss)]
        let achieved = (world.state.revision() - revision) as f64 / seconds as f64;
        assert!((achieved / f64::from(rate) - 1.0).abs() < 0.2, "{achieved} a second, aimed at {rate}");
        assert!(world.count(PODS) < pods + 25 && world.count("events") <= 2000, "{} pods", world.count(PODS));
        assert!(world.count("replicasets.apps") <= 15 * 5, "{} sets", world.count("replicasets.apps"));
    }
}

#[test]
fn what_a_killed_process_left_sick_is_mended_by_the_next() {
    let mut world = World::new(lifelike(5, 1));
    world.live(4, |_| {});
    let bad = json!({"spec": {"template": {"metadata": {"annotations": {"sandbox.agent-events/behaviour": "crash"}}}}});
    let target = Target::new("shop", "catalog");
    world.state.patch_merge(DEPLOYED, "shop", "catalog", &bad, &Write::by("x")).expect("patched");
    assert!(acts::is_sick(&world.state, &target));
    world.restart(lifelike(5, 1));
    world.live(14, |_| {});
    assert!(!acts::is_sick(&world.state, &target));
}

#[test]
fn a_user_can_take_everything_away_and_it_comes_back() {
    let mut world = World::new(lifelike(5, 2));
    world.live(10, |_| {});
    for resource in world.state.resources() {
        for object in world.state.list(&resource.qualified, "").map(|l| l.objects).unwrap_or_default() {
            world.state.delete(&resource.qualified, object.namespace(), object.name(), &Deletion::now()).ok();
        }
    }
    world.live(90, |_| {});
    assert!(world.count(DEPLOYED) >= 14 && world.count(PODS) >= 20, "{} pods", world.count(PODS));
}

#[test]
fn a_scenario_is_played_once_in_order() {
    let path = format!("{}/config/scenarios/small.toml", env!("CARGO_MANIFEST_DIR"));
    let scenario = Scenario::read(std::path::Path::new(&path)).expect("a sound file");
    let mut world = World::new(LifeOptions { scenario: Some(scenario), ..LifeOptions::default() });
    let mut seen = BTreeSet::new();
    world.live(40, |state| {
        for pod in state.list(PODS, "default").expect("pods").objects {
            seen.insert(pod.text("/status/containerStatuses/0/state/waiting/reason").to_owned());
            seen.insert(pod.text("/status/containerStatuses/0/lastState/terminated/reason").to_owned());
        }
    });
    assert!(seen.contains("ImagePullBackOff") && seen.contains("OOMKilled"), "{seen:?}");
    let web = world.state.get(DEPLOYED, "default", "web").expect("web");
    assert_eq!((web.number("/spec/replicas"), web.number("/status/readyReplicas")), (Some(2), Some(2)));
    assert_eq!(web.text("/spec/template/spec/containers/0/image"), "docker.io/library/nginx:1.29.3");
}

#[test]
fn a_quiet_cluster_is_quiet() {
    let mut world = World::new(LifeOptions::default());
    world.live(30, |_| {});
    let revision = world.state.revision();
    world.live(60, |_| {});
    // Three nodes renew their leases each ten seconds.
    assert!(world.state.revision() - revision <= 21, "{}", world.state.revision() - revision);
}
