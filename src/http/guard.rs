//! What a browser may not do. The API listener is on loopback and has no authentication yet, so any web page that the user
//! opens could otherwise read it under a name that resolves to 127.0.0.1 (DNS rebinding), or post to it.

use super::{Faces, problem::Problem};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, Method, StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};
use std::net::IpAddr;

/// Refuses names that are not ours, and posts that come from another origin's page.
pub(super) async fn own_pages_only(State(_): State<Faces>, request: Request, next: Next) -> Response {
    match refuse(request.method(), request.headers()) {
        Some(problem) => problem.into_response(),
        None => next.run(request).await,
    }
}

fn refuse(method: &Method, headers: &HeaderMap) -> Option<Problem> {
    let host = headers.get(header::HOST).map(|h| h.to_str().unwrap_or("?"));
    if let Some(host) = host
        && !is_own_name(host)
    {
        let host: String = host.chars().take(100).collect();
        let detail =
            format!("the API answers to localhost and to IP addresses, not to {host:?}; use http://127.0.0.1:<port>");
        return Some(Problem::new(StatusCode::MISDIRECTED_REQUEST, "host_not_allowed", detail));
    }
    if matches!(*method, Method::GET | Method::HEAD) {
        return None;
    }
    let origin = headers.get(header::ORIGIN)?.to_str().unwrap_or("?");
    if host.is_some_and(|host| origin == format!("http://{host}")) {
        return None;
    }
    Some(Problem::new(StatusCode::FORBIDDEN, "cross_origin", "pages of other origins may not change anything here"))
}

/// A rebound DNS name is a name; an address cannot be rebound.
fn is_own_name(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok()
}
