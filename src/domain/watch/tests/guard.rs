//! More than half of a kind gone at once looks like rights that shrink: only what two lists miss is believed.

use super::*;

/// 30 objects known, watched from version 100, and the position expired.
fn thirty() -> Kit {
    let mut kit = Kit::new();
    kit.answer(200, &page("100", &(0..15).map(pod).collect::<Vec<_>>(), "p2"));
    kit.answer(200, &page("100", &(15..30).map(pod).collect::<Vec<_>>(), ""));
    kit.wait();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.written();
    kit
}

fn pod(i: u64) -> String {
    item(&format!("p{i:02}"), &format!("u{i}"), 10 + i)
}

fn pods(range: std::ops::Range<u64>) -> Vec<String> {
    range.map(pod).collect()
}

#[test]
fn less_than_half_is_believed_at_once() {
    let mut kit = thirty();
    kit.list("200", &pods(0..15), "");
    assert_eq!((kit.written().len(), kit.position()), (30, "200"));
}

#[test]
fn more_than_half_needs_a_second_list_no_older_than_the_first() {
    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    assert_eq!((kit.written().len(), kit.position(), kit.asked().as_str()), (0, "100", "list at least 200"));
    assert!(kit.notices.contains(&Notice::MassDeletion { missing: 21, known: 30 }));
    assert!(kit.notices.contains(&Notice::Relist("confirm")));
    kit.list("210", &pods(0..9), "");
    assert_eq!((kit.written().len(), kit.asked().as_str()), (0, "review list"));
    kit.review(true);
    assert_eq!((kit.written().len(), kit.position()), (42, "200"), "what came between the two the watch reports again");
    assert_eq!(kit.gaps(), ["expired 100..200"], "one doubt, one gap");
}

#[test]
fn nothing_is_believed_to_be_gone_without_the_right_to_list_it() {
    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    kit.list("210", &pods(0..9), "");
    kit.review(false);
    assert!(kit.phase().starts_with("parked: not allowed to list services"), "{}", kit.phase());
    assert_eq!((kit.written().len(), kit.position(), kit.capture.index.len()), (0, "100", 30));

    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    kit.list("210", &pods(0..9), "");
    kit.answer(500, "");
    assert_eq!((kit.written().len(), kit.core.phase().name), (0, "waiting"));
    kit.wait();
    assert_eq!(
        (kit.asked().as_str(), kit.durable()),
        ("watch 200", "100"),
        "the lists stand: only the answer is missing"
    );

    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    kit.list("210", &pods(0..9), "");
    kit.answer(404, "");
    assert_eq!(kit.written().len(), 42, "where nobody may ask for rights, two lists are believed");
}

#[test]
fn what_the_second_list_shows_again_lives() {
    let mut kit = thirty();
    kit.list("200", &[], "");
    kit.answer(200, &page("210", &pods(0..15), "p2"));
    kit.answer(200, &page("210", &pods(15..30), ""));
    assert_eq!((kit.written().len(), kit.position(), kit.capture.index.len()), (0, "200", 30));
}

#[test]
fn what_only_the_second_list_misses_is_left_to_the_watch_from_the_first() {
    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    kit.list("210", &pods(0..8), "");
    kit.review(true);
    let written = kit.written();
    assert_eq!((written.len(), written.iter().any(|w| w.contains("u8@"))), (42, false));
    assert_eq!((kit.position(), kit.capture.index.len()), ("200", 9));
    kit.wait();
    assert_eq!(kit.asked(), "watch 200");
    let replayed = event("DELETED", "p29", "u29", 201) + &event("DELETED", "p08", "u8", 205);
    kit.stream(&replayed);
    assert_eq!(kit.written(), ["d u8@205", "t u8@205"], "u29 is dead already, u8 died between the lists");
}

#[test]
fn new_objects_do_not_hide_that_the_old_ones_vanished() {
    let mut kit = thirty();
    let new: Vec<_> = (0..25).map(|i| item(&format!("n{i:02}"), &format!("v{i}"), 150 + i)).collect();
    kit.answer(200, &page("200", &new, ""));
    assert_eq!(kit.asked(), "list at least 200");
    assert_eq!(kit.written().iter().filter(|w| w.starts_with('d')).count(), 0);
}

