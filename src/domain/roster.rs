//! Which kinds are watched, and what becomes of that when the API server says anew which ones it serves.
//!
//! Discovery lags and lies by omission: a group whose server is away serves nothing for a moment. So a kind is started as
//! soon as it is served, and let go only when two looks in a row miss it, its group was really asked, and a list of it is
//! refused as unknown.

use super::kind::Kind;
use std::collections::BTreeMap;

/// Where a kind stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Watched,
    /// The last look missed it.
    Missed,
    /// Its definition is gone; its watchers are being stopped.
    Going,
    /// It is served as another than it was; its watchers are being stopped, to begin again.
    Moving,
}

/// The kinds that have watchers.
#[derive(Debug, Default)]
pub struct Roster {
    kinds: BTreeMap<Kind, Stage>,
}

/// What a look at the API server asks for.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Steps {
    /// Missed twice: gone if a list of it is refused as unknown ([`Roster::is_gone`]).
    pub confirm: Vec<Kind>,
    /// To be stopped, not for being gone but to begin again: in another version, under another name, in another scope.
    pub moved: Vec<Kind>,
    /// Found gone before and not stopped yet.
    pub going: Vec<Kind>,
}

/// What is served and not watched.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct New {
    /// To be started; [`Roster::started`] says so.
    pub start: Vec<Kind>,
    /// More than there may be.
    pub beyond: Vec<Kind>,
}

impl Roster {
    /// The kinds that the process starts with.
    pub fn new(kinds: impl IntoIterator<Item = Kind>) -> Self {
        Self { kinds: kinds.into_iter().map(|kind| (kind, Stage::Watched)).collect() }
    }

    /// What becomes of the kinds that are watched when these are served and wanted. `is_sure` says of a kind that is not
    /// served whether its group was really asked.
    pub fn look(&mut self, served: &[Kind], is_sure: impl Fn(&Kind) -> bool) -> Steps {
        let mut steps = Steps::default();
        for (kind, stage) in &mut self.kinds {
            let now = served.iter().find(|served| *served == kind);
            match (&*stage, now) {
                (Stage::Going, _) => steps.going.push(kind.clone()),
                // Never begun again, it would be deleted by nobody.
                (Stage::Moving, None) if is_sure(kind) => steps.confirm.push(kind.clone()),
                (Stage::Moving, _) => steps.moved.push(kind.clone()),
                (_, Some(now)) if !now.is_identical(kind) => {
                    *stage = Stage::Moving;
                    steps.moved.push(kind.clone());
                }
                (_, Some(_)) => *stage = Stage::Watched,
                (_, None) if !is_sure(kind) => *stage = Stage::Watched,
                (Stage::Watched, None) => *stage = Stage::Missed,
                (Stage::Missed, None) => steps.confirm.push(kind.clone()),
            }
        }
        steps
    }

    /// What to begin with, at most `most` in all: once those are stopped that are to begin again. Kinds that are watched
    /// keep their place.
    pub fn new_of(&self, served: &[Kind], most: usize) -> New {
        let mut new = New::default();
        for kind in served.iter().filter(|kind| !self.kinds.contains_key(*kind)) {
            let there = self.kinds.len() + new.start.len();
            if there < most { new.start.push(kind.clone()) } else { new.beyond.push(kind.clone()) }
        }
        new
    }

    /// A kind has its watchers.
    pub fn started(&mut self, kind: Kind) {
        self.kinds.insert(kind, Stage::Watched);
    }

    /// A list of it was refused as unknown: its watchers are to be stopped, whatever a later look says.
    pub fn is_gone(&mut self, kind: &Kind) {
        if let Some(stage) = self.kinds.get_mut(kind) {
            *stage = Stage::Going;
        }
    }

    /// Its watchers are no more.
    pub fn stopped(&mut self, kind: &Kind) {
        self.kinds.remove(kind);
    }

