//! Refusals: 401, 403, 404, 410, 429, 5xx, and a server that is not there.

use super::{Scene, Trial};
use agent_events::sandbox::{Fault, Rule};

pub const TRIALS: &[Trial] = &[
    ("a_410_in_the_stream_is_a_declared_gap_and_a_diff", gone_in_the_stream),
    ("a_410_as_status_is_a_list_and_loses_nothing", gone_as_status),
    ("a_storm_of_429_with_retry_after_is_waited_out", too_many_requests),
    ("answers_500_503_and_504_are_tried_again", server_errors),
    ("a_list_that_is_too_new_for_the_server_is_tried_again", too_large_version),
    ("credentials_refused_mid_life_are_named_and_taken_again", unauthorized),
    ("rights_that_are_taken_mid_life_park_the_kind_and_name_the_rule", forbidden),
    ("a_kind_that_is_not_served_is_parked_and_tried_again", not_served),
    ("a_list_that_is_empty_after_403_is_not_believed", rbac_shrink),
    ("a_small_kind_that_is_wrongly_empty_once_is_not_believed", empty_once),
    ("a_small_kind_that_is_twice_empty_is_not_believed_where_the_right_to_list_is_gone", empty_without_rights),
    ("while_access_reviews_fail_a_kind_is_watched_and_its_deletes_wait_also_over_a_restart", reviews_fail),
    ("a_small_kind_that_is_really_empty_is_believed_by_the_second_list", really_empty),
    ("a_server_that_dies_and_comes_back_is_resumed_without_a_list", died_and_back),
    ("twenty_410_for_all_kinds_at_once_are_two_lists_at_a_time_and_end", relist_storm),
];

fn refuse(code: u16, retry_after: Option<u64>) -> Fault {
    Fault::Refuse { code, retry_after }
}

fn gone_in_the_stream() {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    scene.while_cut_off(|scene| {
        scene.change("m-0");
        scene.some_changes();
        scene.faults().compact();
    });
    scene.seen("n-1");
    assert!(scene.gaps() > 0, "what was coalesced is declared");
    scene.settle();
}

fn gone_as_status() {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    scene.while_cut_off(|scene| {
        scene.some_changes();
        scene.fault("watch", refuse(410, None), Some(1));
    });
    scene.spent();
    scene.some_changes();
    scene.settle();
}

fn too_many_requests() {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    scene.while_cut_off(|scene| {
        scene.fault("watch", refuse(429, Some(3)), Some(5));
        scene.fault("list", refuse(429, Some(3)), Some(3));
        scene.some_changes();
        scene.faults().compact();
    });
    scene.spent();
    scene.settle();
}

