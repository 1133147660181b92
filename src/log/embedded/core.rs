//! The middle of the engine: what all clones, producers, readers and threads share, and the two changes that files undergo
//! while appending: a group is written, a journal is sealed and the next one begun.

use super::codec::{self, Place, Source};
use super::damage::{Damage, NOT_AS_WRITTEN};
use super::files::{Directory, unusable};
use super::journal::{self, Entry, Journal};
use super::policy::Policy;
use super::producer::Inbox;
use super::recover::{self, Active};
use super::segment;
use super::state::{Plan, State};
use super::{EmbeddedConfig, Sync};
use crate::domain::record::InRecord;
use crate::domain::topic::TopicSpec;
use crate::log::LogError;
use std::collections::HashMap;
use std::io;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

/// A journal of that size is sealed and sorted into a segment. Its index is in memory meanwhile: 32 bytes for each record.
const JOURNAL_BYTES: u64 = 16 << 20;
/// Sealed journals that wait to be sorted; above that the writer sorts one itself, which slows the appends down to what
/// can be sorted.
const SEALED: usize = 3;

pub(super) struct Core {
    pub config: EmbeddedConfig,
    /// Gone once the log is closed.
    pub directory: Mutex<Option<Arc<Directory>>>,
    pub at: String,
    pub inbox: Inbox,
    /// Woken whenever a reader may have something to read, and when the log is closed.
    pub grown: Bell,
    /// Rung when a journal was sealed, and when the log is closed.
    pub sealed: Bell,
    pub closed: AtomicBool,
    /// Whether it is cleaned only when somebody asks for it.
    pub untended: AtomicBool,
    /// Why nothing can be written at the moment.
    pub broken: Mutex<Option<String>>,
    /// Held by whoever turns journals into segments or segments into others.
    pub tending: Mutex<()>,
    state: RwLock<State>,
    active: Mutex<Active>,
    /// Held while the file of the topics is written.
    creating: Mutex<()>,
}

impl Core {
    pub fn open(config: EmbeddedConfig) -> Result<Arc<Self>, LogError> {
        let directory = Directory::own(&config.dir)?;
        let (state, active) = recover::open(&directory, &config)?;
        Ok(Arc::new(Self {
            at: config.dir.display().to_string(),
            config,
            directory: Mutex::new(Some(Arc::new(directory))),
            inbox: Inbox::default(),
            grown: Bell::default(),
            sealed: Bell::default(),
            closed: AtomicBool::new(false),
            untended: AtomicBool::new(false),
            broken: Mutex::new(None),
            tending: Mutex::new(()),
            state: RwLock::new(state),
            active: Mutex::new(active),
            creating: Mutex::new(()),
        }))
    }

    // The state is plain data, valid after every line: a thread that panicked hides nothing.
    pub fn state(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn state_mut(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    pub fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Acquire)
    }

    pub fn directory(&self) -> Result<Arc<Directory>, LogError> {
        let closed = || LogError::Refused(format!("the log in {} was closed: open it again", self.at));
        lock(&self.directory).clone().ok_or_else(closed)
    }