#[test]
fn a_handful_that_is_gone_is_doubted_too() {
    let mut kit = Kit::of("services", Config { doubt_from: Config::default().doubt_from, ..config() });
    kit.list("10", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    kit.wait();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.list("30", &[], "");
    assert_eq!((kit.written().len(), kit.asked().as_str()), (2, "list at least 30"));
    kit.list("31", &[item("a", "u1", 5), item("b", "u2", 6)], "");
    assert_eq!((kit.written().len(), kit.capture.index.len()), (0, 2), "one wrong list deletes nothing");
}

#[test]
fn what_is_fewer_than_is_doubted_may_all_go_at_once() {
    let mut kit = Kit::watching();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.list("30", &[], "");
    assert_eq!((kit.written().len(), kit.position()), (4, "30"));
}

#[test]
fn a_second_list_that_fails_is_asked_for_again() {
    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    kit.answer(500, "");
    kit.wait();
    assert_eq!(kit.asked(), "list at least 200");
    kit.list("210", &pods(0..9), "");
    kit.review(true);
    assert_eq!((kit.written().len(), kit.position()), (42, "200"));
}

#[test]
fn while_nobody_says_whether_we_may_list_only_that_is_asked_ever_less_often() {
    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    kit.list("210", &pods(0..9), "");
    kit.env.chance = 1.0;
    let mut waits = Vec::new();
    for round in 0..6 {
        match round % 3 {
            0 => kit.answer(503, ""),
            1 => kit.input(Input::Broken("no answer within 30s".into())),
            _ => kit.answer(201, "{}"),
        }
        assert!(kit.core.trouble().is_some_and(|why| why.ends_with("its deletes wait")));
        kit.wait();
        assert_eq!((kit.asked().as_str(), kit.durable()), ("watch 200", "100"));
        waits.push(kit.wait().as_secs());
        assert_eq!(kit.asked(), "review list");
    }
    assert_eq!(waits, [30, 60, 120, 240, 300, 300]);
    assert_eq!(
        (kit.gaps(), kit.written().len(), kit.capture.index.len()),
        (vec!["expired 100..200".to_owned()], 0, 30)
    );
    kit.review(true);
    assert_eq!((kit.written().len(), kit.position(), kit.durable()), (42, "200", "200"));
    assert_eq!((kit.gaps(), kit.core.trouble()), (Vec::new(), None));
    kit.wait();
    assert_eq!(kit.asked(), "watch 200");
}

/// Two lists agree that 21 of 30 are gone, and nobody says whether we may list them; the kind is watched.
fn deferred() -> Kit {
    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    kit.list("210", &pods(0..9), "");
    kit.answer(503, "");
    kit.wait();
    assert_eq!(kit.gaps(), ["expired 100..200"]);
    kit
}

#[test]
fn while_deletes_wait_the_kind_is_watched_and_who_is_heard_of_is_owed_none() {
    let mut kit = deferred();
    kit.stream(
        &(event("MODIFIED", "p00", "u0", 220)
            + &event("MODIFIED", "p28", "u28", 221)
            + &event("DELETED", "p27", "u27", 222)
            + &event("ADDED", "p26", "v26", 223)
            + &bookmark(230)),
    );
    let told = ["u u0@220 before", "u u28@221 before", "d u27@222", "t u27@222"];
    let renamed = ["d u26@36 inferred (223)", "t u26@36", "c v26@223"];
    let written = kit.written();
    assert_eq!(written[..4], told);
    assert_eq!(written.len(), told.len() + renamed.len(), "{written:?}");
    assert_eq!((kit.position(), kit.durable()), ("230", "100"), "behind a kill everything is found out anew");
    kit.wait();
    kit.review(true);
    let written = kit.written();
    assert_eq!(written.len(), 18 * 2, "{written:?}");
    assert!(written.iter().all(|w| w.ends_with("inferred (210)") || w.starts_with("t ")), "{written:?}");
    assert_eq!((kit.position(), kit.durable(), kit.capture.index.len()), ("230", "230", 11));
    kit.wait();
    assert_eq!(kit.asked(), "watch 230");
    kit.stream(&bookmark(240));
    assert_eq!(kit.durable(), "240", "nothing is owed any more");
}

#[test]
fn whoever_dies_while_deletes_wait_leaves_it_to_a_list() {
    let mut kit = deferred();
    kit.stream(&bookmark(230));
    kit.succeed();
    assert_eq!(kit.asked(), "list at least 230");
    kit.list("240", &pods(0..9), "");
    assert_eq!((kit.written().len(), kit.asked().as_str(), kit.durable()), (0, "list at least 240", "100"));
    kit.list("241", &pods(0..9), "");
    kit.review(true);
    assert_eq!((kit.written().len(), kit.durable()), (42, "240"));
    assert_eq!(kit.gaps(), ["unsettled 230..240"]);
}

#[test]
fn a_history_that_expires_while_deletes_wait_is_listed_and_doubted_anew() {
    let mut kit = deferred();
    kit.stream(&error(410, "Expired"));
    kit.wait();
    kit.list("300", &pods(0..30), "");
    assert_eq!(
        (kit.written().len(), kit.durable(), kit.core.trouble()),
        (0, "300", None),
        "they were there all the time"
    );
    kit.wait();
    assert_eq!(kit.asked(), "watch 300");
}

#[test]
fn an_audit_that_finds_in_the_log_whose_delete_waits_makes_no_list() {
    let ghost = |i: u64| {
        let at = Name { namespace: "n".into(), name: format!("p{i:02}").into() };
        (at, Suspect::Ghost(Version::new(format!("u{i}").into(), Rv::new(&(10 + i).to_string()))))
    };
    let mut kit = deferred();
    kit.pass(60);
    kit.tick();
    assert_eq!(kit.asked(), "review list");
    kit.core.resync("audit", (9..30).map(ghost).collect());
    kit.answer(503, "");
    kit.wait();
    kit.core.resync("audit", (9..30).map(ghost).collect());
    kit.tick();
    assert_eq!(kit.asked(), "watch 200", "it says what two lists have said");
    kit.core.resync("audit", vec![ghost(9), (ghost(1).0, Suspect::Anew)]);
    kit.tick();
    kit.wait();
    assert_eq!(kit.asked(), "list at least 200", "of others it is news");
}

#[test]
fn it_is_no_news_that_the_question_whose_answer_is_missing_is_asked_again() {
    let mut kit = deferred();
    for _ in 0..2 {
        assert!(kit.core.trouble().is_some());
        kit.wait();
        assert_eq!((kit.asked().as_str(), kit.core.trouble().is_some()), ("review list", true));
        kit.answer(503, "");
        kit.wait();
    }
    kit.wait();
    kit.review(false);
    assert_eq!(kit.core.trouble(), None, "an answer is one, whatever it says");
}

#[test]
fn a_list_that_decides_nothing_leaves_what_is_owed() {
    let mut kit = deferred();
    kit.input(Input::Broken("reset by peer".into()));
    for _ in 0..2 {
        kit.wait();
        assert_eq!(kit.asked(), "probe 200");
        kit.answer(504, &too_large());
    }
    kit.wait();
    kit.list("240", &pods(0..9), "");
    kit.wait();
    assert_eq!((kit.asked().as_str(), kit.durable()), ("watch 200", "100"), "another server only lagged behind");
    kit.wait();
    kit.review(true);
    assert_eq!((kit.written().len(), kit.durable()), (42, "200"));
}

#[test]
fn a_second_list_declares_what_it_shows_beyond_the_first_and_nothing_else() {
    let mut kit = thirty();
    kit.list("200", &pods(0..9), "");
    let mut all = pods(0..9);
    all[0] = item("p00", "u0", 205);
    kit.list("210", &all, "");
    kit.review(true);
    assert_eq!(kit.gaps(), ["expired 100..200", "expired 200..210"]);
    assert_eq!((kit.written().len(), kit.position()), (43, "200"));
    kit.wait();
    kit.stream(
        &(event("ADDED", "new", "v1", 202)
            + &event("DELETED", "new", "v1", 204)
            + &event("MODIFIED", "p00", "u0", 205)),
    );
    assert_eq!(kit.written(), ["c v1@202", "d v1@204", "t v1@204"], "lived between the two lists");
}

#[test]
fn a_second_list_takes_its_turn_like_any_other() {
    let mut kit = thirty();
    let mut at = 200;
    for _ in 0..2 {
        kit.list(&at.to_string(), &[], "");
        if kit.asked().is_empty() {
            assert!(kit.wait() >= Duration::from_secs(20), "two lists, and then one in 30 seconds");
        }
        assert_eq!(kit.asked(), format!("list at least {at}"));
        kit.list(&(at + 1).to_string(), &pods(0..30), "");
        kit.wait();
        kit.stream(&error(410, "Expired"));
        kit.wait();
        at += 10;
    }
}
