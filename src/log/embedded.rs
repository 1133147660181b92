//! The log in files of this one process: what laptops, tests and small clusters run on.
//!
//! ```text
//! producers ─▶ inbox ─▶ writer thread: one group, one fsync ─▶ journal ─▶ (16 MiB) segment, by partition, compressed
//!                                          │ ack                  └────── readers, woken by appends ──────┘
//! ```
//! `codec` says how a record stands in a file, `journal` and `segment` are the files, `acked` tells a torn tail from damage,
//! `recover` opens what is there, `core` appends and reads, `tend` sorts and compacts by the rules of `policy`. Why these
//! files and not a store made by others: docs/decisions/007.
//!
//! Reads and writes run on threads of the log's own. All is bounded: a journal's index to 32 bytes for each of its records, a
//! segment's contents to 48 bytes for 32 KiB of records, a reader to two batches.

mod acked;
mod codec;
mod core;
mod damage;
mod files;
mod journal;
mod policy;
mod producer;
mod reader;
mod recover;
mod segment;
mod state;
mod tend;
mod writer;

use self::core::{Core, lock};
use super::{Log, LogError, Offsets, Producer, Reader, Start, TopicState};
use crate::domain::record::InRecord;
use crate::domain::topic::TopicSpec;
use futures_util::future::BoxFuture;
use producer::EmbeddedProducer;
use std::path::PathBuf;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
pub use tend::Cleaned;
use tokio::sync::oneshot;

/// Lengths are written in 32 bits; a tenth of that is far more than anyone puts into one record.
const LARGEST_RECORD: usize = 256 << 20;

/// How to open it.
#[derive(Debug, Clone)]
pub struct EmbeddedConfig {
    /// Its directory; made if it is not there.
    pub dir: PathBuf,
    /// When a record counts as durable.
    pub sync: Sync,
    /// Records of a producer that wait for the disk, in bytes.
    pub queue_bytes: usize,
    /// Largest record, key and value.
    pub max_record_bytes: usize,
}

/// When a record counts as durable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sync {
    /// Once it is on the disk: one fsync for all that waits.
    Disk,
    /// Once the operating system has it.
    Process,
}

/// The log. Clones are the same log; the last one that is dropped closes it as [`Log::close`] does: what waits is
/// written and the directory is free before it returns. Producers that are still there then take nothing more, and readers end.
#[derive(Clone)]
pub struct EmbeddedLog {
    owner: Arc<Owner>,
}

