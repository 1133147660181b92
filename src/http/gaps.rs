//! `GET /api/v1/gaps?kind=&since=&limit=`: what the log says is missing from it, newest first.

use super::{Faces, params::Params, problem::Problem};
use crate::domain::gap::Lasting as Gap;
use crate::observe::clock::wall_ms;
use crate::observe::gaps::KEPT;
use axum::Json;
use axum::extract::State;
use axum::http::Uri;
use serde::{Deserialize, Serialize};

/// An answer, newest first.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct GapList {
    /// The gaps.
    pub items: Vec<Gap>,
}

pub(super) async fn list(State(faces): State<Faces>, uri: Uri) -> Result<Json<GapList>, Problem> {
    let params = Params::read(&uri, &["kind", "since", "limit"], &[])?;
    let limit: Option<usize> = params.parsed("limit", "a number of gaps")?;
    let since = params.text("since").map(since_ms).transpose()?;
    let items = faces.board.gaps.list(params.text("kind"), since, limit.unwrap_or(KEPT));
    Ok(Json(GapList { items }))
}

/// A time, or a span before now.
fn since_ms(text: &str) -> Result<i64, Problem> {
    if let Ok(at) = text.parse::<jiff::Timestamp>() {
        return Ok(at.as_millisecond());
    }
    match humantime::parse_duration(text) {
        Ok(ago) => Ok(wall_ms().saturating_sub(i64::try_from(ago.as_millis()).unwrap_or(i64::MAX))),
        Err(_) => {
            let text: String = text.chars().take(64).collect();
            Err(Problem::bad_parameter("since", format!("{text:?} is not a time (RFC 3339) or a span such as 10m")))
        }
    }
}
