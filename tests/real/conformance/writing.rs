//! Create and replace: what is filled in, what is refused and in which words.

use super::api::{Api, Ask, MERGE, assert_like, version_of};
use super::listing::config_maps;
use super::selecting::pod;
use super::{Case, cases};
use serde_json::{Value, json};

pub const CASES: &[Case] = cases![
    a_created_object_has_what_the_server_fills_in,
    a_generated_name_has_five_letters_more,
    a_taken_name_is_refused,
    an_invalid_name_is_refused,
    a_missing_name_is_refused,
    a_namespace_that_is_not_there_is_named,
    another_namespace_than_in_the_path_is_refused,
    another_kind_or_version_than_in_the_path_is_refused,
    a_body_of_garbage_or_of_nothing_is_refused,
    a_field_of_the_wrong_type_is_refused,
    an_unknown_field_is_refused_only_if_validation_is_strict,
    options_of_garbage_are_refused,
    a_body_that_is_no_json_by_its_type_is_refused,
    a_body_that_is_too_large_is_refused,
    a_version_in_a_new_object_is_refused,
    a_pod_without_containers_is_refused,
    a_deployment_whose_selector_misses_its_template_is_refused,
    a_pod_is_filled_with_defaults,
    a_deployment_is_filled_with_defaults,
    a_service_gets_an_address_and_defaults,
    a_dry_create_leaves_nothing,
    an_object_can_be_created_in_yaml,
    an_object_that_is_not_there_is_named_with_its_group,
    a_put_replaces_and_raises_the_version,
    a_put_of_a_stale_version_conflicts,
    a_put_without_a_version_replaces,
    a_put_of_nothing_new_keeps_the_version,
    a_put_of_another_name_is_refused,
    a_put_of_something_missing_is_not_found,
    a_put_with_another_uid_conflicts,
    a_dry_put_changes_nothing,
    generation_counts_changes_of_the_spec_alone,
    the_main_path_leaves_the_status_alone_and_status_leaves_the_spec,
    an_image_of_a_pod_can_be_changed_and_its_node_cannot,
    a_label_that_is_none_is_refused,
];

fn a_created_object_has_what_the_server_fills_in(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let body = json!({"metadata": {"name": "a", "labels": {"l": "1"}, "uid": "given", "creationTimestamp": "2001-01-01T00:00:00Z"}});
    let made = api.post(&path, &body).created();
    let metadata = json!({"name": "a", "namespace": ns, "labels": {"l": "1"}});
    assert_like(&made, &json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": metadata}));
    let uid = made["metadata"]["uid"].as_str().expect("a uid");
    assert!(uid.len() == 36 && uid.split('-').count() == 5, "{uid}");
    let created = made["metadata"]["creationTimestamp"].as_str().expect("a time");
    assert!(created.len() == 20 && created.ends_with('Z') && created > "2026", "{created}");
    assert!(version_of(&made) > 0);
    assert_eq!(made["metadata"].get("generation"), None, "a ConfigMap has no spec");
    assert_eq!(api.get(&format!("{path}/a")).ok(), made);
    let space = api.get(&format!("/api/v1/namespaces/{ns}")).ok();
    assert_like(
        &space,
        &json!({
            "metadata": {"labels": {"kubernetes.io/metadata.name": ns}},
            "spec": {"finalizers": ["kubernetes"]}, "status": {"phase": "Active"},
        }),
    );
}

fn a_generated_name_has_five_letters_more(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let make = || api.post(&path, &json!({"metadata": {"generateName": "made-"}})).created();
    let (first, second) = (make(), make());
    let name = first["metadata"]["name"].as_str().expect("a name");
    assert!(name.starts_with("made-") && name.len() == 10, "{name}");
    assert_eq!(first["metadata"]["generateName"], "made-");
    assert_ne!(first["metadata"]["name"], second["metadata"]["name"]);
}

fn a_taken_name_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let answer = api.post(&format!("/api/v1/namespaces/{ns}/configmaps"), &json!({"metadata": {"name": "a"}}));
    let status = answer.refused(409, "AlreadyExists", "configmaps \"a\" already exists");
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
    let answer = api.post("/api/v1/namespaces", &json!({"metadata": {"name": ns}}));
    answer.refused(409, "AlreadyExists", &format!("namespaces \"{ns}\" already exists"));
}

