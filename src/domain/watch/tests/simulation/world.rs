//! One process that watches one kind and writes to a log, and everything that can go wrong around it. It does what the
//! watcher, the publisher and the wiring do, in one thread, one step at a time.

use super::api::{Api, Rng};
use super::log::Log;
use super::{Mutant, Rules};
use crate::domain::ack::AckToken;
use crate::domain::lane::{Lane, Limits};
use crate::domain::watch::tests::*;
use std::collections::{BTreeMap, VecDeque};

/// What the server is answering.
enum Answering {
    List { at: u64, from: usize, limit: usize },
    Watch { cursor: u64, headed: bool, metadata: bool },
    Probe { known: bool },
    Review,
}

/// Everything that dies with the process.
pub(super) struct Process {
    core: WatchCore,
    capture: Capture,
    pub lane: Arc<Lane<Point>>,
    overlay: Overlay,
    pub writer: Writer,
    answering: Option<(u64, Answering)>,
    /// Taken from the lane, not yet in the log: one queue a partition, each in order.
    pub queues: Vec<VecDeque<(OutRecord, AckToken)>>,
    /// In the log, the ack not yet delivered.
    pub unacked: Vec<AckToken>,
    accounts: Accounts,
}

#[derive(Default)]
struct Accounts {
    received: usize,
    inferred: usize,
    filtered: usize,
    published: usize,
}

pub struct World {
    pub rng: Rng,
    pub api: Api,
    pub log: Log,
    pub(super) rules: Rules,
    env: Env,
    pub(super) process: Process,
    pub(super) checkpoint: Option<Point>,
    pub(super) epoch: u64,
    pub(super) faults: bool,
    /// Changes whose whole line was fed to us.
    pub reported: Vec<(String, u64)>,
    /// Faults that really happened, by name.
    pub deaths: BTreeMap<&'static str, usize>,
}

pub const PARTITIONS: i32 = 3;

fn core() -> WatchCore {
    let config = Config { page_size: 3, ..Config::default() };
    WatchCore::new(config, Redactor::new(kind("services"), Arc::new(Policy::default())), None)
}

/// A version that is no text, as nobody writes it.
fn poisoned(object: &str) -> String {
    let (head, tail) = object.split_once("\"resourceVersion\":\"").expect("ours has one");
    format!("{head}\"resourceVersion\":{}", tail.replacen('"', "", 1))
}

fn version(rv: &Rv) -> u64 {
    rv.as_str().parse().unwrap_or(0)
}

impl Process {
    pub fn new(epoch: u64, capture: Capture) -> Self {
        Self {
            core: core(),
            capture,
            lane: Lane::new(Limits { bytes: 1 << 20, records: 40 }, || {}),
            overlay: Overlay::default(),
            writer: Writer::new(kind("services"), "t".into(), PARTITIONS, "c", epoch),
            answering: None,
            queues: (0..PARTITIONS).map(|_| VecDeque::new()).collect(),
            unacked: Vec::new(),
            accounts: Accounts::default(),
        }
    }
}

impl World {
    pub fn new(seed: u64, rules: Rules) -> Self {
        let env = Env { now: Duration::ZERO, wall_ms: 0, chance: 0.5 };
        let mut world = Self {
            rng: Rng(seed),
            api: Api::default(),
            log: Log::new(PARTITIONS),
            rules,
            env,
            process: Process::new(1, Capture::default()),
            checkpoint: None,
            epoch: 1,
            faults: true,
            reported: Vec::new(),
            deaths: BTreeMap::new(),
        };
        for _ in 0..world.rng.below(6) {
            world.api.mutate(&mut world.rng);
        }
        world
    }

    /// Some hundred steps with faults, then calm until everything has settled. `Err` says what did not settle.
    pub fn run(&mut self) -> Result<(), String> {
        for _ in 0..160 {
            for _ in 0..[0, 0, 1, 1, 2, 6][self.rng.below(6) as usize] {
                self.api.mutate(&mut self.rng);
                self.poison_some();
            }
            if self.rng.one_in(40) {
                self.api.compact();
            }
            self.step();
            self.die_sometimes();
        }
        self.faults = false;
        for _ in 0..2000 {
            self.step();
            let p = &self.process;
            let current = self.api.after(version(&p.capture.position)).is_none();
            if current && p.core.phase().name == "watching" && p.lane.is_drained() {
                return Ok(());
            }
        }
        Err(format!("never settled: {:?} {:?}", self.process.core.phase(), self.process.lane.usage()))
    }

    fn happened(&mut self, what: &'static str) {
        *self.deaths.entry(what).or_default() += 1;
    }

