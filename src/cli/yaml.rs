//! JSON as YAML, for reading: block style, strings quoted unless they are plainly words.

use super::output::{json_printable, printable};
use serde_json::Value;

/// The document, with a line break at its end. Any JSON is valid YAML, so whatever is not plain is written as JSON.
pub fn to_yaml(value: &Value) -> String {
    let mut out = String::new();
    block(&mut out, value, 0);
    out
}

fn block(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, value) in map {
                indent(out, depth);
                entry(out, &scalar_text(key), value, depth);
            }
        }
        Value::Array(list) if !list.is_empty() => {
            for value in list {
                indent(out, depth);
                out.push_str("- ");
                match value {
                    Value::Object(map) if !map.is_empty() => {
                        for (i, (key, value)) in map.iter().enumerate() {
                            if i > 0 {
                                indent(out, depth + 1);
                            }
                            entry(out, &scalar_text(key), value, depth + 1);
                        }
                    }
                    Value::Array(inner) if !inner.is_empty() => {
                        out.push('\n');
                        block(out, value, depth + 1);
                    }
                    _ => line(out, value, depth + 1),
                }
            }
        }
        _ => {
            indent(out, depth);
            line(out, value, depth + 1);
        }
    }
}

fn entry(out: &mut String, key: &str, value: &Value, depth: usize) {
    out.push_str(key);
    out.push(':');
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            block(out, value, depth + 1);
        }
        // kubectl's style: the dashes stand under the key.
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            block(out, value, depth);
        }
        _ => {
            out.push(' ');
            line(out, value, depth + 1);
        }
    }
}

/// What stands behind a key or a dash; text over several lines goes on below it, `depth` deep.
fn line(out: &mut String, value: &Value, depth: usize) {
    match value {
        Value::String(text) if is_lines(text) => {
            out.push('|');
            for line in text.lines() {
                out.push('\n');
                if !line.is_empty() {
                    indent(out, depth);
                    out.push_str(line);
                }
            }
        }
        Value::String(text) => out.push_str(&scalar_text(text)),
        other => out.push_str(&other.to_string()),
    }
    out.push('\n');
}

fn indent(out: &mut String, depth: usize) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Whether a text can stand as it is, line by line: whole lines of which the first is not indented, and nothing that acts
/// on a terminal.
fn is_lines(text: &str) -> bool {
    let first = text.chars().next();
    let whole = text.ends_with('\n') && !text.ends_with("\n\n") && first.is_some_and(|c| !c.is_whitespace());
    whole && text.lines().all(|line| printable(line) == line && !line.contains('\r'))
}

/// A word stays a word; what a reader could take for a number, a truth value, a date or structure is quoted.
fn scalar_text(text: &str) -> String {
    let plain = text.starts_with(|c: char| c.is_ascii_alphabetic())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || "-_./".contains(c))
        && !matches!(
            text.to_ascii_lowercase().as_str(),
            "true" | "false" | "yes" | "no" | "on" | "off" | "y" | "n" | "null"
        );
    if plain { text.to_owned() } else { json_printable(&Value::from(text).to_string()).into_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_manifest_reads_as_kubectl_prints_it_and_nothing_turns_into_another_type() {
        let value = json!({"kind": "Pod", "metadata": {"labels": {"on": "yes", "v": "1.0", "empty": ""}, "name": "web"},
            "spec": {"containers": [{"args": ["-c", "a: b"], "name": "app"}], "none": [], "o": {}, "deep": [[1, "x"]]},
            "n": null, "t": "12:30:00", "e": "\u{1b}[31m", "file": "a = 1\n\n  # b\n", "lines": ["x\n", "x\n\n", " x\n"]});
        let want = "\
e: \"\\u001b[31m\"
file: |
  a = 1

    # b
kind: Pod
lines:
- |
  x
- \"x\\n\\n\"
- \" x\\n\"
metadata:
  labels:
    empty: \"\"
    \"on\": \"yes\"
    v: \"1.0\"
  name: web
\"n\": null
spec:
  containers:
  - args:
    - \"-c\"
    - \"a: b\"
    name: app
  deep:
  - 
    - 1
    - x
  none: []
  o: {}
t: \"12:30:00\"
";
        assert_eq!(to_yaml(&value), want);
    }
}
