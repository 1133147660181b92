//! Strategic merge: lists by their keys, and its directives. What kubectl does unless told otherwise.

use super::api::{Api, MERGE, STRATEGIC, assert_like};
use super::creating::deployment;
use super::listing::config_maps;
use super::selecting::pod;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    a_strategic_patch_merges_containers_by_name,
    a_strategic_patch_merges_what_is_in_a_container_by_its_keys,
    a_strategic_patch_merges_conditions_by_type,
    a_strategic_patch_merges_finalizers_and_owners,
    a_strategic_patch_deletes_by_directive,
    a_strategic_patch_sets_the_order_of_elements,
    a_strategic_patch_retains_only_the_keys_it_names,
    a_strategic_patch_merges_volumes_by_name,
    a_strategic_patch_merges_the_ports_of_a_service,
];

/// A Deployment of two containers with all that strategic merge knows keys for; paused, so that it stays as it is.
pub fn rich(api: &Api<'_>) -> String {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 0);
    body["spec"]["paused"] = true.into();
    body["spec"]["template"]["spec"] = json!({
        "containers": [
            {
                "name": "main", "image": "image:1",
                "env": [{"name": "A", "value": "1"}, {"name": "B", "value": "2"}],
                "ports": [{"containerPort": 80}, {"containerPort": 81, "name": "second"}],
                "volumeMounts": [{"name": "v", "mountPath": "/v"}],
                "args": ["x", "y"],
            },
            {"name": "side", "image": "image:1"},
        ],
        "volumes": [{"name": "v", "emptyDir": {}}, {"name": "w", "emptyDir": {}}],
    });
    api.post(&path, &body).created();
    format!("{path}/d")
}

fn patched_spec(api: &Api<'_>, path: &str, spec: Value) -> Value {
    let patched = api.patch(path, STRATEGIC, &json!({"spec": {"template": {"spec": spec}}})).ok();
    patched["spec"]["template"]["spec"].clone()
}

fn a_strategic_patch_merges_containers_by_name(api: &Api<'_>) {
    let path = rich(api);
    let spec = patched_spec(api, &path, json!({"containers": [{"name": "side", "image": "image:2"}]}));
    assert_like(
        &spec["containers"],
        &json!([{"name": "main", "image": "image:1"}, {"name": "side", "image": "image:2"}]),
    );
    let spec = patched_spec(api, &path, json!({"containers": [{"name": "third", "image": "image:3"}]}));
    let mut found: Vec<&str> =
        spec["containers"].as_array().expect("them").iter().filter_map(|c| c["name"].as_str()).collect();
    found.sort_unstable();
    assert_eq!(found, ["main", "side", "third"]);
}

fn container(spec: &Value, name: &str) -> Value {
    let containers = spec["containers"].as_array().expect("containers");
    containers.iter().find(|c| c["name"] == name).unwrap_or_else(|| panic!("no {name} in {spec}")).clone()
}

/// The elements of a list in an order of our own: where new ones go is not the point.
fn sorted(list: &Value, by: &str) -> Value {
    let mut list = list.as_array().unwrap_or_else(|| panic!("no list: {list}")).clone();
    list.sort_by_key(|item| item[by].to_string());
    list.into()
}

fn a_strategic_patch_merges_what_is_in_a_container_by_its_keys(api: &Api<'_>) {
    let path = rich(api);
    let spec = patched_spec(
        api,
        &path,
        json!({"containers": [{
            "name": "main",
            "env": [{"name": "B", "value": "3"}, {"name": "C", "value": "4"}],
            "ports": [{"containerPort": 81, "name": "other"}, {"containerPort": 82}],
            "volumeMounts": [{"mountPath": "/v", "name": "w"}],
            "args": ["z"],
        }]}),
    );
    let main = container(&spec, "main");
    assert_eq!(main["image"], "image:1");
    let env = json!([{"name": "A", "value": "1"}, {"name": "B", "value": "3"}, {"name": "C", "value": "4"}]);
    assert_eq!(sorted(&main["env"], "name"), env);
    let ports = json!([
        {"containerPort": 80, "protocol": "TCP"},
        {"containerPort": 81, "name": "other", "protocol": "TCP"},
        {"containerPort": 82, "protocol": "TCP"},
    ]);
    assert_eq!(sorted(&main["ports"], "containerPort"), ports);
    assert_eq!(main["volumeMounts"], json!([{"mountPath": "/v", "name": "w"}]));
    assert_eq!(main["args"], json!(["z"]), "a list without a merge key is replaced");
}

fn a_strategic_patch_merges_conditions_by_type(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    api.post(&path, &pod("p")).created();
    let status = |conditions: Value| {
        let patch = json!({"status": {"conditions": conditions}});
        api.patch(&format!("{path}/p/status"), STRATEGIC, &patch).ok()["status"]["conditions"].clone()
    };
    status(json!([{"type": "Ready", "status": "False"}, {"type": "Custom", "status": "True"}]));
    let conditions = status(json!([{"type": "Ready", "status": "True", "reason": "Now"}]));
    assert_like(
        &sorted(&conditions, "type"),
        &json!([
            {"type": "Custom", "status": "True"}, {"type": "Ready", "status": "True", "reason": "Now"},
        ]),
    );
}

