use super::*;
use proptest::prelude::*;

pub(super) fn event(offset: i64, name: &str, rv: u64, timestamp_ms: i64) -> InRecord {
    let object = format!(r#"{{"involvedObject":{{"name":"{name}-pod"}},"reason":"Failed","count":{rv}}}"#);
    let at = Name { namespace: "a".into(), name: name.into() };
    let mut record = kit::change(1, "c", &at, &format!("uid-{name}"), rv, &object);
    record.key = Some(format!("{}/events/a/{name}", kit::CLUSTER).into());
    InRecord { topic: EVENTS.into(), offset, timestamp_ms, ..record }
}

fn names(store: &Store) -> Vec<String> {
    all(store, &kind("events")).iter().map(|o| o.name().to_owned()).collect()
}

#[test]
fn events_are_dropped_by_age_and_nobody_is_told() {
    let store = Store::new(StoreOptions { events_ttl: Duration::from_secs(10), ..options() });
    store.apply(&[event(0, "old", 1, 1_000), event(1, "counted", 1, 1_500), event(2, "new", 1, 5_000)]);
    store.apply(&[event(3, "counted", 2, 9_000)]);
    let mut subscription = store.subscribe(Filter::default(), None);
    assert_eq!(subscription.take_snapshot().len(), 3);
    assert_eq!(store.expire_events(11_000), 0, "exactly as old as allowed");
    assert_eq!(store.expire_events(11_001), 1);
    assert_eq!(names(&store), ["counted", "new"]);
    assert_eq!(store.expire_events(15_001), 1, "counted was seen again later");
    assert_eq!(names(&store), ["counted"]);
    assert_eq!(store.expire_events(i64::MAX), 1);
    assert!(subscription.try_next().unwrap().is_none());
    let stats = store.stats();
    assert_eq!((stats.events_expired, stats.memory.bytes), (3, 0));
}

#[test]
fn events_are_dropped_by_number_the_oldest_first() {
    let store = Store::new(StoreOptions { events_max: 3, ..options() });
    let log: Vec<_> = ["a", "b", "c", "a", "d"].iter().zip(0..).map(|(name, n)| event(n, name, n as u64, n)).collect();
    store.apply(&log);
    assert_eq!(names(&store), ["a", "c", "d"], "a came again behind b");
    assert_eq!(store.stats().events_capped, 1);
}

#[test]
fn an_event_counted_up_for_ever_takes_no_memory_for_ever() {
    let store = store();
    for n in 0..10_000 {
        store.apply(&[event(n, "same", n as u64, n)]);
    }
    let tables = store.tables();
    let index = tables.all[2].index();
    assert_eq!(index.names.len(), 1);
    assert!(index.arrivals.len() < 100, "{}", index.arrivals.len());
}

#[test]
fn events_have_no_zombies_no_tombstones_and_owe_nothing() {
    let store = store();
    let marker = |offset| InRecord { topic: EVENTS.into(), offset, ..kit::writer_marker(5) };
    let null = |offset, name: &str| InRecord { value: None, ..event(offset, name, 1, 1) };
    let applied = store.apply(&[marker(0), event(1, "late", 1, 1), null(2, "late"), event(3, "new", 2, 1)]);
    assert_eq!((applied.live, applied.void, applied.markers.len(), applied.shadowed.len()), (2, 0, 1, 0));
    assert_eq!(names(&store), ["late", "new"]);
    assert_eq!(store.positions()[0].epoch, 5);
    assert!(store.restored(&kind("events"), |_| true).dead.is_empty());
    let filter = crate::domain::selector::FieldSelector::parse("involvedObject.name=late-pod,reason=Failed").unwrap();
    assert_eq!(store.count(&kind("events"), &Filter { fields: filter, ..Filter::default() }), 1);
}

proptest! {
    #[test]
    fn events_never_exceed_their_number_and_their_memory_is_accounted(
        arrivals in prop::collection::vec((0u8..9, 0i64..50), 0..80), max in 1usize..6, now in 0i64..2_000,
    ) {
        let store = Store::new(StoreOptions { events_max: max, events_ttl: Duration::from_secs(1), ..options() });
        for (offset, (number, timestamp)) in arrivals.iter().enumerate() {
            store.apply(&[event(offset as i64, &number.to_string(), offset as u64, *timestamp)]);
            prop_assert!(store.count(&kind("events"), &Filter::default()) <= max);
        }
        if let Some((number, _)) = arrivals.last() {
            prop_assert!(names(&store).contains(&number.to_string()), "the newest stays");
        }
        store.expire_events(now);
        store.expire_events(10_000);
        prop_assert_eq!(store.memory().bytes, 0);
        prop_assert_eq!(store.tables().all[2].index().tagged.len(), 0);
    }
}
