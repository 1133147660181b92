//! Performs the requests of one watch core. A task on the shared runtime: a socket awaited on an arbiter's thread costs
//! twice the CPU an event (measured), so only whole chunks cross over.

use super::ApiServer;
use crate::domain::target::Target;
use crate::domain::watch::{Input, Request, Verb};
use futures_util::StreamExt as _;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::time::timeout;

/// How long each wait may take.
#[derive(Debug, Clone, Copy)]
pub struct Deadlines {
    /// From sending a request to its headers, connecting included.
    pub headers: Duration,
    /// Reading the whole page of a list.
    pub page: Duration,
    /// Silence on a watch: bookmarks come each minute, so two are missing.
    pub idle: Duration,
    /// Silence on a watch of a kind without bookmarks, beyond its own timeout.
    pub grace: Duration,
}

impl Default for Deadlines {
    fn default() -> Self {
        Self {
            headers: Duration::from_secs(30),
            page: Duration::from_secs(60),
            idle: Duration::from_secs(150),
            grace: Duration::from_secs(15),
        }
    }
}

impl Deadlines {
    /// The same, so many times as fast.
    pub fn hurried(self, times: u32) -> Self {
        let Self { headers, page, idle, grace } = self;
        Self { headers: headers / times, page: page / times, idle: idle / times, grace: grace / times }
    }
}

/// What a request brought, on its way to the core.
#[derive(Debug)]
pub struct Incoming {
    /// Number of the request.
    pub id: u64,
    /// What happened.
    pub input: Input,
    /// Bytes of the frame budget that this holds until it is digested.
    pub held: Option<OwnedSemaphorePermit>,
}

/// What the core orders.
#[derive(Debug)]
pub enum Order {
    /// Send this; whatever runs is dropped.
    Send(Request),
    /// Drop whatever runs.
    Close,
}

/// What all drivers share.
#[derive(Clone)]
pub struct Shared {
    /// The API server.
    pub api: Arc<dyn ApiServer>,
    /// Bytes that this watcher may have read and not yet digested: its share, so that one that is stuck stops no other.
    pub frames: Arc<Semaphore>,
    /// Size of `frames` when nothing is held.
    pub frame_budget: usize,
    /// Lists at a time: two, so that a restart of all kinds does not take the API server down.
    pub snapshots: Arc<Semaphore>,
    /// Deadlines.
    pub deadlines: Deadlines,
}

/// Runs until the orders end or nobody listens any more.
pub async fn drive(
    shared: Shared,
    target: Target,
    mut orders: mpsc::UnboundedReceiver<Order>,
    out: mpsc::Sender<Incoming>,
) {
    let mut next = None;
    let mut snapshot: Option<OwnedSemaphorePermit> = None;
    loop {
        let order = match next.take() {
            Some(order) => order,
            None => match orders.recv().await {
                Some(order) => order,
                None => return,
            },
        };
        let Order::Send(request) = order else {
            snapshot = None;
            continue;
        };
        if matches!(request.verb, Verb::List { .. } | Verb::WatchList { .. }) {
            if snapshot.is_none() {
                tokio::select! {
                    permit = shared.snapshots.clone().acquire_owned() => snapshot = permit.ok(),
                    newer = orders.recv() => { next = newer; if next.is_none() { return } continue; }
                }
            }
        } else {
            snapshot = None;
        }
        tokio::select! {
            alive = perform(&shared, &target, &request, &out) => if !alive { return },
            newer = orders.recv() => { next = newer; if next.is_none() { return } }
        }
    }
}

/// One request from its first byte to its last. Gives whether anyone still listens.
async fn perform(shared: &Shared, target: &Target, request: &Request, out: &mpsc::Sender<Incoming>) -> bool {
    let tell = |input| async move { out.send(Incoming { id: request.id, input, held: None }).await.is_ok() };
    let response = match timeout(shared.deadlines.headers, shared.api.send(target, request)).await {
        Err(_) => return tell(Input::Broken(format!("no answer within {:?}", shared.deadlines.headers))).await,
        Ok(Err(reason)) => return tell(Input::Broken(reason)).await,
        Ok(Ok(response)) => response,
    };
    if !tell(Input::Head { status: response.status, retry_after: response.retry_after }).await {
        return false;
    }
    let mut body = response.body;
    let (silence, whole) = match &request.verb {
        Verb::List { .. } | Verb::Probe { .. } | Verb::Review { .. } => {
            (shared.deadlines.page, Some(shared.deadlines.page))
        }
        Verb::Watch { timeout_seconds, .. } | Verb::WatchList { timeout_seconds, .. } => {
            let own = Duration::from_secs(u64::from(*timeout_seconds)) + shared.deadlines.grace;
            let bookmarks = target.kind.tracking() == crate::domain::kind::Tracking::Table;
            (if bookmarks { shared.deadlines.idle } else { own }, None)
        }
    };
    let began = tokio::time::Instant::now();
    loop {
        let wait = whole.map_or(silence, |whole| whole.saturating_sub(began.elapsed()));
        let input = match timeout(wait, body.next()).await {
            Err(_) => Input::Broken(format!("silent for {silence:?}")),
            Ok(None) => Input::End,
            Ok(Some(Err(reason))) => Input::Broken(reason),
            Ok(Some(Ok(bytes))) => {
                let Ok(held) = shared.frames.clone().acquire_many_owned(budget(bytes.len(), shared)).await else {
                    return false;
                };
                let incoming = Incoming { id: request.id, input: Input::Body(bytes), held: Some(held) };
                if out.send(incoming).await.is_err() {
                    return false;
                }
                continue;
            }
        };
        return tell(input).await;
    }
}

/// The whole frame budget in bytes: what is read and not yet digested, over all watchers.
pub const FRAME_BUDGET: usize = 8 << 20;

/// A chunk larger than the whole budget takes all of it rather than waiting for ever.
fn budget(bytes: usize, shared: &Shared) -> u32 {
    u32::try_from(bytes.clamp(1, shared.frame_budget.max(1))).unwrap_or(u32::MAX)
}
