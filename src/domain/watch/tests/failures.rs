//! What the core does when the API server refuses, fails or vanishes: it waits, says why, and comes back.

use super::*;
use crate::domain::pattern::Pattern;
use crate::domain::redact::Level;

#[test]
fn an_expired_version_leads_to_a_list_in_the_stream_as_as_status() {
    let mut kit = Kit::watching();
    kit.stream(&(event("ADDED", "c", "u3", 11) + &error(410, "Expired") + &event("ADDED", "d", "u4", 12)));
    assert_eq!(kit.written(), ["c u3@11"]);
    assert_eq!(kit.phase(), "waiting: list again: expired");
    kit.wait();
    assert_eq!(kit.asked(), "list at least 11");

    let mut kit = Kit::watching();
    kit.answer(410, &status(410, "Expired"));
    kit.wait();
    assert_eq!(kit.asked(), "list at least 10");
    assert!(kit.notices.contains(&Notice::Relist("expired")));
}

#[test]
fn a_version_that_the_server_cannot_read_leads_to_a_list() {
    let mut kit = Kit::watching();
    kit.answer(400, &status(400, "BadRequest"));
    kit.wait();
    assert_eq!(kit.asked(), "list at least 10");
}

#[test]
fn an_error_in_the_stream_that_is_no_410_is_no_reason_to_list() {
    let mut kit = Kit::watching();
    kit.stream(&(event("ADDED", "c", "u3", 11) + &error(500, "Internal\\u001b[31mError")));
    assert_eq!(kit.phase(), "waiting: the watch ended with 500 ");
    kit.wait();
    assert_eq!(kit.asked(), "watch 11");
}

#[test]
fn a_kind_that_may_not_be_listed_is_parked_and_the_missing_rule_is_printed() {
    let mut kit = Kit::of("deployments", config());
    kit.answer(403, &status(403, "Forbidden"));
    assert_eq!((kit.asked().as_str(), kit.phase().as_str()), ("review list", "reviewing"));
    kit.review(false);
    assert_eq!(
        kit.phase(),
        "parked: not allowed to list deployments: RBAC needs {apiGroups: [\"apps\"], resources: [\"deployments\"], verbs: [\"list\", \"watch\"]} in a ClusterRole"
    );
    for _ in 0..12 {
        let waited = kit.wait();
        assert!((60..=600).contains(&waited.as_secs()), "{waited:?}");
        assert_eq!(kit.asked(), "list");
        kit.answer(403, "");
        kit.review(false);
    }
    kit.wait();
    kit.list("10", &[], "");
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");

    let redactor = Redactor::new(kind("pods"), Arc::new(Policy::default()));
    let mut kit = Kit::new();
    kit.core = WatchCore::new(config(), redactor, Some("shop".into()));
    kit.tick();
    kit.answer(403, "");
    kit.review(false);
    assert!(kit.phase().ends_with(
        "{apiGroups: [\"\"], resources: [\"pods\"], verbs: [\"list\", \"watch\"]} in a Role of namespace shop"
    ));
}

#[test]
fn a_kind_that_is_not_served_is_parked_and_comes_back_where_it_was() {
    let mut kit = Kit::watching();
    kit.answer(404, &status(404, "NotFound"));
    assert_eq!(kit.phase(), "parked: the API server does not serve v1 services");
    assert!(kit.wait() >= Duration::from_secs(60));
    assert_eq!(kit.asked(), "watch 10");

    let mut kit = Kit::new();
    kit.answer(404, "");
    assert_eq!(kit.core.phase().name, "parked");
    kit.wait();
    assert_eq!(kit.asked(), "list");
}

