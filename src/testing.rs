//! Faults on purpose, chosen at run time, so that one build serves the suites and every mutant. Behind feature `testing`,
//! which no release build has.

use crate::domain::ack::{AckSink, AckToken, Outcome};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU32, Ordering};
use std::time::Duration;

/// A way to break the promise, which the chaos suite must notice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// Records count as durable when the producer takes them.
    AckOnEnqueue = 1,
    /// Records of an old lane generation are still sent.
    NoGenerationFence = 2,
    /// The records of one report, the next that has some, are lost on their way into the lane; then it is over.
    LoseOneReport = 3,
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

/// With [`Mutant::LoseOneReport`]: whether this report is the one, which ends it.
pub fn loses_this_report() -> bool {
    ON.compare_exchange(Mutant::LoseOneReport as u32, 0, Ordering::SeqCst, Ordering::SeqCst).is_ok()
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

static PACE: AtomicU32 = AtomicU32::new(1);
static CLOCK_SHIFT_MS: AtomicI64 = AtomicI64::new(0);

/// Lets the waits of capture (deadlines, backoff, budgets) pass so many times as fast, for watchers that start from now on.
pub fn hurry(times: u32) {
    PACE.store(times.max(1), Ordering::SeqCst);
}

/// How many times as fast waits pass.
pub fn pace() -> u32 {
    PACE.load(Ordering::Relaxed)
}

/// Sets the wall clock of the process ahead, or back.
pub fn shift_wall_clock(by_ms: i64) {
    CLOCK_SHIFT_MS.store(by_ms, Ordering::SeqCst);
}

/// What the wall clock is off by.
pub fn wall_clock_shift_ms() -> i64 {
    CLOCK_SHIFT_MS.load(Ordering::Relaxed)
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
