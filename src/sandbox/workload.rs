//! The life of the sandbox cluster: its controllers, a scenario that is played once, and a workload that never stops.
//!
//! All of it is one state machine, [`Life::step`]: it is given the time and says when it wants to be called next. The
//! workload has larger happenings (a rollout, a node that goes away) at intervals that leave room for what follows from
//! them, and fills up with small ones as far as the rate allows. What breaks something also brings its cure; a look once a
//! minute mends what was forgotten, as after a restart. So the cluster looks the same after a day.

use super::controllers::{Controllers, Pace};
use super::scenario::Scenario;
use super::{State, Status};
use acts::{Act, Target};
use catalogue::APPS;
use jiff::{SignedDuration, Timestamp};
use rate::Rate;
use std::collections::BTreeMap;

pub(super) mod acts;
mod catalogue;
mod choice;
mod furnish;
mod rate;

/// How the cluster is to live.
#[derive(Debug, Clone)]
pub struct LifeOptions {
    /// Whether something happens by itself; else only what users create comes up.
    pub lifelike: bool,
    /// Object changes a second that the workload aims at, 1 to 5,000.
    pub rate: u32,
    /// The same seed makes the same choices.
    pub seed: u64,
    /// Played once, from the start on.
    pub scenario: Option<Scenario>,
}

impl Default for LifeOptions {
    /// Controllers only.
    fn default() -> Self {
        Self { lifelike: false, rate: 5, seed: 1, scenario: None }
    }
}

/// The opening of a fresh cluster goes at this share of the usual delays: a newcomer is waiting.
const HASTE: f64 = 0.25;
/// How long that lasts.
const HURRIED: SignedDuration = SignedDuration::from_secs(6);
/// Changes that follow from one of the larger happenings, measured: pods, their owners, Events.
const CHANGES_EACH: f64 = 30.0;
/// Part of the rate that the larger happenings may take.
const LARGE_PART: f64 = 0.6;
/// No more of them than two a second: above, the rest of the rate is small changes, and nothing piles up.
const LARGE_MOST: f64 = 2.0;
/// From this rate on there is a namespace for cheap changes.
const LOADED: u32 = 50;
/// Small changes in one step, and how long they may take: others share the runtime.
const SMALL_AT_ONCE: usize = 250;
const SMALL_FOR: SignedDuration = SignedDuration::from_millis(20);
/// How often the cluster is looked over.
const LOOKED_OVER: SignedDuration = SignedDuration::from_secs(60);

/// A living cluster over a state.
pub struct Life {
    state: State,
    controllers: Controllers,
    scenario: Option<(Timestamp, Scenario, usize)>,
    workload: Option<Workload>,
    usual_from: Option<Timestamp>,
}

struct Workload {
    seed: u64,
    rate: Rate,
    loaded: bool,
    began: Timestamp,
    opened: usize,
    large: u64,
    small: u64,
    cheap: u64,
    next_large: Timestamp,
    next_look: Timestamp,
    /// What was begun and is to follow.
    agenda: BTreeMap<(Timestamp, u64), Act>,
    entered: u64,
}

impl Life {
    /// Builds the cluster, or finds it there, and begins.
    pub fn new(state: State, options: LifeOptions) -> Result<Self, Status> {
        let began = state.origin().now();
        let controllers = Controllers::new(state.clone(), Pace { delays: 1.0, seed: options.seed })?;
        let mut life = Self {
            controllers,
            scenario: options.scenario.map(|s| (began, s, 0)),
            workload: None,
            usual_from: None,
            state,
        };
        furnish::nodes(&life.state, if options.lifelike { usize::MAX } else { 3 });
        if options.lifelike {
            let fresh = life.state.get("namespaces", "", catalogue::NAMESPACES[0].0).is_err();
            let made = furnish::cluster(&life.state);
            tracing::info!(made, "the sandbox's workload stands");
            if fresh {
                life.controllers.set_delays(HASTE);
                life.usual_from = Some(began + HURRIED);
            }
            if options.rate >= LOADED {
                furnish::load(&life.state);
            }
            let revision = life.state.revision();
            // A second run chooses anew; two first runs choose alike.
            let from = if fresh { 0 } else { revision };
            life.workload = Some(Workload {
                seed: options.seed,
                rate: Rate::new(options.rate, began, revision),
                loaded: options.rate >= LOADED,
                began,
                opened: 0,
                large: from,
                small: from,
                cheap: from,
                next_large: began + SignedDuration::from_secs(30),
                next_look: began + SignedDuration::from_secs(2),
                agenda: BTreeMap::new(),
                entered: 0,
            });
        }
        Ok(life)
    }

    /// Lives without end, on the clock of the state.
    pub async fn run(mut self) {
        loop {
            let now = self.state.origin().now();
            let next = self.step(now);
            // At least a millisecond, so that others get their turn whatever is due.
            let wait = next.duration_since(now).max(SignedDuration::from_millis(1)).unsigned_abs();
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = self.controllers.changed() => {}
            }
        }
    }

    /// Does what is due. Gives the time of the next step, unless something changes before.
    pub fn step(&mut self, now: Timestamp) -> Timestamp {
        if self.usual_from.is_some_and(|at| now >= at) {
            self.controllers.set_delays(1.0);
            self.usual_from = None;
        }
        let mut next = now + SignedDuration::from_secs(60);
        if let Some(at) = self.play_scenario(now) {
            next = next.min(at);
        }
        if let Some(workload) = &mut self.workload {
            next = next.min(workload.step(&self.state, &mut self.controllers, now));
        }
        if let Some(at) = self.controllers.step(now) {
            next = next.min(at);
        }
        next
    }

    fn play_scenario(&mut self, now: Timestamp) -> Option<Timestamp> {
        let (began, scenario, place) = self.scenario.as_mut()?;
        while let Some(step) = scenario.steps().get(*place) {
            let at = *began + SignedDuration::try_from(step.at).unwrap_or(SignedDuration::MAX);
            if at > now {
                return Some(at);
            }
            *place += 1;
            match step.act.play(&self.state, &mut self.controllers, now) {
                Ok(()) => tracing::info!(line = step.line, "the sandbox's scenario: a step"),
                Err(why) => tracing::warn!(line = step.line, why, "the sandbox's scenario: a step could not be done"),
            }
        }
        self.scenario = None;
        None
    }
}

