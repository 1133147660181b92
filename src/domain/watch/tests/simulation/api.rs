//! An API server of one kind: objects with a history, of which watches see a window, and lists as of any version.

use std::collections::{BTreeMap, BTreeSet};

/// SplitMix64: the same seed gives the same run for ever, on any machine.
pub struct Rng(pub u64);

impl Rng {
    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, n: u64) -> u64 {
        self.next() % n
    }

    /// True once in `n`.
    pub fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    pub fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}

#[derive(Debug, Clone)]
pub struct Change {
    pub rv: u64,
    pub wire: &'static str,
    pub name: String,
    pub uid: String,
}

#[derive(Default)]
pub struct Api {
    pub rv: u64,
    pub history: Vec<Change>,
    /// A watch from an older version is answered with 410.
    pub floor: u64,
    /// Name to uid, now.
    live: BTreeMap<String, String>,
    uids: u64,
    /// Versions whose objects no reader understands.
    pub poisoned: BTreeSet<u64>,
}

impl Api {
    /// One thing happens to one of a few names, so that names are used again and again.
    pub fn mutate(&mut self, rng: &mut Rng) {
        let name = format!("o{}", rng.below(6));
        self.rv += 1 + rng.below(3);
        let (wire, uid) = match self.live.get(&name).cloned() {
            Some(uid) if rng.one_in(3) => {
                self.live.remove(&name);
                ("DELETED", uid)
            }
            Some(uid) => ("MODIFIED", uid),
            None => {
                self.uids += 1;
                let uid = format!("u{}", self.uids);
                self.live.insert(name.clone(), uid.clone());
                ("ADDED", uid)
            }
        };
        self.history.push(Change { rv: self.rv, wire, name, uid });
    }

    /// Forgets all history that a watch could begin in, as compaction or a restart does.
    pub fn compact(&mut self) {
        self.floor = self.rv;
    }

    /// Name to uid and version, as of that version.
    pub fn state_at(&self, rv: u64) -> BTreeMap<String, (String, u64)> {
        let mut state = BTreeMap::new();
        for change in self.history.iter().take_while(|c| c.rv <= rv) {
            match change.wire {
                "DELETED" => drop(state.remove(&change.name)),
                _ => drop(state.insert(change.name.clone(), (change.uid.clone(), change.rv))),
            }
        }
        state
    }

    /// The next change behind that version.
    pub fn after(&self, rv: u64) -> Option<&Change> {
        self.history.get(self.history.partition_point(|c| c.rv <= rv))
    }
}
