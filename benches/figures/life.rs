//! Role `life`: one life of the whole product on an embedded log, between a scripted API server and that log's files.
//!
//! The scripted server has a history: change `n` of it is a function of `n`, so a watch may begin behind any version, as
//! at a real one. Every life of the section `restart` is played so: those that prepare, and those that are measured.

use crate::history::{self, History};
use crate::{cpu, embedded, roles};
use agent_events::app::{self, Ends};
use agent_events::domain::checkpoint::Memory;
use agent_events::domain::target::Target;
use agent_events::domain::watch::{Request, Verb};
use agent_events::kubernetes::{ApiServer, Response};
use agent_events::log::Log as _;
use agent_events::log::embedded::EmbeddedLog;
use agent_events::settings::{self, Sources};
use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, stream};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;
use tokio::runtime::Runtime;

/// What a watch shows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Feed {
    /// That nothing has happened since this many changes.
    Bookmark(u64),
    /// Changes until there were so many, as fast as they are taken.
    Until(u64),
    /// So many changes a second, and at the opening what such a cluster did in that many seconds.
    Steady { per_second: f64, away_seconds: f64 },
}

/// The role's task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// Where log and saved fold are.
    pub data_dir: PathBuf,
    /// Pods of the cluster.
    pub pods: u64,
    /// What a watch shows.
    pub feed: Feed,
    /// When the process was started, by [`cpu::wall`].
    pub began: Duration,
}

/// What a life that resumes has reached, in seconds since its process was started.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub struct Reached {
    /// The log is open.
    pub opened: f64,
    /// A watch was asked for, from the checkpoint.
    pub watching: f64,
    /// Readiness is given.
    pub ready: f64,
    /// The first change that happened while nobody looked is durable.
    pub first: f64,
    /// What had happened a second ago is durable.
    pub caught_up: f64,
    /// What readiness came with, in MiB.
    pub peak: f64,
}

/// What hyper hands over at a time from a busy TLS connection.
const CHUNK: usize = 16 << 10;
const TICK: Duration = Duration::from_millis(10);
const PATIENCE: Duration = Duration::from_secs(3 * 3600);

/// What the scripted server tells of itself.
#[derive(Default)]
struct Seen {
    /// When the first watch came, in microseconds of [`cpu::wall`]; 0 before.
    watched: AtomicU64,
    /// Changes that were there before what it showed.
    from: AtomicU64,
    lists: AtomicU64,
}

struct Script {
    pods: u64,
    feed: Feed,
    seen: Arc<Seen>,
}

fn micros() -> u64 {
    u64::try_from(cpu::wall().as_micros()).unwrap_or(u64::MAX)
}

/// Changes that a watch may have shown by now.
fn released(feed: Feed, from: u64, watched: u64, now: u64) -> u64 {
    match feed {
        Feed::Bookmark(_) => from,
        Feed::Until(end) => end,
        Feed::Steady { per_second, away_seconds } => {
            from + (per_second * (away_seconds + now.saturating_sub(watched) as f64 / 1e6)) as u64
        }
    }
}

impl ApiServer for Script {
    fn send<'a>(&'a self, target: &'a Target, request: &'a Request) -> BoxFuture<'a, Result<Response, String>> {
        let at = |rv: &str| Bytes::from(format!(r#"{{"metadata":{{"resourceVersion":"{rv}"}},"items":[]}}"#));
        let body = match &request.verb {
            Verb::List { .. } | Verb::Review { .. } => {
                self.seen.lists.fetch_add(1, Ordering::Relaxed);
                stream::iter([Ok(at(&history::BEGINNING.to_string()))]).boxed()
            }
            Verb::Probe { rv } => stream::iter([Ok(at(rv.as_str()))]).boxed(),
            Verb::Watch { rv, .. } if target.kind.id() == "pods" => {
                let from = history::changes_at(rv.as_str());
                let first = self.seen.watched.compare_exchange(0, micros(), Ordering::AcqRel, Ordering::Acquire);
                if first.is_ok() {
                    self.seen.from.store(from, Ordering::Release);
                }
                self.changes(from).boxed()
            }
            Verb::Watch { .. } | Verb::WatchList { .. } => stream::pending().boxed(),
        };
        async move { Ok(Response { status: 200, retry_after: None, body }) }.boxed()
    }
}

