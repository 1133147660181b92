//! Actors die, the broker stalls, and nothing is lost. Two broken variants of the product must be caught by the same run.

use super::checker::{Record, fold, versions, violations};
use super::kit::{Ends, PATIENCE, Parts, Product, Trial, Where::*, pause};
use agent_events::messages::life::{KillHow, LifeState};
use agent_events::testing::{self, Mutant};
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

pub const TRIALS: &[Trial] = &[
    ("a_hundred_kills_of_actors_lose_nothing", Both, a_hundred_kills),
    ("a_mutant_that_acks_on_enqueue_is_caught", Both, ack_on_enqueue_is_caught),
    ("a_mutant_without_a_generation_fence_is_caught", Both, no_fence_is_caught),
];

const VICTIMS: &[&str] = &["watcher/configmaps@", "publisher", "shared-state", "stream-processor", "query"];

/// What the API server acknowledged: uid and version of every write, uids that were deleted.
#[derive(Default)]
struct Commits {
    versions: Vec<(String, String)>,
    deleted: HashSet<String>,
}

/// Creates, changes and deletes ConfigMaps of its own until told to stop.
fn load(parts: &Parts, namespace: &str, worker: u64, seed: u64, stop: &AtomicBool, commits: &Mutex<Commits>) {
    let mut rng = StdRng::seed_from_u64(seed);
    let path = format!("/api/v1/namespaces/{namespace}/configmaps");
    let mut live: BTreeMap<u32, String> = BTreeMap::new();
    // A real API server takes its time. The sandbox does not, and keeps 32 MiB of history: what is gone before it was read
    // is coalesced, which is not what this trial is about.
    let (breath, most) = match parts.ends {
        Ends::Real { .. } => (Duration::ZERO, 100_000),
        Ends::Laptop(_) => (Duration::from_millis(10), 10_000),
    };
    while !stop.load(Ordering::Relaxed) {
        pause(breath);
        let n = rng.random_range(0..40);
        // Annotations stay in the record, so that the small queue fills within a stall.
        let fill = json!({"fill": "x".repeat(rng.random_range(1_000..most)), "turn": rng.random::<u32>().to_string()});
        let body = json!({"metadata": {"name": format!("m-{worker}-{n}"), "annotations": fill}});
        let one = format!("{path}/m-{worker}-{n}");
        match live.get(&n) {
            None => {
                let made = parts.api("POST", &path, &body);
                let uid = note(commits, &made);
                live.insert(n, uid);
            }
            Some(uid) if rng.random_bool(0.2) => {
                commits.lock().expect("not poisoned").deleted.insert(uid.clone());
                parts.api("DELETE", &one, &Value::Null);
                live.remove(&n);
            }
            Some(_) => {
                note(commits, &parts.api("PATCH", &one, &json!({"metadata": {"annotations": fill}})));
            }
        }
    }
}

fn note(commits: &Mutex<Commits>, object: &Value) -> String {
    let field = |name: &str| object["metadata"][name].as_str().expect("there").to_owned();
    let uid = field("uid");
    commits.lock().expect("not poisoned").versions.push((uid.clone(), field("resourceVersion")));
    uid
}

