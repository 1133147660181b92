//! Pure rules: no clock, no randomness, no socket, no actor. Time and chance come in as arguments.

pub mod ack;
pub mod kind;
pub mod record;
pub mod rv;
pub mod topic;
