//! Help, settings, and how a process starts or says why it does not.

use crate::kit::*;
use agent_events::cli::config_cmd;
use serde_json::Value;
use std::net::TcpListener;
use std::process::Command;
use std::thread;

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
