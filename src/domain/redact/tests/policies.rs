//! What the settings change: levels, rules by pointer, keyed hashes, annotations, and rules that cannot be obeyed.

use super::*;
use crate::domain::pattern::Pattern;
use serde_json::{Value, json};

fn certificates() -> Kind {
    Kind::custom("cert-manager.io", "v1", "certificates", "Certificate", true)
}

fn kind_of(plural: &str) -> Kind {
    Kind::builtin(plural).expect("built in")
}

fn rules(kind: &str, redact: &[&str], keep: &[&str]) -> Policy {
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
    let rules = PointerRules { redact: texts(redact), keep: texts(keep) };
    Policy { rules: [(Pattern::parse(kind).expect("a kind"), rules)].into(), ..Policy::default() }
}

fn level(kind: &str, level: Level) -> Policy {
    Policy { levels: [(Pattern::parse(kind).expect("a kind"), level)].into(), ..Policy::default() }
}

fn redacted(kind: &Kind, policy: Policy, object: &Value) -> Value {
    let redactor = Redactor::new(kind.clone(), Arc::new(policy));
    let object = redactor.redact(&object.to_string()).expect("it can be redacted");
    serde_json::from_slice(&object.get().json).expect("JSON")
}

fn certificate() -> Value {
    json!({
        "apiVersion": "cert-manager.io/v1", "kind": "Certificate",
        "metadata": {"name": "a", "namespace": "n", "uid": "u1", "resourceVersion": "7", "labels": {"x": "y"}},
        "spec": {"dnsNames": ["a.example", "b.example"], "keystores": {"jks": {"password": CANARY}, "pkcs12": {"password": CANARY}},
                 "renew": 3, "isCA": true, "none": null},
        "status": {"conditions": [
            {"type": "Ready", "status": "True", "reason": "Issued", "message": format!("token={CANARY} is up"),
             "lastTransitionTime": "t", "observedGeneration": 2, "extra": CANARY, "reasonList": [CANARY]}],
            "revision": 7},
        "data": [CANARY, 1],
    })
}

#[test]
fn of_an_undescribed_kind_metadata_conditions_and_keys_are_shown_and_no_value() {
    let shown = redacted(&certificates(), Policy::default(), &certificate());
    assert_eq!(shown["metadata"]["labels"]["x"], "y");
    assert_eq!(shown["spec"], {
        let (r, pair) = ("[redacted]", json!(["[redacted]", "[redacted]"]));
        json!({"dnsNames": pair, "keystores": {"jks": {"password": r}, "pkcs12": {"password": r}},
               "renew": r, "isCA": r, "none": null})
    });
    assert_eq!(shown["status"], {
        json!({"conditions": [
            {"type": "Ready", "status": "True", "reason": "Issued", "message": "token=[redacted] is up",
             "lastTransitionTime": "t", "observedGeneration": 2, "extra": "[redacted]", "reasonList": ["[redacted]"]}],
            "revision": "[redacted]"})
    });
    assert!(!shown.to_string().contains(CANARY));
    for wrong in [
        json!({"conditions": CANARY}),
        json!({"conditions": {"type": CANARY}}),
        json!(CANARY),
        json!([CANARY]),
        json!({"conditions": [CANARY, [CANARY], {"type": {"x": CANARY}, "message": [CANARY]}]}),
    ] {
        let mut object = certificate();
        object["status"] = wrong;
        assert!(!redacted(&certificates(), Policy::default(), &object).to_string().contains(CANARY));
    }
}