    pub(super) fn fault(&mut self, one_in: u64, what: &'static str) -> bool {
        let happens = self.faults && self.rng.one_in(one_in);
        if happens {
            self.happened(what);
        }
        happens
    }

    fn die_sometimes(&mut self) {
        if self.fault(40, "the watcher") {
            // An actor dies between two reports: what outlives it is all or nothing of each.
            self.process.core = core();
            self.process.answering = None;
        }
        if self.fault(40, "the publisher") {
            self.publisher_dies();
        }
        if self.fault(60, "the process") {
            self.process_dies();
        }
    }

    fn step(&mut self) {
        self.env.chance = self.rng.unit();
        self.env.now = self.process.core.wake_at().unwrap_or_default().max(self.env.now);
        self.process.core.tick(&self.process.capture, self.env);
        self.pump(usize::MAX);
        self.serve();
        // A watcher may be cut off in the middle of what it has read.
        let digested = if self.faults && self.rng.one_in(6) { self.rng.below(3) as usize } else { usize::MAX };
        self.pump(digested);
        self.publish();
        if self.rng.one_in(3) {
            self.checkpoint = self.process.lane.watermark().or(self.checkpoint.take());
        }
    }

    /// What the watcher actor does with what the core gives.
    fn pump(&mut self, most: usize) {
        let p = &mut self.process;
        for _ in 0..most {
            if !p.lane.has_room() {
                break;
            }
            let listing = p.core.phase().name == "listing";
            let Some(mut commit) = p.core.next(&p.capture, &p.writer, &p.overlay, self.env) else { break };
            for object in std::mem::take(&mut commit.versions) {
                let o = object.get();
                p.overlay.0.insert((o.uid.clone(), o.rv.clone()), o.json.clone());
            }
            if self.rules.mutant == Some(Mutant::PointBeforeListEnd) && listing {
                commit.position = Some(Rv::new(&self.api.rv.to_string()));
            }
            let changes = commit.records.iter().filter(|r| r.value.is_some() && !is_of_a_gap(r));
            p.accounts.published += changes.count();
            let point = commit.point(&p.capture);
            p.lane.push(std::mem::take(&mut commit.records), point);
            p.capture.apply(commit);
        }
        if self.rng.one_in(20) {
            // The store has folded some versions away and its rows are not at hand.
            p.overlay.0.clear();
        }
        for notice in p.core.notices() {
            match notice {
                Notice::Received => p.accounts.received += 1,
                Notice::Inferred => p.accounts.inferred += 1,
                Notice::Filtered(_) => p.accounts.filtered += 1,
                _ => {}
            }
        }
        for action in p.core.actions() {
            p.answering = match action {
                Action::Close | Action::Listed => None,
                Action::Send(Request { verb: Verb::WatchList { .. }, .. }) => panic!("not asked for here"),
                Action::Send(Request { id, verb: Verb::Probe { rv }, .. }) => {
                    Some((id, Answering::Probe { known: version(&rv) <= self.api.rv }))
                }
                Action::Send(Request { id, verb: Verb::Review { .. }, .. }) => Some((id, Answering::Review)),
                Action::Send(Request { id, verb: Verb::Watch { rv, .. }, metadata_only: metadata }) => {
                    Some((id, Answering::Watch { cursor: version(&rv), headed: false, metadata }))
                }
                Action::Send(Request { id, verb: Verb::List { limit, next, at_least, .. }, .. }) => {
                    let (at, from) = match next.as_deref().and_then(|token| token.split_once('/')) {
                        Some((at, from)) => (at.parse().expect("our token"), from.parse().expect("our token")),
                        None => {
                            // A lagging server may answer as long as it is not older than asked for.
                            let oldest = at_least.as_ref().map_or(self.api.rv, version);
                            let lag = if self.faults { self.rng.below(12) } else { 0 };
                            let at = self.api.rv.saturating_sub(lag).max(oldest).min(self.api.rv);
                            (at, 0)
                        }
                    };
                    Some((id, Answering::List { at, from, limit: limit as usize }))
                }
            };
        }
    }

    fn input(&mut self, id: u64, input: Input) {
        self.process.core.input(id, input, self.env);
    }

    fn respond(&mut self, id: u64, code: u16, body: String) {
        self.process.answering = None;
        self.input(id, Input::Head { status: code, retry_after: None });
        self.input(id, Input::Body(body.into()));
        self.input(id, Input::End);
    }

