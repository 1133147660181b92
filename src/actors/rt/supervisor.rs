//! The supervisor: the actor that hears of every birth and death, decides by the rules, and says what happened.

use std::cell::RefCell;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{self, Poll};
use std::time::Duration;

use actix::dev::ContextFut;
use actix::fut;
use actix::prelude::{
    Actor, ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Handler, Message, ResponseActFuture,
};
use tokio::sync::watch;
use tokio::time::Instant;

use super::cell::ChildEvent;
use super::panic::{self, Tag, guarded};
use super::shutdown::{Leaving, leave_in_order};
use super::spec::Group;
use super::tree::Tree;
use crate::domain::restart::Intensity;
use crate::messages::life::{
    ChildStatus, ControlError, Escalation, ExitReason, Kill, KillHow, LifeFact, Outcome, Ping, RestartChild,
    SupervisionTree,
};

/// Restarts of whole groups that are borne before the process gives up.
pub(super) const DEFAULT_TREE_INTENSITY: Intensity = Intensity::new(10, Duration::from_secs(60));

/// A hang is noticed up to two periods after its limit: with 10 s, and a first backoff, it is healed within 12 s (G8).
const DEFAULT_PROBE_EVERY: Duration = Duration::from_millis(500);

type OnEscalate = Rc<RefCell<Option<Box<dyn FnOnce(Escalation)>>>>;

/// Starts, watches, restarts and ends a tree of groups. Set it up, then [`Supervisor::start`] it.
pub struct Supervisor {
    pub(super) tree: Tree,
    chaos: bool,
    probe_every: Duration,
    observe: Box<dyn FnMut(&LifeFact)>,
    on_escalate: OnEscalate,
    booted: watch::Sender<bool>,
    leaving: bool,
    /// The timer that is set.
    wakes_at: Option<std::time::Instant>,
}

impl std::fmt::Debug for Supervisor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Supervisor").field("tree", &self.tree.statuses()).finish_non_exhaustive()
    }
}

/// Two children have one name, which would make orders ambiguous.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("two actors are called {0:?}: give each a name of its own")]
pub struct DuplicateChild(pub String);

impl Supervisor {
    /// Of these groups, which start in this order (sinks before sources) and stop in reverse. Groups do not restart
    /// each other.
    pub fn new(groups: Vec<Group>) -> Self {
        let stop_system: Box<dyn FnOnce(Escalation)> =
            Box::new(|_| actix::System::current().stop_with_code(Escalation::EXIT_CODE));
        Self {
            tree: Tree::new(groups, Instant::now().into_std(), wall_clock_ms),
            chaos: false,
            probe_every: DEFAULT_PROBE_EVERY,
            observe: Box::new(|_| {}),
            on_escalate: Rc::new(RefCell::new(Some(stop_system))),
            booted: watch::Sender::new(false),
            leaving: false,
            wakes_at: None,
        }
    }

