//! What cannot be read: a stub in its place, and whatever stands behind it goes on (G11).

use super::*;

/// The same line three times behind one version, then the metadata of what stands there.
fn poisoned(kit: &mut Kit, bad: &str) {
    for round in 1..=3 {
        kit.stream(bad);
        assert!(kit.notices.iter().any(|n| matches!(n, Notice::Undecodable(_))));
        kit.wait();
        assert_eq!(kit.asked(), if round < 3 { "watch 10" } else { "peek 10" });
    }
}

fn stubs(kit: &Kit) -> Vec<String> {
    let values = kit.log.iter().filter_map(|r| r.value.clone());
    let texts = values.map(|v| String::from_utf8(v.to_vec()).expect("UTF-8"));
    texts.filter_map(|t| Some(t.split_once("\"stub\":")?.1.split_once('}')?.0.to_owned())).collect()
}

#[test]
fn behind_three_tries_the_metadata_of_an_unreadable_change_becomes_a_stub_and_the_stream_goes_on() {
    let good = event("ADDED", "d", "u4", 12);
    for bad in [
        "{\"type\":\"ADDED\",\"object\":{\"canary\"\n".to_owned(),
        event("ADDED", "c", "u3", 11).replace("\"u3\"", "{}"),
        event("ADDED", "c", "u3", 11).replace("}\n", "} canary\n"),
        "{\"type\":\"ADDED\",\"object\":{}}\n".to_owned(),
    ] {
        let mut kit = Kit::watching();
        poisoned(&mut kit, &bad);
        kit.head(200);
        let partial =
            event("ADDED", "c", "u3", 11).replace("\"metadata\"", "\"kind\":\"PartialObjectMetadata\",\"metadata\"");
        kit.input(Input::Body((partial + &good).into()));
        assert_eq!(stubs(&kit), [format!("{{\"reason\":\"undecodable\",\"bytes\":{}", bad.len() - 1)]);
        assert_eq!((kit.written().as_slice(), kit.position()), (&["c u3@11".to_owned()][..], "11"));
        assert!(kit.notices.contains(&Notice::Stubbed("undecodable")));
        kit.wait();
        assert_eq!(kit.asked(), "watch 11");
        kit.stream(&good);
        assert_eq!((kit.written(), kit.gaps()), (vec!["c u4@12".to_owned()], Vec::new()));
    }
}

/// A kind whose `c` = u3@11 is a stub, and a second look that an audit asks for.
fn looked_at_again() -> Kit {
    let mut kit = Kit::watching();
    poisoned(&mut kit, &"x".repeat(2001));
    kit.head(200);
    kit.input(Input::Body(event("ADDED", "c", "u3", 11).into()));
    kit.wait();
    kit.head(200);
    let at = Name { namespace: "n".into(), name: "c".into() };
    assert_eq!((kit.written(), kit.capture.index.stub(&at).map(|stub| stub.reason)), {
        (vec!["c u3@11".to_owned()], Some("too_long"))
    });
    kit.core.resync("audit", vec![(at, Suspect::Stub)]);
    kit.tick();
    kit.wait();
    kit
}

#[test]
fn a_stub_that_can_be_carried_by_now_becomes_the_object_once_and_with_an_id_of_its_own() {
    let mut kit = looked_at_again();
    let all = [item("a", "u1", 5), item("b", "u2", 6), item("c", "u3", 11)];
    kit.list("11", &all, "");
    assert_eq!(ids(&kit), ["u3:11~1:r"]);
    assert_eq!((stubs(&kit).len(), kit.gaps(), kit.written()), (0, Vec::new(), vec!["r u3@11 audit (11)".to_owned()]));
    let at = Name { namespace: "n".into(), name: "c".into() };
    assert_eq!(kit.capture.index.stub(&at), None);
    kit.wait();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.list("11", &all, "");
    assert_eq!(kit.written(), NONE, "once");
}

