//! The HTTP faces, asked in memory: both routers over a store and a memory log, on one thread with paused time. Only
//! `listener.rs` opens real sockets.

mod garbage;
mod kit;
mod listener;
mod live;
mod log;
mod objects;
mod page;
mod process;
mod watch;
