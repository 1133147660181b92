//! One line of a watch stream, and one page of a list: decoded no further than needed.

use crate::domain::cut::{CowStr, Cutter};
use crate::domain::index::Wire;
use crate::domain::redact::{DecodeError, Object, Redacted, Redactor};
use crate::domain::rv::Rv;
use crate::domain::said;
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::fmt;
use std::ops::Range;

/// A watch line, understood.
#[derive(Debug)]
pub enum Line {
    /// A change of an object.
    Event(Wire, Redacted<Object>),
    /// The server's progress; carries a version only.
    Bookmark {
        /// The version.
        rv: Rv,
        /// All that was there when the watch began has been shown (`k8s.io/initial-events-end`).
        initial_end: bool,
    },
    /// The server ends the stream with a Status.
    Error {
        /// HTTP-like code; 410 means that the version is too old.
        code: u16,
        /// `reason` of the Status, a word of Kubernetes or nothing.
        reason: &'static str,
        /// The server has not come to the version that was asked for.
        too_large: bool,
    },
}

/// Reads one line. Nothing of the input is quoted in errors.
pub fn read_line(redactor: &Redactor, line: &str) -> Result<Line, DecodeError> {
    let json = |e: serde_json::Error| DecodeError::Json(e.column());
    let mut de = serde_json::Deserializer::from_str(line);
    let mut cutter = redactor.cutter(line.len());
    let read = LineSeed { redactor, cutter: &mut cutter }.deserialize(&mut de).map_err(json)?;
    de.end().map_err(json)?;
    match read {
        Read::Cut(wire) => Ok(Line::Event(wire, redactor.finish(cutter, line.len())?)),
        Read::Raw(kind, raw) => match wire_of(&kind) {
            Some(wire) => Ok(Line::Event(wire, redactor.redact(raw)?)),
            None if kind == "BOOKMARK" => {
                let bookmark: Bookmark<'_> = serde_json::from_str(raw).map_err(json)?;
                let BookmarkMeta { resource_version, annotations } = bookmark.metadata;
                let rv = resource_version.0;
                if rv.is_empty() {
                    return Err(DecodeError::Missing("resourceVersion"));
                }
                let initial_end = annotations.is_some_and(|a| a.end.is_some_and(|end| end.0 == "true"));
                Ok(Line::Bookmark { rv: Rv::new(&rv), initial_end })
            }
            None if kind == "ERROR" => {
                let status: Status<'_> = serde_json::from_str(raw).map_err(json)?;
                let too_large = status.is_too_large();
                Ok(Line::Error { code: status.code, reason: said::reason(&status.reason.0), too_large })
            }
            None => Err(DecodeError::Missing("type")),
        },
        Read::Nothing => Err(DecodeError::Missing("object")),
    }
}

pub(super) fn wire_of(kind: &str) -> Option<Wire> {
    match kind {
        "ADDED" => Some(Wire::Added),
        "MODIFIED" => Some(Wire::Modified),
        "DELETED" => Some(Wire::Deleted),
        _ => None,
    }
}

enum Read<'a> {
    /// `type` came first, as every API server writes it: the object was cut on the way.
    Cut(Wire),
    /// Any other type or order.
    Raw(String, &'a str),
    Nothing,
}

struct LineSeed<'r, 'c, 'k> {
    redactor: &'r Redactor,
    cutter: &'c mut Cutter<'k>,
}

impl<'de> DeserializeSeed<'de> for LineSeed<'_, '_, '_> {
    type Value = Read<'de>;

    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Self::Value, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for LineSeed<'_, '_, '_> {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a watch event")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let (mut kind, mut raw, mut cut) = (None::<String>, None::<&'de RawValue>, None);
        while let Some(CowStr(key)) = map.next_key()? {
            match &*key {
                "type" if kind.is_none() => kind = Some(map.next_value::<CowStr<'_>>()?.0.into_owned()),
                "object" if cut.is_none() && raw.is_none() => match kind.as_deref().and_then(wire_of) {
                    Some(wire) => {
                        map.next_value_seed(self.redactor.cut(self.cutter))?;
                        cut = Some(wire);
                    }
                    None => raw = Some(map.next_value()?),
                },
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(match (cut, kind, raw) {
            (Some(wire), ..) => Read::Cut(wire),
            (None, Some(kind), Some(raw)) => Read::Raw(kind, raw.get()),
            _ => Read::Nothing,
        })
    }
}

#[derive(Deserialize)]
struct Bookmark<'a> {
    #[serde(borrow)]
    metadata: BookmarkMeta<'a>,
}

