//! What the workload does next: a function of the seed and of how many choices went before. It sees neither the cluster nor
//! the clock, so the same seed makes the same choices.

use super::acts::{Act, Target};
use super::catalogue::{APPS, App, LOAD, LOAD_MAPS, PROMOTION_NAMES, SECRETS, SETTINGS};
use super::furnish::load_map;
use crate::sandbox::controllers::Death;
use rand::rngs::StdRng;
use rand::{RngExt as _, SeedableRng as _};
use std::time::Duration;

/// A kind of happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum What {
    Rollout,
    Scale,
    Crash,
    CrashAgain,
    OutOfMemory,
    Evict,
    BadImage,
    BadRelease,
    NodeAway,
    Jobs,
    EditConfigmap,
    RotateSecret,
    Warning,
    Promotion,
}

/// How often each of the larger ones comes, in parts of the whole.
const LARGE: &[(What, u32)] = &[
    (What::Rollout, 24),
    (What::Scale, 20),
    (What::Crash, 12),
    (What::CrashAgain, 6),
    (What::OutOfMemory, 12),
    (What::Evict, 7),
    (What::BadImage, 6),
    (What::BadRelease, 5),
    (What::NodeAway, 3),
    (What::Jobs, 5),
];
/// The small ones, of one change each.
const SMALL: &[(What, u32)] =
    &[(What::EditConfigmap, 4), (What::Promotion, 4), (What::Warning, 3), (What::RotateSecret, 1)];

/// After each start: everything once, so that half a minute shows what there is. Milliseconds.
pub(super) const OPENING: &[(u64, What)] = &[
    (4_000, What::EditConfigmap),
    (5_000, What::Rollout),
    (7_500, What::OutOfMemory),
    (9_000, What::RotateSecret),
    (9_500, What::Scale),
    (10_500, What::BadImage),
    (12_000, What::BadRelease),
    (13_000, What::Promotion),
    (15_000, What::Warning),
    (16_000, What::Crash),
    (17_500, What::Evict),
    (19_000, What::NodeAway),
    (22_000, What::EditConfigmap),
    (24_000, What::Jobs),
    (26_000, What::Scale),
];

/// A choice: what to do now, and what is to follow.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Choice {
    pub what: What,
    /// In order, with the time after the first.
    pub acts: Vec<(Duration, Act)>,
}

fn dice(seed: u64, number: u64) -> StdRng {
    StdRng::seed_from_u64(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ number.wrapping_mul(0xd1b5_4a32_d192_ed03))
}

fn weighted(table: &[(What, u32)], dice: &mut StdRng) -> What {
    let mut at = dice.random_range(0..table.iter().map(|(_, w)| w).sum::<u32>());
    for (what, weight) in table {
        if at < *weight {
            return *what;
        }
        at -= weight;
    }
    table[0].0
}

/// The next of the larger choices.
pub(super) fn large(seed: u64, number: u64) -> Choice {
    let mut dice = dice(seed, number);
    let what = weighted(LARGE, &mut dice);
    choice(what, &mut dice)
}

/// The next of the small ones.
pub(super) fn small(seed: u64, number: u64) -> Choice {
    let mut dice = dice(seed ^ 1, number);
    let what = weighted(SMALL, &mut dice);
    choice(what, &mut dice)
}

/// One of the opening, drawn for the `again`th time.
pub(super) fn opening(seed: u64, place: usize, again: u64) -> Choice {
    choice(OPENING[place].1, &mut dice(seed ^ 2, place as u64 + (again << 32)))
}

/// A change of next to no cost, for high rates.
pub(super) fn cheap(seed: u64, number: u64) -> Act {
    let mut dice = dice(seed ^ 3, number);
    let manager = ["load-generator", "session-service", "kubectl-edit"][dice.random_range(0..3)];
    Act::EditConfigmap {
        target: Target::new(LOAD, &load_map(dice.random_range(0..LOAD_MAPS))),
        key: "requests".to_owned(),
        value: number.to_string(),
        manager: manager.to_owned(),
    }
}

