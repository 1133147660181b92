//! What survives: an orderly end, kill -9 at any time, a torn tail; and what is refused: damage, a second owner, a bad place.

use crate::kit::{MAPS, PATIENCE, Process, bed, config_map, options, start};
use crate::waiting::eventually;
use agent_events::sandbox::{Sandbox, SandboxError, SandboxOptions};
use hyper::Method;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

crate::trials![
    a_second_run_goes_on_where_the_first_stopped,
    what_was_answered_survives_kill_minus_nine,
    a_torn_tail_is_dropped_and_damage_is_refused,
    files_that_are_lost_are_no_new_cluster,
    a_long_journal_becomes_a_snapshot,
    a_directory_has_one_owner,
    a_bad_place_gets_a_sentence,
    the_kubeconfig_leads_here_and_nothing_else_stands_in_it,
    an_ended_sandbox_frees_its_port_and_refuses_writes,
];

async fn a_second_run_goes_on_where_the_first_stopped() {
    let bed = bed().await;
    bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    let resume = bed.sandbox.state().revision();
    bed.client.put(&format!("{MAPS}/a"), &config_map("a", "2")).await.ok();
    let (uid, revision) = (bed.sandbox.cluster_uid().to_owned(), bed.sandbox.state().revision());
    bed.sandbox.stop().await;
    let again = start(bed.dir.path()).await;
    assert_eq!((again.cluster_uid(), again.state().revision()), (uid.as_str(), revision));
    assert_eq!(again.state().get("configmaps", "default", "a").unwrap().text("/data/key"), "2");
    let client = crate::kit::Client::of(again.url());
    let mut watch = client.watch(&format!("{MAPS}?watch=true&resourceVersion={resume}")).await;
    assert_eq!(watch.event().await, "MODIFIED a", "a watch resumes over the restart");
}

/// Writes as fast as it can until the process is killed behind so many answers, with more of them under way; gives what was
/// answered: name → value.
async fn hammer(process: &mut Process, round: u64, answers: usize) -> BTreeMap<String, String> {
    let answered: Arc<Mutex<BTreeMap<String, String>>> = Arc::default();
    let (count, mut counted) = tokio::sync::watch::channel(0);
    let writers = (0..4u64).map(|writer| {
        let (client, answered, count) = (process.client.clone(), answered.clone(), count.clone());
        async move {
            for i in 0u64.. {
                let (name, value) = (format!("w{writer}-{}", i % 7), format!("{round}-{i}"));
                let map = config_map(&name, &value);
                let headers = [("content-type", "application/json")];
                let put =
                    client.try_ask(Method::PUT, &format!("{MAPS}/{name}"), &headers, map.to_string().into()).await;
                let written = match put {
                    Ok(answer) if answer.code == 404 => {
                        client.try_ask(Method::POST, MAPS, &headers, map.to_string().into()).await
                    }
                    other => other,
                };
                match written {
                    Ok(answer) if answer.code < 300 => {
                        answered.lock().unwrap().insert(name, value);
                        count.send_modify(|count| *count += 1);
                    }
                    Ok(answer) => panic!("{}: {}", answer.code, answer.text),
                    Err(_) => return,
                };
            }
        }
    });
    let all = futures_util::future::join_all(writers);
    let kill = async {
        let enough = counted.wait_for(|count| *count >= answers);
        assert!(tokio::time::timeout(Duration::from_secs(60), enough).await.is_ok_and(|r| r.is_ok()), "it answers");
        process.kill();
    };
    tokio::join!(all, kill);
    answered.lock().unwrap().clone()
}

