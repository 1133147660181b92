//! Patches of all four kinds, and who is said to have made them.

use super::api::{APPLY, Api, Ask, JSON, JSON_PATCH, MERGE, STRATEGIC, assert_like, version_of};
use super::listing::config_maps;
use super::selecting::pod;
use super::writing::deployment;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    a_merge_patch_merges_and_null_removes,
    a_merge_patch_replaces_lists,
    a_json_patch_does_its_operations_in_order,
    a_json_patch_whose_test_fails_changes_nothing,
    a_json_patch_to_nowhere_is_refused,
    a_strategic_patch_merges_containers_by_name,
    a_strategic_patch_merges_what_is_in_a_container_by_its_keys,
    a_strategic_patch_merges_conditions_by_type,
    a_strategic_patch_merges_finalizers_and_owners,
    a_strategic_patch_deletes_by_directive,
    a_strategic_patch_sets_the_order_of_elements,
    a_strategic_patch_retains_only_the_keys_it_names,
    a_strategic_patch_merges_volumes_by_name,
    a_strategic_patch_merges_the_ports_of_a_service,
    an_apply_creates_and_then_owns_its_fields,
    an_apply_to_what_others_own_conflicts_unless_forced,
    an_apply_without_a_manager_or_a_type_is_refused,
    an_apply_in_yaml_works,
    a_patch_of_something_missing_is_not_found,
    a_patch_of_an_unknown_kind_is_refused,
    a_patch_of_garbage_is_refused,
    a_patch_that_renames_is_refused,
    a_patch_with_a_stale_version_conflicts,
    a_patch_of_the_uid_is_refused,
    force_is_for_apply_alone,
    the_manager_operation_and_time_of_the_newest_change_are_told,
    the_manager_is_the_one_named_or_the_first_word_of_the_agent,
];

fn a_merge_patch_merges_and_null_removes(api: &Api<'_>) {
    let ns = api.namespace();
    let before = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let patch =
        json!({"metadata": {"labels": {"l": "1"}, "annotations": {"n": "2"}}, "data": {"key": null, "other": "x"}});
    let patched = api.patch(&path, MERGE, &patch).ok();
    assert_like(&patched["metadata"], &patch["metadata"]);
    assert_eq!(patched["data"], json!({"other": "x"}));
    assert!(version_of(&patched) > version_of(&before));
    let patched = api.patch(&path, MERGE, &json!({"metadata": {"labels": {"l": null}}, "data": null})).ok();
    assert_eq!((patched["metadata"].get("labels"), patched.get("data")), (None, None));
    assert_eq!(api.get(&path).ok(), patched);
}

fn a_merge_patch_replaces_lists(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    api.post(&path, &deployment("d", 0)).created();
    let patch = json!({"spec": {"template": {"spec": {"containers": [{"name": "other", "image": "image:2"}]}}}});
    let patched = api.patch(&format!("{path}/d"), MERGE, &patch).ok();
    assert_like(&patched, &patch);
}

fn a_json_patch_does_its_operations_in_order(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let patched = api.patch(
        &path,
        JSON_PATCH,
        &json!([
            {"op": "test", "path": "/data/key", "value": "value"},
            {"op": "add", "path": "/data/new", "value": "1"},
            {"op": "copy", "from": "/data/key", "path": "/data/copy"},
            {"op": "move", "from": "/data/key", "path": "/data/moved"},
            {"op": "replace", "path": "/data/new", "value": "2"},
            {"op": "add", "path": "/metadata/labels", "value": {"a~b": "x"}},
        ]),
    );
    assert_eq!(patched.status, 422, "that label is none");
    let patched = api.patch(
        &path,
        JSON_PATCH,
        &json!([
            {"op": "add", "path": "/data/new", "value": "1"},
            {"op": "copy", "from": "/data/key", "path": "/data/copy"},
            {"op": "move", "from": "/data/key", "path": "/data/moved"},
            {"op": "replace", "path": "/data/new", "value": "2"},
            {"op": "add", "path": "/metadata/labels", "value": {}},
            {"op": "add", "path": "/metadata/labels/example.com~1a", "value": "x"},
        ]),
    );
    let patched = patched.ok();
    assert_eq!(patched["data"], json!({"new": "2", "copy": "value", "moved": "value"}));
    assert_eq!(patched["metadata"]["labels"], json!({"example.com/a": "x"}));
}

