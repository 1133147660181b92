//! What single kinds have of their own: Secrets, scales, access reviews, Leases, custom resources, and a rollout.

use super::api::{APPLY, Api, MERGE, STRATEGIC, assert_like, names, version_of};
use super::writing::deployment;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    string_data_of_a_secret_becomes_data_and_is_never_seen_again,
    the_data_of_a_secret_must_be_base64,
    the_type_of_a_secret_cannot_change,
    an_immutable_config_map_cannot_change,
    a_scale_can_be_read_put_and_patched,
    a_scale_of_a_stale_version_conflicts,
    a_scale_that_is_impossible_is_refused,
    an_administrator_may_do_everything,
    a_review_of_nothing_is_refused,
    a_lease_is_renewed_only_by_who_knows_its_version,
    a_custom_resource_is_served_once_it_is_established,
    a_custom_object_is_listed_watched_patched_and_deleted,
    a_custom_object_needs_its_type_and_its_version,
    a_strategic_patch_of_a_custom_object_is_refused,
    a_custom_object_in_a_table_has_its_own_columns,
    a_deleted_definition_takes_its_objects_with_it,
    an_event_may_be_renewed_in_place,
    a_node_is_created_and_its_status_is_apart,
    a_deployment_rolls_out,
];

fn string_data_of_a_secret_becomes_data_and_is_never_seen_again(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    let from = api.version();
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={from}"));
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "b2xk", "l": "b2xk"}, "stringData": {"k": "new"}});
    let made = api.post(&path, &body).created();
    assert_like(&made, &json!({"type": "Opaque", "data": {"k": "bmV3", "l": "b2xk"}}));
    assert_eq!(made.get("stringData"), None);
    assert_eq!(watch.expect("ADDED"), made);
    let patched = api.patch(&format!("{path}/a"), MERGE, &json!({"stringData": {"l": "new"}})).ok();
    assert_eq!((&patched["data"], patched.get("stringData")), (&json!({"k": "bmV3", "l": "bmV3"}), None));
    assert_eq!(watch.expect("MODIFIED"), patched);
}

fn the_data_of_a_secret_must_be_base64(api: &Api<'_>) {
    let ns = api.namespace();
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "!"}});
    api.post(&format!("/api/v1/namespaces/{ns}/secrets"), &body).refused_with(400, "BadRequest");
}

fn the_type_of_a_secret_cannot_change(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/secrets");
    api.post(&path, &json!({"metadata": {"name": "a"}})).created();
    let status =
        api.patch(&format!("{path}/a"), MERGE, &json!({"type": "example.com/other"})).refused_with(422, "Invalid");
    assert_like(&status["details"]["causes"], &json!([{"reason": "FieldValueInvalid", "field": "type"}]));
}

fn an_immutable_config_map_cannot_change(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    api.post(&path, &json!({"metadata": {"name": "a"}, "immutable": true, "data": {"k": "v"}})).created();
    let status = api.patch(&format!("{path}/a"), MERGE, &json!({"data": {"k": "w"}})).refused_with(422, "Invalid");
    assert_like(&status["details"]["causes"], &json!([{"reason": "FieldValueForbidden", "field": "data"}]));
    api.patch(&format!("{path}/a"), MERGE, &json!({"metadata": {"labels": {"l": "1"}}})).ok();
}

/// A workload that is not rolled out by anybody, so that its version stays where it is.
fn workload(api: &Api<'_>, plural: &str) -> String {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/{plural}");
    let mut body = deployment("w", 0);
    body["spec"]["paused"] = true.into();
    if plural == "statefulsets" {
        body["kind"] = "StatefulSet".into();
        body["spec"]["serviceName"] = "w".into();
        body["spec"].as_object_mut().expect("a spec").remove("paused");
    }
    api.post(&path, &body).created();
    format!("{path}/w")
}

