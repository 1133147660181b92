//! Asks an API server what it serves: two requests where it answers in aggregate, else one for every version of a group.
//!
//! What the answers mean is `domain::discovery`. A group that cannot be asked is unknown there, and the rest is used.

use super::client::{Cluster, ClusterError};
use crate::domain::discovery::{Answer, Discovery, Group, GroupVersions, Version, read_answer, read_resources};
use bytes::Bytes;
use futures_util::StreamExt as _;
use http_body_util::{BodyExt as _, Limited};
use std::time::Duration;

/// v2 since Kubernetes 1.30, v2beta1 from 1.26 to 1.34. A server that knows neither, or refuses all of it, is asked again
/// in the old way.
const AGGREGATED: &str = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList,\
                          application/json;g=apidiscovery.k8s.io;v=v2beta1;as=APIGroupDiscoveryList,application/json";
const PLAIN: &str = "application/json";
/// A document of a large cluster has half a MiB.
const LONGEST: usize = 32 << 20;
/// Of one answer.
const DEADLINE: Duration = Duration::from_secs(10);
/// Of all of them: an aggregated API that hangs must not hold up the others for ever.
const ALTOGETHER: Duration = Duration::from_secs(60);
/// Requests at a time, in the old way.
const AT_A_TIME: usize = 4;

impl Cluster {
    /// Everything that is served now. Within a minute.
    ///
    /// # Errors
    /// When the list of groups itself cannot be had.
    pub async fn discover(&self) -> Result<Discovery, ClusterError> {
        let all = async {
            let (core, groups) = tokio::join!(self.below("/api"), self.below("/apis"));
            let (mut core, groups) = (core?, groups?);
            core.extend(groups);
            Ok(Discovery::of(core))
        };
        match tokio::time::timeout(ALTOGETHER, all).await {
            Ok(found) => found,
            Err(_) => Err(away("/apis", "no complete answer within a minute")),
        }
    }

    async fn below(&self, root: &str) -> Result<Vec<Group>, ClusterError> {
        let (mut status, mut body) = self.fetch(root, AGGREGATED).await?;
        if status == 406 {
            (status, body) = self.fetch(root, PLAIN).await?;
        }
        match status {
            200 => {}
            401 => return Err(ClusterError::Unauthenticated),
            403 => {
                let why = format!("GET {root} (bind ClusterRole system:discovery to this user)");
                return Err(ClusterError::Forbidden(why));
            }
            status => return Err(away(root, &format!("HTTP {status}"))),
        }
        match read_answer(&body).map_err(|why| away(root, &why))? {
            Answer::Aggregated(groups) => Ok(groups),
            Answer::Legacy(groups) => {
                let asked = groups.into_iter().map(|group| self.group(root, group));
                Ok(futures_util::stream::iter(asked).buffered(AT_A_TIME).collect().await)
            }
        }
    }

    async fn group(&self, root: &str, group: GroupVersions) -> Group {
        let mut versions = Vec::new();
        for name in group.versions {
            let path = match group.name.as_str() {
                "" => format!("{root}/{name}"),
                group => format!("{root}/{group}/{name}"),
            };
            let resources = match self.fetch(&path, PLAIN).await {
                Ok((200, body)) => read_resources(&body),
                Ok((status, _)) => Err(format!("GET {path}: HTTP {status}")),
                Err(error) => Err(error.to_string()),
            };
            versions.push(Version { name, resources });
        }
        Group { name: group.name, versions }
    }

    /// Status and body. The error says on which path.
    async fn fetch(&self, path: &str, accept: &str) -> Result<(u16, Bytes), ClusterError> {
        let request = http::Request::get(path).header(http::header::ACCEPT, accept);
        let request = request.body(kube::client::Body::empty()).map_err(|e| away(path, &e.to_string()))?;
        let answer = async {
            let response = self.send(request).await?;
            let status = response.status().as_u16();
            let body = Limited::new(response.into_body(), LONGEST).collect().await;
            let body = body.map_err(|_| format!("the answer broke off or is longer than {LONGEST} bytes"))?;
            Ok((status, body.to_bytes()))
        };
        match tokio::time::timeout(DEADLINE, answer).await {
            Ok(answer) => answer.map_err(|why: String| away(path, &why)),
            Err(_) => Err(away(path, "no answer within 10 s")),
        }
    }
}

fn away(path: &str, why: &str) -> ClusterError {
    ClusterError::Away(format!("GET {path}: {why}"))
}
