//! The real binary: what it says and how it ends. No cluster, no broker; only loopback ports of the tests' own.

use agent_events::cli::config_cmd;
use serde_json::Value;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::thread;

/// How a run of the binary ended.
struct Run {
    code: Option<i32>,
    out: String,
    err: String,
}

fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    // A data directory for each test: one has one process. It goes with the test's thread.
    thread_local!(static DIR: tempfile::TempDir = tempfile::tempdir().expect("a directory"));
    let data_dir = DIR.with(|dir| dir.path().to_owned());
    // Nothing of whoever runs the tests: no kubeconfig, no service account, no settings.
    command.args(args).env_clear().env("HOME", "/nonexistent").env("AGENT_EVENTS__DATA_DIR", data_dir);
    command.stdin(Stdio::null());
    command
}

fn finish(mut command: Command) -> Run {
    let output = command.output().expect("the binary is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

fn run(args: &[&str]) -> Run {
    finish(command(args))
}

/// Settings that are complete, with a broker that nobody runs.
const SOUND: [&str; 4] = ["--set", "cluster.name=test", "--set", "kafka.bootstrap=127.0.0.1:1"];
const ANY_PORTS: [&str; 4] = ["--set", "http.api=127.0.0.1:0", "--set", "http.ops=127.0.0.1:0"];

#[track_caller]
fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}

#[test]
fn help_names_every_command_and_the_exit_codes_and_usage_errors_end_with_2() {
    let help = run(&["--help"]);
    assert_eq!((help.code, help.err.as_str()), (Some(0), ""));
    for name in [
        "run",
        "stop",
        "status",
        "check",
        "topics",
        "get",
        "watch",
        "tail",
        "actors",
        "config",
        "version",
        "Exit codes",
        "78",
    ] {
        says(&help.out, &[name]);
    }
    assert!(!help.out.contains("setup-kafka") && !help.out.contains("start-k8s-monitor"), "aliases are hidden");
    for wrong in [
        &["rum"][..],
        &["get"],
        &["get", "pods", "-A", "-n", "x"],
        &["run", "-A", "--namespace", "x"],
        &["run", "--poll-interval", "0"],
        &["tail", "k8s-pods", "--from", "yesterday"],
        &["actors", "kill"],
        &["get", "pods", "-o", "xml"],
    ] {
        let run = run(wrong);
        assert_eq!(run.code, Some(2), "{wrong:?}: {}", run.err);
        assert!(run.out.is_empty() && run.err.contains("--help"), "{wrong:?}: {}", run.err);
    }
    assert_eq!(run(&[]).code, Some(2), "without a command it shows its help");
    says(&run(&["tail", "x", "--from", "yesterday"]).err, &["yesterday", "10m"]);
    says(&run(&["run", "--poll-interval", "0"]).err, &["'0'", "at least 1"]);
    let kind = run(&["get", "podz"]);
    assert_eq!(kind.code, Some(3), "only the process knows which kinds it captures, and none runs: {}", kind.err);
    let server = run(&["get", "pods", "--server", "https://a"]);
    assert_eq!(server.code, Some(2));
    says(&server.err, &["--server https://a", "http://127.0.0.1:8080"]);
}

#[test]
fn the_names_of_the_replaced_system_still_work() {
    for (alias, name) in [
        ("start-k8s-monitor", "run"),
        ("start_k8s_monitor", "run"),
        ("check-connection", "check"),
        ("check_connection", "check"),
        ("setup-kafka", "topics apply"),
        ("setup_kafka", "topics apply"),
    ] {
        let words: Vec<&str> = name.split(' ').collect();
        let (old, new) = (run(&[alias]), run(&words));
        // Both find that the settings are not complete.
        assert_eq!((old.code, new.code), (Some(78), Some(78)), "{alias}: {}", old.err);
        assert_eq!(old.err, new.err, "{alias}");
    }
    let flags = ["--namespace", "a,b", "--resources", "pods,services", "--poll-interval", "30"];
    let old = run(&[&["start-k8s-monitor"][..], &flags, &SOUND, &ANY_PORTS].concat());
    assert_eq!(old.code, Some(69), "{}", old.err);
}

#[test]
fn every_fault_of_the_settings_is_named_with_its_origin_and_ends_with_78() {
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("x.toml");
    std::fs::write(&file, "[kafka]\nlibrdkafka = 3\n[watch]\npage_size = \"many\"\n").expect("it is written");
    let file = file.to_str().expect("UTF-8");
    for args in [&["run"][..], &["check"], &["config", "validate"], &["config", "show"], &["topics", "plan"]] {
        let typed = [args, &["--config", file, "--set", "watch.pods.enabeld=true"]].concat();
        let mut command = command(&typed);
        command.env("AGENT_EVENTS__HTTP__API", "nowhere").env("AGENT_EVENTS__TOPICS__CREATE", "perhaps");
        let run = finish(command);
        assert_eq!((run.code, run.out.as_str()), (Some(78), ""), "{args:?}: {}", run.err);
        for (key, origin) in [
            ("watch.page_size", "x.toml:4"),
            ("http.api", "AGENT_EVENTS__HTTP__API"),
            ("topics.create", "AGENT_EVENTS__TOPICS__CREATE"),
            ("watch.pods.enabeld", "--set"),
        ] {
            let line = run.err.lines().find(|line| line.contains(key)).unwrap_or_default();
            assert!(line.starts_with("error: ") && line.contains(origin), "{key}: {}", run.err);
        }
    }
    let missing = run(&["run", "--config", "/nonexistent.toml"]);
    assert_eq!(missing.code, Some(78));
    says(&missing.err, &["/nonexistent.toml", "--config"]);
    let contradiction = run(&[&["run", "--resources", "pods,Podz"][..], &SOUND].concat());
    assert_eq!(contradiction.code, Some(78));
    says(&contradiction.err, &["--resources", "\"Podz\" is no kind", "PLURAL.GROUP"]);
    let filter = run(&[&["run", "--set", "observe.log=a=b=c"][..], &SOUND].concat());
    assert_eq!(filter.code, Some(78));
    says(&filter.err, &["observe.log"]);
}

#[test]
fn without_a_cluster_it_ends_with_69_and_says_what_was_tried() {
    let none = run(&[&["run"][..], &SOUND, &ANY_PORTS].concat());
    assert_eq!((none.code, none.out.as_str()), (Some(69), ""), "{}", none.err);
    says(&none.err, &["no Kubernetes cluster is configured", "service account", "kubeconfig", "KUBECONFIG"]);
    let wrong = run(&[&["run", "--set", "cluster.kubeconfig=/nonexistent/config"][..], &SOUND, &ANY_PORTS].concat());
    assert_eq!(wrong.code, Some(69), "{}", wrong.err);
    says(&wrong.err, &["/nonexistent/config"]);
}

#[test]
fn a_port_in_use_is_named_with_its_setting() {
    let taken = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let addr = taken.local_addr().expect("it listens").to_string();
    for (setting, other) in [("http.api", "http.ops"), ("http.ops", "http.api")] {
        let (set, free) = (format!("{setting}={addr}"), format!("{other}=127.0.0.1:0"));
        let run = run(&[&["run", "--set", &set, "--set", &free][..], &SOUND].concat());
        assert_eq!(run.code, Some(1), "{}", run.err);
        says(&run.err, &[setting, &addr, "in use"]);
    }
}

#[test]
fn check_prints_one_line_a_check_and_ends_with_10_when_one_failed() {
    let table = run(&[&["check"][..], &SOUND].concat());
    assert_eq!((table.code, table.err.as_str()), (Some(10), ""), "{}", table.out);
    says(&table.out, &["✓ settings: valid", "✗ cluster configured: ", "✗ broker: ", "127.0.0.1:1", "    → "]);
    let json = run(&[&["check", "-o", "json"][..], &SOUND].concat());
    assert_eq!(json.code, Some(10));
    let report: Value = serde_json::from_str(&json.out).expect("JSON");
    assert_eq!((&report["healthy"], &report["checks"][0]["state"]), (&Value::Bool(false), &"ok".into()));
    assert!(
        report["checks"].as_array().expect("a list").iter().any(|c| c["check"] == "broker" && c["state"] == "failed")
    );
}

#[test]
fn check_reads_the_key_file_that_run_reads_and_says_what_run_says() {
    use std::os::unix::fs::PermissionsExt as _;
    let dir = tempfile::tempdir().expect("a directory");
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).expect("written");
        path.display().to_string()
    };
    let pipe = dir.path().join("pipe").display().to_string();
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("mkfifo is there").success());
    for (path, said) in [
        ("/nonexistent/key".to_owned(), "cannot read this file: No such file"),
        (dir.path().display().to_string(), "cannot read this file: it is no regular file"),
        ("/dev/zero".to_owned(), "cannot read this file: it is no regular file"),
        (pipe, "cannot read this file: it is no regular file"),
        (file("long", &[b'a'; 70_000]), "cannot read this file: it has more than 65536 bytes"),
        (file("short", b"short"), "the key has 5 bytes, expected at least 32"),
    ] {
        let key = format!("redaction.hmac_key_file={path:?}");
        let told = ["check", "run"].map(|name| {
            let run = run(&[&[name, "--set", &key][..], &SOUND, &ANY_PORTS].concat());
            assert_eq!((run.code, run.out.as_str()), (Some(78), ""), "{name} {path}: {}", run.err);
            run.err
        });
        assert_eq!(told[0], told[1]);
        says(&told[0], &[&format!("error: redaction.hmac_key_file = {path:?}: {said}")]);
    }
    // Each waits for the broker: side by side.
    thread::scope(|scope| {
        for (mode, line) in [
            (0o600, "✓ redaction key: its id is "),
            (0o640, "can be read by its group: chmod 600 it"),
            (0o604, "can be read by everybody: chmod 600 it"),
        ] {
            let key = file(&format!("{mode:o}"), "ab".repeat(32).as_bytes());
            std::fs::set_permissions(&key, std::fs::Permissions::from_mode(mode)).expect("ours");
            scope.spawn(move || {
                let set = format!("redaction.hmac_key_file={key:?}");
                let table = run(&[&["check", "--set", &set][..], &SOUND].concat());
                assert_eq!(table.code, Some(10), "the broker is away: {}", table.err);
                says(&table.out, &[line]);
            });
        }
    });
}