#[test]
fn policy_keys_says_type_and_size_and_policy_full_shows_all_but_what_never_leaves() {
    let shown = redacted(&certificates(), level("certificates.cert-manager.io", Level::Keys), &certificate());
    assert_eq!(shown["spec"]["keystores"]["jks"]["password"], "[redacted: 6 bytes]");
    assert_eq!(shown["spec"]["renew"], "[redacted: number]");
    assert_eq!(shown["spec"]["isCA"], "[redacted: boolean]");
    assert!(!shown.to_string().contains(CANARY));
    let mut rollout = certificate();
    rollout["spec"]["template"] = json!({
        "metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY, "kept": "1"}},
        "spec": {"containers": [{"env": [{"name": "A", "value": CANARY}], "args": ["--token", CANARY],
                                 "livenessProbe": {"httpGet": {"httpHeaders": [{"name": "h", "value": CANARY}]}}}]}});
    rollout["spec"]["env"] = json!({"A": CANARY});
    rollout["spec"]["stage"] = json!({"env": "production"});
    rollout["spec"]["number"] = serde_json::from_str("1.50").expect("a number");
    let shown = redacted(&certificates(), level("certificates.cert-manager.io", Level::Full), &rollout);
    assert_eq!(shown["spec"]["dnsNames"], rollout["spec"]["dnsNames"]);
    assert_eq!(shown["spec"]["stage"], rollout["spec"]["stage"]);
    assert_eq!(shown["spec"]["keystores"], rollout["spec"]["keystores"]);
    assert_eq!(shown["spec"]["template"]["metadata"]["annotations"], json!({"kept": "1"}));
    assert!(
        !shown["spec"]["template"].to_string().contains(CANARY) && !shown["spec"]["env"].to_string().contains(CANARY)
    );
}

#[test]
fn policy_metadata_asks_for_nothing_else_and_takes_nothing_else_of_any_kind() {
    let services = kind_of("services");
    let policy = Arc::new(level("services", Level::Metadata));
    let redactor = Redactor::new(services.clone(), policy.clone());
    assert!(redactor.metadata_only() && policy.metadata_only(&services));
    assert!(!Redactor::new(services, Arc::default()).metadata_only());
    assert!(Redactor::new(kind_of("secrets"), Arc::new(level("secrets", Level::Full))).metadata_only(), "no switch");
    let whole = format!(r#"{{"kind":"Service","metadata":{{{IDENTITY}}},"spec":{{"x":"{CANARY}"}}}}"#);
    let stub = redactor.redact(&whole).expect("its identity");
    assert_eq!(stub.get().stub.as_ref().map(|s| s.reason), Some(HOSTILE));
    assert!(!String::from_utf8_lossy(&stub.get().json).contains(CANARY));
    let metadata = format!(
        r#"{{"kind":"PartialObjectMetadata","metadata":{{{IDENTITY},"annotations":{{"a":"b","kapp.k14s.io/original":"{CANARY}"}}}}}}"#
    );
    let object = redactor.redact(&metadata).expect("metadata");
    assert_eq!(object.get().stub, None);
    assert!(String::from_utf8_lossy(&object.get().json).ends_with(r#""annotations":{"a":"b"}}}"#));
}

#[test]
fn a_redactor_that_only_identifies_takes_any_kind_as_metadata() {
    let raw =
        format!(r#"{{"kind":"PartialObjectMetadata","metadata":{{{IDENTITY},"annotations":{{"a":"{CANARY}"}}}}}}"#);
    let object = Redactor::identifying(kind_of("pods")).redact(&raw).expect("metadata");
    assert_eq!((&*object.get().uid, object.get().rv.as_str()), ("u1", "7"));
    assert!(!String::from_utf8_lossy(&object.get().json).contains(CANARY));
}

#[test]
fn rules_by_pointer_redact_in_every_kind_and_keep_only_what_a_default_hides() {
    let id = "certificates.cert-manager.io";
    let policy = rules(
        id,
        &["/spec/keystores/*/password", "/status/conditions/*/message", "/metadata/labels/x"],
        &["/spec", "/status/revision"],
    );
    let shown = redacted(&certificates(), policy, &certificate());
    assert_eq!(shown["spec"]["dnsNames"], json!(["a.example", "b.example"]));
    assert_eq!((&shown["spec"]["renew"], &shown["status"]["revision"]), (&json!(3), &json!(7)));
    assert_eq!(shown["status"]["conditions"][0]["message"], "[redacted]");
    assert_eq!(shown["metadata"]["labels"]["x"], "[redacted]");
    assert!(!shown.to_string().contains(CANARY));
    // In a kind that is shown: the standing rules stay in force below a rule of the settings.
    let pod = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}, "spec": {
        "nodeName": CANARY, "n": 1.50, "containers": [{"image": CANARY, "env": [{"name": "A", "value": CANARY}]}]}});
    let policy = rules(
        "pods",
        &["/spec/nodeName", "/spec/containers/0/image", "/spec/containers/*/env/*/name"],
        &["/spec/containers"],
    );
    let shown = redacted(&kind_of("pods"), policy, &pod);
    assert!(!shown.to_string().contains(CANARY), "{shown}");
    assert_eq!(shown["spec"]["containers"][0]["env"][0]["name"], "[redacted]");
    let services =
        json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}, "spec": {"a": {"b": CANARY}, "n": 1}});
    let shown = redacted(&kind_of("services"), rules("services", &["/spec/a"], &[]), &services);
    assert_eq!(shown["spec"], json!({"a": "[redacted]", "n": 1}));
    let configmap = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"}, "data": {"level": "info", "x": CANARY}});
    let shown = redacted(&kind_of("configmaps"), rules("configmaps", &[], &["/data/level"]), &configmap);
    assert_eq!(shown["data"], json!({"level": "info", "x": "[redacted: 6 bytes]"}));
}

