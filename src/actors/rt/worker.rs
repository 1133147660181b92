//! What an actor's author writes, and what [`worker!`](crate::worker) writes for him.

use actix::fut::{self, ActorFutureExt as _};
use actix::prelude::{Actor, Handler, ResponseActFuture, Supervised};
use tokio::time::Instant;

use super::Context;
use crate::messages::life::{Drain, Drained, Ping};

/// A supervised actor. Implement it, and say `rt::worker!(TheType);` once for the actix traits it stands on.
pub trait Worker: Actor<Context = Context<Self>> + Supervised + Handler<Ping> + Handler<Drain> {
    /// The beginning of a life: acquire what can fail here. It runs in the actor's own thread; a panic counts as a
    /// failed start and is retried after a backoff. By then nothing of an earlier life is left, except mail.
    fn started(&mut self, ctx: &mut Context<Self>) {
        let _: &mut Context<Self> = ctx;
    }

    /// Take nothing new, finish what you have by `deadline`, then say what is left. The actor is stopped after the
    /// answer, or after the deadline.
    fn drain(&mut self, deadline: Instant, ctx: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        let _: (Instant, &mut Context<Self>) = (deadline, ctx);
        drained(0)
    }
}

/// The answer to a drain that is over at once, with `left` things left.
pub fn drained<A: Worker>(left: u64) -> ResponseActFuture<A, Drained> {
    Box::pin(fut::ready::<Drained>(Drained { left }).map(|drained, _: &mut A, _: &mut Context<A>| drained))
}

/// Writes the actix traits that a [`Worker`](crate::actors::rt::Worker) stands on.
///
/// A macro, because Rust's orphan rule forbids a blanket impl of actix's traits for all workers.
#[macro_export]
macro_rules! worker {
    ($actor:ty) => {
        impl ::actix::Actor for $actor {
            type Context = $crate::actors::rt::Context<Self>;
            fn started(&mut self, ctx: &mut Self::Context) {
                $crate::actors::rt::Worker::started(self, ctx);
            }
        }
        impl ::actix::Supervised for $actor {
            fn restarting(&mut self, ctx: &mut Self::Context) {
                // Drops the old value, and with it whatever it held: tokens nack, tasks are aborted.
                *self = ctx.fresh();
            }
        }
        impl ::actix::Handler<$crate::messages::life::Ping> for $actor {
            type Result = ();
            fn handle(&mut self, _: $crate::messages::life::Ping, _: &mut Self::Context) {}
        }
        impl ::actix::Handler<$crate::messages::life::Drain> for $actor {
            type Result = ::actix::ResponseActFuture<Self, $crate::messages::life::Drained>;
            fn handle(&mut self, drain: $crate::messages::life::Drain, ctx: &mut Self::Context) -> Self::Result {
                $crate::actors::rt::Worker::drain(self, drain.deadline, ctx)
            }
        }
    };
}

/// Leaves a control message in a mailbox and goes on. Never for data: actix takes any number of these whatever the
/// mailbox's bound, so what is told must be rare by itself.
pub fn tell<A, M>(to: &actix::Addr<A>, message: M)
where
    A: Worker + Handler<M>,
    M: actix::Message + Send + 'static,
    M::Result: Send,
    Context<A>: actix::dev::ToEnvelope<A, M>,
{
    #[allow(clippy::disallowed_methods)] // the one place
    to.do_send(message);
}
