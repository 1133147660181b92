use super::kit::*;
use super::*;
use bytes::Bytes;
use proptest::prelude::*;
use std::collections::{BTreeMap, HashMap};

fn live(folded: &Folded, number: u8) -> Option<(&str, &str)> {
    folded.live.get(&name(number)).map(|(uid, rv)| (uid.as_str(), rv.as_str()))
}

#[test]
fn what_is_older_than_its_key_stands_for_changes_nothing_and_shadows_the_key_until_it_is_written_again() {
    let at = name(1);
    let mut folded = Folded::of(&[put(1, "c", &at, "u", 9), put(1, "u", &at, "u", 10), put(1, "c", &at, "u", 9)]);
    assert_eq!(live(&folded, 1), Some(("u", "10")));
    assert_eq!(folded.shadowed(), [at.clone()].into());
    folded.apply(&put(1, "r", &at, "u", 10));
    assert_eq!((live(&folded, 1), folded.shadowed()), (Some(("u", "10")), [].into()), "an equal version is a repair");
}

#[test]
fn a_predecessor_of_the_same_name_that_is_sent_again_neither_lives_nor_takes_its_successor_along() {
    let at = name(1);
    let past = [put(1, "c", &at, "u", 5), put(1, "d", &at, "u", 6), tombstone(1, &at, "u", 6)];
    let log = [&past[..], &[put(1, "c", &at, "v", 7)], &past[..]].concat();
    for cut in 4..=log.len() {
        let folded = Folded::of(&log[..cut]);
        assert_eq!(live(&folded, 1), Some(("v", "7")), "after {cut} records");
        assert_eq!((folded.shadowed().len(), folded.owed().len()), (usize::from(cut > 4), 0), "after {cut} records");
    }
    // Nor does one that is dead already, with nobody behind it.
    let folded = Folded::of(&[&past[..], &past[..1]].concat());
    assert_eq!((live(&folded, 1), folded.is_dead("u"), folded.shadowed().len()), (None, true, 1));
}

