//! Thousands of small worlds from seeds: an API server that compacts, refuses, garbles and lags; a log that acks late, fails
//! and loses acks; a watcher, a publisher and a process that die. At the end the log must say what the API server says, in
//! order, with every death, and without a loss (G1-G4, G10). A failing seed replays exactly: `SEED=7` runs that
//! one alone, `KEY=name` shows what the log held of an object.
//!
//! The mutants are the proof that this can fail: each breaks one rule of the design in the harness and must be caught.

use std::collections::{BTreeMap, BTreeSet};

pub(super) mod api;
mod log;
mod publisher;
mod world;

use world::World;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mutant {
    /// The fold at start does not remember who died.
    ForgetTheDead,
    /// The position moves while a list is still being digested.
    PointBeforeListEnd,
    /// A record counts as durable when it is handed over.
    AckOnEnqueue,
    /// A line that cannot be read is skipped, as stock watchers do.
    SkipUndecodable,
    /// The fold at start takes the last offset of a key, whatever its version.
    LastOffsetWins,
}

#[derive(Debug, Clone, Copy, Default)]
struct Rules {
    mutant: Option<Mutant>,
    /// A failing producer may have written what it reports as failed, so there may be repeats.
    unknown_outcomes: bool,
}

fn run(seed: u64, rules: Rules) -> (BTreeSet<String>, World) {
    let mut world = World::new(seed, rules);
    let settled = world.run();
    let mut faults = world.log.faults(&world.api, &world.reported, !rules.unknown_outcomes);
    if let Err(why) = settled {
        faults.insert(why);
    }
    if rules.mutant.is_none() {
        world.check_accounts();
    }
    (faults, world)
}

/// `SEEDS` in the environment runs that many instead.
fn all_hold(rules: Rules) {
    let number = |name: &str| std::env::var(name).ok().map(|n| n.parse::<u64>().expect("a number"));
    if let Some(seed) = number("SEED") {
        let (faults, world) = run(seed, rules);
        world.log.show(&std::env::var("KEY").unwrap_or_default());
        assert!(faults.is_empty(), "seed {seed} {rules:?}: {faults:#?} {:?}", world.deaths);
        return;
    }
    let count = number("SEEDS").unwrap_or(1000);
    let mut deaths: BTreeMap<&str, usize> = BTreeMap::new();
    let mut records = 0;
    for seed in 0..count {
        let (faults, world) = run(seed, rules);
        assert!(faults.is_empty(), "seed {seed} {rules:?}: {faults:#?}");
        records += world.log.len();
        for (what, n) in world.deaths {
            *deaths.entry(what).or_default() += n;
        }
    }
    // A harness in which nothing happens proves nothing.
    for what in [
        "the watcher",
        "the publisher",
        "the process",
        "410",
        "a line",
        "a record",
        "a page token",
        "a page token for later pages",
        "a poisoned line",
        "403",
    ] {
        assert!(deaths.get(what).copied().unwrap_or(0) > count as usize / 10, "{what} died too rarely: {deaths:?}");
    }
    assert!(records > count as usize * 50, "{records} records");
}

#[test]
fn whatever_dies_the_log_ends_up_saying_what_the_api_server_says_and_nothing_stands_there_twice() {
    all_hold(Rules::default());
}

#[test]
fn with_unknown_outcomes_there_are_repeats_but_neither_loss_nor_disorder() {
    all_hold(Rules { unknown_outcomes: true, ..Rules::default() });
}

/// The first seed in which the mutant breaks one of these promises.
fn is_caught(mutant: Mutant, unknown_outcomes: bool, promises: &[&str]) {
    let caught = (0..250).any(|seed| {
        let (faults, _) = run(seed, Rules { mutant: Some(mutant), unknown_outcomes });
        faults.iter().any(|fault| promises.iter().any(|promise| fault.starts_with(promise)))
    });
    assert!(caught, "{mutant:?} breaks none of {promises:?} in 250 seeds");
}

#[test]
fn forgetting_the_dead_is_caught() {
    is_caught(Mutant::ForgetTheDead, false, &["duplicate"]);
    is_caught(Mutant::ForgetTheDead, true, &["order"]);
}

#[test]
fn a_point_before_the_end_of_a_list_is_caught() {
    is_caught(Mutant::PointBeforeListEnd, false, &["state"]);
}

#[test]
fn acking_on_enqueue_is_caught() {
    is_caught(Mutant::AckOnEnqueue, false, &["loss"]);
    is_caught(Mutant::AckOnEnqueue, false, &["state"]);
    is_caught(Mutant::AckOnEnqueue, false, &["death"]);
}

#[test]
fn skipping_what_cannot_be_read_is_caught() {
    is_caught(Mutant::SkipUndecodable, false, &["state"]);
}

#[test]
fn a_fold_that_takes_the_last_offset_is_caught() {
    is_caught(Mutant::LastOffsetWins, true, &["death"]);
}
