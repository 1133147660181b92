//! The parts of the settings that commands open themselves: the log, the API server, the topics as they should be.

use super::args::Global;
use super::failure::Failure;
use crate::domain::topic::TopicSpec;
use crate::settings::{FlagOverride, Loaded, Sources, load};
use std::sync::Arc;

use crate::app;
use crate::kubernetes::client::Cluster;
use crate::log::Log;
use crate::settings::Settings;

/// Loads the settings from the environment and the command line.
pub fn settings(global: &Global, flags: Vec<FlagOverride>) -> Result<Loaded, Failure> {
    // A variable that is not text cannot be one of ours: all our names and values are.
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    let sources = Sources { files: global.config.clone(), env: env.collect(), set: global.set.clone(), flags };
    Ok(load(&sources)?)
}

/// The topics that these settings need.
pub fn topic_specs(settings: &Settings) -> Vec<TopicSpec> {
    app::topic_specs(settings)
}

/// The log that the settings name. Does not contact it.
pub fn open_log(loaded: &Loaded) -> Result<Arc<dyn Log>, Failure> {
    app::open_log(loaded).map_err(Failure::from)
}

/// The API server that the settings name. Does not contact it.
pub async fn open_cluster(settings: &Settings) -> Result<Cluster, Failure> {
    app::open_cluster(settings).await.map_err(Failure::from)
}

impl From<app::StartError> for Failure {
    fn from(error: app::StartError) -> Self {
        Self::with(error.exit_code(), error.to_string())
    }
}
