//! The saved fold: what a table held at an offset, in a file, so that a start reads the tail of the log instead of a day of
//! it. A cache: whatever is wrong with a file it is left aside, with the reason, and the log is read whole.
//!
//! ```text
//! <dir>/<kind>.fold    "AEFOLD01", then blocks: length (u32), xxh3 of length and content (u64), content
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

use super::facts::{Found, Space};
use super::row::{Packed, Row};
use super::table::{Index, Progress, Table};
use super::{Store, lock};
use crate::domain::fold::Death;
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::domain::rv::Rv;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fs::{self, File, OpenOptions};
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::time::Duration;
use xxhash_rust::xxh3::Xxh3;

const MAGIC: &[u8; 8] = b"AEFOLD01";
/// Full enough for the disk, small enough to stand in memory beside everything else.
const BLOCK: usize = 256 << 10;
/// Rows taken under one lock, as a list does; in tests every one alone.
const CHUNK: usize = if cfg!(test) { 1 } else { 1024 };
/// Longest age: `min.compaction.lag.ms` of the state topics as we make them.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// A clock that was set back by less is no reason to read a day of the log.
const CLOCK_SLACK: Duration = Duration::from_secs(300);
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

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Header {
    #[serde(flatten)]
    identity: Identity,
    kind: String,
    /// With prefix.
    topic: String,
    saved_ms: i64,
    /// Partition, next offset, writer epoch.
    positions: Vec<(i32, i64, u64)>,
}

/// What a save amounted to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Kinds whose file was written; those that would say the same again are not.
    pub kinds: usize,
    /// Rows in them.
    pub rows: usize,
    /// Bytes of them.
    pub bytes: u64,
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

    /// Saves every kind of the store. Blocks for as long as the disk takes; neither the fold nor a query waits for it.
    pub fn save(&self, store: &Store, now_ms: i64) -> io::Result<Written> {
        let mut last = lock(&self.last);
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.dir)?;
        let mut written = Written::default();
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
            let (rows, bytes) = self.write(table, &standing, now_ms)?;
            written = Written { kinds: written.kinds + 1, rows: written.rows + rows, bytes: written.bytes + bytes };
            last.insert(table.kind_id.clone(), (now_ms, standing.positions));
        }
        if written.kinds > 0 {
            // The new names are on the disk with the directory.
            File::open(&self.dir)?.sync_all()?;
        }
        Ok(written)
    }

    fn write(&self, table: &Table, standing: &Standing, now_ms: i64) -> io::Result<(usize, u64)> {
        let (path, temporary) = (self.path(&table.kind_id), self.dir.join(format!("{}.tmp", table.kind_id)));
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&temporary)?;
        let mut out =
            Out { to: BufWriter::new(file), block: Vec::with_capacity(BLOCK + BLOCK / 4), items: 0, bytes: 0 };
        out.to.write_all(MAGIC)?;
        let header = Header {
            identity: self.identity.clone(),
            kind: table.kind_id.clone(),
            topic: table.topic.to_string(),
            saved_ms: now_ms,
            positions: standing.positions.clone(),
        };
        serde_json::to_writer(&mut out.block, &header)?;
        out.flush()?;
        standing.write(&mut out)?;
        let next: BTreeMap<i32, i64> = standing.positions.iter().map(|(p, next, _)| (*p, *next)).collect();
        let (mut after, mut rows) = (None::<Name>, 0);
        loop {
            #[cfg(test)]
            self.between_chunks.iter().for_each(|meanwhile| meanwhile());
            let chunk: Vec<_> = {
                let index = table.index();
                index.within(None, after.as_ref()).take(CHUNK).map(|(_, row)| row.clone()).collect()
            };
            let Some(newest) = chunk.last() else { break };
            after = Some((*newest.at).clone());
            for row in chunk.iter().filter(|row| next.get(&row.partition).is_some_and(|next| row.offset < *next)) {
                out.row(row)?;
                rows += 1;
            }
        }
        let items = out.items;
        out.flush()?;
        out.block.extend_from_slice(b"end");
        out.block.extend_from_slice(&items.to_le_bytes());
        out.flush()?;
        out.to.flush()?;
        out.to.get_ref().sync_all()?;
        fs::rename(&temporary, &path)?;
        Ok((rows, out.bytes))
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

    fn read(
        &self,
        store: &Store,
        table: &Table,
        file: File,
        bounds: &[(i64, i64)],
        now_ms: i64,
    ) -> Result<usize, String> {
        let size = file.metadata().map_err(|e| e.to_string())?.len();
        let mut input = In { from: BufReader::new(file), left: size, block: Vec::new() };
        let mut magic = [0; MAGIC.len()];
        input.from.read_exact(&mut magic).map_err(|_| "it is cut short".to_owned())?;
        input.left = input.left.saturating_sub(magic.len() as u64);
        if magic != *MAGIC {
            return Err("it is not a saved fold of this version".into());
        }
        input.next()?;
        let header: Header = serde_json::from_slice(&input.block).map_err(|e| format!("its header: {e}"))?;
        self.check(table, &header, bounds, now_ms)?;
        let (mut rows, mut items, mut arrivals) = (0, 0_u64, Vec::new());
        loop {
            input.next()?;
            let mut bytes = Bytes(&input.block);
            if let Some(count) = input.block.strip_prefix(b"end") {
                if count != items.to_le_bytes() {
                    return Err("it holds another number of items than it says".into());
                }
                break;
            }
            while !bytes.0.is_empty() {
                let row = item(table, &mut bytes).ok_or("an item of it cannot be read")?;
                rows += usize::from(row.is_some());
                arrivals.extend(row.filter(|_| Store::is_stream(&table.kind)));
                items += 1;
            }
        }
        if input.left > 0 {
            return Err("something stands behind its end".into());
        }
        arrivals.sort_unstable();
        table.index_mut().arrivals = arrivals.into_iter().map(|(at_ms, _, at)| (at_ms, 0, at)).collect();
        store.cap_stream_of(table);
        let progress = header.positions.iter().map(|(p, next, epoch)| (*p, Progress { next: *next, epoch: *epoch }));
        *lock(&table.progress) = progress.collect();
        Ok(rows)
    }

    fn check(&self, table: &Table, header: &Header, bounds: &[(i64, i64)], now_ms: i64) -> Result<(), String> {
        let Identity { cluster, cluster_uid, log } = &header.identity;
        for (what, found, ours) in [
            ("cluster", cluster, &self.identity.cluster),
            ("cluster uid", cluster_uid, &self.identity.cluster_uid),
            ("log", log, &self.identity.log),
            ("kind", &header.kind, &table.kind_id),
            ("topic", &header.topic, &table.topic.to_string()),
        ] {
            if found != ours {
                return Err(format!("it is of {what} {found:?}, and this is {ours:?}"));
            }
        }
        let age = now_ms.saturating_sub(header.saved_ms);
        if age > millis(MAX_AGE) || age < -millis(CLOCK_SLACK) {
            return Err(format!("it is {} hours old, and the log keeps every record for 24 only", age / 3_600_000));
        }
        for (partition, next, _) in &header.positions {
            let bounds = usize::try_from(*partition).ok().and_then(|p| bounds.get(p));
            let Some((first, end)) = bounds else {
                return Err(format!("its topic has no partition {partition}"));
            };
            if !(*first..=*end).contains(next) {
                return Err(format!(
                    "it ends at offset {next} of partition {partition}, where the log has {first} to {end}: another topic of that name"
                ));
            }
        }
        Ok(())
    }
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

