//! The real parts, started, tormented and ended. What is proved here every other test relies on: data survive a kill -9, ports
//! stay, and nothing outlives its owner, whether that returns, panics or is killed itself.
//!
//! Without the tools to build a part its tests are counted as ignored, with the reason; under CI=true they fail.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "what is skipped is said aloud")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Duration;

use libtest_mimic::{Arguments, Failed, Trial};
use serde_json::{Value, json};
use testbed::{
    Condition, Identity, Kafka, KafkaOptions, Kubernetes, KubernetesOptions, Member, Part, available, must_not_skip,
};

type Checked = Result<(), Failed>;

/// Set for a child process of these tests that owns a Kafka and waits to be killed.
const BE_AN_OWNER: &str = "TESTBED_TEST_OWNER";

fn main() {
    if std::env::var_os(BE_AN_OWNER).is_some() {
        own_a_kafka_until_killed();
    }
    let trials = vec![
        trial(Part::Kafka, "a_topic_survives_a_kill9_of_kafka_on_the_same_port", a_topic_survives_a_kill9_of_kafka),
        trial(Part::Kafka, "kafka_outlives_the_thread_that_started_it", kafka_outlives_the_thread_that_started_it),
        trial(Part::Kafka, "a_panic_of_its_owner_ends_kafka", a_panic_of_its_owner_ends_kafka),
        trial(Part::Kafka, "a_kill9_of_its_owner_ends_kafka", a_kill9_of_its_owner_ends_kafka),
        trial(Part::Kubernetes, "pods_run_and_a_kill9_of_the_api_server_loses_nothing", a_cluster_lives_through_faults),
        trial(Part::Kubernetes, "watches_expire_and_a_panic_of_its_owner_ends_the_cluster", a_panic_ends_the_cluster),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit();
}

fn trial(part: Part, name: &'static str, test: fn() -> Checked) -> Trial {
    match available(part) {
        Err(missing) if must_not_skip() => Trial::test(name, move || Err(format!("{missing} (and CI=true)").into())),
        Err(missing) => {
            eprintln!("SKIPPED {name}: {missing}");
            Trial::test(name, test).with_ignored_flag(true)
        }
        Ok(()) => Trial::test(name, test),
    }
}

fn a_topic_survives_a_kill9_of_kafka() -> Checked {
    let kafka = Kafka::start(KafkaOptions::default())?;
    let bootstrap = kafka.bootstrap();
    create_topic(&bootstrap, "survivor")?;
    let partition = kafka.data_dir().join("survivor-0");
    wait_for("partition on disk", Duration::from_secs(20), || Ok(partition.is_dir()))?;
    let first = kafka.broker().identity().ok_or("no process")?;

    kafka.pause()?;
    check(first.condition() == Condition::Paused, "a paused broker is stopped when pause() returns")?;
    check(TcpStream::connect(&bootstrap).is_ok(), "the kernel still takes connections for a paused broker")?;
    kafka.resume()?;
    kafka.broker().wait_ready()?;

    kafka.kill9()?;
    check(first.is_gone(), "a killed broker is gone when kill9() returns")?;
    check(TcpStream::connect(&bootstrap).is_err(), "nobody listens on a killed broker's port")?;
    check(matches!(kafka.pause(), Err(testbed::Error::NotRunning { .. })), "a dead broker cannot be paused")?;

    kafka.restart()?;
    check(kafka.bootstrap() == bootstrap, "a restart keeps the port")?;
    check(kafka.broker().identity() != Some(first), "a restart is a new process")?;
    let refusal =
        create_topic(&bootstrap, "survivor").err().map(|error| error.message().unwrap_or_default().to_owned());
    check(
        refusal.as_deref() == Some("CreateTopics was answered 36"),
        "the topic exists still (36: TOPIC_ALREADY_EXISTS)",
    )?;

    let (last, data) = (kafka.broker().identity().ok_or("no process")?, kafka.data_dir());
    drop(kafka);
    check(last.is_gone() && !data.exists(), "a drop leaves neither process nor data")
}

/// The kernel ties "die with your parent" to the parent's thread; a test's thread ends before its fixture does.
fn kafka_outlives_the_thread_that_started_it() -> Checked {
    let started = std::thread::spawn(|| Kafka::start(KafkaOptions::default())).join();
    let kafka = started.map_err(|_| "the starting thread panicked")??;
    check(kafka.broker().condition() == Condition::Running, "it runs although its thread has ended")?;
    kafka.broker().check().map_err(Failed::from)
}

fn a_panic_of_its_owner_ends_kafka() -> Checked {
    let (tell, told) = std::sync::mpsc::channel();
    let ended = std::thread::spawn(move || {
        let kafka = Kafka::start(KafkaOptions::default()).expect("Kafka starts");
        tell.send((kafka.broker().identity(), kafka.logs_dir(), kafka.data_dir())).expect("the test waits for it");
        panic!("on purpose: the owner of a Kafka panics");
    })
    .join();
    check(ended.is_err(), "the owner panicked")?;
    let (broker, logs, data) = told.recv()?;
    check(broker.ok_or("no process")?.is_gone(), "the broker ended with its owner")?;
    check(!data.exists(), "its data are gone")?;
    check(logs.join("kafka.log").is_file(), "its log is kept for the person who looks into the panic")?;
    Ok(std::fs::remove_dir_all(logs.parent().ok_or("the logs lie in a directory")?)?)
}

fn a_kill9_of_its_owner_ends_kafka() -> Checked {
    let mut owner = Command::new(std::env::current_exe()?)
        .env(BE_AN_OWNER, "1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut line = String::new();
    BufReader::new(owner.stdout.take().ok_or("no stdout")?).read_line(&mut line)?;
    let (broker, logs): (Identity, PathBuf) = serde_json::from_str(&line)?;
    check(broker.condition() == Condition::Running, "the owner's broker runs")?;
    owner.kill()?;
    owner.wait()?;
    // The kernel sends the signal as the owner dies; the JVM needs a moment to be torn down.
    wait_for("end of the broker", Duration::from_secs(10), || Ok(broker.is_gone()))?;
    // Nobody was left to do it; otherwise the next start would remove the data, and the logs a day later.
    Ok(std::fs::remove_dir_all(logs.parent().ok_or("the logs lie in a directory")?)?)
}

fn own_a_kafka_until_killed() -> ! {
    let kafka = Kafka::start(KafkaOptions::default()).expect("Kafka starts");
    let broker = kafka.broker().identity().expect("a started broker runs");
    println!("{}", json!([broker, kafka.logs_dir()]));
    // Ends with the test at the latest: its end of the pipe closes.
    std::io::stdin().read_to_end(&mut Vec::new()).expect("standard input is a pipe");
    unreachable!("the test kills this process first");
}

fn a_cluster_lives_through_faults() -> Checked {
    let cluster = Kubernetes::start(KubernetesOptions::default())?;
    let deployment = json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web"},
        "spec": {"replicas": 3, "selector": {"matchLabels": {"app": "web"}}, "template": {
            "metadata": {"labels": {"app": "web"}}, "spec": {"containers": [{"name": "web", "image": "web:1"}]},
        }},
    });
    post(&cluster, "/apis/apps/v1/namespaces/default/deployments", &deployment)?;
    let running = |wanted: usize| {
        wait_for("running pods", Duration::from_secs(60), || {
            let pods = get(&cluster, "/api/v1/namespaces/default/pods")?;
            let pods = pods["items"].as_array().map_or(0, |pods| pods.iter().filter(|pod| is_running(pod)).count());
            Ok(pods == wanted)
        })
    };
    running(3)?;

    let refused = cluster.request_as(cluster.nobody_token(), "GET", "/api/v1/namespaces/default/pods", "", "")?;
    check(refused.status == 403, "a user without a role is refused")?;
    let account = json!({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": "reader"}});
    post(&cluster, "/api/v1/namespaces/default/serviceaccounts", &account)?;
    let token = cluster.service_account_token("default", "reader")?;
    let refused = cluster.request_as(&token, "GET", "/api/v1/namespaces/default/pods", "", "")?;
    check(
        refused.status == 403 && refused.body.contains("system:serviceaccount:default:reader"),
        "a token says who it is",
    )?;

    let before = resource_version(&get(&cluster, "/api/v1/pods")?)?;
    cluster.api_server().pause()?;
    check(cluster.api_server().condition() == Condition::Paused, "a paused API server is stopped")?;
    cluster.api_server().resume()?;
    cluster.api_server().wait_ready()?;
    let url = cluster.url();
    cluster.api_server().kill9()?;
    check(get(&cluster, "/api/v1/pods").is_err(), "a killed API server answers nothing")?;
    cluster.api_server().restart()?;
    check(cluster.url() == url, "a restart keeps the port")?;
    check(resource_version(&get(&cluster, "/api/v1/pods")?)? >= before, "resourceVersions go on after a restart")?;

    // The controllers have lost their watches and come back by themselves.
    let scale = json!({"spec": {"replicas": 5}}).to_string();
    let path = "/apis/apps/v1/namespaces/default/deployments/web/scale";
    let answer = cluster.request("PATCH", path, "application/merge-patch+json", &scale)?;
    check(answer.status == 200, &format!("the deployment is scaled: {answer:?}"))?;
    running(5)?;
    let answer = cluster.request("DELETE", path.trim_end_matches("/scale"), "", "")?;
    check(answer.status == 200, &format!("the deployment is deleted: {answer:?}"))?;
    wait_for("end of the pods well before their grace period's", Duration::from_secs(20), || {
        Ok(get(&cluster, "/api/v1/namespaces/default/pods")?["items"].as_array().is_some_and(Vec::is_empty))
    })?;

    let everyone = identities(cluster.members());
    check(everyone.len() == 4, "API server, controller-manager, scheduler and kwok run")?;
    let data = cluster.kubeconfig_path();
    drop(cluster);
    check(everyone.iter().all(Identity::is_gone), "a drop leaves no process")?;
    check(!data.exists(), "a drop leaves no data")
}

fn a_panic_ends_the_cluster() -> Checked {
    let (tell, told) = std::sync::mpsc::channel();
    let ended = std::thread::spawn(move || {
        let options = KubernetesOptions {
            controllers: false,
            watch_cache: false,
            compaction_interval: Some(Duration::from_secs(1)),
            ..KubernetesOptions::default()
        };
        let cluster = Kubernetes::start(options).expect("Kubernetes starts");
        let expired = a_watch_from_a_compacted_version_is_gone(&cluster);
        tell.send((identities(cluster.members()), cluster.logs_dir(), expired)).expect("the test waits for it");
        panic!("on purpose: the owner of a cluster panics");
    })
    .join();
    check(ended.is_err(), "the owner panicked")?;
    let (everyone, logs, expired) = told.recv()?;
    check(everyone.len() == 1 && everyone.iter().all(Identity::is_gone), "the API server ended with its owner")?;
    std::fs::remove_dir_all(logs.parent().ok_or("the logs lie in a directory")?)?;
    expired
}

/// The API server compacts what was there at the previous tick: two intervals with a write in between, and a watch from before
/// is answered 410 Gone, for any kind, because no watch cache stands before etcd.
fn a_watch_from_a_compacted_version_is_gone(cluster: &Kubernetes) -> Checked {
    let early = resource_version(&get(cluster, "/api/v1/configmaps")?)?;
    let mut written = 0;
    wait_for("410 Gone", Duration::from_secs(20), || {
        let object =
            json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("filler-{written}")}});
        post(cluster, "/api/v1/namespaces/default/configmaps", &object)?;
        written += 1;
        let path = format!("/api/v1/configmaps?watch=true&timeoutSeconds=1&resourceVersion={early}");
        let answer = cluster.request("GET", &path, "", "")?;
        Ok(answer.status == 410 || answer.body.contains("\"code\":410"))
    })
}

