//! GET: one object, or a page of a list.

use super::negotiate::{self, Form};
use super::query::{At, Continue, Parameters, Selection, revision};
use super::represent::{Include, Writer};
use super::target::Target;
use super::{Answer, Api, json_answer};
use crate::sandbox::faults::Fault;
use crate::sandbox::object::{Encoded, text_at};
use crate::sandbox::status::Status;
use axum::http::HeaderMap;
use bytes::Bytes;
use serde_json::{Map, Value, json};
use std::sync::Arc;

pub(super) fn writer(api: &Api, target: &Target, headers: &HeaderMap, query: &Parameters) -> Result<Writer, Status> {
    let form = negotiate::form(headers)?;
    let include = if form == Form::Table { Include::parse(query.text("includeObject"))? } else { Include::Metadata };
    Ok(Writer::new(target, form, include, api.state.origin().now()))
}

/// Waits for a version of the near future; one of the far future is refused.
pub(super) async fn reach(api: &Api, revision: u64) -> Result<(), Status> {
    if revision <= api.state.revision() || api.state.reached(revision, api.faults.future()).await {
        return Ok(());
    }
    let why = format!("Too large resource version: {revision}, current: {}", api.state.revision());
    let mut status = Status::new(504, "Timeout", why).retry_after(1);
    let cause = json!([{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}]);
    status.details.insert("causes".into(), cause);
    Err(status)
}

pub(super) async fn get(api: &Api, target: &Target, headers: &HeaderMap, query: &Parameters) -> Answer {
    let writer = writer(api, target, headers, query)?;
    if let Some(revision) = revision(query)? {
        reach(api, revision).await?;
    }
    let find = || api.state.get(&target.kind.qualified, &target.namespace, target.name());
    match target.subresource.as_deref() {
        None => Ok(json_answer(200, writer.one(find()?.encoded(), true))),
        Some("status") if target.kind.has_status => Ok(json_answer(200, writer.one(find()?.encoded(), true))),
        Some("scale") if target.kind.has_scale => Ok(json_answer(200, Bytes::from(scale(find()?.value()).to_string()))),
        Some("log") if target.kind.qualified == "pods" => Ok(super::plain_answer(log(find()?.value(), query)?)),
        Some(other) => Err(not_served(target, other)),
    }
}

pub(super) fn not_served(target: &Target, subresource: &str) -> Status {
    let why = format!("the sandbox does not serve {}/{subresource}", target.kind.qualified);
    Status { message: why, ..Status::no_such_resource() }
}

pub(super) async fn list(api: &Api, target: &Target, headers: &HeaderMap, query: &Parameters) -> Answer {
    negotiate::takes_lists(headers)?;
    let writer = writer(api, target, headers, query)?;
    let selection = Selection::of(query, &target.kind)?;
    let limit = usize::try_from(query.number("limit")?.unwrap_or_default()).unwrap_or(usize::MAX);
    let token = match query.text("continue") {
        "" => None,
        token => Some(Continue::parse(token)?),
    };
    let at = match (At::of(query, limit > 0)?, &token) {
        (_, Some(token)) => token.revision(),
        (At::Now | At::Any, _) => None,
        (At::NotOlderThan(revision), _) => {
            reach(api, revision).await?;
            None
        }
        (At::Exactly(revision), _) => {
            reach(api, revision).await?;
            Some(revision)
        }
    };
    let start = token.as_ref().map_or("", Continue::start);
    let (versions, revision) =
        api.state.list_at(&target.kind.qualified, &target.namespace, start, at).map_err(|status| match &token {
            Some(token) if status.code == 410 => expired(token),
            _ => status,
        })?;
    let (faults, resource) = (&api.faults, target.kind.qualified.as_str());
    if let Some(token) = token.as_ref().filter(|t| t.revision().is_some())
        && faults.takes(Fault::PageGone, "list", resource)
    {
        return Err(expired(token));
    }
    let mut taken: Vec<&Arc<Encoded>> =
        versions.iter().filter(|v| v.matches(&selection.labels, &selection.fields)).collect();
    if !super::query::is_about_a_version(query) && faults.takes(Fault::Empty, "list", resource) {
        taken.clear();
    }
    let page = if limit > 0 { limit.min(taken.len()) } else { taken.len() };
    let mut metadata = Map::new();
    metadata.insert("resourceVersion".into(), revision.to_string().into());
    if page < taken.len() {
        let next = Continue::after(&key_of(taken[page - 1]), Some(revision));
        metadata.insert("continue".into(), next.text().into());
        // Counting what a selector would take is too much to ask of a real API server.
        if selection.is_empty() {
            metadata.insert("remainingItemCount".into(), (taken.len() - page).into());
        }
    }
    let spoil = |object: &Encoded, written: &[u8]| {
        let how = faults.spoils("list", resource, object, writer.is_metadata())?;
        Some(how.apply(object, written))
    };
    Ok(json_answer(200, writer.list(metadata, taken[..page].iter().map(|v| &***v), spoil)))
}