/// What is taken between two batches.
struct Standing {
    positions: Vec<(i32, i64, u64)>,
    owed: Vec<(Name, Death)>,
    dead: Vec<(Name, Death)>,
    shadowed: Vec<(Name, i64)>,
}

impl Standing {
    fn of(store: &Store, table: &Table) -> Self {
        let _between_batches = lock(&store.writer);
        let positions = lock(&table.progress).iter().map(|(p, at)| (*p, at.next, at.epoch)).collect();
        let ledger = lock(&table.ledger);
        let own = |(at, death): (&Name, &Death)| (at.clone(), death.clone());
        Self {
            positions,
            owed: ledger.owed().map(own).collect(),
            dead: ledger.dead().map(own).collect(),
            shadowed: ledger.shadowed().map(|(at, ms)| (at.clone(), ms)).collect(),
        }
    }

    fn write(&self, out: &mut Out) -> io::Result<()> {
        for (letter, deaths) in [(b'o', &self.owed), (b'd', &self.dead)] {
            for (at, death) in deaths {
                out.begin(letter, at);
                out.text(&death.uid);
                out.text(death.rv.as_str());
                out.text(death.last.as_str());
                out.number(death.history_epoch);
                out.number(death.writer_epoch);
                out.end()?;
            }
        }
        for (at, timestamp_ms) in &self.shadowed {
            out.begin(b's', at);
            out.number(*timestamp_ms as u64);
            out.end()?;
        }
        Ok(())
    }
}

struct Out {
    to: BufWriter<File>,
    block: Vec<u8>,
    items: u64,
    bytes: u64,
}

impl Out {
    fn begin(&mut self, letter: u8, at: &Name) {
        self.block.push(letter);
        self.text(&at.namespace);
        self.text(&at.name);
    }

    fn number(&mut self, number: u64) {
        self.block.extend_from_slice(&number.to_le_bytes());
    }

    fn bytes(&mut self, bytes: &[u8]) {
        // An object's bytes are far below 4 GiB: the log takes no larger record.
        self.block.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.block.extend_from_slice(bytes);
    }

    fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    fn row(&mut self, row: &Row) -> io::Result<()> {
        self.begin(b'r', &row.at);
        self.text(&row.uid);
        self.text(row.rv.as_str());
        for number in
            [row.history_epoch, row.writer_epoch, row.partition as u64, row.offset as u64, row.timestamp_ms as u64]
        {
            self.number(number);
        }
        self.number(row.packed.raw.map_or(u64::MAX, u64::from));
        self.bytes(&row.packed.bytes);
        self.number(row.facts.tags().len() as u64);
        for tag in row.facts.tags() {
            self.block.push(tag.space.letter());
            self.text(&tag.key);
            self.text(&tag.value);
        }
        self.end()
    }

    fn end(&mut self) -> io::Result<()> {
        self.items += 1;
        if self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        if self.block.is_empty() {
            return Ok(());
        }
        let length = u32::try_from(self.block.len()).map_err(io::Error::other)?.to_le_bytes();
        self.to.write_all(&length)?;
        self.to.write_all(&checksum(length, &self.block).to_le_bytes())?;
        self.to.write_all(&self.block)?;
        self.bytes += self.block.len() as u64 + 12;
        self.block.clear();
        Ok(())
    }
}

fn checksum(length: [u8; 4], block: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&length);
    hash.update(block);
    hash.digest()
}

struct In {
    from: BufReader<File>,
    left: u64,
    block: Vec<u8>,
}

impl In {
    /// The next block, whole and as it was written.
    fn next(&mut self) -> Result<(), String> {
        let short = |_| "it is cut short".to_owned();
        let (mut length, mut sum) = ([0; 4], [0; 8]);
        self.from.read_exact(&mut length).map_err(short)?;
        self.from.read_exact(&mut sum).map_err(short)?;
        self.left = self.left.saturating_sub(12);
        let size = u64::from(u32::from_le_bytes(length));
        // Before memory is taken for it: the length may be the damage.
        self.left = self.left.checked_sub(size).ok_or("it is cut short")?;
        self.block.resize(usize::try_from(size).map_err(|e| e.to_string())?, 0);
        self.from.read_exact(&mut self.block).map_err(short)?;
        if u64::from_le_bytes(sum) == checksum(length, &self.block) { Ok(()) } else { Err("it is damaged".into()) }
    }
}

/// The items of a block. The block is as it was written; still nothing here believes a length.
struct Bytes<'b>(&'b [u8]);

impl<'b> Bytes<'b> {
    fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    fn rv(&mut self) -> Option<Rv> {
        self.text().map(Rv::new)
    }
}

/// When a row came, in the order of the log: time, partition and offset, name.
type Arrival = (i64, (i32, i64), std::sync::Arc<Name>);

/// Puts one item where it belongs; of a row when it came. `None` is what cannot be read.
fn item(table: &Table, bytes: &mut Bytes<'_>) -> Option<Option<Arrival>> {
    let letter = bytes.byte()?;
    let at = table.name(bytes.text()?, bytes.text()?);
    match letter {
        b'r' => return row(table, at, bytes).map(Some),
        b'o' | b'd' => {
            let (uid, rv, last) = (bytes.text()?.into(), bytes.rv()?, bytes.rv()?);
            let death = Death { uid, rv, last, history_epoch: bytes.number()?, writer_epoch: bytes.number()? };
            let mut ledger = lock(&table.ledger);
            if letter == b'o' {
                ledger.restore_owed((*at).clone(), death);
            } else {
                ledger.restore_dead(&at, &death);
            }
        }
        b's' => lock(&table.ledger).shadow((*at).clone(), bytes.number()? as i64),
        _ => return None,
    }
    Some(None)
}

fn row(table: &Table, at: std::sync::Arc<Name>, bytes: &mut Bytes<'_>) -> Option<Arrival> {
    let (uid, rv) = (bytes.text()?.into(), bytes.rv()?);
    let (history_epoch, writer_epoch) = (bytes.number()?, bytes.number()?);
    let (partition, offset, timestamp_ms) = (bytes.number()? as i32, bytes.number()? as i64, bytes.number()? as i64);
    let raw = Some(bytes.number()?).filter(|raw| *raw != u64::MAX).map(u32::try_from).transpose().ok()?;
    let packed = Packed { bytes: bytes.bytes()?.into(), raw };
    let tags = usize::try_from(bytes.number()?).ok()?;
    let mut found = Vec::with_capacity(tags.min(64));
    for _ in 0..tags {
        let space = Space::of(bytes.byte()?)?;
        found.push(Found { space, key: Cow::Borrowed(bytes.text()?), value: Cow::Borrowed(bytes.text()?) });
    }
    if !found.is_sorted_by(|a, b| a < b) {
        return None;
    }
    let facts = table.facts(&found, None);
    // Version 0: it was there when this life of the store began.
    let row = Row {
        at: at.clone(),
        uid,
        rv,
        history_epoch,
        writer_epoch,
        partition,
        offset,
        timestamp_ms,
        version: 0,
        facts,
        packed,
    };
    let mut index: std::sync::RwLockWriteGuard<'_, Index> = table.index_mut();
    let old = index.names.get(&at).cloned();
    table.put(&mut index, &std::sync::Arc::new(row), old.as_ref());
    Some((timestamp_ms, (partition, offset), at))
}
