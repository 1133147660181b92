//! From the bytes of a watch to the ack of a real Kafka, everything on, against a bare producer with the same bytes.

use crate::broker::Broker;
use crate::pipeline::{self, Load};
use crate::report::{Goal, Report};
use crate::roles::Role;
use crate::{Scale, cpu, raw};
use std::time::Duration;

const SECTION: &str = "ack";
const RAW: &str = "raw librdkafka loop, same bytes and settings";

/// What one act took.
#[derive(Debug, Clone, Copy)]
struct Took {
    per_second: f64,
    cpu_micros: f64,
}

#[derive(Debug, Default)]
struct Sides {
    ours: Vec<Took>,
    raw: Vec<Took>,
    record_bytes: f64,
}

impl Sides {
    fn medians(of: &[Took]) -> Took {
        Took {
            per_second: cpu::median(of.iter().map(|t| t.per_second).collect()),
            cpu_micros: cpu::median(of.iter().map(|t| t.cpu_micros).collect()),
        }
    }
}

struct Rounds {
    acts: Vec<Sides>,
    /// Of the last round.
    threads: String,
}

/// Runs the section.
pub fn run(report: &mut Report, scale: Scale) {
    let broker = Broker::start();
    for (load, count, names) in [
        (Load::Events, scale.ack_events, &[("Event of 1.3 KB", 0.7)][..]),
        (Load::Pods, scale.ack_pods, &[("Pod of 9 KB created", 0.8), ("Pod of 9 KB updated", 0.8)][..]),
    ] {
        let rounds = measure(&broker, load, count, names.len(), scale.ack_rounds);
        for ((name, goal), sides) in names.iter().zip(&rounds.acts) {
            let (ours, raw) = (Sides::medians(&sides.ours), Sides::medians(&sides.raw));
            let throughput = (ours.per_second, raw.per_second, "1/s");
            let goal = Some(Goal::AtLeast(*goal));
            report.ratio(SECTION, format!("{name}: watch bytes → ack, throughput"), throughput, RAW, goal);
            let cpu = (ours.cpu_micros, raw.cpu_micros, "µs");
            report.ratio(SECTION, format!("{name}: CPU of the process, everything on"), cpu, RAW, None);
        }
        let what = load.kind();
        report.note(format!("ack, {what}: CPU by thread: {}", rounds.threads));
        for ((name, _), sides) in names.iter().zip(&rounds.acts) {
            report.value(SECTION, format!("{name}: record"), sides.record_bytes, "bytes", None);
        }
    }
    report.note("ack: the raw loop sends only the objects' records; the product also writes event-stream and checkpoints, reads everything back, folds it and keeps it.");
}

fn measure(broker: &Broker, load: Load, count: u64, acts: usize, rounds: usize) -> Rounds {
    let mut all = Rounds { acts: (0..acts).map(|_| Sides::default()).collect(), threads: String::new() };
    for round in 0..rounds {
        let prefix = format!("{}-{round}.", load.kind());
        let topic = format!("{prefix}k8s-{}", load.kind());
        let task = pipeline::Task { bootstrap: broker.bootstrap(), prefix: prefix.clone(), load, count };
        let mut ours = Role::start("pipeline", &task);
        ours.expect("ready");
        let threads = ours.threads();
        for sides in &mut all.acts {
            let goal = broker.written(&topic) + count as i64;
            let (cpu, wall) = (ours.cpu(), cpu::wall());
            ours.say("go");
            ours.expect("going");
            broker.await_written(&topic, goal);
            let wall = cpu::wall().saturating_sub(wall);
            broker.await_told(&prefix, &topic);
            sides.ours.push(took(ours.cpu().saturating_sub(cpu), wall, count));
        }
        all.threads = cpu::shares(&threads, &ours.threads());
        drop(ours);

        let to = format!("{prefix}raw");
        broker.create_like(&to, &topic);
        let heads = |ops: &[&str]| ops.iter().map(|op| format!("{{\"op\":\"{op}\"")).collect::<Vec<_>>();
        // Where the old version was not at hand in time, an update is an `r`.
        let acts = vec![heads(&["c"]), heads(&["u", "r"])];
        let task = raw::Task { bootstrap: broker.bootstrap(), from: topic, acts, to: to.clone() };
        let mut raw = Role::start("raw", &task);
        let counts = raw.expect("ready");
        for (sides, found) in all.acts.iter_mut().zip(counts.split(' ')) {
            let (records, bytes) = found.split_once('/').expect("a count and its bytes");
            assert_eq!(records, count.to_string(), "every line is a record");
            sides.record_bytes = bytes.parse::<f64>().unwrap_or_default() / count as f64;
            let goal = broker.written(&to) + count as i64;
            let (cpu, wall) = (raw.cpu(), cpu::wall());
            raw.say("go");
            broker.await_written(&to, goal);
            let wall = cpu::wall().saturating_sub(wall);
            raw.expect("done");
            sides.raw.push(took(raw.cpu().saturating_sub(cpu), wall, count));
        }
    }
    all
}

fn took(cpu: Duration, wall: Duration, count: u64) -> Took {
    Took { per_second: count as f64 / wall.as_secs_f64(), cpu_micros: cpu.as_secs_f64() * 1e6 / count as f64 }
}