fn a_strategic_patch_merges_finalizers_and_owners(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let patch = |metadata: Value| api.patch(&path, STRATEGIC, &json!({"metadata": metadata})).ok()["metadata"].clone();
    patch(json!({"finalizers": ["example.com/a"]}));
    let metadata = patch(json!({"finalizers": ["example.com/b"]}));
    let mut finalizers: Vec<_> = metadata["finalizers"].as_array().expect("them").clone();
    finalizers.sort_by_key(Value::to_string);
    assert_eq!(json!(finalizers), json!(["example.com/a", "example.com/b"]));
    let metadata = patch(json!({"$deleteFromPrimitiveList/finalizers": ["example.com/a"]}));
    assert_eq!(metadata["finalizers"], json!(["example.com/b"]));
    let owner = |name: &str, uid: &str| json!({"apiVersion": "v1", "kind": "ConfigMap", "name": name, "uid": uid});
    patch(json!({"ownerReferences": [owner("o", "u-1")]}));
    let metadata = patch(json!({"ownerReferences": [owner("p", "u-2"), owner("q", "u-1")]}));
    let owners = sorted(&metadata["ownerReferences"], "uid");
    assert_eq!(owners, json!([owner("q", "u-1"), owner("p", "u-2")]));
    let metadata = patch(json!({"finalizers": null, "ownerReferences": null}));
    assert_eq!((metadata.get("finalizers"), metadata.get("ownerReferences")), (None, None));
}

fn a_strategic_patch_deletes_by_directive(api: &Api<'_>) {
    let path = rich(api);
    let spec = patched_spec(
        api,
        &path,
        json!({"containers": [
            {"name": "side", "$patch": "delete"},
            {"name": "main", "env": [{"name": "A", "$patch": "delete"}]},
        ]}),
    );
    assert_like(&spec["containers"], &json!([{"name": "main", "env": [{"name": "B"}]}]));
    let spec = patched_spec(
        api,
        &path,
        json!({"containers": [
            {"name": "main", "env": [{"$patch": "replace"}, {"name": "Z", "value": "0"}]},
        ]}),
    );
    assert_eq!(spec["containers"][0]["env"], json!([{"name": "Z", "value": "0"}]));
    api.patch(&path, MERGE, &json!({"metadata": {"labels": {"first": "that"}}})).ok();
    let patched =
        api.patch(&path, STRATEGIC, &json!({"metadata": {"labels": {"$patch": "replace", "only": "this"}}})).ok();
    assert_eq!(patched["metadata"]["labels"], json!({"only": "this"}));
}

fn a_strategic_patch_sets_the_order_of_elements(api: &Api<'_>) {
    let path = rich(api);
    let spec = patched_spec(
        api,
        &path,
        json!({
            "$setElementOrder/containers": [{"name": "side"}, {"name": "first"}, {"name": "main"}],
            "containers": [{"name": "side", "image": "image:2"}, {"name": "first", "image": "image:0"}],
        }),
    );
    let order: Vec<_> = spec["containers"].as_array().expect("them").iter().map(|c| c["name"].clone()).collect();
    assert_eq!(json!(order), json!(["side", "first", "main"]));
    assert_eq!(spec["containers"][0]["image"], "image:2");
}

fn a_strategic_patch_retains_only_the_keys_it_names(api: &Api<'_>) {
    let path = rich(api);
    let strategy = json!({"type": "Recreate", "$retainKeys": ["type"]});
    let patched = api.patch(&path, STRATEGIC, &json!({"spec": {"strategy": strategy}})).ok();
    assert_eq!(patched["spec"]["strategy"], json!({"type": "Recreate"}));
}

fn a_strategic_patch_merges_volumes_by_name(api: &Api<'_>) {
    let path = rich(api);
    let volume = json!({"name": "w", "$retainKeys": ["name", "configMap"], "configMap": {"name": "c"}});
    let spec = patched_spec(api, &path, json!({"volumes": [volume, {"name": "x", "emptyDir": {}}]}));
    assert_like(
        &sorted(&spec["volumes"], "name"),
        &json!([
            {"name": "v", "emptyDir": {}}, {"name": "w", "configMap": {"name": "c"}}, {"name": "x", "emptyDir": {}},
        ]),
    );
    let spec = patched_spec(api, &path, json!({"volumes": [{"name": "x", "$patch": "delete"}]}));
    assert_eq!(spec["volumes"].as_array().map(Vec::len), Some(2));
}

fn a_strategic_patch_merges_the_ports_of_a_service(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/services");
    let ports = json!([{"name": "a", "port": 80}, {"name": "b", "port": 81}]);
    api.post(&path, &json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "s"}, "ports": ports}})).created();
    let patch = json!({"spec": {"ports": [{"port": 81, "name": "c", "targetPort": 8081}]}});
    let patched = api.patch(&format!("{path}/s"), STRATEGIC, &patch).ok();
    assert_like(
        &sorted(&patched["spec"]["ports"], "port"),
        &json!([
            {"name": "a", "port": 80, "targetPort": 80}, {"name": "c", "port": 81, "targetPort": 8081},
        ]),
    );
}
