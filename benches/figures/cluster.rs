//! The release binary on a real API server and a real Kafka, against a bare reader of the same API server.

use crate::broker::Broker;
use crate::floor::{self, Task};
use crate::product::Product;
use crate::report::{Goal, Report};
use crate::roles::Role;
use crate::{Scale, cpu, pods};
use futures_util::{StreamExt as _, stream};
use kube::Client;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;
use testbed::{Kubernetes, KubernetesOptions};
use tokio::runtime::Runtime;

const IDLE: &str = "idle";
const EVENTS: &str = "events";
const FIRST_LIST: &str = "first-list";
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

    /// Posts Events, at most that many a second; gives the rate that was reached.
    fn make_events(&self, which: Range<u64>, per_second: f64) -> f64 {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/events");
        let began = cpu::wall();
        let made = self.runtime.block_on(async {
            let start = tokio::time::Instant::now();
            let posts = (0..).zip(which).map(|(number, index)| {
                let (client, path) = (self.client.clone(), path.clone());
                async move {
                    tokio::time::sleep_until(start + Duration::from_secs_f64(f64::from(number) / per_second)).await;
                    post(client, path, pods::event_posted(index, NAMESPACE)).await;
                }
            });
            stream::iter(posts).buffer_unordered(LOADERS).count().await
        });
        made as f64 / cpu::wall().saturating_sub(began).as_secs_f64()
    }

    /// Posts Pods, and reports their status as a kubelet does.
    fn make_pods(&self, count: u64) {
        let path = format!("/api/v1/namespaces/{NAMESPACE}/pods");
        let posts = (0..count).map(|index| {
            let (client, path) = (self.client.clone(), path.clone());
            async move {
                post(
                    client.clone(),
                    format!("{path}?fieldManager=kube-controller-manager"),
                    pods::posted(index, NAMESPACE),
                )
                .await;
                let (name, status) = pods::reported(index);
                let request = http::Request::patch(format!("{path}/{name}/status?fieldManager=kubelet"))
                    .header("content-type", "application/merge-patch+json");
                send(client, request, status).await;
            }
        });
        self.runtime.block_on(stream::iter(posts).buffer_unordered(LOADERS).for_each(|()| async {}));
    }

    fn floor(&self, kind: &str, until: usize) -> Role {
        let task = Task { kubeconfig: self.kubeconfig(), path: format!("/api/v1/{kind}"), until };
        let mut floor = Role::start("floor", &task);
        floor.expect("ready");
        floor
    }
}

async fn post(client: Client, path: String, object: String) {
    send(client, http::Request::post(path).header("content-type", "application/json"), object).await;
}

async fn send(client: Client, request: http::request::Builder, body: String) {
    let answer = client.request_text(request.body(body.into_bytes()).expect("a request")).await;
    answer.unwrap_or_else(|e| panic!("the API server refuses an object: {e}"));
}

const MIB_IN_MB: f64 = 1.048_576;

fn micros(spent: Duration, count: u64) -> f64 {
    spent.as_secs_f64() * 1e6 / count as f64
}

/// Nothing happens, and all kinds are watched.
pub fn idle(report: &mut Report, _: Scale) {
    let (broker, cluster) = (Broker::start(), Cluster::start());
    let mut product = Product::start(&cluster.kubeconfig(), &broker.bootstrap(), "idle.");
    product.await_ready();
    // Idleness has no condition to wait for; what the start needed is given back within seconds, if it is.
    std::thread::park_timeout(Duration::from_secs(5));
    let (cpu, threads, wall) = (product.cpu(), product.threads(), cpu::wall());
    std::thread::park_timeout(Duration::from_secs(30));
    let spent = product.cpu().saturating_sub(cpu).as_secs_f64() / cpu::wall().saturating_sub(wall).as_secs_f64();
    report.note(format!("idle: CPU by thread: {}", cpu::shares(&threads, &product.threads())));
    let (resident, peak) = product.memory();
    report.value(IDLE, "all kinds watched, nothing happens: memory", resident, "MiB", Some(Goal::AtMost(40.0)));
    report.value(IDLE, "the same, its peak since the start", peak, "MiB", Some(Goal::AtMost(40.0)));
    report.value(IDLE, "the same: CPU of one core, over 30 s", spent * 100.0, "%", None);
    product.stop();
}

