//! Discovery: what is served, in one document or in many.

use super::target::EVENTS;
use crate::sandbox::resource::{Resource, qualify};
use crate::sandbox::state::State;
use crate::sandbox::status::Status;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What `/version` says; the suffix says that this is no real cluster.
pub(super) const GIT_VERSION: &str = "v1.37.2-sandbox";
/// Content type of aggregated discovery.
pub(super) const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const VERBS: [&str; 8] = ["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];
const REVIEWS: [(&str, &str); 2] =
    [("selfsubjectaccessreviews", "SelfSubjectAccessReview"), ("selfsubjectrulesreviews", "SelfSubjectRulesReview")];

/// One resource or subresource in one version.
struct Served {
    group: String,
    version: String,
    resource: Arc<Resource>,
    /// `status`, `scale`, `log`: name, kind, group and version of what it speaks, verbs.
    subresources: Vec<(&'static str, String, &'static str, &'static str, Vec<&'static str>)>,
    verbs: Vec<&'static str>,
}

/// Namespaces are deleted one by one.
fn verbs(resource: &Resource) -> Vec<&'static str> {
    let all = VERBS.into_iter();
    all.filter(|verb| *verb != "deletecollection" || resource.qualified != "namespaces").collect()
}

fn served(state: &State) -> Vec<Served> {
    let mut all = Vec::new();
    for resource in state.resources() {
        for version in &resource.versions {
            let mut subresources = Vec::new();
            if resource.has_status {
                subresources.push(("status", resource.kind.clone(), "", "", vec!["get", "patch", "update"]));
            }
            if resource.has_scale {
                let verbs = vec!["get", "patch", "update"];
                subresources.push(("scale", "Scale".to_owned(), "autoscaling", "v1", verbs));
            }
            if resource.qualified == "pods" {
                subresources.push(("log", "Pod".to_owned(), "", "", vec!["get"]));
            }
            all.push(Served {
                group: resource.group.clone(),
                version: version.name.clone(),
                subresources,
                verbs: verbs(&resource),
                resource: resource.clone(),
            });
        }
        if resource.qualified == "events" {
            let (group, version) = (EVENTS.to_owned(), "v1".to_owned());
            all.push(Served { group, version, resource, subresources: Vec::new(), verbs: VERBS.to_vec() });
        }
    }
    for (plural, kind) in REVIEWS {
        let group = "authorization.k8s.io".to_owned();
        let resource = Resource {
            group: group.clone(),
            versions: Vec::new(),
            kind: kind.to_owned(),
            list_kind: String::new(),
            plural: plural.to_owned(),
            singular: kind.to_lowercase(),
            short_names: Vec::new(),
            categories: Vec::new(),
            namespaced: false,
            has_status: false,
            has_scale: false,
            has_generation: false,
            unconditional_update: false,
            custom: false,
            qualified: qualify(plural, &group),
        };
        let (resource, version, verbs) = (Arc::new(resource), "v1".to_owned(), vec!["create"]);
        all.push(Served { group, version, resource, subresources: Vec::new(), verbs });
    }
    all
}

/// Groups with their versions, in the order in which they are preferred.
fn groups(state: &State) -> BTreeMap<String, Vec<String>> {
    let mut groups: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for served in served(state) {
        let versions = groups.entry(served.group).or_default();
        if !versions.contains(&served.version) {
            versions.push(served.version);
        }
    }
    groups
}

fn api_version(group: &str, version: &str) -> String {
    if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") }
}

/// `/api` or `/apis` with everything below it.
pub(super) fn aggregated(state: &State, core: bool) -> Value {
    let served = served(state);
    let groups = groups(state).into_iter().filter(|(g, _)| g.is_empty() == core);
    let items = groups.map(|(group, versions)| {
        let versions = versions.iter().map(|version| {
            let inside = served.iter().filter(|s| s.group == group && s.version == *version);
            let resources: Vec<Value> = inside.map(aggregated_resource).collect();
            json!({"version": version, "freshness": "Current", "resources": resources})
        });
        let metadata = if group.is_empty() { json!({}) } else { json!({"name": group}) };
        json!({"metadata": metadata, "versions": versions.collect::<Vec<_>>()})
    });
    json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2", "metadata": {},
           "items": items.collect::<Vec<_>>()})
}

fn aggregated_resource(served: &Served) -> Value {
    let r = &served.resource;
    let mut resource = json!({
        "resource": r.plural, "scope": if r.namespaced { "Namespaced" } else { "Cluster" }, "singularResource": r.singular,
        "responseKind": {"group": served.group, "version": served.version, "kind": r.kind}, "verbs": served.verbs,
    });
    if !r.short_names.is_empty() {
        resource["shortNames"] = json!(r.short_names);
    }
    if !r.categories.is_empty() {
        resource["categories"] = json!(r.categories);
    }
    let subresources = served.subresources.iter().map(|(name, kind, group, version, verbs)| {
        let (group, version) = if group.is_empty() { (&*served.group, &*served.version) } else { (*group, *version) };
        json!({"subresource": name, "responseKind": {"group": group, "version": version, "kind": kind}, "verbs": verbs})
    });
    let subresources: Vec<Value> = subresources.collect();
    if !subresources.is_empty() {
        resource["subresources"] = subresources.into();
    }
    resource
}

