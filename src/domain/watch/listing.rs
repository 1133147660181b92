//! Lists: page by page, as the diff of what is known, with the deletes that they imply. Also those that come as the
//! beginning of a watch.

use super::asking::About;
use super::line::{self, Page, Status};
use super::types::Rebasing;
use super::watching::Watching;
use super::{
    Action, Capture, Commit, Env, Lent, ListMode, Notice, Response, State, Step, Then, Verb, WatchCore, poison, said,
};
use crate::domain::envelope::Observed;
use crate::domain::index::{ListContext, Loss, Note, Wire};
use crate::domain::kind::Tracking;
use crate::domain::redact::{self, DecodeError, Stub};
use crate::domain::rv::Rv;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct Listing {
    /// Why it is made; of a second list why the first one was.
    cause: &'static str,
    pub(super) first: bool,
    /// Set in the second list after a suspected mass deletion.
    doubt: Option<Doubt>,
    /// Objects known when it began.
    known: usize,
    /// Version of the first page: what the whole list is as of.
    rv: Option<Rv>,
    /// Version of the newest page: later than that of the first where the server went on with a token of its own.
    newest: Rv,
    pub(super) response: Response,
    /// The page being digested.
    pub(super) page: Option<Digest>,
    begun: bool,
    /// Token of the page that is asked for; `None` for the first.
    next: Option<String>,
    at_least: Option<Rv>,
    /// Objects asked for.
    limit: u32,
    /// Why the page is asked for as metadata only.
    metadata: Option<Metadata>,
    /// Failures of this page in a row, and how many of them were bodies that could not be read.
    failures: u32,
    garbled: u32,
    /// The server's own token was taken once: the pages behind it are newer than the first.
    inconsistent: bool,
    declared_inconsistent: bool,
    /// Not everything in it could be read or believed: nothing is concluded from what is missing.
    partial: bool,
    lied: bool,
    /// A gap that is declared before the first thing that is new: of a kind whose relists are mostly quiet.
    gap: Option<&'static str>,
    covers_suspects: bool,
}

/// A page, and how far it is digested.
pub(super) struct Digest {
    pub(super) body: Bytes,
    page: Page,
    cursor: usize,
    /// Who was in it, where a second look at it may be needed.
    uids: HashSet<Arc<str>>,
    unidentified: usize,
}

