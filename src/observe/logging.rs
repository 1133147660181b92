//! The process' own log: to stderr, as text or as JSON lines, and never with what the API server sent.
//!
//! The filter of the settings may ask for everything, and libraries then say everything: kube's client writes whole response
//! bodies, and every failed request with its URL. What we have to say of a request we say ourselves, so those targets are
//! silent whatever the filter says: not a default that a level overrides, but a second filter behind it.

use tracing::{Metadata, Subscriber};
use tracing_subscriber::filter::{EnvFilter, FilterFn};
use tracing_subscriber::fmt::MakeWriter;
use tracing_subscriber::layer::{Layer, SubscriberExt as _};
use tracing_subscriber::registry::Registry;

/// Targets that see bodies before they are redacted.
const SILENT: &[&str] = &["kube", "kube_client", "kube_core", "kube_runtime"];

fn may_speak(metadata: &Metadata<'_>) -> bool {
    let krate = metadata.target().split("::").next().unwrap_or_default();
    !SILENT.contains(&krate)
}

/// A log behind that filter.
pub fn subscriber<W>(filter: EnvFilter, json: bool, colours: bool, writer: W) -> impl Subscriber + Send + Sync
where
    W: for<'w> MakeWriter<'w> + Send + Sync + 'static,
{
    let lines = tracing_subscriber::fmt::layer().with_writer(writer).with_ansi(colours);
    let lines: Box<dyn Layer<Registry> + Send + Sync> =
        if json { Box::new(lines.json().flatten_event(true)) } else { Box::new(lines) };
    Registry::default().with(lines).with(filter).with(FilterFn::new(may_speak))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    #[derive(Clone, Default)]
    struct Kept(Arc<Mutex<Vec<u8>>>);

    impl Write for Kept {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().expect("not poisoned").extend_from_slice(bytes);
            Ok(bytes.len())
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_filter_makes_the_client_that_sees_bodies_speak() {
        for filter in ["trace", "info", "kube_client=trace", "trace,kube_client::client=trace,kube_core=debug"] {
            for json in [false, true] {
                let kept = Kept::default();
                let writer = kept.clone();
                let log = subscriber(EnvFilter::new(filter), json, false, move || writer.clone());
                tracing::subscriber::with_default(log, || {
                    let span = tracing::error_span!(target: "kube_client::client::builder", "HTTP", body = "c4n4ry");
                    let _in_it = span.enter();
                    tracing::error!(target: "kube_client::client", "c4n4ry");
                    tracing::warn!(target: "kube_client", body = "c4n4ry", "refused");
                    tracing::error!(target: "kube_runtime::watcher", "c4n4ry");
                    tracing::error!(target: "agent_events", "we speak");
                });
                let said = String::from_utf8(kept.0.lock().expect("not poisoned").clone()).expect("UTF-8");
                assert!(!said.contains("c4n4ry"), "{filter}: {said}");
                assert!(said.contains("we speak") || filter == "kube_client=trace", "{filter}: {said}");
            }
        }
    }
}
