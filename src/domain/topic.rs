//! The topics: names, partitions, settings, keys, and which key goes to which partition. One table for every engine.

use std::collections::BTreeMap;

/// A topic as it should be. Names carry the configured prefix.
#[derive(Debug, Clone, PartialEq)]
pub struct TopicSpec {
    /// Name with prefix.
    pub name: String,
    /// Number of partitions. Fixed for ever: changing it moves keys.
    pub partitions: i32,
    /// Replicas of each partition.
    pub replication: i32,
    /// Topic settings by Kafka's names.
    pub config: BTreeMap<String, String>,
}

/// The partition of `key` among `partitions`: murmur2 as Kafka's Java client does it (`Utils.toPositive(Utils.murmur2(key)) % n`).
///
/// Given explicitly on every record, in every engine: mixing explicit and automatic partitioning reorders until metadata
/// is known. `partitions` must be positive.
pub fn partition_of(key: &[u8], partitions: i32) -> i32 {
    ((murmur2(key) & 0x7fff_ffff) % partitions.max(1) as u32) as i32
}

/// Kafka's `Utils.murmur2` (seed 0x9747b28c).
pub fn murmur2(data: &[u8]) -> u32 {
    const M: u32 = 0x5bd1_e995;
    let mut h: u32 = 0x9747_b28c ^ data.len() as u32;
    let mut words = data.chunks_exact(4);
    for word in &mut words {
        let mut k = u32::from_le_bytes([word[0], word[1], word[2], word[3]]).wrapping_mul(M);
        k ^= k >> 24;
        h = h.wrapping_mul(M) ^ k.wrapping_mul(M);
    }
    let rest = words.remainder();
    if rest.len() == 3 {
        h ^= u32::from(rest[2]) << 16;
    }
    if rest.len() >= 2 {
        h ^= u32::from(rest[1]) << 8;
    }
    if !rest.is_empty() {
        h = (h ^ u32::from(rest[0])).wrapping_mul(M);
    }
    h ^= h >> 13;
    h = h.wrapping_mul(M);
    h ^ (h >> 15)
}
