//! One side of a comparison in a process of its own, so that its CPU time and its peak memory are nobody else's.
//!
//! The benchmark starts itself again with `--role NAME JSON`. The two speak in lines: the parent says `go`, the child
//! answers with what it has reached.

use crate::cpu;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::time::Duration;

/// A process that plays one side.
pub struct Role {
    child: Child,
    stdin: ChildStdin,
    stdout: BufReader<ChildStdout>,
    name: String,
}

impl Role {
    /// Starts this benchmark again in a role.
    pub fn start(name: &str, task: &impl Serialize) -> Self {
        let task = serde_json::to_string(task).expect("a task is plain data");
        let mut command = Command::new(std::env::current_exe().expect("the benchmark knows its own path"));
        command.args(["--role", name, "--task", &task]);
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap_or_else(|e| panic!("role {name} cannot be started: {e}"));
        let stdin = child.stdin.take().expect("stdin is a pipe");
        let stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        Self { child, stdin, stdout, name: name.to_owned() }
    }

    /// Says a word to it.
    pub fn say(&mut self, word: &str) {
        writeln!(self.stdin, "{word}").and_then(|()| self.stdin.flush()).unwrap_or_else(|e| self.died(&e.to_string()));
    }

    /// Waits for the answer that begins with `word`; gives the rest of its line.
    pub fn expect(&mut self, word: &str) -> String {
        let mut line = String::new();
        match self.stdout.read_line(&mut line) {
            Ok(n) if n > 0 => match line.trim().strip_prefix(word) {
                Some(rest) => rest.trim().to_owned(),
                None => self.died(&format!("it said {line:?} instead of {word:?}")),
            },
            other => self.died(&format!("{other:?} instead of {word:?}")),
        }
    }

    fn died(&self, how: &str) -> ! {
        panic!("role {} has not done its part: {how}", self.name)
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Duration {
        cpu::of_process(self.child.id()).unwrap_or_else(|| self.died("it is gone"))
    }

    /// CPU time so far, by thread.
    pub fn threads(&self) -> cpu::Threads {
        cpu::of_threads(self.child.id())
    }

    /// Resident memory now and at its peak, in MiB.
    pub fn memory(&self) -> (f64, f64) {
        cpu::memory(self.child.id()).unwrap_or_else(|| self.died("it is gone"))
    }
}

impl Drop for Role {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// The child's side: its task, and the words.
pub fn task<T: DeserializeOwned>(text: &str) -> T {
    serde_json::from_str(text).expect("the parent sent a task of this role")
}

/// Tells the parent something.
pub fn tell(line: &str) {
    println!("{line}");
}

/// Waits for a word of the parent; `false` when it has none left.
pub fn told() -> bool {
    let mut line = String::new();
    matches!(std::io::stdin().read_line(&mut line), Ok(n) if n > 0)
}
