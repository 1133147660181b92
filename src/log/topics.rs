//! Topics as they should be against topics as they are: what to create, what differs, and what to do about it.
//!
//! Nothing that exists is ever altered from here. A partition count cannot be (keys would move), and rdkafka can alter
//! settings only by resetting all others: the difference is named, with the command that removes it.

use crate::domain::topic::TopicSpec;
use crate::log::{Log, LogError, TopicState};
use serde::Serialize;
use std::fmt;

/// What Kafka does where nothing is set (4.1). A log describes only what was set; these keys are the ones we compare.
const KAFKA_DEFAULTS: &[(&str, &str)] = &[
    ("cleanup.policy", "delete"),
    ("compression.type", "producer"),
    ("delete.retention.ms", "86400000"),
    ("max.compaction.lag.ms", "9223372036854775807"),
    ("max.message.bytes", "1048588"),
    ("message.timestamp.type", "CreateTime"),
    ("min.cleanable.dirty.ratio", "0.5"),
    ("min.compaction.lag.ms", "0"),
    ("min.insync.replicas", "1"),
    ("retention.bytes", "-1"),
    ("retention.ms", "604800000"),
    ("segment.bytes", "1073741824"),
    ("segment.ms", "604800000"),
];

/// The difference between the table of topics and the log.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Plan {
    /// Topics that do not exist yet.
    pub create: Vec<TopicSpec>,
    /// Where a topic that exists differs.
    pub drift: Vec<Drift>,
    /// Topics that are as they should be.
    pub fine: Vec<String>,
}

/// One difference of one topic.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Drift {
    /// Name with prefix.
    pub topic: String,
    /// `partitions`, `replication`, or the name of a topic setting.
    pub what: String,
    /// As it is.
    pub have: String,
    /// As it should be.
    pub want: String,
    /// Whether it can be put right on the topic as it stands. A partition count cannot: the keys would move.
    pub fixable: bool,
}

impl Drift {
    /// Whether nothing may be written to the topic: its keys would go to other partitions than those of the table.
    pub fn is_hard(&self) -> bool {
        self.what == "partitions"
    }

    /// What a person can do about it.
    pub fn remedy(&self) -> String {
        let Self { topic, what, have, want, .. } = self;
        match what.as_str() {
            "partitions" => format!(
                "a partition count is fixed for ever, since changing it moves keys: set `partitions = {have}` for this topic \
                 under [topics], or choose another topics.prefix and start anew"
            ),
            "replication" => {
                "reassign its partitions with kafka-reassign-partitions.sh, or lower topics.replication".into()
            }
            _ => format!(
                "kafka-configs.sh --alter --entity-type topics --entity-name {topic} --add-config '{what}={}'",
                if want.contains(',') { format!("[{want}]") } else { want.clone() }
            ),
        }
    }
}

impl fmt::Display for Drift {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { topic, what, have, want, .. } = self;
        write!(f, "topic {topic}: {what} is {have}, should be {want}; {}", self.remedy())
    }
}

impl Plan {
    /// Whether there is nothing to create and nothing that differs.
    pub fn is_fine(&self) -> bool {
        self.create.is_empty() && self.drift.is_empty()
    }

    /// An error that names every topic that must not be written to, if there is one.
    pub fn refuse_hard_drift(&self) -> Result<(), LogError> {
        let hard: Vec<String> = self.drift.iter().filter(|d| d.is_hard()).map(ToString::to_string).collect();
        if hard.is_empty() { Ok(()) } else { Err(LogError::Refused(hard.join("\n"))) }
    }
}

/// Compares the log with the table. Changes nothing.
pub async fn plan(log: &dyn Log, specs: &[TopicSpec]) -> Result<Plan, LogError> {
    let names: Vec<String> = specs.iter().map(|s| s.name.clone()).collect();
    let states = log.describe(&names).await?;
    // Only Kafka has replicas; any other engine says 1 whatever is wanted.
    Ok(compare(specs, &states, log.engine() == "kafka"))
}

/// Creates what is missing and alters nothing. Creates nothing at all when a topic has the wrong number of partitions.
pub async fn apply(log: &dyn Log, plan: &Plan) -> Result<(), LogError> {
    plan.refuse_hard_drift()?;
    log.create_all(&plan.create).await
}

