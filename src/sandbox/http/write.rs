//! POST, PUT, PATCH and DELETE.

use super::query::Parameters;
use super::read::{not_served, scale, writer};
use super::represent::from_events_v1;
use super::target::{EVENTS, Target};
use super::{Answer, Api, json_answer, protobuf};
use crate::sandbox::object::{Object, text_at};
use crate::sandbox::patch::{Patch, PatchKind};
use crate::sandbox::resource::Resource;
use crate::sandbox::state::{Deleted, Deletion, Operation, Part, Propagation, Write};
use crate::sandbox::status::{Cause, Status};
use axum::http::HeaderMap;
use axum::http::header::{CONTENT_TYPE, USER_AGENT};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// A request that writes.
pub(super) struct Request<'a> {
    pub api: &'a Api,
    pub target: &'a Target,
    pub headers: &'a HeaderMap,
    pub query: &'a Parameters,
    pub body: &'a Bytes,
}

/// Content type without parameters.
pub(super) fn content_type(headers: &HeaderMap) -> &str {
    let text = headers.get(CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or_default();
    text.split(';').next().unwrap_or_default().trim()
}

fn unknown_format(accepted: &str) -> Status {
    let why = format!("the body of the request was in an unknown format - accepted media types include: {accepted}");
    Status::new(415, "UnsupportedMediaType", why)
}

/// A body in JSON or YAML.
pub(super) fn parse(headers: &HeaderMap, body: &[u8]) -> Result<Value, Status> {
    match content_type(headers) {
        "" | "application/json" => json_of(body),
        "application/yaml" => yaml_of(body),
        "application/vnd.kubernetes.protobuf" => protobuf::read(body).map_err(|what| {
            let mut status = unknown_format("application/json, application/yaml");
            status.message.push_str(&format!(
                ". The sandbox does not read {what}; this does the same: kubectl create ... --dry-run=client -o yaml | \
                 kubectl apply -f -"
            ));
            status
        }),
        _ => Err(unknown_format("application/json, application/yaml")),
    }
}

fn json_of(body: &[u8]) -> Result<Value, Status> {
    serde_json::from_slice(body).map_err(|e| Status::bad_request(format!("the body is no JSON: {e}")))
}

fn yaml_of(body: &[u8]) -> Result<Value, Status> {
    let text = std::str::from_utf8(body).map_err(|e| Status::bad_request(format!("the body is no UTF-8: {e}")))?;
    serde_saphyr::from_str(text).map_err(|e| Status::bad_request(format!("the body is no YAML: {e}")))
}

impl Request<'_> {
    fn kind(&self) -> &Resource {
        &self.target.kind
    }

    fn write(&self, part: Part) -> Result<Write, Status> {
        let agent = self.headers.get(USER_AGENT).and_then(|v| v.to_str().ok()).unwrap_or_default();
        let agent = agent.split(['/', ' ']).next().filter(|a| !a.is_empty()).unwrap_or("unknown");
        let manager = match self.query.text("fieldManager") {
            "" => agent,
            manager => manager,
        };
        let options = if self.target.name.is_none() { "CreateOptions" } else { "UpdateOptions" };
        let dry_run = self.query.dry_run(options)?;
        let levels = ["", "Ignore", "Strict", "Warn"];
        let level = self.query.text("fieldValidation");
        if !levels.contains(&level) {
            return Err(Status::invalid_options(
                options,
                Cause::unsupported("fieldValidation", &json!(level), &levels),
            ));
        }
        Ok(Write { manager: manager.to_owned(), operation: Operation::Update, part, dry_run })
    }

    fn part(&self) -> Result<Part, Status> {
        match self.target.subresource.as_deref() {
            None => Ok(Part::Main),
            Some("status") if self.kind().has_status => Ok(Part::Status),
            Some("scale") if self.kind().has_scale => Ok(Part::Scale),
            Some(other) => Err(not_served(self.target, other)),
        }
    }

    fn answer(&self, code: u16, object: &Object) -> Answer {
        if self.target.subresource.as_deref() == Some("scale") {
            return Ok(json_answer(code, Bytes::from(scale(object.value()).to_string())));
        }
        let writer = writer(self.api, self.target, self.headers, self.query)?;
        Ok(json_answer(code, writer.one(object.encoded(), true)))
    }

    /// The body as an object of the target's kind and namespace, in the words of the store.
    fn object(&self, mut value: Value) -> Result<Value, Status> {
        let (kind, api_version) = (&self.kind().kind, self.target.api_version());
        let Some(fields) = value.as_object() else { return Err(Status::bad_request("the body is no object")) };
        let given = |field: &str| fields.get(field).and_then(Value::as_str).unwrap_or_default();
        let (given_kind, given_version) = (given("kind"), given("apiVersion"));
        // Only a built-in kind is known by its path alone.
        let matches = |given: &str, wanted: &str| given == wanted || (given.is_empty() && !self.kind().custom);
        if !matches(given_kind, kind) || !matches(given_version, &api_version) {
            let why = format!(
                "{given_kind} in version {given_version:?} cannot be handled as a {kind}: the path is of {kind} in {api_version}"
            );
            return Err(Status::bad_request(why));
        }
        if self.target.group == EVENTS {
            value = from_events_v1(value);
        }
        if value.get("metadata").is_none_or(Value::is_null) {
            value["metadata"] = json!({});
        }
        let Some(metadata) = value["metadata"].as_object_mut() else {
            return Err(Status::bad_request("metadata must be an object"));
        };
        if self.kind().namespaced {
            let given = metadata.get("namespace").and_then(Value::as_str).unwrap_or_default();
            if !given.is_empty() && given != self.target.namespace {
                let why = "the namespace of the provided object does not match the namespace sent on the request";
                return Err(Status::bad_request(why));
            }
            metadata.insert("namespace".into(), self.target.namespace.as_str().into());
        }
        if let Some(name) = &self.target.name {
            let given = metadata.get("name").and_then(Value::as_str).unwrap_or_default();
            if !given.is_empty() && given != name {
                let why = format!("the name of the object ({given}) does not match the name on the URL ({name})");
                return Err(Status::bad_request(why));
            }
            metadata.insert("name".into(), name.as_str().into());
        }
        Ok(value)
    }

    pub fn create(&self) -> Answer {
        if self.kind().namespaced && self.target.namespace.is_empty() {
            return Err(Status::bad_request("an empty namespace may not be set during creation"));
        }
        let object = self.object(parse(self.headers, self.body)?)?;
        let created = self.api.state.create(&self.kind().qualified, object, &self.write(Part::Main)?)?;
        self.answer(201, &created)
    }

    pub fn replace(&self) -> Answer {
        let part = self.part()?;
        let value = parse(self.headers, self.body)?;
        let write = self.write(part)?;
        let (resource, namespace, name) = (&self.kind().qualified, &self.target.namespace, self.target.name());
        if part == Part::Scale {
            let replicas = replicas_of(&value)?;
            let wanted = text_at(&value, "/metadata/resourceVersion").to_owned();
            let scaled = self.api.state.try_modify(resource, namespace, name, &write, |object| {
                if !wanted.is_empty() {
                    object["metadata"]["resourceVersion"] = wanted.as_str().into();
                }
                set_replicas(object, replicas)
            })?;
            return self.answer(200, &scaled);
        }
        if text_at(&value, "/metadata/name").is_empty() && value.is_object() {
            let name = self.target.name();
            let why = format!("the name of the object ({name} based on URL) was undeterminable: name must be provided");
            return Err(Status::bad_request(why));
        }
        let object = self.object(value)?;
        let upsert =
            matches!(resource.as_str(), "leases.coordination.k8s.io" | "events" | "services") && part == Part::Main;
        match self.api.state.update(resource, object.clone(), &write) {
            Err(status) if status.code == 404 && upsert && text_at(&object, "/metadata/uid").is_empty() => {
                let created = self.api.state.create(resource, object, &write)?;
                self.answer(201, &created)
            }
            replaced => self.answer(200, &*replaced?),
        }
    }

    pub fn patch(&self) -> Answer {
        let part = self.part()?;
        let custom = self.kind().custom;
        let accepted = if custom {
            "application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml"
        } else {
            "application/json-patch+json, application/merge-patch+json, application/strategic-merge-patch+json, \
             application/apply-patch+yaml"
        };
        let kind = PatchKind::of(content_type(self.headers)).filter(|k| !custom || *k != PatchKind::Strategic);
        let kind = kind.ok_or_else(|| unknown_format(accepted))?;
        let mut write = self.write(part)?;
        if kind == PatchKind::Apply {
            write.operation = Operation::Apply;
            return self.apply(&write);
        }
        if !self.query.text("force").is_empty() {
            return Err(patch_options(Cause::forbidden("force", "may not be specified for non-apply patch")));
        }
        let patch = Patch::parse(kind, json_of(self.body)?, !custom)?;
        let patched = self.patch_stored(&patch, &write)?;
        self.answer(200, &patched)
    }

    /// Applies a patch to what the client sees at this path: the object in its version, or its scale.
    fn patch_stored(&self, patch: &Patch, write: &Write) -> Result<std::sync::Arc<Object>, Status> {
        let (resource, namespace, name) = (&self.kind().qualified, &self.target.namespace, self.target.name());
        self.api.state.try_modify(resource, namespace, name, write, |object| {
            if write.part == Part::Scale {
                let mut seen = scale(object);
                patch.apply(&mut seen)?;
                return set_replicas(object, replicas_of(&seen)?);
            }
            let revision = object["metadata"]["resourceVersion"].clone();
            let uid = object["metadata"]["uid"].clone();
            object["apiVersion"] = self.target.api_version().into();
            if self.target.group == EVENTS {
                *object = super::represent::to_events_v1(std::mem::take(object));
            }
            patch.apply(object)?;
            let mut patched = self.object(std::mem::take(object))?;
            if text_at(&patched, "/metadata/resourceVersion").is_empty() {
                patched["metadata"]["resourceVersion"] = revision;
            }
            let given = &patched["metadata"]["uid"];
            if !given.is_null() && *given != uid {
                let cause = Cause::invalid("metadata.uid", given, "field is immutable");
                return Err(Status::invalid(self.kind(), name, vec![cause]));
            }
            *object = patched;
            Ok(())
        })
    }

    /// Server-side apply without ownership: creates what is not there, merges into what is.
    fn apply(&self, write: &Write) -> Answer {
        if self.query.text("fieldManager").is_empty() {
            return Err(patch_options(Cause::required("fieldManager", "is required for apply patch")));
        }
        let wanted = yaml_of(self.body)?;
        let given = (text_at(&wanted, "/kind"), text_at(&wanted, "/apiVersion"));
        if given.0.is_empty() || given.1.is_empty() {
            return Err(Status::bad_request("invalid object type: an applied object names its apiVersion and kind"));
        }
        if write.part == Part::Scale {
            let replicas = replicas_of(&wanted)?;
            let (resource, namespace, name) = (&self.kind().qualified, &self.target.namespace, self.target.name());
            let set = |object: &mut Value| set_replicas(object, replicas);
            return self.answer(200, &*self.api.state.try_modify(resource, namespace, name, write, set)?);
        }
        let wanted = self.object(wanted)?;
        if wanted.pointer("/metadata/managedFields").is_some_and(|m| m.as_array().is_some_and(|m| !m.is_empty())) {
            return Err(Status::bad_request("metadata.managedFields must be nil"));
        }
        let patch = Patch::parse(PatchKind::Apply, wanted.clone(), !self.kind().custom)?;
        // Somebody may create it, or delete it, between the look and the write.
        for _ in 0..3 {
            match self.patch_stored(&patch, write) {
                Err(status) if status.code == 404 && write.part == Part::Main => {}
                patched => return self.answer(200, &*patched?),
            }
            match self.api.state.create(&self.kind().qualified, wanted.clone(), write) {
                Err(status) if status.reason == "AlreadyExists" => {}
                created => return self.answer(201, &*created?),
            }
        }
        Err(Status::modified(self.kind(), self.target.name()))
    }

    fn deletion(&self) -> Result<Deletion, Status> {
        let body = if self.body.is_empty() { json!({}) } else { parse(self.headers, self.body)? };
        if !body.is_object() {
            return Err(Status::bad_request("the body of a deletion must be DeleteOptions"));
        }
        if !matches!(text_at(&body, "/kind"), "" | "DeleteOptions") {
            let why = format!("the body of a deletion is a {}, and must be DeleteOptions", text_at(&body, "/kind"));
            return Err(Status::bad_request(why));
        }
        if body.get("orphanDependents").is_some_and(Value::is_boolean) && body.get("propagationPolicy").is_some() {
            let why = "orphanDependents and deletionPropagation cannot be both set";
            let cause = Cause::invalid("propagationPolicy", &body["propagationPolicy"], why);
            return Err(Status::invalid_options("DeleteOptions", cause));
        }
        let policy = match text_at(&body, "/propagationPolicy") {
            "" => self.query.text("propagationPolicy"),
            policy => policy,
        };
        let propagation = match policy {
            "" | "Background" => Propagation::Background,
            "Foreground" => Propagation::Foreground,
            "Orphan" => Propagation::Orphan,
            other => {
                let supported = ["Foreground", "Background", "Orphan", "nil"];
                let cause = Cause::unsupported("propagationPolicy", &json!(other), &supported);
                return Err(Status::invalid_options("DeleteOptions", cause));
            }
        };
        let text = |pointer: &str| Some(text_at(&body, pointer).to_owned()).filter(|t| !t.is_empty());
        let grace = body.get("gracePeriodSeconds").and_then(Value::as_i64);
        let grace = match grace {
            Some(grace) => Some(grace),
            None => self.query.number("gracePeriodSeconds")?.and_then(|g| i64::try_from(g).ok()),
        };
        let in_body = body.get("dryRun").and_then(Value::as_array).is_some_and(|d| d.iter().any(|d| d == "All"));
        Ok(Deletion {
            grace,
            uid: text("/preconditions/uid"),
            revision: text("/preconditions/resourceVersion"),
            propagation,
            dry_run: in_body || self.query.dry_run("DeleteOptions")?,
        })
    }

    pub fn delete(&self) -> Answer {
        if let Some(subresource) = &self.target.subresource {
            return Err(not_served(self.target, subresource));
        }
        let how = self.deletion()?;
        let (resource, namespace, name) = (&self.kind().qualified, &self.target.namespace, self.target.name());
        match self.api.state.delete(resource, namespace, name, &how)? {
            // A pod is answered with itself, most others with a plain success.
            Deleted::Gone(object) if resource != "pods" => {
                let mut details = Map::new();
                details.insert("name".into(), object.name().into());
                if !self.kind().group.is_empty() {
                    details.insert("group".into(), self.kind().group.as_str().into());
                }
                details.insert("kind".into(), self.kind().plural.as_str().into());
                details.insert("uid".into(), object.uid().into());
                let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details});
                Ok(json_answer(200, Bytes::from(status.to_string())))
            }
            deleted => self.answer(200, deleted.object()),
        }
    }

    pub fn delete_collection(&self) -> Answer {
        // Not of all namespaces at once, and not the namespaces themselves.
        if (self.kind().namespaced && self.target.namespace.is_empty()) || self.kind().qualified == "namespaces" {
            return Err(super::not_allowed());
        }
        let how = self.deletion()?;
        let selection = super::query::Selection::of(self.query, self.kind())?;
        let resource = &self.kind().qualified;
        let listed = self.api.state.list(resource, &self.target.namespace)?;
        let mut deleted = Vec::new();
        for object in &listed.objects {
            if !object.encoded().matches(&selection.labels, &selection.fields) {
                continue;
            }
            match self.api.state.delete(resource, object.namespace(), object.name(), &how) {
                Ok(gone) => deleted.push(gone.object().clone()),
                Err(status) if status.code == 404 => {}
                Err(status) => return Err(status),
            }
        }
        let writer = writer(self.api, self.target, self.headers, self.query)?;
        let mut metadata = Map::new();
        metadata.insert("resourceVersion".into(), self.api.state.revision().to_string().into());
        Ok(json_answer(200, writer.list(metadata, deleted.iter().map(|o| &**o.encoded()), |_, _| None)))
    }
}

