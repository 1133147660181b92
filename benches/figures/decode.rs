//! CPU of one thread from the bytes of a watch to redacted records, against kube's typed decode and re-encode.

use crate::report::{Goal, Report};
use crate::{Scale, cpu, pods};
use agent_events::domain::envelope::Writer;
use agent_events::domain::index::{Before, Name};
use agent_events::domain::kind::Kind;
use agent_events::domain::redact::{Policy, Redactor};
use agent_events::domain::rv::Rv;
use agent_events::domain::watch::line::read_line;
use agent_events::domain::watch::{Action, Capture, Config, Env, Input, WatchCore};
use bytes::Bytes;
use k8s_openapi::api::core::v1::Pod;
use kube::core::WatchEvent;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::value::RawValue;
use std::collections::HashMap;
use std::hint::black_box;
use std::sync::Arc;
use std::time::Duration;

const SECTION: &str = "decode";
/// What one TLS record holds, and so what hyper hands over at a time on a busy watch.
const CHUNK: usize = 16 << 10;
/// When the records say they were seen.
const WALL_MS: i64 = 1_785_000_000_000;

/// The lines of a watch over the same pods: all created, then all modified.
struct Lines {
    created: Vec<String>,
    modified: Vec<String>,
}

impl Lines {
    fn generate(pods: u64) -> Self {
        let line = |kind: &str, object: String| format!("{{\"type\":\"{kind}\",\"object\":{object}}}");
        Self {
            created: (0..pods).map(|i| line("ADDED", pods::stored(i, 1000 + i, 0))).collect(),
            modified: (0..pods).map(|i| line("MODIFIED", pods::stored(i, 1000 + pods + i, 1))).collect(),
        }
    }
}

fn chunks(lines: &[String]) -> Vec<Bytes> {
    let body =
        Bytes::from(lines.iter().flat_map(|line| [line.as_bytes(), b"\n"]).flatten().copied().collect::<Vec<u8>>());
    (0..body.len()).step_by(CHUNK).map(|at| body.slice(at..body.len().min(at + CHUNK))).collect()
}

/// The old versions, as the store or the overlay would have them.
#[derive(Default)]
struct AtHand(HashMap<Name, (Rv, Bytes)>);

impl Before for AtHand {
    fn before(&self, at: &Name, _: &str, rv: &Rv) -> Option<Bytes> {
        self.0.get(at).filter(|(held, _)| held == rv).map(|(_, json)| json.clone())
    }
}

fn redactor() -> Redactor {
    Redactor::new(Kind::builtin("pods").expect("pods are built in"), Arc::new(Policy::default()))
}

fn writer() -> Writer {
    Writer::new(Kind::builtin("pods").expect("pods are built in"), "k8s-pods".into(), 12, "bench", 1)
}

/// One life of a watch: first all creates, then all updates with their old versions at hand.
struct Watch {
    core: WatchCore,
    capture: Capture,
    at_hand: AtHand,
    writer: Writer,
    request: u64,
    env: Env,
}

impl Watch {
    fn open() -> Self {
        let env = Env { now: Duration::from_secs(1), wall_ms: WALL_MS, chance: 0.5 };
        let mut core = WatchCore::new(Config::default(), redactor(), None);
        let capture = Capture { position: Rv::new("1"), synced: true, ..Capture::default() };
        core.tick(&capture, env);
        let request = core.actions().into_iter().find_map(|action| match action {
            Action::Send(request) => Some(request.id),
            Action::Close | Action::Listed => None,
        });
        let request = request.expect("a core that knows a position opens a watch");
        core.input(request, Input::Head { status: 200, retry_after: None }, env);
        Self { core, capture, at_hand: AtHand::default(), writer: writer(), request, env }
    }

    /// Digests the chunks and gives the CPU it took; `keep` collects the new versions off the clock.
    fn digest(&mut self, chunks: &[Bytes], keep: bool) -> (Duration, usize, usize) {
        let (mut spent, mut records, mut bytes) = (Duration::ZERO, 0, 0);
        let mut versions = Vec::new();
        for chunk in chunks {
            let began = cpu::thread();
            self.core.input(self.request, Input::Body(chunk.clone()), self.env);
            while let Some(mut commit) = self.core.next(&self.capture, &self.writer, &self.at_hand, self.env) {
                records += commit.records.len();
                bytes += commit.records.iter().map(|record| record.size()).sum::<usize>();
                black_box(&commit.records);
                versions.append(&mut commit.versions);
                self.capture.apply(commit);
            }
            self.core.notices();
            spent += cpu::thread().saturating_sub(began);
            for version in versions.drain(..).filter(|_| keep) {
                let object = version.get();
                let at = Name { namespace: object.namespace.clone(), name: object.name.clone() };
                self.at_hand.0.insert(at, (object.rv.clone(), object.json.clone()));
            }
        }
        (spent, records, bytes)
    }
}

