//! Everything a Kubernetes API server reports, as a durable ordered log, and served back as live shared state.
//!
//! The way of a change: `kubernetes` (bytes) → `actors::watcher` (redact, reconcile) → lane → `actors::publisher` → `log`
//! → `actors::shared_state` (fold) → `store` → `actors::query` → `http`, `cli`. ARCHITECTURE.md walks it file by file.

pub mod actors;
pub mod app;
pub mod cli;
pub mod domain;
pub mod http;
pub mod kubernetes;
pub mod log;
pub mod messages;
pub mod observe;
pub mod sandbox;
pub mod settings;
pub mod store;
#[cfg(feature = "testing")]
pub mod testing;
