//! `tail`: records as they stand in the log. Asks the running process; where none answers, opens the log itself with the
//! settings it was given.

use super::args::{Global, Tail, TailOutput};
use super::client::{Path, ServerError};
use super::connect;
use super::failure::Failure;
use super::output::{Out, printable};
use crate::domain::envelope::rfc3339;
use crate::http::records::{From as Start, Next, Reading, Records, write_line};
use crate::http::topics::find;
use serde_json::Value;

/// Values of foreign records are cut to this many characters in text; `-o json` has all of it.
const SHOWN: usize = 300;

/// Does it; the exit code.
pub async fn tail(global: &Global, tail: Tail, out: &mut Out) -> Result<u8, Failure> {
    let server = connect::server(global)?;
    let from = match tail.from {
        Start::Begin => "BEGIN".to_owned(),
        Start::End => "END".to_owned(),
        Start::Ago(ago) => format!("{}ms", ago.as_millis()),
        Start::Offset(offset) => offset.to_string(),
    };
    let path = Path::of(&["topics", &tail.topic, "records"])
        .with("from", from)
        .with("follow", if tail.exit { "false" } else { "true" })
        .maybe("partition", tail.partition.map(|p| p.to_string()))
        .maybe("limit", tail.max.map(|max| max.to_string()));
    let mut answer = match server.stream(path.as_str(), &[]).await {
        Ok(answer) => answer,
        Err(ServerError::Silent(nobody)) => return from_the_log(global, tail, &nobody, out).await,
        Err(error) => return Err(error.into()),
    };
    while let Some(line) = answer.line().await? {
        print(&line, tail.output, out)?;
        if !answer.has_line() {
            out.flush()?;
        }
    }
    Ok(0)
}

async fn from_the_log(global: &Global, tail: Tail, nobody: &str, out: &mut Out) -> Result<u8, Failure> {
    let loaded = connect::settings(global, Vec::new()).map_err(|failure| {
        let message =
            format!("{nobody}\nto read the log without it, the settings must name the log:\n{}", failure.message);
        Failure::with(failure.code, message)
    })?;
    let specs = connect::topic_specs(&loaded.settings);
    let reading = Reading {
        topic: find(&specs, &tail.topic).map_err(Failure::error)?,
        from: tail.from,
        partition: tail.partition,
        follow: !tail.exit,
        limit: tail.max,
    };
    let log = connect::open_log(&loaded)?;
    let mut records = Records::open(&*log, &reading).await?;
    loop {
        match records.next().await {
            Next::End => return Ok(0),
            Next::Silence => {}
            Next::Records(batch) => {
                for record in &batch {
                    let mut line = Vec::new();
                    write_line(&mut line, record);
                    print(String::from_utf8_lossy(&line).trim_end(), tail.output, out)?;
                }
                out.flush()?;
            }
        }
    }
}

fn print(line: &str, output: TailOutput, out: &mut Out) -> Result<(), Failure> {
    match output {
        TailOutput::Json => out.json_line(line)?,
        TailOutput::Text => match serde_json::from_str(line) {
            Ok(record) => out.line(&in_words(&record))?,
            Err(_) => return Err(Failure::error("the process sent a line that is no JSON")),
        },
    }
    Ok(())
}

/// `2026-01-02T03:04:05.678Z  3@42  prod/pods/shop/web  u rv=7 watch (kubelet)`.
fn in_words(record: &Value) -> String {
    let key = record["key"].as_str().or_else(|| record["keyBase64"].as_str()).unwrap_or("(no key)");
    let time = record["timestamp"].as_i64().unwrap_or(-1);
    let value = &record["value"];
    let what = match value["op"].as_str() {
        Some(op) if value["source"].is_object() => {
            let source = |name: &str| value["source"][name].as_str().unwrap_or_default();
            let manager = Some(source("manager")).filter(|m| !m.is_empty()).map(|m| format!(" ({m})"));
            format!("{op} rv={} {}{}", source("rv"), source("observed"), manager.unwrap_or_default())
        }
        _ if value.is_null() && record["valueBase64"].is_null() => {
            let headers = record["headers"].as_object().into_iter().flatten();
            let ours = headers.filter(|(name, value)| name.starts_with("ce_") && value.is_string());
            let ours: Vec<String> =
                ours.map(|(name, value)| format!("{}={}", &name[3..], value.as_str().unwrap_or(""))).collect();
            format!("(tombstone) {}", ours.join(" "))
        }
        _ => {
            let text = if value.is_null() {
                record["valueBase64"].as_str().unwrap_or_default().to_owned()
            } else {
                value.to_string()
            };
            let cut: String = text.chars().take(SHOWN).collect();
            if cut.len() < text.len() { format!("{cut}…") } else { cut }
        }
    };
    let text = format!("{}  {}@{}  {key}  {what}", rfc3339(time), record["partition"], record["offset"]);
    printable(text.trim_end()).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn a_record_is_one_printable_line_whatever_it_holds() {
        let change = json!({"partition": 3, "offset": 42, "timestamp": 0, "key": "c/pods/shop/web", "headers": {},
            "value": {"op": "u", "source": {"rv": "7", "observed": "watch", "manager": "kubelet"}}});
        assert_eq!(in_words(&change), "1970-01-01T00:00:00.000Z  3@42  c/pods/shop/web  u rv=7 watch (kubelet)");
        let marker = json!({"partition": 0, "offset": 1, "timestamp": 0, "key": "~writer/0", "value": null,
            "headers": {"ce_writerepoch": "2", "content-type": null}});
        assert!(in_words(&marker).ends_with("~writer/0  (tombstone) writerepoch=2"), "{}", in_words(&marker));
        let hostile = json!({"key": "a\u{1b}[2J\nb", "value": "x".repeat(1000)});
        let line = in_words(&hostile);
        assert!(!line.contains(['\u{1b}', '\n']) && line.chars().count() < 400, "{line}");
    }
}
