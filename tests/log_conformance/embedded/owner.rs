//! Whose directory it is, and what is said of one that cannot be used.

use super::{dir, file};
use crate::engines::{Bench, Tuning, open_embedded};
use crate::kit::*;
use agent_events::domain::ack::Outcome;
use agent_events::log::SendError;
use std::io::BufRead as _;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// The program of the child: owns a log until it is killed.
pub fn play(dir: &Path) {
    let log = open_embedded(dir, &Tuning::default()).expect("nobody else owns it");
    println!("owned");
    std::thread::park();
    drop(log);
}

pub async fn a_second_process_is_told_who_owns_the_directory(bench: Bench) -> Checked {
    let said = open_embedded(dir(&bench)?, &Tuning::default()).err().ok_or("it is owned")?.to_string();
    check(said.contains(&format!("in use by process {}", std::process::id())), &said)?;
    check(said.contains("embedded.dir"), &said)?;
    let dir = bench.close()?;
    let mut child = Command::new(std::env::current_exe()?)
        .args([crate::OWNER.as_ref(), dir.path().as_os_str()])
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    std::io::BufReader::new(child.stdout.take().ok_or("a pipe")?).read_line(&mut line)?;
    let said = open_embedded(dir.path(), &Tuning::default()).err().map(|e| e.to_string());
    child.kill()?;
    child.wait()?;
    check_eq(line.as_str(), "owned\n", "the child owns it")?;
    let said = said.ok_or("the child owns it")?;
    check(said.contains(&format!("in use by process {}", child.id())), &said)?;
    Bench::embedded_in(dir).map(drop).map_err(Into::into)
}

pub async fn the_last_clone_gives_the_directory_free_and_ends_what_is_left(bench: Bench) -> Checked {
    let topic = bench.topic(1, &[]).await?;
    let (producer, acks) = (bench.log.producer()?, Acks::new());
    let mut reader = bench.log.read(vec![(topic.clone(), 0, agent_events::log::Start::Beginning)])?;
    bench.files()?.hold(true);
    for n in 0..100 {
        send(&*producer, numbered(&topic, n), acks.token(n))?;
    }
    let dir = bench.close()?;
    check_eq(acks.count(), 100, "what was sent is settled when it returns")?;
    acks.acked(100).await?;
    let again = Bench::embedded_in(dir)?;
    check_eq(keys(&again.log.read_all(&topic).await?), numbers(0..100), "and it is there")?;
    match producer.send(numbered(&topic, 100), acks.token(100)) {
        Ok(()) => check_eq(acks.settled(101).await?[100].clone(), Outcome::Dropped, "a left producer writes nothing")?,
        Err((error, ..)) => check_eq(error, SendError::Fatal, "a left producer takes nothing")?,
    }
    let closed = tokio::time::timeout(LONG, async { while reader.batches.recv().await.is_some() {} }).await;
    check(closed.is_ok(), "a left reader ends")
}

pub async fn a_directory_that_cannot_be_used_is_refused_with_a_remedy(bench: Bench) -> Checked {
    let dir = bench.close()?;
    let said = |path: &Path| open_embedded(path, &Tuning::default()).err().map(|e| e.to_string()).unwrap_or_default();
    let path = dir.path();

    let a_file = file(path, "format")?;
    let text = said(&a_file);
    check(text.contains(&a_file.display().to_string()) && text.contains("a file is in the way"), &text)?;
    let text = said(&a_file.join("below"));
    check(text.contains("a file is in the way"), &text)?;

    let foreign = tempfile::tempdir()?;
    std::fs::write(foreign.path().join("thesis.tex"), "years of work")?;
    let text = said(foreign.path());
    check(text.contains("thesis.tex") && text.contains("embedded.dir"), &text)?;
    check_eq(std::fs::read_dir(foreign.path())?.count(), 1, "and nothing was written there")?;

    std::fs::write(path.join("format"), "agent-events log, format 2\n")?;
    let text = said(path);
    check(text.contains("format 2") && text.contains("run the version that wrote it"), &text)?;

    // Nobody may write to /proc, not even root.
    let text = said(Path::new("/proc/agent-events/log"));
    check(text.contains("/proc/agent-events/log cannot be used") && text.contains("embedded.dir"), &text)
}

/// Between fork and exec a child holds copies of all open files of its parent, also of the one that is locked.
pub async fn a_child_that_is_just_being_made_does_not_keep_the_directory(bench: Bench) -> Checked {
    let mut dir = bench.close()?;
    let enough = Arc::new(AtomicBool::new(false));
    let makers: Vec<_> = (0..2)
        .map(|_| {
            let enough = enough.clone();
            std::thread::spawn(move || {
                while !enough.load(Ordering::Relaxed) {
                    // What it gives does not matter, that it is made does.
                    drop(Command::new("true").status());
                }
            })
        })
        .collect();
    let mut all = Ok(());
    for _ in 0..300 {
        match Bench::embedded_in(dir).map_err(libtest_mimic::Failed::from).and_then(Bench::close) {
            Ok(free) => dir = free,
            Err(error) => {
                all = Err(error);
                break;
            }
        }
    }
    enough.store(true, Ordering::Relaxed);
    for maker in makers {
        maker.join().map_err(|_| "a thread that makes children panicked")?;
    }
    all
}