    fn serve(&mut self) {
        let Some((id, answering)) = self.process.answering.take() else { return };
        if self.fault(30, "the connection") {
            return self.input(id, Input::Broken("reset".into()));
        }
        let watching = matches!(answering, Answering::Watch { headed: false, .. });
        for (one_in, what, code, list) in [
            (40, "500", 500, true),
            (60, "429", 429, true),
            (120, "403", 403, true),
            (200, "404", 404, true),
            (20, "a page token", 410, matches!(answering, Answering::List { from: 1.., .. })),
        ] {
            let first = watching || matches!(answering, Answering::List { .. });
            if list && first && self.fault(one_in, what) {
                if let (410, Answering::List { at, from, .. }) = (code, &answering)
                    && self.rng.one_in(2)
                {
                    // The server offers to go on, with what is there now.
                    let last = self.api.state_at(*at).into_keys().nth(from - 1).unwrap_or_default();
                    let from = self.api.state_at(u64::MAX).range(..=last).count();
                    let token = format!("\"metadata\":{{\"continue\":\"{}/{from}\"}}", self.api.rv);
                    self.happened("a page token for later pages");
                    return self.respond(id, 410, status(410, "Expired").replace("\"metadata\":{}", &token));
                }
                return self.respond(id, code, String::new());
            }
        }
        match answering {
            Answering::List { at, from, limit } => self.serve_list(id, at, from, limit),
            Answering::Watch { cursor, headed, metadata } => self.serve_watch(id, cursor, headed, metadata),
            Answering::Probe { known: true } => {
                let body = page(&self.api.rv.to_string(), &[], "");
                self.respond(id, 200, body);
            }
            Answering::Probe { known: false } => self.respond(id, 504, too_large()),
            Answering::Review => self.respond(id, 201, r#"{"status":{"allowed":true}}"#.to_owned()),
        }
    }

    fn serve_list(&mut self, id: u64, at: u64, from: usize, limit: usize) {
        let state = self.api.state_at(at);
        let shown = state.iter().skip(from).take(limit).map(|(name, (uid, rv))| {
            let whole = item(name, uid, *rv);
            if self.api.poisoned.contains(rv) { poisoned(&whole) } else { whole }
        });
        let items: Vec<_> = shown.collect();
        let next = if from + limit < state.len() { format!("{at}/{}", from + limit) } else { String::new() };
        let mut body = page(&at.max(1).to_string(), &items, &next);
        if self.fault(40, "half a page") {
            body.truncate(body.len() / 2);
        }
        self.respond(id, 200, body);
    }

    fn serve_watch(&mut self, id: u64, mut cursor: u64, headed: bool, metadata: bool) {
        if cursor < self.api.floor {
            let code = if headed || self.rng.one_in(2) { 200 } else { 410 };
            let body = if code == 200 { error(410, "Expired") } else { status(410, "Expired") };
            self.happened("410");
            return self.respond(id, code, body);
        }
        if !headed {
            self.input(id, Input::Head { status: 200, retry_after: None });
        }
        for _ in 0..self.rng.below(5) {
            let Some(change) = self.api.after(cursor).cloned() else {
                cursor = self.api.rv;
                let line = bookmark(cursor.max(1));
                self.feed(id, &line);
                break;
            };
            cursor = change.rv;
            let mut line = event(change.wire, &change.name, &change.uid, change.rv);
            if !metadata && self.api.poisoned.contains(&change.rv) {
                line = poisoned(&line);
                self.happened("a poisoned line");
            }
            if self.fault(30, "a line") {
                let half = line.len() / 2;
                line.replace_range(half..line.len() - 1, "garbled");
                if self.rules.mutant == Some(Mutant::SkipUndecodable) {
                    continue;
                }
            } else if self.fault(60, "half a line") {
                self.feed(id, &line[..line.len() / 2]);
                return self.input(id, Input::End);
            } else {
                self.reported.push((change.uid, change.rv));
            }
            self.feed(id, &line);
        }
        if self.fault(40, "the end of a watch") {
            return self.input(id, Input::End);
        }
        self.process.answering = Some((id, Answering::Watch { cursor, headed: true, metadata }));
    }

    /// One change in a few is of a form that nobody reads.
    fn poison_some(&mut self) {
        if self.faults && self.rng.one_in(25) {
            self.api.poisoned.insert(self.api.rv);
        }
    }

    fn feed(&mut self, id: u64, line: &str) {
        let cut = self.rng.below(line.len() as u64) as usize;
        for part in [&line[..cut], &line[cut..]] {
            self.input(id, Input::Body(Bytes::copy_from_slice(part.as_bytes())));
        }
    }

    /// G10: received + inferred = published + filtered, per life of the process.
    pub fn check_accounts(&self) {
        let a = &self.process.accounts;
        assert_eq!(a.received + a.inferred, a.published + a.filtered, "received and inferred = published and filtered");
    }
}
