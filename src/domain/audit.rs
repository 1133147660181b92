//! The audit: what the API server lists against what the log says, without mistaking a change that is on its way for a
//! loss. A list is as of one version; the fold is compared with it only when it has passed that version, so that whatever
//! the fold holds at a later one was touched since and proves nothing.

use super::index::Name;
use super::rv::Rv;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Which object stands under a name, and in which version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Version {
    /// uid.
    pub uid: Arc<str>,
    /// resourceVersion.
    pub rv: Rv,
    /// Of the log's side: it holds no more than the identity.
    pub stub: bool,
}

impl Version {
    /// Of an object that is held whole, or of the API server's.
    pub fn new(uid: Arc<str>, rv: Rv) -> Self {
        Self { uid, rv, stub: false }
    }
}

/// One side: name → version.
pub type Side = BTreeMap<Name, Version>;

/// How an object differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, serde::Serialize)]
pub enum What {
    /// The API server has it, the log does not.
    #[serde(rename = "missing in log")]
    Missing,
    /// The log has it, the API server does not.
    #[serde(rename = "ghost in log")]
    Ghost,
    /// The log stands at an older version, or at a predecessor of that name.
    #[serde(rename = "older version")]
    Older,
    /// The log stands at a version that the API server had not reached.
    #[serde(rename = "newer version")]
    Newer,
    /// The log stands at the same version, and says that it does not hold the contents. Declared, so nothing is lost
    /// silently.
    #[serde(rename = "stub")]
    Stub,
}

impl What {
    /// For people.
    pub fn words(self) -> &'static str {
        match self {
            Self::Missing => "missing in log",
            Self::Ghost => "ghost in log",
            Self::Older => "older version",
            Self::Newer => "newer version",
            Self::Stub => "stub",
        }
    }
}

/// One object on which the two sides disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference {
    /// Namespace and name.
    pub at: Name,
    /// How.
    pub what: What,
    /// As the API server has it.
    pub server: Option<Version>,
    /// As the log has it.
    pub log: Option<Version>,
}

/// Where a list of version `list` and a fold that has passed it disagree, by name. What the fold holds at a later version
/// is left out. A key that was deleted since the list looks as if it were missing: see [`confirmed`].
pub fn differences(list: &Rv, server: &Side, log: &Side) -> Vec<Difference> {
    let mut found = Vec::new();
    for (at, theirs) in server {
        let ours = log.get(at);
        let what = match ours {
            None => What::Missing,
            Some(ours) if ours.stub && (&ours.uid, &ours.rv) == (&theirs.uid, &theirs.rv) => What::Stub,
            Some(ours) if ours == theirs || ours.rv > *list => continue,
            Some(ours) if ours.rv > theirs.rv => What::Newer,
            Some(_) => What::Older,
        };
        found.push(Difference { at: at.clone(), what, server: Some(theirs.clone()), log: ours.cloned() });
    }
    let ghosts = log.iter().filter(|(at, ours)| !server.contains_key(*at) && ours.rv <= *list);
    found.extend(ghosts.map(|(at, ours)| Difference {
        at: at.clone(),
        what: What::Ghost,
        server: None,
        log: Some(ours.clone()),
    }));
    found.sort_by(|a, b| a.at.cmp(&b.at));
    found
}

/// What is to become of an object on which the two sides disagree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Suspect {
    /// Written anew, as the next list shows it.
    Anew,
    /// It lives in the log alone, in this version: its end is written.
    Ghost(Version),
    /// The log holds a version that the server's history never had: its history is another one.
    Future,
    /// The log holds its identity alone: written anew if it can be carried now, and only then.
    Stub,
}

impl Difference {
    /// Of whom something is to be written, and what.
    pub fn suspect(self) -> (Name, Suspect) {
        let suspect = match (self.what, self.log) {
            (What::Newer, _) => Suspect::Future,
            (What::Stub, _) => Suspect::Stub,
            (What::Ghost, Some(log)) => Suspect::Ghost(log),
            _ => Suspect::Anew,
        };
        (self.at, suspect)
    }
}

/// What stood in the log before the list of version `list` was asked for, at a version that the list had not come to: the
/// server told a version that never was, or its history was rewound. Asked for without a version, a list is as new as
/// anything that was reported before it; so one look proves it.
pub fn ahead(list: &Rv, server: &Side, earlier: Side) -> Vec<Difference> {
    let ahead = earlier.into_iter().filter(|(_, ours)| ours.rv > *list);
    ahead
        .map(|(at, ours)| {
            let theirs = server.get(&at).cloned();
            let what = if theirs.is_some() { What::Newer } else { What::Ghost };
            Difference { at, what, server: theirs, log: Some(ours) }
        })
        .collect()
}

/// Takes the stubs out of what differs: they are known, and no difference that a second look could confirm.
pub fn apart(found: Vec<Difference>) -> (Vec<Difference>, Vec<Difference>) {
    found.into_iter().partition(|difference| difference.what != What::Stub)
}

