//! Where the server's word cannot be followed: versions that go back, histories that were rewound, and lies.

use super::*;

fn restarted() -> Kit {
    restarted_with(config())
}

fn restarted_with(config: Config) -> Kit {
    let mut kit = Kit::watching();
    kit.capture.from_checkpoint = true;
    kit.core = WatchCore::new(config, Redactor::new(kind("services"), Arc::new(Policy::default())), None);
    kit.tick();
    kit.notices.clear();
    assert_eq!(kit.asked(), "probe 10");
    kit
}

#[test]
fn a_position_from_a_checkpoint_is_probed_before_it_is_watched_from() {
    let mut kit = restarted();
    kit.answer(200, &page("12", &[], ""));
    kit.wait();
    assert_eq!((kit.asked().as_str(), kit.capture.from_checkpoint), ("watch 10", false));
}

#[test]
fn a_probe_whose_answer_is_long_tells_the_version_all_the_same() {
    let metadata = |rv: &str| format!(r#""metadata":{{"resourceVersion":"{rv}"}}"#);
    let items = format!(r#""items":[{{"metadata":{{"name":"a","annotations":{{"a":"{}"}}}}}}]"#, "x".repeat(100_000));
    for (rv, asked) in [("12", "watch 10"), ("8", "probe 10")] {
        for body in [format!("{{{},{items}}}", metadata(rv)), format!("{{{items},{}}}", metadata(rv))] {
            for large in [100_000, 200_000] {
                let mut kit = restarted_with(Config { max_page: large, ..config() });
                kit.head(200);
                for chunk in body.as_bytes().chunks(16 << 10) {
                    kit.input(Input::Body(Bytes::copy_from_slice(chunk)));
                }
                assert!(kit.core.buffered() <= large);
                kit.input(Input::End);
                kit.wait();
                // Where its version stood behind the cut nobody knows it: it is asked once more, and then a list tells.
                let is_cut = large < body.len() && body.starts_with("{\"items\"");
                assert_eq!(kit.asked(), if is_cut { "probe 10" } else { asked }, "{large} {}", &body[..20]);
            }
        }
    }
}

#[test]
fn a_probe_that_fails_is_made_again_and_one_that_is_refused_leads_to_a_list() {
    for code in [429, 500, 503, 401] {
        let mut kit = restarted();
        kit.answer(code, "");
        kit.wait();
        assert_eq!(kit.asked(), "probe 10", "{code}");
    }
    let mut kit = restarted();
    kit.answer(403, &status(403, "Forbidden"));
    assert_eq!(kit.asked(), "review list");
    kit.review(true);
    kit.wait();
    assert_eq!(kit.asked(), "probe 10", "a server that has just started refuses what it will allow");
    kit.answer(403, &status(403, "Forbidden"));
    kit.review(false);
    assert!(kit.phase().starts_with("parked: not allowed to list services"), "{}", kit.phase());
    kit.wait();
    assert_eq!(kit.asked(), "probe 10");
    for code in [410, 400] {
        let mut kit = restarted();
        kit.answer(code, "");
        kit.wait();
        assert_eq!(kit.asked(), "list at least 10", "{code}");
    }
}

#[test]
fn a_name_that_the_lost_future_held_is_a_name_like_any_other_in_the_new_history() {
    let mut kit = restarted();
    for _ in 0..2 {
        kit.answer(504, &too_large());
        kit.wait();
    }
    kit.list("3", &[item("a", "u1", 2)], "");
    assert_eq!(kit.written(), ["r u1@2 relist (3)", "d u2@6 inferred (3)", "t u2@6"]);
    kit.wait();
    kit.stream(&(event("ADDED", "b", "u9", 4) + &event("DELETED", "b", "u9", 5)));
    assert_eq!(kit.written(), ["c u9@4", "d u9@5", "t u9@5"]);
}

#[test]
fn a_version_that_a_list_has_not_come_to_is_not_taken() {
    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.list("30", &[item("a", "u1", 5), item("b", "u2", 999), item("c", "u3", 31)], "");
    assert_eq!((kit.written().len(), kit.position()), (0, "30"));
    assert_eq!(kit.gaps(), ["expired 10..30", "server_lied 10..30 deletes unknown"]);
    assert!(kit.notices.contains(&Notice::Lie("version_ahead_of_list")));
    kit.wait();
    kit.stream(&event("MODIFIED", "b", "u2", 32));
    assert_eq!(kit.written(), ["u u2@32 before"], "its true changes are seen");
}

#[test]
fn what_an_audit_proves_to_be_ahead_of_the_server_is_written_anew_in_a_new_history() {
    let mut kit = Kit::new();
    kit.capture.index.restore_live(Name { namespace: "n".into(), name: "a".into() }, "u1".into(), Rv::new("999"), 0);
    kit.list("10", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!(kit.written(), ["r u2@6 relist snapshot"], "one list proves nothing");
    kit.wait();
    kit.core.resync("audit", vec![(Name { namespace: "n".into(), name: "a".into() }, Suspect::Anew)]);
    kit.tick();
    kit.wait();
    kit.list("20", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!(kit.gaps(), ["history_rewound 10..20"]);
    assert_eq!(
        (kit.written().as_slice(), kit.capture.history_epoch),
        (&["r u1@5 relist (20)".to_owned(), "r u2@6 relist (20)".to_owned()][..], 1)
    );
}

#[test]
fn a_restored_history_that_has_overtaken_us_is_a_new_one_as_soon_as_an_audit_shows_it() {
    let mut kit = Kit::watching();
    kit.core.resync("audit", vec![(Name { namespace: "n".into(), name: "a".into() }, Suspect::Future)]);
    kit.tick();
    kit.wait();
    kit.list("40", &[item("a", "u1", 3), item("b", "u2", 6)], "");
    assert_eq!(kit.gaps(), ["history_rewound 10..40"]);
    assert_eq!(kit.written(), ["r u1@3 relist (40)", "r u2@6 relist (40)"]);
    assert_eq!((kit.position(), kit.capture.history_epoch), ("40", 1));
}

#[test]
fn where_a_watch_broke_a_probe_that_the_server_cannot_answer_keeps_nobody_from_watching() {
    let mut kit = Kit::watching();
    kit.input(Input::Broken("reset by peer".into()));
    kit.wait();
    assert_eq!(kit.asked(), "probe 10");
    kit.answer(500, "");
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");
    kit.stream(&bookmark(8));
    kit.wait();
    assert_eq!(kit.asked(), "probe 10", "versions went back");
    kit.answer(504, &too_large());
    kit.wait();
    kit.answer(500, "");
    kit.wait();
    assert_eq!(kit.asked(), "probe 10", "what speaks for an older history is followed up");
}

#[test]
fn a_watch_that_ended_in_order_without_a_word_may_have_waited_for_an_older_history() {
    let mut kit = Kit::watching();
    let end = |kit: &mut Kit| {
        kit.pass(200);
        kit.input(Input::End);
        kit.wait();
        kit.asked()
    };
    kit.stream(&bookmark(11));
    assert_eq!(end(&mut kit), "watch 11", "whoever speaks knows the version");
    kit.head(200);
    assert_eq!(end(&mut kit), "probe 11");
    for _ in 0..2 {
        kit.answer(504, &too_large());
        kit.wait();
    }
    kit.list("8", &[item("a", "u1", 5)], "");
    assert_eq!((kit.capture.history_epoch, kit.position()), (1, "8"));
}

#[test]
fn a_version_that_is_too_large_twice_and_an_older_list_are_a_new_history() {
    let mut kit = restarted();
    kit.answer(504, &too_large());
    assert!(kit.wait() >= Duration::from_secs(1));
    assert_eq!(kit.asked(), "probe 10");
    kit.answer(504, &too_large());
    kit.wait();
    assert_eq!(kit.asked(), "list", "the newest there is");
    kit.list("8", &[item("a", "u1", 4), item("c", "u3", 7)], "");
    assert_eq!(kit.gaps(), ["history_rewound 10..8"]);
    assert_eq!(kit.written(), ["r u1@4 relist (8)", "c u3@7 relist", "d u2@6 inferred (8)", "t u2@6"]);
    assert_eq!((kit.position(), kit.capture.history_epoch), ("8", 1));
    assert!(kit.notices.contains(&Notice::Rewound(1)));
    kit.wait();
    assert_eq!(kit.asked(), "watch 8");
    kit.stream(&event("MODIFIED", "a", "u1", 9));
    let value = String::from_utf8(kit.log[0].value.clone().expect("a value").to_vec()).expect("UTF-8");
    assert!(value.contains("\"historyEpoch\":1"), "{value}");
    assert_eq!(kit.written(), ["u u1@9 before"]);
}

#[test]
fn a_server_that_only_lagged_has_the_same_history() {
    let mut kit = restarted();
    kit.answer(504, &too_large());
    kit.wait();
    kit.answer(504, &too_large());
    kit.wait();
    kit.list("15", &[item("a", "u1", 5)], "");
    kit.wait();
    assert_eq!((kit.asked().as_str(), kit.capture.history_epoch), ("watch 10", 0));
    assert_eq!((kit.written().len(), kit.gaps().len()), (0, 0), "that list was a question");
}

#[test]
fn two_lists_from_before_the_position_are_a_new_history_and_one_is_not() {
    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.list("8", &[], "");
    assert_eq!((kit.written().len(), kit.gaps().len(), kit.position()), (0, 0, "10"));
    kit.wait();
    assert_eq!(kit.asked(), "list");
    kit.list("12", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!((kit.gaps(), kit.capture.history_epoch, kit.position()), (vec!["expired 10..12".to_owned()], 0, "12"));

    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    for _ in 0..2 {
        kit.list("8", &[item("a", "u1", 5)], "");
        if kit.core.wake_at().is_some() {
            kit.wait();
        }
    }
    assert_eq!((kit.capture.history_epoch, kit.position()), (1, "8"));
    assert_eq!(
        kit.written(),
        ["r u1@5 relist (8)", "d u2@6 inferred (8)", "t u2@6"],
        "versions of another history compare to nothing"
    );
}

#[test]
fn a_list_that_is_refused_for_our_version_asks_for_the_newest() {
    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.answer(504, &too_large());
    kit.wait();
    assert_eq!(kit.asked(), "list");
    kit.list("8", &[], "");
    assert_eq!(kit.capture.history_epoch, 1);
}

#[test]
fn the_point_of_a_new_history_has_no_version_until_its_list_is_complete() {
    let commit = Commit { history_epoch: Some(1), ..Commit::default() };
    let mut capture = Capture { position: "10".into(), synced: true, ..Capture::default() };
    assert_eq!(commit.point(&capture), Some(Point { history_epoch: 1, rv: Rv::default() }));
    capture.apply(commit);
    assert_eq!((capture.position.as_str(), capture.history_epoch), ("", 1));
    let end = Commit { position: Some("8".into()), ..Commit::default() };
    assert_eq!(end.point(&capture), Some(Point { history_epoch: 1, rv: "8".into() }));
}

#[test]
fn a_change_from_before_the_position_shows_that_we_were_led_past_it() {
    let mut kit = Kit::watching();
    kit.stream(&event("ADDED", "z", "u9", 7));
    assert_eq!((kit.written().len(), kit.position()), (0, "10"));
    assert!(kit.notices.contains(&Notice::Lie("version_backwards")));
    kit.wait();
    assert_eq!(kit.asked(), "list at least 10");
}

#[test]
fn an_old_version_of_what_is_known_is_not_obeyed_and_the_server_is_asked() {
    let mut kit = Kit::watching();
    kit.stream(&event("MODIFIED", "a", "u1", 4));
    assert_eq!((kit.written().len(), kit.position()), (0, "10"));
    kit.wait();
    assert_eq!(kit.asked(), "probe 10");
    kit.answer(200, &page("12", &[], ""));
    kit.wait();
    kit.stream(&event("MODIFIED", "a", "u1", 4));
    kit.wait();
    assert_eq!(
        (kit.asked().as_str(), kit.capture.index.len()),
        ("list at least 10", 2),
        "twice: a list shows what is true"
    );
}

#[test]
fn a_delete_without_a_version_of_its_own_is_obeyed() {
    let mut kit = Kit::watching();
    kit.stream(&event("DELETED", "a", "u1", 5));
    assert_eq!(kit.written(), ["d u1@5", "t u1@5"]);
}

#[test]
fn other_kinds_namespaces_and_versions_that_are_no_numbers_are_not_taken_and_declared_once() {
    for (lie, what) in [
        (event("ADDED", "z", "u9", 11).replace("\"spec\"", "\"kind\":\"Pod\",\"spec\""), "wrong_kind"),
        (event("ADDED", "z", "u9", 11).replace("\"11\"", "\"eleven\""), "version_not_numeric"),
        (bookmark(11).replace("\"11\"", "\"eleven\""), "version_not_numeric"),
    ] {
        let mut kit = Kit::watching();
        kit.stream(&(lie.clone() + &lie + &event("ADDED", "c", "u3", 12)));
        assert_eq!(
            (kit.gaps(), kit.written()),
            (vec!["server_lied 10.. deletes unknown".to_owned()], vec!["c u3@12".to_owned()])
        );
        assert_eq!(kit.notices.iter().filter(|n| **n == Notice::Lie(what)).count(), 2);
        assert_eq!((kit.position(), kit.phase().as_str()), ("12", "watching"));
    }
    let redactor = Redactor::new(kind("services"), Arc::new(Policy::default()));
    let mut kit = Kit::new();
    kit.core = WatchCore::new(config(), redactor, Some("other".into()));
    kit.tick();
    kit.list("10", &[item("a", "u1", 5)], "");
    assert_eq!((kit.written().len(), kit.gaps().len(), kit.position()), (0, 1, "10"));
    assert!(kit.notices.contains(&Notice::Lie("wrong_namespace")));
}

#[test]
fn a_list_of_another_kind_deletes_nothing() {
    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.answer(200, &page("30", &[], "").replace("\"List\"", "\"PodList\""));
    assert_eq!(kit.phase(), "waiting: a list of PodList came, and services were asked for");
    assert_eq!((kit.written().len(), kit.capture.index.len()), (0, 2));
}