    /// Writes records as one group; when this returns they are as durable as was asked for. Gives their offsets.
    pub fn append(&self, records: &[(Place, Source<'_>)]) -> Result<Vec<i64>, LogError> {
        let directory = self.directory()?;
        let mut active = lock(&self.active);
        let mut group = Group::of(&self.state(), records);
        let result = self.write(&directory, &mut active, &mut group);
        if let Err(error) = result {
            let error = unusable(&directory.path, &error);
            lock(&self.broken).get_or_insert_with(|| error.to_string());
            return Err(error);
        }
        let mut state = self.state_mut();
        if let Some(journal) = state.journals.last_mut() {
            let index = Arc::make_mut(&mut journal.index);
            for (place, entry) in group.entries {
                index.entry(place).or_default().push(entry);
            }
        }
        for (place, next) in group.next {
            if let Some(bounds) = state.bounds_mut(place) {
                bounds.next = next;
            }
        }
        drop(state);
        drop(active);
        self.grown.ring();
        Ok(group.offsets)
    }

    fn write(&self, directory: &Directory, active: &mut Active, group: &mut Group) -> io::Result<()> {
        if active.length > journal::HEADER && active.length + group.bytes.len() as u64 > JOURNAL_BYTES {
            self.begin_journal(directory, active)?;
        }
        journal::seal(&mut group.bytes, active.number, active.sequence + 1);
        active.file.write_all_at(&group.bytes, active.length)?;
        if self.config.sync == Sync::Disk {
            active.file.sync_data()?;
        }
        let length = active.length + group.bytes.len() as u64;
        active.acked.note(active.number, length)?;
        for (_, entry) in &mut group.entries {
            entry.at += active.length;
        }
        active.length = length;
        active.sequence += 1;
        Ok(())
    }

    /// Seals the journal that is written to and begins the next.
    fn begin_journal(&self, directory: &Directory, active: &mut Active) -> io::Result<()> {
        // With [`Sync::Process`] too: what is sealed is never torn.
        active.file.sync_all()?;
        let number = active.number + 1;
        let path = directory.journal(number);
        let file = Arc::new(journal::create(&path, number)?);
        directory.sync()?;
        (active.number, active.length, active.sequence, active.file) = (number, journal::HEADER, 0, file.clone());
        self.state_mut().journals.push(Journal { number, path: path.into(), file, index: Arc::default() });
        self.sealed.ring();
        Ok(())
    }

    /// Seals the journal that is written to, if anything stands in it.
    pub fn seal(&self) -> Result<(), LogError> {
        let directory = self.directory()?;
        let mut active = lock(&self.active);
        if active.length == journal::HEADER {
            return Ok(());
        }
        self.begin_journal(&directory, &mut active).map_err(|error| unusable(&directory.path, &error))
    }

    /// Whether the writer should sort a journal itself before it appends more.
    pub fn is_behind(&self) -> bool {
        self.state().journals.len() > 1 + SEALED
    }

    /// After a failed write: cuts off what nobody was told of and goes on in a new journal. What failed may have been written
    /// in part, and after a failed fsync nobody knows what the disk holds of it.
    pub fn mend(&self) -> Result<(), LogError> {
        let directory = self.directory()?;
        let mut active = lock(&self.active);
        let mended = active.file.set_len(active.length).and_then(|()| self.begin_journal(&directory, &mut active));
        match mended {
            Ok(()) => {
                *lock(&self.broken) = None;
                Ok(())
            }
            Err(error) => {
                let error = unusable(&directory.path, &error);
                *lock(&self.broken) = Some(error.to_string());
                Err(error)
            }
        }
    }

    /// Whether the mark of what was acknowledged is not on the disk yet.
    pub fn has_unsynced_mark(&self) -> bool {
        lock(&self.active).acked.is_dirty()
    }

    /// Brings the mark to the disk; nobody waits for it meanwhile.
    pub fn sync_mark(&self) {
        let file = lock(&self.active).acked.take_dirty();
        if let Err(error) = file.and_then(|file| file.sync_data()) {
            tracing::warn!(log = self.at, %error, "the mark of what was acknowledged could not be brought to the disk");
        }
    }

    pub fn create(&self, spec: &TopicSpec) -> Result<(), LogError> {
        if spec.partitions < 1 || spec.name.is_empty() {
            return Err(LogError::Refused(format!(
                "topic {:?} with {} partitions: give it a name and at least one partition",
                spec.name, spec.partitions
            )));
        }
        Policy::of(&spec.config).map_err(|what| LogError::Refused(format!("topic {}: {what}", spec.name)))?;
        let directory = self.directory()?;
        let _one = lock(&self.creating);
        let content = {
            let state = self.state();
            if state.topics.contains_key(spec.name.as_str()) {
                return Ok(());
            }
            recover::topics_with(&state, spec)?
        };
        directory.replace("topics", &content).map_err(|error| unusable(&directory.path, &error))?;
        self.state_mut().add(spec.clone()).map_err(LogError::Refused)
    }

    /// At most about `count` records of a partition from `offset` on, and at most about `bytes`; nothing where nothing is.
    pub fn fetch(&self, place: Place, offset: i64, count: usize, bytes: usize) -> Result<Vec<InRecord>, LogError> {
        let (plan, topic) = {
            let state = self.state();
            let Some(name) = state.name(place) else { return Ok(Vec::new()) };
            (state.plan(place, offset, count), name.clone())
        };
        let mut records = Vec::new();
        let mut size = 0;
        let unusable = |error: io::Error| unusable(&self.config.dir, &error);
        match plan {
            Plan::Blocks(segment, blocks) => {
                for block in blocks {
                    let at = (place, block.first.max(offset));
                    let damaged = || Damage::new(&segment.path, Some(at), NOT_AS_WRITTEN).into_error(&self.state());
                    let found = segment.read(place, &block).map_err(unusable)?.ok_or_else(damaged)?;
                    for (head, record) in segment::records(&found).filter(|(head, _)| head.offset >= offset) {
                        records.push(codec::decode(record, &topic).ok_or_else(damaged)?);
                        size += head.length;
                    }
                    if size >= bytes {
                        break;
                    }
                }
            }
            Plan::Entries { file, path, entries } => {
                for entry in entries {
                    let damaged =
                        || Damage::new(&path, Some((place, entry.offset)), NOT_AS_WRITTEN).into_error(&self.state());
                    let record = journal::read(&file, place, &entry).map_err(unusable)?.ok_or_else(damaged)?;
                    records.push(codec::decode(&record, &topic).ok_or_else(damaged)?);
                    size += record.len();
                    if size >= bytes {
                        break;
                    }
                }
            }
            Plan::Nothing => {}
        }
        Ok(records)
    }
}

/// Records that are written in one go.
struct Group {
    bytes: Vec<u8>,
    /// Positions within the group, until it is written.
    entries: Vec<(Place, Entry)>,
    offsets: Vec<i64>,
    next: HashMap<Place, i64>,
}

impl Group {
    fn of(state: &State, records: &[(Place, Source<'_>)]) -> Self {
        let mut group = Self {
            bytes: vec![0; journal::GROUP],
            entries: Vec::with_capacity(records.len()),
            offsets: Vec::with_capacity(records.len()),
            next: HashMap::new(),
        };
        for (place, record) in records.iter().copied() {
            let next = group.next.entry(place).or_insert_with(|| state.bounds(place).unwrap_or_default().next);
            let offset = *next;
            *next += 1;
            let at = group.bytes.len() as u64;
            let length = codec::encode(&mut group.bytes, place, offset, record);
            let length = u32::try_from(length).expect("a record is below 1 GiB: `open` limits max_record_bytes");
            group.entries.push((place, Entry { offset, timestamp_ms: record.timestamp_ms(), at, length }));
            group.offsets.push(offset);
        }
        group
    }
}

/// Something that happened a number of times, and who waits for the next time.
#[derive(Default)]
pub(super) struct Bell {
    rung: Mutex<u64>,
    wake: Condvar,
}

impl Bell {
    pub fn count(&self) -> u64 {
        *lock(&self.rung)
    }

    pub fn ring(&self) {
        *lock(&self.rung) += 1;
        self.wake.notify_all();
    }

    /// Waits until it was rung more often than that.
    pub fn wait_beyond(&self, count: u64) {
        let rung = lock(&self.rung);
        drop(self.wake.wait_while(rung, |rung| *rung <= count).unwrap_or_else(PoisonError::into_inner));
    }

    /// The same, at most for so long.
    pub fn wait_beyond_for(&self, count: u64, most: std::time::Duration) {
        let rung = lock(&self.rung);
        drop(self.wake.wait_timeout_while(rung, most, |rung| *rung <= count));
    }
}

/// The data is valid after every line, whoever panicked.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
