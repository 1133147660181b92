//! Watches that break, stop, lie in pieces or say nothing.

use super::{Scene, Trial};
use crate::kit::within;
use agent_events::sandbox::{Fault, Mark, Spoil};
use agent_events::testing;
use serde_json::json;
use std::time::Duration;

pub const TRIALS: &[Trial] = &[
    ("a_watch_whose_headers_never_come_is_given_up_and_opened_again", no_headers),
    ("a_watch_whose_body_never_comes_is_given_up_and_opened_again", no_body),
    ("an_open_watch_that_falls_silent_is_given_up_and_resumed", falls_silent),
    ("a_watch_that_is_cut_again_and_again_loses_nothing", cuts),
    ("a_connection_that_is_reset_again_and_again_loses_nothing", resets),
    ("a_stream_that_breaks_in_the_middle_of_a_line_is_resumed", broken_line),
    ("a_stream_that_ends_in_order_in_the_middle_of_a_line_is_resumed", half_line),
    ("a_stream_that_comes_byte_by_byte_is_the_same_stream", byte_by_byte),
    ("crlf_and_empty_lines_are_the_same_stream", blank_lines),
    ("a_garbled_byte_is_read_again_and_nothing_is_missing", garbled_byte),
    ("a_page_of_html_in_the_place_of_a_watch_is_refused_and_asked_again", html),
    ("a_compressed_watch_that_nobody_asked_for_is_refused_and_asked_again", gzip),
    ("without_bookmarks_nothing_is_lost", no_bookmarks),
    ("a_bookmark_ahead_of_its_changes_hides_none_of_them", early_bookmark),
    ("a_change_that_is_reported_twice_is_written_once", reported_twice),
    ("a_delete_of_what_never_was_changes_nothing", ghost),
    ("a_server_that_closes_a_slow_reader_is_resumed", slow_reader),
    ("a_clock_that_jumps_an_hour_ahead_and_two_back_changes_nothing", clock_jumps),
];

/// A scene whose watch is at work.
fn watching() -> Scene {
    watching_at(30)
}

fn watching_at(pace: u32) -> Scene {
    let scene = Scene::with(pace, "configmaps", &[]);
    scene.create_many(10);
    scene.seen("m-9");
    scene
}

/// The next watches suffer from it so often, and changes go on.
fn suffer(scene: Scene, fault: Fault, times: u32) {
    scene.fault("watch", fault, Some(times));
    scene.faults().cut_watches(None);
    scene.some_changes();
    scene.spent();
    scene.some_changes();
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn no_headers() {
    suffer(watching(), Fault::Delay(Duration::from_secs(3600)), 1);
}

fn no_body() {
    suffer(watching_at(100), Fault::Silent, 1);
}

fn falls_silent() {
    let scene = watching_at(150);
    scene.fault("watch", Fault::Stall, None);
    scene.some_changes();
    scene.reopened();
    scene.faults().lift(Fault::Stall);
    scene.some_changes();
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn cuts() {
    let scene = watching();
    for _ in 0..5 {
        scene.faults().cut_watches(None);
        scene.change("m-0");
    }
    scene.some_changes();
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn resets() {
    let mut scene = Scene::unstarted(30, "configmaps", &[]);
    let front = scene.behind_a_front();
    scene.start();
    scene.create_many(10);
    scene.seen("m-9");
    for _ in 0..5 {
        let before = scene.faults().watches();
        front.reset();
        scene.change("m-0");
        within(Duration::from_secs(20), "a watch is opened again", || {
            (scene.faults().watches() > before).then_some(())
        });
    }
    scene.some_changes();
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn broken_line() {
    suffer(watching(), Fault::PartialLine, 2);
}

fn half_line() {
    suffer(watching(), Fault::HalfLine, 2);
}

fn byte_by_byte() {
    let mut scene = Scene::unstarted(30, "configmaps", &[]);
    scene.create_many(10);
    scene.fault("list", Fault::Dribble, None);
    scene.fault("watch", Fault::Dribble, None);
    scene.start();
    scene.some_changes();
    scene.settle();
}

fn blank_lines() {
    let mut scene = Scene::unstarted(30, "configmaps", &[]);
    scene.create_many(10);
    scene.fault("watch", Fault::BlankLines, None);
    scene.start();
    scene.some_changes();
    scene.settle();
}

fn garbled_byte() {
    let scene = watching();
    scene.fault("watch", Fault::Spoil(Spoil::Garbled), Some(1));
    scene.some_changes();
    scene.spent();
    scene.seen("n-0");
    assert!(scene.stub_of("m-0").is_none(), "it was whole the second time");
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn html() {
    suffer(watching(), Fault::Html, 2);
}

fn gzip() {
    suffer(watching(), Fault::Gzip, 2);
}

fn no_bookmarks() {
    let scene = watching_at(150);
    scene.fault("watch", Fault::NoBookmarks, None);
    // A second of silence, as 150 are: the watch is opened again from the last change.
    scene.reopened();
    scene.some_changes();
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn early_bookmark() {
    let scene = watching();
    scene.fault("watch", Fault::Stall, None);
    scene.some_changes();
    scene.fault("watch", Fault::Bookmark(Mark::Early), Some(1));
    scene.faults().lift(Fault::Stall);
    scene.spent();
    scene.settle();
}

fn reported_twice() {
    let scene = watching();
    scene.fault("watch", Fault::Spoil(Spoil::Twice), None);
    scene.some_changes();
    scene.seen("n-0");
    assert_eq!(crate::checker::duplicates(&scene.records()), 0);
    scene.settle();
}

fn ghost() {
    let scene = watching();
    scene.fault("watch", Fault::Ghost, Some(1));
    scene.spent();
    scene.some_changes();
    scene.settle();
}

fn slow_reader() {
    let scene =
        Scene::with(30, "configmaps", &["publisher.queue_bytes=\"1MiB\"", "publisher.max_record_bytes=\"1MiB\""]);
    scene.create_many(10);
    scene.seen("m-9");
    scene.parts.pause_log();
    for n in 0..300 {
        let body = json!({"metadata": {"annotations": {"n": n.to_string(), "fill": "x".repeat(30_000)}}});
        scene.patch(&format!("m-{}", n % 10), &body);
        if n % 100 == 50 {
            scene.faults().cut_watches(None);
        }
    }
    scene.parts.resume_log();
    scene.some_changes();
    scene.settle();
}

fn clock_jumps() {
    const HOUR_MS: i64 = 3_600_000;
    let scene = watching();
    for shift in [HOUR_MS, -2 * HOUR_MS, 0] {
        testing::shift_wall_clock(shift);
        scene.some_changes();
        scene.while_cut_off(|scene| scene.change("m-0"));
        scene.seen("m-0");
    }
    assert_eq!(scene.gaps(), 0, "order and resuming know no clock");
    scene.settle();
}