#[test]
fn what_a_rule_leaves_alone_keeps_its_bytes() {
    let raw = format!(
        r#"{{"metadata":{{{IDENTITY}}},"spec":{{"a":{{"b":"x"}},"n":1.50e+10,"t":"\u003c","o":{{ "p" : [ 1 ,2 ] }}}}}}"#
    );
    let redactor = Redactor::new(kind_of("services"), Arc::new(rules("services", &["/spec/a/b"], &[])));
    let object = redactor.redact(&raw).expect("fine");
    let json = std::str::from_utf8(&object.get().json).expect("UTF-8");
    assert!(
        json.ends_with(r#""spec":{"a":{"b":"[redacted]"},"n":1.50e+10,"t":"\u003c","o":{ "p" : [ 1 ,2 ] }}}"#),
        "{json}"
    );
}

#[test]
fn a_rule_that_cannot_be_obeyed_lets_nothing_of_its_kind_through_and_nothing_of_others_is_held() {
    for policy in [rules("pods", &["spec"], &[]), rules("pods", &["/metadata"], &[]), rules("pods", &[], &["//"])] {
        let policy = Arc::new(policy);
        assert_eq!(policy.faults().len(), 1);
        let redactor = Redactor::new(kind_of("pods"), policy.clone());
        let fault = redactor.fault().expect("a fault").to_string();
        assert!(fault.starts_with("redaction.rules.\"pods\"."), "{fault}");
        let raw = format!(r#"{{"metadata":{{{IDENTITY}}},"spec":{{"x":"{CANARY}"}}}}"#);
        assert_eq!(redactor.redact(&raw), Err(DecodeError::Rule));
        let other = Redactor::new(kind_of("services"), policy);
        assert!(other.fault().is_none() && other.redact(&raw).is_ok());
    }
    let secrets = Policy { rules: rules("secrets", &[], &["/data"]).rules, ..Policy::default() };
    assert!(secrets.faults()[0].to_string().contains("only metadata"));
}

#[test]
fn a_keyed_hash_stands_for_a_value_everywhere_but_in_secrets_and_a_second_pass_keeps_it() {
    let key = MacKey::new(&[7; 32], Some("k1")).expect("a key");
    let with_key = |policy: Policy| Policy { key: Some(key.clone()), ..policy };
    let configmap = json!({"metadata": {"name": "a", "namespace": "n", "uid": "u", "resourceVersion": "1"},
        "data": {"a": CANARY, "b": CANARY, "c": "other"}, "binaryData": {"d": "AAECAw=="}});
    let shown = redacted(&kind_of("configmaps"), with_key(Policy::default()), &configmap);
    let note = format!("[redacted: 6 bytes, {}]", key.note(CANARY.as_bytes()));
    assert_eq!((&shown["data"]["a"], &shown["data"]["b"]), (&json!(note), &json!(note)));
    assert_ne!(shown["data"]["c"], json!(note));
    let pod = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"},
        "spec": {"containers": [{"env": [{"name": "A", "value": CANARY}, {"name": "B", "value": 7}]}]}});
    let shown_pod = redacted(&kind_of("pods"), with_key(Policy::default()), &pod);
    let env = &shown_pod["spec"]["containers"][0]["env"];
    assert_eq!(env[0]["value"], format!("[redacted: {}]", key.note(CANARY.as_bytes())));
    assert_eq!(env[1]["value"], format!("[redacted: {}]", key.note(b"7")));
    for (kind, shown) in [("configmaps", shown), ("pods", shown_pod)] {
        assert_eq!(redacted(&kind_of(kind), with_key(Policy::default()), &shown), shown, "it settles");
    }
    let secret = json!({"kind": "PartialObjectMetadata", "metadata": {"name": "a", "uid": "u", "resourceVersion": "1", "labels": {"l": CANARY}}});
    let shown = redacted(&kind_of("secrets"), with_key(rules("secrets", &["/metadata/labels/l"], &[])), &secret);
    assert_eq!(shown["metadata"]["labels"]["l"], "[redacted]");
}