fn an_invalid_name_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let status = api
        .post(&format!("/api/v1/namespaces/{ns}/configmaps"), &json!({"metadata": {"name": "A_"}}))
        .refused_with(422, "Invalid");
    assert_like(&status["details"], &json!({"name": "A_", "kind": "ConfigMap"}));
    let cause = &status["details"]["causes"][0];
    assert_like(cause, &json!({"reason": "FieldValueInvalid", "field": "metadata.name"}));
    let message = cause["message"].as_str().expect("a message");
    let begins =
        "Invalid value: \"A_\": a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters";
    assert!(message.starts_with(begins), "{message}");
    let whole = format!("ConfigMap \"A_\" is invalid: metadata.name: {message}");
    assert_eq!(status["message"], whole.as_str());
    api.post("/api/v1/namespaces", &json!({"metadata": {"name": "a.b"}})).refused_with(422, "Invalid");
    api.post(
        &format!("/api/v1/namespaces/{ns}/services"),
        &json!({"metadata": {"name": "A"}, "spec": {"ports": [{"port": 1}]}}),
    )
    .refused_with(422, "Invalid");
}

fn a_missing_name_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let answer = api.post(&format!("/api/v1/namespaces/{ns}/configmaps"), &json!({"metadata": {}}));
    let message = "ConfigMap \"\" is invalid: metadata.name: Required value: name or generateName is required";
    let status = answer.refused(422, "Invalid", message);
    assert_eq!(
        status["details"],
        json!({"kind": "ConfigMap", "causes": [{
            "reason": "FieldValueRequired", "message": "Required value: name or generateName is required",
            "field": "metadata.name",
        }]})
    );
}

fn a_namespace_that_is_not_there_is_named(api: &Api<'_>) {
    let answer = api.post("/api/v1/namespaces/nowhere/configmaps", &json!({"metadata": {"name": "a"}}));
    let status = answer.refused(404, "NotFound", "namespaces \"nowhere\" not found");
    assert_eq!(status["details"], json!({"name": "nowhere", "kind": "namespaces"}));
}

fn another_namespace_than_in_the_path_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let body = json!({"metadata": {"name": "a", "namespace": "other"}});
    let message = "the namespace of the provided object does not match the namespace sent on the request";
    api.post(&format!("/api/v1/namespaces/{ns}/configmaps"), &body).refused(400, "BadRequest", message);
}

fn another_kind_or_version_than_in_the_path_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    for (version, kind) in [("v1", "Secret"), ("v2", "ConfigMap")] {
        let body = json!({"kind": kind, "apiVersion": version, "metadata": {"name": "a"}});
        let begins = format!("{kind} in version {version:?} cannot be handled as a ConfigMap: ");
        api.post(&path, &body).refused_saying(400, "BadRequest", &begins);
    }
}

fn a_body_of_garbage_or_of_nothing_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    for body in ["{garbage", "[]", "", "\"text\""] {
        let answer = api.ask(Ask { method: "POST", path: &path, body: body.into(), ..Ask::default() });
        let begins = "the object provided is unrecognized (must be of type ConfigMap): couldn't get version/kind; json parse error: ";
        answer.refused_saying(400, "BadRequest", begins);
    }
}

fn a_field_of_the_wrong_type_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let begins = "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: ";
    let body = json!({"metadata": {"name": "a"}, "data": {"a": 5}});
    api.post(&path, &body).refused_saying(400, "BadRequest", begins);
}

fn an_unknown_field_is_refused_only_if_validation_is_strict(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let body = json!({"metadata": {"name": "a"}, "daat": {}});
    let message =
        "ConfigMap in version \"v1\" cannot be handled as a ConfigMap: strict decoding error: unknown field \"daat\"";
    api.post(&format!("{path}?fieldValidation=Strict"), &body).refused(400, "BadRequest", message);
    let made = api.post(&format!("{path}?fieldValidation=Ignore"), &body).created();
    assert_eq!(made.get("daat"), None);
}

fn options_of_garbage_are_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    for option in ["dryRun", "fieldValidation"] {
        let answer = api.post(&format!("{path}?{option}=Foo"), &json!({"metadata": {"name": "a"}}));
        let begins = format!("CreateOptions.meta.k8s.io \"\" is invalid: {option}: Unsupported value: ");
        let status = answer.refused_saying(422, "Invalid", &begins);
        let cause = json!({"reason": "FieldValueNotSupported", "field": option});
        assert_like(&status["details"], &json!({"group": "meta.k8s.io", "kind": "CreateOptions", "causes": [cause]}));
    }
}

fn a_body_that_is_no_json_by_its_type_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let body = json!({"metadata": {"name": "a"}}).to_string();
    let answer = api.ask(Ask { method: "POST", path: &path, content: "text/plain", body, ..Ask::default() });
    let begins = "the body of the request was in an unknown format - accepted media types include: application/json";
    answer.refused_saying(415, "UnsupportedMediaType", begins);
}

