//! The parameters of a request, understood and checked.

use crate::domain::selector::{FieldSelector, LabelSelector, SelectorError};
use crate::sandbox::object::FIELDS;
use crate::sandbox::resource::Resource;
use crate::sandbox::status::{Cause, Status};
use axum::extract::Query;
use axum::http::Uri;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use serde_json::json;
use std::collections::BTreeMap;

/// The parameters as they came; of repeated ones the last.
pub(super) struct Parameters(BTreeMap<String, String>);

impl Parameters {
    pub fn of(uri: &Uri) -> Result<Self, Status> {
        let pairs = Query::<Vec<(String, String)>>::try_from_uri(uri);
        let pairs = pairs.map_err(|e| Status::bad_request(format!("the query cannot be read: {e}")))?;
        Ok(Self(pairs.0.into_iter().collect()))
    }

    pub fn text(&self, name: &str) -> &str {
        self.0.get(name).map_or("", String::as_str)
    }

    pub fn flag(&self, name: &str) -> Result<bool, Status> {
        match self.text(name) {
            "" => Ok(self.0.contains_key(name) && name == "watch"),
            "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
            "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
            other => Err(Status::bad_request(format!("{name}={other}: write true or false"))),
        }
    }

    pub fn number(&self, name: &str) -> Result<Option<u64>, Status> {
        match self.text(name) {
            "" => Ok(None),
            text => match text.parse() {
                Ok(number) => Ok(Some(number)),
                Err(_) => Err(Status::bad_request(format!("{name}={text}: write a whole number, not negative"))),
            },
        }
    }

    /// `dryRun=All`, among the options of that kind.
    pub fn dry_run(&self, options: &str) -> Result<bool, Status> {
        match self.text("dryRun") {
            "" => Ok(false),
            "All" => Ok(true),
            other => Err(Status::invalid_options(options, Cause::unsupported("dryRun", &json!([other]), &["All"]))),
        }
    }
}

/// Which objects a list or watch is about.
#[derive(Debug, Clone)]
pub(super) struct Selection {
    pub labels: LabelSelector,
    pub fields: FieldSelector,
}

impl Selection {
    pub fn of(parameters: &Parameters, kind: &Resource) -> Result<Self, Status> {
        let refused = |what: &str, text: &str, error: SelectorError| {
            Status::bad_request(format!("unable to parse {what} {text:?}: {error}"))
        };
        let (labels, fields) = (parameters.text("labelSelector"), parameters.text("fieldSelector"));
        let selection = Self {
            labels: LabelSelector::parse(labels).map_err(|e| refused("labelSelector", labels, e))?,
            fields: FieldSelector::parse_over(FIELDS, fields).map_err(|e| refused("fieldSelector", fields, e))?,
        };
        for term in selection.fields.terms() {
            if !may_select(kind, term.field) {
                return Err(Status::bad_request(format!("field label not supported: {}", term.field)));
            }
        }
        Ok(selection)
    }

    pub fn is_empty(&self) -> bool {
        self.labels.is_empty() && self.fields.is_empty()
    }
}

fn may_select(kind: &Resource, field: &str) -> bool {
    match kind.qualified.as_str() {
        _ if field.starts_with("metadata.") => true,
        "pods" => field.starts_with("spec.") || field.starts_with("status."),
        "namespaces" => field == "status.phase",
        "events" => field.starts_with("involvedObject.") || matches!(field, "reason" | "reportingComponent" | "type"),
        "secrets" => field == "type",
        _ => false,
    }
}

/// A list of one object that is not older than a version asks about the version, not about objects.
pub(super) fn is_about_a_version(query: &Parameters) -> bool {
    query.text("limit") == "1" && query.text("resourceVersionMatch") == "NotOlderThan"
}

/// From which version a list or watch is to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum At {
    /// The newest.
    Now,
    /// Any: the newest will do.
    Any,
    /// That one or a newer one.
    NotOlderThan(u64),
    /// That one.
    Exactly(u64),
}

