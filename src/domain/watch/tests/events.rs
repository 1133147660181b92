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
