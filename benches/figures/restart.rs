//! A restart after `kill -9` with a history behind it: from the start of the process until capture goes on, and until it is
//! ready; with the saved fold as it is at its oldest, and without it.
//!
//! What the log holds: changes at 300 a second of a cluster of Pods, as capture itself makes the records, in the embedded
//! log with the settings of `config/default.toml`. Those keep every version for 24 hours (`min.compaction.lag.ms`), so
//! compaction removes nothing of a day, and nothing of what is generated here. `event-stream` counts as told up to there. Then
//! the start without a saved fold is measured; what it saves at its end becomes as old as it gets: five minutes of changes
//! more, which is `store.save_interval`, are captured by the product, and it is killed.

use crate::embedded;
use crate::history::{self, History};
use crate::life::{self, Feed, Reached, Task};
use crate::report::Report;
use crate::roles::Role;
use crate::{Scale, cpu};
use agent_events::domain::envelope::Writer;
use agent_events::domain::index::{Before, Name};
use agent_events::domain::kind::Kind;
use agent_events::domain::record::OutRecord;
use agent_events::domain::redact::{Policy, Redactor};
use agent_events::domain::rv::Rv;
use agent_events::domain::watch::{Action, Capture, Config, Env, Input, WatchCore};
use agent_events::log::embedded::EmbeddedLog;
use bytes::Bytes;
use std::collections::HashMap;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

const SECTION: &str = "restart";
/// Changes a second.
const RATE: f64 = 300.0;
/// A day of them.
const DAY: f64 = 86_400.0 * RATE;
/// How long nobody looked before the process is started again.
const AWAY_SECONDS: f64 = 10.0;
const BARE: &str = "a bare reader of the same log, which folds nothing";
const WITHOUT: &str = "the same restart without the saved fold";
/// Who wrote what is generated.
const EPOCH_OF_FIRST_LIFE: u64 = 1;

/// Runs the section.
pub fn run(report: &mut Report, scale: Scale) {
    let (generated, tail, pods) = (scale.restart_changes, scale.restart_tail, scale.restart_pods);
    let dir =
        tempfile::tempdir_in(concat!(env!("CARGO_MANIFEST_DIR"), "/target")).expect("a directory beside the build");
    let data_dir = dir.path();
    let fold = data_dir.join("fold");
    let task = |feed| Task { data_dir: data_dir.to_owned(), pods, feed, began: cpu::wall() };
    let prepare = |feed, orderly: bool| {
        let mut life = Role::start("life", &task(feed));
        life.expect("ready");
        life.expect("settled");
        if orderly {
            life.say("end");
            life.expect("ended");
        }
    };
    prepare(Feed::Bookmark(0), true);
    let wall = cpu::wall();
    generate(data_dir, pods, generated);
    eprintln!("restart: {generated} changes generated in {:.0?}", cpu::wall().saturating_sub(wall));

    let (mut read, mut bare) = (0.0, f64::INFINITY);
    let resume = |with_fold: bool| {
        if !with_fold && fold.exists() {
            std::fs::remove_dir_all(&fold).expect("it is ours");
        }
        let mut life = Role::start("life", &task(Feed::Steady { per_second: RATE, away_seconds: AWAY_SECONDS }));
        let reached: Reached = serde_json::from_str(&life.expect("reached")).expect("numbers");
        eprintln!("restart: {}: {reached:?}", if with_fold { "with the saved fold" } else { "without" });
        let cpu = life.cpu().as_secs_f64();
        if !with_fold {
            // In order: the fold is saved for those that follow.
            life.say("end");
            life.expect("ended");
        }
        (reached, cpu)
    };
    let better = |rounds: Vec<(Reached, f64)>| rounds.into_iter().min_by(|a, b| a.0.ready.total_cmp(&b.0.ready));
    let rounds = 0..scale.restart_rounds;
    for _ in rounds.clone() {
        let mut reader = Role::start("bare", &task(Feed::Bookmark(0)));
        let said = reader.expect("read");
        let (records, seconds) = said.split_once(' ').expect("two numbers");
        read = records.parse().expect("records");
        bare = seconds.parse::<f64>().expect("seconds").min(bare);
    }
    let (without, without_cpu) = better(rounds.clone().map(|_| resume(false)).collect()).expect("a round");
    let wall = cpu::wall();
    prepare(Feed::Until(position(data_dir) + tail), false);
    eprintln!("restart: {tail} more changes captured in {:.0?}", cpu::wall().saturating_sub(wall));
    let saved = size(&fold);
    let (with, with_cpu) = better(rounds.map(|_| resume(true)).collect()).expect("a round");

    let hours = generated as f64 / RATE / 3600.0;
    let log = size(&data_dir.join("log"));
    let name = format!("{hours:.2} h of history at {RATE} changes/s");
    let saved_start = format!("{name}, saved fold of 5 min before");
    let whole = format!("{name}, no saved fold");
    report.ratio(SECTION, format!("{saved_start}: ready"), (with.ready, without.ready, "s"), WITHOUT, None);
    report.ratio(SECTION, format!("{whole}: ready"), (without.ready, bare, "s"), BARE, None);
    for (what, reached, cpu) in [(&saved_start, with, with_cpu), (&whole, without, without_cpu)] {
        for (step, value) in [
            ("log opened", reached.opened),
            ("watch opened from the checkpoint", reached.watching),
            ("ready", reached.ready),
            ("capture resumed: first missed change durable", reached.first),
            ("caught up with the cluster", reached.caught_up),
            ("CPU until then", cpu),
        ] {
            report.value(SECTION, format!("{what}: {step}"), value, "s", None);
        }
        report.value(SECTION, format!("{what}: peak memory"), reached.peak, "MiB", None);
    }
    report.value(
        SECTION,
        format!("{whole}: ready, times {:.1} for a day, computed", DAY / generated as f64),
        without.ready * DAY / generated as f64,
        "s",
        None,
    );
    report.value(SECTION, "the log, records of Pods", read, "records", None);
    report.value(SECTION, "the log on disk, all topics", log, "MiB", None);
    report.value(SECTION, "the saved fold on disk", saved, "MiB", None);
    report.note(format!(
        "restart: {pods} Pods of 9 KB, {generated} changes, and {tail} more behind the saved fold, of ten a create, eight \
         updates with `before`, a delete; kill -9, {AWAY_SECONDS} s away, and then {RATE} changes a second go on. A day has {:.0} \
         times as many changes as this log. The files stand in the page cache.",
        DAY / generated as f64
    ));
}