pub(super) fn invalid_options(field: &str, why: &str) -> Status {
    Status::invalid_options("ListOptions", Cause::forbidden(field, why))
}

/// A resourceVersion as it is asked for; `None`: none.
pub(super) fn revision(parameters: &Parameters) -> Result<Option<u64>, Status> {
    match parameters.text("resourceVersion") {
        "" => Ok(None),
        text => super::altered::shortened(text).parse().map(Some).map_err(|_| {
            let cause = Cause::invalid("resourceVersion", &json!(text), "it is not a number of this API server");
            let mut status = Status::new(400, "BadRequest", format!("Invalid value: {text:?}: {}", cause.message));
            status.details.insert("causes".into(), json!([{"field": cause.field, "message": cause.message}]));
            status
        }),
    }
}

impl At {
    pub fn of(parameters: &Parameters, limited: bool) -> Result<Self, Status> {
        let revision = revision(parameters)?;
        let rule = parameters.text("resourceVersionMatch");
        let field = "resourceVersionMatch";
        if !parameters.text("continue").is_empty() {
            if !rule.is_empty() {
                return Err(invalid_options(field, "resourceVersionMatch is forbidden when continue is provided"));
            }
            if revision.is_some_and(|r| r > 0) {
                let why = "specifying resource version is not allowed when using continue";
                return Err(Status::bad_request(why));
            }
            return Ok(Self::Now);
        }
        match (rule, revision) {
            ("", None) => Ok(Self::Now),
            ("" | "NotOlderThan", Some(0)) => Ok(Self::Any),
            // The API server's habit of old: a limit makes it exact.
            ("", Some(r)) if limited => Ok(Self::Exactly(r)),
            ("" | "NotOlderThan", Some(r)) => Ok(Self::NotOlderThan(r)),
            ("Exact", Some(0)) => {
                Err(invalid_options(field, "resourceVersionMatch \"exact\" is forbidden for resourceVersion \"0\""))
            }
            ("Exact", Some(r)) => Ok(Self::Exactly(r)),
            ("Exact" | "NotOlderThan", None) => {
                Err(invalid_options(field, "resourceVersionMatch is forbidden unless resourceVersion is provided"))
            }
            (other, _) => {
                let cause = Cause::unsupported(field, &json!(other), &["Exact", "NotOlderThan", ""]);
                Err(Status::invalid_options("ListOptions", cause))
            }
        }
    }
}

/// Where the next page of a list begins, as a token that clients do not look into.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Continue {
    v: String,
    /// −1: whatever is there then.
    rv: i64,
    start: String,
}

impl Continue {
    /// After `key`, in the snapshot at `revision`; `None`: in a later one.
    pub fn after(key: &str, revision: Option<u64>) -> Self {
        let rv = revision.and_then(|r| i64::try_from(r).ok()).unwrap_or(-1);
        Self { v: "meta.k8s.io/v1".to_owned(), rv, start: format!("{key}\0") }
    }

    pub fn revision(&self) -> Option<u64> {
        u64::try_from(self.rv).ok()
    }

    pub fn start(&self) -> &str {
        &self.start
    }

    pub fn parse(token: &str) -> Result<Self, Status> {
        let bytes = URL_SAFE_NO_PAD.decode(token.trim_end_matches('=')).ok();
        let understood = bytes.and_then(|b| serde_json::from_slice::<Self>(&b).ok());
        let understood = understood.filter(|c| c.v == "meta.k8s.io/v1");
        understood.ok_or_else(|| Status::bad_request("continue key is not valid: it is not one of this API server's"))
    }

    pub fn text(&self) -> String {
        URL_SAFE_NO_PAD.encode(json!(self).to_string())
    }

    /// The same place in a list as it is then.
    pub fn inconsistent(&self) -> Self {
        Self { rv: -1, ..self.clone() }
    }
}
