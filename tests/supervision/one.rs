//! One actor dies, in every manner, and comes back.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::MailboxError;
use agent_events::domain::restart::RestartPolicy;
use agent_events::messages::life::{ExitReason, LifeState, Outcome};
use tokio::time::{Instant, sleep};

use crate::stage::*;

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
        assert!(exit.location.expect("the hook is installed").starts_with("tests/supervision/stage.rs:"));
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
