//! A row: one object's identity, what can be asked about it without its bytes, and its bytes, compressed.

use super::facts::Facts;
use crate::domain::index::Name;
use crate::domain::kind::Kind;
use crate::domain::redact::Stub;
use crate::domain::rv::Rv;
use bytes::Bytes;
use std::cell::RefCell;
use std::fmt;
use std::sync::Arc;

/// Above this the thread's scratch space is given back after use: one huge object must not cost memory for ever.
const SCRATCH_KEPT: usize = 1 << 20;

/// What the allocator and the maps take for a row besides its own bytes: the `Arc`s, a place in two maps and in a few
/// postings. Estimated from the sizes of the types, not measured yet.
const OVERHEAD: usize = 400;

/// One object as the log has it.
pub(super) struct Row {
    pub(super) at: Arc<Name>,
    pub(super) uid: Arc<str>,
    pub(super) rv: Rv,
    pub(super) history_epoch: u64,
    pub(super) writer_epoch: u64,
    pub(super) partition: i32,
    pub(super) offset: i64,
    pub(super) timestamp_ms: i64,
    /// The store's version at which it became what it is.
    pub(super) version: u64,
    pub(super) facts: Arc<Facts>,
    pub(super) packed: Packed,
    /// Set where the log holds its identity alone.
    pub(super) stub: Option<Box<Stub>>,
}

impl Row {
    /// The object's JSON, byte for byte as it stands in the log.
    pub(super) fn json(&self) -> Bytes {
        self.packed.unpack()
    }

    /// What it counts for against the cap.
    pub(super) fn cost(&self) -> usize {
        OVERHEAD + self.packed.bytes.len() + self.at.name.len() + self.uid.len() + self.facts.tags().len() * 16
    }
}

/// zstd level 1: every record pays for it on its way into the store.
const LEVEL: i32 = 1;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::new(Scratch::default());
}

/// Contexts are expensive to make and cheap to use again.
#[derive(Default)]
struct Scratch {
    compressor: Option<zstd::bulk::Compressor<'static>>,
    decompressor: Option<zstd::bulk::Decompressor<'static>>,
    buffer: Vec<u8>,
}

/// Bytes, compressed where that helps.
#[derive(PartialEq, Eq)]
pub(super) struct Packed {
    /// Exactly as large as it must be.
    pub(super) bytes: Box<[u8]>,
    /// Length before; `None` if the bytes stand as they are.
    pub(super) raw: Option<u32>,
}

impl Packed {
    pub(super) fn pack(raw: &[u8]) -> Self {
        Self::compressed(raw).unwrap_or_else(|| Self { bytes: raw.into(), raw: None })
    }

    fn compressed(raw: &[u8]) -> Option<Self> {
        let length = u32::try_from(raw.len()).ok()?;
        SCRATCH.with_borrow_mut(|scratch| {
            let Scratch { compressor, buffer, .. } = scratch;
            if compressor.is_none() {
                *compressor = zstd::bulk::Compressor::new(LEVEL).ok();
            }
            buffer.clear();
            buffer.reserve(zstd::zstd_safe::compress_bound(raw.len()));
            let size = compressor.as_mut()?.compress_to_buffer(raw, buffer).ok()?;
            let packed = (size < raw.len()).then(|| Self { bytes: buffer[..size].into(), raw: Some(length) });
            if buffer.capacity() > SCRATCH_KEPT {
                *buffer = Vec::new();
            }
            packed
        })
    }

    fn unpack(&self) -> Bytes {
        let Some(raw) = self.raw else { return Bytes::copy_from_slice(&self.bytes) };
        let unpacked = SCRATCH.with_borrow_mut(|scratch| {
            if scratch.decompressor.is_none() {
                scratch.decompressor = zstd::bulk::Decompressor::new().ok();
            }
            scratch.decompressor.as_mut().map(|d| d.decompress(&self.bytes, raw as usize))
        });
        match unpacked {
            Some(Ok(bytes)) => bytes.into(),
            // Out of memory for a context, or our own memory is damaged: neither can be coped with here.
            _ => panic!("a row of {} compressed bytes cannot be unpacked", self.bytes.len()),
        }
    }
}

/// An object of the store, as it was when it was asked for. Cheap to clone; its bytes are unpacked by [`Object::json`],
/// on the thread that asks.
#[derive(Clone)]
pub struct Object {
    kind: Kind,
    row: Arc<Row>,
}

impl Object {
    pub(super) fn new(kind: Kind, row: Arc<Row>) -> Self {
        Self { kind, row }
    }

    /// Its kind.
    pub fn kind(&self) -> &Kind {
        &self.kind
    }

    /// Namespace and name.
    pub fn at(&self) -> &Name {
        &self.row.at
    }

    /// Namespace; empty for cluster-scoped objects.
    pub fn namespace(&self) -> &str {
        &self.row.at.namespace
    }

    /// Name.
    pub fn name(&self) -> &str {
        &self.row.at.name
    }

    /// uid.
    pub fn uid(&self) -> &Arc<str> {
        &self.row.uid
    }

    /// resourceVersion.
    pub fn rv(&self) -> &Rv {
        &self.row.rv
    }

    /// The history that its version belongs to.
    pub fn history_epoch(&self) -> u64 {
        self.row.history_epoch
    }

    /// When its record was written, in milliseconds since 1970; -1 where the log has no time.
    pub fn timestamp_ms(&self) -> i64 {
        self.row.timestamp_ms
    }

    /// Partition and offset of its record in its kind's topic.
    pub fn record(&self) -> (i32, i64) {
        (self.row.partition, self.row.offset)
    }

    /// The store's version at which it became what it is.
    pub fn version(&self) -> u64 {
        self.row.version
    }

    /// Value of a label.
    pub fn label(&self, key: &str) -> Option<&str> {
        self.row.facts.label(key)
    }

    /// Its labels, by key.
    pub fn labels(&self) -> impl Iterator<Item = (&str, &str)> {
        self.row.facts.labels()
    }

    /// Value of one of [`crate::domain::selector::FIELDS`].
    pub fn field(&self, field: &str) -> Option<&str> {
        self.row.facts.field(&self.row.at, field)
    }

    /// uids of its owners.
    pub fn owners(&self) -> impl Iterator<Item = &str> {
        self.row.facts.owners()
    }

    /// Why no more than its identity is held, if so.
    pub fn stub(&self) -> Option<&Stub> {
        self.row.stub.as_deref()
    }

    /// The redacted object's JSON, byte for byte as it stands in the log. Unpacks them each time it is called.
    pub fn json(&self) -> Bytes {
        self.row.json()
    }
}

// The bytes are never logged, redacted or not.
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Object({} {}/{} uid={} rv={})", self.kind, self.namespace(), self.name(), self.uid(), self.rv())
    }
}
