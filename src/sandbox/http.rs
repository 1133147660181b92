//! The API over HTTP. Every request is answered: what is not served gets a Status that says so.

use super::faults::{Faults, Order};
use super::state::State;
use super::status::Status;
use axum::Router;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, header};
use bytes::Bytes;
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::time::Duration;

mod altered;
mod columns;
mod discovery;
mod negotiate;
mod protobuf;
mod query;
mod read;
mod represent;
mod review;
mod target;
mod watch;
mod write;

use query::Parameters;
use target::{Route, Target, route};

/// Largest body, as of a real API server.
const BODY_BYTES: usize = 3 << 20;
/// How long a client may take to send it.
const BODY_TIME: Duration = Duration::from_secs(60);

type Answer = Result<Response<Body>, Status>;

/// What requests are answered from.
#[derive(Clone)]
pub(super) struct Api {
    pub state: State,
    pub faults: Faults,
    /// Where it listens.
    pub address: String,
}

/// The service.
pub(super) fn router(api: Api) -> Router {
    Router::new().fallback(move |request: Request<Body>| {
        let api = api.clone();
        async move { answer(&api, request).await.unwrap_or_else(|status| refusal(&status)) }
    })
}

fn json_answer(code: u16, body: Bytes) -> Response<Body> {
    typed_answer(code, "application/json", body)
}

fn plain_answer(text: String) -> Response<Body> {
    typed_answer(200, "text/plain; charset=utf-8", Bytes::from(text))
}

fn typed_answer(code: u16, content_type: &'static str, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = code.try_into().unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache, private"));
    response
}

fn refusal(status: &Status) -> Response<Body> {
    let mut response = json_answer(status.code, Bytes::from(status.to_value().to_string()));
    if let Some(seconds) = status.retry_seconds().filter(|_| matches!(status.code, 429 | 503 | 504)) {
        response.headers_mut().insert(header::RETRY_AFTER, seconds.into());
    }
    response
}

async fn answer(api: &Api, request: Request<Body>) -> Answer {
    check_caller(request.headers())?;
    let (parts, body) = request.into_parts();
    let query = Parameters::of(&parts.uri)?;
    let (method, headers) = (&parts.method, &parts.headers);
    let value = |value: Value| Ok(json_answer(200, Bytes::from(value.to_string())));
    let routed = route(&api.state, parts.uri.path())?;
    match (&routed, method) {
        (Route::Objects(target), _) => objects(api, target, method, headers, &query, body).await,
        (Route::Review(review), &Method::POST) => {
            let body = read_body(body).await?;
            match api.faults.on_request("create", &format!("{review}.authorization.k8s.io")) {
                (_, Some(status)) => Err(status),
                _ => review::answer(api, review, write::parse(headers, &body)?),
            }
        }
        (Route::Faults, _) => faults(api, method, body).await,
        (Route::Review(_), _) | (_, &(Method::POST | Method::PUT | Method::PATCH | Method::DELETE)) => {
            Err(not_allowed())
        }
        (Route::Core | Route::Groups, _) if negotiate::takes_aggregated(headers) => {
            let core = matches!(routed, Route::Core);
            let body = Bytes::from(discovery::aggregated(&api.state, core).to_string());
            Ok(typed_answer(200, discovery::AGGREGATED, body))
        }
        (Route::Core, _) => value(discovery::core(&api.address)),
        (Route::Groups, _) => value(discovery::group_list(&api.state)),
        (Route::Group(group), _) => value(discovery::group(&api.state, group)?),
        (Route::Resources(group, version), _) => value(discovery::resources(&api.state, group, version)?),
        (Route::Version, _) => value(discovery::version()),
        (Route::Health, _) => Ok(plain_answer("ok".to_owned())),
        (Route::OpenApiIndex, _) => value(discovery::openapi_index(&api.state)),
        (Route::OpenApi(group, version), _) => value(discovery::openapi(&api.state, group, version)?),
    }
}

fn not_allowed() -> Status {
    Status::new(405, "MethodNotAllowed", "the server does not allow this method on the requested resource")
}

