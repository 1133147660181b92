//! Every kind of Kubernetes' own API, filled with canaries to the last string, through the redactor.

use crate::filler::{CANARY, CANARY_BASE64, filled};
use agent_events::domain::kind::Kind;
use agent_events::domain::redact::{HOSTILE, Policy, Redactor};
use k8s_openapi::Resource;
use k8s_openapi::{api, apiextensions_apiserver, kube_aggregator};
use proptest::prelude::*;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::sync::Arc;

/// An object of a kind, filled; and its kind.
struct Filled {
    kind: Kind,
    object: Value,
}

fn one<T: Resource + DeserializeOwned + Serialize>(seed: u64) -> Filled {
    let kind = Kind::custom(T::GROUP, T::VERSION, T::URL_PATH_SEGMENT, T::KIND, true);
    let object: T = filled(seed).unwrap_or_else(|e| panic!("{} cannot be filled: {e}", T::KIND));
    let mut object = serde_json::to_value(&object).expect("it can be written");
    let filled = object["metadata"].take();
    // What is known of an object is no secret: its metadata gets names of its own, and canaries where they must go.
    object["metadata"] = json!({
        "name": "a", "namespace": "n", "uid": "u", "resourceVersion": "7", "labels": {"shown": "yes"},
        "annotations": {
            "kubectl.kubernetes.io/last-applied-configuration": CANARY, "kapp.k14s.io/original": CANARY,
            "objectset.rio.cattle.io/applied": CANARY, "openshift.io/token-secret.value": CANARY,
            "kopf.zalando.org/last-handled-configuration": CANARY, "banzaicloud.com/last-applied": CANARY},
        "managedFields": filled["managedFields"],
    });
    if let Some(managers) = object["metadata"]["managedFields"].as_array_mut() {
        for manager in managers {
            manager["manager"] = json!("m");
            manager["operation"] = json!("Update");
        }
    }
    Filled { kind, object }
}

macro_rules! every {
    ($seed:expr; $($t:ty),* $(,)?) => { vec![$(one::<$t>($seed)),*] };
}

/// Every kind that the API server lists, in every version that it may serve: all that k8s-openapi calls listable.
fn every_kind(seed: u64) -> Vec<Filled> {
    every![seed;
        api::admissionregistration::v1::MutatingAdmissionPolicy,
        api::admissionregistration::v1::MutatingAdmissionPolicyBinding,
        api::admissionregistration::v1::MutatingWebhookConfiguration,
        api::admissionregistration::v1::ValidatingAdmissionPolicy,
        api::admissionregistration::v1::ValidatingAdmissionPolicyBinding,
        api::admissionregistration::v1::ValidatingWebhookConfiguration,
        api::admissionregistration::v1alpha1::MutatingAdmissionPolicy,
        api::admissionregistration::v1alpha1::MutatingAdmissionPolicyBinding,
        api::admissionregistration::v1beta1::MutatingAdmissionPolicy,
        api::admissionregistration::v1beta1::MutatingAdmissionPolicyBinding,
        api::apiserverinternal::v1alpha1::StorageVersion,
        api::apps::v1::ControllerRevision,
        api::apps::v1::DaemonSet,
        api::apps::v1::Deployment,
        api::apps::v1::ReplicaSet,
        api::apps::v1::StatefulSet,
        api::autoscaling::v1::HorizontalPodAutoscaler,
        api::autoscaling::v2::HorizontalPodAutoscaler,
        api::batch::v1::CronJob,
        api::batch::v1::Job,
        api::certificates::v1::CertificateSigningRequest,
        api::certificates::v1::ClusterTrustBundle,
        api::certificates::v1::PodCertificateRequest,
        api::certificates::v1beta1::ClusterTrustBundle,
        api::certificates::v1beta1::PodCertificateRequest,
        api::coordination::v1::Lease,
        api::coordination::v1alpha2::LeaseCandidate,
        api::coordination::v1beta1::LeaseCandidate,
        api::core::v1::ComponentStatus,
        api::core::v1::ConfigMap,
        api::core::v1::Endpoints,
        api::core::v1::Event,
        api::core::v1::LimitRange,
        api::core::v1::Namespace,
        api::core::v1::Node,
        api::core::v1::PersistentVolume,
        api::core::v1::PersistentVolumeClaim,
        api::core::v1::Pod,
        api::core::v1::PodTemplate,
        api::core::v1::ReplicationController,
        api::core::v1::ResourceQuota,
        api::core::v1::Secret,
        api::core::v1::Service,
        api::core::v1::ServiceAccount,
        api::discovery::v1::EndpointSlice,
        api::events::v1::Event,
        api::flowcontrol::v1::FlowSchema,
        api::flowcontrol::v1::PriorityLevelConfiguration,
        api::lifecycle::v1alpha1::Eviction,
        api::lifecycle::v1alpha1::EvictionRequest,
        api::networking::v1::IPAddress,
        api::networking::v1::Ingress,
        api::networking::v1::IngressClass,
        api::networking::v1::NetworkPolicy,
        api::networking::v1::ServiceCIDR,
        api::node::v1::RuntimeClass,
        api::policy::v1::PodDisruptionBudget,
        api::rbac::v1::ClusterRole,
        api::rbac::v1::ClusterRoleBinding,
        api::rbac::v1::Role,
        api::rbac::v1::RoleBinding,
        api::resource::v1::DeviceClass,
        api::resource::v1::DeviceTaintRule,
        api::resource::v1::ResourceClaim,
        api::resource::v1::ResourceClaimTemplate,
        api::resource::v1::ResourceSlice,
        api::resource::v1alpha3::DeviceTaintRule,
        api::resource::v1alpha3::ResourcePoolStatusRequest,
        api::resource::v1beta1::DeviceClass,
        api::resource::v1beta1::ResourceClaim,
        api::resource::v1beta1::ResourceClaimTemplate,
        api::resource::v1beta1::ResourceSlice,
        api::resource::v1beta2::DeviceClass,
        api::resource::v1beta2::DeviceTaintRule,
        api::resource::v1beta2::ResourceClaim,
        api::resource::v1beta2::ResourceClaimTemplate,
        api::resource::v1beta2::ResourceSlice,
        api::scheduling::v1::PriorityClass,
        api::scheduling::v1alpha3::CompositePodGroup,
        api::scheduling::v1alpha3::PodGroup,
        api::scheduling::v1alpha3::Workload,
        api::scheduling::v1beta1::PodGroup,
        api::scheduling::v1beta1::Workload,
        api::storage::v1::CSIDriver,
        api::storage::v1::CSINode,
        api::storage::v1::CSIStorageCapacity,
        api::storage::v1::StorageClass,
        api::storage::v1::VolumeAttachment,
        api::storage::v1::VolumeAttributesClass,
        api::storagemigration::v1::StorageVersionMigration,
        api::storagemigration::v1beta1::StorageVersionMigration,
        apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition,
        kube_aggregator::pkg::apis::apiregistration::v1::APIService,
    ]
}

