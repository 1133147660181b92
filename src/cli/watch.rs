//! `watch`: live changes from the running process; after an interruption it goes on behind the last change it printed.

use super::args::{Output, Watch};
use super::client::{Path, Server, ServerError};
use super::columns::cells;
use super::failure::Failure;
use super::kinds;
use super::output::{Out, printable};
use crate::domain::envelope::rfc3339;
use serde_json::Value;
use std::time::Duration;

/// Between two tries to come back: first, longest.
const RETRY: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(10));

/// Follows until it is interrupted. Only the first connection may fail; later ones are tried again.
pub async fn watch(server: &Server, watch: Watch, out: &mut Out) -> Result<u8, Failure> {
    let kinds = watch.kinds.iter().flat_map(|kinds| kinds.split(',')).filter(|kind| !kind.is_empty());
    let kinds: Vec<String> = kinds::all_meant(server, kinds).await?.into_iter().map(|kind| kind.id).collect();
    let mut path = Path::of(&["watch"]);
    if !kinds.is_empty() {
        path = path.with("kind", kinds.join(","));
    }
    path = path.maybe("namespace", watch.namespace.as_ref()).maybe("labelSelector", watch.selector.as_ref());
    let mut cursor = watch.since.clone();
    let mut pause = RETRY.0;
    let mut connected_once = false;
    loop {
        match follow(server, &path, &mut cursor, watch.output, out, &mut connected_once, &mut pause).await? {
            // Our own mistake, or the process' refusal of it: trying again changes nothing.
            Some(ServerError::Problem(problem)) if problem.status < 500 => {
                return Err(ServerError::Problem(problem).into());
            }
            Some(error) if !connected_once => return Err(error.into()),
            Some(error) => super::tell(&format!("{}; trying again", Failure::from(error).message)),
            None => super::tell("the process ended the stream; trying again"),
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(RETRY.1);
    }
}

/// One connection; why it ended, `None` for an orderly end.
async fn follow(
    server: &Server,
    path: &Path,
    cursor: &mut Option<String>,
    output: Output,
    out: &mut Out,
    connected_once: &mut bool,
    pause: &mut Duration,
) -> Result<Option<ServerError>, Failure> {
    let path = path.clone().maybe("since", cursor.as_ref());
    let mut answer = match server.stream(path.as_str(), &[("accept", "application/x-ndjson")]).await {
        Ok(answer) => answer,
        Err(error) => return Ok(Some(error)),
    };
    *connected_once = true;
    loop {
        let line = match answer.line().await {
            Ok(Some(line)) => line,
            Ok(None) => return Ok(None),
            Err(error) => return Ok(Some(error)),
        };
        *pause = RETRY.0;
        let Ok(event) = serde_json::from_str::<Value>(&line) else {
            return Ok(Some(ServerError::Broken("the process sent a line that is no JSON".into())));
        };
        match output {
            Output::Json => out.json_line(&line)?,
            Output::Table => print(&event, out)?,
        }
        // After the print: what was not printed is asked for again.
        if let Some(text) = event["cursor"].as_str() {
            *cursor = Some(text.to_owned());
        }
        if event["event"] == "reset" {
            *cursor = None;
        }
        if !answer.has_line() {
            out.flush()?;
        }
    }
}

fn print(event: &Value, out: &mut Out) -> Result<(), Failure> {
    let text = |name: &str| printable(event[name].as_str().unwrap_or_default()).into_owned();
    match event["event"].as_str() {
        Some("change") => {
            let word = if event["snapshot"] == true { "EXISTS".to_owned() } else { text("operation") };
            let time = event["timestamp"].as_i64().unwrap_or(0);
            let at = match text("namespace") {
                namespace if namespace.is_empty() => text("name"),
                namespace => format!("{namespace}/{}", text("name")),
            };
            let kind = text("kind");
            out.line(&format!("{}  {word:<8}  {kind:<12}  {at}  {}", rfc3339(time), summary(&kind, event, time)))?;
        }
        Some("reset") => super::tell("changes were missed that are no longer kept; here is what there is now"),
        Some("lagged") => super::tell(&format!("too slow: {} changes were missed", event["missed"])),
        _ => {}
    }
    Ok(())
}

/// What the kind's table says, without name and ages.
fn summary(kind: &str, event: &Value, time_ms: i64) -> String {
    let object = &event["object"];
    let cells = cells(kind, false, object, time_ms);
    let wanted: &[usize] = match kind {
        "pods" => &[1, 2, 3],
        "services" => &[1, 2, 4],
        "deployments" => &[1, 2, 3],
        "statefulsets" => &[1],
        "events" => &[1, 2, 3, 4],
        _ => &[],
    };
    let cells = wanted.iter().filter_map(|i| cells.get(*i));
    printable(&cells.map(String::as_str).collect::<Vec<_>>().join("  ")).into_owned()
}
