//! `run`: the process itself, in the foreground, or started in the background.

use super::args::{Global, Run};
use super::connect;
use super::daemon;
use super::failure::Failure;
use super::output::Out;
use super::presence::Presence;
use crate::app;
use crate::observe::{clock, logging};
use crate::settings::{LogFormat, ObserveSettings};
use std::io::IsTerminal as _;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::util::SubscriberInitExt as _;

/// Runs until a signal or an end of its own; the exit code.
pub fn run(global: &Global, run: Run, out: &mut Out) -> Result<u8, Failure> {
    let loaded = connect::settings(global, run.watched.overrides())?;
    let no_core = no_core_images();
    if run.daemon {
        return daemon::start(&loaded.settings, out);
    }
    if run.daemonized {
        daemon::detach()?;
    }
    let log = run.daemonized.then(|| daemon::log_file(&loaded.settings));
    let mut presence = Presence::take(&loaded.settings.data_dir, clock::wall_ms(), log)?;
    log_to_stderr(&loaded.settings.observe)?;
    if let Err(error) = no_core {
        tracing::warn!(%error, "a core image of this process cannot be ruled out: it would hold what has just been read");
    }
    let options = app::Options { require_healthy: run.require_healthy };
    let running = Arc::new(app::start(loaded, options)?);
    presence.announce(running.api_addr())?;
    tracing::info!("the page: http://{}/", running.api_addr());
    if run.daemonized {
        daemon::tell_the_starter(running.clone());
    }
    Ok(running.wait())
}

/// A crash leaves no image of the memory behind, and no other process of this user can look into it.
fn no_core_images() -> rustix::io::Result<()> {
    use rustix::process::{DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit};
    setrlimit(Resource::Core, Rlimit { current: Some(0), maximum: Some(0) })?;
    set_dumpable_behavior(DumpableBehavior::NotDumpable)
}

/// The process' own log goes to stderr: text for people at a terminal, JSON for collectors.
fn log_to_stderr(observe: &ObserveSettings) -> Result<(), Failure> {
    let filter = EnvFilter::try_new(&observe.log).map_err(|error| {
        let message =
            format!("observe.log = {:?}: {error}; give a level or target=level,..., for instance info", observe.log);
        Failure::with(crate::settings::SettingsError::EXIT_CODE, message)
    })?;
    let stderr = std::io::stderr();
    let json = match observe.format {
        LogFormat::Json => true,
        LogFormat::Text => false,
        LogFormat::Auto => !stderr.is_terminal(),
    };
    let colours = stderr.is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let log = logging::subscriber(filter, json, colours, std::io::stderr);
    // A second subscriber (a test that runs this twice in one process) is no reason to end.
    log.try_init().map_err(|error| Failure::error(format!("the log cannot be set up: {error}")))
}
