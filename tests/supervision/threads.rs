//! Fairness, IO tasks, and real threads.

use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use actix::prelude::Addr;
use agent_events::actors::rt::{self, Arbiters, Group, Supervisor};
use agent_events::messages::life::Outcome;
use tokio::time::{Instant, timeout};

use crate::stage::*;
use crate::waiting::eventually;

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
        timeout(Duration::from_secs(30), until("ticks", || lent.ticks.load(SeqCst) >= ticks + 5))
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
        let in_hand = eventually("it is in hand", Duration::from_secs(10), vitals).await;
        assert!(in_hand.ends_with("Run"), "the tree names the message");
        let outcomes = supervisor.shutdown(Duration::from_secs(5)).await;
        assert_eq!(outcomes, [("a".to_owned(), Outcome::Unresponsive)]);
        assert_eq!(arbiters.join(Duration::from_millis(50)), ["stuck"]);
        release.send(()).expect("it still waits");
        stuck.await.ok();
    });
}
