use super::*;
use crate::domain::fold::kit::{Protocol, acts, in_order, put, tombstone, writer_marker};
use crate::domain::redact::Stub;
use crate::store::save::{Identity, Loaded, SavedFold};
use proptest::prelude::*;
use std::sync::Mutex;

const NOW: i64 = 1_800_000_000_000;
const HOUR: i64 = 3_600_000;

fn identity() -> Identity {
    Identity { cluster: kit::CLUSTER.into(), cluster_uid: "uid".into(), log: "memory here".into() }
}

fn saved_in(dir: &tempfile::TempDir) -> SavedFold {
    SavedFold::new(dir.path().join("fold"), identity())
}

/// What a start finds: the file, if it may be used, and the tail of the log.
fn started(saved: &SavedFold, log: &[InRecord]) -> (Arc<Store>, Loaded) {
    let store = store();
    let loaded = saved.load(&store, &pods(), &[(0, log.len() as i64)], NOW);
    let next = store.positions().first().map_or(0, |p| p.next);
    store.apply(&log[next as usize..]);
    (store, loaded)
}

/// All that capture and readers take from a store.
fn held(store: &Arc<Store>) -> (Rows, Restored, Vec<Position>, Vec<KindMemory>) {
    let memory = store.memory().kinds;
    (rows(&all(store, &pods())), store.restored(&pods(), |_| true), store.positions(), memory)
}

#[test]
fn a_stub_is_known_as_one_from_the_log_and_from_what_was_saved_until_the_object_is_there() {
    let dir = tempfile::tempdir().expect("a directory");
    let saved = saved_in(&dir);
    let name = kit::name;
    let mut log =
        in_order(vec![writer_marker(1), put(1, "c", &name(1), "u1", 5), kit::as_stub(put(1, "c", &name(3), "u3", 6))]);
    let keeping = store();
    keeping.apply(&log);
    assert_eq!(saved.save(&keeping, NOW).kinds, 1);
    let (from_file, loaded) = started(&saved, &log);
    assert!(matches!(loaded, Loaded::Rows(2)), "{loaded:?}");
    for store in [&keeping, &from_file] {
        let stubs = store.restored(&pods(), |_| true).stubs;
        assert_eq!(stubs, [(name(3), Stub { reason: "too_long", bytes: 7 })]);
        let held = |at: &Name| store.get(&pods(), at).expect("held").stub().is_some();
        assert_eq!((held(&name(1)), held(&name(3))), (false, true));
    }
    log.push(put(1, "r", &name(3), "u3", 6));
    let log = in_order(log);
    from_file.apply(&log);
    assert_eq!(from_file.restored(&pods(), |_| true).stubs, []);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// The fold goes on while it is saved: some records before each chunk of one row, at any point of the log.
    #[test]
    fn what_was_saved_at_any_point_and_the_tail_give_what_the_whole_log_gives(
        acts in acts(5), cut in 0.0..=1.0, meanwhile in prop::collection::vec(0usize..6, 0..8),
    ) {
        let log = Protocol::run(&acts).log;
        let cut = (log.len() as f64 * cut) as usize;
        let running = store();
        running.apply(&log[..cut]);
        let dir = tempfile::tempdir().unwrap();
        let mut saved = saved_in(&dir);
        let (folding, rest) = (running.clone(), Mutex::new((log[cut..].to_vec(), meanwhile)));
        saved.between_chunks = Some(Box::new(move || {
            let mut rest = lock(&rest);
            let n = rest.1.pop().unwrap_or(0).min(rest.0.len());
            folding.apply(&rest.0.drain(..n).collect::<Vec<_>>());
        }));
        saved.save(&running, NOW);
        let (loaded, _) = started(&saved, &log);
        let whole = store();
        whole.apply(&log);
        prop_assert_eq!(held(&loaded), held(&whole));
    }

    #[test]
    fn a_damaged_file_is_left_aside_wherever_the_damage_is(acts in acts(5), at in 0.0..1.0, bit in 0u8..8, cut: bool) {
        let log = Protocol::run(&acts).log;
        let running = store();
        running.apply(&log);
        let dir = tempfile::tempdir().unwrap();
        let saved = saved_in(&dir);
        saved.save(&running, NOW);
        let path = saved.dir().join("pods.fold");
        let mut bytes = std::fs::read(&path).unwrap();
        let at = (bytes.len() as f64 * at) as usize;
        if cut { bytes.truncate(at) } else { bytes[at] ^= 1 << bit }
        std::fs::write(&path, bytes).unwrap();
        let (loaded, outcome) = started(&saved, &log);
        prop_assert!(matches!(outcome, Loaded::Ignored(_)), "{:?}", outcome);
        prop_assert_eq!(held(&loaded), held(&running));
    }
}

