//! A TLS front of an API server: certificates and tokens that change, requests that are held or turned away, connections that
//! are reset, and a record of what was asked and answered. Of a sandbox, which has no TLS, or of a real one.
//!
//! The certificates in `tls/` are good for a hundred years and for 127.0.0.1 only; their authorities' keys are thrown away.
#![allow(dead_code, reason = "each suite takes what it needs")]

use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use serde_json::json;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex};

pub struct Front {
    dir: PathBuf,
    address: SocketAddr,
    state: Arc<State>,
}

/// Where the requests go on to.
pub enum Behind {
    /// The address of a server without TLS and without tokens.
    Plain(String),
    /// One of 127.0.0.1 whom this authority has signed, and the token that it takes.
    Tls { address: String, ca: PathBuf, token: String },
}

struct State {
    address: String,
    /// To a server with TLS, with that token.
    secure: Option<(Arc<ClientConfig>, String)>,
    tls: Mutex<Arc<ServerConfig>>,
    token: Mutex<String>,
    heads: Mutex<Vec<String>>,
    answers: Mutex<Vec<(String, u16)>>,
    refused: Mutex<usize>,
    live: Mutex<Vec<Arc<Connection>>>,
    /// Requests whose path contains this wait.
    hold: Mutex<Option<&'static str>>,
    let_go: Condvar,
    held: Mutex<Vec<String>>,
    is_closed: AtomicBool,
}

/// A connection that is open, with what it leads to.
struct Connection {
    client: TcpStream,
    upstream: Mutex<Option<TcpStream>>,
    is_reset: AtomicBool,
}

const DIR: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/kit/tls");

fn identity(name: &str) -> Arc<ServerConfig> {
    let dir = Path::new(DIR);
    let certificate = CertificateDer::from_pem_file(dir.join(format!("server-{name}.pem"))).expect("a certificate");
    let key = PrivateKeyDer::from_pem_file(dir.join(format!("server-{name}.key"))).expect("a key");
    let config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_no_client_auth()
        .with_single_cert(vec![certificate], key);
    Arc::new(config.expect("they fit"))
}

fn trusting(ca: &Path) -> Arc<ClientConfig> {
    let mut roots = RootCertStore::empty();
    let certificates = CertificateDer::pem_file_iter(ca).expect("an authority");
    roots.add_parsable_certificates(certificates.map(|certificate| certificate.expect("a certificate")));
    let config = ClientConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .expect("protocols")
        .with_root_certificates(roots)
        .with_no_client_auth();
    Arc::new(config)
}

impl Front {
    /// Serves as authority `one` says, to whoever has `token-1`; its kubeconfig and files stand in `dir`.
    pub fn start(behind: Behind, dir: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let (upstream, secure) = match behind {
            Behind::Plain(address) => (address, None),
            Behind::Tls { address, ca, token } => (address, Some((trusting(&ca), token))),
        };
        let state = Arc::new(State {
            address: upstream.trim_start_matches("http://").trim_start_matches("https://").to_owned(),
            secure,
            tls: Mutex::new(identity("one")),
            token: Mutex::new("token-1".into()),
            heads: Mutex::default(),
            answers: Mutex::default(),
            refused: Mutex::default(),
            live: Mutex::default(),
            hold: Mutex::default(),
            let_go: Condvar::new(),
            held: Mutex::default(),
            is_closed: AtomicBool::new(false),
        });
        std::fs::create_dir_all(dir).expect("a directory");
        let front = Self { dir: dir.to_owned(), address, state: state.clone() };
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
                if !state.is_closed.load(Ordering::Relaxed) {
                    std::thread::spawn(move || serve(&state, socket));
                }
            }
        });
        front
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.join("front-kubeconfig")
    }

    /// The setting that leads a product here.
    pub fn set(&self) -> String {
        format!("cluster.kubeconfig={:?}", self.kubeconfig().display().to_string())
    }

    /// The client's token from now on.
    pub fn write_token(&self, token: &str) {
        std::fs::write(self.dir.join("token"), token).expect("written");
    }

    /// Whom the client trusts from now on.
    pub fn write_authority(&self, name: &str) {
        std::fs::copy(Path::new(DIR).join(format!("ca-{name}.pem")), self.dir.join("ca.pem")).expect("copied");
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
        for connection in self.state.live.lock().expect("not poisoned").drain(..) {
            // One that is closed already is fine.
            connection.client.shutdown(Shutdown::Both).unwrap_or_default();
            connection.end_upstream();
        }
    }

    /// Ends all connections with RST, as a middlebox does that has forgotten them. A client of our own among them must see that.
    pub fn reset(&self) {
        let mut witness = TcpStream::connect(self.address).expect("it listens");
        let own = witness.local_addr().expect("an address");
        super::waiting::within(std::time::Duration::from_secs(20), "the witness is let in", || {
            let live = self.state.live.lock().expect("not poisoned");
            live.iter().any(|c| c.client.peer_addr().is_ok_and(|peer| peer == own)).then_some(())
        });
        let live: Vec<_> = self.state.live.lock().expect("not poisoned").drain(..).collect();
        live.iter().for_each(|connection| connection.reset());
        drop(live);
        let seen = witness.read(&mut [0]).map_err(|e| e.kind());
        assert_eq!(seen, Err(std::io::ErrorKind::ConnectionReset), "what the front does is no reset");
    }

    /// Turns away whoever comes, or lets them in again.
    pub fn close(&self, is_closed: bool) {
        self.state.is_closed.store(is_closed, Ordering::Relaxed);
    }

    /// From now on requests whose path contains this are not answered, until nothing is held any more.
    pub fn hold(&self, what: Option<&'static str>) {
        *self.state.hold.lock().expect("not poisoned") = what;
        self.state.let_go.notify_all();
    }

    /// The paths of the requests that were held so far.
    pub fn held(&self) -> Vec<String> {
        self.state.held.lock().expect("not poisoned").clone()
    }

    /// Paths that were asked for, and the status of the answers, in the order of these.
    pub fn answers(&self) -> Vec<(String, u16)> {
        self.state.answers.lock().expect("not poisoned").clone()
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

impl Connection {
    /// The last one to close it sends RST instead of FIN: whoever reads from either end for it wakes up and does.
    fn reset(&self) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        let _entered = runtime.enter();
        self.client.set_nonblocking(true).expect("an open socket");
        let copy = self.client.try_clone().and_then(tokio::net::TcpStream::from_std).expect("an open socket");
        copy.set_zero_linger().expect("an option of every socket");
        self.is_reset.store(true, Ordering::Relaxed);
        // Its other side may have gone already. To stop reading says nothing to the client.
        self.client.shutdown(Shutdown::Read).unwrap_or_default();
        self.end_upstream();
    }

    fn end_upstream(&self) {
        if let Some(upstream) = &*self.upstream.lock().expect("not poisoned") {
            upstream.shutdown(Shutdown::Both).unwrap_or_default();
        }
    }
}

