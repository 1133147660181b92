//! Versions that are equal, go back, are words or have forty digits; histories that are rewound.

use super::{Scene, Trial};
use agent_events::sandbox::{Fault, Mark, Spoil};
use serde_json::Value;

pub const TRIALS: &[Trial] = &[
    ("a_version_that_goes_back_in_the_stream_is_not_obeyed", backwards),
    ("a_version_that_is_a_word_is_not_obeyed", word),
    ("a_bookmark_that_goes_back_or_is_a_word_moves_nothing", bookmarks),
    ("versions_of_forty_digits_are_versions", forty_digits),
    ("a_name_that_is_taken_again_while_nobody_watched_is_a_delete_and_a_create", same_name_new_uid),
    ("a_cluster_that_is_restored_to_an_older_state_begins_a_new_history", rewound),
    ("a_cluster_that_was_restored_while_we_were_down_begins_a_new_history", rewound_while_down),
    ("a_history_that_was_restored_and_overtook_us_unseen_is_found_by_the_audit", overtaken),
    ("a_server_that_restarts_with_a_lower_version_begins_a_new_history", restarted_lower),
];

fn watching() -> Scene {
    let scene = Scene::new();
    scene.create_many(10);
    scene.seen("m-9");
    scene
}

fn spoilt_once(how: Spoil) {
    let scene = watching();
    scene.fault("watch", Fault::Spoil(how), Some(1));
    scene.change("m-0");
    scene.spent();
    scene.some_changes();
    scene.settle();
}

fn backwards() {
    spoilt_once(Spoil::OldVersion);
}

fn word() {
    spoilt_once(Spoil::WordVersion);
}

fn bookmarks() {
    let scene = watching();
    for mark in [Mark::Backwards, Mark::Word] {
        scene.fault("watch", Fault::Bookmark(mark), Some(1));
        scene.spent();
        scene.some_changes();
        scene.while_cut_off(|scene| scene.change("m-0"));
        scene.seen("m-0");
    }
    scene.settle();
}

fn forty_digits() {
    let mut scene = Scene::unstarted(30, "configmaps", &[]);
    scene.long = true;
    scene.create_many(10);
    scene.fault("list", Fault::LongVersions, None);
    scene.fault("watch", Fault::LongVersions, None);
    scene.start();
    scene.some_changes();
    scene.while_cut_off(|scene| scene.change("m-0"));
    scene.seen("m-0");
    assert_eq!(scene.gaps(), 0, "what can be resumed is no gap");
    scene.settle();
}

fn same_name_new_uid() {
    let scene = watching();
    scene.while_cut_off(|scene| {
        for compacted in [false, true] {
            scene.delete("m-5");
            scene.create("m-5");
            if compacted {
                scene.faults().compact();
            }
        }
    });
    scene.seen("m-5");
    scene.settle();
}

/// Ten objects, a backup, and a future that will not have been. Gives the backup's revision.
fn with_a_future(scene: &Scene) -> u64 {
    scene.create_many(10);
    scene.seen("m-9");
    let backup = scene.parts.sandbox().revision();
    scene.some_changes();
    scene.create("only-then");
    scene.seen("only-then");
    backup
}

/// The records behind the restore are of a later history, and the table is as the API server has it.
fn of_a_new_history(scene: Scene) {
    scene.create("after");
    scene.seen("after");
    let records = scene.records();
    let after = records.iter().rfind(|r| r.key.ends_with("/after") && r.value.is_some()).expect("just seen");
    let history = after.value.as_ref().and_then(|v| v["source"]["historyEpoch"].as_u64());
    assert!(
        history > Some(0),
        "history epoch {history:?}: {:?}",
        after.value.as_ref().map_or(&Value::Null, |v| &v["source"])
    );
    assert!(scene.gaps() > 0, "a rewound history is declared");
    // A name of the lost future, at versions that are still below that one's.
    scene.create("only-then");
    scene.seen("only-then");
    scene.change("only-then");
    scene.seen("only-then");
    scene.delete("only-then");
    scene.settle();
}

fn rewound() {
    // Silence is what tells: two seconds of it here.
    let scene = Scene::with(75, "configmaps", &[]);
    let backup = with_a_future(&scene);
    scene.faults().rewind(backup).expect("the history reaches there");
    of_a_new_history(scene);
}

fn rewound_while_down() {
    let mut scene = Scene::new();
    let backup = with_a_future(&scene);
    scene.stop();
    scene.faults().rewind(backup).expect("the history reaches there");
    scene.start();
    of_a_new_history(scene);
}

/// Nothing tells that the version that is gone on from is another history's: it is served, and what the audit finds missing
/// is all there is to go by.
fn overtaken() {
    let scene = Scene::with(30, "configmaps", &["watch.audit_interval=\"2s\"", "watch.poll_interval=\"500ms\""]);
    let backup = with_a_future(&scene);
    scene.while_cut_off(|scene| {
        let future = scene.parts.sandbox().revision();
        scene.faults().rewind(backup).expect("the history reaches there");
        let mut n = 0;
        while scene.parts.sandbox().revision() <= future {
            scene.create(&format!("other-{n}"));
            n += 1;
        }
    });
    scene.settle();
}

fn restarted_lower() {
    let scene = Scene::with(75, "configmaps", &[]);
    let backup = with_a_future(&scene);
    scene.faults().rewind(backup).expect("the history reaches there");
    scene.parts.kill_api_server();
    scene.parts.restart_api_server();
    scene.parts.sandbox().hurry();
    of_a_new_history(scene);
}
