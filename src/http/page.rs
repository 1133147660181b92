//! The page at `/`: files of `web/`, embedded. Hand-written, without a build step and without a request to anywhere else.

use super::problem::Problem;
use axum::extract::Path;
use axum::extract::rejection::PathRejection;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use std::hash::{DefaultHasher, Hash, Hasher};

/// Nothing but our own files and our own API; no script and no style within the page; in nobody's frame.
const POLICY: &str = "default-src 'self'; object-src 'none'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'; \
                      require-trusted-types-for 'script'; trusted-types 'none'";

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
const PICTURE: &str = "image/svg+xml";

struct Asset {
    name: &'static str,
    content_type: &'static str,
    bytes: &'static [u8],
}

macro_rules! assets {
    ($($name:literal: $content_type:expr,)*) => {
        [$(Asset { name: $name, content_type: $content_type, bytes: include_bytes!(concat!("../../web/", $name)) },)*]
    };
}

const INDEX: &Asset = &Asset { name: "index.html", content_type: HTML, bytes: include_bytes!("../../web/index.html") };

const ASSETS: &[Asset] = &assets! {
    "app.css": STYLE,
    "actors.js": SCRIPT,
    "app.js": SCRIPT,
    "dom.js": SCRIPT,
    "drawer.js": SCRIPT,
    "live.js": SCRIPT,
    "pipeline.js": SCRIPT,
    "stream.js": SCRIPT,
    "theme.js": SCRIPT,
    "yaml.js": SCRIPT,
    "icon.svg": PICTURE,
};

/// `GET /`.
pub(super) async fn index(headers: HeaderMap) -> Response {
    answer(INDEX, &headers)
}

/// `GET /ui/{file}`.
pub(super) async fn asset(file: Result<Path<String>, PathRejection>, headers: HeaderMap) -> Result<Response, Problem> {
    let Path(file) = file?;
    match ASSETS.iter().find(|asset| asset.name == file) {
        Some(asset) => Ok(answer(asset, &headers)),
        None => {
            let file: String = file.chars().take(100).collect();
            Err(Problem::new(StatusCode::NOT_FOUND, "no_such_path", format!("the page has no file {file:?}")))
        }
    }
}

fn answer(asset: &'static Asset, asked: &HeaderMap) -> Response {
    let tag = tag(asset.bytes);
    let known = asked.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    let mut known = known.flat_map(|tags| tags.split(',')).map(|tag| tag.trim().trim_start_matches("W/"));
    let mut response = if known.any(|known| known == tag || known == "*") {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, asset.content_type)], asset.bytes).into_response()
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(header::REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    // Asked for each time, and answered with 304: a new build is seen at once.
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    if let Ok(tag) = HeaderValue::from_str(&tag) {
        headers.insert(header::ETAG, tag);
    }
    response
}

/// The same for the same bytes; `DefaultHasher::new` has fixed keys.
fn tag(bytes: &[u8]) -> String {
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}
