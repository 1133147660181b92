//! What librdkafka says by itself, made bearable: it reports each error twice, repeats it for every broker and retry, and
//! never says that all is well again.

use super::errors::is_away;
use rdkafka::ClientContext;
use rdkafka::config::RDKafkaLogLevel;
use rdkafka::error::{KafkaError, RDKafkaErrorCode};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// What was under way when the connection broke still comes out of queues for a moment; it is no sign of life.
const ECHO: Duration = Duration::from_secs(1);

/// One client's view of the brokers; said once per change.
pub(super) struct Connection {
    /// `producer`, `reader`, `admin`.
    role: &'static str,
    bootstrap: String,
    /// Read for every record, so kept apart from the rest.
    away: AtomicBool,
    said: Mutex<Said>,
}

#[derive(Default)]
struct Said {
    away_since: Option<Instant>,
    last: String,
}

impl Connection {
    pub fn new(role: &'static str, bootstrap: &str) -> Self {
        Self { role, bootstrap: bootstrap.to_owned(), away: AtomicBool::new(false), said: Mutex::default() }
    }

    pub fn bootstrap(&self) -> &str {
        &self.bootstrap
    }

    /// A record was delivered or read: if the brokers were away, they are back.
    pub fn alive(&self) {
        if self.away.load(Ordering::Relaxed) {
            self.back(now());
        }
    }

    fn back(&self, now: Instant) {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(since) = said.away_since.filter(|since| now.duration_since(*since) >= ECHO) else { return };
        said.away_since = None;
        said.last.clear();
        self.away.store(false, Ordering::Relaxed);
        let seconds = now.duration_since(since).as_secs();
        tracing::info!(role = self.role, brokers = %self.bootstrap, seconds, "Kafka answers again");
    }

    /// Gives whether this was news.
    fn trouble(&self, now: Instant, code: Option<RDKafkaErrorCode>, reason: &str) -> bool {
        let mut said = self.said.lock().unwrap_or_else(PoisonError::into_inner);
        let (role, brokers) = (self.role, &self.bootstrap);
        if code.is_some_and(is_away) {
            if said.away_since.is_some() {
                return false;
            }
            said.away_since = Some(now);
            self.away.store(true, Ordering::Relaxed);
            tracing::warn!(role, %brokers, reason, "a Kafka broker is away; retrying");
            return true;
        }
        // Nothing is committed to the group, so that it is closed to us does not matter.
        if code == Some(RDKafkaErrorCode::GroupAuthorizationFailed) || said.last == reason {
            return false;
        }
        said.last = reason.to_owned();
        tracing::warn!(role, %brokers, reason, "Kafka reports an error; retrying");
        true
    }
}

impl ClientContext for Connection {
    fn log(&self, level: RDKafkaLogLevel, facility: &str, message: &str) {
        // That a reader starts over because its offset is gone is said nowhere else; the rest comes as an error as well.
        if facility == "OFFSET" && matches!(level, RDKafkaLogLevel::Warning) {
            tracing::warn!(role = self.role, message, "the reader's offset is gone");
        } else {
            tracing::debug!(target: "librdkafka", role = self.role, ?level, facility, message);
        }
    }

    fn stats_raw(&self, _statistics: &[u8]) {}

    fn error(&self, error: KafkaError, reason: &str) {
        self.trouble(now(), error.rdkafka_error_code(), reason);
    }
}

#[allow(clippy::disallowed_methods)] // An edge: when a broker went away is told to people only.
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests {
    use super::*;
    use RDKafkaErrorCode as Code;

    #[test]
    fn an_outage_is_news_once_however_often_it_is_reported() {
        let (connection, at) = (Connection::new("producer", "b:1"), now());
        let later = |seconds| at + Duration::from_secs(seconds);
        assert!(connection.trouble(at, Some(Code::BrokerTransportFailure), "b:1: refused"));
        for code in [Code::BrokerTransportFailure, Code::AllBrokersDown, Code::Resolve] {
            assert!(!connection.trouble(later(1), Some(code), "b:1: other words"));
        }
        connection.back(later(60));
        assert!(connection.trouble(later(61), Some(Code::BrokerTransportFailure), "b:1: refused"));
    }

    #[test]
    fn records_that_were_under_way_are_no_sign_of_life() {
        let (connection, at) = (Connection::new("reader", "b:1"), now());
        connection.trouble(at, Some(Code::BrokerTransportFailure), "x");
        connection.back(at + Duration::from_millis(10));
        assert!(connection.away.load(Ordering::Relaxed));
        connection.back(at + ECHO);
        assert!(!connection.away.load(Ordering::Relaxed));
    }

    #[test]
    fn other_errors_are_news_when_they_say_something_else() {
        let connection = Connection::new("reader", "b:1");
        assert!(connection.trouble(now(), Some(Code::TopicAuthorizationFailed), "topic a"));
        assert!(!connection.trouble(now(), Some(Code::TopicAuthorizationFailed), "topic a"));
        assert!(connection.trouble(now(), Some(Code::TopicAuthorizationFailed), "topic b"));
        assert!(!connection.trouble(now(), Some(Code::GroupAuthorizationFailed), "group"));
    }
}
