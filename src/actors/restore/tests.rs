//! What is written of what nobody reports: within the lane's room, and in the account (G7, G10).

use super::*;
use crate::actors::gone::{Going, go};
use crate::actors::overlay::Overlay;
use crate::domain::ack::Outcome;
use crate::domain::checkpoint::Vouched;
use crate::domain::fold::kit;
use crate::domain::kind::Kind;
use crate::domain::lane::{Account, Limits};
use crate::domain::record::InRecord;
use crate::domain::redact::{Policy, Redactor};
use crate::domain::watch::{Config, Request};
use crate::kubernetes::driver::{self, Deadlines};
use crate::kubernetes::{ApiServer, Response};
use crate::observe::board::WatcherRow;
use crate::store::{Store, StoreOptions};
use futures_util::future::BoxFuture;
use tokio::sync::{Notify, Semaphore, watch};

/// Records that a lane holds here.
const ROOM: usize = 8;

struct Away;

impl ApiServer for Away {
    fn send<'a>(&'a self, _: &'a Target, _: &'a Request) -> BoxFuture<'a, Result<Response, String>> {
        Box::pin(std::future::ready(Err("nobody asks".to_owned())))
    }
}

/// A watcher's things behind a fold of these records.
fn lent(target: Target, log: Vec<InRecord>) -> Lent {
    let kind = Kind::builtin("pods").expect("built in");
    let store = Store::new(StoreOptions::new(kit::CLUSTER, vec![(kind.clone(), kit::TOPIC.into())]));
    store.apply(&kit::in_order(log));
    let lane = Lane::new(Limits { bytes: usize::MAX, records: ROOM }, || {});
    let (_, folded) = watch::channel(true);
    Lent {
        capture: Mutex::default(),
        overlay: Mutex::new(Overlay::new(0)),
        bell: Arc::new(Notify::new()),
        row: WatcherRow::new(target.clone(), lane.clone()),
        lane,
        writer: Writer::new(kind.clone(), kit::TOPIC.into(), 1, kit::CLUSTER, 2),
        redactor: Box::new(move || Redactor::new(kind.clone(), Arc::new(Policy::default()))),
        config: Config::default(),
        batch: (1, 1),
        store,
        folded,
        resume_from: Point { history_epoch: 1, rv: Rv::new("100") },
        rebase: None,
        vouched: Vouched::everywhere(),
        siblings: Arc::new(Siblings::new(vec![target.clone()])),
        io: driver::Shared {
            api: Arc::new(Away),
            frames: Arc::new(Semaphore::new(1)),
            frame_budget: 1,
            snapshots: Arc::new(Semaphore::new(1)),
            deadlines: Deadlines::default(),
        },
        metrics: Arc::default(),
        target,
    }
}

fn pods(numbers: std::ops::Range<u8>) -> Vec<InRecord> {
    let pod = |n| kit::put(1, "c", &kit::name(n), &format!("u{n}"), 10 + u64::from(n));
    std::iter::once(kit::writer_marker(1)).chain(numbers.map(pod)).chain([kit::writer_marker(2)]).collect()
}

fn all() -> Target {
    Target::all(Kind::builtin("pods").expect("built in"))
}

/// The lane's account, which must be right and its lane within bounds.
fn account(lent: &Lent) -> Account {
    let usage = lent.lane.usage();
    // One object's delete and tombstone may be pushed where there is room for one record.
    assert!(usage.records <= ROOM + 1, "{} records in a lane of {ROOM}", usage.records);
    let account = usage.stats.account;
    let filtered: u64 = account.filtered.iter().sum();
    let became = filtered + account.published + account.coalesced + account.in_flight();
    assert_eq!(account.received + account.inferred, became, "{account:?}");
    account
}

fn ack_all(lent: &Lent) {
    for (_, token) in lent.lane.take(usize::MAX, usize::MAX) {
        token.settle(Outcome::Acked { partition: 0, offset: 0 });
    }
}

#[test]
fn what_has_left_the_scope_is_written_as_there_is_room_and_is_in_the_account() {
    // The odd ones stand in namespace b.
    let lent = lent(Target::within(all().kind, "a"), pods(0..20));
    take_over(&lent);
    let mut left = Vec::new();
    while left.last() != Some(&0) {
        left.push(write_leavers(&lent));
        account(&lent);
        ack_all(&lent);
    }
    assert_eq!(left, [6, 2, 0]);
    assert_eq!((account(&lent).inferred, account(&lent).published), (10, 10));
}

#[test]
fn a_kind_that_goes_is_deleted_as_there_is_room_for_it() {
    let lent = lent(all(), pods(0..10));
    let mut rounds = Vec::new();
    while rounds.last().is_none_or(|going: &Going| going.left > 0) {
        rounds.push(go(&lent, true));
        account(&lent);
        ack_all(&lent);
    }
    // The gap that declares the end takes room in the first round.
    assert_eq!(rounds.iter().map(|going| (going.inferred, going.left)).collect::<Vec<_>>(), [(3, 7), (4, 3), (3, 0)]);
    assert_eq!((account(&lent).inferred, account(&lent).published), (10, 10));
    assert_eq!(go(&lent, true), Going::default(), "once");
}

#[test]
fn what_is_written_again_at_a_start_is_in_the_account() {
    let lent = lent(all(), pods(0..2));
    take_over(&lent);
    write_again(&lent, &kit::name(1));
    assert_eq!((account(&lent).inferred, account(&lent).in_flight()), (1, 1));
    write_again(&lent, &kit::name(7));
    assert_eq!((account(&lent).inferred, lent.lane.usage().records), (1, 2), "a tombstone is no change");
}
