//! `check`: everything that `run` needs, one line each, with the remedy where something is wrong. Starts nothing and
//! changes nothing.

mod kinds;

use super::args::{Global, Output};
use super::connect;
use super::failure::{Failure, UNHEALTHY};
use super::output::{Out, printable};
use super::presence;
use crate::domain::budget::{Calm, Hour, Knobs, an_hour};
use crate::domain::kind::{Kind, Tracking};
use crate::domain::watch::Config;
use crate::kubernetes::client::{Cluster, ClusterError};
use crate::kubernetes::identities;
use crate::log::topics::plan;
use crate::settings::{ClusterMode, Loaded, LogEngine, Settings, SettingsError, TopicCreation};
use serde::Serialize;
use serde_json::json;
use std::time::Duration;

/// One line of the answer.
#[derive(Debug, Serialize)]
struct Line {
    /// Stable, for scripts.
    check: String,
    state: State,
    detail: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    remedy: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Ok,
    Warning,
    Failed,
}

#[derive(Default)]
struct Report(Vec<Line>);

impl Report {
    fn ok(&mut self, check: impl Into<String>, detail: impl Into<String>) {
        self.add(check, State::Ok, detail, None);
    }

    fn failed(&mut self, check: impl Into<String>, detail: impl Into<String>, remedy: impl Into<String>) {
        // Empty where the detail says it already.
        let remedy = Some(remedy.into()).filter(|remedy: &String| !remedy.is_empty());
        self.add(check, State::Failed, detail, remedy);
    }

    fn add(&mut self, check: impl Into<String>, state: State, detail: impl Into<String>, remedy: Option<String>) {
        self.0.push(Line { check: check.into(), state, detail: detail.into(), remedy });
    }
}

/// Checks; exit code 10 when something failed.
pub async fn check(global: &Global, output: Output, out: &mut Out) -> Result<u8, Failure> {
    let loaded = connect::settings(global, Vec::new())?;
    // A password file that cannot be read is a fault of the settings too.
    loaded.sasl_password()?;
    // And so is a key file: without its key `run` lets nothing leave.
    let policy = loaded.settings.policy().map_err(|why| Failure::with(SettingsError::EXIT_CODE, why))?;
    let mut report = Report::default();
    report.ok("settings", "valid");
    match (policy.key, loaded.settings.key_file_warning()) {
        (None, _) => {}
        (Some(_), Some(warning)) => report.add("redaction key", State::Warning, warning, None),
        (Some(key), None) => report.ok("redaction key", format!("its id is {}", key.id())),
    }
    let runs = presence::look(&loaded.settings.data_dir)?;
    let kinds = if loaded.settings.cluster.mode == ClusterMode::Sandbox && runs.is_none() {
        report.ok("cluster configured", format!("the sandbox, which run starts at {}", loaded.settings.sandbox.listen));
        loaded.settings.watch.named()
    } else {
        cluster(&loaded.settings, &mut report).await
    };
    let dir = loaded.settings.embedded_dir();
    match (loaded.settings.log.engine, &runs) {
        (LogEngine::Embedded, Some(holder)) => {
            report.ok("log configured", format!("embedded at {}, owned by process {}", dir.display(), holder.pid));
        }
        (LogEngine::Embedded, None) if !dir.exists() => {
            report.ok("log configured", format!("embedded, which run makes at {}", dir.display()));
        }
        _ => log(&loaded, &kinds, &mut report).await,
    }
    let healthy = report.0.iter().all(|line| line.state != State::Failed);
    if output == Output::Json {
        out.pretty(&json!({ "healthy": healthy, "checks": report.0 }))?;
    } else {
        for line in &report.0 {
            let mark = match line.state {
                State::Ok => '✓',
                State::Warning => '!',
                State::Failed => '✗',
            };
            out.line(&format!("{mark} {}: {}", line.check, printable(&line.detail)))?;
            if let Some(remedy) = &line.remedy {
                out.line(&format!("    → {}", printable(remedy)))?;
            }
        }
    }
    Ok(if healthy { 0 } else { UNHEALTHY })
}