#[derive(Deserialize)]
struct BookmarkMeta<'a> {
    #[serde(borrow, rename = "resourceVersion", default)]
    resource_version: CowStr<'a>,
    #[serde(borrow, default)]
    annotations: Option<BookmarkAnnotations<'a>>,
}

#[derive(Deserialize)]
struct BookmarkAnnotations<'a> {
    #[serde(borrow, rename = "k8s.io/initial-events-end", default)]
    end: Option<CowStr<'a>>,
}

/// The parts of a `Status` that decide what is done.
#[derive(Deserialize, Default)]
pub struct Status<'a> {
    /// HTTP-like code.
    #[serde(default)]
    pub code: u16,
    /// A word such as `Expired`.
    #[serde(borrow, default)]
    pub reason: CowStr<'a>,
    /// A sentence for people.
    #[serde(borrow, default)]
    pub message: CowStr<'a>,
    #[serde(borrow, default)]
    metadata: StatusMeta<'a>,
}

#[derive(Deserialize, Default)]
struct StatusMeta<'a> {
    #[serde(borrow, rename = "continue", default)]
    next: Option<CowStr<'a>>,
}

impl Status<'_> {
    /// Whether the server has not come to the version that was asked for yet. It says so by 504 and a cause; the sentence
    /// is the same in every version of Kubernetes.
    pub fn is_too_large(&self) -> bool {
        self.message.0.contains("Too large resource version")
    }

    /// With which token a list whose pages expired may go on, if the server offers one: the pages behind it are newer.
    pub fn inconsistent_token(&self) -> Option<String> {
        self.metadata.next.as_ref().map(|next| next.0.to_string()).filter(|next| !next.is_empty())
    }
}

/// A page of a list: where its items stand in the body.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Version of the list.
    pub rv: Rv,
    /// The list's own `kind` and `apiVersion`; empty where it says none.
    pub kind: (String, String),
    /// Token of the next page; empty on the last.
    pub next: String,
    /// Each item's place in the body.
    pub items: Vec<Range<usize>>,
}

#[derive(Deserialize)]
struct List<'a> {
    #[serde(borrow, default)]
    kind: Option<CowStr<'a>>,
    #[serde(borrow, rename = "apiVersion", default)]
    api_version: Option<CowStr<'a>>,
    #[serde(borrow)]
    metadata: ListMeta<'a>,
    // An empty PartialObjectMetadataList carries null (seen on a real 1.37 server).
    #[serde(borrow, default)]
    items: Option<Vec<&'a RawValue>>,
}

#[derive(Deserialize)]
struct ListMeta<'a> {
    #[serde(borrow, rename = "resourceVersion", default)]
    resource_version: CowStr<'a>,
    // Absent on the last page; written as null by servers that are not written in Go.
    #[serde(borrow, rename = "continue", default)]
    next: Option<CowStr<'a>>,
}

/// Splits a list body. A list without a version is refused: nothing could be resumed from it.
pub fn read_page(body: &str) -> Result<Page, DecodeError> {
    let list: List<'_> = serde_json::from_str(body).map_err(|e| DecodeError::Json(e.column()))?;
    if list.metadata.resource_version.0.is_empty() {
        return Err(DecodeError::Missing("resourceVersion"));
    }
    let start = body.as_ptr() as usize;
    let place = |raw: &&RawValue| {
        let at = raw.get().as_ptr() as usize - start;
        at..at + raw.get().len()
    };
    Ok(Page {
        rv: Rv::new(&list.metadata.resource_version.0),
        kind: (list.kind.unwrap_or_default().0.into_owned(), list.api_version.unwrap_or_default().0.into_owned()),
        next: list.metadata.next.unwrap_or_default().0.into_owned(),
        items: list.items.unwrap_or_default().iter().map(place).collect(),
    })
}

/// The version of a list of which only the beginning may be there: wherever its metadata stands in that.
pub fn list_version(body: &[u8]) -> Option<Rv> {
    struct Found<'f>(&'f mut Option<Rv>);
    impl<'de> serde::de::Visitor<'de> for Found<'_> {
        type Value = ();

        fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("a list")
        }

        fn visit_map<A: serde::de::MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
            while let Some(CowStr(key)) = map.next_key()? {
                if key == "metadata" {
                    let ListMeta { resource_version, .. } = map.next_value()?;
                    *self.0 = Some(Rv::new(&resource_version.0)).filter(|rv| !rv.is_empty());
                } else {
                    map.next_value::<serde::de::IgnoredAny>()?;
                }
            }
            Ok(())
        }
    }
    let mut found = None;
    // Where the body ends in the middle, or is no list, what was found until there counts.
    Deserializer::deserialize_map(&mut serde_json::Deserializer::from_slice(body), Found(&mut found)).ok();
    found
}

#[cfg(test)]
mod tests;