#[test]
fn if_annotations_are_allowed_by_name_all_others_go_and_the_denied_ones_too() {
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let policy = Policy { annotations_allow: set(&["a", "b"]), annotations_deny: set(&["b"]), ..Policy::default() };
    let object = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1",
        "annotations": {"a": "1", "b": CANARY, "c": CANARY}}});
    assert_eq!(redacted(&kind_of("services"), policy, &object)["metadata"]["annotations"], json!({"a": "1"}));
}

#[test]
fn annotations_that_are_copies_of_the_object_go_with_every_kind_whichever_tool_wrote_them() {
    let annotations = json!({"kopf.zalando.org/last-handled-configuration": CANARY, "banzaicloud.com/last-applied": CANARY,
        "Example.com/LastApplied": CANARY, "note": "kept", "doc": format!("{{\"a\":\"{CANARY}\"}}")});
    let identity = json!({"name": "a", "uid": "u", "resourceVersion": "1", "annotations": annotations});
    for plural in ["services", "pods", "configmaps", "deployments"] {
        let shown = redacted(&kind_of(plural), Policy::default(), &json!({"metadata": identity}));
        let shown = &shown["metadata"]["annotations"];
        assert_eq!(*shown, json!({"note": "kept", "doc": annotations["doc"]}), "{plural}");
    }
    // Not even by name.
    let names = ["kopf.zalando.org/last-handled-configuration".to_owned(), "note".to_owned()];
    let (named, secrets) = (names.iter().cloned().collect(), names.into_iter().collect());
    let policy = Policy { annotations_allow: named, secret_annotations_allow: secrets, ..Policy::default() };
    for plural in ["services", "secrets"] {
        let shown = redacted(&kind_of(plural), policy.clone(), &json!({"metadata": identity}));
        assert_eq!(shown["metadata"]["annotations"], json!({"note": "kept"}), "{plural}");
    }
}