/// Whether the log can be written to as it is: every topic exists and has its number of partitions. Gives the differences
/// that only deserve a warning.
pub async fn verify(log: &dyn Log, specs: &[TopicSpec]) -> Result<Vec<Drift>, LogError> {
    let plan = plan(log, specs).await?;
    plan.refuse_hard_drift()?;
    if !plan.create.is_empty() {
        let missing: Vec<&str> = plan.create.iter().map(|s| s.name.as_str()).collect();
        return Err(LogError::Refused(format!(
            "the log at {} lacks the topics {}: create them with `agent-events topics apply`, or set topics.create = \"missing\"",
            log.location(),
            missing.join(", ")
        )));
    }
    Ok(plan.drift)
}

fn compare(specs: &[TopicSpec], states: &[TopicState], has_replicas: bool) -> Plan {
    let mut plan = Plan { create: Vec::new(), drift: Vec::new(), fine: Vec::new() };
    for spec in specs {
        let Some(state) = states.iter().find(|s| s.name == spec.name) else {
            plan.create.push(spec.clone());
            continue;
        };
        let differences = differences(spec, state, has_replicas);
        if differences.is_empty() {
            plan.fine.push(spec.name.clone());
        }
        plan.drift.extend(differences);
    }
    plan
}

fn differences(spec: &TopicSpec, state: &TopicState, has_replicas: bool) -> Vec<Drift> {
    let drift = |what: &str, have: String, want: String, fixable| Drift {
        topic: spec.name.clone(),
        what: what.to_owned(),
        have,
        want,
        fixable,
    };
    let mut found = Vec::new();
    if state.partitions != spec.partitions {
        found.push(drift("partitions", state.partitions.to_string(), spec.partitions.to_string(), false));
    }
    // More replicas than wanted are somebody's deliberate choice.
    if has_replicas && state.replication < spec.replication {
        found.push(drift("replication", state.replication.to_string(), spec.replication.to_string(), true));
    }
    for (key, want) in &spec.config {
        let default = KAFKA_DEFAULTS.iter().find(|(name, _)| name == key).map(|(_, value)| *value);
        match state.config.get(key).map(String::as_str).or(default) {
            Some(have) if is_same(have, want) => {}
            have => found.push(drift(key, have.unwrap_or("not set").to_owned(), want.clone(), true)),
        }
    }
    found
}

/// Values are equal as numbers (`0.20`), or as lists in any order (`delete,compact`), or as text.
fn is_same(have: &str, want: &str) -> bool {
    let items = |list: &str| {
        let mut items: Vec<String> = list.split(',').map(|item| item.trim().to_owned()).collect();
        items.sort();
        items
    };
    match (have.trim().parse::<f64>(), want.trim().parse::<f64>()) {
        // Integers of any size are told apart as text: a double is not exact above 2^53.
        (Ok(a), Ok(b)) if have.contains('.') || want.contains('.') => a == b,
        _ => items(have) == items(want),
    }
}

