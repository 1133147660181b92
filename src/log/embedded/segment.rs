//! A segment: what stood in one or more journals, by partition, in blocks; never changed once it is whole. What a block holds
//! stands in the table of contents at the end, which is kept in memory: 48 bytes for about 32 KiB of records.
//!
//! ```text
//! "AEVLOGS1" ║ checksum 8 │ raw length 4 │ stored length 4 │ codec 1 │ records of one partition … ║ block ║ … ║ contents ║ trailer
//! ```

use super::codec::{self, Cursor, Head, Place};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use xxhash_rust::xxh3::{Xxh3, xxh3_64};

const MAGIC: &[u8; 8] = b"AEVLOGS1";
const END: &[u8; 8] = b"AEVLOGE1";
const BLOCK_HEAD: usize = 17;
const TRAILER: usize = 32;
/// Enough for zstd to find what repeats, little enough to read for one record.
const BLOCK: usize = 32 << 10;
/// Blocks are read whole, and a reader's batch is a few hundred records.
const BLOCK_RECORDS: u32 = 256;
/// The fastest that still halves JSON several times; sorting must keep up with the appends.
const LEVEL: i32 = 1;

/// Records of one partition that are read and checked together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Block {
    pub first: i64,
    pub last: i64,
    pub newest_ms: i64,
    pub at: u64,
    pub stored: u32,
    pub raw: u32,
    pub records: u32,
}

/// What a segment knows of one partition. It covers `start..next`, of which some may have been removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Part {
    pub start: i64,
    pub next: i64,
    /// Everything before was removed for its age or size.
    pub floor: i64,
    pub blocks: Vec<Block>,
}

#[derive(Debug)]
pub(super) struct Segment {
    /// The journals that it replaces.
    pub first: u64,
    pub last: u64,
    pub path: PathBuf,
    pub bytes: u64,
    pub parts: BTreeMap<Place, Part>,
    file: File,
}

/// What is wrong with a segment.
#[derive(Debug, thiserror::Error)]
pub(super) enum Fault {
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error("its table of contents is not what was written")]
    Contents,
}

impl Segment {
    pub fn open(path: PathBuf, first: u64, last: u64) -> Result<Self, Fault> {
        let file = File::open(&path)?;
        let bytes = file.metadata()?.len();
        let parts = contents(&file, bytes, (first, last))?.ok_or(Fault::Contents)?;
        Ok(Self { first, last, path, bytes, parts, file })
    }

    /// The records of a block, whole and one behind the other; `None` where they are not what was written.
    pub fn read(&self, place: Place, block: &Block) -> io::Result<Option<Vec<u8>>> {
        let mut bytes = vec![0; block.stored as usize];
        match self.file.read_exact_at(&mut bytes, block.at) {
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
            read => read?,
        }
        Ok(unpack(place, block, &bytes))
    }
}

fn unpack(place: Place, block: &Block, bytes: &[u8]) -> Option<Vec<u8>> {
    let (head, payload) = bytes.split_at_checked(BLOCK_HEAD)?;
    let mut head = Cursor(head);
    let (wanted, raw, stored, [codec]) = (head.u64()?, head.u32()?, head.u32()?, head.array()?);
    if (raw, stored as usize) != (block.raw, payload.len())
        || wanted != checksum(place, block.first, raw, codec, payload)
    {
        return None;
    }
    let records = match codec {
        0 => payload.to_vec(),
        1 => decompress(payload, raw as usize)?,
        _ => return None,
    };
    // Each record vouches for itself too: these are the bytes that the append wrote.
    let mut at = 0;
    while at < records.len() {
        let (head, _) = codec::checked(&records[at..])?;
        if head.place != place || !(block.first..=block.last).contains(&head.offset) {
            return None;
        }
        at += head.length;
    }
    Some(records)
}

thread_local! {
    /// A context costs more than the block that it unpacks: each thread that reads makes one, and keeps it.
    static DECOMPRESSOR: RefCell<Option<zstd::bulk::Decompressor<'static>>> = const { RefCell::new(None) };
}

