//! The figures of one run: a table for people, ratios first, and JSON for programs.

use serde::Serialize;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// What DESIGN §12 asks of a figure.
#[derive(Debug, Clone, Copy, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Goal {
    /// No more than that.
    AtMost(f64),
    /// No less than that.
    AtLeast(f64),
}

impl Goal {
    fn met(self, value: f64) -> bool {
        match self {
            Self::AtMost(most) => value <= most,
            Self::AtLeast(least) => value >= least,
        }
    }

    fn show(self) -> String {
        match self {
            Self::AtMost(most) => format!("≤ {most}"),
            Self::AtLeast(least) => format!("≥ {least}"),
        }
    }
}

/// Ours against a baseline of the same run.
#[derive(Debug, Serialize)]
pub struct Ratio {
    section: &'static str,
    what: String,
    ours: f64,
    baseline: f64,
    unit: &'static str,
    against: &'static str,
    ratio: f64,
    goal: Option<Goal>,
    met: Option<bool>,
}

/// A figure without a baseline.
#[derive(Debug, Serialize)]
pub struct Value {
    section: &'static str,
    what: String,
    value: f64,
    unit: &'static str,
    goal: Option<Goal>,
    met: Option<bool>,
}

/// Where and how it was measured.
#[derive(Debug, Default, Serialize)]
pub struct Machine {
    date: String,
    command: String,
    cpu: String,
    cores: usize,
    load: String,
    build: &'static str,
}

/// Everything that one run found.
#[derive(Debug, Default, Serialize)]
pub struct Report {
    machine: Machine,
    ratios: Vec<Ratio>,
    values: Vec<Value>,
    notes: Vec<String>,
}

impl Report {
    /// An empty report that remembers the state of the machine before the run.
    pub fn begin() -> Self {
        let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
        let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
        let arguments: Vec<String> = std::env::args().skip(1).filter(|a| a != "--bench").collect();
        let command = format!("cargo bench --bench figures -- {}", arguments.join(" "));
        let machine = Machine {
            date: jiff::Timestamp::now().strftime("%Y-%m-%d %H:%M UTC").to_string(),
            command: command.trim_end_matches([' ', '-']).to_owned(),
            cpu: model.map_or_else(|| "unknown".to_owned(), |(_, name)| name.to_owned()),
            cores: std::thread::available_parallelism().map_or(0, usize::from),
            load: load.split_ascii_whitespace().take(3).collect::<Vec<_>>().join(" "),
            build: if cfg!(debug_assertions) { "debug: the figures mean nothing" } else { "release" },
        };
        Self { machine, ..Self::default() }
    }

