use super::*;
use crate::domain::fold::ForeignReason;
use crate::domain::fold::kit::{Folded, Protocol, acts, in_order, key, name, put, record, tombstone, writer_marker};
use crate::domain::rv::Rv;
use proptest::prelude::*;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// All that a store knows and says, for comparing two of them.
#[derive(Debug, PartialEq)]
struct Everything {
    rows: Rows,
    restored: Restored,
    positions: Vec<Position>,
    memory: Memory,
    changes: Vec<(u64, Operation, Name, String)>,
    counts: (usize, usize, usize),
}

fn everything(store: &Arc<Store>) -> Everything {
    let since = Some(Cursor { instance: 7, version: 0 });
    let mut subscription = store.subscribe(Filter::default(), since);
    assert!(subscription.resumed(), "the ring is longer than these logs");
    let changes = std::iter::from_fn(|| subscription.try_next().expect("not behind"));
    let changes = changes.map(|c| (c.version, c.operation, c.object.at().clone(), c.object.rv().to_string())).collect();
    let in_namespace = |namespace: &str| {
        let filter = Filter { namespace: Some(namespace.into()), ..Filter::default() };
        store.count(&pods(), &filter)
    };
    Everything {
        rows: rows(&all(store, &pods())),
        restored: store.restored(&pods(), |_| true),
        positions: store.positions(),
        memory: store.memory(),
        changes,
        counts: (store.count(&pods(), &Filter::default()), in_namespace("a"), in_namespace("b")),
    }
}

fn applied_at_once(log: &[InRecord]) -> Arc<Store> {
    let store = store();
    store.apply(log);
    store
}

/// What a reader that starts at the store's positions reads.
fn rest<'l>(store: &Store, log: &'l [InRecord]) -> &'l [InRecord] {
    let next = store.positions().first().map_or(0, |p| p.next);
    &log[next as usize..]
}

proptest! {
    #[test]
    fn rows_are_the_fold_of_the_log(acts in acts(5)) {
        let log = Protocol::run(&acts).log;
        let (store, folded) = (applied_at_once(&log), Folded::of(&log));
        let held = all(&store, &pods()).iter().map(|o| (o.at().clone(), (o.uid().to_string(), o.rv().clone()))).collect();
        prop_assert_eq!(&folded.live, &held);
        for (at, (uid, rv)) in &held {
            let json = store.get(&pods(), at).unwrap().json();
            prop_assert_eq!(store.before(&pods(), at, uid, rv), Some(json));
        }
        let owed = store.restored(&pods(), |_| true).owed.into_iter().map(|(at, ..)| at).collect::<Vec<_>>();
        prop_assert_eq!(owed, folded.owed().into_keys().collect::<Vec<_>>());
        let known = store.restored(&pods(), |_| true).shadowed.into_iter().map(|(at, _)| at);
        let known = known.collect::<std::collections::HashSet<_>>();
        prop_assert!(folded.shadowed().is_subset(&known));
    }

    #[test]
    fn batches_of_any_size_read_again_from_anywhere_give_the_same(acts in acts(5), cuts in prop::collection::vec(0.0..1.0, 0..6)) {
        let log = Protocol::run(&acts).log;
        let store = store();
        for cut in cuts {
            // Up to there, from the beginning: everything below the position was applied before.
            store.apply(&log[..(log.len() as f64 * cut) as usize]);
        }
        store.apply(&log);
        prop_assert_eq!(everything(&store), everything(&applied_at_once(&log)));
    }

    #[test]
    fn whoever_applies_may_die_at_any_step(acts in acts(4), trips in prop::collection::vec(0usize..40, 1..6)) {
        let log = Protocol::run(&acts).log;
        let (store, mut deaths) = (store(), 0);
        let shortest = trips[0];
        for trip in trips {
            lock(&store.writer).trip = Some(trip);
            let died = catch_unwind(AssertUnwindSafe(|| store.apply(rest(&store, &log)))).is_err();
            deaths += usize::from(died);
            lock(&store.writer).trip = None;
        }
        // Each record takes at least two steps.
        prop_assert!(deaths > 0 || shortest >= 2 * log.len(), "the deaths must really happen");
        store.apply(rest(&store, &log));
        prop_assert_eq!(everything(&store), everything(&applied_at_once(&log)));
    }
}

