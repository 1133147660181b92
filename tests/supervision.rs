//! Proves that an actor may die in any manner on any line, and that the tree heals it, or says that it cannot (G8, G9).
//!
//! It rests on actix 0.13.5: `ContextFut::restart` is public and keeps the mailbox; `cancel_future` and dropping a
//! restarted context are traps there. Tests run on one thread with paused tokio time unless they are about threads.

use std::cell::RefCell;
use std::future::pending;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::fut::wrap_future;
use actix::prelude::{
    ActorContext as _, Addr, AsyncContext as _, Handler, MailboxError, Message, ResponseActFuture, StreamHandler,
    System,
};
use agent_events::actors::rt::{
    self, Arbiters, ChildSpec, Context, DuplicateChild, Group, Place, Supervisor, SupervisorHandle, Worker,
};
use agent_events::domain::restart::{Backoff, Intensity, RestartPolicy};
use agent_events::messages::life::{
    ChildStatus, ControlError, Drained, Escalation, ExitReason, KillHow, LifeFact, LifeState, Outcome,
};
use tokio::time::{Instant, sleep, timeout};

// ------------------------------------------------------------------------------------------------- the subject

/// What survives the subject's lives, and how it shall misbehave.
#[derive(Clone, Default)]
struct Lent {
    handled: Arc<AtomicUsize>,
    starts: Arc<AtomicUsize>,
    ticks: Arc<AtomicUsize>,
    fed: Arc<AtomicUsize>,
    io_alive: Arc<AtomicUsize>,
    /// So many starts will panic.
    bad_starts: Arc<AtomicUsize>,
    /// So many calls of the factory will panic.
    bad_factory_calls: Arc<AtomicUsize>,
    /// The actor panics when it is dropped, once.
    bad_drop: Arc<AtomicBool>,
    ignores_drain: Arc<AtomicBool>,
    reads: Arc<AtomicBool>,
    stop_reading: Arc<tokio::sync::Notify>,
}

struct Subject {
    lent: Lent,
    /// State of this life only.
    handled: usize,
    reader: Option<rt::Task>,
}

rt::worker!(Subject);

