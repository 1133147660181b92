//! The rules that stand whatever the settings say, kind by kind: which members of an object are looked at on the way.

use crate::domain::cut::{Field, Rule, deep_rule, flex_volume};
use crate::domain::kind::Kind;

/// Rises with every change of the rules below, so that what was written under older ones is written anew.
pub(super) const VERSION: u32 = 6;

/// The members of one level.
pub(super) type Members = fn(&str) -> Rule;

/// The rules of a kind whose documents we know; `None` of any other.
pub(super) fn of(kind: &Kind) -> Option<Members> {
    let members: Members = match (kind.group(), kind.plural()) {
        ("", "pods") => pod,
        ("apps", "deployments" | "statefulsets" | "daemonsets" | "replicasets")
        | ("batch", "jobs")
        | ("", "replicationcontrollers") => workload,
        ("batch", "cronjobs") => cronjob,
        ("", "podtemplates") => pod_template_object,
        ("", "configmaps") => configmap,
        ("", "events") => event,
        ("", "services") => service,
        _ => return None,
    };
    Some(members)
}

/// Names on the way to what these rules hide, for a `*` in a pointer.
const WAYS: &[&str] = &[
    "",
    "spec",
    "status",
    "conditions",
    "template",
    "jobTemplate",
    "volumes",
    "csi",
    "volumeAttributes",
    "flexVolume",
    "options",
    "data",
    "binaryData",
];

/// Whether a pointer (`None` for `*`) leads to something that these rules hide and a rule of the settings may show.
pub(super) fn hides_at(members: Members, steps: &[Option<&str>]) -> bool {
    hides(Rule::Object(members), steps)
}

fn hides(rule: Rule, steps: &[Option<&str>]) -> bool {
    let below = |members: &dyn Fn(&str) -> Rule, step: &Option<&str>, rest: &[Option<&str>]| match step {
        Some(name) => hides(members(name), rest),
        None => WAYS.iter().any(|name| hides(members(name), rest)),
    };
    match (rule, steps) {
        (Rule::Messages(rule) | Rule::Volumes(rule), _) => hides(*rule, steps),
        (Rule::Mask | Rule::Sized | Rule::Scalar, _) => true,
        // Of a document of which all is wanted it is shown as the rule asks for.
        (Rule::Deep, []) => true,
        (Rule::Size | Rule::SizeBase64 | Rule::Values(_), []) => true,
        (Rule::Values(_), [_]) => true,
        (Rule::Object(members), [step, rest @ ..]) => below(&members, step, rest),
        (Rule::Deep, [step, rest @ ..]) => below(&deep_rule, step, rest),
        (Rule::Array(rule), [_, rest @ ..]) => hides(*rule, rest),
        _ => false,
    }
}

/// Whether it carries the spec of a pod, and so environment variables.
pub(super) fn has_pods(kind: &Kind) -> bool {
    !matches!(kind.plural(), "configmaps" | "events" | "services" | "secrets")
}

pub(super) fn plain(key: &str) -> Rule {
    match key {
        "kind" => Rule::CaptureDrop(Field::Kind),
        "apiVersion" => Rule::Drop,
        "metadata" => Rule::Metadata,
        _ => Rule::Keep,
    }
}

/// Metadata, and nothing else may even be there.
pub(super) fn metadata_only(key: &str) -> Rule {
    match key {
        "metadata" => Rule::MetadataOnly,
        "kind" | "apiVersion" => plain(key),
        _ => Rule::Forbidden,
    }
}

/// Every key, and of every value its type and size.
pub(super) fn keys(key: &str) -> Rule {
    match plain(key) {
        Rule::Keep => Rule::Sized,
        known => known,
    }
}

/// A kind that nobody has described: metadata, conditions, and the keys of everything else.
pub(super) fn masked(key: &str) -> Rule {
    match key {
        "status" => Rule::Object(|key| match key {
            "conditions" => Rule::Array(&Rule::Object(condition)),
            _ => Rule::Mask,
        }),
        _ => match plain(key) {
            Rule::Keep => Rule::Mask,
            known => known,
        },
    }
}

fn condition(key: &str) -> Rule {
    match key {
        "type" | "status" | "reason" | "observedGeneration" | "lastTransitionTime" | "lastUpdateTime"
        | "lastProbeTime" | "lastHeartbeatTime" => Rule::Scalar,
        "message" => Rule::Text,
        _ => Rule::Mask,
    }
}

