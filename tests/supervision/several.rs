//! Several actors: order, dependence, and what a group bears.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::{Actor, Handler, ResponseActFuture, Running, Supervised};
use agent_events::actors::rt::{Arbiters, ChildSpec, Context, Group, Supervisor, Worker};
use agent_events::domain::restart::{Backoff, Intensity};
use agent_events::messages::life::{ControlError, Drain, Drained, Escalation, LifeFact, Outcome, Ping};
use tokio::time::sleep;

use crate::stage::*;

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

/// Refuses to stop. Also shows what `rt::worker!` writes, where an actor needs more of actix than that.
struct Stubborn;

impl Worker for Stubborn {}

impl Actor for Stubborn {
    type Context = Context<Self>;
    fn stopping(&mut self, _: &mut Context<Self>) -> Running {
        Running::Continue
    }
}

impl Supervised for Stubborn {
    fn restarting(&mut self, ctx: &mut Context<Self>) {
        *self = ctx.fresh();
    }
}

impl Handler<Ping> for Stubborn {
    type Result = ();
    fn handle(&mut self, _: Ping, _: &mut Context<Self>) {}
}

impl Handler<Drain> for Stubborn {
    type Result = ResponseActFuture<Self, Drained>;
    fn handle(&mut self, drain: Drain, ctx: &mut Context<Self>) -> Self::Result {
        self.drain(drain.deadline, ctx)
    }
}

#[test]
fn a_dependent_that_does_not_stop_in_time_is_killed_and_comes_back() {
    simulated(async {
        let place = Arbiters::single().place("here");
        let (a, a_addr, _) = subject("a", &place);
        let (b, _b_addr) = ChildSpec::new("b", &place, 16, || Stubborn);
        let group = Group::rest_for_one("g").child(a).child(b.shutdown(Duration::from_secs(7)));
        let story = Story::default();
        let supervisor = story.attach(Supervisor::new(vec![group])).start().expect("ids differ");
        supervisor.booted().await;
        story.forget();
        a_addr.send(Do::Panic).await.ok();
        story.until("up b#2").await;
        assert_eq!(story.told(), ["down a#1 Panicked", "down b#1 Overdue", "up a#2", "up b#2"]);
        let took = story.time_of("down b#1 Overdue") - story.time_of("down a#1 Panicked");
        assert!(took >= Duration::from_secs(7) && took < Duration::from_secs(8), "{took:?}");
        // At the end of the process nobody asks whether it wants to.
        let outcomes = supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(outcomes[0], ("b".to_owned(), Outcome::Drained { left: 0 }));
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
        for life in 2..20 {
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
