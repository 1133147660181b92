//! Programs that take a credential behind a short flag: `mysql -p…`, `redis-cli -a …`, `curl -u …`. The same flags are ports
//! and users of others, so the program decides what they mean.

use super::{GONE, flag_start, is_flag_at, next_argument, scrub, tells, value, word_end};
use std::borrow::Cow;

/// A program, and its flags that are followed by a credential, at once or as the next word.
pub(super) struct Tool {
    name: &'static [u8],
    /// Whether every program whose name begins like this is meant.
    family: bool,
    flags: &'static [&'static [u8]],
    /// Whether a number behind such a flag is a port.
    ports: bool,
}

const fn tool(name: &'static str, family: bool, flags: &'static [&'static [u8]], ports: bool) -> Tool {
    Tool { name: name.as_bytes(), family, flags, ports }
}

const TOOLS: &[Tool] = &[
    tool("mysql", true, &[b"-p"], false),
    tool("mariadb", true, &[b"-p"], false),
    tool("mongo", true, &[b"-p"], false),
    tool("sshpass", false, &[b"-p"], false),
    tool("cqlsh", false, &[b"-p"], false),
    tool("rabbitmqadmin", false, &[b"-p"], false),
    tool("docker", false, &[b"-p"], true),
    tool("podman", false, &[b"-p"], true),
    tool("nerdctl", false, &[b"-p"], true),
    tool("helm", false, &[b"-p"], true),
    tool("skopeo", false, &[b"-p"], true),
    tool("oras", false, &[b"-p"], true),
    tool("redis-cli", false, &[b"-a"], false),
    tool("valkey-cli", false, &[b"-a"], false),
    tool("curl", false, &[b"-u", b"-U", b"--user", b"--proxy-user"], false),
    tool("ldap", true, &[b"-w"], false),
    tool("smbclient", false, &[b"-U"], false),
    tool("sqlcmd", false, &[b"-P"], false),
    tool("zip", false, &[b"-P"], false),
    tool("unzip", false, &[b"-P"], false),
];

impl Tool {
    /// The program of that path or name.
    fn named(path: &[u8]) -> Option<&'static Self> {
        let name = path.rsplit(|b| *b == b'/').next()?;
        TOOLS.iter().find(|tool| if tool.family { name.starts_with(tool.name) } else { name == tool.name })
    }

    /// Whether that value says where, and nothing else: `8080:80/tcp`.
    fn is_port(&self, value: &[u8]) -> bool {
        let value = value.strip_suffix(b"/tcp").or(value.strip_suffix(b"/udp")).unwrap_or(value);
        self.ports && value.iter().all(|b| b.is_ascii_digit() || matches!(b, b':' | b'.' | b'-'))
    }
}

/// The programs that a text calls, looked for when the first flag asks for them.
#[derive(Default)]
pub(super) struct Calls(Option<Vec<(usize, &'static Tool)>>);

impl Calls {
    /// `-pX`, `-p X`, `--user X` behind the program that means a credential by it.
    pub fn credential(&mut self, bytes: &[u8], at: usize) -> Option<(usize, usize)> {
        let second = bytes.get(at + 1)?;
        if !flag_start(bytes, at) || !TOOLS.iter().any(|tool| tool.flags.iter().any(|flag| flag[1] == *second)) {
            return None;
        }
        let calls = self.0.get_or_insert_with(|| calls(bytes));
        let before = calls.partition_point(|(place, _)| *place < at);
        let (_, tool) = calls.get(before.checked_sub(1)?)?;
        let flag = tool.flags.iter().find(|flag| bytes[at..].starts_with(flag))?;
        let (behind, is_long) = (at + flag.len(), flag.starts_with(b"--"));
        let from = match (bytes.get(behind)?, next_argument(bytes, behind)) {
            (_, Some(next)) if is_flag_at(bytes, next) => return None,
            (_, Some(next)) => next,
            (b'=', None) if is_long => behind + 1,
            (_, None) if is_long => return None,
            (_, None) => behind,
        };
        Some(value(bytes, from)).filter(|(from, to)| !tool.is_port(&bytes[*from..*to]))
    }
}

fn calls(bytes: &[u8]) -> Vec<(usize, &'static Tool)> {
    let in_path = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-' | b'.' | b'/');
    let mut at = 0;
    let paths = bytes.split(|b| !in_path(b)).filter_map(|path| {
        let place = at;
        at += path.len() + 1;
        Some((place, Tool::named(path)?))
    });
    paths.collect()
}

/// The arguments of one command, one after the other: a flag may name the next one as its value.
#[derive(Default)]
pub struct Arguments {
    tool: Option<&'static Tool>,
    /// The next argument is the value of the last one; `true` where a port stays.
    value_of: Option<bool>,
}

impl Arguments {
    /// The next argument without what looks like a credential.
    pub fn scrub<'t>(&mut self, text: &'t str) -> Cow<'t, str> {
        let bytes = text.as_bytes();
        let is_flag = bytes.first() == Some(&b'-');
        match self.value_of.take() {
            Some(true) if self.tool.is_some_and(|tool| tool.is_port(bytes)) => return Cow::Borrowed(text),
            Some(_) if !is_flag => return Cow::Borrowed(GONE),
            _ => {}
        }
        if !is_flag {
            let scrubbed = scrub(text);
            self.tool = Tool::named(scrubbed.as_bytes()).or(self.tool);
            return scrubbed;
        }
        let gone_behind = |length: usize| Cow::Owned(format!("{}{GONE}", &text[..length]));
        let name = word_end(bytes, 0);
        if tells(&bytes[..name], true) {
            match bytes.get(name) {
                // An argument is one value to its end, whatever is in it.
                Some(b'=') if name + 1 < bytes.len() => return gone_behind(name + 1),
                None => {
                    self.value_of = Some(false);
                    return Cow::Borrowed(text);
                }
                _ => {}
            }
        }
        for (tool, flag) in self.tool.iter().flat_map(|tool| tool.flags.iter().map(move |flag| (tool, *flag))) {
            match (bytes.strip_prefix(flag), flag.starts_with(b"--")) {
                (Some([]), _) => {
                    self.value_of = Some(tool.ports);
                    return Cow::Borrowed(text);
                }
                (Some([b'=', _, ..]), true) => return gone_behind(flag.len() + 1),
                (Some(rest), false) if !tool.is_port(rest) => return gone_behind(flag.len()),
                _ => {}
            }
        }
        // The program may stand in another list, or in the image.
        if bytes.strip_prefix(b"-p").is_some_and(is_like_a_password) { gone_behind(2) } else { scrub(text) }
    }
}

/// Letters with something between them that no name of a flag has. A note of ours has none.
fn is_like_a_password(text: &[u8]) -> bool {
    let odd = |b: &u8| !(b.is_ascii_alphabetic() || matches!(b, b'-' | b'_' | b'.' | b',' | b'[' | b']'));
    let is_place = text.starts_with(b"/") || text.contains(&b'=');
    !is_place && text.iter().any(u8::is_ascii_alphabetic) && text.iter().any(odd)
}
