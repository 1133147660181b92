//! What the wiring says about an actor and about the group it is restarted with.

use std::sync::Arc;
use std::time::Duration;

use actix::dev::{Mailbox, channel};
use actix::prelude::{Addr, Recipient};
use tokio::sync::mpsc;

use super::cell::{Cell, Order, Reporter};
use super::{Context, Place, Vitals, Worker};
use crate::domain::restart::{Backoff, Intensity, RestartPolicy, Strategy};
use crate::messages::life::{Drain, Ping};

/// Long enough for a group's worst single message, short enough for G8 (a hung actor is back within 12 s).
const DEFAULT_HANG_LIMIT: Duration = Duration::from_secs(10);
/// An actor that is idle drains at once; one with work in hand says its own.
const DEFAULT_SHUTDOWN: Duration = Duration::from_secs(2);
/// OTP's window is tighter (1 in 5 s), but has no backoff: with ours, 5 failures take about 2 s.
const DEFAULT_GROUP_INTENSITY: Intensity = Intensity::new(5, Duration::from_secs(60));

/// Puts the cell on its arbiter.
pub(super) type Launch = Box<dyn FnOnce(Reporter) -> mpsc::UnboundedSender<Order> + Send>;

/// One supervised actor.
pub struct ChildSpec {
    pub(super) id: Arc<str>,
    pub(super) arbiter: Arc<str>,
    pub(super) restart: RestartPolicy,
    pub(super) shutdown: Duration,
    pub(super) backoff: Backoff,
    pub(super) hang_limit: Option<Duration>,
    pub(super) vitals: Arc<Vitals>,
    pub(super) ping: Recipient<Ping>,
    pub(super) drain: Recipient<Drain>,
    /// Taken at the first start.
    pub(super) launch: Option<Launch>,
}

impl std::fmt::Debug for ChildSpec {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ChildSpec").field("id", &self.id).field("arbiter", &self.arbiter).finish_non_exhaustive()
    }
}

impl ChildSpec {
    /// An actor that lives at `place`, and its address, which is good for all its lives and from now on: mail sent
    /// before the start waits for it.
    ///
    /// `capacity` is what actix makes of it: advice, enforced by nothing but `try_send`. Real bounds are credits.
    /// `factory` is called once per life, on the actor's thread; it is cheap and does not fail.
    pub fn new<A: Worker>(
        id: impl Into<Arc<str>>,
        place: &Place,
        capacity: usize,
        factory: impl Fn() -> A + Send + 'static,
    ) -> (Self, Addr<A>) {
        let id = id.into();
        let (sender, receiver) = channel::channel::<A>(capacity);
        let addr = Addr::new(sender);
        let vitals = Arc::new(Vitals::default());
        let launch = {
            let (id, place, vitals) = (id.clone(), place.clone(), vitals.clone());
            Box::new(move |reporter: Reporter| -> mpsc::UnboundedSender<Order> {
                let (orders_tx, orders) = mpsc::unbounded_channel();
                let io = place.io.clone();
                // Whether it was taken says nothing: a dying arbiter takes it and drops it. The reporter tells then.
                let _taken: bool = place.arbiter.spawn_fn(move || {
                    let mailbox = Mailbox::new(receiver);
                    let ctx = Context::new(&mailbox, Box::new(factory), id, vitals, io);
                    actix::spawn(Cell::new(ctx, mailbox, orders, reporter));
                });
                orders_tx
            })
        };
        let spec = Self {
            id,
            arbiter: place.name.clone(),
            restart: RestartPolicy::default(),
            shutdown: DEFAULT_SHUTDOWN,
            backoff: Backoff::default(),
            hang_limit: Some(DEFAULT_HANG_LIMIT),
            vitals,
            ping: addr.clone().recipient(),
            drain: addr.clone().recipient(),
            launch: Some(launch),
        };
        (spec, addr)
    }

    /// When it is started again. Default: always.
    #[must_use]
    pub fn restart(mut self, policy: RestartPolicy) -> Self {
        self.restart = policy;
        self
    }

    /// How long it may take to drain at shutdown, and to stop at a restart. Default: 2 s.
    #[must_use]
    pub fn shutdown(mut self, within: Duration) -> Self {
        self.shutdown = within;
        self
    }

    /// The wait before each restart. Default: [`Backoff::default`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// Without an answered ping and a handled message for this long it is killed; `None` = never. Default: 10 s.
    #[must_use]
    pub fn hang_limit(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.hang_limit = limit.into();
        self
    }

    /// Its signs of life, for metrics.
    pub fn vitals(&self) -> Arc<Vitals> {
        self.vitals.clone()
    }
}

/// Actors that are started, counted and given up together. A group that fails too often is restarted as a whole, and
/// counted by the tree; a tree that does escalates.
#[derive(Debug)]
pub struct Group {
    pub(super) id: Arc<str>,
    pub(super) strategy: Strategy,
    pub(super) intensity: Intensity,
    pub(super) backoff: Backoff,
    pub(super) stops_together: bool,
    pub(super) children: Vec<ChildSpec>,
}

impl Group {
    /// Members that do not depend on each other.
    pub fn one_for_one(id: impl Into<Arc<str>>) -> Self {
        Self::new(id, Strategy::OneForOne)
    }

    /// Members of which each depends on those before it.
    pub fn rest_for_one(id: impl Into<Arc<str>>) -> Self {
        Self::new(id, Strategy::RestForOne)
    }

    fn new(id: impl Into<Arc<str>>, strategy: Strategy) -> Self {
        Self {
            id: id.into(),
            strategy,
            intensity: DEFAULT_GROUP_INTENSITY,
            backoff: Backoff::default(),
            stops_together: false,
            children: Vec::new(),
        }
    }

    /// Adds a member, to be started after those before it are up.
    #[must_use]
    pub fn child(mut self, spec: ChildSpec) -> Self {
        self.children.push(spec);
        self
    }

    /// Restarts borne by the group. Default: 5 in 60 s.
    #[must_use]
    pub fn intensity(mut self, intensity: Intensity) -> Self {
        self.intensity = intensity;
        self
    }

    /// The wait before the group is restarted as a whole. Default: [`Backoff::default`].
    #[must_use]
    pub fn backoff(mut self, backoff: Backoff) -> Self {
        self.backoff = backoff;
        self
    }

    /// At shutdown all members drain at the same time instead of one after the other: for many that are independent,
    /// such as one watcher per kind, whose deadlines would add up.
    #[must_use]
    pub fn stop_together(mut self) -> Self {
        self.stops_together = true;
        self
    }
}

/// The way to a launched child.
#[derive(Debug, Clone)]
pub(super) struct Line {
    orders: mpsc::UnboundedSender<Order>,
}

impl Line {
    pub(super) fn new(orders: mpsc::UnboundedSender<Order>) -> Self {
        Self { orders }
    }

    /// A cell that is gone has said so by its reporter; an order to it is void.
    pub(super) fn order(&self, order: Order) {
        self.orders.send(order).ok();
    }
}
