//! No value that must not leave is found anywhere that this process writes, answers or remembers: canaries in rotating
//! Secrets, in ConfigMaps, environments, command lines, headers and annotations, searched for in every form in which they
//! might hide. Each place is also shown to be searched: what may be seen is found there, and a planted canary is noticed.

mod planted;

use super::kit::{Parts, Process, Trial, Where::*, eventually, http_get};
use super::laptop::SandboxCluster;
use base64::Engine as _;
use planted::{CUSTOM, create_custom, create_others};
use serde_json::{Value, json};
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use testbed::Stopwatch;

pub const TRIALS: &[Trial] = &[
    ("no_canary_is_found_in_anything_that_leaves_or_stays", Both, nothing_leaves),
    ("a_server_that_answers_whole_secrets_is_refused_and_an_alarm_is_raised", Both, a_hostile_server_is_refused),
];

/// Begins every canary.
const CANARY: &str = "c4n4ry";
/// A label that may be seen: where it is not found, nothing was searched.
const SHOWN: &str = "sh0wnLabel";
const SECRETS: usize = 200;

/// The forms in which a text might hide, by name.
fn forms(text: &str) -> Vec<(&'static str, Vec<u8>)> {
    let hex: String = text.bytes().map(|b| format!("{b:02x}")).collect();
    let mut forms = vec![
        ("raw", text.to_owned().into_bytes()),
        ("hex", hex.clone().into_bytes()),
        ("upper hex", hex.to_uppercase().into_bytes()),
        ("url-encoded", text.bytes().map(|b| format!("%{b:02X}")).collect::<String>().into_bytes()),
        ("JSON-escaped", text.bytes().map(|b| format!("\\u{b:04x}")).collect::<String>().into_bytes()),
        ("reversed", text.bytes().rev().collect()),
    ];
    for (name, before) in [("base64", 0), ("base64 after one byte", 1), ("base64 after two bytes", 2)] {
        let bytes = [vec![0; before], text.to_owned().into_bytes()].concat();
        let encoded = base64::engine::general_purpose::STANDARD.encode(&bytes);
        // The digits that the neighbours have no part in.
        forms.push((name, encoded.as_bytes()[(before * 8).div_ceil(6)..bytes.len() * 8 / 6].to_vec()));
    }
    forms
}

/// The forms of `text` that stand in `bytes`: one pass, since a log at trace is large.
fn hits(bytes: &[u8], text: &str) -> Vec<&'static str> {
    let forms = forms(text);
    let mut begins = [false; 256];
    forms.iter().for_each(|(_, form)| begins[usize::from(form[0])] = true);
    let mut found = Vec::new();
    for (at, first) in bytes.iter().enumerate() {
        if begins[usize::from(*first)] {
            let here = forms.iter().filter(|(_, form)| bytes[at..].starts_with(form)).map(|(name, _)| *name);
            found.extend(here);
        }
    }
    found.dedup();
    found
}

/// A place, and what stands in it.
struct Place {
    name: String,
    bytes: Vec<u8>,
}

/// Every place is clean, and the search would have noticed a canary in it.
fn assert_clean(places: &[Place]) {
    assert!(places.len() > 12, "{} places", places.len());
    for Place { name, bytes } in places {
        assert_eq!(hits(bytes, CANARY), Vec::<&str>::new(), "in {name}");
        // Planted where it stands between what is there.
        let middle = bytes.len() / 2;
        let around = &bytes[middle.saturating_sub(1000)..(middle + 1000).min(bytes.len())];
        for (form, planted) in forms(CANARY) {
            let (before, behind) = around.split_at(around.len() / 2);
            let with = [before, &planted, behind].concat();
            assert!(hits(&with, CANARY).contains(&form), "a planted {form} canary in {name} is not noticed");
        }
    }
}

