//! The page in a real browser, over the whole product between a cluster and a log in memory.
//!
//! `PAGE_DEMO=8080 cargo test --test page` serves it there instead, with a life of its own, until its input ends: to look at
//! while working on `web/`. `PAGE_DEMO_RATE` is what happens a second (default 4).

// Skips are for whoever reads the run.
#![allow(clippy::print_stderr)]

mod cluster;
mod laptop;

use agent_events::app::{self, Running};
use agent_events::http::{self, Faces};
use agent_events::log::memory::MemoryLog;
use agent_events::settings::{self, Sources};
use cluster::{Cluster, Life};
use laptop::Laptop;
use libtest_mimic::{Arguments, Failed, Trial};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Arc;
use std::sync::mpsc;
use std::time::Duration;

/// The product between memory ends.
fn start(cluster: &Cluster, log: &MemoryLog, api: &str) -> Running {
    let sets = [
        "cluster.name=\"demo\"".to_owned(),
        "cluster.mode=\"kubeconfig\"".to_owned(),
        "kafka.bootstrap=\"127.0.0.1:1\"".to_owned(),
        "watch.all_namespaces=true".to_owned(),
        format!("http.api={api:?}"),
        "http.ops=\"127.0.0.1:0\"".to_owned(),
        "chaos.enabled=true".to_owned(),
        "supervision.max_restarts=1000".to_owned(),
    ];
    let sources = Sources { set: sets.into(), ..Sources::default() };
    let loaded = settings::load(&sources).expect("good settings");
    let ends = app::Ends {
        api: Arc::new(cluster.clone()),
        cluster_uid: "7c9e6679-7425-40de-944b-e07fc1f90ae7".into(),
        log: Arc::new(log.clone()),
    };
    app::start_between(loaded.settings, ends).expect("free ports")
}

fn demo(port: &str) {
    let rate: u64 = std::env::var("PAGE_DEMO_RATE").ok().and_then(|rate| rate.parse().ok()).unwrap_or(4);
    let cluster = Cluster::new();
    let mut life = Life::new(cluster.clone(), 1);
    let running = start(&cluster, &MemoryLog::default(), &format!("127.0.0.1:{port}"));
    let (over, is_over) = mpsc::channel();
    std::thread::spawn(move || {
        let mut all = Vec::new();
        over.send(std::io::stdin().read_to_end(&mut all).is_ok()).ok();
    });
    while is_over.recv_timeout(Duration::from_micros(1_000_000 / rate.max(1))).is_err() {
        life.go_on();
    }
    running.shutdown();
}

/// What the product stands between, and what can be done there.
enum Ends {
    Memory(Cluster, MemoryLog),
    Laptop(Laptop),
}

impl Ends {
    fn start(&self, api: &str) -> Running {
        match self {
            Self::Memory(cluster, log) => start(cluster, log, api),
            Self::Laptop(laptop) => laptop.start(api),
        }
    }

    fn deploy(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Memory(cluster, _) => cluster.deploy("shop", name, "registry.local/proof:1", 1, 1, "kubectl"),
            Self::Laptop(laptop) => laptop.deploy(name)?,
        }
        Ok(())
    }

    fn edit(&self, name: &str) -> Result<(), String> {
        match self {
            Self::Memory(cluster, _) => {
                for level in ["info", "debug"] {
                    let map = serde_json::json!({"kind": "ConfigMap", "apiVersion": "v1", "metadata": {}, "data": {"LEVEL": level}});
                    cluster.put("configmaps", "shop", name, "kubectl", &map);
                }
            }
            Self::Laptop(laptop) => laptop.edit(name)?,
        }
        Ok(())
    }
}

/// What the check wants done, done to the product.
struct Stage {
    ends: Ends,
    running: Option<Running>,
    api: String,
    changes: u32,
}

impl Stage {
    fn set(ends: Ends) -> Result<Self, Failed> {
        let running = ends.start("127.0.0.1:0");
        let api = running.api_addr().to_string();
        running.ready(Duration::from_secs(60)).map_err(|missing| format!("not ready: {missing:?}"))?;
        Ok(Self { ends, running: Some(running), api, changes: 0 })
    }

    /// Gives the words by which it is seen on the page.
    fn act(&mut self, what: &str) -> Result<String, String> {
        match what {
            "change" => {
                self.changes += 1;
                let name = format!("proof-{}", self.changes);
                self.ends.deploy(&name)?;
                Ok(name)
            }
            "edit" => {
                self.changes += 1;
                let name = format!("proof-config-{}", self.changes);
                self.ends.edit(&name)?;
                Ok(format!("configmap {name} version"))
            }
            "outage" => {
                self.running.take().map(|running| running.shutdown());
                Ok(String::new())
            }
            "return" => {
                self.running = Some(self.ends.start(&self.api));
                Ok(String::new())
            }
            other => Err(format!("the check asks for {other:?}")),
        }
    }
}