/// kube's way: decode the line into types, clear managedFields, encode again.
fn typed(lines: &[String]) -> Duration {
    let began = cpu::thread();
    for line in lines {
        let event: WatchEvent<Pod> = serde_json::from_str(line).expect("a generated line is a watch event of a Pod");
        if let WatchEvent::Added(mut pod) | WatchEvent::Modified(mut pod) = event {
            pod.metadata.managed_fields = None;
            black_box(serde_json::to_vec(&pod).expect("a Pod can be written"));
        }
    }
    cpu::thread().saturating_sub(began)
}

fn each(lines: &[String], mut step: impl FnMut(&str)) -> Duration {
    let began = cpu::thread();
    for line in lines {
        step(line);
    }
    cpu::thread().saturating_sub(began)
}

#[derive(Deserialize)]
struct RawLine<'a> {
    #[serde(borrow, rename = "type")]
    kind: &'a str,
    #[serde(borrow)]
    object: &'a RawValue,
}

/// One step over all lines; gives the CPU it took.
type Step = fn(&[String]) -> Duration;

/// What the steps cost alone, to see where the time goes. Not a baseline: no product could stop there.
const STEPS: &[(&str, Step)] = &[
    ("step: UTF-8 check of the line", |lines| {
        each(lines, |line| {
            black_box(std::str::from_utf8(black_box(line.as_bytes())).is_ok());
        })
    }),
    ("step: serde_json skips the line", |lines| {
        each(lines, |line| {
            black_box(serde_json::from_str::<IgnoredAny>(line).is_ok());
        })
    }),
    ("step: {type, &RawValue} of the line", |lines| {
        each(lines, |line| {
            black_box(serde_json::from_str::<RawLine<'_>>(line).map(|l| (l.kind.len(), l.object.get().len())).is_ok());
        })
    }),
    ("step: read_line (decode and redact)", |lines| {
        let redactor = redactor();
        each(lines, |line| {
            black_box(read_line(&redactor, line).is_ok());
        })
    }),
];

/// Runs the section.
pub fn run(report: &mut Report, scale: Scale) {
    let lines = Lines::generate(scale.pods);
    let pods = scale.pods as f64;
    let micros = |spent: Duration| spent.as_secs_f64() * 1e6 / pods;
    let (created, modified) = (chunks(&lines.created), chunks(&lines.modified));
    let (mut creates, mut updates, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
    let mut steps = vec![Vec::new(); STEPS.len()];
    let mut sizes = (0, 0);
    for round in 0..=scale.rounds {
        let mut watch = Watch::open();
        let (create, made, create_bytes) = watch.digest(&created, true);
        let (update, changed, update_bytes) = watch.digest(&modified, true);
        assert_eq!((made as u64, changed as u64), (scale.pods, scale.pods), "every line is a record");
        sizes = (create_bytes, update_bytes);
        let typed = typed(&lines.created);
        let steps_now: Vec<Duration> = STEPS.iter().map(|(_, step)| step(&lines.created)).collect();
        // The first round warms caches and the allocator up.
        if round > 0 {
            creates.push(micros(create));
            updates.push(micros(update));
            baseline.push(micros(typed));
            steps.iter_mut().zip(steps_now).for_each(|(all, now)| all.push(micros(now)));
        }
    }
    let baseline = cpu::median(baseline);
    let against = "kube: WatchEvent<Pod>, clear managedFields, to_vec";
    let line_bytes = lines.created.iter().map(String::len).sum::<usize>() as f64 / pods;
    let (create, update) = (cpu::median(creates), cpu::median(updates));
    let half = Some(Goal::AtMost(0.5));
    report.ratio(SECTION, "Pod created: watch bytes → redacted record, CPU", (create, baseline, "µs"), against, half);
    report.ratio(SECTION, "Pod updated, with before: the same", (update, baseline, "µs"), against, half);
    report.value(SECTION, "Pod created, watch bytes → redacted record", create, "µs", Some(Goal::AtMost(20.0)));
    report.value(SECTION, "Pod updated, with before", update, "µs", Some(Goal::AtMost(20.0)));
    for ((name, _), all) in STEPS.iter().zip(steps) {
        report.value(SECTION, *name, cpu::median(all), "µs", None);
    }
    report.value(SECTION, "watch line", line_bytes, "bytes", None);
    report.value(SECTION, "record of a create", sizes.0 as f64 / pods, "bytes", None);
    report.value(SECTION, "record of an update", sizes.1 as f64 / pods, "bytes", None);
}