#[test]
fn where_values_are_hidden_an_annotation_that_holds_a_document_is_hidden_too_unless_it_is_kept_by_name() {
    let copy = format!("{{\"spec\":{{\"password\":\"{CANARY}\"}}}}");
    let annotations = json!({"plain": "kept", "copy": copy, "list": format!(" [\"{CANARY}\"]"),
        "quoted": serde_json::to_string(&copy).expect("JSON"), "torn": &copy[..30], "shape": {"a": CANARY}});
    let mut object = certificate();
    object["metadata"]["annotations"] = annotations.clone();
    let hidden = json!({"plain": "kept", "copy": "[redacted]", "list": "[redacted]", "quoted": "[redacted]",
        "torn": "[redacted]", "shape": {"a": "[redacted]"}});
    let shown = redacted(&certificates(), Policy::default(), &object);
    assert_eq!(shown["metadata"]["annotations"], hidden);
    assert_eq!(redacted(&certificates(), Policy::default(), &shown), shown, "a second time changes nothing");
    let id = "certificates.cert-manager.io";
    assert_eq!(redacted(&certificates(), level(id, Level::Keys), &object)["metadata"]["annotations"], hidden);
    let kept = redacted(&certificates(), rules(id, &[], &["/metadata/annotations/copy"]), &object);
    assert_eq!(kept["metadata"]["annotations"]["copy"], copy);
    assert_eq!(kept["metadata"]["annotations"]["list"], "[redacted]");
    let allowed = Policy { annotations_allow: ["copy".to_owned()].into(), ..Policy::default() };
    assert_eq!(redacted(&certificates(), allowed, &object)["metadata"]["annotations"], json!({"copy": copy}));
    assert_eq!(redacted(&certificates(), level(id, Level::Full), &object)["metadata"]["annotations"], annotations);
    let mut only_metadata = object["metadata"].clone();
    only_metadata["annotations"].as_object_mut().expect("an object").remove("shape");
    let only_metadata = json!({"kind": "PartialObjectMetadata", "metadata": only_metadata});
    let shown = redacted(&certificates(), level(id, Level::Metadata), &only_metadata);
    assert_eq!(shown["metadata"]["annotations"]["copy"], "[redacted]");
}

#[test]
fn every_kind_with_a_pod_template_loses_what_pods_lose() {
    let secrets = json!({"containers": [{"env": [{"name": "A", "value": CANARY}], "command": ["x", "--password", CANARY],
        "args": [format!("--token={CANARY}")], "lifecycle": {"preStop": {"exec": {"command": [format!("PASSWORD={CANARY} y")]}}},
        "readinessProbe": {"httpGet": {"httpHeaders": [{"name": "Authorization", "value": CANARY}]}}}]});
    let template = json!({"metadata": {"annotations": {"kubectl.kubernetes.io/last-applied-configuration": CANARY}}, "spec": secrets});
    let identity = json!({"name": "a", "uid": "u", "resourceVersion": "1"});
    for (group, plural, name, body) in [
        ("apps", "daemonsets", "DaemonSet", json!({"spec": {"template": template, "kept": 1}})),
        ("apps", "replicasets", "ReplicaSet", json!({"spec": {"template": template, "kept": 1}})),
        ("batch", "jobs", "Job", json!({"spec": {"template": template, "kept": 1}})),
        ("batch", "cronjobs", "CronJob", json!({"spec": {"jobTemplate": {"spec": {"template": template}}, "kept": 1}})),
        ("", "replicationcontrollers", "ReplicationController", json!({"spec": {"template": template, "kept": 1}})),
        ("", "podtemplates", "PodTemplate", json!({"template": template})),
        ("", "pods", "Pod", json!({"spec": secrets})),
    ] {
        let mut object = body;
        object["metadata"] = identity.clone();
        let shown = redacted(&Kind::custom(group, "v1", plural, name, true), Policy::default(), &object);
        assert!(!shown.to_string().contains(CANARY), "{plural}: {shown}");
        assert!(plural == "podtemplates" || plural == "pods" || shown["spec"]["kept"] == 1, "{plural}: {shown}");
    }
}

