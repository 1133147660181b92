//! The life of actors: what the supervisor asks of them, what it answers about them, and what others may ask of it.

use std::str::FromStr;

use actix::Message;
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

/// Are you there? Goes through the mailbox on purpose: it probes the way that work takes.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Ping;

/// Take nothing new, finish what you have, then answer. What is left at the deadline is given up, and must not be lost
/// by that: it stays above the watermark.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Drained")]
pub struct Drain {
    /// After this the actor is ended whether it answered or not.
    pub deadline: Instant,
}

/// The answer to [`Drain`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Drained {
    /// What could not be finished, in units of the actor (events, batches); 0 = drained completely.
    pub left: u64,
}

/// Where an actor is in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum LifeState {
    /// Not started yet: its turn in the start order has not come.
    Waiting,
    /// Asked to start; `started` has not run through yet.
    Starting,
    /// Running.
    Up,
    /// Asked to stop by the supervisor.
    Stopping,
    /// Down, and coming back after its backoff or after those it depends on.
    Down,
    /// Ended for good.
    Ended,
}

/// Why an actor went down.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub enum ExitReason {
    /// It stopped by its own wish.
    Stopped,
    /// The supervisor stopped it: a restart was asked for, or one it depends on went down.
    Asked,
    /// It panicked.
    Panicked,
    /// It neither answered pings nor handled messages.
    Hung,
    /// It did not stop within its deadline.
    Overdue,
    /// Its thread is gone. Nothing heals that within the process.
    ArbiterDead,
}

/// The last time an actor went down.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastExit {
    /// Why.
    pub reason: ExitReason,
    /// The panic's message, without control characters and cut at 200 characters.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message: Option<String>,
    /// The panic's source location, `file:line`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<String>,
    /// When, in milliseconds since the Unix epoch.
    pub at_ms: u64,
}

/// One actor as the supervisor sees it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ChildStatus {
    /// Its name, unique in the process: `publisher`, `watcher/pods`.
    pub id: String,
    /// The group it is restarted with.
    pub group: String,
    /// Where it is in its life.
    pub state: LifeState,
    /// Which life this is; the first is 1, 0 before it.
    pub incarnation: u64,
    /// How often it was restarted after a failure.
    pub restarts: u64,
    /// The last time it went down, if it ever did.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub last_exit: Option<LastExit>,
    /// The wait before the restart that is pending, in milliseconds.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub backoff_ms: Option<u64>,
    /// Messages handled in all its lives, pings aside.
    pub handled: u64,
    /// The message it is handling at this moment: the name of its type.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub handling: Option<&'static str>,
    /// The arbiter (thread) it lives on.
    pub arbiter: String,
}

/// What happened in the tree. Each is logged and told to the observer once.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(tag = "fact", rename_all = "camelCase", rename_all_fields = "camelCase")]
pub enum LifeFact {
    /// An actor runs.
    Up {
        /// Who.
        id: String,
        /// Its life.
        incarnation: u64,
    },
    /// An actor went down.
    Down {
        /// Who.
        id: String,
        /// The life that ended.
        incarnation: u64,
        /// How.
        exit: LastExit,
        /// In how many milliseconds it is started again (those it depends on come first); none = not by itself.
        back_in_ms: Option<u64>,
    },
    /// A group failed too often and is restarted as a whole.
    GroupRestarted {
        /// Which.
        group: String,
        /// In how many milliseconds its first member is started.
        back_in_ms: u64,
    },
    /// The tree gives up: the process must end with [`Escalation::EXIT_CODE`].
    Escalated(Escalation),
}

/// Supervision cannot heal it; a new process may.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, thiserror::Error)]
#[error("supervision gave up on {id}: {why}")]
pub struct Escalation {
    /// The actor whose failure was one too many.
    pub id: String,
    /// What the limit was.
    pub why: String,
}

impl Escalation {
    /// The process's exit code, so that Kubernetes restarts the pod.
    pub const EXIT_CODE: i32 = 70;
}

/// How an actor ended at shutdown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase", tag = "outcome")]
pub enum Outcome {
    /// It answered the drain.
    Drained {
        /// See [`Drained::left`].
        left: u64,
    },
    /// It did not answer the drain in time and was ended.
    TimedOut,
    /// It died while draining.
    Died,
    /// It was not running when its turn came.
    WasDown,
    /// Its thread is blocked: not even ending it got through.
    Unresponsive,
}

impl Outcome {
    /// Nothing was left behind in memory.
    pub fn is_clean(self) -> bool {
        self == Self::Drained { left: 0 }
    }
}

