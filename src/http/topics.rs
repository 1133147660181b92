//! `GET /api/v1/topics`: our topics as they should be and as they stand.

use super::{Faces, params::Params, problem::Problem};
use crate::domain::topic::TopicSpec;
use crate::log::topics::{Drift, plan};
use crate::log::{Log, LogError};
use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use std::sync::{Arc, PoisonError, RwLock};

/// A topic of ours, as it stands in the log.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicView {
    /// Name with prefix.
    pub name: String,
    /// Whether it exists.
    pub exists: bool,
    /// Partitions it has; what it should have where it does not exist.
    pub partitions: i32,
    /// Replicas.
    pub replication: i32,
    /// First and next offset of each partition; empty where it does not exist.
    pub offsets: Vec<(i64, i64)>,
    /// What is not as it should be, in words.
    pub drift: Vec<String>,
}

/// Our topics as they should be, once they are known. More join when a kind appears at run time.
#[derive(Debug, Default)]
pub struct TopicTable(RwLock<Option<Arc<Vec<TopicSpec>>>>);

impl TopicTable {
    /// The topics, if they are known.
    pub fn get(&self) -> Option<Arc<Vec<TopicSpec>>> {
        self.0.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Says which there are.
    pub fn set(&self, specs: Vec<TopicSpec>) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Arc::new(specs));
    }

    /// Adds those that are not there yet.
    pub fn add(&self, more: &[TopicSpec]) {
        let mut table = self.0.write().unwrap_or_else(PoisonError::into_inner);
        let mut specs = table.as_deref().cloned().unwrap_or_default();
        specs.extend(
            more.iter().filter(|new| !table.iter().flat_map(|t| t.iter()).any(|old| old.name == new.name)).cloned(),
        );
        *table = Some(Arc::new(specs));
    }
}

/// All topics of one log.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TopicsView {
    /// `kafka`, `embedded`, `memory`.
    pub engine: String,
    /// Where the log is.
    pub location: String,
    /// In the order in which they are shown.
    pub items: Vec<TopicView>,
}

pub(super) async fn list(State(faces): State<Faces>, uri: Uri) -> Result<Json<TopicsView>, Problem> {
    Params::read(&uri, &[], &[])?;
    let log = log(&faces)?;
    let specs = faces.topics.get().ok_or_else(|| Problem::starting(faces.board.missing()))?;
    view(&*log, &specs).await.map(Json).map_err(problem_of)
}

/// Asks the log for the state of these topics.
///
/// # Errors
/// Whatever the log says.
pub async fn view(log: &dyn Log, specs: &[TopicSpec]) -> Result<TopicsView, LogError> {
    let names: Vec<String> = specs.iter().map(|spec| spec.name.clone()).collect();
    let states = log.describe(&names).await?;
    let plan = plan(log, specs).await?;
    let mut items = Vec::with_capacity(specs.len());
    for spec in specs {
        let state = states.iter().find(|state| state.name == spec.name);
        let offsets = if state.is_some() { log.offsets(&spec.name).await? } else { Vec::new() };
        items.push(TopicView {
            name: spec.name.clone(),
            exists: state.is_some(),
            partitions: state.map_or(spec.partitions, |s| s.partitions),
            replication: state.map_or(spec.replication, |s| s.replication),
            offsets,
            drift: plan.drift.iter().filter(|d| d.topic == spec.name).map(in_words).collect(),
        });
    }
    Ok(TopicsView { engine: log.engine().to_owned(), location: log.location(), items })
}

/// The log, once it is open.
pub(super) fn log(faces: &Faces) -> Result<Arc<dyn Log>, Problem> {
    faces.log.get().cloned().ok_or_else(|| Problem::starting(faces.board.missing()))
}

/// The full name of one of our topics, given with or without the prefix. Others are not ours to show.
pub(super) fn known(faces: &Faces, name: &str) -> Result<String, Problem> {
    let specs = faces.topics.get().ok_or_else(|| Problem::starting(faces.board.missing()))?;
    find(&specs, name).map_err(|detail| Problem::new(StatusCode::NOT_FOUND, "unknown_topic", detail))
}

/// The full name among `specs` of a topic given with or without its prefix; the error names those there are.
pub fn find(specs: &[TopicSpec], name: &str) -> Result<String, String> {
    // The table's last topic never changes its name, so what stands before it is the prefix.
    let dlq = specs.iter().find_map(|spec| spec.name.strip_suffix(crate::domain::topic::DLQ));
    let prefixed = format!("{}{name}", dlq.unwrap_or_default());
    match specs.iter().find(|spec| spec.name == name || spec.name == prefixed) {
        Some(spec) => Ok(spec.name.clone()),
        None => {
            let name: String = name.chars().take(100).collect();
            let known: Vec<&str> = specs.iter().map(|spec| spec.name.as_str()).collect();
            Err(format!("no topic of ours is called {name:?}; there are {}", known.join(", ")))
        }
    }
}

/// What the log says, as a problem.
pub(super) fn problem_of(error: LogError) -> Problem {
    let text = error.to_string();
    match error {
        LogError::Unreachable(..) => Problem::unavailable("log_unreachable", text, 5),
        LogError::Refused(_) => Problem::new(StatusCode::BAD_GATEWAY, "log_refused", text),
        LogError::Setting { .. } => Problem::new(StatusCode::INTERNAL_SERVER_ERROR, "log_setting", text),
    }
}

fn in_words(drift: &Drift) -> String {
    format!("{} is {}, should be {}", drift.what, drift.have, drift.want)
}
