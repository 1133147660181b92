//! Which form of an answer a client takes.

use crate::sandbox::status::Status;
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;

/// The form of objects in an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Form {
    /// As they are.
    Whole,
    /// `PartialObjectMetadata`.
    Metadata,
    /// Rows and columns.
    Table,
}

/// Parts of one media range: its type, and `as`, `g`, `v`.
struct Range<'a> {
    media: &'a str,
    shape: &'a str,
    group: &'a str,
    version: &'a str,
}

fn ranges(headers: &HeaderMap) -> Vec<Range<'_>> {
    let lines = headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok());
    let understood = lines.flat_map(|line| line.split(',')).map(|range| {
        let mut parts = range.split(';').map(str::trim);
        let mut understood = Range { media: parts.next().unwrap_or_default(), shape: "", group: "", version: "" };
        for (key, value) in parts.filter_map(|p| p.split_once('=')) {
            match key {
                "as" => understood.shape = value,
                "g" => understood.group = value,
                "v" => understood.version = value,
                _ => {}
            }
        }
        understood
    });
    understood.collect()
}

/// The form that a range names, if the sandbox has it.
fn form_of(range: &Range<'_>) -> Option<Form> {
    let meta = range.group == "meta.k8s.io" && range.version == "v1";
    match range.shape {
        _ if !matches!(range.media, "application/json" | "application/*" | "*/*") => None,
        "" => Some(Form::Whole),
        "Table" if meta => Some(Form::Table),
        "PartialObjectMetadata" | "PartialObjectMetadataList" if meta => Some(Form::Metadata),
        _ => None,
    }
}

/// The first form that the client takes and the sandbox has.
pub(super) fn form(headers: &HeaderMap) -> Result<Form, Status> {
    let ranges = ranges(headers);
    if ranges.is_empty() {
        return Ok(Form::Whole);
    }
    ranges.iter().find_map(form_of).ok_or_else(|| {
        let why = "only the following media types are accepted: application/json";
        Status::new(406, "NotAcceptable", why)
    })
}

/// A list of metadata is a form of its own; who asks for the metadata of an object cannot read it.
pub(super) fn takes_lists(headers: &HeaderMap) -> Result<(), Status> {
    let known = ranges(headers).into_iter().find(|r| form_of(r).is_some());
    if known.is_some_and(|r| r.shape == "PartialObjectMetadata") {
        let why = "you requested PartialObjectMetadata, but the requested object is a list: ask for a \
                   PartialObjectMetadataList";
        return Err(Status::new(406, "NotAcceptable", why));
    }
    Ok(())
}

/// Whether the client takes discovery in one document.
pub(super) fn takes_aggregated(headers: &HeaderMap) -> bool {
    ranges(headers)
        .iter()
        .any(|r| r.shape == "APIGroupDiscoveryList" && r.group == "apidiscovery.k8s.io" && matches!(r.version, "v2"))
}
