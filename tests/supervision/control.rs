//! What can be asked of the supervisor: kills, restarts, and the end.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use agent_events::actors::rt::{Arbiters, ChildSpec, Group, Supervisor};
use agent_events::domain::restart::Backoff;
use agent_events::messages::life::{ControlError, ExitReason, KillHow, LifeState, Outcome};
use tokio::time::{Instant, sleep};

use crate::stage::*;

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

#[test]
fn shutdown_is_in_reverse_order_and_ends_the_one_that_ignores_drain_at_its_deadline() {
    simulated(async {
        let ignore = |id: &str, lent: &Lent| {
            lent.ignores_drain.store(id == "b", SeqCst);
            lent.left_by_drain.store(u64::from(id == "a"), SeqCst);
        };
        let three = three(Group::one_for_one("g"), |spec| spec.shutdown(Duration::from_secs(3)), ignore).await;
        let began = Instant::now();
        let outcomes = three.supervisor.shutdown(Duration::from_secs(20)).await;
        let expected = [
            ("c".to_owned(), Outcome::Drained { left: 0 }),
            ("b".to_owned(), Outcome::TimedOut),
            ("a".to_owned(), Outcome::Drained { left: 1 }),
        ];
        assert_eq!(outcomes, expected);
        assert_eq!(outcomes.iter().map(|(_, outcome)| outcome.is_clean()).collect::<Vec<_>>(), [true, false, false]);
        let took = began.elapsed();
        assert!(took >= Duration::from_secs(3) && took < Duration::from_secs(4), "{took:?}");
        for addr in &three.addrs {
            assert!(addr.send(Do::Count).await.is_err(), "nobody takes mail any more");
        }
        let tree = three.supervisor.tree().await.expect("the supervisor lives");
        assert!(tree.iter().all(|child| child.state == LifeState::Ended));
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
