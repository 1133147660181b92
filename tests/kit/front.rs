//! A TLS front of a sandbox: certificates, tokens and a record of the requests, none of which the sandbox has.
//!
//! The certificates in `tls/` are good for a hundred years and for 127.0.0.1 only; their authorities' keys are thrown away.

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use std::io::{Read as _, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

pub struct Front {
    dir: PathBuf,
    state: Arc<State>,
}

struct State {
    upstream: String,
    tls: Mutex<Arc<ServerConfig>>,
    token: Mutex<String>,
    heads: Mutex<Vec<String>>,
    refused: Mutex<usize>,
    live: Mutex<Vec<TcpStream>>,
}

fn identity(name: &str) -> Arc<ServerConfig> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/sandbox/tls");
    let certificate = CertificateDer::from_pem_file(dir.join(format!("server-{name}.pem"))).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("server-{name}.key"))).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.expect("they fit"))
}

impl Front {
    /// Serves as authority `one` says, to whoever has `token-1`; its kubeconfig and files stand in `dir`.
    pub fn start(upstream: &str, dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let state = Arc::new(State {
            upstream: upstream.trim_start_matches("http://").to_owned(),
            tls: Mutex::new(identity("one")),
            token: Mutex::new("token-1".into()),
            heads: Mutex::default(),
            refused: Mutex::default(),
            live: Mutex::default(),
        });
        let front = Self { dir: dir.to_owned(), state: state.clone() };
        front.write_token("token-1");
        front.write_authority("one");
        let cluster = json!({"server": format!("https://{address}"), "certificate-authority": dir.join("ca.pem")});
        let config = json!({"apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{"name": "c", "cluster": cluster}],
            "users": [{"name": "c", "user": {"tokenFile": dir.join("token")}}],
            "contexts": [{"name": "c", "context": {"cluster": "c", "user": "c"}}]});
        std::fs::write(front.kubeconfig(), config.to_string()).expect("written");
        std::thread::spawn(move || {
            for socket in listener.incoming().map_while(Result::ok) {
                let state = state.clone();
                std::thread::spawn(move || serve(&state, socket));
            }
        });
        front
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("front-kubeconfig")
    }

    /// The client's token from now on.
    pub fn write_token(&self, token: &str) {
        std::fs::write(self.dir.join("token"), token).expect("written");
    }

    /// Whom the client trusts from now on.
    pub fn write_authority(&self, name: &str) {
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/sandbox/tls/ca-{name}.pem"));
        std::fs::copy(from, self.dir.join("ca.pem")).expect("copied");
    }

    /// The token that is taken from now on.
    pub fn expect_token(&self, token: &str) {
        *self.state.token.lock().expect("not poisoned") = token.into();
    }

    /// Who the server is from now on.
    pub fn become_another(&self, name: &str) {
        *self.state.tls.lock().expect("not poisoned") = identity(name);
    }

    /// Breaks all connections.
    pub fn cut(&self) {
        for socket in self.state.live.lock().expect("not poisoned").drain(..) {
            // One that is closed already is fine.
            socket.shutdown(Shutdown::Both).unwrap_or_default();
        }
    }

    /// Requests so far, those refused among them.
    pub fn requests(&self) -> usize {
        self.state.heads.lock().expect("not poisoned").len()
    }

    /// Requests with a token that is not taken, and handshakes that failed.
    pub fn refused(&self) -> usize {
        *self.state.refused.lock().expect("not poisoned")
    }

    /// A header of the last request.
    pub fn head(&self, name: &str) -> Option<String> {
        let heads = self.state.heads.lock().expect("not poisoned");
        header(heads.last()?, name).map(str::to_owned)
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// One request a connection. A client that goes away ends it, wherever it stands.
fn serve(state: &State, socket: TcpStream) {
    if let Ok(copy) = socket.try_clone() {
        state.live.lock().expect("not poisoned").push(copy);
    }
    if pass_on(state, socket).is_none() {
        *state.refused.lock().expect("not poisoned") += 1;
    }
}

fn pass_on(state: &State, socket: TcpStream) -> Option<()> {
    let tls = state.tls.lock().expect("not poisoned").clone();
    let mut client = StreamOwned::new(ServerConnection::new(tls).ok()?, socket);
    let (mut bytes, mut buffer) = (Vec::new(), [0; 16 << 10]);
    let end = loop {
        if let Some(end) = bytes.windows(4).position(|w| w == b"\r\n\r\n") {
            break end;
        }
        match client.read(&mut buffer) {
            // A connection that was opened and not used.
            Ok(0) => return Some(()),
            Ok(n) => bytes.extend_from_slice(&buffer[..n]),
            Err(_) => return None,
        }
    };
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let mut body = bytes.split_off(end + 4);
    state.heads.lock().expect("not poisoned").push(head.clone());
    let length: usize = header(&head, "content-length").and_then(|l| l.parse().ok()).unwrap_or(0);
    while body.len() < length {
        let n = client.read(&mut buffer).ok().filter(|n| *n > 0)?;
        body.extend_from_slice(&buffer[..n]);
    }
    let token = format!("Bearer {}", state.token.lock().expect("not poisoned"));
    if header(&head, "authorization") != Some(&token) {
        let status = json!({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure",
            "message": "Unauthorized", "reason": "Unauthorized", "code": 401})
        .to_string();
        let answer = format!(
            "HTTP/1.1 401 Unauthorized\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: {}\r\n\r\n{status}",
            status.len()
        );
        client.write_all(answer.as_bytes()).and_then(|()| client.flush()).ok()?;
        client.conn.send_close_notify();
        client.flush().ok()?;
        return None;
    }
    let mut upstream = TcpStream::connect(&state.upstream).ok()?;
    let kept = head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !["connection", "authorization", "host"].iter().any(|n| name.eq_ignore_ascii_case(n))
    });
    let kept: Vec<&str> = kept.collect();
    let request = format!("{}\r\nHost: {}\r\nConnection: close\r\n\r\n", kept.join("\r\n"), state.upstream);
    upstream.write_all(request.as_bytes()).and_then(|()| upstream.write_all(&body)).ok()?;
    // From here on the request was taken: whoever ends it.
    while let Ok(n) = upstream.read(&mut buffer) {
        if n == 0 || client.write_all(&buffer[..n]).and_then(|()| client.flush()).is_err() {
            break;
        }
    }
    client.conn.send_close_notify();
    client.flush().unwrap_or_default();
    Some(())
}