struct Owner {
    core: Arc<Core>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl EmbeddedLog {
    /// Opens or makes the log in `config.dir` and takes the ownership of it.
    pub fn open(config: EmbeddedConfig) -> Result<Self, LogError> {
        if config.max_record_bytes > LARGEST_RECORD {
            return Err(LogError::Setting {
                key: "publisher.max_record_bytes".into(),
                message: format!("the embedded log takes records of at most {LARGEST_RECORD} bytes"),
            });
        }
        let core = Core::open(config)?;
        let owner = Owner { core: core.clone(), threads: Mutex::default() };
        for (name, run) in [("log-writer", writer::run as fn(&Core)), ("log-tender", tend::run)] {
            let core = core.clone();
            let thread = std::thread::Builder::new()
                .name(name.into())
                .spawn(move || run(&core))
                .map_err(|error| LogError::Refused(format!("no thread for the embedded log: {error}")))?;
            lock(&owner.threads).push(thread);
        }
        Ok(Self { owner: Arc::new(owner) })
    }

    /// Removes what compaction and retention take as of `now_ms`; the log does so by itself too, now and then. Blocks while
    /// it reads and writes files, appends go on meanwhile.
    pub fn compact(&self, now_ms: i64) -> Result<Cleaned, LogError> {
        self.owner.core.compact(now_ms)
    }

    /// Bytes of all its files.
    pub fn bytes_on_disk(&self) -> u64 {
        self.owner.core.directory().map_or(0, |directory| directory.bytes())
    }

    /// For tests: from now on what is sent stays in its producers' queues, or no longer.
    pub fn hold(&self, held: bool) {
        self.owner.core.inbox.hold(held);
    }

    /// For tests: from now on it is cleaned only when [`Self::compact`] is called, for tests have times of their own.
    pub fn leave_untended(&self) {
        self.owner.core.untended.store(true, Ordering::Release);
    }

    /// For tests: writes a record that no producer of ours would, with null keys or null headers. The offset is given by
    /// the log.
    pub fn inject(&self, record: &InRecord) -> Result<i64, LogError> {
        let core = &self.owner.core;
        let place = core.state().place(&record.topic, record.partition)?;
        core.append(&[(place, codec::Source::In(record))]).map(|offsets| offsets[0])
    }
}

impl Owner {
    /// Writes what waits and gives the directory free. Idempotent.
    fn close(&self) {
        let core = &self.core;
        core.inbox.close();
        core.closed.store(true, Ordering::Release);
        core.sealed.ring();
        for thread in lock(&self.threads).drain(..) {
            // A receiver of reports may have held the last clone: a thread does not wait for itself.
            if thread.thread().id() != std::thread::current().id() && thread.join().is_err() {
                tracing::error!(log = core.at, "a thread of the log has panicked");
            }
        }
        core.grown.ring();
        drop(lock(&core.directory).take());
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.close();
    }
}

/// Runs `work` on a thread of its own and gives its result: callers are actors and runtimes, which must not wait for a disk.
fn off_thread<T: Send + 'static>(
    core: &Arc<Core>,
    work: impl FnOnce(&Core) -> Result<T, LogError> + Send + 'static,
) -> BoxFuture<'static, Result<T, LogError>> {
    let core = core.clone();
    Box::pin(async move {
        let (done, answer) = oneshot::channel();
        let ask = move || {
            // Nobody waits any more: the answer is no longer wanted.
            drop(done.send(work(&core)));
        };
        std::thread::Builder::new()
            .name("log-question".into())
            .spawn(ask)
            .map_err(|error| LogError::Refused(format!("no thread to ask the log with: {error}")))?;
        answer.await.unwrap_or_else(|_| Err(LogError::Refused("the thread that asked the log panicked".into())))
    })
}

impl Log for EmbeddedLog {
    fn close(&self) {
        self.owner.close();
    }

    fn engine(&self) -> &'static str {
        "embedded"
    }

    fn location(&self) -> String {
        self.owner.core.at.clone()
    }

    fn producer(&self) -> Result<Arc<dyn Producer>, LogError> {
        let core = &self.owner.core;
        match lock(&core.broken).clone() {
            Some(why) => Err(LogError::Unreachable(core.at.clone(), why)),
            None => Ok(Arc::new(EmbeddedProducer::open(core.clone()))),
        }
    }

    fn read(&self, from: Vec<(Arc<str>, i32, Start)>) -> Result<Reader, LogError> {
        reader::start(self.owner.core.clone(), from)
    }

    fn read_all<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Vec<InRecord>, LogError>> {
        let topic = topic.to_owned();
        off_thread(&self.owner.core, move |core| reader::read_all(core, &topic))
    }

    fn describe<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<TopicState>, LogError>> {
        Box::pin(async move {
            let state = self.owner.core.state();
            Ok(names.iter().filter_map(|name| state.topics.get(name.as_str())).map(state::Topic::describe).collect())
        })
    }

    fn list<'a>(&'a self) -> BoxFuture<'a, Result<Vec<String>, LogError>> {
        Box::pin(async move { Ok(self.owner.core.state().topics.keys().map(ToString::to_string).collect()) })
    }

    fn create<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<(), LogError>> {
        let spec = spec.clone();
        off_thread(&self.owner.core, move |core| core.create(&spec))
    }

    fn offsets<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Offsets, LogError>> {
        Box::pin(async move { Ok(self.owner.core.state().topic(topic)?.offsets()) })
    }
}
