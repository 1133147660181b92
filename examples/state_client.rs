//! The state as a Rust API: count, list by pages, get, subscribe.
//!
//! ```console
//! $ cargo run --example state_client
//! ```
//!
//! It needs no cluster and no broker: a few records are put on a memory log as a watcher would write them, folded into
//! the store, and asked for through a [`StateClient`]. A program within the process gets its client from
//! `Running::client()`; what it can do with it is all in `use_the_client`.

use agent_events::actors::query::QueryActor;
use agent_events::actors::rt::{self, Arbiters, ChildSpec, Group, Supervisor};
use agent_events::domain::kind::Kind;
use agent_events::domain::record::{InRecord, WRITER_EPOCH_HEADER};
use agent_events::domain::topic::object_key;
use agent_events::log::Log as _;
use agent_events::log::memory::MemoryLog;
use agent_events::messages::client::{Query, StateClient};
use agent_events::settings::Settings;
use agent_events::store::{Store, StoreOptions};
use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

type Failure = Box<dyn std::error::Error>;

async fn use_the_client(client: &StateClient, cluster: &Cluster) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    let shop = Query { namespace: "shop".into(), labels: "app in (web, api)".into(), limit: 2, ..Query::default() };
    writeln!(out, "{} pods of web and api", client.count("pods", &shop).await?.count)?;

    // Two to a page. `as_of` says how far the log was read when the page was made.
    let (mut next, mut number) = (None, 1);
    loop {
        let page = client.list("pods", &shop, next.as_deref()).await?;
        let names: Vec<_> = page.items.iter().map(|pod| pod.name()).collect();
        writeln!(out, "page {number}: {} (version {})", names.join(", "), page.as_of.version)?;
        (next, number) = (page.next, number + 1);
        if next.is_none() {
            break;
        }
    }

    // Identity, labels and a few fields are at hand; the bytes are those of the log, unpacked when asked for.
    let pod = client.get("pods", "shop", "web-1").await?.ok_or("web-1 is not there")?;
    let object: serde_json::Value = serde_json::from_slice(&pod.json())?;
    writeln!(out, "{} runs {}", pod.name(), object["spec"]["containers"][0]["image"])?;

    // The objects as they are, then every change: no gap between the two, nothing twice. A label that no longer fits the
    // query deletes the object for whoever asked by it.
    let web = Query { labels: "app=web".into(), ..Query::default() };
    let mut changes = client.subscribe(&["pods"], &web, None).await?;
    writeln!(out, "{} pods of web", changes.take_snapshot().len())?;
    cluster.write(&[("web-2", "web", 5), ("web-1", "batch", 6)]).await?;
    for _ in 0..2 {
        let change = changes.next().await?;
        writeln!(out, "{:?} {}", change.operation, change.object.name())?;
    }

    // Whoever comes back with its cursor is told what it missed, as long as that is still kept.
    let cursor = changes.cursor().to_string();
    cluster.write(&[("web-3", "web", 7)]).await?;
    let mut again = client.subscribe(&["pods"], &web, Some(&cursor)).await?;
    writeln!(out, "resumed: {}, {:?}", again.resumed(), again.next().await?.operation)?;
    Ok(())
}

fn main() -> Result<(), Failure> {
    let io = rt::io_runtime(1)?;
    rt::system(&io).block_on(async {
        let cluster = Cluster::new().await?;
        cluster.write(&[("web-0", "web", 1), ("web-1", "web", 2), ("api-0", "api", 3), ("db-0", "db", 4)]).await?;

        // What `app` does for a whole process: the actor on a thread of its own, supervised.
        let mut arbiters = Arbiters::shared(io.clone());
        let store = cluster.store.clone();
        let (spec, actor) =
            ChildSpec::new("query", &arbiters.place("query"), 16, move || QueryActor::new(store.clone()));
        let supervisor = Supervisor::new(vec![Group::one_for_one("answers").child(spec)]).start()?;
        supervisor.booted().await;

        let outcome = use_the_client(&StateClient::new(&actor), &cluster).await;
        supervisor.shutdown(Duration::from_secs(5)).await;
        arbiters.join(Duration::from_secs(5));
        outcome
    })
}

/// Stands for capture: writes pods to the log, and folds the log into the store.
struct Cluster {
    log: MemoryLog,
    topic: Arc<str>,
    store: Arc<Store>,
}

impl Cluster {
    async fn new() -> Result<Self, Failure> {
        let pods = Kind::builtin("pods").ok_or("pods are built in")?;
        let (log, topic) = (MemoryLog::default(), Arc::from(pods.topic()));
        for spec in Settings::defaults().topics.specs(std::slice::from_ref(&pods)) {
            log.create(&spec).await?;
        }
        let store = Store::new(StoreOptions::new("demo", vec![(pods.clone(), Arc::clone(&topic))]));
        store.complete(&pods);
        Ok(Self { log, topic, store })
    }

    async fn write(&self, pods: &[(&str, &str, u64)]) -> Result<(), Failure> {
        for (name, app, rv) in pods {
            let after = serde_json::json!({
                "apiVersion": "v1", "kind": "Pod",
                "metadata": { "name": name, "namespace": "shop", "uid": name, "resourceVersion": rv.to_string(),
                              "labels": { "app": app } },
                "spec": { "containers": [{ "name": app, "image": format!("{app}:1.0") }] },
            });
            let source = serde_json::json!({
                "kind": "pods", "namespace": "shop", "name": name, "uid": name, "rv": rv.to_string(), "observed": "watch",
            });
            let value = serde_json::json!({ "op": "r", "ts_ms": 0, "source": source, "before": null, "after": after });
            self.log.inject(InRecord {
                topic: self.topic.clone(),
                partition: 0,
                offset: 0,
                timestamp_ms: 0,
                key: Some(object_key("demo", "pods", Some("shop"), name).into()),
                value: Some(value.to_string().into()),
                headers: vec![(WRITER_EPOCH_HEADER.into(), Some("1".into()))],
            })?;
        }
        // Reading all of it again is fine: the store knows how far it came.
        self.store.apply(&self.log.read_all(&self.topic).await?);
        Ok(())
    }
}
