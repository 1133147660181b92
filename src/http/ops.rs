//! Probes in Kubernetes' own form, and the metrics.
//!
//! Alive: what must move moves. Ready: the log answers and every watcher has its first list or is parked; latched, so that
//! an outage of Kafka or of the API server shows as degraded and takes no pod out of service (G8). `/startupz` is
//! `/livez`: a process that waits for a broker must not be killed for it.

use super::{Faces, params::Params, problem::Problem};
use axum::extract::State;
use axum::http::{StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use std::collections::BTreeMap;

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

struct Check {
    name: String,
    failed: Option<String>,
    /// Shown, and no reason to fail.
    degraded: Option<String>,
}

/// `GET /livez?verbose&exclude=`.
pub(super) async fn livez(State(faces): State<Faces>, uri: Uri) -> Response {
    answer("livez", alive(&faces), &uri)
}

/// `GET /startupz`.
pub(super) async fn startupz(State(faces): State<Faces>, uri: Uri) -> Response {
    answer("startupz", alive(&faces), &uri)
}

/// `GET /readyz?verbose&exclude=`.
pub(super) async fn readyz(State(faces): State<Faces>, uri: Uri) -> Response {
    answer("readyz", ready(&faces), &uri)
}

/// `GET /metrics`.
pub(super) async fn metrics(State(faces): State<Faces>) -> Response {
    for (kind, stats) in faces.board.lanes() {
        faces.metrics.lane(&kind, &stats);
    }
    ([(header::CONTENT_TYPE, OPEN_METRICS)], faces.metrics.render()).into_response()
}

fn alive(faces: &Faces) -> Vec<Check> {
    let mut checks = vec![Check { name: "ping".into(), failed: None, degraded: None }];
    checks.extend(faces.beats.silent().into_iter().map(|(name, silent)| Check {
        name,
        failed: silent.map(|s| format!("silent for {} s", s.as_secs())),
        degraded: None,
    }));
    checks
}

fn ready(faces: &Faces) -> Vec<Check> {
    let mut missing = by_name(faces.board.missing());
    let mut degraded = by_name(faces.board.degraded());
    let watchers = faces.board.watchers();
    let mut checks: Vec<Check> = ["log", "state", "watchers"]
        .map(str::to_owned)
        .into_iter()
        .map(|name| (name.clone(), name))
        .chain(watchers.iter().map(|row| row.target.id()).map(|id| (id.clone(), format!("watch-{id}"))))
        .map(|(key, name)| Check { failed: missing.remove(&key), degraded: degraded.remove(&key), name })
        .collect();
    // Whatever else the board knows to be missing or away gets a line of its own.
    checks.extend(missing.into_iter().map(|(name, why)| Check { name, failed: Some(why), degraded: None }));
    checks.extend(degraded.into_iter().map(|(name, why)| Check { name, failed: None, degraded: Some(why) }));
    checks
}

/// The board writes `what: why`.
fn by_name(lines: Vec<String>) -> BTreeMap<String, String> {
    let split = |line: String| match line.split_once(": ") {
        Some((what, why)) => (what.to_owned(), why.to_owned()),
        None => (line, "not ready".to_owned()),
    };
    lines.into_iter().map(split).collect()
}

fn answer(probe: &str, mut checks: Vec<Check>, uri: &Uri) -> Response {
    let params = match Params::read(uri, &["verbose", "exclude"], &["exclude"]) {
        Ok(params) => params,
        Err(problem) => return problem.into_response(),
    };
    let excluded: Vec<&str> = params.all("exclude").collect();
    if let Some(unknown) = excluded.iter().find(|name| !checks.iter().any(|c| c.name == **name)) {
        return Problem::bad_parameter("exclude", format!("no check is called {unknown:?}")).into_response();
    }
    checks.retain(|check| !excluded.contains(&check.name.as_str()));
    let passed = checks.iter().all(|check| check.failed.is_none());
    let mut text = String::new();
    if passed && params.get("verbose").is_none() {
        text.push_str("ok");
    } else {
        for Check { name, failed, degraded } in &checks {
            text.push_str(&match (failed, degraded) {
                (Some(why), _) => format!("[-]{name} failed: {}\n", one_line(why)),
                (None, Some(why)) => format!("[+]{name} ok (degraded: {})\n", one_line(why)),
                (None, None) => format!("[+]{name} ok\n"),
            });
        }
        text.push_str(&format!("{probe} check {}\n", if passed { "passed" } else { "failed" }));
    }
    let status = if passed { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, [(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response()
}

/// Reasons quote servers: a line stays a line.
fn one_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}