async fn what_was_answered_survives_kill_minus_nine() {
    let dir = tempfile::tempdir().unwrap();
    let mut total = 0;
    let mut known: BTreeMap<String, String> = BTreeMap::new();
    let mut last = 0;
    for round in 0..8u64 {
        let mut process = Process::start(dir.path());
        let list = process.client.get(MAPS).await.ok();
        let revision: u64 = list["metadata"]["resourceVersion"].as_str().unwrap().parse().unwrap();
        assert!(revision >= last, "the revision went back from {last} to {revision}");
        last = revision;
        let there: BTreeMap<String, String> = list["items"]
            .as_array()
            .unwrap()
            .iter()
            .map(|item| {
                let text = |v: &serde_json::Value| v.as_str().unwrap().to_owned();
                (text(&item["metadata"]["name"]), text(&item["data"]["key"]))
            })
            .collect();
        for (name, value) in &known {
            let found = there.get(name).unwrap_or_else(|| panic!("{name} is lost"));
            let number = |v: &str| -> (u64, u64) {
                let (round, i) = v.split_once('-').unwrap();
                (round.parse().unwrap(), i.parse().unwrap())
            };
            assert!(number(found) >= number(value), "round {round}: {name} was answered as {value} and is {found}");
        }
        let answered = hammer(&mut process, round, usize::try_from(20 + 37 * round).unwrap()).await;
        total += answered.len();
        known.extend(answered);
    }
    assert!(total > 50, "the kills came too early to prove anything: {total}");
}

fn journal(dir: &Path) -> PathBuf {
    let mut files: Vec<PathBuf> = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path()).collect();
    files.retain(|f| f.file_name().unwrap().to_string_lossy().starts_with("journal-"));
    files.sort();
    files.pop().expect("a journal")
}

async fn refusal(dir: &Path) -> String {
    match Sandbox::start(options(dir)).await {
        Err(SandboxError::Directory(why)) => why,
        other => panic!("{other:?}"),
    }
}

async fn a_torn_tail_is_dropped_and_damage_is_refused() {
    let bed = bed().await;
    bed.client.post(MAPS, &config_map("a", "1")).await.ok();
    let whole = std::fs::metadata(journal(bed.dir.path())).unwrap().len();
    bed.client.post(MAPS, &config_map("b", "1")).await.ok();
    bed.sandbox.stop().await;
    let path = journal(bed.dir.path());
    let bytes = std::fs::read(&path).unwrap();
    let torn = usize::try_from(whole).unwrap();
    // At every place within the last record: in its head, in its line, in its object.
    for end in [torn + 1, torn + 15, torn + 16, torn + 40, bytes.len() - 1] {
        std::fs::write(&path, &bytes[..end]).unwrap();
        let again = start(bed.dir.path()).await;
        assert!(again.state().get("configmaps", "default", "a").is_ok());
        assert!(again.state().get("configmaps", "default", "b").is_err());
        again.stop().await;
        assert_eq!(std::fs::metadata(&path).unwrap().len(), whole, "it is cut off");
    }
    let mut flipped = bytes.clone();
    flipped[torn - 20] ^= 0x10;
    std::fs::write(&path, &flipped).unwrap();
    let why = refusal(bed.dir.path()).await;
    assert!(why.contains(path.to_str().unwrap()) && why.contains("damaged") && why.contains("backup"), "{why}");
    assert_eq!(std::fs::read(&path).unwrap(), flipped, "and nothing was touched");
    std::fs::write(&path, &bytes).unwrap();
    assert!(start(bed.dir.path()).await.state().get("configmaps", "default", "b").is_ok());
}

async fn files_that_are_lost_are_no_new_cluster() {
    let bed = bed().await;
    bed.sandbox.stop().await;
    let journal = bed.dir.path().join("journal-00000001");
    std::fs::write(&journal, "").unwrap();
    for there in [true, false] {
        if !there {
            std::fs::remove_file(&journal).unwrap();
        }
        let Err(SandboxError::Directory(why)) = Sandbox::start(options(bed.dir.path())).await else {
            panic!("a cluster without its files has begun anew (journal there: {there})");
        };
        assert!(why.contains("empty or missing") && why.contains("backup") && why.contains("data_dir"), "{why}");
    }
}