/// Second looks at the stubs of a kind. Each costs a list: one version of an object is looked at once, and objects that cannot
/// be carried and change all the time do not make lists of the kind all the time.
#[derive(Debug, Default)]
pub struct SecondLooks {
    seen: Side,
    /// No look before that, on the caller's clock.
    next: Duration,
    pause: Duration,
}

/// Between two looks of a kind: the first pause, and the longest that doubling makes of it.
const LOOKS: (Duration, Duration) = (Duration::from_secs(3600), Duration::from_secs(6 * 3600));

impl SecondLooks {
    /// Which of the stubs that stand `now` are to be looked at.
    pub fn due(&mut self, stubs: &[Difference], now: Duration) -> Vec<Difference> {
        if now < self.next {
            return Vec::new();
        }
        if stubs.is_empty() {
            *self = Self::default();
        }
        let due: Vec<Difference> =
            stubs.iter().filter(|stub| self.seen.get(&stub.at) != stub.log.as_ref()).cloned().collect();
        if due.is_empty() {
            return Vec::new();
        }
        self.seen = stubs.iter().filter_map(|stub| Some((stub.at.clone(), stub.log.clone()?))).collect();
        self.pause = (self.pause * 2).clamp(LOOKS.0, LOOKS.1);
        self.next = now + self.pause;
        due
    }
}

/// The differences of a second look, whose list was made after the first one was compared, that are none of time: the
/// log still says what it said, and the API server still has the object that the log lacks.
pub fn confirmed(first: &[Difference], second: Vec<Difference>) -> Vec<Difference> {
    let uid = |version: &Option<Version>| version.as_ref().map(|v| v.uid.clone());
    let known: BTreeMap<&Name, &Difference> = first.iter().map(|d| (&d.at, d)).collect();
    let stays = |now: &Difference| {
        known.get(&now.at).is_some_and(|before| {
            before.what == now.what && before.log == now.log && uid(&before.server) == uid(&now.server)
        })
    };
    second.into_iter().filter(stays).collect()
}

/// What a light audit sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Counts {
    /// Objects at the API server.
    pub server: u64,
    /// Objects in the fold.
    pub log: u64,
    /// Reports so far: where that moved between two looks, nothing is proven.
    pub received: u64,
    /// Nothing is on its way to the log.
    pub settled: bool,
}

/// Whether two looks in a row, between which nothing was reported, found the same difference.
pub fn is_off(before: &Counts, now: &Counts) -> bool {
    now.server != now.log && before == now && now.settled
}

/// A full audit may take at most this part of the time.
const SHARE: u32 = 50;