/// A store with one live pod, one dead, one whose tombstone is owed.
fn some_log() -> Vec<InRecord> {
    let (live, dead, owed) = (kit::name(1), kit::name(2), kit::name(3));
    in_order(vec![
        writer_marker(1),
        put(1, "c", &live, "u", 1),
        put(1, "c", &dead, "v", 2),
        put(1, "d", &dead, "v", 3),
        tombstone(1, &dead, "v", 3),
        put(1, "d", &owed, "w", 4),
    ])
}

#[test]
fn a_start_reads_the_tail_only_and_knows_the_rows_the_dead_and_what_is_owed() {
    let (log, dir) = (some_log(), tempfile::tempdir().unwrap());
    let (running, saved) = (store(), saved_in(&dir));
    running.apply(&log);
    let written = saved.save(&running, NOW);
    assert_eq!((written.kinds, written.rows), (1, 1));
    assert!(written.bytes > 200);
    let started = store();
    assert_eq!(saved.load(&started, &pods(), &[(0, 6)], NOW), Loaded::Rows(1));
    assert_eq!(held(&started), held(&running));
    assert_eq!(started.restored(&pods(), |_| true).dead.len(), 2);
    assert_eq!(started.stats().applied, 0);
    // What is found by its label is found after a load, and what is written twice is no change.
    let fields = crate::domain::selector::FieldSelector::parse("status.phase=Running").unwrap();
    let filter = Filter { fields, ..Filter::default() };
    assert_eq!(started.count(&pods(), &filter), 1);
    assert_eq!(saved.load(&started, &pods(), &[(0, 6)], NOW), Loaded::Nothing, "it was read already");
}

#[test]
fn what_would_say_the_same_again_is_not_written_again_for_an_hour() {
    let dir = tempfile::tempdir().unwrap();
    let (running, saved) = (store(), saved_in(&dir));
    assert_eq!(saved.save(&running, NOW).kinds, 0, "nothing was read yet");
    running.apply(&some_log());
    let kinds = |at| saved.save(&running, at).kinds;
    assert_eq!([kinds(NOW), kinds(NOW + HOUR / 2), kinds(NOW + HOUR), kinds(NOW + HOUR)], [1, 0, 1, 0]);
}

#[test]
fn the_fold_of_another_cluster_log_topic_or_time_is_left_aside_and_says_why() {
    let (log, dir) = (some_log(), tempfile::tempdir().unwrap());
    let (running, saved) = (store(), saved_in(&dir));
    running.apply(&log);
    saved.save(&running, NOW);
    let ignored = |identity: Identity, bounds: &[(i64, i64)], now: i64| {
        let (store, saved) = (store(), SavedFold::new(saved.dir().to_owned(), identity));
        match saved.load(&store, &pods(), bounds, now) {
            Loaded::Ignored(why) => {
                assert_eq!((store.positions().len(), all(&store, &pods()).len()), (0, 0));
                why
            }
            other => panic!("{other:?}"),
        }
    };
    let whole = [(0, 6)];
    for (why, identity) in [
        ("of cluster \"c\"", Identity { cluster: "d".into(), ..identity() }),
        ("of cluster uid \"uid\"", Identity { cluster_uid: "other".into(), ..identity() }),
        ("of log \"memory here\"", Identity { log: "memory there".into(), ..identity() }),
    ] {
        assert!(ignored(identity, &whole, NOW).contains(why));
    }
    // The topic was deleted and made anew, or has lost what follows.
    assert!(ignored(identity(), &[(0, 5)], NOW).contains("where the log has 0 to 5: another topic"));
    assert!(ignored(identity(), &[(7, 9)], NOW).contains("where the log has 7 to 9"));
    assert!(ignored(identity(), &[], NOW).contains("no partition 0"));
    assert!(ignored(identity(), &whole, NOW + 25 * HOUR).contains("25 hours old"));
    assert!(ignored(identity(), &whole, NOW - HOUR).contains("-1 hours old"));
    // Another kind's file under this one's name.
    std::fs::copy(saved.dir().join("pods.fold"), saved.dir().join("services.fold")).unwrap();
    let services = saved.load(&store(), &kind("services"), &whole, NOW);
    assert!(matches!(&services, Loaded::Ignored(why) if why.contains("of kind \"pods\"")), "{services:?}");
}

