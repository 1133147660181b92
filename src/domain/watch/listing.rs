//! Lists, as the diff of what is known: how one begins, page by page or as the beginning of a watch, and its items.

use super::line::Page;
use super::sweep::Doubt;
use super::types::Rebasing;
use super::watching::Watching;
use super::{Capture, Commit, Env, Lent, ListMode, Notice, Response, State, Step, Then, Verb, WatchCore, poison};
use crate::domain::audit::Suspect;
use crate::domain::index::{ListContext, Name, Wire};
use crate::domain::kind::Tracking;
use crate::domain::redact::{self, DecodeError};
use crate::domain::rv::Rv;
use bytes::Bytes;
use std::collections::HashSet;
use std::sync::Arc;

#[derive(Default)]
pub(super) struct Listing {
    /// Why it is made; of a second list why the first one was.
    pub(super) cause: &'static str,
    pub(super) first: bool,
    /// Set in the second list after a suspected mass deletion.
    pub(super) doubt: Option<Doubt>,
    /// Objects known when it began.
    pub(super) known: usize,
    /// Version of the first page: what the whole list is as of.
    pub(super) rv: Option<Rv>,
    /// Version of the newest page: later than that of the first where the server went on with a token of its own.
    pub(super) newest: Rv,
    pub(super) response: Response,
    /// The page being digested.
    pub(super) page: Option<Digest>,
    pub(super) begun: bool,
    /// Token of the page that is asked for; `None` for the first.
    pub(super) next: Option<String>,
    pub(super) at_least: Option<Rv>,
    /// Objects asked for.
    pub(super) limit: u32,
    /// Why the page is asked for as metadata only.
    pub(super) metadata: Option<Metadata>,
    /// Failures of this page in a row, and how many of them were bodies that could not be read.
    pub(super) failures: u32,
    pub(super) garbled: u32,
    /// The server's own token was taken once: the pages behind it are newer than the first.
    pub(super) inconsistent: bool,
    pub(super) declared_inconsistent: bool,
    /// Not everything in it could be read or believed: nothing is concluded from what is missing.
    pub(super) partial: bool,
    pub(super) lied: bool,
    /// A gap that is declared before the first thing that is new: of a kind whose relists are mostly quiet.
    pub(super) gap: Option<&'static str>,
    pub(super) covers_suspects: bool,
}

/// A page, and how far it is digested.
#[derive(Default)]
pub(super) struct Digest {
    pub(super) body: Bytes,
    pub(super) page: Page,
    pub(super) cursor: usize,
    /// Not all of it was text: each byte that was none is replaced by U+FFFD.
    pub(super) is_forced: bool,
    /// Who was in it, where a second look at it may be needed.
    pub(super) uids: HashSet<Arc<str>>,
    pub(super) unidentified: usize,
}