fn has_canary(value: &Value) -> bool {
    let text = value.to_string();
    text.contains(CANARY) || text.contains(CANARY_BASE64)
}

/// Every value in `value` that no rule may let through.
fn must_go<'v>(value: &'v Value, found: &mut Vec<&'v Value>) {
    let literal = |entry: &'v Value| entry.get("value");
    match value {
        Value::Object(members) => {
            for (key, member) in members {
                match (key.as_str(), member) {
                    ("env" | "httpHeaders", Value::Array(entries)) => found.extend(entries.iter().filter_map(literal)),
                    ("volumeAttributes", said) => found.push(said),
                    ("flexVolume", volume) => found.extend(volume.get("options")),
                    ("kubectl.kubernetes.io/last-applied-configuration", copy) => found.push(copy),
                    _ => must_go(member, found),
                }
            }
        }
        Value::Array(elements) => elements.iter().for_each(|element| must_go(element, found)),
        _ => {}
    }
}

/// What is left when everything is taken away that may be shown of an undescribed kind.
fn beyond_conditions(shown: &Value) -> Value {
    let mut rest = shown.clone();
    for condition in rest.pointer_mut("/status/conditions").and_then(Value::as_array_mut).into_iter().flatten() {
        let members = condition.as_object_mut().expect("an object");
        for name in ["type", "status", "reason", "message"] {
            members.remove(name);
        }
    }
    rest
}

/// Kinds that describe Pods: their environments, command lines and headers are cut.
const WITH_PODS: &[&str] = &[
    "pods",
    "podtemplates",
    "replicationcontrollers",
    "deployments",
    "statefulsets",
    "daemonsets.apps",
    "replicasets.apps",
    "jobs.batch",
    "cronjobs.batch",
];

/// Kinds whose rules say what may be shown; of all others that is next to nothing.
fn is_described(id: &str) -> bool {
    WITH_PODS.contains(&id) || ["configmaps", "services", "events"].contains(&id)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_canary_of_any_kind_passes_where_values_must_go(seed in any::<u64>()) {
        let kinds = every_kind(seed);
        for Filled { kind, object } in kinds {
            let id = kind.id();
            let redactor = Redactor::new(kind.clone(), Arc::new(Policy::default()));
            let redacted = redactor.redact(&object.to_string()).expect("an object of its kind");
            let shown: Value = serde_json::from_slice(&redacted.get().json).expect("JSON");
            let mut must = Vec::new();
            must_go(&shown, &mut must);
            prop_assert!(must.iter().all(|value| !has_canary(value)), "{id}: {must:?}");
            prop_assert!(shown["metadata"].get("managedFields").is_none() && !has_canary(&shown["metadata"]), "{id}");
            if id == "secrets" {
                prop_assert!(!has_canary(&shown) && redacted.get().stub.as_ref().map(|s| s.reason) == Some(HOSTILE));
                continue;
            }
            if id == "configmaps" {
                prop_assert!(!has_canary(&shown["data"]) && !has_canary(&shown["binaryData"]));
            }
            if !is_described(&id) {
                let rest = beyond_conditions(&shown);
                prop_assert!(!has_canary(&rest), "{id}: {rest}");
            }
            let twice = redactor.redact(std::str::from_utf8(&redacted.get().json).expect("UTF-8")).expect("its own output");
            prop_assert_eq!(&twice.get().json, &redacted.get().json, "{}", id);
        }
    }
}

#[test]
fn the_canaries_are_where_the_rules_look_for_them() {
    // Over a few seeds, since any field may be left out in one of them.
    for id in WITH_PODS {
        let found = (1..9_u64).any(|seed| {
            let filled = every_kind(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into_iter().find(|f| f.kind.id() == *id);
            let object = filled.expect("one of them").object;
            let mut must = Vec::new();
            must_go(&object, &mut must);
            must.iter().filter(|value| has_canary(value)).count() > 1
        });
        assert!(found, "{id} has no canary in its environment");
    }
}
