//! The topics: their names, what a topic should be, keys, and which key goes to which partition. How many partitions a
//! topic has and how long it keeps is a setting (`config/default.toml`).

use std::collections::BTreeMap;
use std::fmt;

/// Resume points and writer epochs, one partition. Without prefix, as all names here.
pub const CHECKPOINTS: &str = "agent-events-checkpoints";
/// Lasting copies of Gap records.
pub const GAPS: &str = "agent-events-gaps";
/// What cannot be written or read.
pub const DLQ: &str = "agent-events.dlq";
/// Key-value state that programs share.
pub const SHARED_STATE: &str = "shared-state";
/// What happened, in words and fields; also the free events of programs.
pub const EVENT_STREAM: &str = "event-stream";

/// Stands for "no namespace" in a key. No namespace can be called so (RFC 1123 labels have no underscore).
const NO_NAMESPACE: &str = "_";
/// The key of an object's records, `<cluster>/<kind id>/<namespace or _>/<name>`: deleting and creating one name again
/// stays in one partition. `kind_id` is [`super::kind::Kind::id`].
pub fn object_key(cluster: &str, kind_id: &str, namespace: Option<&str>, name: &str) -> String {
    format!("{cluster}/{kind_id}/{}/{name}", namespace.unwrap_or(NO_NAMESPACE))
}

/// The parts of an object's key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ObjectKey<'a> {
    /// The configured name of the cluster.
    pub cluster: &'a str,
    /// [`super::kind::Kind::id`].
    pub kind_id: &'a str,
    /// `None` for objects of the whole cluster.
    pub namespace: Option<&'a str>,
    /// The object's name.
    pub name: &'a str,
}

impl<'a> ObjectKey<'a> {
    /// Takes a key apart; `None` for anything that [`object_key`] does not give: foreign records, markers.
    pub fn parse(key: &'a [u8]) -> Option<Self> {
        let mut parts = std::str::from_utf8(key).ok()?.split('/');
        let (cluster, kind_id, namespace, name) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
        if parts.next().is_some() || [cluster, kind_id, namespace, name].contains(&"") || cluster.starts_with('~') {
            return None;
        }
        Some(Self { cluster, kind_id, namespace: (namespace != NO_NAMESPACE).then_some(namespace), name })
    }
}

/// A record about its partition and not about an object: a tombstone with a key of its own, its content in headers. No
/// cluster can be called so (`~` is not allowed in `cluster.name`), so markers never meet objects. One key per partition:
/// the next marker overwrites it. The partition is given explicitly, it is not the hash of the key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Marker {
    /// Here began a new writer; what a lower epoch wrote behind it is ignored.
    Writer(i32),
    /// Here something may have been coalesced.
    Gap(i32),
}

impl Marker {
    /// Recognises a marker by its key.
    pub fn parse(key: &[u8]) -> Option<Self> {
        let key = std::str::from_utf8(key).ok()?;
        let marker = match key.split_once('/')? {
            ("~writer", partition) => Self::Writer(partition.parse().ok()?),
            ("~gap", partition) => Self::Gap(partition.parse().ok()?),
            _ => return None,
        };
        // One spelling only: `~gap/+1` is somebody else's.
        (marker.to_string() == key).then_some(marker)
    }

    /// The record key.
    pub fn key(self) -> String {
        self.to_string()
    }
}

impl fmt::Display for Marker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Writer(partition) => write!(f, "~writer/{partition}"),
            Self::Gap(partition) => write!(f, "~gap/{partition}"),
        }
    }
}

/// A topic as it should be. Names carry the configured prefix.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
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

#[cfg(test)]
mod tests {
    use super::*;

