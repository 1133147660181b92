//! Types that cross a mailbox.

pub mod client;
pub mod life;
pub mod query;