#[test]
fn messages_of_events_and_last_words_of_containers_lose_credentials_unless_told_otherwise() {
    let event = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"}, "message": format!("password={CANARY} refused"), "reason": "R"});
    let shown = redacted(&kind_of("events"), Policy::default(), &event);
    assert_eq!(shown["message"], "password=[redacted] refused");
    let open = Policy { scrub: false, ..Policy::default() };
    assert_eq!(redacted(&kind_of("events"), open, &event)["message"], event["message"]);
    let terminated = json!({"terminated": {"message": format!("token: {CANARY}"), "exitCode": 1}});
    let pod = json!({"metadata": {"name": "a", "uid": "u", "resourceVersion": "1"},
        "status": {"containerStatuses": [{"state": terminated, "lastState": terminated}], "phase": "Failed"}});
    let shown = redacted(&kind_of("pods"), Policy::default(), &pod);
    assert!(!shown.to_string().contains(CANARY) && shown["status"]["phase"] == "Failed");
}

#[test]
fn what_a_status_says_to_people_loses_credentials_in_every_kind() {
    let said = format!("cannot reach --db-pass={CANARY} -H 'Authorization: Token {CANARY}' postgres://a:{CANARY}@db");
    let condition =
        json!({"type": "Ready", "status": "False", "reason": "R", "message": said, "lastTransitionTime": "t"});
    let left = "cannot reach --db-pass=[redacted] -H 'Authorization: [redacted]' postgres://a:[redacted]@db";
    let status =
        json!({"message": said, "reason": "Evicted", "conditions": [{"type": "A", "status": "True"}, condition]});
    let identity = json!({"name": "a", "uid": "u", "resourceVersion": "1",
        "annotations": {"kubernetes.io/change-cause": format!("kubectl run a --env=DB_PASS={CANARY}"), "note": "kept"}});
    let object = json!({"metadata": identity, "status": status});
    for (group, plural, name) in [
        ("", "pods", "Pod"),
        ("", "services", "Service"),
        ("", "replicationcontrollers", "ReplicationController"),
        ("apps", "deployments", "Deployment"),
        ("apps", "statefulsets", "StatefulSet"),
        ("apps", "daemonsets", "DaemonSet"),
        ("apps", "replicasets", "ReplicaSet"),
        ("batch", "jobs", "Job"),
        ("cert-manager.io", "certificates", "Certificate"),
    ] {
        let kind = Kind::custom(group, "v1", plural, name, true);
        for policy in [Policy::default(), level(&kind.id(), Level::Full)] {
            // Of what nobody has described only conditions are shown.
            let is_shown = !policy.levels.is_empty() || group != "cert-manager.io";
            let shown = redacted(&kind, policy, &object);
            assert!(!shown.to_string().contains(CANARY), "{plural}: {shown}");
            assert_eq!(shown["status"]["conditions"][1]["message"], left, "{plural}");
            assert_eq!(shown["status"]["conditions"][1]["reason"], "R", "{plural}");
            assert_eq!(shown["metadata"]["annotations"]["note"], "kept", "{plural}");
            if is_shown {
                assert_eq!(shown["status"]["message"], left, "{plural}");
                assert_eq!(shown["status"]["conditions"][0], json!({"type": "A", "status": "True"}), "{plural}");
            }
        }
    }
    let keyed = json!({"metadata": identity, "spec": {"message": {"env": [{"name": "A", "value": CANARY}]}, "n": {"message": 1}}});
    let shown = redacted(&certificates(), level("certificates.cert-manager.io", Level::Full), &keyed);
    assert_eq!(shown["spec"], json!({"message": {"env": [{"name": "A", "value": "[redacted]"}]}, "n": {"message": 1}}));
}

