//! `topics plan | apply | verify | list`: opens the log itself, whether a process runs or not. An embedded log has one
//! owner at a time: `list` asks it, the others say who it is.

use super::args::{Global, Output, Topics};
use super::client::{Path, ServerError};
use super::connect;
use super::failure::{CHANGES_PENDING, Failure, UNHEALTHY};
use super::output::{Out, Table, printable};
use crate::http::topics::{TopicsView, view};
use crate::log::topics::{Plan, apply, plan};
use crate::settings::{LogEngine, Settings};
use serde_json::json;

/// Does it; the exit code.
pub async fn topics(global: &Global, command: Topics, out: &mut Out) -> Result<u8, Failure> {
    let loaded = connect::settings(global, Vec::new())?;
    if let Topics::List { output } = command
        && let Some(view) = owners_view(global, &loaded.settings).await?
    {
        return list(view, output, out);
    }
    let log = connect::open_log(&loaded)?;
    let (specs, unknown) = connect::topic_specs_as_served(&loaded.settings).await;
    for unknown in unknown {
        super::tell(&format!(
            "left out: which kinds are meant by {}; `agent-events run` makes their topics when it knows",
            printable(&unknown)
        ));
    }
    match command {
        Topics::Plan { output } => {
            let plan = plan(&*log, &specs).await?;
            show(&plan, output, out)?;
            Ok(if plan.is_fine() { 0 } else { CHANGES_PENDING })
        }
        Topics::Apply => {
            let plan = plan(&*log, &specs).await?;
            apply(&*log, &plan).await?;
            for spec in &plan.create {
                out.line(&format!(
                    "created   {} ({} partitions, {} replicas)",
                    spec.name, spec.partitions, spec.replication
                ))?;
            }
            for drift in &plan.drift {
                out.line(&format!("left      {}", printable(&drift.to_string())))?;
            }
            out.line(&format!("{} created, {} as they should be", plan.create.len(), plan.fine.len()))?;
            Ok(0)
        }
        Topics::Verify => {
            let plan = plan(&*log, &specs).await?;
            show(&plan, Output::Table, out)?;
            let usable = plan.create.is_empty() && plan.refuse_hard_drift().is_ok();
            Ok(if usable { 0 } else { UNHEALTHY })
        }
        Topics::List { output } => list(view(&*log, &specs).await?, output, out),
    }
}

/// What the process says that owns the embedded log; `None` where nobody does, and with a log that has no owner.
async fn owners_view(global: &Global, settings: &Settings) -> Result<Option<TopicsView>, Failure> {
    if settings.log.engine != LogEngine::Embedded {
        return Ok(None);
    }
    match connect::server(global)?.json(Path::of(&["topics"]).as_str()).await {
        Ok(view) => Ok(Some(view)),
        Err(ServerError::Silent(_)) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

fn list(view: TopicsView, output: Output, out: &mut Out) -> Result<u8, Failure> {
    if output == Output::Json {
        out.pretty(&json!(view))?;
        return Ok(0);
    }
    let mut table = Table::new(["TOPIC", "PARTITIONS", "REPLICAS", "RECORDS", "STATE"]);
    for topic in view.items {
        // Between the offsets; compaction leaves fewer.
        let span: i64 = topic.offsets.iter().map(|(first, next)| next - first).sum();
        let state = if topic.drift.is_empty() { "ok".to_owned() } else { topic.drift.join(", ") };
        let span = if topic.exists { format!("≤ {span}") } else { "-".to_owned() };
        table.row(vec![topic.name, topic.partitions.to_string(), topic.replication.to_string(), span, state]);
    }
    table.print(out)?;
    Ok(0)
}

fn show(plan: &Plan, output: Output, out: &mut Out) -> Result<(), Failure> {
    if output == Output::Json {
        out.pretty(&plan_json(plan))?;
        return Ok(());
    }
    for spec in &plan.create {
        out.line(&format!("+ {} ({} partitions, {} replicas): missing", spec.name, spec.partitions, spec.replication))?;
    }
    for drift in &plan.drift {
        out.line(&format!("~ {}", printable(&drift.to_string())))?;
    }
    let Plan { create, drift, fine } = plan;
    out.line(&format!("{} to create, {} that differ, {} as they should be", create.len(), drift.len(), fine.len()))?;
    Ok(())
}

/// `{"create": [...], "drift": [... with "remedy"], "fine": [...]}`.
fn plan_json(plan: &Plan) -> serde_json::Value {
    let create: Vec<_> = plan
        .create
        .iter()
        .map(|s| json!({"name": s.name, "partitions": s.partitions, "replication": s.replication, "config": s.config}))
        .collect();
    let drift: Vec<_> = plan
        .drift
        .iter()
        .map(|d| json!({"topic": d.topic, "what": d.what, "have": d.have, "want": d.want, "remedy": d.remedy()}))
        .collect();
    json!({ "create": create, "drift": drift, "fine": plan.fine })
}