    /// Key, `Utils.murmur2(key)`, `Utils.toPositive(..) % 6`, `% 12`, printed by kafka-clients 4.1.1 itself.
    const JAVA: &[(&str, u32, i32, i32)] = &[
        ("", 0x106e_08d9, 3, 9),
        ("a", 0xa2d0_b27c, 4, 4),
        ("ab", 0x12d8_262a, 2, 2),
        ("abc", 0x1c94_221b, 3, 3),
        ("abcd", 0xb11a_b5f4, 2, 8),
        ("abcde", 0x1b89_7edd, 1, 1),
        ("abcdef", 0x6f7f_dafc, 0, 0),
        ("abcdefg", 0xeb59_5499, 1, 1),
        ("abcdefgh", 0xc70d_55dd, 3, 9),
        ("21", 0xc5f2_f8ec, 0, 0),
        ("foobar", 0xd0e4_7bbe, 0, 6),
        ("a-little-bit-long-string", 0xc53b_1da0, 2, 8),
        ("a-little-bit-longer-string", 0xa768_c9c3, 5, 11),
        ("lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", 0xfc7d_49cd, 5, 5),
        ("\u{e9}", 0x0b24_f487, 3, 3),
        ("\u{e9}\u{e8}", 0xa519_6b8c, 0, 0),
        ("\u{65e5}\u{672c}\u{8a9e}", 0x5558_73ca, 4, 10),
        ("\u{65e5}\u{672c}\u{8a9e}a", 0xb9c8_b068, 0, 0),
        ("\u{1f680}", 0x2d67_d1c1, 1, 1),
        ("na\u{ef}ve/\u{fc}", 0x9386_a084, 4, 4),
        ("\u{0}", 0x1661_97bc, 2, 8),
        ("\u{0}\u{0}\u{0}", 0x3c69_48f5, 5, 5),
        ("\u{0}\u{0}\u{0}\u{0}", 0x32b8_9340, 4, 4),
        ("\u{7f}", 0x0144_f39c, 0, 0),
        ("\u{80}", 0xa775_c35a, 0, 6),
        ("\u{ff}", 0x5a16_bc7f, 1, 7),
        ("\u{ffff}", 0x7fc8_a085, 5, 5),
        ("\u{1f680}\u{1f680}\u{1f680}", 0xc802_5603, 1, 7),
        ("prod/pods/default/web-1", 0x024b_dc3a, 4, 10),
        ("prod/pods/default/web-2", 0x09af_5dcb, 3, 3),
        ("prod/pods/kube-system/coredns-7db6d8ff4d-abcde", 0x2773_5cb8, 4, 4),
        ("prod/deployments/default/web", 0x1505_ce43, 5, 11),
        ("prod/statefulsets/data/pg", 0x167a_82ff, 1, 7),
        ("prod/services/default/kubernetes", 0xc6b9_bab5, 1, 1),
        ("prod/configmaps/default/app", 0xc6f4_f686, 4, 10),
        ("prod/secrets/default/db", 0x8bfe_cfa1, 3, 9),
        ("prod/events/default/web-1.17f2a3", 0xe9d6_9597, 1, 7),
        ("prod/nodes/_/node-1", 0xe640_f26d, 1, 1),
        ("prod/certificates.cert-manager.io/default/tls", 0xc8e4_839a, 0, 6),
        ("c/p/_/n", 0xe1bf_05a3, 3, 3),
        ("~writer/0", 0xe9e2_4828, 2, 8),
        ("~writer/11", 0xfab1_5080, 0, 0),
        ("~gap/0", 0x4b4e_5e21, 1, 1),
        ("~gap/5", 0x3578_2421, 5, 5),
        ("state/a/b", 0x93b8_62ba, 4, 10),
        ("state/a/c", 0x567b_820c, 0, 0),
        ("checkpoint/pods", 0x541a_4e55, 3, 9),
        ("1234567", 0xdbed_38c6, 0, 6),
        ("123456", 0xc940_f34c, 0, 0),
        ("12345", 0xb92a_fadc, 2, 8),
        ("1234", 0x9fc9_7b14, 0, 0),
        ("0123456789abcdef", 0x55bc_a7ac, 0, 0),
        ("The quick brown fox jumps over the lazy dog", 0x1d84_d036, 0, 6),
    ];

    /// The same for keys that are not UTF-8: Java's bytes are signed, ours are not.
    const JAVA_BYTES: &[(&[u8], u32, i32, i32)] = &[
        (&[0x80], 0x331f_517c, 2, 8),
        (&[0xff], 0xed6f_615b, 3, 3),
        (&[0xff, 0xfe], 0x6660_fe8b, 3, 3),
        (&[0xff, 0xfe, 0xfd], 0x3b85_fe24, 2, 8),
        (&[0x80, 0x81, 0x82, 0x83, 0x84], 0x9cb8_9e59, 3, 9),
    ];

    #[test]
    fn keys_go_to_the_partitions_of_the_java_client() {
        let text = JAVA.iter().map(|(key, hash, six, twelve)| (key.as_bytes(), *hash, *six, *twelve));
        for (key, hash, six, twelve) in text.chain(JAVA_BYTES.iter().copied()) {
            assert_eq!(murmur2(key), hash, "{key:?}");
            assert_eq!(
                (partition_of(key, 6), partition_of(key, 12), partition_of(key, 1)),
                (six, twelve, 0),
                "{key:?}"
            );
        }
        assert_eq!(murmur2("x".repeat(1000).as_bytes()), 0xc050_b11e);
    }

    #[test]
    fn object_keys_come_apart_as_they_were_put_together() {
        for (kind, namespace, name) in [("pods", Some("a"), "web-1"), ("certificates.cert-manager.io", None, "x:y")] {
            let key = object_key("c.1", kind, namespace, name);
            let parts = ObjectKey { cluster: "c.1", kind_id: kind, namespace, name };
            assert_eq!(ObjectKey::parse(key.as_bytes()), Some(parts));
        }
        assert_eq!(object_key("c", "nodes", None, "n"), "c/nodes/_/n");
    }

    #[test]
    fn foreign_keys_and_markers_are_not_object_keys() {
        for key in ["", "a", "a/b/c", "a/b/c/d/e", "a//c/d", "/b/c/d", "a/b/c/", "~writer/1", "~gap/a/b/c"] {
            assert_eq!(ObjectKey::parse(key.as_bytes()), None, "{key}");
        }
        assert_eq!(ObjectKey::parse(b"a/b/c/\xff"), None);
    }

    #[test]
    fn markers_are_recognised_and_nothing_else_is() {
        for marker in [Marker::Writer(0), Marker::Writer(11), Marker::Gap(5)] {
            assert_eq!(Marker::parse(marker.key().as_bytes()), Some(marker));
        }
        assert_eq!(Marker::Writer(3).key(), "~writer/3");
        for key in ["~writer", "~writer/", "~writer/x", "~gap/+1", "~gap/01", "writer/1", "~other/1", "c/pods/a/b"] {
            assert_eq!(Marker::parse(key.as_bytes()), None, "{key}");
        }
    }
}
