//! The client and the actor together, on one thread with paused time: questions as programs ask them.

use super::*;
use crate::actors::rt::{Arbiters, ChildSpec, Group, Supervisor, SupervisorHandle};
use crate::domain::fold::kit;
use crate::domain::index::Name;
use crate::domain::record::InRecord;
use crate::domain::restart::Intensity;
use crate::messages::client::{Query, StateClient};
use crate::messages::life::KillHow;
use crate::store::{Operation, StoreOptions};
use actix::{Actor, ResponseActFuture, System};
use std::collections::BTreeSet;
use std::time::Duration;

const KINDS: [&str; 3] = ["pods", "services", "events"];

fn kind(id: &str) -> Kind {
    Kind::builtin(id).expect("built in")
}

fn store() -> Arc<Store> {
    let tables = KINDS.map(|id| (kind(id), format!("k8s-{id}").as_str().into())).to_vec();
    let store = Store::new(StoreOptions { instance: 7, ..StoreOptions::new(kit::CLUSTER, tables) });
    KINDS.iter().for_each(|id| store.complete(&kind(id)));
    store
}

/// `count` pods, half of them in namespace `a`.
fn with_pods(store: &Store, count: u8) {
    let log: Vec<InRecord> =
        (0..count).map(|n| kit::put(1, "c", &kit::name(n), &format!("uid-{n}"), u64::from(n) + 1)).collect();
    store.apply(&kit::in_order(log));
}

/// Runs a test beside a supervised query actor.
fn asking(store: &Arc<Store>, test: impl AsyncFnOnce(StateClient, SupervisorHandle)) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build();
    System::with_tokio_rt(|| runtime.expect("a current-thread runtime needs nothing")).block_on(async {
        let store = store.clone();
        let place = Arbiters::single().place("query");
        let (spec, actor) = ChildSpec::new("query", &place, 16, move || QueryActor::new(store.clone()));
        let group = Group::one_for_one("answers").child(spec).intensity(Intensity::new(100, Duration::from_secs(60)));
        let supervisor = Supervisor::new(vec![group]).chaos(true).start().expect("one child");
        supervisor.booted().await;
        test(StateClient::new(&actor), supervisor).await;
    });
}

fn in_namespace(namespace: &str) -> Query {
    Query { namespace: namespace.into(), ..Query::default() }
}

#[test]
fn an_object_comes_back_as_it_stands_in_the_log_and_one_that_is_not_there_as_none() {
    let store = store();
    with_pods(&store, 3);
    asking(&store, async |client, _| {
        let pod = client.get("pods", "b", "pod-1").await.unwrap().expect("there");
        assert_eq!((&**pod.uid(), pod.rv().as_str(), pod.field("status.phase")), ("uid-1", "2", Some("Running")));
        assert_eq!(pod.json(), kit::object(&kit::name(1), "uid-1", 2, &Default::default()));
        assert!(client.get("pods", "a", "pod-1").await.unwrap().is_none());
        assert!(client.get("services", "b", "pod-1").await.unwrap().is_none());
    });
}

#[test]
fn pages_follow_each_other_by_their_tokens_until_the_last() {
    let store = store();
    with_pods(&store, 11);
    asking(&store, async |client, _| {
        let query = Query { limit: 4, ..Query::default() };
        let (mut seen, mut sizes, mut next) = (BTreeSet::new(), Vec::new(), None::<String>);
        loop {
            let page = client.list("pods", &query, next.as_deref()).await.unwrap();
            assert_eq!((page.as_of.positions[0].next, page.as_of.version), (11, 11));
            sizes.push(page.items.len());
            seen.extend(page.items.iter().map(|pod| pod.at().clone()));
            next = page.next;
            if next.is_none() {
                break;
            }
        }
        assert_eq!((sizes, seen.len()), (vec![4, 4, 3], 11));
        let counted = client.count("pods", &in_namespace("a")).await.unwrap();
        assert_eq!((counted.count, counted.as_of.version), (6, 11));
    });
}

#[test]
fn a_token_is_good_for_its_own_question_only() {
    let store = store();
    with_pods(&store, 11);
    asking(&store, async |client, _| {
        let query = Query { limit: 2, ..Query::default() };
        let token = client.list("pods", &query, None).await.unwrap().next.expect("more");
        let more = Query { limit: 5, ..Query::default() };
        assert_eq!(
            client.list("pods", &more, Some(&token)).await.unwrap().items.len(),
            5,
            "another limit is no other question"
        );
        for (kind, query) in [("services", query.clone()), ("pods", in_namespace("a"))] {
            let refused = client.list(kind, &query, Some(&token)).await.unwrap_err();
            assert!(matches!(refused, QueryError::BadContinue(_)), "{refused}");
        }
        for damaged in ["", "x", "!!!", &token[1..], "MS8w"] {
            let refused = client.list("pods", &query, Some(damaged)).await.unwrap_err();
            assert_eq!(refused.code(), "bad_continue", "{damaged:?}");
        }
    });
}

#[test]
fn limits_have_a_default_and_an_end() {
    let store = store();
    let at = |n: usize| Name { namespace: "a".into(), name: format!("p{n:05}").as_str().into() };
    let log = (0..MAX_LIMIT + 1).map(|n| kit::put(1, "c", &at(n), "u", 1)).collect();
    store.apply(&kit::in_order(log));
    asking(&store, async |client, _| {
        for (limit, expected) in [(0, DEFAULT_LIMIT), (7, 7), (usize::MAX, MAX_LIMIT)] {
            let query = Query { limit, ..Query::default() };
            assert_eq!(client.list("pods", &query, None).await.unwrap().items.len(), expected);
        }
    });
}

