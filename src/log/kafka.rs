//! Kafka, through rdkafka: the only place that imports it.
//!
//! [`KafkaLog`] holds settings and no connection: each producer, reader and question is a librdkafka client of its own, with
//! a thread of its own, since librdkafka blocks. What librdkafka reports by itself passes through [`connection`].

mod admin;
mod config;
mod connection;
mod consumer;
mod errors;
mod ffi;
mod producer;
mod thread;

use crate::domain::record::InRecord;
use crate::domain::topic::TopicSpec;
use crate::log::{Log, LogError, Offsets, Producer, Reader, Start, TopicState};
use admin::Admin;
pub use config::KafkaConfig;
#[cfg(all(target_os = "linux", feature = "testing"))]
pub use ffi::hints_ignored;
use futures_util::future::BoxFuture;
use std::sync::Arc;
use thread::off_thread;

/// The Kafka engine.
#[derive(Debug, Clone)]
pub struct KafkaLog {
    config: Arc<KafkaConfig>,
}

impl KafkaLog {
    /// Checks the settings; asks no broker. [`LogError::Setting`] names what is wrong.
    pub fn new(config: KafkaConfig) -> Result<Self, LogError> {
        config::check(&config)?;
        Ok(Self { config: Arc::new(config) })
    }

    fn ask<'a, T: Send + 'static>(
        &'a self,
        question: impl FnOnce(&Admin<'_>) -> Result<T, LogError> + Send + 'static,
    ) -> BoxFuture<'a, Result<T, LogError>> {
        let config = self.config.clone();
        off_thread(move || question(&Admin::open(&config)?))
    }
}

impl Log for KafkaLog {
    fn engine(&self) -> &'static str {
        "kafka"
    }

    fn location(&self) -> String {
        self.config.bootstrap.clone()
    }

    fn producer(&self) -> Result<Arc<dyn Producer>, LogError> {
        Ok(Arc::new(producer::KafkaProducer::open(&self.config)?))
    }

    fn read(&self, from: Vec<(Arc<str>, i32, Start)>) -> Result<Reader, LogError> {
        consumer::start(&self.config, from)
    }

    fn read_all<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Vec<InRecord>, LogError>> {
        let topic = topic.to_owned();
        self.ask(move |admin| admin.read_all(&topic))
    }

    fn describe<'a>(&'a self, names: &'a [String]) -> BoxFuture<'a, Result<Vec<TopicState>, LogError>> {
        let names = names.to_vec();
        self.ask(move |admin| admin.describe(&names))
    }

    fn list<'a>(&'a self) -> BoxFuture<'a, Result<Vec<String>, LogError>> {
        self.ask(|admin| admin.list())
    }

    fn create<'a>(&'a self, spec: &'a TopicSpec) -> BoxFuture<'a, Result<(), LogError>> {
        self.create_all(std::slice::from_ref(spec))
    }

    fn create_all<'a>(&'a self, specs: &'a [TopicSpec]) -> BoxFuture<'a, Result<(), LogError>> {
        let specs = specs.to_vec();
        self.ask(move |admin| admin.create(&specs))
    }

    fn offsets<'a>(&'a self, topic: &'a str) -> BoxFuture<'a, Result<Offsets, LogError>> {
        let topic = topic.to_owned();
        self.ask(move |admin| admin.offsets(&topic))
    }
}
