//! Members that are looked for by their name alone, wherever they stand.

use super::{Cutter, Rule};

/// The annotation in which `kubectl --record` keeps the command that a person typed.
const CHANGE_CAUSE: &str = "kubernetes.io/change-cause";

pub(super) fn annotation_rule(cutter: &Cutter<'_>, key: &str) -> Rule {
    match cutter.keys.annotation(key) {
        true if key == CHANGE_CAUSE => Rule::Text,
        true if !cutter.keys.document(key) => Rule::NoDocument,
        true => Rule::Keep,
        false => Rule::Drop,
    }
}

/// Members that [`Rule::Deep`] looks for.
pub(in crate::domain) fn deep_rule(key: &str) -> Rule {
    match key {
        "env" => Rule::AnyEnv,
        "httpHeaders" => Rule::Array(&Rule::EnvVar),
        "command" | "args" => Rule::Arguments,
        "annotations" => Rule::Annotations,
        "message" => Rule::AnyText,
        "volumeAttributes" => Rule::Mask,
        "flexVolume" => Rule::Object(flex_volume),
        _ => Rule::Deep,
    }
}

/// A volume of a driver: what is said to it may be a credential.
pub(in crate::domain) fn flex_volume(key: &str) -> Rule {
    if key == "options" { Rule::Mask } else { Rule::Keep }
}

/// Also where the key may be written with escapes.
pub(super) fn has_driver_members(raw: &str) -> bool {
    ["\"volumeAttributes\"", "\"flexVolume\"", "\\u"].iter().any(|key| raw.contains(key))
}

pub(super) fn has_deep_members(raw: &str) -> bool {
    ["\"env\"", "\"httpHeaders\"", "\"command\"", "\"args\"", "\"annotations\""].iter().any(|key| raw.contains(key))
        || has_driver_members(raw)
        || has_messages(raw)
}

/// Also where the key may be written with escapes.
pub(super) fn has_messages(raw: &str) -> bool {
    raw.contains("\"message\"") || raw.contains("\\u")
}
