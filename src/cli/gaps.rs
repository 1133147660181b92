//! `gaps`: what the log says is missing from it. Asks the running process.

use super::args::{Gaps, Output};
use super::client::{Path, Server};
use super::failure::Failure;
use super::kinds;
use super::output::{Out, Table};
use crate::http::gaps::GapList;
use serde_json::json;

/// Does it; the exit code.
pub async fn gaps(server: &Server, command: Gaps, out: &mut Out) -> Result<u8, Failure> {
    let kind = match command.kind.as_deref() {
        Some(typed) => Some(kinds::meant(server, typed).await?.id),
        None => None,
    };
    let path = Path::of(&["gaps"]).maybe("kind", kind).maybe("since", command.since);
    let list: GapList = server.json(path.as_str()).await?;
    if command.output == Output::Json {
        out.pretty(&json!(list))?;
        return Ok(0);
    }
    let mut table = Table::new(["SEEN", "KIND", "NAMESPACE", "REASON", "FROM", "TO", "DELETIONS"]);
    for gap in list.items {
        let any = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let deletions = if gap.deletes_unknown { "may be missing" } else { "known" };
        let scope = gap.scope.unwrap_or_else(|| "(all)".to_owned());
        table.row(vec![gap.seen_at, gap.kind, scope, gap.reason, any(gap.from), any(gap.to), deletions.to_owned()]);
    }
    table.print(out)?;
    Ok(0)
}