impl Workload {
    fn step(&mut self, state: &State, controllers: &mut Controllers, now: Timestamp) -> Timestamp {
        while let Some(entry) = self.agenda.first_entry().filter(|e| e.key().0 <= now) {
            let act = entry.remove();
            self.play(&act, state, controllers, now);
        }
        self.open(now);
        self.rate.allowed(now, state.revision());
        if now >= self.next_large && self.rate.is_overdrawn() {
            self.next_large = self.rate.next();
        } else if now >= self.next_large {
            let choice = choice::large(self.seed, self.large);
            self.large += 1;
            self.enter(choice, now);
            let pace = (self.rate.per_second() * LARGE_PART / CHANGES_EACH).min(LARGE_MOST);
            self.next_large = now + SignedDuration::from_secs_f64(1.0 / pace);
        }
        if now >= self.next_look {
            self.next_look = now + LOOKED_OVER;
            self.look_over(state, now);
        }
        let more = self.fill(state, controllers, now);
        let mut next = self.next_large.min(self.next_look);
        next = next.min(if more { now } else { self.rate.next() });
        if let Some((place, _)) = choice::OPENING.get(self.opened) {
            next = next.min(self.began + milliseconds(*place));
        }
        self.agenda.first_key_value().map_or(next, |((at, _), _)| next.min(*at))
    }

    fn open(&mut self, now: Timestamp) {
        while let Some((ms, _)) = choice::OPENING.get(self.opened) {
            if self.began + milliseconds(*ms) > now {
                return;
            }
            // Where the drawn one is busy already, another one: everything is to be seen once.
            let mut again = 0..8;
            while again.next().is_some_and(|n| !self.enter(choice::opening(self.seed, self.opened, n), now)) {}
            self.opened += 1;
        }
    }

    fn enter(&mut self, choice: choice::Choice, now: Timestamp) -> bool {
        // Two illnesses of one patient would take each other's cure.
        let busy = |act: &Act| ailing(act).is_some_and(|t| self.agenda.values().any(|a| ailing(a) == Some(t)));
        if choice.acts.iter().any(|(_, act)| busy(act)) {
            return false;
        }
        tracing::debug!(what = ?choice.what, "the sandbox's workload");
        for (after, act) in choice.acts {
            let at = now + SignedDuration::try_from(after).unwrap_or(SignedDuration::ZERO);
            self.entered += 1;
            self.agenda.insert((at, self.entered), act);
        }
        true
    }

    fn play(&self, act: &Act, state: &State, controllers: &mut Controllers, now: Timestamp) {
        if let Err(why) = act.play(state, controllers, now) {
            // A user may have taken it away.
            tracing::debug!(why, ?act, "the sandbox's workload left something out");
        }
    }

    /// Small changes as far as the rate allows; `true` where there is room for more.
    fn fill(&mut self, state: &State, controllers: &mut Controllers, now: Timestamp) -> bool {
        let allowed = self.rate.allowed(now, state.revision());
        // One in ten of a high rate is one of the small happenings, 5 a second at most; the rest costs next to nothing.
        let mut left = allowed;
        for n in 0..SMALL_AT_ONCE {
            if left < 1.0 {
                return false;
            }
            if state.origin().now().duration_since(now) > SMALL_FOR {
                return true;
            }
            left -= 1.0;
            let act = if self.loaded && n > 0 {
                self.cheap += 1;
                choice::cheap(self.seed, self.cheap)
            } else {
                self.small += 1;
                let Some((_, act)) = choice::small(self.seed, self.small).acts.into_iter().next() else { continue };
                act
            };
            self.play(&act, state, controllers, now);
        }
        true
    }

    /// Mends what nobody is about to mend, and puts back what is missing.
    fn look_over(&mut self, state: &State, now: Timestamp) {
        furnish::nodes(state, usize::MAX);
        furnish::cluster(state);
        if self.loaded {
            furnish::load(state);
        }
        for app in APPS {
            let target = Target::new(app.namespace, app.name);
            let cured = self.agenda.values().any(|act| ailing(act) == Some(&target));
            if !cured && acts::is_sick(state, &target) {
                self.entered += 1;
                let cure = Act::Mend { target };
                self.agenda.insert((now + SignedDuration::from_secs(8), self.entered), cure);
            }
        }
    }
}

/// Whose illness or cure that is.
fn ailing(act: &Act) -> Option<&Target> {
    match act {
        Act::Rollout { target, .. } | Act::Rollback { target } | Act::Mend { target } => Some(target),
        _ => None,
    }
}

fn milliseconds(ms: u64) -> SignedDuration {
    SignedDuration::from_millis(i64::try_from(ms).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
