//! One process of the bed, with the verbs that torment it: kill -9, SIGSTOP, SIGCONT, and a restart on the same data.

use std::fmt;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

use crate::error::{Attempt, Error, Result};
use crate::identity::{Condition, Identity};
use crate::{orphans, wait};

/// Generous, because CI's two cores may be busy building something else; a start on an idle machine takes seconds.
const READY_WITHIN: Duration = Duration::from_secs(120);

/// How a process is started, each time in the same way.
#[derive(Debug)]
pub(crate) struct Spec {
    pub name: &'static str,
    pub port: Option<u16>,
    pub program: PathBuf,
    pub args: Vec<String>,
    pub env: Vec<(String, String)>,
    pub directory: PathBuf,
    pub log: PathBuf,
}

type Probe = Box<dyn Fn() -> Result<(), String> + Send + Sync>;

/// One real process. All verbs take `&self` and may be used from any thread; each returns when its effect is there.
pub struct Member {
    spec: Spec,
    ready: Probe,
    child: Mutex<Option<Child>>,
}

impl Member {
    /// Starts it, without waiting for more than the process itself.
    pub(crate) fn start(spec: Spec, ready: impl Fn() -> Result<(), String> + Send + Sync + 'static) -> Result<Self> {
        let child = spawn(&spec)?;
        Ok(Self { spec, ready: Box::new(ready), child: Mutex::new(Some(child)) })
    }

    /// Its name, as in `testbed status` and of its log file.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// The port on 127.0.0.1 that it serves, if any.
    pub fn port(&self) -> Option<u16> {
        self.spec.port
    }

    /// What it has written to standard output and error since the bed was started, over all restarts.
    pub fn log(&self) -> &Path {
        &self.spec.log
    }

    /// The process itself, `None` after it has ended.
    pub fn identity(&self) -> Option<Identity> {
        self.lock().as_ref().and_then(|child| Identity::of(child.id()))
    }

    /// Running, paused, or gone.
    pub fn condition(&self) -> Condition {
        self.identity().map_or(Condition::Gone, |identity| identity.condition())
    }

    /// Asks once whether it serves; `Err` holds its answer.
    pub fn check(&self) -> Result<(), String> {
        match self.condition() {
            Condition::Running => (self.ready)(),
            Condition::Paused => Err("it is paused".to_owned()),
            Condition::Gone => Err("it has ended".to_owned()),
        }
    }

    /// SIGKILL, then waits until the kernel has taken its ports and locks back. Nothing happens if it has ended already.
    pub fn kill9(&self) -> Result<()> {
        let Some(mut child) = self.lock().take() else { return Ok(()) };
        child.kill().attempt(|| format!("kill {}", self.spec.name))?;
        child.wait().attempt(|| format!("wait for the end of {}", self.spec.name))?;
        Ok(())
    }

    /// SIGTERM, then waits for its own, orderly end.
    pub fn terminate(&self) -> Result<()> {
        const LONG: Duration = Duration::from_secs(60);
        self.signal(Signal::TERM)?;
        let ended = wait::until(LONG, || Ok::<_, Error>(self.ended()?.map(|_| ())))?;
        ended.ok_or_else(|| self.not_ready(LONG, "it does not end on SIGTERM".to_owned()))
    }

    /// SIGSTOP: the process answers nothing, its connections stay open. Returns when it has stopped.
    pub fn pause(&self) -> Result<()> {
        self.signal(Signal::STOP)?;
        self.wait_for(Condition::Paused)
    }

    /// SIGCONT after [`Self::pause`].
    pub fn resume(&self) -> Result<()> {
        self.signal(Signal::CONT)?;
        self.wait_for(Condition::Running)
    }

    /// A fresh process on the same data and the same port; a live one is killed -9 first. Returns when it serves again.
    pub fn restart(&self) -> Result<()> {
        self.kill9()?;
        let child = spawn(&self.spec)?;
        *self.lock() = Some(child);
        self.wait_ready()
    }

    /// Waits until it serves; fails at once if it ends instead.
    pub fn wait_ready(&self) -> Result<()> {
        let mut last = "not asked yet".to_owned();
        let ready = wait::until(READY_WITHIN, || {
            if let Some(status) = self.ended()? {
                let log = self.spec.log.clone();
                let tail = last_lines(&log, 20);
                return Err(Error::Exited { process: self.spec.name, status, log, tail });
            }
            match (self.ready)() {
                Ok(()) => Ok(Some(())),
                Err(answer) => {
                    last = answer;
                    Ok(None)
                }
            }
        })?;
        ready.ok_or_else(|| self.not_ready(READY_WITHIN, last))
    }