    /// Restarts of whole groups that are borne. Default: 10 in 60 s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.tree.set_intensity(intensity);
        self
    }

    /// Whether [`SupervisorHandle::kill`] works: the setting `chaos.enabled`. Default: no.
    #[must_use]
    pub fn chaos(mut self, enabled: bool) -> Self {
        self.chaos = enabled;
        self
    }

    /// How often hangs are looked for. Default: 500 ms.
    #[must_use]
    pub fn probe_every(mut self, period: Duration) -> Self {
        self.probe_every = period;
        self
    }

    /// Where the backoff's randomness comes from, uniform in 0..1: seeded in simulation. Default: the thread's.
    #[must_use]
    pub fn jitter(mut self, jitter: impl FnMut() -> f64 + 'static) -> Self {
        self.tree.set_jitter(Box::new(jitter));
        self
    }

    /// Is told every fact once, after it was logged: for metrics and self-reported events. It must not block.
    #[must_use]
    pub fn observe(mut self, observer: impl FnMut(&LifeFact) + 'static) -> Self {
        self.observe = Box::new(observer);
        self
    }

    /// What to do when supervision gives up, once. Children that live go on until [`SupervisorHandle::shutdown`].
    /// Default: the actix system stops with [`Escalation::EXIT_CODE`].
    #[must_use]
    pub fn on_escalate(self, react: impl FnOnce(Escalation) + 'static) -> Self {
        *self.on_escalate.borrow_mut() = Some(Box::new(react));
        self
    }

    /// Starts it on the current arbiter, which should be the system's: one that no child can block.
    pub fn start(self) -> Result<SupervisorHandle, DuplicateChild> {
        if let Some(id) = self.tree.duplicate() {
            return Err(DuplicateChild(id.to_string()));
        }
        panic::install_hook();
        let (booted, on_escalate) = (self.booted.subscribe(), self.on_escalate.clone());
        let future = Box::pin(actix::Context::new().into_future(self));
        let addr = future.address();
        let tag = Tag { actor: Arc::from("supervisor"), incarnation: 1 };
        actix::spawn(LastResort { future: Some(future), on_escalate, tag });
        Ok(SupervisorHandle { addr, booted })
    }

    /// After every event: do what is due, say what happened, and be woken for what is not due yet.
    pub(super) fn go_on(&mut self, ctx: &mut actix::Context<Self>) {
        let now = Instant::now();
        self.tree.advance(now.into_std(), &ctx.address().recipient());
        if self.tree.is_booted() {
            self.booted.send_if_modified(|booted| !std::mem::replace(booted, true));
        }
        for fact in self.tree.take_facts() {
            log(&fact);
            (self.observe)(&fact);
            if let LifeFact::Escalated(escalation) = fact {
                escalate(&self.on_escalate, escalation);
            }
        }
        let wake = self.tree.next_wake(now.into_std());
        // One timer unless an earlier one is needed: a timer for every event would multiply under a long backoff.
        if let Some(wake) = wake.filter(|wake| self.wakes_at.is_none_or(|set| *wake < set)) {
            self.wakes_at = Some(wake);
            let wait = Instant::from_std(wake).saturating_duration_since(now);
            ctx.run_later(wait, move |this, ctx| {
                if this.wakes_at == Some(wake) {
                    this.wakes_at = None;
                }
                this.go_on(ctx);
            });
        }
    }

    fn probe(&mut self, ctx: &mut actix::Context<Self>) {
        for (slot, incarnation) in self.tree.probe(Instant::now().into_std()) {
            let answer = self.tree.slot(slot).spec.ping.send(Ping);
            ctx.spawn(fut::wrap_future::<_, Self>(answer).map(move |answer, this, _| {
                if answer.is_ok() {
                    this.tree.answered(slot, incarnation);
                }
            }));
        }
    }
}

fn escalate(react: &OnEscalate, escalation: Escalation) {
    // Taken out before it is called: it may end the system, and with it this actor.
    let react = react.borrow_mut().take();
    if let Some(react) = react {
        react(escalation);
    }
}

/// Every fact is logged here and nowhere else. A panic's message is in the error that the hook wrote, too.
fn log(fact: &LifeFact) {
    match fact {
        LifeFact::Up { id, incarnation } => tracing::info!(actor = id, incarnation, "the actor is up"),
        LifeFact::Down { id, incarnation, exit, back_in_ms } => {
            let (reason, panic, location) = (exit.reason, exit.message.as_deref(), exit.location.as_deref());
            if reason == ExitReason::Asked {
                tracing::info!(actor = id, incarnation, ?reason, back_in_ms, "the actor was stopped");
            } else {
                tracing::warn!(actor = id, incarnation, ?reason, panic, location, back_in_ms, "the actor went down");
            }
        }
        LifeFact::GroupRestarted { group, back_in_ms } => {
            tracing::warn!(group, back_in_ms, "the group failed too often and is restarted as a whole");
        }
        LifeFact::Escalated(Escalation { id, why }) => {
            tracing::error!(actor = id, why, exit_code = Escalation::EXIT_CODE, "supervision gives up");
        }
    }
}

#[allow(clippy::disallowed_methods, reason = "an edge: tells people when, decides nothing")]
fn wall_clock_ms() -> u64 {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}

impl Actor for Supervisor {
    type Context = actix::Context<Self>;

    fn started(&mut self, ctx: &mut Self::Context) {
        self.go_on(ctx);
        ctx.run_interval(self.probe_every, Self::probe);
    }
}

impl Handler<ChildEvent> for Supervisor {
    type Result = ();

    fn handle(&mut self, event: ChildEvent, ctx: &mut Self::Context) {
        self.tree.heard(event, Instant::now().into_std());
        self.go_on(ctx);
    }
}

impl Handler<SupervisionTree> for Supervisor {
    type Result = Vec<ChildStatus>;

    fn handle(&mut self, _: SupervisionTree, _: &mut Self::Context) -> Self::Result {
        self.tree.statuses()
    }
}

impl Handler<RestartChild> for Supervisor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, asked: RestartChild, ctx: &mut Self::Context) -> Self::Result {
        self.tree.restart(&asked.id, Instant::now().into_std())?;
        self.go_on(ctx);
        Ok(())
    }
}

impl Handler<Kill> for Supervisor {
    type Result = Result<(), ControlError>;

