//! The figures of agent-events, each with its baseline measured in the same run.
//!
//! `cargo bench --bench figures [-- [--quick] [--write] [decode] [ack] [cluster]]`
//!
//! | section | ours | baseline |
//! |---|---|---|
//! | decode | watch line → redacted record, CPU of one thread | kube's typed decode and re-encode of the same lines |
//!
//! Absolute figures drift with the machine and with what else runs on it; the ratios are what counts. Each side runs
//! several times, in turns, and the middle one is reported.

// A benchmark speaks to a person on a terminal, and reads clocks.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod cpu;
mod decode;
mod pods;
mod report;

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
    /// Writes the figures into docs/PERFORMANCE.md.
    #[arg(long)]
    write: bool,
    /// Cargo says so; nothing hangs on it.
    #[arg(long, hide = true)]
    bench: bool,
}

/// How much of everything.
#[derive(Debug, Clone, Copy)]
pub struct Scale {
    /// Pods in the decoding section.
    pub pods: u64,
    /// Rounds, of which the middle one counts.
    pub rounds: usize,
}

const SECTIONS: &[(&str, fn(&mut Report, Scale))] = &[("decode", decode::run)];

fn main() {
    let arguments = Arguments::parse();
    let scale = if arguments.quick { Scale { pods: 300, rounds: 3 } } else { Scale { pods: 2000, rounds: 7 } };
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
    let written = report.write_json(&json).and_then(|()| if arguments.write { report.write_page(&page) } else { Ok(()) });
    match written {
        Ok(()) => println!("also in {}", json.display()),
        Err(e) => {
            eprintln!("the figures could not be written: {e}");
            std::process::exit(1);
        }
    }
}
