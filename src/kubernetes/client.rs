//! A real API server, through `kube`'s client.

use super::credentials::{self, Credentials};
use super::polite::{Manners, Traffic};
use super::{ApiServer, Response};
use crate::domain::cut::scrub::scrub;
use crate::domain::discovery::Discovery;
use crate::domain::kind::Kind;
use crate::domain::rv::Rv;
use crate::domain::said;
use crate::domain::target::Target;
use crate::domain::watch::{Request, Verb};
use futures_util::StreamExt as _;
use futures_util::future::BoxFuture;
use http_body_util::BodyExt as _;
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec};
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{ListParams, PostParams, VersionMatch, WatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// Where the credentials come from.
#[derive(Debug, Clone, Default)]
pub struct Access {
    /// In-cluster only, kubeconfig only, or whichever is there.
    pub mode: Mode,
    /// Path of a kubeconfig; else `KUBECONFIG` or the default place.
    pub kubeconfig: Option<PathBuf>,
    /// Context in it; else its current one.
    pub context: Option<String>,
}

/// Which credentials are taken.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Mode {
    /// The service account if it is mounted, else a kubeconfig.
    #[default]
    Auto,
    /// The mounted service account.
    InCluster,
    /// A kubeconfig.
    Kubeconfig,
}

/// Why there is no client.
#[derive(Debug, thiserror::Error)]
pub enum AccessError {
    /// Nothing is configured: exit 69, with what was tried. Never a mock.
    #[error("no Kubernetes cluster is configured: {0}")]
    NotConfigured(String),
    /// Something is configured, and is wrong.
    #[error("the Kubernetes client cannot be built: {0}")]
    Broken(String),
}

/// A client of one API server. Cheap to clone. Made on the shared runtime: on an arbiter's it would die with it.
#[derive(Clone)]
pub struct Cluster {
    credentials: Arc<Credentials>,
    url: String,
}

impl Cluster {
    /// Reads the configuration and builds a client. Does not contact the server. `cluster` is the name that the API
    /// server's operators find in their audit log.
    pub async fn connect(access: &Access, cluster: &str, traffic: Arc<dyn Traffic>) -> Result<Self, AccessError> {
        let (credentials, url) = Credentials::new(access, cluster, Manners::new(traffic)).await?;
        Ok(Self { credentials: Arc::new(credentials), url })
    }

    /// The server's URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// uid of namespace kube-system: the identity of the cluster. Within 10 s.
    pub async fn uid(&self) -> Result<String, ClusterError> {
        let ask = |client| async move { Api::<Namespace>::all(client).get_metadata("kube-system").await };
        let namespace = self.within(ask).await?;
        namespace.metadata.uid.ok_or_else(|| ClusterError::Away("namespace kube-system has no uid".into()))
    }

    /// Sends a request as it stands. The error says what failed, for people.
    pub(super) async fn send(
        &self,
        request: http::Request<kube::client::Body>,
    ) -> Result<http::Response<kube::client::Body>, String> {
        let (client, generation) = self.credentials.client();
        let answer = client.send(request).await.map_err(|e| complaint(&e));
        let refused = match &answer {
            Ok(response) => response.status().as_u16() == 401,
            Err(reason) => credentials::is_about_trust(reason),
        };
        if refused {
            // Whoever asks again does so with credentials that were read anew.
            self.credentials.renew(generation).await;
        }
        answer
    }

    /// The server's version. Within 10 s.
    pub async fn version(&self) -> Result<String, ClusterError> {
        Ok(self.within(|client| async move { client.apiserver_version().await }).await?.git_version)
    }

    /// Asks, within 10 s; with credentials that were read anew where the server refuses the ones at hand.
    async fn within<T, F>(&self, ask: impl Fn(Client) -> F) -> Result<T, ClusterError>
    where
        F: Future<Output = kube::Result<T>>,
    {
        let call = async {
            let (client, generation) = self.credentials.client();
            match ask(client).await {
                Err(error) if is_refusal(&error) && self.credentials.renew(generation).await => {
                    ask(self.credentials.client().0).await
                }
                answer => answer,
            }
        };
        match tokio::time::timeout(Duration::from_secs(10), call).await {
            Err(_) => Err(ClusterError::Away("no answer within 10 s".into())),
            Ok(Ok(value)) => Ok(value),
            Ok(Err(kube::Error::Api(status))) if status.code == 401 => Err(ClusterError::Unauthenticated),
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                Err(ClusterError::Forbidden(said::sentence(&status.message)))
            }
            Ok(Err(e)) => Err(ClusterError::Away(complaint(&e))),
        }
    }

    /// Whether we may do `verb` on a kind. Within 10 s.
    pub async fn may(&self, verb: &str, kind: &Kind, namespace: Option<&str>) -> Result<bool, ClusterError> {
        let review = &review(verb, kind, namespace);
        let ask = |client| async move {
            Api::<SelfSubjectAccessReview>::all(client).create(&PostParams::default(), review).await
        };
        let answer = self.within(ask).await?;
        Ok(answer.status.is_some_and(|s| s.allowed))
    }
}

