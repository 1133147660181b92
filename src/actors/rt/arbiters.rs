//! The threads: one shared multi-thread tokio runtime, and named arbiters on top of it.
//!
//! An arbiter with a runtime of its own takes every task and every client created on it along when it dies or blocks
//! (measured: a kube client made on a stopped arbiter answers "buffer's worker closed"). On the shared runtime such
//! tasks live on the runtime's own workers, and an arbiter costs a thread but no file descriptors.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use actix::{Arbiter, ArbiterHandle, System, SystemRunner};
use tokio::runtime::{Builder, Handle, Runtime};

/// The shared runtime. It is owned by `main`, outlives the system and is never dropped inside of async code.
pub fn io_runtime(worker_threads: usize) -> io::Result<Arc<Runtime>> {
    let runtime =
        Builder::new_multi_thread().worker_threads(worker_threads).thread_name("ae-io").enable_all().build()?;
    Ok(Arc::new(runtime))
}

/// The actix system on the shared runtime, with the system arbiter on this thread.
pub fn system(runtime: &Arc<Runtime>) -> SystemRunner {
    let runtime = runtime.clone();
    System::with_tokio_rt(move || runtime)
}

/// Where an actor lives and where its IO runs.
#[derive(Debug, Clone)]
pub struct Place {
    pub(super) name: Arc<str>,
    pub(super) arbiter: ArbiterHandle,
    pub(super) io: Handle,
}

impl Place {
    /// Its name, as the supervision tree shows it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The runtime for IO: the shared one.
    pub fn io(&self) -> &Handle {
        &self.io
    }
}

/// Hands out places. Made inside of a running system.
#[derive(Debug)]
pub struct Arbiters {
    mode: Mode,
}

#[derive(Debug)]
enum Mode {
    Shared { runtime: Arc<Runtime>, running: BTreeMap<String, Arbiter> },
    Single { here: ArbiterHandle, io: Handle },
}

impl Arbiters {
    /// A thread per name, all on `runtime`.
    pub fn shared(runtime: Arc<Runtime>) -> Self {
        Self { mode: Mode::Shared { runtime, running: BTreeMap::new() } }
    }

    /// Everything on the current arbiter and its runtime: for simulation on paused time.
    pub fn single() -> Self {
        Self { mode: Mode::Single { here: Arbiter::current(), io: Handle::current() } }
    }

    /// The place called `name`, made on first use; its thread is named `ae-<name>` where the system allows it.
    pub fn place(&mut self, name: &str) -> Place {
        let (arbiter, io) = match &mut self.mode {
            Mode::Single { here, io } => (here.clone(), io.clone()),
            Mode::Shared { runtime, running } => {
                let arbiter = running.entry(name.to_owned()).or_insert_with(|| {
                    let (runtime, thread) = (runtime.clone(), format!("ae-{name}"));
                    Arbiter::with_tokio_rt(move || {
                        name_this_thread(&thread);
                        runtime
                    })
                });
                (arbiter.handle(), runtime.handle().clone())
            }
        };
        Place { name: name.into(), arbiter, io }
    }

    /// The system arbiter: for what is small and must not wait for others.
    pub fn system_place(&self) -> Place {
        let io = match &self.mode {
            Mode::Single { io, .. } => io.clone(),
            Mode::Shared { runtime, .. } => runtime.handle().clone(),
        };
        Place { name: "system".into(), arbiter: System::current().arbiter().clone(), io }
    }

    /// Ends the threads, after the supervisor's shutdown, and waits for them at most `within`. Returns the names of
    /// those that did not end: blocked, so the process must be ended around them (exit 72).
    ///
    /// Blocks the calling thread: actix does not join arbiters by itself, and an actor's last words would be cut off.
    pub fn join(self, within: Duration) -> Vec<String> {
        let Mode::Shared { running, .. } = self.mode else { return Vec::new() };
        let mut left: Vec<String> = running.keys().cloned().collect();
        let (ended, ends) = mpsc::channel();
        for (name, arbiter) in running {
            arbiter.stop();
            let ended = ended.clone();
            // A thread per arbiter, because a join cannot be given up after a while; a channel can.
            std::thread::spawn(move || {
                // A thread that ended by a panic has ended, too. The receiver is gone once the deadline passed.
                arbiter.join().ok();
                ended.send(name).ok();
            });
        }
        drop(ended);
        // tokio's clock, which may be paused, is the wrong one here: these are threads.
        let deadline = real_now() + within;
        while !left.is_empty() {
            match ends.recv_timeout(deadline.saturating_duration_since(real_now())) {
                Ok(name) => left.retain(|other| *other != name),
                Err(mpsc::RecvTimeoutError::Timeout | mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        left
    }
}

#[allow(clippy::disallowed_methods, reason = "an edge: waits for threads, decides nothing")]
fn real_now() -> Instant {
    Instant::now()
}

/// actix names all its threads alike once the kernel has cut them at 15 bytes. Best effort: a name is for `top -H`.
fn name_this_thread(name: &str) {
    #[cfg(target_os = "linux")]
    if let Err(error) = std::fs::write("/proc/thread-self/comm", name) {
        tracing::debug!(name, %error, "the thread keeps its old name");
    }
    #[cfg(not(target_os = "linux"))]
    let _: &str = name;
}
