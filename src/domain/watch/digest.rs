//! Digesting what has arrived, one report at a time: an item of a page, a missing object, a line of the watch.

use super::line::{self, Line};
use super::{Capture, Commit, Env, HEALTHY, MASS_DELETION_MIN, Notice, State, Suspects, Sweep, Then, Verb, WatchCore};
use crate::domain::envelope::{Observed, Op, Writer};
use crate::domain::index::{self, Before, ListContext, Loss, Note, Outcome, Seen, Wire, Write};
use crate::domain::kind::Tracking;
use crate::domain::redact::{self, Object, Redacted};
use crate::domain::rv::Rv;

impl WatchCore {
    /// Digests the next report, if one is complete. `None` means that there is nothing more to do until the next input.
    /// The caller applies the commit to its lane and to `capture` before it calls again.
    pub fn next(&mut self, capture: &Capture, writer: &Writer, before: &dyn Before, env: Env) -> Option<Commit> {
        loop {
            let step = match &mut self.state {
                State::Listing(l) if l.page.is_some() => self.next_item(capture, writer, before, env),
                State::Sweeping(_) => self.next_gone(capture, writer, before, env),
                State::Watching(_) => self.next_line(capture, writer, before, env),
                _ => return None,
            };
            match step {
                Step::Commit(commit) => return Some(commit),
                Step::Again => {}
                Step::Idle => return None,
            }
        }
    }

    fn next_item(&mut self, capture: &Capture, writer: &Writer, before: &dyn Before, env: Env) -> Step {
        let State::Listing(l) = &mut self.state else { return Step::Idle };
        if !std::mem::replace(&mut l.begun, true) {
            l.known = capture.index.len();
            return Step::Commit(Commit { begin_pass: true, ..Commit::default() });
        }
        let Some((body, page, cursor)) = &mut l.page else { return Step::Idle };
        let list = ListContext { rv: l.rv.clone().unwrap_or_default(), first: l.first, reason: l.reason };
        if let Some(place) = page.items.get(*cursor) {
            *cursor += 1;
            let raw = std::str::from_utf8(&body[place.clone()]).unwrap_or_default();
            return match self.redactor.redact(raw) {
                Ok(object) => {
                    Step::Commit(self.report(Wire::Listed, object, Some(&list), capture, writer, before, env, None))
                }
                Err(e) => {
                    self.notices.push(Notice::Undecodable(format!("list item: {e}")));
                    self.failed(format!("an item of a list cannot be read: {e}"), None, env);
                    Step::Again
                }
            };
        }
        if !page.next.is_empty() {
            let next = Some(std::mem::take(&mut page.next));
            l.page = None;
            self.send(Verb::List { limit: self.config.page_size, next, at_least: None, metadata_only: false });
            return Step::Idle;
        }
        self.list_done(list, capture)
    }

    fn list_done(&mut self, list: ListContext, capture: &Capture) -> Step {
        let State::Listing(l) = &mut self.state else { return Step::Idle };
        let missing = if self.redactor.kind().tracking() == Tracking::Table {
            capture.index.missing_as_of(&list.rv, capture.history_epoch)
        } else {
            Vec::new()
        };
        let suspicious = missing.len() * 2 > l.known && missing.len() >= MASS_DELETION_MIN;
        if suspicious && l.suspects.is_none() {
            // Rights that shrink, or a stale server, look like this: believe only a second list.
            self.notices.push(Notice::MassDeletion { missing: missing.len(), known: l.known });
            let suspects = Suspects { uids: missing.into_iter().collect(), rv: list.rv };
            self.list("confirm", Some(suspects), capture);
            return Step::Idle;
        }
        let (mut gone, mut position) = (missing, list.rv.clone());
        if let Some(Suspects { uids, rv }) = &l.suspects {
            let missing = gone.len();
            gone.retain(|uid| uids.contains(uid));
            if gone.len() < missing {
                // What only the second list misses may have died between the two: the watch from the first one tells.
                position = position.min(rv.clone());
            }
        }
        self.state = State::Sweeping(Sweep { list, position, gone: gone.into_iter() });
        Step::Again
    }

    fn next_gone(&mut self, capture: &Capture, writer: &Writer, before: &dyn Before, env: Env) -> Step {
        let State::Sweeping(sweep) = &mut self.state else { return Step::Idle };
        let Some(uid) = sweep.gone.next() else {
            let position = Some(sweep.position.clone());
            self.park.reset();
            // The position is applied by the caller before the watch is opened from it.
            self.state =
                State::Waiting { until: env.now, then: Then::Watch, parked: false, reason: "list is complete".into() };
            return Step::Commit(Commit { position, ..Commit::default() });
        };
        let (mut writes, mut notes) = (Vec::new(), Vec::new());
        let loss = Loss {
            seen_at: sweep.list.rv.clone(),
            history_epoch: capture.history_epoch,
            wall_ms: env.wall_ms,
            observed: Observed::Inferred,
            reason: sweep.list.reason,
        };
        capture.index.gone(self.redactor.kind(), &uid, &loss, before, &mut writes, &mut notes);
        Step::Commit(self.commit(writes, notes, None, writer, env))
    }

