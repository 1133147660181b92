//! The documents: aggregated discovery (`APIGroupDiscoveryList`, v2 and v2beta1) and the lists that came before it.
//!
//! Read leniently, since a part that cannot be understood makes its group unknown and nothing more. Names that cannot be
//! names are refused: they go into URLs and topics.

use super::super::pattern::Pattern;
use super::{Group, Resource, Version};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

/// What `/api` or `/apis` answered.
#[derive(Debug, Clone, PartialEq)]
pub enum Answer {
    /// Everything below it.
    Aggregated(Vec<Group>),
    /// Only what there is to ask for.
    Legacy(Vec<GroupVersions>),
}

/// A group that is there, and its versions, the preferred first.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GroupVersions {
    /// Its name; empty for core.
    pub name: String,
    /// Its versions.
    pub versions: Vec<String>,
}

/// Reads the answer of `/api` or `/apis`.
///
/// # Errors
/// When it is no discovery document at all; without quoting it.
pub fn read_answer(body: &[u8]) -> Result<Answer, String> {
    let document: Value = serde_json::from_slice(body).map_err(|_| "the answer is no JSON".to_owned())?;
    let items = |name: &str| document.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    match document.get("kind").and_then(Value::as_str) {
        Some("APIGroupDiscoveryList") => Ok(Answer::Aggregated(items("items").into_iter().map(group).collect())),
        Some("APIVersions") => {
            let versions: Vec<String> = items("versions").iter().filter_map(|v| Some(v.as_str()?.to_owned())).collect();
            if !versions.iter().all(|version| is_label(version)) {
                return Err("the core group has versions with names that no version can have".to_owned());
            }
            Ok(Answer::Legacy(vec![GroupVersions { name: String::new(), versions }]))
        }
        Some("APIGroupList") => items("groups").into_iter().map(versions).collect::<Result<_, _>>().map(Answer::Legacy),
        _ => Err("the answer is no list of API groups".to_owned()),
    }
}

/// Reads the answer of `/api/v1` or `/apis/apps/v1`.
///
/// # Errors
/// When it is no list of resources, or one with names that none can have; without quoting it.
pub fn read_resources(body: &[u8]) -> Result<Vec<Resource>, String> {
    #[derive(Deserialize)]
    struct List {
        kind: String,
        resources: Option<Vec<Entry>>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        name: String,
        #[serde(default)]
        singular_name: String,
        #[serde(default)]
        kind: String,
        short_names: Option<Vec<String>>,
        #[serde(default)]
        namespaced: bool,
        verbs: Option<Vec<String>>,
    }
    let list: List = serde_json::from_slice(body).map_err(|_| NO_LIST.to_owned())?;
    if list.kind != "APIResourceList" {
        return Err(NO_LIST.to_owned());
    }
    let mut resources = Vec::new();
    // `pods/status` is a way to write to a pod and nothing that can be watched.
    for entry in list.resources.unwrap_or_default().into_iter().filter(|entry| !entry.name.contains('/')) {
        let resource = Resource {
            plural: entry.name,
            singular: entry.singular_name,
            kind: entry.kind,
            short_names: entry.short_names.unwrap_or_default(),
            namespaced: entry.namespaced,
            verbs: entry.verbs.unwrap_or_default().into_iter().collect(),
        };
        resources.push(checked(resource)?);
    }
    Ok(resources)
}

const NO_LIST: &str = "the answer is no list of API resources";

/// A group of an aggregated document.
fn group(item: Value) -> Group {
    let name = item.pointer("/metadata/name").and_then(Value::as_str).unwrap_or_default().to_owned();
    let versions = item.get("versions").and_then(Value::as_array).cloned().unwrap_or_default();
    if is_group(&name) {
        Group { name, versions: versions.into_iter().map(version).collect() }
    } else {
        // By that name nothing can be asked for; that there is something is said.
        let unnamed =
            Version { name: String::new(), resources: Err("its name is one that no group can have".to_owned()) };
        Group { name: "~".to_owned(), versions: vec![unnamed] }
    }
}

fn version(item: Value) -> Version {
    #[derive(Deserialize)]
    struct Document {
        version: String,
        resources: Option<Vec<Entry>>,
        #[serde(default)]
        freshness: String,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        resource: String,
        // Null where a group has only subresources of somebody else's resource.
        response_kind: Option<ResponseKind>,
        #[serde(default)]
        scope: String,
        #[serde(default)]
        singular_resource: String,
        verbs: Option<Vec<String>>,
        short_names: Option<Vec<String>>,
    }
    #[derive(Deserialize)]
    struct ResponseKind {
        #[serde(default)]
        kind: String,
    }
    let unread = |why: &str| Version { name: String::new(), resources: Err(why.to_owned()) };
    let Some(document) = read::<Document>(item) else { return unread("its discovery cannot be understood") };
    if !is_label(&document.version) {
        return unread("it has a version with a name that no version can have");
    }
    // What a stale document says may be long gone, and it may say nothing: the API behind the aggregation is down.
    if document.freshness == "Stale" {
        let why = "the API server says that its discovery is stale (is the APIService available?)";
        return Version { name: document.version, resources: Err(why.to_owned()) };
    }
    let entries = document.resources.unwrap_or_default().into_iter();
    let resource = |entry: Entry| {
        checked(Resource {
            plural: entry.resource,
            singular: entry.singular_resource,
            kind: entry.response_kind.map(|kind| kind.kind).unwrap_or_default(),
            short_names: entry.short_names.unwrap_or_default(),
            namespaced: entry.scope == "Namespaced",
            verbs: entry.verbs.unwrap_or_default().into_iter().collect(),
        })
    };
    Version { name: document.version, resources: entries.map(resource).collect() }
}

/// A group of the list that came before.
fn versions(item: Value) -> Result<GroupVersions, String> {
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Entry {
        name: String,
        versions: Option<Vec<Served>>,
        preferred_version: Option<Served>,
    }
    #[derive(Deserialize)]
    struct Served {
        version: String,
    }
    let entry = read::<Entry>(item).ok_or("the list of API groups cannot be understood")?;
    let mut versions: Vec<String> = entry.preferred_version.into_iter().map(|v| v.version).collect();
    for served in entry.versions.unwrap_or_default() {
        if !versions.contains(&served.version) {
            versions.push(served.version);
        }
    }
    if entry.name.is_empty() || !is_group(&entry.name) || !versions.iter().all(|version| is_label(version)) {
        return Err("the list of API groups has names that no group can have".to_owned());
    }
    Ok(GroupVersions { name: entry.name, versions })
}

fn checked(resource: Resource) -> Result<Resource, String> {
    // What is not watched needs no kind: some review APIs have odd ones.
    let named = resource.kind.bytes().all(|b| b.is_ascii_alphanumeric());
    if is_label(&resource.plural) && named {
        Ok(resource)
    } else {
        Err("it serves something under a name that none can have".to_owned())
    }
}

fn read<T: DeserializeOwned>(item: Value) -> Option<T> {
    serde_json::from_value(item).ok()
}

fn is_label(name: &str) -> bool {
    !name.contains('.') && matches!(Pattern::parse(name), Ok(Pattern::One { .. }))
}

fn is_group(name: &str) -> bool {
    name.is_empty() || matches!(Pattern::parse(&format!("x.{name}")), Ok(Pattern::One { .. }))
}
