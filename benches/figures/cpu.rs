//! What work costs, as the kernel counts it.

use rustix::time::{ClockId, clock_gettime};
use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// CPU time of this thread: other load on the machine slows it through caches only.
pub fn thread() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// Wall time since any fixed point.
pub fn wall() -> Duration {
    clock(ClockId::Monotonic)
}

/// CPU time of another process (utime + stime of `/proc/PID/stat`), in steps of 10 ms; `None` once it is gone.
pub fn of_process(pid: u32) -> Option<Duration> {
    of_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

fn of_stat(stat: &str) -> Option<Duration> {
    // The name in parentheses may hold anything; what follows the last one are numbers.
    let mut rest = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(11);
    let ticks: u64 = rest.next()?.parse::<u64>().ok()? + rest.next()?.parse::<u64>().ok()?;
    // USER_HZ is 100 on every Linux that Rust runs on.
    Some(Duration::from_millis(ticks * 10))
}

/// CPU time of the threads of a process by their names; threads that have ended are not among them.
pub type Threads = BTreeMap<String, Duration>;

/// What each thread has spent so far.
pub fn of_threads(pid: u32) -> Threads {
    let mut spent = Threads::new();
    for task in fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten() {
        let name = fs::read_to_string(task.path().join("comm")).unwrap_or_default();
        let stat = fs::read_to_string(task.path().join("stat")).unwrap_or_default();
        *spent.entry(name.trim().to_owned()).or_default() += of_stat(&stat).unwrap_or_default();
    }
    spent
}

/// Which threads spent how much of the time between two looks, in words.
pub fn shares(before: &Threads, after: &Threads) -> String {
    let spent = |(name, after): (&String, &Duration)| {
        (name.clone(), after.saturating_sub(before.get(name).copied().unwrap_or_default()).as_secs_f64())
    };
    let mut spent: Vec<(String, f64)> = after.iter().map(spent).collect();
    spent.sort_by(|a, b| b.1.total_cmp(&a.1));
    let all: f64 = spent.iter().map(|(_, seconds)| seconds).sum();
    let share = |(name, seconds): &(String, f64)| format!("{name} {:.0} %", seconds / all * 100.0);
    spent.iter().filter(|(_, seconds)| seconds / all >= 0.01).map(share).collect::<Vec<_>>().join(", ")
}

/// Resident memory of a process now and at its peak, in MiB.
pub fn memory(pid: u32) -> Option<(f64, f64)> {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let kib = |name: &str| {
        let line = status.lines().find(|line| line.starts_with(name))?;
        line.split_ascii_whitespace().nth(1)?.parse::<f64>().ok()
    };
    Some((kib("VmRSS:")? / 1024.0, kib("VmHWM:")? / 1024.0))
}

/// The middle of several measurements.
pub fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