    fn next_line(&mut self, capture: &Capture, writer: &Writer, before: &dyn Before, env: Env) -> Step {
        let State::Watching(w) = &mut self.state else { return Step::Idle };
        let Some(length) = w.buffer[w.searched..].iter().position(|b| *b == b'\n').map(|i| w.searched + i) else {
            w.searched = w.buffer.len();
            if w.buffer.len() > self.config.max_line {
                let reason = format!("a watch line is longer than {} bytes", self.config.max_line);
                self.notices.push(Notice::Undecodable(reason.clone()));
                self.failed(reason, None, env);
                return Step::Idle;
            }
            if let Some(ended) = w.ended.take() {
                self.watch_ended(ended, env);
            }
            return Step::Idle;
        };
        let line = w.buffer.split_to(length + 1);
        w.searched = 0;
        let text = line[..length].trim_ascii();
        if text.is_empty() {
            return Step::Again;
        }
        w.events += 1;
        if w.events == 1 || env.now.saturating_sub(w.since) >= HEALTHY {
            self.park.reset();
        }
        if env.now.saturating_sub(w.since) >= HEALTHY {
            self.backoff.reset();
        }
        let read = std::str::from_utf8(text).map_err(|e| redact::DecodeError::Json(e.valid_up_to()));
        match read.and_then(|text| line::read_line(&self.redactor, text)) {
            Ok(Line::Event(wire, object)) => {
                let position = Some(object.get().rv.clone());
                Step::Commit(self.report(wire, object, None, capture, writer, before, env, position))
            }
            Ok(Line::Bookmark(rv)) => Step::Commit(Commit { position: Some(rv), ..Commit::default() }),
            Ok(Line::Error { code: 410, .. }) => {
                self.relist("expired", env);
                Step::Idle
            }
            Ok(Line::Error { code, reason }) => {
                self.failed(format!("the watch ended with {code} {reason}"), None, env);
                Step::Idle
            }
            Err(e) => {
                // Never skipped: the next version would advance the position past it. Resume from the last good one.
                self.notices.push(Notice::Undecodable(format!("watch line: {e}")));
                self.failed(format!("a watch line behind version {} cannot be read: {e}", capture.position), None, env);
                Step::Idle
            }
        }
    }

    #[allow(clippy::too_many_arguments)]
    fn report(
        &mut self,
        wire: Wire,
        object: Redacted<Object>,
        list: Option<&ListContext>,
        capture: &Capture,
        writer: &Writer,
        before: &dyn Before,
        env: Env,
        position: Option<Rv>,
    ) -> Commit {
        self.notices.push(Notice::Received);
        if let Some(stub) = &object.get().stub {
            self.notices.push(Notice::Stubbed(stub.reason));
        }
        let seen = Seen {
            list,
            history_epoch: capture.history_epoch,
            wall_ms: env.wall_ms,
            selected: self.config.selected,
            suspect: false,
        };
        let Outcome { writes, notes, filtered } = match self.kind().tracking() {
            Tracking::Table => capture.index.reported(self.kind(), wire, object, seen, before),
            Tracking::Stream => index::streamed(wire, object, &capture.position, seen),
        };
        if let Some(reason) = filtered {
            self.notices.push(Notice::Filtered(reason));
        }
        self.commit(writes, notes, position, writer, env)
    }

    fn commit(
        &mut self,
        writes: Vec<Write>,
        notes: Vec<Note>,
        position: Option<Rv>,
        writer: &Writer,
        env: Env,
    ) -> Commit {
        let mut commit = Commit { notes, position, ..Commit::default() };
        for write in writes {
            match write {
                Write::Change(mut change) => {
                    if change.observed == Observed::Inferred {
                        self.notices.push(Notice::Inferred);
                    }
                    let mut record = writer.record(&change, env.wall_ms);
                    if record.size() > self.config.max_record && change.before.is_some() {
                        change.before = None;
                        change.op = Op::Read;
                        record = writer.record(&change, env.wall_ms);
                    }
                    if record.size() > self.config.max_record {
                        self.notices.push(Notice::Stubbed("too_large"));
                        change.object = redact::too_large(&change.object, writer.kind());
                        record = writer.record(&change, env.wall_ms);
                    }
                    commit.records.push(record);
                    if change.op != Op::Delete {
                        commit.versions.push(change.object);
                    }
                }
                Write::Tombstone { namespace, name, uid, rv, history_epoch } => {
                    commit.records.push(writer.tombstone(&namespace, &name, &uid, &rv, history_epoch, env.wall_ms));
                }
            }
        }
        commit
    }
}

enum Step {
    Commit(Commit),
    Again,
    Idle,
}
