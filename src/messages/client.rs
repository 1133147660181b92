//! The state as a Rust API: typed questions, without an address, a deadline or a retry in the caller's hands.
//!
//! ```no_run
//! # async fn example(client: agent_events::messages::client::StateClient) -> Result<(), Box<dyn std::error::Error>> {
//! use agent_events::messages::client::Query;
//! let web = Query { namespace: "shop".into(), labels: "app in (web, api)".into(), ..Query::default() };
//! println!("{} pods", client.count("pods", &web).await?.count);
//! let mut page = client.list("pods", &web, None).await?;
//! while let Some(next) = page.next.take() {
//!     page = client.list("pods", &web, Some(&next)).await?;
//! }
//! let mut changes = client.subscribe(&["pods"], &web, None).await?;
//! for pod in changes.take_snapshot() {
//!     println!("{} {:?}", pod.name(), pod.field("status.phase"));
//! }
//! while let Ok(change) = changes.next().await {
//!     println!("{:?} {}", change.operation, change.object.name());
//! }
//! # Ok(()) }
//! ```

use super::query::{
    Continue, Count, Counted, Cursor, Filter, Get, GetStats, List, Listed, Object, QueryError, Stats, Subscribe,
    Subscription,
};
use crate::domain::index::Name;
use crate::domain::selector::{FieldSelector, LabelSelector};
use actix::dev::ToEnvelope;
use actix::{Actor, Addr, Handler, MailboxError, Message, Recipient};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;

/// How long an answer may take. They take microseconds; this is for an actor that is being healed.
const DEADLINE: Duration = Duration::from_secs(3);
/// Questions under way at once, over all clones. A question waits for some 20 µs, so this many are answered within the
/// 5 ms a caller would not notice; whoever comes beyond them is told at once instead of queueing.
const CONCURRENT: usize = 256;

/// Which objects are asked about; the default is all of them, with pages of 500.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Query {
    /// One namespace; empty for all.
    pub namespace: String,
    /// Label selector as in `kubectl -l`; empty for all.
    pub labels: String,
    /// Field selector as in `kubectl --field-selector`; empty for all. Known fields:
    /// [`crate::domain::selector::FIELDS`].
    pub fields: String,
    /// Objects in a page; 0 means 500, at most 5000.
    pub limit: usize,
}

impl Query {
    /// What it means, or where a selector goes wrong.
    pub fn filter(&self) -> Result<Filter, QueryError> {
        let bad = |which| move |error| QueryError::BadSelector { which, error };
        Ok(Filter {
            kinds: Vec::new(),
            namespace: Some(self.namespace.clone()).filter(|namespace| !namespace.is_empty()),
            labels: LabelSelector::parse(&self.labels).map_err(bad("label"))?,
            fields: FieldSelector::parse(&self.fields).map_err(bad("field"))?,
        })
    }
}

/// One page of a list.
#[derive(Debug, Clone)]
pub struct ObjectPage {
    /// Objects, by namespace and name.
    pub items: Vec<Object>,
    /// Give it back for the next page; `None` on the last.
    pub next: Option<String>,
    /// State that the page shows at least.
    pub as_of: super::query::AsOf,
}

/// Asks about the state. Cheap to clone, usable from any thread and any tokio runtime with a timer.
#[derive(Clone)]
pub struct StateClient {
    shared: Arc<Shared>,
}

struct Shared {
    get: Recipient<Get>,
    list: Recipient<List>,
    count: Recipient<Count>,
    subscribe: Recipient<Subscribe>,
    stats: Recipient<GetStats>,
    deadline: Duration,
    places: Semaphore,
}

impl fmt::Debug for StateClient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StateClient").field("free", &self.shared.places.available_permits()).finish_non_exhaustive()
    }
}

impl StateClient {
    /// A client of the actor that answers.
    pub fn new<A>(actor: &Addr<A>) -> Self
    where
        A: Actor + Handler<Get> + Handler<List> + Handler<Count> + Handler<Subscribe> + Handler<GetStats>,
        A::Context: ToEnvelope<A, Get>
            + ToEnvelope<A, List>
            + ToEnvelope<A, Count>
            + ToEnvelope<A, Subscribe>
            + ToEnvelope<A, GetStats>,
    {
        let shared = Shared {
            get: actor.clone().recipient(),
            list: actor.clone().recipient(),
            count: actor.clone().recipient(),
            subscribe: actor.clone().recipient(),
            stats: actor.clone().recipient(),
            deadline: DEADLINE,
            places: Semaphore::new(CONCURRENT),
        };
        Self { shared: Arc::new(shared) }
    }

    /// One object; `None` if there is no such one. `namespace` is empty for cluster-scoped objects.
    pub async fn get(&self, kind: &str, namespace: &str, name: &str) -> Result<Option<Object>, QueryError> {
        let at = Name { namespace: namespace.into(), name: name.into() };
        self.ask(&self.shared.get, Get { kind: kind.to_owned(), at }).await
    }

    /// A page of objects, by namespace and name. `next` is the token of the page before, with the same query.
    pub async fn list(&self, kind: &str, query: &Query, next: Option<&str>) -> Result<ObjectPage, QueryError> {
        let next = next.map(Continue::decode).transpose()?;
        let list = List { kind: kind.to_owned(), filter: query.filter()?, limit: query.limit, next };
        let Listed { items, next, as_of } = self.ask(&self.shared.list, list).await?;
        Ok(ObjectPage { items, next: next.map(|next| next.encode()), as_of })
    }

    /// How many objects there are.
    pub async fn count(&self, kind: &str, query: &Query) -> Result<Counted, QueryError> {
        self.ask(&self.shared.count, Count { kind: kind.to_owned(), filter: query.filter()? }).await
    }

    /// The objects as they are, and then every change, without a gap and without a repeat. No kinds means all. With
    /// `since`, the cursor of an earlier subscription, only what came behind it, if that is still kept: see
    /// [`Subscription::resumed`].
    pub async fn subscribe(
        &self,
        kinds: &[&str],
        query: &Query,
        since: Option<&str>,
    ) -> Result<Subscription, QueryError> {
        let since = since.map(str::parse::<Cursor>).transpose().map_err(QueryError::BadCursor)?;
        let kinds = kinds.iter().map(|kind| (*kind).to_owned()).collect();
        self.ask(&self.shared.subscribe, Subscribe { kinds, filter: query.filter()?, since }).await
    }

    /// Figures of the store.
    pub async fn stats(&self) -> Result<Stats, QueryError> {
        self.ask(&self.shared.stats, GetStats).await
    }

    async fn ask<M, T>(&self, actor: &Recipient<M>, question: M) -> Result<T, QueryError>
    where
        M: Message<Result = Result<T, QueryError>> + Send + Clone + 'static,
        T: Send + 'static,
    {
        let _place = self.shared.places.try_acquire().map_err(|_| QueryError::Busy(CONCURRENT))?;
        // Reading twice is harmless, so the question that an actor died over is asked once more: of its next life.
        for _ in 0..2 {
            match actor.send(question.clone()).timeout(self.shared.deadline).await {
                Ok(answer) => return answer,
                Err(MailboxError::Timeout) => return Err(QueryError::Timeout(self.shared.deadline)),
                Err(MailboxError::Closed) => {}
            }
        }
        Err(QueryError::Restarting)
    }
}