fn nothing_leaves(parts: &Parts) {
    parts.namespace("canaries");
    let mut process = parts.process(
        "canaries",
        &[
            "watch.all_namespaces=true",
            "observe.log=\"trace,kube_client=trace\"",
            "watch.\"masks.leak.test\".enabled=true",
            "watch.\"fulls.leak.test\".policy=\"full\"",
            "redaction.rules.\"fulls.leak.test\".redact=[\"/spec/password\", \"/status/url\"]",
        ],
    );
    process.await_ready();
    let path = "/api/v1/namespaces/canaries/secrets";
    let secret = |number: usize, round: usize| {
        let applied = format!("{{\"stringData\":{{\"k\":\"{CANARY}Applied-{number}\"}}}}");
        let value = base64::engine::general_purpose::STANDARD.encode(format!("{CANARY}Data-{number}-{round}"));
        json!({
            "metadata": {"name": format!("s-{number}"), "labels": {"seen": SHOWN}, "annotations": {
                "example.com/token": format!("{CANARY}Annotation"),
                "kubectl.kubernetes.io/last-applied-configuration": applied}},
            "data": {"k": value}, "stringData": {"l": format!("{CANARY}StringData-{number}-{round}")},
        })
    };
    for number in 0..SECRETS {
        parts.api("POST", path, &secret(number, 0));
    }
    for number in 0..SECRETS {
        parts.api("PATCH", &format!("{path}/s-{number}"), &secret(number, 1));
    }
    create_others(parts);
    CUSTOM.iter().for_each(|plural| create_custom(parts, plural));
    let topic = "canaries.k8s-secrets";
    let changed = |records: &[super::checker::Record]| {
        (0..SECRETS).all(|n| records.iter().filter(|r| r.key.ends_with(&format!("/s-{n}"))).count() >= 2)
    };
    eventually("every Secret and its change is in the topic", || changed(&parts.dump(topic)).then_some(()));
    let custom = [("masks.leak.test", "x"), ("fulls.leak.test", "x")];
    let builtin = [("pods", "p"), ("configmaps", "m"), ("deployments", "d"), ("secrets", "s-0")];
    for (kind, name) in builtin.into_iter().chain(custom) {
        eventually(&format!("{kind} are served"), || {
            (http_get(process.api, &format!("/api/v1/objects/{kind}/canaries/{name}")).0 == 200).then_some(())
        });
    }
    parts.api("DELETE", &format!("{path}/s-0"), &Value::Null);
    eventually("the deletion is in the topic", || {
        parts.dump(topic).iter().any(|r| r.key.ends_with("/s-0") && r.op() == Some("d")).then_some(())
    });
    core_image_holds_no_data(&process, parts.directory());
    panics_on_purpose(&process);
    let mut places = of_process(&process);
    places.extend(of_topics(parts, "canaries", process.api));
    assert_eq!(process.terminate(), Some(0));
    let log = process.stderr();
    assert!(log.contains("an actor panicked") && log.contains("TRACE"), "the log is as loud as it can be");
    places.push(Place { name: "log".into(), bytes: log.into_bytes() });
    places.extend(of_files(&parts.directory().join("canaries")));
    for seen in [
        "topic canaries.k8s-secrets",
        "topic canaries.k8s-masks.leak.test",
        "topic canaries.k8s-fulls.leak.test",
        "GET /api/v1/objects?kind=secrets",
        "GET /api/v1/objects/fulls.leak.test",
    ] {
        let place = places.iter().find(|p| p.name.starts_with(seen)).expect("searched");
        assert!(String::from_utf8_lossy(&place.bytes).contains(SHOWN), "{seen} shows what may be seen");
    }
    assert_clean(&places);
}

