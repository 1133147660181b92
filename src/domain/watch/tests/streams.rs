//! The bytes of a watch: any split gives the same, nothing unreadable is skipped, nothing endless is kept.

use super::*;
use proptest::prelude::*;

#[test]
fn bookmarks_move_the_position_and_write_nothing() {
    let mut kit = Kit::watching();
    kit.stream(&bookmark(50));
    assert_eq!((kit.written().len(), kit.position()), (0, "50"));
    kit.stream(&bookmark(40));
    assert_eq!(kit.position(), "50", "a position never goes back");
    kit.wait();
    assert_eq!(kit.asked(), "probe 50");
    kit.answer(200, &page("60", &[], ""));
    kit.wait();
    kit.stream(&bookmark(40));
    assert_eq!((kit.phase().as_str(), kit.position()), ("watching", "50"), "asked once for each position");
    kit.input(Input::End);
    kit.wait();
    assert_eq!(kit.asked(), "watch 50");
}

#[test]
fn a_filtered_report_moves_the_position_too() {
    let mut kit = Kit::watching();
    kit.stream(&event("ADDED", "a", "u1", 5));
    assert_eq!((kit.written().len(), kit.position()), (0, "10"));
    assert!(kit.notices.ends_with(&[Notice::Received, Notice::Filtered("replayed")]));
    kit.stream(&event("MODIFIED", "a", "u1", 12));
    assert_eq!((kit.written().as_slice(), kit.position()), (&["u u1@12 before".to_owned()][..], "12"));
}

#[test]
fn a_line_that_cannot_be_read_closes_the_stream_and_the_next_begins_behind_the_last_good_one() {
    let good = event("ADDED", "c", "u3", 11);
    let next = event("ADDED", "e", "u5", 13);
    for bad in [
        "{\"type\":\"ADDED\",\"object\":{\"canary\"\n".to_owned(),
        "canary\n".to_owned(),
        "{}\n".to_owned(),
        "{\"type\":\"CANARY\",\"object\":{}}\n".to_owned(),
        "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"name\":\"canary\"}}}\n".to_owned(),
        event("ADDED", "d", "u4", 12).replace("}\n", "} canary\n"),
        "{\"type\":\"BOOKMARK\",\"object\":{\"metadata\":{}}}\n".to_owned(),
    ] {
        let mut kit = Kit::watching();
        kit.stream(&format!("{good}{bad}{next}"));
        assert_eq!((kit.written().as_slice(), kit.position()), (&["c u3@11".to_owned()][..], "11"), "{bad}");
        let said = kit.phase();
        assert!(said.starts_with("waiting: a watch line behind version 11 cannot be read: "), "{said}");
        let Some(Notice::Undecodable(noted)) = kit.notices.last() else { panic!("{bad}") };
        assert!(!said.contains("canary") && !noted.contains("canary"), "{said} {noted}");
        assert_eq!(kit.asked(), "");
        kit.wait();
        assert_eq!(kit.asked(), "watch 11");
        kit.stream(&format!("{}{next}", event("ADDED", "d", "u4", 12)));
        assert_eq!(kit.written(), ["c u4@12", "c u5@13"]);
    }
    let mut kit = Kit::watching();
    kit.head(200);
    kit.input(Input::Body(Bytes::from_static(b"{\"type\":\"\xff\"}\n")));
    assert!(kit.phase().ends_with("cannot be read: not a JSON object at byte 9"), "{}", kit.phase());
}

#[test]
fn a_line_without_end_is_bounded() {
    let mut kit = Kit::watching();
    kit.head(200);
    for _ in 0..20 {
        kit.input(Input::Body(Bytes::from(vec![b'x'; 100])));
    }
    assert_eq!((kit.core.buffered(), kit.phase().as_str()), (2000, "watching"));
    kit.input(Input::Body(Bytes::from_static(b"x")));
    assert_eq!((kit.core.buffered(), kit.phase().as_str()), (0, "waiting: a watch line is longer than 2000 bytes"));
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");
}

#[test]
fn a_last_line_without_a_line_end_was_not_reported_in_full() {
    let mut kit = Kit::watching();
    kit.stream(event("ADDED", "c", "u3", 11).trim_end());
    kit.input(Input::End);
    assert_eq!((kit.written().len(), kit.position()), (0, "10"));
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");
}

#[test]
fn what_came_before_the_connection_broke_counts() {
    let mut kit = Kit::watching();
    let id = kit.request.clone().expect("open").id;
    kit.head(200);
    kit.core.input(id, Input::Body(event("ADDED", "c", "u3", 11).into()), kit.env);
    kit.core.input(id, Input::Broken("reset".into()), kit.env);
    kit.pump();
    assert_eq!((kit.written().as_slice(), kit.position()), (&["c u3@11".to_owned()][..], "11"));
    assert_eq!(kit.phase(), "waiting: reset");
}

