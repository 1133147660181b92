//! Watches one kind in one scope: carries the watch core between the socket's task, the lane and the publisher.
//!
//! What must survive is lent: the lane, and the [`Capture`] with index and position. A report enters lane and capture in
//! one step, so wherever this actor dies, its successor goes on behind the last report that is whole.

use super::overlay::Overlay;
use super::publisher::Publisher;
use super::pump::{self, Pump, Pumping};
use super::restore::{self, Siblings};
use super::rt::{self, Context, Worker};
use crate::domain::audit::Suspect;
use crate::domain::checkpoint::Vouched;
use crate::domain::envelope::Writer;
use crate::domain::index::{Before, Name};
use crate::domain::lane::{Lane, Tally};
use crate::domain::redact::Redactor;
use crate::domain::rv::Rv;
use crate::domain::target::Target;
use crate::domain::watch::{Action, Capture, Config, Env, Notice, Point, Rebase, WatchCore};
use crate::kubernetes::driver::{self, Incoming, Order};
use crate::messages::life::Drained;
use crate::observe::board::WatcherRow;
use crate::observe::clock;
use crate::observe::metrics::Metrics;
use crate::store::Store;
use actix::prelude::{
    ActorContext as _, ActorFutureExt as _, Addr, AsyncContext as _, Handler, Message, ResponseActFuture,
    StreamHandler, WrapFuture as _,
};
use bytes::Bytes;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, OwnedSemaphorePermit, mpsc, watch};
use tokio::time::Instant;

/// What outlives the actor: lent by the wiring.
pub struct Lent {
    /// Kind and scope.
    pub target: Target,
    /// Index and position; `None` until the fold has been taken over.
    pub capture: Mutex<Option<Capture>>,
    /// Old versions that are not folded yet.
    pub overlay: Mutex<Overlay>,
    /// The lane.
    pub lane: Arc<Lane<Point>>,
    /// Rung by the lane when there is room again or something to send again.
    pub bell: Arc<Notify>,
    /// The board's row.
    pub row: Arc<WatcherRow>,
    /// Makes records.
    pub writer: Writer,
    /// Makes the redactor of each life.
    pub redactor: Box<dyn Fn() -> Redactor + Send + Sync>,
    /// Knobs of the core.
    pub config: Config,
    /// Batch bounds: records and bytes.
    pub batch: (usize, usize),
    /// Where `before` comes from when the overlay has it no more.
    pub store: Arc<Store>,
    /// True once the fold has read our own markers.
    pub folded: watch::Receiver<bool>,
    /// The checkpoint that the log held at the start; default where it held none.
    pub resume_from: Point,
    /// Why it may not simply go on from there, if so: scope or redaction are others than they were.
    pub rebase: Option<Rebase>,
    /// Where what the log holds of the kind is known to be redacted as it would be now.
    pub vouched: Vouched,
    /// What it shares with the other watchers of its kind.
    pub siblings: Arc<Siblings>,
    /// The API server and the budgets shared with the other watchers.
    pub io: driver::Shared,
    /// Metrics.
    pub metrics: Arc<Metrics>,
}

/// The actor.
pub struct Watcher {
    lent: Arc<Lent>,
    pump: Pump<Point>,
    core: WatchCore,
    /// Told at the end of the turn.
    notices: Vec<Notice>,
    began: Instant,
    orders: Option<mpsc::UnboundedSender<Order>>,
    reader: Option<rt::Task>,
    /// Frame budget of what the core has not digested.
    held: Vec<OwnedSemaphorePermit>,
    timer: Option<Instant>,
    /// What the watch was opened by while the fold still runs.
    ahead: Option<Capture>,
    /// The fold has been taken over: from here on what is read is digested.
    restored: bool,
    draining: bool,
}

rt::worker!(Watcher);

/// Batches on their way to the publisher: enough to keep it busy while one is acknowledged.
const BATCHES_IN_FLIGHT: usize = 4;
/// Reports digested before others on this arbiter get a turn.
const REPORTS_A_TURN: usize = 256;
/// Chunks between the socket's task and here; their bytes are bounded by the frame budget.
const CHUNKS: usize = 8;
/// How often the overlay drops what the fold has caught up with.
const TIDY_EVERY: Duration = Duration::from_secs(1);