/// How long until the next full audit: the interval ±50 % by `chance` (in [0, 1)), and longer where one takes long.
pub fn next_full(interval: Duration, chance: f64, took: Duration) -> Duration {
    interval.mul_f64(0.5 + chance.clamp(0.0, 1.0)).max(took * SHARE)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn side(all: &[(&str, &str, u64)]) -> Side {
        let version = |uid: &str, rv: u64| Version::new(uid.into(), Rv::new(&rv.to_string()));
        all.iter().map(|(name, uid, rv)| (at(name), version(uid, *rv))).collect()
    }

    fn at(name: &str) -> Name {
        Name { namespace: "n".into(), name: name.into() }
    }

    fn found(list: u64, server: &[(&str, &str, u64)], log: &[(&str, &str, u64)]) -> Vec<(String, What)> {
        let list = Rv::new(&list.to_string());
        differences(&list, &side(server), &side(log)).into_iter().map(|d| (d.at.name.to_string(), d.what)).collect()
    }

    #[test]
    fn each_way_to_differ_has_its_word_and_what_was_touched_since_has_none() {
        let server = [("a", "a", 5), ("b", "b", 6), ("c", "c", 7), ("d", "d2", 9), ("e", "e", 3), ("f", "f", 4)];
        let log = [
            ("a", "a", 5),
            ("b", "b", 4),
            ("d", "d1", 2),
            ("e", "e", 8),
            ("f", "f", 11),
            ("g", "g", 9),
            ("h", "h", 12),
        ];
        let expected =
            [("b", What::Older), ("c", What::Missing), ("d", What::Older), ("e", What::Newer), ("g", What::Ghost)];
        let expected: Vec<_> = expected.map(|(name, what)| (name.to_owned(), what)).into();
        assert_eq!(found(10, &server, &log), expected);
    }

    #[test]
    fn a_stub_is_a_difference_of_its_own_and_is_looked_at_again_once_a_version() {
        let looked = |version: u64| {
            let mut log = side(&[("a", "a", 5), ("b", "b", version)]);
            log.get_mut(&at("b")).expect("held").stub = true;
            let (others, stubs) = apart(differences(&Rv::new("10"), &side(&[("a", "a", 5), ("b", "b", 6)]), &log));
            (others.len(), stubs)
        };
        let (others, stubs) = looked(6);
        assert_eq!((others, stubs.len(), stubs[0].what), (0, 1, What::Stub));
        assert_eq!(stubs[0].clone().suspect(), (at("b"), Suspect::Stub));
        let mut looks = SecondLooks::default();
        // What stands, at which second, and how many are looked at.
        let mut newer = stubs.clone();
        newer[0].log = Some(Version { stub: true, ..Version::new("b".into(), Rv::new("7")) });
        let newest = Version { stub: true, ..Version::new("b".into(), Rv::new("8")) };
        let newest = [Difference { log: Some(newest), ..stubs[0].clone() }];
        let told: [(&[Difference], u64, usize); 11] = [
            (&stubs, 0, 1),
            (&stubs, 1, 0),
            (&stubs, 9000, 0),
            (&newer, 9001, 1),
            (&newest, 9002, 0),
            (&newest, 9001 + 7199, 0),
            (&newest, 9001 + 7200, 1),
            (&[], 16_300, 0),
            (&stubs, 16_301, 0),
            (&[], 30_601, 0),
            (&newest, 30_602, 1),
        ];
        for (stubs, now, due) in told {
            assert_eq!(looks.due(stubs, Duration::from_secs(now)).len(), due, "at {now} s");
        }
        let (others, stubs) = looked(4);
        assert_eq!((others, stubs.len()), (1, 0), "an older version differs, whatever is held of it");
    }

    #[test]
    fn a_second_look_keeps_only_what_neither_side_has_mended() {
        let look =
            |list: u64, server: &[_], log: &[_]| differences(&Rv::new(&list.to_string()), &side(server), &side(log));
        let first = look(10, &[("lost", "l", 5), ("deleted", "d", 6), ("late", "x", 8)], &[("late", "x", 7)]);
        assert_eq!(first.len(), 3);
        let second = look(20, &[("lost", "l", 15), ("late", "x", 18)], &[("late", "x", 17)]);
        let kept = confirmed(&first, second);
        assert_eq!(kept.iter().map(|d| (&*d.at.name, d.what)).collect::<Vec<_>>(), [("lost", What::Missing)]);
        let recreated = look(20, &[("lost", "l2", 15)], &[]);
        assert!(confirmed(&first, recreated).is_empty(), "another object: its record may be on its way");
    }

    #[test]
    fn counts_are_off_only_where_nothing_moved_between_two_looks() {
        let counts = Counts { server: 5, log: 4, received: 9, settled: true };
        assert!(is_off(&counts, &counts));
        assert!(!is_off(&counts, &Counts { received: 10, ..counts }));
        assert!(!is_off(&Counts { log: 5, ..counts }, &counts));
        let unsettled = Counts { settled: false, ..counts };
        assert!(!is_off(&unsettled, &unsettled));
        assert!(!is_off(&Counts { log: 5, ..counts }, &Counts { log: 5, ..counts }));
    }

    #[test]
    fn a_slow_audit_makes_itself_rare() {
        let five = Duration::from_secs(300);
        assert_eq!(next_full(five, 0.0, Duration::ZERO), Duration::from_secs(150));
        assert_eq!(next_full(five, 0.999_999, Duration::from_secs(1)).as_secs(), 449);
        assert_eq!(next_full(five, 0.5, Duration::from_secs(60)), Duration::from_secs(3000));
    }

    #[test]
    fn what_the_log_held_before_the_list_at_a_version_beyond_it_never_was() {
        let side = |names: &[(&str, &str)]| -> Side {
            let at = |name: &str| Name { namespace: "n".into(), name: name.into() };
            let version = |rv: &str| Version::new("u".into(), Rv::new(rv));
            names.iter().map(|(name, rv)| (at(name), version(rv))).collect()
        };
        let found =
            ahead(&Rv::new("20"), &side(&[("a", "5"), ("c", "20")]), side(&[("a", "99"), ("b", "98"), ("c", "20")]));
        let found: Vec<_> = found.iter().map(|d| (&*d.at.name, d.what, d.server.is_some())).collect();
        assert_eq!(found, [("a", What::Newer, true), ("b", What::Ghost, false)]);
    }

    proptest! {
        // Histories of creations and deletions; the list is of one version, the fold of that or a later one.
        #[test]
        fn a_fold_that_lost_nothing_is_never_confirmed_to_differ(
            acts in prop::collection::vec((0usize..6, any::<bool>()), 1..60),
            cuts in prop::collection::vec(0usize..60, 4),
        ) {
            let state = |upto: usize| {
                let mut side = Side::new();
                for (i, (name, deletes)) in acts.iter().take(upto).enumerate() {
                    let name = at(&format!("o{name}"));
                    let rv = Rv::new(&(i + 1).to_string());
                    if *deletes {
                        side.remove(&name);
                    } else {
                        let uid = side.get(&name).map_or_else(|| format!("u{i}").into(), |v| v.uid.clone());
                        side.insert(name, Version::new(uid, rv));
                    }
                }
                side
            };
            let mut cuts: Vec<usize> = cuts.into_iter().map(|c| c.min(acts.len())).collect();
            cuts.sort_unstable();
            let look = |list: usize, fold: usize| differences(&Rv::new(&list.to_string()), &state(list), &state(fold));
            let (first, second) = (look(cuts[0], cuts[1]), look(cuts[2], cuts[3]));
            prop_assert!(first.iter().all(|d| d.what == What::Missing), "only what was deleted since can look lost");
            prop_assert_eq!(confirmed(&first, second), Vec::new());
        }
    }
}
