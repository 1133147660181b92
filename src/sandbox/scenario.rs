//! Scenario files: steps with times, played once. `config/scenarios/README.md` is their reference.
//!
//! Reading is strict: an unknown key, a key that the step has no use for, a value of the wrong kind are faults, and all
//! faults of a file are told at once, each with its line and the remedy.

use super::controllers::Death;
use super::workload::acts::{Act, Target};
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::time::Duration;
use toml::{Spanned, Value};

/// Steps in the order of their times.
#[derive(Debug, Clone, PartialEq)]
pub struct Scenario {
    steps: Vec<Step>,
}

/// One step.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Step {
    /// Since the start.
    pub at: Duration,
    /// What is done.
    pub act: Act,
    /// Where it stands in the file.
    pub line: usize,
}

/// What is wrong with a file: `file:line: key: what, and the remedy`, a line each.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ScenarioError(Vec<String>);

/// Longest wait in a scenario: what is to happen later than a day is a slip.
const LONGEST: Duration = Duration::from_secs(86_400);

/// Keys that a kind of step must have, and those that it may have, besides `at` and `do`.
const KINDS: &[(&str, &[&str], &[&str])] = &[
    ("rollout", &["target"], &["value", "behaviour", "manager"]),
    ("rollback", &["target"], &[]),
    ("scale", &["target", "value"], &["manager"]),
    ("crash", &["target"], &[]),
    ("oom", &["target"], &[]),
    ("evict", &["target"], &[]),
    ("node_down", &["target"], &[]),
    ("node_up", &["target"], &[]),
    ("edit_configmap", &["target", "key", "value"], &["manager"]),
    ("rotate_secret", &["target"], &[]),
    ("event", &["target", "reason", "message"], &["type"]),
    ("job", &["target"], &[]),
    ("create", &["manifest"], &[]),
    ("delete", &["target", "value"], &[]),
];
const BEHAVIOURS: &[&str] = &["crash", "oom", "unready"];

#[derive(Deserialize)]
struct File {
    #[serde(default)]
    step: Vec<Spanned<BTreeMap<Spanned<String>, Spanned<Value>>>>,
    #[serde(flatten)]
    others: BTreeMap<String, Value>,
}

impl Scenario {
    /// The steps, in the order of their times.
    pub(super) fn steps(&self) -> &[Step] {
        &self.steps
    }

    /// Reads a file.
    pub fn read(path: &Path) -> Result<Self, ScenarioError> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|e| {
            let remedy = "name a readable file in sandbox.scenario, or leave it empty for none";
            ScenarioError(vec![format!("{name}: the scenario cannot be read: {e}; {remedy}")])
        })?;
        Self::parse(&name, &text)
    }

    /// Reads a text; `name` is what faults call it.
    pub fn parse(name: &str, text: &str) -> Result<Self, ScenarioError> {
        let line_of = |at: usize| 1 + text.as_bytes().iter().take(at).filter(|b| **b == b'\n').count();
        let file: File = toml::from_str(text).map_err(|e| {
            let line = e.span().map_or(1, |span| line_of(span.start));
            let message = e.message().replace('\n', "; ");
            ScenarioError(vec![format!("{name}:{line}: this is not TOML with steps `[[step]]`: {message}")])
        })?;
        let mut faults = Vec::new();
        for key in file.others.keys() {
            faults.push(format!("{name}: {key}: unknown; a scenario has only steps, each headed [[step]]"));
        }
        let mut steps = Vec::new();
        for step in &file.step {
            let mut reader = Reader { keys: step.get_ref(), faults: Vec::new(), at: step.span().start };
            let read = reader.step();
            faults.extend(reader.faults.iter().map(|(at, fault)| format!("{name}:{}: {fault}", line_of(*at))));
            if let Some((at, act)) = read {
                steps.push(Step { at, act, line: line_of(step.span().start) });
            }
        }
        if file.step.is_empty() && faults.is_empty() {
            faults.push(format!("{name}: there is no step; write at least one, headed [[step]]"));
        }
        if !faults.is_empty() {
            return Err(ScenarioError(faults));
        }
        // Stable: steps of one time keep the order of the file.
        steps.sort_by_key(|s| s.at);
        Ok(Self { steps })
    }
}

struct Reader<'a> {
    keys: &'a BTreeMap<Spanned<String>, Spanned<Value>>,
    faults: Vec<(usize, String)>,
    at: usize,
}