impl Watcher {
    /// A watcher at the beginning of its life.
    pub fn new(lent: Arc<Lent>, publisher: Addr<Publisher>) -> Self {
        let scope = lent.target.namespace.as_deref().map(str::to_owned);
        let mut config = lent.config.clone();
        // More than its share of the frame budget is never read ahead.
        config.max_backlog = config.max_backlog.min(lent.io.frame_budget / 2);
        let core = WatchCore::new(config, (lent.redactor)(), scope);
        let pump = Pump::new(lent.lane.clone(), lent.bell.clone(), publisher, lent.batch, BATCHES_IN_FLIGHT);
        Self {
            lent,
            pump,
            core,
            notices: Vec::new(),
            began: Instant::now(),
            orders: None,
            reader: None,
            held: Vec::new(),
            timer: None,
            ahead: None,
            restored: false,
            draining: false,
        }
    }

    /// What it is lent.
    pub(super) fn lent(&self) -> &Lent {
        &self.lent
    }

    /// From here on nothing more is read; what was reported is still handed over.
    pub(super) fn stop_reading(&mut self) {
        self.draining = true;
        self.reader = None;
    }

    /// Hands over what is due.
    pub(super) fn hand_over(&mut self, ctx: &mut Context<Self>) {
        pump::hand_over(self, ctx);
    }

    fn env(&self) -> Env {
        Env { now: self.began.elapsed() * clock::pace(), wall_ms: clock::wall_ms(), chance: rand::random() }
    }

    /// Opens the watch while the fold still runs, where it is known from where: a long fold must not outlast what the API
    /// server keeps. What comes is not digested yet; the frame budget bounds it, and a server that cuts a slow reader off
    /// is asked again from the same version.
    fn read_ahead(&mut self, ctx: &mut Context<Self>) {
        let Point { history_epoch, rv } = self.lent.resume_from.clone();
        if rv.is_empty() || self.lent.rebase.is_some() {
            return;
        }
        self.open(ctx);
        let capture =
            Capture { position: rv, history_epoch, synced: true, from_checkpoint: true, ..Capture::default() };
        self.ahead = Some(capture);
    }

    /// As far as the core gets without a report: whether the server knows the version, and the request behind that.
    fn ask_ahead(&mut self) {
        let env = self.env();
        let Some(mut ahead) = self.ahead.take() else { return };
        loop {
            self.core.tick(&ahead, env);
            if matches!(self.core.phase().name, "watching" | "listing") {
                break;
            }
            match self.core.next(&ahead, &self.lent.writer, &AtHand { lent: &self.lent }, env) {
                Some(commit) if commit.records.is_empty() && commit.history_epoch.is_none() => ahead.apply(commit),
                // It has something to write, for which the fold is needed: the life behind the fold asks again.
                Some(_) => return,
                None => break,
            }
        }
        self.ahead = Some(ahead);
    }

    fn open(&mut self, ctx: &mut Context<Self>) {
        let (orders, order_queue) = mpsc::unbounded_channel();
        let (out, incoming) = mpsc::channel(CHUNKS);
        self.orders = Some(orders);
        self.reader =
            Some(ctx.spawn_io(driver::drive(self.lent.io.clone(), self.lent.target.clone(), order_queue, out)));
        ctx.feed(incoming);
    }

    /// The fold is complete: take it over, unless an earlier life did.
    fn begin(&mut self, ctx: &mut Context<Self>) {
        restore::take_over(&self.lent);
        if self.orders.is_none() {
            self.open(ctx);
        } else if !self.is_as_asked() {
            // The fold shows that the checkpoint is not to be gone on from: the next life begins without.
            ctx.stop();
            return;
        }
        self.restored = true;
        ctx.run_interval(TIDY_EVERY, |this, _| this.tidy());
        self.turn(ctx);
    }

    /// Whether what was asked for ahead is what the capture goes on from.
    fn is_as_asked(&mut self) -> bool {
        let mut slot = self.lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
        let (Some(capture), Some(ahead)) = (slot.as_mut(), self.ahead.take()) else { return false };
        let place = |capture: &Capture| (capture.history_epoch, capture.position.clone());
        let same = place(capture) == place(&ahead);
        capture.from_checkpoint &= ahead.from_checkpoint || !same;
        same
    }