fn server_errors() {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    for code in [500, 503, 504] {
        scene.while_cut_off(|scene| {
            scene.fault("watch", refuse(code, None), Some(2));
            scene.some_changes();
        });
        scene.spent();
    }
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn too_large_version() {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    scene.while_cut_off(|scene| {
        scene.fault("list", Fault::TooLarge, Some(2));
        scene.some_changes();
        scene.faults().compact();
    });
    scene.spent();
    scene.seen("n-0");
    let newest = scene.records().into_iter().rfind(|r| r.value.is_some()).expect("just seen").value.expect("one");
    assert_eq!(newest["source"]["historyEpoch"], 0, "a server that lags has the same history");
    scene.settle();
}

fn unauthorized() {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    let refused = refuse(401, None);
    scene.fault("watch", refused, None);
    scene.fault("list", refused, None);
    scene.faults().cut_watches(None);
    scene.named("401");
    scene.some_changes();
    scene.faults().lift(refused);
    scene.settle();
}

fn forbidden() {
    let scene = Scene::with(600, "configmaps", &[]);
    scene.create_many(10);
    scene.seen("m-9");
    let refused = refuse(403, None);
    scene.fault("watch", refused, None);
    scene.fault("list", refused, None);
    scene.faults().cut_watches(None);
    scene.named("RBAC needs");
    scene.some_changes();
    scene.faults().lift(refused);
    scene.settle();
}

fn not_served() {
    let scene = Scene::with(600, "configmaps", &[]);
    scene.create_many(10);
    scene.seen("m-9");
    let refused = refuse(404, None);
    scene.fault("watch", refused, None);
    scene.fault("list", refused, None);
    scene.faults().cut_watches(None);
    scene.named("does not serve");
    scene.some_changes();
    scene.faults().lift(refused);
    scene.settle();
}

fn rbac_shrink() {
    let scene = Scene::with(600, "configmaps", &[]);
    scene.create_many(60);
    scene.seen("m-59");
    let refused = refuse(403, None);
    scene.fault("watch", refused, None);
    scene.fault("list", refused, None);
    scene.faults().cut_watches(None);
    scene.named("RBAC needs");
    // What the watch would go on from is gone: only a list is left.
    scene.change("m-1");
    scene.faults().compact();
    scene.fault("list", Fault::Empty, Some(1));
    scene.faults().lift(refused);
    scene.spent();
    scene.change("m-0");
    scene.seen("m-0");
    let deletes = scene.records().iter().filter(|r| r.op() == Some("d")).count();
    assert_eq!(deletes, 0, "nothing was deleted");
    scene.settle();
}

/// Five objects, whose watch has to begin with a list.
fn five(act: impl FnOnce(&Scene)) -> Scene {
    let scene = Scene::new();
    scene.create_many(5);
    scene.seen("m-4");
    scene.while_cut_off(|scene| {
        act(scene);
        scene.create("one-more");
        scene.faults().compact();
    });
    scene
}

fn deletes(scene: &Scene) -> usize {
    scene.records().iter().filter(|r| r.op() == Some("d")).count()
}

fn empty_once() {
    let scene = five(|scene| scene.fault("list", Fault::Empty, Some(1)));
    scene.spent();
    scene.seen("one-more");
    scene.change("m-0");
    scene.seen("m-0");
    assert_eq!(deletes(&scene), 0, "nothing was deleted");
    scene.settle();
}

fn empty_without_rights() {
    let scene = five(|scene| {
        scene.fault("list", Fault::Empty, None);
        scene.fault("list", Fault::Denied, None);
    });
    scene.named("RBAC needs");
    assert_eq!(deletes(&scene), 0, "two lists that agree are not enough");
    scene.faults().lift(Fault::Empty);
    scene.faults().lift(Fault::Denied);
    scene.seen("one-more");
    assert_eq!(deletes(&scene), 0, "nothing was deleted");
    scene.settle();
}

fn reviews_fail() {
    let silent = refuse(500, None);
    let mut scene = five(|scene| {
        scene.faults().inject(Rule::new(silent).of("selfsubjectaccessreviews.authorization.k8s.io"));
        (0..5).for_each(|i| scene.delete(&format!("m-{i}")));
    });
    for life in ["one", "two"] {
        scene.named("its deletes wait");
        scene.create(life);
        scene.seen(life);
        scene.change("one-more");
        scene.seen("one-more");
        assert_eq!(deletes(&scene), 0, "nobody has said that they are gone");
        if life == "one" {
            scene.stop();
            scene.start();
        }
    }
    scene.faults().lift(silent);
    scene.settle();
}

fn really_empty() {
    let scene = five(|scene| (0..5).for_each(|i| scene.delete(&format!("m-{i}"))));
    scene.seen("one-more");
    let (_, lists) = scene.faults().lists();
    scene.create("after");
    scene.seen("after");
    assert_eq!((deletes(&scene), lists), (5, 3), "the first list of all, one that is doubted, and one that agrees");
    scene.settle();
}

fn died_and_back() {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    scene.parts.kill_api_server();
    scene.parts.restart_api_server();
    scene.some_changes();
    scene.seen("n-0");
    let (_, lists) = scene.faults().lists();
    assert_eq!(lists, 0, "the watch was resumed");
    assert_eq!(scene.gaps(), 0);
    scene.settle();
}

fn relist_storm() {
    let all: Vec<String> = ["pods", "services", "deployments", "statefulsets", "secrets", "events"]
        .iter()
        .map(|kind| format!("watch.{kind}.enabled=true"))
        .collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    let scene = Scene::with(600, "configmaps", &all);
    scene.create_many(10);
    scene.seen("m-9");
    // Long enough for lists to meet.
    scene.faults().inject(Rule::new(Fault::Delay(std::time::Duration::from_millis(10))).verb("list"));
    for round in 0..20 {
        scene.faults().inject(Rule::new(Fault::Gone).times(7));
        scene.change(&format!("m-{}", round % 10));
        scene.spent();
    }
    let (at_once, lists) = scene.faults().lists();
    println!("relist storm: {lists} lists, at most {at_once} at once");
    assert!(at_once <= 2, "{at_once} lists at once");
    scene.settle();
}
