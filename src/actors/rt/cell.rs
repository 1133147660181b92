//! The future that owns an actor and outlives its deaths.
//!
//! ```text
//! supervisor ──orders──▶ Cell ── polls under catch_unwind ──▶ ContextFut ── owns ──▶ actor, mailbox, timers
//!            ◀─events───  │                                       ▲
//!                         └── on panic, stop, kill: restart() ────┘  (futures dropped, actor replaced, mail kept)
//! ```
//!
//! Orders have a channel of their own, because a mailbox has no priorities: a kill must not queue behind the data that
//! the actor is stuck on. The cell holds an `Addr` itself, so the mailbox never disconnects while the cell lives.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{self, Poll, Waker};

use actix::dev::{AsyncContextParts as _, ContextFut, Mailbox};
use actix::fut::{self, ActorFutureExt as _};
use actix::prelude::{ActorContext as _, Addr, AsyncContext as _, Message, Recipient};
use tokio::sync::{mpsc, oneshot};

use super::panic::{PanicReport, Tag, guarded};
use super::{Context, Worker};
use crate::messages::life::{ExitReason, KillHow};

/// Attempts to replace a dead actor before it is left to the next start: each attempt drops what panicked in the last.
const TEARDOWN_ATTEMPTS: usize = 3;

/// From the supervisor to the cell.
#[derive(Debug)]
pub(super) enum Order {
    /// Begin a life. Ignored while one is under way.
    Start,
    /// Stop as actix does it: `stopping`, `stopped`.
    Stop,
    /// End this incarnation at once. It names it, because a late kill must not hit the successor.
    Kill(u64, ExitReason),
    /// Make it fail from inside.
    Chaos(KillHow),
    /// End for good, and say so when nothing is left of it.
    Exit(oneshot::Sender<()>),
}

/// From the cell to the supervisor.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub(super) struct ChildEvent {
    pub(super) slot: usize,
    pub(super) incarnation: u64,
    pub(super) what: What,
}

#[derive(Debug)]
pub(super) enum What {
    Up,
    Down(ExitReason, Option<PanicReport>),
}

/// Says that the thread died unless told that all ended well. It travels with the cell from before its birth, since an
/// arbiter takes a closure even when it will never run it.
#[derive(Debug)]
pub(super) struct Reporter {
    slot: usize,
    incarnation: u64,
    to: Recipient<ChildEvent>,
    ended_well: bool,
}

impl Reporter {
    pub(super) fn new(slot: usize, to: Recipient<ChildEvent>) -> Self {
        Self { slot, incarnation: 0, to, ended_well: false }
    }

    fn tell(&self, what: What) {
        self.to.do_send(ChildEvent { slot: self.slot, incarnation: self.incarnation, what });
    }
}