#[test]
fn a_log_that_does_not_answer_is_a_sentence_with_the_setting() {
    // Each waits for the broker as long as the engine does: side by side.
    thread::scope(|scope| {
        for command in ["plan", "list", "apply", "verify"] {
            scope.spawn(move || {
                let run = run(&[&["topics", command][..], &SOUND].concat());
                assert_eq!((run.code, run.out.as_str()), (Some(69), ""), "{command}: {}", run.err);
                says(&run.err, &["error: the log at 127.0.0.1:1 does not answer", "kafka.bootstrap"]);
            });
        }
    });
}

#[test]
fn topics_say_which_patterns_they_leave_out_where_no_api_server_tells_what_they_mean() {
    let dir = tempfile::tempdir().expect("a directory");
    let kubeconfig = format!("cluster.kubeconfig={}", dir.path().join("none").display());
    let sound = ["--set", "cluster.name=test", "--set", "log.engine=embedded", "--set", &kubeconfig];
    let open = ["--set", "watch.\"*.example.com\".policy=full", "--set", "watch.\"things.example.com\".policy=full"];
    for (command, code) in [("plan", 12), ("apply", 0)] {
        let run = run(&[&["topics", command][..], &sound, &open].concat());
        assert_eq!(run.code, Some(code), "{command}: {}", run.err);
        says(&run.out, &["k8s-pods", "k8s-things.example.com"]);
        says(&run.err, &["left out", "*.example.com", "none", "agent-events run"]);
        assert_eq!(run.err.lines().count(), 1, "{}", run.err);
    }
    let named = run(&[&["topics", "plan"][..], &sound, &open[2..]].concat());
    assert_eq!((named.code, named.err.as_str()), (Some(0), ""), "what is named needs no API server, and is there");
}

