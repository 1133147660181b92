//! Where the sandbox takes time and chance from. Both can be given, so that a scenario runs the same way twice.

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng as _, RngExt as _, SeedableRng as _};
use std::sync::{Arc, Mutex, PoisonError};

/// A clock and a source of randomness. Cheap to clone; clones share the randomness.
#[derive(Clone)]
pub struct Origin {
    clock: Arc<dyn Fn() -> Timestamp + Send + Sync>,
    chance: Arc<Mutex<StdRng>>,
    seed: Option<u64>,
}

impl std::fmt::Debug for Origin {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Origin").field("seed", &self.seed).finish_non_exhaustive()
    }
}

impl Default for Origin {
    fn default() -> Self {
        Self::system()
    }
}

impl Origin {
    /// The wall clock and the system's randomness.
    pub fn system() -> Self {
        Self { clock: Arc::new(Timestamp::now), chance: Arc::new(Mutex::new(rand::make_rng())), seed: None }
    }

    /// The wall clock, and randomness that repeats.
    pub fn seeded(seed: u64) -> Self {
        Self { chance: Arc::new(Mutex::new(StdRng::seed_from_u64(seed))), seed: Some(seed), ..Self::system() }
    }

    /// The same with another clock.
    pub fn with_clock(mut self, clock: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        self.clock = Arc::new(clock);
        self
    }

    /// A state that goes on at `revision` must not draw the uids of its first life again.
    pub(super) fn resumed_at(&self, revision: u64) {
        if let Some(seed) = self.seed {
            let mixed = seed ^ revision.wrapping_mul(0x9e37_79b9_7f4a_7c15);
            *self.chance.lock().unwrap_or_else(PoisonError::into_inner) = StdRng::seed_from_u64(mixed);
        }
    }

    /// Now.
    pub fn now(&self) -> Timestamp {
        (self.clock)()
    }

    /// Now in whole seconds, as in `creationTimestamp`: `2026-11-23T10:00:00Z`.
    pub fn now_text(&self) -> String {
        text_of(self.now())
    }

    /// A random number.
    pub fn random(&self) -> u64 {
        self.chance.lock().unwrap_or_else(PoisonError::into_inner).next_u64()
    }

    /// A random UUID (version 4).
    pub fn uid(&self) -> String {
        let (high, low) = (self.random(), self.random());
        let high = (high & !0xf000) | 0x4000;
        let low = (low & !(0b11 << 62)) | (0b10 << 62);
        let (a, b, c) = (high >> 32, (high >> 16) & 0xffff, high & 0xffff);
        format!("{a:08x}-{b:04x}-{c:04x}-{:04x}-{:012x}", low >> 48, low & 0xffff_ffff_ffff)
    }

    /// Letters behind a `generateName`, from Kubernetes' alphabet, which spells no words.
    pub fn suffix(&self, length: usize) -> String {
        const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
        let mut chance = self.chance.lock().unwrap_or_else(PoisonError::into_inner);
        (0..length).map(|_| char::from(ALPHABET[chance.random_range(0..ALPHABET.len())])).collect()
    }
}

/// A time in whole seconds.
pub fn text_of(time: Timestamp) -> String {
    time.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
}