async fn a_long_journal_becomes_a_snapshot() {
    let bed = bed().await;
    let first = journal(bed.dir.path());
    // As much as a ConfigMap may hold, and room for the rest of it.
    let filler = "x".repeat((1 << 20) - 1024);
    for i in 0..40 {
        let mut map = config_map("large", &i.to_string());
        map["data"]["filler"] = filler.as_str().into();
        let path = if i == 0 { MAPS.to_owned() } else { format!("{MAPS}/large") };
        let method = if i == 0 { Method::POST } else { Method::PUT };
        bed.client.with_body(method, &path, "application/json", &map).await.ok();
    }
    let is_gone = async || (!first.exists()).then_some(());
    eventually("the old journal goes when its snapshot is there", PATIENCE, is_gone).await;
    bed.client.post(MAPS, &config_map("after", "1")).await.ok();
    let revision = bed.sandbox.state().revision();
    bed.sandbox.stop().await;
    let again = start(bed.dir.path()).await;
    assert_eq!(again.state().revision(), revision);
    assert_eq!(again.state().get("configmaps", "default", "large").unwrap().label("value"), Some("39"));
    assert!(again.state().get("configmaps", "default", "after").is_ok());
    again.stop().await;
    std::fs::remove_file(journal(bed.dir.path())).unwrap();
    let why = refusal(bed.dir.path()).await;
    assert!(why.contains("journal-") && why.contains("missing"), "{why}");
}

async fn a_directory_has_one_owner() {
    let dir = tempfile::tempdir().unwrap();
    let mut process = Process::start(dir.path());
    let why = refusal(dir.path()).await;
    assert!(why.contains(&process.id().to_string()) && why.contains("choose another directory"), "{why}");
    process.kill();
    start(dir.path()).await;
}

async fn a_bad_place_gets_a_sentence() {
    let bed = bed().await;
    let listen = bed.sandbox.url().trim_start_matches("http://").parse().unwrap();
    let elsewhere = tempfile::tempdir().unwrap();
    let taken = SandboxOptions { listen, dir: elsewhere.path().to_owned() };
    let why = Sandbox::start(taken).await.expect_err("the port is taken").to_string();
    assert!(why.contains(&listen.to_string()) && why.contains("in use"), "{why}");
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0, "the directory is left alone");
    let open = SandboxOptions { listen: "0.0.0.0:0".parse().unwrap(), dir: elsewhere.path().to_owned() };
    let why = Sandbox::start(open).await.expect_err("everybody could write").to_string();
    assert!(why.contains("127.0.0.1"), "{why}");
    let file = elsewhere.path().join("file");
    std::fs::write(&file, "").unwrap();
    let why = refusal(&file.join("below")).await;
    assert!(why.contains("below") && why.contains("choose another directory"), "{why}");
}

async fn the_kubeconfig_leads_here_and_nothing_else_stands_in_it() {
    let bed = bed().await;
    let text = std::fs::read_to_string(bed.sandbox.kubeconfig()).unwrap();
    assert!(text.contains(&format!("server: {}", bed.sandbox.url())), "{text}");
    assert!(text.contains("current-context: agent-events-sandbox"), "{text}");
    assert!(!text.contains("token") && !text.contains("certificate"), "{text}");
}

async fn an_ended_sandbox_frees_its_port_and_refuses_writes() {
    let bed = bed().await;
    let mut watch = bed.client.watch(&format!("{MAPS}?watch=true")).await;
    let state = bed.sandbox.state().clone();
    let (url, dir) = (bed.sandbox.url().to_owned(), bed.dir.path().to_owned());
    drop(bed.sandbox);
    watch.next().await.expect_err("the connection breaks");
    let refused =
        state.create("configmaps", config_map("late", "1"), &agent_events::sandbox::Write::by("test")).unwrap_err();
    assert!(refused.message.contains("stopped"), "{refused}");
    let listen = url.trim_start_matches("http://").parse().unwrap();
    Sandbox::start(SandboxOptions { listen, dir }).await.expect("port and directory are free");
}