/// For people: one line a difference, aligned.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rows = Vec::new();
        for spec in &self.create {
            let settings: Vec<String> = spec.config.iter().map(|(key, value)| format!("{key}={value}")).collect();
            let detail =
                format!("{} partitions, {} replicas, {}", spec.partitions, spec.replication, settings.join(" "));
            rows.push((spec.name.as_str(), "create", detail));
        }
        for drift in &self.drift {
            let state = if drift.is_hard() { "WRONG" } else { "drift" };
            let detail = format!("{} is {}, should be {}; {}", drift.what, drift.have, drift.want, drift.remedy());
            rows.push((drift.topic.as_str(), state, detail));
        }
        rows.extend(self.fine.iter().map(|name| (name.as_str(), "fine", String::new())));
        let width = rows.iter().map(|(name, ..)| name.len()).max().unwrap_or_default().max("TOPIC".len());
        writeln!(f, "{:width$}  {:6}  DETAIL", "TOPIC", "STATE")?;
        for (name, state, detail) in rows {
            writeln!(f, "{}", format!("{name:width$}  {state:6}  {detail}").trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::topic::{DLQ, GAPS};
    use crate::log::memory::MemoryLog;

    fn state(spec: &TopicSpec) -> TopicState {
        let TopicSpec { name, partitions, replication, config } = spec.clone();
        TopicState { name, partitions, replication, config }
    }

    fn table() -> Vec<TopicSpec> {
        let spec = |name: &str, partitions, config: &[(&str, &str)]| TopicSpec {
            name: name.to_owned(),
            partitions,
            replication: 3,
            config: config.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect(),
        };
        let delete = |ms| [("cleanup.policy", "delete"), ("retention.ms", ms), ("min.insync.replicas", "2")];
        vec![
            spec("k8s-pods", 12, &[("cleanup.policy", "compact"), ("min.cleanable.dirty.ratio", "0.2")]),
            spec("k8s-events", 6, &delete("604800000")),
            spec(GAPS, 1, &delete("2592000000")),
            spec(DLQ, 3, &delete("1209600000")),
        ]
    }

    #[test]
    fn topics_as_they_should_be_are_fine_and_missing_ones_are_to_be_created() {
        let table = table();
        let states: Vec<TopicState> = table.iter().skip(1).map(state).collect();
        let plan = compare(&table, &states, true);
        assert_eq!(plan.create, [table[0].clone()]);
        assert_eq!((plan.fine.len(), plan.drift.len()), (table.len() - 1, 0));
        assert!(!plan.is_fine());
    }

    #[test]
    fn a_default_of_kafka_needs_no_setting_and_spelling_is_no_drift() {
        let spec = table().into_iter().find(|s| s.name == "k8s-events").unwrap();
        let mut have = state(&spec);
        have.config.remove("cleanup.policy");
        have.config.remove("retention.ms");
        assert!(compare(std::slice::from_ref(&spec), &[have], true).is_fine());
        for (have, want) in [("0.2", "0.20"), ("delete,compact", "compact, delete"), ("5", "5")] {
            assert!(is_same(have, want), "{have} {want}");
        }
        for (have, want) in [("0.2", "0.5"), ("delete", "compact"), ("9007199254740993", "9007199254740992")] {
            assert!(!is_same(have, want), "{have} {want}");
        }
    }

    #[test]
    fn a_difference_is_named_with_both_values_and_the_command_that_removes_it() {
        let spec = table().into_iter().find(|s| s.name == GAPS).unwrap();
        let mut have = state(&spec);
        have.replication = 1;
        have.config.insert("retention.ms".into(), "1".into());
        let plan = compare(std::slice::from_ref(&spec), &[have], true);
        let text = plan.to_string();
        for part in
            ["replication is 1, should be 3", "retention.ms is 1, should be 2592000000", "kafka-configs.sh --alter"]
        {
            assert!(text.contains(part), "{text}");
        }
        assert!(plan.refuse_hard_drift().is_ok());
        assert!(plan.drift.iter().all(|d| d.fixable));
        let json = serde_json::to_value(&plan).unwrap();
        assert_eq!(json["drift"][0]["what"], "replication");
    }

    #[test]
    fn more_replicas_than_wanted_and_engines_without_replicas_are_no_drift() {
        let spec = table().remove(0);
        let (mut more, mut none) = (state(&spec), state(&spec));
        (more.replication, none.replication) = (5, 1);
        assert!(compare(std::slice::from_ref(&spec), &[more], true).is_fine());
        assert!(compare(std::slice::from_ref(&spec), &[none], false).is_fine());
    }

    #[tokio::test]
    async fn a_wrong_partition_count_stops_everything_and_says_why() {
        let (log, table) = (MemoryLog::default(), table());
        let dlq = table.iter().find(|s| s.name == DLQ).unwrap();
        log.create(&TopicSpec { partitions: 7, ..dlq.clone() }).await.unwrap();
        let plan = plan(&log, &table).await.unwrap();
        for error in [apply(&log, &plan).await.unwrap_err(), verify(&log, &table).await.unwrap_err()] {
            let text = error.to_string();
            assert!(text.contains(DLQ) && text.contains("moves keys") && text.contains("partitions = 7"), "{text}");
        }
        assert_eq!(log.list().await.unwrap().len(), 1);
    }

    #[tokio::test]
    async fn apply_creates_what_is_missing_and_verify_names_what_still_is() {
        let (log, table) = (MemoryLog::default(), table());
        log.create(&table[1]).await.unwrap();
        let text = verify(&log, &table).await.unwrap_err().to_string();
        assert!(text.contains(&table[0].name) && text.contains("topics apply"), "{text}");
        assert!(!text.contains(&format!("{},", table[1].name)), "{text}");
        apply(&log, &plan(&log, &table).await.unwrap()).await.unwrap();
        assert_eq!(verify(&log, &table).await.unwrap(), []);
        assert!(plan(&log, &table).await.unwrap().is_fine());
    }
}
