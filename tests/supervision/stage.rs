//! The subject that misbehaves on request, and the stages it plays on.

use crate::waiting::looked;
use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::{
    ActorContext as _, Addr, AsyncContext as _, Handler, Message, ResponseActFuture, StreamHandler, System,
};
use agent_events::actors::rt::{
    self, Arbiters, ChildSpec, Context, Group, Place, Supervisor, SupervisorHandle, Worker,
};
use agent_events::messages::life::{ChildStatus, Drained, Escalation, LifeFact};
use tokio::time::{Instant, sleep};

/// What survives the subject's lives, and how it shall misbehave.
#[derive(Clone, Default)]
pub struct Lent {
    pub handled: Arc<AtomicUsize>,
    pub starts: Arc<AtomicUsize>,
    pub ticks: Arc<AtomicUsize>,
    pub fed: Arc<AtomicUsize>,
    pub io_alive: Arc<AtomicUsize>,
    /// So many starts will panic.
    pub bad_starts: Arc<AtomicUsize>,
    /// So many calls of the factory will panic.
    pub bad_factory_calls: Arc<AtomicUsize>,
    /// The actor panics when it is dropped, once.
    pub bad_drop: Arc<AtomicBool>,
    pub ignores_drain: Arc<AtomicBool>,
    pub left_by_drain: Arc<AtomicU64>,
    pub reads: Arc<AtomicBool>,
    pub stop_reading: Arc<tokio::sync::Notify>,
}

pub struct Subject {
    pub lent: Lent,
    /// State of this life only.
    pub handled: usize,
    pub reader: Option<rt::Task>,
}

rt::worker!(Subject);

impl Subject {
    pub fn new(lent: &Lent) -> Self {
        if take_one(&lent.bad_factory_calls) {
            panic!("the factory fails");
        }
        Self { lent: lent.clone(), handled: 0, reader: None }
    }
}

impl Drop for Subject {
    fn drop(&mut self) {
        if self.lent.bad_drop.swap(false, SeqCst) {
            panic!("dropping fails");
        }
    }
}

impl Worker for Subject {
    fn started(&mut self, ctx: &mut Context<Self>) {
        self.lent.starts.fetch_add(1, SeqCst);
        if take_one(&self.lent.bad_starts) {
            panic!("started fails");
        }
        ctx.run_interval(Duration::from_millis(100), |this, _| {
            this.lent.ticks.fetch_add(1, SeqCst);
        });
        if self.lent.reads.load(SeqCst) {
            let (tx, rx) = tokio::sync::mpsc::channel(4);
            let alive = Alive::new(&self.lent.io_alive);
            let stop = self.lent.stop_reading.clone();
            self.reader = Some(ctx.spawn_io(async move {
                let _alive = alive;
                for batch in 0..3u32 {
                    tx.send(batch).await.expect("the actor lives while this runs");
                }
                stop.notified().await;
            }));
            ctx.feed(rx);
        }
    }

    fn drain(&mut self, _: Instant, _: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        if self.lent.ignores_drain.load(SeqCst) {
            Box::pin(wrap_future(pending()))
        } else {
            rt::drained(self.lent.left_by_drain.load(SeqCst))
        }
    }
}

impl StreamHandler<u32> for Subject {
    fn handle(&mut self, _: u32, _: &mut Context<Self>) {
        self.lent.fed.fetch_add(1, SeqCst);
    }
}

/// Counted while it lives.
pub struct Alive(Arc<AtomicUsize>);

impl Alive {
    pub fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

pub fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok()
}

#[derive(Message, Clone, Copy)]
#[rtype(result = "usize")]
pub enum Do {
    Count,
    Panic,
    PanicInTimer,
    Stop,
    Hang,
    WorkASecond,
    CancelThenStop,
    StopMyArbiter,
}

impl Handler<Do> for Subject {
    type Result = usize;

    fn handle(&mut self, what: Do, ctx: &mut Context<Self>) -> usize {
        match what {
            Do::Count => {
                self.handled += 1;
                self.lent.handled.fetch_add(1, SeqCst);
            }
            Do::Panic => panic!("boom\nin a handler"),
            Do::PanicInTimer => {
                ctx.run_later(Duration::from_millis(1), |_, _| panic!("boom in a timer"));
            }
            Do::Stop => ctx.stop(),
            Do::Hang => ctx.wait(wrap_future(pending())),
            Do::WorkASecond => ctx.wait(wrap_future(sleep(Duration::from_secs(1)))),
            Do::CancelThenStop => cancel_the_first_timer_and_stop(ctx),
            Do::StopMyArbiter => {
                actix::Arbiter::current().stop();
            }
        }
        self.handled
    }
}

#[allow(clippy::disallowed_methods, reason = "the trap itself is under test")]
pub fn cancel_the_first_timer_and_stop(ctx: &mut Context<Subject>) {
    ctx.cancel_future(actix::SpawnHandle::default().next());
    ctx.stop();
}

/// Runs in the actor.
#[derive(Message)]
#[rtype(result = "()")]
pub struct Run(pub Box<dyn FnOnce() + Send>);

impl Handler<Run> for Subject {
    type Result = ();
    fn handle(&mut self, run: Run, _: &mut Context<Self>) {
        (run.0)();
    }
}

/// One thread, paused time: waiting costs nothing, and the same test always runs the same way.
pub fn simulated<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime.expect("a current-thread runtime needs nothing")).block_on(test)
}

