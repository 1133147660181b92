//! From a report to a commit: what it changes, the records of that, and the gaps that are declared.

use super::{Commit, Env, Lent, Notice, WatchCore};
use crate::domain::audit::Suspect;
use crate::domain::envelope::{Op, Writer};
use crate::domain::gap::Gap;
use crate::domain::index::{self, ListContext, Name, Note, Outcome, Seen, Wire, Write};
use crate::domain::kind::Tracking;
use crate::domain::record::OutRecord;
use crate::domain::redact::{self, Object, Redacted};
use crate::domain::rv::Rv;

impl WatchCore {
    pub(super) fn report(
        &mut self,
        wire: Wire,
        object: Redacted<Object>,
        list: Option<&ListContext>,
        lent: Lent<'_>,
        position: Option<Rv>,
    ) -> Commit {
        self.notices.push(Notice::Received);
        if !self.config.counts(&object.get().namespace) {
            self.notices.push(Notice::Filtered("namespace"));
            return self.commit(Vec::new(), Vec::new(), position, lent.writer, lent.env);
        }
        let stub = object.get().stub.as_ref().map(|stub| stub.reason);
        let suspect = list.is_some() && !self.suspects.is_empty() && {
            let o = object.get();
            let suspect = self.suspects.get(&Name { namespace: o.namespace.clone(), name: o.name.clone() });
            // Of a stub the index knows it: written anew it is only as the object that it stands for.
            suspect.is_some_and(|suspect| *suspect != Suspect::Stub)
        };
        let uid = object.get().uid.clone();
        let Outcome { writes, notes, filtered, mends } = self.outcome(wire, object, list, suspect, lent);
        match filtered {
            Some(reason) => self.notices.push(Notice::Filtered(reason)),
            None => self.notices.extend(stub.map(Notice::Stubbed)),
        }
        let told = self.notices.len();
        let commit = self.commit(writes, notes, position, lent.writer, lent.env);
        if mends && commit.versions.iter().any(|version| version.get().stub.is_some()) {
            // It stands in the log so already, at this version.
            self.notices.truncate(told);
            self.notices.push(Notice::Filtered("known"));
            let notes = vec![Note::Seen(uid, lent.env.wall_ms)];
            return Commit { notes, position: commit.position, ..Commit::default() };
        }
        commit
    }

    /// What a report would change.
    pub(super) fn outcome(
        &self,
        wire: Wire,
        object: Redacted<Object>,
        list: Option<&ListContext>,
        suspect: bool,
        lent: Lent<'_>,
    ) -> Outcome {
        let Lent { capture, before, env, .. } = lent;
        let (history_epoch, wall_ms, selected) = (capture.history_epoch, env.wall_ms, self.config.selected);
        // Written anew: also what was reported before the position.
        let beginning = Rv::default();
        let anew = capture.rebase.is_some() && list.is_some() && self.kind().tracking() == Tracking::Stream;
        let position = if anew { &beginning } else { &capture.position };
        let seen = Seen { list, position, history_epoch, wall_ms, selected, suspect };
        match self.kind().tracking() {
            Tracking::Table => capture.index.reported(self.kind(), wire, object, seen, before),
            Tracking::Stream => index::streamed(wire, object, seen),
        }
    }

    pub(super) fn commit(
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
                    if change.inference.is_some() {
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
                        let Object { uid, stub, .. } = change.object.get();
                        let live = commit.notes.iter_mut().filter_map(|note| match note {
                            Note::Live { uid: of, stub, .. } if of == uid => Some(stub),
                            _ => None,
                        });
                        live.for_each(|is| *is = stub.clone().map(Box::new));
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

    /// The records of a gap from the position on.
    pub(super) fn gap(
        &mut self,
        reason: &'static str,
        to: Option<Rv>,
        deletes_unknown: bool,
        lent: Lent<'_>,
    ) -> Vec<OutRecord> {
        self.gap_at(reason, to, deletes_unknown, lent.capture.history_epoch, lent)
    }

    pub(super) fn gap_at(
        &mut self,
        reason: &'static str,
        to: Option<Rv>,
        deletes_unknown: bool,
        history_epoch: u64,
        lent: Lent<'_>,
    ) -> Vec<OutRecord> {
        let from = Some(lent.capture.position.clone()).filter(|rv| !rv.is_empty());
        self.gap_between(reason, from, to, deletes_unknown, history_epoch, lent)
    }

    pub(super) fn gap_between(
        &mut self,
        reason: &'static str,
        from: Option<Rv>,
        to: Option<Rv>,
        deletes_unknown: bool,
        history_epoch: u64,
        lent: Lent<'_>,
    ) -> Vec<OutRecord> {
        self.notices.push(Notice::Gap(reason));
        let (kind, scope, seen_ms) = (self.kind().id(), self.scope.clone(), lent.env.wall_ms);
        Gap { kind, scope, from, to, reason, deletes_unknown, history_epoch, seen_ms }.records(lent.writer)
    }

    /// What cannot be true of an object, if anything: a word from a closed set. `list`: the version that a list is as of
    /// which shows it.
    pub(super) fn lie(&self, object: &Object, list: Option<&Rv>) -> Option<&'static str> {
        if self.scope.as_deref().is_some_and(|ns| ns != &*object.namespace) {
            return Some("wrong_namespace");
        }
        if !object.rv.is_numeric() {
            return Some("version_not_numeric");
        }
        // Taken, it would hide every true change of the object until the cluster came to that version.
        list.is_some_and(|list| object.rv > *list).then_some("version_ahead_of_list")
    }
}