enum Metadata {
    /// The page itself was never readable: a stub for everything in it.
    Whole(&'static str),
    /// Some items had no identity. What the page's metadata shows beyond those that had gets a stub; then on behind it.
    Fill { uids: HashSet<Arc<str>>, left: usize, after: String },
}

/// What a first list missed, and its version.
struct Doubt {
    uids: HashSet<Arc<str>>,
    rv: Rv,
}

pub(super) struct Sweep {
    list: ListContext,
    /// Where the watch begins when all is done.
    position: Rv,
    gone: std::vec::IntoIter<Arc<str>>,
    observed: Observed,
    covers_suspects: bool,
    partial: bool,
    /// The watch whose beginning was the list.
    stream: Option<Box<Watching>>,
}

/// After so many unreadable bodies of a page of one object, or of the metadata of a page, that way is given up.
const GARBLED_MAX: u32 = 4;

impl WatchCore {
    pub(super) fn list(
        &mut self,
        reason: &'static str,
        doubt: Option<(Doubted, &'static str)>,
        capture: &Capture,
        env: Env,
    ) {
        self.notices.push(Notice::Relist(reason));
        let (doubt, cause) = match doubt {
            Some((Doubted(doubt), cause)) => (Some(doubt), cause),
            None => (None, reason),
        };
        // A second list is of no use if an older one is allowed to answer; and whether our version is known at all can only
        // be told by the newest there is.
        let newest = doubt.as_ref().map_or(&capture.position, |d| (&d.rv).max(&capture.position));
        let at_least = (!newest.is_empty() && self.rewind_evidence == 0).then(|| newest.clone());
        let listing = Listing {
            cause,
            // Without a position nothing is known of what was created since: everything is a snapshot.
            first: !capture.synced,
            doubt,
            known: 0,
            rv: None,
            newest: Rv::default(),
            response: Response::default(),
            page: None,
            begun: false,
            next: None,
            at_least,
            limit: 0,
            metadata: None,
            failures: 0,
            garbled: 0,
            inconsistent: false,
            declared_inconsistent: false,
            partial: false,
            lied: false,
            gap: None,
            covers_suspects: false,
        };
        let as_stream = self.config.list == ListMode::WatchList && !self.no_watch_list && !self.by_pages;
        if as_stream && listing.doubt.is_none() && self.rewind_evidence == 0 {
            return self.watch_list(Box::new(listing), env);
        }
        self.state = State::Listing(Box::new(listing));
        self.send_page();
    }

    fn watch_list(&mut self, listing: Box<Listing>, env: Env) {
        let (at_least, timeout_seconds) = (listing.at_least.clone(), self.watch_seconds(env));
        self.state = State::Watching(Box::new(Watching::beginning_with(listing, env)));
        self.send(Verb::WatchList { at_least, timeout_seconds });
    }

    /// Asks for the page that is due.
    pub(super) fn send_page(&mut self) {
        let State::Listing(l) = &mut self.state else { return };
        if !matches!(l.metadata, Some(Metadata::Fill { .. })) {
            l.limit = self.page_size;
        }
        l.response = Response::default();
        let at_least = if l.next.is_some() { None } else { l.at_least.clone() };
        let verb = Verb::List { limit: l.limit, next: l.next.clone(), at_least, metadata_only: l.metadata.is_some() };
        self.send(verb);
    }

    pub(super) fn list_ended(&mut self, env: Env) {
        let State::Listing(l) = &mut self.state else { return };
        if l.response.status != Some(200) {
            return self.list_refused(env);
        }
        let mut body = std::mem::take(&mut l.response).body.freeze();
        // One byte that is no text must not cost a whole page its objects. The first time it may have been an accident.
        if l.garbled > 0
            && let std::borrow::Cow::Owned(text) = String::from_utf8_lossy(&body)
        {
            body = text.into();
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
                self.page_failed(
                    format!("a list of {} came, and {} were asked for", word(&page.kind.0), self.kind().plural()),
                    None,
                    env,
                );
            }
            Ok(page) => {
                let State::Listing(l) = &mut self.state else { return };
                (l.failures, l.garbled) = (0, 0);
                l.newest = page.rv.clone().max(std::mem::take(&mut l.newest));
                l.page = Some(Digest { body, page, cursor: 0, uids: HashSet::new(), unidentified: 0 });
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
        let is_custom = group.contains('.') && !group.ends_with(".k8s.io");
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
                l.page = Some(Digest { uids, unidentified: 0, cursor: 0, body: Bytes::new(), page: Page::default() });
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
        let reason = format!("list answered {code} {}", said(&status));
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

    pub(super) fn next_item(&mut self, lent: Lent<'_>) -> Step {
        let State::Listing(l) = &mut self.state else { return Step::Idle };
        if !l.begun {
            let rv = l.page.as_ref().map(|p| p.page.rv.clone()).unwrap_or_default();
            return self.list_begins(Some(rv), lent);
        }
        if l.inconsistent && !l.declared_inconsistent && Some(&l.newest) > l.rv.as_ref() {
            // What happened between the two is seen as versions that these pages already hold later ones of.
            l.declared_inconsistent = true;
            let (from, to) = (l.rv.clone(), Some(l.newest.clone()));
            let records = self.gap_between("page_inconsistent", from, to, false, lent.capture.history_epoch, lent);
            return Step::Commit(Commit { records, ..Commit::default() });
        }
        let list = l.context();
        let Some(digest) = &mut l.page else { return Step::Idle };
        let Some(place) = digest.page.items.get(digest.cursor).cloned() else { return self.page_done(lent) };
        digest.cursor += 1;
        let body = digest.body.clone();
        let raw = std::str::from_utf8(&body[place]).unwrap_or_default();
        if let Some(metadata) = &mut l.metadata {
            let who = poison::identity(raw);
            let reason = match metadata {
                Metadata::Whole(reason) => reason,
                Metadata::Fill { uids, .. } if uids.contains(who.uid.as_str()) => return Step::Again,
                Metadata::Fill { left, .. } => {
                    *left = left.saturating_sub(usize::from(who.is_whole()));
                    "undecodable"
                }
            };
            return self.stand_in(&who, reason, raw.len(), &list, lent);
        }
        // What was made text by force holds such characters where it is not to be trusted.
        let read = if raw.contains('\u{FFFD}') { Err(DecodeError::Json(0)) } else { self.redactor.redact(raw) };
        match read {
            Ok(object) => match self.lie(object.get()) {
                Some(what) => {
                    let uid = object.get().uid.clone();
                    self.lied_in_list(what, Some(uid), lent)
                }
                None => {
                    if let State::Listing(l) = &mut self.state
                        && let Some(digest) = &mut l.page
                    {
                        digest.uids.insert(object.get().uid.clone());
                    }
                    self.listed(object, &list, lent)
                }
            },
            Err(DecodeError::WrongKind { .. }) => self.lied_in_list("wrong_kind", None, lent),
            Err(e) => {
                self.notices.push(Notice::Undecodable(format!("list item: {e}")));
                self.stand_in(&poison::identity(raw), "undecodable", raw.len(), &list, lent)
            }
        }
    }

    fn listed(&mut self, object: redact::Redacted<redact::Object>, list: &ListContext, lent: Lent<'_>) -> Step {
        let mut commit = self.report(Wire::Listed, object, Some(list), lent, None);
        if let State::Listing(l) = &mut self.state
            && !commit.records.is_empty()
            && let Some(reason) = l.gap.take()
        {
            let mut records = self.gap(reason, Some(list.rv.clone()), false, lent);
            records.append(&mut commit.records);
            commit.records = records;
        }
        Step::Commit(commit)
    }

    /// A stub for an item that cannot be read, if it can be told who it is.
    fn stand_in(
        &mut self,
        who: &poison::Identity,
        reason: &'static str,
        bytes: usize,
        list: &ListContext,
        lent: Lent<'_>,
    ) -> Step {
        let out_of_scope = self.scope.as_deref().is_some_and(|ns| ns != who.namespace);
        if who.is_whole() && !out_of_scope {
            let object = redact::stub(self.kind(), &who.borrowed(), Stub { reason, bytes });
            if let State::Listing(l) = &mut self.state
                && let Some(digest) = &mut l.page
            {
                digest.uids.insert(object.get().uid.clone());
            }
            return self.listed(object, list, lent);
        }
        if let State::Listing(l) = &mut self.state {
            match (&mut l.page, &l.metadata) {
                (Some(digest), None) => digest.unidentified += 1,
                _ => l.partial = true,
            }
        }
        // It is there, whatever it is: not to be taken for deleted.
        let notes = vec![Note::Seen(who.uid.as_str().into(), lent.env.wall_ms)];
        Step::Commit(Commit { notes, ..Commit::default() })
    }

    /// Something that cannot be true stands in a list: not taken, and nothing is concluded from what is missing.
    fn lied_in_list(&mut self, what: &'static str, uid: Option<Arc<str>>, lent: Lent<'_>) -> Step {
        self.notices.push(Notice::Lie(what));
        let State::Listing(l) = &mut self.state else { return Step::Idle };
        l.partial = true;
        let to = l.rv.clone();
        let declared = std::mem::replace(&mut l.lied, true);
        let records = if declared { Vec::new() } else { self.gap("server_lied", to, true, lent) };
        let notes = uid.map(|uid| Note::Seen(uid, lent.env.wall_ms)).into_iter().collect();
        Step::Commit(Commit { records, notes, ..Commit::default() })
    }

    fn page_done(&mut self, lent: Lent<'_>) -> Step {
        let State::Listing(l) = &mut self.state else { return Step::Idle };
        let Some(digest) = l.page.take() else { return Step::Idle };
        self.page_size = (self.page_size * 2).min(self.config.page_size.max(1));
        let next = match l.metadata.take() {
            Some(Metadata::Fill { left, after, .. }) => {
                l.partial |= left > 0;
                after
            }
            None if digest.unidentified > 0 => {
                let (uids, left, after) = (digest.uids, digest.unidentified, digest.page.next);
                l.metadata = Some(Metadata::Fill { uids, left, after });
                self.send_page();
                return Step::Idle;
            }
            _ => digest.page.next,
        };
        if !next.is_empty() {
            l.next = Some(next);
            self.send_page();
            return Step::Idle;
        }
        if l.partial && !l.lied {
            let to = l.rv.clone();
            l.lied = true;
            let records = self.gap("unreadable", to, true, lent);
            // Once more through here, for the end itself.
            if let State::Listing(l) = &mut self.state {
                l.page = Some(digest_of_nothing());
            }
            return Step::Commit(Commit { records, ..Commit::default() });
        }
        let State::Listing(listing) = std::mem::replace(&mut self.state, State::Start) else { return Step::Idle };
        self.list_done(*listing, None, lent)
    }

    /// The first page is here (of a list that comes as a stream, its first line): what it is, and the gap that it closes.
    pub(super) fn list_begins(&mut self, rv: Option<Rv>, lent: Lent<'_>) -> Step {
        let Lent { capture, env, .. } = lent;
        let position = &capture.position;
        let Some(l) = self.listing() else { return Step::Idle };
        let (cause, is_confirm) = (l.cause, l.doubt.is_some());
        let mut rewound = false;
        if let Some(rv) = rv.as_ref().filter(|_| !position.is_empty()) {
            if rv < position {
                self.rewind_evidence += 1;
                if self.rewind_evidence < 2 {
                    self.notices.push(Notice::Lie("version_backwards"));
                    let reason = format!("a list is as of version {rv}, older than {position}; asking again");
                    self.failed(reason, None, Then::List(cause), env);
                    return Step::Again;
                }
                rewound = true;
            } else if cause == "history_rewound" && self.rewind_evidence > 0 {
                self.rewind_evidence = 0;
                self.failed("a server lagged behind the one asked before".into(), None, Then::Watch, env);
                return Step::Commit(Commit { probed: true, ..Commit::default() });
            }
            self.rewind_evidence = 0;
        }
        let mut commit = Commit { begin_pass: true, probed: true, ..Commit::default() };
        let newer = rv.as_ref().is_none_or(|rv| rv > position);
        let has_suspects = !self.suspects.is_empty();
        if rewound {
            let epoch = capture.history_epoch + 1;
            self.notices.push(Notice::Rewound(epoch));
            commit.history_epoch = Some(epoch);
            commit.records = self.gap_at("history_rewound", rv.clone(), false, epoch, lent);
        } else if position.is_empty() {
            if capture.no_checkpoint {
                commit.records = self.gap("no_checkpoint", rv.clone(), capture.index.is_empty(), lent);
            }
        } else if cause == "poll" {
            if !std::mem::replace(&mut self.list_only, true) {
                commit.records = self.gap("list_only", None, false, lent);
            }
        } else if self.kind().tracking() == Tracking::Stream {
            if let Some(l) = self.listing() {
                l.gap = Some(cause);
            }
        } else if newer || has_suspects && !is_confirm {
            commit.records = self.gap(cause, rv.clone(), false, lent);
        }
        if capture.rebase.is_some() {
            commit.rebase = Rebasing::Begins;
        }
        let Some(l) = self.listing() else { return Step::Idle };
        if rewound {
            (l.cause, l.first) = ("history_rewound", false);
        }
        l.begun = true;
        l.rv = rv;
        l.known = capture.index.len();
        l.covers_suspects = has_suspects;
        Step::Commit(commit)
    }

    /// The list in progress, page by page or as a stream.
    fn listing(&mut self) -> Option<&mut Listing> {
        match &mut self.state {
            State::Listing(l) => Some(l),
            State::Watching(w) => w.initial.as_deref_mut(),
            _ => None,
        }
    }

    pub(super) fn list_done(&mut self, mut l: Listing, stream: Option<Box<Watching>>, lent: Lent<'_>) -> Step {
        let capture = lent.capture;
        self.by_pages = false;
        if stream.is_some() {
            self.unfinished = 0;
        }
        let (list, rv) = (l.context(), l.rv.clone().unwrap_or_default());
        let is_table = self.kind().tracking() == Tracking::Table;
        let missing =
            if is_table && !l.partial { capture.index.missing_as_of(&rv, capture.history_epoch) } else { Vec::new() };
        if l.gap.take().is_some() {
            self.notices.push(Notice::QuietRelist);
        }
        let suspicious = missing.len() * 2 > l.known && missing.len() >= self.config.doubt_from;
        if suspicious && l.doubt.is_none() {
            // Rights that shrink, or a stale server, look like this: believe only a second list.
            self.notices.push(Notice::MassDeletion { missing: missing.len(), known: l.known });
            let doubt = Doubted(Doubt { uids: missing.into_iter().collect(), rv });
            self.list("confirm", Some((doubt, l.cause)), capture, lent.env);
            return Step::Idle;
        }
        let (mut gone, mut position) = (missing, rv);
        let confirmed = l.doubt.is_some() && !gone.is_empty();
        if let Some(Doubt { uids, rv }) = &l.doubt {
            let missing = gone.len();
            gone.retain(|uid| uids.contains(uid));
            if gone.len() < missing {
                // What only the second list misses may have died between the two: the watch from the first one tells.
                position = position.min(rv.clone());
            }
        }
        let observed = match () {
            () if capture.rebase.is_some() => Observed::Descoped,
            () if self.config.selected => Observed::Selector,
            () => Observed::Inferred,
        };
        let (covers_suspects, partial) = (l.covers_suspects, l.partial);
        let sweep = Sweep { list, position, gone: gone.into_iter(), observed, covers_suspects, partial, stream };
        if confirmed {
            self.review("list", About::MassDeletion(Box::new(sweep), l.cause));
            return Step::Idle;
        }
        self.state = State::Sweeping(sweep);
        Step::Again
    }

    pub(super) fn next_gone(&mut self, lent: Lent<'_>) -> Step {
        let Lent { capture, writer, before, env } = lent;
        let State::Sweeping(sweep) = &mut self.state else { return Step::Idle };
        if let Some(uid) = sweep.gone.next() {
            let (mut writes, mut notes) = (Vec::new(), Vec::new());
            let loss = Loss {
                seen_at: sweep.list.rv.clone(),
                history_epoch: capture.history_epoch,
                wall_ms: env.wall_ms,
                observed: sweep.observed,
                reason: sweep.list.reason,
            };
            capture.index.gone(self.redactor.kind(), &uid, &loss, before, &mut writes, &mut notes);
            return Step::Commit(self.commit(writes, notes, None, writer, env));
        }
        let mut commit = Commit { position: Some(sweep.position.clone()), ..Commit::default() };
        if capture.rebase.is_some() {
            commit.rebase = Rebasing::Done;
        }
        if std::mem::take(&mut sweep.covers_suspects) {
            // Whom the list did not show and nobody knew to live: only the log thinks that it does.
            for at in self.suspects.drain().filter(|at| capture.index.live(at).is_none()) {
                let none = Rv::default();
                let epoch = capture.history_epoch;
                commit.records.push(writer.tombstone(&at.namespace, &at.name, "", &none, epoch, env.wall_ms));
            }
        }
        let (partial, stream) = (sweep.partial, sweep.stream.take());
        self.state = match stream {
            Some(stream) => {
                self.actions.push(Action::Listed);
                State::Watching(stream)
            }
            // The position is applied by the caller before the watch is opened from it.
            None => {
                let reason = "list is complete".into();
                State::Waiting { until: env.now, then: Then::Watch, parked: false, reason }
            }
        };
        if partial {
            // Deletes may be missing: a later list tells, ever less often while the server does not mend its ways.
            let delay = self.park.next(env.chance).max(Duration::from_secs(60));
            self.again_at = Some((env.now + delay, "unreadable"));
        } else {
            self.park.reset();
        }
        Step::Commit(commit)
    }
}

/// A suspicion, on its way to the second list.
pub(super) struct Doubted(Doubt);

impl Listing {
    pub(super) fn context(&self) -> ListContext {
        // What a later page misses was gone by that page's version, and a watch from the first page's reports it once more.
        ListContext { rv: self.newest.clone(), first: self.first, reason: self.cause }
    }

    pub(super) fn has_begun(&self) -> bool {
        self.begun
    }

    /// The version of a list that came as a stream is known at its end.
    pub(super) fn ends_at(&mut self, rv: Rv) {
        self.newest = rv.clone();
        self.rv = Some(rv);
    }

    /// The least that it may be as of.
    pub(super) fn at_least(&self) -> Rv {
        self.at_least.clone().unwrap_or_default()
    }

    pub(super) fn cause(&self) -> &'static str {
        self.cause
    }
}

fn digest_of_nothing() -> Digest {
    Digest { body: Bytes::new(), page: Page::default(), cursor: 0, uids: HashSet::new(), unidentified: 0 }
}

/// The server's word, shortened and without what would garble a terminal.
fn word(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(64).collect()
}
