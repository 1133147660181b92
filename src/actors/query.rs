//! The query actor: answers questions about the state, on an arbiter of its own, so that an answer never waits behind
//! the applying of a batch. It reads the store and keeps nothing, so it may die at any line.
//!
//! Handlers answer at once. None unpacks an object: that is done by whoever asked, where the bytes are wanted.

use crate::actors::rt::{self, Context, Worker};
use crate::domain::kind::Kind;
use crate::messages::query::{
    Continue, Count, Counted, DEFAULT_LIMIT, Get, GetStats, List, Listed, MAX_LIMIT, Object, QueryError, Stats,
    Subscribe, Subscription,
};
use crate::store::Store;
use actix::Handler;
use std::sync::Arc;

/// Answers from the store it is lent.
pub struct QueryActor {
    store: Arc<Store>,
}

rt::worker!(QueryActor);

impl Worker for QueryActor {}

impl QueryActor {
    /// Answers from that store. Cheap: the wiring calls it for every life.
    pub fn new(store: Arc<Store>) -> Self {
        Self { store }
    }

    /// The kind of that id, if questions about it can be answered.
    fn kind(&self, id: &str) -> Result<Kind, QueryError> {
        let kind = self.store.kind(id).ok_or_else(|| {
            let known = self.store.kinds().iter().map(Kind::id).collect();
            QueryError::UnknownKind { kind: id.to_owned(), known }
        })?;
        match self.store.missing(&kind) {
            Some(missing) => Err(QueryError::NotReady { kind: id.to_owned(), missing }),
            None => Ok(kind),
        }
    }
}

impl Handler<Get> for QueryActor {
    type Result = Result<Option<Object>, QueryError>;

    fn handle(&mut self, get: Get, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.get(&self.kind(&get.kind)?, &get.at))
    }
}

impl Handler<List> for QueryActor {
    type Result = Result<Listed, QueryError>;

    fn handle(&mut self, list: List, _: &mut Context<Self>) -> Self::Result {
        let kind = self.kind(&list.kind)?;
        if list.next.as_ref().is_some_and(|next| !next.fits(&kind, &list.filter)) {
            return Err(QueryError::BadContinue("belongs to another question"));
        }
        let limit = if list.limit == 0 { DEFAULT_LIMIT } else { list.limit.min(MAX_LIMIT) };
        let after = list.next.as_ref().map(|next| &next.after);
        let page = self.store.list(&kind, &list.filter, after, limit);
        let next = page.more_after.map(|last| Continue::new(last, &kind, &list.filter));
        Ok(Listed { items: page.items, next, as_of: page.as_of })
    }
}

impl Handler<Count> for QueryActor {
    type Result = Result<Counted, QueryError>;

    fn handle(&mut self, count: Count, _: &mut Context<Self>) -> Self::Result {
        let kind = self.kind(&count.kind)?;
        let as_of = self.store.as_of(&kind);
        Ok(Counted { count: self.store.count(&kind, &count.filter), as_of })
    }
}

impl Handler<Subscribe> for QueryActor {
    type Result = Result<Subscription, QueryError>;

    fn handle(&mut self, subscribe: Subscribe, _: &mut Context<Self>) -> Self::Result {
        let Subscribe { kinds, mut filter, since } = subscribe;
        filter.kinds = if kinds.is_empty() {
            self.store.kinds().iter().map(|kind| self.kind(&kind.id())).collect::<Result<_, _>>()?
        } else {
            kinds.iter().map(|kind| self.kind(kind)).collect::<Result<_, _>>()?
        };
        Ok(self.store.subscribe(filter, since))
    }
}

impl Handler<GetStats> for QueryActor {
    type Result = Result<Stats, QueryError>;

    fn handle(&mut self, _: GetStats, _: &mut Context<Self>) -> Self::Result {
        Ok(self.store.stats())
    }
}

#[cfg(test)]
mod tests;