/// The memory of the process. Annotations and other kinds are read before they are cut; `data` is never asked for.
fn core_image_holds_no_data(process: &Process, dir: &Path) {
    if Command::new("gcore").arg("--help").output().is_err() {
        assert!(!testbed::must_not_skip(), "gcore is missing: install gdb");
        eprintln!("SKIPPED the core image: gcore is missing (it comes with gdb)");
        return;
    }
    let pid = process.child.id();
    let core = dir.join("core");
    let made = Command::new("gcore").arg("-o").arg(&core).arg(pid.to_string()).output().expect("gcore runs");
    let file = core.with_extension(pid.to_string());
    assert!(file.exists(), "{}{}", String::from_utf8_lossy(&made.stdout), String::from_utf8_lossy(&made.stderr));
    // grep, because such a file is large and this test is not compiled for speed.
    let found = |patterns: &[Vec<u8>]| {
        let list = dir.join("patterns");
        std::fs::write(&list, patterns.join(&b'\n')).expect("it can be written");
        let grep =
            Command::new("grep").args(["-a", "-c", "-F", "-f"]).arg(&list).arg(&file).output().expect("grep runs");
        grep.status.code() == Some(0)
    };
    let all = |text: &str| forms(text).into_iter().map(|(_, form)| form).collect::<Vec<_>>();
    assert!(found(&[SHOWN.as_bytes().to_vec()]), "what has been read is in the image");
    for text in [format!("{CANARY}Data"), format!("{CANARY}StringData")] {
        assert!(!found(&all(&text)), "{text} is in the memory of the process");
    }
    std::fs::remove_file(file).expect("it can be removed");
}

/// Every actor that has objects in hand dies once, loudly.
fn panics_on_purpose(process: &Process) {
    for actor in ["watcher/secrets", "watcher/pods", "publisher", "shared-state", "stream-processor", "query"] {
        // One that is restarted together with another may be down just then.
        eventually(&format!("{actor} can be killed"), || {
            let server = format!("http://{}", process.api);
            let killed = Command::new(env!("CARGO_BIN_EXE_agent-events"))
                .args(["--server", &server, "actors", "kill", actor, "--how", "panic"])
                .output()
                .expect("the binary runs");
            killed.status.success().then_some(())
        });
    }
}

/// Everything that the process answers.
fn of_process(process: &Process) -> Vec<Place> {
    let mut kinds = vec!["secrets", "pods", "configmaps", "deployments", "statefulsets", "services", "events"];
    kinds.extend(["masks.leak.test", "fulls.leak.test"]);
    let mut paths: Vec<String> = kinds.iter().map(|kind| format!("/api/v1/objects?kind={kind}&limit=5000")).collect();
    let one = [("secrets", "s-1"), ("pods", "p"), ("configmaps", "m"), ("deployments", "d"), ("fulls.leak.test", "x")];
    paths.extend(one.iter().map(|(kind, name)| format!("/api/v1/objects/{kind}/canaries/{name}")));
    paths.extend(
        ["pipeline", "actors", "topics", "version", "gaps", "config", "checks"].map(|p| format!("/api/v1/{p}")),
    );
    paths.push("/".into());
    let mut places: Vec<Place> = paths
        .into_iter()
        .map(|path| Place { name: format!("GET {path}"), bytes: http_get(process.api, &path).1 })
        .collect();
    for path in ["/metrics", "/readyz?verbose", "/livez", "/startupz"] {
        places.push(Place { name: format!("GET {path}"), bytes: http_get(process.ops, path).1 });
    }
    for path in ["/api/v1/watch?kind=secrets&since=0", "/api/v1/watch?kind=pods", "/api/v1/live"] {
        places.push(Place { name: format!("GET {path}"), bytes: the_beginning_of(process.api, path) });
    }
    // An answer of a few bytes holds no canary, and none can be planted in the middle of nothing.
    places.iter_mut().filter(|p| p.bytes.len() < 2).for_each(|p| p.bytes.extend_from_slice(b"  "));
    places
}

/// What an endless answer says within five seconds, or until it is silent for two.
fn the_beginning_of(addr: SocketAddr, path: &str) -> Vec<u8> {
    let mut stream = TcpStream::connect(addr).expect("it listens");
    stream.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout can be set");
    write!(stream, "GET {path} HTTP/1.0\r\nHost: localhost\r\n\r\n").expect("it reads");
    let (mut all, mut buffer) = (Vec::new(), [0; 16 << 10]);
    let began = Stopwatch::start();
    while all.len() < 4 << 20 && began.elapsed() < Duration::from_secs(5) {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => break,
            Ok(n) => all.extend_from_slice(&buffer[..n]),
        }
    }
    all
}

