//! The positive control: kube's own watcher in the product's place must be seen to lose what the product does not. A harness
//! that finds no fault with it finds none with anybody.

use super::checker::Record;
use super::faults::Scene;
use super::front::Front;
use super::kit::{Parts, Trial, Where::Real, eventually};
use super::losses::{Commits, gaps, silent_losses};
use super::server;
use agent_events::sandbox::{Fault, Rule, Spoil};
use futures_util::StreamExt as _;
use k8s_openapi::api::core::v1::ConfigMap;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use kube_runtime::WatchStreamExt as _;
use kube_runtime::watcher::{self, Event};
use serde_json::json;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Runtime;

pub const TRIALS: &[(&str, fn())] = &[
    ("an_object_that_cannot_be_decoded_in_a_watch_is_lost_by_kubes_watcher_and_not_by_ours", || both(poison)),
    ("deletes_behind_a_410_are_lost_by_kubes_watcher_and_not_by_ours", || both(deletes_behind_a_410)),
    ("deletes_while_the_process_is_down_are_lost_by_kubes_watcher_and_not_by_ours", || both(down)),
];

/// On a real API server that reads etcd directly.
pub const ON_REAL: &[Trial] =
    &[("deletes_behind_a_410_of_a_real_api_server_are_lost_by_kubes_watcher_and_not_by_ours", Real, behind_a_real_410)];

/// kube's watcher, and what it reported, as records of a log that loses nothing.
#[derive(Default)]
pub struct Stock {
    running: Option<Runtime>,
    records: Arc<Mutex<Vec<Record>>>,
}

impl Stock {
    pub fn start(&mut self, kubeconfig: &Path, namespace: &'static str) {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let (kubeconfig, records) = (Kubeconfig::read_from(kubeconfig).expect("a kubeconfig"), self.records.clone());
        runtime.spawn(async move {
            let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await;
            let client = Client::try_from(config.expect("it leads somewhere")).expect("a client");
            let maps: Api<ConfigMap> = Api::namespaced(client, namespace);
            let mut events = std::pin::pin!(watcher::watcher(maps, watcher::Config::default()).default_backoff());
            while let Some(event) = events.next().await {
                let (op, object) = match event {
                    Ok(Event::Apply(object) | Event::InitApply(object)) => ("r", object),
                    Ok(Event::Delete(object)) => ("d", object),
                    Ok(_) | Err(_) => continue,
                };
                note(&records, op, &object);
            }
        });
        self.running = Some(runtime);
    }

    pub fn stop(&mut self) {
        self.running.take().expect("it runs").shutdown_background();
    }

    pub fn records(&self) -> Vec<Record> {
        self.records.lock().expect("not poisoned").clone()
    }
}

fn note(records: &Mutex<Vec<Record>>, op: &str, object: &ConfigMap) {
    let mut records = records.lock().expect("not poisoned");
    let metadata = &object.metadata;
    let key = format!("real/configmaps/-/{}", metadata.name.as_deref().unwrap_or_default());
    let source = json!({"uid": metadata.uid, "rv": metadata.resource_version});
    let value = json!({"op": op, "source": source, "before": {}, "after": {}});
    let values = if op == "d" { vec![Some(value), None] } else { vec![Some(value)] };
    for value in values {
        let offset = i64::try_from(records.len()).expect("few");
        let raw = value.as_ref().map_or_else(Vec::new, |v| v.to_string().into_bytes());
        records.push(Record { partition: 0, offset, key: key.clone(), value, raw, headers: Vec::new() });
    }
}

/// Ten objects are seen; while nobody is let in, five of them go, another comes, and the history is forgotten.
fn cut_off(parts: &Parts, name: &str, front: &Front, records: &dyn Fn() -> Vec<Record>) -> Commits {
    let mut commits = Commits::default();
    let seen = |uid: &str| {
        eventually("it is seen", || records().iter().any(|r| r.source("uid") == Some(uid)).then_some(()));
    };
    let uids: Vec<String> = (0..10).map(|n| server::create(parts, name, &format!("m-{n}"), &mut commits)).collect();
    uids.iter().for_each(|uid| seen(uid));
    front.close(true);
    front.cut();
    for (n, uid) in uids.iter().enumerate().take(5) {
        server::delete(parts, name, &format!("m-{n}"), uid, &mut commits);
    }
    let behind = server::create(parts, name, "behind", &mut commits);
    parts.compact(&commits.versions.last().expect("just written").1);
    front.close(false);
    seen(&behind);
    commits
}

fn behind_a_real_410(parts: &Parts) {
    const OURS: &str = "control-ours";
    const STOCK: &str = "control-stock";
    parts.namespace(OURS);
    let front = parts.front(OURS);
    let product = server::product(parts, OURS, &[&front.set()]);
    let commits = cut_off(parts, OURS, &front, &|| parts.dump(&product.topic("k8s-configmaps")));
    let records = server::settled(parts, &product, OURS, &commits);
    assert!(gaps(&records).iter().any(|gap| gap.reason == "expired"), "the history was gone: {:?}", gaps(&records));
    product.shutdown();
    parts.namespace(STOCK);
    let front = parts.front(STOCK);
    let mut stock = Stock::default();
    stock.start(&front.kubeconfig(), STOCK);
    let commits = cut_off(parts, STOCK, &front, &|| stock.records());
    let found = silent_losses(&commits, &stock.records());
    println!("kube's watcher on a real API server: {} findings, such as {:?}", found.len(), found.last());
    assert_eq!(found.len(), 5, "kube's watcher is not seen to lose the deletes: {found:?}");
    stock.stop();
}

/// Plays the same story to both.
fn both(story: fn(&mut Scene)) {
    let mut ours = Scene::new();
    story(&mut ours);
    let found = ours.findings(Duration::from_secs(20), &[]);
    assert!(found.is_empty(), "ours: {found:#?}");
    ours.stop();
    let mut stock = Scene::stock();
    story(&mut stock);
    let found = stock.findings(Duration::from_secs(5), &[]);
    println!("kube's watcher: {} findings, such as {:?}", found.len(), found.last());
    assert!(!found.is_empty(), "kube's watcher is not seen to lose anything: the harness is worthless");
}

fn poison(scene: &mut Scene) {
    scene.create_many(10);
    scene.seen("m-9");
    scene.faults().inject(Rule::new(Fault::Spoil(Spoil::WrongName)).of("configmaps").verb("watch").named("poison"));
    scene.create("poison");
    scene.create("behind");
    scene.seen("behind");
}

fn deletes_behind_a_410(scene: &mut Scene) {
    scene.create_many(10);
    scene.seen("m-9");
    scene.while_cut_off(|scene| {
        (0..5).for_each(|i| scene.delete(&format!("m-{i}")));
        scene.create("behind");
        scene.faults().compact();
    });
    scene.seen("behind");
}

fn down(scene: &mut Scene) {
    scene.create_many(10);
    scene.seen("m-9");
    scene.stop();
    (0..5).for_each(|i| scene.delete(&format!("m-{i}")));
    scene.create("behind");
    scene.start();
    scene.seen("behind");
}
