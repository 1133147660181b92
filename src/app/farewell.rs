//! The end of a kind that the settings name no more: the log still says that its objects are there, and nobody reports any
//! change of them. So their deletes are written once, `observed=descoped`, and then the kind's checkpoints go.
//!
//! It runs beside everything else and is in no hurry: a kill in the middle leaves the checkpoints, by which the next start
//! knows what is still to be done.

use super::Shared;
use super::bringup::Answer;
use crate::actors::publisher::ProducerSlot;
use crate::domain::ack::{AckToken, Outcome};
use crate::domain::checkpoint::{self, writer_marker};
use crate::domain::envelope::{Change, Observed, Op, Writer};
use crate::domain::kind::{Kind, Tracking};
use crate::domain::record::OutRecord;
use crate::domain::redact::{self, Identity};
use crate::log::{Log, Start};
use crate::observe::clock;
use crate::store::{Filter, Object, Store, StoreOptions};
use std::sync::Arc;
use std::time::Duration;

/// Records handed over at once: a fraction of the producer's queue, which belongs to the lanes.
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
    /// Whose checkpoints there still are.
    pub owners: Vec<String>,
}

/// What it takes.
#[derive(Clone)]
pub(super) struct Means {
    pub shared: Shared,
    pub log: Arc<dyn Log>,
    pub producer: Arc<ProducerSlot>,
    pub cluster: String,
    pub checkpoints: Arc<str>,
    pub writer_epoch: u64,
}

/// Tries until it is done.
pub(super) async fn say(means: Means, leaving: Leaving) {
    loop {
        match means.try_to_say(&leaving).await {
            Ok(deletes) => {
                means.shared.board.degrade(WHAT, None);
                tracing::info!(kind = %leaving.kind, deletes, "captured no more; what the log held of it is deleted there");
                return;
            }
            Err(why) => {
                if means.shared.board.degrade(WHAT, Some(why.clone())) {
                    tracing::warn!(kind = %leaving.kind, why, "its deletes are not written yet; retrying");
                }
                tokio::time::sleep(RETRY).await;
            }
        }
    }
}

impl Means {
    async fn try_to_say(&self, leaving: &Leaving) -> Result<usize, String> {
        let topics = self.log.describe(&[leaving.topic.to_string()]).await.map_err(|e| e.to_string())?;
        let mut deletes = 0;
        // Kubernetes Events only age.
        if let Some(topic) = topics.first().filter(|_| leaving.kind.tracking() == Tracking::Table) {
            deletes = self.delete_all(leaving, topic.partitions).await?;
        }
        let now = clock::wall_ms();
        let forget =
            |owner: &String| checkpoint::forget(&self.checkpoints, &self.cluster, owner, self.writer_epoch, now);
        self.write(leaving.owners.iter().map(forget).collect()).await?;
        Ok(deletes)
    }

    async fn delete_all(&self, leaving: &Leaving, partitions: i32) -> Result<usize, String> {
        let Leaving { kind, topic, .. } = leaving;
        let now = clock::wall_ms();
        // What an older process still has on its way is void behind these.
        self.write((0..partitions).map(|p| writer_marker(topic, p, self.writer_epoch, now)).collect()).await?;
        let store = self.fold(kind, topic, partitions).await?;
        let writer = Writer::new(kind.clone(), topic.clone(), partitions, &self.cluster, self.writer_epoch);
        let restored = store.restored(kind, |_| true);
        let owed = restored
            .owed
            .iter()
            .map(|(at, uid, rv)| writer.tombstone(&at.namespace, &at.name, uid, rv, restored.history_epoch, now));
        self.write(owed.collect()).await?;
        let (mut after, mut deletes) = (None, 0);
        loop {
            let page = store.list(kind, &Filter::default(), after.as_ref(), AT_ONCE);
            deletes += page.items.len();
            self.write(page.items.iter().flat_map(|object| end_of(&writer, kind, object)).collect()).await?;
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

    /// Writes and waits until all are acked. A failed producer is the publisher's to replace.
    async fn write(&self, records: Vec<OutRecord>) -> Result<(), String> {
        let producer = self.producer.get(&self.shared.metrics).map_err(|e| e.to_string())?;
        let mut answers = Vec::with_capacity(records.len());
        for record in records {
            let mut next = Some(record);
            while let Some(record) = next.take() {
                let (answer, told) = Answer::new();
                match producer.send(record, AckToken::new(answer, 0, 0)) {
                    Ok(()) => answers.push(told),
                    Err((crate::log::SendError::QueueFull, record, _)) => {
                        next = Some(record);
                        tokio::time::sleep(QUEUE_RETRY).await;
                    }
                    Err((error, record, _)) => return Err(format!("{} takes no records: {error:?}", record.topic)),
                }
            }
        }
        for told in answers {
            match told.await {
                Ok(Outcome::Acked { .. }) => {}
                other => return Err(format!("a record was not written: {other:?}")),
            }
        }
        Ok(())
    }
}

fn end_of(writer: &Writer, kind: &Kind, object: &Object) -> [OutRecord; 2] {
    let (at, uid, rv, now) = (object.at(), object.uid(), object.rv(), clock::wall_ms());
    let identity = Identity { namespace: &at.namespace, name: &at.name, uid, rv };
    let change = Change {
        op: Op::Delete,
        observed: Observed::Descoped,
        snapshot: false,
        list_rv: None,
        inference: None,
        history_epoch: object.history_epoch(),
        before: None,
        object: redact::last_known(kind, &identity, Some(object.json())),
    };
    let tombstone = writer.tombstone(&at.namespace, &at.name, uid, rv, object.history_epoch(), now);
    [writer.record(&change, now), tombstone]
}
