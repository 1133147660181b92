//! Types that cross a mailbox.

pub mod life;