#[test]
fn a_kind_that_is_parked_since_it_was_not_served_goes_on_as_soon_as_discovery_says_that_it_is() {
    let mut kit = Kit::watching();
    kit.answer(404, &status(404, "NotFound"));
    let parked_at = kit.env.now;
    kit.core.served(kit.env);
    kit.tick();
    assert_eq!((kit.asked().as_str(), kit.env.now), ("watch 10", parked_at));
    kit.answer(404, &status(404, "NotFound"));
    assert!(kit.wait() >= Duration::from_secs(60), "nobody says anything");
    assert_eq!(kit.asked(), "watch 10");

    let mut kit = Kit::new();
    kit.answer(404, "");
    kit.core.served(kit.env);
    kit.tick();
    assert_eq!(kit.asked(), "list");
    kit.answer(403, "");
    kit.review(false);
    kit.core.served(kit.env);
    kit.tick();
    assert!(kit.phase().starts_with("parked: not allowed to list"), "rights are missing all the same: {}", kit.phase());
    assert!(kit.wait() >= Duration::from_secs(60));
}

#[test]
fn where_lists_are_allowed_and_watches_are_not_it_lists_at_the_poll_interval() {
    let mut kit = Kit::watching();
    for round in 0..8_u64 {
        kit.answer(403, &status(403, "Forbidden"));
        if round == 0 {
            kit.review(false);
        }
        assert!(kit.phase().starts_with("waiting: lists every 30s: not allowed to watch services: RBAC needs {"));
        assert_eq!(kit.wait(), Duration::from_secs(30));
        let position = kit.position().to_owned();
        assert_eq!(kit.asked(), format!("list at least {position}"));
        kit.list(&format!("{}", 20 + round), &[item("a", "u1", 11 + round)], "");
        kit.wait();
        assert!(kit.asked().starts_with("watch"), "it looks whether the right was granted meanwhile");
    }
    kit.env.chance = 1.0;
    kit.answer(403, "");
    kit.wait();
    assert_eq!(refuse(&mut kit, 500, None).as_millis(), 500);
    kit.list("30", &[item("a", "u1", 18)], "");
    kit.wait();
    kit.answer(403, "");
    kit.wait();
    assert_eq!(refuse(&mut kit, 500, None).as_millis(), 500, "without a watch a finished list is health");
    kit.list("31", &[item("a", "u1", 18)], "");
    kit.wait();
    let written = kit.written();
    assert_eq!(kit.gaps(), ["list_only 10.."], "declared once, not for every list");
    assert_eq!(written[..3], ["u u1@11 relist before", "d u2@6 inferred (20)", "t u2@6"]);
    assert_eq!(written[3..].len(), 7);
    kit.stream(&event("MODIFIED", "a", "u1", 40));
    assert_eq!(kit.position(), "40");
}

fn refuse(kit: &mut Kit, status: u16, retry_after: Option<Duration>) -> Duration {
    kit.input(Input::Head { status, retry_after });
    kit.input(Input::End);
    kit.wait()
}

#[test]
fn retry_after_is_respected_within_reason() {
    let mut kit = Kit::new();
    assert_eq!(refuse(&mut kit, 429, Some(Duration::from_secs(33))), Duration::from_secs(33));
    assert_eq!(kit.asked(), "list");
    assert!(refuse(&mut kit, 429, None) < Duration::from_secs(2));
    assert_eq!(refuse(&mut kit, 429, Some(Duration::MAX)), Duration::from_secs(600));
    assert_eq!(refuse(&mut kit, 503, Some(Duration::from_secs(44))), Duration::from_secs(44));
}

#[test]
fn failures_are_met_with_ever_longer_waits_and_an_attempt_resets_nothing() {
    let mut kit = Kit::new();
    kit.env.chance = 1.0;
    let waits: Vec<_> = (0..9).map(|_| refuse(&mut kit, 500, None).as_millis()).collect();
    assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16000, 32000, 60000, 60000]);
    // A list that succeeds between two failures is not health yet.
    kit.list("10", &[], "");
    kit.wait();
    assert_eq!(refuse(&mut kit, 500, None).as_secs(), 60);
    kit.stream(&event("ADDED", "a", "u1", 11));
    kit.input(Input::Broken("reset by peer".into()));
    assert_eq!(kit.phase(), "waiting: reset by peer");
    assert_eq!((kit.wait().as_secs(), kit.asked().as_str()), (60, "probe 11"), "it may have come back older");
    kit.answer(200, &page("11", &[], ""));
    kit.wait();
    kit.head(200);
    kit.pass(61);
    kit.stream(&event("ADDED", "b", "u2", 12));
    kit.input(Input::Broken("reset by peer".into()));
    assert_eq!(kit.wait().as_millis(), 500, "60 healthy seconds are");
    assert_eq!(refuse(&mut kit, 500, None).as_millis(), 1000);
    kit.answer(200, &page("12", &[], ""));
    kit.wait();
    kit.head(200);
    kit.pass(61);
    kit.stream(&error(500, "InternalError"));
    assert_eq!(kit.wait().as_millis(), 500, "also if the server itself ends them");
}