    /// Whether something that was begun is not finished, or not certain yet.
    pub fn is_settled(&self) -> bool {
        self.kinds.values().all(|stage| *stage == Stage::Watched)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::{prop, prop_assert, prop_assert_eq, proptest};

    fn kind(plural: &str, version: &str) -> Kind {
        Kind::custom("example.com", version, plural, plural, true)
    }

    fn a() -> Kind {
        kind("as", "v1")
    }

    fn sure(_: &Kind) -> bool {
        true
    }

    #[test]
    fn a_kind_that_appears_is_started_once_and_tried_again_until_it_is() {
        let mut roster = Roster::default();
        for _ in 0..2 {
            assert_eq!(roster.look(&[a()], sure), Steps::default());
            assert_eq!(roster.new_of(&[a()], 9).start, [a()]);
        }
        roster.started(a());
        assert_eq!(roster.look(&[a()], sure), Steps::default());
        assert_eq!(roster.new_of(&[a()], 9), New::default());
        assert!(roster.is_settled());
    }

    #[test]
    fn a_kind_is_gone_when_two_looks_miss_it_and_a_list_is_refused() {
        let mut roster = Roster::new([a()]);
        assert_eq!(roster.look(&[], sure), Steps::default());
        assert!(!roster.is_settled(), "the next look comes soon");
        assert_eq!(roster.look(&[], sure).confirm, [a()]);
        assert_eq!(roster.look(&[], sure).confirm, [a()], "a list still answers: asked again");
        roster.is_gone(&a());
        assert_eq!(roster.look(&[a()], sure).going, [a()], "what was begun is finished, though it is back");
        assert_eq!(roster.new_of(&[a()], 9), New::default());
        roster.stopped(&a());
        assert_eq!(roster.new_of(&[a()], 9).start, [a()], "by the same look");
    }

    #[test]
    fn one_look_that_misses_a_kind_and_a_group_that_did_not_answer_mean_nothing() {
        let mut roster = Roster::new([a()]);
        for served in [vec![], vec![a()], vec![], vec![a()]] {
            assert_eq!(roster.look(&served, sure), Steps::default());
        }
        for _ in 0..9 {
            assert_eq!(roster.look(&[], |_| false), Steps::default());
        }
        assert_eq!(roster.look(&[], sure), Steps::default(), "the first sure look that misses it");
    }

    #[test]
    fn a_kind_that_is_served_in_another_version_or_as_another_begins_again() {
        let called = |name, namespaced| Kind::custom("example.com", "v1", "as", name, namespaced);
        for other in [kind("as", "v1beta1"), called("A", true), called("as", false)] {
            let mut roster = Roster::new([other.clone()]);
            let steps = roster.look(&[a()], sure);
            assert!(steps.moved[0].is_identical(&other), "what is stopped");
            assert_eq!((steps.moved.len(), roster.new_of(&[a()], 9)), (1, New::default()));
            roster.stopped(&a());
            let start = roster.new_of(&[a()], 9).start;
            assert!(start[0].is_identical(&a()));
            roster.started(a());
            assert_eq!(roster.look(&[a()], sure), Steps::default());
        }
    }

    #[test]
    fn a_kind_that_goes_before_it_could_begin_again_is_gone() {
        let mut roster = Roster::new([kind("as", "v1beta1")]);
        assert_eq!(roster.look(&[a()], sure).moved, [a()]);
        assert_eq!(roster.look(&[], |_| false).moved, [a()], "it could not be stopped");
        assert_eq!(roster.look(&[], sure).confirm, [a()]);
        assert_eq!(roster.look(&[a()], sure).moved, [a()], "it is back");
        roster.is_gone(&a());
        assert_eq!(roster.look(&[], sure).going, [a()]);
    }

    #[test]
    fn what_is_watched_keeps_its_place_when_there_are_too_many() {
        let mut roster = Roster::new([kind("zs", "v1")]);
        let served = [a(), kind("bs", "v1"), kind("zs", "v1")];
        assert_eq!(roster.look(&served, sure), Steps::default());
        assert_eq!(roster.new_of(&served, 2), New { start: vec![a()], beyond: vec![kind("bs", "v1")] });
    }

    proptest! {
        /// Whatever comes and goes, and however often a step fails: what is served twice in a row and steps that work lead
        /// to exactly what is served being watched.
        #[test]
        fn it_always_comes_to_watch_what_is_served(looks in prop::collection::vec((0u8..16, 0u8..16, 0u8..4), 0..40), last in 0u8..16) {
            let named = |bits: u8, version: &str| -> Vec<Kind> {
                let names = ["as", "bs", "cs", "ds"];
                (0..4).filter(|bit| bits & (1 << bit) != 0).map(|bit| kind(names[bit], version)).collect()
            };
            let mut roster = Roster::default();
            let step = |roster: &mut Roster, served: &[Kind], works: u8| {
                let steps = roster.look(served, sure);
                for kind in steps.moved.iter().chain(&steps.going) {
                    if works & 1 != 0 { roster.stopped(kind) }
                }
                for kind in &steps.confirm {
                    roster.is_gone(kind);
                    if works & 1 != 0 { roster.stopped(kind) }
                }
                for kind in roster.new_of(served, 100).start {
                    if works & 2 != 0 { roster.started(kind) }
                }
            };
            for (bits, version, works) in looks {
                step(&mut roster, &named(bits, if version < 12 { "v1" } else { "v2" }), works);
            }
            let served = named(last, "v1");
            for _ in 0..4 {
                step(&mut roster, &served, 3);
            }
            prop_assert!(roster.is_settled());
            prop_assert_eq!(roster.kinds.keys().cloned().collect::<Vec<_>>(), served);
            prop_assert!(roster.kinds.keys().all(|kind| kind.version() == "v1"));
        }
    }
}
