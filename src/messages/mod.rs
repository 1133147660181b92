//! Everything that crosses a mailbox. Knows `domain`, never `actors`.

pub mod client;
pub mod control;
pub mod life;
pub mod publish;
pub mod query;