impl Drop for Reporter {
    fn drop(&mut self) {
        if !self.ended_well {
            self.tell(What::Down(ExitReason::ArbiterDead, None));
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    /// Polled not yet since the start: `started` has not run.
    Starting,
    Running,
    /// Parked until the next start. Mail queues up.
    Down,
}

enum Body<A: Worker> {
    /// The factory has not succeeded yet.
    Unborn(Box<(Context<A>, Mailbox<A>)>),
    /// `fresh` is false when a teardown kept panicking: the actor in there is still the dead one.
    Born {
        future: Pin<Box<ContextFut<A, Context<A>>>>,
        fresh: bool,
    },
    Buried,
}

pub(super) struct Cell<A: Worker> {
    body: Body<A>,
    phase: Phase,
    tag: Tag,
    vitals: Arc<super::Vitals>,
    orders: mpsc::UnboundedReceiver<Order>,
    reporter: Reporter,
    _keeps_the_mailbox_open: Addr<A>,
}

impl<A: Worker> Unpin for Cell<A> {}

impl<A: Worker> Cell<A> {
    pub(super) fn new(
        ctx: Context<A>,
        mailbox: Mailbox<A>,
        orders: mpsc::UnboundedReceiver<Order>,
        reporter: Reporter,
    ) -> Self {
        Self {
            phase: Phase::Down,
            tag: ctx.tag().clone(),
            vitals: ctx.vitals().clone(),
            orders,
            reporter,
            _keeps_the_mailbox_open: mailbox.address(),
            body: Body::Unborn(Box::new((ctx, mailbox))),
        }
    }

    /// Begins a life, or reports that not even a fresh actor could be made.
    fn start(&mut self) {
        self.tag.incarnation += 1;
        self.reporter.incarnation = self.tag.incarnation;
        if let Err(report) = self.make_ready() {
            self.reporter.tell(What::Down(ExitReason::Panicked, Some(report)));
            return;
        }
        self.phase = Phase::Starting;
    }

    /// A fresh actor in a context that has not been polled yet.
    fn make_ready(&mut self) -> Result<(), PanicReport> {
        let incarnation = self.tag.incarnation;
        match std::mem::replace(&mut self.body, Body::Buried) {
            Body::Unborn(parts) => match guarded(&self.tag, || parts.0.fresh()) {
                Ok(actor) => {
                    let (mut ctx, mailbox) = *parts;
                    ctx.set_incarnation(incarnation);
                    let future = Box::pin(ContextFut::new(ctx, actor, mailbox));
                    self.body = Body::Born { future, fresh: true };
                    Ok(())
                }
                Err(report) => {
                    self.body = Body::Unborn(parts);
                    Err(report)
                }
            },
            Body::Born { mut future, fresh } => {
                future.ctx().set_incarnation(incarnation);
                let outcome = if fresh { Ok(()) } else { replace_actor(&self.tag, &mut future) };
                self.body = Body::Born { future, fresh: outcome.is_ok() };
                outcome
            }
            Body::Buried => Ok(()),
        }
    }

    /// The life is over: drop its futures, timers and state at once, keep the mail, tell the supervisor.
    fn down(&mut self, reason: ExitReason, report: Option<PanicReport>) {
        if let Body::Born { future, fresh } = &mut self.body {
            *fresh = replace_actor(&self.tag, future).is_ok();
        }
        self.vitals.aborted();
        self.phase = Phase::Down;
        self.reporter.tell(What::Down(reason, report));
    }

    fn obey(&mut self, order: Order) {
        let running = self.phase != Phase::Down;
        let Body::Born { future, .. } = &mut self.body else {
            if matches!(order, Order::Start) {
                self.start();
            }
            return;
        };
        match order {
            Order::Start if !running => self.start(),
            Order::Stop if running => future.ctx().stop(),
            Order::Kill(incarnation, reason) if running && incarnation == self.tag.incarnation => {
                self.down(reason, None);
            }
            Order::Chaos(how) if running => fail_from_inside(future.ctx(), how),
            // Too late, or for another life.
            Order::Start | Order::Stop | Order::Kill(..) | Order::Chaos(_) | Order::Exit(_) => {}
        }
    }

    /// Drops the actor with its context, guarded: it may panic on its way out.
    fn bury(&mut self) {
        let never_polled = self.phase != Phase::Running;
        let Body::Born { mut future, .. } = std::mem::replace(&mut self.body, Body::Buried) else { return };
        // A second panic while dropping would have nothing left to drop. The hook has logged it.
        guarded(&self.tag, move || {
            if never_polled {
                // Dropping a context that was not polled since its restart would call started() (actix#531).
                future.ctx().parts().terminate();
            } else {
                // The orderly way: stopping() and stopped() run. It is not woken again, so no waker is needed.
                future.ctx().stop();
                let polled = future.as_mut().poll(&mut task::Context::from_waker(Waker::noop()));
                if polled.is_pending() {
                    future.ctx().parts().terminate();
                }
            }
            drop(future);
        })
        .ok();
        self.phase = Phase::Down;
    }
}

impl<A: Worker> Future for Cell<A> {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        loop {
            while let Poll::Ready(order) = this.orders.poll_recv(cx) {
                let done = match order {
                    Some(Order::Exit(done)) => Some(done),
                    Some(order) => {
                        this.obey(order);
                        continue;
                    }
                    // The supervisor is gone, and with it the process.
                    None => None,
                };
                this.bury();
                this.reporter.ended_well = true;
                if let Some(done) = done {
                    // Nobody waits any more when the shutdown's deadline has passed.
                    done.send(()).ok();
                }
                return Poll::Ready(());
            }
            if this.phase == Phase::Down {
                return Poll::Pending;
            }
            let Body::Born { future, .. } = &mut this.body else { return Poll::Pending };
            match guarded(&this.tag, || future.as_mut().poll(cx)) {
                Ok(Poll::Pending) => {
                    if this.phase == Phase::Starting {
                        this.phase = Phase::Running;
                        this.reporter.tell(What::Up);
                    }
                    return Poll::Pending;
                }
                Ok(Poll::Ready(())) => this.down(ExitReason::Stopped, None),
                Err(report) => this.down(ExitReason::Panicked, Some(report)),
            }
        }
    }
}

impl<A: Worker> Drop for Cell<A> {
    fn drop(&mut self) {
        self.bury();
    }
}

/// `ContextFut::restart` drops all futures and timers and calls `restarting`, which swaps the actor. It is repeated
/// when a drop in there panics: what panicked is gone by then.
fn replace_actor<A: Worker>(tag: &Tag, future: &mut Pin<Box<ContextFut<A, Context<A>>>>) -> Result<(), PanicReport> {
    let mut outcome = Ok(());
    for _ in 0..TEARDOWN_ATTEMPTS {
        outcome = guarded(tag, || {
            let restarted = future.as_mut().get_mut().restart();
            debug_assert!(restarted, "the cell's own Addr keeps the mailbox connected");
        });
        if outcome.is_ok() {
            break;
        }
    }
    outcome
}

/// Each failure arises where a real one does: inside the poll of the actor's own context.
fn fail_from_inside<A: Worker>(ctx: &mut Context<A>, how: KillHow) {
    match how {
        KillHow::Panic => {
            ctx.spawn(
                fut::ready::<()>(())
                    .map(|(), _: &mut A, _: &mut Context<A>| panic!("chaos: this actor was asked to panic")),
            );
        }
        KillHow::Stop => ctx.stop(),
        KillHow::Hang => ctx.wait(fut::wrap_future(std::future::pending())),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use actix::prelude::{Actor, Handler, System};

    use super::*;
    use crate::actors::rt::{Arbiters, ChildSpec};

    struct Idle;
    crate::worker!(Idle);
    impl Worker for Idle {}

    /// Stands in for the supervisor: passes on what it hears.
    struct Listener(mpsc::UnboundedSender<String>);
    impl Actor for Listener {
        type Context = actix::Context<Self>;
    }
    impl Handler<ChildEvent> for Listener {
        type Result = ();
        fn handle(&mut self, event: ChildEvent, _: &mut Self::Context) {
            let what = match event.what {
                What::Up => "up".to_owned(),
                What::Down(reason, _) => format!("{reason:?}"),
            };
            self.0.send(format!("{what} {}", event.incarnation)).ok();
        }
    }

    #[test]
    fn a_late_kill_does_not_hit_the_successor() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
        System::with_tokio_rt(|| runtime.expect("it needs nothing")).block_on(async {
            let (heard, mut hears) = mpsc::unbounded_channel();
            let reporter = Reporter::new(0, Listener(heard).start().recipient());
            let (spec, _addr) = ChildSpec::new("idle", &Arbiters::single().place("here"), 16, || Idle);
            let orders = spec.launch.expect("not launched yet")(reporter);
            let mut next = async || tokio::time::timeout(Duration::from_secs(60), hears.recv()).await.ok().flatten();
            let order = |order| orders.send(order).expect("the cell lives");

            order(Order::Start);
            assert_eq!(next().await.as_deref(), Some("up 1"));
            order(Order::Kill(1, ExitReason::Hung));
            assert_eq!(next().await.as_deref(), Some("Hung 1"));
            order(Order::Start);
            assert_eq!(next().await.as_deref(), Some("up 2"));
            order(Order::Kill(1, ExitReason::Hung));
            order(Order::Start); // void while it runs
            assert_eq!(next().await, None, "life 2 goes on");
            order(Order::Kill(2, ExitReason::Overdue));
            assert_eq!(next().await.as_deref(), Some("Overdue 2"));
            drop(orders);
        });
    }
}
