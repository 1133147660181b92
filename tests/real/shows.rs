//! What the product must be seen to do, with figures: nothing that was reported is lost in silence.

use super::checker::{Record, fold, last_offsets, versions, violations};
use super::faults::Scene;
use super::kit::{Parts, Process, Trial, Where::Real, eventually};
use super::losses::{Commits, assert_declared, gaps, silent_losses};
use agent_events::sandbox::{Fault, Rule, Spoil};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::Mutex;
use std::time::Duration;
use testbed::Stopwatch;

/// On a real API server that forgets its history within a minute.
pub const BEHIND_THE_HISTORY: &[Trial] = &[
    ("stopped_with_its_connection_cut_for_longer_than_the_history_it_loses_nothing_in_silence", Real, stopped),
    ("killed_for_longer_than_the_history_it_loses_nothing_in_silence", Real, killed),
];

/// On a real API server.
pub const WITHIN_THE_HISTORY: &[Trial] =
    &[("killed_amid_600_creations_and_12_s_down_it_has_every_one_and_every_delete_without_a_list", Real, amid)];

/// On the sandbox, which can write what a real one does not.
pub const POISON: &[(&str, fn())] = &[
    ("a_poisoned_object_among_1000_in_a_list_is_one_stub_and_999_objects", poison_in_a_list),
    ("a_poisoned_object_among_1000_in_a_watch_is_one_stub_and_999_objects", poison_in_a_watch),
];

fn path(namespace: &str) -> String {
    format!("/api/v1/namespaces/{namespace}/configmaps")
}

fn scope(namespace: &str) -> [String; 8] {
    let off = |kind: &str| format!("watch.{kind}.enabled=false");
    [
        format!("watch.namespaces.{namespace}=true"),
        "watch.namespaces.default=false".into(),
        off("pods"),
        off("services"),
        off("deployments"),
        off("statefulsets"),
        off("secrets"),
        off("events"),
    ]
}

fn start(parts: &Parts, name: &str) -> Process {
    let scope = scope(name);
    let process = parts.process(name, &scope.each_ref().map(String::as_str));
    process.await_ready();
    process
}

fn create(parts: &Parts, namespace: &str, name: &str, commits: &mut Commits) -> String {
    let body = json!({"metadata": {"name": name}, "data": {"n": "0"}});
    commits.wrote(&parts.api("POST", &path(namespace), &body))
}

fn published(parts: &Parts, name: &str) -> usize {
    let records = parts.dump(&format!("{name}.k8s-configmaps"));
    records.iter().filter(|r| !r.key.starts_with('~') && r.value.is_some()).count()
}

/// 300 ConfigMaps are captured; then, while `away`, 500 changes and 100 deletes, and the history is forgotten.
fn behind(
    parts: &Parts,
    name: &str,
    away: fn(&Parts, &mut Process),
    forget: fn(&Parts, &str),
    back: fn(&Parts, &str, &mut Process),
) {
    parts.namespace(name);
    let mut process = start(parts, name);
    let mut commits = Commits::default();
    let uids: Vec<String> = (0..300).map(|n| create(parts, name, &format!("m-{n}"), &mut commits)).collect();
    eventually("all are published", || (published(parts, name) >= 300).then_some(()));
    let last = commits.versions.last().expect("three hundred").1.clone();
    away(parts, &mut process);
    for n in 0..500 {
        let body = json!({"data": {"n": n.to_string()}});
        commits.wrote(&parts.api("PATCH", &format!("{}/m-{}", path(name), 100 + n % 200), &body));
    }
    for (n, uid) in uids[..100].iter().enumerate() {
        parts.api("DELETE", &format!("{}/m-{n}", path(name)), &Value::Null);
        commits.deleted.push(uid.clone());
    }
    forget(parts, &last);
    let again = Stopwatch::start();
    back(parts, name, &mut process);
    let records = converged(parts, name);
    let took = again.elapsed().as_secs_f64();
    let dead: HashSet<&str> = records.iter().filter(|r| r.op() == Some("d")).filter_map(|r| r.source("uid")).collect();
    let deletes = commits.deleted.iter().filter(|uid| dead.contains(uid.as_str())).count();
    let lost = silent_losses(&commits, &records);
    println!(
        "{name}: 500 changes and 100 deletes behind the history: {deletes} deletions in the log, {} gap markers, equal after \
         {took:.1} s; silent losses: {}",
        gaps(&records).len(),
        lost.len()
    );
    assert_eq!(deletes, 100);
    assert_eq!(lost, Vec::<String>::new());
    assert_declared(parts, name, "configmaps", &["expired"]);
    assert_eq!(process.terminate(), Some(0));
}