/// Every record of every topic with this prefix: value as it is after decompression, key, headers.
fn of_topics(parts: &Parts, prefix: &str, api: SocketAddr) -> Vec<Place> {
    fn names(value: &Value, prefix: &str, found: &mut Vec<String>) {
        match value {
            Value::String(text) if text.starts_with(prefix) => found.push(text.clone()),
            Value::Array(all) => all.iter().for_each(|v| names(v, prefix, found)),
            Value::Object(all) => all.values().for_each(|v| names(v, prefix, found)),
            _ => {}
        }
    }
    let listed: Value = serde_json::from_slice(&http_get(api, "/api/v1/topics").1).expect("JSON");
    let mut topics = Vec::new();
    names(&listed, &format!("{prefix}."), &mut topics);
    topics.sort();
    topics.dedup();
    assert!(topics.len() >= 9, "{topics:?}");
    let place = |topic: String| {
        let mut bytes = b"  ".to_vec();
        for record in parts.dump(&topic) {
            bytes.extend_from_slice(&record.raw);
            bytes.extend_from_slice(record.key.as_bytes());
            bytes.extend_from_slice(format!("{:?}", record.headers).as_bytes());
        }
        Place { name: format!("topic {topic}"), bytes }
    };
    topics.into_iter().map(place).collect()
}

/// Every file of the data directory: the embedded log, the saved fold, the pid file.
fn of_files(dir: &Path) -> Vec<Place> {
    let mut places = Vec::new();
    for entry in std::fs::read_dir(dir).into_iter().flatten().flatten() {
        let path = entry.path();
        if path.is_dir() {
            places.extend(of_files(&path));
        } else {
            let bytes = [b"  ".to_vec(), std::fs::read(&path).unwrap_or_default()].concat();
            places.push(Place { name: format!("file {}", path.display()), bytes });
        }
    }
    places
}

/// Passes everything on, and asks for whole objects where metadata is asked for: to the reader a server that does not do
/// what it is asked. Every watch is refused with an object in the sentence, in turns by a status and in the stream.
fn hostile_proxy(server: SocketAddr) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for client in listener.incoming().flatten() {
            let Ok(upstream) = TcpStream::connect(server) else { continue };
            let (Ok(to_client), Ok(to_server)) = (client.try_clone(), upstream.try_clone()) else { continue };
            std::thread::spawn(move || pass_on(client, to_server, b";as=Partial", b";no=Partial", refusals()));
            std::thread::spawn(move || pass_on(upstream, to_client, b"", b"", Vec::new()));
        }
    });
    addr
}

/// How watches are refused.
fn refusals() -> Vec<String> {
    let said = format!("the conversion webhook failed: unable to decode {{\"data\":{{\"k\":\"{CANARY}Said\"}}}}");
    let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "code": 500, "message": said,
        "reason": format!("{CANARY}Reason"), "details": {"causes": [{"message": said}]}});
    let line = json!({"type": "ERROR", "object": status});
    [("500 Internal Server Error", status), ("200 OK", line)]
        .map(|(head, body)| {
            let (body, json) = (format!("{body}\n"), "Content-Type: application/json");
            format!("HTTP/1.1 {head}\r\n{json}\r\nContent-Length: {}\r\n\r\n{body}", body.len())
        })
        .to_vec()
}

