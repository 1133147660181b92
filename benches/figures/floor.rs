//! Role `floor`: the least that any reader of a real API server pays. kube's client with TLS, a list in pages of 500, a
//! watch; split, metadata, crude redaction, zstd at level 1, a map. No log, no order, no guarantees.

use crate::roles;
use http_body_util::BodyExt as _;
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::path::{Path, PathBuf};

/// The role's task.
#[derive(Debug, Serialize, Deserialize)]
pub struct Task {
    /// Credentials.
    pub kubeconfig: PathBuf,
    /// Collection, `/api/v1/pods`.
    pub path: String,
    /// Events of the watch after which it is done; 0 to list only.
    pub until: usize,
}

#[derive(Deserialize)]
struct Meta<'a> {
    #[serde(borrow)]
    name: Cow<'a, str>,
    #[serde(default, borrow)]
    namespace: Cow<'a, str>,
    #[serde(borrow)]
    uid: Cow<'a, str>,
    #[serde(borrow, rename = "resourceVersion")]
    rv: Cow<'a, str>,
}

#[derive(Deserialize)]
struct Object<'a> {
    #[serde(borrow)]
    metadata: Meta<'a>,
}

#[derive(Deserialize)]
struct ListMeta<'a> {
    #[serde(default, borrow, rename = "continue")]
    next: Cow<'a, str>,
    #[serde(borrow, rename = "resourceVersion")]
    rv: Cow<'a, str>,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow)]
    metadata: ListMeta<'a>,
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct Event<'a> {
    #[serde(rename = "type", borrow)]
    kind: Cow<'a, str>,
    #[serde(borrow)]
    object: &'a RawValue,
}

struct Store {
    rows: HashMap<String, Box<[u8]>>,
    compressor: zstd::bulk::Compressor<'static>,
    received: usize,
}

impl Store {
    fn new() -> Self {
        let compressor = zstd::bulk::Compressor::new(1).expect("level 1 exists");
        Self { rows: HashMap::new(), compressor, received: 0 }
    }

    fn take(&mut self, object: &str) {
        let Meta { name, namespace, uid, rv } = serde_json::from_str::<Object<'_>>(object).expect("an object").metadata;
        self.received += object.len();
        let packed = self.compressor.compress(&without_managers(object.as_bytes())).expect("it fits");
        // Of its own size: zstd gives a Vec with room for the worst case.
        self.rows.insert(format!("{namespace}/{name}/{uid}/{rv}"), packed.as_slice().into());
    }
}

/// Cuts `managedFields` out by matching brackets.
fn without_managers(object: &[u8]) -> Vec<u8> {
    const HEAD: &[u8] = b"\"managedFields\":[";
    let Some(begin) = object.windows(HEAD.len()).position(|window| window == HEAD) else { return object.to_vec() };
    let (mut at, mut depth, mut in_string) = (begin + HEAD.len(), 1, false);
    while depth > 0 {
        match object[at] {
            b'\\' if in_string => at += 1,
            b'"' => in_string = !in_string,
            b'[' if !in_string => depth += 1,
            b']' if !in_string => depth -= 1,
            _ => {}
        }
        at += 1;
    }
    if object.get(at) == Some(&b',') {
        at += 1;
    }
    [&object[..begin], &object[at..]].concat()
}

/// A client of a test cluster.
pub async fn connect(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).expect("the test bed wrote it");
    let options = KubeConfigOptions::default();
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &options).await.expect("the test bed wrote it");
    config.disable_compression = true;
    Client::try_from(config).expect("a client of loopback")
}

async fn get(client: &Client, uri: String) -> kube::client::Body {
    let request = http::Request::get(uri).body(kube::client::Body::empty()).expect("a request");
    let response = client.send(request).await.expect("the API server answers");
    assert!(response.status().is_success(), "the API server says {}", response.status());
    response.into_body()
}

async fn list(client: &Client, path: &str, store: &mut Store) -> String {
    let mut next = String::new();
    loop {
        let from = if next.is_empty() { String::new() } else { format!("&continue={next}") };
        let page = get(client, format!("{path}?limit=500{from}")).await.collect().await.expect("a page").to_bytes();
        let list: List<'_> = serde_json::from_slice(&page).expect("a list");
        for item in list.items.unwrap_or_default() {
            store.take(item.get());
        }
        if list.metadata.next.is_empty() {
            return list.metadata.rv.into_owned();
        }
        next = list.metadata.next.into_owned();
    }
}

async fn watch(client: &Client, path: &str, rv: &str, until: usize, store: &mut Store) {
    let options = "watch=true&allowWatchBookmarks=true&timeoutSeconds=600";
    let mut body = get(client, format!("{path}?{options}&resourceVersion={rv}")).await;
    roles::tell("watching");
    let (mut buffer, mut events) = (Vec::<u8>::new(), 0);
    while events < until {
        let frame = body.frame().await.expect("the watch goes on").expect("the connection holds");
        let Ok(data) = frame.into_data() else { continue };
        buffer.extend_from_slice(&data);
        let mut digested = 0;
        while let Some(length) = buffer[digested..].iter().position(|byte| *byte == b'\n') {
            let event: Event<'_> = serde_json::from_slice(&buffer[digested..digested + length]).expect("a watch event");
            if event.kind != "BOOKMARK" {
                store.take(event.object.get());
                events += 1;
            }
            digested += length + 1;
        }
        buffer.drain(..digested);
    }
}

/// Plays the role: `ready`; at a word lists and tells `listed OBJECTS BYTES`; with `until`, `watching` from that version
/// on, and `seen` once that many events came.
pub fn play(task: Task) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    // A task polled where the sockets are driven: from any other thread each event costs nearly twice as much.
    #[allow(clippy::disallowed_methods)] // awaited right below
    let reader = runtime.spawn(async move {
        let client = connect(&task.kubeconfig).await;
        roles::tell("ready");
        roles::told();
        let mut store = Store::new();
        let rv = list(&client, &task.path, &mut store).await;
        roles::tell(&format!("listed {} {}", store.rows.len(), store.received));
        if task.until > 0 {
            roles::told();
            watch(&client, &task.path, &rv, task.until, &mut store).await;
            roles::tell(&format!("seen {}", store.received));
        }
        roles::told();
    });
    runtime.block_on(reader).expect("the floor holds");
}
