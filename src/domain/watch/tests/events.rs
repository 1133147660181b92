//! Kubernetes Events: a stream, not a table.

use super::*;

fn watching() -> Kit {
    let mut kit = Kit::of("events", config());
    kit.list("10", &[item("a", "e1", 5), item("b", "e2", 6)], "");
    assert_eq!(kit.written(), ["r e1@5 relist snapshot", "r e2@6 relist snapshot"]);
    kit.wait();
    kit
}

#[test]
fn their_disappearance_is_only_a_ttl_and_still_moves_the_position() {
    let mut kit = watching();
    kit.stream(&(event("ADDED", "c", "e3", 11) + &event("DELETED", "a", "e1", 12) + &event("MODIFIED", "c", "e3", 13)));
    assert_eq!(kit.written(), ["c e3@11", "r e3@13"]);
    assert_eq!(kit.position(), "13");
    assert_eq!(kit.notices.iter().filter(|n| matches!(n, Notice::Filtered(_))).count(), 1);
}

#[test]
fn after_a_relist_only_what_is_newer_than_the_position_is_written_and_nothing_is_inferred() {
    let mut kit = watching();
    kit.stream(&event("ADDED", "c", "e3", 11));
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.written();
    kit.list("30", &[item("c", "e3", 11), item("d", "e4", 20)], "p2");
    assert_eq!(kit.position(), "11", "or the rest of the list would not be newer than it");
    kit.list("30", &[item("e", "e5", 15)], "");
    assert_eq!(kit.written(), ["r e4@20 relist", "r e5@15 relist"]);
    assert_eq!((kit.position(), kit.capture.index.len()), ("30", 0));
}

#[test]
fn a_version_from_the_future_hides_no_later_event_and_the_gap_says_what_is_unknown() {
    // Behind the lie comes what is true, or nothing at all.
    for truth in [event("ADDED", "c", "e4", 101), String::new()] {
        let mut kit = watching();
        kit.stream(&event("ADDED", "c", "e3", 100));
        kit.stream(&(event("ADDED", "x", "e9", 99_999_999) + &truth));
        assert_eq!(kit.written(), ["c e3@100", "c e9@99999999"]);
        if truth.is_empty() {
            kit.pass(200);
            kit.input(Input::End);
            kit.wait();
            kit.head(200);
            kit.pass(200);
            kit.input(Input::End);
        } else {
            assert!(kit.notices.contains(&Notice::Lie("version_backwards")));
            assert!(!kit.notices.contains(&Notice::Filtered("replayed")), "not taken for old news");
        }
        for _ in 0..2 {
            kit.wait();
            assert_eq!(kit.asked(), "probe 99999999");
            kit.answer(504, &too_large());
        }
        kit.wait();
        assert_eq!(kit.asked(), "list");
        kit.list("103", &[item("c", "e4", 101), item("d", "e5", 102)], "");
        assert_eq!(kit.gaps(), ["history_rewound 100..103 deletes unknown"]);
        assert_eq!(
            (kit.written(), kit.position()),
            (vec!["r e4@101 relist".to_owned(), "r e5@102 relist".to_owned()], "103")
        );
    }
}

#[test]
fn a_ttl_that_is_told_with_an_old_version_is_no_lie() {
    let mut kit = watching();
    kit.stream(&(event("ADDED", "c", "e3", 11) + &event("DELETED", "a", "e1", 5) + &event("ADDED", "d", "e4", 12)));
    assert_eq!((kit.written(), kit.position()), (vec!["c e3@11".to_owned(), "c e4@12".to_owned()], "12"));
    assert!(!kit.notices.iter().any(|n| matches!(n, Notice::Lie(_))));
}
