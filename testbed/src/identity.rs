//! Which process a pid means. A pid alone is reused; a pid with the boot and the tick at which its process started is not.
//! Everything that signals a process it did not itself just spawn goes through here.

use std::fs;

use rustix::process::Signal;
use serde::{Deserialize, Serialize};

/// One process of this machine, told apart from any later one with the same pid.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    /// The process id.
    pub pid: u32,
    /// Clock ticks between boot and its start: field 22 of `/proc/PID/stat`.
    pub start_ticks: u64,
    /// `/proc/sys/kernel/random/boot_id`: ticks begin again at every boot.
    pub boot: String,
}

/// What the kernel says of a live process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Condition {
    /// It can run.
    Running,
    /// It is stopped by a signal: SIGSTOP's doing.
    Paused,
    /// There is no such process, or only its unreaped remains, or another one by that number.
    Gone,
}

impl Identity {
    /// The process that has this pid now, if there is one that has not ended.
    pub fn of(pid: u32) -> Option<Self> {
        let now = stat(pid)?;
        (!now.has_ended()).then(|| Self { pid, start_ticks: now.start_ticks, boot: boot_id() })
    }

    /// This very process.
    pub fn of_this_process() -> Option<Self> {
        Self::of(std::process::id())
    }

    /// Whether that process still exists, and how it is.
    pub fn condition(&self) -> Condition {
        match stat(self.pid) {
            Some(now) if now.start_ticks == self.start_ticks && !now.has_ended() && self.boot == boot_id() => {
                if matches!(now.state, 'T' | 't') { Condition::Paused } else { Condition::Running }
            }
            _ => Condition::Gone,
        }
    }

    /// Whether that process has ended.
    pub fn is_gone(&self) -> bool {
        self.condition() == Condition::Gone
    }

    /// SIGKILL, if the pid still means this process; `false` if it has ended already. Does not wait for the end.
    pub fn kill9(&self) -> std::io::Result<bool> {
        self.signal(Signal::KILL)
    }

    /// Sends `signal` if, and only if, the pid still means this process. `false`: it has ended. The pidfd is opened before
    /// the check, so a pid recycled in between cannot be hit.
    #[cfg(target_os = "linux")]
    fn signal(&self, signal: Signal) -> std::io::Result<bool> {
        use rustix::process::{Pid, PidfdFlags, pidfd_open, pidfd_send_signal};

        let Some(pid) = i32::try_from(self.pid).ok().and_then(Pid::from_raw) else { return Ok(false) };
        let handle = match pidfd_open(pid, PidfdFlags::empty()) {
            Ok(handle) => handle,
            Err(rustix::io::Errno::SRCH) => return Ok(false),
            Err(error) => return Err(error.into()),
        };
        if self.is_gone() {
            return Ok(false);
        }
        match pidfd_send_signal(&handle, signal) {
            Ok(()) => Ok(true),
            Err(rustix::io::Errno::SRCH) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(not(target_os = "linux"))]
impl Identity {
    fn signal(&self, _: Signal) -> std::io::Result<bool> {
        Err(std::io::ErrorKind::Unsupported.into())
    }
}

/// What `/proc/PID/stat` says.
#[derive(Debug, PartialEq, Eq)]
struct Stat {
    state: char,
    threads: u64,
    start_ticks: u64,
}

impl Stat {
    /// Nothing runs any more, somebody has only not asked how it ended. A killed JVM is a zombie as soon as its first thread
    /// is; the others hold ports and files for a moment longer, and until then it has not ended.
    fn has_ended(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x') && self.threads <= 1
    }
}

fn stat(pid: u32) -> Option<Stat> {
    parse_stat(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?)
}

/// proc(5): the second field is the command in parentheses and may itself hold spaces and parentheses, so fields are counted
/// from its last `)`. State is field 3, threads field 20, start time field 22.
fn parse_stat(line: &str) -> Option<Stat> {
    let mut fields = line.rsplit_once(')')?.1.split_ascii_whitespace();
    let state = fields.next()?.chars().next()?;
    let threads = fields.nth(16)?.parse().ok()?;
    let start_ticks = fields.nth(1)?.parse().ok()?;
    Some(Stat { state, threads, start_ticks })
}

fn boot_id() -> String {
    fs::read_to_string("/proc/sys/kernel/random/boot_id").map(|id| id.trim().to_owned()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_command_named_with_spaces_and_parentheses_does_not_shift_the_fields() {
        let line = "42 (a) b (c) S 1 42 42 0 -1 4194304 1 2 3 4 5 6 7 8 20 0 31 0 987654 1000 2000";
        assert_eq!(parse_stat(line), Some(Stat { state: 'S', threads: 31, start_ticks: 987_654 }));
    }

    #[test]
    fn a_zombie_whose_other_threads_still_hold_its_ports_has_not_ended() {
        let zombie = |threads| Stat { state: 'Z', threads, start_ticks: 1 };
        assert!(!zombie(7).has_ended());
        assert!(zombie(1).has_ended());
        assert!(!Stat { state: 'S', threads: 1, start_ticks: 1 }.has_ended());
    }

    #[test]
    fn a_pid_that_now_means_another_process_is_neither_alive_nor_signalled() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let real = Identity::of(child.id()).unwrap();
        let recycled = Identity { start_ticks: real.start_ticks - 1, ..real.clone() };
        assert!(recycled.is_gone());
        assert!(!recycled.signal(Signal::KILL).unwrap());
        assert_eq!(real.condition(), Condition::Running);

        assert!(real.signal(Signal::KILL).unwrap());
        child.wait().unwrap();
        assert!(real.is_gone());
        assert!(!real.signal(Signal::KILL).unwrap());
    }

    #[test]
    fn a_process_from_before_a_reboot_is_gone_whatever_its_pid_and_tick() {
        let this = Identity::of_this_process().unwrap();
        assert!(!this.is_gone());
        assert!(Identity { boot: "another boot".into(), ..this }.is_gone());
    }

    #[test]
    fn an_ended_child_that_nobody_has_waited_for_is_gone() {
        let mut child = Command::new("sleep").arg("60").spawn().unwrap();
        let identity = Identity::of(child.id()).unwrap();
        child.kill().unwrap();
        let gone =
            crate::wait::until(std::time::Duration::from_secs(5), || Ok::<_, ()>(identity.is_gone().then_some(())));
        assert_eq!(gone, Ok(Some(())));
        child.wait().unwrap();
    }
}
