//! Faults by the words of a script: `POST /sandbox/faults`.

use super::{Fault, Faults, Mark, Rule, Spoil};
use crate::sandbox::status::Status;
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Faults that need nothing but their name.
const PLAIN: &[(&str, Fault)] = &[
    ("blank-lines", Fault::BlankLines),
    ("bookmark-backwards", Fault::Bookmark(Mark::Backwards)),
    ("bookmark-early", Fault::Bookmark(Mark::Early)),
    ("bookmark-word", Fault::Bookmark(Mark::Word)),
    ("cut", Fault::Cut),
    ("denied", Fault::Denied),
    ("dribble", Fault::Dribble),
    ("empty", Fault::Empty),
    ("ghost", Fault::Ghost),
    ("gone", Fault::Gone),
    ("gzip", Fault::Gzip),
    ("half-line", Fault::HalfLine),
    ("html", Fault::Html),
    ("long-versions", Fault::LongVersions),
    ("no-bookmarks", Fault::NoBookmarks),
    ("no-initial-end", Fault::NoInitialEnd),
    ("page-gone", Fault::PageGone),
    ("partial-line", Fault::PartialLine),
    ("silent", Fault::Silent),
    ("stall", Fault::Stall),
    ("too-large", Fault::TooLarge),
];

/// The body of `POST /sandbox/faults`.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename_all = "camelCase")]
pub(in crate::sandbox) struct Order {
    fault: String,
    resource: Option<String>,
    verb: Option<String>,
    name: Option<String>,
    how: Option<String>,
    times: Option<u32>,
    code: Option<u16>,
    retry_after_seconds: Option<u64>,
    milliseconds: Option<u64>,
    by: Option<u64>,
    to: Option<u64>,
}

impl Faults {
    /// Does what a script asks for.
    pub(in crate::sandbox) fn order(&self, order: &Order) -> Result<(), Status> {
        let needs = |field: &str| Status::bad_request(format!("fault {:?} needs {field}", order.fault));
        let fault = match order.fault.as_str() {
            "compact" => {
                self.compact();
                return Ok(());
            }
            "cut" if order.times.is_none() => {
                self.cut_watches(order.resource.as_deref());
                return Ok(());
            }
            "jump" => return self.jump(order.by.ok_or_else(|| needs("by"))?).map(drop),
            "rewind" => return self.rewind(order.to.ok_or_else(|| needs("to"))?),
            "refuse" => {
                let code = order.code.filter(|c| (400..600).contains(c)).ok_or_else(|| needs("code, 400 to 599"))?;
                Fault::Refuse { code, retry_after: order.retry_after_seconds }
            }
            "delay" => Fault::Delay(Duration::from_millis(order.milliseconds.ok_or_else(|| needs("milliseconds"))?)),
            "spoil" => {
                let how = order.how.as_deref().and_then(Spoil::named);
                Fault::Spoil(how.ok_or_else(|| needs(&format!("how: {}", Spoil::names())))?)
            }
            other => match PLAIN.iter().find(|(name, _)| *name == other) {
                Some((_, fault)) => *fault,
                None => {
                    let mut known = vec!["compact", "delay", "jump", "refuse", "rewind", "spoil"];
                    known.extend(PLAIN.iter().map(|(name, _)| name));
                    known.sort_unstable();
                    let known = known.join(", ");
                    return Err(Status::bad_request(format!("fault {other:?} is unknown: these are known: {known}")));
                }
            },
        };
        let Order { resource, verb, name, times, .. } = order.clone();
        self.inject(Rule { fault, resource, verb, name, times });
        Ok(())
    }
}