/// The kinds to watch, as far as they are known.
async fn cluster(settings: &Settings, report: &mut Report) -> Vec<Kind> {
    let cluster = match connect::open_cluster(settings).await {
        Ok(cluster) => cluster,
        Err(failure) => {
            report.failed("cluster configured", failure.message, "");
            return settings.watch.named();
        }
    };
    let url = cluster.url().to_owned();
    report.ok("cluster configured", &url);
    match cluster.version().await {
        Ok(version) => report.ok("API server", format!("{version} at {url}")),
        // It answers, so it is there; who we are is the next line.
        Err(error @ ClusterError::Unauthenticated) => {
            report.ok("API server", format!("answers at {url}"));
            report.failed("credentials", error.to_string(), "");
            return settings.watch.named();
        }
        Err(error) => {
            let remedy = match error {
                ClusterError::Forbidden(_) => "bind ClusterRole system:public-info-viewer to this user",
                _ => "is the API server up, and does the URL of the kubeconfig reach it from here?",
            };
            report.failed("API server", format!("{url}: {error}"), remedy);
            return settings.watch.named();
        }
    }
    let found = kinds::kinds(&cluster, settings, report).await;
    if found.known {
        identity(&cluster, settings, report).await;
        budget(&cluster, settings, &found.kinds, report).await;
    }
    found.kinds
}

/// How often the kinds that are served are looked at, where groups or `*` are meant, or kinds that are not built in.
const DISCOVERY: Duration = Duration::from_secs(600);

/// What an hour of calm will ask of the API server, from the number of objects that there are now.
async fn budget(cluster: &Cluster, settings: &Settings, kinds: &[Kind], report: &mut Report) {
    let watch = &settings.watch;
    let mut watchers = Vec::new();
    for target in watch.targets(kinds) {
        let audited = target.kind.tracking() == Tracking::Table;
        let objects = if audited { identities::count(cluster, &target, watch.max_page_bytes).await } else { Ok(None) };
        watchers.push(Calm { id: target.id(), objects: objects.ok().flatten().unwrap_or(0), audited });
    }
    let knobs = Knobs {
        watch_life: Duration::from_secs(u64::from(Config::default().watch_seconds.0)),
        light: watch.poll_interval,
        full: watch.audit_interval / 2,
        page: watch.page_size,
        discovery: watch.needs_discovery().then_some(DISCOVERY),
    };
    let hour = an_hour(&watchers, &knobs);
    let Hour { watches, light, full, discovery } = hour;
    let total = hour.total();
    let detail = format!(
        "at most {total} requests an hour in calm: {watches} watches, {light} light and {full} pages of full audits, \
         {discovery} of discovery; never more than 20 a second"
    );
    report.ok("request budget", detail);
}

async fn identity(cluster: &Cluster, settings: &Settings, report: &mut Report) {
    if let Some(id) = &settings.cluster.id {
        return report.ok("cluster identity", format!("cluster.id = {id}"));
    }
    match cluster.uid().await {
        Ok(uid) => report.ok("cluster identity", format!("uid {uid} of namespace kube-system")),
        Err(error) => {
            let remedy =
                "grant `get` on namespace kube-system, or set cluster.id to a text of your own that never changes";
            report.failed("cluster identity", error.to_string(), remedy);
        }
    }
}

async fn log(loaded: &Loaded, kinds: &[Kind], report: &mut Report) {
    let log = match connect::open_log(loaded) {
        Ok(log) => log,
        Err(failure) => {
            return report.failed("log configured", failure.message, "see `agent-events config show --origin`");
        }
    };
    if let Err(error) = log.list().await {
        let remedy = "with TLS or SASL, see [kafka] of `agent-events config default`";
        return report.failed("broker", error.to_string(), remedy);
    }
    report.ok("broker", format!("{} at {}", log.engine(), log.location()));
    let specs = loaded.settings.topics.specs(kinds);
    let plan = match plan(&*log, &specs).await {
        Ok(plan) => plan,
        Err(error) => {
            return report.failed(
                "topics",
                error.to_string(),
                "let this user describe its topics and their configuration",
            );
        }
    };
    for drift in &plan.drift {
        let state = if drift.is_hard() { State::Failed } else { State::Warning };
        let detail = format!("{} is {}, should be {}", drift.what, drift.have, drift.want);
        report.add(format!("topic {}", drift.topic), state, detail, Some(drift.remedy()));
    }
    let missing: Vec<&str> = plan.create.iter().map(|spec| spec.name.as_str()).collect();
    match (missing.is_empty(), loaded.settings.topics.create) {
        (true, _) => report.ok("topics", format!("all {} exist", specs.len())),
        (false, TopicCreation::Missing) => {
            report.ok("topics", format!("{} will be created by run", missing.join(", ")))
        }
        (false, TopicCreation::Never) => {
            let detail = format!("missing, and topics.create is \"never\": {}", missing.join(", "));
            report.failed("topics", detail, "agent-events topics apply");
        }
    }
}
