//! What is served: discovery in both forms, the version, health, and what is said of anything else.

use super::api::{Api, Ask, assert_like};
use super::{Case, cases};
use serde_json::{Value, json};
use std::collections::BTreeSet;

pub const CASES: &[Case] = cases![
    the_roots_name_versions_and_groups,
    a_group_names_its_versions,
    the_resources_of_a_group_are_those_of_a_real_server,
    aggregated_discovery_says_the_same,
    the_version_has_its_words,
    health_is_a_word,
    an_unknown_path_is_not_found,
    an_unknown_resource_is_not_found,
    a_method_that_a_path_does_not_take_is_refused,
    what_kubectl_needs_of_open_api_is_there,
];

const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList";
const ALL_VERBS: &[&str] = &["create", "delete", "deletecollection", "get", "list", "patch", "update", "watch"];

/// Group and version, plural, kind, whether namespaced, short names, categories, subresources of those that matter to us.
type Row = (
    &'static str,
    &'static str,
    &'static str,
    bool,
    &'static [&'static str],
    &'static [&'static str],
    &'static [&'static str],
);

const SERVED: &[Row] = &[
    ("v1", "configmaps", "ConfigMap", true, &["cm"], &[], &[]),
    ("v1", "events", "Event", true, &["ev"], &[], &[]),
    ("v1", "namespaces", "Namespace", false, &["ns"], &[], &["status"]),
    ("v1", "nodes", "Node", false, &["no"], &[], &["status"]),
    ("v1", "pods", "Pod", true, &["po"], &["all"], &["status"]),
    ("v1", "secrets", "Secret", true, &[], &[], &[]),
    ("v1", "services", "Service", true, &["svc"], &["all"], &["status"]),
    ("v1", "serviceaccounts", "ServiceAccount", true, &["sa"], &[], &[]),
    ("apps/v1", "deployments", "Deployment", true, &["deploy"], &["all"], &["scale", "status"]),
    ("apps/v1", "replicasets", "ReplicaSet", true, &["rs"], &["all"], &["scale", "status"]),
    ("apps/v1", "statefulsets", "StatefulSet", true, &["sts"], &["all"], &["scale", "status"]),
    ("coordination.k8s.io/v1", "leases", "Lease", true, &[], &[], &[]),
    (
        "apiextensions.k8s.io/v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
        false,
        &["crd", "crds"],
        &["api-extensions"],
        &["status"],
    ),
    ("authorization.k8s.io/v1", "selfsubjectaccessreviews", "SelfSubjectAccessReview", false, &[], &[], &[]),
];

fn verbs(plural: &str) -> BTreeSet<&'static str> {
    let leaves_out: &[&str] = match plural {
        "namespaces" => &["deletecollection"],
        "selfsubjectaccessreviews" => &ALL_VERBS[1..],
        _ => &[],
    };
    ALL_VERBS.iter().filter(|verb| !leaves_out.contains(verb)).copied().collect()
}

fn words(value: &Value) -> BTreeSet<&str> {
    value.as_array().into_iter().flatten().filter_map(Value::as_str).collect()
}

fn path_of(group_version: &str) -> String {
    if group_version == "v1" { "/api/v1".into() } else { format!("/apis/{group_version}") }
}

fn the_roots_name_versions_and_groups(api: &Api<'_>) {
    let versions = api.get("/api").ok();
    assert_like(&versions, &json!({"kind": "APIVersions", "versions": ["v1"]}));
    let groups = api.get("/apis").ok();
    assert_like(&groups, &json!({"kind": "APIGroupList", "apiVersion": "v1"}));
    let groups = groups["groups"].as_array().expect("groups");
    for name in ["apps", "coordination.k8s.io", "apiextensions.k8s.io", "authorization.k8s.io"] {
        let group = groups.iter().find(|group| group["name"] == name).unwrap_or_else(|| panic!("no {name}"));
        let version = json!({"groupVersion": format!("{name}/v1"), "version": "v1"});
        assert_eq!(*group, json!({"name": name, "versions": [version], "preferredVersion": version}));
    }
    assert!(groups.iter().all(|group| group["name"] != ""), "the core is no group");
}