fn header<'a>(head: &'a str, name: &str) -> Option<&'a str> {
    let lines = head.lines().filter_map(|line| line.split_once(':'));
    lines.into_iter().find(|(n, _)| n.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
}

/// One request a connection. A client that goes away ends it, wherever it stands.
fn serve(state: &State, socket: TcpStream) {
    let Ok(client) = socket.try_clone() else { return };
    let connection = Arc::new(Connection { client, upstream: Mutex::default(), is_reset: AtomicBool::new(false) });
    state.live.lock().expect("not poisoned").push(connection.clone());
    if pass_on(state, &connection, socket).is_none() {
        *state.refused.lock().expect("not poisoned") += 1;
    }
    // What is over holds its socket open no longer.
    state.live.lock().expect("not poisoned").retain(|other| !Arc::ptr_eq(other, &connection));
}

trait Stream: Read + Write {}

impl<T: Read + Write> Stream for T {}

fn pass_on(state: &State, connection: &Connection, socket: TcpStream) -> Option<()> {
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
    let path = head.split(' ').nth(1).unwrap_or_default().to_owned();
    wait_while_held(state, &path);
    let mut upstream = connect(state, connection)?;
    let kept = head.lines().filter(|line| {
        let name = line.split(':').next().unwrap_or_default();
        !["connection", "authorization", "host"].iter().any(|n| name.eq_ignore_ascii_case(n))
    });
    let mut kept: Vec<String> = kept.map(str::to_owned).collect();
    kept.extend(state.secure.iter().map(|(_, token)| format!("Authorization: Bearer {token}")));
    let request = format!("{}\r\nHost: {}\r\nConnection: close\r\n\r\n", kept.join("\r\n"), state.address);
    upstream.write_all(request.as_bytes()).and_then(|()| upstream.write_all(&body)).ok()?;
    // From here on the request was taken: whoever ends it.
    let mut is_begun = false;
    while let Ok(n) = upstream.read(&mut buffer) {
        if !std::mem::replace(&mut is_begun, true) {
            let status = String::from_utf8_lossy(&buffer[..n]).split(' ').nth(1).and_then(|code| code.parse().ok());
            state.answers.lock().expect("not poisoned").push((path.clone(), status.unwrap_or(0)));
        }
        if n == 0 || client.write_all(&buffer[..n]).and_then(|()| client.flush()).is_err() {
            break;
        }
    }
    if !connection.is_reset.load(Ordering::Relaxed) {
        client.conn.send_close_notify();
        client.flush().unwrap_or_default();
    }
    Some(())
}

fn wait_while_held(state: &State, path: &str) {
    let mut hold = state.hold.lock().expect("not poisoned");
    let mut is_noted = false;
    while hold.is_some_and(|what| path.contains(what)) {
        if !std::mem::replace(&mut is_noted, true) {
            state.held.lock().expect("not poisoned").push(path.to_owned());
        }
        hold = state.let_go.wait(hold).expect("not poisoned");
    }
}

fn connect(state: &State, connection: &Connection) -> Option<Box<dyn Stream>> {
    let socket = TcpStream::connect(&state.address).ok()?;
    *connection.upstream.lock().expect("not poisoned") = socket.try_clone().ok();
    let Some((config, _)) = &state.secure else { return Some(Box::new(socket)) };
    let name = ServerName::from(std::net::IpAddr::from(Ipv4Addr::LOCALHOST));
    let tls = ClientConnection::new(config.clone(), name).expect("a configuration for it");
    Some(Box::new(StreamOwned::new(tls, socket)))
}
