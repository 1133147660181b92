//! A small Kubernetes API server in this process, over real HTTP: for a laptop without a cluster, for tests and for chaos.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

mod controllers;
mod object;
mod origin;
mod resource;
mod scenario;
mod state;
mod status;
mod workload;

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
    /// Where to listen; port 0 lets the system choose.
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
}

impl Sandbox {
    /// Starts it on the current tokio runtime: it accepts requests when this returns.
    pub async fn start(options: SandboxOptions) -> Result<Self, SandboxError> {
        Err(SandboxError::Directory(format!("{}: not built yet", options.dir.display())))
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
        ""
    }

    /// Stops serving and writes what is to be written. Idempotent.
    pub async fn stop(&self) {}
}