    fn digest(&mut self) {
        let env = self.env();
        let lent = self.lent.clone();
        restore::write_leavers(&lent);
        let mut slot = lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(capture) = slot.as_mut() else { return };
        if lent.lane.is_half_empty() {
            self.core.relieved(env);
        }
        self.core.tick(capture, env);
        let before = AtHand { lent: &lent };
        for _ in 0..REPORTS_A_TURN {
            if !lent.lane.has_room() {
                if self.core.no_room(env) {
                    self.held.clear();
                }
                return;
            }
            let next = self.core.next(capture, &lent.writer, &before, env);
            let tally = self.tally();
            let Some(mut commit) = next else {
                // What came to nothing was received all the same.
                lent.lane.push_report(Vec::new(), None, tally, |_| false);
                // What is left is the beginning of a line: its rest must be let in.
                self.held.clear();
                lent.row.synced.store(capture.synced, Ordering::Release);
                self.core.tick(capture, env);
                return;
            };
            // One step for whoever comes after us: nothing between these lines can fail.
            let point = commit.point(capture);
            let records = mutants::lose(std::mem::take(&mut commit.records));
            lent.lane.push_report(records, point, tally, |record| lent.writer.is_change(record));
            lent.overlay.lock().unwrap_or_else(PoisonError::into_inner).extend(std::mem::take(&mut commit.versions));
            capture.apply(commit);
        }
        lent.bell.notify_one();
    }

    fn obey(&mut self, ctx: &mut Context<Self>) {
        for action in self.core.actions() {
            let order = match action {
                Action::Send(request) => Order::Send(request),
                Action::Close => Order::Close,
                Action::Listed => Order::Listed,
            };
            // The reading task is gone only when this life is ending.
            if self.orders.as_ref().is_some_and(|orders| orders.send(order).is_err()) {
                return;
            }
        }
        let mut notices = std::mem::take(&mut self.notices);
        notices.extend(self.core.notices());
        super::tally::count(&self.lent, notices);
        let trouble = self.core.trouble();
        if self.lent.row.set_trouble(trouble) {
            let watcher = self.lent.target.id();
            match trouble {
                Some(why) => tracing::warn!(watcher, why, "the API server does not answer as it should; retrying"),
                None => tracing::info!(watcher, "the API server answers again"),
            }
        }
        let phase = self.core.phase();
        self.lent.row.parked.store(phase.name == "parked", Ordering::Release);
        if self.lent.row.set_phase(phase.name, phase.reason.as_deref()) {
            let (watcher, reason) = (self.lent.target.id(), phase.reason.unwrap_or_default());
            match phase.name {
                "parked" => tracing::warn!(watcher, reason, "parked; the other kinds go on"),
                _ => tracing::info!(watcher, phase = phase.name, reason, "watch"),
            }
        }
        if let Some(at) = self.core.wake_at().map(|at| self.began + at / clock::pace())
            && self.timer != Some(at)
        {
            self.timer = Some(at);
            ctx.run_later(at.saturating_duration_since(Instant::now()), |this, ctx| {
                this.timer = None;
                this.turn(ctx);
            });
        }
    }

    /// What the last report amounts to. It enters the lane with its records, so that the account is right at any moment.
    fn tally(&mut self) -> Tally {
        let mut tally = Tally::default();
        for notice in self.core.notices() {
            match notice {
                Notice::Received => tally.received += 1,
                Notice::Filtered(reason) => tally.filter(reason),
                Notice::Inferred => tally.inferred += 1,
                other => self.notices.push(other),
            }
        }
        if tally.received > 0 {
            self.lent.row.received.fetch_add(tally.received, Ordering::Relaxed);
            self.lent.row.last_report_ms.store(clock::wall_ms(), Ordering::Relaxed);
        }
        tally
    }

    fn tidy(&mut self) {
        let (kind, store) = (&self.lent.target.kind, &self.lent.store);
        let slot = self.lent.capture.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(capture) = slot.as_ref() else { return };
        let is_newest =
            |at: &Name, uid: &str, rv: &Rv| capture.index.live(at).is_some_and(|(u, r)| **u == *uid && r == rv);
        let is_folded =
            |at: &Name, uid: &str, rv: &Rv| store.get(kind, at).is_some_and(|o| **o.uid() == *uid && o.rv() >= rv);
        let mut overlay = self.lent.overlay.lock().unwrap_or_else(PoisonError::into_inner);
        overlay.drop_unneeded(|at, uid, rv| !is_newest(at, uid, rv) || is_folded(at, uid, rv));
    }
}