fn key_of(version: &Encoded) -> String {
    let value = version.value();
    let (namespace, name) = (text_at(&value, "/metadata/namespace"), text_at(&value, "/metadata/name"));
    crate::sandbox::object::key_of(namespace, name)
}

fn expired(token: &Continue) -> Status {
    let why = "The provided continue parameter is too old to display a consistent list result. You can start a new list \
               without the continue parameter, or use the continue token in this response to retrieve the remainder of the \
               results. Continuing with the provided token results in an inconsistent list - objects that were created, \
               modified, or deleted between the time the first chunk was returned and now may show up in the list.";
    Status { next: Some(token.inconsistent().text()), ..Status::expired(why) }
}

/// The `Scale` of a workload.
pub(super) fn scale(object: &Value) -> Value {
    let metadata = &object["metadata"];
    let selector = object.pointer("/spec/selector/matchLabels").and_then(Value::as_object).into_iter().flatten();
    let selector: Vec<String> = selector.filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?))).collect();
    let number = |pointer: &str| object.pointer(pointer).and_then(Value::as_i64).unwrap_or_default();
    // Zero is left out.
    let spec = match number("/spec/replicas") {
        0 => json!({}),
        replicas => json!({"replicas": replicas}),
    };
    json!({
        "kind": "Scale", "apiVersion": "autoscaling/v1",
        "metadata": {"name": metadata["name"], "namespace": metadata["namespace"], "uid": metadata["uid"],
                     "resourceVersion": metadata["resourceVersion"], "creationTimestamp": metadata["creationTimestamp"]},
        "spec": spec,
        "status": {"replicas": number("/status/replicas"), "selector": selector.join(",")},
    })
}

/// What a container might have printed: its pod's annotation, else what its status says.
fn log(pod: &Value, query: &Parameters) -> Result<String, Status> {
    let names = pod.pointer("/spec/containers").and_then(Value::as_array).into_iter().flatten();
    let names: Vec<&str> = names.map(|c| text_at(c, "/name")).collect();
    let pod_name = text_at(pod, "/metadata/name");
    let container = match (query.text("container"), names.as_slice()) {
        ("", [one]) => *one,
        ("", _) => {
            let why =
                format!("a container name must be specified for pod {pod_name}, choose one of: [{}]", names.join(" "));
            return Err(Status::bad_request(why));
        }
        (wanted, _) => names
            .iter()
            .copied()
            .find(|n| *n == wanted)
            .ok_or_else(|| Status::bad_request(format!("container {wanted} is not valid for pod {pod_name}")))?,
    };
    if let Some(written) = pod.pointer("/metadata/annotations/sandbox.agent-events~1log").and_then(Value::as_str) {
        return Ok(format!("{written}\n"));
    }
    let statuses = pod.pointer("/status/containerStatuses").and_then(Value::as_array).into_iter().flatten();
    let status = statuses.into_iter().find(|s| s["name"] == container);
    let Some(status) = status else {
        let why = format!("container {container:?} in pod {pod_name:?} is waiting to start: ContainerCreating");
        return Err(Status::bad_request(why));
    };
    let image = text_at(status, "/image");
    let started = text_at(status, "/state/running/startedAt");
    let restarts = status["restartCount"].as_i64().unwrap_or_default();
    Ok(format!("{started} sandbox: container {container} of {image}, restarted {restarts} times, prints nothing\n"))
}
