//! The end of a kind that the settings name no more: the log still says that its objects are there, and nobody reports any
//! change of them. So their deletes are written once, `observed=descoped`, and then the kind's checkpoints go.
//!
//! It runs beside everything else and is in no hurry: a kill in the middle leaves the checkpoints, by which the next start
//! knows what is still to be done.

use crate::actors::publisher::ProducerSlot;
use crate::actors::restore;
use crate::domain::checkpoint::{self, Vouched, writer_marker};
use crate::domain::envelope::Writer;
use crate::domain::kind::{Kind, Tracking};
use crate::domain::lane::{Lane, Limits};
use crate::domain::record::OutRecord;
use crate::domain::target::Target;
use crate::domain::watch::Point;
use crate::log::{Log, SendError, Start};
use crate::observe::board::{Board, WatcherRow};
use crate::observe::clock;
use crate::observe::metrics::Metrics;
use crate::store::{Filter, Store, StoreOptions};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// Objects written at once: a fraction of the producer's queue, which belongs to the lanes of the watchers.
const AT_ONCE: usize = 256;
/// What is degraded as long as it cannot be said.
const WHAT: &str = "what is captured no more";
/// Between two tries.
const RETRY: Duration = Duration::from_secs(10);
/// A producer whose queue is full has room again after a few requests to the broker.
const QUEUE_RETRY: Duration = Duration::from_millis(20);

/// A kind that is captured no more.
#[derive(Clone)]
pub(super) struct Leaving {
    pub kind: Kind,
    /// With prefix.
    pub topic: Arc<str>,
    /// Where what the log holds of it is known to be redacted as it would be now.
    pub vouched: Vouched,
    /// Whose checkpoints there still are.
    pub owners: Vec<String>,
}

/// What it takes.
#[derive(Clone)]
pub(super) struct Means {
    pub board: Arc<Board>,
    pub metrics: Arc<Metrics>,
    pub log: Arc<dyn Log>,
    pub producer: Arc<ProducerSlot>,
    pub cluster: String,
    pub checkpoints: Arc<str>,
    pub writer_epoch: u64,
}

/// What it writes, until that is acked: what a try could not write is there for the next one.
struct Out {
    lane: Arc<Lane<Point>>,
    /// Rung by the lane when it is empty, or has something to send again.
    bell: Arc<Notify>,
}

impl Out {
    fn new() -> Self {
        let bell = Arc::new(Notify::new());
        let ring = bell.clone();
        // Two records an object; nothing is pushed before all is acked.
        let limits = Limits { bytes: usize::MAX, records: 2 * AT_ONCE };
        Self { lane: Lane::new(limits, move || ring.notify_one()), bell }
    }
}