fn a_json_patch_whose_test_fails_changes_nothing(api: &Api<'_>) {
    let ns = api.namespace();
    let before = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let patch = json!([{"op": "remove", "path": "/data/key"}, {"op": "test", "path": "/metadata/name", "value": "z"}]);
    let message = "the server rejected our request due to an error in our request";
    api.patch(&path, JSON_PATCH, &patch).refused_saying(422, "Invalid", message);
    assert_eq!(api.get(&path).ok(), before);
}

fn a_json_patch_to_nowhere_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    for patch in [
        json!([{"op": "remove", "path": "/data/nope"}]),
        json!([{"op": "replace", "path": "/nope/nope", "value": 1}]),
        json!([{"op": "add", "path": "/metadata/labels/x", "value": "there are no labels"}]),
    ] {
        api.patch(&path, JSON_PATCH, &patch).refused_with(422, "Invalid");
    }
}

/// A Deployment of two containers with all that strategic merge knows keys for; paused, so that it stays as it is.
fn rich(api: &Api<'_>) -> String {
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

fn applied(name: &str, data: Value) -> Value {
    json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": data})
}

fn an_apply_creates_and_then_owns_its_fields(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let apply = |data: Value| api.patch(&format!("{path}?fieldManager=owner"), APPLY, &applied("a", data));
    let made = apply(json!({"x": "1", "y": "2"})).created();
    assert_eq!(made["data"], json!({"x": "1", "y": "2"}));
    assert_like(&made["metadata"]["managedFields"], &json!([{"manager": "owner", "operation": "Apply"}]));
    assert_eq!(apply(json!({"x": "1", "y": "2"})).ok(), made, "the same again changes nothing");
    let changed = apply(json!({"x": "3"})).ok();
    assert_eq!(changed["data"], json!({"x": "3"}), "what the manager leaves out and nobody else owns is gone");
    assert!(version_of(&changed) > version_of(&made));
}

fn an_apply_to_what_others_own_conflicts_unless_forced(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    api.patch(&format!("{path}?fieldManager=one"), APPLY, &applied("a", json!({"x": "1"}))).created();
    let other = applied("a", json!({"x": "2", "y": "3"}));
    let answer = api.patch(&format!("{path}?fieldManager=two"), APPLY, &other);
    let status = answer.refused(409, "Conflict", "Apply failed with 1 conflict: conflict with \"one\": .data.x");
    let cause = json!({"reason": "FieldManagerConflict", "message": "conflict with \"one\"", "field": ".data.x"});
    assert_eq!(status["details"]["causes"], json!([cause]));
    let forced = api.patch(&format!("{path}?fieldManager=two&force=true"), APPLY, &other).ok();
    assert_eq!(forced["data"], json!({"x": "2", "y": "3"}));
}

fn an_apply_without_a_manager_or_a_type_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let message = "PatchOptions.meta.k8s.io \"\" is invalid: fieldManager: Required value: is required for apply patch";
    api.patch(&path, APPLY, &applied("a", json!({}))).refused(422, "Invalid", message);
    config_maps(api, &ns, &["a"]);
    let answer = api.patch(&format!("{path}?fieldManager=m"), APPLY, &json!({"data": {"a": "b"}}));
    answer.refused_saying(400, "BadRequest", "invalid object type: /, Kind=");
}

fn an_apply_in_yaml_works(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a?fieldManager=m");
    let body = "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: a\ndata:\n  k: v\n".to_owned();
    let answer = api.ask(Ask { method: "PATCH", path: &path, content: APPLY, body, ..Ask::default() });
    assert_eq!(answer.created()["data"], json!({"k": "v"}));
    let answer = api.ask(Ask { method: "PATCH", path: &path, content: APPLY, body: "a: [".into(), ..Ask::default() });
    answer.refused_with(400, "BadRequest");
}

fn a_patch_of_something_missing_is_not_found(api: &Api<'_>) {
    let ns = api.namespace();
    for content in [MERGE, STRATEGIC] {
        let answer =
            api.patch(&format!("/api/v1/namespaces/{ns}/pods/nope"), content, &json!({"metadata": {"labels": {}}}));
        answer.refused(404, "NotFound", "pods \"nope\" not found");
    }
    let answer = api.patch(&format!("/api/v1/namespaces/{ns}/pods/nope"), JSON_PATCH, &json!([]));
    answer.refused(404, "NotFound", "pods \"nope\" not found");
}

fn a_patch_of_an_unknown_kind_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    for content in ["text/plain", JSON, "application/other-patch+json"] {
        let answer = api.patch(&format!("/api/v1/namespaces/{ns}/configmaps/a"), content, &json!({}));
        answer.refused_saying(415, "UnsupportedMediaType", "415: Unsupported Media Type");
    }
}

