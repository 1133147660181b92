//! Taking a file back: whatever is wrong with it, it is left aside.

use super::format::{Bytes, Header, In, MAGIC};
use super::{Identity, SavedFold, millis};
use crate::domain::fold::Death;
use crate::domain::index::Name;
use crate::domain::redact::Stub;
use crate::store::facts::{Found, Space};
use crate::store::row::{Packed, Row};
use crate::store::table::{Index, Progress, Table};
use crate::store::{Store, lock};
use std::borrow::Cow;
use std::fs::File;
use std::io::{BufReader, Read as _};
use std::time::Duration;

/// Longest age: `min.compaction.lag.ms` of the state topics as we make them.
const MAX_AGE: Duration = Duration::from_secs(24 * 3600);
/// A clock that was set back by less is no reason to read a day of the log.
const CLOCK_SLACK: Duration = Duration::from_secs(300);

impl SavedFold {
    pub(super) fn read(
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
    let (reason, size) = (bytes.text()?, usize::try_from(bytes.number()?).ok()?);
    let stub = (!reason.is_empty()).then(|| Box::new(Stub::read_back(reason, size)));
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
        stub,
    };
    let mut index: std::sync::RwLockWriteGuard<'_, Index> = table.index_mut();
    let old = index.names.get(&at).cloned();
    table.put(&mut index, &std::sync::Arc::new(row), old.as_ref());
    Some((timestamp_ms, (partition, offset), at))
}