#[test]
fn the_hash_of_a_policy_changes_with_what_concerns_the_kind_and_with_nothing_else() {
    let set = |names: &[&str]| names.iter().map(|n| (*n).to_owned()).collect();
    let (base, pods, services) = (Policy::default(), kind_of("pods"), kind_of("services"));
    assert_eq!(base.hash(&pods), Policy::default().hash(&pods));
    assert_eq!(base.hash(&pods).len(), 32);
    let env = Policy { env_allow: set(&["A"]), ..Policy::default() };
    assert!(env.hash(&pods) != base.hash(&pods) && env.hash(&services) == base.hash(&services));
    let ruled = rules("services", &["/spec/a", "/spec/b"], &[]);
    assert!(ruled.hash(&services) != base.hash(&services) && ruled.hash(&pods) == base.hash(&pods));
    assert_eq!(ruled.hash(&services), rules("services", &["/spec/b", "/spec/a"], &[]).hash(&services));
    let keyed = Policy { key: MacKey::new(&[7; 32], None).ok(), ..Policy::default() };
    let other = Policy { key: MacKey::new(&[8; 32], keyed.key.as_ref().map(MacKey::id)).ok(), ..Policy::default() };
    assert!(other.key.is_some() && other.hash(&pods) != keyed.hash(&pods), "another key under the same id");
    assert!(keyed.hash(&pods) != base.hash(&pods) && keyed.hash(&kind_of("secrets")) == base.hash(&kind_of("secrets")));
    assert_ne!(level("pods", Level::Keys).hash(&pods), base.hash(&pods));
}

