//! What an actor is given: actix's context, plus what keeps it fair and watched.
//!
//! actix lets a context be replaced as long as it can pack messages into envelopes ([`ToEnvelope`]). Ours packs them
//! into one that counts, names the message in hand, and makes the actor yield. So no handler has to.

use std::any::TypeId;
use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::Poll;

use actix::dev::{
    AsyncContextParts, ContextParts, Envelope, EnvelopeProxy, Mailbox, MessageResponse as _, OneshotSender, ToEnvelope,
};
use actix::fut::{self, ActorFuture};
use actix::prelude::{
    Actor, ActorContext, ActorState, Addr, AsyncContext, Handler, Message, SpawnHandle, StreamHandler,
};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::panic::Tag;
use super::task::{self, Task};
use crate::messages::life::Ping;

/// Messages handled before the actor's timers, and its neighbours on the arbiter, get their turn. Measured with a
/// flooded mailbox: at 64 a 10 ms timer kept every tick and a neighbour waited 2 ms; at 256 it missed some and waited
/// 20 ms; without, both starve.
const MESSAGES_PER_TURN: u32 = 64;

/// Items of a [`Context::feed`] handled before others get their turn; they are batches, so fewer than messages.
const FEED_PER_TURN: u32 = 16;

/// The signs of life of one actor, over all its lives. Readable from any thread.
#[derive(Debug, Default)]
pub struct Vitals {
    handled: AtomicU64,
    handling: Mutex<Option<&'static str>>,
}

impl Vitals {
    /// Messages and batches handled so far; the supervisor's pings do not count.
    pub fn handled(&self) -> u64 {
        self.handled.load(Ordering::Relaxed)
    }

    /// The type of the message in hand: what to name when its thread does not come back.
    pub fn handling(&self) -> Option<&'static str> {
        *self.handling.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self, message: &'static str) {
        *self.handling.lock().unwrap_or_else(PoisonError::into_inner) = Some(message);
    }

    fn done(&self) {
        *self.handling.lock().unwrap_or_else(PoisonError::into_inner) = None;
        self.one_more();
    }

    /// Counts what an actor pulled itself, neither sent nor fed.
    pub fn one_more(&self) {
        self.handled.fetch_add(1, Ordering::Relaxed);
    }

    /// After a panic nobody said `done`.
    pub(super) fn aborted(&self) {
        *self.handling.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// The context of a supervised actor. `AsyncContext` (spawn, run_later, run_interval, address...) and `ActorContext`
/// work as with actix's own.
pub struct Context<A: Actor<Context = Context<A>>> {
    parts: ContextParts<A>,
    factory: Box<dyn Fn() -> A>,
    tag: Tag,
    vitals: Arc<Vitals>,
    io: Handle,
    handled_this_turn: u32,
}

impl<A: Actor<Context = Self>> Context<A> {
    pub(super) fn new(
        mailbox: &Mailbox<A>,
        factory: Box<dyn Fn() -> A>,
        actor: Arc<str>,
        vitals: Arc<Vitals>,
        io: Handle,
    ) -> Self {
        let parts = ContextParts::new(mailbox.sender_producer());
        Self { parts, factory, tag: Tag { actor, incarnation: 0 }, vitals, io, handled_this_turn: 0 }
    }

    /// A new value of the actor: what every life starts from.
    pub fn fresh(&self) -> A {
        (self.factory)()
    }

    /// The actor's name.
    pub fn id(&self) -> &str {
        &self.tag.actor
    }

    /// Which life this is; the first is 1.
    pub fn incarnation(&self) -> u64 {
        self.tag.incarnation
    }

    /// Its signs of life.
    pub fn vitals(&self) -> &Arc<Vitals> {
        &self.vitals
    }

    /// The runtime on which clients are made and sockets are read: never the arbiter's thread.
    pub fn io(&self) -> &Handle {
        &self.io
    }

    /// Runs `future` on the shared runtime, as long as the returned [`Task`] is held. Keep it in a field of the actor.
    pub fn spawn_io(&self, future: impl Future<Output = ()> + Send + 'static) -> Task {
        task::spawn_io(&self.io, future)
    }

    /// Hands every item of `receiver` to the actor's [`StreamHandler`], counted like messages. When the channel closes
    /// `StreamHandler::finished` is called, which stops the actor unless it says otherwise: a reading task that died
    /// so takes its actor down, and supervision brings both back.
    pub fn feed<I: 'static>(&mut self, receiver: mpsc::Receiver<I>)
    where
        A: StreamHandler<I>,
    {
        self.spawn(Feed { receiver, started: false });
    }

    pub(super) fn tag(&self) -> &Tag {
        &self.tag
    }

    pub(super) fn set_incarnation(&mut self, incarnation: u64) {
        self.tag.incarnation = incarnation;
    }

    fn one_more_this_turn(&mut self) {
        self.handled_this_turn += 1;
        if self.handled_this_turn >= MESSAGES_PER_TURN {
            self.handled_this_turn = 0;
            self.wait(fut::wrap_future(YieldOnce { yielded: false }));
        }
    }
}

impl<A: Actor<Context = Self>> fmt::Debug for Context<A> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Context").field("tag", &self.tag).field("parts", &self.parts).finish_non_exhaustive()
    }
}