#[test]
fn the_summary_counts_what_happened() {
    let (at, other) = (name(1), name(2));
    let log = in_order(vec![
        writer_marker(1),
        put(1, "c", &at, "u", 1),
        writer_marker(2),
        put(1, "u", &at, "u", 2),
        record("x", Some(2), None),
        put(2, "c", &other, "v", 3),
        put(2, "d", &other, "v", 4),
        tombstone(2, &other, "v", 4),
    ]);
    let store = store();
    let elsewhere = InRecord { topic: "other".into(), ..put(2, "c", &at, "u", 9) };
    let mut applied = store.apply(&log);
    assert_eq!(store.apply(&[elsewhere]).foreign, 1);
    assert_eq!((applied.live, applied.removed, applied.void, applied.foreign), (2, 1, 1, 1));
    assert_eq!(applied.shadowed, [(pods(), at)]);
    let markers: Vec<_> = std::mem::take(&mut applied.markers).into_iter().map(|(_, p, e)| (p, e)).collect();
    assert_eq!(markers, [(0, 1), (0, 2)]);
    assert_eq!(store.apply(&log).repeated, log.len());
    let stats = store.stats();
    assert_eq!((stats.applied, stats.repeated, stats.void), (9, 8, 1));
    assert_eq!(stats.foreign, [(ForeignReason::Topic, 1), (ForeignReason::Name, 1)].into());
}

#[test]
fn partitions_have_their_own_positions_and_epochs() {
    let store = store();
    let in_partition = |partition, offset, record| InRecord { partition, offset, ..record };
    store.apply(&[
        in_partition(3, 100, writer_marker(5)),
        in_partition(1, 7, put(4, "c", &name(1), "u", 1)),
        in_partition(3, 104, put(4, "c", &name(2), "v", 2)),
    ]);
    let positions: Vec<_> = store.positions().iter().map(|p| (p.partition, p.next, p.epoch)).collect();
    assert_eq!(positions, [(1, 8, 4), (3, 105, 5)]);
    assert_eq!(all(&store, &pods()).len(), 1);
    assert_eq!(store.as_of(&pods()).positions, store.positions());
}

#[test]
fn a_writer_epoch_above_our_own_is_told_and_remembered() {
    let store = store();
    assert_eq!(store.apply(&in_order(vec![writer_marker(9)])).superseded, None, "we are not a writer yet");
    store.set_writer_epoch(10);
    let batch = in_order(vec![writer_marker(9), writer_marker(10), writer_marker(12), put(12, "c", &name(1), "u", 1)]);
    assert_eq!(store.apply(&batch).superseded, Some(12));
    assert_eq!(store.superseded(), Some(12));
}

#[test]
fn a_foreign_record_on_the_key_of_a_row_shadows_it() {
    let at = name(1);
    let store = store();
    let junk = record(&key(&at), None, Some("junk".into()));
    let nobodys = record(&key(&name(2)), None, None);
    let applied = store.apply(&in_order(vec![put(1, "c", &at, "u", 1), junk, nobodys]));
    assert_eq!(applied.shadowed, [(pods(), at.clone())]);
    assert_eq!(store.get(&pods(), &at).unwrap().rv(), &Rv::new("1"));
}

#[test]
fn before_gives_bytes_only_of_exactly_that_version() {
    let at = name(1);
    let store = store();
    store.apply(&in_order(vec![put(1, "c", &at, "u", 12)]));
    let exact = kit::object(&at, "u", 12, &BTreeMap::new());
    assert_eq!(store.before(&pods(), &at, "u", &"12".into()).as_deref(), Some(exact.as_bytes()));
    assert_eq!(store.before(&pods(), &at, "v", &"12".into()), None);
    assert_eq!(store.before(&pods(), &at, "u", &"11".into()), None);
    assert_eq!(store.before(&kind("services"), &at, "u", &"12".into()), None);
    assert_eq!(store.before(&kind("secrets"), &at, "u", &"12".into()), None);
}

