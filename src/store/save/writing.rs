//! Writing a kind's file, while its fold goes on.

use super::SavedFold;
use super::format::{BLOCK, Header, MAGIC, Out};
use crate::domain::fold::Death;
use crate::domain::index::Name;
use crate::store::table::Table;
use crate::store::{Store, lock};
use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::io::{self, BufWriter, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

/// Rows taken under one lock, as a list does; in tests every one alone.
const CHUNK: usize = if cfg!(test) { 1 } else { 1024 };

impl SavedFold {
    /// Rows and bytes of the new file, which takes the place of the older one only when it is whole.
    pub(super) fn write(&self, table: &Table, standing: &Standing, now_ms: i64) -> io::Result<(usize, u64)> {
        let temporary = self.dir.join(format!("{}.tmp", table.kind_id));
        let written = self.write_to(&temporary, table, standing, now_ms).and_then(|written| {
            fs::rename(&temporary, self.path(&table.kind_id))?;
            Ok(written)
        });
        if written.is_err() {
            // Half a file is of no use, and the disk may be full. That it cannot be removed either changes nothing.
            drop(fs::remove_file(&temporary));
        }
        written
    }

    fn write_to(&self, temporary: &Path, table: &Table, standing: &Standing, now_ms: i64) -> io::Result<(usize, u64)> {
        let file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(temporary)?;
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
        Ok((rows, out.bytes))
    }
}

/// What is taken between two batches.
pub(super) struct Standing {
    pub positions: Vec<(i32, i64, u64)>,
    owed: Vec<(Name, Death)>,
    dead: Vec<(Name, Death)>,
    shadowed: Vec<(Name, i64)>,
}

impl Standing {
    pub fn of(store: &Store, table: &Table) -> Self {
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
