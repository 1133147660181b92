//! What we ask of the API server, as metrics.

use crate::kubernetes::polite::Traffic;
use crate::observe::metrics::{ApiRequest, Metrics};
use std::sync::Arc;
use std::time::Duration;

/// Counts requests.
pub(super) struct ApiTraffic(pub(super) Arc<Metrics>);

impl Traffic for ApiTraffic {
    fn answered(&self, verb: &'static str, status: u16) {
        let code = if status == 0 { "none".to_owned() } else { status.to_string() };
        self.0.api_requests.get_or_create(&ApiRequest { verb: verb.into(), code }).inc();
    }

    fn waited(&self, time: Duration) {
        self.0.api_throttled.inc();
        self.0.api_throttled_seconds.inc_by(time.as_secs_f64());
    }
}