#[test]
fn kubernetes_events_come_back_in_the_order_in_which_they_expire() {
    let dir = tempfile::tempdir().unwrap();
    let (running, saved) = (store(), saved_in(&dir));
    let events: Vec<InRecord> = ["a", "b", "c", "d", "e"]
        .iter()
        .zip(0..)
        .map(|(name, n)| events::event(n, name, n as u64, 1000 * (5 - n)))
        .collect();
    running.apply(&events);
    saved.save(&running, NOW);
    let started = store();
    assert_eq!(saved.load(&started, &kind("events"), &[(0, 5)], NOW), Loaded::Rows(5));
    assert_eq!(rows(&all(&started, &kind("events"))), rows(&all(&running, &kind("events"))));
    // The two oldest by time are the two last of the log.
    started.expire_events(2500 + 3_600_000);
    assert_eq!(all(&started, &kind("events")).len(), 3);
}

#[test]
fn a_directory_that_cannot_be_written_is_a_failure_with_its_name_and_not_a_panic() {
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("fold"), "a file").unwrap();
    let (running, saved) = (store(), saved_in(&dir));
    running.apply(&some_log());
    let trouble = saved.save(&running, NOW).trouble().expect("it failed");
    assert!(trouble.starts_with(&saved.dir().display().to_string()), "{trouble}");
    assert!(matches!(saved.load(&store(), &pods(), &[(0, 6)], NOW), Loaded::Ignored(_)));
    std::fs::remove_file(dir.path().join("fold")).unwrap();
    assert_eq!(
        (saved.save(&running, NOW).kinds, saved.save(&running, NOW).trouble()),
        (1, None),
        "tried again at once"
    );
}

#[test]
fn one_file_that_cannot_be_written_keeps_no_other_from_being_saved() {
    let dir = tempfile::tempdir().unwrap();
    let (running, saved) = (store(), saved_in(&dir));
    running.apply(&some_log());
    running.apply(&[events::event(0, "a", 1, 1000)]);
    assert_eq!(saved.save(&running, NOW).kinds, 2);
    let first = std::fs::read(saved.dir().join("pods.fold")).unwrap();
    // What stands in the way of the new file of pods, which come before events.
    std::fs::create_dir(saved.dir().join("pods.tmp")).unwrap();
    let later = NOW + HOUR;
    let written = saved.save(&running, later);
    let failed: Vec<&str> = written.failures.iter().map(|(file, _)| file.as_str()).collect();
    assert_eq!((written.kinds, failed), (1, vec![saved.dir().join("pods.fold").to_str().unwrap()]));
    assert!(
        written.trouble().is_some_and(|why| why.contains("pods.fold: ") && why.contains("directory")),
        "{written:?}"
    );
    assert_eq!(std::fs::read(saved.dir().join("pods.fold")).unwrap(), first, "the older file stays");
    assert_eq!(saved.load(&store(), &pods(), &[(0, 6)], NOW), Loaded::Rows(1));
    // What failed is tried again, and nothing else.
    std::fs::remove_dir(saved.dir().join("pods.tmp")).unwrap();
    let written = saved.save(&running, later);
    assert_eq!((written.kinds, written.rows, written.trouble()), (1, 1, None));
    // A new file that cannot take the place of the old one leaves nothing behind.
    std::fs::remove_file(saved.dir().join("pods.fold")).unwrap();
    std::fs::create_dir(saved.dir().join("pods.fold")).unwrap();
    assert_eq!(saved.save(&running, later + HOUR).failures.len(), 1);
    assert!(!saved.dir().join("pods.tmp").exists());
}

#[test]
fn the_dead_are_kept_for_the_next_life_until_no_resume_can_bring_them_back() {
    let keeping = Store::new(StoreOptions { keep_dead: true, ..options() });
    keeping.apply(&some_log());
    keeping.bury(&pods());
    let dead = || keeping.restored(&pods(), |_| true).dead.iter().map(|d| d.uid.to_string()).collect::<Vec<_>>();
    assert_eq!(dead(), ["v", "w"]);
    keeping.forget_dead(&pods(), |_, death| death.rv.as_str() <= "3");
    assert_eq!(dead(), ["w"]);
}
