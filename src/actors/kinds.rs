//! Keeps the watchers in step with what the API server serves: a kind that appears gets one, a kind that goes loses its own.
//!
//! The rule which is which stands in `domain::roster`; what starting and stopping takes, the wiring knows ([`Keeper`]). All
//! waiting happens in two tasks on the shared runtime; this actor only holds them, and brings them back when they die.

use super::rt::{self, Context, Worker};
use crate::domain::kind::Kind;
use crate::domain::roster::{New, Roster};
use crate::domain::rv::Rv;
use crate::domain::target::Target;
use crate::domain::watch::{Request, Verb};
use crate::kubernetes::ApiServer;
use crate::messages::life::Drained;
use crate::observe::board::{Board, ParkedKind};
use actix::prelude::{ActorContext as _, ResponseActFuture, StreamHandler};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify, mpsc};
use tokio::time::{Instant, sleep, timeout};

/// What discovery says about the kinds that the settings name.
#[derive(Default)]
pub struct Found {
    /// Served with list, and wanted.
    pub kinds: Vec<Kind>,
    /// Named, and not to be watched; why.
    pub parked: Vec<ParkedKind>,
    /// Groups that could not be asked: of their kinds nothing is known now.
    pub unsure: Vec<String>,
    /// Served, in no namespace, and left out by a group or `*` because namespaces are named.
    pub left_out: Vec<Kind>,
}

/// What the wiring does for this actor.
pub trait Keeper: Send + Sync + 'static {
    /// Asks the API server which of the wanted kinds it serves. The error says what failed.
    fn find(&self) -> BoxFuture<'_, Result<Found, String>>;
    /// Whether a list of the kind is refused as unknown.
    fn is_unknown<'a>(&'a self, kind: &'a Kind) -> BoxFuture<'a, bool>;
    /// Gives kinds their topics, tables and watchers. Those that it failed for, with the reason; the others are watched.
    fn start(&self, kinds: Vec<Kind>) -> BoxFuture<'_, Vec<(Kind, String)>>;
    /// Says that these kinds are served: a watcher that waits because its kind was not goes on.
    fn served(&self, kinds: &[Kind]);
    /// Ends the watchers of a kind once all that they reported is in the log; topic and table stay. `is_gone`: what is
    /// known of its objects is deleted. The error says what it still waits for.
    fn stop<'a>(&'a self, kind: &'a Kind, is_gone: bool) -> BoxFuture<'a, Result<(), String>>;
}

/// What outlives the actor.
pub struct Lent {
    /// The wiring.
    pub keeper: Arc<dyn Keeper>,
    /// Which kinds have watchers. An asynchronous lock: a step that is under way when the actor dies is finished first.
    pub roster: Mutex<Roster>,
    /// Kinds at most.
    pub most: usize,
    /// The API server.
    pub api: Arc<dyn ApiServer>,
    /// Its definitions of custom resources: what is watched to hear of new kinds.
    /// `None`: no definition can bring a kind that is wanted.
    pub definitions: Option<Target>,
    /// How often to look where the definitions may not be watched.
    pub poll_interval: Duration,
    /// Rung when a definition has changed.
    pub bell: Notify,
    /// The board.
    pub board: Arc<Board>,
}

/// The actor.
pub struct Kinds {
    lent: Arc<Lent>,
    tasks: Vec<rt::Task>,
}

rt::worker!(Kinds);

/// Kinds of aggregated API servers appear without any definition.
const LOOK_EVERY: Duration = Duration::from_secs(600);
/// The same while something that is named is not served.
const LOOK_FOR_MISSING: Duration = Duration::from_secs(60);
/// From a change of a definition to the look: they come in crowds, and are served a moment after they are written.
const SETTLE: Duration = Duration::from_secs(2);
/// Looks behind each other after a change: discovery may lag behind the definition.
const LOOKS_AFTER_A_CHANGE: u32 = 4;
/// While a step has failed, or a kind was missed once.
const SOON: Duration = Duration::from_secs(2);
/// While discovery misses a kind whose list still answers, or is forbidden.
const UNCERTAIN: Duration = Duration::from_secs(15);
/// Discovery that does not answer.
const RETRY: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));
/// Discovery of a large cluster takes a second; this is for one that hangs.
const DISCOVERY: Duration = Duration::from_secs(60);
/// The server ends the watch of the definitions, which so never stands still for longer.
const WATCH_SECONDS: u32 = 540;
/// How the line begins that says only that nothing has changed.
const BOOKMARK: &[u8] = br#"{"type":"BOOKMARK""#;

