//! The state of the supervision tree and how it moves: who is where in its life, who must stop and start next.
//!
//! The rules (window, backoff, plan, hang) are in `domain::restart`; this carries them out. It sends orders to cells,
//! but reads no clock: every step is given `now`, and says with [`Tree::next_wake`] when it wants the next one.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use actix::Recipient;

use super::cell::{ChildEvent, Order, What};
use super::panic::PanicReport;
use super::slot::{Branch, Slot, Slots};
use super::spec::{ChildSpec, Group};
use crate::domain::restart::{Failures, Intensity, Progress, RestartWindow, Strategy, plan};
use crate::messages::life::{
    ChildStatus, ControlError, Escalation, ExitReason, KillHow, LastExit, LifeFact, LifeState,
};

pub(super) struct Tree {
    slots: Slots,
    branches: Vec<Branch>,
    /// Of restarts of whole groups.
    window: RestartWindow,
    /// The group that is being started for the first time.
    booting: usize,
    /// Nothing is restarted any more: shutdown, or given up.
    closing: bool,
    facts: Vec<LifeFact>,
    jitter: Box<dyn FnMut() -> f64>,
    wall_clock_ms: fn() -> u64,
}

impl Tree {
    pub(super) fn new(groups: Vec<Group>, now: Instant, wall_clock_ms: fn() -> u64) -> Self {
        let mut slots = Slots::default();
        let mut branches = Vec::new();
        for (branch, group) in groups.into_iter().enumerate() {
            let children = group.children.into_iter();
            let members: Vec<usize> = children.map(|spec| slots.insert(Slot::new(spec, branch, now))).collect();
            branches.push(Branch {
                id: group.id,
                strategy: group.strategy,
                window: RestartWindow::new(group.intensity),
                failures: Failures::default(),
                backoff: group.backoff,
                stops_together: group.stops_together,
                to_stop: VecDeque::new(),
                to_start: members.iter().copied().collect(),
                members,
                in_order: true,
            });
        }
        Self {
            slots,
            branches,
            window: RestartWindow::new(super::supervisor::DEFAULT_TREE_INTENSITY),
            booting: 0,
            closing: false,
            facts: Vec::new(),
            jitter: Box::new(rand::random::<f64>),
            wall_clock_ms,
        }
    }

    pub(super) fn set_intensity(&mut self, intensity: Intensity) {
        self.window = RestartWindow::new(intensity);
    }

    pub(super) fn set_jitter(&mut self, jitter: Box<dyn FnMut() -> f64>) {
        self.jitter = jitter;
    }

    /// An id that two children share.
    pub(super) fn duplicate(&self) -> Option<Arc<str>> {
        let mut seen = BTreeSet::new();
        self.slots.iter().map(|(_, slot)| &slot.spec.id).find(|id| !seen.insert(*id)).cloned()
    }

    /// Every child was up once.
    pub(super) fn is_booted(&self) -> bool {
        self.booting == self.branches.len()
    }

    pub(super) fn take_facts(&mut self) -> Vec<LifeFact> {
        std::mem::take(&mut self.facts)
    }

    pub(super) fn slot(&self, index: usize) -> &Slot {
        &self.slots[index]
    }

    /// The earliest time after `now` at which [`Tree::advance`] has something to do without being told anything. What
    /// was due by `now` and is not done yet waits for somebody else's event, so a timer would only spin.
    pub(super) fn next_wake(&self, now: Instant) -> Option<Instant> {
        if self.closing {
            return None;
        }
        let starts = self.slots.iter().filter_map(|(_, slot)| slot.back_at).filter(|at| *at > now);
        let kills = self.slots.iter().filter_map(|(_, slot)| slot.stop_by);
        starts.chain(kills).min()
    }

    /// Does what is due at `now`: kills who is overdue, stops and starts who is next.
    pub(super) fn advance(&mut self, now: Instant, events: &Recipient<ChildEvent>) {
        if self.closing {
            return;
        }
        for (_, slot) in self.slots.iter_mut() {
            if slot.stop_by.is_some_and(|by| by <= now) {
                slot.stop_by = None;
                slot.order(Order::Kill(slot.incarnation, ExitReason::Overdue));
            }
        }
        for index in 0..self.branches.len() {
            // Groups boot in order, too: sinks before sources.
            if index > self.booting {
                break;
            }
            self.advance_branch(index, now, events);
            let branch = &mut self.branches[index];
            if branch.to_start.is_empty() {
                if std::mem::take(&mut branch.in_order) {
                    branch.failures.came_up(now);
                }
                if index == self.booting {
                    self.booting += 1;
                }
            }
        }
    }