fn a_scale_can_be_read_put_and_patched(api: &Api<'_>) {
    for plural in ["deployments", "statefulsets"] {
        let path = workload(api, plural);
        let scale_path = format!("{path}/scale");
        let object = api.get(&path).ok();
        let scale = api.get(&scale_path).ok();
        assert_like(
            &scale,
            &json!({
                "kind": "Scale", "apiVersion": "autoscaling/v1",
                "metadata": {"name": "w", "namespace": object["metadata"]["namespace"], "uid": object["metadata"]["uid"]},
                "status": {"replicas": 0, "selector": "app=w"},
            }),
        );
        assert_eq!(scale["spec"], json!({}), "zero is left out");
        let scaled = api.patch(&scale_path, MERGE, &json!({"spec": {"replicas": 2}})).ok();
        assert_like(&scaled, &json!({"kind": "Scale", "spec": {"replicas": 2}}));
        let body =
            json!({"metadata": {"name": "w", "namespace": object["metadata"]["namespace"]}, "spec": {"replicas": 1}});
        assert_eq!(api.put(&scale_path, &body).ok()["spec"]["replicas"], 1);
        let object = api.get(&path).ok();
        assert_like(&object, &json!({"spec": {"replicas": 1}, "metadata": {"generation": 3}}));
        let status = api.get(&path.replace("/w", "/nope/scale"));
        status.refused(404, "NotFound", &format!("{plural}.apps \"nope\" not found"));
    }
}

fn a_scale_of_a_stale_version_conflicts(api: &Api<'_>) {
    let path = format!("{}/scale", workload(api, "deployments"));
    let mut scale = api.get(&path).ok();
    scale["metadata"]["resourceVersion"] = "1".into();
    scale["spec"]["replicas"] = 3.into();
    let status = api.put(&path, &scale).refused_with(409, "Conflict");
    assert_eq!(status["details"], json!({"name": "w", "group": "apps", "kind": "deployments"}));
}

fn a_scale_that_is_impossible_is_refused(api: &Api<'_>) {
    let path = format!("{}/scale", workload(api, "deployments"));
    let message =
        "Scale.autoscaling \"w\" is invalid: spec.replicas: Invalid value: -2: must be greater than or equal to 0";
    let status = api.patch(&path, MERGE, &json!({"spec": {"replicas": -2}})).refused_saying(422, "Invalid", message);
    assert_like(&status["details"], &json!({"causes": [{"reason": "FieldValueInvalid", "field": "spec.replicas"}]}));
}

const REVIEWS: &str = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews";

