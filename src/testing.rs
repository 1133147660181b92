//! Faults on purpose, chosen at run time, so that one build serves the suites and every mutant. Behind feature `testing`,
//! which no release build has.

pub mod fuzz;

use crate::domain::ack::{AckSink, AckToken, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

/// A way to break the promise, which the chaos suite must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Records count as durable when the producer takes them.
    AckOnEnqueue = 1,
    /// Records of an old lane generation are still sent.
    NoGenerationFence = 2,
}

static ON: AtomicU32 = AtomicU32::new(0);

/// Turns one mutant on for the whole process, or all off.
pub fn set(mutant: Option<Mutant>) {
    ON.store(mutant.map_or(0, |m| m as u32), Ordering::SeqCst);
}

/// Whether it is on.
pub fn is_on(mutant: Mutant) -> bool {
    ON.load(Ordering::Relaxed) == mutant as u32
}

static LOG_HELD: AtomicBool = AtomicBool::new(false);

/// Makes every embedded log of the process stop before it writes, as a broker that is stopped does, until it is let go.
pub fn hold_embedded_log(hold: bool) {
    LOG_HELD.store(hold, Ordering::SeqCst);
}

/// Where the log's writer stands still.
pub fn wait_while_the_embedded_log_is_held() {
    while LOG_HELD.load(Ordering::SeqCst) {
        std::thread::park_timeout(Duration::from_millis(1));
    }
}

struct Nobody;

impl AckSink for Nobody {
    fn settle(&self, _: u64, _: u64, _: Outcome) {}

    fn is_current(&self, _: u64) -> bool {
        true
    }
}

/// With [`Mutant::AckOnEnqueue`] settles the token and gives one that reports to nobody.
pub fn ack_on_enqueue(token: AckToken) -> AckToken {
    if !is_on(Mutant::AckOnEnqueue) {
        return token;
    }
    token.settle(Outcome::Acked { partition: 0, offset: 0 });
    AckToken::new(Arc::new(Nobody), 0, 0)
}