#[test]
fn any_list_that_shows_the_object_of_a_stub_mends_it() {
    let mut kit = looked_at_again();
    kit.core = WatchCore::new(config(), Redactor::new(kind("services"), Arc::new(Policy::default())), None);
    kit.tick();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.list("20", &[item("a", "u1", 5), item("b", "u2", 6), item("c", "u3", 11)], "");
    assert_eq!(ids(&kit), ["u3:20:r"]);
    assert_eq!(kit.written(), ["r u3@11 relist (20)"]);
}

#[test]
fn what_is_poisoned_for_good_is_written_as_a_stub_once() {
    let undecodable = item("c", "u3", 11).replace("\"resourceVersion\":\"11\"", "\"resourceVersion\":11");
    let filler = format!("\"spec\":{{\"f\":\"{}\",", "x".repeat(1300));
    for bad in [undecodable, item("c", "u3", 11).replace("\"spec\":{", &filler)] {
        let mut kit = looked_at_again();
        kit.notices.clear();
        kit.list("20", &[item("a", "u1", 5), item("b", "u2", 6), bad.clone()], "");
        assert_eq!((kit.written(), kit.position()), (Vec::new(), "20"));
        assert!(!kit.notices.iter().any(|n| matches!(n, Notice::Stubbed(_))));
        let filtered = kit.notices.iter().filter(|n| matches!(n, Notice::Filtered("known"))).count();
        assert_eq!(filtered, 3, "each report is accounted for");
        let at = Name { namespace: "n".into(), name: "c".into() };
        assert!(kit.capture.index.stub(&at).is_some(), "still");
    }
}

#[test]
fn what_is_too_large_for_the_log_is_known_as_a_stub() {
    let filler = format!("\"spec\":{{\"f\":\"{}\",", "x".repeat(1300));
    let mut kit = Kit::watching();
    kit.stream(&event("ADDED", "c", "u3", 11).replace("\"spec\":{", &filler));
    let at = Name { namespace: "n".into(), name: "c".into() };
    assert_eq!(ids(&kit), ["u3:11!:c"]);
    assert_eq!((kit.written(), kit.capture.index.stub(&at).map(|stub| stub.reason)), {
        (vec!["c u3@11".to_owned()], Some("too_large"))
    });
    kit.stream(&event("MODIFIED", "c", "u3", 12));
    assert_eq!((kit.written(), kit.capture.index.stub(&at)), (vec!["u u3@12 before".to_owned()], None));
}

fn ids(kit: &Kit) -> Vec<String> {
    let header = |r: &OutRecord| r.headers.iter().find(|(name, _)| *name == "ce_id").map(|(_, id)| id.clone());
    let ids = kit.log.iter().filter_map(header);
    ids.map(|id| String::from_utf8(id.to_vec()).expect("UTF-8")).collect()
}

#[test]
fn a_line_without_end_becomes_a_stub_too_and_so_does_a_delete() {
    let mut kit = Kit::watching();
    poisoned(&mut kit, &"x".repeat(2001));
    kit.head(200);
    kit.input(Input::Body(event("DELETED", "a", "u1", 11).into()));
    assert_eq!(stubs(&kit), ["{\"reason\":\"too_long\",\"bytes\":2001"]);
    assert_eq!((kit.written(), kit.capture.index.len()), (vec!["d u1@11".to_owned(), "t u1@11".to_owned()], 1));
}

#[test]
fn numbers_in_the_place_of_names_are_names() {
    let mut kit = Kit::watching();
    let bad = event("MODIFIED", "7", "u7", 11).replace("\"name\":\"7\"", "\"name\":7");
    poisoned(&mut kit, &bad);
    kit.head(200);
    kit.input(Input::Body(bad.into()));
    assert_eq!(kit.written(), ["r u7@11"]);
}