impl Kinds {
    /// An actor at the beginning of its life.
    pub fn new(lent: Arc<Lent>) -> Self {
        Self { lent, tasks: Vec::new() }
    }
}

impl Worker for Kinds {
    fn started(&mut self, ctx: &mut Context<Self>) {
        let (alive, ended) = mpsc::channel(1);
        let (looking, listening) = (self.lent.clone(), self.lent.clone());
        self.tasks = vec![
            ctx.spawn_io({
                let alive = alive.clone();
                async move {
                    keep_looking(&looking).await;
                    drop(alive.send(Ended).await);
                }
            }),
            ctx.spawn_io(async move {
                listen(&listening).await;
                drop(alive.send(Ended).await);
            }),
        ];
        ctx.feed(ended);
    }

    fn drain(&mut self, _: Instant, _: &mut Context<Self>) -> ResponseActFuture<Self, Drained> {
        self.tasks.clear();
        rt::drained(0)
    }
}

/// A task has come to its end, which it never should.
struct Ended;

impl StreamHandler<Ended> for Kinds {
    fn handle(&mut self, _: Ended, ctx: &mut Context<Self>) {
        ctx.stop();
    }

    /// Both tasks are gone: by a fault, or since this life is ending.
    fn finished(&mut self, ctx: &mut Context<Self>) {
        if !self.tasks.is_empty() {
            ctx.stop();
        }
    }
}

async fn keep_looking(lent: &Lent) {
    let (mut looks, mut retry) = (0, RETRY.0);
    loop {
        let next = match look(lent).await {
            Err(why) => {
                if lent.board.degrade("discovery", Some(why.clone())) {
                    tracing::warn!(why, "the API server does not say which kinds it serves; retrying");
                }
                retry = (retry * 2).min(RETRY.1);
                retry.mul_f64(0.5 + rand::random::<f64>() / 2.0)
            }
            Ok(pause) => {
                retry = RETRY.0;
                if lent.board.degrade("discovery", None) {
                    tracing::info!("the API server says which kinds it serves");
                }
                if looks > 0 { pause.min(SETTLE) } else { pause }
            }
        };
        looks = u32::saturating_sub(looks, 1);
        tokio::select! {
            () = sleep(next) => {}
            () = lent.bell.notified() => {
                // Not put off by those that follow it: a crowd that never ends is looked at every time.
                looks = LOOKS_AFTER_A_CHANGE;
                sleep(SETTLE).await;
            }
        }
    }
}

