//! The process: bring-up, wiring, running, ending.
//!
//! [`start`] gives a [`Running`] at once: the HTTP listeners are bound, everything else happens on a thread of its own
//! ([`bringup`] connects both ends and fences off earlier writers, [`wiring`] is the one table of actors, [`watchers`] gives
//! kinds their watchers). A cluster or
//! broker that is away is waited for, and said; only what waiting cannot mend ends the process.

mod bringup;
mod ends;
mod farewell;
mod kinds;
mod traffic;
mod watchers;
mod wiring;

use crate::actors::rt::{self, Arbiters, SupervisorHandle};
use crate::domain::redact::Policy;
use crate::domain::topic;
use crate::http;
use crate::http::live::Beats;
use crate::log::Log;
use crate::messages::client::StateClient;
use crate::messages::control::ActorControl;
use crate::messages::life::Outcome;
use crate::observe::board::Board;
use crate::observe::metrics::Metrics;
use crate::settings::{Loaded, Settings};
use std::net::SocketAddr;
use std::sync::mpsc as std_mpsc;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;
use tokio::sync::{mpsc, watch};

pub use ends::{Ends, kafka_config, open_cluster, open_log, topic_specs};

/// How to start.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// End with exit 69 when cluster or broker do not answer at the first try, instead of waiting for them.
    pub require_healthy: bool,
}

/// Why the process cannot start or go on. Each names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A listen address cannot be used.
    #[error("{0}")]
    Listen(String),
    /// No cluster is configured, or (with `require_healthy`) an end is away.
    #[error("{0}")]
    Unreachable(String),
    /// What was found contradicts the settings.
    #[error("{0}")]
    Refused(String),
    /// The machine refuses a thread or the like.
    #[error("{0}")]
    System(String),
}

impl StartError {
    /// The process' exit code.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Listen(_) | Self::System(_) => 1,
            Self::Unreachable(_) => 69,
            Self::Refused(_) => 78,
        }
    }
}

/// Why the process ends.
#[derive(Debug, Clone, PartialEq, Eq)]
enum End {
    /// Asked to: SIGTERM, SIGINT, [`Running::shutdown`].
    Asked,
    /// The supervisor gave up, or a writer with a higher epoch took over: exit 70.
    GaveUp(String),
}

/// What HTTP, signals and actors share with the main task.
#[derive(Clone)]
struct Shared {
    board: Arc<Board>,
    metrics: Arc<Metrics>,
    beats: Arc<Beats>,
    client: Arc<OnceLock<StateClient>>,
    control: Arc<OnceLock<Arc<dyn ActorControl>>>,
    log: Arc<OnceLock<Arc<dyn Log>>>,
    topics: Arc<http::topics::TopicTable>,
    life: http::LifeFeed,
    end: mpsc::UnboundedSender<End>,
    policy: Arc<Policy>,
}

/// A running process. Dropping it ends it as [`Running::shutdown`] does.
pub struct Running {
    shared: Shared,
    api: SocketAddr,
    ops: SocketAddr,
    thread: Mutex<Option<std::thread::JoinHandle<u8>>>,
}

impl Running {
    /// The queries of shared state, once the process is up: waits until then, at most `within`.
    pub fn client(&self, within: Duration) -> Option<StateClient> {
        self.wait_for(within, || self.shared.client.get().cloned())
    }

    /// Waits until readiness is given, at most `within`. Otherwise says what is missing.
    pub fn ready(&self, within: Duration) -> Result<(), Vec<String>> {
        match self.wait_for(within, || self.shared.board.missing().is_empty().then_some(())) {
            Some(()) => Ok(()),
            None => Err(self.shared.board.missing()),
        }
    }

    fn wait_for<T>(&self, within: Duration, look: impl Fn() -> Option<T>) -> Option<T> {
        let (_keep, never) = std_mpsc::channel::<()>();
        let mut waited = Duration::ZERO;
        loop {
            if let Some(found) = look() {
                return Some(found);
            }
            if waited >= within {
                return None;
            }
            // A wait that never rings is a pause that does not need a clock.
            std::hint::black_box(never.recv_timeout(Duration::from_millis(5)).is_err());
            waited += Duration::from_millis(5);
        }
    }

    /// The supervision tree's handle, once the process is up.
    pub fn control(&self, within: Duration) -> Option<Arc<dyn ActorControl>> {
        self.wait_for(within, || self.shared.control.get().cloned())
    }