fn an_administrator_may_do_everything(api: &Api<'_>) {
    let attributes = json!({"verb": "list", "resource": "pods", "namespace": "default"});
    let body = json!({"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "spec": {"resourceAttributes": attributes}});
    assert_like(
        &api.post(REVIEWS, &body).created(),
        &json!({
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": attributes}, "status": {"allowed": true},
        }),
    );
}

fn a_review_of_nothing_is_refused(api: &Api<'_>) {
    let status = api.post(REVIEWS, &json!({"spec": {}})).refused_with(422, "Invalid");
    let message = "Invalid value: null: exactly one of nonResourceAttributes or resourceAttributes must be specified";
    assert_eq!(
        status["details"]["causes"],
        json!([{"reason": "FieldValueInvalid", "message": message, "field": "spec"}])
    );
}

fn a_lease_is_renewed_only_by_who_knows_its_version(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/apis/coordination.k8s.io/v1/namespaces/{ns}/leases");
    let spec = json!({"holderIdentity": "one", "leaseDurationSeconds": 15, "renewTime": "2026-11-23T10:00:00.123456Z"});
    let made = api.post(&path, &json!({"metadata": {"name": "l"}, "spec": spec})).created();
    assert_eq!(made["spec"], spec);
    let mut renewed = made.clone();
    renewed["spec"]["renewTime"] = "2026-11-23T10:00:05.000000Z".into();
    let put = api.put(&format!("{path}/l"), &renewed).ok();
    assert_eq!(put["spec"], renewed["spec"]);
    renewed["spec"]["holderIdentity"] = "two".into();
    let status = api.put(&format!("{path}/l"), &renewed).refused_with(409, "Conflict");
    assert_eq!(status["details"], json!({"name": "l", "group": "coordination.k8s.io", "kind": "leases"}));
    let blind = json!({"metadata": {"name": "l"}, "spec": {"holderIdentity": "three"}});
    let status = api.put(&format!("{path}/l"), &blind).refused_with(422, "Invalid");
    assert_eq!(status["details"]["causes"][0]["field"], "metadata.resourceVersion");
}

const DEFINITIONS: &str = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions";

/// Defines a kind in a group of its own and waits until it is served; the group.
fn defined(api: &Api<'_>) -> String {
    let group = format!("{}.example.com", api.namespace());
    let schema = json!({"openAPIV3Schema": {"type": "object", "x-kubernetes-preserve-unknown-fields": true}});
    let column = json!({"name": "Size", "type": "integer", "jsonPath": ".spec.size"});
    let body = json!({
        "metadata": {"name": format!("widgets.{group}")},
        "spec": {
            "group": group, "scope": "Namespaced",
            "names": {"plural": "widgets", "singular": "widget", "kind": "Widget", "shortNames": ["wd"]},
            "versions": [{
                "name": "v1", "served": true, "storage": true, "schema": schema, "subresources": {"status": {}},
                "additionalPrinterColumns": [column],
            }],
        },
    });
    let made = api.post(DEFINITIONS, &body).created();
    assert_like(&made["spec"]["names"], &json!({"listKind": "WidgetList"}));
    api.eventually("the definition is established and served", |api| {
        let definition = api.get(&format!("{DEFINITIONS}/widgets.{group}")).ok();
        let conditions = definition["status"]["conditions"].as_array().map_or(&[][..], Vec::as_slice);
        let is = |kind: &str| conditions.iter().any(|c| c["type"] == kind && c["status"] == "True");
        // The handler follows the condition at a distance.
        let served = || api.get(&format!("/apis/{group}/v1/widgets")).status == 200;
        (is("NamesAccepted") && is("Established") && served()).then_some(())
    });
    group
}

fn widget(group: &str, name: &str, size: u32) -> Value {
    json!({"apiVersion": format!("{group}/v1"), "kind": "Widget", "metadata": {"name": name}, "spec": {"size": size}})
}

fn a_custom_resource_is_served_once_it_is_established(api: &Api<'_>) {
    let group = defined(api);
    let definition = api.get(&format!("{DEFINITIONS}/widgets.{group}")).ok();
    assert_like(
        &definition["status"],
        &json!({
            "acceptedNames": {"plural": "widgets", "singular": "widget", "kind": "Widget", "listKind": "WidgetList", "shortNames": ["wd"]},
            "storedVersions": ["v1"],
        }),
    );
    api.eventually("discovery has it", |api| {
        let list = api.get(&format!("/apis/{group}/v1"));
        if list.status != 200 {
            return None;
        }
        let resources = list.json["resources"].as_array().cloned().unwrap_or_default();
        let found = resources.iter().find(|resource| resource["name"] == "widgets")?;
        assert_like(
            found,
            &json!({"singularName": "widget", "namespaced": true, "kind": "Widget", "shortNames": ["wd"]}),
        );
        resources.iter().any(|resource| resource["name"] == "widgets/status").then_some(())
    });
    let groups = api.eventually("so has the list of groups", |api| {
        let groups = api.get("/apis").ok()["groups"].as_array().cloned().unwrap_or_default();
        groups.into_iter().find(|found| found["name"] == group.as_str())
    });
    assert_eq!(groups["preferredVersion"]["groupVersion"], format!("{group}/v1"));
}

fn a_custom_object_is_listed_watched_patched_and_deleted(api: &Api<'_>) {
    let (group, ns) = (defined(api), api.namespace());
    let path = format!("/apis/{group}/v1/namespaces/{ns}/widgets");
    let from = api.get(&path).ok()["metadata"]["resourceVersion"].clone();
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={}", from.as_str().expect("a version")));
    let mut body = widget(&group, "a", 3);
    body["status"] = json!({"set": "by the client"});
    let made = api.post(&path, &body).created();
    assert_like(&made, &json!({"kind": "Widget", "metadata": {"generation": 1}, "spec": {"size": 3}}));
    assert_eq!(made.get("status"), None);
    assert_eq!(watch.expect("ADDED"), made);
    let list = api.get(&path).ok();
    assert_like(&list, &json!({"kind": "WidgetList", "apiVersion": format!("{group}/v1"), "items": [made]}));
    let patched = api.patch(&format!("{path}/a"), MERGE, &json!({"spec": {"size": 4}})).ok();
    assert_eq!(patched["metadata"]["generation"], 2);
    assert_eq!(watch.expect("MODIFIED"), patched);
    let status =
        api.patch(&format!("{path}/a/status"), MERGE, &json!({"status": {"seen": true}, "spec": {"size": 9}})).ok();
    assert_like(&status, &json!({"metadata": {"generation": 2}, "spec": {"size": 4}, "status": {"seen": true}}));
    assert_eq!(watch.expect("MODIFIED"), status);
    let applied = api.patch(&format!("{path}/b?fieldManager=m"), APPLY, &widget(&group, "b", 5)).created();
    assert_eq!(watch.expect("ADDED"), applied);
    assert_eq!(names(&api.get(&format!("/apis/{group}/v1/widgets")).ok()), ["a", "b"]);
    let deleted = api.delete(&format!("{path}/a"), &Value::Null).ok();
    assert_like(&deleted, &json!({"status": "Success", "details": {"name": "a", "group": group, "kind": "widgets"}}));
    assert!(version_of(&watch.expect_about("DELETED", "a")) > version_of(&status));
    let message = format!("widgets.{group} \"a\" not found");
    api.get(&format!("{path}/a")).refused(404, "NotFound", &message);
}

fn a_custom_object_needs_its_type_and_its_version(api: &Api<'_>) {
    let (group, ns) = (defined(api), api.namespace());
    let path = format!("/apis/{group}/v1/namespaces/{ns}/widgets");
    api.post(&path, &json!({"metadata": {"name": "a"}, "spec": {}})).refused_with(400, "BadRequest");
    api.post(&path, &widget(&group, "a", 1)).created();
    let status = api.put(&format!("{path}/a"), &widget(&group, "a", 2)).refused_with(422, "Invalid");
    assert_like(
        &status["details"]["causes"][0],
        &json!({
            "reason": "FieldValueInvalid", "field": "metadata.resourceVersion",
            "message": "Invalid value: 0: must be specified for an update",
        }),
    );
}

fn a_strategic_patch_of_a_custom_object_is_refused(api: &Api<'_>) {
    let (group, ns) = (defined(api), api.namespace());
    let path = format!("/apis/{group}/v1/namespaces/{ns}/widgets");
    api.post(&path, &widget(&group, "a", 1)).created();
    let message = "the body of the request was in an unknown format - accepted media types include: \
                   application/json-patch+json, application/merge-patch+json, application/apply-patch+yaml";
    let answer = api.patch(&format!("{path}/a"), STRATEGIC, &json!({"spec": {"size": 2}}));
    answer.refused_saying(415, "UnsupportedMediaType", message);
}

fn a_custom_object_in_a_table_has_its_own_columns(api: &Api<'_>) {
    let (group, ns) = (defined(api), api.namespace());
    let path = format!("/apis/{group}/v1/namespaces/{ns}/widgets");
    api.post(&path, &widget(&group, "a", 3)).created();
    let table = api.get_as("application/json;as=Table;v=v1;g=meta.k8s.io", &path).ok();
    assert_like(
        &table["columnDefinitions"],
        &json!([{"name": "Name", "type": "string"}, {"name": "Size", "type": "integer"}]),
    );
    assert_eq!(table["rows"][0]["cells"], json!(["a", 3]));
}

fn a_deleted_definition_takes_its_objects_with_it(api: &Api<'_>) {
    let (group, ns) = (defined(api), api.namespace());
    let path = format!("/apis/{group}/v1/namespaces/{ns}/widgets");
    let made = api.post(&path, &widget(&group, "a", 3)).created();
    let mut watch = api.watch(&format!("{path}?watch=1&resourceVersion={}", version_of(&made)));
    let definition = format!("{DEFINITIONS}/widgets.{group}");
    api.delete(&definition, &Value::Null).ok();
    watch.expect_about("DELETED", "a");
    api.eventually("the definition is gone", |api| (api.get(&definition).status == 404).then_some(()));
    api.eventually("and nothing serves it", |api| (api.get(&path).status == 404).then_some(()));
}

fn an_event_may_be_renewed_in_place(api: &Api<'_>) {
    let ns = api.namespace();
    let made = super::listing::event(api, &ns, "e");
    let path = format!("/api/v1/namespaces/{ns}/events/e");
    let patched = api.patch(&path, STRATEGIC, &json!({"count": 2, "lastTimestamp": "2026-11-23T10:00:00Z"})).ok();
    assert_like(&patched, &json!({"count": 2, "lastTimestamp": "2026-11-23T10:00:00Z", "reason": "Tried"}));
    assert!(version_of(&patched) > version_of(&made));
}

fn a_node_is_created_and_its_status_is_apart(api: &Api<'_>) {
    let name = format!("node-of-{}", api.namespace());
    let body = json!({"metadata": {"name": name}, "spec": {"podCIDR": "10.9.0.0/24"}});
    let made = api.post("/api/v1/nodes", &body).created();
    assert_like(&made, &json!({"kind": "Node", "metadata": {"name": name}, "spec": {"podCIDR": "10.9.0.0/24"}}));
    let path = format!("/api/v1/nodes/{name}");
    let labelled =
        api.patch(&path, MERGE, &json!({"metadata": {"labels": {"l": "1"}}, "spec": {"unschedulable": true}})).ok();
    assert_like(&labelled, &json!({"metadata": {"labels": {"l": "1"}}, "spec": {"unschedulable": true}}));
    let condition = json!({"type": "OfTheSuite", "status": "True"});
    let patched = api.patch(&format!("{path}/status"), STRATEGIC, &json!({"status": {"conditions": [condition]}})).ok();
    let conditions = patched["status"]["conditions"].as_array().expect("conditions");
    assert!(conditions.iter().any(|found| found["type"] == "OfTheSuite"), "{patched}");
    api.delete(&path, &Value::Null).ok();
}

fn a_deployment_rolls_out(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 2);
    body["spec"]["template"]["spec"].as_object_mut().expect("a spec").remove("schedulerName");
    api.post(&path, &body).created();
    let rolled_out = |image: &str| {
        api.eventually("both pods of the deployment are ready", |api| {
            let status = api.get(&format!("{path}/d")).ok()["status"].clone();
            let of_now = status["updatedReplicas"] == 2 && status["readyReplicas"] == 2 && status["replicas"] == 2;
            of_now.then_some(())
        });
        let pods = api
            .get(&format!("/api/v1/namespaces/{ns}/pods?labelSelector=app%3Dd&fieldSelector=status.phase%3DRunning"))
            .ok();
        let images = |pod: &Value| {
            pod["spec"]["containers"][0]["image"] == image && pod["metadata"]["deletionTimestamp"].is_null()
        };
        pods["items"].as_array().expect("pods").iter().filter(|pod| images(pod)).count()
    };
    assert_eq!(rolled_out("image:1"), 2);
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "main", "image": "image:2"}]}}}});
    api.patch(&format!("{path}/d"), STRATEGIC, &patch).ok();
    api.eventually("the new ones are there", |_| (rolled_out("image:2") == 2).then_some(()));
    let sets = api.get(&format!("/apis/apps/v1/namespaces/{ns}/replicasets")).ok();
    assert_eq!(names(&sets).len(), 2, "one for each template");
    for set in sets["items"].as_array().expect("sets") {
        assert_like(
            &set["metadata"]["ownerReferences"],
            &json!([{"kind": "Deployment", "name": "d", "controller": true}]),
        );
    }
}
