//! A small Kubernetes API server in this process, over real HTTP: for a laptop without a cluster, for tests and for chaos.
//!
//! `http` speaks to clients, `state` holds the cluster and its rules, `journal` keeps it, `faults` breaks it on request. It
//! has no schemas, no admission and no ownership of fields; what it answers, it answers as a real API server would.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use tokio::task::AbortHandle;

mod controllers;
mod faults;
mod http;
mod journal;
mod kubeconfig;
mod object;
mod origin;
mod patch;
mod resource;
mod scenario;
mod server;
mod state;
mod status;
mod workload;

pub use faults::{Fault, Faults, Mark, Rule, Spoil};
pub use kubeconfig::CONTEXT;
pub use object::{Encoded, Object, text_at};
pub use origin::Origin;
pub use resource::Resource;
pub use scenario::{Scenario, ScenarioError};
pub use state::{Change, Deleted, Deletion, Listed, Operation, Part, Propagation, State, Watch, Write};
pub use status::{Cause, Status};
pub use workload::{Life, LifeOptions};

/// Name of the kubeconfig in the sandbox's directory.
pub const KUBECONFIG: &str = "kubeconfig";

/// How to start it.
#[derive(Debug, Clone)]
pub struct SandboxOptions {
    /// Where to listen, on this machine only; port 0 lets the system choose.
    pub listen: SocketAddr,
    /// Where objects, revision and cluster uid are kept, and the kubeconfig is written.
    pub dir: PathBuf,
}

/// Why it does not start. Each names the thing and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum SandboxError {
    /// The listen address cannot be used.
    #[error("{0}")]
    Listen(String),
    /// The directory cannot be used: not writable, owned by another process, damaged.
    #[error("{0}")]
    Directory(String),
}

/// A running sandbox API server. Dropping it ends it.
pub struct Sandbox {
    kubeconfig: PathBuf,
    url: String,
    cluster_uid: String,
    state: State,
    faults: Faults,
    tasks: Mutex<Vec<AbortHandle>>,
}

impl std::fmt::Debug for Sandbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sandbox").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Sandbox {
    /// Starts it on the current tokio runtime: it accepts requests when this returns.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        Self::start_with(options, Origin::system()).await
    }

    /// The same with a clock and randomness of the caller's.
    pub async fn start_with(options: SandboxOptions, origin: Origin) -> Result<Self, SandboxError> {
        let SandboxOptions { listen, dir } = options;
        if !listen.ip().is_loopback() {
            return Err(SandboxError::Listen(format!(
                "{listen}: the sandbox asks nobody for a password and so listens to this machine only; set an address such as \
                 127.0.0.1:{}",
                listen.port()
            )));
        }
        // The listener first: where the port is taken, the directory is left alone.
        let listener = tokio::net::TcpListener::bind(listen).await.map_err(|error| cannot_listen(listen, &error))?;
        let address = listener.local_addr().unwrap_or(listen);
        let url = format!("http://{address}");
        let state = journal::open(&dir, origin).map_err(SandboxError::Directory)?;
        let kubeconfig = dir.join(KUBECONFIG);
        kubeconfig::write(&kubeconfig, &url)
            .map_err(|error| SandboxError::Directory(journal::unusable(&kubeconfig, &error)))?;
        let faults = Faults::new(state.clone());
        let api = http::Api { state: state.clone(), faults: faults.clone(), address: address.to_string() };
        // The sandbox is an end of its own: what it spawns, it ends when it is dropped.
        #[allow(clippy::disallowed_methods)]
        let tasks = vec![
            tokio::spawn(server::serve(listener, http::router(api))).abort_handle(),
            tokio::spawn(state.clone().tidy_up()).abort_handle(),
        ];
        let cluster_uid = state.cluster_uid();
        tracing::info!(%url, cluster_uid, kubeconfig = %kubeconfig.display(), "the sandbox cluster is up");
        Ok(Self { kubeconfig, url, cluster_uid, state, faults, tasks: Mutex::new(tasks) })
    }

    /// `http://127.0.0.1:16443`
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The kubeconfig that leads here.
    pub fn kubeconfig(&self) -> &Path {
        &self.kubeconfig
    }

    /// Identity of the cluster: uid of namespace kube-system.
    pub fn cluster_uid(&self) -> &str {
        &self.cluster_uid
    }

    /// The cluster's state, for those who act on it in this process.
    pub fn state(&self) -> &State {
        &self.state
    }

    /// Scripted faults.
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// Lets the cluster live from now on: its controllers, and what `options` ask for. To be called once.
    pub fn live(&self, options: LifeOptions) -> Result<(), SandboxError> {
        let life = Life::new(self.state.clone(), options).map_err(|s| SandboxError::Directory(s.message))?;
        // As above: it ends with the sandbox.
        #[allow(clippy::disallowed_methods)]
        let task = tokio::spawn(life.run()).abort_handle();
        self.tasks.lock().unwrap_or_else(PoisonError::into_inner).push(task);
        Ok(())
    }

    /// Stops serving and writes what is to be written. Idempotent.
    pub async fn stop(&self) {
        self.end();
        self.state.close();
    }

    fn end(&self) {
        for task in self.tasks.lock().unwrap_or_else(PoisonError::into_inner).drain(..) {
            task.abort();
        }
    }
}

impl Drop for Sandbox {
    fn drop(&mut self) {
        self.end();
        self.state.close();
    }
}

fn cannot_listen(listen: SocketAddr, error: &std::io::Error) -> SandboxError {
    let any = SocketAddr::new(IpAddr::from([127, 0, 0, 1]), 0);
    SandboxError::Listen(match error.kind() {
        std::io::ErrorKind::AddrInUse => format!(
            "{listen}: the sandbox's port is in use, probably by another agent-events; end that one, or set another address \
             ({any} lets the system choose)"
        ),
        _ => format!("{listen}: the sandbox cannot listen there: {error}; set an address of this machine"),
    })
}
