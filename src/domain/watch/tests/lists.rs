//! Lists: pages, the first snapshot, later ones as a diff, and the position that waits for their end.

use super::*;

#[test]
fn the_first_list_is_written_page_by_page_and_the_position_moves_at_its_end() {
    let mut kit = Kit::new();
    assert_eq!((kit.asked().as_str(), kit.phase().as_str()), ("list", "listing"));
    let first = kit.request.clone().expect("sent");
    assert_eq!(first.verb, Verb::List { limit: 2, next: None, at_least: None });
    kit.list("10", &[item("a", "u1", 5), item("b", "u2", 6)], "page2");
    assert_eq!(kit.written(), ["r u1@5 relist snapshot", "r u2@6 relist snapshot"]);
    assert_eq!((kit.position(), kit.capture.synced, kit.asked().as_str()), ("", false, "list from page2"));
    kit.list("10", &[item("c", "u3", 7)], "");
    assert_eq!(kit.written(), ["r u3@7 relist snapshot"]);
    assert_eq!((kit.position(), kit.capture.synced), ("10", true));
    assert_eq!(kit.wait(), Duration::ZERO);
    assert_eq!((kit.asked().as_str(), kit.phase().as_str()), ("watch 10", "watching"));
    assert_eq!(kit.notices.iter().filter(|n| **n == Notice::Received).count(), 3);
}