fn patch_options(cause: Cause) -> Status {
    let message = format!("PatchOptions.meta.k8s.io \"\" is invalid: {}: {}", cause.field, cause.message);
    let mut status = Status::new(422, "Invalid", message);
    let cause = json!([{"reason": cause.reason, "message": cause.message, "field": cause.field}]);
    status.details.insert("causes".into(), cause);
    status
}

fn replicas_of(scale: &Value) -> Result<i64, Status> {
    // Absent is zero, as for any number of Kubernetes.
    let replicas = scale.pointer("/spec/replicas").map_or(Some(0), Value::as_i64);
    let replicas = replicas.ok_or_else(|| Status::bad_request("spec.replicas of a Scale must be a whole number"))?;
    if replicas >= 0 {
        return Ok(replicas);
    }
    let name = text_at(scale, "/metadata/name");
    let cause = Cause::invalid("spec.replicas", &json!(replicas), "must be greater than or equal to 0");
    let message = format!("Scale.autoscaling {name:?} is invalid: {}: {}", cause.field, cause.message);
    let mut status = Status::new(422, "Invalid", message);
    status.details.insert("name".into(), name.into());
    status.details.insert("group".into(), "autoscaling".into());
    status.details.insert("kind".into(), "Scale".into());
    let cause = json!({"reason": cause.reason, "message": cause.message, "field": cause.field});
    status.details.insert("causes".into(), json!([cause]));
    Err(status)
}

fn set_replicas(object: &mut Value, replicas: i64) -> Result<(), Status> {
    let spec = object.get_mut("spec").and_then(Value::as_object_mut);
    let spec = spec.ok_or_else(|| Status::bad_request("the object has no spec to scale"))?;
    spec.insert("replicas".into(), replicas.into());
    Ok(())
}