/// Real threads and real time.
pub fn threaded<T>(test: impl AsyncFnOnce(Arbiters) -> T) -> T {
    let io = rt::io_runtime(2).expect("threads for the shared runtime");
    rt::system(&io).block_on(async { test(Arbiters::shared(io.clone())).await })
}

pub async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async || condition().then_some(());
    let met = looked(Duration::from_secs(120), Duration::from_millis(1), met).await;
    met.unwrap_or_else(|| panic!("never: {what}"));
}

/// What the supervisor told, each with the time since the story began.
#[derive(Clone, Default)]
pub struct Story {
    pub facts: Rc<RefCell<Vec<(Duration, LifeFact)>>>,
    pub escalation: Rc<RefCell<Option<Escalation>>>,
}

impl Story {
    pub fn attach(&self, supervisor: Supervisor) -> Supervisor {
        let (facts, escalation, start) = (self.facts.clone(), self.escalation.clone(), Instant::now());
        supervisor
            .observe(move |fact| facts.borrow_mut().push((start.elapsed(), fact.clone())))
            .on_escalate(move |why| *escalation.borrow_mut() = Some(why))
    }

    pub fn told(&self) -> Vec<String> {
        self.facts.borrow().iter().map(|(_, fact)| tell(fact)).collect()
    }

    pub fn tells(&self, told: &str) -> bool {
        self.told().iter().any(|line| line == told)
    }

    /// When that was told first.
    pub fn time_of(&self, told: &str) -> Duration {
        let facts = self.facts.borrow();
        facts.iter().find(|(_, fact)| tell(fact) == told).unwrap_or_else(|| panic!("never told: {told}")).0
    }

    pub fn waits_ms(&self) -> Vec<u64> {
        let wait = |fact: &LifeFact| if let LifeFact::Down { back_in_ms, .. } = fact { *back_in_ms } else { None };
        self.facts.borrow().iter().filter_map(|(_, fact)| wait(fact)).collect()
    }

    pub async fn until(&self, told: &str) {
        until(told, || self.tells(told)).await;
    }

    pub fn escalation(&self) -> Option<Escalation> {
        self.escalation.borrow().clone()
    }

    pub fn forget(&self) {
        self.facts.borrow_mut().clear();
    }
}

/// `up a#1`, `down a#1 Panicked`...
pub fn tell(fact: &LifeFact) -> String {
    match fact {
        LifeFact::Up { id, incarnation } => format!("up {id}#{incarnation}"),
        LifeFact::Down { id, incarnation, exit, .. } => format!("down {id}#{incarnation} {:?}", exit.reason),
        LifeFact::GroupRestarted { group, .. } => format!("group {group}"),
        LifeFact::Escalated(escalation) => format!("escalated {}", escalation.id),
    }
}

pub fn subject(id: &str, place: &Place) -> (ChildSpec, Addr<Subject>, Lent) {
    let lent = Lent::default();
    let seed = lent.clone();
    let (spec, addr) = ChildSpec::new(id, place, 16, move || Subject::new(&seed));
    (spec, addr, lent)
}

pub struct One {
    pub addr: Addr<Subject>,
    pub lent: Lent,
    pub story: Story,
    pub supervisor: SupervisorHandle,
}

impl One {
    pub async fn status(&self) -> ChildStatus {
        self.supervisor.tree().await.expect("the supervisor lives").remove(0)
    }

    /// Sends what no answer can come to.
    pub async fn provoke(&self, what: Do) {
        self.addr.send(what).await.ok();
    }
}

/// One actor `a` in group `g`, on the current thread, with the longest waits its backoff can draw.
pub async fn one(set_up: impl FnOnce(ChildSpec) -> ChildSpec, lend: impl FnOnce(&Lent)) -> One {
    let (spec, addr, lent) = subject("a", &Arbiters::single().place("here"));
    lend(&lent);
    let story = Story::default();
    let tree = Supervisor::new(vec![Group::one_for_one("g").child(set_up(spec))]).chaos(true);
    let supervisor = story.attach(tree).jitter(|| 1.0).start().expect("ids differ");
    supervisor.booted().await;
    One { addr, lent, story, supervisor }
}

pub async fn one_plain() -> One {
    one(|spec| spec, |_| {}).await
}

pub struct Three {
    pub addrs: Vec<Addr<Subject>>,
    pub lents: Vec<Lent>,
    pub story: Story,
    pub supervisor: SupervisorHandle,
}

/// Actors `a`, `b` and `c` in one group.
pub async fn three(mut group: Group, set_up: impl Fn(ChildSpec) -> ChildSpec, lend: impl Fn(&str, &Lent)) -> Three {
    let (mut addrs, mut lents) = (Vec::new(), Vec::new());
    for id in ["a", "b", "c"] {
        let (spec, addr, lent) = subject(id, &Arbiters::single().place("here"));
        lend(id, &lent);
        group = group.child(set_up(spec));
        addrs.push(addr);
        lents.push(lent);
    }
    let story = Story::default();
    let tree = Supervisor::new(vec![group]).chaos(true).jitter(|| 1.0);
    let supervisor = story.attach(tree).start().expect("ids differ");
    supervisor.booted().await;
    Three { addrs, lents, story, supervisor }
}

impl Three {
    pub async fn provoke(&self, which: usize, what: Do) {
        self.addrs[which].send(what).await.ok();
    }
}