    fn advance_branch(&mut self, index: usize, now: Instant, events: &Recipient<ChildEvent>) {
        let branch = &mut self.branches[index];
        while let Some(next) = branch.to_stop.front().copied() {
            let slot = &mut self.slots[next];
            match slot.state() {
                LifeState::Up | LifeState::Starting => return slot.stop(now),
                LifeState::Stopping => return,
                LifeState::Waiting | LifeState::Down | LifeState::Ended => branch.to_stop.pop_front(),
            };
        }
        let one_by_one = branch.in_order || branch.strategy == Strategy::RestForOne;
        for next in branch.to_start.clone() {
            let slot = &mut self.slots[next];
            match slot.state() {
                LifeState::Up | LifeState::Ended => {
                    branch.to_start.remove(&next);
                    continue;
                }
                LifeState::Waiting | LifeState::Down if slot.back_at.is_none_or(|at| at <= now) => {
                    slot.start(next, events);
                }
                LifeState::Waiting | LifeState::Down | LifeState::Starting | LifeState::Stopping => {}
            }
            if one_by_one {
                break;
            }
        }
    }

    /// A cell reported.
    pub(super) fn heard(&mut self, event: ChildEvent, now: Instant) {
        let Some(slot) = self.slots.get_mut(event.slot) else { return };
        match event.what {
            What::Up if event.incarnation == slot.incarnation => {
                if slot.state() == LifeState::Starting && !self.closing {
                    slot.enter(LifeState::Up);
                }
                slot.failures.came_up(now);
                slot.progress = Progress::new(now, slot.spec.vitals.handled());
                slot.given_up = false;
                let id = slot.spec.id.to_string();
                self.facts.push(LifeFact::Up { id, incarnation: event.incarnation });
            }
            What::Up => {}
            What::Down(reason, report) => self.went_down(event.slot, event.incarnation, reason, report, now),
        }
    }

    fn went_down(
        &mut self,
        index: usize,
        incarnation: u64,
        reason: ExitReason,
        report: Option<PanicReport>,
        now: Instant,
    ) {
        let slot = &mut self.slots[index];
        let asked = slot.state() == LifeState::Stopping;
        let reason = if asked && reason == ExitReason::Stopped { ExitReason::Asked } else { reason };
        let (message, location) = report.map_or((None, None), |report| (Some(report.message), report.location));
        let exit = LastExit { reason, message, location, at_ms: (self.wall_clock_ms)() };
        slot.last_exit = Some(exit.clone());
        slot.stop_by = None;
        slot.backoff = None;
        slot.enter(LifeState::Down);

        let cannot_come_back = self.closing || slot.parting || reason == ExitReason::ArbiterDead;
        let back_in = if !cannot_come_back && asked {
            Some(Duration::ZERO)
        } else if !cannot_come_back && slot.spec.restart.restarts(reason == ExitReason::Stopped) {
            Some(self.plan_restart(index, now))
        } else {
            slot.enter(LifeState::Ended);
            None
        };
        let id = self.slots[index].spec.id.to_string();
        self.facts.push(LifeFact::Down { id, incarnation, exit, back_in_ms: back_in.map(millis) });
        if self.closing {
            return;
        }
        if reason == ExitReason::ArbiterDead {
            let arbiter = self.slots[index].spec.arbiter.clone();
            return self.escalate(index, format!("its thread {arbiter} is gone"));
        }
        if back_in.is_some() && !asked {
            let branch = &mut self.branches[self.slots[index].branch];
            if !branch.window.bears(now) {
                self.restart_group(index, now);
            }
        }
    }

    /// Notes what the failure of `index` asks for; returns how long it waits itself.
    fn plan_restart(&mut self, index: usize, now: Instant) -> Duration {
        let jitter = (self.jitter)();
        let slot = &mut self.slots[index];
        let backoff = slot.spec.backoff;
        let wait = slot.failures.failed(now, &backoff, jitter);
        slot.backoff = Some(wait);
        slot.back_at = Some(now + wait);
        slot.restarts += 1;
        self.queue(index, false);
        wait
    }

