//! `actors list | restart | kill`: asks the running process.

use super::args::{Actors, Output};
use super::client::{Path, Server};
use super::failure::Failure;
use super::output::{Out, Table, printable};
use crate::http::Done;
use serde_json::Value;

/// Does it; the exit code.
pub async fn actors(server: &Server, command: Actors, out: &mut Out) -> Result<u8, Failure> {
    match command {
        Actors::List { output } => {
            let tree: Value = server.json(Path::of(&["actors"]).as_str()).await?;
            if output == Output::Json {
                out.pretty(&tree)?;
            } else {
                table(&tree).print(out)?;
            }
        }
        Actors::Restart { id } => {
            let done: Done = server.post(call(&id, "restart").as_str()).await?;
            out.line(&format!("restarting {}", printable(&done.id)))?;
        }
        Actors::Kill { id, how } => {
            let done: Done = server.post(call(&id, "kill").with("how", how.word()).as_str()).await?;
            out.line(&format!("killed {} ({})", printable(&done.id), how.word()))?;
        }
    }
    Ok(0)
}

/// An id is a path of its own, `watcher/pods`.
fn call(id: &str, action: &str) -> Path {
    let mut segments = vec!["actors"];
    segments.extend(id.split('/'));
    segments.push(action);
    Path::of(&segments)
}

fn table(tree: &Value) -> Table {
    let mut table = Table::new(["ID", "GROUP", "STATE", "LIFE", "RESTARTS", "HANDLED", "ARBITER", "LAST EXIT"]);
    for actor in tree["items"].as_array().into_iter().flatten() {
        let text = |name: &str| match &actor[name] {
            Value::String(text) => text.clone(),
            Value::Null => String::new(),
            other => other.to_string(),
        };
        let exit = &actor["last_exit"];
        let parts = ["reason", "message", "location"].map(|part| exit[part].as_str().unwrap_or_default());
        let exit: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
        let names = ["id", "group", "state", "incarnation", "restarts", "handled", "arbiter"];
        table.row(names.iter().map(|name| text(name)).chain([exit.join(": ")]).collect());
    }
    table
}