/// Tries until it is done.
pub(super) async fn say(means: Means, leaving: Leaving) {
    let out = Out::new();
    // No watcher is there to account for it.
    means.board.account_for(WatcherRow::new(Target::all(leaving.kind.clone()), out.lane.clone()));
    loop {
        match means.try_to_say(&leaving, &out).await {
            Ok(deletes) => {
                means.board.degrade(WHAT, None);
                tracing::info!(kind = %leaving.kind, deletes, "captured no more; what the log held of it is deleted there");
                return;
            }
            Err(why) => {
                if means.board.degrade(WHAT, Some(why.clone())) {
                    tracing::warn!(kind = %leaving.kind, why, "its deletes are not written yet; retrying");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

impl Means {
    async fn try_to_say(&self, leaving: &Leaving, out: &Out) -> Result<usize, String> {
        // What is left of an earlier try goes first: the fold must know it.
        self.flush(out).await?;
        let topics = self.log.describe(&[leaving.topic.to_string()]).await.map_err(|e| e.to_string())?;
        let mut deletes = 0;
        // Kubernetes Events only age.
        if let Some(topic) = topics.first().filter(|_| leaving.kind.tracking() == Tracking::Table) {
            deletes = self.delete_all(leaving, topic.partitions, out).await?;
        }
        let now = clock::wall_ms();
        let forget =
            |owner: &String| checkpoint::forget(&self.checkpoints, &self.cluster, owner, self.writer_epoch, now);
        self.write(out, leaving.owners.iter().map(forget).collect()).await?;
        Ok(deletes)
    }

    async fn delete_all(&self, leaving: &Leaving, partitions: i32, out: &Out) -> Result<usize, String> {
        let Leaving { kind, topic, vouched, .. } = leaving;
        let now = clock::wall_ms();
        // What an older process still has on its way is void behind these.
        self.write(out, (0..partitions).map(|p| writer_marker(topic, p, self.writer_epoch, now)).collect()).await?;
        let store = self.fold(kind, topic, partitions).await?;
        let writer = Writer::new(kind.clone(), topic.clone(), partitions, &self.cluster, self.writer_epoch);
        let restored = store.restored(kind, |_| true);
        let owed = restored
            .owed
            .iter()
            .map(|(at, uid, rv)| writer.tombstone(&at.namespace, &at.name, uid, rv, restored.history_epoch, now));
        self.write(out, owed.collect()).await?;
        let (mut after, mut deletes) = (None, 0);
        loop {
            let page = store.list(kind, &Filter::default(), after.as_ref(), AT_ONCE);
            deletes += page.items.len();
            page.items.iter().for_each(|object| restore::descope(&out.lane, &writer, object, vouched));
            self.flush(out).await?;
            match page.more_after {
                Some(more) => after = Some(more),
                None => return Ok(deletes),
            }
        }
    }

    /// What the log holds of the kind, up to our own markers.
    async fn fold(&self, kind: &Kind, topic: &Arc<str>, partitions: i32) -> Result<Arc<Store>, String> {
        let store = Store::new(StoreOptions::new(&self.cluster, vec![(kind.clone(), topic.clone())]));
        let from = (0..partitions).map(|p| (topic.clone(), p, Start::Beginning)).collect();
        let mut reader = self.log.read(from).map_err(|e| e.to_string())?;
        let is_whole = || {
            let marked = store.positions().into_iter().filter(|p| p.epoch >= self.writer_epoch).count();
            marked == usize::try_from(partitions).unwrap_or(0)
        };
        while !is_whole() {
            let batch = reader.batches.recv().await.ok_or("the topic cannot be read any more")?;
            store.apply(&batch.records);
        }
        Ok(store)
    }

    /// Writes what is no change.
    async fn write(&self, out: &Out, records: Vec<OutRecord>) -> Result<(), String> {
        out.lane.push(records, None);
        self.flush(out).await
    }

    /// Hands over what the lane holds and waits until all of it is acked. A failed producer is the publisher's to replace.
    async fn flush(&self, out: &Out) -> Result<(), String> {
        let generation = out.lane.usage().generation;
        while !out.lane.is_drained() {
            let producer = self.producer.get(&self.metrics).map_err(|e| e.to_string())?;
            for item in out.lane.take(2 * AT_ONCE, usize::MAX) {
                let mut next = Some(item);
                while let Some((record, token)) = next.take().filter(|(_, token)| token.is_current()) {
                    match producer.send(record, token) {
                        Ok(()) => {}
                        Err((SendError::QueueFull, record, token)) => {
                            next = Some((record, token));
                            tokio::time::sleep(QUEUE_RETRY).await;
                        }
                        Err((error, record, _)) => return Err(format!("{} takes no records: {error:?}", record.topic)),
                    }
                }
            }
            if out.lane.usage().generation != generation {
                return Err("a record was not written".into());
            }
            if !out.lane.is_drained() && !out.lane.has_unsent() {
                out.bell.notified().await;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::fold::kit;
    use crate::domain::record::InRecord;
    use crate::domain::topic::TopicSpec;
    use crate::log::memory::MemoryLog;

    #[tokio::test(start_paused = true)]
    async fn a_kind_that_is_captured_no_more_is_deleted_once_and_every_delete_is_in_the_account() {
        let log = MemoryLog::default();
        for name in [kit::TOPIC, "checkpoints"] {
            let spec = TopicSpec { name: name.into(), partitions: 1, replication: 1, config: Default::default() };
            log.create(&spec).await.expect("made");
        }
        for record in
            [kit::writer_marker(1), kit::put(1, "c", &kit::name(1), "u1", 5), kit::put(1, "c", &kit::name(2), "u2", 6)]
        {
            log.inject(record).expect("written");
        }
        let board = Arc::new(Board::default());
        let means = Means {
            board: board.clone(),
            metrics: Arc::default(),
            log: Arc::new(log.clone()),
            producer: ProducerSlot::new(Arc::new(log.clone())),
            cluster: kit::CLUSTER.into(),
            checkpoints: "checkpoints".into(),
            writer_epoch: 2,
        };
        let slot = means.producer.clone();
        let kind = Kind::builtin("pods").expect("built in");
        let leaving =
            Leaving { kind, topic: kit::TOPIC.into(), vouched: Vouched::everywhere(), owners: vec!["pods".into()] };
        // The second delete is refused at first, and its producer replaced, as the publisher does it.
        log.refuse_next("no", |record| record.value.is_some() && record.key.ends_with(b"pod-2"));
        let replaced = async {
            while board.degraded().is_empty() {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
            let account = board.lanes()["pods"].account;
            assert_eq!((account.inferred, account.published + account.in_flight()), (2, 2), "at any moment");
            slot.discard();
        };
        tokio::join!(say(means, leaving), replaced);
        let account = board.lanes()["pods"].account;
        assert_eq!((account.received, account.inferred, account.published, account.coalesced), (0, 2, 2, 0));
        let is_delete = |r: &InRecord| r.value.as_ref().is_some_and(|v| v.starts_with(b"{\"op\":\"d\""));
        assert_eq!(log.dump(kit::TOPIC).iter().filter(|r| is_delete(r)).count(), 2);
        assert_eq!(log.dump("checkpoints").len(), 1, "and its checkpoint is forgotten");
        assert!(board.degraded().is_empty());
    }
}
