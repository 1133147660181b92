//! What Kafka's errors mean to a person: is it away, or does it refuse, and what to do.

use crate::log::LogError;
use rdkafka::error::{KafkaError, RDKafkaErrorCode as Code};

/// Whether the error says that no broker could be asked, so that asking again may help.
pub(super) fn is_away(code: Code) -> bool {
    matches!(
        code,
        Code::BrokerTransportFailure
            | Code::AllBrokersDown
            | Code::OperationTimedOut
            | Code::RequestTimedOut
            | Code::TimedOutQueue
            | Code::NetworkException
            | Code::Resolve
            | Code::WaitingForCoordinator
    )
}

/// Whether the error passes by itself within a moment: leaders move, and a topic just created is not known everywhere.
pub(super) fn is_passing(code: Code) -> bool {
    matches!(
        code,
        Code::NotLeaderForPartition
            | Code::LeaderNotAvailable
            | Code::ReplicaNotAvailable
            | Code::BrokerNotAvailable
            | Code::UnknownTopicOrPartition
            | Code::FencedLeaderEpoch
            | Code::UnknownLeaderEpoch
            | Code::OffsetNotAvailable
            | Code::KafkaStorageError
    )
}

/// The error of `doing` something (`"creating topic x"`) at the brokers `at`, with its remedy.
pub(super) fn explain(at: &str, doing: &str, error: &KafkaError) -> LogError {
    match error.rdkafka_error_code() {
        Some(code) if is_away(code) => {
            let why = format!("{doing}: {code}; check kafka.bootstrap, the network and that the brokers run");
            LogError::Unreachable(at.to_owned(), why)
        }
        Some(code) => LogError::Refused(format!("{doing} at {at}: {code}; {}", remedy(code))),
        None => LogError::Refused(format!("{doing} at {at}: {error}")),
    }
}

pub(super) fn remedy(code: Code) -> &'static str {
    match code {
        Code::UnknownTopicOrPartition | Code::UnknownTopic | Code::UnknownPartition => {
            "create the topic with `agent-events topics apply`"
        }
        Code::TopicAuthorizationFailed => {
            "grant the user of kafka.librdkafka READ, WRITE, DESCRIBE and DESCRIBE_CONFIGS on the topic (CREATE to create it)"
        }
        Code::ClusterAuthorizationFailed => {
            "grant CREATE on the cluster, or create the topics by hand and set topics.create = \"never\""
        }
        Code::GroupAuthorizationFailed => "nothing is committed to the group: this can be ignored",
        Code::InvalidReplicationFactor => "there are fewer brokers than replicas wanted: lower topics.replication",
        Code::InvalidConfig | Code::InvalidPartitions => "correct the topic's table under [topics]",
        Code::PolicyViolation => "the cluster's create policy refuses it: adapt [topics], or create the topic by hand",
        Code::InvalidTopic => "topic names have 1-249 of [A-Za-z0-9._-]: correct topics.prefix",
        Code::MessageSizeTooLarge => "raise max.message.bytes of the topic, or publisher.max_record_bytes",
        Code::Authentication | Code::SaslAuthenticationFailed => {
            "check the user, the password and sasl.mechanism under kafka.librdkafka"
        }
        Code::SSL => "check security.protocol and the ssl.* settings under kafka.librdkafka",
        _ => "see the broker's log",
    }
}
