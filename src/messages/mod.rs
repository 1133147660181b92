//! Everything that crosses a mailbox. Knows `domain`, never `actors`.

pub mod life;
pub mod publish;