impl Script {
    fn changes(&self, from: u64) -> impl futures_util::Stream<Item = Result<Bytes, String>> + Send + 'static {
        let (feed, seen) = (self.feed, self.seen.clone());
        let bookmark = match feed {
            Feed::Bookmark(now) => Some(Ok(Bytes::from(history::bookmark(now)))),
            Feed::Until(_) | Feed::Steady { .. } => None,
        };
        let history = History::new(self.pods);
        let lines = stream::unfold((history, from), move |(mut history, mut next)| {
            let seen = seen.clone();
            async move {
                let due = loop {
                    let (from, watched) = (seen.from.load(Ordering::Acquire), seen.watched.load(Ordering::Acquire));
                    let due = released(feed, from, watched, micros());
                    if due > next {
                        break due;
                    }
                    tokio::time::sleep(TICK).await;
                };
                let mut chunk = Vec::with_capacity(2 * CHUNK);
                while next < due && chunk.len() < CHUNK {
                    chunk.extend_from_slice(history.line(next).as_bytes());
                    chunk.push(b'\n');
                    next += 1;
                }
                Some((Ok(Bytes::from(chunk)), (history, next)))
            }
        });
        stream::iter(bookmark).chain(lines)
    }
}

fn settings_of(data_dir: &Path) -> agent_events::settings::Settings {
    let others = ["services", "deployments", "statefulsets", "configmaps", "secrets", "events"];
    let mut set: Vec<String> = others.iter().map(|kind| format!("watch.{kind}.enabled=false")).collect();
    set.extend([
        format!("data_dir={:?}", data_dir.display().to_string()),
        "watch.all_namespaces=true".to_owned(),
        // The script cannot list: nothing may be held against it.
        "watch.poll_interval=\"12h\"".to_owned(),
        "watch.audit_interval=\"12h\"".to_owned(),
        "cluster.name=\"bench\"".to_owned(),
        "log.engine=\"embedded\"".to_owned(),
        "http.api=\"127.0.0.1:0\"".to_owned(),
        "http.ops=\"127.0.0.1:0\"".to_owned(),
    ]);
    settings::load(&Sources { set, ..Sources::default() }).expect("the settings hold").settings
}

/// Where checkpoints stand.
pub const CHECKPOINTS: &str = "agent-events-checkpoints";

/// What a log remembers, and the ends of the topic of Pods.
pub fn memory(log: &EmbeddedLog) -> (Memory, Vec<i64>) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let eye = Eye { log: log.clone(), runtime };
    (eye.memory(), eye.ends())
}

struct Eye {
    log: EmbeddedLog,
    runtime: Runtime,
}

impl Eye {
    fn ends(&self) -> Vec<i64> {
        let offsets = self.runtime.block_on(self.log.offsets(history::TOPIC));
        offsets.map(|all| all.iter().map(|(_, end)| *end).collect()).unwrap_or_default()
    }

    fn written(&self) -> u64 {
        self.ends().iter().sum::<i64>().unsigned_abs()
    }

    fn memory(&self) -> Memory {
        let records = self.runtime.block_on(self.log.read_all(CHECKPOINTS));
        Memory::read(&records.unwrap_or_default())
    }

    /// Whether the watcher has checkpointed that many changes, and the stream processor has told all there is.
    fn is_settled(&self, changes: u64) -> bool {
        let (ends, memory) = (self.ends(), self.memory());
        let watcher = memory.checkpoints.get("pods").and_then(|c| c.rv.as_deref()).map(history::changes_at);
        let told = memory.checkpoints.get("~stream-processor").and_then(|c| c.positions.get(history::TOPIC));
        watcher == Some(changes)
            && told.is_some_and(|told| {
                (0..).zip(&ends).all(|(p, end)| *end == 0 || told.get(&p).is_some_and(|next| next >= end))
            })
    }
}