#[test]
fn what_was_only_concluded_to_be_dead_comes_back_at_the_version_at_which_it_was_last_known() {
    let at = name(1);
    let delete = put(1, "d", &at, "u", 5);
    let value = String::from_utf8(delete.value.clone().unwrap().to_vec()).unwrap();
    let value = value.replace(r#""observed""#, r#""listRv":"20","observed""#);
    let inferred = InRecord { value: Some(value.into()), ..delete };
    let folded = Folded::of(&[put(1, "c", &at, "u", 5), inferred, tombstone(1, &at, "u", 5), put(1, "c", &at, "u", 5)]);
    assert_eq!((live(&folded, 1), folded.is_dead("u")), (Some(("u", "5")), false));
}

#[test]
fn a_higher_history_epoch_wins_whatever_its_version_says_and_a_lower_one_never_does() {
    let at = name(1);
    let mut folded = Folded::of(&[put(1, "c", &at, "u", 90), in_history(2, put(1, "r", &at, "u", 4))]);
    assert_eq!(live(&folded, 1), Some(("u", "4")));
    folded.apply(&put(1, "u", &at, "u", 91));
    assert_eq!((live(&folded, 1), folded.shadowed().len()), (Some(("u", "4")), 1));
    folded.apply(&in_history(2, put(1, "d", &at, "u", 5)));
    folded.apply(&in_history(2, tombstone(1, &at, "u", 5)));
    assert_eq!((live(&folded, 1), folded.shadowed().len(), folded.owed().len()), (None, 0, 0));
}

#[test]
fn a_later_writer_wins_whatever_its_version_says() {
    let at = name(1);
    let folded = Folded::of(&[put(1, "c", &at, "u", 90), put(2, "r", &at, "u", 4)]);
    assert_eq!((live(&folded, 1), folded.shadowed().len()), (Some(("u", "4")), 0));
}

#[test]
fn without_a_version_the_last_offset_wins() {
    let at = name(1);
    let unknown = |record: InRecord| {
        let value =
            String::from_utf8(record.value.clone().unwrap().to_vec()).unwrap().replace(r#""rv":"7""#, r#""rv":"""#);
        InRecord { value: Some(value.into()), ..record }
    };
    let folded = Folded::of(&[put(1, "c", &at, "u", 9), unknown(put(1, "r", &at, "u", 7))]);
    assert_eq!(live(&folded, 1), Some(("u", "")));
}

#[test]
fn a_zombie_behind_a_marker_is_void_and_shadows_its_key_until_it_is_written_again() {
    let at = name(1);
    let mut folded = Folded::of(&[
        writer_marker(1),
        put(1, "c", &at, "u", 1),
        put(1, "u", &at, "u", 2),
        writer_marker(2),
        put(1, "u", &at, "u", 3),
    ]);
    assert_eq!(live(&folded, 1), Some(("u", "2")));
    assert_eq!(folded.shadowed(), [at.clone()].into());
    folded.apply(&put(2, "r", &at, "u", 2));
    assert_eq!(folded.shadowed(), [].into());
    // Also a zombie that cannot be read, and one about a key that nobody holds.
    folded.apply(&record(&key(&name(2)), Some(1), Some("junk".into())));
    assert_eq!((folded.shadowed(), folded.foreign), ([name(2)].into(), 0));
}

#[test]
fn an_older_writer_s_marker_does_not_lower_the_epoch_and_a_gap_marker_changes_nothing() {
    let folded = Folded::of(&[writer_marker(3), writer_marker(2), record("~gap/0", Some(9), None)]);
    assert_eq!((folded.epoch, folded.foreign), (3, 0));
    assert_eq!(Folded::of(&[record("~writer/0", None, None)]).foreign, 1);
}

#[test]
fn data_of_a_newer_writer_keeps_zombies_out_when_compaction_took_its_marker() {
    let folded = Folded::of(&[put(2, "c", &name(1), "u", 5), put(1, "u", &name(1), "u", 4)]);
    assert_eq!(live(&folded, 1), Some(("u", "5")));
    assert_eq!(folded.epoch, 2);
}

#[test]
fn a_delete_owes_its_tombstone_until_it_comes_or_the_name_is_taken_again() {
    let (at, other) = (name(1), name(2));
    let mut folded = Folded::of(&[
        put(1, "c", &at, "u", 1),
        put(1, "c", &other, "v", 2),
        put(1, "d", &at, "u", 3),
        put(1, "d", &other, "v", 4),
    ]);
    assert!(folded.live.is_empty());
    let death = Death { uid: "u".into(), rv: "3".into(), last: "3".into(), history_epoch: 1, writer_epoch: 1 };
    assert_eq!(folded.owed()[&at], death);
    assert_eq!(folded.owed().len(), 2);
    folded.apply(&tombstone(1, &at, "u", 3));
    folded.apply(&put(1, "c", &other, "w", 5));
    assert!(folded.owed().is_empty());
    assert!(folded.is_dead("u") && folded.is_dead("v") && !folded.is_dead("w"));
}

#[test]
fn the_death_of_an_inferred_delete_is_dated_by_the_latest_list_that_missed_it() {
    let missed_by = |list: &str| {
        let delete = put(1, "d", &name(1), "u", 7);
        let value = String::from_utf8(delete.value.unwrap().to_vec()).unwrap();
        let value = value.replace(r#""observed""#, &format!(r#""listRv":"{list}","observed""#));
        InRecord { value: Some(value.into()), ..put(1, "d", &name(1), "u", 7) }
    };
    let mut folded = Folded::of(&[missed_by("120"), tombstone(1, &name(1), "u", 7)]);
    let dead = |folded: &Folded| -> Vec<_> {
        folded.ledger.dead().map(|(_, death)| (death.uid.to_string(), death.rv.to_string())).collect()
    };
    assert_eq!(dead(&folded), [("u".to_owned(), "120".to_owned())], "the tombstone, which says 7, does not change it");
    folded.apply(&missed_by("130"));
    assert_eq!(dead(&folded), [("u".to_owned(), "130".to_owned())]);
}

#[test]
fn a_tombstone_that_does_not_say_who_died_buries_whom_the_delete_named() {
    let at = name(1);
    let bare = record(&key(&at), Some(1), None);
    let folded = Folded::of(&[put(1, "d", &at, "u", 7), bare.clone()]);
    assert!(folded.is_dead("u") && folded.owed().is_empty());
    assert!(Folded::of(&[put(1, "c", &at, "u", 7), bare]).live.is_empty());
}

#[test]
fn the_dead_are_forgotten_when_capture_has_taken_them_over_but_not_what_is_owed() {
    let mut folded = Folded::of(&[put(1, "d", &name(1), "u", 7), put(1, "d", &name(2), "v", 8)]);
    folded.ledger.bury();
    assert_eq!((folded.ledger.dead().count(), folded.owed().len()), (0, 2));
    folded.apply(&tombstone(1, &name(1), "u", 7));
    assert_eq!((folded.ledger.dead().count(), folded.owed().len()), (0, 1));
}

#[test]
fn a_uid_that_lives_again_after_the_cluster_s_history_was_rewound_is_not_dead() {
    let at = name(1);
    let again = in_history(2, put(2, "r", &at, "u", 3));
    let folded = Folded::of(&[put(1, "d", &at, "u", 7), tombstone(1, &at, "u", 7), again]);
    assert!(!folded.is_dead("u") && live(&folded, 1).is_some());
}

#[test]
fn what_is_not_ours_is_left_alone_and_named() {
    let at = name(1);
    let reason = |record: &InRecord| match judge(SCOPE, 1, record).step {
        Step::Foreign(reason) => reason,
        other => panic!("{other:?}"),
    };
    let no_after = put(1, "d", &at, "u", 1).value.unwrap();
    let no_after = String::from_utf8(no_after.to_vec()).unwrap().replace(r#""op":"d""#, r#""op":"c""#);
    let mut null_key = put(1, "c", &at, "u", 1);
    null_key.key = None;
    let mut odd_key = put(1, "c", &at, "u", 1);
    odd_key.key = Some(Bytes::from_static(b"\xff"));
    let mut other_name = put(1, "c", &at, "u", 1);
    other_name.key = Some(key(&name(2)).into());
    for (record, expected) in [
        (null_key, ForeignReason::Key),
        (odd_key, ForeignReason::Key),
        (other_name, ForeignReason::Name),
        (record("other/pods/a/b", Some(1), None), ForeignReason::Name),
        (record("c/services/a/b", Some(1), None), ForeignReason::Name),
        (record(&key(&at), None, None), ForeignReason::Epoch),
        (record(&key(&at), Some(1), Some("junk".into())), ForeignReason::Value),
        (record(&key(&at), Some(1), Some(no_after)), ForeignReason::Value),
    ] {
        assert_eq!(reason(&record), expected, "{record:?}");
    }
}

/// The log cleaner: of the first `cleaned` records only the last of each key is kept.
fn compacted(log: &[InRecord], cleaned: usize) -> Vec<InRecord> {
    let last: HashMap<_, _> = log[..cleaned].iter().map(|r| (r.key.clone(), r.offset)).collect();
    log.iter().filter(|r| r.offset >= cleaned as i64 || last[&r.key] == r.offset).cloned().collect()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 500, ..ProptestConfig::default() })]

    #[test]
    fn the_fold_of_a_log_is_what_its_valid_writers_wrote(acts in acts(5)) {
        let written = Protocol::run(&acts);
        let folded = Folded::of(&written.log);
        prop_assert_eq!(folded.live, written.truth);
    }

    /// Not equal in everything: what is shadowed at the end stands in the log as its zombie only (that is why it must be
    /// written again), and the dead that share a name with a later death are gone with their tombstones.
    #[test]
    fn compaction_changes_nothing_but_what_is_shadowed(acts in acts(5), cleaned in 0.0..=1.0) {
        let log = Protocol::run(&acts).log;
        let whole = Folded::of(&log);
        let after = Folded::of(&compacted(&log, (log.len() as f64 * cleaned) as usize));
        let shadowed = whole.shadowed();
        let last = |at: &Name| log.iter().rfind(|r| r.key == Some(key(at).into()));
        // A foreign record that took the place of ours is healed by the audit, not by the fold.
        let ours = |at: &Name| last(at).is_none_or(|r| r.writer_epoch().is_some());
        for at in (0..5).map(name).filter(|at| ours(at) && !shadowed.contains(at)) {
            prop_assert_eq!(whole.live.get(&at), after.live.get(&at));
            prop_assert_eq!(whole.owed().remove(&at), after.owed().remove(&at));
            if let Some(uid) = last(&at).filter(|r| r.value.is_none()).and_then(|r| r.header("ce_uid")) {
                prop_assert!(whole.is_dead(uid) && after.is_dead(uid));
            }
        }
        prop_assert!(after.shadowed().is_subset(&shadowed));
        // What landed behind the last marker is known as void from the compacted log too.
        let last_marker = log.iter().rposition(|r| r.key.as_deref() == Some(b"~writer/0")).unwrap_or(0);
        let since = Folded::of(&log[last_marker..]).shadowed();
        prop_assert!(since.iter().filter(|at| ours(at)).all(|at| after.shadowed().contains(at)));
        prop_assert_eq!(whole.epoch, after.epoch);
    }

    #[test]
    fn records_of_any_sort_are_judged_without_a_panic(
        key in "(~?[a-z]{1,6}/){0,4}[a-z0-9]{0,2}", epoch in prop::option::of(0u64..3), value in prop::option::of("[\\{\\}\":a-z,0-9]{0,40}"),
    ) {
        let folded = Folded::of(&[writer_marker(1), record(&key, epoch, value)]);
        prop_assert_eq!(folded.live, BTreeMap::new());
    }
}
