//! One record on disk: magic, length, checksum, then revision, resource and key as a line of JSON, and the object's bytes.

use xxhash_rust::xxh3::xxh3_64;

const MAGIC: [u8; 4] = *b"AEs1";
const HEAD: usize = 16;
/// No object is larger: bodies end at 3 MiB.
const MOST: usize = 64 << 20;

/// What stands at a place of a file.
pub(super) enum Frame<'a> {
    Whole { payload: &'a [u8], next: usize },
    Torn,
}

pub(super) fn record(revision: u64, resource: &str, key: &str, json: Option<&[u8]>) -> Vec<u8> {
    let line = serde_json::to_vec(&(revision, resource, key)).expect("numbers and texts into memory");
    let json = json.unwrap_or_default();
    let mut record = Vec::with_capacity(HEAD + line.len() + 1 + json.len());
    record.extend_from_slice(&[0; HEAD]);
    record.extend_from_slice(&line);
    record.push(b'\n');
    record.extend_from_slice(json);
    let length = u32::try_from(record.len() - HEAD).expect("bodies end at 3 MiB");
    let sum = xxh3_64(&record[HEAD..]);
    record[..4].copy_from_slice(&MAGIC);
    record[4..8].copy_from_slice(&length.to_le_bytes());
    record[8..16].copy_from_slice(&sum.to_le_bytes());
    record
}

pub(super) fn frame(bytes: &[u8], at: usize) -> Frame<'_> {
    let rest = &bytes[at..];
    let Some((head, body)) = rest.split_at_checked(HEAD) else { return Frame::Torn };
    let length = u32::from_le_bytes(head[4..8].try_into().expect("four bytes")) as usize;
    let sum = u64::from_le_bytes(head[8..16].try_into().expect("eight bytes"));
    match body.get(..length) {
        Some(payload) if head[..4] == MAGIC && length <= MOST && xxh3_64(payload) == sum => {
            Frame::Whole { payload, next: at + HEAD + length }
        }
        _ => Frame::Torn,
    }
}

/// Whether a whole record stands anywhere behind `at`: then what stands at `at` is damage, and no torn end.
pub(super) fn any_whole_after(bytes: &[u8], at: usize) -> bool {
    let places = bytes[at + 1..].windows(MAGIC.len()).enumerate().filter(|(_, w)| *w == MAGIC);
    places.map(|(i, _)| at + 1 + i).any(|place| matches!(frame(bytes, place), Frame::Whole { .. }))
}

/// Revision, resource, key, and the object unless it ended.
pub(super) fn understand(payload: &[u8]) -> Option<(u64, &str, &str, Option<&[u8]>)> {
    let end = payload.iter().position(|b| *b == b'\n')?;
    let (revision, resource, key) = serde_json::from_slice(&payload[..end]).ok()?;
    let json = &payload[end + 1..];
    Some((revision, resource, key, (!json.is_empty()).then_some(json)))
}
