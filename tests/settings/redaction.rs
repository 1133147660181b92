//! Rules by pointer, the key of hashes, and what is wrong with them.

use super::*;
use agent_events::domain::redact::Redactor;
use std::sync::Arc;

const CERTIFICATES: &str = "[watch.\"certificates.cert-manager.io\"]\npolicy = \"keys\"\n";

#[test]
fn rules_and_policies_reach_the_redactor() {
    let file = File::with(&format!(
        "{CERTIFICATES}[redaction.rules.\"certificates.cert-manager.io\"]\nredact = [\"/spec/a\"]\nkeep = [\"/spec/b\"]\n"
    ));
    let settings = loaded(&Sources { files: vec![file.path()], ..sound() }).settings;
    let policy = settings.policy().expect("no key is asked for");
    let kind = Kind::custom("cert-manager.io", "v1", "certificates", "Certificate", true);
    let raw = r#"{"metadata":{"name":"a","uid":"u","resourceVersion":"1"},"spec":{"a":"x","b":"y","c":"z"}}"#;
    let object = Redactor::new(kind, Arc::new(policy)).redact(raw).expect("fine");
    let json = String::from_utf8(object.get().json.to_vec()).expect("UTF-8");
    assert!(json.ends_with(r#""spec":{"a":"[redacted]","b":"y","c":"[redacted: 1 bytes]"}}"#), "{json}");
}

#[test]
fn a_rule_that_cannot_be_obeyed_is_refused_with_its_place() {
    for (rules, said) in [
        ("[redaction.rules.pods]\nredact = [\"spec\"]\n", "\"spec\": a JSON pointer begins with /"),
        ("[redaction.rules.pods]\nredact = [\"/metadata\"]\n", "covers metadata"),
        ("[redaction.rules.pods]\nredact = [\"/spec\"]\nkeep = [\"/spec/a\"]\n", "has no effect"),
        ("[redaction.rules.pods]\nredact = \"/spec\"\n", "expected a list of JSON pointers"),
        ("[redaction.rules.pods]\nredact = [1]\n", "expected a list of JSON pointers"),
        ("[redaction.rules.pods]\nhide = [\"/spec\"]\n", "unknown setting"),
        ("[redaction.rules.pods]\nkeep = [\"/spec/containers/*/env\"]\n", "env_allow"),
        ("[redaction.rules.secrets]\nkeep = [\"/data\"]\n", "only metadata"),
        (
            "[redaction.rules.\"certificate.cert-manager.io\"]\nredact = [\"/spec\"]\n",
            "no kind of that name is watched",
        ),
        ("[redaction.rules.Pods]\nredact = [\"/spec\"]\n", "expected a kind"),
        ("[redaction]\nhmac_key_id = \"k\"\n", "names a key that is not there"),
        ("[watch.pods]\npolicy = \"all\"\n", "`metadata`, `keys` or `full`"),
        ("[watch.secrets]\npolicy = \"full\"\n", "no value of a Secret"),
    ] {
        let told = faults_of(rules, sound());
        assert!(told.contains(said) && told.contains("x.toml:"), "{rules}{told}");
    }
}

#[test]
fn the_key_is_read_at_the_start_and_a_missing_or_weak_one_is_refused() {
    let dir = tempfile::tempdir().expect("a directory");
    let path = dir.path().join("key");
    let settings = |id: &str| {
        let set = [
            format!("redaction.hmac_key_file={:?}", path.display().to_string()),
            format!("redaction.hmac_key_id=\"{id}\""),
        ];
        loaded(&Sources { set: sound().set.into_iter().chain(set).collect(), ..Sources::default() }).settings
    };
    assert!(settings("").policy().expect_err("missing").contains("cannot read this file"));
    std::fs::write(&path, "short").expect("written");
    assert!(settings("").policy().expect_err("weak").contains("at least 32"));
    std::fs::write(&path, "ab".repeat(32)).expect("written");
    let policy = settings("k7").policy().expect("a key");
    assert_eq!(policy.key.expect("there").id(), "k7");
    assert_eq!(settings("").policy().expect("a key").key.expect("there").id().len(), 8);
    use std::os::unix::fs::PermissionsExt as _;
    for (mode, who) in [(0o600, None), (0o640, Some("its group")), (0o644, Some("everybody"))] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).expect("ours");
        let warning = settings("").key_file_warning();
        assert_eq!(warning.is_some(), who.is_some(), "{mode:o}: {warning:?}");
        assert!(warning.is_none_or(|text| who.is_some_and(|who| text.contains(who))), "{mode:o}");
    }
}