fn a_body_that_is_too_large_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let body = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat(4 << 20)}});
    api.post(&path, &body).refused(413, "RequestEntityTooLarge", "Request entity too large: limit is 3145728");
    let body = json!({"metadata": {"name": "a"}, "data": {"a": "x".repeat((1 << 20) + 1)}});
    let status = api.post(&path, &body).refused_with(422, "Invalid");
    assert_like(&status["details"]["causes"][0], &json!({"reason": "FieldValueTooLong"}));
}

fn a_version_in_a_new_object_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let answer = api.post(&path, &json!({"metadata": {"name": "a", "resourceVersion": "5"}}));
    answer.refused(500, "", "resourceVersion should not be set on objects to be created");
}

fn a_pod_without_containers_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let answer = api.post(&path, &json!({"metadata": {"name": "p"}, "spec": {}}));
    answer.refused(422, "Invalid", "Pod \"p\" is invalid: spec.containers: Required value");
}

pub fn deployment(name: &str, replicas: u32) -> Value {
    let spec = json!({"containers": [{"name": "main", "image": "image:1"}], "schedulerName": "nobody"});
    json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name},
        "spec": {
            "replicas": replicas, "selector": {"matchLabels": {"app": name}},
            "template": {"metadata": {"labels": {"app": name}}, "spec": spec},
        },
    })
}

fn a_deployment_whose_selector_misses_its_template_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 1);
    body["spec"]["selector"]["matchLabels"]["app"] = "other".into();
    let status = api.post(&path, &body).refused_with(422, "Invalid");
    assert_like(
        &status["details"],
        &json!({"name": "d", "group": "apps", "kind": "Deployment", "causes": [{
            "reason": "FieldValueInvalid", "field": "spec.template.metadata.labels",
        }]}),
    );
}

fn a_pod_is_filled_with_defaults(api: &Api<'_>) {
    let ns = api.namespace();
    let mut body = pod("p");
    body["spec"]["containers"][0]["ports"] = json!([{"containerPort": 80}]);
    let made = api.post(&format!("/api/v1/namespaces/{ns}/pods"), &body).created();
    let container = json!({
        "name": "main", "image": "image:1", "ports": [{"containerPort": 80, "protocol": "TCP"}], "resources": {},
        "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File",
        "imagePullPolicy": "IfNotPresent",
    });
    assert_like(
        &made,
        &json!({
            "metadata": {"generation": 1},
            "spec": {
                "containers": [container], "restartPolicy": "Always", "terminationGracePeriodSeconds": 30,
                "dnsPolicy": "ClusterFirst", "securityContext": {}, "schedulerName": "nobody",
            },
            "status": {"phase": "Pending", "qosClass": "BestEffort"},
        }),
    );
}

fn a_deployment_is_filled_with_defaults(api: &Api<'_>) {
    let ns = api.namespace();
    let mut body = deployment("d", 0);
    body["spec"].as_object_mut().expect("a spec").remove("replicas");
    body["spec"]["paused"] = true.into();
    let made = api.post(&format!("/apis/apps/v1/namespaces/{ns}/deployments"), &body).created();
    assert_like(
        &made,
        &json!({
            "metadata": {"generation": 1},
            "spec": {
                "replicas": 1, "revisionHistoryLimit": 10, "progressDeadlineSeconds": 600,
                "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "25%", "maxSurge": "25%"}},
                "template": {"spec": {"restartPolicy": "Always", "dnsPolicy": "ClusterFirst"}},
            },
            "status": {},
        }),
    );
}

fn a_service_gets_an_address_and_defaults(api: &Api<'_>) {
    let ns = api.namespace();
    let body = json!({"metadata": {"name": "s"}, "spec": {"selector": {"app": "s"}, "ports": [{"port": 80}]}});
    let made = api.post(&format!("/api/v1/namespaces/{ns}/services"), &body).created();
    assert_like(
        &made["spec"],
        &json!({
            "type": "ClusterIP", "sessionAffinity": "None", "selector": {"app": "s"},
            "ports": [{"port": 80, "protocol": "TCP", "targetPort": 80}],
        }),
    );
    let address = made["spec"]["clusterIP"].as_str().expect("an address");
    assert!(address.parse::<std::net::Ipv4Addr>().is_ok(), "{address}");
    assert_eq!(made["spec"]["clusterIPs"], json!([address]));
    assert_like(&made["status"], &json!({"loadBalancer": {}}));
}

