//! What the fuzz targets call (`fuzz/`), and an ordinary test over their corpus (`tests/redaction`). Each takes any bytes,
//! and panics only where a promise is broken.

use crate::domain::checkpoint::Memory;
use crate::domain::envelope::{Table, Writer, read_table};
use crate::domain::index::{Before, Name};
use crate::domain::kind::Kind;
use crate::domain::pattern::Pattern;
use crate::domain::record::InRecord;
use crate::domain::redact::{DecodeError, Level, MacKey, PointerRules, Policy, Redactor};
use crate::domain::rv::Rv;
use crate::domain::selector::{FieldSelector, LabelSelector};
use crate::domain::watch::line::{read_line, read_page};
use crate::domain::watch::{Action, Capture, Config, Env, Input, Verb, WatchCore};
use bytes::Bytes;
use serde::de::IgnoredAny;
use std::sync::Arc;
use std::time::Duration;

/// A target.
pub type Target = fn(&[u8]);

/// Every target by the name of its file in `fuzz/fuzz_targets` and of its corpus.
pub const TARGETS: &[(&str, Target)] = &[
    ("line_framer", line_framer),
    ("list_decoder", list_decoder),
    ("record_decoder", record_decoder),
    ("redactor", redactor),
    ("selector_parser", selector_parser),
];

fn configmaps() -> Kind {
    Kind::custom("", "v1", "configmaps", "ConfigMap", true)
}

struct Nothing;

impl Before for Nothing {
    fn before(&self, _: &Name, _: &str, _: &Rv) -> Option<Bytes> {
        None
    }
}

/// A watch's body gives the same records however it is cut into chunks; the first byte says into which.
pub fn line_framer(data: &[u8]) {
    let Some((portion, body)) = data.split_first() else { return };
    assert_eq!(
        records(body, body.len()),
        records(body, usize::from(*portion)),
        "where a chunk ends changes what is read"
    );
}

/// How many records [`line_framer`] reads out of its input: a target that reads nothing finds nothing.
pub fn records_of(data: &[u8]) -> usize {
    data.split_first().map_or(0, |(_, body)| records(body, body.len()).len())
}

fn records(body: &[u8], portion: usize) -> Vec<(Bytes, Option<Bytes>)> {
    let env = Env { now: Duration::from_secs(1), wall_ms: 0, chance: 0.5 };
    let writer = Writer::new(configmaps(), "t".into(), 3, "c", 1);
    let mut core = WatchCore::new(Config::default(), Redactor::new(configmaps(), Arc::default()), None);
    let mut capture = Capture { position: Rv::new("1"), synced: true, ..Capture::default() };
    core.tick(&capture, env);
    let request = core.actions().into_iter().find_map(|action| match action {
        Action::Send(request) if matches!(request.verb, Verb::Watch { .. }) => Some(request.id),
        _ => None,
    });
    let request = request.expect("a core that knows a position opens a watch");
    core.input(request, Input::Head { status: 200, retry_after: None }, env);
    let mut records = Vec::new();
    for chunk in body.chunks(portion.max(1)) {
        core.input(request, Input::Body(Bytes::copy_from_slice(chunk)), env);
        while let Some(mut commit) = core.next(&capture, &writer, &Nothing, env) {
            records.extend(std::mem::take(&mut commit.records).into_iter().map(|r| (r.key, r.value)));
            capture.apply(commit);
        }
    }
    records
}

/// A list's body: every item stands in it, and is JSON.
pub fn list_decoder(data: &[u8]) {
    let Ok(body) = std::str::from_utf8(data) else { return };
    let Ok(page) = read_page(body) else { return };
    let redactor = Redactor::new(configmaps(), Arc::default());
    for place in page.items {
        let item = body.get(place).expect("an item stands in the body");
        assert!(serde_json::from_str::<IgnoredAny>(item).is_ok());
        drop(redactor.redact(item));
    }
}