    /// Queues the stops and starts that the end of `index` asks for; its own stop too where it still runs.
    fn queue(&mut self, index: usize, itself_runs: bool) {
        let slots = &self.slots;
        let branch = &mut self.branches[slots[index].branch];
        let members = branch.members.clone();
        let Some(failed) = members.iter().position(|member| *member == index) else { return };
        let lives = |member: usize| slots[members[member]].state() != LifeState::Ended;
        let plan = plan(branch.strategy, failed, members.len(), lives);
        let stops = plan.stop.into_iter().map(|member| members[member]).filter(|other| slots[*other].is_running());
        branch.queue_stops(stops.chain(itself_runs.then_some(index)));
        branch.to_start.extend(plan.start.into_iter().map(|member| members[member]));
    }

    /// The group failed too often: all of it is restarted in order, and the tree counts that.
    fn restart_group(&mut self, culprit: usize, now: Instant) {
        let index = self.slots[culprit].branch;
        let limit = self.branches[index].window.intensity();
        if !self.window.bears(now) {
            let tree = self.window.intensity();
            let group = &self.branches[index].id;
            let why = format!(
                "more than {} restarts in {:?} in group {group}, and more than {} restarts of groups in {:?}",
                limit.restarts, limit.within, tree.restarts, tree.within
            );
            return self.escalate(culprit, why);
        }
        let jitter = (self.jitter)();
        let branch = &mut self.branches[index];
        let wait = branch.failures.failed(now, &branch.backoff, jitter);
        branch.window.clear();
        branch.in_order = true;
        let members = branch.members.clone();
        let slots = &self.slots;
        branch.to_stop = members.iter().rev().copied().filter(|member| slots[*member].is_running()).collect();
        let live = members.iter().copied().filter(|member| slots[*member].state() != LifeState::Ended);
        branch.to_start = live.collect();
        for member in members {
            let at = self.slots[member].back_at.map_or(now + wait, |at| at.max(now + wait));
            self.slots[member].back_at = Some(at);
        }
        let group = self.branches[index].id.to_string();
        self.facts.push(LifeFact::GroupRestarted { group, back_in_ms: millis(wait) });
    }

    fn escalate(&mut self, culprit: usize, why: String) {
        let id = self.slots[culprit].spec.id.to_string();
        self.close();
        self.facts.push(LifeFact::Escalated(Escalation { id, why }));
    }

    /// From now on nothing is restarted.
    pub(super) fn close(&mut self) {
        self.closing = true;
        for branch in &mut self.branches {
            branch.to_stop.clear();
            branch.to_start.clear();
        }
    }

    /// The shutdown is through: cells leave without a word.
    pub(super) fn all_ended(&mut self) {
        self.slots.iter_mut().for_each(|(_, slot)| slot.enter(LifeState::Ended));
    }

    /// Looks for hangs; returns the children to ping, with the life that is meant.
    pub(super) fn probe(&mut self, now: Instant) -> Vec<(usize, u64)> {
        let mut to_ping = Vec::new();
        if self.closing {
            return to_ping;
        }
        for (index, slot) in self.slots.iter_mut() {
            let Some(limit) = slot.spec.hang_limit else { continue };
            if slot.state() != LifeState::Up {
                continue;
            }
            slot.progress.counter_seen(now, slot.spec.vitals.handled());
            if slot.progress.is_hung(now, limit) {
                if !slot.given_up {
                    slot.given_up = true;
                    // Said here and not only when it is down: a blocked thread never takes the kill.
                    let (actor, handling) = (&*slot.spec.id, slot.spec.vitals.handling());
                    tracing::warn!(actor, incarnation = slot.incarnation, ?limit, handling, "the actor is hung");
                    slot.order(Order::Kill(slot.incarnation, ExitReason::Hung));
                }
            } else if slot.progress.wants_ping() {
                slot.progress.pinged(now);
                to_ping.push((index, slot.incarnation));
            }
        }
        to_ping
    }

    /// A ping came back from that life.
    pub(super) fn answered(&mut self, index: usize, incarnation: u64) {
        if let Some(slot) = self.slots.get_mut(index).filter(|slot| slot.incarnation == incarnation) {
            slot.progress.answered();
        }
    }

