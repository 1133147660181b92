//! How an actor gets its lane's records to the publisher: a few batches at a time, and again whenever the lane rings.

use super::publisher::Publisher;
use super::rt::{Context, Worker};
use crate::domain::lane::Lane;
use crate::messages::life::Drained;
use crate::messages::publish::PublishBatch;
use actix::prelude::{ActorFutureExt as _, Addr, AsyncContext as _, WrapFuture as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// A lane's way to the publisher, as one life of its actor sees it.
pub(super) struct Pump<P> {
    lane: Arc<Lane<P>>,
    /// Rung by the lane when there is room again or something to send again.
    bell: Arc<Notify>,
    publisher: Addr<Publisher>,
    /// Records and bytes of a batch.
    batch: (usize, usize),
    /// Batches on their way at once: enough to keep the publisher busy while one is acknowledged.
    at_once: usize,
    under_way: usize,
}

impl<P> Pump<P> {
    /// A pump with nothing on its way.
    pub(super) fn new(
        lane: Arc<Lane<P>>,
        bell: Arc<Notify>,
        publisher: Addr<Publisher>,
        batch: (usize, usize),
        at_once: usize,
    ) -> Self {
        Self { lane, bell, publisher, batch, at_once, under_way: 0 }
    }
}

/// An actor with a lane.
pub(super) trait Pumping: Worker {
    /// What its lane's watermark is made of.
    type Point: Clone + Send + 'static;
    /// Its pump.
    fn pump(&mut self) -> &mut Pump<Self::Point>;
    /// Looks at everything there is to do; ends with [`hand_over`].
    fn turn(&mut self, ctx: &mut Context<Self>);
}

/// Hands batches to the publisher.
pub(super) fn hand_over<A: Pumping>(actor: &mut A, ctx: &mut Context<A>) {
    loop {
        let pump = actor.pump();
        if pump.under_way >= pump.at_once {
            return;
        }
        let items = pump.lane.take(pump.batch.0, pump.batch.1);
        if items.is_empty() {
            return;
        }
        pump.under_way += 1;
        // A reply that never comes has dropped the batch's tokens on its way: the lane knows.
        let sent = pump.publisher.send(PublishBatch { items }).into_actor(actor);
        ctx.spawn(sent.map(|_, actor, ctx| {
            actor.pump().under_way -= 1;
            actor.turn(ctx);
        }));
    }
}

/// Takes a turn whenever the bell rings. It rings once for any number of reasons.
pub(super) fn listen<A: Pumping>(actor: &mut A, ctx: &mut Context<A>) {
    let bell = actor.pump().bell.clone();
    let rung = async move { bell.notified().await }.into_actor(actor);
    ctx.spawn(rung.map(|(), actor, ctx| {
        listen(actor, ctx);
        actor.turn(ctx);
    }));
}

/// Waits until everything in the lane is acked, or the deadline; says how many records are left.
pub async fn drained<P: Clone + Send + 'static>(lane: Arc<Lane<P>>, deadline: Instant) -> Drained {
    // Looks again every few milliseconds: the lane's bell belongs to the pump.
    let mut look = tokio::time::interval(Duration::from_millis(5));
    while !lane.is_drained() && Instant::now() < deadline {
        look.tick().await;
    }
    Drained { left: lane.usage().records as u64 }
}
