//! How the process is doing: `/pipeline`, `/actors`, `/version`.

use super::{Faces, params::Params, problem::Problem};
use crate::messages::control::{ActorControl, ControlError, KillHow};
use crate::messages::life::ChildStatus;
use crate::observe::board::PipelineView;
use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, State};
use axum::http::{StatusCode, Uri};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use std::time::Duration;

/// A supervisor that does not answer within this is itself the news.
const CONTROL_DEADLINE: Duration = Duration::from_secs(5);

/// `GET /api/v1/pipeline`.
pub(super) async fn pipeline(State(faces): State<Faces>, uri: Uri) -> Result<Json<PipelineView>, Problem> {
    Params::read(&uri, &[], &[])?;
    Ok(Json(faces.board.show()))
}

/// The build that answers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Version {
    /// `agent-events`.
    pub name: String,
    /// Crate version.
    pub version: String,
    /// Version of the HTTP API.
    pub api: String,
}

impl Version {
    /// This build.
    pub fn of_this_build() -> Self {
        Self { name: env!("CARGO_PKG_NAME").into(), version: env!("CARGO_PKG_VERSION").into(), api: "v1".into() }
    }
}

/// `GET /api/v1/version`.
pub(super) async fn version(uri: Uri) -> Result<Json<Version>, Problem> {
    Params::read(&uri, &[], &[])?;
    Ok(Json(Version::of_this_build()))
}

/// The supervision tree as it is shown.
#[derive(Debug, Serialize)]
pub(super) struct Actors {
    items: Vec<ChildStatus>,
}

/// `GET /api/v1/actors`.
pub(super) async fn actors(State(faces): State<Faces>, uri: Uri) -> Result<Json<Actors>, Problem> {
    Params::read(&uri, &[], &[])?;
    let control = supervisor(&faces)?;
    Ok(Json(Actors { items: answered(control.tree()).await? }))
}

/// What was done to an actor.
#[derive(Debug, Serialize, Deserialize)]
pub struct Done {
    /// Its id.
    pub id: String,
    /// `restart`, `kill`.
    pub action: String,
}

/// `POST /api/v1/actors/{id}/restart`, `POST /api/v1/actors/{id}/kill?how=panic|stop|hang`. Ids hold slashes.
pub(super) async fn control(
    State(faces): State<Faces>,
    path: Result<Path<String>, PathRejection>,
    uri: Uri,
) -> Result<Json<Done>, Problem> {
    let Path(call) = path?;
    let Some((id, action @ ("restart" | "kill"))) = call.rsplit_once('/') else {
        return Err(Problem::not_found("what can be done to an actor is /restart and /kill"));
    };
    let params = Params::read(&uri, if action == "kill" { &["how"] } else { &[] }, &[])?;
    let how = match params.text("how") {
        None | Some("panic") => KillHow::Panic,
        Some("stop") => KillHow::Stop,
        Some("hang") => KillHow::Hang,
        Some(_) => return Err(Problem::bad_parameter("how", "is panic, stop or hang")),
    };
    if !faces.chaos {
        return Err(problem_of(ControlError::ChaosDisabled));
    }
    let control = supervisor(&faces)?;
    if action == "kill" {
        answered(control.kill(id, how)).await?;
    } else {
        answered(control.restart(id)).await?;
    }
    Ok(Json(Done { id: id.to_owned(), action: action.to_owned() }))
}

fn supervisor(faces: &Faces) -> Result<Arc<dyn ActorControl>, Problem> {
    faces.control.get().cloned().ok_or_else(|| Problem::starting(faces.board.missing()))
}

async fn answered<T>(call: impl Future<Output = Result<T, ControlError>>) -> Result<T, Problem> {
    match tokio::time::timeout(CONTROL_DEADLINE, call).await {
        Ok(answer) => answer.map_err(problem_of),
        Err(_) => {
            let detail = format!("the supervisor did not answer within {} s", CONTROL_DEADLINE.as_secs());
            Err(Problem::unavailable("supervisor_silent", detail, 5))
        }
    }
}

fn problem_of(error: ControlError) -> Problem {
    let text = error.to_string();
    match error {
        ControlError::ChaosDisabled => Problem::new(StatusCode::FORBIDDEN, "chaos_disabled", text),
        ControlError::Unknown { .. } => Problem::new(StatusCode::NOT_FOUND, "unknown_actor", text),
        // The last three only ever meet the wiring.
        ControlError::NotRunning { .. }
        | ControlError::Duplicate(_)
        | ControlError::UnknownGroup(_)
        | ControlError::Bound { .. } => Problem::new(StatusCode::CONFLICT, "actor_not_running", text),
        ControlError::Closing => Problem::unavailable("closing", text, 10),
        ControlError::SupervisorGone => Problem::unavailable("supervisor_gone", text, 10),
    }
}
