//! One suite for every engine of the log: what `Log` promises holds in memory, in files and on a real Apache Kafka alike;
//! then what only files can show, and what only a real broker can: kill -9, damage, a full disk, a frozen broker.
//!
//! Kafka comes from the test bed, or from AGENT_EVENTS_TEST_KAFKA=host:port (then nothing is killed). Where neither can
//! be had its tests are counted as ignored, with the reason; under CI=true they fail.
#![allow(clippy::print_stderr, reason = "what is skipped is said aloud")]
#![allow(clippy::print_stdout, reason = "a child tells its parent")]

#[path = "log_conformance/embedded/mod.rs"]
mod embedded;
#[path = "log_conformance/engines.rs"]
mod engines;
#[path = "log_conformance/faults.rs"]
mod faults;
#[path = "log_conformance/kit.rs"]
mod kit;
#[path = "log_conformance/operations.rs"]
mod operations;
#[path = "log_conformance/producing.rs"]
mod producing;
#[path = "log_conformance/reading.rs"]
mod reading;
#[path = "kit/waiting.rs"]
mod waiting;

use engines::{Bed, Bench};
use kit::Checked;
use libtest_mimic::{Arguments, Trial};
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

type Test = fn(Bench) -> Pin<Box<dyn Future<Output = Checked>>>;

/// Name and function, as one.
macro_rules! tests {
    ($($module:ident $(:: $name:ident)+),* $(,)?) => {
        &[$((last(stringify!($($name)+)), |bench| Box::pin($module $(:: $name)+ (bench)))),*]
    };
}

/// The last of some words.
const fn last(words: &str) -> &str {
    let mut at = words.len();
    while at > 0 && !words.as_bytes()[at - 1].is_ascii_whitespace() {
        at -= 1;
    }
    words.split_at(at).1
}

/// Hold for every engine.
const EVERYWHERE: &[(&str, Test)] = tests![
    reading::records_come_back_in_the_order_of_send_with_all_they_carried,
    reading::a_tombstone_is_not_an_empty_value,
    reading::foreign_records_come_back_as_they_are,
    reading::a_read_starts_where_it_is_told_to,
    reading::a_read_starts_at_a_timestamp,
    reading::a_read_from_the_end_gives_only_what_comes_later,
    reading::a_read_at_an_offset_that_is_not_there_starts_at_the_beginning,
    reading::read_all_gives_what_stands_there_partition_by_partition,
    reading::a_slow_reader_loses_nothing,
    reading::a_read_ends_when_its_guard_is_dropped,
    reading::markers_stand_in_the_partition_they_name,
    operations::explicit_partitions_are_those_of_the_java_client,
    operations::offsets_are_first_and_next_of_each_partition,
    operations::creating_a_topic_again_changes_nothing,
    operations::a_topic_is_described_as_it_was_created,
    operations::what_is_asked_of_a_missing_topic_names_it_and_the_remedy,
    operations::the_plan_creates_what_is_missing_and_then_verifies,
    operations::a_wrong_partition_count_is_refused_and_a_lost_setting_is_named,
    producing::a_value_of_4_mib_comes_back_as_it_was,
    producing::two_producers_keep_their_own_order,
    producing::a_full_queue_gives_the_record_back_until_there_is_room,
    producing::a_record_above_the_limit_is_refused_and_what_was_sent_before_is_acked,
    producing::nothing_overtakes_a_record_that_the_log_refused,
    producing::a_purge_settles_every_token_before_it_returns,
    producing::a_dropped_producer_settles_every_token,
];

/// Only files can show it.
const EMBEDDED: &[(&str, Test)] = tests![
    embedded::what_was_written_is_there_after_opening_again,
    embedded::owner::a_second_process_is_told_who_owns_the_directory,
    embedded::owner::the_last_clone_gives_the_directory_free_and_ends_what_is_left,
    embedded::owner::a_child_that_is_just_being_made_does_not_keep_the_directory,
    embedded::owner::a_directory_that_cannot_be_used_is_refused_with_a_remedy,
    embedded::damage::no_flipped_bit_goes_unnoticed,
    embedded::damage::a_journal_that_ends_too_early_is_refused_and_stays_as_it_is,
    embedded::damage::a_file_that_is_gone_is_named,
    embedded::damage::a_torn_tail_is_dropped_and_named,
    embedded::damage::what_is_broken_before_a_whole_group_is_damage_even_without_the_mark,
    embedded::compaction::compaction_keeps_what_the_model_keeps,
    embedded::compaction::retention_removes_old_records_and_moves_the_first_offset,
    embedded::compaction::a_reader_and_a_writer_go_on_while_it_is_compacted,
    embedded::killed::what_was_acked_outlives_a_kill_at_any_moment,
    embedded::killed::a_record_that_was_lost_is_noticed,
];

/// Need a small file system of their own.
const FULL_DISK: &[(&str, Test)] =
    tests![embedded::full::a_full_disk_loses_nothing_that_was_acked_and_is_left_behind_once_there_is_room];

/// Need a real Kafka, but leave it alone.
const KAFKA: &[(&str, Test)] = tests![
    faults::a_receiver_that_panics_does_not_stop_the_reports_of_others,
    faults::a_topic_that_is_not_there_fails_its_record_and_nothing_overtakes_it,
    faults::a_broker_that_is_not_there_is_named_within_the_deadline,
    faults::an_override_of_librdkafka_reaches_it,
    faults::a_fetch_response_that_knows_no_leader_is_survived,
    faults::librdkafka_writes_nothing_behind_a_refused_record_when_gapless,
    faults::a_mark_of_a_transaction_does_not_keep_read_all_waiting,
];

/// Kill or freeze the broker, so they have one of their own.
const OUTAGES: &[(&str, Test)] = tests![
    faults::a_broker_killed_and_back_loses_and_doubles_nothing,
    faults::a_broker_frozen_and_back_loses_and_doubles_nothing,
    faults::a_purge_settles_at_once_what_a_frozen_broker_holds,
];

/// As a child of its own tests this program only appends, or only owns a directory.
const APPENDER: &str = "--as-appender";
const OWNER: &str = "--as-owner";

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        [_, APPENDER, dir, from] => {
            return embedded::killed::play(dir.as_ref(), from.parse().expect("a number"));
        }
        [_, OWNER, dir] => return embedded::owner::play(dir.as_ref()),
        _ => {}
    }
    let (shared, tormented) = (Arc::new(Bed::default()), Arc::new(Bed::default()));
    let mut trials = Vec::new();
    for (name, test) in EVERYWHERE {
        trials.push(Trial::test(format!("memory::{name}"), move || engines::run(*test, Bench::memory)));
    }
    for (name, test) in EVERYWHERE.iter().chain(EMBEDDED) {
        trials.push(Trial::test(format!("embedded::{name}"), move || engines::run(*test, Bench::embedded)));
    }
    trials.extend(FULL_DISK.iter().map(|(name, test)| embedded::full::trial(name, *test)));
    for (name, test) in EVERYWHERE.iter().chain(KAFKA) {
        trials.push(engines::on_kafka(name, *test, &shared, engines::Needs::AnyKafka));
    }
    for (name, test) in OUTAGES {
        trials.push(engines::on_kafka(name, *test, &tormented, engines::Needs::ItsOwnKafka));
    }
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    // Before the exit, which drops nothing: the brokers end and their data go.
    drop((shared, tormented));
    conclusion.exit();
}