fn a_group_names_its_versions(api: &Api<'_>) {
    let version = json!({"groupVersion": "apps/v1", "version": "v1"});
    let expected = json!({
        "kind": "APIGroup", "apiVersion": "v1", "name": "apps", "versions": [version], "preferredVersion": version,
    });
    assert_eq!(api.get("/apis/apps").ok(), expected);
}

fn the_resources_of_a_group_are_those_of_a_real_server(api: &Api<'_>) {
    for (group_version, plural, kind, namespaced, short_names, categories, subresources) in SERVED {
        let list = api.get(&path_of(group_version)).ok();
        assert_like(&list, &json!({"kind": "APIResourceList", "groupVersion": group_version}));
        let resources = list["resources"].as_array().expect("resources");
        let found = |name: &str| {
            let found = resources.iter().find(|resource| resource["name"] == name);
            found.unwrap_or_else(|| panic!("no {name} in {group_version}")).clone()
        };
        let resource = found(plural);
        let singular = kind.to_lowercase();
        assert_like(&resource, &json!({"singularName": singular, "namespaced": namespaced, "kind": kind}));
        assert_eq!(words(&resource["verbs"]), verbs(plural), "{plural}");
        assert_eq!(words(&resource["shortNames"]), short_names.iter().copied().collect(), "{plural}");
        assert_eq!(words(&resource["categories"]), categories.iter().copied().collect(), "{plural}");
        for subresource in *subresources {
            let resource = found(&format!("{plural}/{subresource}"));
            assert_like(&resource, &json!({"singularName": "", "namespaced": namespaced}));
            assert_eq!(words(&resource["verbs"]), ["get", "patch", "update"].into());
            if *subresource == "scale" {
                assert_like(&resource, &json!({"group": "autoscaling", "version": "v1", "kind": "Scale"}));
            } else {
                assert_eq!(resource["kind"], *kind);
            }
        }
    }
}

fn aggregated_discovery_says_the_same(api: &Api<'_>) {
    for (group_version, plural, kind, namespaced, short_names, categories, subresources) in SERVED {
        let (group, version) = group_version.split_once('/').unwrap_or(("", group_version));
        let answer = api.get_as(AGGREGATED, if group.is_empty() { "/api" } else { "/apis" });
        assert_eq!(answer.content_type, AGGREGATED);
        let list = answer.ok();
        assert_like(&list, &json!({"kind": "APIGroupDiscoveryList", "apiVersion": "apidiscovery.k8s.io/v2"}));
        let found = |list: &Value, what: &dyn Fn(&Value) -> bool| {
            let found = list.as_array().and_then(|items| items.iter().find(|item| what(item)));
            found.unwrap_or_else(|| panic!("no {group_version} {plural} in {list}")).clone()
        };
        let item = found(&list["items"], &|item| item["metadata"]["name"].as_str().unwrap_or_default() == group);
        let item = found(&item["versions"], &|item| item["version"] == version);
        assert_eq!(item["freshness"], "Current");
        let resource = found(&item["resources"], &|item| item["resource"] == *plural);
        let scope = if *namespaced { "Namespaced" } else { "Cluster" };
        let kinds = json!({"kind": kind});
        assert_like(
            &resource,
            &json!({"responseKind": kinds, "scope": scope, "singularResource": kind.to_lowercase()}),
        );
        assert_eq!(words(&resource["verbs"]), verbs(plural), "{plural}");
        assert_eq!(words(&resource["shortNames"]), short_names.iter().copied().collect(), "{plural}");
        assert_eq!(words(&resource["categories"]), categories.iter().copied().collect(), "{plural}");
        for subresource in *subresources {
            let sub = found(&resource["subresources"], &|item| item["subresource"] == *subresource);
            assert_eq!(words(&sub["verbs"]), ["get", "patch", "update"].into());
            let scale = json!({"group": "autoscaling", "version": "v1", "kind": "Scale"});
            assert_like(&sub["responseKind"], if *subresource == "scale" { &scale } else { &kinds });
        }
    }
    // As kubectl asks: this form, an older one, or none.
    let older = "application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList";
    let answer = api.get_as(&format!("{AGGREGATED},{older},application/json"), "/apis");
    assert_eq!(answer.content_type, AGGREGATED);
}