fn a_dry_create_leaves_nothing(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let made = api.post(&format!("{path}?dryRun=All"), &json!({"metadata": {"name": "a"}})).created();
    assert!(made["metadata"]["uid"].is_string());
    assert_eq!(made["metadata"].get("resourceVersion"), None);
    api.get(&format!("{path}/a")).refused_with(404, "NotFound");
}

fn an_object_can_be_created_in_yaml(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    let body = "kind: ConfigMap\napiVersion: v1\nmetadata:\n  name: in-yaml\ndata:\n  k: |\n    two\n    lines\n";
    let answer =
        api.ask(Ask { method: "POST", path: &path, content: "application/yaml", body: body.into(), ..Ask::default() });
    assert_eq!(answer.created()["data"]["k"], "two\nlines\n");
}

fn an_object_that_is_not_there_is_named_with_its_group(api: &Api<'_>) {
    let ns = api.namespace();
    let status = api.get(&format!("/api/v1/namespaces/{ns}/configmaps/nope"));
    let status = status.refused(404, "NotFound", "configmaps \"nope\" not found");
    assert_eq!(status["details"], json!({"name": "nope", "kind": "configmaps"}));
    let status = api.get(&format!("/apis/apps/v1/namespaces/{ns}/deployments/nope"));
    let status = status.refused(404, "NotFound", "deployments.apps \"nope\" not found");
    assert_eq!(status["details"], json!({"name": "nope", "group": "apps", "kind": "deployments"}));
}

fn a_put_replaces_and_raises_the_version(api: &Api<'_>) {
    let ns = api.namespace();
    let mut object = config_maps(api, &ns, &["a"]).remove(0);
    let before = version_of(&object);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    object["data"] = json!({"other": "x"});
    let put = api.put(&path, &object).ok();
    assert_eq!((&put["data"], &put["metadata"]["uid"]), (&object["data"], &object["metadata"]["uid"]));
    assert_eq!(put["metadata"]["creationTimestamp"], object["metadata"]["creationTimestamp"]);
    assert!(version_of(&put) > before);
    assert_eq!(api.get(&path).ok(), put);
}

fn a_put_of_a_stale_version_conflicts(api: &Api<'_>) {
    let ns = api.namespace();
    let object = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    api.patch(&path, MERGE, &json!({"data": {"other": "x"}})).ok();
    let message = "Operation cannot be fulfilled on configmaps \"a\": the object has been modified; \
                   please apply your changes to the latest version and try again";
    let status = api.put(&path, &object).refused(409, "Conflict", message);
    assert_eq!(status["details"], json!({"name": "a", "kind": "configmaps"}));
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 0);
    api.post(&path, &body).created();
    body["metadata"]["resourceVersion"] = "1".into();
    let status = api.put(&format!("{path}/d"), &body).refused_with(409, "Conflict");
    assert_eq!(status["details"], json!({"name": "d", "group": "apps", "kind": "deployments"}));
}

fn a_put_without_a_version_replaces(api: &Api<'_>) {
    let ns = api.namespace();
    let before = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let put = api.put(&path, &json!({"metadata": {"name": "a"}, "data": {"k": "v"}})).ok();
    assert_eq!((&put["data"], &put["metadata"]["uid"]), (&json!({"k": "v"}), &before["metadata"]["uid"]));
    assert!(version_of(&put) > version_of(&before));
}

fn a_put_of_nothing_new_keeps_the_version(api: &Api<'_>) {
    let ns = api.namespace();
    let object = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    assert_eq!(api.put(&path, &object).ok(), object);
    assert_eq!(api.patch(&path, MERGE, &json!({"data": {"key": "value"}})).ok(), object);
    assert_eq!(api.patch(&path, MERGE, &json!({})).ok(), object);
}

fn a_put_of_another_name_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let message = "the name of the object (b) does not match the name on the URL (a)";
    api.put(&path, &json!({"metadata": {"name": "b"}})).refused(400, "BadRequest", message);
    let message = "the name of the object (a based on URL) was undeterminable: name must be provided";
    api.put(&path, &json!({"metadata": {}})).refused(400, "BadRequest", message);
}

fn a_put_of_something_missing_is_not_found(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps/nope");
    for body in [json!({"metadata": {"name": "nope"}}), json!({"metadata": {"name": "nope", "resourceVersion": "5"}})] {
        api.put(&path, &body).refused(404, "NotFound", "configmaps \"nope\" not found");
    }
}

