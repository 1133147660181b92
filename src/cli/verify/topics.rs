//! What the log says where no process answers for it: the topics themselves, folded here.

use super::super::connect;
use super::super::failure::{Failure, UNAVAILABLE};
use crate::domain::audit::{Side, Version};
use crate::domain::fold::{Scope, Step, judge};
use crate::domain::index::Name;
use crate::domain::kind::Tracking;
use crate::domain::rv::Rv;
use crate::domain::target::Target;
use crate::log::{Log, LogError, Reader, Start};
use crate::settings::{Loaded, LogEngine};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

/// Silence of a log that is read to its end.
const SILENCE: Duration = Duration::from_secs(30);

/// The log of these settings. What is not there is not made.
pub(super) fn open(loaded: &Loaded) -> Result<Arc<dyn Log>, Failure> {
    let settings = &loaded.settings;
    if settings.log.engine != LogEngine::Embedded {
        return connect::open_log(loaded);
    }
    let kinds = settings.watch.named().into_iter().filter(|kind| kind.tracking() == Tracking::Table);
    let topics: Vec<String> = kinds.map(|kind| format!("{}{}", settings.topics.prefix, kind.topic())).collect();
    let away = |why: String| {
        let topics = topics.join(", ");
        Failure::with(UNAVAILABLE, format!("no process answers, and of the topics {topics} nothing can be read: {why}"))
    };
    let dir = settings.embedded_dir();
    if !dir.exists() {
        return Err(away(format!("there is no log in {}; `agent-events run` makes it", dir.display())));
    }
    connect::open_log(loaded).map_err(|failure| away(failure.message))
}

/// A log that cannot be asked, or lacks the topic: nothing was compared, which is no difference.
fn unread(topic: &str, error: LogError) -> Failure {
    match error {
        LogError::Setting { .. } => error.into(),
        error => Failure::with(UNAVAILABLE, format!("topic {topic} cannot be compared: {error}")),
    }
}

/// Folds the kind's topic up to what stands there now.
pub(super) async fn side(log: &dyn Log, topic: &str, cluster: &str, target: &Target) -> Result<Side, Failure> {
    let ends = log.offsets(topic).await.map_err(|error| unread(topic, error))?;
    let left = |(first, end): &(i64, i64)| first < end;
    let partitions = ends.iter().enumerate().filter(|(_, range)| left(range));
    let mut open: BTreeMap<i32, i64> = partitions.map(|(p, (_, end))| (i32::try_from(p).unwrap_or(0), *end)).collect();
    let topic: Arc<str> = topic.into();
    let from = open.keys().map(|p| (topic.clone(), *p, Start::Beginning)).collect();
    let (mut side, mut epochs) = (Side::new(), BTreeMap::<i32, u64>::new());
    let kind_id = target.kind.id();
    let scope = Scope { cluster, kind_id: &kind_id };
    let Reader { mut batches, guard } = log.read(from).map_err(|error| unread(&topic, error))?;
    while !open.is_empty() {
        let Ok(Some(batch)) = timeout(SILENCE, batches.recv()).await else {
            return Err(Failure::with(UNAVAILABLE, format!("{topic}: the log does not give all of its records")));
        };
        for record in batch.records {
            let epoch = epochs.entry(record.partition).or_default();
            let judged = judge(scope, *epoch, &record);
            *epoch = judged.epoch;
            if let Some(key) = judged.at {
                let at = Name { namespace: key.namespace.unwrap_or_default().into(), name: key.name.into() };
                match judged.step {
                    Step::Live(envelope) if target.covers(&at) => {
                        let source = &envelope.source;
                        let (uid, rv) = (source.uid.as_str().into(), Rv::new(&source.rv));
                        side.insert(at, Version { uid, rv, stub: source.stub.is_some() });
                    }
                    Step::Deleted(..) | Step::Tombstone { .. } => drop(side.remove(&at)),
                    _ => {}
                }
            }
            if open.get(&record.partition).is_some_and(|end| record.offset + 1 >= *end) {
                open.remove(&record.partition);
            }
        }
    }
    drop(guard);
    Ok(side)
}