pub(super) enum Metadata {
    /// The page itself was never readable: a stub for everything in it.
    Whole(&'static str),
    /// Some items had no identity. What the page's metadata shows beyond those that had gets a stub; then on behind it.
    Fill { uids: HashSet<Arc<str>>, left: usize, after: String },
}

impl WatchCore {
    pub(super) fn list(
        &mut self,
        reason: &'static str,
        doubt: Option<(Doubt, &'static str)>,
        capture: &Capture,
        env: Env,
    ) {
        self.notices.push(Notice::Relist(reason));
        let (doubt, cause) = match doubt {
            Some((doubt, cause)) => (Some(doubt), cause),
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
            at_least,
            ..Listing::default()
        };
        let as_stream = self.config.list == ListMode::WatchList && !self.no_watch_list && !self.by_pages;
        if as_stream && listing.doubt.is_none() && self.rewind_evidence == 0 && self.suspects.is_empty() {
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

    pub(super) fn next_item(&mut self, lent: Lent<'_>) -> Step {
        let State::Listing(l) = &mut self.state else { return Step::Idle };
        if !l.begun {
            let rv = l.page.as_ref().map(|p| p.page.rv.clone()).unwrap_or_default();
            return self.list_begins(Some(rv), lent);
        }
        if l.inconsistent && !l.declared_inconsistent && Some(&l.newest) > l.rv.as_ref() {
            // What happened between the two is seen as versions that these pages already hold later ones of.
            l.declared_inconsistent = true;
            // Without a position the versions that they replace may be older than the first page, and nobody has seen them.
            let from = l.rv.clone().filter(|_| !lent.capture.position.is_empty());
            let to = Some(l.newest.clone());
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
        // What was made text by force holds such characters where it is not to be trusted; elsewhere one may have been put in
        // place of what was no text long before: API servers do so themselves.
        let read = if digest.is_forced && raw.contains('\u{FFFD}') {
            Err(DecodeError::Json(0))
        } else {
            self.redactor.redact(raw)
        };
        match read {
            Ok(object) => match self.lie(object.get(), Some(&list.rv)) {
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

    pub(super) fn listed(
        &mut self,
        object: redact::Redacted<redact::Object>,
        list: &ListContext,
        lent: Lent<'_>,
    ) -> Step {
        let mut commit = self.report(Wire::Listed, object, Some(list), lent, None);
        if let State::Listing(l) = &mut self.state
            && !commit.records.is_empty()
            && let Some(reason) = l.gap.take()
        {
            // Of a kind whose end is a TTL: what came and expired in between nobody will ever hear of.
            // Of a second list: what lies between it and the first one.
            let from = l.doubt.as_ref().map(|doubt| doubt.rv.clone());
            let is_stream = from.is_none();
            let from = from.or_else(|| Some(lent.capture.position.clone()).filter(|rv| !rv.is_empty()));
            let epoch = lent.capture.history_epoch;
            let mut records = self.gap_between(reason, from, Some(list.rv.clone()), is_stream, epoch, lent);
            records.append(&mut commit.records);
            commit.records = records;
        }
        Step::Commit(commit)
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
        // An audit has proved that the log holds versions which the server's history never had, or has not come to. What it
        // says of those cannot be told from old news: only in a new history.
        let is_other = |rv: &Rv| {
            let is_ahead = |at: &Name| {
                capture.index.history_epoch(at) == Some(capture.history_epoch)
                    && capture.index.live(at).is_some_and(|(_, known)| known > rv)
            };
            self.suspects.iter().any(|(at, suspect)| *suspect == Suspect::Future || is_ahead(at))
        };
        rewound |= !is_confirm && rv.as_ref().is_some_and(is_other);
        // What was owed this list finds out anew.
        self.owed = None;
        let mut commit = Commit { begin_pass: true, probed: true, ..Commit::default() };
        let is_stream = self.kind().tracking() == Tracking::Stream;
        let newer = rv.as_ref().is_none_or(|rv| rv > position);
        let has_suspects = !self.suspects.is_empty();
        // A stub is known at the version that the list shows: a look whether it can be carried now explains nothing else.
        let differs = self.suspects.values().any(|suspect| *suspect != Suspect::Stub);
        if rewound {
            let epoch = capture.history_epoch + 1;
            self.notices.push(Notice::Rewound(epoch));
            commit.history_epoch = Some(epoch);
            // One version from the future moves the position out of the history; the list then shows where we really were.
            let is_believable =
                |from: &Rv| !from.is_empty() && rv.as_ref().is_some_and(|rv| from < rv && rv < position);
            let from = Some(&self.moved_from).filter(|from| is_believable(from)).unwrap_or(position);
            let from = Some(from.clone()).filter(|from| !from.is_empty());
            commit.records = self.gap_between("history_rewound", from, rv.clone(), is_stream, epoch, lent);
            // That list may have to begin again: the history it opened is the one then, and needs no other.
            commit.opened_at.clone_from(&rv);
            self.suspects.retain(|_, suspect| *suspect != Suspect::Future);
        } else if is_confirm {
            // The first one has declared what led to it.
            if let Some(l) = self.listing() {
                l.gap = l.doubt.as_ref().filter(|doubt| rv.as_ref() > Some(&doubt.rv)).map(|_| cause);
            }
        } else if position.is_empty() {
            if capture.no_checkpoint {
                commit.records = self.gap("no_checkpoint", rv.clone(), capture.index.is_empty(), lent);
            } else if let Some(from) = capture.opened_at.as_ref().filter(|from| rv.as_ref() > Some(from)) {
                commit.opened_at.clone_from(&rv);
                let epoch = capture.history_epoch;
                commit.records = self.gap_between(cause, Some(from.clone()), rv.clone(), is_stream, epoch, lent);
            }
        } else if cause == "poll" {
            if !std::mem::replace(&mut self.list_only, true) {
                commit.records = self.gap("list_only", None, false, lent);
            }
        } else if is_stream {
            if let Some(l) = self.listing() {
                l.gap = Some(cause);
            }
        } else if newer || differs {
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
}

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
    Digest::default()
}