#[test]
fn streams_that_end_at_once_and_empty_are_failures_others_are_not() {
    let mut kit = Kit::watching();
    kit.env.chance = 1.0;
    let mut waits = Vec::new();
    for _ in 0..3 {
        kit.answer(200, "\n");
        waits.push(kit.wait().as_millis());
    }
    assert_eq!((waits.as_slice(), kit.asked().as_str()), (&[500, 1000, 2000][..], "watch 10"));
    for _ in 0..3 {
        kit.head(200);
        kit.pass(5);
        kit.input(Input::End);
        assert_eq!((kit.wait().as_millis(), kit.asked().as_str()), (1000, "probe 10"));
        kit.answer(200, &page("10", &[], ""));
        kit.wait();
    }
    kit.stream(&event("MODIFIED", "a", "u1", 11));
    kit.input(Input::End);
    assert_eq!((kit.wait().as_millis(), kit.asked().as_str()), (1000, "watch 11"));
    kit.answer(200, "");
    assert_eq!(kit.wait().as_millis(), 4000, "none of that was 60 healthy seconds");
    kit.stream("\n");
    kit.stream(&bookmark(11));
    kit.pass(60);
    kit.input(Input::End);
    kit.wait();
    kit.answer(200, "");
    assert_eq!(kit.wait().as_millis(), 500);
}

#[test]
fn a_server_that_lists_well_and_expires_every_watch_is_asked_ever_less_often() {
    let mut kit = Kit::watching();
    kit.env.chance = 1.0;
    let mut waits = Vec::new();
    for round in 0..8_u64 {
        kit.answer(410, "");
        waits.push(kit.wait().as_secs_f64().round() as u64);
        kit.list(&format!("{}", 20 + round), &[], "");
        kit.wait();
    }
    assert_eq!((waits[0], waits[1], &waits[6..]), (1, 1, &[32, 60][..]));
    assert!(waits[2..6].iter().all(|w| (28..=30).contains(w)), "two lists, and then one in 30 seconds: {waits:?}");
}

