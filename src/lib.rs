//! Everything a Kubernetes API server reports, as a durable, ordered log in Kafka, and served back as live shared state.

pub mod actors;
pub mod domain;
pub mod messages;
