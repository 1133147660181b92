//! Questions that are no list and no watch: whether the server knows a version, and whether we may do what it refused.

use super::line::Status;
use super::sweep::{Owed, Sweep};
use super::{Capture, Commit, Env, Lent, RETRY_AFTER_MAX, Response, State, Step, Then, Verb, WatchCore};
use crate::domain::rv::Rv;
use serde::Deserialize;
use std::time::Duration;

pub(super) struct Probing {
    pub(super) response: Response,
    pub(super) ended: bool,
}

pub(super) struct Reviewing {
    pub(super) response: Response,
    pub(super) ended: bool,
    pub(super) about: About,
}

/// What an access review is to decide.
pub(super) enum About {
    /// A list was refused; its reason.
    List(&'static str),
    /// A watch was refused.
    Watch,
    /// A probe was refused.
    Probe,
    /// Two lists agree that most of the kind is gone.
    MassDeletion(Box<Sweep>, &'static str),
}

/// A server that lags behind another gets that long to catch up before it is asked again.
const CATCH_UP: Duration = Duration::from_secs(1);

#[derive(Deserialize)]
struct Review {
    status: ReviewStatus,
}

#[derive(Deserialize)]
struct ReviewStatus {
    #[serde(default)]
    allowed: bool,
}

impl WatchCore {
    pub(super) fn probe(&mut self, capture: &Capture) {
        self.state = State::Probing(Probing { response: Response::default(), ended: false });
        self.send(Verb::Probe { rv: capture.position.clone() });
    }

    pub(super) fn review(&mut self, verb: &'static str, about: About) {
        self.state = State::Reviewing(Reviewing { response: Response::default(), ended: false, about });
        self.send(Verb::Review { verb });
    }

    pub(super) fn probed(&mut self, lent: Lent<'_>) -> Step {
        let State::Probing(probing) = &mut self.state else { return Step::Idle };
        let response = std::mem::take(&mut probing.response);
        let env = lent.env;
        let code = response.status.unwrap_or(0);
        let status: Status<'_> = serde_json::from_slice(&response.body).unwrap_or_default();
        let older = || match super::line::list_version(&response.body) {
            Some(rv) => rv.is_numeric() && rv < lent.capture.position,
            // Behind the cut it may say anything.
            None => response.is_cut,
        };
        match code {
            200 if !older() => {
                self.rewind_evidence = 0;
                let reason = "the server knows the version".into();
                self.state = State::Waiting { until: env.now, then: Then::Watch, parked: false, reason };
                return Step::Commit(Commit { probed: true, ..Commit::default() });
            }
            _ if code == 200 || status.is_too_large() => self.doubt_history(response.retry_after, env),
            401 | 429 => self.failed(
                format!("probe answered {code} {}", super::refusal(&status, &self.redactor)),
                response.retry_after,
                Then::Probe,
                env,
            ),
            // Servers that have just started refuse what they will allow: that is no reason for a list.
            403 => self.review("list", About::Probe),
            // The list that follows says what is wrong, and is refused in the same way if it is.
            400..=499 => self.relist(if code == 410 { "expired" } else { "version_refused" }, env),
            // A server that cannot list now may be able to watch; should versions have gone back while a watch was broken, its
            // bookmarks tell. What lies between two lives of the process is asked until it is answered.
            _ if self.rewind_evidence == 0 && !lent.capture.from_checkpoint => {
                self.probed_at = None;
                let reason = format!("probe answered {code} {}", super::refusal(&status, &self.redactor));
                self.failed(reason, response.retry_after, Then::Watch, env);
            }
            _ => self.failed(
                format!("probe answered {code} {}", super::refusal(&status, &self.redactor)),
                response.retry_after,
                Then::Probe,
                env,
            ),
        }
        Step::Again
    }

    /// The server does not know our version. Twice may be a server that lags; the newest list there is decides.
    fn doubt_history(&mut self, retry_after: Option<Duration>, env: Env) {
        self.rewind_evidence += 1;
        let reason = "the API server does not know the version that it gave us; asking again".to_owned();
        if self.rewind_evidence < 2 {
            let pause = retry_after.unwrap_or_default().max(CATCH_UP);
            self.failed(reason, Some(pause), Then::Probe, env);
        } else {
            // One more that agrees is needed.
            self.rewind_evidence = 1;
            let delay = self.backoff.next(env.chance);
            self.wait(delay, Then::List("history_rewound"), false, reason, env);
        }
    }

    /// Versions went back: is that still the history we know? One question for each position.
    pub(super) fn ask_whether_rewound(&mut self, position: &Rv, why: String, env: Env) {
        self.probed_at = Some(position.clone());
        self.failed(why, None, Then::Probe, env);
    }

    pub(super) fn reviewed(&mut self, lent: Lent<'_>) -> Step {
        let env = lent.env;
        let State::Reviewing(reviewing) = std::mem::replace(&mut self.state, State::Start) else { return Step::Idle };
        let response = reviewing.response;
        let allowed = match response.status {
            Some(200 | 201) => serde_json::from_slice::<Review>(&response.body).ok().map(|r| r.status.allowed),
            _ => None,
        };
        let passing = |verb: &str| format!("{verb} was refused (403), and rights were not the reason");
        match (reviewing.about, allowed) {
            (About::List(reason), Some(true)) => self.failed(passing("list"), None, Then::List(reason), env),
            (About::List(reason), _) => self.park(self.missing_right("list"), Then::List(reason), env),
            (About::Probe, Some(true)) => self.failed(passing("list"), None, Then::Probe, env),
            (About::Probe, _) => self.park(self.missing_right("list"), Then::Probe, env),
            (About::Watch, Some(true)) => self.failed(passing("watch"), None, Then::Watch, env),
            (About::Watch, _) => self.wait_for_poll(env),
            (About::MassDeletion(_, reason), Some(false)) => {
                self.asks.reset();
                self.park(self.missing_right("list"), Then::List(reason), env);
            }
            (About::MassDeletion(sweep, reason), None) if !matches!(response.status, Some(400..=428 | 430..=499)) => {
                // What the lists say stands. Only the answer is missing, and more lists would not give it.
                let retry_after = response.retry_after.unwrap_or_default().min(RETRY_AFTER_MAX);
                let ask_at = env.now + self.asks.next(env.chance).max(retry_after);
                return self.defer(Owed { sweep, cause: reason, ask_at }, lent);
            }
            // Two lists agree, and where nobody may ask for rights nothing speaks against them.
            (About::MassDeletion(sweep, _), _) => {
                self.asks.reset();
                return self.pay(*sweep, lent);
            }
        }
        Step::Again
    }

    /// Rights to list and none to watch.
    pub(super) fn wait_for_poll(&mut self, env: Env) {
        self.backoff.reset();
        let reason = format!("lists every {:?}: {}", self.config.poll_interval, self.missing_right("watch"));
        self.wait(self.config.poll_interval, Then::List("poll"), false, reason, env);
    }
}