/// Ask the supervisor: the whole tree, in start order.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "Vec<ChildStatus>")]
pub struct SupervisionTree;

/// Ask the supervisor: stop this actor and start it again, with those of its group that depend on it.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct RestartChild {
    /// [`ChildStatus::id`].
    pub id: String,
}

/// Ask the supervisor: make this actor fail, the way it would. Refused unless chaos is enabled.
#[derive(Debug, Clone, Message)]
#[rtype(result = "Result<(), ControlError>")]
pub struct Kill {
    /// [`ChildStatus::id`].
    pub id: String,
    /// Which failure.
    pub how: KillHow,
}

/// A failure to provoke.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum KillHow {
    /// A panic inside the actor.
    Panic,
    /// The actor stops as if by its own wish.
    Stop,
    /// The actor waits for something that never comes.
    Hang,
}

impl FromStr for KillHow {
    type Err = UnknownKill;

    fn from_str(text: &str) -> Result<Self, UnknownKill> {
        match text {
            "panic" => Ok(Self::Panic),
            "stop" => Ok(Self::Stop),
            "hang" => Ok(Self::Hang),
            _ => Err(UnknownKill(text.to_owned())),
        }
    }
}

/// Not a [`KillHow`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no way to kill an actor: say panic, stop or hang")]
pub struct UnknownKill(pub String);

/// Why the supervisor refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ControlError {
    /// Killing is off.
    #[error("killing actors is off: set chaos.enabled = true (never in production) and restart the process")]
    ChaosDisabled,
    /// No such actor.
    #[error("no actor is called {id:?}: the actors are {}", known.join(", "))]
    Unknown {
        /// What was asked for.
        id: String,
        /// What there is.
        known: Vec<String>,
    },
    /// It cannot be killed now.
    #[error("actor {id} is not running (it is {state:?}): try again when it is up")]
    NotRunning {
        /// Who.
        id: String,
        /// Where it is in its life.
        state: LifeState,
    },
    /// An actor of that name is there already, or is still being let go.
    #[error("an actor called {0:?} is there already")]
    Duplicate(String),
    /// No such group.
    #[error("no group of actors is called {0:?}")]
    UnknownGroup(String),
    /// Others of its group hold what they learned from it.
    #[error("actor {id} cannot be taken out of group {group}: those after it depend on it")]
    Bound {
        /// Who.
        id: String,
        /// Its group.
        group: String,
    },
    /// The process is shutting down, or the supervisor has given up.
    #[error("the supervision tree is closing: actors are no longer restarted")]
    Closing,
    /// The supervisor itself is gone.
    #[error("the supervisor is gone: the process is ending")]
    SupervisorGone,
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn the_tree_is_told_in_the_names_that_users_rely_on() {
        let exit =
            LastExit { reason: ExitReason::ArbiterDead, message: None, location: Some("src/a.rs:1".into()), at_ms: 5 };
        let status = ChildStatus {
            id: "watcher/pods".into(),
            group: "watchers".into(),
            state: LifeState::Down,
            incarnation: 2,
            restarts: 1,
            last_exit: Some(exit.clone()),
            backoff_ms: Some(100),
            handled: 7,
            handling: None,
            arbiter: "watch-0".into(),
        };
        let told = json!({
            "id": "watcher/pods", "group": "watchers", "state": "down", "incarnation": 2, "restarts": 1,
            "lastExit": {"reason": "arbiterDead", "location": "src/a.rs:1", "atMs": 5},
            "backoffMs": 100, "handled": 7, "arbiter": "watch-0",
        });
        assert_eq!(serde_json::to_value(status).expect("plain data"), told);
        let fact = LifeFact::Down { id: "a".into(), incarnation: 1, exit, back_in_ms: Some(3) };
        let told = serde_json::to_value(fact).expect("plain data");
        assert_eq!((&told["fact"], &told["backInMs"]), (&json!("down"), &json!(3)));
        let outcome = serde_json::to_value(Outcome::Drained { left: 2 }).expect("plain data");
        assert_eq!(outcome, json!({"outcome": "drained", "left": 2}));
    }

    #[test]
    fn a_way_to_kill_reads_as_it_is_written() {
        for how in [KillHow::Panic, KillHow::Stop, KillHow::Hang] {
            let written = serde_json::to_value(how).expect("plain data");
            assert_eq!(written.as_str().expect("a word").parse(), Ok(how));
        }
        let error = "nuke".parse::<KillHow>().expect_err("there is no such way");
        assert!(error.to_string().contains("nuke") && error.to_string().contains("panic, stop or hang"), "{error}");
    }
}