#[test]
fn commands_that_ask_a_process_end_with_3_when_none_answers() {
    let closed = {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        format!("http://{}", listener.local_addr().expect("it listens"))
    };
    for args in [&["get", "pods"][..], &["watch"], &["actors", "list"], &["actors", "kill", "a"]] {
        let run = run(&[args, &["--server", &closed]].concat());
        assert_eq!((run.code, run.out.as_str()), (Some(3), ""), "{args:?}: {}", run.err);
        says(&run.err, &["no agent-events answers", &closed, "agent-events run", "--server"]);
    }
    // `tail` reads the log itself then, so that is what it ends over.
    let tail = run(&[&["tail", "k8s-pods", "--server", &closed][..], &SOUND].concat());
    assert_eq!(tail.code, Some(69), "{}", tail.err);
    let tail = run(&["tail", "k8s-pods", "--server", &closed]);
    assert_eq!(tail.code, Some(78), "{}", tail.err);
    says(&tail.err, &["no agent-events answers", "kafka.bootstrap"]);
    let tail = run(&[&["tail", "nope", "--server", &closed][..], &SOUND].concat());
    assert_eq!(tail.code, Some(1));
    says(&tail.err, &["nope", "k8s-pods"]);
}

/// Answers one connection after the other, each with the next of these.
fn canned(answers: Vec<String>) -> (String, thread::JoinHandle<Vec<String>>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let url = format!("http://{}", listener.local_addr().expect("it listens"));
    let asked = thread::spawn(move || {
        let mut asked = Vec::new();
        for answer in answers {
            let (socket, _) = listener.accept().expect("a connection");
            let mut reader = BufReader::new(socket);
            let mut line = String::new();
            reader.read_line(&mut line).expect("a request line");
            asked.push(line.trim_end().to_owned());
            while line != "\r\n" {
                line.clear();
                reader.read_line(&mut line).expect("a header");
            }
            drop(reader.get_mut().write_all(answer.as_bytes()));
        }
        asked
    });
    (url, asked)
}