#[test]
fn a_secret_sent_in_full_is_a_stub_and_counted() {
    let mut kit = Kit::of("secrets", config());
    kit.list("10", &[], "");
    kit.wait();
    kit.stream(&event("ADDED", "a", "u1", 11).replace("\"spec\"", "\"data\":{\"k\":\"canary\"},\"spec\""));
    let value = kit.log[0].value.clone().expect("a value");
    assert!(!String::from_utf8_lossy(&value).contains("canary"));
    assert_eq!(kit.written(), ["c u1@11"]);
    assert!(kit.notices.contains(&Notice::Stubbed("full_object_refused")));
}

/// A stream with every sort of line, in the order of its versions.
fn whole(crlf: bool) -> String {
    let end = if crlf { "\r\n" } else { "\n" };
    [
        event("ADDED", "c", "u3", 11),
        "\n".to_owned(),
        event("MODIFIED", "a", "u1", 12),
        bookmark(13),
        event("ADDED", "a", "u1", 12),
        event("DELETED", "b", "u2", 14),
        "  \n".to_owned(),
        event("ADDED", "b", "u4", 15),
        event("MODIFIED", "c", "u5", 16),
    ]
    .concat()
    .replace('\n', end)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_split_of_the_bytes_gives_the_same_records(
        crlf: bool, lazily: bool, mut cuts in proptest::collection::vec(0_usize..1200, 0..40),
    ) {
        let bytes = Bytes::from(whole(crlf));
        let mut kit = Kit::watching();
        kit.head(200);
        cuts.retain(|cut| *cut < bytes.len());
        cuts.extend([0, bytes.len()]);
        cuts.sort_unstable();
        let id = kit.request.clone().expect("open").id;
        for pair in cuts.windows(2) {
            kit.core.input(id, Input::Body(bytes.slice(pair[0]..pair[1])), kit.env);
            if !lazily {
                kit.pump();
            }
        }
        kit.pump();
        prop_assert_eq!(kit.written(), [
            "c u3@11", "u u1@12 before", "d u2@14", "t u2@14", "c u4@15",
            "d u3@11 inferred (16)", "t u3@11", "r u5@16",
        ]);
        prop_assert_eq!((kit.position(), kit.core.buffered()), ("16", 0));
    }
}

#[test]
fn what_lives_in_a_namespace_that_does_not_count_is_counted_and_not_written() {
    let only = Some(Arc::new(["n".to_owned()].into()));
    let mut kit = Kit::of("services", Config { only, ..config() });
    let elsewhere = |name: &str, uid: &str, rv| item(name, uid, rv).replace(r#""namespace":"n""#, r#""namespace":"m""#);
    kit.list("10", &[item("a", "u1", 5), elsewhere("b", "u2", 6)], "");
    assert_eq!(kit.written(), ["r u1@5 relist snapshot"]);
    kit.wait();
    for (kind, rv) in [("ADDED", 11), ("MODIFIED", 12), ("DELETED", 13)] {
        kit.stream(&format!("{{\"type\":\"{kind}\",\"object\":{}}}\n", elsewhere("c", "u3", rv)));
    }
    assert_eq!((kit.written().len(), kit.position()), (0, "13"), "the position goes on all the same");
    let filtered = kit.notices.iter().filter(|notice| **notice == Notice::Filtered("namespace")).count();
    assert_eq!(filtered, 4);
}

#[test]
fn a_stream_that_ends_behind_a_word_that_is_no_news_is_opened_ever_less_often() {
    for word in [bookmark(10), bookmark(11), event("ADDED", "a", "u1", 5)] {
        let mut kit = Kit::watching();
        kit.env.chance = 1.0;
        let waits = [(); 4].map(|()| {
            kit.stream(&word);
            kit.input(Input::End);
            let waited = kit.wait().as_millis();
            assert!(kit.asked().starts_with("watch"), "{}", kit.asked());
            waited
        });
        assert_eq!(waits, [500, 1000, 2000, 4000], "{word}");
        kit.stream(&event("MODIFIED", "a", "u1", 12));
        kit.input(Input::End);
        assert_eq!((kit.wait().as_millis(), kit.asked().as_str()), (1000, "watch 12"), "slow readers are cut off");
        kit.stream("\n");
        kit.pass(5);
        kit.input(Input::End);
        assert_eq!(kit.wait().as_millis(), 1000, "it was served for a while");
    }
}