/// Why the API server did not answer a question of ours.
#[derive(Debug, thiserror::Error)]
pub enum ClusterError {
    /// It refuses our credentials.
    #[error("the API server refuses the credentials (401): check the token or certificate of the kubeconfig's user")]
    Unauthenticated,
    /// We are known and not allowed.
    #[error("not allowed: {0}")]
    Forbidden(String),
    /// It is away, or answered with an error.
    #[error("{0}")]
    Away(String),
}

/// Whether other credentials might help.
fn is_refusal(error: &kube::Error) -> bool {
    matches!(error, kube::Error::Api(status) if status.code == 401) || credentials::is_about_trust(&describe(error))
}

/// What went wrong with a request. What the server said, and what an answer held that could not be read, is no part of it
/// but for what may be repeated.
fn complaint(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) => format!("it answered {} {}", status.code, said::sentence(&status.message)),
        kube::Error::SerdeError(_) | kube::Error::FromUtf8(_) => "its answer cannot be read".to_owned(),
        error => scrub(&describe(error)).into_owned(),
    }
}

/// The innermost cause says what happened ("connection refused"); the outer ones only that something did.
pub(super) fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text = format!("{text}: {inner_text}");
        }
        source = inner.source();
    }
    text
}

pub(super) async fn configuration(access: &Access) -> Result<Config, AccessError> {
    let options = KubeConfigOptions { context: access.context.clone(), ..KubeConfigOptions::default() };
    let from_file = async {
        match &access.kubeconfig {
            Some(path) => {
                let kubeconfig =
                    Kubeconfig::read_from(path).map_err(|e| format!("{}: {}", path.display(), describe(&e)))?;
                Config::from_custom_kubeconfig(kubeconfig, &options)
                    .await
                    .map_err(|e| format!("{}: {}", path.display(), describe(&e)))
            }
            None => Config::from_kubeconfig(&options).await.map_err(|e| format!("kubeconfig: {}", describe(&e))),
        }
    };
    let in_cluster = || Config::incluster().map_err(|e| format!("service account: {}", describe(&e)));
    let tried = match access.mode {
        Mode::InCluster => in_cluster(),
        Mode::Kubeconfig => from_file.await,
        Mode::Auto if access.kubeconfig.is_some() || access.context.is_some() => from_file.await,
        Mode::Auto => match in_cluster() {
            Ok(config) => Ok(config),
            Err(first) => from_file.await.map_err(|second| format!("{first}; {second}")),
        },
    };
    tried.map_err(|tried| {
        AccessError::NotConfigured(format!(
            "tried {tried}. Set cluster.kubeconfig, KUBECONFIG, or run inside a cluster"
        ))
    })
}

impl ApiServer for Cluster {
    fn discover(&self) -> BoxFuture<'_, Result<Discovery, String>> {
        Box::pin(async { Cluster::discover(self).await.map_err(|e| e.to_string()) })
    }

    fn send<'a>(&'a self, target: &'a Target, request: &'a Request) -> BoxFuture<'a, Result<Response, String>> {
        Box::pin(async move {
            let (parts, body) = http_request(target, request).map_err(|e| e.to_string())?.into_parts();
            let request = || http::Request::from_parts(parts.clone(), kube::client::Body::from(body.clone()));
            let (client, generation) = self.credentials.client();
            let mut answer = client.send(request()).await.map_err(|e| complaint(&e));
            let refused = match &answer {
                Ok(response) => response.status() == http::StatusCode::UNAUTHORIZED,
                Err(reason) => credentials::is_about_trust(reason),
            };
            if refused && self.credentials.renew(generation).await {
                answer = self.credentials.client().0.send(request()).await.map_err(|e| complaint(&e));
            }
            let response = answer?;
            let retry_after = response.headers().get(http::header::RETRY_AFTER);
            let retry_after = retry_after.and_then(|v| v.to_str().ok()?.parse().ok()).map(Duration::from_secs);
            let status = response.status().as_u16();
            let body = response.into_body().into_data_stream();
            let body = body.map(|chunk| chunk.map_err(|e| format!("the connection broke: {}", complaint(&e)))).boxed();
            Ok(Response { status, retry_after, body })
        })
    }
}

