//! The saved fold: what a table held at an offset, in a file, so that a start reads the tail of the log instead of a day of
//! it. A cache: whatever is wrong with a file it is left aside, with the reason, and the log is read whole.
//!
//! ```text
//! <dir>/<kind>.fold    "AEFOLD02", then blocks: length (u32), xxh3 of length and content (u64), content
//!   first block        JSON: whose fold it is, and up to which offset of each partition
//!   blocks of items    rows, tombstones owed, the dead, shadowed keys; each with its letter
//!   last block         "end", number of items: a file without it was cut short
//! ```
//!
//! **Load and tail give what the whole log gives.** Offsets and ledger are taken in one step between two batches. The
//! rows are taken after that, some at a time, while the fold goes on: a row of a later offset is left out, and one that
//! was taken away meanwhile is missing. Both stand in the tail, whose records decide by themselves what such a key stands
//! for in the end. Every row that is saved is the one that stood there when the offsets were taken.
//!
//! A file must be younger than the time for which the log keeps every record (the state topics' compaction lag):
//! beyond that, the delete of a row may have come and gone.

mod format;
mod reading;
mod writing;

use super::{Store, lock};
use crate::domain::kind::Kind;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use writing::Standing;

/// A file that would say the same again is written all the same when it is so old.
const REFRESH: Duration = Duration::from_secs(3600);

/// Whose fold a file may hold. Everything else is another one's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Identity {
    /// Configured name of the cluster.
    pub cluster: String,
    /// uid of namespace kube-system, or the configured id.
    pub cluster_uid: String,
    /// Engine and place of the log.
    pub log: String,
}

/// What a save amounted to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Written {
    /// Kinds whose file was written; those that would say the same again are not.
    pub kinds: usize,
    /// Rows in them.
    pub rows: usize,
    /// Bytes of them.
    pub bytes: u64,
    /// Of what could not be written the name of its file and why; its older file stays.
    pub failures: Vec<(String, String)>,
}

impl Written {
    fn failed(mut self, path: &Path, error: &io::Error) -> Self {
        self.failures.push((path.display().to_string(), error.to_string()));
        self
    }

    /// The first failure. What failed is tried again with every save, so it stays the same until all is well.
    pub fn trouble(&self) -> Option<String> {
        self.failures.first().map(|(file, why)| format!("{file}: {why}"))
    }
}

/// What became of a kind's file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Loaded {
    /// There is none, or the kind was read from the log already.
    Nothing,
    /// It is not used, and why.
    Ignored(String),
    /// So many rows stand in the store; the log is read from their offsets on.
    Rows(usize),
}

/// The files of one process.
pub struct SavedFold {
    dir: PathBuf,
    identity: Identity,
    /// One save or load at a time; by kind what was saved last.
    last: Mutex<BTreeMap<String, Last>>,
    /// What else goes on meanwhile, for tests.
    #[cfg(test)]
    pub(super) between_chunks: Option<Box<dyn Fn() + Send + Sync>>,
}

/// What was saved last: when, and up to where.
type Last = (i64, Vec<(i32, i64, u64)>);

impl SavedFold {
    /// In that directory, which is made when it is first needed.
    pub fn new(dir: PathBuf, identity: Identity) -> Self {
        Self {
            dir,
            identity,
            last: Mutex::default(),
            #[cfg(test)]
            between_chunks: None,
        }
    }

    /// The directory.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    /// Saves every kind of the store; one that cannot be saved keeps no other from it. Blocks for as long as the disk takes;
    /// neither the fold nor a query waits for it.
    pub fn save(&self, store: &Store, now_ms: i64) -> Written {
        let mut last = lock(&self.last);
        let mut written = Written::default();
        if let Err(error) = fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir) {
            // What stood in it may be gone.
            last.clear();
            return written.failed(&self.dir, &error);
        }
        for kind in store.kinds() {
            let Some(table) = &store.table(&kind) else { continue };
            let standing = Standing::of(store, table);
            if standing.positions.is_empty() {
                continue;
            }
            let same = last.get(&table.kind_id).is_some_and(|(at, positions)| {
                *positions == standing.positions && now_ms.saturating_sub(*at) < millis(REFRESH)
            });
            if same {
                continue;
            }
            match self.write(table, &standing, now_ms) {
                Ok((rows, bytes)) => {
                    written.kinds += 1;
                    written.rows += rows;
                    written.bytes += bytes;
                    last.insert(table.kind_id.clone(), (now_ms, standing.positions));
                }
                Err(error) => written = written.failed(&self.path(&table.kind_id), &error),
            }
        }
        // The new names are on the disk with the directory.
        match File::open(&self.dir).and_then(|dir| dir.sync_all()) {
            Err(error) if written.kinds > 0 => {
                last.clear();
                written.failed(&self.dir, &error)
            }
            _ => written,
        }
    }

    fn path(&self, kind_id: &str) -> PathBuf {
        self.dir.join(format!("{kind_id}.fold"))
    }

    /// Puts what a file holds into the store's empty table of that kind. `bounds`: first and next offset of each partition
    /// of its topic as they are in the log now. Blocks for as long as the disk takes.
    pub fn load(&self, store: &Store, kind: &Kind, bounds: &[(i64, i64)], now_ms: i64) -> Loaded {
        let _one_at_a_time = lock(&self.last);
        let Some(table) = &store.table(kind) else { return Loaded::Nothing };
        if !lock(&table.progress).is_empty() {
            return Loaded::Nothing;
        }
        let path = self.path(&table.kind_id);
        let file = match File::open(&path) {
            Ok(file) => file,
            Err(e) if e.kind() == io::ErrorKind::NotFound => return Loaded::Nothing,
            Err(e) => return Loaded::Ignored(format!("{}: {e}", path.display())),
        };
        // The writer's lock: rows have one writer.
        let _writer = lock(&store.writer);
        match self.read(store, table, file, bounds, now_ms) {
            Ok(rows) => Loaded::Rows(rows),
            Err(why) => {
                table.clear();
                Loaded::Ignored(format!("{}: {why}", path.display()))
            }
        }
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