/// A kind that nobody has described and of which all is wanted: what looks like a pod template is treated as one.
pub(super) fn deep(key: &str) -> Rule {
    match plain(key) {
        Rule::Keep => Rule::Deep,
        known => known,
    }
}

fn service(key: &str) -> Rule {
    match key {
        "status" => Rule::Messages(&Rule::Object(status)),
        _ => plain(key),
    }
}

/// What the status of a known kind says to people.
fn status(key: &str) -> Rule {
    match key {
        "conditions" => Rule::Messages(&Rule::Array(&Rule::Object(message))),
        _ => message(key),
    }
}

fn message(key: &str) -> Rule {
    if key == "message" { Rule::Text } else { Rule::Keep }
}

fn event(key: &str) -> Rule {
    match key {
        "message" | "note" => Rule::Text,
        _ => plain(key),
    }
}

fn configmap(key: &str) -> Rule {
    match key {
        "data" => Rule::Values(false),
        "binaryData" => Rule::Values(true),
        _ => plain(key),
    }
}

fn pod(key: &str) -> Rule {
    match key {
        "spec" => Rule::Object(pod_spec),
        "status" => Rule::Object(|key| match key {
            "containerStatuses" | "initContainerStatuses" | "ephemeralContainerStatuses" => {
                Rule::Array(&Rule::Object(container_status))
            }
            _ => status(key),
        }),
        _ => plain(key),
    }
}

/// What a container left as its last words may be the end of its log.
fn container_status(key: &str) -> Rule {
    match key {
        "state" | "lastState" => Rule::Object(|key| match key {
            "terminated" | "waiting" => Rule::Object(message),
            _ => Rule::Keep,
        }),
        _ => Rule::Keep,
    }
}

fn workload(key: &str) -> Rule {
    match key {
        "spec" => Rule::Object(|key| if key == "template" { Rule::Object(template) } else { Rule::Keep }),
        "status" => Rule::Messages(&Rule::Object(status)),
        _ => plain(key),
    }
}

fn cronjob(key: &str) -> Rule {
    match key {
        "spec" => Rule::Object(|key| match key {
            "jobTemplate" => Rule::Object(|key| match key {
                "metadata" => template(key),
                _ => workload(key),
            }),
            _ => Rule::Keep,
        }),
        _ => plain(key),
    }
}

fn pod_template_object(key: &str) -> Rule {
    match key {
        "template" => Rule::Object(template),
        _ => plain(key),
    }
}

fn template(key: &str) -> Rule {
    match key {
        "spec" => Rule::Object(pod_spec),
        "metadata" => Rule::Object(|key| match key {
            "annotations" => Rule::Annotations,
            // Of a template the server keeps none; a copy of fields in it would be one all the same.
            "managedFields" => Rule::Drop,
            _ => Rule::Keep,
        }),
        _ => Rule::Keep,
    }
}

fn pod_spec(key: &str) -> Rule {
    match key {
        "containers" | "initContainers" | "ephemeralContainers" => Rule::Array(&Rule::Object(container)),
        "volumes" => Rule::Volumes(&Rule::Array(&Rule::Object(volume))),
        _ => Rule::Keep,
    }
}

/// What is said to its driver may be a credential, as the literal value of a variable may.
fn volume(key: &str) -> Rule {
    match key {
        "csi" => Rule::Object(|key| if key == "volumeAttributes" { Rule::Mask } else { Rule::Keep }),
        "flexVolume" => Rule::Object(flex_volume),
        _ => Rule::Keep,
    }
}

fn container(key: &str) -> Rule {
    match key {
        "env" => Rule::Array(&Rule::EnvVar),
        "args" | "command" => Rule::Arguments,
        "livenessProbe" | "readinessProbe" | "startupProbe" => Rule::Object(handler),
        "lifecycle" => Rule::Object(|key| match key {
            "postStart" | "preStop" => Rule::Object(handler),
            _ => Rule::Keep,
        }),
        _ => Rule::Keep,
    }
}

/// A probe, or what runs at the start and the end: a command, or a request with headers.
fn handler(key: &str) -> Rule {
    match key {
        "exec" => Rule::Object(|key| if key == "command" { Rule::Arguments } else { Rule::Keep }),
        "httpGet" => Rule::Object(|key| if key == "httpHeaders" { Rule::Array(&Rule::EnvVar) } else { Rule::Keep }),
        _ => Rule::Keep,
    }
}