#[test]
fn a_question_that_cannot_be_answered_says_why_and_what_would_help() {
    let store = store();
    store.incomplete(&kind("services"), "k8s-services is being read: 3 of 6 partitions");
    asking(&store, async |client, _| {
        let all = Query::default();
        let unknown = client.get("nodes", "", "n1").await.unwrap_err();
        assert_eq!(unknown.to_string(), r#"kind "nodes" is not captured; these are: pods, services, events"#);
        let not_ready = client.count("services", &all).await.unwrap_err();
        assert!(not_ready.to_string().contains("3 of 6 partitions") && not_ready.is_transient(), "{not_ready}");
        assert_eq!(client.subscribe(&[], &all, None).await.unwrap_err(), not_ready, "all kinds, and one is not ready");
        assert!(client.subscribe(&["pods"], &all, None).await.is_ok());
        let labels = Query { labels: "app in web".into(), ..Query::default() };
        let bad = client.list("pods", &labels, None).await.unwrap_err().to_string();
        assert_eq!(bad, r#"label selector, at byte 7: found "web", expected '('"#);
        let fields = Query { fields: "spec.x=1".into(), ..Query::default() };
        assert_eq!(client.count("pods", &fields).await.unwrap_err().code(), "bad_selector");
        assert_eq!(client.subscribe(&[], &all, Some("x")).await.unwrap_err().code(), "bad_cursor");
        assert_eq!(client.stats().await.unwrap().missing.len(), 1);
    });
}

#[test]
fn a_subscription_outlives_the_actor_that_gave_it() {
    let store = store();
    with_pods(&store, 2);
    asking(&store, async |client, supervisor| {
        let mut changes = client.subscribe(&["pods"], &in_namespace("a"), None).await.unwrap();
        assert_eq!(changes.take_snapshot().len(), 1);
        supervisor.kill("query", KillHow::Panic).await.unwrap();
        let late = |offset, number| InRecord { offset, ..kit::put(1, "c", &kit::name(number), "u", 9) };
        store.apply(&[late(2, 3), late(3, 4)]);
        let change = changes.next().await.unwrap();
        assert_eq!((change.operation, change.object.name()), (Operation::Added, "pod-4"));
        let resumed =
            client.subscribe(&["pods"], &Query::default(), Some(&changes.cursor().to_string())).await.unwrap();
        assert!(resumed.resumed());
    });
}

#[test]
fn whoever_asks_does_not_notice_that_the_actor_dies_and_comes_back() {
    let store = store();
    with_pods(&store, 2);
    asking(&store, async |client, supervisor| {
        for how in [KillHow::Panic, KillHow::Stop, KillHow::Panic] {
            supervisor.kill("query", how).await.unwrap();
            for _ in 0..20 {
                assert!(client.get("pods", "a", "pod-0").await.unwrap().is_some(), "{how:?}");
            }
            let is_back = async {
                while supervisor.tree().await.unwrap()[0].restarts == 0 {
                    tokio::time::sleep(Duration::from_millis(10)).await;
                }
            };
            tokio::time::timeout(Duration::from_secs(60), is_back).await.expect("it comes back");
        }
        assert_eq!(supervisor.tree().await.unwrap()[0].incarnation, 4, "it really died");
    });
}

/// Takes questions and never answers; panics over a count.
struct Silent;

impl Actor for Silent {
    type Context = actix::Context<Self>;
}

macro_rules! never {
    ($($question:ty => $answer:ty),*) => {$(
        impl Handler<$question> for Silent {
            type Result = ResponseActFuture<Self, Result<$answer, QueryError>>;
            fn handle(&mut self, _: $question, _: &mut actix::Context<Self>) -> Self::Result {
                Box::pin(actix::fut::wrap_future(std::future::pending()))
            }
        }
    )*};
}
never!(Get => Option<Object>, List => Listed, Count => Counted, Subscribe => Subscription);

impl Handler<GetStats> for Silent {
    type Result = Result<Stats, QueryError>;
    fn handle(&mut self, _: GetStats, _: &mut actix::Context<Self>) -> Self::Result {
        std::panic::resume_unwind(Box::new("a panic without a report"))
    }
}

#[actix::test]
async fn too_many_questions_are_refused_at_once_and_none_waits_for_ever() {
    tokio::time::pause();
    let client = StateClient::new(&Silent.start());
    let questions: Vec<_> = (0..256)
        .map(|_| {
            actix::spawn({
                let client = client.clone();
                async move { client.get("pods", "a", "x").await.map(drop) }
            })
        })
        .collect();
    // Until all of them are asked.
    while !format!("{client:?}").contains("free: 0") {
        tokio::task::yield_now().await;
    }
    assert_eq!(client.count("pods", &Query::default()).await, Err(QueryError::Busy(256)));
    for question in questions {
        assert_eq!(question.await.unwrap(), Err(QueryError::Timeout(Duration::from_secs(3))));
    }
    // Their places are free again.
    assert_eq!(client.count("pods", &Query::default()).await.unwrap_err().code(), "timeout");
}

#[actix::test]
async fn an_actor_that_does_not_come_back_is_said_to_be_restarting() {
    let client = StateClient::new(&Silent.start());
    let answer = client.stats().await;
    assert_eq!(answer.unwrap_err(), QueryError::Restarting);
}