#[test]
fn a_document_deeper_than_any_that_people_write_is_hidden_where_it_would_be_searched() {
    let deep = format!("{}1{}", "[".repeat(3000), "]".repeat(3000));
    let raw = format!(r#"{{"metadata":{{{IDENTITY}}},"spec":{{"annotations":{deep},"x":{deep}}}}}"#);
    for policy in [
        Policy::default(),
        level("certificates.cert-manager.io", Level::Keys),
        level("certificates.cert-manager.io", Level::Full),
        rules("certificates.cert-manager.io", &["/spec/x/0/0/0"], &["/spec"]),
    ] {
        let object = Redactor::new(certificates(), Arc::new(policy)).redact(&raw).expect("it has an identity");
        serde_json::from_slice::<serde::de::IgnoredAny>(&object.get().json).expect("JSON");
    }
}

#[test]
fn what_is_said_to_a_volumes_driver_goes_from_unknown_documents_too_and_a_rule_keeps_it() {
    let volumes = |share: &str| {
        json!({"csi": {"driver": "d", "volumeAttributes": {"share": share}},
            "flexVolume": {"driver": "f", "options": {"password": share}}, "options": ["ro"]})
    };
    let volume = Kind::custom("", "v1", "persistentvolumes", "PersistentVolume", false);
    let object = |share: &str| json!({"metadata": certificate()["metadata"], "spec": volumes(share)});
    let shown = redacted(&volume, level("persistentvolumes", Level::Full), &object(CANARY));
    assert_eq!(shown["spec"], volumes("[redacted]"));
    let policy = rules("pods", &[], &["/spec/volumes/*/csi/volumeAttributes/share"]);
    assert_eq!(policy.faults(), []);
    let pod = json!({"metadata": certificate()["metadata"], "spec": {"volumes": [volumes("x")]}});
    let shown = redacted(&kind_of("pods"), policy, &pod);
    assert_eq!(shown["spec"]["volumes"][0]["csi"]["volumeAttributes"]["share"], "x");
    assert_eq!(shown["spec"]["volumes"][0]["flexVolume"]["options"]["password"], "[redacted]");
}

#[test]
fn a_rule_that_keeps_what_no_default_hides_is_refused_with_what_would_show_it() {
    let mut full = rules("widgets.example.com", &[], &["/spec/containers/0/env"]);
    full.levels.insert(Pattern::parse("widgets.example.com").expect("a kind"), Level::Full);
    assert_eq!(full.faults().len(), 1, "its variables are hidden all the same");
    for (kind, keep, refused) in [
        ("pods", "/spec/containers/*/env", true),
        ("pods", "/spec/containers/*/env/0/value", true),
        ("pods", "/spec/containers/*/args", true),
        ("pods", "/spec/nodeName", true),
        ("pods", "/metadata/annotations/x", true),
        ("pods", "/status/message", true),
        ("pods", "/spec/volumes/*/flexVolume/options", false),
        ("pods", "/spec/volumes/0/csi/volumeAttributes/share", false),
        ("pods", "/spec/*/*/*/volumeAttributes", false),
        ("deployments.apps", "/spec/template/spec/containers/0/env", true),
        ("deployments.apps", "/spec/template/spec/volumes/*/csi/volumeAttributes", false),
        ("configmaps", "/data", false),
        ("configmaps", "/data/*", false),
        ("configmaps", "/data/a/b", true),
        ("services", "/spec/ports", true),
        ("certificates.cert-manager.io", "/spec/dnsNames", false),
        ("certificates.cert-manager.io", "/status/conditions/*/extra", false),
        ("certificates.cert-manager.io", "/metadata/labels", true),
        ("*.cert-manager.io", "/metadata/labels", false),
    ] {
        let faults = rules(kind, &[], &[keep]).faults();
        assert_eq!(!faults.is_empty(), refused, "{kind} {keep}");
        for fault in faults {
            let text = fault.to_string();
            assert!(text.contains(keep) && text.contains("no effect") && text.contains("env_allow"), "{text}");
        }
    }
}

#[test]
fn rules_for_many_kinds_add_up_and_the_most_specific_policy_decides() {
    let pattern = |text: &str| Pattern::parse(text).expect("a pattern");
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
    let mut policy = level("*.cert-manager.io", Level::Full);
    policy.levels.insert(pattern("*"), Level::Metadata);
    policy.rules.insert(pattern("*"), PointerRules { redact: texts(&["/spec/dnsNames"]), keep: texts(&[]) });
    policy.rules.insert(
        pattern("certificates.cert-manager.io"),
        PointerRules { redact: texts(&["/spec/keystores", "/status", "/data"]), keep: texts(&[]) },
    );
    let shown = redacted(&certificates(), policy.clone(), &certificate());
    assert_eq!(
        shown["spec"],
        json!({"dnsNames": "[redacted]", "keystores": "[redacted]", "renew": 3, "isCA": true, "none": null})
    );
    assert!(policy.metadata_only(&kind_of("services")) && policy.metadata_only(&kind_of("secrets")));
    // Each for itself is a rule; together one has no effect: that kind stands still, the others go on.
    let kept = PointerRules { redact: texts(&[]), keep: texts(&["/spec/dnsNames/0"]) };
    policy.rules.insert(pattern("certificates.cert-manager.io"), kept);
    assert_eq!(policy.faults(), []);
    let policy = Arc::new(policy);
    assert!(Redactor::new(certificates(), policy.clone()).fault().is_some());
    assert!(Redactor::new(kind_of("pods"), policy).fault().is_none());
}

#[test]
fn a_kind_whose_rule_cannot_be_obeyed_is_parked_by_name_and_asks_the_server_for_nothing() {
    use crate::domain::watch::{Action, Capture, Config, Env, WatchCore};
    let redactor = Redactor::new(kind_of("pods"), Arc::new(rules("pods", &["spec"], &[])));
    let mut core = WatchCore::new(Config::default(), redactor, None);
    for seconds in [1, 2, 700, 5000] {
        let env = Env { now: std::time::Duration::from_secs(seconds), wall_ms: 0, chance: 0.5 };
        core.tick(&Capture::default(), env);
        assert!(!core.actions().iter().any(|action| matches!(action, Action::Send(_))));
        let phase = core.phase();
        let reason = phase.reason.expect("a reason");
        assert!(
            phase.name == "parked" && reason.contains("redaction.rules") && reason.contains("begins with /"),
            "{reason}"
        );
    }
}
