//! The command line's own requests to a running process: plain HTTP/1.1, over loopback or a port-forward.

use super::failure::{Failure, NOT_RUNNING};
use crate::http::problem::Problem;
use bytes::{Bytes, BytesMut};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::{Method, Request, Uri, header};
use hyper_util::rt::TokioIo;
use serde::de::DeserializeOwned;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::task::JoinSet;
use tokio::time::timeout;

const CONNECT: Duration = Duration::from_secs(5);
const ANSWER: Duration = Duration::from_secs(35);
/// The server says something at least every 15 s; silence for three of these is a dead connection.
const SILENCE: Duration = Duration::from_secs(45);
/// Longest line of a stream: an object of 1.5 MiB stands in a record twice, with escapes.
const LINE_BYTES: usize = 64 << 20;

/// A process to ask.
#[derive(Debug, Clone)]
pub struct Server {
    url: String,
    authority: String,
    host: String,
    port: u16,
}

/// Why there is no answer.
#[derive(Debug)]
pub enum ServerError {
    /// Nobody listens there.
    Silent(String),
    /// It refused, and said why.
    Problem(Box<Problem>),
    /// It answered something else than the API does, or broke off.
    Broken(String),
}

impl From<ServerError> for Failure {
    fn from(error: ServerError) -> Self {
        match error {
            ServerError::Silent(text) => Self::with(NOT_RUNNING, text),
            ServerError::Problem(problem) => Self::error(problem.detail),
            ServerError::Broken(text) => Self::error(text),
        }
    }
}

/// An answer whose body is still to be read.
pub struct Answer {
    url: String,
    body: Incoming,
    buffer: BytesMut,
    /// Moves the bytes; ends with the answer.
    _connection: JoinSet<()>,
}

impl Server {
    /// From what was typed.
    ///
    /// # Errors
    /// A usage failure that says what is expected.
    pub fn parse(url: &str) -> Result<Self, Failure> {
        let wrong = |why: &str| {
            let message = format!("--server {url}: {why}; give http://HOST:PORT, for instance http://127.0.0.1:8080");
            Failure::with(super::failure::USAGE, message)
        };
        let uri: Uri = url.parse().map_err(|_| wrong("this is not a URL"))?;
        if uri.scheme_str() == Some("https") {
            return Err(wrong("the API has no TLS of its own: use kubectl port-forward, or an SSH tunnel"));
        }
        let authority =
            uri.authority().filter(|_| uri.scheme_str() == Some("http")).ok_or_else(|| wrong("http:// is missing"))?;
        if uri.path_and_query().is_some_and(|p| p.as_str() != "/") {
            return Err(wrong("there is something behind the port"));
        }
        let host = authority.host().trim_start_matches('[').trim_end_matches(']').to_owned();
        let port = authority.port_u16().unwrap_or(80);
        Ok(Self { url: url.trim_end_matches('/').to_owned(), authority: authority.to_string(), host, port })
    }

    /// The whole answer of a GET, as JSON.
    pub async fn json<T: DeserializeOwned>(&self, path: &str) -> Result<T, ServerError> {
        self.request(Method::GET, path, &[]).await?.json().await
    }

    /// A POST without a body; its answer as JSON.
    pub async fn post<T: DeserializeOwned>(&self, path: &str) -> Result<T, ServerError> {
        self.request(Method::POST, path, &[]).await?.json().await
    }

    /// Begins to read lines.
    pub async fn stream(&self, path: &str, headers: &[(&str, &str)]) -> Result<Answer, ServerError> {
        self.request(Method::GET, path, headers).await
    }

    async fn request(&self, method: Method, path: &str, headers: &[(&str, &str)]) -> Result<Answer, ServerError> {
        let silent = |why: String| {
            ServerError::Silent(format!(
                "no agent-events answers at {} ({why}): start one with `agent-events run`, or name another with --server URL",
                self.url
            ))
        };
        let broken = |why: String| ServerError::Broken(format!("the answer of {} broke off: {why}", self.url));
        let socket = match timeout(CONNECT, TcpStream::connect((self.host.as_str(), self.port))).await {
            Err(_) => return Err(silent(format!("no connection within {} s", CONNECT.as_secs()))),
            Ok(Err(error)) => return Err(silent(error.to_string())),
            Ok(Ok(socket)) => socket,
        };
        let (mut sender, connection) =
            hyper::client::conn::http1::handshake(TokioIo::new(socket)).await.map_err(|e| broken(e.to_string()))?;
        let mut task = JoinSet::new();
        task.spawn(async move {
            if let Err(error) = connection.await {
                tracing::debug!(%error, "connection ended");
            }
        });
        let mut request = Request::builder()
            .method(method)
            .uri(path)
            .header(header::HOST, &self.authority)
            .header(header::USER_AGENT, concat!("agent-events/", env!("CARGO_PKG_VERSION")));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let request = request.body(Empty::<Bytes>::new()).map_err(|e| broken(e.to_string()))?;
        let response = match timeout(ANSWER, sender.send_request(request)).await {
            Err(_) => return Err(silent(format!("no answer within {} s", ANSWER.as_secs()))),
            Ok(answer) => answer.map_err(|e| broken(e.to_string()))?,
        };
        let status = response.status();
        for warning in response.headers().get_all(header::WARNING) {
            // `299 - "text"`, as API servers warn.
            if let Some(text) = warning.to_str().ok().and_then(|w| w.splitn(3, ' ').nth(2)) {
                super::tell(&format!("Warning: {}", text.trim_matches('"')));
            }
        }
        let is_problem = response.headers().get(header::CONTENT_TYPE).is_some_and(|t| t == "application/problem+json");
        let answer =
            Answer { url: self.url.clone(), body: response.into_body(), buffer: BytesMut::new(), _connection: task };
        if status.is_success() {
            return Ok(answer);
        }
        if is_problem && let Ok(problem) = answer.json::<Problem>().await {
            return Err(ServerError::Problem(Box::new(problem)));
        }
        Err(ServerError::Broken(format!(
            "what answers at {} is not the API of agent-events (HTTP {}): is --server right?",
            self.url,
            status.as_u16()
        )))
    }
}

