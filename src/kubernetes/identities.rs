//! Who is there: names, uids and versions of a kind's objects, by metadata alone, and how many they are. For the audit and
//! for `verify`; what is watched goes through the watch core.

use super::ApiServer;
use super::driver::Deadlines;
use crate::domain::audit::{Side, Version};
use crate::domain::index::Name;
use crate::domain::rv::Rv;
use crate::domain::target::Target;
use crate::domain::watch::{Request, Verb};
use futures_util::StreamExt as _;
use serde::Deserialize;
use std::borrow::Cow;
use tokio::time::timeout;

/// What is listed, as of one version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// Version of the list.
    pub rv: Rv,
    /// The objects.
    pub side: Side,
    /// Requests that it took.
    pub pages: usize,
}

/// Why there is no list.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ListError {
    /// The server refuses.
    #[error("the API server answers {0}")]
    Refused(u16),
    /// It is away, or what it says cannot be read.
    #[error("{0}")]
    Away(String),
    /// More objects than are held at once.
    #[error("there are more than {MAX_OBJECTS} objects")]
    TooMany,
}

/// Objects that one list may hold: some 60 MB of names.
pub const MAX_OBJECTS: usize = 250_000;
/// A page whose continuation has expired makes the list begin anew, so often.
const RESTARTS: usize = 2;

/// All objects of the target, most recent; pages of `limit`, each at most `max_page` bytes.
///
/// # Errors
/// See [`ListError`].
pub async fn list(api: &dyn ApiServer, target: &Target, limit: u32, max_page: usize) -> Result<Listed, ListError> {
    let (mut side, mut rv, mut next, mut restarts, mut pages) = (Side::new(), None, None, 0, 0);
    loop {
        pages += 1;
        let body = match page(api, target, identities(limit, next.take()), max_page).await {
            Err(ListError::Refused(410)) if restarts < RESTARTS => {
                restarts += 1;
                (side, rv) = (Side::new(), None);
                continue;
            }
            answer => answer?,
        };
        let page = read(&body)?;
        let list_rv = rv.get_or_insert_with(|| Rv::new(&page.metadata.resource_version)).clone();
        for Item { metadata } in page.items.unwrap_or_default() {
            let at = Name { namespace: metadata.namespace.as_ref().into(), name: metadata.name.as_ref().into() };
            if target.covers(&at) {
                side.insert(at, Version::new(metadata.uid.as_ref().into(), Rv::new(&metadata.resource_version)));
            }
        }
        if side.len() > MAX_OBJECTS {
            return Err(ListError::TooMany);
        }
        if page.metadata.next.is_empty() {
            return Ok(Listed { rv: list_rv, side, pages });
        }
        next = Some(page.metadata.next.into_owned());
    }
}

/// How many objects the target has; `None` where the server does not say, as with selectors.
///
/// # Errors
/// See [`ListError`].
pub async fn count(api: &dyn ApiServer, target: &Target, max_page: usize) -> Result<Option<u64>, ListError> {
    if target.only.is_some() {
        return Ok(None);
    }
    let body = page(api, target, identities(1, None), max_page).await?;
    let page = read(&body)?;
    let here = page.items.map_or(0, |items| items.len()) as u64;
    Ok(match (page.metadata.next.is_empty(), page.metadata.remaining) {
        (true, _) => Some(here),
        (false, Some(more)) => Some(here + more),
        (false, None) => None,
    })
}

/// Of the most recent.
fn identities(limit: u32, next: Option<String>) -> Verb {
    Verb::List { limit, next, at_least: None }
}

async fn page(api: &dyn ApiServer, target: &Target, verb: Verb, max: usize) -> Result<Vec<u8>, ListError> {
    let deadlines = Deadlines::default();
    let away = |what: &str| ListError::Away(format!("{}: {what}", target.id()));
    let request = Request { id: 0, verb, metadata_only: true };
    let response = match timeout(deadlines.headers, api.send(target, &request)).await {
        Err(_) => return Err(away("no answer in time")),
        Ok(Err(why)) => return Err(away(&why)),
        Ok(Ok(response)) => response,
    };
    if response.status != 200 {
        return Err(ListError::Refused(response.status));
    }
    let mut chunks = response.body;
    let whole = async {
        let mut body = Vec::new();
        while let Some(chunk) = chunks.next().await {
            body.extend_from_slice(&chunk.map_err(|why| away(&why))?);
            if body.len() > max {
                return Err(away("a page is too large"));
            }
        }
        Ok(body)
    };
    timeout(deadlines.page, whole).await.unwrap_or_else(|_| Err(away("a page takes too long")))
}