/// MiB of the files below.
fn size(dir: &Path) -> f64 {
    let mut bytes = 0;
    let mut dirs = vec![dir.to_owned()];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
            match entry.metadata() {
                Ok(of) if of.is_dir() => dirs.push(entry.path()),
                Ok(of) => bytes += of.len(),
                Err(_) => {}
            }
        }
    }
    bytes as f64 / f64::from(1 << 20)
}

/// The old versions, as the store would have them.
#[derive(Default)]
struct AtHand(HashMap<Name, (Rv, Bytes)>);

impl Before for AtHand {
    fn before(&self, at: &Name, _: &str, rv: &Rv) -> Option<Bytes> {
        self.0.get(at).filter(|(held, _)| held == rv).map(|(_, json)| json.clone())
    }
}

/// Writes what the first life would have written of that many changes.
fn generate(data_dir: &Path, pods: u64, changes: u64) {
    let log = EmbeddedLog::open(embedded::config(data_dir.join("log"))).expect("the log of the first life");
    let kind = || Kind::builtin("pods").expect("built in");
    let mut core = WatchCore::new(Config::default(), Redactor::new(kind(), Arc::new(Policy::default())), None);
    let position = Rv::new(&history::BEGINNING.to_string());
    let mut capture = Capture { position, synced: true, ..Capture::default() };
    let writer = Writer::new(kind(), history::TOPIC.into(), embedded::PARTITIONS, "bench", EPOCH_OF_FIRST_LIFE);
    let now_ms = jiff::Timestamp::now().as_millisecond();
    let env = |n: u64| Env {
        now: Duration::from_secs(1),
        wall_ms: now_ms - ((changes - n) as f64 / RATE * 1000.0) as i64,
        chance: 0.5,
    };
    core.tick(&capture, env(0));
    let request = core.actions().into_iter().find_map(|action| match action {
        Action::Send(request) => Some(request.id),
        Action::Close | Action::Listed => None,
    });
    let request = request.expect("a core that knows a position opens a watch");
    core.input(request, Input::Head { status: 200, retry_after: None }, env(0));
    let (mut history, mut at_hand) = (History::new(pods), AtHand::default());
    let records = (0..changes).flat_map(|n| {
        let mut line = history.line(n).into_bytes();
        line.push(b'\n');
        core.input(request, Input::Body(line.into()), env(n));
        let mut made: Vec<OutRecord> = Vec::new();
        while let Some(mut commit) = core.next(&capture, &writer, &at_hand, env(n)) {
            made.append(&mut commit.records);
            for version in commit.versions.drain(..) {
                let object = version.get();
                let at = Name { namespace: object.namespace.clone(), name: object.name.clone() };
                at_hand.0.insert(at, (object.rv.clone(), object.json.clone()));
            }
            capture.apply(commit);
        }
        core.notices();
        assert_eq!(made.len() as u64, history::records(n, pods), "change {n} is what it is");
        // Names never come back: what is deleted is not needed any more.
        if made.len() == 2 && at_hand.0.len() > 2 * pods as usize {
            at_hand.0.retain(|_, (rv, _)| history::changes_at(rv.as_str()) + 2 * pods > n);
        }
        made
    });
    embedded::append(&log, records);
    drop(history);
    remember(&log, changes);
}

/// What the first life would have remembered of it: all of it is captured, and told.
fn remember(log: &EmbeddedLog, changes: u64) {
    let (memory, ends) = life::memory(log);
    let topic: Arc<str> = life::CHECKPOINTS.into();
    let ahead = memory.checkpoints.into_values().filter_map(|mut checkpoint| {
        match checkpoint.owner.as_str() {
            "pods" => checkpoint.rv = Some((history::BEGINNING + changes).to_string()),
            "~stream-processor" => {
                checkpoint.positions.insert(history::TOPIC.to_owned(), (0..).zip(ends.iter().copied()).collect());
            }
            _ => return None,
        }
        Some(checkpoint.record(&topic, memory.writer_epoch, jiff::Timestamp::now().as_millisecond()))
    });
    embedded::append(log, ahead.collect::<Vec<_>>().into_iter());
}

/// How many changes the watcher has checkpointed.
fn position(data_dir: &Path) -> u64 {
    let log = EmbeddedLog::open(embedded::config(data_dir.join("log"))).expect("the log of the life before");
    let checkpoint = life::memory(&log).0.checkpoints.remove("pods");
    history::changes_at(&checkpoint.and_then(|c| c.rv).expect("it was captured"))
}
