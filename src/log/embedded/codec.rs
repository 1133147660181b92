//! How a record stands in a file: the same bytes in a journal and in a segment, with a checksum over everything, its own
//! coordinates included. What is moved is never encoded anew, so the checksum holds from the append to the read.
//!
//! ```text
//! checksum 8 │ length 4 │ topic 4 │ partition 4 │ offset 8 │ timestamp 8 │ key │ value │ count, then name │ value of each header
//! ```
//! Numbers are little-endian; key, value and header values carry their length + 1 as a variable-length number, 0 for none.

use crate::domain::record::{InRecord, OutRecord};
use bytes::Bytes;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Everything before the key.
pub(super) const HEAD: usize = 36;
/// The checksum covers what is behind itself.
const CHECKED: usize = 8;

/// One partition of one topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) struct Place {
    /// Number of the topic in this log.
    pub topic: u32,
    pub partition: i32,
}

/// The fixed part of an encoded record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Head {
    pub place: Place,
    pub offset: i64,
    pub timestamp_ms: i64,
    /// Bytes in all, this part included.
    pub length: usize,
}

/// What is to be encoded.
#[derive(Clone, Copy)]
pub(super) enum Source<'a> {
    Out(&'a OutRecord),
    /// As a foreign program would write it: a key or a header value may be missing.
    In(&'a InRecord),
}

impl Source<'_> {
    pub fn timestamp_ms(self) -> i64 {
        match self {
            Self::Out(record) => record.timestamp_ms,
            Self::In(record) => record.timestamp_ms,
        }
    }
}

/// Appends the encoded record; gives its length.
pub(super) fn encode(into: &mut Vec<u8>, place: Place, offset: i64, record: Source<'_>) -> usize {
    let start = into.len();
    into.extend_from_slice(&[0; 12]);
    into.extend_from_slice(&place.topic.to_le_bytes());
    into.extend_from_slice(&place.partition.to_le_bytes());
    into.extend_from_slice(&offset.to_le_bytes());
    into.extend_from_slice(&record.timestamp_ms().to_le_bytes());
    match record {
        Source::Out(record) => {
            put_some(into, Some(&record.key));
            put_some(into, record.value.as_deref());
            put_number(into, record.headers.len());
            for (name, value) in &record.headers {
                put_some(into, Some(name.as_bytes()));
                put_some(into, Some(value));
            }
        }
        Source::In(record) => {
            put_some(into, record.key.as_deref());
            put_some(into, record.value.as_deref());
            put_number(into, record.headers.len());
            for (name, value) in &record.headers {
                put_some(into, Some(name.as_bytes()));
                put_some(into, value.as_deref());
            }
        }
    }
    let length = into.len() - start;
    let counted = u32::try_from(length).expect("a record is below 1 GiB: `open` limits max_record_bytes");
    into[start + CHECKED..start + 12].copy_from_slice(&counted.to_le_bytes());
    let checksum = xxh3_64(&into[start + CHECKED..]);
    into[start..start + CHECKED].copy_from_slice(&checksum.to_le_bytes());
    length
}

/// The fixed part of the record that begins here, unchecked; `None` where there is none or its length cannot be.
pub(super) fn peek(bytes: &[u8]) -> Option<Head> {
    let mut rest = Cursor(bytes.get(CHECKED..HEAD)?);
    let length = usize::try_from(u32::from_le_bytes(rest.array()?)).ok()?;
    let place = Place { topic: u32::from_le_bytes(rest.array()?), partition: i32::from_le_bytes(rest.array()?) };
    let (offset, timestamp_ms) = (i64::from_le_bytes(rest.array()?), i64::from_le_bytes(rest.array()?));
    (length >= HEAD).then_some(Head { place, offset, timestamp_ms, length })
}

/// The record that begins here, if every bit of it is as it was written.
pub(super) fn checked(bytes: &[u8]) -> Option<(Head, &[u8])> {
    let head = peek(bytes)?;
    let record = bytes.get(..head.length)?;
    let (checksum, rest) = record.split_first_chunk::<CHECKED>()?;
    (u64::from_le_bytes(*checksum) == xxh3_64(rest)).then_some((head, record))
}

/// Key, and whether there is a value, of a checked record: what compaction asks.
pub(super) fn key_of(record: &[u8]) -> Option<(Option<&[u8]>, bool)> {
    let mut rest = Cursor(record.get(HEAD..)?);
    let key = rest.some()?;
    Some((key, rest.some()?.is_some()))
}