/// API server, fold by marker, fold by last offset: all the same; and no promise is broken.
fn converged(parts: &Parts, name: &str) -> Vec<Record> {
    let mut last = Vec::new();
    eventually("fold and API server agree", || {
        let truth = versions(&parts.api("GET", &path(name), &Value::Null));
        last = parts.dump(&format!("{name}.k8s-configmaps"));
        (fold(&last) == truth && last_offsets(&last) == truth).then_some(())
    });
    assert_eq!(violations(&last), Vec::<String>::new());
    last
}

/// A watch from there is refused: the history does not reach back any more.
fn is_forgotten(parts: &Parts, revision: &str) -> bool {
    let path = format!("/api/v1/configmaps?watch=true&timeoutSeconds=1&resourceVersion={revision}");
    let answer = parts.cluster().request("GET", &path, "application/json", "").expect("it answers");
    answer.status == 410 || answer.body.contains("\"code\":410")
}

fn stopped(parts: &Parts) {
    let away = |parts: &Parts, process: &mut Process| {
        process.pause();
        // Its end of the connection stays open; the other is gone.
        parts.kill_api_server();
        parts.restart_api_server();
    };
    let forget = |parts: &Parts, last: &str| {
        let newest = parts.api("GET", "/api/v1/namespaces?limit=1", &Value::Null);
        parts.compact(newest["metadata"]["resourceVersion"].as_str().expect("a revision"));
        assert!(is_forgotten(parts, last), "a compaction that was ordered has happened");
    };
    behind(parts, "show-stopped", away, forget, |_, _, process| process.resume());
}

fn killed(parts: &Parts) {
    // The API server's own compaction, every 20 s: nobody helps.
    let forget = |parts: &Parts, last: &str| {
        let waited = Stopwatch::start();
        let forgotten = testbed::wait_until(Duration::from_secs(90), || {
            Ok::<_, std::convert::Infallible>(is_forgotten(parts, last).then_some(()))
        });
        assert!(matches!(forgotten, Ok(Some(()))), "no compaction within 90 s");
        println!("show-killed: the API server forgot after {:.0} s", waited.elapsed().as_secs_f64());
    };
    behind(
        parts,
        "show-killed",
        |_, process| process.kill9(),
        forget,
        |parts, name, process| {
            *process = start(parts, name);
        },
    );
}

/// Lists of ConfigMaps that the API server has answered, and the bytes of the answers.
fn lists(parts: &Parts) -> (f64, f64) {
    let metrics = parts.cluster().request("GET", "/metrics", "text/plain", "").expect("it answers").body;
    let sum = |name: &str| -> f64 {
        let ours = |line: &&str| {
            line.starts_with(name)
                && ["resource=\"configmaps\"", "verb=\"LIST\"", "scope=\"namespace\""].iter().all(|l| line.contains(l))
        };
        metrics.lines().filter(ours).filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum()
    };
    (sum("apiserver_request_total{"), sum("apiserver_response_sizes_sum{"))
}

