//! Role `pipeline`: the whole product in this process, between a scripted API server and a real Kafka.
//!
//! The scripted server streams lines that were generated beforehand as fast as back-pressure takes them: what remains is
//! the product's own cost from the bytes of a watch to the ack, with fold, store, stream and checkpoints on.

use crate::{pods, roles};
use agent_events::app::{self, Ends};
use agent_events::domain::target::Target;
use agent_events::domain::watch::{Request, Verb};
use agent_events::kubernetes::{ApiServer, Response};
use agent_events::log::kafka::KafkaLog;
use agent_events::settings::{self, Sources};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// What to stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Load {
    /// Events of 1.3 KB.
    Events,
    /// Pods of 9 KB, all created, and in a second act all updated.
    Pods,
}

impl Load {
    /// Plural of the kind.
    pub fn kind(self) -> &'static str {
        match self {
            Self::Events => "events",
            Self::Pods => "pods",
        }
    }
}

/// The role's task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// Brokers.
    pub bootstrap: String,
    /// Prefix of the topics, with its dot.
    pub prefix: String,
    /// What to stream.
    pub load: Load,
    /// How many.
    pub count: u64,
}

/// What hyper hands over at a time from a busy TLS connection.
const CHUNK: usize = 16 << 10;

struct Script {
    kind: &'static str,
    acts: Arc<Vec<Vec<Bytes>>>,
    /// Acts that may be played.
    open: watch::Receiver<usize>,
}

impl ApiServer for Script {
    fn send<'a>(&'a self, target: &'a Target, request: &'a Request) -> BoxFuture<'a, Result<Response, String>> {
        let body = match &request.verb {
            Verb::List { .. } | Verb::Probe { .. } | Verb::Review { .. } => {
                let empty = Bytes::from_static(br#"{"metadata":{"resourceVersion":"100"},"items":[]}"#);
                stream::iter([Ok(empty)]).boxed()
            }
            Verb::Watch { rv, .. } if target.kind.id() == self.kind && rv.as_str() == "100" => {
                let (acts, open, mut over) = (self.acts.clone(), self.open.clone(), self.open.clone());
                let lines = stream::iter(0..acts.len()).then(move |act| {
                    let (acts, mut open) = (acts.clone(), open.clone());
                    async move {
                        // The sender lives as long as the process.
                        drop(open.wait_for(|open| *open > act).await);
                        stream::iter((0..acts[act].len()).map(move |at| Ok(acts[act][at].clone())))
                    }
                });
                let silence = async move {
                    // A watch that shows nothing more stays open.
                    drop(over.wait_for(|open| *open == usize::MAX).await);
                    Err("the play is over".to_owned())
                };
                lines.flatten().chain(silence.into_stream()).boxed()
            }
            Verb::Watch { .. } | Verb::WatchList { .. } => stream::pending().boxed(),
        };
        async move { Ok(Response { status: 200, retry_after: None, body }) }.boxed()
    }
}

fn chunks(lines: impl Iterator<Item = String>) -> Vec<Bytes> {
    let mut body = Vec::new();
    for line in lines {
        body.extend_from_slice(line.as_bytes());
        body.push(b'\n');
    }
    let body = Bytes::from(body);
    (0..body.len()).step_by(CHUNK).map(|at| body.slice(at..body.len().min(at + CHUNK))).collect()
}

fn acts(load: Load, count: u64) -> Vec<Vec<Bytes>> {
    let line = |kind: &str, object: String| format!("{{\"type\":\"{kind}\",\"object\":{object}}}");
    match load {
        Load::Events => vec![chunks((0..count).map(|i| line("ADDED", pods::event_stored(i, 1000 + i))))],
        Load::Pods => vec![
            chunks((0..count).map(|i| line("ADDED", pods::stored(i, 1000 + i, 0)))),
            chunks((0..count).map(|i| line("MODIFIED", pods::stored(i, 1000 + count + i, 1)))),
        ],
    }
}

/// Plays the role: `ready` once the product is, then one act at each word.
pub fn play(task: &Task) {
    let kinds = ["services", "deployments", "statefulsets", "configmaps", "secrets", "pods", "events"];
    let off = kinds.iter().filter(|kind| **kind != task.load.kind());
    let mut set: Vec<String> = off.map(|kind| format!("watch.{kind}.enabled=false")).collect();
    set.extend([
        "watch.all_namespaces=true".to_owned(),
        "cluster.name=\"bench\"".to_owned(),
        format!("kafka.bootstrap={:?}", task.bootstrap),
        format!("topics.prefix={:?}", task.prefix),
        "http.api=\"127.0.0.1:0\"".to_owned(),
        "http.ops=\"127.0.0.1:0\"".to_owned(),
    ]);
    let loaded = settings::load(&Sources { set, ..Sources::default() }).expect("the settings hold");
    let config = app::kafka_config(&loaded).expect("the settings hold");
    let (opener, open) = watch::channel(0);
    let acts = Arc::new(acts(task.load, task.count));
    let api = Script { kind: task.load.kind(), acts, open };
    let log = Arc::new(KafkaLog::new(config).expect("the settings hold"));
    let ends = Ends { api: Arc::new(api), cluster_uid: "bench".into(), log };
    let running = app::start_between(loaded.settings, ends).expect("the product starts");
    if let Err(missing) = running.ready(Duration::from_secs(60)) {
        panic!("the product is not ready: {missing:?}");
    }
    roles::tell("ready");
    while roles::told() {
        opener.send_modify(|open| *open += 1);
        roles::tell("going");
    }
}
