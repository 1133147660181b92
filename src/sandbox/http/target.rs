//! What a path means.

use crate::sandbox::resource::{Resource, qualify};
use crate::sandbox::state::State;
use crate::sandbox::status::Status;
use std::sync::Arc;

/// The group whose events are the core's, in other words.
pub(super) const EVENTS: &str = "events.k8s.io";

/// An object or a collection of objects.
#[derive(Debug, Clone)]
pub(super) struct Target {
    /// The resource; of `events.k8s.io` the core's events.
    pub kind: Arc<Resource>,
    /// Group in the path.
    pub group: String,
    /// Version in the path.
    pub version: String,
    /// Empty: all of them, or none.
    pub namespace: String,
    /// `None`: the collection.
    pub name: Option<String>,
    /// `status`, `scale`, `log`, ...
    pub subresource: Option<String>,
}

impl Target {
    /// Whether the kind has that subresource.
    pub fn has(&self, subresource: &str) -> bool {
        match subresource {
            "status" => self.kind.has_status,
            "scale" => self.kind.has_scale,
            "log" => self.kind.qualified == "pods",
            _ => false,
        }
    }

    /// The target's name; empty of a collection.
    pub fn name(&self) -> &str {
        self.name.as_deref().unwrap_or_default()
    }

    /// apiVersion as asked for.
    pub fn api_version(&self) -> String {
        if self.group.is_empty() { self.version.clone() } else { format!("{}/{}", self.group, self.version) }
    }
}

/// What a path means.
#[derive(Debug)]
pub(super) enum Route {
    /// `/api`
    Core,
    /// `/apis`
    Groups,
    /// `/apis/apps`
    Group(String),
    /// `/api/v1`, `/apis/apps/v1`
    Resources(String, String),
    /// `/version`
    Version,
    /// `/healthz` and the like
    Health,
    /// `/openapi/v3`
    OpenApiIndex,
    /// `/openapi/v3/apis/apps/v1`
    OpenApi(String, String),
    /// `/apis/authorization.k8s.io/v1/selfsubject...reviews`
    Review(String),
    /// `/sandbox/faults`
    Faults,
    /// Objects.
    Objects(Target),
}

/// Finds out what a path means.
pub(super) fn route(state: &State, path: &str) -> Result<Route, Status> {
    let segments: Vec<&str> = path.split('/').filter(|s| !s.is_empty()).collect();
    Ok(match segments.as_slice() {
        ["api"] => Route::Core,
        ["apis"] => Route::Groups,
        ["apis", group] => Route::Group((*group).to_owned()),
        ["version"] => Route::Version,
        ["healthz" | "livez" | "readyz", ..] => Route::Health,
        ["openapi", "v3"] => Route::OpenApiIndex,
        ["openapi", "v3", "api", version] => Route::OpenApi(String::new(), (*version).to_owned()),
        ["openapi", "v3", "apis", group, version] => Route::OpenApi((*group).to_owned(), (*version).to_owned()),
        ["sandbox", "faults"] => Route::Faults,
        ["api", version] => Route::Resources(String::new(), (*version).to_owned()),
        ["apis", group, version] => Route::Resources((*group).to_owned(), (*version).to_owned()),
        ["apis", "authorization.k8s.io", "v1", review] => Route::Review((*review).to_owned()),
        ["api", version, rest @ ..] => Route::Objects(target(state, "", version, rest)?),
        ["apis", group, version, rest @ ..] => Route::Objects(target(state, group, version, rest)?),
        _ => return Err(Status::no_such_resource()),
    })
}

fn target(state: &State, group: &str, version: &str, rest: &[&str]) -> Result<Target, Status> {
    let (namespace, rest) = match rest {
        // `namespaces/x/status` is of the namespace itself, `namespaces/x/pods` is in it.
        ["namespaces", _, "status" | "finalize"] => ("", rest),
        ["namespaces", namespace, rest @ ..] if !rest.is_empty() => (*namespace, rest),
        rest => ("", rest),
    };
    let (plural, name, subresource) = match rest {
        [plural] => (plural, None, None),
        [plural, name] => (plural, Some(*name), None),
        [plural, name, subresource] => (plural, Some(*name), Some(*subresource)),
        _ => return Err(Status::no_such_resource()),
    };
    let qualified = if group == EVENTS { (*plural).to_owned() } else { qualify(plural, group) };
    let kind = state.resource(&qualified)?;
    let served =
        if group == EVENTS { kind.qualified == "events" && version == "v1" } else { kind.version(version).is_some() };
    // A namespace where there is none, or an object without the namespace it must be in.
    let misplaced = if kind.namespaced { name.is_some() && namespace.is_empty() } else { !namespace.is_empty() };
    if !served || misplaced {
        return Err(Status::no_such_resource());
    }
    Ok(Target {
        kind,
        group: group.to_owned(),
        version: version.to_owned(),
        namespace: namespace.to_owned(),
        name: name.map(str::to_owned),
        subresource: subresource.map(str::to_owned),
    })
}
