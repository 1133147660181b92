//! Which layer may know which, as a table. A new arrow is a new line here, seen in review (ARCHITECTURE.md draws it).

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const MAY_USE: &[(&str, &[&str])] = &[
    ("domain", &[]),
    ("settings", &["domain"]),
    // Answers are handles to the store's own rows, which are shared and never copied.
    ("messages", &["domain", "store"]),
    ("observe", &["domain", "testing"]),
    ("store", &["domain"]),
    // The two adapters never know each other.
    ("kubernetes", &["domain"]),
    ("log", &["domain", "testing"]),
    // An API server of its own: nothing of the product knows that it is there, but for the wiring.
    ("sandbox", &["domain"]),
    ("testing", &["domain"]),
    ("actors", &["domain", "messages", "observe", "store", "kubernetes", "log", "testing"]),
    // HTTP asks mailboxes and reads boards; it never sees an actor.
    ("http", &["domain", "messages", "observe", "log"]),
    ("app", &["domain", "settings", "messages", "observe", "store", "kubernetes", "log", "actors", "http", "sandbox"]),
    ("cli", &["domain", "settings", "messages", "observe", "kubernetes", "log", "app", "http"]),
];

/// Crates that only one layer may touch.
const ONLY_IN: &[(&str, &[&str])] = &[
    ("kube", &["kubernetes"]),
    ("k8s_openapi", &["kubernetes"]),
    ("rdkafka", &["log"]),
    ("dashmap", &["store"]),
    ("axum", &["http", "sandbox"]),
];

/// Crates that a layer must not touch: rules know no runtime.
const NOT_IN: &[(&str, &[&str])] = &[
    ("domain", &["actix", "tokio", "tracing"]),
    ("store", &["actix"]),
    ("kubernetes", &["actix"]),
    ("log", &["actix"]),
];

fn sources(dir: &Path, into: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|e| e == "rs") {
            into.push(path);
        }
    }
}

/// The code without comments and without its own tests.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]\nmod tests {").next().unwrap_or_default();
    text.lines().filter(|line| !line.trim_start().starts_with("//")).collect::<Vec<_>>().join("\n")
}

/// Every layer named behind `crate::`, also inside `crate::{a::.., b::..}`.
fn layers_used(code: &str) -> BTreeSet<String> {
    let word = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = BTreeSet::new();
    for (at, matched) in code.match_indices("crate::") {
        // `$crate::` in a macro counts like `crate::`; `agent_events_crate::` would not.
        let before = code[..at].chars().next_back();
        if before.is_some_and(|c| c.is_alphanumeric() || c == '_') {
            continue;
        }
        let rest = &code[at + matched.len()..];
        let Some(group) = rest.strip_prefix('{') else {
            used.insert(word(rest));
            continue;
        };
        let mut depth = 0;
        let mut at_start = true;
        for (i, c) in group.char_indices() {
            match c {
                '{' => depth += 1,
                '}' if depth == 0 => break,
                '}' => depth -= 1,
                ',' if depth == 0 => at_start = true,
                c if depth == 0 && at_start && !c.is_whitespace() => {
                    used.insert(word(&group[i..]));
                    at_start = false;
                }
                _ => {}
            }
        }
    }
    used
}

fn names_crate(code: &str, krate: &str) -> bool {
    code.match_indices(&format!("{krate}::"))
        .any(|(at, _)| !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':'))
}

#[test]
fn dependencies_point_one_way() {
    let may: BTreeMap<_, _> = MAY_USE.iter().copied().collect();
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let (mut files, mut wrong, mut arrows) = (Vec::new(), Vec::new(), 0);
    sources(&root, &mut files);
    for file in files {
        let relative = file.strip_prefix(&root).expect("below src");
        let layer = relative.components().next().expect("a name").as_os_str().to_string_lossy();
        let layer = layer.trim_end_matches(".rs").to_owned();
        if layer == "lib" || layer == "bin" || relative.file_name().is_some_and(|n| n == "tests.rs") {
            continue;
        }
        let allowed = may.get(layer.as_str()).unwrap_or_else(|| panic!("layer {layer} is not in the table"));
        let code = code(&fs::read_to_string(&file).expect("readable"));
        for used in layers_used(&code) {
            arrows += 1;
            let is_layer = may.contains_key(used.as_str());
            if is_layer && used != layer && !allowed.contains(&used.as_str()) {
                wrong.push(format!("{} knows {used}", relative.display()));
            }
        }
        for (krate, only) in ONLY_IN {
            if !only.contains(&layer.as_str()) && names_crate(&code, krate) {
                wrong.push(format!("{} uses {krate}, which belongs to {only:?}", relative.display()));
            }
        }
        for (_, never) in NOT_IN.iter().filter(|(l, _)| *l == layer) {
            wrong.extend(
                never.iter().filter(|k| names_crate(&code, k)).map(|k| format!("{} uses {k}", relative.display())),
            );
        }
    }
    assert!(arrows > 100, "the search finds arrows: {arrows}");
    assert!(wrong.is_empty(), "against the table:\n{}", wrong.join("\n"));
}

#[test]
fn the_binary_only_calls_the_library() {
    let main =
        fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/bin/agent-events.rs")).expect("there");
    assert!(main.lines().count() < 40);
}

/// A promise that names a trial which was renamed proves nothing.
#[test]
fn every_trial_that_the_guarantees_name_exists() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let page = fs::read_to_string(root.join("docs/GUARANTEES.md")).expect("the page is there");
    let mut files = Vec::new();
    sources(&root.join("tests"), &mut files);
    let code: String = files.iter().map(|file| fs::read_to_string(file).expect("readable")).collect();
    let named: Vec<&str> = page.split('`').skip(1).step_by(2).filter(|name| is_trial(name)).collect();
    assert!(named.len() > 20, "{named:?}");
    for trial in named {
        let name = trial.rsplit("::").next().unwrap_or(trial);
        assert!(code.contains(&format!("fn {name}(")) || code.contains(&format!("\"{name}\"")), "{trial} is no trial");
    }
    let guarantees = page.lines().filter(|line| line.starts_with("| G")).count();
    assert_eq!(guarantees, 12);
}

fn is_trial(name: &str) -> bool {
    name.rsplit_once("::").is_some_and(|(_, name)| name.matches('_').count() > 3)
}