#[test]
fn a_refusal_is_told_in_the_servers_words_shortened_and_without_control_characters() {
    let mut kit = Kit::new();
    let body = format!(r#"{{"message":"bad\u001b[31m {}","code":500}}"#, "x".repeat(1000));
    kit.answer(500, &body);
    let said = kit.phase();
    assert!(said.starts_with("waiting: list answered 500 bad[31m xxx") && said.len() < 400, "{said}");
    kit.wait();
    kit.answer(502, "<html>not JSON</html>");
    assert_eq!(kit.phase(), "waiting: list answered 502 ");
    kit.wait();
    kit.head(500);
    kit.input(Input::Body(Bytes::from(vec![b'x'; 70_000])));
    assert_eq!(kit.core.buffered(), 0, "the rest of a long refusal is not kept");
    kit.input(Input::End);
    assert_eq!(kit.phase(), "waiting: list answered 500 ");

    let mut kit = Kit::watching();
    kit.head(500);
    for _ in 0..100 {
        kit.input(Input::Body(Bytes::from(vec![b'x'; 1000])));
    }
    assert!(kit.core.buffered() <= 65_536);
}

#[test]
fn a_server_that_quotes_an_object_is_not_repeated_and_of_kinds_that_hide_values_only_the_word_is() {
    const CANARY: &str = "c4n4ry";
    let quoting = |reason: &str| {
        let quoted = format!(r#"no such field \"{CANARY}\" in {{\"data\":{{\"password\":\"{CANARY}\"}}}}"#);
        status(500, reason).replace("said why", &quoted)
    };
    let keys =
        Policy { levels: [(Pattern::parse("services").expect("a kind"), Level::Keys)].into(), ..Policy::default() };
    let custom = Kind::custom("example.com", "v1", "foos", "Foo", true);
    for redactor in [
        Redactor::new(kind("secrets"), Arc::default()),
        Redactor::new(kind("services"), Arc::new(keys)),
        Redactor::new(custom, Arc::default()),
    ] {
        let mut kit = Kit::new();
        kit.core = WatchCore::new(config(), redactor, None);
        kit.tick();
        kit.answer(500, &quoting("InternalError"));
        assert_eq!(kit.phase(), "waiting: list answered 500 InternalError");
        kit.wait();
        kit.answer(500, &quoting(CANARY));
        assert_eq!(kit.phase(), "waiting: list answered 500 ");
        kit.wait();
        kit.answer(200, &format!(r#"{{"kind":"{CANARY}List","metadata":{{"resourceVersion":"9"}},"items":[]}}"#));
        assert!(kit.phase().contains("a list of something else came"), "{}", kit.phase());
        kit.wait();
        kit.answer(200, r#"{"metadata":{"resourceVersion":"10"},"items":[]}"#);
        kit.wait();
        kit.answer(500, &quoting("InternalError"));
        assert_eq!(kit.phase(), "waiting: watch answered 500 InternalError");
        kit.wait();
        kit.stream(&format!("{{\"type\":\"ERROR\",\"object\":{}}}\n", quoting(CANARY)));
        assert_eq!(kit.phase(), "waiting: the watch ended with 500 ");
        assert!(!format!("{:?} {:?}", kit.notices, kit.core.trouble()).contains(CANARY));
    }
    let mut kit = Kit::new();
    kit.answer(500, &quoting("InternalError").replace(&format!("\\\"{CANARY}\\\" "), ""));
    assert_eq!(kit.phase(), "waiting: list answered 500 no such field in …");
}

#[test]
fn an_answer_that_never_came_is_a_failure_like_any_other() {
    let mut kit = Kit::new();
    kit.input(Input::Broken("no answer within 30s".into()));
    assert_eq!((kit.phase().as_str(), kit.asked().as_str()), ("waiting: no answer within 30s", ""));
    kit.wait();
    kit.input(Input::End);
    assert_eq!(kit.phase(), "waiting: list answered 0 ");
    kit.wait();
    kit.list("10", &[], "");
    kit.wait();
    kit.input(Input::Broken("connection refused".into()));
    assert_eq!(kit.phase(), "waiting: connection refused");
    kit.wait();
    assert_eq!(kit.asked(), "probe 10", "what was away may come back with an older history");
    kit.answer(200, &page("12", &[], ""));
    kit.wait();
    assert_eq!(kit.asked(), "watch 10");
}

#[test]
fn what_an_earlier_request_still_delivers_is_ignored() {
    let mut kit = Kit::watching();
    let old = kit.request.clone().expect("open").id;
    kit.stream(&error(500, "InternalError"));
    let late = |kit: &mut Kit| {
        for input in [
            Input::Head { status: 200, retry_after: None },
            Input::Body(event("ADDED", "z", "u9", 99).into()),
            Input::Broken("late".into()),
            Input::End,
        ] {
            kit.core.input(old, input, kit.env);
            kit.pump();
        }
    };
    late(&mut kit);
    assert!(kit.phase().starts_with("waiting: the watch ended with 500"));
    kit.wait();
    late(&mut kit);
    assert_eq!((kit.phase().as_str(), kit.written().len(), kit.position()), ("watching", 0, "10"));
    kit.stream(&event("ADDED", "c", "u3", 11));
    assert_eq!(kit.written(), ["c u3@11"]);
}

#[test]
fn debug_output_of_what_comes_in_never_shows_a_body() {
    let body = Input::Body(Bytes::from_static(b"{\"data\":\"canary\"}"));
    assert_eq!(format!("{body:?}"), "Body(17 bytes)");
    let head = Input::Head { status: 429, retry_after: None };
    assert_eq!(format!("{head:?} {:?} {:?}", Input::End, Input::Broken("x".into())), {
        "Head(429, retry after None) End Broken(\"x\")"
    });
}
