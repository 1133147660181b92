use super::*;
use crate::domain::selector::LabelSelector;
use std::time::Duration;

/// Somebody who keeps up a copy of the state, and checks that every change fits it.
#[derive(Default)]
struct Mirror {
    copy: BTreeMap<Name, String>,
    version: u64,
}

impl Mirror {
    fn start(&mut self, subscription: &mut Subscription) {
        assert!(!subscription.resumed());
        self.copy = subscription.take_snapshot().iter().map(|o| (o.at().clone(), o.rv().to_string())).collect();
        self.version = subscription.cursor().version;
    }

    fn see(&mut self, change: &Change) {
        assert!(change.version > self.version, "{} comes behind {}", change.version, self.version);
        self.version = change.version;
        let (at, rv) = (change.object.at().clone(), change.object.rv().to_string());
        let before = match change.operation {
            Operation::Deleted => self.copy.remove(&at),
            _ => self.copy.insert(at, rv),
        };
        assert_eq!(before.is_some(), change.operation != Operation::Added, "{change:?}");
    }
}

fn state(store: &Store) -> BTreeMap<Name, String> {
    all(store, &pods()).iter().map(|o| (o.at().clone(), o.rv().to_string())).collect()
}

fn operations(subscription: &mut Subscription) -> Vec<(Operation, String)> {
    let changes = std::iter::from_fn(|| subscription.try_next().expect("not behind"));
    changes.map(|c| (c.operation, c.object.name().to_owned())).collect()
}

fn with_labels(selector: &str) -> Filter {
    Filter { labels: LabelSelector::parse(selector).unwrap(), ..Filter::default() }
}

#[test]
fn subscribers_that_come_at_any_time_miss_nothing_and_see_nothing_twice() {
    const CHANGES: u64 = 6000;
    let store = Store::new(StoreOptions { ring: 2 * CHANGES as usize, ..options() });
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_time().build().unwrap();
    let writer = std::thread::spawn({
        let store = store.clone();
        move || {
            let mut written = Pods::default();
            for n in 0..CHANGES {
                let number = (n * 7 % 13) as u8;
                let records = if n % 5 == 0 { written.delete(number) } else { vec![written.put(number, &[])] };
                store.apply(&records);
            }
            // The last change of all, so that everyone knows when to end.
            store.apply(&[written.put(200, &[])]);
        }
    });
    let last = kit::name(200);
    let subscribers: Vec<_> = (0..30)
        .map(|_| {
            let (store, last) = (store.clone(), last.clone());
            runtime.spawn(async move {
                let mut mirror = Mirror::default();
                let mut subscription = store.subscribe(Filter { kinds: vec![pods()], ..Filter::default() }, None);
                mirror.start(&mut subscription);
                while !mirror.copy.contains_key(&last) {
                    let change = tokio::time::timeout(Duration::from_secs(30), subscription.next()).await;
                    mirror.see(&change.expect("the writer is not that slow").expect("the ring is long enough"));
                }
                mirror.copy
            })
        })
        .collect();
    writer.join().unwrap();
    let expected = state(&store);
    for subscriber in subscribers {
        assert_eq!(runtime.block_on(subscriber).unwrap(), expected);
    }
}

#[test]
fn a_cursor_goes_on_where_it_ended_without_a_snapshot() {
    let (store, mut written) = (store(), Pods::default());
    store.apply(&[written.put(1, &[])]);
    let mut first = store.subscribe(Filter::default(), None);
    assert_eq!(first.take_snapshot().len(), 1);
    store.apply(&[written.put(2, &[])]);
    assert_eq!(operations(&mut first), [(Operation::Added, "pod-2".into())]);
    let cursor: Cursor = first.cursor().to_string().parse().unwrap();
    drop(first);
    store.apply(&written.delete(1));
    let mut second = store.subscribe(Filter::default(), Some(cursor));
    assert!(second.resumed() && second.take_snapshot().is_empty());
    assert_eq!(operations(&mut second), [(Operation::Deleted, "pod-1".into())]);
    assert_eq!(second.cursor().version, 3, "a tombstone behind its delete is no change");
}

#[test]
fn a_cursor_that_cannot_be_resumed_starts_again_with_a_snapshot() {
    let (store, mut written) = (Store::new(StoreOptions { ring: 3, ..options() }), Pods::default());
    let log: Vec<_> = (0..5).map(|n| written.put(n, &[])).collect();
    store.apply(&log);
    for (instance, version, resumed) in [(7, 5, true), (7, 2, true), (7, 1, false), (7, 6, false), (8, 5, false)] {
        let mut subscription = store.subscribe(Filter::default(), Some(Cursor { instance, version }));
        assert_eq!(subscription.resumed(), resumed, "{instance}-{version}");
        assert_eq!(subscription.take_snapshot().len(), if resumed { 0 } else { 5 });
        assert_eq!(operations(&mut subscription).len() as u64, if resumed { 5 - version } else { 0 });
    }
    for text in ["", "7", "7-", "-7", "x-1", "7-x", "7-1-2"] {
        assert!(text.parse::<Cursor>().is_err(), "{text}");
    }
}