fn read(body: &[u8]) -> Result<Page<'_>, ListError> {
    // The error quotes nothing of the body: it may hold what must not leave.
    serde_json::from_slice(body).map_err(|e| ListError::Away(format!("a page cannot be read: {}", e.column())))
}

#[derive(Deserialize)]
struct Page<'a> {
    #[serde(borrow)]
    metadata: ListMeta<'a>,
    /// A real server writes `null` for an empty list of metadata.
    #[serde(borrow)]
    items: Option<Vec<Item<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ListMeta<'a> {
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
    #[serde(default, borrow, rename = "continue")]
    next: Cow<'a, str>,
    #[serde(default, rename = "remainingItemCount")]
    remaining: Option<u64>,
}

#[derive(Deserialize)]
struct Item<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Meta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow)]
    resource_version: Cow<'a, str>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::kind::Kind;
    use crate::kubernetes::Response;
    use bytes::Bytes;
    use futures_util::future::BoxFuture;
    use std::sync::Mutex;

    /// Answers with these, one after the other.
    struct Script(Mutex<Vec<(u16, String)>>);

    impl ApiServer for Script {
        fn send<'a>(&'a self, _: &'a Target, request: &'a Request) -> BoxFuture<'a, Result<Response, String>> {
            assert!(request.metadata_only && matches!(request.verb, Verb::List { .. }), "{request:?}");
            let (status, text) = self.0.lock().expect("not poisoned").remove(0);
            let body = futures_util::stream::iter([Ok(Bytes::from(text))]).boxed();
            Box::pin(async move { Ok(Response { status, retry_after: None, body }) })
        }
    }

    fn script(answers: &[(u16, &str)]) -> (Script, Target) {
        let answers = answers.iter().map(|(status, text)| (*status, (*text).to_owned())).collect();
        let kind = Kind::builtin("secrets").expect("built in");
        (Script(Mutex::new(answers)), Target::all(kind))
    }

    fn now<T>(future: impl Future<Output = T>) -> T {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime").block_on(future)
    }

    const ONE: &str = r#"{"metadata":{"resourceVersion":"9","continue":"t","remainingItemCount":6},
        "items":[{"metadata":{"name":"a","namespace":"n","uid":"ua","resourceVersion":"3"},"data":{"k":"canary"}}]}"#;
    const LAST: &str =
        r#"{"metadata":{"resourceVersion":"11"},"items":[{"metadata":{"name":"b","uid":"ub","resourceVersion":"4"}}]}"#;

    #[test]
    fn pages_make_one_list_of_the_first_pages_version_and_one_that_expires_begins_anew() {
        let (api, target) = script(&[(200, ONE), (410, ""), (200, ONE), (200, LAST)]);
        let listed = now(list(&api, &target, 1, 1 << 20)).expect("a list");
        assert_eq!((listed.rv.as_str(), listed.side.len(), listed.pages), ("9", 2, 4));
        assert!(!format!("{listed:?}").contains("canary"));
    }

    #[test]
    fn a_count_is_what_is_here_and_what_remains() {
        for (text, count) in [
            (ONE, Some(7)),
            (LAST, Some(1)),
            (r#"{"metadata":{"resourceVersion":"1"},"items":null}"#, Some(0)),
            (r#"{"metadata":{"resourceVersion":"1","continue":"t"},"items":[]}"#, None),
        ] {
            let (api, target) = script(&[(200, text)]);
            assert_eq!(now(super::count(&api, &target, 1 << 20)), Ok(count), "{text}");
        }
    }

    #[test]
    fn what_cannot_be_read_is_an_error_that_quotes_nothing() {
        let (api, target) =
            script(&[(200, r#"{"metadata":{"resourceVersion":7,"x":"canary"}}"#), (403, "canary"), (200, ONE)]);
        let error = now(list(&api, &target, 1, 1 << 20)).expect_err("no list").to_string();
        assert!(error.contains("cannot be read") && !error.contains("canary"), "{error}");
        assert_eq!(now(list(&api, &target, 1, 1 << 20)), Err(ListError::Refused(403)));
        let error = now(list(&api, &target, 1, 10)).expect_err("no list").to_string();
        assert!(error.contains("too large"), "{error}");
    }
}