/// One run: load, kills, stalls of the broker, quiet, and then the verdict. `kills` of them really happened, or it is void.
fn run(parts: &Parts, name: &str, seed: u64, kills: usize) -> Vec<String> {
    println!("chaos {name}: seed {seed}");
    let mut rng = StdRng::seed_from_u64(seed);
    parts.namespace(name);
    let scope = format!("watch.namespaces.{name}=true");
    // A small queue, so that a stalled broker fills it and the publisher has something in hand when it dies.
    let more = [
        &scope,
        "watch.namespaces.default=false",
        "supervision.hang_limit=\"1s\"",
        "supervision.backoff_max=\"200ms\"",
        "publisher.queue_bytes=\"1MiB\"",
        "publisher.max_record_bytes=\"1MiB\"",
        "publisher.linger=\"5ms\"",
    ];
    let product = parts.product(name, &more);
    let control = product.running.control(PATIENCE).expect("it is up");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (stop, commits) = (AtomicBool::new(false), Mutex::new(Commits::default()));
    let dead = std::thread::scope(|threads| {
        for worker in 0..4 {
            let (stop, commits, namespace) = (&stop, &commits, name);
            threads.spawn(move || load(parts, namespace, worker, seed * 10 + worker, stop, commits));
        }
        let mut dead = 0;
        for kill in 0..kills {
            let mut victim = VICTIMS[rng.random_range(0..VICTIMS.len())].to_owned();
            // A hang takes its limit to be noticed: one in eight keeps the run short.
            let mut how = match kill % 8 {
                0 => KillHow::Hang,
                n if n % 2 == 0 => KillHow::Stop,
                _ => KillHow::Panic,
            };
            let stall = rng.random_bool(0.25);
            if stall {
                parts.pause_log();
                pause(Duration::from_millis(rng.random_range(300..1200)));
                // Behind a full queue the publisher has records in hand: the moment at which its death costs most.
                if rng.random_bool(0.6) {
                    victim = "publisher".to_owned();
                    how = if rng.random_bool(0.5) { KillHow::Hang } else { KillHow::Panic };
                }
            }
            if victim.ends_with('@') {
                victim.push_str(name);
            }
            // One that is on its way back cannot die again: wait for it.
            super::kit::eventually("the victim lives", || {
                let tree = runtime.block_on(control.tree()).expect("the tree answers");
                tree.iter().any(|c| c.id == victim && c.state == LifeState::Up).then_some(())
            });
            dead += usize::from(runtime.block_on(control.kill(&victim, how)).is_ok());
            if stall {
                pause(Duration::from_millis(rng.random_range(0..300)));
                parts.resume_log();
            }
            pause(Duration::from_millis(rng.random_range(20..100)));
        }
        stop.store(true, Ordering::Relaxed);
        dead
    });
    let verdict = verdict(parts, &product, name, &commits.into_inner().expect("not poisoned"));
    println!(
        "chaos {name}: {:?}",
        product.running.board().show().watchers.iter().find(|w| w.kind == "configmaps").map(|w| w.lane.clone())
    );
    println!("chaos {name}: {dead} of {kills} kills hit");
    drop(product);
    if dead * 10 < kills * 8 {
        return vec![format!("void: only {dead} of {kills} kills happened")];
    }
    verdict
}

fn verdict(parts: &Parts, product: &Product, name: &str, commits: &Commits) -> Vec<String> {
    let truth = versions(&parts.api("GET", &format!("/api/v1/namespaces/{name}/configmaps"), &Value::Null));
    let topic = product.topic("k8s-configmaps");
    let mut records: Vec<Record> = Vec::new();
    let mut found = Vec::new();
    let agreed = testbed::wait_until(Duration::from_secs(30), || {
        records = parts.dump(&topic);
        let same = fold(&records) == truth && product.state("configmaps", name) == truth;
        Ok::<_, std::convert::Infallible>(same.then_some(()))
    });
    if !matches!(agreed, Ok(Some(()))) {
        found.push("fold, store and API server do not agree".to_owned());
    }
    found.extend(violations(&records));
    // Nothing was relisted, so every version that the API server acknowledged is there, not only the last.
    let there: HashSet<(&str, &str)> =
        records.iter().filter_map(|r| Some((r.source("uid")?, r.source("rv")?))).collect();
    let lost = commits.versions.iter().filter(|(uid, rv)| !there.contains(&(uid.as_str(), rv.as_str()))).count();
    if lost > 0 {
        found.push(format!("{lost} of {} versions are lost", commits.versions.len()));
    }
    let mut deletes: HashMap<&str, usize> = HashMap::new();
    for record in records.iter().filter(|r| r.op() == Some("d")) {
        *deletes.entry(record.source("uid").unwrap_or_default()).or_default() += 1;
    }
    let missing = commits.deleted.iter().filter(|uid| !deletes.contains_key(uid.as_str())).count();
    if missing > 0 {
        found.push(format!("{missing} deletes are lost"));
    }
    println!(
        "chaos {name}: {} versions, {} deletes, {} records",
        commits.versions.len(),
        commits.deleted.len(),
        records.len()
    );
    if commits.versions.len() < 100 {
        found.push(format!("void: only {} versions", commits.versions.len()));
    }
    found
}

fn a_hundred_kills(parts: &Parts) {
    let found = run(parts, "chaos", 20261123, 100);
    assert!(found.is_empty(), "{found:#?}");
}

fn caught(parts: &Parts, name: &str, mutant: Mutant) {
    testing::set(Some(mutant));
    let mut found = Vec::new();
    // Chance decides when the fault bites; a handful of seeds must do.
    for seed in 1..=5 {
        found = run(parts, &format!("{name}-{seed}"), seed, 40);
        found.retain(|f| !f.starts_with("void"));
        if !found.is_empty() {
            println!("{mutant:?}: caught with seed {seed}: {}", found[0]);
            break;
        }
    }
    testing::set(None);
    assert!(!found.is_empty(), "{mutant:?} went unnoticed");
}

fn ack_on_enqueue_is_caught(parts: &Parts) {
    caught(parts, "acks", Mutant::AckOnEnqueue);
}

fn no_fence_is_caught(parts: &Parts) {
    caught(parts, "fence", Mutant::NoGenerationFence);
}