#[test]
fn where_the_metadata_is_not_readable_either_a_list_goes_on_and_a_gap_says_so() {
    for (status, body) in
        [(200, "garbled\n".to_owned()), (200, String::new()), (500, String::new()), (200, bookmark(11))]
    {
        let mut kit = Kit::watching();
        poisoned(&mut kit, "garbled\n");
        kit.head(status);
        kit.input(Input::Body(body.clone().into()));
        if kit.request.is_some() {
            kit.input(Input::End);
        }
        kit.wait();
        assert_eq!(kit.asked(), "list at least 10", "{status} {body}");
        kit.list("12", &[item("a", "u1", 5), item("b", "u2", 11)], "");
        assert_eq!(
            (kit.gaps(), kit.written()),
            (vec!["unreadable 10..12".to_owned()], vec!["u u2@11 relist before".to_owned()])
        );
        kit.wait();
        assert_eq!(kit.asked(), "watch 12");
    }
}

#[test]
fn a_bad_item_of_a_page_costs_only_itself() {
    let mut kit = Kit::new();
    let number = item("7", "u2", 6).replace("\"name\":\"7\"", "\"name\":7");
    kit.list("10", &[item("a", "u1", 5), number, item("c", "u3", 7)], "");
    assert_eq!(stubs(&kit).len(), 1);
    assert_eq!(kit.written(), ["r u1@5 relist snapshot", "r u2@6 relist snapshot", "r u3@7 relist snapshot"]);
    assert_eq!((kit.gaps().len(), kit.position()), (0, "10"));
}

#[test]
fn an_item_without_identity_is_looked_up_in_the_metadata_of_its_page() {
    let mut kit = Kit::new();
    kit.list("10", &[item("a", "u1", 5), "{\"metadata\":[]}".into()], "p2");
    assert_eq!(kit.asked(), "list metadata");
    kit.list("11", &[item("a", "u1", 5), item("b", "u2", 6)], "elsewhere");
    assert_eq!((stubs(&kit).len(), kit.asked().as_str()), (1, "list from p2"));
    assert_eq!(kit.written(), ["r u1@5 relist snapshot", "r u2@6 relist snapshot"]);
    kit.list("10", &[item("c", "u3", 7)], "");
    assert_eq!((kit.gaps().len(), kit.position()), (0, "10"));
}

#[test]
fn what_has_no_identity_anywhere_is_a_gap_and_nobody_is_taken_for_dead_because_of_it() {
    for metadata_fails in [true, false] {
        let mut kit = Kit::watching();
        kit.stream(&error(410, "Expired"));
        kit.wait();
        kit.list("30", &[item("a", "u1", 5), "7".into()], "");
        assert_eq!(kit.asked(), "list at least 10 metadata");
        if metadata_fails {
            kit.answer(500, "");
        } else {
            kit.list("30", &[item("a", "u1", 5), "7".into()], "");
        }
        assert_eq!((kit.written().len(), kit.position(), kit.capture.index.len()), (0, "30", 2));
        assert_eq!(kit.gaps(), ["expired 10..30", "unreadable 10..30 deletes unknown"]);
        kit.wait();
        kit.stream(&bookmark(31));
        assert!(kit.wait() >= Duration::from_secs(60), "a later list tells");
        kit.wait();
        assert_eq!(kit.asked(), "list at least 31");
        kit.list("40", &[item("a", "u1", 5)], "");
        assert_eq!(kit.written(), ["d u2@6 inferred (40)", "t u2@6"]);
    }
}

#[test]
fn whoever_garbles_a_page_is_cornered_and_costs_only_itself() {
    let mut kit = Kit::of("services", Config { page_size: 8, ..config() });
    let asked = |kit: &Kit| match kit.request.as_ref().map(|r| (&r.verb, r.metadata_only)) {
        Some((Verb::List { limit, .. }, metadata_only)) => (*limit, metadata_only),
        _ => panic!("{}", kit.asked()),
    };
    let mut limits = Vec::new();
    while !asked(&kit).1 {
        assert!(limits.len() < 20, "{limits:?}");
        limits.push(asked(&kit).0);
        kit.answer(200, "no JSON");
        kit.wait();
    }
    assert_eq!(limits, [8, 8, 4, 2, 1], "pages of one, then the metadata of that one");
    assert_eq!(asked(&kit), (1, true));
    kit.list("10", &[item("a", "u1", 5)], "p2");
    assert_eq!((stubs(&kit).len(), kit.asked().as_str()), (1, "list from p2"));
    kit.list("10", &[item("b", "u2", 6), item("c", "u3", 7)], "");
    assert_eq!((stubs(&kit).len(), kit.written().len(), kit.position()), (1, 3, "10"));
}

