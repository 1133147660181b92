//! The listeners, with real sockets on loopback: ports in use, connections that say nothing, the end.

use agent_events::http::{Faces, HttpError, bind, ops_router, serve};
use axum::Router;
use axum::body::Body;
use axum::routing::get;
use futures_util::{StreamExt as _, stream};
use std::time::Duration;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time::timeout;

const DEADLINE: Duration = Duration::from_secs(20);

#[test]
fn a_port_in_use_names_the_setting_and_the_way_out() {
    let first = bind("127.0.0.1:0".parse().expect("an address"), "http.api").expect("a free port");
    let addr = first.local_addr().expect("it listens");
    let error = bind(addr, "http.api").expect_err("it is taken");
    assert!(matches!(error, HttpError::InUse { .. }));
    let text = error.to_string();
    for part in ["http.api", &addr.to_string(), "in use", "--set http.api="] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let error =
        bind("192.0.2.1:80".parse().expect("an address"), "http.ops").expect_err("not an address of this machine");
    assert!(error.to_string().starts_with("http.ops = 192.0.2.1:80: cannot listen there"), "{error}");
}

struct Listener {
    addr: std::net::SocketAddr,
    stop: oneshot::Sender<()>,
    tasks: JoinSet<std::io::Result<()>>,
}

fn listen(router: Router) -> Listener {
    let listener = bind("127.0.0.1:0".parse().expect("an address"), "http.api").expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let (stop, stopped) = oneshot::channel();
    let mut tasks = JoinSet::new();
    tasks.spawn(serve(listener, router, async move { drop(stopped.await) }));
    Listener { addr, stop, tasks }
}

impl Listener {
    async fn connect(&self, request: &[u8]) -> TcpStream {
        let mut socket = TcpStream::connect(self.addr).await.expect("it accepts");
        socket.write_all(request).await.expect("it takes what we send");
        socket
    }

    async fn end(mut self) {
        self.stop.send(()).expect("it still runs");
        timeout(DEADLINE, self.tasks.join_next())
            .await
            .expect("it ends in time")
            .expect("one task")
            .expect("no panic")
            .expect("no error");
    }
}

async fn read_until(socket: &mut TcpStream, end: &str) -> String {
    let mut text = Vec::new();
    let mut buffer = [0; 1024];
    while !String::from_utf8_lossy(&text).contains(end) {
        match timeout(DEADLINE, socket.read(&mut buffer)).await.expect("an answer in time") {
            Ok(0) | Err(_) => break,
            Ok(n) => text.extend_from_slice(&buffer[..n]),
        }
    }
    String::from_utf8_lossy(&text).into_owned()
}

#[tokio::test]
async fn bytes_that_are_no_request_harm_nobody_else() {
    let listener = listen(ops_router(Faces::default()));
    let silent = listener.connect(b"").await;
    let garbage = [&b"\x16\x03\x01\x02\x00\x01\x00"[..], b"GET", b"\r\n\r\n\r\n", &[0xff; 100_000]];
    for bytes in garbage {
        let mut socket = TcpStream::connect(listener.addr).await.expect("it accepts");
        // It may hang up before it has all of it.
        drop(socket.write_all(bytes).await);
    }
    let mut probe = listener.connect(b"GET /livez HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    let answer = read_until(&mut probe, "\r\n\r\nok").await;
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(silent);
    listener.end().await;
}

#[tokio::test]
async fn the_end_waits_for_no_stream_and_no_idle_connection() {
    let endless =
        || async { Body::from_stream(stream::repeat(bytes::Bytes::from_static(b"x")).map(Ok::<_, std::io::Error>)) };
    let quiet = || async { Body::from_stream(stream::pending::<std::io::Result<bytes::Bytes>>()) };
    let listener = listen(Router::new().route("/endless", get(endless)).route("/quiet", get(quiet)));
    let mut open = Vec::new();
    for path in ["/endless", "/quiet"] {
        let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
        let mut socket = listener.connect(request.as_bytes()).await;
        let head = read_until(&mut socket, "\r\n\r\n").await;
        assert!(head.starts_with("HTTP/1.1 200"), "{head}");
        open.push(socket);
    }
    open.push(listener.connect(b"").await);
    listener.end().await;
}
