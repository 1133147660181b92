//! Kubernetes' `Status`: what every verb answers when it refuses, in process and over HTTP alike.

use super::resource::Resource;
use serde_json::{Map, Value, json};

/// A refusal, as the API server words it. The texts are those of a real one, for clients match on them.
#[derive(Debug, Clone, PartialEq)]
pub struct Status {
    /// HTTP code.
    pub code: u16,
    /// Machine-readable reason, such as `NotFound`; empty where a real API server gives none.
    pub reason: &'static str,
    /// For people.
    pub message: String,
    /// `details`: name, group, kind, causes, retryAfterSeconds, as far as they apply.
    pub details: Map<String, Value>,
    /// A fresh continue token that goes with an expired one.
    pub next: Option<String>,
}

impl std::fmt::Display for Status {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} {}: {}", self.code, self.reason, self.message)
    }
}

impl std::error::Error for Status {}

/// One fault of an object's content.
#[derive(Debug, Clone, PartialEq)]
pub struct Cause {
    /// Path of the field, such as `spec.containers[0].image`.
    pub field: String,
    /// `FieldValueRequired`, `FieldValueInvalid`, ...
    pub reason: &'static str,
    /// Kubernetes' words for it, such as `Required value`.
    pub message: String,
}

impl Cause {
    /// A field that must be there and is not.
    pub fn required(field: impl Into<String>, hint: &str) -> Self {
        let message = if hint.is_empty() { "Required value".to_owned() } else { format!("Required value: {hint}") };
        Self { field: field.into(), reason: "FieldValueRequired", message }
    }

    /// A field whose value is not possible.
    pub fn invalid(field: impl Into<String>, value: &Value, why: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueInvalid", message: format!("Invalid value: {value}: {why}") }
    }

    /// A field that takes a few values, and this is none of them.
    pub fn unsupported(field: impl Into<String>, value: &Value, supported: &[&str]) -> Self {
        let supported: Vec<String> = supported.iter().map(|s| format!("{s:?}")).collect();
        let message = format!("Unsupported value: {value}: supported values: {}", supported.join(", "));
        Self { field: field.into(), reason: "FieldValueNotSupported", message }
    }

    /// A field that must not be set, or not be changed.
    pub fn forbidden(field: impl Into<String>, why: &str) -> Self {
        Self { field: field.into(), reason: "FieldValueForbidden", message: format!("Forbidden: {why}") }
    }
}

impl Status {
    /// Any refusal.
    pub fn new(code: u16, reason: &'static str, message: impl Into<String>) -> Self {
        Self { code, reason, message: message.into(), details: Map::new(), next: None }
    }

    fn about(mut self, resource: &Resource, kind: &str, name: &str) -> Self {
        if !name.is_empty() {
            self.details.insert("name".into(), name.into());
        }
        if !resource.group.is_empty() {
            self.details.insert("group".into(), resource.group.as_str().into());
        }
        self.details.insert("kind".into(), kind.into());
        self
    }

    /// 404: no such object.
    pub fn not_found(resource: &Resource, name: &str) -> Self {
        Self::new(404, "NotFound", format!("{} {name:?} not found", resource.qualified)).about(
            resource,
            &resource.plural,
            name,
        )
    }

    /// 404: no such path or resource.
    pub fn no_such_resource() -> Self {
        Self::new(404, "NotFound", "the server could not find the requested resource")
    }

    /// 409: the name is taken.
    pub fn already_exists(resource: &Resource, name: &str) -> Self {
        Self::new(409, "AlreadyExists", format!("{} {name:?} already exists", resource.qualified)).about(
            resource,
            &resource.plural,
            name,
        )
    }

    /// 409: somebody else was first, or a precondition does not hold.
    pub fn conflict(resource: &Resource, name: &str, why: &str) -> Self {
        Self::new(409, "Conflict", format!("Operation cannot be fulfilled on {} {name:?}: {why}", resource.qualified))
            .about(resource, &resource.plural, name)
    }

    /// 409 with the words for a stale resourceVersion.
    pub fn modified(resource: &Resource, name: &str) -> Self {
        let why = "the object has been modified; please apply your changes to the latest version and try again";
        Self::conflict(resource, name, why)
    }

    /// 422: the content is not possible.
    pub fn invalid(resource: &Resource, name: &str, causes: Vec<Cause>) -> Self {
        let each: Vec<String> = causes.iter().map(|c| format!("{}: {}", c.field, c.message)).collect();
        let each = if let [one] = each.as_slice() { one.clone() } else { format!("[{}]", each.join(", ")) };
        let mut status = Self::new(422, "Invalid", format!("{} {name:?} is invalid: {each}", resource.kind)).about(
            resource,
            &resource.kind,
            name,
        );
        let causes = causes.iter().map(|c| json!({"reason": c.reason, "message": c.message, "field": c.field}));
        status.details.insert("causes".into(), causes.collect());
        status
    }

    /// 403.
    pub fn forbidden(resource: &Resource, name: &str, why: &str) -> Self {
        let what =
            if name.is_empty() { resource.qualified.clone() } else { format!("{} {name:?}", resource.qualified) };
        Self::new(403, "Forbidden", format!("{what} is forbidden: {why}")).about(resource, &resource.plural, name)
    }

    /// Names the namespace whose end is the cause: clients that create match on it.
    pub fn terminating(mut self, namespace: &str) -> Self {
        let cause = json!({
            "reason": "NamespaceTerminating", "message": format!("namespace {namespace} is being terminated"),
            "field": "metadata.namespace",
        });
        self.details.insert("causes".into(), json!([cause]));
        self
    }

    /// 422: the options of a request are not possible. `kind` is theirs, such as `DeleteOptions`.
    pub fn invalid_options(kind: &str, cause: Cause) -> Self {
        let message = format!("{kind}.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
        let mut status = Self::new(422, "Invalid", message);
        status.details.insert("group".into(), "meta.k8s.io".into());
        status.details.insert("kind".into(), kind.into());
        let cause = json!({"reason": cause.reason, "message": cause.message, "field": cause.field});
        status.details.insert("causes".into(), json!([cause]));
        status
    }

    /// 400.
    pub fn bad_request(why: impl Into<String>) -> Self {
        Self::new(400, "BadRequest", why)
    }

    /// 500.
    pub fn internal(why: impl Into<String>) -> Self {
        Self::new(500, "InternalError", format!("Internal error occurred: {}", why.into()))
    }

    /// 410: that version is not kept any more.
    pub fn expired(why: impl Into<String>) -> Self {
        Self::new(410, "Expired", why)
    }

    /// The same, to be asked again after so many seconds.
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.details.insert("retryAfterSeconds".into(), seconds.into());
        self
    }

    /// Seconds after which to ask again.
    pub fn retry_seconds(&self) -> Option<u64> {
        self.details.get("retryAfterSeconds").and_then(Value::as_u64)
    }

    /// As the object that goes over the wire.
    pub fn to_value(&self) -> Value {
        let mut metadata = Map::new();
        if let Some(next) = &self.next {
            metadata.insert("continue".into(), next.as_str().into());
        }
        let mut status = json!({
            "kind": "Status", "apiVersion": "v1", "metadata": metadata,
            "status": "Failure", "message": self.message, "code": self.code,
        });
        if !self.reason.is_empty() {
            status["reason"] = self.reason.into();
        }
        if !self.details.is_empty() || matches!(self.code, 404 | 405) {
            status["details"] = Value::Object(self.details.clone());
        }
        status
    }
}
