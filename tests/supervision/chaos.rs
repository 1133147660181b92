//! The supervisor itself, and whatever the dice bring.

use std::sync::atomic::Ordering::SeqCst;
use std::time::Duration;

use actix::prelude::System;
use agent_events::actors::rt::{Arbiters, DuplicateChild, Group, Supervisor};
use agent_events::domain::restart::{Backoff, Intensity};
use agent_events::messages::life::{ControlError, Escalation, KillHow, LifeState};
use tokio::time::{sleep, timeout};

use crate::stage::*;

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

/// A linear congruential generator: what matters is that it is seeded.
struct Dice(u64);

impl Dice {
    fn fraction(&mut self) -> f64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 11) as f64 / (1u64 << 53) as f64
    }

    fn below(&mut self, n: usize) -> usize {
        (self.fraction() * n as f64) as usize
    }
}

#[test]
fn whatever_fails_in_whatever_order_all_are_up_in_the_end() {
    let stories: Vec<String> = (0..60).flat_map(|seed| simulated(random_failures(seed))).collect();
    for kind in ["Panicked", "Stopped", "Hung", "Asked", "group dependent", "group independent"] {
        assert!(stories.iter().any(|line| line.contains(kind)), "the dice never made {kind}");
    }
}

/// A group that depends from left to right, and one of independents; bursts of failures; then quiet.
async fn random_failures(seed: u64) -> Vec<String> {
    let mut dice = Dice(seed);
    let place = Arbiters::single().place("here");
    let many = Intensity::new(100_000, Duration::from_secs(1));
    let mut groups = vec![Group::rest_for_one("dependent"), Group::one_for_one("independent")];
    let mut actors = Vec::new();
    for (n, id) in ["a", "b", "c", "x", "y"].into_iter().enumerate() {
        let (spec, addr, lent) = subject(id, &place);
        let group = groups.remove(n / 3);
        let backoff = Backoff { max: Duration::from_secs(2), ..Backoff::default() };
        groups.insert(n / 3, group.child(spec.hang_limit(Duration::from_secs(2)).backoff(backoff)).backoff(backoff));
        actors.push((id, addr, lent));
    }
    // Small enough that whole groups are restarted now and then.
    groups = groups.into_iter().map(|group| group.intensity(Intensity::new(6, Duration::from_secs(10)))).collect();
    let story = Story::default();
    let mut jitter = Dice(seed + 1_000_000);
    let tree = story.attach(Supervisor::new(groups).intensity(many)).jitter(move || jitter.fraction()).chaos(true);
    let supervisor = tree.start().expect("ids differ");
    for _ in 0..60 {
        let (id, addr, lent) = &actors[dice.below(actors.len())];
        let soon = Duration::from_millis(1);
        match dice.below(9) {
            0 => supervisor.kill(*id, KillHow::Panic).await.unwrap_or_default(),
            1 => supervisor.kill(*id, KillHow::Stop).await.unwrap_or_default(),
            2 => supervisor.kill(*id, KillHow::Hang).await.unwrap_or_default(),
            3 => supervisor.restart(*id).await.unwrap_or_default(),
            4 => lent.bad_starts.store(dice.below(3), SeqCst),
            5 => lent.bad_factory_calls.store(dice.below(5), SeqCst),
            6 => lent.bad_drop.store(true, SeqCst),
            7 => drop(timeout(soon, addr.send(Do::PanicInTimer)).await),
            _ => drop(timeout(soon, addr.send(Do::Panic)).await),
        }
        sleep(Duration::from_millis([0, 1, 50, 700][dice.below(4)])).await;
    }
    sleep(Duration::from_secs(20)).await; // several of the longest backoff, and every hang's limit
    for (id, addr, _) in &actors {
        let answer = timeout(Duration::from_secs(60), addr.send(Do::Count)).await;
        assert!(matches!(answer, Ok(Ok(_))), "seed {seed}: {id} is not healed: {:#?}", story.told());
    }
    let tree = supervisor.tree().await.expect("the supervisor lives");
    assert!(tree.iter().all(|child| child.state == LifeState::Up), "seed {seed}: {tree:#?}");
    assert_eq!(story.escalation(), None, "seed {seed}");
    lives_follow_each_other(seed, &story.told());
    story.told()
}

/// Of each actor: up n, down n, up n + 1... where a failed start has no up. And no dependent outlives what it depends
/// on: whenever `a` comes up, `b` and `c` come up after it.
fn lives_follow_each_other(seed: u64, told: &[String]) {
    for id in ["a", "b", "c", "x", "y"] {
        let mut life = 1;
        for line in told.iter().filter(|line| line.contains(&format!(" {id}#"))) {
            let number = line.split(['#', ' ']).nth(2).and_then(|number| number.parse::<u64>().ok());
            assert_eq!(number, Some(life), "seed {seed}: {line} in {told:#?}");
            life += u64::from(line.starts_with("down"));
        }
    }
    let last_up = |id: &str| told.iter().rposition(|line| line.starts_with(&format!("up {id}#")));
    assert!(last_up("a") < last_up("b") && last_up("b") < last_up("c"), "seed {seed}: {told:#?}");
}

#[test]
fn the_same_seed_tells_the_same_story_at_the_same_times() {
    let run = |seed: u64| {
        simulated(async move {
            let place = Arbiters::single().place("here");
            let (a, a_addr, _) = subject("a", &place);
            let (b, b_addr, _) = subject("b", &place);
            let story = Story::default();
            let mut dice = Dice(seed);
            let jitter = move || dice.fraction();
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