impl Reader<'_> {
    fn step(&mut self) -> Option<(Duration, Act)> {
        let at = self.time();
        let words: Vec<&str> = KINDS.iter().map(|k| k.0).collect();
        let word = self.text("do").or_else(|| {
            self.missing("do", &format!("say what is done: {}", words.join(", ")));
            None
        })?;
        let Some((_, must, may)) = KINDS.iter().find(|k| k.0 == word) else {
            self.fault("do", format!("{word:?} is nothing that can be done; the words are {}", words.join(", ")));
            return None;
        };
        for key in *must {
            if self.get(key).is_none() {
                self.missing(key, &format!("`do = \"{word}\"` needs it"));
            }
        }
        let all: Vec<&str> = ["at", "do"].iter().chain(*must).chain(*may).copied().collect();
        for (key, _) in self.keys.iter().filter(|(k, _)| !all.contains(&k.get_ref().as_str())) {
            let fault = format!("{}: `do = \"{word}\"` has no such key; it has {}", key.get_ref(), all.join(", "));
            self.faults.push((key.span().start, fault));
        }
        let act = self.act(&word);
        if self.faults.is_empty() { Some((at?, act?)) } else { None }
    }

    fn act(&mut self, word: &str) -> Option<Act> {
        let manager = |reader: &mut Self, usual: &str| reader.text("manager").unwrap_or_else(|| usual.to_owned());
        Some(match word {
            "rollout" => {
                let behaviour = self.text("behaviour");
                if let Some(other) = behaviour.as_deref().filter(|b| !BEHAVIOURS.contains(b)) {
                    self.fault("behaviour", format!("{other:?} is unknown; there are {}", BEHAVIOURS.join(", ")));
                }
                let manager = manager(self, "kubectl-set");
                Act::Rollout { target: self.target()?, image: self.text("value"), behaviour, manager }
            }
            "rollback" => Act::Rollback { target: self.target()? },
            "scale" => {
                let manager = manager(self, "kubectl");
                Act::Scale { target: self.target()?, replicas: self.replicas()?, manager }
            }
            "crash" => Act::Kill { target: self.target()?, death: Death::Crash },
            "oom" => Act::Kill { target: self.target()?, death: Death::OutOfMemory },
            "evict" => Act::Evict { target: self.target()? },
            "node_down" => Act::NodeDown { name: self.name()? },
            "node_up" => Act::NodeUp { name: self.name()? },
            "edit_configmap" => {
                let manager = manager(self, "kubectl-edit");
                Act::EditConfigmap {
                    target: self.target()?,
                    key: self.text("key")?,
                    value: self.text("value")?,
                    manager,
                }
            }
            "rotate_secret" => Act::RotateSecret { target: self.target()? },
            "event" => {
                let kind = self.text("type").unwrap_or_else(|| "Warning".to_owned());
                if !matches!(kind.as_str(), "Warning" | "Normal") {
                    self.fault("type", format!("{kind:?} is unknown; there are Warning, Normal"));
                }
                let (reason, message) = (self.text("reason")?, self.text("message")?);
                Act::Event { target: self.target()?, warning: kind == "Warning", reason, message }
            }
            "job" => Act::Job { target: self.target()? },
            "create" => Act::Create { manifest: self.manifest()? },
            "delete" => {
                let resource = self.text("value")?;
                let sound =
                    resource.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'.' | b'-'));
                if !sound || resource.is_empty() {
                    let remedy = "name a resource as kubectl does: pods, deployments.apps";
                    self.fault("value", format!("{resource:?} is no resource; {remedy}"));
                }
                let text = self.text("target")?;
                let target = match text.split_once('/') {
                    Some((namespace, name)) => Target::new(namespace, name),
                    None => Target::new("", &text),
                };
                Act::Delete { resource, target }
            }
            _ => return None,
        })
    }

    fn get(&self, key: &str) -> Option<&Spanned<Value>> {
        self.keys.iter().find(|(k, _)| k.get_ref() == key).map(|(_, v)| v)
    }

    fn fault(&mut self, key: &str, fault: String) {
        let at = self.get(key).map_or(self.at, |v| v.span().start);
        self.faults.push((at, format!("{key}: {fault}")));
    }

    fn missing(&mut self, key: &str, remedy: &str) {
        self.faults.push((self.at, format!("{key}: missing; {remedy}")));
    }

    /// A text; one that is of another type is a fault.
    fn text(&mut self, key: &str) -> Option<String> {
        match self.get(key)?.get_ref() {
            Value::String(text) => Some(text.clone()),
            other => {
                let fault = format!("expected a text, found {}; write it in quotes", other.type_str());
                self.fault(key, fault);
                None
            }
        }
    }

    fn time(&mut self) -> Option<Duration> {
        if self.get("at").is_none() {
            self.missing("at", "say when: at = \"2s\", counted from the start");
            return None;
        }
        let text = self.text("at")?;
        match humantime::parse_duration(&text) {
            Ok(at) if at <= LONGEST => Some(at),
            Ok(_) => {
                self.fault("at", format!("{text:?} is more than a day; use 24h at most"));
                None
            }
            Err(error) => {
                self.fault(
                    "at",
                    format!("{text:?} is no time ({error}); write it like \"500ms\", \"2s\" or \"1m 30s\""),
                );
                None
            }
        }
    }

    fn target(&mut self) -> Option<Target> {
        let text = self.text("target")?;
        match text.split_once('/') {
            Some((namespace, name)) if is_name(namespace) && is_name(name) => Some(Target::new(namespace, name)),
            _ => {
                self.fault("target", format!("{text:?} is no namespace/name; write it like \"shop/checkout\""));
                None
            }
        }
    }

    fn name(&mut self) -> Option<String> {
        let name = self.text("target")?;
        if is_name(&name) {
            return Some(name);
        }
        self.fault("target", format!("{name:?} is no name of a node; write it like \"spot-1\""));
        None
    }

    fn replicas(&mut self) -> Option<i64> {
        match self.get("value")?.get_ref() {
            Value::Integer(n) if (0..=1000).contains(n) => Some(*n),
            other => {
                let fault = format!("{other} is no number of replicas; expected 0 to 1000, without quotes");
                self.fault("value", fault);
                None
            }
        }
    }

    fn manifest(&mut self) -> Option<serde_json::Value> {
        let manifest = serde_json::to_value(self.get("manifest")?.get_ref()).ok()?;
        for (pointer, key) in [("/apiVersion", "apiVersion"), ("/kind", "kind"), ("/metadata/name", "metadata.name")] {
            if manifest.pointer(pointer).and_then(serde_json::Value::as_str).is_none_or(str::is_empty) {
                self.fault(
                    "manifest",
                    format!("{key} is missing; write a whole object: [step.manifest] with {key} = \"...\""),
                );
            }
        }
        Some(manifest)
    }
}

/// A name as Kubernetes takes it.
fn is_name(text: &str) -> bool {
    let fits = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    !text.is_empty() && text.len() <= 253 && text.bytes().all(fits)
}

#[cfg(test)]
mod tests;