    /// Ours against a baseline; the ratio is ours / baseline.
    pub fn ratio(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        (ours, baseline, unit): (f64, f64, &'static str),
        against: &'static str,
        goal: Option<Goal>,
    ) {
        let ratio = ours / baseline;
        let met = goal.map(|goal| goal.met(ratio));
        self.ratios.push(Ratio { section, what: what.into(), ours, baseline, unit, against, ratio, goal, met });
    }

    /// A figure without a baseline.
    pub fn value(
        &mut self,
        section: &'static str,
        what: impl Into<String>,
        value: f64,
        unit: &'static str,
        goal: Option<Goal>,
    ) {
        let met = goal.map(|goal| goal.met(value));
        self.values.push(Value { section, what: what.into(), value, unit, goal, met });
    }

    /// A sentence about how to read the figures.
    pub fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// The goals that were missed, one sentence each.
    pub fn missed(&self) -> Vec<String> {
        let ratios = self.ratios.iter().filter(|r| r.met == Some(false)).map(|r| {
            let goal = r.goal.map(Goal::show).unwrap_or_default();
            format!("{}: {:.2} of {}, the goal is {goal}", r.what, r.ratio, r.against)
        });
        let values = self.values.iter().filter(|v| v.met == Some(false)).map(|v| {
            let goal = v.goal.map(Goal::show).unwrap_or_default();
            format!("{}: {} {}, the goal is {goal}", v.what, number(v.value), v.unit)
        });
        ratios.chain(values).collect()
    }

    /// The tables as Markdown, which reads well on a terminal too.
    pub fn tables(&self) -> String {
        let mut ratios = vec![row(["section", "what", "ratio", "goal", "ours", "baseline", "unit", "against"])];
        for r in &self.ratios {
            let (goal, ratio) = (mark(r.goal, r.met), format!("{:.2}", r.ratio));
            let (ours, baseline) = (number(r.ours), number(r.baseline));
            ratios.push(row([r.section, &r.what, &ratio, &goal, &ours, &baseline, r.unit, r.against]));
        }
        let mut values = vec![row(["section", "what", "value", "unit", "goal"])];
        for v in &self.values {
            values.push(row([v.section, &v.what, &number(v.value), v.unit, &mark(v.goal, v.met)]));
        }
        let mut text = String::new();
        for table in [ratios, values] {
            if table.len() > 1 {
                text.push_str(&aligned(&table));
                text.push('\n');
            }
        }
        for note in &self.notes {
            writeln!(text, "- {note}").unwrap_or_default();
        }
        text
    }

    /// What machine, when, and by which command.
    pub fn header(&self) -> String {
        let m = &self.machine;
        format!(
            "- Machine: {}, {} cores; load before the run {} (1, 5, 15 min)\n- Date: {}\n- Build: {}\n- Command: `{}`\n",
            m.cpu, m.cores, m.load, m.date, m.build, m.command
        )
    }

    /// Writes the JSON.
    pub fn write_json(&self, path: &Path) -> std::io::Result<()> {
        let text = serde_json::to_string_pretty(self).map_err(std::io::Error::other)?;
        fs::write(path, text + "\n")
    }

    /// Rewrites what stands between the markers of a page; the sentences around them are written by people.
    pub fn write_page(&self, path: &Path) -> std::io::Result<()> {
        const BEGIN: &str = "<!-- figures: begin -->";
        const END: &str = "<!-- figures: end -->";
        let page = fs::read_to_string(path)?;
        let (Some(begin), Some(end)) = (page.find(BEGIN), page.find(END)) else {
            return Err(std::io::Error::other(format!("{} has lost its markers {BEGIN} and {END}", path.display())));
        };
        let mut missed = String::new();
        for sentence in self.missed() {
            writeln!(missed, "- **missed** {sentence}").unwrap_or_default();
        }
        let missed = if missed.is_empty() { "Every goal that has a figure here was met.\n".to_owned() } else { missed };
        let figures = format!("{BEGIN}\n\n{}\n{}\n{missed}\n", self.header(), self.tables());
        fs::write(path, format!("{}{figures}{}", &page[..begin], &page[end..]))
    }
}

fn mark(goal: Option<Goal>, met: Option<bool>) -> String {
    match (goal, met) {
        (Some(goal), Some(true)) => format!("{}, met", goal.show()),
        (Some(goal), _) => format!("{}, MISSED", goal.show()),
        _ => String::new(),
    }
}

/// Three digits that count.
fn number(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        _ => format!("{value:.2}"),
    }
}

fn row<const N: usize>(cells: [&str; N]) -> Vec<String> {
    cells.map(str::to_owned).to_vec()
}

fn aligned(rows: &[Vec<String>]) -> String {
    let columns = rows[0].len();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..columns).map(width).collect();
    let mut text = String::new();
    for (number, row) in rows.iter().enumerate() {
        for (cell, width) in row.iter().zip(&widths) {
            write!(text, "| {cell:width$} ").unwrap_or_default();
        }
        text.push_str("|\n");
        if number == 0 {
            for width in &widths {
                write!(text, "|{}", "-".repeat(width + 2)).unwrap_or_default();
            }
            text.push_str("|\n");
        }
    }
    text
}