/// A process that is not up yet and never will be: the address of its page.
fn young(io: &tokio::runtime::Runtime) -> SocketAddr {
    let listener = http::bind(SocketAddr::from(([127, 0, 0, 1], 0)), "http.api").expect("a free port");
    let addr = listener.local_addr().expect("it listens");
    let faces = Faces::default();
    faces.board.set_state("connecting");
    faces.board.degrade("the API server", Some("https://10.0.0.1:6443/: connection refused".into()));
    io.spawn(http::serve(listener, http::api_router(faces), std::future::pending()));
    addr
}

/// What is needed to look at a page, or what is missing for it.
fn browser() -> Result<PathBuf, String> {
    let chromium = std::env::var_os("CHROMIUM").map_or_else(|| PathBuf::from("/usr/bin/chromium"), PathBuf::from);
    if !chromium.exists() {
        return Err(format!("{}: no Chromium there (apt-get install chromium, or set CHROMIUM)", chromium.display()));
    }
    let here = Path::new(HERE);
    if !here.join("node_modules/playwright-core").exists() {
        let mut npm = Command::new("npm");
        let output = npm.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund"]).current_dir(here).output();
        let output = output.map_err(|e| format!("npm cannot be run: {e} (apt-get install nodejs npm)"))?;
        if !output.status.success() {
            return Err(format!("npm ci in tests/page: {}", String::from_utf8_lossy(&output.stderr)));
        }
    }
    Ok(chromium)
}

const HERE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/page");
/// The whole check takes some 40 s on a busy machine with two cores.
const PATIENCE: Duration = Duration::from_secs(240);

type Look = fn(&Path) -> Result<(), Failed>;

fn between_memory_ends(chromium: &Path) -> Result<(), Failed> {
    let cluster = Cluster::new();
    let mut life = Life::new(cluster.clone(), 7);
    let stage = Stage::set(Ends::Memory(cluster, MemoryLog::default()))?;
    (0..60).for_each(|_| life.go_on());
    let io = tokio::runtime::Runtime::new()?;
    look(chromium, stage, "memory", Some(young(&io)))
}

fn on_a_laptop(chromium: &Path) -> Result<(), Failed> {
    look(chromium, Stage::set(Ends::Laptop(Laptop::new()))?, "laptop", None)
}

/// Runs the check, and does what it asks for.
fn look(chromium: &Path, mut stage: Stage, name: &str, young: Option<SocketAddr>) -> Result<(), Failed> {
    let screenshots =
        Path::new(env!("CARGO_TARGET_TMPDIR")).parent().unwrap_or(Path::new("target")).join("page").join(name);
    let page = serde_json::json!({
        "url": format!("http://{}/", stage.api), "young": young.map(|young| format!("http://{young}/")),
        "chromium": chromium, "screenshots": screenshots, "change": true, "kill": "watcher/pods", "outage": true,
    });
    let mut check = Command::new("node");
    check.arg("check.mjs").current_dir(HERE).env("PAGE", page.to_string());
    let mut check = check.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
    let (mut answers, said) = (check.stdin.take().expect("piped"), check.stdout.take().expect("piped"));
    let (tell, told) = mpsc::channel();
    std::thread::spawn(move || BufReader::new(said).lines().map_while(Result::ok).all(|line| tell.send(line).is_ok()));
    let mut transcript = String::new();
    loop {
        match told.recv_timeout(PATIENCE) {
            Ok(line) => {
                if let Some(what) = line.strip_prefix("do ") {
                    writeln!(answers, "done {}", stage.act(what)?)?;
                }
                transcript.push_str(&line);
                transcript.push('\n');
            }
            Err(mpsc::RecvTimeoutError::Disconnected) => break,
            Err(mpsc::RecvTimeoutError::Timeout) => {
                check.kill()?;
                transcript.push_str("silent for too long\n");
                break;
            }
        }
    }
    if check.wait()?.success() { Ok(()) } else { Err(transcript.into()) }
}

fn main() -> ExitCode {
    let mut arguments = Arguments::from_args();
    if let Ok(port) = std::env::var("PAGE_DEMO") {
        demo(&port);
        return ExitCode::SUCCESS;
    }
    // One browser at a time: two on two cores would only measure each other.
    arguments.test_threads = Some(1);
    let trials: [(&str, Look); 2] = [
        ("the_page_lives_heals_and_is_accessible_between_memory_ends", between_memory_ends),
        ("the_page_lives_heals_and_is_accessible_on_a_laptop", on_a_laptop),
    ];
    // Who only lists, or asks for others, waits for no npm.
    let asked = |name: &str| arguments.filter.as_ref().is_none_or(|filter| name.contains(filter.as_str()));
    let browser =
        if arguments.list || !trials.iter().any(|(name, _)| asked(name)) { Ok(PathBuf::new()) } else { browser() };
    let trials = trials.into_iter().map(|(name, run)| match &browser {
        Ok(chromium) => {
            let chromium = chromium.clone();
            Trial::test(name, move || run(&chromium))
        }
        Err(why) if testbed::must_not_skip() => {
            let why = format!("{why} (and CI=true)");
            Trial::test(name, move || Err(why.into()))
        }
        Err(why) => {
            eprintln!("SKIPPED {name}: {why}");
            Trial::test(name, || Ok(())).with_ignored_flag(true)
        }
    });
    libtest_mimic::run(&arguments, trials.collect()).exit_code()
}
