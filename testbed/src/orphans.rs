//! No child outlives its owner, whatever ends the owner: return, panic, abort, kill -9. The kernel sees to it
//! (`PR_SET_PDEATHSIG`), not a handler that a kill -9 would skip.
#![allow(unsafe_code, reason = "pre_exec has no safe form; two system calls, argued below")]

use std::io;
use std::process::{Child, Command};
use std::sync::{OnceLock, mpsc};

type Job = (Command, mpsc::Sender<io::Result<Child>>);

/// Spawns `command` as a child that the kernel kills when this process ends.
///
/// The kernel ties that signal to the parent *thread*: a child spawned by a test's thread would die as that test ends,
/// although another test still uses it. So one thread, which lives as long as the process, spawns them all.
pub(crate) fn spawn(command: Command) -> io::Result<Child> {
    static SPAWNER: OnceLock<mpsc::Sender<Job>> = OnceLock::new();
    let spawner = SPAWNER.get_or_init(|| {
        let (sender, jobs) = mpsc::channel::<Job>();
        std::thread::Builder::new()
            .name("testbed-spawner".into())
            .spawn(move || {
                for (mut command, reply) in jobs {
                    let child = command.spawn();
                    if let Err(mpsc::SendError(Ok(mut child))) = reply.send(child) {
                        // Whoever asked has panicked in between: nobody will ever end this child.
                        child.kill().ok();
                        child.wait().ok();
                    }
                }
            })
            .expect("a process that can spawn children can spawn a thread");
        sender
    });
    let (reply, answer) = mpsc::channel();
    let ended = || io::Error::other("the test bed's spawner thread has ended");
    spawner.send((die_with_parent(command), reply)).map_err(|_| ended())?;
    answer.recv().map_err(|_| ended())?
}

#[cfg(target_os = "linux")]
fn die_with_parent(mut command: Command) -> Command {
    use std::os::unix::process::CommandExt;

    use rustix::process::{Signal, getpid, getppid, set_parent_process_death_signal};

    let parent = getpid();
    let prepare = move || {
        set_parent_process_death_signal(Some(Signal::KILL))?;
        // The parent may have died between fork and the line above; then no signal would ever come.
        if getppid() == Some(parent) { Ok(()) } else { Err(rustix::io::Errno::SRCH.into()) }
    };
    // SAFETY: between fork and exec only async-signal-safe work is allowed: these are two plain system calls, without
    // allocation, locks or anything that unwinds.
    unsafe { command.pre_exec(prepare) };
    command
}

/// Elsewhere nothing is started ([`crate::available`] says so); this is only so that the workspace compiles.
#[cfg(not(target_os = "linux"))]
fn die_with_parent(command: Command) -> Command {
    command
}
