//! Objects that are written wrongly: each way in which a broken API server, a broken proxy or a broken definition has been
//! seen to write one.

use crate::sandbox::object::Encoded;
use serde_json::{Value, json};

/// What is wrong with an object's JSON.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Spoil {
    /// `metadata.name` is an array. Not where only metadata is asked for.
    WrongName,
    /// `data` is a number.
    DataNumber,
    /// One byte is another: no JSON any more. Not where only metadata is asked for.
    Garbled,
    /// A string holds a byte that is no UTF-8. Not where only metadata is asked for.
    NotUtf8,
    /// There is no `metadata`, whatever is asked for.
    NoIdentity,
    /// It is ten megabytes long. Not where only metadata is asked for.
    Long,
    /// The line never ends; only in a watch, and not where only metadata is asked for.
    Endless,
    /// The line comes twice; only in a watch.
    Twice,
    /// `resourceVersion` is 1.
    OldVersion,
    /// `resourceVersion` is a word.
    WordVersion,
    /// It says that it is a Pod.
    ForeignKind,
    /// It is of namespace `elsewhere`.
    ForeignNamespace,
    /// The whole object, though only metadata is asked for.
    Whole,
}

const NAMES: &[(&str, Spoil)] = &[
    ("wrong-name", Spoil::WrongName),
    ("data-number", Spoil::DataNumber),
    ("garbled", Spoil::Garbled),
    ("not-utf8", Spoil::NotUtf8),
    ("no-identity", Spoil::NoIdentity),
    ("long", Spoil::Long),
    ("endless", Spoil::Endless),
    ("twice", Spoil::Twice),
    ("old-version", Spoil::OldVersion),
    ("word-version", Spoil::WordVersion),
    ("foreign-kind", Spoil::ForeignKind),
    ("foreign-namespace", Spoil::ForeignNamespace),
    ("whole", Spoil::Whole),
];

impl Spoil {
    pub(super) fn named(name: &str) -> Option<Self> {
        NAMES.iter().find(|(n, _)| *n == name).map(|(_, how)| *how)
    }

    pub(super) fn names() -> String {
        NAMES.iter().map(|(n, _)| *n).collect::<Vec<_>>().join(", ")
    }

    /// Whether it shows in this form of the object.
    pub(super) fn shows(self, metadata_only: bool) -> bool {
        match self {
            Self::Whole => metadata_only,
            Self::WrongName | Self::DataNumber | Self::Garbled | Self::NotUtf8 | Self::Long | Self::Endless => {
                !metadata_only
            }
            _ => true,
        }
    }

    /// `written` as it should not be.
    pub(in crate::sandbox) fn apply(self, object: &Encoded, written: &[u8]) -> Vec<u8> {
        let edited = |edit: fn(&mut Value)| {
            let mut value = serde_json::from_slice(written).unwrap_or_default();
            edit(&mut value);
            value.to_string().into_bytes()
        };
        match self {
            Self::Endless | Self::Twice => written.to_vec(),
            Self::WrongName => edited(|o| o["metadata"]["name"] = json!([7])),
            Self::Long => edited(|o| o["data"] = json!({"fill": "x".repeat(10_000_000)})),
            Self::DataNumber => edited(|o| o["data"] = 7.into()),
            Self::NoIdentity => edited(|o| {
                o.as_object_mut().map(|o| o.remove("metadata"));
            }),
            Self::OldVersion => edited(|o| o["metadata"]["resourceVersion"] = "1".into()),
            Self::WordVersion => edited(|o| o["metadata"]["resourceVersion"] = "latest".into()),
            Self::ForeignKind => edited(|o| {
                o["kind"] = "Pod".into();
                o["apiVersion"] = "v1".into();
            }),
            Self::ForeignNamespace => edited(|o| o["metadata"]["namespace"] = "elsewhere".into()),
            Self::Garbled => {
                let mut bytes = written.to_vec();
                // A colon of the object itself, and not of one of its strings: the first one.
                if let Some(colon) = bytes.iter_mut().find(|b| **b == b':') {
                    *colon = b'*';
                }
                bytes
            }
            Self::NotUtf8 => {
                let mut bytes = written.to_vec();
                if let Some(at) = bytes.windows(2).position(|w| w == b":\"") {
                    bytes.insert(at + 2, 0xff);
                }
                bytes
            }
            Self::Whole => object.json.to_vec(),
        }
    }
}

/// A bookmark's object, with other fields in its metadata.
pub(in crate::sandbox) fn with_metadata(bookmark: &[u8], fields: &[(&str, &str)]) -> Vec<u8> {
    let mut value: Value = serde_json::from_slice(bookmark).unwrap_or_default();
    for (field, text) in fields {
        value["metadata"][*field] = json!(text);
    }
    value.to_string().into_bytes()
}