/// A checked record as it is read back. It has memory of its own: who keeps it does not keep its block.
pub(super) fn decode(record: &[u8], topic: &Arc<str>) -> Option<InRecord> {
    let head = peek(record)?;
    let body = Bytes::copy_from_slice(&record[HEAD..]);
    let mut rest = Cursor(&body);
    let (key, value) = (rest.some()?, rest.some()?);
    let count = rest.number()?;
    let mut headers = Vec::with_capacity(count.min(64));
    for _ in 0..count {
        let name = std::str::from_utf8(rest.some()??).ok()?;
        headers.push((name.into(), rest.some()?.map(|v| body.slice_ref(v))));
    }
    Some(InRecord {
        topic: topic.clone(),
        partition: head.place.partition,
        offset: head.offset,
        timestamp_ms: head.timestamp_ms,
        key: key.map(|k| body.slice_ref(k)),
        value: value.map(|v| body.slice_ref(v)),
        headers,
    })
}

fn put_some(into: &mut Vec<u8>, bytes: Option<&[u8]>) {
    put_number(into, bytes.map_or(0, |b| b.len() + 1));
    into.extend_from_slice(bytes.unwrap_or_default());
}

/// Seven bits a byte, the lowest first.
fn put_number(into: &mut Vec<u8>, mut number: usize) {
    while number >= 0x80 {
        into.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    into.push(number as u8);
}

/// Takes bytes off the front; `None` when they run out.
pub(super) struct Cursor<'a>(pub &'a [u8]);

impl<'a> Cursor<'a> {
    pub fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn array<const N: usize>(&mut self) -> Option<[u8; N]> {
        self.take(N)?.try_into().ok()
    }

    pub fn u32(&mut self) -> Option<u32> {
        self.array().map(u32::from_le_bytes)
    }

    pub fn u64(&mut self) -> Option<u64> {
        self.array().map(u64::from_le_bytes)
    }

    pub fn i64(&mut self) -> Option<i64> {
        self.array().map(i64::from_le_bytes)
    }

    fn number(&mut self) -> Option<usize> {
        let mut number = 0_usize;
        for shift in (0..usize::BITS).step_by(7) {
            let [byte] = self.array()?;
            number |= usize::from(byte & 0x7f).checked_shl(shift)?;
            if byte < 0x80 {
                return Some(number);
            }
        }
        None
    }

    fn some(&mut self) -> Option<Option<&'a [u8]>> {
        match self.number()? {
            0 => Some(None),
            length => self.take(length - 1).map(Some),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(value: Option<Bytes>) -> InRecord {
        InRecord {
            topic: "t".into(),
            partition: 3,
            offset: 70_000,
            timestamp_ms: -1,
            key: Some(Bytes::from_static(b"k\xff")),
            value,
            headers: vec![
                ("a".into(), None),
                ("a".into(), Some(Bytes::new())),
                ("".into(), Some(Bytes::from(vec![7; 300]))),
            ],
        }
    }

    const PLACE: Place = Place { topic: 9, partition: 3 };

    #[test]
    fn a_record_comes_back_as_it_was() {
        for value in [None, Some(Bytes::new()), Some(Bytes::from(vec![b'x'; 20_000]))] {
            let record = record(value);
            let mut bytes = vec![1, 2, 3];
            let length = encode(&mut bytes, PLACE, 70_000, Source::In(&record));
            let (head, found) = checked(&bytes[3..]).expect("it is whole");
            assert_eq!(head, Head { place: PLACE, offset: 70_000, timestamp_ms: -1, length });
            assert_eq!(decode(found, &record.topic), Some(record.clone()));
            assert_eq!(key_of(found), Some((record.key.as_deref(), record.value.is_some())));
        }
    }

    #[test]
    fn no_flipped_bit_and_no_missing_byte_passes() {
        let mut bytes = Vec::new();
        encode(&mut bytes, PLACE, 1, Source::In(&record(Some(Bytes::from_static(b"value")))));
        for bit in 0..bytes.len() * 8 {
            let mut flipped = bytes.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(checked(&flipped), None, "bit {bit}");
        }
        for length in 0..bytes.len() {
            assert_eq!(checked(&bytes[..length]), None, "{length} bytes");
        }
    }
}
