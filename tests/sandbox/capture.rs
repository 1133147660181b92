//! What can be asked about capture, and that the answers are true: the account, the audit, `verify`, the budget.

use crate::accounts::{accounts, assert_balanced};
use crate::front::{Behind, Front};
use crate::kit::{Bed, MAPS, bed, config_map};
use crate::product::{Product, json};
use crate::waiting::eventually;
use agent_events::testing::{self, Mutant};
use serde_json::json;
use std::time::Duration;
use tokio::time::Instant;

crate::trials![
    every_change_is_in_the_account_and_a_lost_one_breaks_it,
    an_audit_finds_what_was_lost,
    an_audit_has_what_was_lost_written_anew,
    an_audit_of_what_never_rests_finds_nothing,
    verify_is_equal_or_names_what_differs,
    a_calm_process_keeps_to_the_budget_that_check_prints,
    gaps_are_answered_from_their_topic,
];

const A_MINUTE: Duration = Duration::from_secs(60);

async fn create(bed: &Bed, name: &str) -> String {
    let made = bed.client.post(MAPS, &config_map(name, "v")).await.ok();
    made["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

async fn touch(bed: &Bed, name: &str, value: &str) -> String {
    let patch = json!({"metadata": {"labels": {"value": value}}});
    let made = bed.client.patch(&format!("{MAPS}/{name}"), "application/merge-patch+json", &patch).await.ok();
    made["metadata"]["resourceVersion"].as_str().expect("a version").to_owned()
}

async fn every_change_is_in_the_account_and_a_lost_one_breaks_it() {
    let bed = bed().await;
    for i in 0..20 {
        create(&bed, &format!("early-{i}")).await;
    }
    let mut product = Product::of(&bed, &[]);
    for i in 0..20 {
        create(&bed, &format!("late-{i}")).await;
        touch(&bed, &format!("early-{i}"), "w").await;
        bed.client.delete(&format!("{MAPS}/late-{i}")).await.ok();
    }
    // A list in the middle, and deletes that nobody reported.
    bed.client.fault(&json!({"fault": "stall", "resource": "configmaps"})).await;
    for i in 0..5 {
        bed.client.delete(&format!("{MAPS}/early-{i}")).await.ok();
    }
    bed.client.fault(&json!({"fault": "gone", "resource": "configmaps", "times": 1})).await;
    bed.client.delete("/sandbox/faults").await;
    bed.client.fault(&json!({"fault": "gone", "resource": "configmaps", "times": 1})).await;
    let last = create(&bed, "last").await;
    eventually("the last change is in the state", A_MINUTE, async || {
        (product.version("last").await.as_ref() == Some(&last)).then_some(())
    })
    .await;
    let account = eventually("nothing is in flight", A_MINUTE, async || {
        let account = assert_balanced(&product.metrics().await);
        (account.in_flight == 0).then_some(account)
    })
    .await;
    assert!(account.received >= 80 && account.published >= 80, "{account:?}");
    testing::set(Some(Mutant::LoseOneReport));
    create(&bed, "lost").await;
    let broken = eventually("the mutant has struck", A_MINUTE, async || {
        let accounts = accounts(&product.metrics().await);
        let (came, became) = accounts["configmaps"].sides();
        (came != became).then_some((came, became))
    })
    .await;
    assert_eq!(broken.0, broken.1 + 1, "one change is in no account");
    product.cooked = true;
    product.end().await;
}

/// Changes something whenever the last change has come through, so that the watermark of a kind moves without waiting for
/// bookmarks.
async fn keep_alive<T>(bed: &Bed, product: &Product, until: impl Future<Output = T>) -> T {
    let mut last = create(bed, "clock").await;
    let tick = async {
        for i in 0.. {
            eventually("the clock goes", A_MINUTE, async || {
                (product.version("clock").await.as_ref() == Some(&last)).then_some(())
            })
            .await;
            last = touch(bed, "clock", &format!("t{i}")).await;
        }
    };
    tokio::select! {
        found = until => found,
        () = tick => unreachable!("it ticks for ever"),
    }
}

/// A product that audits all the time and has lost a creation, a change and a deletion; with the versions there should be.
async fn that_lost_three(bed: &Bed) -> (Product, String, String) {
    create(bed, "changed").await;
    create(bed, "deleted").await;
    let mut product = Product::of(bed, &["watch.audit_interval=\"2s\"", "watch.poll_interval=\"500ms\""]);
    product.cooked = true;
    // One at a time: the mutant takes the next report, whatever it is about.
    testing::set(Some(Mutant::LoseOneReport));
    let created = create(bed, "created").await;
    lose_is_over().await;
    testing::set(Some(Mutant::LoseOneReport));
    let changed = touch(bed, "changed", "w").await;
    lose_is_over().await;
    testing::set(Some(Mutant::LoseOneReport));
    bed.client.delete(&format!("{MAPS}/deleted")).await.ok();
    lose_is_over().await;
    assert_eq!(product.version("created").await, None);
    assert!(product.version("deleted").await.is_some());
    (product, created, changed)
}

async fn an_audit_finds_what_was_lost() {
    let bed = bed().await;
    let (product, ..) = that_lost_three(&bed).await;
    let found = "agent_events_audit_differences_total{kind=\"configmaps\"}";
    let three = eventually("three differ", A_MINUTE, async || (product.metric(found).await >= 3.0).then_some(()));
    keep_alive(&bed, &product, three).await;
    assert!(product.metric("agent_events_audits_total{kind=\"configmaps\",result=\"different\"}").await >= 1.0);
    product.end().await;
}

async fn an_audit_has_what_was_lost_written_anew() {
    let bed = bed().await;
    let (product, created, changed) = that_lost_three(&bed).await;
    keep_alive(&bed, &product, async {
        eventually("all three are as the API server has them", A_MINUTE, async || {
            let now =
                (product.version("created").await, product.version("changed").await, product.version("deleted").await);
            (now == (Some(created.clone()), Some(changed.clone()), None)).then_some(())
        })
        .await;
        eventually("an audit finds nothing any more", A_MINUTE, async || {
            let pipeline = product.api.get("/api/v1/pipeline").await.json();
            (pipeline["watchers"][0]["audit"]["result"] == "equal").then_some(())
        })
        .await;
    })
    .await;
    let gaps = product.api.get("/api/v1/gaps").await.json();
    assert_eq!(gaps["items"][0]["reason"], "audit", "{gaps}");
    product.end().await;
}

async fn lose_is_over() {
    eventually("a report is lost", A_MINUTE, async || (!testing::is_on(Mutant::LoseOneReport)).then_some(())).await;
}

async fn an_audit_of_what_never_rests_finds_nothing() {
    let bed = bed().await;
    let product = Product::of(&bed, &["watch.audit_interval=\"1s\"", "watch.poll_interval=\"200ms\""]);
    let mut beat = tokio::time::interval(Duration::from_millis(5));
    let storm = async {
        for i in 0.. {
            beat.tick().await;
            let name = format!("m{}", i % 7);
            if i % 3 == 2 {
                bed.client.delete(&format!("{MAPS}/{name}")).await;
            } else if bed.client.post(MAPS, &config_map(&name, "v")).await.code == 409 {
                touch(&bed, &name, &format!("t{i}")).await;
            }
        }
    };
    let audits = "agent_events_audits_total{kind=\"configmaps\",result=\"equal\"}";
    let audited =
        eventually("audits were made", A_MINUTE, async || (product.metric(audits).await >= 4.0).then_some(()));
    tokio::select! {
        () = audited => {}
        () = storm => {}
    }
    let metrics = product.metrics().await;
    assert!(!metrics.contains("agent_events_audit_differences_total{"), "{metrics}");
    assert!(!metrics.contains("result=\"different\""), "{metrics}");
    product.end().await;
}

async fn verify_is_equal_or_names_what_differs() {
    let bed = bed().await;
    create(&bed, "here").await;
    let mut product = Product::of(&bed, &["watch.secrets.enabled=true"]);
    let verdict = product.command(&["verify", "-o", "json"], true);
    assert_eq!((verdict.status.code(), &json(&verdict)["equal"]), (Some(0), &json!(true)), "{verdict:?}");
    testing::set(Some(Mutant::LoseOneReport));
    let version = create(&bed, "lost").await;
    lose_is_over().await;
    let verdict = product.command(&["verify", "--kind", "cm", "-n", "default", "--wait", "2s", "-o", "json"], true);
    assert_eq!(verdict.status.code(), Some(1), "{verdict:?}");
    let differences = json(&verdict)["kinds"][0]["differences"].clone();
    assert_eq!(differences.as_array().map(Vec::len), Some(1), "{differences}");
    let found = &differences[0];
    assert_eq!(
        (&found["name"], &found["what"], &found["log"]),
        (&json!("lost"), &json!("missing in log"), &json!(null))
    );
    assert_eq!(found["server"]["rv"], version);
    let table = product.command(&["verify", "--kind", "cm", "--wait", "1s"], true);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.contains("1 differ") && table.contains("default/lost"), "{table}");
    for (arguments, code, says) in [
        (&["verify", "--kind", "events"][..], 2, "nothing to compare"),
        (&["verify", "--kind", "pods"], 1, "not watched"),
        (&["verify", "--resources", "events"], 2, "nothing to compare"),
        (&["verify", "--resources", "configmaps,pods"], 1, "pods is not watched; these are: configmaps"),
        (&["verify", "--resources", "Con.fig_maps"], 2, "--resources Con.fig_maps: "),
        (&["verify", "--resources", "pods", "--kind", "pods"], 2, "cannot be used with"),
    ] {
        let refused = product.command(arguments, true);
        let text = String::from_utf8_lossy(&refused.stderr).into_owned();
        assert!(refused.status.code() == Some(code) && text.contains(says), "{arguments:?}: {refused:?}");
    }
    // Kubernetes Events beside others are passed over.
    let some = product.command(&["verify", "--resources", "events,secrets,*.example.com", "-o", "json"], true);
    let text = String::from_utf8_lossy(&some.stderr).into_owned();
    assert!(some.status.code() == Some(1) && text.contains("*.example.com is not watched"), "{some:?}");
    let some = json(&product.command(&["verify", "--resources", "events,secrets", "-o", "json"], true));
    assert_eq!(
        (&some["kinds"][0]["kind"], some["kinds"].as_array().map(Vec::len)),
        (&json!("secrets"), Some(1)),
        "{some}"
    );
    // The log has an owner, whom nobody named.
    let refused = product.command(&["verify", "--server", "http://127.0.0.1:1"], false);
    assert_eq!(refused.status.code(), Some(69), "{refused:?}");
    // Without the process the log itself is folded, and says the same.
    product.cooked = true;
    assert_eq!(product.running.shutdown(), 0);
    let verdict = product.command(&["verify", "--kind", "cm", "-o", "json"], false);
    assert_eq!(
        (verdict.status.code(), &json(&verdict)["kinds"][0]["differences"]),
        (Some(1), &differences),
        "{verdict:?}"
    );
    let verdict = product.command(&["verify", "--kind", "secrets"], false);
    assert_eq!(verdict.status.code(), Some(0), "{verdict:?}");
    // A kind that the settings leave out, a topic that nobody made, a log that is not there: nothing is compared, and nothing
    // made.
    let elsewhere = bed.dir.path().join("elsewhere").display().to_string();
    let set = format!("embedded.dir={elsewhere:?}");
    for (arguments, says) in [
        (&["verify", "--resources", "pods"][..], "topic k8s-pods cannot be compared: there is no topic k8s-pods"),
        (&["verify", "--set", "topics.prefix=other-"], "topic other-k8s-configmaps cannot be compared"),
        (
            &["verify", "--set", &set],
            "of the topics k8s-configmaps, k8s-secrets nothing can be read: there is no log in",
        ),
    ] {
        let away = product.command(arguments, false);
        let text = String::from_utf8_lossy(&away.stderr).into_owned();
        assert!(away.status.code() == Some(69) && text.contains(says), "{arguments:?}: {away:?}");
    }
    assert!(!std::path::Path::new(&elsewhere).exists());
    // It answers, and not what was asked.
    bed.client.fault(&json!({"fault": "refuse", "code": 500, "resource": "configmaps", "verb": "list"})).await;
    let away = product.command(&["verify", "--kind", "cm"], false);
    let text = String::from_utf8_lossy(&away.stderr).into_owned();
    assert!(away.status.code() == Some(69) && text.contains("answers 500 for configmaps"), "{away:?}");
    bed.sandbox.stop().await;
    let away = product.command(&["verify"], false);
    assert_eq!(away.status.code(), Some(69), "{away:?}");
}

async fn a_calm_process_keeps_to_the_budget_that_check_prints() {
    let bed = bed().await;
    let front = Front::start(Behind::Plain(bed.sandbox.url().into()), bed.dir.path());
    let fast = ["watch.audit_interval=\"2s\"", "watch.poll_interval=\"500ms\"", "watch.pods.enabled=true"];
    let product = Product::at(&front.kubeconfig(), &fast);
    let check = json(&product.command(&["check", "-o", "json"], true));
    let line = check["checks"].as_array().expect("checks").iter().find(|line| line["check"] == "request budget");
    let detail = line.unwrap_or_else(|| panic!("{check:#}"))["detail"].as_str().expect("text").to_owned();
    let an_hour: f64 = detail.split_whitespace().find_map(|word| word.parse().ok()).expect(&detail);
    // What the budget allows for ten seconds lasts for that long, and no more than four times as long.
    let (before, began) = (front.requests(), Instant::now());
    let ten_seconds = an_hour * 10.0 / 3600.0;
    eventually("a quarter of the budget is used at least", Duration::from_secs(40), async || {
        ((front.requests() - before) as f64 >= ten_seconds).then_some(())
    })
    .await;
    let took = began.elapsed();
    assert!(took >= Duration::from_secs(10), "{ten_seconds:.0} requests within {took:?}: {detail}");
    let agent = front.head("user-agent").expect("every request says who asks");
    let version = env!("CARGO_PKG_VERSION");
    assert_eq!(agent, format!("agent-events/{version} (linux; +trial)"));
    let counted = product.metrics().await;
    assert!(counted.contains("agent_events_api_requests_total{verb=\"list\",code=\"200\"}"), "{counted}");
    product.end().await;
}

async fn gaps_are_answered_from_their_topic() {
    let bed = bed().await;
    let product = Product::of(&bed, &[]);
    let none = product.api.get("/api/v1/gaps").await.json();
    assert_eq!(none, json!({"items": []}));
    for wrong in ["since=yesterday", "limit=x", "kinds=pods"] {
        assert_eq!(product.api.get(&format!("/api/v1/gaps?{wrong}")).await.code, 400, "{wrong}");
    }
    // The history that a watch would go on from is gone, and something has changed since: what was coalesced is declared.
    let mut changes = 0;
    eventually("the gap is in its topic", A_MINUTE, async || {
        bed.client.fault(&json!({"fault": "gone", "resource": "configmaps", "times": 1})).await;
        create(&bed, &format!("unseen-{changes}")).await;
        changes += 1;
        let gaps = product.api.get("/api/v1/gaps?kind=configmaps&since=10m&limit=5").await.json();
        (gaps["items"][0]["reason"] == "expired").then_some(())
    })
    .await;
    let gaps = eventually("every gap is counted", A_MINUTE, async || {
        let gaps = product.api.get("/api/v1/gaps?kind=configmaps").await.json();
        let counted = product.metric("agent_events_gaps_total{kind=\"configmaps\",reason=\"expired\"}").await;
        (gaps["items"].as_array().map_or(0, Vec::len) as f64 == counted).then_some(gaps)
    })
    .await;
    assert_eq!((&gaps["items"][0]["cluster"], &gaps["items"][0]["scope"]), (&json!("trial"), &json!(null)), "{gaps}");
    let gaps = gaps["items"].as_array().map_or(0, Vec::len);
    let pipeline = product.api.get("/api/v1/pipeline").await.json();
    assert_eq!((&pipeline["gaps"], &pipeline["watchers"][0]["lastGap"]["reason"]), (&json!(gaps), &json!("expired")));
    assert_eq!(product.api.get("/api/v1/gaps?kind=pods").await.json(), json!({"items": []}));
    let table = product.command(&["gaps", "--kind", "cm", "--since", "10m"], true);
    let table = String::from_utf8_lossy(&table.stdout).into_owned();
    assert!(table.starts_with("SEEN") && table.contains("expired"), "{table}");
    // They last: the next process finds them, and counts none as its own.
    let data = product.end().await;
    let again = Product::of(&bed, &[&format!("data_dir={:?}", data.path().display().to_string())]);
    eventually("the gap is found again", A_MINUTE, async || {
        let gaps = again.api.get("/api/v1/gaps").await.json();
        (gaps["items"][0]["reason"] == "expired").then_some(())
    })
    .await;
    assert_eq!(again.metric("agent_events_gaps_total").await, 0.0);
    again.end().await;
}
