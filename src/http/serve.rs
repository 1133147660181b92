//! The listeners: bounded connections, a deadline on headers, an end that waits for nobody for long.

use axum::Router;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;

/// Connections at once on one listener: a page opens six, a scraper one. Further ones wait in the backlog.
const CONNECTIONS: usize = 256;
/// How long a client may take to send its headers; also how long a kept-alive connection may idle.
const HEADERS: Duration = Duration::from_secs(30);
/// Longest request head.
const HEAD_BYTES: usize = 64 * 1024;
/// What open streams have left after the shutdown began; then they are cut, and resume elsewhere.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// Why a listener cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// Someone else listens there.
    #[error(
        "{setting} = {addr}: the port is in use, probably by another agent-events; end that one, or set another address \
         (--set {setting}=\"127.0.0.1:0\" lets the system choose)"
    )]
    InUse {
        /// The setting.
        setting: String,
        /// Its value.
        addr: SocketAddr,
    },
    /// The system refuses for another reason.
    #[error("{setting} = {addr}: cannot listen there: {error}; set an address of this machine")]
    Refused {
        /// The setting.
        setting: String,
        /// Its value.
        addr: SocketAddr,
        /// What the system says.
        error: std::io::Error,
    },
}

/// Listens at `addr`, which came from setting `setting` (`http.api`, `http.ops`). Needs no runtime, so that a port in use
/// ends the process before it touched anything; where port 0 was asked for, the listener knows the port.
pub fn bind(addr: SocketAddr, setting: &str) -> Result<TcpListener, HttpError> {
    let setting = setting.to_owned();
    match TcpListener::bind(addr) {
        Ok(listener) => {
            let bound = listener.local_addr().unwrap_or(addr);
            tracing::info!(setting, addr = %bound, "listening");
            Ok(listener)
        }
        Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => Err(HttpError::InUse { setting, addr }),
        Err(error) => Err(HttpError::Refused { setting, addr, error }),
    }
}

/// Answers until `shutdown` resolves, then lets running answers finish for a second. Run it as a task of the shared
/// runtime; it ends only by `shutdown`, or with an error that says why it cannot begin.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    shutdown: impl Future<Output = ()> + Send,
) -> std::io::Result<()> {
    listener.set_nonblocking(true)?;
    let listener = tokio::net::TcpListener::from_std(listener)?;
    let slots = Arc::new(Semaphore::new(CONNECTIONS));
    let (close, closing) = tokio::sync::watch::channel(());
    let mut connections = JoinSet::new();
    let mut shutdown = std::pin::pin!(shutdown);
    loop {
        let accepted = tokio::select! {
            () = &mut shutdown => break,
            // Reaps what ended, so that the set holds no more than what is open.
            Some(_) = connections.join_next() => continue,
            accepted = accept(&listener, &slots) => accepted,
        };
        let (socket, slot) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                // Out of file descriptors, most likely: answering again later beats ending.
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(100)).await;
                continue;
            }
        };
        let service = TowerToHyperService::new(router.clone());
        let mut closing = closing.clone();
        connections.spawn(async move {
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEADERS)
                .max_buf_size(HEAD_BYTES)
                .serve_connection(TokioIo::new(socket), service);
            let mut connection = std::pin::pin!(connection);
            let ended = tokio::select! {
                ended = connection.as_mut() => ended,
                _ = closing.changed() => {
                    connection.as_mut().graceful_shutdown();
                    connection.await
                }
            };
            if let Err(error) = ended {
                tracing::debug!(%error, "a connection ended early");
            }
            drop(slot);
        });
    }
    drop(listener);
    drop(close);
    let all_done = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(LAST_WORDS, all_done).await.is_err() {
        connections.shutdown().await;
    }
    Ok(())
}

type Accepted = (tokio::net::TcpStream, tokio::sync::OwnedSemaphorePermit);

/// Takes the slot first: a connection that would have to wait is left to the kernel's backlog. Cancel-safe.
async fn accept(listener: &tokio::net::TcpListener, slots: &Arc<Semaphore>) -> std::io::Result<Accepted> {
    let slot = slots.clone().acquire_owned().await.map_err(std::io::Error::other)?;
    let (socket, _) = listener.accept().await?;
    // Small answers and stream events must not wait for each other (Nagle). A socket that refuses still works.
    socket.set_nodelay(true).unwrap_or_default();
    Ok((socket, slot))
}