/// `/api`
pub(super) fn core(address: &str) -> Value {
    json!({"kind": "APIVersions", "versions": ["v1"],
           "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}]})
}

fn group_value(name: &str, versions: &[String]) -> Value {
    let version = |v: &String| json!({"groupVersion": api_version(name, v), "version": v});
    json!({"name": name, "versions": versions.iter().map(version).collect::<Vec<_>>(), "preferredVersion": version(&versions[0])})
}

/// `/apis`
pub(super) fn group_list(state: &State) -> Value {
    let groups = groups(state).into_iter().filter(|(name, _)| !name.is_empty());
    let groups: Vec<Value> = groups.map(|(name, versions)| group_value(&name, &versions)).collect();
    json!({"kind": "APIGroupList", "apiVersion": "v1", "groups": groups})
}

/// `/apis/apps`
pub(super) fn group(state: &State, name: &str) -> Result<Value, Status> {
    let groups = groups(state);
    let versions = groups.get(name).filter(|_| !name.is_empty()).ok_or_else(Status::no_such_resource)?;
    let mut group = group_value(name, versions);
    group["kind"] = "APIGroup".into();
    group["apiVersion"] = "v1".into();
    Ok(group)
}

/// `/api/v1`, `/apis/apps/v1`
pub(super) fn resources(state: &State, group: &str, version: &str) -> Result<Value, Status> {
    let served = served(state);
    let inside: Vec<&Served> = served.iter().filter(|s| s.group == group && s.version == version).collect();
    if inside.is_empty() {
        return Err(Status::no_such_resource());
    }
    let mut resources = Vec::new();
    for served in inside {
        let r = &served.resource;
        let mut resource = json!({"name": r.plural, "singularName": r.singular, "namespaced": r.namespaced, "kind": r.kind,
                                  "verbs": served.verbs});
        if !r.short_names.is_empty() {
            resource["shortNames"] = json!(r.short_names);
        }
        if !r.categories.is_empty() {
            resource["categories"] = json!(r.categories);
        }
        resources.push(resource);
        for (name, kind, group, version, verbs) in &served.subresources {
            let mut sub = json!({"name": format!("{}/{name}", r.plural), "singularName": "", "namespaced": r.namespaced,
                                 "kind": kind, "verbs": verbs});
            if !group.is_empty() {
                sub["group"] = json!(group);
                sub["version"] = json!(version);
            }
            resources.push(sub);
        }
    }
    Ok(
        json!({"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": api_version(group, version), "resources": resources}),
    )
}

/// `/openapi/v3`
pub(super) fn openapi_index(state: &State) -> Value {
    let mut paths = serde_json::Map::new();
    for (group, versions) in groups(state) {
        for version in versions {
            let path = if group.is_empty() { format!("api/{version}") } else { format!("apis/{group}/{version}") };
            let url = format!("/openapi/v3/{path}?hash={}", state.cluster_uid());
            paths.insert(path, json!({"serverRelativeURL": url}));
        }
    }
    json!({"paths": paths})
}

/// What kubectl needs to know before it applies: that these kinds can be patched, with which parameters. No schemas: the
/// sandbox has none.
pub(super) fn openapi(state: &State, group: &str, version: &str) -> Result<Value, Status> {
    let served = served(state);
    let inside: Vec<&Served> = served.iter().filter(|s| s.group == group && s.version == version).collect();
    if inside.is_empty() {
        return Err(Status::no_such_resource());
    }
    let root = if group.is_empty() { format!("/api/{version}") } else { format!("/apis/{group}/{version}") };
    let parameter =
        |name: &str| json!({"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": true}});
    let parameters: Vec<Value> = ["dryRun", "fieldManager", "fieldValidation"].map(parameter).into();
    let mut paths = serde_json::Map::new();
    for served in inside {
        let r = &served.resource;
        let namespace = if r.namespaced { "/namespaces/{namespace}" } else { "" };
        let operation = json!({
            "parameters": parameters, "responses": {"200": {"description": "OK"}},
            "x-kubernetes-group-version-kind": {"group": group, "version": version, "kind": r.kind},
        });
        let collection = json!({"post": operation});
        let one = json!({"get": operation, "put": operation, "patch": operation, "delete": operation});
        paths.insert(format!("{root}{namespace}/{}", r.plural), collection);
        paths.insert(format!("{root}{namespace}/{}/{{name}}", r.plural), one);
    }
    Ok(json!({"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": GIT_VERSION}, "paths": paths,
              "components": {"schemas": {}}}))
}

/// `/version`
pub(super) fn version() -> Value {
    json!({"major": "1", "minor": "37", "gitVersion": GIT_VERSION, "gitCommit": "", "gitTreeState": "clean",
           "buildDate": "1970-01-01T00:00:00Z", "goVersion": "none", "compiler": "rustc",
           "platform": format!("{}/{}", std::env::consts::OS, std::env::consts::ARCH)})
}
