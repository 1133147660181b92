//! What stands behind the lane: the publisher, its producer and the broker; and a killed process that starts anew.

use super::Mutant;
use super::log::Fold;
use super::world::{Process, World};
use crate::domain::ack::Outcome;
use crate::domain::watch::tests::*;
use crate::domain::{envelope, redact};
use std::collections::VecDeque;

/// What makes the last offset of a key say what the fold says: its version once more, or its tombstone.
fn again(writer: &Writer, at: &Name, uid: &str, rv: &Rv, alive: bool) -> OutRecord {
    if !alive {
        return writer.tombstone(&at.namespace, &at.name, uid, rv, 0, 0);
    }
    let identity = redact::Identity { namespace: &at.namespace, name: &at.name, uid, rv };
    let object = redact::last_known(writer.kind(), &identity, None);
    let (op, observed) = (Op::Read, Observed::Resume);
    writer.record(
        &envelope::Change {
            op,
            observed,
            snapshot: false,
            list_rv: None,
            inference: None,
            history_epoch: 0,
            before: None,
            object,
        },
        0,
    )
}

impl World {
    /// What publisher, producer and broker do.
    pub(super) fn publish(&mut self) {
        let slow = self.faults && self.rng.one_in(3);
        if !slow {
            for (record, token) in self.process.lane.take(1 + self.rng.below(6) as usize, usize::MAX) {
                let queue = record.partition as usize;
                if self.rules.mutant == Some(Mutant::AckOnEnqueue) {
                    let dropped = self.fault(30, "a record");
                    token.settle(Outcome::Acked { partition: 0, offset: 0 });
                    if !dropped {
                        self.log.append(&record);
                    }
                } else {
                    self.process.queues[queue].push_back((record, token));
                }
            }
        }
        for partition in 0..self.process.queues.len() {
            for _ in 0..self.rng.below(4) {
                if self.fault(60, "a record") {
                    return self.producer_fails();
                }
                let Some((record, token)) = self.process.queues[partition].pop_front() else { break };
                self.log.append(&record);
                self.process.unacked.push(token);
            }
        }
        // Acks come late, and of different partitions in any order.
        while !self.process.unacked.is_empty() {
            if self.faults && self.rng.one_in(4) {
                break;
            }
            let at = self.rng.below(self.process.unacked.len() as u64) as usize;
            self.process.unacked.swap_remove(at).settle(Outcome::Acked { partition: 0, offset: 0 });
        }
    }

    /// A record was refused for good: that is fatal for its producer, and nothing behind it is written.
    fn producer_fails(&mut self) {
        self.unknown_outcomes();
        for queue in std::mem::take(&mut self.process.queues) {
            for (_, token) in queue {
                token.settle(Outcome::Failed("refused".into()));
            }
            self.process.queues.push(VecDeque::new());
        }
    }

    pub(super) fn publisher_dies(&mut self) {
        self.unknown_outcomes();
        self.process.queues.iter_mut().for_each(VecDeque::clear);
    }

    /// Where outcomes may be unknown, a part of what is under way reaches the log and nobody hears of it; else the
    /// delivery reports of what is written still come.
    fn unknown_outcomes(&mut self) {
        if self.rules.unknown_outcomes {
            self.land();
            self.process.unacked.clear();
        }
        for token in std::mem::take(&mut self.process.unacked) {
            token.settle(Outcome::Acked { partition: 0, offset: 0 });
        }
    }

    /// Requests that are in the socket arrive whatever becomes of their sender: of each partition a first part.
    fn land(&mut self) {
        for queue in &self.process.queues {
            let n = self.rng.below(queue.len() as u64 + 1) as usize;
            queue.iter().take(n).for_each(|(record, _)| self.log.append(record));
        }
    }

    /// The process is killed and starts anew: only the log and the checkpoint are left (§6 of the design).
    pub(super) fn process_dies(&mut self) {
        self.check_accounts();
        self.land();
        self.epoch += 1;
        let Fold { live, dead, ends, unburied, shadowed } =
            self.log.fold(self.rules.mutant != Some(Mutant::LastOffsetWins));
        let mut capture = Capture {
            position: self.checkpoint.clone().unwrap_or_default().rv,
            synced: self.checkpoint.is_some(),
            from_checkpoint: self.checkpoint.is_some(),
            no_checkpoint: self.checkpoint.is_none(),
            ..Capture::default()
        };
        for (at, uid, rv) in live {
            capture.index.restore_live(at, uid, rv, 0);
        }
        if self.rules.mutant != Some(Mutant::ForgetTheDead) {
            for (uid, rv) in dead {
                capture.index.restore_dead(uid, rv, 0);
            }
            for (at, last) in ends {
                capture.index.restore_end(at, last, 0);
            }
            // Their tombstones are written now, so there these names end.
            for (at, _, rv) in &unburied {
                capture.index.restore_end(at.clone(), rv.clone(), 0);
            }
        }
        self.process = Process::new(self.epoch, capture);
        let p = &mut self.process;
        let tombstones =
            unburied.iter().map(|(at, uid, rv)| p.writer.tombstone(&at.namespace, &at.name, uid, rv, 0, 0));
        p.lane.push(tombstones, None);
        for (at, uid, rv, alive) in shadowed {
            p.lane.push([again(&p.writer, &at, &uid, &rv, alive)], None);
        }
        for _ in 0..[0, 0, 3, 20][self.rng.below(4) as usize] {
            self.api.mutate(&mut self.rng);
        }
    }
}
