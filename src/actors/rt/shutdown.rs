//! The ordered end: sources first. Each child drains, then stops, and is ended when its deadline has passed.

use std::time::Duration;

use actix::Recipient;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep_until, timeout};

use super::cell::Order;
use super::slot::Slot;
use super::spec::Line;
use crate::messages::life::{Drain, LifeState, Outcome};

/// A thread that is not blocked takes the order to end within microseconds.
const END_GRACE: Duration = Duration::from_millis(500);

/// All that is needed to end one child, so that nobody has to ask the supervisor meanwhile.
pub(super) struct Leaving {
    id: String,
    state: watch::Receiver<LifeState>,
    within: Duration,
    drain: Recipient<Drain>,
    line: Option<Line>,
    /// Lives begun so far, the one that is starting included.
    lives: u64,
}

impl Leaving {
    pub(super) fn of(slot: &Slot) -> Self {
        Self {
            id: slot.spec.id.to_string(),
            state: slot.state_changes(),
            within: slot.spec.shutdown,
            drain: slot.spec.drain.clone(),
            line: slot.line.clone(),
            lives: slot.incarnation,
        }
    }

    /// Drains and ends it. None when it had ended for good long before.
    pub(super) async fn leave(mut self, deadline: Instant) -> Option<(String, Outcome)> {
        let state = *self.state.borrow();
        let outcome = match state {
            LifeState::Ended => None,
            LifeState::Up => Some(self.drained(deadline).await),
            // It has never been up: it holds nothing.
            LifeState::Waiting if self.lives == 0 => Some(Outcome::Drained { left: 0 }),
            LifeState::Starting if self.lives <= 1 => Some(Outcome::Drained { left: 0 }),
            LifeState::Waiting | LifeState::Starting | LifeState::Stopping | LifeState::Down => Some(Outcome::WasDown),
        };
        if let Some(line) = &self.line {
            let (done, ended) = oneshot::channel();
            line.order(Order::Exit(done));
            // A dropped sender is a cell that is gone: ended as well.
            if timeout(END_GRACE, ended).await.is_err() {
                return Some((self.id, Outcome::Unresponsive));
            }
        }
        outcome.map(|outcome| (self.id, outcome))
    }

    async fn drained(&mut self, deadline: Instant) -> Outcome {
        let deadline = deadline.min(Instant::now() + self.within);
        let answer = self.drain.send(Drain { deadline });
        tokio::select! {
            biased;
            answer = answer => match answer {
                Ok(drained) => Outcome::Drained { left: drained.left },
                Err(_closed) => Outcome::Died,
            },
            _ = self.state.wait_for(|state| *state != LifeState::Up) => Outcome::Died,
            () = sleep_until(deadline) => Outcome::TimedOut,
        }
    }
}

/// Ends all of them, stage after stage; none is waited for beyond `deadline` and a short grace.
pub(super) async fn leave_in_order(stages: Vec<Vec<Leaving>>, deadline: Instant) -> Vec<(String, Outcome)> {
    let mut outcomes = Vec::new();
    for stage in stages {
        let left = futures_util::future::join_all(stage.into_iter().map(|child| child.leave(deadline))).await;
        outcomes.extend(left.into_iter().flatten());
    }
    outcomes
}