fn ok(body: &str) -> String {
    format!("HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\r\n{body}")
}

fn problem(status: u16, code: &str, detail: &str) -> String {
    let body = serde_json::json!({"status": status, "code": code, "detail": detail});
    format!("HTTP/1.1 {status} X\r\ncontent-type: application/problem+json\r\nconnection: close\r\n\r\n{body}")
}

const POD: &str = r#"{"kind":"Pod","metadata":{"name":"web-1","namespace":"shop","creationTimestamp":"2020-01-01T00:00:00Z"},"spec":{"nodeName":"n1","containers":[{}]},"status":{"phase":"Running","podIP":"10.0.0.9","containerStatuses":[{"ready":true,"restartCount":2,"state":{"running":{}}}]}}"#;

#[test]
fn get_asks_page_by_page_and_prints_like_kubectl() {
    let page = |next: &str| ok(&format!(r#"{{"items":[{POD}],"continue":{next},"asOf":{{}}}}"#));
    let (url, asked) = canned(vec![page("\"t1\""), page("null")]);
    let table = run(&["get", "po", "-n", "shop", "-l", "app=web", "--server", &url]);
    assert_eq!((table.code, table.err.as_str()), (Some(0), ""));
    let lines: Vec<Vec<&str>> = table.out.lines().map(|line| line.split_whitespace().collect()).collect();
    assert_eq!(lines[0], ["NAME", "READY", "STATUS", "RESTARTS", "AGE"]);
    assert_eq!(lines[1][..4], ["web-1", "1/1", "Running", "2"]);
    assert_eq!(lines.len(), 3);
    let base = "GET /api/v1/objects?kind=pods&limit=500&namespace=shop&labelSelector=app%3Dweb";
    assert_eq!(asked.join().expect("asked"), [format!("{base} HTTP/1.1"), format!("{base}&continue=t1 HTTP/1.1")]);

    for (output, says_what) in [
        ("wide", &["10.0.0.9", "n1"][..]),
        ("name", &["pod/web-1\n"]),
        ("json", &["\"kind\": \"List\"", "\"name\": \"web-1\""]),
        ("yaml", &["kind: List\n", "    name: web-1\n", "- kind: Pod\n"]),
    ] {
        let (url, _) = canned(vec![page("null")]);
        let run = run(&["get", "pods", "-A", "-o", output, "--server", &url]);
        assert_eq!(run.code, Some(0), "{}", run.err);
        says(&run.out, says_what);
    }
    let (url, _) = canned(vec![ok(r#"{"items":[],"continue":null}"#)]);
    let none = run(&["get", "pods", "-n", "shop", "--server", &url]);
    assert_eq!((none.code, none.out.as_str(), none.err.as_str()), (Some(0), "", "No pods found in namespace shop.\n"));
    let (url, asked) = canned(vec![problem(404, "not_found", "no")]);
    let gone = run(&["get", "deploy", "web", "-n", "shop", "--server", &url]);
    assert_eq!(
        (gone.code, gone.err.as_str()),
        (Some(1), "error: deployments \"web\" not found in namespace \"shop\"\n")
    );
    assert_eq!(asked.join().expect("asked"), ["GET /api/v1/objects/deployments/shop/web HTTP/1.1"]);
}

#[test]
fn what_a_process_refuses_is_passed_on_and_what_is_no_process_is_said() {
    let (url, _) = canned(vec![problem(503, "starting", "the process is coming up: \u{1b}[2Jwatchers")]);
    let starting = run(&["get", "pods", "--server", &url]);
    assert_eq!((starting.code, starting.err.contains('\u{1b}')), (Some(1), false));
    says(&starting.err, &["error: the process is coming up", "\\u{1b}"]);
    for answer in ["HTTP/1.1 404 Not Found\r\ncontent-length: 2\r\n\r\nno", "SSH-2.0-OpenSSH\r\n", ""] {
        let (url, _) = canned(vec![answer.to_owned()]);
        let other = run(&["actors", "list", "--server", &url]);
        assert_eq!(other.code, Some(1), "{answer:?}: {}", other.err);
        says(&other.err, &[&url]);
    }
    let (url, _) = canned(vec![ok("{\"items\": 3")]);
    let cut = run(&["get", "pods", "--server", &url]);
    assert_eq!(cut.code, Some(1), "{}", cut.err);
}

#[test]
fn actors_are_shown_and_killed_by_their_whole_id() {
    let tree = r#"{"items":[{"id":"watcher/pods","group":"watch","state":"up","incarnation":2,"restarts":1,"handled":7,"arbiter":"watch-0","last_exit":{"reason":"panicked","message":"boom\u001b[2J","at_ms":1}}]}"#;
    let (url, _) = canned(vec![ok(tree)]);
    let list = run(&["actors", "list", "--server", &url]);
    assert_eq!(list.code, Some(0), "{}", list.err);
    says(&list.out, &["watcher/pods", "panicked: boom\\u{1b}[2J", "RESTARTS"]);
    let (url, asked) = canned(vec![ok(r#"{"id":"watcher/pods","action":"kill"}"#)]);
    let kill = run(&["actors", "kill", "watcher/pods", "--how", "hang", "--server", &url]);
    assert_eq!((kill.code, kill.out.as_str()), (Some(0), "killed watcher/pods (hang)\n"), "{}", kill.err);
    assert_eq!(asked.join().expect("asked"), ["POST /api/v1/actors/watcher/pods/kill?how=hang HTTP/1.1"]);
    let (url, _) = canned(vec![problem(403, "chaos_disabled", "set chaos.enabled = true")]);
    let refused = run(&["actors", "restart", "a", "--server", &url]);
    assert_eq!((refused.code, refused.err.as_str()), (Some(1), "error: set chaos.enabled = true\n"));
}

#[test]
fn tail_prints_records_and_ends_with_the_stream() {
    let line = r#"{"topic":"k8s-pods","partition":3,"offset":42,"timestamp":0,"key":"c/pods/shop/web","headers":{},"value":{"op":"u","source":{"rv":"7","observed":"watch"}}}"#;
    let (url, asked) = canned(vec![ok(&format!("{line}\n\n{line}\n"))]);
    let text = run(&["tail", "k8s-pods", "--from", "10m", "--max", "2", "--server", &url]);
    assert_eq!(text.code, Some(0), "{}", text.err);
    assert_eq!(text.out, "1970-01-01T00:00:00.000Z  3@42  c/pods/shop/web  u rv=7 watch\n".repeat(2));
    assert_eq!(
        asked.join().expect("asked"),
        ["GET /api/v1/topics/k8s-pods/records?from=600000ms&follow=true&limit=2 HTTP/1.1"]
    );
    let (url, _) = canned(vec![ok(&format!("{line}\n"))]);
    assert_eq!(run(&["tail", "k8s-pods", "-e", "-o", "json", "--server", &url]).out, format!("{line}\n"));
}

#[test]
fn watch_goes_on_behind_the_last_change_it_printed() {
    let change = |n: u32| {
        format!(
            r#"{{"event":"change","cursor":"7-{n}","operation":"MODIFIED","kind":"pods","namespace":"shop","name":"web-{n}","timestamp":0,"object":{POD}}}"#
        )
    };
    let (url, asked) = canned(vec![
        ok(&format!("{}\n{{\"event\":\"snapshot-end\",\"cursor\":\"7-1\"}}\n", change(1))),
        ok(&format!("\n{}\n", change(2))),
        ok("{\"event\":\"reset\"}\n"),
        problem(400, "bad_cursor", "no such cursor"),
    ]);
    let watch = run(&["watch", "po", "--server", &url]);
    assert_eq!(watch.code, Some(1), "{}", watch.err);
    says(&watch.out, &["MODIFIED  pods          shop/web-1  1/1  Running  2", "shop/web-2"]);
    says(&watch.err, &["trying again", "error: no such cursor"]);
    let base = "GET /api/v1/watch?kind=pods";
    let want = [
        format!("{base} HTTP/1.1"),
        format!("{base}&since=7-1 HTTP/1.1"),
        format!("{base}&since=7-2 HTTP/1.1"),
        format!("{base} HTTP/1.1"),
    ];
    assert_eq!(asked.join().expect("asked"), want);
}

#[test]
fn a_closed_pipe_ends_a_command_quietly() {
    let read_one_line = |mut child: Child| {
        let mut first = [0; 1];
        let mut stdout = child.stdout.take().expect("piped");
        stdout.read_exact(&mut first).expect("it prints");
        drop(stdout);
        let output = child.wait_with_output().expect("it ends");
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    // Longer than a pipe holds, so that it is still writing when the reader goes.
    let item = POD.replace("web-1", &"x".repeat(1000));
    let items = vec![item.as_str(); 500].join(",");
    let (url, _) = canned(vec![ok(&format!(r#"{{"items":[{items}],"continue":null}}"#))]);
    let mut get = command(&["get", "pods", "-o", "json", "--server", &url]);
    let child = get.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it starts");
    assert_eq!(read_one_line(child), (Some(141), String::new()));
}

#[test]
fn version_and_defaults_are_printed_for_people_and_programs() {
    assert_eq!(run(&["version"]).out, format!("agent-events {}\n", env!("CARGO_PKG_VERSION")));
    let json: Value = serde_json::from_str(&run(&["version", "-o", "json"]).out).expect("JSON");
    assert_eq!((&json["name"], &json["api"]), (&"agent-events".into(), &"v1".into()));
    assert_eq!(run(&["config", "default"]).out, config_cmd::default_text());
    let sound = run(&[&["config", "validate"][..], &SOUND].concat());
    assert_eq!((sound.code, sound.out.as_str()), (Some(0), "settings are valid\n"), "{}", sound.err);
    let shown = run(&[&["config", "show", "--origin"][..], &SOUND].concat());
    says(&shown.out, &["name = \"test\" # --set"]);
    let json: Value =
        serde_json::from_str(&run(&[&["config", "show", "-o", "json"][..], &SOUND].concat()).out).expect("JSON");
    assert_eq!(json["origins"]["cluster.name"], "--set");
}

#[test]
fn a_background_process_that_cannot_start_says_why_and_nobody_is_found_afterwards() {
    let dir = tempfile::tempdir().expect("a directory");
    let data_dir = format!("data_dir={:?}", dir.path().join("data").display().to_string());
    let here = ["--set", data_dir.as_str()];
    for command in [&["stop"][..], &["status"], &["status", "-o", "json"]] {
        let nobody = run(&[command, &here[..]].concat());
        assert_eq!(nobody.code, Some(3), "{}", nobody.err);
        says(&nobody.err, &["no agent-events works on", "agent-events run", "--set data_dir=DIR"]);
    }
    let started = run(&[&["run", "--daemon"][..], &here, &SOUND, &ANY_PORTS].concat());
    assert_eq!(started.code, Some(69), "{}", started.err);
    says(&started.err, &["its log is", "agent-events.log", "no Kubernetes cluster is configured"]);
    assert_eq!(run(&[&["status"][..], &here].concat()).code, Some(3));
}

#[test]
fn a_data_dir_that_cannot_be_written_or_is_taken_is_named_with_the_remedy() {
    let file = tempfile::NamedTempFile::new().expect("a file");
    let data_dir = format!("data_dir={:?}", file.path().display().to_string());
    let refused = run(&[&["run"][..], &["--set", &data_dir], &SOUND, &ANY_PORTS].concat());
    assert_eq!(refused.code, Some(78), "{}", refused.err);
    says(&refused.err, &["data_dir = ", "--set data_dir=DIR"]);
}

#[test]
fn the_shipped_base_is_what_generate_kustomize_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("made/base");
    let made = run(&["generate", "kustomize", "--to", to.to_str().expect("UTF-8")]);
    assert_eq!((made.code, made.out.as_str()), (Some(0), ""), "{}", made.err);
    let files = |root: &std::path::Path| -> std::collections::BTreeMap<String, String> {
        let entries = std::fs::read_dir(root).expect("a directory").map(|entry| entry.expect("an entry").path());
        let name = |path: &std::path::Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        entries.map(|path| (name(&path), std::fs::read_to_string(&path).expect("UTF-8"))).collect()
    };
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize/base");
    let remedy = "agent-events generate kustomize --to deploy/kustomize/base";
    let (made, shipped) = (files(&to), files(&shipped));
    assert_eq!(made.keys().collect::<Vec<_>>(), shipped.keys().collect::<Vec<_>>());
    for (name, text) in &made {
        assert!(shipped[name] == *text, "deploy/kustomize/base/{name} differs from the code; mend it by `{remedy}`");
    }
    let terraform = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/terraform/modules/kafka_k8s_monitor/manifests/production.toml");
    let copy = std::fs::read_to_string(&terraform).expect("UTF-8");
    assert!(copy == made["production.toml"], "{} is no copy of config/production.toml", terraform.display());
}

#[test]
fn generated_rights_follow_the_settings_and_the_flags_and_nothing_else() {
    let all = run(&["generate", "rbac"]);
    assert_eq!((all.code, all.err.as_str()), (Some(0), ""));
    says(&all.out, &["kind: ClusterRoleBinding\n", "- pods\n", "- statefulsets\n", "- kube-system\n"]);
    assert!(!all.out.contains("- secrets") && !all.out.contains("kind: Role\n"), "{}", all.out);
    // Of a pod, not of this shell.
    let mut with_env = command(&["generate", "rbac"]);
    with_env.env("AGENT_EVENTS__WATCH__SECRETS__ENABLED", "true");
    assert_eq!(finish(with_env).out, all.out);

    let named = ["generate", "rbac", "-n", "shop,till", "--resources", "secrets,deployments", "--name", "second"];
    let named = run(&[&named[..], &["--install-namespace", "watching", "--set", "cluster.id=x"]].concat());
    assert_eq!(named.code, Some(0), "{}", named.err);
    says(
        &named.out,
        &["kind: Role\n", "namespace: shop\n", "namespace: till\n", "  namespace: watching\n", "name: second\n"],
    );
    says(&named.out, &["- secrets\n", "can read their values"]);
    assert!(!named.out.contains("ClusterRole") && !named.out.contains("- pods"), "{}", named.out);
}

#[test]
fn a_generated_pod_is_told_what_was_typed_and_what_it_cannot_do_is_refused() {
    let pod = run(&[
        "generate",
        "kustomize",
        "-n",
        "shop",
        "--poll-interval",
        "5",
        "--image",
        "r/x:1",
        "--set",
        "store.ring=9",
    ]);
    assert_eq!(pod.code, Some(0), "{}", pod.err);
    for arg in ["--set=watch.all_namespaces=false", "--set=store.ring=9", "--namespace=shop", "--poll-interval=5"] {
        says(&pod.out, &[&format!("- {arg:?}\n")]);
    }
    says(&pod.out, &["image: \"r/x:1\"\n"]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("site.toml");
    std::fs::write(&file, "").expect("it is written");
    let local = concat!(env!("CARGO_MANIFEST_DIR"), "/config/local.toml");
    for (args, code, said) in [
        (&["--config", local][..], 78, &["cluster.mode", "\"in-cluster\"", "http.ops", "data_dir"][..]),
        (&["--set", "kafka.sasl_password=hunter2"], 78, &["kafka.sasl_password", "sasl_password_file"]),
        (&["--set", "kafka.librdkafka.\"ssl.key.password\"=hunter2"], 78, &["kafka.librdkafka", "Secret"]),
        (&["--set", "log.engine=embedded"], 78, &["log.engine"]),
        (&["--set", "watch.pods.enabeld=true"], 78, &["watch.pods.enabeld"]),
        (&["--config", "/nonexistent/a.toml"], 78, &["/nonexistent/a.toml"]),
        (&["--config", file.to_str().expect("UTF-8")], 2, &["site.toml", "a name of its own"]),
        (&["--name", "Agent_Events"], 2, &["--name", "small letters"]),
        (&["--to", "/proc/base"], 1, &["/proc/base"]),
    ] {
        let run = run(&[&["generate", "kustomize"][..], args].concat());
        assert_eq!((run.code, run.out.as_str()), (Some(code), ""), "{args:?}: {}", run.err);
        says(&run.err, said);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
}
