//! Supervised actors on unforked actix 0.13.5. The only place that knows how actix is kept alive.
//!
//! What it gives an actor, at no cost to its author:
//! - **Its `Addr` and its queued messages survive** a panic, a stop and a hang. Only the message whose handler panicked
//!   is lost (its sender gets `MailboxError::Closed`). Every life starts from the factory's fresh value.
//! - **A flood of messages does not starve its timers** or its neighbours: after 64 messages it yields by itself.
//! - **It is watched**: handled messages and the message in hand are counted by its [`Context`], hangs are found and
//!   healed, and failures of every kind can be provoked from outside ([`SupervisorHandle::kill`]) without a handler.
//!
//! What it asks of the author:
//! - `type Context = rt::Context<Self>` and three small impls, all written by [`worker!`](crate::worker).
//! - Die anywhere: what must survive (lane, index, offsets, store) is owned by the wiring and lent through the factory.
//!   The factory is cheap and infallible; sockets and the like are acquired in [`Worker::started`].
//! - IO is a task on the shared runtime ([`Context::spawn_io`]) that hands batches over ([`Context::feed`]); it is
//!   aborted with the life that holds it.
//! - Never `ctx.cancel_future` (it is refused: a stale cancel would kill a future of the next life): hold the fact that
//!   a timer is obsolete in a field. Never `ctx.wait` on something without a deadline: it is a hang, and healed as one.
//!
//! A minimal worker, whole:
//!
//! ```
//! use std::time::Duration;
//! use actix::prelude::{Actor, AsyncContext, Handler, Message, ResponseActFuture, StreamHandler};
//! use agent_events::actors::rt::{self, Arbiters, ChildSpec, Context, Group, Supervisor, Worker};
//! use agent_events::messages::life::Drained;
//! use tokio::time::Instant;
//!
//! /// Lent by the wiring: survives every life of the actor.
//! #[derive(Clone, Default)]
//! struct Lent { total: std::sync::Arc<std::sync::atomic::AtomicU64> }
//!
//! struct Adder { lent: Lent, reader: Option<rt::Task> }
//!
//! rt::worker!(Adder);
//!
//! impl Worker for Adder {
//!     // At the beginning of every life.
//!     fn started(&mut self, ctx: &mut Context<Self>) {
//!         let (tx, rx) = tokio::sync::mpsc::channel(4); // 4 batches: room while one is being handled
//!         self.reader = Some(ctx.spawn_io(async move {
//!             // Reads a socket on the shared runtime; ends when the receiver is gone, is aborted with this life.
//!             if tx.send(vec![1u64, 2, 3]).await.is_ok() { std::future::pending::<()>().await }
//!         }));
//!         ctx.feed(rx);
//!         ctx.run_interval(Duration::from_secs(30), |this, _ctx| this.flush());
//!     }
//!     // Optional: the default answers at once that nothing is left.
//!     fn drain(&mut self, _deadline: Instant, _ctx: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
//!         self.reader = None; // aborts the task: takes nothing new
//!         self.flush();
//!         rt::drained(0)
//!     }
//! }
//! impl Adder { fn flush(&mut self) {} }
//!
//! /// Batches of the reading task. When it ends (also by a panic) the actor stops, and is restarted.
//! impl StreamHandler<Vec<u64>> for Adder {
//!     fn handle(&mut self, batch: Vec<u64>, _ctx: &mut Context<Self>) {
//!         self.lent.total.fetch_add(batch.iter().sum(), std::sync::atomic::Ordering::Relaxed);
//!     }
//! }
//!
//! #[derive(Message)]
//! #[rtype(result = "u64")]
//! struct Add(u64);
//! impl Handler<Add> for Adder {
//!     type Result = u64;
//!     fn handle(&mut self, add: Add, _ctx: &mut Context<Self>) -> u64 {
//!         self.lent.total.fetch_add(add.0, std::sync::atomic::Ordering::Relaxed) + add.0
//!     }
//! }
//!
//! let io = rt::io_runtime(2)?;
//! let (sum, outcome) = rt::system(&io).block_on(async {
//!     let mut arbiters = Arbiters::shared(io.clone());
//!     let lent = Lent::default();
//!     let (spec, adder) = ChildSpec::new("adder", &arbiters.place("add"), 16, {
//!         let lent = lent.clone();
//!         move || Adder { lent: lent.clone(), reader: None }
//!     });
//!     // Groups and children start in this order, sinks first, and stop in reverse.
//!     let supervisor = Supervisor::new(vec![Group::one_for_one("sums").child(spec)]).start()?;
//!     supervisor.booted().await;
//!     let sum = adder.send(Add(4)).await?;
//!     let outcome = supervisor.shutdown(Duration::from_secs(10)).await;
//!     arbiters.join(Duration::from_secs(1));
//!     Ok::<_, Box<dyn std::error::Error>>((sum, outcome))
//! })?;
//! assert!(sum >= 4);
//! assert!(outcome[0].1.is_clean());
//! # Ok::<_, Box<dyn std::error::Error>>(())
//! ```
//!
//! Under test the same wiring runs on one thread with paused time: [`Arbiters::single`] inside a `System` on a
//! current-thread runtime. Nothing here reads another clock than `tokio::time`, and the backoff's jitter can be seeded.
//!
//! Members of a one-for-one group may come and go while the tree runs ([`SupervisorHandle::add`],
//! [`SupervisorHandle::remove`]); they have all the guarantees of the others.
//!
//! The parts: `context` is what an actor is given, `cell` the future that owns it and outlives its deaths, `spec` what
//! the wiring says about it, `supervisor` (with `tree`, `slot`, `members` and `shutdown`) who decides, by the rules in
//! [`crate::domain::restart`], `panic` how a panic gets its name, `arbiters` the threads, `task` the IO beside an actor.

mod arbiters;
mod cell;
mod context;
mod members;
mod panic;
mod shutdown;
mod slot;
mod spec;
mod supervisor;
mod task;
mod tree;
mod worker;

pub use arbiters::{Arbiters, Place, io_runtime, system};
pub use context::{Context, Vitals};
pub use panic::install_hook;
pub use spec::{ChildSpec, Group};
pub use supervisor::{DuplicateChild, Supervisor, SupervisorHandle};
pub use task::{Task, spawn_io};
pub use worker::{Worker, drained, tell};

#[doc(inline)]
pub use crate::worker;