    /// The board: how it is doing.
    pub fn board(&self) -> Arc<Board> {
        self.shared.board.clone()
    }

    /// Where the API listens.
    pub fn api_addr(&self) -> SocketAddr {
        self.api
    }

    /// Where probes and metrics are served.
    pub fn ops_addr(&self) -> SocketAddr {
        self.ops
    }

    /// Waits until the process has ended; its exit code.
    pub fn wait(&self) -> u8 {
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        thread.map_or(0, |thread| thread.join().unwrap_or(70))
    }

    /// Ends it in order: stops reading, flushes to ack, checkpoints. Its exit code: 0, or 72 when not everything could be
    /// flushed in time (nothing is lost then: it is above the watermark).
    pub fn shutdown(&self) -> u8 {
        drop(self.shared.end.send(End::Asked));
        self.wait()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.shutdown();
    }
}

/// Starts the process with the ends that the settings name.
pub fn start(loaded: Loaded, options: Options) -> Result<Running, StartError> {
    launch(loaded.settings.clone(), move |io| ends::Source::Configured { loaded: Box::new(loaded), options, io }, true)
}

/// Starts the process between the given ends, without signal handling: for tests and programs that embed it.
pub fn start_between(settings: Settings, ends: Ends) -> Result<Running, StartError> {
    launch(settings, move |_| ends::Source::Given(ends), false)
}

fn launch(
    settings: Settings,
    source: impl FnOnce(tokio::runtime::Handle) -> ends::Source,
    signals: bool,
) -> Result<Running, StartError> {
    rt::install_hook();
    let system = |what: &str, e: std::io::Error| StartError::System(format!("{what}: {e}"));
    // Two workers: sockets on one side, HTTP on the other, on the smallest machine that runs this.
    let io = rt::io_runtime(2).map_err(|e| system("the runtime cannot be started", e))?;
    let (end, mut ended) = mpsc::unbounded_channel();
    // Before anybody is spoken to: without its key nothing may leave under that policy.
    let policy = Arc::new(settings.policy().map_err(StartError::Refused)?);
    if let Some(warning) = settings.key_file_warning() {
        tracing::warn!("{warning}");
    }
    let shared = Shared {
        board: Arc::new(Board::default()),
        metrics: Arc::new(Metrics::default()),
        beats: Arc::default(),
        client: Arc::default(),
        control: Arc::default(),
        log: Arc::default(),
        topics: Arc::default(),
        life: http::LifeFeed::default(),
        end,
        policy,
    };
    shared.board.set_state("connecting");
    let faces = http::Faces {
        board: shared.board.clone(),
        metrics: shared.metrics.clone(),
        beats: shared.beats.clone(),
        client: shared.client.clone(),
        control: shared.control.clone(),
        log: shared.log.clone(),
        topics: shared.topics.clone(),
        life: shared.life.clone(),
        chaos: settings.chaos.enabled,
        ..http::Faces::default()
    };
    let (stop_http, stopped) = watch::channel(false);
    let mut addresses = Vec::new();
    let mut listeners = Vec::new();
    for (addr, key, router) in [
        (settings.http.api, "http.api", http::api_router(faces.clone())),
        (settings.http.ops, "http.ops", http::ops_router(faces.clone())),
    ] {
        let listener = http::bind(addr, key).map_err(|e| StartError::Listen(e.to_string()))?;
        addresses.push(listener.local_addr().map_err(|e| system(key, e))?);
        let mut stopped = stopped.clone();
        listeners.push(io.spawn(async move {
            let until = async move { drop(stopped.wait_for(|stop| *stop).await) };
            if let Err(error) = http::serve(listener, router, until).await {
                tracing::error!(%error, listener = key, "the listener has ended");
            }
        }));
    }
    if signals {
        io.spawn(on_signals(shared.end.clone()));
    }
    let source = source(io.handle().clone());
    let main = shared.clone();
    let thread = std::thread::Builder::new().name("ae-main".into()).spawn(move || {
        let code = rt::system(&io).block_on(async {
            let code = run(settings, source, main, &mut ended, &io).await;
            // The listeners answer until the very end, and are gone when it is said: whoever starts another process on these
            // ports, or asks whether this one has ended, must not meet what is left of it.
            stop_http.send_replace(true);
            for listener in listeners {
                drop(listener.await);
            }
            code
        });
        if let Ok(io) = Arc::try_unwrap(io).map_err(drop) {
            io.shutdown_background();
        }
        code
    });
    let thread = thread.map_err(|e| system("a thread cannot be started", e))?;
    Ok(Running { shared, api: addresses[0], ops: addresses[1], thread: Mutex::new(Some(thread)) })
}