fn the_version_has_its_words(api: &Api<'_>) {
    let version = api.get("/version").ok();
    for key in ["gitCommit", "gitTreeState", "buildDate", "goVersion", "compiler", "platform"] {
        assert!(version[key].is_string(), "{key}: {version}");
    }
    let number =
        |key: &str| version[key].as_str().and_then(|v| v.parse::<u32>().ok()).unwrap_or_else(|| panic!("{version}"));
    let begins = format!("v{}.{}.", number("major"), number("minor"));
    assert!(version["gitVersion"].as_str().is_some_and(|v| v.starts_with(&begins)), "{version}");
}

fn health_is_a_word(api: &Api<'_>) {
    for path in ["/healthz", "/livez", "/readyz"] {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.text.as_str()), (200, "ok"), "{path}");
        assert_eq!(answer.content_type, "text/plain; charset=utf-8");
    }
}

fn an_unknown_path_is_not_found(api: &Api<'_>) {
    for path in ["/nope", "/nope/v1/pods", "/apis/nope.example.com/v1", "/apis/nope.example.com/v1/nopes"] {
        let answer = api.get(path);
        assert_eq!((answer.status, answer.text.trim()), (404, "404 page not found"), "{path}");
        assert_eq!(answer.content_type, "text/plain; charset=utf-8");
    }
}

fn an_unknown_resource_is_not_found(api: &Api<'_>) {
    for path in [
        "/api/v2",
        "/api/v1/nopes",
        "/api/v1/namespaces/default/nopes",
        "/api/v1/namespaces/default/pods/a/nope",
        "/apis/apps/v1/nopes",
        "/apis/apps/v2",
    ] {
        let message = "the server could not find the requested resource";
        let status = api.get(path).refused_saying(404, "NotFound", message);
        assert_eq!(status["details"], json!({}), "{path}");
    }
}

fn a_method_that_a_path_does_not_take_is_refused(api: &Api<'_>) {
    let message = "the server does not allow this method on the requested resource";
    for (method, path) in [
        ("POST", "/api/v1/namespaces/default/configmaps/a"),
        ("PUT", "/api/v1/namespaces/default/configmaps"),
        ("PATCH", "/api/v1/namespaces/default/configmaps"),
        ("DELETE", "/api/v1/pods"),
        ("DELETE", "/api/v1/namespaces"),
        ("POST", "/apis/apps/v1/namespaces/default/deployments/d/scale"),
        ("PUT", "/version"),
        ("GET", "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"),
    ] {
        let answer = api.ask(Ask { method, path, body: "{}".into(), ..Ask::default() });
        assert_eq!(answer.refused(405, "MethodNotAllowed", message)["details"], json!({}), "{method} {path}");
    }
}

fn what_kubectl_needs_of_open_api_is_there(api: &Api<'_>) {
    let index = api.get("/openapi/v3").ok();
    for (part, path, kind) in [
        ("api/v1", "/api/v1/namespaces/{namespace}/configmaps/{name}", "ConfigMap"),
        ("apis/apps/v1", "/apis/apps/v1/namespaces/{namespace}/deployments/{name}", "Deployment"),
    ] {
        let url = index["paths"][part]["serverRelativeURL"].as_str().unwrap_or_else(|| panic!("no {part}: {index}"));
        assert!(url.starts_with(&format!("/openapi/v3/{part}")), "{url}");
        let document = api.get(url).ok();
        let patch = &document["paths"][path]["patch"];
        assert_eq!(patch["x-kubernetes-group-version-kind"]["kind"], kind);
        let parameters = patch["parameters"].as_array().unwrap_or_else(|| panic!("{part}: no patch of {path}"));
        assert!(parameters.iter().any(|parameter| parameter["name"] == "fieldValidation"), "{parameters:?}");
    }
}
