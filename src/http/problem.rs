//! Errors as RFC 9457 `application/problem+json`, each with a stable `code`.

use axum::Json;
use axum::extract::Request;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderValue, Method, StatusCode, Uri, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};

/// An error as it goes over the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Problem {
    /// HTTP status.
    pub status: u16,
    /// Stable word from a closed set, for programs.
    pub code: String,
    /// What happened and what to do about it, for people.
    pub detail: String,
    /// Short and the same for every problem of this code.
    #[serde(default)]
    pub title: String,
    /// URI of the problem's type.
    #[serde(rename = "type", default)]
    pub kind: String,
    /// What a starting process still waits for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub missing: Vec<String>,
    /// After how many seconds a repeat may succeed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after: Option<u64>,
}

impl Problem {
    /// A problem of that code.
    pub fn new(status: StatusCode, code: &str, detail: impl Into<String>) -> Self {
        Self {
            status: status.as_u16(),
            code: code.to_owned(),
            detail: detail.into(),
            title: code.replace('_', " "),
            kind: format!("urn:agent-events:problem:{code}"),
            missing: Vec::new(),
            retry_after: None,
        }
    }

    /// 400: a parameter's value cannot be taken.
    pub fn bad_parameter(name: &str, why: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_parameter", format!("{name}: {why}"))
    }

    /// 404.
    pub fn not_found(detail: impl Into<String>) -> Self {
        Self::new(StatusCode::NOT_FOUND, "not_found", detail)
    }

    /// 503: the process is still coming up; names what is missing.
    pub fn starting(missing: Vec<String>) -> Self {
        let what = if missing.is_empty() { "its parts are being connected".to_owned() } else { missing.join("; ") };
        let mut problem =
            Self::unavailable("starting", format!("the process is coming up and cannot answer yet: {what}"), 1);
        problem.missing = missing;
        problem
    }

    /// 503 with Retry-After in seconds.
    pub fn unavailable(code: &str, detail: impl Into<String>, retry_after: u64) -> Self {
        let mut problem = Self::new(StatusCode::SERVICE_UNAVAILABLE, code, detail);
        problem.retry_after = Some(retry_after);
        problem
    }
}

impl From<PathRejection> for Problem {
    fn from(_: PathRejection) -> Self {
        Self::new(StatusCode::BAD_REQUEST, "bad_path", "the path is not UTF-8 once its % escapes are undone")
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let retry_after = self.retry_after.map(HeaderValue::from);
        let mut response = (status, Json(self)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        if let Some(seconds) = retry_after {
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

/// 404 for a path that is not served.
pub(super) async fn no_such_path(uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    Problem::new(StatusCode::NOT_FOUND, "no_such_path", format!("nothing is served at {path}"))
}

/// 405.
pub(super) async fn no_such_method(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(200).collect();
    let detail = format!("{path} is served, but not for {method}; the Allow header names the methods it takes");
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, "method_not_allowed", detail)
}

/// Objects hold text from the cluster: no browser may take an answer for a page.
pub(super) async fn no_sniffing(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    // The page's own files say themselves how they may be kept.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    response
}