#[test]
fn capture_takes_over_its_own_namespace_and_then_the_dead_are_forgotten() {
    let (a, b) = (name(2), name(1));
    let store = store();
    store.apply(&in_order(vec![
        put(1, "c", &a, "a1", 1),
        put(1, "d", &a, "a1", 2),
        tombstone(1, &a, "a1", 2),
        put(1, "c", &a, "a2", 3),
        put(1, "c", &b, "b1", 4),
        put(1, "d", &b, "b1", 5),
        writer_marker(2),
        put(1, "u", &a, "a2", 6),
    ]));
    let dead = |of: &Restored| -> Vec<(String, String)> {
        of.dead.iter().map(|death| (death.uid.to_string(), death.rv.to_string())).collect()
    };
    let of_a = store.restored(&pods(), |at| &*at.namespace == "a");
    assert_eq!(of_a.live, [(a.clone(), "a2".into(), "3".into(), 1)]);
    assert_eq!((of_a.owed.len(), dead(&of_a)), (0, vec![("a1".into(), "2".into())]));
    assert_eq!(of_a.shadowed, [(a, 1000)]);
    let of_b = store.restored(&pods(), |at| &*at.namespace == "b");
    // Where a delete has no tombstone yet the name ends too: its tombstone is written first of all.
    let ends: Vec<(&str, &str)> = of_b.ends.iter().map(|(at, last, _)| (&*at.name, last.as_str())).collect();
    assert_eq!(ends, [(&*b.name, "5")]);
    assert_eq!(of_a.ends, [], "the name lives");
    assert_eq!(of_b.owed, [(b, "b1".into(), "5".into())]);
    assert_eq!((of_b.live.len(), dead(&of_b), of_b.shadowed.len()), (0, vec![("b1".into(), "5".into())], 0));
    store.bury(&pods());
    let buried = store.restored(&pods(), |_| true);
    assert_eq!((buried.dead.len(), buried.owed.len()), (0, 1));
}

#[test]
fn memory_goes_back_to_nothing_when_everything_is_deleted() {
    let store = store();
    let mut pods_written = Pods::default();
    let mut log: Vec<_> = (0..50).map(|n| pods_written.put(n, &[("app", "web"), ("n", &n.to_string())])).collect();
    log.extend((0..50).map(|n| pods_written.put(n, &[("app", "db")])).collect::<Vec<_>>());
    store.apply(&log);
    let memory = store.memory();
    assert_eq!(memory.kinds[0].rows, 50);
    assert!(memory.bytes > 50 * 100, "{memory:?}");
    let log: Vec<_> = (0..50).flat_map(|n| pods_written.delete(n)).collect();
    store.apply(&log);
    let memory = store.memory();
    assert_eq!((memory.bytes, memory.kinds[0].rows), (0, 0));
    let tables = store.tables();
    let index = tables.all[0].index();
    assert_eq!((index.names.len(), index.tagged.len(), index.namespaces.len()), (0, 0, 0));
}

#[test]
fn current_state_is_never_cut_but_the_cap_is_told() {
    let store = Store::new(StoreOptions { max_bytes: 10_000, ..options() });
    let mut pods_written = Pods::default();
    store.apply(&[pods_written.put(0, &[])]);
    assert!(!store.over_cap());
    let log: Vec<_> = (1..40).map(|n| pods_written.put(n, &[])).collect();
    store.apply(&log);
    assert!(store.over_cap() && store.stats().over_cap);
    assert_eq!(all(&store, &pods()).len(), 40);
}

#[test]
fn a_large_object_and_one_that_does_not_compress_come_back_byte_for_byte() {
    let (store, at) = (store(), name(1));
    for (rv, text) in [(1, "x".repeat(3 << 20)), (2, String::new()), (3, "\u{1F680}q\u{e9}\\n".repeat(100))] {
        let object = kit::object(&at, "u", rv, &[("text".to_owned(), text)].into());
        store.apply(&[InRecord { offset: rv as i64, ..kit::change(1, "r", &at, "u", rv, &object) }]);
        assert_eq!(store.get(&pods(), &at).unwrap().json(), object);
    }
    assert_eq!(row::Packed::pack(b"1").bytes.len(), 1);
}
