//! The actors: thin carriers between rules (`domain`), adapters (`kubernetes`, `log`) and the store. One file an actor;
//! how they are kept alive is in [`rt`].

pub mod auditor;
pub mod checkpoints;
pub mod following;
pub mod gaps;
pub mod gone;
pub mod kinds;
pub mod overlay;
pub mod publisher;
pub mod pump;
pub mod query;
pub mod restore;
pub mod rt;
pub mod shared_state;
pub mod stream_processor;
pub mod watcher;