fn a_patch_of_garbage_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    for (content, body) in
        [(MERGE, "{garbage"), (MERGE, "[]"), (JSON_PATCH, "{}"), (JSON_PATCH, "[{]"), (STRATEGIC, "{garbage")]
    {
        let answer = api.ask(Ask { method: "PATCH", path: &path, content, body: body.into(), ..Ask::default() });
        answer.refused_with(400, "BadRequest");
    }
}

fn a_patch_that_renames_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let message = "the name of the object (b) does not match the name on the URL (a)";
    api.patch(&path, MERGE, &json!({"metadata": {"name": "b"}})).refused(400, "BadRequest", message);
}

fn a_patch_with_a_stale_version_conflicts(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let patch = json!({"metadata": {"resourceVersion": "1"}, "data": {"k": "v"}});
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
                   please apply your changes to the latest version and try again";
    api.patch(&path, MERGE, &patch).refused(409, "Conflict", message);
}

fn a_patch_of_the_uid_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let message = "ConfigMap \"a\" is invalid: metadata.uid: Invalid value: \"1\": field is immutable";
    api.patch(&path, MERGE, &json!({"metadata": {"uid": "1"}})).refused(422, "Invalid", message);
}

fn force_is_for_apply_alone(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a?force=true");
    let message =
        "PatchOptions.meta.k8s.io \"\" is invalid: force: Forbidden: may not be specified for non-apply patch";
    api.patch(&path, MERGE, &json!({})).refused(422, "Invalid", message);
}

/// What our product reads of `managedFields`: of the newest entry, who and how.
fn newest(object: &Value) -> (String, String) {
    let entries = object["metadata"]["managedFields"].as_array().unwrap_or_else(|| panic!("no entries: {object}"));
    for entry in entries {
        assert_like(entry, &json!({"fieldsType": "FieldsV1", "apiVersion": "v1"}));
        assert!(entry["fieldsV1"].is_object() && entry["time"].as_str().is_some_and(|t| t.len() == 20), "{entry}");
    }
    // The last of those of the newest second.
    let newest = entries.iter().max_by_key(|entry| entry["time"].as_str()).expect("an entry");
    let text = |key: &str| newest[key].as_str().expect("a text").to_owned();
    (text("manager"), text("operation"))
}

fn the_manager_operation_and_time_of_the_newest_change_are_told(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let made = api.post(&format!("{path}?fieldManager=maker"), &json!({"metadata": {"name": "a"}, "data": {"k": "v"}}));
    assert_eq!(newest(&made.created()), ("maker".into(), "Update".into()));
    let path = format!("{path}/a");
    let holds = |object: &Value, manager: &str, operation: &str| {
        newest(object);
        let entries = object["metadata"]["managedFields"].as_array().expect("entries");
        let is = |entry: &&Value| entry["manager"] == manager && entry["operation"] == operation;
        assert!(entries.iter().any(|entry| is(&entry)), "{manager} {operation}: {entries:?}");
    };
    let patched = api.patch(&format!("{path}?fieldManager=patcher"), MERGE, &json!({"data": {"l": "w"}})).ok();
    holds(&patched, "patcher", "Update");
    holds(&patched, "maker", "Update");
    let applied = api.patch(&format!("{path}?fieldManager=applier"), APPLY, &applied("a", json!({"m": "x"}))).ok();
    holds(&applied, "applier", "Apply");
    let mut put = applied;
    put["data"]["n"] = "y".into();
    put["metadata"].as_object_mut().expect("metadata").remove("managedFields");
    holds(&api.put(&format!("{path}?fieldManager=putter"), &put).ok(), "putter", "Update");
    let pod_path = format!("/api/v1/namespaces/{ns}/pods");
    api.post(&pod_path, &pod("p")).created();
    let status = json!({"status": {"message": "x"}});
    let patched = api.patch(&format!("{pod_path}/p/status?fieldManager=kubelet"), MERGE, &status).ok();
    let entries = patched["metadata"]["managedFields"].as_array().expect("entries");
    let entry = entries.iter().find(|entry| entry["manager"] == "kubelet").expect("an entry");
    assert_eq!(entry["subresource"], "status");
}

fn the_manager_is_the_one_named_or_the_first_word_of_the_agent(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let body = |name: &str| json!({"metadata": {"name": name}, "data": {"k": "v"}}).to_string();
    let ask =
        |agent, name: &str| api.ask(Ask { method: "POST", path: &path, agent, body: body(name), ..Ask::default() });
    assert_eq!(newest(&ask("kubectl/v1.37 (linux/amd64)", "a").created()).0, "kubectl");
    assert_eq!(newest(&ask("curl", "b").created()).0, "curl");
}