fn decompress(payload: &[u8], raw: usize) -> Option<Vec<u8>> {
    DECOMPRESSOR.with_borrow_mut(|kept| {
        if kept.is_none() {
            *kept = zstd::bulk::Decompressor::new().ok();
        }
        kept.as_mut()?.decompress(payload, raw).ok()
    })
}

fn checksum(place: Place, first: i64, raw: u32, codec: u8, payload: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&place.topic.to_le_bytes());
    hash.update(&place.partition.to_le_bytes());
    hash.update(&first.to_le_bytes());
    hash.update(&raw.to_le_bytes());
    hash.update(&[codec]);
    hash.update(payload);
    hash.digest()
}

/// Steps through checked records that stand one behind the other.
pub(super) fn records(mut bytes: &[u8]) -> impl Iterator<Item = (Head, &[u8])> {
    std::iter::from_fn(move || {
        let head = codec::peek(bytes)?;
        let (record, rest) = bytes.split_at_checked(head.length)?;
        bytes = rest;
        Some((head, record))
    })
}

fn contents(file: &File, length: u64, numbers: (u64, u64)) -> io::Result<Option<BTreeMap<Place, Part>>> {
    let Some(end) = length.checked_sub(TRAILER as u64) else { return Ok(None) };
    let mut magic = [0; MAGIC.len()];
    file.read_exact_at(&mut magic, 0)?;
    let mut trailer = [0; TRAILER];
    file.read_exact_at(&mut trailer, end)?;
    let mut rest = Cursor(&trailer);
    let (Some(at), Some(size), Some(wanted), Some(mark)) = (rest.u64(), rest.u64(), rest.u64(), rest.take(8)) else {
        return Ok(None);
    };
    if magic != *MAGIC || mark != END || at.checked_add(size) != Some(end) {
        return Ok(None);
    }
    let mut contents = vec![0; usize::try_from(size).unwrap_or_default()];
    file.read_exact_at(&mut contents, at)?;
    if wanted != contents_checksum(&contents, at, numbers) {
        return Ok(None);
    }
    Ok(parse(&contents))
}

fn contents_checksum(contents: &[u8], at: u64, (first, last): (u64, u64)) -> u64 {
    let mut hash = Xxh3::new();
    for word in [xxh3_64(contents), at, first, last] {
        hash.update(&word.to_le_bytes());
    }
    hash.digest()
}

fn parse(contents: &[u8]) -> Option<BTreeMap<Place, Part>> {
    let mut rest = Cursor(contents);
    let mut parts = BTreeMap::new();
    for _ in 0..rest.u32()? {
        let place = Place { topic: rest.u32()?, partition: rest.array().map(i32::from_le_bytes)? };
        let (start, next, floor) = (rest.i64()?, rest.i64()?, rest.i64()?);
        let block = |rest: &mut Cursor<'_>| {
            Some(Block {
                first: rest.i64()?,
                last: rest.i64()?,
                newest_ms: rest.i64()?,
                at: rest.u64()?,
                stored: rest.u32()?,
                raw: rest.u32()?,
                records: rest.u32()?,
            })
        };
        let blocks = (0..rest.u32()?).map(|_| block(&mut rest)).collect::<Option<Vec<_>>>()?;
        parts.insert(place, Part { start, next, floor, blocks });
    }
    Some(parts)
}

/// Writes a segment, partition by partition.
pub(super) struct Writer {
    out: BufWriter<File>,
    at: u64,
    numbers: (u64, u64),
    parts: BTreeMap<Place, Part>,
    compressor: zstd::bulk::Compressor<'static>,
    /// The records of the block that is being filled.
    filling: Vec<u8>,
    heads: Option<(Head, i64, i64, u32)>,
}

