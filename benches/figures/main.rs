//! The figures of agent-events, each with its baseline measured in the same run.
//!
//! `cargo bench --bench figures [-- [--quick] [--write] [SECTION..]]`
//!
//! | section | ours | baseline |
//! |---|---|---|
//! | decode | watch line → redacted record, CPU of one thread | kube's typed decode and re-encode of the same lines |
//! | ack | watch bytes → ack of a real Kafka, the whole product | a bare librdkafka producer with the same bytes |
//! | idle, events, first-list | the release binary on a real API server and Kafka | a bare reader of the same API server |
//! | embedded | the embedded log: append, fold, compaction | a plain file with the same bytes and fsyncs |
//! | fold | the store: saved fold and its tail | the whole log |
//! | restart | the whole product after `kill -9`, with an hour of history in the embedded log | without the saved fold; a bare reader |
//!
//! Absolute figures drift with the machine and with what else runs on it; the ratios are what counts. Each side runs
//! several times, in turns, and the middle one is reported.

// A benchmark speaks to a person on a terminal, and reads clocks.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod ack;
mod broker;
mod cluster;
mod cpu;
mod decode;
mod embedded;
mod floor;
mod fold;
mod history;
mod life;
mod pipeline;
mod pods;
mod product;
mod raw;
mod report;
mod restart;
mod roles;

use clap::Parser;
use report::Report;
use std::path::Path;

#[derive(Parser)]
struct Arguments {
    /// Sections to run; all of them if none is named.
    sections: Vec<String>,
    /// Fewer objects and rounds: to see that it works, not to be quoted.
    #[arg(long)]
    quick: bool,
    /// Changes in the history of section `restart`: an hour has 1080000, a day 25920000 (some 24 times the time and the room on
    /// the disk).
    #[arg(long)]
    changes: Option<u64>,
    /// Rounds of section `restart`.
    #[arg(long)]
    rounds: Option<usize>,
    /// Writes the figures into docs/PERFORMANCE.md.
    #[arg(long)]
    write: bool,
    /// One side of a comparison, started by the benchmark itself.
    #[arg(long, hide = true, requires = "task")]
    role: Option<String>,
    /// What the role is to do, as JSON.
    #[arg(long, hide = true)]
    task: Option<String>,
    /// Cargo says so; nothing hangs on it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Pods in the decoding section.
    pub pods: u64,
    /// Rounds of it, of which the middle one counts.
    pub rounds: usize,
    /// Events from the watch to the ack.
    pub ack_events: u64,
    /// Pods from the watch to the ack.
    pub ack_pods: u64,
    /// Rounds of both.
    pub ack_rounds: usize,
    /// Events in a burst on a real API server.
    pub burst: u64,
    /// Events that wait for a reader.
    pub backlog: u64,
    /// Pods that are there at the start.
    pub listed: u64,
    /// Rounds of their list.
    pub list_rounds: usize,
    /// Records in the embedded log.
    pub log_records: u64,
    /// Rounds of its appends.
    pub log_rounds: usize,
    /// Changes in the history behind a restart.
    pub restart_changes: u64,
    /// Those of them that the saved fold does not know.
    pub restart_tail: u64,
    /// Pods of that cluster.
    pub restart_pods: u64,
    /// Restarts of each kind, of which the better one counts.
    pub restart_rounds: usize,
}

const FULL: Scale = Scale {
    pods: 2000,
    rounds: 7,
    ack_events: 50_000,
    ack_pods: 15_000,
    ack_rounds: 3,
    burst: 10_000,
    backlog: 20_000,
    listed: 20_000,
    list_rounds: 2,
    log_records: 100_000,
    log_rounds: 3,
    restart_changes: 1_080_000,
    restart_tail: 90_000,
    restart_pods: 20_000,
    restart_rounds: 2,
};
const QUICK: Scale = Scale {
    pods: 300,
    rounds: 3,
    ack_events: 5_000,
    ack_pods: 1_000,
    ack_rounds: 1,
    burst: 1_000,
    backlog: 2_000,
    listed: 2_000,
    list_rounds: 2,
    log_records: 10_000,
    log_rounds: 1,
    restart_changes: 30_000,
    restart_tail: 3_000,
    restart_pods: 1_000,
    restart_rounds: 1,
};

type Section = fn(&mut Report, Scale);

const SECTIONS: &[(&str, Section)] = &[
    ("decode", decode::run),
    ("ack", ack::run),
    ("idle", cluster::idle),
    ("events", cluster::events),
    ("first-list", cluster::first_list),
    ("embedded", embedded::run),
    ("fold", fold::run),
    ("restart", restart::run),
];

fn main() {
    let arguments = Arguments::parse();
    if let (Some(role), Some(task)) = (&arguments.role, &arguments.task) {
        return match role.as_str() {
            "pipeline" => pipeline::play(&roles::task(task)),
            "raw" => raw::play(&roles::task(task)),
            "floor" => floor::play(roles::task(task)),
            "life" => life::play(roles::task(task)),
            "bare" => life::read_bare(&roles::task(task)),
            other => panic!("there is no role {other}"),
        };
    }
    let mut scale = if arguments.quick { QUICK } else { FULL };
    scale.restart_rounds = arguments.rounds.unwrap_or(scale.restart_rounds);
    scale.restart_changes = arguments.changes.unwrap_or(scale.restart_changes);
    for wanted in &arguments.sections {
        if !SECTIONS.iter().any(|(name, _)| name == wanted) {
            let names: Vec<&str> = SECTIONS.iter().map(|(name, _)| *name).collect();
            eprintln!("no section {wanted}: there are {}", names.join(", "));
            std::process::exit(2);
        }
    }
    let mut report = Report::begin();
    for (name, run) in SECTIONS {
        if arguments.sections.is_empty() || arguments.sections.iter().any(|wanted| wanted == name) {
            run(&mut report, scale);
        }
    }
    println!("{}\n{}", report.header(), report.tables());
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let json = root.join("target/figures.json");
    let page = root.join("docs/PERFORMANCE.md");
    let written =
        report.write_json(&json).and_then(|()| if arguments.write { report.write_page(&page) } else { Ok(()) });
    match written {
        Ok(()) => println!("also in {}", json.display()),
        Err(e) => {
            eprintln!("the figures could not be written: {e}");
            std::process::exit(1);
        }
    }
}
