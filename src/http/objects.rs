//! `GET /api/v1/objects`: objects as they stand in the log, spliced into the answer without being parsed again.

use super::streams::push_on_one_line;
use super::{Faces, params::Params, problem::Problem};
use crate::messages::client::{ObjectPage, Query, StateClient};
use crate::messages::query::{AsOf, Object, QueryError};
use axum::body::Body;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use futures_util::StreamExt as _;
use futures_util::stream;
use std::collections::BTreeMap;
use std::convert::Infallible;
use std::sync::Arc;

/// Objects unpacked at once: some half a megabyte of Pods, so that a page costs the process little however slowly it is
/// fetched.
pub(super) const CHUNK: usize = 64;

/// `GET /api/v1/objects?kind=&namespace=&labelSelector=&fieldSelector=&limit=&continue=&view=`. With `view=identity` an
/// item is no more than namespace, name, uid and version. `stubs` names those of the page whose contents are not held.
pub(super) async fn list(State(faces): State<Faces>, uri: Uri) -> Result<Response, Problem> {
    let known = ["kind", "namespace", "labelSelector", "fieldSelector", "limit", "continue", "view"];
    let params = Params::read(&uri, &known, &[])?;
    let json: fn(&Object) -> Bytes = match params.text("view") {
        None | Some("full") => Object::json,
        Some("identity") => identity,
        Some(_) => return Err(Problem::bad_parameter("view", "is full or identity")),
    };
    let kind =
        params.text("kind").ok_or_else(|| Problem::bad_parameter("kind", "is required, for instance kind=pods"))?;
    let query = query(&params)?;
    let page = client(&faces)?.list(kind, &query, params.text("continue")).await.map_err(problem_of)?;
    Ok(answer(page, json))
}

/// `GET /api/v1/objects/{kind}/{namespace or _}/{name}`. A `Warning` header says that no more than its identity is held.
pub(super) async fn one(
    State(faces): State<Faces>,
    path: Result<Path<(String, String, String)>, PathRejection>,
    uri: Uri,
) -> Result<Response, Problem> {
    let Path((kind, namespace, name)) = path?;
    Params::read(&uri, &[], &[])?;
    let namespace = if namespace == "_" { "" } else { namespace.as_str() };
    match client(&faces)?.get(&kind, namespace, &name).await.map_err(problem_of)? {
        Some(object) => Ok(warned(object.stub().map(|_| 1), json(Body::from(object.json())))),
        None => {
            let at = if namespace.is_empty() { name } else { format!("{namespace}/{name}") };
            let at: String = at.chars().take(300).collect();
            Err(Problem::not_found(format!("the state holds no object {at:?} of kind {kind}")))
        }
    }
}

/// What of a query string selects objects.
pub(super) fn query(params: &Params) -> Result<Query, Problem> {
    let text = |name| params.text(name).unwrap_or_default().to_owned();
    Ok(Query {
        namespace: text("namespace"),
        labels: text("labelSelector"),
        fields: text("fieldSelector"),
        limit: params.parsed("limit", "a number of objects")?.unwrap_or_default(),
    })
}

/// The way to the state, once there is one.
pub(super) fn client(faces: &Faces) -> Result<StateClient, Problem> {
    faces.client.get().cloned().ok_or_else(|| Problem::starting(faces.board.missing()))
}

/// What the state says, as a problem.
pub(super) fn problem_of(error: QueryError) -> Problem {
    let (code, text) = (error.code(), error.to_string());
    match error {
        QueryError::NotReady { missing, .. } => {
            let mut problem = Problem::unavailable("starting", text, 1);
            problem.missing = vec![missing.to_string()];
            problem
        }
        error if error.is_transient() => Problem::unavailable(code, text, 1),
        _ => Problem::new(StatusCode::BAD_REQUEST, code, text),
    }
}

fn answer(page: ObjectPage, json_of: fn(&Object) -> Bytes) -> Response {
    let ObjectPage { items, next, as_of } = page;
    let mut tail = serde_json::json!({ "continue": next, "asOf": positions(&as_of) });
    let stubs: Vec<_> = items.iter().filter_map(stub).collect();
    let held_by_name = Some(stubs.len()).filter(|n| *n > 0);
    if held_by_name.is_some() {
        tail["stubs"] = stubs.into();
    }
    let tail = tail.to_string();
    // The tail goes on in the same object.
    let tail = format!("],{}", tail.strip_prefix('{').unwrap_or(&tail));
    let chunks = stream::iter(splices(items, json_of)).chain(stream::iter([Bytes::from(tail)]));
    let body = stream::iter([Bytes::from_static(b"{\"items\":[")]).chain(chunks).map(Ok::<_, Infallible>);
    warned(held_by_name, json(Body::from_stream(body)))
}

/// With the header by which an API server warns: that many objects are stubs (RFC 7234 §5.5; KEP-1693).
fn warned(stubs: Option<usize>, mut response: Response) -> Response {
    let Some(stubs) = stubs else { return response };
    let text = format!("299 - \"objects held by identity alone, as they could not be read or carried: {stubs}\"");
    if let Ok(warning) = HeaderValue::from_str(&text) {
        response.headers_mut().insert(header::WARNING, warning);
    }
    response
}

fn identity(object: &Object) -> Bytes {
    let metadata = serde_json::json!({"namespace": object.namespace(), "name": object.name(), "uid": &**object.uid(),
        "resourceVersion": object.rv().as_str()});
    match object.stub() {
        Some(_) => serde_json::json!({ "metadata": metadata, "stub": true }),
        None => serde_json::json!({ "metadata": metadata }),
    }
    .to_string()
    .into()
}

fn stub(object: &Object) -> Option<serde_json::Value> {
    let stub = object.stub()?;
    Some(serde_json::json!({"namespace": object.namespace(), "name": object.name(), "reason": stub.reason,
        "bytes": stub.bytes}))
}

/// Objects between commas, unpacked a chunk at a time as the client takes them.
fn splices(items: Vec<Object>, json_of: fn(&Object) -> Bytes) -> impl Iterator<Item = Bytes> {
    let count = items.len();
    (0..count).step_by(CHUNK).map(move |start| {
        let mut out = Vec::new();
        for (i, object) in items[start..(start + CHUNK).min(count)].iter().enumerate() {
            if start + i > 0 {
                out.push(b',');
            }
            push_on_one_line(&mut out, &json_of(object));
        }
        out.into()
    })
}

/// `{topic: {partition: next offset}}`.
pub(super) fn positions(as_of: &AsOf) -> BTreeMap<Arc<str>, BTreeMap<i32, i64>> {
    let mut topics: BTreeMap<Arc<str>, BTreeMap<i32, i64>> = BTreeMap::new();
    for position in &as_of.positions {
        topics.entry(position.topic.clone()).or_default().insert(position.partition, position.next);
    }
    topics
}

fn json(body: Body) -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], body).into_response()
}
