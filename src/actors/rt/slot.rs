//! What the tree knows of one child, and of one group.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::ops::{Index, IndexMut};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Recipient;
use tokio::sync::watch;

use super::cell::{ChildEvent, Order, Reporter};
use super::spec::{ChildSpec, Line};
use crate::domain::restart::{Backoff, Failures, Progress, RestartWindow, Strategy};
use crate::messages::life::{LastExit, LifeState};

/// One child.
pub(super) struct Slot {
    pub(super) spec: ChildSpec,
    pub(super) branch: usize,
    /// There from the first start on.
    pub(super) line: Option<Line>,
    /// A watch, because the shutdown waits for it to change.
    pub(super) state: watch::Sender<LifeState>,
    pub(super) incarnation: u64,
    pub(super) restarts: u64,
    pub(super) failures: Failures,
    pub(super) last_exit: Option<LastExit>,
    pub(super) backoff: Option<Duration>,
    /// Not started before this.
    pub(super) back_at: Option<Instant>,
    /// Killed when it has not stopped by this.
    pub(super) stop_by: Option<Instant>,
    pub(super) progress: Progress,
    /// The hang of this life has been noted.
    pub(super) given_up: bool,
    /// It is being let go: a member no more, and not restarted whatever happens to it.
    pub(super) parting: bool,
}

impl Slot {
    pub(super) fn new(spec: ChildSpec, branch: usize, now: Instant) -> Self {
        Self {
            spec,
            branch,
            line: None,
            state: watch::Sender::new(LifeState::Waiting),
            incarnation: 0,
            restarts: 0,
            failures: Failures::default(),
            last_exit: None,
            backoff: None,
            back_at: None,
            stop_by: None,
            progress: Progress::new(now, 0),
            given_up: false,
            parting: false,
        }
    }

    pub(super) fn state(&self) -> LifeState {
        *self.state.borrow()
    }

    pub(super) fn state_changes(&self) -> watch::Receiver<LifeState> {
        self.state.subscribe()
    }

    pub(super) fn enter(&mut self, state: LifeState) {
        self.state.send_replace(state);
    }

    pub(super) fn order(&self, order: Order) {
        if let Some(line) = &self.line {
            line.order(order);
        }
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state(), LifeState::Starting | LifeState::Up | LifeState::Stopping)
    }

    pub(super) fn stop(&mut self, now: Instant) {
        self.enter(LifeState::Stopping);
        self.stop_by = Some(now + self.spec.shutdown);
        self.order(Order::Stop);
    }

    pub(super) fn start(&mut self, index: usize, events: &Recipient<ChildEvent>) {
        self.enter(LifeState::Starting);
        self.back_at = None;
        self.backoff = None;
        self.incarnation += 1;
        if let Some(launch) = self.spec.launch.take() {
            self.line = Some(Line::new(launch(Reporter::new(index, events.clone()))));
        }
        self.order(Order::Start);
    }
}

/// The children, by the number that their cells report with. No number is used twice: a cell that was let go may still have
/// a word under way.
#[derive(Default)]
pub(super) struct Slots {
    by_number: BTreeMap<usize, Slot>,
    next: usize,
}

impl Slots {
    pub(super) fn insert(&mut self, slot: Slot) -> usize {
        let number = self.next;
        self.next += 1;
        self.by_number.insert(number, slot);
        number
    }

    pub(super) fn remove(&mut self, number: usize) {
        self.by_number.remove(&number);
    }

    pub(super) fn get_mut(&mut self, number: usize) -> Option<&mut Slot> {
        self.by_number.get_mut(&number)
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = (usize, &Slot)> {
        self.by_number.iter().map(|(number, slot)| (*number, slot))
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = (usize, &mut Slot)> {
        self.by_number.iter_mut().map(|(number, slot)| (*number, slot))
    }
}

impl Index<usize> for Slots {
    type Output = Slot;

    fn index(&self, number: usize) -> &Slot {
        &self.by_number[&number]
    }
}

impl IndexMut<usize> for Slots {
    fn index_mut(&mut self, number: usize) -> &mut Slot {
        self.by_number.get_mut(&number).expect("members of a branch are there")
    }
}

/// One group.
pub(super) struct Branch {
    pub(super) id: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) window: RestartWindow,
    pub(super) failures: Failures,
    pub(super) backoff: Backoff,
    pub(super) stops_together: bool,
    /// In start order.
    pub(super) members: Vec<usize>,
    /// Ended one after the other before anything is started.
    pub(super) to_stop: VecDeque<usize>,
    pub(super) to_start: BTreeSet<usize>,
    /// Members start one after the other, each waiting for the one before: at boot and after a restart of the group.
    pub(super) in_order: bool,
}

impl Branch {
    /// Adds to what must stop; the last started goes first.
    pub(super) fn queue_stops(&mut self, more: impl IntoIterator<Item = usize>) {
        let all: BTreeSet<usize> = self.to_stop.iter().copied().chain(more).collect();
        self.to_stop = all.into_iter().rev().collect();
    }
}