fn wait(what: &str, pause: Duration, mut condition: impl FnMut() -> bool) {
    let deadline = cpu::wall() + PATIENCE;
    while !condition() {
        assert!(cpu::wall() < deadline, "{what}: not within {PATIENCE:?}");
        std::thread::park_timeout(pause);
    }
}

/// Plays the role: `ready SECONDS`, then `settled` where the feed has an end and `reached JSON` where it has none; at a word it ends
/// in order and says `ended`.
pub fn play(task: Task) {
    let log = EmbeddedLog::open(embedded::config(task.data_dir.join("log"))).expect("the log of the life before");
    let since = |at: Duration| at.saturating_sub(task.began).as_secs_f64();
    let opened = since(cpu::wall());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let eye = Eye { log: log.clone(), runtime };
    let stood = eye.written();
    let seen = Arc::new(Seen::default());
    let api = Script { pods: task.pods, feed: task.feed, seen: seen.clone() };
    let ends = Ends { api: Arc::new(api), cluster_uid: "bench".into(), log: Arc::new(log) };
    let running = app::start_between(settings_of(&task.data_dir), ends).expect("the product starts");
    let mut reached = Reached { opened, ..Reached::default() };
    let is_ready = || running.board().missing().is_empty();
    match task.feed {
        Feed::Bookmark(changes) | Feed::Until(changes) => {
            wait("ready", TICK, is_ready);
            roles::tell(&format!("ready {}", since(cpu::wall())));
            wait("settled", Duration::from_millis(500), || eye.is_settled(changes));
            roles::tell("settled");
        }
        Feed::Steady { .. } => {
            // Our own writer markers stand before any change.
            let stood = stood + embedded::PARTITIONS.unsigned_abs() as u64;
            wait("capture has caught up", Duration::from_millis(5), || {
                let now = micros();
                let at = since(Duration::from_micros(now));
                let (watched, from) = (seen.watched.load(Ordering::Acquire), seen.from.load(Ordering::Acquire));
                if watched == 0 {
                    return false;
                }
                reached.watching = since(Duration::from_micros(watched));
                if reached.ready == 0.0 && is_ready() {
                    reached.ready = at;
                    reached.peak = cpu::memory(std::process::id()).map_or(0.0, |(_, peak)| peak);
                }
                if reached.first == 0.0 && eye.written() > stood {
                    reached.first = at;
                }
                let due = released(task.feed, from, watched, now.saturating_sub(1_000_000));
                let durable = running.board().watchers().first().and_then(|row| row.lane.watermark());
                let durable = durable.map_or(0, |point| history::changes_at(point.rv.as_str()));
                reached.caught_up = at;
                reached.ready > 0.0 && durable >= due
            });
            assert_eq!(seen.lists.load(Ordering::Relaxed), 0, "a restart within the window lists nothing");
            roles::tell(&format!("reached {}", serde_json::to_string(&reached).expect("numbers")));
        }
    }
    if roles::told() {
        let code = running.shutdown();
        assert_eq!(code, 0, "an orderly end");
        roles::tell("ended");
    }
}

/// What a bare reader does with the same files: `read RECORDS SECONDS`, from the opening of the log to its last record.
pub fn read_bare(task: &Task) {
    let log = EmbeddedLog::open(embedded::config(task.data_dir.join("log"))).expect("the log of the life before");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let eye = Eye { log, runtime };
    let bounds = eye.runtime.block_on(eye.log.offsets(history::TOPIC)).expect("the topic is there");
    let mut next: Vec<i64> = bounds.iter().map(|(earliest, _)| *earliest).collect();
    let from = (0..).zip(&next).map(|(p, at)| (history::TOPIC.into(), p, agent_events::log::Start::Offset(*at)));
    let mut reader = eye.log.read(from.collect()).expect("it can be read");
    let mut records = 0;
    while next.iter().zip(&bounds).any(|(at, (_, end))| at < end) {
        let batch = eye.runtime.block_on(reader.batches.recv()).expect("it goes on");
        records += batch.records.len();
        for record in &batch.records {
            next[usize::try_from(record.partition).expect("a partition")] = record.offset + 1;
        }
    }
    roles::tell(&format!("read {records} {}", cpu::wall().saturating_sub(task.began).as_secs_f64()));
    roles::told();
}
