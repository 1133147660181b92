//! The file: a magic, then blocks with their lengths and checksums. Nothing here believes a length.

use super::Identity;
use crate::domain::index::Name;
use crate::domain::rv::Rv;
use crate::store::row::Row;
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use xxhash_rust::xxh3::Xxh3;

pub(super) const MAGIC: &[u8; 8] = b"AEFOLD02";
/// Full enough for the disk, small enough to stand in memory beside everything else.
pub(super) const BLOCK: usize = 256 << 10;

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Header {
    #[serde(flatten)]
    pub identity: Identity,
    pub kind: String,
    /// With prefix.
    pub topic: String,
    pub saved_ms: i64,
    /// Partition, next offset, writer epoch.
    pub positions: Vec<(i32, i64, u64)>,
}

pub(super) struct Out {
    pub to: BufWriter<File>,
    pub block: Vec<u8>,
    pub items: u64,
    pub bytes: u64,
}

impl Out {
    pub fn begin(&mut self, letter: u8, at: &Name) {
        self.block.push(letter);
        self.text(&at.namespace);
        self.text(&at.name);
    }

    pub fn number(&mut self, number: u64) {
        self.block.extend_from_slice(&number.to_le_bytes());
    }

    pub fn bytes(&mut self, bytes: &[u8]) {
        // An object's bytes are far below 4 GiB: the log takes no larger record.
        self.block.extend_from_slice(&u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes());
        self.block.extend_from_slice(bytes);
    }

    pub fn text(&mut self, text: &str) {
        self.bytes(text.as_bytes());
    }

    pub fn row(&mut self, row: &Row) -> io::Result<()> {
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
        self.text(row.stub.as_deref().map_or("", |stub| stub.reason));
        self.number(row.stub.as_deref().map_or(0, |stub| stub.bytes as u64));
        self.number(row.facts.tags().len() as u64);
        for tag in row.facts.tags() {
            self.block.push(tag.space.letter());
            self.text(&tag.key);
            self.text(&tag.value);
        }
        self.end()
    }

    pub fn end(&mut self) -> io::Result<()> {
        self.items += 1;
        if self.block.len() >= BLOCK { self.flush() } else { Ok(()) }
    }

    pub fn flush(&mut self) -> io::Result<()> {
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

pub(super) struct In {
    pub from: BufReader<File>,
    pub left: u64,
    pub block: Vec<u8>,
}

impl In {
    /// The next block, whole and as it was written.
    pub fn next(&mut self) -> Result<(), String> {
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
pub(super) struct Bytes<'b>(pub &'b [u8]);

impl<'b> Bytes<'b> {
    pub fn take(&mut self, length: usize) -> Option<&'b [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    pub fn byte(&mut self) -> Option<u8> {
        self.take(1)?.first().copied()
    }

    pub fn number(&mut self) -> Option<u64> {
        Some(u64::from_le_bytes(self.take(8)?.try_into().ok()?))
    }

    pub fn bytes(&mut self) -> Option<&'b [u8]> {
        let length = u32::from_le_bytes(self.take(4)?.try_into().ok()?);
        self.take(usize::try_from(length).ok()?)
    }

    pub fn text(&mut self) -> Option<&'b str> {
        std::str::from_utf8(self.bytes()?).ok()
    }

    pub fn rv(&mut self) -> Option<Rv> {
        self.text().map(Rv::new)
    }
}