impl Writer {
    pub fn create(unfinished: &Path, first: u64, last: u64) -> io::Result<Self> {
        let mut out = BufWriter::with_capacity(64 << 10, File::create(unfinished)?);
        out.write_all(MAGIC)?;
        let at = MAGIC.len() as u64;
        Ok(Self {
            out,
            at,
            numbers: (first, last),
            parts: BTreeMap::new(),
            compressor: zstd::bulk::Compressor::new(LEVEL)?,
            filling: Vec::new(),
            heads: None,
        })
    }

    /// A record of `place`, in the order of offsets.
    pub fn push(&mut self, head: Head, record: &[u8]) -> io::Result<()> {
        if self.heads.is_some_and(|(first, ..)| first.place != head.place)
            || (!self.filling.is_empty() && self.filling.len() + record.len() > BLOCK)
            || self.heads.is_some_and(|(.., count)| count >= BLOCK_RECORDS)
        {
            self.close_block()?;
        }
        let (first, _, newest, count) = self.heads.unwrap_or((head, 0, i64::MIN, 0));
        self.heads = Some((first, head.offset, newest.max(head.timestamp_ms), count + 1));
        self.filling.extend_from_slice(record);
        Ok(())
    }

    /// What is covered of a place whose records have all been pushed, or were all removed.
    pub fn cover(&mut self, place: Place, start: i64, next: i64, floor: i64) -> io::Result<()> {
        self.close_block()?;
        let part = self.parts.entry(place).or_default();
        (part.start, part.next, part.floor) = (start, next, floor);
        Ok(())
    }

    fn close_block(&mut self) -> io::Result<()> {
        let Some((first, last, newest_ms, records)) = self.heads.take() else { return Ok(()) };
        let raw = u32::try_from(self.filling.len()).map_err(io::Error::other)?;
        let packed = self.compressor.compress(&self.filling)?;
        let (codec, payload) = if packed.len() < self.filling.len() { (1, &packed) } else { (0, &self.filling) };
        let stored = u32::try_from(payload.len()).map_err(io::Error::other)?;
        self.out.write_all(&checksum(first.place, first.offset, raw, codec, payload).to_le_bytes())?;
        self.out.write_all(&raw.to_le_bytes())?;
        self.out.write_all(&stored.to_le_bytes())?;
        self.out.write_all(&[codec])?;
        self.out.write_all(payload)?;
        let stored = stored + BLOCK_HEAD as u32;
        let block = Block { first: first.offset, last, newest_ms, at: self.at, stored, raw, records };
        self.parts.entry(first.place).or_default().blocks.push(block);
        self.at += u64::from(stored);
        self.filling.clear();
        Ok(())
    }

    /// Brings everything to the disk. The file still has its unfinished name.
    pub fn finish(mut self) -> io::Result<()> {
        self.close_block()?;
        let mut contents = Vec::new();
        put(&mut contents, self.parts.len())?;
        for (place, part) in &self.parts {
            contents.extend_from_slice(&place.topic.to_le_bytes());
            contents.extend_from_slice(&place.partition.to_le_bytes());
            for bound in [part.start, part.next, part.floor] {
                contents.extend_from_slice(&bound.to_le_bytes());
            }
            put(&mut contents, part.blocks.len())?;
            for block in &part.blocks {
                for word in [block.first, block.last, block.newest_ms] {
                    contents.extend_from_slice(&word.to_le_bytes());
                }
                contents.extend_from_slice(&block.at.to_le_bytes());
                for word in [block.stored, block.raw, block.records] {
                    contents.extend_from_slice(&word.to_le_bytes());
                }
            }
        }
        let checksum = contents_checksum(&contents, self.at, self.numbers);
        self.out.write_all(&contents)?;
        for word in [self.at, contents.len() as u64, checksum] {
            self.out.write_all(&word.to_le_bytes())?;
        }
        self.out.write_all(END)?;
        self.out.into_inner().map_err(io::IntoInnerError::into_error)?.sync_all()
    }
}

fn put(into: &mut Vec<u8>, count: usize) -> io::Result<()> {
    into.extend_from_slice(&u32::try_from(count).map_err(io::Error::other)?.to_le_bytes());
    Ok(())
}
