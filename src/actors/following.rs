//! Which partitions the fold and the stream processor read. It outlives both, and grows when a kind appears at run time.

use crate::domain::kind::Kind;
use crate::log::Start;
use actix::prelude::Message;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::watch;

/// A topic's partition, and where to begin when no position is known for it.
pub type From = (Arc<str>, i32, Start);

/// Partitions whose fold is complete together, once our own writer marker has been read in each.
#[derive(Debug)]
pub struct Cohort {
    /// Its partitions.
    pub partitions: Vec<From>,
    /// The kinds that they hold.
    pub kinds: Vec<Kind>,
    /// What was there when the process started: readiness waits for it.
    pub is_first: bool,
    /// Set once it is complete: its watchers begin then.
    pub folded: watch::Sender<bool>,
}

impl Cohort {
    /// Every partition of these topics.
    pub fn new(is_first: bool, kinds: Vec<Kind>, partitions: Vec<From>) -> Arc<Self> {
        Arc::new(Self { partitions, kinds, is_first, folded: watch::Sender::new(false) })
    }

    /// Tells when it is complete.
    pub fn subscribe(&self) -> watch::Receiver<bool> {
        self.folded.subscribe()
    }
}

/// All cohorts.
#[derive(Debug, Default)]
pub struct Following {
    cohorts: Mutex<Vec<Arc<Cohort>>>,
}

impl Following {
    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Cohort>>> {
        self.cohorts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds one. Whoever reads is told with [`Follow`].
    pub fn add(&self, cohort: Arc<Cohort>) {
        self.lock().push(cohort);
    }

    /// Everything to read.
    pub fn partitions(&self) -> Vec<From> {
        self.lock().iter().flat_map(|cohort| cohort.partitions.clone()).collect()
    }

    /// Tells when the fold of a kind is complete. Of one that is not followed it never is.
    pub fn is_folded(&self, kind: &Kind) -> watch::Receiver<bool> {
        let cohorts = self.lock();
        let of_kind = cohorts.iter().find(|cohort| cohort.kinds.contains(kind));
        of_kind.map_or_else(|| watch::Sender::new(false).subscribe(), |cohort| cohort.subscribe())
    }

    /// Those whose fold is not complete.
    pub fn unfolded(&self) -> Vec<Arc<Cohort>> {
        self.lock().iter().filter(|cohort| !*cohort.folded.borrow()).cloned().collect()
    }
}

/// There are more partitions to read than before.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Follow;