    /// See [`crate::messages::life::RestartChild`].
    pub(super) fn restart(&mut self, id: &str, now: Instant) -> Result<(), ControlError> {
        let index = self.find(id)?;
        if self.closing {
            return Err(ControlError::Closing);
        }
        let slot = &mut self.slots[index];
        slot.back_at = None;
        slot.backoff = None;
        let runs = slot.is_running();
        match slot.state() {
            // Its first start is still to come.
            LifeState::Waiting => return Ok(()),
            LifeState::Ended => slot.enter(LifeState::Down),
            LifeState::Down | LifeState::Starting | LifeState::Up | LifeState::Stopping => {}
        }
        if self.branches[slot.branch].strategy == Strategy::OneForOne {
            // Not queued: neighbours in their backoff must not wait for this stop.
            if matches!(slot.state(), LifeState::Starting | LifeState::Up) {
                slot.stop(now);
            }
            self.queue(index, false);
        } else {
            self.queue(index, runs);
        }
        Ok(())
    }

    /// See [`crate::messages::life::Kill`].
    pub(super) fn provoke(&self, id: &str, how: KillHow) -> Result<(), ControlError> {
        let slot = &self.slots[self.find(id)?];
        match slot.state() {
            LifeState::Up => {
                slot.order(Order::Chaos(how));
                Ok(())
            }
            state => Err(ControlError::NotRunning { id: id.to_owned(), state }),
        }
    }

    fn find(&self, id: &str) -> Result<usize, ControlError> {
        let members = || self.slots.iter().filter(|(_, slot)| !slot.parting);
        members().find(|(_, slot)| &*slot.spec.id == id).map(|(number, _)| number).ok_or_else(|| {
            let known = members().map(|(_, slot)| slot.spec.id.to_string()).collect();
            ControlError::Unknown { id: id.to_owned(), known }
        })
    }

    /// A new last member of a group. It is started once the group has booted and no restart of it is under way.
    pub(super) fn add(&mut self, group: &str, spec: ChildSpec, now: Instant) -> Result<(), ControlError> {
        if self.closing {
            return Err(ControlError::Closing);
        }
        if self.slots.iter().any(|(_, slot)| slot.spec.id == spec.id) {
            return Err(ControlError::Duplicate(spec.id.to_string()));
        }
        let Some(branch) = self.branches.iter().position(|branch| &*branch.id == group) else {
            return Err(ControlError::UnknownGroup(group.to_owned()));
        };
        let number = self.slots.insert(Slot::new(spec, branch, now));
        let branch = &mut self.branches[branch];
        branch.members.push(number);
        branch.to_start.insert(number);
        Ok(())
    }

    /// Takes a member out of its group: from here on it is not restarted and counts nowhere. Its cell is ended by the
    /// caller, who then says [`Tree::forget`].
    pub(super) fn part(&mut self, id: &str) -> Result<usize, ControlError> {
        if self.closing {
            return Err(ControlError::Closing);
        }
        let number = self.find(id)?;
        let slot = &mut self.slots[number];
        let branch = &mut self.branches[slot.branch];
        if branch.strategy != Strategy::OneForOne {
            return Err(ControlError::Bound { id: id.to_owned(), group: branch.id.to_string() });
        }
        slot.parting = true;
        slot.back_at = None;
        slot.stop_by = None;
        branch.members.retain(|member| *member != number);
        branch.to_stop.retain(|member| *member != number);
        branch.to_start.remove(&number);
        Ok(number)
    }

    /// The cell of a child that was taken out has ended.
    pub(super) fn forget(&mut self, number: usize) {
        self.slots.remove(number);
    }

    pub(super) fn statuses(&self) -> Vec<ChildStatus> {
        let status = |slot: &Slot| ChildStatus {
            id: slot.spec.id.to_string(),
            group: self.branches[slot.branch].id.to_string(),
            state: slot.state(),
            incarnation: slot.incarnation,
            restarts: slot.restarts,
            last_exit: slot.last_exit.clone(),
            backoff_ms: slot.backoff.map(millis),
            handled: slot.spec.vitals.handled(),
            handling: slot.spec.vitals.handling(),
            arbiter: slot.spec.arbiter.to_string(),
        };
        let members = self.branches.iter().flat_map(|branch| &branch.members);
        members.map(|member| status(&self.slots[*member])).collect()
    }

    /// Who leaves at a shutdown, in that order; who stands together leaves at the same time.
    pub(super) fn leaving(&self) -> Vec<Vec<usize>> {
        let parting: Vec<usize> =
            self.slots.iter().filter(|(_, slot)| slot.parting).map(|(number, _)| number).collect();
        let mut stages = vec![parting];
        for branch in self.branches.iter().rev() {
            let members = branch.members.iter().rev().copied();
            if branch.stops_together {
                stages.push(members.collect());
            } else {
                stages.extend(members.map(|member| vec![member]));
            }
        }
        stages
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
