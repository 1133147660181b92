//! A real Kubernetes API server (with etcd, controller-manager, scheduler, and kwok for nodes) and a real Kafka, built from
//! package registries alone, started on free loopback ports, and ended with their owner whatever ends it. Nothing here is a mock.
//!
//! ```no_run
//! # fn main() -> testbed::Result<()> {
//! use testbed::{Kafka, KafkaOptions, Kubernetes, KubernetesOptions};
//!
//! let kafka = Kafka::start(KafkaOptions::default())?;
//! let cluster = Kubernetes::start(KubernetesOptions::default())?;
//! // … connect to kafka.bootstrap() and cluster.kubeconfig_path() …
//! cluster.api_server().kill9()?;
//! cluster.api_server().restart()?;
//! # Ok(()) }
//! ```
//!
//! All calls block. What is not on this machine is a typed [`Missing`]; a test asks [`available`] first and skips, loudly,
//! unless [`must_not_skip`].

mod cache;
mod error;
mod https;
mod identity;
mod kafka;
mod kubernetes;
mod orphans;
mod ports;
mod process;
mod recipe;
mod scratch;
mod wait;

pub use cache::{available, build, cache_root, terraform_available, terraform_provider};
pub use error::{Error, Missing, Result};
pub use https::Response;
pub use identity::{Condition, Identity};
pub use kafka::{Kafka, KafkaOptions};
pub use kubernetes::{Kubernetes, KubernetesOptions};
pub use process::Member;
pub use recipe::Part;
pub use wait::{Stopwatch, until as wait_until};

/// In CI (`CI=true`) a part that cannot be started is a failure, not a skip: a green run that tested nothing is worth nothing.
pub fn must_not_skip() -> bool {
    std::env::var("CI").is_ok_and(|value| value == "true")
}
