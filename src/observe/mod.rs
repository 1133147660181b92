//! How the process is doing: the clock, the metrics, and the board that people read (`/api/v1/pipeline`, `/readyz`).
//!
//! Actors write, HTTP reads. Nothing here asks a mailbox, so a stuck actor is reported and not waited for.

pub mod board;
pub mod clock;
pub mod freshness;
pub mod gaps;
pub mod metrics;
