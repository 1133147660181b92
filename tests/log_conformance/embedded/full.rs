//! A full disk: a small file system of its own, which needs the right to mount one.

use crate::Test;
use crate::engines::{self, Bench, Tuning, open_embedded};
use crate::kit::*;
use agent_events::domain::ack::Outcome;
use agent_events::log::{Log, LogError};
use libtest_mimic::{Failed, Trial};
use std::path::Path;
use std::process::Command;
use testbed::{must_not_skip, wait_until};

/// A file system in memory that is gone with this.
struct Small(tempfile::TempDir);

impl Small {
    fn mount(mib: u32) -> Result<Self, String> {
        let dir = tempfile::tempdir().map_err(|e| e.to_string())?;
        let size = format!("size={mib}m");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(dir.path()).output();
        match mounted {
            Ok(output) if output.status.success() => Ok(Self(dir)),
            Ok(output) => Err(String::from_utf8_lossy(&output.stderr).trim().to_owned()),
            Err(error) => Err(format!("mount: {error}")),
        }
    }

    fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // Lazily: a thread that failed may still have a file open.
        drop(Command::new("umount").arg("-l").arg(self.0.path()).status());
    }
}

/// A trial, or its counted and loud absence.
pub fn trial(name: &'static str, test: Test) -> Trial {
    let name = format!("embedded::{name}");
    match Small::mount(1) {
        Ok(_) => Trial::test(name, move || engines::run(test, Bench::embedded)),
        Err(why) if must_not_skip() => {
            Trial::test(name, move || Err(format!("no small file system can be mounted: {why} (and CI=true)").into()))
        }
        Err(why) => {
            eprintln!("SKIPPED {name}: no small file system can be mounted: {why}");
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
    }
}

pub async fn a_full_disk_loses_nothing_that_was_acked_and_is_left_behind_once_there_is_room(bench: Bench) -> Checked {
    let spec = bench.spec("t", 2, &[("cleanup.policy", "compact")]);
    drop(bench);
    let disk = Small::mount(24)?;
    let dir = disk.path().join("log");
    let log = open_embedded(&dir, &Tuning::default())?;
    log.create(&spec).await?;
    let topic = spec.name.as_str().into();
    let ballast = disk.path().join("ballast");
    let of = |n: u64| record(&topic, (n % 2) as i32, &n.to_string(), Some(incompressible(9000)));
    let mut acked = Vec::new();
    let mut next = 0;
    for round in 0..3 {
        // Eight megabytes are left, and in the last round the journals and segments themselves fill the disk.
        if round < 2 {
            let used: u64 = acked.len() as u64 * 9100;
            std::fs::write(&ballast, vec![0; usize::try_from((16_u64 << 20).saturating_sub(used))?])?;
        }
        let (producer, acks) = (writable(&log)?, Acks::new());
        let begun = next;
        while producer.fatal().is_none() {
            check(next - begun < 100_000, "a small disk is full some time")?;
            match producer.send(of(next), acks.token(next)) {
                Ok(()) => next += 1,
                Err((_, _, token)) => {
                    token.settle(Outcome::Dropped);
                    next += 1;
                    producer.flush(LONG);
                }
            }
        }
        check(producer.flush(LONG), "everything is settled")?;
        let why = producer.fatal().unwrap_or_default();
        check(why.contains("the disk is full") && why.contains(&dir.display().to_string()), &why)?;
        if let Err(error) = log.producer() {
            check(matches!(&error, LogError::Unreachable(..)), &error.to_string())?;
        }
        let outcomes = acks.settled(usize::try_from(next - begun)?).await?;
        for (n, outcome) in (begun..).zip(outcomes) {
            match outcome {
                Outcome::Acked { partition, offset } => acked.push((partition, offset, n)),
                Outcome::Dropped => {}
                Outcome::Failed(why) => return Err(format!("no record is to blame for a full disk: {why}").into()),
            }
        }
        check_acked(&log, &topic, &acked).await?;
        if ballast.exists() {
            std::fs::remove_file(&ballast)?;
        }
    }
    drop(log);
    // Nothing needs room to be opened; and with everything but the newest removed there is room again.
    let log = open_embedded(&dir, &Tuning::default());
    match log {
        Ok(log) => check_acked(&log, &topic, &acked).await,
        Err(error) => check(error.to_string().contains("the disk is full"), &error.to_string()),
    }
}

/// The log mends itself within a second or so after there is room.
fn writable(log: &impl Log) -> Result<std::sync::Arc<dyn agent_events::log::Producer>, Failed> {
    wait_until(LONG, || Ok::<_, Failed>(log.producer().ok()))?.ok_or_else(|| "there is room again".into())
}

async fn check_acked(log: &impl Log, topic: &std::sync::Arc<str>, acked: &[(i32, i64, u64)]) -> Checked {
    let mut there: Vec<_> = log.read_all(topic).await?.iter().map(|r| (r.partition, r.offset, key(r))).collect();
    there.sort_unstable();
    for (partition, offset, n) in acked {
        let found = there.binary_search(&(*partition, *offset, n.to_string())).is_ok();
        check(found, &format!("{n} was acknowledged at {partition}/{offset}"))?;
    }
    check(acked.len() > 100, &format!("only {} were acknowledged", acked.len()))
}
