//! Runs of the real binary, which know nothing of whoever runs the tests.

use std::process::{Command, Stdio};

/// How a run of the binary ended.
pub struct Run {
    pub code: Option<i32>,
    pub out: String,
    pub err: String,
}

pub fn command(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
    // A data directory for each test: one has one process. It goes with the test's thread.
    thread_local!(static DIR: tempfile::TempDir = tempfile::tempdir().expect("a directory"));
    let data_dir = DIR.with(|dir| dir.path().to_owned());
    // Nothing of whoever runs the tests: no kubeconfig, no service account, no settings.
    command.args(args).env_clear().env("HOME", "/nonexistent").env("AGENT_EVENTS__DATA_DIR", data_dir);
    command.stdin(Stdio::null());
    command
}

pub fn finish(mut command: Command) -> Run {
    let output = command.output().expect("the binary is there");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
}

pub fn run(args: &[&str]) -> Run {
    finish(command(args))
}

/// Settings that are complete, with a broker that nobody runs.
pub const SOUND: [&str; 4] = ["--set", "cluster.name=test", "--set", "kafka.bootstrap=127.0.0.1:1"];
pub const ANY_PORTS: [&str; 4] = ["--set", "http.api=127.0.0.1:0", "--set", "http.ops=127.0.0.1:0"];

#[track_caller]
pub fn says(text: &str, parts: &[&str]) {
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in\n{text}");
    }
}