/// A record of a topic: the key to the first line break, headers to the second, then the value.
pub fn record_decoder(data: &[u8]) {
    let mut parts = data.splitn(3, |b| *b == b'\n').map(Bytes::copy_from_slice);
    let (key, headers, value) = (parts.next(), parts.next().unwrap_or_default(), parts.next());
    let headers = headers.split(|b| *b == b';').filter_map(|header| {
        let (name, value) = std::str::from_utf8(header).ok()?.split_once('=')?;
        Some((name.into(), Some(Bytes::copy_from_slice(value.as_bytes()))))
    });
    let record = InRecord {
        topic: "t".into(),
        partition: 0,
        offset: 0,
        timestamp_ms: 0,
        key,
        value,
        headers: headers.collect(),
    };
    if let Ok(Table::Change(change)) = read_table(&record) {
        for object in [change.before, change.after].into_iter().flatten() {
            assert!(serde_json::from_str::<IgnoredAny>(object.get()).is_ok());
        }
    }
    Memory::read(&[record]);
}

/// The policies that the redactor is tried under; each with a kind.
fn redactors() -> Vec<Redactor> {
    let certificates = || Kind::custom("cert-manager.io", "v1", "certificates", "Certificate", true);
    let pattern = || Pattern::parse("certificates.cert-manager.io").expect("a kind");
    let level = |level| Policy { levels: [(pattern(), level)].into(), ..Policy::default() };
    let texts = |texts: &[&str]| texts.iter().map(|t| (*t).to_owned()).collect();
    let rules = PointerRules { redact: texts(&["/spec/*/password", "/status"]), keep: texts(&["/spec", "/data"]) };
    let ruled = Policy { rules: [(pattern(), rules)].into(), ..Policy::default() };
    let keyed = Policy { key: MacKey::new(&[7; 32], None).ok(), ..Policy::default() };
    let builtin =
        |plural: &str, policy: Policy| Redactor::new(Kind::builtin(plural).expect("built in"), Arc::new(policy));
    let custom = |policy: Policy| Redactor::new(certificates(), Arc::new(policy));
    vec![
        builtin("pods", Policy::default()),
        builtin("secrets", Policy::default()),
        builtin("configmaps", Policy::default()),
        builtin("configmaps", keyed.clone()),
        builtin("deployments", keyed),
        builtin("events", Policy::default()),
        custom(Policy::default()),
        custom(level(Level::Keys)),
        custom(level(Level::Full)),
        custom(level(Level::Metadata)),
        custom(ruled),
    ]
}

/// Any text under any policy: JSON comes out, a second pass changes nothing, and nothing is quoted by a refusal. The first
/// byte chooses the policy.
pub fn redactor(data: &[u8]) {
    thread_local! {
        static REDACTORS: Vec<Redactor> = redactors();
    }
    let Some((which, text)) = data.split_first() else { return };
    let Ok(text) = std::str::from_utf8(text) else { return };
    REDACTORS.with(|all| {
        let redactor = &all[usize::from(*which) % all.len()];
        let redacted = redactor.redact(text);
        drop(read_line(redactor, text));
        let object = match &redacted {
            Ok(object) => object.get(),
            Err(DecodeError::WrongKind { .. } | DecodeError::Json(_) | DecodeError::Missing(_) | DecodeError::Rule) => {
                return;
            }
        };
        assert!(serde_json::from_slice::<IgnoredAny>(&object.json).is_ok(), "what comes out is JSON");
        let once = std::str::from_utf8(&object.json).expect("UTF-8");
        if redactor.metadata_only() {
            let value: serde_json::Value = serde_json::from_str(once).expect("JSON");
            let members = value.as_object().expect("an object");
            assert!(members.keys().all(|key| matches!(key.as_str(), "kind" | "apiVersion" | "metadata")));
        } else {
            let twice = redactor.redact(once).expect("its own output");
            assert_eq!(std::str::from_utf8(&twice.get().json).expect("UTF-8"), once, "a second pass changes nothing");
        }
    });
}

/// Selectors as people type them.
pub fn selector_parser(data: &[u8]) {
    let Ok(text) = std::str::from_utf8(data) else { return };
    match LabelSelector::parse(text) {
        Ok(selector) => drop(selector.matches(|_| Some("x"))),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
    match FieldSelector::parse(text) {
        Ok(selector) => drop(selector.matches(|_| Some("x"))),
        Err(error) => assert!(!error.to_string().is_empty()),
    }
}