    fn wait_for(&self, wanted: Condition) -> Result<()> {
        const LONG: Duration = Duration::from_secs(5);
        let reached = wait::until(LONG, || match self.condition() {
            Condition::Gone => Err(Error::NotRunning { process: self.spec.name }),
            condition => Ok((condition == wanted).then_some(())),
        })?;
        reached.ok_or_else(|| self.not_ready(LONG, format!("it is not {wanted:?}")))
    }

    fn not_ready(&self, waited: Duration, last: String) -> Error {
        let logs = self.spec.log.parent().unwrap_or(&self.spec.log).to_owned();
        Error::NotReady { what: self.spec.name.to_owned(), waited, last, logs }
    }

    fn ended(&self) -> Result<Option<std::process::ExitStatus>> {
        match self.lock().as_mut() {
            None => Err(Error::NotRunning { process: self.spec.name }),
            Some(child) => child.try_wait().attempt(|| format!("look after {}", self.spec.name)),
        }
    }

    fn signal(&self, signal: Signal) -> Result<()> {
        let mut guard = self.lock();
        let child = guard.as_mut().ok_or(Error::NotRunning { process: self.spec.name })?;
        // Reaped under this lock only, so until then the pid cannot mean anyone else.
        if child.try_wait().attempt(|| format!("look after {}", self.spec.name))?.is_some() {
            return Err(Error::NotRunning { process: self.spec.name });
        }
        let sent = kill_process(Pid::from_child(child), signal).map_err(std::io::Error::from);
        sent.attempt(|| format!("send {signal:?} to {}", self.spec.name))
    }

    /// A test that panicked while holding the lock must not keep the process from being ended.
    fn lock(&self) -> MutexGuard<'_, Option<Child>> {
        self.child.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        // Nothing to be done about a failure here; the kernel kills the child with this process in any case.
        self.kill9().ok();
    }
}

impl fmt::Debug for Member {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter
            .debug_struct("Member")
            .field("spec", &self.spec)
            .field("condition", &self.condition())
            .finish_non_exhaustive()
    }
}

fn spawn(spec: &Spec) -> Result<Child> {
    let log = File::options().create(true).append(true).open(&spec.log);
    let log = log.attempt(|| format!("write {}", spec.log.display()))?;
    let errors = log.try_clone().attempt(|| format!("share {}", spec.log.display()))?;
    let mut command = Command::new(&spec.program);
    command.args(&spec.args).envs(spec.env.iter().map(|(name, value)| (name, value))).current_dir(&spec.directory);
    command.stdin(Stdio::null()).stdout(log).stderr(errors);
    // A group of its own: Ctrl-C in the terminal is for the owner, whose end takes the children along.
    std::os::unix::process::CommandExt::process_group(&mut command, 0);
    orphans::spawn(command).attempt(|| format!("start {} ({})", spec.name, spec.program.display()))
}

/// Whether a start failed for a port that another program took between our probe and its bind. The whole log is looked
/// through: Java's stack traces push the sentence far up.
pub(crate) fn lost_its_port(error: &Error) -> bool {
    let Error::Exited { log, .. } = error else { return false };
    fs::read(log).is_ok_and(|bytes| String::from_utf8_lossy(&bytes).to_lowercase().contains("address already in use"))
}

/// The end of a log, for an error message, without the frames of Java's stack traces: the sentences are what helps.
pub(crate) fn last_lines(log: &Path, count: usize) -> String {
    let text = fs::read(log).map(|bytes| String::from_utf8_lossy(&bytes).into_owned()).unwrap_or_default();
    last_sentences(&text, count)
}

fn last_sentences(text: &str, count: usize) -> String {
    let is_frame = |line: &&str| line.starts_with("\tat ") || line.starts_with("\t... ");
    let lines: Vec<&str> = text.lines().filter(|line| !is_frame(line)).collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_end_of_a_log_shows_what_java_said_and_not_where() {
        let log = "old\n12:00 ERROR Exiting\nException: no\n\tat a.b.C(C.java:1)\nCaused by: port\n\t... 18 more\n";
        assert_eq!(last_sentences(log, 3), "12:00 ERROR Exiting\nException: no\nCaused by: port");
        assert_eq!(last_sentences("", 3), "");
    }

    #[test]
    fn only_a_process_that_said_so_has_lost_its_port() {
        let directory = crate::scratch::tests::TestDirectory::new("log");
        let log = directory.path().join("log");
        let ended = |said: &str| {
            fs::write(&log, said).unwrap();
            let status = std::os::unix::process::ExitStatusExt::from_raw(256);
            Error::Exited { process: "kafka", status, log: log.clone(), tail: String::new() }
        };
        assert!(lost_its_port(&ended("BindException: Address already in use\n\tat x\n")));
        assert!(lost_its_port(&ended("listen tcp 127.0.0.1:1: bind: address already in use")));
        assert!(!lost_its_port(&ended("ConfigException: Invalid value")));
        assert!(!lost_its_port(&Error::NotRunning { process: "kafka" }));
    }
}
