//! A journal: groups of records as they came, each group written in one go and, with [`super::Sync::Disk`], brought to the
//! disk by one fsync before any of its records is acknowledged.
//!
//! ```text
//! "AEVLOGJ1" │ number 8 │ checksum 8 ║ "GRP1" │ length 4 │ sequence 8 │ checksum 8 │ records … ║ group ║ …
//! ```

use super::codec::{self, Cursor, Head, Place};
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use std::sync::Arc;
use xxhash_rust::xxh3::Xxh3;

/// Bytes before the first group.
pub(super) const HEADER: u64 = 24;
/// Bytes before the records of a group.
pub(super) const GROUP: usize = 24;
const MAGIC: &[u8; 8] = b"AEVLOGJ1";
const GROUP_MAGIC: &[u8; 4] = b"GRP1";

/// Where a record stands in a journal.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    pub offset: i64,
    pub timestamp_ms: i64,
    pub at: u64,
    pub length: u32,
}

/// A journal that is read: its file, and what stands where. Only whole, acknowledged groups are in the index.
#[derive(Debug, Clone)]
pub(super) struct Journal {
    pub number: u64,
    pub path: Arc<Path>,
    pub file: Arc<File>,
    /// By partition, in the order of offsets. Shared, so that who sorts a sealed journal copies nothing.
    pub index: Arc<HashMap<Place, Vec<Entry>>>,
}

/// Makes a journal without groups, on the disk. What a failed try left is overwritten.
pub(super) fn create(path: &Path, number: u64) -> io::Result<File> {
    let file = OpenOptions::new().read(true).write(true).create(true).truncate(true).open(path)?;
    file.write_all_at(&header(number), 0)?;
    file.sync_all()?;
    Ok(file)
}

fn header(number: u64) -> Vec<u8> {
    let mut header = MAGIC.to_vec();
    header.extend_from_slice(&number.to_le_bytes());
    header.extend_from_slice(&xxhash_rust::xxh3::xxh3_64(&header).to_le_bytes());
    header
}

/// Fills in the head of a group, whose records stand behind its first [`GROUP`] bytes.
pub(super) fn seal(group: &mut [u8], journal: u64, sequence: u64) {
    let length = u32::try_from(group.len() - GROUP).expect("a group is far below 4 GiB: the writer bounds it");
    let checksum = checksum(journal, sequence, &group[GROUP..]);
    group[..4].copy_from_slice(GROUP_MAGIC);
    group[4..8].copy_from_slice(&length.to_le_bytes());
    group[8..16].copy_from_slice(&sequence.to_le_bytes());
    group[16..GROUP].copy_from_slice(&checksum.to_le_bytes());
}

fn checksum(journal: u64, sequence: u64, records: &[u8]) -> u64 {
    let mut hash = Xxh3::new();
    hash.update(&journal.to_le_bytes());
    hash.update(&sequence.to_le_bytes());
    hash.update(&(records.len() as u64).to_le_bytes());
    hash.update(records);
    hash.digest()
}

/// What a scan found.
#[derive(Debug)]
pub(super) struct Scan {
    /// Everything before is whole.
    pub good: u64,
    /// Bytes of the file.
    pub length: u64,
    /// The sequence of the last whole group.
    pub sequence: u64,
    /// Where the header itself is not whole, nothing is.
    pub has_header: bool,
}

/// Reads a journal from its beginning as far as it is whole, and shows every record with its position.
pub(super) fn scan<E: From<io::Error>>(
    file: &File,
    number: u64,
    mut visit: impl FnMut(Head, u64, &[u8]) -> Result<(), E>,
) -> Result<Scan, E> {
    let length = file.metadata()?.len();
    let mut scan = Scan { good: HEADER, length, sequence: 0, has_header: false };
    let mut found = vec![0; HEADER as usize];
    if length < HEADER || file.read_exact_at(&mut found, 0).is_err() || found != header(number) {
        scan.good = 0;
        return Ok(scan);
    }
    scan.has_header = true;
    while let Some((sequence, records)) = group_at(file, number, scan.good, length)? {
        if scan.sequence != 0 && sequence != scan.sequence + 1 {
            break;
        }
        let mut at = 0;
        while let Some((head, record)) = codec::checked(&records[at..]) {
            visit(head, scan.good + (GROUP + at) as u64, record)?;
            at += head.length;
        }
        scan.good += (GROUP + records.len()) as u64;
        scan.sequence = sequence;
    }
    Ok(scan)
}

/// The sequence and the records of the whole group that begins here.
fn group_at(file: &File, journal: u64, at: u64, end: u64) -> io::Result<Option<(u64, Vec<u8>)>> {
    let mut head = [0; GROUP];
    if end.saturating_sub(at) < GROUP as u64 {
        return Ok(None);
    }
    file.read_exact_at(&mut head, at)?;
    let Some((length, sequence, wanted)) = group_head(&head) else { return Ok(None) };
    if length > end - at - GROUP as u64 {
        return Ok(None);
    }
    let mut records = vec![0; length as usize];
    file.read_exact_at(&mut records, at + GROUP as u64)?;
    Ok((checksum(journal, sequence, &records) == wanted).then_some((sequence, records)))
}

/// Length, sequence and checksum.
fn group_head(head: &[u8]) -> Option<(u64, u64, u64)> {
    let mut rest = Cursor(head);
    if rest.take(4)? != GROUP_MAGIC {
        return None;
    }
    Some((u64::from(rest.u32()?), rest.u64()?, rest.u64()?))
}

/// Whether a whole group stands somewhere behind `from`: then what is broken there was not the end.
pub(super) fn whole_group_behind(file: &File, journal: u64, from: u64, end: u64) -> io::Result<bool> {
    let mut rest = vec![0; usize::try_from(end.saturating_sub(from)).unwrap_or_default()];
    file.read_exact_at(&mut rest, from)?;
    for at in 1..rest.len().saturating_sub(GROUP) {
        if rest[at..].starts_with(GROUP_MAGIC) && group_at(file, journal, from + at as u64, end)?.is_some() {
            return Ok(true);
        }
    }
    Ok(false)
}

/// What can be said of the records of a group that is not whole.
#[derive(Debug, Default)]
pub(super) struct Torn {
    /// How many at its beginning are.
    pub whole: usize,
    /// The first of the group, as far as its coordinates can still be read.
    pub first: Option<Head>,
    /// The first that is broken, as far as its own can.
    pub broken: Option<Head>,
}

/// Looks at the group that begins at `good`.
pub(super) fn torn_at(file: &File, good: u64, end: u64) -> io::Result<Torn> {
    let mut rest = vec![0; usize::try_from(end.saturating_sub(good)).unwrap_or_default()];
    file.read_exact_at(&mut rest, good)?;
    let mut rest = rest.get(GROUP..).unwrap_or_default();
    let mut torn = Torn { first: codec::peek(rest), ..Torn::default() };
    while let Some((head, _)) = codec::checked(rest) {
        rest = &rest[head.length..];
        torn.whole += 1;
    }
    torn.broken = codec::peek(rest);
    Ok(torn)
}

/// The checked bytes of one record.
pub(super) fn read(file: &File, place: Place, entry: &Entry) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; entry.length as usize];
    match file.read_exact_at(&mut bytes, entry.at) {
        Ok(()) => {}
        // It was longer when it was opened.
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        Err(error) => return Err(error),
    }
    let whole = codec::checked(&bytes)
        .is_some_and(|(head, _)| (head.place, head.offset) == (place, entry.offset) && head.length == bytes.len());
    Ok(whole.then_some(bytes))
}