impl Answer {
    async fn json<T: DeserializeOwned>(self) -> Result<T, ServerError> {
        let Self { url, body, _connection, .. } = self;
        let bytes = match timeout(ANSWER, body.collect()).await {
            Err(_) => return Err(ServerError::Broken(format!("{url} did not finish its answer in time"))),
            Ok(bytes) => bytes.map_err(|e| ServerError::Broken(format!("the answer of {url} broke off: {e}")))?,
        };
        serde_json::from_slice(&bytes.to_bytes()).map_err(|e| {
            ServerError::Broken(format!("{url} answered something that is not expected ({e}): is it of this version?"))
        })
    }

    /// The next line that is not empty; `None` at the end.
    pub async fn line(&mut self) -> Result<Option<String>, ServerError> {
        let broken = |why: String| ServerError::Broken(format!("the stream of {} broke off: {why}", self.url));
        loop {
            if let Some(end) = self.buffer.iter().position(|byte| *byte == b'\n') {
                let line = self.buffer.split_to(end + 1);
                let line = String::from_utf8_lossy(&line[..end]);
                if line.trim().is_empty() {
                    continue;
                }
                return Ok(Some(line.into_owned()));
            }
            if self.buffer.len() > LINE_BYTES {
                return Err(broken("a line is too long".into()));
            }
            match timeout(SILENCE, self.body.frame()).await {
                Err(_) => return Err(broken(format!("silence for {} s", SILENCE.as_secs()))),
                Ok(None) => return Ok(None),
                Ok(Some(Err(error))) => return Err(broken(error.to_string())),
                Ok(Some(Ok(frame))) => {
                    if let Ok(data) = frame.into_data() {
                        self.buffer.extend_from_slice(&data);
                    }
                }
            }
        }
    }

    /// Whether a whole line is at hand without waiting.
    pub fn has_line(&self) -> bool {
        self.buffer.contains(&b'\n')
    }
}

/// A path with its query, each part encoded.
#[derive(Debug, Clone)]
pub struct Path(String, bool);

impl Path {
    /// `/api/v1/` and these segments.
    pub fn of(segments: &[&str]) -> Self {
        let mut path = "/api/v1".to_owned();
        for segment in segments {
            path.push('/');
            encode(&mut path, segment);
        }
        Self(path, false)
    }

    /// Adds a parameter.
    pub fn with(mut self, name: &str, value: impl AsRef<str>) -> Self {
        self.0.push(if self.1 { '&' } else { '?' });
        self.1 = true;
        encode(&mut self.0, name);
        self.0.push('=');
        encode(&mut self.0, value.as_ref());
        self
    }

    /// Adds a parameter, if there is one.
    pub fn maybe(self, name: &str, value: Option<impl AsRef<str>>) -> Self {
        match value {
            Some(value) => self.with(name, value),
            None => self,
        }
    }

    /// For the request line.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// RFC 3986: what is not unreserved is written as its bytes.
fn encode(out: &mut String, text: &str) {
    for byte in text.bytes() {
        if byte.is_ascii_alphanumeric() || b"-._~".contains(&byte) {
            out.push(char::from(byte));
        } else {
            out.push_str(&format!("%{byte:02X}"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_a_plain_http_url_and_everything_else_says_what_to_give() {
        let server = Server::parse("http://[::1]:8080/").expect("good");
        assert_eq!((server.host.as_str(), server.port, server.url.as_str()), ("::1", 8080, "http://[::1]:8080"));
        for wrong in ["https://a:1", "127.0.0.1:8080", "http://a/b", "", "http://", "ftp://a", "http://a?x=1"] {
            let failure = Server::parse(wrong).expect_err(wrong);
            assert_eq!(failure.code, 2, "{wrong}");
            assert!(failure.message.contains("http://HOST:PORT"), "{}", failure.message);
        }
    }

    #[test]
    fn what_was_typed_cannot_leave_its_place_in_a_path() {
        let path = Path::of(&["objects", "pods", "../secrets", "a b?c&d=#"]).with("l", "a=b,c in (d)");
        assert_eq!(path.as_str(), "/api/v1/objects/pods/..%2Fsecrets/a%20b%3Fc%26d%3D%23?l=a%3Db%2Cc%20in%20%28d%29");
    }
}
