//! Members that come and go while the tree runs: they have what those have that were there from the start.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use agent_events::actors::rt::{Arbiters, Group, Supervisor};
use agent_events::messages::life::{ControlError, ExitReason, KillHow, LifeState, Outcome};
use tokio::time::{Instant, sleep};

use crate::stage::*;

fn ids(tree: &[agent_events::messages::life::ChildStatus]) -> Vec<&str> {
    tree.iter().map(|child| child.id.as_str()).collect()
}

#[test]
fn a_member_that_was_added_lives_dies_and_comes_back_like_the_others() {
    simulated(async {
        let one = one_plain().await;
        let (spec, addr, lent) = subject("b", &Arbiters::single().place("here"));
        one.supervisor.add("g", spec).await.expect("the group is known");
        one.story.until("up b#1").await;
        for (life, (how, reason)) in [
            (KillHow::Panic, ExitReason::Panicked),
            (KillHow::Stop, ExitReason::Stopped),
            (KillHow::Hang, ExitReason::Hung),
        ]
        .into_iter()
        .enumerate()
        {
            one.supervisor.kill("b", how).await.expect("chaos is on");
            one.story.until(&format!("up b#{}", life + 2)).await;
            let tree = one.supervisor.tree().await.expect("the supervisor lives");
            assert_eq!(tree[1].last_exit.as_ref().expect("it went down").reason, reason);
            assert_eq!(addr.send(Do::Count).await, Ok(1));
        }
        assert_eq!(one.lent.starts.load(SeqCst), 1, "its neighbour was left alone");
        let outcomes = one.supervisor.shutdown(Duration::from_secs(5)).await;
        let clean = Outcome::Drained { left: 0 };
        assert_eq!(outcomes, [("b".to_owned(), clean), ("a".to_owned(), clean)], "the last one added leaves first");
        assert_eq!(lent.starts.load(SeqCst), 4);
    });
}

#[test]
fn a_member_can_be_added_to_an_empty_group_and_to_one_whose_turn_has_not_come() {
    simulated(async {
        let (first, _, slow) = subject("first", &Arbiters::single().place("here"));
        slow.bad_starts.store(2, SeqCst);
        let story = Story::default();
        let tree = Supervisor::new(vec![Group::one_for_one("sinks").child(first), Group::one_for_one("sources")]);
        let tree = story.attach(tree).jitter(|| 1.0).start().expect("ids differ");
        let (spec, _, _) = subject("second", &Arbiters::single().place("here"));
        tree.add("sources", spec).await.expect("the group is known");
        tree.booted().await;
        story.until("up second#1").await;
        assert!(
            story.time_of("up first#3") <= story.time_of("up second#1"),
            "sinks before sources: {:?}",
            story.told()
        );
    });
}

#[test]
fn a_member_that_is_removed_drains_first_and_leaves_nothing_behind() {
    simulated(async {
        let three = three(Group::one_for_one("g"), |spec| spec, |_, lent| lent.reads.store(true, SeqCst)).await;
        three.lents[1].left_by_drain.store(7, SeqCst);
        until("it reads", || three.lents[1].io_alive.load(SeqCst) == 1).await;
        assert_eq!(three.supervisor.remove("b").await, Ok(Outcome::Drained { left: 7 }));
        until("its reading task is gone", || three.lents[1].io_alive.load(SeqCst) == 0).await;
        assert!(three.addrs[1].send(Do::Count).await.is_err(), "nobody takes its mail");
        assert_eq!(ids(&three.supervisor.tree().await.expect("the supervisor lives")), ["a", "c"]);
        sleep(Duration::from_secs(600)).await;
        assert_eq!(three.lents.iter().map(|lent| lent.starts.load(SeqCst)).collect::<Vec<_>>(), [1, 1, 1]);
        let unknown = three.supervisor.remove("b").await.expect_err("it is gone");
        assert!(unknown.to_string().contains("are a, c"), "{unknown}");
        assert_eq!(three.story.escalation(), None);
    });
}