fn http_request(target: &Target, request: &Request) -> Result<http::Request<Vec<u8>>, kube::core::request::Error> {
    let base = kube::core::Request::new(target.kind.path(target.namespace.as_deref()));
    let metadata = request.metadata_only;
    let selector = |text: &Option<std::sync::Arc<str>>| text.as_deref().map(str::to_owned);
    let (label, field) = (selector(&target.selectors.label), selector(&target.selectors.field));
    match &request.verb {
        Verb::List { limit, next, at_least } => {
            let mut params = ListParams::default().limit(*limit);
            if let Some(token) = next {
                params = params.continue_token(token);
            } else if let Some(rv) = at_least {
                params = params.at(rv.as_str()).matching(VersionMatch::NotOlderThan);
            }
            (params.label_selector, params.field_selector) = (label, field);
            if metadata { base.list_metadata(&params) } else { base.list(&params) }
        }
        Verb::Probe { rv } => {
            let mut params = ListParams::default().limit(1).at(rv.as_str()).matching(VersionMatch::NotOlderThan);
            (params.label_selector, params.field_selector) = (label, field);
            base.list_metadata(&params)
        }
        Verb::Watch { rv, timeout_seconds } => {
            let mut params = WatchParams::default().timeout(*timeout_seconds);
            (params.label_selector, params.field_selector) = (label, field);
            let rv = rv.as_str();
            let request = if metadata { base.watch_metadata(&params, rv) } else { base.watch(&params, rv) };
            request.map(uncompressed)
        }
        Verb::WatchList { at_least, timeout_seconds } => {
            // Adds sendInitialEvents=true, resourceVersionMatch=NotOlderThan and allowWatchBookmarks=true.
            let mut params = WatchParams::default().timeout(*timeout_seconds).initial_events();
            (params.label_selector, params.field_selector) = (label, field);
            let rv = at_least.as_ref().map_or("", Rv::as_str);
            let request = if metadata { base.watch_metadata(&params, rv) } else { base.watch(&params, rv) };
            request.map(uncompressed)
        }
        Verb::Review { verb } => {
            let review = review(verb, &target.kind, target.namespace.as_deref());
            // Strings only: cannot fail.
            let body = serde_json::to_vec(&review).unwrap_or_default();
            kube::core::Request::new("/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
                .create(&PostParams::default(), body)
        }
    }
}

/// A compressed watch holds events back and costs more than it saves inside a cluster (kube #2079).
fn uncompressed(mut request: http::Request<Vec<u8>>) -> http::Request<Vec<u8>> {
    request.headers_mut().insert(http::header::ACCEPT_ENCODING, http::HeaderValue::from_static("identity"));
    request
}

fn review(verb: &str, kind: &Kind, namespace: Option<&str>) -> SelfSubjectAccessReview {
    SelfSubjectAccessReview {
        spec: SelfSubjectAccessReviewSpec {
            resource_attributes: Some(ResourceAttributes {
                group: Some(kind.group().to_owned()),
                resource: Some(kind.plural().to_owned()),
                verb: Some(verb.to_owned()),
                namespace: namespace.map(str::to_owned),
                ..ResourceAttributes::default()
            }),
            ..SelfSubjectAccessReviewSpec::default()
        },
        ..SelfSubjectAccessReview::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::target::Selectors;

    #[test]
    fn every_page_of_a_list_is_asked_for_with_the_selectors() {
        let selectors = Selectors { label: Some("app in (a,b)".into()), field: Some("type!=x".into()) };
        let target = Target { selectors, ..Target::within(Kind::builtin("secrets").expect("built in"), "shop") };
        for next in [None, Some("token".to_owned())] {
            let request = Request { id: 1, verb: Verb::List { limit: 5, next, at_least: None }, metadata_only: false };
            let uri = http_request(&target, &request).expect("well formed").uri().to_string();
            assert!(uri.starts_with("/api/v1/namespaces/shop/secrets?"), "{uri}");
            assert!(
                uri.contains("labelSelector=app+in+%28a%2Cb%29") && uri.contains("fieldSelector=type%21%3Dx"),
                "{uri}"
            );
        }
    }
}