    fn handle(&mut self, asked: Kill, _: &mut Self::Context) -> Self::Result {
        if !self.chaos {
            return Err(ControlError::ChaosDisabled);
        }
        self.tree.provoke(&asked.id, asked.how)?;
        tracing::info!(actor = asked.id, how = ?asked.how, "chaos: the actor was asked to fail");
        Ok(())
    }
}

#[derive(Debug, Message)]
#[rtype(result = "Vec<(String, Outcome)>")]
struct Shutdown {
    deadline: Instant,
}

impl Handler<Shutdown> for Supervisor {
    type Result = ResponseActFuture<Self, Vec<(String, Outcome)>>;

    fn handle(&mut self, shutdown: Shutdown, _: &mut Self::Context) -> Self::Result {
        self.tree.close();
        let stages = if std::mem::replace(&mut self.leaving, true) { Vec::new() } else { self.tree.leaving() };
        let leaving = |stage: Vec<usize>| stage.into_iter().map(|slot| Leaving::of(self.tree.slot(slot))).collect();
        let stages = stages.into_iter().map(leaving).collect();
        Box::pin(fut::wrap_future::<_, Self>(leave_in_order(stages, shutdown.deadline)).map(|outcomes, this, _| {
            this.tree.all_ended();
            outcomes
        }))
    }
}

type SupervisorFuture = ContextFut<Supervisor, actix::Context<Supervisor>>;

/// Nobody supervises the supervisor: when it panics the process must end.
struct LastResort {
    future: Option<Pin<Box<SupervisorFuture>>>,
    on_escalate: OnEscalate,
    tag: Tag,
}

impl Future for LastResort {
    type Output = ();

    fn poll(self: Pin<&mut Self>, cx: &mut task::Context<'_>) -> Poll<()> {
        let this = self.get_mut();
        let Some(future) = &mut this.future else { return Poll::Ready(()) };
        let report = match guarded(&this.tag, || future.as_mut().poll(cx)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(())) => return Poll::Ready(()),
            Err(report) => report,
        };
        let dead = this.future.take();
        let why = format!("it panicked: {}", report.message);
        escalate(&this.on_escalate, Escalation { id: this.tag.actor.to_string(), why });
        // A second panic on the way out changes nothing; the hook has logged it.
        guarded(&this.tag, move || {
            if let Some(mut dead) = dead {
                end_without_last_words(dead.as_mut().get_mut().ctx());
            }
        })
        .ok();
        Poll::Ready(())
    }
}

#[allow(clippy::disallowed_methods, reason = "skipping stopping() is the point: the actor has just panicked")]
fn end_without_last_words(ctx: &mut actix::Context<Supervisor>) {
    ctx.terminate();
}

/// The way to a running [`Supervisor`], from any thread.
#[derive(Clone, Debug)]
pub struct SupervisorHandle {
    pub(super) addr: Addr<Supervisor>,
    booted: watch::Receiver<bool>,
}

impl SupervisorHandle {
    /// Waits until every child has been up once. Never, when that never happens: give it a deadline.
    pub async fn booted(&self) {
        if self.booted.clone().wait_for(|booted| *booted).await.is_err() {
            // The supervisor is gone, and will never say.
            std::future::pending::<()>().await;
        }
    }

    /// The whole tree, in start order.
    pub async fn tree(&self) -> Result<Vec<ChildStatus>, ControlError> {
        self.addr.send(SupervisionTree).await.map_err(|_| ControlError::SupervisorGone)
    }

    /// Makes an actor fail the way it would by itself. Answers when the failure is under way, not when it is healed.
    pub async fn kill(&self, id: impl Into<String>, how: KillHow) -> Result<(), ControlError> {
        self.addr.send(Kill { id: id.into(), how }).await.map_err(|_| ControlError::SupervisorGone)?
    }

    /// Stops an actor and starts it again, with those of its group that depend on it. Counts as no failure. Answers
    /// when that is under way.
    pub async fn restart(&self, id: impl Into<String>) -> Result<(), ControlError> {
        self.addr.send(RestartChild { id: id.into() }).await.map_err(|_| ControlError::SupervisorGone)?
    }

    /// Ends the tree in reverse start order: each child drains (within its own deadline and this one), then stops, and
    /// is ended if it does not. Nothing is restarted from here on. Returns how each ended, in that order; empty when
    /// the supervisor is gone, or has been asked before.
    pub async fn shutdown(&self, within: Duration) -> Vec<(String, Outcome)> {
        let deadline = Instant::now() + within;
        self.addr.send(Shutdown { deadline }).await.unwrap_or_default()
    }
}
