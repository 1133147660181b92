//! What only files can show: damage, kill -9, a full disk, two owners, compaction, opening again.

pub mod compaction;
pub mod damage;
pub mod full;
pub mod killed;
pub mod owner;

use crate::engines::{Bench, Engine};
use crate::kit::*;
use libtest_mimic::Failed;
use std::path::{Path, PathBuf};

/// A file of the log whose name begins so; the last one in the order of names.
fn file(dir: &Path, begin: &str) -> Result<PathBuf, Failed> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let path = entry?.path();
        if path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(begin)) {
            found.push(path);
        }
    }
    Ok(found.into_iter().max().ok_or_else(|| format!("no {begin} in {}", dir.display()))?)
}

/// The same files elsewhere.
fn copy_of(dir: &Path) -> Result<tempfile::TempDir, Failed> {
    let copy = tempfile::tempdir()?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        std::fs::copy(entry.path(), copy.path().join(entry.file_name()))?;
    }
    Ok(copy)
}

/// The directory of a log that runs. A copy of it is what a kill at this moment would leave.
fn dir(bench: &Bench) -> Result<&Path, Failed> {
    match &bench.engine {
        Engine::Embedded { dir, .. } => Ok(dir.path()),
        _ => Err("only for the embedded log".into()),
    }
}

pub async fn what_was_written_is_there_after_opening_again(bench: Bench) -> Checked {
    let topic = bench.topic(3, &[("cleanup.policy", "compact,delete")]).await?;
    let numbered = |n: usize| record(&topic, (n % 3) as i32, &n.to_string(), Some(incompressible(n)));
    write(&bench, (0..300).map(numbered).collect()).await?;
    let described = bench.log.describe(&[topic.to_string()]).await?;
    let before = bench.log.read_all(&topic).await?;
    let mut dir = bench.close()?;
    // First from the journal, then sorted into a segment, then from both.
    for round in 0..3_i64 {
        let again = Bench::embedded_in(dir)?;
        check_eq(again.log.describe(&[topic.to_string()]).await?, described.clone(), "the topic is as it was")?;
        let read = again.log.read_all(&topic).await?;
        check(read.iter().filter(|r| r.offset < 100).eq(&before), "so are its records")?;
        check_eq(again.log.offsets(&topic).await?[0], (0, 100 + round), "and its bounds")?;
        write(&again, vec![numbered(0)]).await?;
        if round == 0 {
            again.files()?.compact(SOME_TIME - 1)?;
        }
        dir = again.close()?;
    }
    Ok(())
}
