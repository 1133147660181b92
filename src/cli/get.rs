//! `get`: objects from the state of the running process, printed as kubectl would.

use super::args::{Get, GetOutput};
use super::client::{Path, Server, ServerError};
use super::columns::{cells, headings};
use super::failure::Failure;
use super::output::{Out, Table, printable};
use super::{kinds, yaml};
use crate::domain::kind::Kind;
use crate::observe::clock::wall_ms;
use serde::Deserialize;
use serde_json::{Value, json};

/// Stands for "no namespace" in a path.
const NO_NAMESPACE: &str = "_";

/// Objects a page: what the API gives by default.
const PAGE: &str = "500";

#[derive(Deserialize)]
struct Page {
    items: Vec<Value>,
    #[serde(rename = "continue")]
    next: Option<String>,
}

/// Does it; the exit code.
pub async fn get(server: &Server, get: Get, out: &mut Out) -> Result<u8, Failure> {
    let kinds::Meant { id: kind, namespaced } = kinds::meant(server, &get.kind).await?;
    // What lives in no namespace is found whichever is named, as kubectl has it.
    let get = match namespaced {
        true => get,
        false => Get { all_namespaces: false, namespace: String::new(), ..get },
    };
    match &get.name {
        Some(name) => {
            let namespace = if namespaced { &get.namespace } else { NO_NAMESPACE };
            let path = Path::of(&["objects", &kind, namespace, name]);
            let object: Value = match server.json(path.as_str()).await {
                Err(ServerError::Problem(problem)) if problem.code == "not_found" => {
                    let place = if namespaced { format!(" in namespace {namespace:?}") } else { String::new() };
                    let message = format!("{kind} {name:?} not found{place}");
                    return Err(Failure::error(message));
                }
                answer => answer?,
            };
            match get.output {
                GetOutput::Json => out.pretty(&object)?,
                GetOutput::Yaml => out.text(&yaml::to_yaml(&object))?,
                _ => print(&kind, &[object], &get, out)?,
            }
        }
        None => {
            let items = list(server, &kind, &get).await?;
            match get.output {
                GetOutput::Json => out.pretty(&as_list(items))?,
                GetOutput::Yaml => out.text(&yaml::to_yaml(&as_list(items)))?,
                _ => print(&kind, &items, &get, out)?,
            }
        }
    }
    Ok(0)
}

fn as_list(items: Vec<Value>) -> Value {
    json!({ "apiVersion": "v1", "kind": "List", "items": items })
}

async fn list(server: &Server, kind: &str, get: &Get) -> Result<Vec<Value>, Failure> {
    let mut path = Path::of(&["objects"]).with("kind", kind).with("limit", PAGE);
    if !get.all_namespaces && !get.namespace.is_empty() {
        path = path.with("namespace", &get.namespace);
    }
    path = path.maybe("labelSelector", get.selector.as_ref()).maybe("fieldSelector", get.field_selector.as_ref());
    let (mut items, mut next) = (Vec::new(), None);
    loop {
        let this = path.clone().maybe("continue", next.as_ref());
        let page: Page = server.json(this.as_str()).await?;
        items.extend(page.items);
        match page.next {
            Some(token) => next = Some(token),
            None => return Ok(items),
        }
    }
}

fn print(kind: &str, items: &[Value], get: &Get, out: &mut Out) -> Result<(), Failure> {
    if get.output == GetOutput::Name {
        let prefix = qualified(kind);
        for item in items {
            out.line(&format!("{prefix}/{}", printable(item["metadata"]["name"].as_str().unwrap_or_default())))?;
        }
        return Ok(());
    }
    if items.is_empty() {
        let everywhere = get.all_namespaces || get.namespace.is_empty();
        let place = if everywhere { String::new() } else { format!(" in namespace {}", get.namespace) };
        super::tell(&format!("No {kind} found{place}."));
        return Ok(());
    }
    let wide = get.output == GetOutput::Wide;
    let namespace = get.all_namespaces.then_some("NAMESPACE");
    let mut table = Table::new(namespace.into_iter().chain(headings(kind, wide)));
    let now = wall_ms();
    for item in items {
        let namespace =
            get.all_namespaces.then(|| item["metadata"]["namespace"].as_str().unwrap_or_default().to_owned());
        table.row(namespace.into_iter().chain(cells(kind, wide, item, now)).collect());
    }
    table.print(out)?;
    Ok(())
}

/// `pod`, `deployment.apps`: what kubectl takes back.
fn qualified(kind: &str) -> String {
    match Kind::builtin(kind) {
        Some(kind) if kind.group().is_empty() => kind.name().to_lowercase(),
        Some(kind) => format!("{}.{}", kind.name().to_lowercase(), kind.group()),
        None => kind.to_owned(),
    }
}
