//! The client of the process, built anew when the server no longer takes what it was built from.
//!
//! kube reads a token file again once a minute, and in a cluster the authority's file too; nothing of a kubeconfig but its
//! token file. A token that is taken back, a serving certificate of a new authority, a client certificate or a kubeconfig
//! that was replaced would cost a minute or the process's life. So a refusal makes us read everything again, at once; what
//! is under way on the old client (open watches) goes on there.

use super::client::{Access, AccessError, configuration, describe};
use super::polite::Manners;
use kube::Client;
use kube::client::ClientBuilder;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// Credentials that are refused for good must not keep the disk, or an exec plugin, busy.
const EVERY: Duration = Duration::from_secs(5);

/// The client, and what it takes to build another.
pub(super) struct Credentials {
    access: Access,
    agent: String,
    manners: Manners,
    current: Mutex<Current>,
}

struct Current {
    client: Client,
    generation: u64,
    tried: Option<Instant>,
}

impl Credentials {
    /// Reads them for the first time; also the server's URL.
    pub(super) async fn new(access: &Access, cluster: &str, manners: Manners) -> Result<(Self, String), AccessError> {
        // What stands in a header must be plain; cluster names are.
        let name: String = cluster.chars().filter(|c| c.is_ascii_graphic()).collect();
        let name = if name.is_empty() { "unnamed" } else { &name };
        let agent = format!("agent-events/{} ({}; +{name})", env!("CARGO_PKG_VERSION"), std::env::consts::OS);
        let (client, url) = build(access, &agent, &manners).await?;
        let current = Mutex::new(Current { client, generation: 0, tried: None });
        Ok((Self { access: access.clone(), agent, manners, current }, url))
    }

    /// The client, and its number.
    pub(super) fn client(&self) -> (Client, u64) {
        let current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        (current.client.clone(), current.generation)
    }

    /// The client of that number was refused. Gives whether there is a newer one now.
    pub(super) async fn renew(&self, refused: u64) -> bool {
        {
            let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
            if current.generation > refused {
                return true;
            }
            let now = Instant::now();
            if current.tried.is_some_and(|tried| now < tried + EVERY) {
                return false;
            }
            current.tried = Some(now);
        }
        match build(&self.access, &self.agent, &self.manners).await {
            Ok((client, _)) => {
                tracing::info!("the API server refused the credentials; they were read again");
                let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
                (current.client, current.generation) = (client, current.generation + 1);
                true
            }
            Err(error) => {
                tracing::warn!(%error, "the API server refuses the credentials, and they cannot be read again");
                false
            }
        }
    }
}

async fn build(access: &Access, agent: &str, manners: &Manners) -> Result<(Client, String), AccessError> {
    let mut config = configuration(access).await?;
    // Retries, compression and read timeouts of the client would work against the watch core's own.
    config.default_retry = false;
    config.disable_compression = true;
    config.connect_timeout = Some(Duration::from_secs(10));
    if let Ok(agent) = http::HeaderValue::from_str(agent) {
        config.headers.push((http::header::USER_AGENT, agent));
    }
    let url = config.cluster_url.to_string();
    let builder = ClientBuilder::try_from(config).map_err(|e| AccessError::Broken(describe(&e)))?;
    Ok((builder.with_layer(manners).build(), url))
}

/// Whether a connection failed because one side does not trust the other's certificate. rustls says no more than text by
/// the time it comes through hyper and kube.
pub(super) fn is_about_trust(reason: &str) -> bool {
    reason.contains("certificate") || reason.contains("Certificate") || reason.contains("received fatal alert")
}
