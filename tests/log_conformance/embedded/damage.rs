//! What a disk may do to files: whatever is flipped, cut or missing, what was acknowledged is either read exactly as it was
//! written, or the log says what it misses. Only what was never acknowledged is dropped.

use super::{copy_of, dir, file};
use crate::engines::Bench;
use crate::kit::*;
use agent_events::domain::record::InRecord;
use agent_events::log::embedded::{EmbeddedConfig, EmbeddedLog, Sync};
use agent_events::log::{Log, LogError};
use bytes::Bytes;
use libtest_mimic::Failed;
use std::fs;
use std::path::Path;
use std::sync::{Arc, Mutex};

/// A log with a segment and a journal, of two partitions each; its topic, and what stands in it.
async fn written(bench: &Bench) -> Result<(Arc<str>, Vec<InRecord>), Failed> {
    let topic = bench.topic(2, &[]).await?;
    let of = |n: u64| record(&topic, (n % 2) as i32, &n.to_string(), Some(Bytes::from(format!("value {n}"))));
    write(bench, (0..8).map(of).collect()).await?;
    bench.files()?.compact(SOME_TIME)?;
    for n in 8..14 {
        write(bench, vec![of(n)]).await?;
    }
    Ok((topic.clone(), bench.log.read_all(&topic).await?))
}

/// Without fsyncs, for there are thousands of these.
fn open(dir: &Path) -> Result<EmbeddedLog, LogError> {
    let (queue_bytes, max_record_bytes) = (1 << 20, 1 << 20);
    EmbeddedLog::open(EmbeddedConfig { dir: dir.to_owned(), sync: Sync::Process, queue_bytes, max_record_bytes })
}

/// Everything is there, or the error; nothing in between.
async fn all_or_error(dir: &Path, topic: &str, all: &[InRecord]) -> Result<Option<String>, Failed> {
    let read = async { open(dir)?.read_all(topic).await };
    match read.await {
        Ok(read) => {
            check(read == all, &format!("{} of {} are read, and no error", read.len(), all.len())).map(|()| None)
        }
        Err(error) => Ok(Some(error.to_string())),
    }
}

pub async fn no_flipped_bit_goes_unnoticed(bench: Bench) -> Checked {
    let (topic, all) = written(&bench).await?;
    let copy = copy_of(dir(&bench)?)?;
    for name in ["journal-", "segment-", "topics", "acked", "format"] {
        let path = file(copy.path(), name)?;
        let whole = fs::read(&path)?;
        // Of the marks there are two, and nothing between.
        let written = |at: &usize| name != "acked" || *at < 48 || *at >= 4096;
        for at in (0..whole.len()).filter(written) {
            let mut flipped = whole.clone();
            flipped[at] ^= 1 << (at % 8);
            fs::write(&path, flipped)?;
            let error = all_or_error(copy.path(), &topic, &all).await.map_err(|f| {
                Failed::from(format!("{name} with a flipped bit in byte {at}: {}", f.message().unwrap_or_default()))
            })?;
            if let Some(error) = &error {
                let names = ["topic ", "partition ", "offset "].iter().all(|word| error.contains(word));
                check(names || !["journal-", "segment-"].contains(&name), &format!("{name} at {at}: {error}"))?;
                check(error.contains(&copy.path().display().to_string()), error)?;
            }
            // The other mark tells, of one group less at most.
            check(error.is_some() || name == "acked", &format!("{name} at {at} was flipped, and nobody noticed"))?;
        }
        fs::write(&path, whole)?;
    }
    check_eq(all_or_error(copy.path(), &topic, &all).await?, None, "as it was it is opened again")
}

pub async fn a_journal_that_ends_too_early_is_refused_and_stays_as_it_is(bench: Bench) -> Checked {
    let (topic, all) = written(&bench).await?;
    let copy = copy_of(dir(&bench)?)?;
    let path = file(copy.path(), "journal-")?;
    let whole = fs::read(&path)?;
    for length in 0..whole.len() {
        fs::write(&path, &whole[..length])?;
        let error = all_or_error(copy.path(), &topic, &all).await?.ok_or(format!("{length} bytes are not all"))?;
        check(error.contains("is damaged at topic") && error.contains("mv "), &error)?;
        check_eq(fs::read(&path)?.len(), length, "what is refused is left as it was found")?;
    }
    fs::write(&path, &whole)?;
    check_eq(all_or_error(copy.path(), &topic, &all).await?, None, "with all its bytes it is opened")
}