#[test]
fn a_name_is_free_again_once_its_bearer_is_gone_and_not_before() {
    simulated(async {
        let one =
            one(|spec| spec.shutdown(Duration::from_secs(3)), |lent| lent.ignores_drain.store(true, SeqCst)).await;
        let place = Arbiters::single().place("here");
        let (twin, _, _) = subject("a", &place);
        assert_eq!(one.supervisor.add("g", twin).await, Err(ControlError::Duplicate("a".into())));
        let began = Instant::now();
        let handle = one.supervisor.clone();
        let leaving = actix::spawn(async move { handle.remove("a").await });
        sleep(Duration::from_secs(1)).await;
        let (early, _, _) = subject("a", &place);
        assert_eq!(one.supervisor.add("g", early).await, Err(ControlError::Duplicate("a".into())));
        assert_eq!(leaving.await.expect("it answers"), Ok(Outcome::TimedOut));
        assert!(began.elapsed() < Duration::from_secs(4), "{:?}", began.elapsed());
        let (next, addr, _) = subject("a", &place);
        one.supervisor.add("g", next).await.expect("the name is free");
        assert_eq!(addr.send(Do::Count).await, Ok(1));
        let tree = one.supervisor.tree().await.expect("the supervisor lives");
        assert_eq!((tree.len(), tree[0].incarnation, tree[0].state), (1, 1, LifeState::Up), "a life of its own");
    });
}

#[test]
fn a_member_that_is_down_or_dies_while_it_is_removed_is_not_restarted() {
    simulated(async {
        let three = three(
            Group::one_for_one("g"),
            |spec| spec.shutdown(Duration::from_secs(30)),
            |id, lent| lent.ignores_drain.store(id == "b", SeqCst),
        )
        .await;
        three.provoke(0, Do::Panic).await;
        three.story.until("down a#1 Panicked").await;
        assert_eq!(three.supervisor.remove("a").await, Ok(Outcome::WasDown));
        three.provoke(1, Do::PanicInTimer).await;
        assert_eq!(three.supervisor.remove("b").await, Ok(Outcome::Died));
        sleep(Duration::from_secs(600)).await;
        let tree = three.supervisor.tree().await.expect("the supervisor lives");
        assert_eq!((ids(&tree), tree[0].restarts), (vec!["c"], 0));
        assert_eq!(three.lents.iter().map(|lent| lent.starts.load(SeqCst)).collect::<Vec<_>>(), [1, 1, 1]);
    });
}

#[test]
fn a_shutdown_waits_for_who_is_being_removed_too() {
    simulated(async {
        let three = three(
            Group::one_for_one("g"),
            |spec| spec.shutdown(Duration::from_secs(3)),
            |id, lent| lent.ignores_drain.store(id == "b", SeqCst),
        )
        .await;
        let handle = three.supervisor.clone();
        let leaving = actix::spawn(async move { handle.remove("b").await });
        tokio::task::yield_now().await;
        sleep(Duration::from_millis(100)).await;
        let outcomes = three.supervisor.shutdown(Duration::from_secs(20)).await;
        assert_eq!(outcomes.iter().map(|(id, _)| id.as_str()).collect::<Vec<_>>(), ["b", "c", "a"]);
        assert_eq!(leaving.await.expect("it answers"), Ok(Outcome::TimedOut));
        let (late, _, _) = subject("d", &Arbiters::single().place("here"));
        assert_eq!(three.supervisor.add("g", late).await, Err(ControlError::Closing));
    });
}

#[test]
fn what_cannot_be_changed_is_refused_with_the_reason() {
    simulated(async {
        let three = three(Group::rest_for_one("g"), |spec| spec, |_, _| {}).await;
        let refused = three.supervisor.remove("b").await.expect_err("c depends on it");
        assert!(refused.to_string().contains("depend on it"), "{refused}");
        let (spec, _, _) = subject("d", &Arbiters::single().place("here"));
        let refused = three.supervisor.add("h", spec).await.expect_err("there is no h");
        assert!(refused.to_string().contains("\"h\""), "{refused}");
        let (spec, _, _) = subject("d", &Arbiters::single().place("here"));
        three.supervisor.add("g", spec).await.expect("a last one depends on all before it");
        three.story.until("up d#1").await;
        three.provoke(1, Do::Panic).await;
        three.story.until("up d#2").await;
        assert!(!three.story.tells("down a#1 Asked"));
    });
}

#[test]
fn members_come_and_go_a_thousand_times() {
    simulated(async {
        let one = one_plain().await;
        let place = Arbiters::single().place("here");
        for _ in 0..1000 {
            let (spec, addr, _) = subject("b", &place);
            one.supervisor.add("g", spec).await.expect("the name is free");
            assert_eq!(addr.send(Do::Count).await, Ok(1));
            assert_eq!(one.supervisor.remove("b").await, Ok(Outcome::Drained { left: 0 }));
        }
        assert_eq!(one.supervisor.tree().await.expect("the supervisor lives").len(), 1);
        assert_eq!(one.story.escalation(), None);
    });
}
