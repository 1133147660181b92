//! What an operator asks: topics, offsets, settings, and whether all is as it should be.

use crate::engines::{Bench, Engine};
use crate::kit::*;
use agent_events::domain::record::InRecord;
use agent_events::domain::topic::{TopicSpec, partition_of};
use agent_events::log::{LogError, topics};
use bytes::Bytes;

/// Key and partition among 6, as the Java client of Kafka 4.1.1 gives them (`Utils.toPositive(Utils.murmur2(key)) % 6`).
const JAVA: &[(&str, i32)] = &[
    ("prod/pods/default/web-1", 4),
    ("prod/pods/default/web-2", 3),
    ("prod/deployments/default/web", 5),
    ("prod/statefulsets/data/pg", 1),
    ("prod/certificates.cert-manager.io/default/tls", 0),
    ("state/a/b", 4),
    ("checkpoint/pods", 3),
    ("日本語", 4),
    ("abcd", 2),
];

pub async fn explicit_partitions_are_those_of_the_java_client(bench: Bench) -> Checked {
    let topic = bench.topic(6, &[]).await?;
    let ours = JAVA.iter().map(|(key, _)| record(&topic, partition_of(key.as_bytes(), 6), key, None));
    write(&bench, ours.collect()).await?;
    if let Engine::Kafka { .. } = bench.engine {
        // librdkafka's own Java-like partitioner, as a foreign program would use it.
        for (key, _) in JAVA {
            let foreign = InRecord {
                topic: topic.clone(),
                partition: -1,
                offset: 0,
                timestamp_ms: SOME_TIME,
                key: Some(Bytes::from_static(key.as_bytes())),
                value: None,
                headers: vec![],
            };
            write_foreign(&bench, foreign, Some("murmur2_random"))?;
        }
    }
    for record in bench.log.read_all(&topic).await? {
        let want = JAVA.iter().find(|(k, _)| *k == key(&record)).map(|(_, partition)| *partition);
        check_eq(Some(record.partition), want, &key(&record))?;
    }
    Ok(())
}

pub async fn offsets_are_first_and_next_of_each_partition(bench: Bench) -> Checked {
    let topic = bench.topic(3, &[]).await?;
    check_eq(bench.log.offsets(&topic).await?, vec![(0, 0); 3], "at first")?;
    write(&bench, (0..5).map(|n| record(&topic, i32::from(n > 0), &n.to_string(), None)).collect()).await?;
    check_eq(bench.log.offsets(&topic).await?, vec![(0, 1), (0, 4), (0, 0)], "after five records")
}

pub async fn creating_a_topic_again_changes_nothing(bench: Bench) -> Checked {
    let topic = bench.topic(2, &[]).await?;
    write(&bench, vec![numbered(&topic, 0)]).await?;
    bench.log.create(&bench.spec("t", 5, &[("cleanup.policy", "compact")])).await?;
    check_eq(bench.log.offsets(&topic).await?, vec![(0, 1), (0, 0)], "partitions and records are as they were")
}

pub async fn a_topic_is_described_as_it_was_created(bench: Bench) -> Checked {
    let topic = bench.topic(3, &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.2")]).await?;
    let names = [topic.to_string(), bench.name("missing")];
    let described = bench.log.describe(&names).await?;
    check_eq(described.len(), 1, "only what exists is described")?;
    let state = &described[0];
    check_eq((&*state.name, state.partitions, state.replication), (&*topic, 3, 1), "name, partitions, replicas")?;
    for (key, want) in [("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.2"), ("retention.ms", "-1")] {
        check_eq(state.config.get(key).map(String::as_str), Some(want), key)?;
    }
    check_eq(state.config.get("flush.messages"), None, "what nobody has set is left out")?;
    check(bench.log.list().await?.contains(&topic.to_string()), "it is listed")
}

pub async fn what_is_asked_of_a_missing_topic_names_it_and_the_remedy(bench: Bench) -> Checked {
    let missing = bench.name("missing");
    let errors = [bench.log.offsets(&missing).await.err(), bench.log.read_all(&missing).await.err()];
    for error in errors {
        let error = error.ok_or("a missing topic is an error")?;
        check(matches!(error, LogError::Refused(_)), "it is no matter of retrying")?;
        let text = error.to_string();
        check(text.contains(&missing) && text.contains("topics apply"), &text)?;
    }
    check_eq(bench.log.list().await?.contains(&missing), false, "asking creates nothing")
}

fn three(bench: &Bench) -> Vec<TopicSpec> {
    let long = &[("delete.retention.ms", "604800000"), ("cleanup.policy", "compact")];
    vec![bench.spec("a", 3, &[]), bench.spec("b", 6, long), bench.spec("c", 1, &[("max.message.bytes", "4194304")])]
}

pub async fn the_plan_creates_what_is_missing_and_then_verifies(bench: Bench) -> Checked {
    let specs = three(&bench);
    bench.log.create(&specs[1]).await?;
    let text = topics::verify(&*bench.log, &specs).await.err().ok_or("topics are missing")?.to_string();
    check(text.contains(&specs[0].name) && text.contains(&specs[2].name), &text)?;
    let plan = topics::plan(&*bench.log, &specs).await?;
    check_eq((plan.create.len(), plan.drift.len(), plan.fine.len()), (2, 0, 1), "the plan")?;
    topics::apply(&*bench.log, &plan).await?;
    check_eq(topics::verify(&*bench.log, &specs).await?, vec![], "nothing differs")?;
    check(topics::plan(&*bench.log, &specs).await?.is_fine(), "nothing is left to do")
}

pub async fn a_wrong_partition_count_is_refused_and_a_lost_setting_is_named(bench: Bench) -> Checked {
    let specs = three(&bench);
    // As somebody might have: one topic without its settings, one with another partition count.
    bench.log.create(&TopicSpec { config: Default::default(), ..specs[1].clone() }).await?;
    bench.log.create(&TopicSpec { partitions: 2, ..specs[0].clone() }).await?;
    let plan = topics::plan(&*bench.log, &specs).await?;
    let drift: Vec<(&str, &str)> = plan.drift.iter().map(|d| (d.topic.as_str(), d.what.as_str())).collect();
    let (a, b) = (specs[0].name.as_str(), specs[1].name.as_str());
    let want = [(a, "partitions"), (b, "cleanup.policy"), (b, "delete.retention.ms"), (b, "retention.ms")];
    check_eq(drift, want.to_vec(), "every difference is named")?;
    for refused in [topics::apply(&*bench.log, &plan).await.err(), topics::verify(&*bench.log, &specs).await.err()] {
        let text = refused.ok_or("a wrong partition count is an error")?.to_string();
        check(text.contains(a) && text.contains("moves keys"), &text)?;
    }
    check_eq(bench.log.describe(&[specs[2].name.clone()]).await?.len(), 0, "nothing was created")
}
