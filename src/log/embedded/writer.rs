//! The one thread that appends: takes all that waits, writes it as one group with one fsync, and then tells.

use super::codec::{Place, Source};
use super::core::{Core, lock};
use super::producer::{CLOSED, Item, Work};
use crate::domain::ack::Outcome;
use std::time::Duration;

/// One group. Four MiB are written in about the time that an fsync takes, so larger ones would only make the first record
/// wait for the last.
const GROUP_BYTES: usize = 4 << 20;
/// How far the mark on the disk may be behind, and how often a broken log is tried again.
const SOON: Duration = Duration::from_secs(1);

/// Appends until the log is closed and nothing waits.
pub(super) fn run(core: &Core) {
    // However this thread ends, nobody waits for ever.
    let _rest = GiveUpTheRest(core);
    loop {
        let broken = lock(&core.broken).is_some();
        let patience = (broken || core.has_unsynced_mark()).then_some(SOON);
        match core.inbox.take(GROUP_BYTES, patience) {
            Work::Items(items) if broken => give_up(core, items),
            Work::Items(items) => append(core, items),
            Work::Quiet if broken => mend(core),
            Work::Quiet => core.sync_mark(),
            Work::Closed => break,
        }
    }
    core.sync_mark();
}

fn append(core: &Core, items: Vec<Item>) {
    let mut items = items.into_iter().filter(|item| {
        let wanted = !item.from.is_given_up();
        if !wanted {
            item.from.let_go(item.record.size());
        }
        wanted
    });
    loop {
        // Up to a record that its topic does not take: what was sent before it is acknowledged before it fails.
        let mut refused = None;
        let group: Vec<Item> = std::iter::from_fn(|| {
            let item = items.next()?;
            if item.record.size() > item.limit {
                refused = Some(item);
                return None;
            }
            Some(item)
        })
        .collect();
        let is_last = refused.is_none();
        if !group.is_empty() && !write(core, group) {
            give_up(core, refused.into_iter().chain(items));
            return;
        }
        if let Some(Item { from, number, record, limit, .. }) = refused {
            let why = format!(
                "topic {}: a record of {} bytes is above its max.message.bytes ({limit})",
                record.topic,
                record.size()
            );
            from.fail(number, record.size(), why);
        }
        if is_last {
            return;
        }
    }
}

/// Writes and tells; false when the log is broken.
fn write(core: &Core, group: Vec<Item>) -> bool {
    if core.is_behind()
        && let Err(error) = core.sort_one()
    {
        // The appends themselves may still succeed; if not, they say so.
        tracing::warn!(log = core.at, %error, "a journal could not be sorted");
    }
    #[cfg(feature = "testing")]
    crate::testing::wait_while_the_embedded_log_is_held();
    let records: Vec<(Place, Source<'_>)> = group.iter().map(|item| (item.place, Source::Out(&item.record))).collect();
    match core.append(&records) {
        Ok(offsets) => {
            for (Item { from, number, place, record, .. }, offset) in group.iter().zip(offsets) {
                from.settle(*number, record.size(), Outcome::Acked { partition: place.partition, offset });
            }
            true
        }
        Err(error) => {
            tracing::error!(log = core.at, %error, "nothing can be written to the log; what was acknowledged is safe");
            give_up(core, group);
            false
        }
    }
}

/// Nobody knows of these records, and nothing behind them may be written: their producers die.
fn give_up(core: &Core, items: impl IntoIterator<Item = Item>) {
    let why = lock(&core.broken).clone().unwrap_or_else(|| CLOSED.to_owned());
    for item in items.into_iter().chain(core.inbox.drain()) {
        item.from.break_off(&why);
        item.from.let_go(item.record.size());
        item.from.drop_the_rest();
    }
}

fn mend(core: &Core) {
    // Why not is said to whoever wants a producer.
    if core.mend().is_ok() {
        tracing::info!(log = core.at, "the log can be written to again");
    }
}

struct GiveUpTheRest<'a>(&'a Core);

impl Drop for GiveUpTheRest<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            let why = "the thread that writes the log has panicked: start this process again";
            lock(&self.0.broken).get_or_insert_with(|| why.to_owned());
        }
        self.0.inbox.close();
        give_up(self.0, []);
    }
}
