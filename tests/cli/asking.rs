//! Commands that ask a process, against one that gives canned answers.

use crate::kit::{command, run, says};
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpListener;
use std::process::{Child, Stdio};
use std::thread;

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