pub async fn a_file_that_is_gone_is_named(bench: Bench) -> Checked {
    let (topic, all) = written(&bench).await?;
    for name in ["journal-", "segment-", "topics"] {
        let copy = copy_of(dir(&bench)?)?;
        let path = file(copy.path(), name)?;
        fs::remove_file(&path)?;
        let error = all_or_error(copy.path(), &topic, &all).await?.ok_or(format!("{name} is gone"))?;
        // A segment stands for journals, and it is those that are missed.
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let number = name.split('-').nth(1).unwrap_or_default();
        check(name == "topics" || error.contains(&format!("journal-{number}: it is not there")), &error)?;
    }
    Ok(())
}

/// Takes what is said at WARN.
#[derive(Clone, Default)]
struct Said(Arc<Mutex<Vec<u8>>>);

impl std::io::Write for Said {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

pub async fn a_torn_tail_is_dropped_and_named(bench: Bench) -> Checked {
    let (topic, all) = written(&bench).await?;
    let copy = copy_of(dir(&bench)?)?;
    let path = file(copy.path(), "journal-")?;
    let acked = fs::read(&path)?;
    // What one more group looks like, of which nobody was told in the copy.
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    bench.files()?.hold(true);
    for n in 0..3 {
        send(&*producer, record(&topic, 1, &format!("torn {n}"), Some(incompressible(40))), acks.token(n))?;
    }
    bench.files()?.hold(false);
    acks.acked(3).await?;
    let more = fs::read(file(dir(&bench)?, "journal-")?)?;
    check(more.starts_with(&acked), "a journal only grows")?;
    for length in acked.len() + 1..more.len() {
        fs::write(&path, &more[..length])?;
        let said = Said::default();
        let writer = said.clone();
        let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(move || writer.clone()).finish();
        let log = tracing::subscriber::with_default(subscriber, || open(copy.path()))?;
        check(log.read_all(&topic).await? == all, &format!("{length} bytes: what was acked, and nothing else"))?;
        drop(log);
        check_eq(fs::read(&path)? == acked, true, "the journal goes on where it was whole")?;
        let said = String::from_utf8(said.0.lock().unwrap().clone())?;
        let named = [&*topic, "partition 1", "offset 7"].iter().all(|word| said.contains(word));
        // Where not even the coordinates of a record are there, only the last one before is named.
        check(said.contains("dropped") && (named || length < acked.len() + 60), &said)?;
    }
    // Garbage and zeros, as a file system may leave them behind a power failure.
    for tail in [vec![0; 5000], incompressible(5000).to_vec()] {
        fs::write(&path, [&acked[..], &tail].concat())?;
        check_eq(all_or_error(copy.path(), &topic, &all).await?, None, "a tail of nothing is dropped")?;
    }
    let again = Bench::embedded_in(copy)?;
    write(&again, vec![record(&topic, 1, "after", None)]).await?;
    let again = Bench::embedded_in(again.close()?)?;
    let read = again.log.read_all(&topic).await?;
    check_eq(read.len(), all.len() + 1, "the log goes on behind a tail that was dropped")?;
    check_eq(read.last().map(key), Some("after".into()), "and keeps what is written then")
}

/// A tear is at the end. What stands whole behind a break was written after an fsync of what is broken.
pub async fn what_is_broken_before_a_whole_group_is_damage_even_without_the_mark(bench: Bench) -> Checked {
    let (topic, all) = written(&bench).await?;
    let copy = copy_of(dir(&bench)?)?;
    fs::remove_file(copy.path().join("acked"))?;
    check_eq(
        all_or_error(copy.path(), &topic, &all).await?,
        None,
        "without the file of the marks it is taken as it is",
    )?;
    fs::remove_file(copy.path().join("acked"))?;
    let path = file(copy.path(), "journal-")?;
    let mut journal = fs::read(&path)?;
    let middle = journal.len() / 2;
    journal[middle] ^= 1;
    fs::write(&path, journal)?;
    let error = all_or_error(copy.path(), &topic, &all).await?.ok_or("the middle is broken")?;
    check(error.contains("damaged at topic"), &error)
}
