//! The release binary on a real API server and a real Kafka, against a bare reader of the same API server.

use crate::broker::Broker;
use crate::floor::{self, Task};
use crate::product::Product;
use crate::report::{Goal, Report};
use crate::roles::Role;
use crate::{Scale, cpu, pods};
use futures_util::{StreamExt as _, stream};
use kube::Client;
use std::path::PathBuf;
use std::time::Duration;
use testbed::{Kubernetes, KubernetesOptions};
use tokio::runtime::Runtime;

const SECTION: &str = "cluster";
const FLOOR: &str = "floor: bare reader of the same API server";
const NAMESPACE: &str = "bench";
/// Requests under way while objects are made.
const LOADERS: usize = 16;

/// A real API server without controllers, and a client that makes objects in it.
struct Cluster {
    kubernetes: Kubernetes,
    client: Client,
    runtime: Runtime,
}

impl Cluster {
    fn start() -> Self {
        let options = KubernetesOptions { controllers: false, nodes: 0, ..KubernetesOptions::default() };
        let kubernetes = Kubernetes::start(options).expect("a real API server starts");
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let client = runtime.block_on(floor::connect(&kubernetes.kubeconfig_path()));
        let cluster = Self { kubernetes, client, runtime };
        let namespace = format!(r#"{{"apiVersion":"v1","kind":"Namespace","metadata":{{"name":"{NAMESPACE}"}}}}"#);
        cluster.runtime.block_on(post(cluster.client.clone(), "/api/v1/namespaces".to_owned(), namespace));
        cluster
    }

    fn kubeconfig(&self) -> PathBuf {
        self.kubernetes.kubeconfig_path()
    }

    /// Posts objects, at most that many a second; gives the rate that was reached.
    fn make(&self, kind: &str, objects: impl Iterator<Item = String>, per_second: f64) -> f64 {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/{kind}");
        let began = cpu::wall();
        let made = self.runtime.block_on(async {
            let start = tokio::time::Instant::now();
            let posts = objects.enumerate().map(|(number, object)| {
                let (client, path) = (self.client.clone(), path.clone());
                async move {
                    tokio::time::sleep_until(start + Duration::from_secs_f64(number as f64 / per_second)).await;
                    post(client, path, object).await;
                }
            });
            stream::iter(posts).buffer_unordered(LOADERS).count().await
        });
        made as f64 / cpu::wall().saturating_sub(began).as_secs_f64()
    }

    fn floor(&self, kind: &str, until: usize) -> Role {
        let task = Task { kubeconfig: self.kubeconfig(), path: format!("/api/v1/{kind}"), until };
        let mut floor = Role::start("floor", &task);
        floor.expect("ready");
        floor
    }
}

async fn post(client: Client, path: String, object: String) {
    let request = http::Request::post(path).header("content-type", "application/json").body(object.into_bytes());
    let answer = client.request_text(request.expect("a request")).await;
    answer.unwrap_or_else(|e| panic!("the API server refuses an object: {e}"));
}

/// Runs the section.
pub fn run(report: &mut Report, scale: Scale) {
    let broker = Broker::start();
    events(report, &broker, scale);
    list(report, &broker, scale);
}

fn micros(spent: Duration, count: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / count as f64
}

/// Idle, a burst at about 1,000 Events a second, and a backlog at full speed.
fn events(report: &mut Report, broker: &Broker, scale: Scale) {
    let (burst, backlog) = (scale.burst, scale.backlog);
    let cluster = Cluster::start();
    let (prefix, topic) = ("events.", "events.k8s-events");
    let start = || {
        let mut product = Product::start(&cluster.kubeconfig(), &broker.bootstrap(), prefix);
        product.await_ready();
        product
    };
    let product = start();
    let (cpu, threads, wall) = (product.cpu(), product.threads(), cpu::wall());
    // Idleness has no condition to wait for.
    std::thread::park_timeout(Duration::from_secs(5));
    let idle = product.cpu().saturating_sub(cpu).as_secs_f64() / cpu::wall().saturating_sub(wall).as_secs_f64();
    report.note(format!("cluster, idle: CPU by thread: {}", cpu::shares(&threads, &product.threads())));
    report.value(SECTION, "idle, all kinds watched: memory", product.memory().0, "MiB", Some(Goal::AtMost(40.0)));
    report.value(SECTION, "idle, all kinds watched: CPU of one core", idle * 100.0, "%", None);

    let (cpu, threads) = (product.cpu(), product.threads());
    let goal = broker.written(topic) + burst as i64;
    let rate = cluster.make("events", (0..burst).map(|i| pods::event_posted(i, NAMESPACE)), 1000.0);
    broker.await_written(topic, goal);
    broker.await_told(prefix, topic);
    let ours = micros(product.cpu().saturating_sub(cpu), burst);
    report.note(format!("cluster, burst: CPU by thread: {}", cpu::shares(&threads, &product.threads())));
    product.stop();

    let mut floor = cluster.floor("events", burst as usize);
    floor.say("list");
    floor.expect("listed");
    floor.say("watch");
    floor.expect("watching");
    let cpu = floor.cpu();
    cluster.make("events", (burst..2 * burst).map(|i| pods::event_posted(i, NAMESPACE)), 1000.0);
    floor.expect("seen");
    let bare = micros(floor.cpu().saturating_sub(cpu), burst);
    drop(floor);
    let what = format!("1.3 KB Event, burst of {burst} at {rate:.0}/s: CPU, everything on");
    report.ratio(SECTION, what, (ours, bare, "µs"), FLOOR, Some(Goal::AtMost(2.0)));

    // The start alone, then the start with a backlog: the difference is the backlog.
    let start_cpu = |product: Product| {
        broker.await_told(prefix, topic);
        let (cpu, memory) = (product.cpu(), product.memory().1);
        product.stop();
        (cpu, memory)
    };
    start_cpu(start());
    let (alone, _) = start_cpu(start());
    let mut floor = cluster.floor("events", backlog as usize);
    floor.say("list");
    floor.expect("listed");
    let goal = broker.written(topic) + backlog as i64;
    cluster.make("events", (2 * burst..2 * burst + backlog).map(|i| pods::event_posted(i, NAMESPACE)), 1e6);
    let cpu = floor.cpu();
    floor.say("watch");
    floor.expect("watching");
    floor.expect("seen");
    let bare = micros(floor.cpu().saturating_sub(cpu), backlog);
    drop(floor);
    let product = start();
    broker.await_written(topic, goal);
    let (ours, memory) = start_cpu(product);
    let ours = micros(ours.saturating_sub(alone), backlog);
    let held = 2 * burst + backlog;
    report.value(SECTION, format!("{held} Events in the store: peak memory"), memory, "MiB", None);
    let what = format!("1.3 KB Event at saturation (backlog of {backlog}): CPU, everything on");
    report.ratio(SECTION, what, (ours, bare, "µs"), FLOOR, Some(Goal::AtMost(2.0)));
}

/// Many Pods that are there at the start.
fn list(report: &mut Report, broker: &Broker, scale: Scale) {
    let pods = scale.listed;
    let cluster = Cluster::start();
    cluster.make("pods", (0..pods).map(|i| pods::posted(i, NAMESPACE)), 1e6);

    let mut floor = cluster.floor("pods", 0);
    let (cpu, wall) = (floor.cpu(), cpu::wall());
    floor.say("list");
    let listed = floor.expect("listed");
    let bare_wall = cpu::wall().saturating_sub(wall).as_secs_f64();
    let bare = floor.cpu().saturating_sub(cpu).as_secs_f64();
    let (_, bare_peak) = floor.memory();
    drop(floor);
    let numbers: Vec<f64> = listed.split(' ').filter_map(|n| n.parse().ok()).collect();
    assert_eq!(numbers.first(), Some(&(pods as f64)), "the floor sees every pod");

    let (prefix, topic) = ("listed.", "listed.k8s-pods");
    let wall = cpu::wall();
    let mut product = Product::start(&cluster.kubeconfig(), &broker.bootstrap(), prefix);
    product.await_ready();
    // One writer marker a partition stands before the pods.
    let markers = broker.ends(topic).len() as i64;
    broker.await_written(topic, markers + pods as i64);
    let ours_wall = cpu::wall().saturating_sub(wall).as_secs_f64();
    broker.await_told(prefix, topic);
    let ours = product.cpu().as_secs_f64();
    let (resident, peak) = product.memory();
    let threads = cpu::shares(&cpu::Threads::new(), &product.threads());
    report.note(format!("cluster, {pods} Pods at the start: CPU by thread: {threads}"));
    let delivered = broker.written(topic) - markers;
    product.stop();

    let what = format!("{pods} Pods there at the start");
    report.ratio(
        SECTION,
        format!("{what}: CPU from start to all delivered and folded"),
        (ours, bare, "s"),
        FLOOR,
        None,
    );
    report.ratio(SECTION, format!("{what}: peak memory with the store"), (peak, bare_peak, "MiB"), FLOOR, None);
    report.ratio(SECTION, format!("{what}: wall from start to all acked"), (ours_wall, bare_wall, "s"), FLOOR, None);
    report.value(SECTION, format!("{what}: CPU"), ours, "s", Some(Goal::AtMost(3.0)));
    report.value(SECTION, format!("{what}: peak memory"), peak, "MiB", Some(Goal::AtMost(150.0)));
    report.value(SECTION, format!("{what}: memory afterwards"), resident, "MiB", None);
    report.value(SECTION, format!("{what}: delivered"), delivered as f64, "records", Some(Goal::AtLeast(pods as f64)));
    let bytes = numbers.get(1).copied().unwrap_or_default() / pods as f64;
    report.value(SECTION, "Pod as the API server stores it", bytes, "bytes", None);
}