#[test]
fn a_subscriber_slower_than_the_ring_is_told_how_much_it_missed() {
    let (store, mut written) = (Store::new(StoreOptions { ring: 3, ..options() }), Pods::default());
    let mut subscription = store.subscribe(Filter::default(), None);
    let log: Vec<_> = (0..3).map(|n| written.put(n, &[])).collect();
    store.apply(&log);
    assert_eq!(operations(&mut subscription).len(), 3);
    let log: Vec<_> = (0..4).map(|n| written.put(n, &[])).collect();
    store.apply(&log);
    assert_eq!(subscription.try_next().unwrap_err(), Lagged { missed: 4 });
    assert_eq!(subscription.try_next().unwrap_err(), Lagged { missed: 4 }, "it does not heal by itself");
    assert!(!store.subscribe(Filter::default(), Some(subscription.cursor())).resumed());
}

#[test]
fn labels_that_come_and_go_add_and_delete_for_whoever_selects_by_them() {
    let (store, mut written) = (store(), Pods::default());
    store.apply(&[written.put(1, &[("app", "web")]), written.put(2, &[("app", "db")])]);
    let mut web = store.subscribe(with_labels("app=web"), None);
    assert_eq!(web.take_snapshot().iter().map(Object::name).collect::<Vec<_>>(), ["pod-1"]);
    store.apply(&[
        written.put(1, &[("app", "web"), ("x", "1")]),
        written.put(2, &[("app", "web")]),
        written.put(1, &[("app", "db")]),
        written.put(1, &[("app", "db"), ("x", "2")]),
        written.put(3, &[("app", "db")]),
    ]);
    store.apply(&written.delete(3));
    store.apply(&written.delete(2));
    let expected = [(Operation::Modified, 1), (Operation::Added, 2), (Operation::Deleted, 1), (Operation::Deleted, 2)];
    assert_eq!(operations(&mut web), expected.map(|(o, n)| (o, format!("pod-{n}"))));
}

#[test]
fn what_a_delete_shows_is_the_state_at_the_deletion() {
    let (store, at) = (store(), kit::name(1));
    let mut subscription = store.subscribe(Filter::default(), None);
    let inferred = |record: InRecord| {
        let value = String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap();
        InRecord { value: Some(value.replace(r#""observed":"watch""#, r#""observed":"inferred""#).into()), ..record }
    };
    store.apply(&kit::in_order(vec![
        kit::put(1, "c", &at, "u", 1),
        kit::put(1, "d", &at, "u", 2),
        kit::tombstone(1, &at, "u", 2),
        kit::put(1, "c", &at, "v", 3),
        inferred(kit::change(1, "d", &at, "v", 3, r#"{"metadata":{}}"#)),
    ]));
    let mut seen = Vec::new();
    while let Some(change) = subscription.try_next().unwrap() {
        let as_json: serde_json::Value = serde_json::from_slice(&change.object.json()).unwrap();
        seen.push((change.operation, as_json["metadata"]["resourceVersion"].as_str().unwrap_or("").to_owned()));
    }
    use Operation::{Added, Deleted};
    assert_eq!(seen, [(Added, "1"), (Deleted, "2"), (Added, "3"), (Deleted, "3")].map(|(o, rv)| (o, rv.to_owned())));
}

#[test]
fn writing_the_same_again_is_no_change() {
    let (store, at) = (store(), kit::name(1));
    let mut subscription = store.subscribe(Filter::default(), None);
    let log = [kit::put(1, "c", &at, "u", 1), kit::put(2, "r", &at, "u", 1), kit::put(2, "u", &at, "u", 2)];
    store.apply(&kit::in_order(log.into()));
    assert_eq!(operations(&mut subscription).len(), 2);
    assert_eq!(store.get(&pods(), &at).unwrap().record(), (0, 2));
}

#[tokio::test(start_paused = true)]
async fn waiting_costs_nothing_and_ends_with_the_next_change_of_the_filter() {
    let (store, mut written) = (store(), Pods::default());
    let mut subscription = store.subscribe(Filter { namespace: Some("a".into()), ..Filter::default() }, None);
    let soon = Duration::from_secs(1);
    assert!(tokio::time::timeout(soon, subscription.next()).await.is_err());
    store.apply(&[written.put(1, &[])]);
    assert!(tokio::time::timeout(soon, subscription.next()).await.is_err(), "pod-1 is in namespace b");
    assert_eq!(subscription.cursor().version, 1, "what is not for it is behind it all the same");
    let change =
        tokio::join!(tokio::time::timeout(soon, subscription.next()), async { store.apply(&[written.put(2, &[])]) }).0;
    assert_eq!(change.unwrap().unwrap().object.name(), "pod-2");
}
