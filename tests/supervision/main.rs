//! Proves that an actor may die in any manner on any line, and that the tree heals it, or says that it cannot (G8, G9).
//!
//! It rests on actix 0.13.5: `ContextFut::restart` is public and keeps the mailbox; `cancel_future` and dropping a
//! restarted context are traps there. Tests run on one thread with paused tokio time unless they are about threads.

mod chaos;
mod control;
mod members;
mod one;
mod several;
mod stage;
mod threads;
#[path = "../kit/waiting.rs"]
mod waiting;