fn pass_on(mut from: TcpStream, mut to: TcpStream, search: &[u8], put: &[u8], refusals: Vec<String>) {
    let (mut buffer, mut refused) = ([0; 64 << 10], refusals.iter().cycle());
    while let Ok(n @ 1..) = from.read(&mut buffer) {
        let bytes = &mut buffer[..n];
        // Whoever asks waits for the answer, so that this one overtakes none.
        if let Some(answer) = refused.next().filter(|_| bytes.windows(10).any(|part| part == b"watch=true")) {
            if from.write_all(answer.as_bytes()).is_err() {
                break;
            }
            continue;
        }
        // A request is written in one piece, so what is looked for is never cut in two.
        for at in 0..n {
            if !search.is_empty() && bytes[at..].starts_with(search) {
                bytes[at..at + put.len()].copy_from_slice(put);
            }
        }
        if to.write_all(bytes).is_err() {
            break;
        }
    }
    drop(to.shutdown(std::net::Shutdown::Both));
}

fn a_hostile_server_is_refused(parts: &Parts) {
    let sandbox = SandboxCluster::start();
    let text = std::fs::read_to_string(sandbox.kubeconfig()).expect("a kubeconfig");
    let url = text.lines().find_map(|line| line.trim().strip_prefix("server: ")).expect("a server").trim_matches('"');
    let server: SocketAddr = url.trim_start_matches("http://").parse().expect("an address");
    let hostile = parts.directory().join("hostile.kubeconfig");
    std::fs::write(&hostile, text.replace(&server.to_string(), &hostile_proxy(server).to_string())).expect("written");
    for number in 0..20 {
        let secret = json!({
            "metadata": {"name": format!("s-{number}"), "annotations": {
                "kubectl.kubernetes.io/last-applied-configuration": format!("{CANARY}Applied")}},
            "stringData": {"k": format!("{CANARY}StringData-{number}")},
        });
        let path = "/api/v1/namespaces/default/secrets";
        let (status, answer) = sandbox.request("POST", path, "application/json", &secret.to_string());
        assert_eq!(status, 201, "{answer}");
    }
    let kubeconfig = format!("cluster.kubeconfig={:?}", hostile.display().to_string());
    let mut process = parts.process("hostile", &[&kubeconfig, "observe.log=\"trace\"", "watch.all_namespaces=true"]);
    let stubs = eventually("every Secret is in the topic by its identity", || {
        let records = if process.is_ready() { parts.dump("hostile.k8s-secrets") } else { Vec::new() };
        let stubs: Vec<_> = records.into_iter().filter(|r| r.op().is_some()).collect();
        (stubs.len() >= 20).then_some(stubs)
    });
    for record in &stubs {
        let value = record.value.as_ref().expect("a change");
        assert_eq!(value["source"]["stub"]["reason"], "full_object_refused", "{}", record.key);
        let members: Vec<&String> = value["after"]["metadata"].as_object().expect("metadata").keys().collect();
        assert_eq!(members, ["name", "namespace", "resourceVersion", "uid"]);
    }
    let metrics = String::from_utf8(http_get(process.ops, "/metrics").1).expect("UTF-8");
    let counted = metrics.lines().find_map(|l| l.strip_prefix("agent_events_hostile_frames_total{kind=\"secrets\"} "));
    assert!(counted.and_then(|n| n.parse::<u64>().ok()) >= Some(20), "{counted:?}");
    let pipeline: Value = serde_json::from_slice(&http_get(process.api, "/api/v1/pipeline").1).expect("JSON");
    assert!(pipeline["degraded"].to_string().contains("whole objects where only metadata"), "{}", pipeline["degraded"]);
    eventually("what the server says of watches is shown as far as it may be", || {
        let shown = String::from_utf8(http_get(process.api, "/api/v1/pipeline").1).expect("UTF-8");
        let ends = shown.contains("the watch ended with 500") && shown.contains("watch answered 500");
        (ends && shown.contains("unable to decode …")).then_some(())
    });
    let mut places = of_process(&process);
    places.extend(of_topics(parts, "hostile", process.api));
    assert_eq!(process.terminate(), Some(0));
    let log = process.stderr();
    assert_eq!(log.matches("the API server sends whole objects").count(), 1, "said once a minute");
    places.push(Place { name: "log".into(), bytes: log.into_bytes() });
    places.extend(of_files(&parts.directory().join("hostile")));
    assert_clean(&places);
}