fn identities<'a>(members: impl Iterator<Item = &'a Member>) -> Vec<Identity> {
    members.filter_map(Member::identity).collect()
}

fn get(cluster: &Kubernetes, path: &str) -> Result<Value, Failed> {
    let answer = cluster.request("GET", path, "", "")?;
    check(answer.status == 200, &format!("GET {path}: {answer:?}"))?;
    Ok(serde_json::from_str(&answer.body)?)
}

fn post(cluster: &Kubernetes, path: &str, object: &Value) -> Checked {
    let answer = cluster.request("POST", path, "application/json", &object.to_string())?;
    check(answer.status == 201, &format!("POST {path}: {answer:?}"))
}

fn is_running(pod: &Value) -> bool {
    pod["status"]["phase"] == "Running"
        && pod["spec"]["nodeName"].as_str().is_some_and(|node| node.starts_with("node-"))
}

fn resource_version(list: &Value) -> Result<u64, Failed> {
    Ok(list["metadata"]["resourceVersion"].as_str().ok_or("a list has a resourceVersion")?.parse()?)
}

/// CreateTopics version 4, the last without tagged fields, in Kafka's wire format: one topic of one partition.
fn create_topic(bootstrap: &str, name: &str) -> Checked {
    let mut body = Vec::new();
    body.extend([0, 19, 0, 4, 0, 0, 0, 1, 255, 255]); // CreateTopics, version 4, correlation id 1, no client id
    body.extend(1_i32.to_be_bytes());
    body.extend(i16::try_from(name.len())?.to_be_bytes());
    body.extend(name.as_bytes());
    body.extend(1_i32.to_be_bytes()); // partitions
    body.extend(1_i16.to_be_bytes()); // replicas
    body.extend([0; 8]); // no assignments, no settings
    body.extend(10_000_i32.to_be_bytes()); // timeout
    body.push(0); // not only validated
    let mut socket = TcpStream::connect(bootstrap)?;
    socket.set_read_timeout(Some(Duration::from_secs(20)))?;
    socket.write_all(&i32::try_from(body.len())?.to_be_bytes())?;
    socket.write_all(&body)?;
    // Length, correlation id, throttle time, count of topics, the name with its length, and then the error code.
    let mut answer = vec![0; 16 + 2 + name.len() + 2];
    socket.read_exact(&mut answer)?;
    match answer[answer.len() - 2..] {
        [0, 0] => Ok(()),
        [high, low] => Err(format!("CreateTopics was answered {}", i16::from_be_bytes([high, low])).into()),
        _ => unreachable!("two bytes"),
    }
}

fn wait_for(what: &str, deadline: Duration, mut condition: impl FnMut() -> Result<bool, Failed>) -> Checked {
    let met = testbed::wait_until(deadline, || Ok::<_, Failed>(condition()?.then_some(())))?;
    met.ok_or_else(|| format!("no {what} within {deadline:?}").into())
}

fn check(held: bool, promise: &str) -> Checked {
    if held { Ok(()) } else { Err(format!("not so: {promise}").into()) }
}
