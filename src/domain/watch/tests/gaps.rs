//! What is declared, and when: a gap stands before the first change that it explains, and only where something may be missing.

use super::*;
use crate::domain::index::Name;

fn expire(kit: &mut Kit) {
    kit.stream(&error(410, "Expired"));
    kit.wait();
}

#[test]
fn a_gap_stands_in_front_of_the_changes_that_it_explains() {
    let mut kit = Kit::watching();
    expire(&mut kit);
    kit.list("30", &[item("a", "u1", 5), item("b", "u2", 20)], "");
    let order: Vec<bool> = kit.log.iter().map(is_of_a_gap).collect();
    assert_eq!(order, [true, true, false], "lasting copy, marker, change");
    assert_eq!(kit.gaps(), ["expired 10..30"]);
}

#[test]
fn neither_a_first_list_nor_one_in_which_no_time_passed_is_a_gap() {
    let mut kit = Kit::watching();
    assert_eq!(kit.gaps(), NONE);
    expire(&mut kit);
    kit.list("10", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!(kit.gaps(), NONE);
}

#[test]
fn a_log_without_a_position_says_that_it_does_not_know() {
    for (known, expected) in [(true, "no_checkpoint ..30"), (false, "no_checkpoint ..30 deletes unknown")] {
        let mut kit = Kit::new();
        kit.capture.no_checkpoint = true;
        if known {
            let at = Name { namespace: "n".into(), name: "a".into() };
            kit.capture.index.restore_live(at, "u1".into(), "5".into(), 0);
        }
        kit.list("30", &[], "");
        assert_eq!(kit.gaps(), [expected]);
        assert!(!kit.capture.no_checkpoint);
    }
}

#[test]
fn a_quiet_relist_of_events_is_no_gap_and_one_that_shows_something_new_is() {
    let mut kit = Kit::of("events", config());
    kit.list("10", &[item("a", "e1", 5)], "");
    kit.wait();
    expire(&mut kit);
    kit.list("30", &[item("a", "e1", 5)], "");
    assert_eq!((kit.gaps().len(), kit.position()), (0, "30"));
    assert!(kit.notices.contains(&Notice::QuietRelist));
    kit.wait();
    kit.notices.clear();
    expire(&mut kit);
    kit.list("50", &[item("a", "e1", 5), item("b", "e2", 40)], "");
    let order: Vec<bool> = kit.log.iter().map(is_of_a_gap).collect();
    assert_eq!(order.last(), Some(&false));
    assert_eq!(kit.gaps(), ["expired 30..50 deletes unknown"], "Events may have come and expired");
    assert!(!kit.notices.contains(&Notice::QuietRelist));
}

#[test]
fn pages_that_expire_go_on_once_with_the_servers_own_token_and_the_first_page_is_the_position() {
    let token = |token: &str| {
        status(410, "Expired").replace("\"metadata\":{}", &format!("\"metadata\":{{\"continue\":\"{token}\"}}"))
    };
    let mut kit = Kit::watching();
    expire(&mut kit);
    kit.list("30", &[item("a", "u1", 5)], "p2");
    kit.answer(410, &token("later"));
    assert_eq!(kit.asked(), "list from later");
    // c died, and d was born, between the two pages.
    kit.list("50", &[item("d", "u4", 40)], "");
    assert_eq!(kit.written(), ["c u4@40 relist", "d u2@6 inferred (50)", "t u2@6"]);
    assert_eq!(
        (kit.gaps(), kit.position()),
        (vec!["expired 10..30".to_owned(), "page_inconsistent 30..50".to_owned()], "30")
    );
    kit.wait();
    assert_eq!(kit.asked(), "watch 30");
    kit.stream(&(event("DELETED", "b", "u2", 35) + &event("ADDED", "d", "u4", 40)));
    assert_eq!(kit.written(), NONE);

    let mut kit = Kit::watching();
    expire(&mut kit);
    kit.list("30", &[item("a", "u1", 5)], "p2");
    kit.answer(410, &token("later"));
    kit.answer(410, &token("later"));
    assert_eq!(kit.phase(), "waiting: list again: page_expired");
}

#[test]
fn after_a_change_of_scope_or_redaction_everything_is_written_anew() {
    for (reason, delete) in [("rebase", "d u2@6 inferred (30)"), ("selector", "d u2@6 descoped (30)")] {
        let mut kit = rebased(reason);
        assert_eq!(kit.asked(), "list at least 10");
        kit.list("30", &[item("a", "u1", 5), item("c", "u3", 20)], "");
        assert_eq!(kit.written(), ["r u1@5 relist (30)", "c u3@20 relist", delete, "t u2@6"]);
        assert_eq!((kit.gaps(), kit.capture.rebase.is_none()), (vec![format!("{reason} 10..30")], true));
        assert_eq!(kit.position(), "30");
        kit.wait();
        kit.stream(&event("ADDED", "a", "u1", 5));
        assert_eq!(kit.written(), NONE, "the next list is a diff again");
    }
}

fn rebased(reason: &'static str) -> Kit {
    let mut kit = Kit::watching();
    kit.capture.rebase = Some(Rebase { reason });
    kit.succeed();
    kit
}

#[test]
fn a_list_that_shows_not_everything_leaves_the_log_unsettled_until_one_does() {
    let mut kit = rebased("rebase");
    kit.capture.index.distrust();
    kit.list("30", &[item("a", "u1", 5), "7".into()], "");
    kit.answer(500, "");
    assert_eq!(kit.written(), ["r u1@5 relist (30)"]);
    kit.wait();
    kit.stream(&(event("ADDED", "c", "u3", 31) + &bookmark(32)));
    assert_eq!((kit.written(), kit.position(), kit.durable()), (vec!["c u3@31".to_owned()], "32", "10"));
    assert!(kit.capture.rebase.is_some() && !kit.capture.index.is_trusted(), "of b the bytes may be any");
    assert!(kit.wait() >= Duration::from_secs(60));
    kit.wait();
    kit.list("40", &[item("a", "u1", 5), item("c", "u3", 31)], "");
    assert_eq!(kit.written(), ["d u2@6 inferred (40)", "t u2@6"]);
    assert!(kit.capture.rebase.is_none() && kit.capture.index.is_trusted());
    assert_eq!(kit.durable(), "40");
}

#[test]
fn a_stream_whose_list_is_never_readable_in_full_is_written_anew_once() {
    let mut kit = Kit::of("events", config());
    kit.list("10", &[item("a", "e1", 5), item("b", "e2", 6)], "");
    kit.written();
    kit.capture.rebase = Some(Rebase { reason: "rebase" });
    kit.succeed();
    let list = |kit: &mut Kit, rv| {
        kit.list(rv, &[item("a", "e1", 5), "7".into()], "");
        kit.answer(500, "");
    };
    list(&mut kit, "30");
    assert_eq!((kit.written(), kit.durable()), (vec!["r e1@5 relist".to_owned()], "30"));
    assert!(kit.gaps().contains(&"unreadable 10..30 deletes unknown".to_owned()), "said of what it does not show");
    kit.wait();
    kit.stream(&bookmark(31));
    assert!(kit.wait() >= Duration::from_secs(60));
    kit.wait();
    list(&mut kit, "40");
    assert_eq!((kit.written(), kit.durable()), (Vec::new(), "40"));
}

#[test]
fn a_history_that_was_rewound_while_the_redaction_changed_is_noticed_all_the_same() {
    let mut kit = rebased("rebase");
    kit.answer(504, &too_large());
    kit.wait();
    assert_eq!(kit.asked(), "list");
    kit.list("8", &[item("a", "u1", 4)], "");
    assert_eq!(kit.gaps(), ["history_rewound 10..8"]);
    assert_eq!(kit.written(), ["r u1@4 relist (8)", "d u2@6 inferred (8)", "t u2@6"]);
    assert_eq!((kit.position(), kit.capture.history_epoch, kit.capture.rebase.is_none()), ("8", 1, true));
}

#[test]
fn a_selector_makes_what_appears_and_goes_a_matter_of_the_selector() {
    let mut kit = Kit::of("services", Config { selected: true, ..config() });
    kit.list("10", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!(kit.written(), ["r u1@5 relist snapshot", "r u2@6 relist snapshot"]);
    kit.wait();
    kit.stream(&(event("ADDED", "c", "u3", 11) + &event("MODIFIED", "a", "u1", 12) + &event("DELETED", "a", "u1", 13)));
    assert_eq!(kit.written(), ["r u3@11 selector", "u u1@12 before", "d u1@13 selector", "t u1@13"]);
    kit.stream(&event("ADDED", "a", "u1", 14));
    assert_eq!(kit.written(), ["r u1@14 selector"], "it came back");
    expire(&mut kit);
    kit.list("30", &[item("a", "u1", 14)], "");
    assert_eq!(kit.written(), ["d u2@6 selector (30)", "t u2@6", "d u3@11 selector (30)", "t u3@11"]);
    let ids: Vec<_> = kit.notices.iter().filter(|n| **n == Notice::Inferred).collect();
    assert_eq!(ids.len(), 2);
}

#[test]
fn a_resync_lists_again_and_writes_the_suspects_anew() {
    let mut kit = Kit::watching();
    let at = |name: &str| Name { namespace: "n".into(), name: name.into() };
    let ghost = Version::new("u9".into(), Rv::new("3"));
    kit.core.resync("audit", vec![(at("a"), Suspect::Anew), (at("ghost"), Suspect::Ghost(ghost))]);
    kit.tick();
    kit.wait();
    assert_eq!(kit.asked(), "list at least 10");
    kit.list("10", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!(kit.gaps(), ["audit 10..10"]);
    assert_eq!(kit.written(), ["r u1@5 audit (10)", "d u9@3 audit (10)", "t u9@3"], "a ghost lives in the log alone");
    kit.wait();
    expire(&mut kit);
    kit.list("30", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!(kit.written(), NONE);
}

#[test]
fn a_list_that_is_not_urgent_waits_for_its_turn_beside_the_watch() {
    let mut kit = Kit::watching();
    for version in [30, 40] {
        expire(&mut kit);
        kit.list(&version.to_string(), &[item("a", "u1", 5), item("b", "u2", 6)], "");
        kit.wait();
    }
    kit.core.resync("audit", Vec::new());
    kit.tick();
    assert_eq!(kit.asked(), "watch 40");
    kit.stream(&event("MODIFIED", "a", "u1", 41));
    assert_eq!(kit.written(), ["u u1@41 before"]);
    assert!(kit.wait() > Duration::from_secs(20));
    kit.wait();
    assert_eq!(kit.asked(), "list at least 41");
}

#[test]
fn pages_of_a_first_list_that_are_newer_than_its_first_may_stand_for_any_older_version() {
    let mut kit = Kit::new();
    kit.list("30", &[item("a", "u1", 5)], "p2");
    kit.answer(410, &status(410, "Expired").replace("\"metadata\":{}", "\"metadata\":{\"continue\":\"later\"}"));
    kit.list("50", &[item("b", "u2", 40)], "");
    assert_eq!((kit.gaps(), kit.position()), (vec!["page_inconsistent ..50".to_owned()], "30"));
}

#[test]
fn a_lane_without_room_costs_the_connection_in_the_end_and_not_the_version() {
    let mut kit = Kit::of("services", Config { max_backlog: 100, ..config() });
    kit.list("10", &[], "");
    kit.wait();
    kit.head(200);
    let id = kit.request.clone().expect("open").id;
    kit.core.input(id, Input::Body(event("ADDED", "a", "u1", 11).repeat(2).into()), kit.env);
    assert!(!kit.core.no_room(kit.env), "a moment without room is ordinary");
    assert_eq!(kit.core.wake_at(), Some(kit.env.now + Duration::from_secs(5)));
    kit.pass(5);
    assert!(kit.core.no_room(kit.env));
    assert_eq!((kit.core.buffered(), kit.core.phase().name), (0, "waiting"));
    kit.core.relieved(kit.env);
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");
    assert!(kit.notices.iter().any(|n| matches!(n, Notice::Backlog(_))));
}

/// The bookmark by which a list ends that came as the beginning of a watch.
fn end(rv: u64) -> String {
    bookmark(rv).replace("\"creationTimestamp\":null", "\"annotations\":{\"k8s.io/initial-events-end\":\"true\"}")
}

#[test]
fn a_lie_in_a_list_that_comes_as_a_stream_lets_nobody_be_taken_for_dead() {
    let mut kit = Kit::of("services", Config { list: ListMode::WatchList, ..config() });
    kit.head(200);
    kit.input(Input::Body((event("ADDED", "a", "u1", 5) + &event("ADDED", "b", "u2", 6) + &end(10)).into()));
    kit.input(Input::Body(error(410, "Expired").into()));
    kit.wait();
    kit.written();
    kit.head(200);
    let lie = event("ADDED", "a", "u1", 5).replace("\"5\"", "\"word\"");
    kit.input(Input::Body((lie + &event("ADDED", "b", "u2", 6) + &end(30)).into()));
    assert_eq!((kit.written().len(), kit.position(), kit.capture.index.len()), (0, "30", 2));
    assert!(kit.gaps().iter().any(|gap| gap.starts_with("server_lied")));
}

#[test]
fn a_list_may_come_as_the_beginning_of_a_watch() {
    let config = || Config { list: ListMode::WatchList, ..config() };
    let mut kit = Kit::of("services", config());
    assert_eq!(kit.asked(), "watch-list");
    kit.head(200);
    kit.input(Input::Body((event("ADDED", "b", "u2", 6) + &event("ADDED", "a", "u1", 5)).into()));
    assert_eq!((kit.written().len(), kit.position()), (2, ""));
    kit.input(Input::Body((end(10) + &event("MODIFIED", "a", "u1", 11)).into()));
    assert_eq!((kit.written(), kit.position()), (vec!["u u1@11 before".to_owned()], "11"));
    assert_eq!((kit.asked().as_str(), kit.phase().as_str()), ("watch-list", "watching"));
    kit.input(Input::Body(error(410, "Expired").into()));
    kit.wait();
    assert_eq!(kit.asked(), "watch-list at least 11");
    kit.head(200);
    kit.input(Input::Body((event("ADDED", "b", "u2", 6) + &end(30)).into()));
    assert_eq!(
        (kit.written(), kit.gaps()),
        (vec!["d u1@11 inferred (30)".to_owned(), "t u1@11".to_owned()], vec!["expired 11..".to_owned()])
    );

    let mut kit = Kit::of("services", config());
    kit.answer(422, "");
    kit.wait();
    assert_eq!(kit.asked(), "list", "where it is refused, page by page");
    kit.list("10", &[], "");
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");
}

#[test]
fn a_list_that_comes_to_no_end_as_a_stream_is_made_in_pages() {
    let config = || Config { list: ListMode::WatchList, ..config() };
    let begun = |kit: &mut Kit| {
        kit.head(200);
        kit.input(Input::Body(event("ADDED", "a", "u1", 5).into()));
        kit.written();
    };
    let in_pages = |kit: &mut Kit, asked: &str, rv: &str| {
        kit.wait();
        assert_eq!(kit.asked(), asked);
        kit.list(rv, &[], "");
        kit.written();
        kit.wait();
        kit.head(200);
        kit.input(Input::Body(error(410, "Expired").into()));
        kit.wait();
    };
    let mut kit = Kit::of("services", config());
    begun(&mut kit);
    kit.input(Input::Broken("silent for 150s".into()));
    in_pages(&mut kit, "list", "10");
    assert_eq!(kit.asked(), "watch-list at least 10", "once may be an accident");
    begun(&mut kit);
    kit.input(Input::End);
    in_pages(&mut kit, "list at least 10", "20");
    assert_eq!(kit.asked(), "list at least 20", "twice is not");

    let mut kit = Kit::of("services", config());
    kit.answer(429, "");
    in_pages(&mut kit, "list", "10");
    assert_eq!(kit.asked(), "watch-list at least 10");

    let mut kit = Kit::of("services", config());
    kit.input(Input::Broken("connection refused".into()));
    kit.wait();
    assert_eq!(kit.asked(), "watch-list", "nobody was there to refuse it");
}

#[test]
fn a_list_as_a_stream_that_the_lane_has_no_room_for_is_made_in_pages() {
    let config = Config { list: ListMode::WatchList, max_backlog: 100, ..config() };
    let mut kit = Kit::of("services", config);
    kit.head(200);
    let id = kit.request.clone().expect("open").id;
    kit.core.input(id, Input::Body(event("ADDED", "a", "u1", 11).repeat(2).into()), kit.env);
    assert!(!kit.core.no_room(kit.env));
    kit.pass(5);
    assert!(kit.core.no_room(kit.env));
    kit.core.relieved(kit.env);
    kit.wait();
    assert_eq!(kit.asked(), "list");
}

#[test]
fn a_passing_refusal_is_not_taken_for_a_missing_right() {
    let mut kit = Kit::watching();
    kit.answer(403, "");
    assert_eq!(kit.asked(), "review watch");
    kit.review(true);
    assert_eq!(kit.phase(), "waiting: watch was refused (403), and rights were not the reason");
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");
}
