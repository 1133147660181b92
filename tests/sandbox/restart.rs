//! What a process finds changed, or broken, when it starts again on its own directory.

use crate::kit::{MAPS, PATIENCE, bed, config_map};
use crate::product::Product;
use crate::waiting::eventually;
use serde_json::Value;
use std::collections::BTreeSet;

crate::trials![
    another_key_under_the_same_id_has_everything_written_anew,
    a_fold_that_cannot_be_saved_is_named_and_capture_goes_on,
];

const OBJECTS: usize = 12;

async fn create(client: &crate::kit::Client, numbers: std::ops::Range<usize>) {
    for n in numbers {
        client.post(MAPS, &config_map(&format!("m-{n}"), "hidden")).await.ok();
    }
}

/// Names of our ConfigMaps among these records, and what stands for their values.
fn noted(records: &[Value]) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let ours = records
        .iter()
        .map(|r| &r["value"]["after"])
        .filter(|after| after["metadata"]["name"].as_str().is_some_and(|name| name.starts_with("m-")));
    let text = |of: &'static str| ours.clone().filter_map(move |after| after.pointer(of)?.as_str()).collect();
    (text("/metadata/name"), text("/data/key"))
}

async fn another_key_under_the_same_id_has_everything_written_anew() {
    let bed = bed().await;
    create(&bed.client, 0..OBJECTS).await;
    let key = bed.dir.path().join("key");
    std::fs::write(&key, "ab".repeat(32)).expect("written");
    let named = format!("redaction.hmac_key_file={:?}", key.display().to_string());
    let mut product = Product::of(&bed, &[&named, "redaction.hmac_key_id=\"k1\""]);
    let first = eventually("all are in the log", PATIENCE, async || {
        Some(product.records().await).filter(|records| noted(records).0.len() == OBJECTS)
    });
    let first = first.await;
    let (_, before) = noted(&first);
    assert!(
        before.len() == 1 && before.iter().all(|note| note.starts_with("[redacted: 6 bytes, hmac:k1:")),
        "{before:?}"
    );
    // The same key is no change.
    product = product.again();
    assert_eq!(noted(&product.records().await[first.len()..]).0, BTreeSet::new(), "nothing is written anew");
    std::fs::write(&key, "cd".repeat(32)).expect("written");
    product = product.again();
    let anew = eventually("all are written anew", PATIENCE, async || {
        let records = product.records().await;
        let reads = records.into_iter().filter(|r| r["value"]["op"] == "r" && !first.contains(r));
        Some(reads.collect::<Vec<_>>()).filter(|records| noted(records).0.len() == OBJECTS)
    });
    let anew = anew.await;
    let (_, after) = noted(&anew);
    assert!(after.len() == 1 && after.iter().all(|note| note.starts_with("[redacted: 6 bytes, hmac:k1:")), "{after:?}");
    assert_ne!(after, before, "by the new key");
    assert!(
        anew.iter().all(|r| r["value"]["before"].is_null()),
        "what the old key made stands beside nothing of the new"
    );
    let held = product.api.get("/api/v1/objects/configmaps/default/m-0").await.json();
    assert_eq!(after.first().copied(), held["data"]["key"].as_str());
    product.end().await;
}

async fn a_fold_that_cannot_be_saved_is_named_and_capture_goes_on() {
    let bed = bed().await;
    let mut product = Product::of(&bed, &["store.save_interval=\"1s\""]);
    let fold = product.data().join("fold");
    let failures = "agent_events_fold_save_failures_total";
    eventually("the fold is saved", PATIENCE, async || fold.join("configmaps.fold").exists().then_some(())).await;
    // As on a disk that takes nothing more.
    std::fs::remove_dir_all(&fold).expect("ours");
    std::fs::write(&fold, "in the way").expect("ours");
    create(&bed.client, 0..1).await;
    eventually("two saves have failed", PATIENCE, async || (product.metric(failures).await >= 2.0).then_some(())).await;
    let pipeline = product.api.get("/api/v1/pipeline").await.text;
    assert!(pipeline.contains("the saved fold: ") && pipeline.contains(&fold.display().to_string()), "{pipeline}");
    create(&bed.client, 1..OBJECTS).await;
    eventually("capture goes on", PATIENCE, async || {
        (noted(&product.records().await).0.len() == OBJECTS).then_some(())
    })
    .await;
    // It ends in order and starts without what could not be saved.
    product = product.again();
    assert!(product.version("m-3").await.is_some());
    std::fs::remove_file(&fold).expect("ours");
    eventually("saved again", PATIENCE, async || fold.join("configmaps.fold").exists().then_some(())).await;
    eventually("and no trouble is left", PATIENCE, async || {
        (!product.api.get("/api/v1/pipeline").await.text.contains("the saved fold: ")).then_some(())
    })
    .await;
    product.end().await;
}