impl<A: Actor<Context = Self>> ActorContext for Context<A> {
    fn stop(&mut self) {
        self.parts.stop();
    }

    fn terminate(&mut self) {
        self.parts.terminate();
    }

    fn state(&self) -> ActorState {
        self.parts.state()
    }
}

impl<A: Actor<Context = Self>> AsyncContext<A> for Context<A> {
    fn address(&self) -> Addr<A> {
        self.parts.address()
    }

    fn spawn<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) -> SpawnHandle {
        self.parts.spawn(future)
    }

    fn wait<F: ActorFuture<A, Output = ()> + 'static>(&mut self, future: F) {
        self.parts.wait(future);
    }

    fn waiting(&self) -> bool {
        self.parts.waiting()
    }

    /// Refused, and answered with false. In actix 0.13.5 a cancel that is pending when the actor goes down survives
    /// the restart and cancels the future of the same number in the next life; with `terminate` it loops for ever.
    fn cancel_future(&mut self, _: SpawnHandle) -> bool {
        tracing::warn!(actor = self.id(), "cancel_future is refused: note in a field that the future is obsolete");
        false
    }
}

impl<A: Actor<Context = Self>> AsyncContextParts<A> for Context<A> {
    fn parts(&mut self) -> &mut ContextParts<A> {
        &mut self.parts
    }
}

impl<A, M> ToEnvelope<A, M> for Context<A>
where
    A: Actor<Context = Self> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn pack(message: M, reply: Option<OneshotSender<M::Result>>) -> Envelope<A> {
        Envelope::with_proxy(Box::new(Counted { mail: Some((message, reply)) }))
    }
}

/// The envelope: what actix's own does, and the counting around it.
struct Counted<M: Message> {
    mail: Option<(M, Option<OneshotSender<M::Result>>)>,
}

impl<A, M> EnvelopeProxy<A> for Counted<M>
where
    A: Actor<Context = Context<A>> + Handler<M>,
    M: Message + Send + 'static,
    M::Result: Send,
{
    fn handle(&mut self, actor: &mut A, ctx: &mut Context<A>) {
        let Some((message, reply)) = self.mail.take() else { return };
        // The sender gave up (dropped its request or timed out): as in actix, what nobody waits for is not done.
        // It still counts for the turn, or a flood of given-up requests would starve the others.
        let is_work = TypeId::of::<M>() != TypeId::of::<Ping>();
        if reply.as_ref().is_none_or(|reply| !reply.is_closed()) {
            if is_work {
                ctx.vitals.begin(std::any::type_name::<M>());
            }
            let response = <A as Handler<M>>::handle(actor, message, ctx);
            response.handle(ctx, reply);
            if is_work {
                ctx.vitals.done();
            }
        }
        ctx.one_more_this_turn();
    }
}

/// Pending once, having asked to be polled again.
struct YieldOnce {
    yielded: bool,
}

impl Future for YieldOnce {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut std::task::Context<'_>) -> Poll<()> {
        if self.yielded {
            return Poll::Ready(());
        }
        self.yielded = true;
        cx.waker().wake_by_ref();
        Poll::Pending
    }
}

/// See [`Context::feed`].
struct Feed<I> {
    receiver: mpsc::Receiver<I>,
    started: bool,
}

impl<A, I: 'static> ActorFuture<A> for Feed<I>
where
    A: Actor<Context = Context<A>> + StreamHandler<I>,
{
    type Output = ();

    fn poll(self: Pin<&mut Self>, actor: &mut A, ctx: &mut Context<A>, task: &mut std::task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        if !this.started {
            this.started = true;
            <A as StreamHandler<I>>::started(actor, ctx);
        }
        for _ in 0..FEED_PER_TURN {
            // Asked before taking, so that nothing is taken out of the channel that cannot be handled now.
            if ctx.waiting() {
                return Poll::Pending;
            }
            match this.receiver.poll_recv(task) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    <A as StreamHandler<I>>::finished(actor, ctx);
                    return Poll::Ready(());
                }
                Poll::Ready(Some(item)) => {
                    ctx.vitals.begin(std::any::type_name::<I>());
                    <A as StreamHandler<I>>::handle(actor, item, ctx);
                    ctx.vitals.done();
                }
            }
        }
        task.waker().wake_by_ref();
        Poll::Pending
    }
}
