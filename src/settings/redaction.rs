//! `[redaction]`, and the policy that it makes together with `[watch]`.

use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::domain::pattern::Pattern;
use crate::domain::redact::{Level, MacKey, PointerRules, Policy};

use super::Settings;
use super::files;
use super::units::{name_set, unset_when_empty};

/// `[redaction]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RedactionSettings {
    /// Whether command lines and messages lose what looks like a credential.
    pub scrub: bool,
    /// The file with the key of the hashes that stand for redacted values.
    #[serde(with = "unset_when_empty")]
    pub hmac_key_file: Option<PathBuf>,
    /// What records call that key; `None` takes it from the key.
    #[serde(with = "unset_when_empty")]
    pub hmac_key_id: Option<String>,
    /// Names of environment variables whose literal value is kept.
    #[serde(with = "name_set")]
    pub env_allow: BTreeSet<String>,
    /// If any are named, the only annotations that are kept.
    #[serde(with = "name_set")]
    pub annotations_allow: BTreeSet<String>,
    /// Annotations to drop besides the copies of objects (`last-applied` and the like), which the redactor always drops.
    #[serde(with = "name_set")]
    pub annotations_deny: BTreeSet<String>,
    /// Annotations of Secrets to keep.
    #[serde(with = "name_set")]
    pub secret_annotations_allow: BTreeSet<String>,
    /// `[redaction.configmaps]`
    pub configmaps: ConfigMapRedaction,
    /// `[redaction.rules."certificates.cert-manager.io"]`
    pub rules: BTreeMap<String, RuleSettings>,
}

/// `[redaction.configmaps]`
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConfigMapRedaction {
    /// Namespaces whose ConfigMaps keep their values.
    #[serde(with = "name_set")]
    pub full_namespaces: BTreeSet<String>,
}

/// The rules of one kind, as JSON pointers in which `*` stands for any member or element.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RuleSettings {
    /// What goes.
    #[serde(default)]
    pub redact: Vec<String>,
    /// What stays where the kind's default would redact it.
    #[serde(default)]
    pub keep: Vec<String>,
}

impl Settings {
    /// What may leave, without the key: for what needs to know the rules only.
    pub fn policy_without_key(&self) -> Policy {
        let redaction = &self.redaction;
        // After loading, every name and every policy can be understood.
        let rules = redaction.rules.iter().filter_map(|(kind, rules)| {
            let pointers = PointerRules { redact: rules.redact.clone(), keep: rules.keep.clone() };
            Some((Pattern::parse(kind).ok()?, pointers))
        });
        let tables = self.watch.kinds();
        let levels = tables
            .iter()
            .filter_map(|(kind, table)| Some((Pattern::parse(kind).ok()?, Level::parse(table.policy.as_deref()?)?)));
        Policy {
            env_allow: redaction.env_allow.clone(),
            annotations_allow: redaction.annotations_allow.clone(),
            annotations_deny: redaction.annotations_deny.clone(),
            secret_annotations_allow: redaction.secret_annotations_allow.clone(),
            configmap_full_namespaces: redaction.configmaps.full_namespaces.clone(),
            scrub: redaction.scrub,
            rules: rules.collect(),
            levels: levels.collect(),
            ..Policy::default()
        }
    }

    /// What may leave. Reads the key file, once: a key that changes in the middle of a life would make equal values
    /// unequal.
    ///
    /// # Errors
    /// When the key file cannot be read or holds no key; bad settings like any other.
    pub fn policy(&self) -> Result<Policy, String> {
        let redaction = &self.redaction;
        let key = match &redaction.hmac_key_file {
            None => None,
            Some(path) => {
                let (bytes, _) = files::read(path).map_err(|error| {
                    let remedy = "`openssl rand -hex 32 > FILE` makes a key; unset the setting to do without";
                    format!("{}: cannot read this file: {error}; {remedy}", key_file(path))
                })?;
                let key = MacKey::new(&bytes, redaction.hmac_key_id.as_deref());
                Some(key.map_err(|error| format!("{}: {error}", key_file(path)))?)
            }
        };
        Ok(Policy { key, ..self.policy_without_key() })
    }

    /// What is wrong with the key file's rights: whoever reads the key can try values against the hashes.
    pub fn key_file_warning(&self) -> Option<String> {
        let path = self.redaction.hmac_key_file.as_deref()?;
        let who = readers(&std::fs::metadata(path).ok()?, rustix::process::geteuid().as_raw())?;
        Some(format!("{} can be read by {who}: chmod 600 it", key_file(path)))
    }
}

fn key_file(path: &Path) -> String {
    format!("redaction.hmac_key_file = {:?}", path.display().to_string())
}

/// Who else may read a file. What another user owns is ours by its group alone, as a mounted Secret is: nobody could mend
/// that.
fn readers(about: &std::fs::Metadata, us: u32) -> Option<&'static str> {
    match about.mode() & 0o044 {
        0 => None,
        0o040 if about.uid() != us => None,
        0o040 => Some("its group"),
        _ => Some("everybody"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_only_our_group_may_read_is_fine_when_it_is_not_ours() {
        use std::os::unix::fs::PermissionsExt as _;
        let file = tempfile::NamedTempFile::new().expect("a file");
        let owner = file.as_file().metadata().expect("there").uid();
        for (mode, ours, anothers) in [
            (0o600, None, None),
            (0o640, Some("its group"), None),
            (0o604, Some("everybody"), Some("everybody")),
            (0o444, Some("everybody"), Some("everybody")),
        ] {
            file.as_file().set_permissions(std::fs::Permissions::from_mode(mode)).expect("ours");
            let about = file.as_file().metadata().expect("there");
            assert_eq!((readers(&about, owner), readers(&about, owner + 1)), (ours, anothers), "{mode:o}");
        }
    }
}
