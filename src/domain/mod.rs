//! Pure rules: no clock, no randomness, no socket, no actor. Time and chance come in as arguments.

pub mod ack;
pub mod audit;
pub mod budget;
pub mod checkpoint;
pub mod cut;
pub mod discovery;
pub mod envelope;
pub mod fold;
pub mod gap;
pub mod index;
pub mod kind;
pub mod lane;
pub mod narrate;
pub mod pattern;
pub mod rbac;
pub mod record;
pub mod redact;
pub mod replace;
pub mod restart;
pub mod roster;
pub mod rv;
pub mod said;
pub mod selector;
pub mod target;
pub mod topic;
pub mod watch;