impl Pumping for Watcher {
    type Point = Point;

    fn pump(&mut self) -> &mut Pump<Self::Point> {
        &mut self.pump
    }

    /// Digests what has arrived, sends what is due, does what the core orders.
    fn turn(&mut self, ctx: &mut Context<Self>) {
        if self.orders.is_some() && !self.draining {
            if self.restored {
                self.digest();
            } else {
                self.ask_ahead();
            }
            self.obey(ctx);
        }
        pump::hand_over(self, ctx);
    }
}

impl Worker for Watcher {
    fn started(&mut self, ctx: &mut Context<Self>) {
        pump::listen(self, ctx);
        if !*self.lent.folded.borrow() {
            self.read_ahead(ctx);
            self.turn(ctx);
        }
        let mut folded = self.lent.folded.clone();
        let ready = async move { folded.wait_for(|folded| *folded).await.is_ok() }.into_actor(self);
        ctx.spawn(ready.map(|folded, this, ctx| {
            if folded {
                this.begin(ctx);
            }
        }));
        // What the lane holds already goes first: our own markers, of a kind that has appeared; what an earlier life left.
        self.turn(ctx);
    }

    /// Stops reading; what was reported is sent and waited for until it is acked.
    fn drain(&mut self, deadline: Instant, ctx: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.stop_reading();
        pump::hand_over(self, ctx);
        Box::pin(pump::drained(self.lent.lane.clone(), deadline).into_actor(self))
    }
}

impl StreamHandler<Incoming> for Watcher {
    fn handle(&mut self, incoming: Incoming, ctx: &mut Context<Self>) {
        self.held.extend(incoming.held);
        let env = self.env();
        self.core.input(incoming.id, incoming.input, env);
        self.turn(ctx);
    }

    /// The reading task is gone: asked to while draining, else by a fault, and then a new life starts a new one.
    fn finished(&mut self, ctx: &mut Context<Self>) {
        if !self.draining {
            ctx.stop();
        }
    }
}

/// The fold found a record of a dead writer behind our marker: the key's last offset is not what readers hold, so it is
/// written again.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Repair {
    /// The object.
    pub at: Name,
}

impl Handler<Repair> for Watcher {
    type Result = ();

    fn handle(&mut self, repair: Repair, ctx: &mut Context<Self>) {
        restore::write_again(&self.lent, &repair.at);
        self.turn(ctx);
    }
}

/// The log does not say what the API server says: list again, and write these anew.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Resync {
    /// A word from a closed set, for the gap and the metrics.
    pub reason: &'static str,
    /// What differs.
    pub suspects: Vec<(Name, Suspect)>,
}

impl Handler<Resync> for Watcher {
    type Result = ();

    fn handle(&mut self, resync: Resync, ctx: &mut Context<Self>) {
        self.core.resync(resync.reason, resync.suspects);
        self.turn(ctx);
    }
}

/// Discovery says that the kind is served: whoever waits since a request was answered with 404 asks again at once.
#[derive(Debug, Clone, Copy, Message)]
#[rtype(result = "()")]
pub struct Served;

impl Handler<Served> for Watcher {
    type Result = ();

    fn handle(&mut self, _: Served, ctx: &mut Context<Self>) {
        self.core.served(self.env());
        self.turn(ctx);
    }
}

/// Faults on purpose; see `crate::testing`.
mod mutants {
    use crate::domain::record::OutRecord;

    #[cfg(feature = "testing")]
    pub(super) fn lose(records: Vec<OutRecord>) -> Vec<OutRecord> {
        if !records.is_empty() && crate::testing::loses_this_report() { Vec::new() } else { records }
    }

    #[cfg(not(feature = "testing"))]
    pub(super) fn lose(records: Vec<OutRecord>) -> Vec<OutRecord> {
        records
    }
}

/// Old versions: still in the overlay, or folded into the store.
pub(super) struct AtHand<'a> {
    pub(super) lent: &'a Lent,
}

impl Before for AtHand<'_> {
    fn before(&self, at: &Name, uid: &str, rv: &Rv) -> Option<Bytes> {
        let recent = self.lent.overlay.lock().unwrap_or_else(PoisonError::into_inner).get(at, uid, rv);
        recent.or_else(|| self.lent.store.before(&self.lent.target.kind, at, uid, rv))
    }
}
