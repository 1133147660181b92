//! The smoke run of the fuzz targets: the committed corpus, and many small mutations of it. The long run is `fuzz/run`.

use agent_events::testing::fuzz::{TARGETS, records_of};
use std::path::{Path, PathBuf};

/// Mutations of each file: a second or two for all targets in a debug build.
const MUTATIONS: u64 = 100;

fn corpus(target: &str) -> Vec<PathBuf> {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
    let mut files: Vec<PathBuf> =
        std::fs::read_dir(&dir).expect("a corpus").map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    assert!(files.len() >= 4, "{}: {} files", dir.display(), files.len());
    files
}

/// splitmix64: the same seed makes the same mutations on every machine.
struct Chance(u64);

impl Chance {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, n: usize) -> usize {
        usize::try_from(self.next() % n.max(1) as u64).expect("small")
    }
}

const WORDS: &[&[u8]] = &[
    b"\"",
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"null",
    b"\\u0000",
    b"\n",
    b"\r\n",
    b"\xff",
    b"\"metadata\":{",
    b"\"env\":",
    b"\"kind\":\"Secret\"",
    b"[redacted]",
    b"[redacted: 9 bytes]",
    b"password=",
    b"-----BEGIN PRIVATE KEY-----",
    b"(",
    b")",
    b"!",
    b"=",
    b" in ",
    b"1e999",
    b"\"\":",
];

fn mutated(source: &[u8], seed: u64) -> Vec<u8> {
    let mut chance = Chance(seed);
    let mut bytes = source.to_vec();
    for _ in 0..=chance.below(4) {
        let at = chance.below(bytes.len() + 1);
        let to = (at + chance.below(16)).min(bytes.len());
        match chance.below(5) {
            0 => drop(bytes.drain(at..to)),
            1 => drop(bytes.splice(at..at, WORDS[chance.below(WORDS.len())].iter().copied())),
            2 => {
                let copy = bytes[at..to].to_vec();
                let into = chance.below(bytes.len() + 1);
                drop(bytes.splice(into..into, copy));
            }
            3 => bytes.truncate(at),
            _ if at < bytes.len() => bytes[at] ^= 1 << chance.below(8),
            _ => {}
        }
    }
    bytes
}

#[test]
fn every_fuzz_target_takes_its_corpus_and_mutations_of_it() {
    for (target, run) in TARGETS {
        for file in corpus(target) {
            let source = std::fs::read(&file).expect("readable");
            run(&source);
            for seed in 0..MUTATIONS {
                let input = mutated(&source, seed);
                if std::panic::catch_unwind(|| run(&input)).is_err() {
                    panic!(
                        "{target} fails on mutation {seed} of {}: {:?}",
                        file.display(),
                        String::from_utf8_lossy(&input)
                    );
                }
            }
        }
    }
}

#[test]
fn the_framer_reads_records_out_of_its_corpus() {
    let life =
        std::fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus/line_framer/life")).expect("readable");
    // Created, changed, deleted, and the tombstone.
    assert_eq!(records_of(&life), 4);
}