/// The main task: brings up, wires, waits for the end, ends in order. Gives the exit code.
async fn run(
    settings: Settings,
    source: ends::Source,
    shared: Shared,
    ended: &mut mpsc::UnboundedReceiver<End>,
    io: &Arc<tokio::runtime::Runtime>,
) -> u8 {
    // Alive means: this thread, on which the supervisor decides, still turns. Never the cluster, never the broker.
    let beat = shared.beats.register("supervisor", Duration::from_secs(10));
    actix::spawn(async move {
        let mut every = tokio::time::interval(Duration::from_secs(1));
        loop {
            every.tick().await;
            beat.beat();
        }
    });
    let brought = tokio::select! {
        brought = bringup::bring_up(&settings, source, &shared) => brought,
        _ = ended.recv() => return 0,
    };
    let mut up = match brought {
        Ok(up) => up,
        Err(e) => {
            tracing::error!("{e}");
            return e.exit_code();
        }
    };
    let sandbox = up.sandbox.take();
    let leaving = std::mem::take(&mut up.leaving);
    let means = farewell::Means {
        board: shared.board.clone(),
        metrics: shared.metrics.clone(),
        log: up.ends.log.clone(),
        producer: up.producer.clone(),
        cluster: settings.cluster.name.clone().unwrap_or_default(),
        checkpoints: format!("{}{}", settings.topics.prefix, topic::CHECKPOINTS).into(),
        writer_epoch: up.writer_epoch,
    };
    let mut arbiters = Arbiters::shared(io.clone());
    let supervisor = match wiring::wire(&settings, &shared, up, &mut arbiters) {
        Ok(supervisor) => supervisor,
        Err(e) => {
            tracing::error!("{e}");
            return e.exit_code();
        }
    };
    for leaving in leaving {
        actix::spawn(farewell::say(means.clone(), leaving));
    }
    let end = ended.recv().await.unwrap_or(End::Asked);
    shared.board.set_state("draining");
    let code = match &end {
        End::Asked => 0,
        End::GaveUp(why) => {
            tracing::error!("{why}");
            70
        }
    };
    let clean = end_in_order(supervisor, arbiters, settings.supervision.shutdown_deadline).await;
    if let Some(log) = shared.log.get() {
        log.close();
    }
    if let Some(sandbox) = sandbox {
        sandbox.stop().await;
    }
    if clean || code != 0 { code } else { 72 }
}

async fn end_in_order(supervisor: SupervisorHandle, arbiters: Arbiters, deadline: Duration) -> bool {
    let outcomes = supervisor.shutdown(deadline).await;
    let unclean: Vec<_> = outcomes.iter().filter(|(_, outcome)| !outcome.is_clean()).collect();
    for (actor, outcome) in &unclean {
        let what = match outcome {
            Outcome::WasDown => "was down when its turn came",
            Outcome::Died => "died while it drained",
            _ => "did not drain in time",
        };
        tracing::warn!(actor, ?outcome, "{what}; what it held is above the watermark and is read again");
    }
    let stuck = arbiters.join(Duration::from_secs(2));
    if !stuck.is_empty() {
        tracing::warn!(?stuck, "threads that do not end");
    }
    tracing::info!(clean = unclean.is_empty(), "stopped");
    unclean.is_empty() && stuck.is_empty()
}

/// SIGTERM and SIGINT end in order; the second one ends at once.
async fn on_signals(end: mpsc::UnboundedSender<End>) {
    use tokio::signal::unix::{SignalKind, signal};
    let (Ok(mut terminate), Ok(mut interrupt)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        tracing::warn!("signals cannot be handled; the process will not drain when it is stopped");
        return;
    };
    let mut seen = 0;
    loop {
        let number = tokio::select! {
            _ = terminate.recv() => 15,
            _ = interrupt.recv() => 2,
        };
        seen += 1;
        if seen == 2 {
            std::process::exit(128 + number);
        }
        tracing::info!(signal = number, "draining");
        drop(end.send(End::Asked));
    }
}