fn a_put_with_another_uid_conflicts(api: &Api<'_>) {
    let ns = api.namespace();
    config_maps(api, &ns, &["a"]);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let status = api.put(&path, &json!({"metadata": {"name": "a", "uid": "5"}})).refused_with(409, "Conflict");
    let message = status["message"].as_str().expect("a message");
    assert!(message.contains("Precondition failed: UID in precondition: 5, UID in object meta: "), "{message}");
}

fn a_dry_put_changes_nothing(api: &Api<'_>) {
    let ns = api.namespace();
    let before = config_maps(api, &ns, &["a"]).remove(0);
    let path = format!("/api/v1/namespaces/{ns}/configmaps/a");
    let body = json!({"metadata": {"name": "a"}, "data": {"k": "v"}});
    assert_eq!(api.put(&format!("{path}?dryRun=All"), &body).ok()["data"], body["data"]);
    let patched = api.patch(&format!("{path}?dryRun=All"), MERGE, &json!({"data": {"k": "v"}})).ok();
    assert_eq!(patched["data"], json!({"key": "value", "k": "v"}));
    assert_eq!(api.get(&path).ok(), before);
}

fn generation_counts_changes_of_the_spec_alone(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/apis/apps/v1/namespaces/{ns}/deployments");
    let mut body = deployment("d", 0);
    body["spec"]["paused"] = true.into();
    assert_eq!(api.post(&path, &body).created()["metadata"]["generation"], 1);
    let path = format!("{path}/d");
    let patch = |patch: Value| api.patch(&path, MERGE, &patch).ok()["metadata"]["generation"].clone();
    assert_eq!(patch(json!({"metadata": {"labels": {"a": "b"}}})), 1);
    assert_eq!(patch(json!({"spec": {"revisionHistoryLimit": 3}})), 2);
    assert_eq!(patch(json!({"spec": {"revisionHistoryLimit": 3}})), 2);
    let status =
        api.patch(&format!("{path}/status"), MERGE, &json!({"status": {"readyReplicas": 0, "collisionCount": 1}}));
    assert_eq!(status.ok()["metadata"]["generation"], 2);
    assert_eq!(patch(json!({"metadata": {"generation": 7}})), 2);
}

fn the_main_path_leaves_the_status_alone_and_status_leaves_the_spec(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let mut body = pod("p");
    body["status"] = json!({"phase": "Running", "message": "by the client"});
    let made = api.post(&path, &body).created();
    assert_eq!((&made["status"]["phase"], made["status"].get("message")), (&json!("Pending"), None));
    let path = format!("{path}/p");
    let same = api.patch(&path, MERGE, &json!({"status": {"message": "by the client"}})).ok();
    assert_eq!(same["status"], made["status"]);
    let mut changed = made.clone();
    changed["status"]["message"] = "by a kubelet".into();
    changed["spec"]["containers"][0]["image"] = "image:2".into();
    changed["metadata"]["labels"] = json!({"not": "here"});
    let put = api.put(&format!("{path}/status"), &changed).ok();
    assert_eq!(put["status"]["message"], "by a kubelet");
    assert_eq!(put["spec"]["containers"][0]["image"], "image:1");
    assert_eq!(api.get(&format!("{path}/status")).ok(), put);
    let mut stale = made;
    stale["status"]["message"] = "too late".into();
    api.put(&format!("{path}/status"), &stale).refused_with(409, "Conflict");
}

fn an_image_of_a_pod_can_be_changed_and_its_node_cannot(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/pods");
    let mut body = pod("p");
    body["spec"]["nodeName"] = "of-the-suite".into();
    api.post(&path, &body).created();
    let path = format!("{path}/p");
    let image = json!([{"op": "replace", "path": "/spec/containers/0/image", "value": "image:2"}]);
    let changed = api.patch(&path, super::api::JSON_PATCH, &image).ok();
    assert_like(&changed, &json!({"metadata": {"generation": 2}, "spec": {"containers": [{"image": "image:2"}]}}));
    let status = api.patch(&path, MERGE, &json!({"spec": {"nodeName": "other"}})).refused_with(422, "Invalid");
    assert_like(&status["details"]["causes"][0], &json!({"reason": "FieldValueForbidden", "field": "spec"}));
}

fn a_label_that_is_none_is_refused(api: &Api<'_>) {
    let ns = api.namespace();
    let path = format!("/api/v1/namespaces/{ns}/configmaps");
    for labels in [json!({"a b": "c"}), json!({"a": "b c"}), json!({"a": "x".repeat(64)})] {
        let status =
            api.post(&path, &json!({"metadata": {"name": "a", "labels": labels}})).refused_with(422, "Invalid");
        assert_eq!(status["details"]["causes"][0]["field"], "metadata.labels");
    }
}