/// Looks once, does what that asks for, and gives when to look again.
async fn look(lent: &Lent) -> Result<Duration, String> {
    let found = timeout(DISCOVERY, lent.keeper.find()).await;
    let found = found.map_err(|_| format!("discovery did not answer within {DISCOVERY:?}"))??;
    let mut roster = lent.roster.lock().await;
    let is_sure = |kind: &Kind| !found.unsure.iter().any(|group| group == kind.group());
    let steps = roster.look(&found.kinds, is_sure);
    let mut parked = found.parked;
    let park = |kind: &Kind, reason: String| ParkedKind { kind: kind.id(), reason, did_you_mean: None };
    let (mut going, mut is_certain) = (steps.going, true);
    for kind in steps.confirm {
        if !lent.keeper.is_unknown(&kind).await {
            is_certain = false;
        } else {
            tracing::info!(%kind, "the API server serves it no more; its watchers stop, topic and table stay");
            roster.is_gone(&kind);
            going.push(kind);
        }
    }
    for (kind, is_gone) in going.iter().map(|kind| (kind, true)).chain(steps.moved.iter().map(|kind| (kind, false))) {
        match lent.keeper.stop(kind, is_gone).await {
            Ok(()) => roster.stopped(kind),
            Err(why) => parked.push(park(kind, why)),
        }
    }
    lent.keeper.served(&found.kinds);
    // What has just been stopped begins again by this very look: nobody watches it until then.
    let New { start, beyond } = roster.new_of(&found.kinds, lent.most);
    if !start.is_empty() {
        let failed = lent.keeper.start(start.clone()).await;
        let is_started = |kind: &&Kind| !failed.iter().any(|(other, _)| other == *kind);
        let started: Vec<&Kind> = start.iter().filter(is_started).collect();
        if !started.is_empty() {
            tracing::info!(kinds = ?started, "the API server serves them, and they are watched from now on");
        }
        for kind in start {
            match failed.iter().find(|(other, _)| *other == kind) {
                Some((_, why)) => parked.push(park(&kind, why.clone())),
                None => roster.started(kind),
            }
        }
    }
    let most = lent.most;
    let one_too_many =
        |kind| park(kind, format!("more than watch.max_kinds = {most} kinds are served: raise it, or name fewer"));
    parked.extend(beyond.iter().map(one_too_many));
    parked.sort_by(|a, b| a.kind.cmp(&b.kind));
    parked.dedup_by(|a, b| a.kind == b.kind);
    let (nothing_is_parked, is_settled) = (parked.is_empty(), roster.is_settled());
    let said = lent.board.parked();
    for new in parked.iter().filter(|new| !said.contains(new)) {
        tracing::warn!("{new}; parked, and looked for again");
    }
    lent.board.set_parked(parked);
    Ok(match (is_settled, nothing_is_parked) {
        (false, _) if is_certain => SOON,
        (false, _) => UNCERTAIN,
        (true, false) => LOOK_FOR_MISSING,
        (true, true) => LOOK_EVERY,
    })
}

/// Rings whenever a definition of a custom resource changes; where they may not be watched, at an interval.
async fn listen(lent: &Lent) {
    let Some(definitions) = &lent.definitions else { return std::future::pending().await };
    let mut pause = RETRY.0;
    let mut said = false;
    loop {
        let began = Instant::now();
        // Version 0: whatever the server has at hand, and then what changes. What is there already rings once, too.
        let verb = Verb::Watch { rv: Rv::new("0"), timeout_seconds: WATCH_SECONDS };
        let request = Request { id: 0, verb, metadata_only: true };
        let refused = match timeout(DISCOVERY, lent.api.send(definitions, &request)).await {
            Ok(Ok(response)) if response.status == 200 => {
                let mut body = response.body;
                let silence = Duration::from_secs(u64::from(WATCH_SECONDS) + 15);
                // What it says is of no interest, only that it says something.
                while let Ok(Some(Ok(chunk))) = timeout(silence, body.next()).await {
                    if !chunk.starts_with(BOOKMARK) {
                        lent.bell.notify_one();
                    }
                }
                None
            }
            Ok(Ok(response)) => matches!(response.status, 403 | 404).then_some(response.status),
            Ok(Err(_)) | Err(_) => None,
        };
        if let Some(status) = refused {
            let every = lent.poll_interval;
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(
                    status,
                    "custom resource definitions cannot be watched: new kinds are looked for every {every:?} instead. \
                     RBAC needs {{apiGroups: [\"apiextensions.k8s.io\"], resources: [\"customresourcedefinitions\"], \
                     verbs: [\"list\", \"watch\"]}} in a ClusterRole"
                );
            }
            sleep(every).await;
            lent.bell.notify_one();
            continue;
        }
        said = false;
        pause = if began.elapsed() > Duration::from_secs(60) { RETRY.0 } else { (pause * 2).min(RETRY.1) };
        sleep(pause.mul_f64(0.5 + rand::random::<f64>() / 2.0)).await;
    }
}
