//! The parts of the settings that commands open themselves: the log, the API server, the topics as they should be.

use super::args::Global;
use super::client::Server;
use super::failure::{Failure, UNAVAILABLE};
use super::presence;
use crate::domain::kind::Kind;
use crate::domain::pattern::Pattern;
use crate::domain::target::Target;
use crate::domain::topic::TopicSpec;
use crate::settings::{FlagOverride, Loaded, Sources, load, load_data_dir};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;

use crate::app;
use crate::kubernetes::client::Cluster;
use crate::kubernetes::polite::Uncounted;
use crate::log::Log;
use crate::settings::Settings;

/// How long a command that can do without waits to hear which kinds are served.
const DISCOVERY: Duration = Duration::from_secs(30);

/// Loads the settings from the environment and the command line.
pub fn settings(global: &Global, flags: Vec<FlagOverride>) -> Result<Loaded, Failure> {
    Ok(load(&sources(global, flags))?)
}

/// The data directory alone: commands that look for a process there need no settings that are fit to run.
pub fn data_dir(global: &Global) -> Result<PathBuf, Failure> {
    Ok(load_data_dir(&sources(global, Vec::new()))?)
}

/// The process to ask: the one that was named, else the one that works on the data directory, else the usual place.
pub fn server(global: &Global) -> Result<Server, Failure> {
    if let Some(url) = &global.server {
        return Server::parse(url);
    }
    // Settings that do not load, and a pid file that cannot be read, are no reason not to ask at the usual place.
    let holder = data_dir(global).and_then(|dir| presence::look(&dir)).ok().flatten();
    match holder.and_then(|holder| holder.api) {
        Some(api) => Server::parse(&format!("http://{api}")),
        None => Server::parse("http://127.0.0.1:8080"),
    }
}

fn sources(global: &Global, flags: Vec<FlagOverride>) -> Sources {
    // A variable that is not text cannot be one of ours: all our names and values are.
    let env =
        std::env::vars_os().filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)));
    Sources { files: global.config.clone(), env: env.collect(), set: global.set.clone(), flags }
}

/// The topics that these settings need, as far as kinds are named by themselves: what `*` means the API server says.
pub fn topic_specs(settings: &Settings) -> Vec<TopicSpec> {
    settings.topics.specs(&settings.watch.named())
}

/// The same, and what the patterns mean that only the API server understands. Where it cannot say it: which, and why.
pub async fn topic_specs_as_served(settings: &Settings) -> (Vec<TopicSpec>, Vec<String>) {
    let watch = &settings.watch;
    let is_open = |pattern: &Pattern| !matches!(pattern, Pattern::One { .. });
    let open: Vec<Pattern> = watch.patterns().into_iter().filter(is_open).collect();
    if open.is_empty() {
        return (topic_specs(settings), Vec::new());
    }
    let asked = async {
        let cluster = open_cluster(settings).await.map_err(|failure| failure.message)?;
        cluster.discover().await.map_err(|error| error.to_string())
    };
    let asked = timeout(DISCOVERY, asked).await;
    let (mut kinds, mut unknown) = (watch.named(), Vec::new());
    match asked.unwrap_or_else(|_| Err(format!("it does not answer within {DISCOVERY:?}"))) {
        Ok(discovery) => {
            let resolved = watch.resolve(&discovery, watch.max_kinds, &settings.topics.prefix);
            for served in resolved.kinds {
                if !kinds.iter().any(|kind| kind.id() == served.kind.id()) {
                    kinds.push(served.kind);
                }
            }
            let is_open = |pattern: &str| open.iter().any(|open| open.to_string() == pattern);
            let missing = resolved.missing.into_iter().filter(|missing| is_open(&missing.pattern));
            unknown.extend(missing.map(|missing| format!("{}: {}", missing.pattern, missing.why)));
        }
        Err(why) => unknown.extend(open.iter().map(|pattern| format!("{pattern}: {why}"))),
    }
    (settings.topics.specs(&kinds), unknown)
}

/// What these settings watch; the API server is asked where they name more than built-in kinds.
pub async fn targets(settings: &Settings, cluster: &Cluster) -> Result<Vec<Target>, Failure> {
    let watch = &settings.watch;
    if !watch.needs_discovery() {
        return Ok(watch.targets(&watch.captured()));
    }
    let discovery = cluster.discover().await.map_err(|error| Failure::with(UNAVAILABLE, error.to_string()))?;
    let served = watch.resolve(&discovery, watch.max_kinds, &settings.topics.prefix);
    let kinds: Vec<Kind> = served.kinds.into_iter().map(|served| served.kind).collect();
    Ok(watch.targets(&kinds))
}

/// The log that the settings name. Does not contact it.
pub fn open_log(loaded: &Loaded) -> Result<Arc<dyn Log>, Failure> {
    app::open_log(loaded).map_err(Failure::from)
}

/// The API server that the settings name. Does not contact it.
pub async fn open_cluster(settings: &Settings) -> Result<Cluster, Failure> {
    app::open_cluster(settings, Arc::new(Uncounted)).await.map_err(Failure::from)
}

impl From<app::StartError> for Failure {
    fn from(error: app::StartError) -> Self {
        Self::with(error.exit_code(), error.to_string())
    }
}