impl Subject {
    fn new(lent: &Lent) -> Self {
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
        ctx.run_interval(Duration::from_millis(10), |this, _| {
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
        if self.lent.ignores_drain.load(SeqCst) { Box::pin(wrap_future(pending())) } else { rt::drained(0) }
    }
}

impl StreamHandler<u32> for Subject {
    fn handle(&mut self, _: u32, _: &mut Context<Self>) {
        self.lent.fed.fetch_add(1, SeqCst);
    }
}

/// Counted while it lives.
struct Alive(Arc<AtomicUsize>);

impl Alive {
    fn new(count: &Arc<AtomicUsize>) -> Self {
        count.fetch_add(1, SeqCst);
        Self(count.clone())
    }
}

impl Drop for Alive {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}

fn take_one(count: &AtomicUsize) -> bool {
    count.fetch_update(SeqCst, SeqCst, |n| n.checked_sub(1)).is_ok()
}

#[derive(Message, Clone, Copy)]
#[rtype(result = "usize")]
enum Do {
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
fn cancel_the_first_timer_and_stop(ctx: &mut Context<Subject>) {
    ctx.cancel_future(actix::SpawnHandle::default().next());
    ctx.stop();
}

/// Runs in the actor.
#[derive(Message)]
#[rtype(result = "()")]
struct Run(Box<dyn FnOnce() + Send>);

impl Handler<Run> for Subject {
    type Result = ();
    fn handle(&mut self, run: Run, _: &mut Context<Self>) {
        (run.0)();
    }
}

// ------------------------------------------------------------------------------------------------- the stage

/// One thread, paused time: waiting costs nothing, and the same test always runs the same way.
fn simulated<T>(test: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime.expect("a current-thread runtime needs nothing")).block_on(test)
}

/// Real threads and real time.
fn threaded<T>(test: impl AsyncFnOnce(Arbiters) -> T) -> T {
    let io = rt::io_runtime(2).expect("threads for the shared runtime");
    rt::system(&io).block_on(async { test(Arbiters::shared(io.clone())).await })
}

async fn until(what: &str, condition: impl Fn() -> bool) {
    let met = async {
        while !condition() {
            sleep(Duration::from_millis(1)).await;
        }
    };
    timeout(Duration::from_secs(120), met).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// What the supervisor told, each with the time since the story began.
#[derive(Clone, Default)]
struct Story {
    facts: Rc<RefCell<Vec<(Duration, LifeFact)>>>,
    escalation: Rc<RefCell<Option<Escalation>>>,
}

impl Story {
    fn attach(&self, supervisor: Supervisor) -> Supervisor {
        let (facts, escalation, start) = (self.facts.clone(), self.escalation.clone(), Instant::now());
        supervisor
            .observe(move |fact| facts.borrow_mut().push((start.elapsed(), fact.clone())))
            .on_escalate(move |why| *escalation.borrow_mut() = Some(why))
    }

    fn told(&self) -> Vec<String> {
        self.facts.borrow().iter().map(|(_, fact)| tell(fact)).collect()
    }

    fn tells(&self, told: &str) -> bool {
        self.told().iter().any(|line| line == told)
    }

    /// When that was told first.
    fn time_of(&self, told: &str) -> Duration {
        let facts = self.facts.borrow();
        facts.iter().find(|(_, fact)| tell(fact) == told).unwrap_or_else(|| panic!("never told: {told}")).0
    }

    fn waits_ms(&self) -> Vec<u64> {
        let wait = |fact: &LifeFact| if let LifeFact::Down { back_in_ms, .. } = fact { *back_in_ms } else { None };
        self.facts.borrow().iter().filter_map(|(_, fact)| wait(fact)).collect()
    }

    async fn until(&self, told: &str) {
        until(told, || self.tells(told)).await;
    }

    fn escalation(&self) -> Option<Escalation> {
        self.escalation.borrow().clone()
    }

    fn forget(&self) {
        self.facts.borrow_mut().clear();
    }
}

/// `up a#1`, `down a#1 Panicked`...
fn tell(fact: &LifeFact) -> String {
    match fact {
        LifeFact::Up { id, incarnation } => format!("up {id}#{incarnation}"),
        LifeFact::Down { id, incarnation, exit, .. } => format!("down {id}#{incarnation} {:?}", exit.reason),
        LifeFact::GroupRestarted { group, .. } => format!("group {group}"),
        LifeFact::Escalated(escalation) => format!("escalated {}", escalation.id),
    }
}

fn subject(id: &str, place: &Place) -> (ChildSpec, Addr<Subject>, Lent) {
    let lent = Lent::default();
    let seed = lent.clone();
    let (spec, addr) = ChildSpec::new(id, place, 16, move || Subject::new(&seed));
    (spec, addr, lent)
}

struct One {
    addr: Addr<Subject>,
    lent: Lent,
    story: Story,
    supervisor: SupervisorHandle,
}

impl One {
    async fn status(&self) -> ChildStatus {
        self.supervisor.tree().await.expect("the supervisor lives").remove(0)
    }

    /// Sends what no answer can come to.
    async fn provoke(&self, what: Do) {
        self.addr.send(what).await.ok();
    }
}

/// One actor `a` in group `g`, on the current thread, with the longest waits its backoff can draw.
async fn one(set_up: impl FnOnce(ChildSpec) -> ChildSpec, lend: impl FnOnce(&Lent)) -> One {
    let (spec, addr, lent) = subject("a", &Arbiters::single().place("here"));
    lend(&lent);
    let story = Story::default();
    let tree = Supervisor::new(vec![Group::one_for_one("g").child(set_up(spec))]).chaos(true);
    let supervisor = story.attach(tree).jitter(|| 1.0).start().expect("ids differ");
    supervisor.booted().await;
    One { addr, lent, story, supervisor }
}

async fn one_plain() -> One {
    one(|spec| spec, |_| {}).await
}

struct Three {
    addrs: Vec<Addr<Subject>>,
    lents: Vec<Lent>,
    story: Story,
    supervisor: SupervisorHandle,
}

/// Actors `a`, `b` and `c` in one group.
async fn three(mut group: Group, set_up: impl Fn(ChildSpec) -> ChildSpec, lend: impl Fn(&str, &Lent)) -> Three {
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
    async fn provoke(&self, which: usize, what: Do) {
        self.addrs[which].send(what).await.ok();
    }
}

// ------------------------------------------------------------------------------------------------- one dies

#[test]
fn a_panic_in_a_handler_keeps_the_address_and_every_queued_message() {
    simulated(async {
        let one = one_plain().await;
        let before: Vec<_> = (0..3).map(|_| one.addr.send(Do::Count)).collect();
        let failing = one.addr.send(Do::Panic);
        let behind: Vec<_> = (0..4).map(|_| one.addr.send(Do::Count)).collect();
        for (n, answer) in before.into_iter().enumerate() {
            assert_eq!(answer.await, Ok(n + 1));
        }
        assert_eq!(failing.await, Err(MailboxError::Closed), "only the failing message is lost");
        for (n, answer) in behind.into_iter().enumerate() {
            assert_eq!(answer.await, Ok(n + 1), "the new life counts from zero");
        }
        assert_eq!(one.lent.handled.load(SeqCst), 7);
        assert!(one.addr.connected());
    });
}

#[test]
fn a_panic_is_reported_with_its_message_and_place() {
    simulated(async {
        let one = one_plain().await;
        one.provoke(Do::Panic).await;
        one.story.until("up a#2").await;
        let status = one.status().await;
        let exit = status.last_exit.expect("it went down");
        assert_eq!(exit.reason, ExitReason::Panicked);
        assert_eq!(exit.message.as_deref(), Some("boom in a handler"), "control characters are stripped");
        assert!(exit.location.expect("the hook is installed").starts_with("tests/supervision.rs:"));
        assert_eq!((status.state, status.incarnation, status.restarts), (LifeState::Up, 2, 1));
        assert_eq!((status.group.as_str(), status.arbiter.as_str()), ("g", "here"));
        assert_eq!(status.handling, None, "a panicked message is no longer in hand");
    });
}

#[test]
fn a_panic_in_a_timer_is_healed() {
    simulated(async {
        let one = one_plain().await;
        one.provoke(Do::PanicInTimer).await;
        one.story.until("up a#2").await;
        assert_eq!(one.story.told(), ["up a#1", "down a#1 Panicked", "up a#2"]);
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
    });
}

#[test]
fn a_stop_by_its_own_wish_is_healed_from_a_fresh_value() {
    simulated(async {
        let one = one_plain().await;
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
        one.provoke(Do::Stop).await;
        one.story.until("up a#2").await;
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
        assert!(one.story.tells("down a#1 Stopped"));
    });
}

#[test]
fn an_async_hang_is_healed_within_twelve_seconds() {
    simulated(async {
        let one = one_plain().await;
        let hung_at = Instant::now();
        one.provoke(Do::Hang).await;
        // Behind the hang, so it is answered by the next life.
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
        let took = hung_at.elapsed();
        assert!(took >= Duration::from_secs(10) && took <= Duration::from_secs(12), "{took:?}");
        assert_eq!(one.story.told(), ["up a#1", "down a#1 Hung", "up a#2"]);
    });
}

#[test]
fn an_idle_actor_is_never_taken_for_hung() {
    simulated(async {
        let one = one(|spec| spec.hang_limit(Duration::from_secs(2)), |_| {}).await;
        sleep(Duration::from_secs(600)).await;
        assert_eq!(one.story.told(), ["up a#1"]);
        assert_eq!(one.status().await.handled, 0, "pings are not work");
    });
}

#[test]
fn a_backlog_that_moves_is_never_taken_for_hung() {
    simulated(async {
        // Each takes a second, and pings queue behind them.
        let one = one(|spec| spec.hang_limit(Duration::from_secs(5)), |_| {}).await;
        let backlog: Vec<_> = (0..60).map(|_| one.addr.send(Do::WorkASecond)).collect();
        for answer in backlog {
            answer.await.expect("handled");
        }
        sleep(Duration::from_secs(60)).await;
        assert_eq!(one.story.told(), ["up a#1"]);
        assert_eq!(one.status().await.handled, 60);
    });
}

#[test]
fn a_start_that_panics_three_times_is_healed_at_the_fourth_under_a_growing_backoff() {
    simulated(async {
        let one = one_plain().await;
        one.lent.bad_starts.store(3, SeqCst);
        one.provoke(Do::Panic).await;
        one.story.until("up a#5").await;
        assert_eq!(one.lent.starts.load(SeqCst), 5);
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
        assert_eq!(one.story.waits_ms(), [100, 200, 400, 800]);
    });
}

#[test]
fn the_first_three_restarts_in_a_row_take_less_than_a_second_each() {
    simulated(async {
        let one = one_plain().await;
        for life in 1..=3 {
            one.provoke(Do::Panic).await;
            one.story.until(&format!("up a#{}", life + 1)).await;
            let down = one.story.time_of(&format!("down a#{life} Panicked"));
            let took = one.story.time_of(&format!("up a#{}", life + 1)) - down;
            assert!(took < Duration::from_secs(1), "life {life}: {took:?}");
        }
    });
}

#[test]
fn a_factory_that_panics_is_healed_at_birth_and_later() {
    simulated(async {
        let one = one(|spec| spec, |lent| lent.bad_factory_calls.store(2, SeqCst)).await;
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
        assert_eq!(one.status().await.incarnation, 3, "two births failed");
        // More than the cell's own attempts at the teardown, so that the next start must try again.
        one.lent.bad_factory_calls.store(4, SeqCst);
        one.provoke(Do::Panic).await;
        assert_eq!(one.addr.send(Do::Count).await, Ok(1), "never the dead life's value");
    });
}

#[test]
fn an_actor_whose_drop_panics_is_healed() {
    simulated(async {
        let one = one_plain().await;
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
        one.lent.bad_drop.store(true, SeqCst);
        one.provoke(Do::Panic).await;
        one.story.until("up a#2").await;
        assert_eq!(one.addr.send(Do::Count).await, Ok(1));
    });
}

#[test]
fn a_cancel_that_is_pending_at_death_does_not_reach_into_the_next_life() {
    simulated(async {
        let one = one_plain().await;
        one.provoke(Do::CancelThenStop).await;
        one.story.until("up a#2").await;
        let ticks = one.lent.ticks.load(SeqCst);
        until("the second life's timer fires", || one.lent.ticks.load(SeqCst) > ticks).await;
    });
}

#[test]
fn leaving_while_down_does_not_start_the_actor_once_more() {
    simulated(async {
        let one = one_plain().await;
        one.provoke(Do::Panic).await;
        one.story.until("down a#1 Panicked").await;
        assert_eq!(one.supervisor.shutdown(Duration::from_secs(5)).await, [("a".to_owned(), Outcome::WasDown)]);
        assert_eq!(one.lent.starts.load(SeqCst), 1);
        assert!(one.addr.send(Do::Count).await.is_err(), "the mailbox is closed for good");
    });
}

#[test]
fn transient_and_temporary_actors_end_when_they_may() {
    simulated(async {
        let transient = one(|spec| spec.restart(RestartPolicy::Transient), |_| {}).await;
        transient.provoke(Do::Panic).await;
        transient.story.until("up a#2").await;
        transient.provoke(Do::Stop).await;
        transient.story.until("down a#2 Stopped").await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(transient.status().await.state, LifeState::Ended);
        transient.supervisor.restart("a").await.expect("an ended actor may be started by hand");
        transient.story.until("up a#3").await;

        let temporary = one(|spec| spec.restart(RestartPolicy::Temporary), |_| {}).await;
        temporary.provoke(Do::Panic).await;
        temporary.story.until("down a#1 Panicked").await;
        sleep(Duration::from_secs(60)).await;
        assert_eq!(temporary.status().await.state, LifeState::Ended);
        assert_eq!(temporary.supervisor.shutdown(Duration::from_secs(1)).await, []);
    });
}

// ------------------------------------------------------------------------------------------------- several

#[test]
fn groups_and_their_members_start_in_order_each_waiting_for_the_one_before() {
    simulated(async {
        let place = Arbiters::single().place("here");
        let (sink, _sink, sink_lent) = subject("sink", &place);
        let (middle, _middle, _) = subject("middle", &place);
        let (source, _source, _) = subject("source", &place);
        sink_lent.bad_starts.store(2, SeqCst);
        let story = Story::default();
        let first = Group::one_for_one("one").child(sink).child(middle);
        let tree = Supervisor::new(vec![first, Group::one_for_one("two").child(source)]);
        let supervisor = story.attach(tree).start().expect("ids differ");
        supervisor.booted().await;
        let told = ["down sink#1 Panicked", "down sink#2 Panicked", "up sink#3", "up middle#1", "up source#1"];
        assert_eq!(story.told(), told);
    });
}

#[test]
fn one_for_one_leaves_the_others_alone() {
    simulated(async {
        let three = three(Group::one_for_one("g"), |spec| spec, |_, _| {}).await;
        three.story.forget();
        three.provoke(1, Do::Panic).await;
        three.story.until("up b#2").await;
        sleep(Duration::from_secs(5)).await;
        assert_eq!(three.story.told(), ["down b#1 Panicked", "up b#2"]);
    });
}

#[test]
fn one_actor_s_backoff_does_not_delay_its_neighbour() {
    simulated(async {
        let three = three(Group::one_for_one("g"), |spec| spec, |_, _| {}).await;
        three.lents[0].bad_starts.store(3, SeqCst);
        three.provoke(0, Do::Panic).await;
        three.story.until("down a#4 Panicked").await;
        assert_eq!(three.story.waits_ms().last(), Some(&800));
        three.provoke(1, Do::Panic).await;
        three.story.until("up b#2").await;
        let took = three.story.time_of("up b#2") - three.story.time_of("down b#1 Panicked");
        assert!(took < Duration::from_millis(110), "{took:?}");
        assert!(!three.story.tells("up a#5"));
    });
}

#[test]
fn rest_for_one_stops_the_later_ones_in_reverse_and_starts_all_in_order() {
    simulated(async {
        let three = three(Group::rest_for_one("g"), |spec| spec, |_, _| {}).await;
        three.story.forget();
        three.provoke(0, Do::Panic).await;
        three.story.until("up c#2").await;
        let told = ["down a#1 Panicked", "down c#1 Asked", "down b#1 Asked", "up a#2", "up b#2", "up c#2"];
        assert_eq!(three.story.told(), told);

        three.story.forget();
        three.provoke(1, Do::Panic).await;
        three.story.until("up c#3").await;
        assert_eq!(three.story.told(), ["down b#2 Panicked", "down c#2 Asked", "up b#3", "up c#3"]);
        for addr in &three.addrs {
            addr.send(Do::Count).await.expect("all live");
        }
    });
}

#[test]
fn a_dependent_that_hangs_when_it_should_stop_is_stopped_all_the_same() {
    simulated(async {
        let three = three(Group::rest_for_one("g"), |spec| spec, |_, _| {}).await;
        three.provoke(2, Do::Hang).await;
        three.provoke(0, Do::Panic).await;
        three.story.until("up c#2").await;
        let took = three.story.time_of("up c#2") - three.story.time_of("down a#1 Panicked");
        assert!(took < Duration::from_secs(1), "{took:?}");
    });
}

#[test]
fn more_restarts_than_a_group_bears_restart_the_group_and_then_end_the_process() {
    simulated(async {
        let long = Duration::from_secs(600);
        let place = Arbiters::single().place("here");
        let (a, _a_addr, _) = subject("a", &place);
        let (b, b_addr, b_lent) = subject("b", &place);
        let story = Story::default();
        let group = Group::one_for_one("g").intensity(Intensity::new(2, long)).child(a).child(b);
        let tree = Supervisor::new(vec![group]).intensity(Intensity::new(1, long));
        let supervisor = story.attach(tree).start().expect("ids differ");
        supervisor.booted().await;
        story.forget();
        b_lent.bad_starts.store(usize::MAX, SeqCst);
        b_addr.send(Do::Panic).await.ok();
        until("escalation", || story.escalation().is_some()).await;
        let told = [
            "down b#1 Panicked",
            "down b#2 Panicked",
            "down b#3 Panicked",
            "group g",
            "down a#1 Asked",
            "up a#2",
            "down b#4 Panicked",
            "down b#5 Panicked",
            "down b#6 Panicked",
            "escalated b",
        ];
        assert_eq!(story.told(), told);
        let why = story.escalation().expect("checked above").to_string();
        assert!(
            why.starts_with("supervision gave up on b: ") && why.contains("2 restarts in 600s in group g"),
            "{why}"
        );
        assert_eq!(Escalation::EXIT_CODE, 70);
        assert_eq!(supervisor.restart("b").await, Err(ControlError::Closing));
        // The others still get their orderly end.
        let outcomes = supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(outcomes[1], ("a".to_owned(), Outcome::Drained { left: 0 }));
    });
}

#[test]
fn a_group_that_was_stable_waits_as_briefly_as_the_first_time() {
    simulated(async {
        let backoff = Backoff { reset_after: Duration::from_secs(5), ..Backoff::default() };
        let place = Arbiters::single().place("here");
        let (a, a_addr, _) = subject("a", &place);
        let story = Story::default();
        let none = Intensity::new(0, Duration::from_secs(1));
        let group = Group::one_for_one("g").intensity(none).backoff(backoff).child(a);
        let supervisor = story.attach(Supervisor::new(vec![group])).jitter(|| 1.0).start().expect("ids differ");
        supervisor.booted().await;
        for (life, stable) in [(2, 1), (3, 6), (4, 1)] {
            a_addr.send(Do::Panic).await.ok();
            story.until(&format!("up a#{life}")).await;
            sleep(Duration::from_secs(stable)).await;
        }
        let waits = |(_, fact): &(Duration, LifeFact)| {
            if let LifeFact::GroupRestarted { back_in_ms, .. } = fact { Some(*back_in_ms) } else { None }
        };
        assert_eq!(story.facts.borrow().iter().filter_map(waits).collect::<Vec<_>>(), [100, 200, 100]);
    });
}

#[test]
fn crashes_further_apart_than_the_window_never_escalate() {
    simulated(async {
        let one = one_plain().await;
        for life in 2..40 {
            one.provoke(Do::Panic).await;
            one.story.until(&format!("up a#{life}")).await;
            sleep(Duration::from_secs(61)).await;
        }
        assert_eq!(one.story.escalation(), None);
        assert!(!one.story.tells("group g"));
    });
}

#[test]
fn a_stable_life_resets_the_backoff() {
    simulated(async {
        let backoff = Backoff { reset_after: Duration::from_secs(5), ..Backoff::default() };
        let one = one(|spec| spec.backoff(backoff), |_| {}).await;
        for life in 2..5 {
            one.provoke(Do::Panic).await;
            one.story.until(&format!("up a#{life}")).await;
        }
        sleep(Duration::from_secs(6)).await;
        one.provoke(Do::Panic).await;
        one.story.until("up a#5").await;
        assert_eq!(one.story.waits_ms(), [100, 200, 400, 100]);
    });
}

// ------------------------------------------------------------------------------------------------- by request

#[test]
fn every_kind_of_failure_can_be_provoked_and_heals() {
    simulated(async {
        let one = one_plain().await;
        let kinds = [
            (KillHow::Panic, ExitReason::Panicked),
            (KillHow::Stop, ExitReason::Stopped),
            (KillHow::Hang, ExitReason::Hung),
        ];
        for (life, (how, reason)) in kinds.into_iter().enumerate() {
            one.supervisor.kill("a", how).await.expect("chaos is on");
            one.story.until(&format!("up a#{}", life + 2)).await;
            assert_eq!(one.status().await.last_exit.expect("it went down").reason, reason);
            assert_eq!(one.addr.send(Do::Count).await, Ok(1));
        }
    });
}

#[test]
fn killing_is_refused_with_the_remedy() {
    simulated(async {
        let (spec, _addr, _) = subject("a", &Arbiters::single().place("here"));
        let tree = Supervisor::new(vec![Group::one_for_one("g").child(spec)]).start().expect("ids differ");
        tree.booted().await;
        let refusal = tree.kill("a", KillHow::Panic).await.expect_err("chaos is off");
        assert_eq!(refusal, ControlError::ChaosDisabled);
        assert!(refusal.to_string().contains("chaos.enabled"), "{refusal}");

        let one = one_plain().await;
        let unknown = one.supervisor.kill("b", KillHow::Panic).await.expect_err("there is no b");
        assert!(unknown.to_string().contains("\"b\"") && unknown.to_string().contains("are a"), "{unknown}");
        one.provoke(Do::Panic).await;
        one.story.until("down a#1 Panicked").await;
        let down = one.supervisor.kill("a", KillHow::Panic).await;
        assert_eq!(down, Err(ControlError::NotRunning { id: "a".into(), state: LifeState::Down }));
    });
}

#[test]
fn a_restart_by_request_takes_the_dependents_along_and_counts_as_no_failure() {
    simulated(async {
        let three = three(Group::rest_for_one("g"), |spec| spec, |_, _| {}).await;
        three.story.forget();
        for life in 2..22 {
            three.supervisor.restart("b").await.expect("b is known");
            three.story.until(&format!("up c#{life}")).await;
        }
        assert_eq!(three.story.told()[..4], ["down c#1 Asked", "down b#1 Asked", "up b#2", "up c#2"]);
        let tree = three.supervisor.tree().await.expect("the supervisor lives");
        assert_eq!(tree.iter().map(|child| child.incarnation).collect::<Vec<_>>(), [1, 21, 21]);
        assert!(tree.iter().all(|child| child.restarts == 0 && child.state == LifeState::Up));
        assert_eq!(three.story.escalation(), None);
    });
}

#[test]
fn a_restart_by_request_cuts_a_backoff_short() {
    simulated(async {
        let hour = Duration::from_secs(3600);
        let backoff = Backoff { min: hour, max: hour, ..Backoff::default() };
        let one = one(|spec| spec.backoff(backoff), |_| {}).await;
        one.provoke(Do::Panic).await;
        one.story.until("down a#1 Panicked").await;
        assert_eq!(one.status().await.backoff_ms, Some(3_600_000));
        one.supervisor.restart("a").await.expect("a is known");
        one.story.until("up a#2").await;
        assert_eq!(one.status().await.backoff_ms, None);
    });
}

// ------------------------------------------------------------------------------------------------- the end

#[test]
fn shutdown_is_in_reverse_order_and_ends_the_one_that_ignores_drain_at_its_deadline() {
    simulated(async {
        let ignore = |id: &str, lent: &Lent| lent.ignores_drain.store(id == "b", SeqCst);
        let three = three(Group::one_for_one("g"), |spec| spec.shutdown(Duration::from_secs(3)), ignore).await;
        let began = Instant::now();
        let outcomes = three.supervisor.shutdown(Duration::from_secs(20)).await;
        let expected = [
            ("c".to_owned(), Outcome::Drained { left: 0 }),
            ("b".to_owned(), Outcome::TimedOut),
            ("a".to_owned(), Outcome::Drained { left: 0 }),
        ];
        assert_eq!(outcomes, expected);
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");
        for addr in &three.addrs {
            assert!(addr.send(Do::Count).await.is_err(), "nobody takes mail any more");
        }
        assert_eq!(three.story.escalation(), None, "an orderly end is no escalation");
    });
}

#[test]
fn the_overall_deadline_bounds_the_sum_of_the_children_s() {
    simulated(async {
        let ignore = |_: &str, lent: &Lent| lent.ignores_drain.store(true, SeqCst);
        let three = three(Group::one_for_one("g"), |spec| spec.shutdown(Duration::from_secs(3)), ignore).await;
        let began = Instant::now();
        let outcomes = three.supervisor.shutdown(Duration::from_secs(4)).await;
        assert_eq!(outcomes.len(), 3);
        assert!(outcomes.iter().all(|(_, outcome)| *outcome == Outcome::TimedOut), "{outcomes:?}");
        assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    });
}

#[test]
fn members_that_stop_together_share_one_deadline() {
    simulated(async {
        let ignore = |_: &str, lent: &Lent| lent.ignores_drain.store(true, SeqCst);
        let group = Group::one_for_one("g").stop_together();
        let three = three(group, |spec| spec.shutdown(Duration::from_secs(3)), ignore).await;
        let began = Instant::now();
        assert_eq!(three.supervisor.shutdown(Duration::from_secs(60)).await.len(), 3);
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
    });
}

#[test]
fn an_actor_that_dies_while_draining_is_neither_waited_for_nor_restarted() {
    simulated(async {
        let slow = |spec: ChildSpec| spec.shutdown(Duration::from_secs(30));
        let one = one(slow, |lent| lent.ignores_drain.store(true, SeqCst)).await;
        one.provoke(Do::PanicInTimer).await;
        let began = Instant::now();
        let outcomes = one.supervisor.shutdown(Duration::from_secs(30)).await;
        assert_eq!(outcomes, [("a".to_owned(), Outcome::Died)]);
        assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        sleep(Duration::from_secs(60)).await;
        assert_eq!(one.lent.starts.load(SeqCst), 1);
    });
}

// ------------------------------------------------------------------------------------------------- fairness, IO

#[test]
fn a_flood_of_messages_starves_neither_the_actor_s_timers_nor_its_neighbour() {
    threaded(async |mut arbiters: Arbiters| {
        let place = arbiters.place("flood");
        let (flooded, flooded_addr, lent) = subject("flooded", &place);
        let (neighbour, neighbour_addr, _) = subject("neighbour", &place);
        let group = Group::one_for_one("g").child(flooded).child(neighbour);
        let supervisor = Supervisor::new(vec![group]).start().expect("ids differ");
        supervisor.booted().await;
        // Another thread keeps the mailbox from ever running empty.
        let flooding = Arc::new(AtomicBool::new(true));
        let flooder = std::thread::spawn({
            let (flooding, lent) = (flooding.clone(), lent.clone());
            move || flood(&flooded_addr, &lent, &flooding)
        });
        until("the flood is on", || lent.handled.load(SeqCst) > 10_000).await;
        let (ticks, handled) = (lent.ticks.load(SeqCst), lent.handled.load(SeqCst));
        let answer = timeout(Duration::from_secs(30), neighbour_addr.send(Do::Count)).await;
        assert_eq!(answer.expect("the neighbour answers during the flood"), Ok(1));
        timeout(Duration::from_secs(30), until("ticks", || lent.ticks.load(SeqCst) >= ticks + 20))
            .await
            .expect("the timer ticks during the flood");
        assert!(lent.handled.load(SeqCst) > handled, "the flood went on meanwhile");
        flooding.store(false, SeqCst);
        flooder.join().expect("the flooder does not panic");
        supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(arbiters.join(Duration::from_secs(30)), Vec::<String>::new());
    });
}

#[allow(clippy::disallowed_methods, reason = "a flood is what is under test")]
fn flood(addr: &Addr<Subject>, lent: &Lent, on: &AtomicBool) {
    let mut sent = 0;
    while on.load(SeqCst) {
        if sent - lent.handled.load(SeqCst) < 100_000 {
            (0..1000).for_each(|_| addr.do_send(Do::Count));
            sent += 1000;
        } else {
            std::thread::yield_now();
        }
    }
}

#[test]
fn an_io_task_feeds_its_actor_and_dies_with_the_life_that_holds_it() {
    simulated(async {
        let one = one(|spec| spec, |lent| lent.reads.store(true, SeqCst)).await;
        until("three batches arrive", || one.lent.fed.load(SeqCst) == 3).await;
        assert!(one.status().await.handled >= 3, "fed batches count as handled");
        one.provoke(Do::Panic).await;
        until("three more arrive in the second life", || one.lent.fed.load(SeqCst) == 6).await;
        until("the first life's task is gone", || one.lent.io_alive.load(SeqCst) == 1).await;
        one.supervisor.shutdown(Duration::from_secs(1)).await;
        until("the last task is gone", || one.lent.io_alive.load(SeqCst) == 0).await;
    });
}

#[test]
fn the_end_of_an_io_task_takes_its_actor_down_and_both_come_back() {
    simulated(async {
        let one = one(|spec| spec, |lent| lent.reads.store(true, SeqCst)).await;
        until("three batches arrive", || one.lent.fed.load(SeqCst) == 3).await;
        one.lent.stop_reading.notify_one();
        one.story.until("up a#2").await;
        assert!(one.story.tells("down a#1 Stopped"));
        until("the new task reads", || one.lent.fed.load(SeqCst) == 6).await;
    });
}

// ------------------------------------------------------------------------------------------------- threads

#[test]
fn a_panicked_actor_is_back_within_a_second_of_real_time() {
    threaded(async |mut arbiters: Arbiters| {
        let (spec, addr, _) = subject("a", &arbiters.place("a"));
        let tree = Supervisor::new(vec![Group::one_for_one("g").child(spec)]).jitter(|| 1.0);
        let supervisor = Story::default().attach(tree).start().expect("ids differ");
        supervisor.booted().await;
        for _ in 0..3 {
            let began = Instant::now();
            addr.send(Do::Panic).await.ok();
            assert_eq!(addr.send(Do::Count).await, Ok(1));
            assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
        }
        supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(arbiters.join(Duration::from_secs(10)), Vec::<String>::new());
    });
}

#[test]
fn the_death_of_an_arbiter_escalates() {
    threaded(async |mut arbiters: Arbiters| {
        let (spec, addr, _) = subject("a", &arbiters.place("doomed"));
        let story = Story::default();
        let tree = Supervisor::new(vec![Group::one_for_one("g").child(spec)]);
        let supervisor = story.attach(tree).start().expect("ids differ");
        supervisor.booted().await;
        addr.send(Do::StopMyArbiter).await.ok();
        until("escalation", || story.escalation().is_some()).await;
        assert!(story.tells("down a#1 ArbiterDead"));
        let why = story.escalation().expect("checked above").to_string();
        assert!(why.contains("doomed"), "{why}");
        assert_eq!(supervisor.shutdown(Duration::from_secs(5)).await, [], "nothing is left to drain");
    });
}

#[test]
fn an_arbiter_that_is_dead_before_the_start_escalates() {
    threaded(async |mut arbiters: Arbiters| {
        let place = arbiters.place("stillborn");
        assert_eq!(arbiters.join(Duration::from_secs(10)), Vec::<String>::new());
        let (spec, _addr, lent) = subject("a", &place);
        let story = Story::default();
        let _supervisor = story.attach(Supervisor::new(vec![Group::one_for_one("g").child(spec)])).start();
        until("escalation", || story.escalation().is_some()).await;
        assert_eq!(lent.starts.load(SeqCst), 0);
    });
}

#[test]
fn a_task_on_the_shared_runtime_survives_the_arbiter_it_was_spawned_from() {
    // What a kube client does (kube-client 5.0): it spawns the task that answers it where it is made.
    threaded(async |mut arbiters: Arbiters| {
        let place = arbiters.place("doomed");
        let (spec, addr, _) = subject("a", &place);
        let supervisor = Story::default().attach(Supervisor::new(vec![Group::one_for_one("g").child(spec)])).start();
        supervisor.expect("ids differ").booted().await;
        let (asks, mut asked) = tokio::sync::mpsc::channel::<tokio::sync::oneshot::Sender<String>>(1);
        let task = Arc::new(Mutex::new(None));
        let (slot, io) = (task.clone(), place.io().clone());
        let make_client = move || {
            let answering = async move {
                while let Some(reply) = asked.recv().await {
                    reply.send(std::thread::current().name().unwrap_or_default().to_owned()).ok();
                }
            };
            *slot.lock().expect("nobody panics with it") = Some(rt::spawn_io(&io, answering));
        };
        addr.send(Run(Box::new(make_client))).await.expect("handled");
        addr.send(Do::StopMyArbiter).await.ok();
        assert_eq!(arbiters.join(Duration::from_secs(10)), Vec::<String>::new());
        let (reply, answer) = tokio::sync::oneshot::channel();
        asks.send(reply).await.expect("the task lives");
        assert_eq!(answer.await.expect("the task answers"), "ae-io");
        drop(task);
    });
}

#[cfg(target_os = "linux")]
#[test]
fn an_arbiter_s_thread_carries_its_name() {
    threaded(async |mut arbiters: Arbiters| {
        let (spec, addr, _) = subject("a", &arbiters.place("publish"));
        let supervisor = Supervisor::new(vec![Group::one_for_one("g").child(spec)]).start().expect("ids differ");
        supervisor.booted().await;
        let (name_tx, name) = tokio::sync::oneshot::channel();
        let read = move || {
            name_tx.send(std::fs::read_to_string("/proc/thread-self/comm")).ok();
        };
        addr.send(Run(Box::new(read))).await.expect("handled");
        assert_eq!(name.await.expect("sent").expect("proc is mounted").trim(), "ae-publish");
        supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(arbiters.join(Duration::from_secs(10)), Vec::<String>::new());
    });
}

#[test]
fn a_dependent_that_does_not_stop_in_time_is_killed_and_comes_back() {
    threaded(async |mut arbiters: Arbiters| {
        let (a, a_addr, _) = subject("a", &arbiters.place("a"));
        let (b, b_addr, _) = subject("b", &arbiters.place("b"));
        let group = Group::rest_for_one("g").child(a).child(b.shutdown(Duration::from_millis(20)));
        let story = Story::default();
        let supervisor = story.attach(Supervisor::new(vec![group])).start().expect("ids differ");
        supervisor.booted().await;
        let (release, released) = std::sync::mpsc::channel::<()>();
        let stuck = b_addr.send(Run(Box::new(move || {
            released.recv().ok();
        })));
        a_addr.send(Do::Panic).await.ok();
        let state_of_b = async || supervisor.tree().await.expect("the supervisor lives").remove(1).state;
        let stopping = async { while state_of_b().await != LifeState::Stopping {} };
        timeout(Duration::from_secs(10), stopping).await.expect("b is asked to stop");
        sleep(Duration::from_millis(50)).await; // beyond its deadline, which is what the test is about
        release.send(()).expect("it still waits");
        stuck.await.ok();
        story.until("up b#2").await;
        assert_eq!(story.told()[2..], ["down a#1 Panicked", "down b#1 Overdue", "up a#2", "up b#2"]);
        supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(arbiters.join(Duration::from_secs(10)), Vec::<String>::new());
    });
}

#[test]
fn a_blocked_thread_is_unresponsive_at_shutdown_and_named_by_the_join() {
    threaded(async |mut arbiters: Arbiters| {
        let (spec, addr, _) = subject("a", &arbiters.place("stuck"));
        let tree = Supervisor::new(vec![Group::one_for_one("g").child(spec.shutdown(Duration::from_millis(100)))]);
        let supervisor = Story::default().attach(tree).start().expect("ids differ");
        supervisor.booted().await;
        let (release, released) = std::sync::mpsc::channel::<()>();
        let stuck = addr.send(Run(Box::new(move || {
            released.recv().ok();
        })));
        let vitals = async || supervisor.tree().await.expect("the supervisor lives").remove(0).handling;
        timeout(Duration::from_secs(10), async { while vitals().await.is_none() {} }).await.expect("it is in hand");
        assert!(vitals().await.expect("in hand").ends_with("Run"), "the tree names the message");
        let outcomes = supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(outcomes, [("a".to_owned(), Outcome::Unresponsive)]);
        assert_eq!(arbiters.join(Duration::from_millis(50)), ["stuck"]);
        release.send(()).expect("it still waits");
        stuck.await.ok();
    });
}

// ------------------------------------------------------------------------------------------------- the supervisor

#[test]
fn two_actors_of_one_name_are_refused() {
    simulated(async {
        let place = Arbiters::single().place("here");
        let (first, _a, _) = subject("same", &place);
        let (second, _b, _) = subject("same", &place);
        let groups = vec![Group::one_for_one("x").child(first), Group::one_for_one("y").child(second)];
        assert_eq!(Supervisor::new(groups).start().err(), Some(DuplicateChild("same".into())));
    });
}

#[test]
fn a_supervisor_that_panics_escalates() {
    simulated(async {
        let (spec, _addr, _) = subject("a", &Arbiters::single().place("here"));
        let story = Story::default();
        let tree = Supervisor::new(vec![Group::one_for_one("g").child(spec)]);
        let handle = story.attach(tree).observe(|_| panic!("the observer is broken")).start().expect("ids differ");
        until("escalation", || story.escalation().is_some()).await;
        assert_eq!(story.escalation().expect("checked above").id, "supervisor");
        assert_eq!(handle.tree().await, Err(ControlError::SupervisorGone));
    });
}

#[test]
fn without_a_reaction_of_its_own_an_escalation_stops_the_system_with_70() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    let runner = System::with_tokio_rt(|| runtime.expect("a current-thread runtime needs nothing"));
    let stopped = runner.stop_future();
    let code = runner.block_on(async move {
        let (spec, _addr, lent) = subject("a", &Arbiters::single().place("here"));
        lent.bad_starts.store(usize::MAX, SeqCst);
        let none = Intensity::new(0, Duration::from_secs(60));
        let group = Group::one_for_one("g").child(spec).intensity(none);
        let _supervisor = Supervisor::new(vec![group]).intensity(none).start().expect("ids differ");
        stopped.await
    });
    assert_eq!(code.expect("the system stops"), Escalation::EXIT_CODE);
}

#[test]
fn the_same_seed_tells_the_same_story_at_the_same_times() {
    let run = |seed: u64| {
        simulated(async move {
            let place = Arbiters::single().place("here");
            let (a, a_addr, _) = subject("a", &place);
            let (b, b_addr, _) = subject("b", &place);
            let story = Story::default();
            let state = AtomicU64::new(seed);
            // A linear congruential generator: what matters is that it is seeded.
            let jitter = move || {
                let next = state.load(SeqCst).wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                state.store(next, SeqCst);
                (next >> 11) as f64 / (1u64 << 53) as f64
            };
            let tree = Supervisor::new(vec![Group::rest_for_one("g").child(a).child(b)]).jitter(jitter).chaos(true);
            let supervisor = story.attach(tree).start().expect("ids differ");
            supervisor.booted().await;
            let kills = [("a", KillHow::Panic), ("b", KillHow::Hang), ("a", KillHow::Stop), ("b", KillHow::Panic)];
            for (id, how) in kills {
                supervisor.kill(id, how).await.expect("it is up");
                sleep(Duration::from_secs(15)).await;
                a_addr.send(Do::Count).await.expect("healed");
                b_addr.send(Do::Count).await.expect("healed");
            }
            story.facts.borrow().iter().map(|(at, fact)| format!("{at:?} {}", tell(fact))).collect::<Vec<_>>()
        })
    };
    assert_eq!(run(7), run(7));
    assert_ne!(run(7), run(8));
}