#[test]
fn a_list_of_nothing_has_a_position_too() {
    for items in ["[]", "null"] {
        let mut kit = Kit::new();
        kit.answer(200, &format!(r#"{{"metadata":{{"resourceVersion":"10"}},"items":{items}}}"#));
        kit.wait();
        assert_eq!((kit.asked().as_str(), kit.written().len()), ("watch 10", 0));
    }
}

#[test]
fn a_known_position_is_watched_without_a_list() {
    let mut kit = Kit::new();
    kit.capture.position = Rv::new("77");
    kit.core = WatchCore::new(config(), Redactor::new(kind("services"), Arc::new(Policy::default())), None);
    kit.tick();
    assert_eq!(kit.asked(), "watch 77");
    let Some(Verb::Watch { timeout_seconds, .. }) = kit.request.map(|r| r.verb) else { panic!("a watch") };
    assert!((200..=240).contains(&timeout_seconds));
}

#[test]
fn a_later_list_is_a_diff_and_what_it_misses_is_deleted_with_its_version() {
    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    assert_eq!(kit.asked(), "list at least 10");
    kit.list("30", &[item("a", "u1", 5), item("c", "u3", 20)], "p2");
    assert_eq!(kit.written(), ["c u3@20 relist"]);
    assert_eq!(kit.position(), "10");
    kit.list("30", &[item("d", "u4", 25)], "");
    assert_eq!(kit.written(), ["c u4@25 relist", "d u2@6 inferred (30)", "t u2@6"]);
    assert_eq!(kit.position(), "30");
    assert_eq!(kit.notices.iter().filter(|n| **n == Notice::Inferred).count(), 1);
    assert_eq!(kit.notices.iter().filter(|n| matches!(n, Notice::Filtered(_))).count(), 1);
    kit.wait();
    assert_eq!(kit.asked(), "watch 30");
}

#[test]
fn the_position_moves_only_after_every_inferred_delete_was_committed() {
    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.head(200);
    let request = kit.request.clone().expect("sent");
    kit.core.input(request.id, Input::Body(page("30", &[], "").into()), kit.env);
    kit.core.input(request.id, Input::End, kit.env);
    let mut steps = Vec::new();
    while let Some(commit) = kit.core.next(&kit.capture, &kit.writer, &kit.overlay, kit.env) {
        steps.push((commit.records.len(), commit.position.clone()));
        kit.capture.apply(commit);
    }
    let gap = 2;
    assert_eq!(steps, [(gap, None), (2, None), (2, None), (0, Some(Rv::new("30")))]);
}

#[test]
fn a_page_token_that_expired_begins_the_list_again() {
    let mut kit = Kit::new();
    kit.list("10", &[item("a", "u1", 5)], "p2");
    kit.answer(410, &status(410, "Expired"));
    assert_eq!(kit.phase(), "waiting: list again: page_expired");
    assert!(kit.wait() > Duration::ZERO);
    assert_eq!(kit.asked(), "list");
    kit.written();
    kit.list("20", &[item("b", "u2", 15)], "");
    assert_eq!(kit.written(), ["r u2@15 relist snapshot", "d u1@5 inferred (20)", "t u1@5"]);
    assert_eq!(kit.position(), "20");
}

#[test]
fn a_lagging_server_that_lists_the_past_deletes_nothing_that_is_newer() {
    let mut kit = Kit::new();
    kit.list("50", &[item("a", "u1", 5), item("b", "u2", 45)], "p2");
    kit.answer(410, &status(410, "Expired"));
    kit.wait();
    kit.written();
    kit.list("40", &[item("a", "u1", 5)], "");
    assert_eq!((kit.written().len(), kit.position()), (0, "40"));
    kit.wait();
    kit.stream(&event("ADDED", "b", "u2", 45));
    assert_eq!(kit.written(), NONE);
}

#[test]
fn a_page_without_end_is_cut_off() {
    let mut kit = Kit::new();
    kit.head(200);
    for _ in 0..4 {
        kit.input(Input::Body(Bytes::from(vec![b' '; 1000])));
    }
    assert_eq!(kit.core.buffered(), 4000);
    kit.input(Input::Body(Bytes::from_static(b" ")));
    assert_eq!((kit.phase().as_str(), kit.asked().as_str()), {
        ("waiting: a list page is larger than 4000 bytes", "")
    });
    assert_eq!(kit.core.buffered(), 0);
}

#[test]
fn an_object_too_large_for_the_log_loses_its_old_version_first_and_then_all_but_its_identity() {
    let big = |rv: u64, bytes: usize| {
        let filler = "x".repeat(bytes);
        event("MODIFIED", "a", "u1", rv).replace("\"spec\":{", &format!("\"spec\":{{\"f\":\"{filler}\","))
    };
    let mut kit = Kit::watching();
    kit.stream(&big(11, 300));
    assert_eq!(kit.written(), ["u u1@11 before"]);
    kit.stream(&big(12, 600));
    assert_eq!(kit.written(), ["r u1@12"], "with the old version it would not fit");
    kit.stream(&big(13, 1200));
    let record = kit.log.first().expect("written").clone();
    let text = String::from_utf8(record.value.expect("a value").to_vec()).expect("UTF-8");
    assert!(text.contains(r#""stub":{"reason":"too_large","bytes":13"#) && !text.contains("xxx"), "{text}");
    assert_eq!(kit.written(), ["r u1@13"]);
    assert!(kit.notices.contains(&Notice::Stubbed("too_large")));
    kit.stream(&big(14, 1200).replace("MODIFIED", "DELETED"));
    assert_eq!(kit.written(), ["d u1@14", "t u1@14"]);
    assert_eq!(kit.position(), "14");
}

#[test]
fn a_custom_kind_may_call_its_lists_as_it_likes_in_any_group() {
    for group in ["x.k8s.io", "example.com"] {
        let mut kit = Kit::new();
        let redactor = Redactor::new(Kind::custom(group, "v1", "foos", "Foo", true), Arc::new(Policy::default()));
        kit.core = WatchCore::new(config(), redactor, None);
        kit.tick();
        let of = |api_version: &str| {
            page("10", &[], "").replace(
                r#""kind":"List","apiVersion":"v1""#,
                &format!(r#""kind":"FooCollection","apiVersion":"{api_version}""#),
            )
        };
        kit.answer(200, &of("other.example.com/v1"));
        assert_eq!(kit.phase(), "waiting: a list of something else came, and foos were asked for");
        kit.wait();
        kit.answer(200, &of(&format!("{group}/v1")));
        assert_eq!((kit.position(), kit.core.phase().name), ("10", "waiting"), "{group}: {}", kit.phase());
        kit.wait();
        assert_eq!(kit.asked(), "watch 10");
    }
}
