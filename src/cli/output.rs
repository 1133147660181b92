//! What goes to stdout: data, and nothing else. A closed pipe ends the command quietly, and text from the cluster cannot
//! drive the terminal.

use std::borrow::Cow;
use std::io::{self, BufWriter, Write};

/// Exit code of a command whose reader went away: 128 + SIGPIPE, as from any other tool in a pipe.
pub const CLOSED_PIPE: u8 = 141;

/// Stdout, buffered; flush it before waiting.
pub struct Out(BufWriter<io::Stdout>);

impl Out {
    /// The process's stdout.
    pub fn stdout() -> Self {
        Self(BufWriter::new(io::stdout()))
    }

    /// Text as it is. Only for what was made here, or went through [`printable`].
    pub fn text(&mut self, text: &str) -> io::Result<()> {
        self.0.write_all(text.as_bytes())
    }

    /// A line of text made here.
    pub fn line(&mut self, text: &str) -> io::Result<()> {
        self.text(text)?;
        self.text("\n")
    }

    /// JSON over several lines.
    pub fn pretty(&mut self, value: &serde_json::Value) -> io::Result<()> {
        let text = serde_json::to_string_pretty(value).map_err(io::Error::other)?;
        self.line(&json_printable(&text))
    }

    /// One line of JSON as it came.
    pub fn json_line(&mut self, json: &str) -> io::Result<()> {
        self.line(&json_printable(json))
    }

    /// Hands over what is buffered.
    pub fn flush(&mut self) -> io::Result<()> {
        self.0.flush()
    }
}

/// Whether a character does something to a terminal instead of being seen: controls (escape sequences begin with one),
/// and those that reorder or hide the text around them (CVE-2021-42574).
fn acts(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// Untrusted text as it may be printed: what acts on a terminal is written out, `\u{1b}`.
pub fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(acts) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 8);
    for c in text.chars() {
        match c {
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            '\r' => out.push_str("\\r"),
            c if acts(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// The same for JSON text, whose strings may hold such characters raw: `\u001b`. It stays the same document.
pub fn json_printable(json: &str) -> Cow<'_, str> {
    let raw = |c: char| acts(c) && c != '\n';
    if !json.contains(raw) {
        return Cow::Borrowed(json);
    }
    let mut out = String::with_capacity(json.len() + 8);
    for c in json.chars() {
        if !raw(c) {
            out.push(c);
        } else if c.is_ascii_whitespace() {
            // Between tokens: no JSON string holds one raw.
            out.push(' ');
        } else {
            // All of them are in the basic plane: one unit of UTF-16.
            out.push_str(&format!("\\u{:04x}", u32::from(c)));
        }
    }
    Cow::Owned(out)
}

/// A table as kubectl draws it: columns padded, three spaces between.
#[derive(Debug, Default)]
pub struct Table {
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table with these headings.
    pub fn new<S: Into<String>>(headings: impl IntoIterator<Item = S>) -> Self {
        Self { rows: vec![headings.into_iter().map(Into::into).collect()] }
    }

    /// A row; untrusted text is made printable here.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells.into_iter().map(|cell| printable(&cell).into_owned()).collect());
    }

    /// Whether it has no row below the headings.
    pub fn is_empty(&self) -> bool {
        self.rows.len() < 2
    }

    /// Prints it.
    pub fn print(&self, out: &mut Out) -> io::Result<()> {
        let columns = self.rows.iter().map(Vec::len).max().unwrap_or(0);
        let width = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..columns).map(width).collect();
        for row in &self.rows {
            let mut line = String::new();
            for (column, cell) in row.iter().enumerate() {
                line.push_str(cell);
                if column + 1 < row.len() {
                    let padding = widths[column] - cell.chars().count() + 3;
                    line.extend(std::iter::repeat_n(' ', padding));
                }
            }
            out.line(line.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_from_the_cluster_cannot_drive_the_terminal() {
        assert_eq!(printable("web-1"), "web-1");
        assert_eq!(printable("ünïcode ✓ 日本"), "ünïcode ✓ 日本");
        let hostile = "a\u{1b}]0;owned\u{7}\u{9b}31m\u{202e}b\nc\u{7f}";
        let shown = printable(hostile);
        assert!(!shown.contains(acts), "{shown:?}");
        assert_eq!(shown, "a\\u{1b}]0;owned\\u{7}\\u{9b}31m\\u{202e}b\\nc\\u{7f}");
    }

    #[test]
    fn json_stays_the_same_document_without_what_acts_on_a_terminal() {
        let value = serde_json::json!({"a\u{202e}": "x\u{9b}31m\u{7f}\u{1b}"});
        let text = format!("\t{value}\r\n");
        let shown = json_printable(&text);
        assert!(!shown.contains(|c| acts(c) && c != '\n'), "{shown:?}");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).expect("JSON"), value);
    }
}
