//! The pages of a list: asking for them, and what is done when one is refused, does not come, or cannot be read.

use super::asking::About;
use super::line::{self, Page, Status};
use super::listing::{Digest, Metadata};
use super::{Env, Notice, Response, State, Then, Verb, WatchCore, refusal};
use crate::domain::redact::DecodeError;
use crate::domain::said;
use std::time::Duration;

/// After so many unreadable bodies of a page of one object, or of the metadata of a page, that way is given up.
const GARBLED_MAX: u32 = 4;

impl WatchCore {
    /// Asks for the page that is due.
    pub(super) fn send_page(&mut self) {
        let State::Listing(l) = &mut self.state else { return };
        if !matches!(l.metadata, Some(Metadata::Fill { .. })) {
            l.limit = self.page_size;
        }
        l.response = Response::default();
        let at_least = if l.next.is_some() { None } else { l.at_least.clone() };
        let verb = Verb::List { limit: l.limit, next: l.next.clone(), at_least };
        let as_metadata = l.metadata.is_some() || self.redactor.metadata_only();
        self.ask(verb, as_metadata);
    }

    pub(super) fn list_ended(&mut self, env: Env) {
        let State::Listing(l) = &mut self.state else { return };
        if l.response.status != Some(200) {
            return self.list_refused(env);
        }
        let mut body = std::mem::take(&mut l.response).body.freeze();
        let mut is_forced = false;
        // One byte that is no text must not cost a whole page its objects. The first time it may have been an accident.
        if l.garbled > 0
            && let std::borrow::Cow::Owned(text) = String::from_utf8_lossy(&body)
        {
            body = text.into();
            is_forced = true;
        }
        let read = std::str::from_utf8(&body)
            .map_err(|e| DecodeError::Json(e.valid_up_to()))
            .and_then(line::read_page)
            .and_then(
                |page| if page.rv.is_numeric() { Ok(page) } else { Err(DecodeError::Missing("resourceVersion")) },
            );
        match read {
            Ok(page) if self.is_foreign(&page) => {
                self.notices.push(Notice::Lie("wrong_kind"));
                let what = said::name(&page.kind.0, self.redactor.hides_values());
                self.page_failed(
                    format!("a list of {what} came, and {} were asked for", self.kind().plural()),
                    None,
                    env,
                );
            }
            Ok(page) => {
                let State::Listing(l) = &mut self.state else { return };
                (l.failures, l.garbled) = (0, 0);
                l.newest = page.rv.clone().max(std::mem::take(&mut l.newest));
                l.page = Some(Digest { body, page, is_forced, ..Digest::default() });
            }
            Err(e) => {
                self.notices.push(Notice::Undecodable(format!("list page: {e}")));
                if let State::Listing(l) = &mut self.state {
                    l.garbled += 1;
                }
                self.page_failed(format!("a list page cannot be read: {e}"), None, env);
            }
        }
    }

    /// Whether the list says that it is of another kind. CRDs may call their lists as they like.
    fn is_foreign(&self, page: &Page) -> bool {
        let (kind, api_version) = &page.kind;
        let generic = ["", "List", "PartialObjectMetadataList"].contains(&kind.as_str());
        let ours = kind.strip_suffix("List") == Some(self.kind().name());
        let group = self.kind().group();
        // Groups that end in k8s.io are open to custom kinds too; each item says what it is.
        let is_custom = group.contains('.');
        !(generic || ours || is_custom && *api_version == self.kind().api_version())
    }

    pub(super) fn page_too_large(&mut self, env: Env) {
        let State::Listing(l) = &mut self.state else { return };
        let reason = format!("a list page is larger than {} bytes", self.config.max_page);
        if l.limit <= 1 && l.metadata.is_none() {
            l.metadata = Some(Metadata::Whole("too_long"));
        }
        // The failure halves it once more where it is the second in a row.
        self.page_size = (self.page_size / 2).max(1);
        self.page_failed(reason, None, env);
    }

    /// A page did not come, or not in a form that can be used: the same page again, in the end in smaller pieces.
    pub(super) fn page_failed(&mut self, reason: String, retry_after: Option<Duration>, env: Env) {
        let State::Listing(mut l) = std::mem::replace(&mut self.state, State::Start) else { return };
        l.response = Response::default();
        l.failures += 1;
        // Whoever garbles a page stands alone in the end: only its own contents are lost.
        let cornered = l.metadata.is_none() && l.garbled > 1;
        let smallest = if cornered { 1 } else { (self.config.page_size / 10).max(1).min(self.page_size) };
        if cornered || l.failures % 2 == 0 {
            self.page_size = (self.page_size / 2).max(smallest);
        }
        match &mut l.metadata {
            Some(Metadata::Fill { uids, left, .. }) => {
                // Nothing helps these: on to the next page, and a gap says that they are missing.
                l.partial = *left > 0 || l.partial;
                let uids = std::mem::take(uids);
                l.page = Some(Digest { uids, ..Digest::default() });
                self.notices.push(Notice::Undecodable(format!("metadata of a list page: {reason}")));
                self.state = State::Listing(l);
                self.close();
                return;
            }
            None if l.garbled >= GARBLED_MAX && l.limit <= 1 => {
                l.metadata = Some(Metadata::Whole("undecodable"));
                l.garbled = 0;
            }
            Some(Metadata::Whole(_)) if l.garbled >= GARBLED_MAX => {
                // Not even that: from the first page on.
                let cause = l.cause;
                self.trouble = Some(reason);
                return self.relist(cause, env);
            }
            None if cornered && l.limit > 1 => {
                self.notices.push(Notice::Undecodable(reason.clone()));
                return self.wait(Duration::ZERO, Then::Page(l), false, reason, env);
            }
            _ => {}
        }
        self.failed(reason, retry_after, Then::Page(l), env);
    }

    fn list_refused(&mut self, env: Env) {
        let State::Listing(l) = &mut self.state else { return };
        let response = std::mem::take(&mut l.response);
        let (cause, code) = (l.cause, response.status.unwrap_or(0));
        let status: Status<'_> = serde_json::from_slice(&response.body).unwrap_or_default();
        let reason = format!("list answered {code} {}", refusal(&status, &self.redactor));
        match code {
            _ if matches!(l.metadata, Some(Metadata::Fill { .. })) && code != 429 => {
                self.page_failed(reason, None, env);
            }
            410 => match status.inconsistent_token().filter(|_| l.next.is_some() && !l.inconsistent) {
                Some(token) => {
                    l.inconsistent = true;
                    l.next = Some(token);
                    self.send_page();
                }
                None => self.relist("page_expired", env),
            },
            403 => self.review("list", About::List(cause)),
            404 => self.not_served(Then::List(cause), env),
            401 | 429 => {
                let State::Listing(l) = std::mem::replace(&mut self.state, State::Start) else { return };
                self.failed(reason, response.retry_after, Then::Page(l), env);
            }
            _ if status.is_too_large() => {
                // It does not know our version: the newest there is shows whether it only lags.
                self.rewind_evidence = 1;
                self.failed(reason, response.retry_after, Then::List(cause), env);
            }
            _ => self.page_failed(reason, response.retry_after, env),
        }
    }
}