async fn objects(
    api: &Api,
    target: &Target,
    method: &Method,
    headers: &HeaderMap,
    query: &Parameters,
    body: Body,
) -> Answer {
    let watches = query.flag("watch")?;
    let verb = match (method, &target.name) {
        (&Method::GET, None) if watches => "watch",
        (&Method::GET, None) => "list",
        (&Method::GET, Some(_)) => "get",
        (&Method::POST, None) => "create",
        (&Method::PUT, Some(_)) => "update",
        (&Method::PATCH, Some(_)) => "patch",
        (&Method::DELETE, Some(_)) => "delete",
        (&Method::DELETE, None) => "deletecollection",
        (&Method::POST, Some(_)) => match target.subresource.as_deref() {
            Some(subresource) if !target.has(subresource) => return Err(read::not_served(target, subresource)),
            _ => return Err(not_allowed()),
        },
        _ => return Err(not_allowed()),
    };
    let _listing = (verb == "list" && !query::is_about_a_version(query)).then(|| api.faults.one_list());
    // A cut that is ordered from here on is meant for this one too: what it was admitted by may be refused by then.
    let admitted = api.faults.generation();
    let (delay, refusal) = api.faults.on_request(verb, &target.kind.qualified);
    if !delay.is_zero() {
        tokio::time::sleep(delay).await;
    }
    if let Some(status) = refusal {
        return Err(status);
    }
    match verb {
        "get" => return read::get(api, target, headers, query).await,
        "list" => {
            let answer = read::list(api, target, headers, query).await?;
            return Ok(altered::by_faults(&api.faults, verb, &target.kind.qualified, answer));
        }
        "watch" => {
            api.faults.one_watch();
            let answer = watch::open(api, target, headers, query, admitted)?;
            return Ok(altered::by_faults(&api.faults, verb, &target.kind.qualified, answer));
        }
        _ => {}
    }
    negotiate::form(headers)?;
    let body = read_body(body).await?;
    let request = write::Request { api, target, headers, query, body: &body };
    match verb {
        "create" => request.create(),
        "update" => request.replace(),
        "patch" => request.patch(),
        "delete" => request.delete(),
        _ => request.delete_collection(),
    }
}

async fn read_body(body: Body) -> Result<Bytes, Status> {
    let read = Limited::new(body, BODY_BYTES).collect();
    match tokio::time::timeout(BODY_TIME, read).await {
        Err(_) => Err(Status::new(504, "Timeout", "the body of the request did not come within 60 seconds")),
        Ok(Ok(body)) => Ok(body.to_bytes()),
        Ok(Err(error)) if error.downcast_ref::<LengthLimitError>().is_some() => {
            let why = format!("Request entity too large: limit is {BODY_BYTES}");
            Err(Status::new(413, "RequestEntityTooLarge", why))
        }
        Ok(Err(error)) => Err(Status::bad_request(format!("the body of the request broke off: {error}"))),
    }
}

/// The sandbox asks nobody for a password, so it listens to this machine only, and not to what a web page makes a browser
/// send (a name that was made to point here, or a request from another origin).
fn check_caller(headers: &HeaderMap) -> Result<(), Status> {
    let host = headers.get(header::HOST).and_then(|h| h.to_str().ok()).unwrap_or("localhost");
    let name = match host.strip_prefix('[') {
        Some(v6) => v6.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    };
    let local = name.eq_ignore_ascii_case("localhost") || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback());
    if !local {
        let why = format!("the sandbox answers only requests to localhost or 127.0.0.1, not to {host:?}");
        return Err(Status::new(403, "Forbidden", why));
    }
    if headers.contains_key(header::ORIGIN) {
        let why = "the sandbox answers no web pages: this request carries an Origin header";
        return Err(Status::new(403, "Forbidden", why));
    }
    Ok(())
}

async fn faults(api: &Api, method: &Method, body: Body) -> Answer {
    match *method {
        Method::POST => {
            let body = read_body(body).await?;
            let order: Order = serde_json::from_slice(&body).map_err(|e| {
                Status::bad_request(format!("no order of a fault, such as {{\"fault\":\"compact\"}}: {e}"))
            })?;
            api.faults.order(&order)?;
        }
        Method::DELETE => api.faults.clear(),
        Method::GET => {}
        _ => return Err(not_allowed()),
    }
    let rules: Vec<String> = api.faults.rules().iter().map(|r| format!("{r:?}")).collect();
    let answer = json!({"revision": api.state.revision(), "rules": rules});
    Ok(json_answer(200, Bytes::from(answer.to_string())))
}
