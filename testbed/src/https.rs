//! One HTTPS request at a time to the API server, its certificate verified. Enough for readiness, nodes and faults without
//! kubectl; tests of the product bring the product's own client.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};

/// Longer than any request of the test bed takes on a busy machine; a paused API server never answers at all.
const TIMEOUT: Duration = Duration::from_secs(30);

/// An answer, whatever its status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Response {
    /// The HTTP status.
    pub status: u16,
    /// The whole body.
    pub body: String,
}

/// A request; `path` begins with `/` and may hold a query.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request<'a> {
    pub method: &'a str,
    pub path: &'a str,
    pub token: &'a str,
    pub content_type: &'a str,
    pub body: &'a str,
}

/// Where to ask, and whom to trust.
#[derive(Debug)]
pub(crate) struct Https {
    port: u16,
    /// Written by the API server itself at its first start: its certificate, and the one that signed it.
    ca: PathBuf,
    config: OnceLock<Arc<ClientConfig>>,
}

impl Https {
    pub(crate) fn new(port: u16, ca: PathBuf) -> Self {
        Self { port, ca, config: OnceLock::new() }
    }

    pub(crate) fn send(&self, request: Request<'_>) -> Result<Response, String> {
        self.send_within(request, TIMEOUT)
    }

    /// `timeout` holds for connecting and for each read and write.
    pub(crate) fn send_within(&self, request: Request<'_>, timeout: Duration) -> Result<Response, String> {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let socket =
            TcpStream::connect_timeout(&address, timeout).map_err(|error| format!("no connection: {error}"))?;
        socket
            .set_read_timeout(Some(timeout))
            .and_then(|()| socket.set_write_timeout(Some(timeout)))
            .map_err(|error| format!("no timeout on the socket: {error}"))?;
        let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
        let tls = ClientConnection::new(self.config()?, name).map_err(|error| format!("TLS: {error}"))?;
        let mut stream = StreamOwned::new(tls, socket);

        // HTTP/1.0: the server closes after the answer and does not chunk it.
        let Request { method, path, token, content_type, body } = request;
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: 127.0.0.1\r\nAuthorization: Bearer {token}\r\nAccept: application/json\r\n\
             Content-Type: {content_type}\r\nContent-Length: {}\r\n\r\n",
            body.len()
        );
        stream
            .write_all(head.as_bytes())
            .and_then(|()| stream.write_all(body.as_bytes()))
            .map_err(|e| format!("not sent: {e}"))?;
        let mut answer = Vec::new();
        let read = stream.read_to_end(&mut answer);
        // A server that dies mid-answer is told from one that only forgot to say goodbye by the length it had announced.
        parse(&answer).map_err(|reason| match read {
            Err(error) => format!("{reason}: {error}"),
            Ok(_) => reason,
        })
    }

    fn config(&self) -> Result<Arc<ClientConfig>, String> {
        if let Some(config) = self.config.get() {
            return Ok(config.clone());
        }
        let mut roots = RootCertStore::empty();
        let certificates =
            CertificateDer::pem_file_iter(&self.ca).map_err(|error| format!("{}: {error}", self.ca.display()))?;
        roots.add_parsable_certificates(certificates.filter_map(Result::ok));
        if roots.is_empty() {
            return Err(format!("{} holds no certificate yet", self.ca.display()));
        }
        let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(|error| format!("TLS: {error}"))?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(self.config.get_or_init(|| Arc::new(config)).clone())
    }
}

fn parse(answer: &[u8]) -> Result<Response, String> {
    let end = answer.windows(4).position(|window| window == b"\r\n\r\n").ok_or("no complete answer")?;
    let (head, body) = (String::from_utf8_lossy(&answer[..end]), &answer[end + 4..]);
    let status = head.split_ascii_whitespace().nth(1).and_then(|word| word.parse().ok());
    let status = status.ok_or_else(|| format!("not HTTP: {}", head.lines().next().unwrap_or_default()))?;
    let announced = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        if name.eq_ignore_ascii_case("content-length") { value.trim().parse::<usize>().ok() } else { None }
    });
    if announced.is_some_and(|length| body.len() < length) {
        return Err(format!("the answer broke off after {} bytes", body.len()));
    }
    Ok(Response { status, body: String::from_utf8_lossy(body).into_owned() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_has_a_status_and_a_body() {
        let answer = b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok";
        assert_eq!(parse(answer), Ok(Response { status: 200, body: "ok".into() }));
    }

    #[test]
    fn an_answer_cut_short_is_no_answer() {
        assert_eq!(
            parse(b"HTTP/1.0 200 OK\r\ncontent-length: 9\r\n\r\nok"),
            Err("the answer broke off after 2 bytes".into())
        );
        assert_eq!(parse(b"HTTP/1.0 200 OK\r\n"), Err("no complete answer".into()));
        assert_eq!(parse(b"hello\r\n\r\n"), Err("not HTTP: hello".into()));
    }
}
