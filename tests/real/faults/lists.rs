//! Lists that hang, break, expire between their pages, or are old before their watch begins.

use super::{Scene, Trial};
use agent_events::sandbox::{Fault, Rule};
use std::time::Duration;

pub const TRIALS: &[Trial] = &[
    ("a_list_whose_headers_never_come_is_given_up_and_asked_again", no_headers),
    ("a_list_whose_body_never_comes_is_given_up_and_asked_again", no_body),
    ("a_page_of_html_in_the_place_of_a_list_is_refused_and_asked_again", html),
    ("a_compressed_list_that_nobody_asked_for_is_refused_and_asked_again", gzip),
    ("a_page_that_expires_between_pages_goes_on_with_the_servers_token", page_gone),
    ("a_page_that_expires_in_a_diff_infers_no_delete_that_was_none", page_gone_in_a_diff),
    ("a_snapshot_by_watch_list_is_whole", watch_list),
    ("a_server_that_refuses_a_watch_list_is_listed_in_pages", watch_list_refused),
    ("a_watch_list_whose_end_never_comes_is_given_up_and_listed_in_pages", watch_list_without_end),
    ("a_list_of_three_minutes_whose_version_is_compacted_when_the_watch_begins_ends_well", slow_list),
];

/// Thirty objects in pages of ten, not listed yet.
fn pages(pace: u32) -> Scene {
    let scene = Scene::unstarted(pace, "configmaps", &["watch.page_size=10"]);
    scene.create_many(30);
    scene
}

fn suffer(fault: Fault, times: u32) {
    let mut scene = pages(60);
    scene.fault("list", fault, Some(times));
    scene.start();
    scene.spent();
    scene.some_changes();
    assert_eq!(scene.gaps(), 0, "a first list is no gap");
    scene.settle();
}

fn no_headers() {
    suffer(Fault::Delay(Duration::from_secs(3600)), 1);
}

fn no_body() {
    suffer(Fault::Silent, 1);
}

fn html() {
    suffer(Fault::Html, 2);
}

fn gzip() {
    suffer(Fault::Gzip, 2);
}

fn page_gone() {
    let mut scene = pages(30);
    scene.fault("list", Fault::PageGone, Some(1));
    // What changes now does so before the later pages are made.
    scene.fault("list", Fault::Delay(Duration::from_millis(100)), None);
    scene.start();
    scene.spent();
    scene.some_changes();
    scene.settle();
}

fn page_gone_in_a_diff() {
    let mut scene = pages(30);
    scene.start();
    scene.while_cut_off(|scene| {
        scene.some_changes();
        scene.delete("m-20");
        scene.create("a-first");
        scene.create("z-last");
        scene.fault("list", Fault::PageGone, Some(1));
        scene.faults().compact();
    });
    scene.spent();
    scene.some_changes();
    scene.settle();
}

/// Thirty objects, to be listed as the beginning of a watch, in pages of ten where that fails.
fn streamed(pace: u32) -> Scene {
    let scene = Scene::unstarted(pace, "configmaps", &["watch.list=\"watch-list\"", "watch.page_size=10"]);
    scene.create_many(30);
    scene
}

fn watch_list() {
    let mut scene = streamed(30);
    // Pages would never come: whatever is known is known by a stream.
    scene.fault("list", Fault::Refuse { code: 500, retry_after: None }, None);
    scene.start();
    scene.some_changes();
    scene.seen("n-0");
    assert_eq!(scene.gaps(), 0, "a first list is no gap");
    scene.while_cut_off(|scene| {
        scene.some_changes();
        scene.delete("m-20");
        scene.create("z-last");
        scene.faults().compact();
    });
    scene.seen("z-last");
    assert!(scene.gaps() > 0, "what was coalesced is declared");
    scene.settle();
}

/// The snapshot is taken in pages: the second page meets a fault of its own.
fn in_pages_after_all(mut scene: Scene, fault: Fault, times: Option<u32>) {
    scene.fault("list", Fault::PageGone, Some(1));
    scene.fault("watch", fault, times);
    scene.start();
    scene.spent();
    scene.some_changes();
    scene.settle();
}

fn watch_list_refused() {
    for code in [400, 422] {
        in_pages_after_all(streamed(30), Fault::Refuse { code, retry_after: None }, Some(1));
    }
}

fn watch_list_without_end() {
    // 150 s of silence are a second.
    in_pages_after_all(streamed(150), Fault::NoInitialEnd, None);
}

fn slow_list() {
    // Ten pages and more of 16 s each, at this pace, each within its own deadline; then the watch finds its version gone.
    let mut scene = Scene::unstarted(40, "configmaps", &["watch.page_size=3"]);
    scene.create_many(30);
    scene.faults().inject(Rule::new(Fault::Delay(Duration::from_millis(400))).of("configmaps").verb("list"));
    scene.fault("watch", Fault::Gone, Some(1));
    scene.start();
    scene.spent();
    scene.some_changes();
    scene.settle();
}
