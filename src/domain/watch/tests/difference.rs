//! What a list writes over what is known is the difference, whole and alone: `apply(difference(a, b), a) = b`.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;

/// Name → uid and version.
type World = BTreeMap<u8, (String, u64)>;

/// What became of a name between the two worlds.
#[derive(Debug, Clone, Copy)]
enum Fate {
    Absent,
    Stays,
    Changes,
    Goes,
    Comes,
    /// Deleted and made again: another uid.
    IsReplaced,
}

fn fates() -> impl Strategy<Value = Vec<Fate>> {
    use Fate::{Absent, Changes, Comes, Goes, IsReplaced, Stays};
    prop::collection::vec(prop::sample::select(vec![Absent, Stays, Changes, Goes, Comes, IsReplaced]), 0..40)
}

fn worlds(fates: &[Fate]) -> (World, World) {
    let (mut before, mut after) = (World::new(), World::new());
    for (name, fate) in (0_u8..).zip(fates) {
        let old = || (format!("old{name}"), 10 + u64::from(name));
        let new_version = 110 + u64::from(name);
        if !matches!(fate, Fate::Absent | Fate::Comes) {
            before.insert(name, old());
        }
        match fate {
            Fate::Absent | Fate::Goes => None,
            Fate::Stays => after.insert(name, old()),
            Fate::Changes => after.insert(name, (old().0, new_version)),
            Fate::Comes | Fate::IsReplaced => after.insert(name, (format!("new{name}"), new_version)),
        };
    }
    (before, after)
}

/// Answers a list page by page until nothing more is asked for as a list.
fn show(kit: &mut Kit, rv: &str, world: &World, of_a_page: usize) {
    let items: Vec<String> = world.iter().map(|(name, (uid, rv))| item(&format!("p{name:02}"), uid, *rv)).collect();
    let mut pages = items.chunks(of_a_page).peekable();
    if pages.peek().is_none() {
        return kit.answer(200, &page(rv, &[], ""));
    }
    while let Some(items) = pages.next() {
        kit.answer(200, &page(rv, items, if pages.peek().is_some() { "more" } else { "" }));
    }
}

proptest! {
    #[test]
    fn a_list_over_what_is_known_writes_the_difference_and_nothing_else(fates in fates(), of_a_page in 1_usize..12) {
        let (before, after) = worlds(&fates);
        let mut kit = Kit::of("services", Config { max_page: 1 << 20, doubt_from: 1, ..config() });
        show(&mut kit, "100", &before, of_a_page);
        kit.wait();
        kit.written();
        kit.stream(&error(410, "Expired"));
        kit.wait();
        show(&mut kit, "200", &after, of_a_page);
        if kit.core.phase().name == "listing" {
            show(&mut kit, "200", &after, of_a_page);
            kit.review(true);
        }
        prop_assert_eq!(kit.position(), "200");

        let mut known: BTreeMap<String, u64> = before.values().cloned().collect();
        let mut touched = Vec::new();
        for record in kit.written() {
            let (op, rest) = record.split_once(' ').expect("an operation");
            let (uid, rest) = rest.split_once('@').expect("a uid");
            let rv: u64 = rest.split(' ').next().and_then(|rv| rv.parse().ok()).expect("a version");
            match op {
                "d" => prop_assert!(known.remove(uid).is_some(), "{} was not there", uid),
                "t" => continue,
                _ => drop(known.insert(uid.to_owned(), rv)),
            }
            touched.push(uid.to_owned());
        }
        let expected: BTreeMap<String, u64> = after.values().cloned().collect();
        prop_assert_eq!(&known, &expected);
        prop_assert_eq!(kit.capture.index.len(), after.len());
        let unchanged = |uid: &String| before.values().any(|(u, rv)| u == uid && after.values().any(|o| (&o.0, o.1) == (u, *rv)));
        prop_assert!(!touched.iter().any(unchanged), "what did not change was written: {:?}", touched);
        let times = touched.len();
        touched.sort();
        touched.dedup();
        prop_assert_eq!(touched.len(), times, "one record for each object");
    }
}