fn amid(parts: &Parts) {
    const NAME: &str = "show-amid";
    parts.namespace(NAME);
    let mut process = start(parts, NAME);
    let commits = Mutex::new(Commits::default());
    let tick = Duration::from_millis(20);
    let began = Stopwatch::start();
    // Four at it, since each request is a connection of its own: together 50 a second, or as fast as this machine allows.
    let make = |from: usize, to: usize, commits: &Mutex<Commits>| {
        let one = |n: usize| {
            crate::kit::pause((tick * u32::try_from(n).expect("few")).saturating_sub(began.elapsed()));
            let body = json!({"metadata": {"name": format!("m-{n}")}, "data": {"n": "0"}});
            let made = parts.api("POST", &path(NAME), &body);
            let uid = commits.lock().expect("not poisoned").wrote(&made);
            if n % 3 == 0 {
                parts.api("DELETE", &format!("{}/m-{n}", path(NAME)), &Value::Null);
                commits.lock().expect("not poisoned").deleted.push(uid);
            }
        };
        std::thread::scope(|threads| {
            for worker in 0..4 {
                let one = &one;
                threads.spawn(move || (from + worker..to).step_by(4).for_each(one));
            }
        });
    };
    make(0, 300, &commits);
    process.kill9();
    let down = Stopwatch::start();
    make(300, 600, &commits);
    let rate = 600.0 / began.elapsed().as_secs_f64();
    let commits = commits.into_inner().expect("not poisoned");
    crate::kit::pause(Duration::from_secs(12).saturating_sub(down.elapsed()));
    let (lists_before, bytes_before) = lists(parts);
    let down = down.elapsed().as_secs_f64();
    let mut process = start(parts, NAME);
    // Before anybody else lists them: the checker does.
    eventually("every creation and every delete is in the log", || {
        let records = parts.dump(&format!("{NAME}.k8s-configmaps"));
        let of = |op: &[&str]| -> HashSet<String> {
            let found = records.iter().filter(|r| r.op().is_some_and(|o| op.contains(&o)));
            found.filter_map(|r| r.source("uid")).map(str::to_owned).collect()
        };
        let (created, dead) = (of(&["c", "r"]), of(&["d"]));
        let all = commits.versions.iter().all(|(uid, _)| created.contains(uid));
        (all && commits.deleted.iter().all(|uid| dead.contains(uid))).then_some(())
    });
    let (lists_after, bytes_after) = lists(parts);
    let records = converged(parts, NAME);
    let created: HashSet<&str> =
        records.iter().filter(|r| matches!(r.op(), Some("c" | "r"))).filter_map(|r| r.source("uid")).collect();
    let dead: HashSet<&str> = records.iter().filter(|r| r.op() == Some("d")).filter_map(|r| r.source("uid")).collect();
    let creations = commits.versions.iter().filter(|(uid, _)| created.contains(uid.as_str())).count();
    let deletions = commits.deleted.iter().filter(|uid| dead.contains(uid.as_str())).count();
    let lost = silent_losses(&commits, &records);
    println!(
        "{NAME}: 600 creations at {rate:.0}/s, killed at 300, {down:.0} s down: {creations} creations and {deletions} \
         deletions in the log; {} list requests of {} bytes since; silent losses: {}",
        lists_after - lists_before,
        bytes_after - bytes_before,
        lost.len()
    );
    assert_eq!((creations, deletions), (600, 200));
    assert_eq!(lost, Vec::<String>::new());
    assert_eq!(gaps(&records), Vec::new(), "within the history nothing is a gap");
    // A probe asks for one object, and an audit of the light kind too; a list of 400 objects has a hundred kilobytes.
    assert!(bytes_after - bytes_before < 20_000.0, "the kind was listed again");
    assert_eq!(process.terminate(), Some(0));
}

/// The rule, 999 objects and the one.
fn thousand(scene: &Scene) {
    for n in 0..1000 {
        scene.create(&if n == 500 { "poison".to_owned() } else { format!("m-{n}") });
    }
}

fn verdict(place: &str, scene: Scene) {
    let found = scene.findings(Duration::from_secs(30), &[]);
    let records = scene.records();
    let data = || records.iter().filter(|r| !r.key.starts_with('~') && r.value.is_some());
    let stubs = data().filter(|r| r.value.as_ref().is_some_and(|v| !v["source"]["stub"].is_null())).count();
    println!("poison in a {place}: {} objects, {stubs} stub; silent losses: {}", data().count() - stubs, found.len());
    assert_eq!(found, Vec::<String>::new());
    assert_eq!((data().count() - stubs, stubs), (999, 1));
    assert!(scene.stub_of("poison").is_some(), "and it is that one");
    scene.settle();
}

fn poison_in(verb: &str) -> Rule {
    Rule::new(Fault::Spoil(Spoil::NameNumber)).of("configmaps").verb(verb).named("poison")
}

fn poison_in_a_list() {
    let mut scene = Scene::unstarted(100, "configmaps", &[]);
    thousand(&scene);
    scene.faults().inject(poison_in("list"));
    scene.start();
    verdict("list", scene);
}

fn poison_in_a_watch() {
    let scene = Scene::with(100, "configmaps", &[]);
    scene.faults().inject(poison_in("watch"));
    thousand(&scene);
    verdict("watch", scene);
}