fn choice(what: What, dice: &mut StdRng) -> Choice {
    let after = |ms: u64, act: Act| (Duration::from_millis(ms), act);
    let stateless = |dice: &mut StdRng| one(dice, &|a| !a.stateful);
    let acts = match what {
        What::Rollout => {
            let app = one(dice, &|_| true);
            vec![after(0, rollout(app, None, None, release_manager(app)))]
        }
        What::Scale => {
            let app = one(dice, &|a| a.scaled);
            let replicas = app.replicas + dice.random_range(0..4);
            let manager = "kube-controller-manager".to_owned();
            vec![after(0, Act::Scale { target: target(app), replicas, manager })]
        }
        What::Crash => vec![after(0, kill(stateless(dice), Death::Crash))],
        What::CrashAgain => {
            let app = one(dice, &|a| !a.stateful && a.replicas == 1);
            (0..3).map(|n| after(n * 6_000, kill(app, Death::Crash))).collect()
        }
        What::OutOfMemory => vec![after(0, kill(stateless(dice), Death::OutOfMemory))],
        What::Evict => vec![after(0, Act::Evict { target: target(stateless(dice)) })],
        What::BadImage => {
            let app = stateless(dice);
            let image = format!("{}:{}-missing", app.image, app.tag);
            vec![after(0, rollout(app, Some(image), None, "kubectl-set")), after(13_000, back(app))]
        }
        What::BadRelease => {
            let app = stateless(dice);
            let behaviour = if dice.random_bool(0.5) { "crash" } else { "oom" };
            let bad = rollout(app, None, Some(behaviour.to_owned()), release_manager(app));
            vec![after(0, bad), after(25_000, back(app))]
        }
        What::NodeAway => {
            let name = "spot-1".to_owned();
            vec![after(0, Act::NodeDown { name: name.clone() }), after(16_000, Act::NodeUp { name })]
        }
        What::Jobs => {
            let target = Target::new("shop", ["nightly-report", "sitemap", "price-import"][dice.random_range(0..3)]);
            (0..3).map(|n| after(n * 300, Act::Job { target: target.clone() })).collect()
        }
        What::EditConfigmap => {
            let setting = &SETTINGS[dice.random_range(0..SETTINGS.len())];
            vec![after(
                0,
                Act::EditConfigmap {
                    target: Target::new(setting.namespace, setting.name),
                    key: setting.key.to_owned(),
                    value: setting.values[dice.random_range(0..setting.values.len())].to_owned(),
                    manager: setting.manager.to_owned(),
                },
            )]
        }
        What::RotateSecret => {
            let (namespace, name, ..) = SECRETS[dice.random_range(0..SECRETS.len())];
            vec![after(0, Act::RotateSecret { target: Target::new(namespace, name) })]
        }
        What::Warning => {
            let app = stateless(dice);
            let message = format!(
                "Readiness probe failed: HTTP probe failed with statuscode: {}",
                [500, 502, 503][dice.random_range(0..3)]
            );
            vec![after(0, Act::Event { target: target(app), warning: true, reason: "Unhealthy".to_owned(), message })]
        }
        What::Promotion => {
            let (name, _) = PROMOTION_NAMES[dice.random_range(0..PROMOTION_NAMES.len())];
            let phase = ["Active", "Active", "Paused", "Exhausted"][dice.random_range(0..4)].to_owned();
            vec![after(0, Act::Promotion { name: name.to_owned(), phase, redeemed: dice.random_range(0..5000) })]
        }
    };
    Choice { what, acts }
}

fn one(dice: &mut StdRng, fits: &dyn Fn(&App) -> bool) -> &'static App {
    let fitting: Vec<&App> = APPS.iter().filter(|a| fits(a)).collect();
    fitting[dice.random_range(0..fitting.len())]
}

fn target(app: &App) -> Target {
    Target::new(app.namespace, app.name)
}

fn kill(app: &App, death: Death) -> Act {
    Act::Kill { target: target(app), death }
}

fn back(app: &App) -> Act {
    Act::Rollback { target: target(app) }
}

fn rollout(app: &App, image: Option<String>, behaviour: Option<String>, manager: &str) -> Act {
    Act::Rollout { target: target(app), image, behaviour, manager: manager.to_owned() }
}

fn release_manager(app: &App) -> &'static str {
    let (manager, _) = app.by.manager();
    if manager == "kubectl-client-side-apply" { "kubectl-set" } else { manager }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_same_seed_makes_the_same_choices_and_another_makes_others() {
        let all = |seed| (0..200).map(|n| (large(seed, n), small(seed, n), cheap(seed, n))).collect::<Vec<_>>();
        assert_eq!(all(1), all(1));
        assert_ne!(all(1), all(2));
        let openings = |seed| (0..OPENING.len()).map(|n| opening(seed, n, 0)).collect::<Vec<_>>();
        assert_eq!(openings(1), openings(1));
        assert_ne!(openings(1), openings(2));
    }

    #[test]
    fn everything_comes_with_every_seed() {
        for seed in 0..20 {
            let large: BTreeSet<What> = (0..200).map(|n| large(seed, n).what).collect();
            let small: BTreeSet<What> = (0..200).map(|n| small(seed, n).what).collect();
            assert_eq!((large.len(), small.len()), (LARGE.len(), SMALL.len()), "seed {seed}");
        }
        let opened: BTreeSet<What> = OPENING.iter().map(|(_, what)| *what).collect();
        assert!(LARGE.iter().all(|(what, _)| opened.contains(what) || *what == What::CrashAgain));
        assert!(OPENING.last().is_some_and(|(ms, _)| *ms < 30_000));
    }
}
