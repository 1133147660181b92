//! A watcher may die between any two reports. Its successor gets the same capture and writes exactly what was left.

use super::simulation::api::{Api, Rng};
use super::*;
use proptest::prelude::*;

/// A server whose answers depend on the request alone: a first list at `listed`, a watch that expires at `expired`, a second
/// list at `again`, and a watch from there to the end.
struct Script {
    api: Api,
    listed: u64,
    expired: u64,
    again: u64,
}

impl Script {
    fn new(seed: u64) -> Self {
        let (mut api, mut rng) = (Api::default(), Rng(seed));
        let mut grow = |n: usize| {
            (0..n).for_each(|_| api.mutate(&mut rng));
            api.rv
        };
        let (listed, expired, again, _) = (grow(12), grow(15), grow(15), grow(15));
        Self { api, listed, expired, again }
    }

    /// The body that answers a request, and whether it is a list.
    fn answer(&self, verb: &Verb) -> String {
        match verb {
            Verb::List { limit, next, at_least, .. } => {
                let at = if at_least.is_none() && next.as_deref().is_none_or(|n| n.starts_with('a')) {
                    self.listed
                } else {
                    self.again
                };
                let from: usize = next.as_ref().map_or(0, |n| n[1..].parse().expect("our token"));
                let state = self.api.state_at(at);
                let items: Vec<_> = state.iter().map(|(name, (uid, rv))| item(name, uid, *rv)).collect();
                let end = items.len().min(from + *limit as usize);
                let token = if at == self.listed { 'a' } else { 'b' };
                let next = if end < items.len() { format!("{token}{end}") } else { String::new() };
                page(&at.to_string(), &items[from..end], &next)
            }
            Verb::WatchList { .. } | Verb::Probe { .. } | Verb::Review { .. } => panic!("not asked for here"),
            Verb::Watch { rv, .. } => {
                let mut cursor: u64 = rv.as_str().parse().expect("a number");
                let (end, last) = if cursor < self.again {
                    (self.expired, error(410, "Expired"))
                } else {
                    (self.api.rv, String::new())
                };
                let mut lines = String::new();
                while let Some(change) = self.api.after(cursor).filter(|c| c.rv <= end) {
                    cursor = change.rv;
                    lines += &event(change.wire, &change.name, &change.uid, change.rv);
                }
                lines + &last
            }
        }
    }

    /// Runs to the end; the watcher dies after as many commits as each of `deaths` says.
    fn run(&self, deaths: &[usize]) -> Kit {
        let mut kit = Kit::new();
        let mut deaths = deaths.iter();
        let mut left = deaths.next().copied();
        for _ in 0..1000 {
            kit.env.now = kit.core.wake_at().unwrap_or_default().max(kit.env.now);
            kit.core.tick(&kit.capture, kit.env);
            kit.take_actions();
            if let Some(Request { id, verb }) = kit.request.take() {
                let watched_all = matches!(&verb, Verb::Watch { .. }) && kit.position() == self.api.rv.to_string();
                if watched_all {
                    return kit;
                }
                kit.core.input(id, Input::Head { status: 200, retry_after: None }, kit.env);
                kit.core.input(id, Input::Body(self.answer(&verb).into()), kit.env);
                kit.core.input(id, Input::End, kit.env);
            }
            loop {
                if left == Some(0) {
                    left = deaths.next().copied();
                    kit.core =
                        WatchCore::new(config(), Redactor::new(kind("services"), Arc::new(Policy::default())), None);
                    break;
                }
                let Some(mut commit) = kit.core.next(&kit.capture, &kit.writer, &kit.overlay, kit.env) else { break };
                left = left.map(|n| n - 1);
                for object in std::mem::take(&mut commit.versions) {
                    let o = object.get();
                    kit.overlay.0.insert((o.uid.clone(), o.rv.clone()), o.json.clone());
                }
                kit.log.append(&mut commit.records);
                kit.capture.apply(commit);
            }
        }
        panic!("never came to the end: {}", kit.phase());
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn wherever_a_watcher_dies_its_successor_writes_exactly_what_was_left(
        seed: u64, deaths in proptest::collection::vec(0_usize..40, 1..6),
    ) {
        let script = Script::new(seed);
        let undisturbed = script.run(&[]);
        let disturbed = script.run(&deaths);
        let shorts = |kit: &Kit| kit.log.iter().map(short).collect::<Vec<_>>();
        prop_assert_eq!(shorts(&disturbed), shorts(&undisturbed));
        prop_assert!(disturbed.log == undisturbed.log, "the same to the byte");
        prop_assert_eq!(disturbed.position(), undisturbed.position());
    }
}

#[test]
fn an_undisturbed_run_goes_through_everything_that_a_death_could_hit() {
    let shorts: Vec<_> = (0..20).flat_map(|seed| Script::new(seed).run(&[]).log).map(|r| short(&r)).collect();
    for what in ["r u", "c u", "u u", "d u", "t u", "snapshot", "relist before", "inferred"] {
        assert!(shorts.iter().any(|s| s.contains(what)), "{what}");
    }
}