/// A burst at about 1,000 Events a second, and a backlog at full speed.
pub fn events(report: &mut Report, scale: Scale) {
    let broker = Broker::start();
    let (burst, backlog) = (scale.burst, scale.backlog);
    let cluster = Cluster::start();
    let (prefix, topic) = ("events.", "events.k8s-events");
    let start = || {
        let mut product = Product::start(&cluster.kubeconfig(), &broker.bootstrap(), prefix);
        product.await_ready();
        product
    };
    let product = start();
    let (cpu, threads) = (product.cpu(), product.threads());
    let goal = broker.written(topic) + burst as i64;
    let rate = cluster.make_events(0..burst, 1000.0);
    broker.await_written(topic, goal);
    broker.await_told(prefix, topic);
    let ours = micros(product.cpu().saturating_sub(cpu), burst);
    report.note(format!("events, burst: CPU by thread: {}", cpu::shares(&threads, &product.threads())));
    product.stop();

    let mut floor = cluster.floor("events", burst as usize);
    floor.say("list");
    floor.expect("listed");
    floor.say("watch");
    floor.expect("watching");
    let cpu = floor.cpu();
    cluster.make_events(burst..2 * burst, 1000.0);
    floor.expect("seen");
    let bare = micros(floor.cpu().saturating_sub(cpu), burst);
    drop(floor);
    let what = format!("1.3 KB Event, burst of {burst} at {rate:.0}/s: CPU, everything on");
    report.ratio(EVENTS, what, (ours, bare, "µs"), FLOOR, Some(Goal::AtMost(2.0)));

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
    cluster.make_events(2 * burst..2 * burst + backlog, 1e6);
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
    report.value(EVENTS, format!("{held} Events in the store: peak memory"), memory, "MiB", None);
    let what = format!("1.3 KB Event at saturation (backlog of {backlog}): CPU, everything on");
    report.ratio(EVENTS, what, (ours, bare, "µs"), FLOOR, Some(Goal::AtMost(2.0)));
}

/// What a first list took, at its best.
#[derive(Debug, Clone, Copy)]
struct Took {
    cpu: f64,
    wall: f64,
    peak: f64,
    after: f64,
}

impl Took {
    const WORST: Self = Self { cpu: f64::INFINITY, wall: f64::INFINITY, peak: f64::INFINITY, after: f64::INFINITY };

    /// Each figure for itself: what else the machine does only ever adds to one.
    fn better(self, other: Self) -> Self {
        Self {
            cpu: self.cpu.min(other.cpu),
            wall: self.wall.min(other.wall),
            peak: self.peak.min(other.peak),
            after: self.after.min(other.after),
        }
    }
}

/// Many Pods that are there at the start.
pub fn first_list(report: &mut Report, scale: Scale) {
    let (broker, cluster, pods) = (Broker::start(), Cluster::start(), scale.listed);
    let wall = cpu::wall();
    cluster.make_pods(pods);
    eprintln!("first-list: {pods} Pods made in {:.0?}", cpu::wall().saturating_sub(wall));

    let (mut bare, mut ours, mut peaks, mut bytes, mut delivered) = (Took::WORST, Took::WORST, Vec::new(), 0.0, 0);
    for round in 0..scale.list_rounds {
        let mut floor = cluster.floor("pods", 0);
        let (cpu, wall) = (floor.cpu(), cpu::wall());
        floor.say("list");
        let listed = floor.expect("listed");
        let wall = cpu::wall().saturating_sub(wall).as_secs_f64();
        let (after, peak) = floor.memory();
        bare = bare.better(Took { cpu: floor.cpu().saturating_sub(cpu).as_secs_f64(), wall, peak, after });
        drop(floor);
        let numbers: Vec<f64> = listed.split(' ').filter_map(|n| n.parse().ok()).collect();
        assert_eq!(numbers.first(), Some(&(pods as f64)), "the floor sees every pod");
        bytes = numbers.get(1).copied().unwrap_or_default() / pods as f64;

        let prefix = format!("listed-{round}.");
        let topic = format!("{prefix}k8s-pods");
        let wall = cpu::wall();
        let mut product = Product::start(&cluster.kubeconfig(), &broker.bootstrap(), &prefix);
        product.await_ready();
        // One writer marker a partition stands before the pods.
        let markers = broker.ends(&topic).len() as i64;
        broker.await_written(&topic, markers + pods as i64);
        let wall = cpu::wall().saturating_sub(wall).as_secs_f64();
        broker.await_told(&prefix, &topic);
        let cpu = product.cpu().as_secs_f64();
        let (after, peak) = product.memory();
        peaks.push(peak * MIB_IN_MB);
        ours = ours.better(Took { cpu, wall, peak, after });
        let threads = cpu::shares(&cpu::Threads::new(), &product.threads());
        report.note(format!("first-list, {pods} Pods at the start: CPU by thread: {threads}"));
        delivered = broker.written(&topic) - markers;
        product.stop();
    }

    let what = format!("{pods} Pods there at the start");
    let mut ratio = |name: &str, figures| report.ratio(FIRST_LIST, format!("{what}: {name}"), figures, FLOOR, None);
    ratio("CPU from start to all delivered and folded", (ours.cpu, bare.cpu, "s"));
    ratio("peak memory with the store", (ours.peak, bare.peak, "MiB"));
    ratio("time from start to all delivered", (ours.wall, bare.wall, "s"));
    report.value(FIRST_LIST, format!("{what}: CPU"), ours.cpu, "s", Some(Goal::AtMost(3.0)));
    // Not the better one: memory is no matter of luck.
    let worst = peaks.iter().copied().fold(0.0, f64::max);
    let goal = Some(Goal::AtMost(150.0));
    report.value(FIRST_LIST, format!("{what}: peak memory with the store, worst round"), worst, "MB", goal);
    report.value(FIRST_LIST, format!("{what}: memory afterwards"), ours.after, "MiB", None);
    report.value(
        FIRST_LIST,
        format!("{what}: delivered"),
        delivered as f64,
        "records",
        Some(Goal::AtLeast(pods as f64)),
    );
    report.value(FIRST_LIST, "Pod as the API server stores it", bytes, "bytes", None);
}