#[test]
fn a_page_that_is_too_large_is_asked_for_in_smaller_pieces_and_they_grow_again() {
    let mut kit = Kit::of("services", Config { page_size: 8, ..config() });
    let limit = |kit: &Kit| match kit.request.as_ref().map(|r| &r.verb) {
        Some(Verb::List { limit, .. }) => *limit,
        _ => panic!("{}", kit.asked()),
    };
    let mut limits = vec![limit(&kit)];
    for _ in 0..2 {
        kit.head(200);
        kit.input(Input::Body(Bytes::from(vec![b' '; 4001])));
        kit.wait();
        limits.push(limit(&kit));
    }
    kit.list("10", &[item("a", "u1", 5)], "p2");
    limits.push(limit(&kit));
    assert_eq!(limits[0], 8);
    assert!(limits[2] < limits[1] && limits[1] < 8 && limits[3] > limits[2], "{limits:?}");
}

#[test]
fn a_byte_that_is_no_text_costs_its_object_and_no_other() {
    let mut kit = Kit::new();
    let mut body = page("10", &[item("a", "u1", 5), item("b", "u2", 6)], "").into_bytes();
    let at = body.windows(7).position(|w| w == b"\"v\":6}}").expect("there");
    body[at + 1] = 0xff;
    for _ in 0..2 {
        kit.head(200);
        kit.input(Input::Body(body.clone().into()));
        kit.input(Input::End);
        kit.wait();
    }
    assert_eq!(stubs(&kit).len(), 1);
    assert_eq!((kit.written().len(), kit.position()), (2, "10"));
}

#[test]
fn the_character_that_stands_for_what_was_no_text_is_a_character_like_any_other() {
    let said = |rv| item("b", "u2", rv).replace("\"spec\":{", "\"spec\":{\"said\":\"probe said \u{FFFD} end\",");
    let mut kit = Kit::new();
    kit.list("10", &[item("a", "u1", 5), said(6)], "");
    assert_eq!((stubs(&kit).len(), kit.written().len(), kit.position()), (0, 2, "10"));
    assert!(!kit.notices.iter().any(|n| matches!(n, Notice::Undecodable(_) | Notice::Stubbed(_))));
    kit.wait();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.answer(200, "no JSON");
    kit.wait();
    kit.list("20", &[item("a", "u1", 5), said(15)], "");
    assert_eq!(
        (stubs(&kit).len(), kit.written()),
        (0, vec!["u u2@15 relist before".to_owned()]),
        "an accident before it"
    );
}

#[test]
fn what_stands_for_an_unreadable_change_is_never_an_object_of_another_kind() {
    let foreign = event("ADDED", "z", "u9", 11).replace("\"metadata\"", "\"kind\":\"Pod\",\"metadata\"");
    let partial = |line: String| line.replace("\"metadata\"", "\"kind\":\"PartialObjectMetadata\",\"metadata\"");
    let true_one = partial(event("ADDED", "c", "u3", 12));
    // As itself, or as metadata, of which nobody can tell the kind.
    for shown in [foreign.clone(), partial(event("ADDED", "z", "u9", 11))] {
        let mut kit = Kit::watching();
        poisoned(&mut kit, &(foreign.clone() + "garbled\n"));
        kit.head(200);
        kit.input(Input::Body((shown + &true_one).into()));
        assert_eq!((stubs(&kit).len(), kit.position()), (1, "12"));
        kit.gaps();
        assert_eq!(kit.written(), ["c u3@12"]);
        kit.wait();
        assert_eq!(kit.asked(), "watch 12");
    }
}
