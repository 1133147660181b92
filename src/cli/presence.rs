//! The pid file: which process works on a data directory, and where it can be asked.
//!
//! What counts is the lock on the file, which ends with its process however that ends; the text inside only says who
//! holds it. A file without a lock is a leftover and means nothing.

use super::failure::{ERROR, Failure, NOT_RUNNING};
use crate::settings::SettingsError;
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Seek as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Its name in the data directory.
const PID_FILE: &str = "agent-events.pid";
/// How often, and how long each time, a start waits for those who only look who is there.
const LOOKS: u32 = 50;
const LOOK: Duration = Duration::from_millis(2);

/// Who works on a data directory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// Process id.
    pub pid: u32,
    /// When it took the directory, ms since 1970.
    pub since_ms: i64,
    /// Where its API listens; `None` while it starts.
    pub api: Option<SocketAddr>,
    /// Where its own log goes; `None` in the foreground.
    pub log: Option<PathBuf>,
}

/// The directory is ours as long as this lives.
pub struct Presence {
    file: File,
    path: PathBuf,
    holder: Holder,
}

impl Drop for Presence {
    /// Closing the file alone does not end it while a child that another thread is just making holds a copy of it.
    fn drop(&mut self) {
        drop(self.file.unlock());
    }
}

impl Presence {
    /// Takes the directory, which is made if it is not there.
    ///
    /// # Errors
    /// When it cannot be written (bad configuration), or another process works on it; names both and the remedy.
    pub fn take(data_dir: &Path, now_ms: i64, log: Option<PathBuf>) -> Result<Self, Failure> {
        prepare(data_dir)?;
        let path = data_dir.join(PID_FILE);
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
        let file = file.map_err(|error| unusable(data_dir, &error))?;
        let mut locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        for _ in 0..LOOKS {
            if locked != Err(rustix::io::Errno::WOULDBLOCK) || !matches!(look(data_dir), Ok(None)) {
                break;
            }
            // Who only looks holds the file for that moment.
            #[allow(clippy::disallowed_methods)] // a start has no runtime yet
            std::thread::sleep(LOOK);
            locked = flock(&file, FlockOperation::NonBlockingLockExclusive);
        }
        match locked {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                let who = look(data_dir).ok().flatten();
                let who = who.map_or_else(|| "another process".to_owned(), |holder| format!("process {}", holder.pid));
                let message = format!(
                    "data_dir = {}: {who} works on it; end that one (`agent-events stop`), or give this one a \
                     directory of its own (--set data_dir=DIR)",
                    data_dir.display()
                );
                return Err(Failure::with(ERROR, message));
            }
            Err(error) => return Err(unusable(data_dir, &error.into())),
        }
        let holder = Holder { pid: std::process::id(), since_ms: now_ms, api: None, log };
        let mut presence = Self { file, path, holder };
        presence.write()?;
        Ok(presence)
    }

    /// Says where the process can be asked.
    pub fn announce(&mut self, api: SocketAddr) -> Result<(), Failure> {
        self.holder.api = Some(api);
        self.write()
    }

    fn write(&mut self) -> Result<(), Failure> {
        let text = serde_json::to_string(&self.holder).map_err(|error| Failure::error(error.to_string()))?;
        let mut write = || -> io::Result<()> {
            self.file.rewind()?;
            self.file.write_all(text.as_bytes())?;
            self.file.set_len(text.len() as u64)
        };
        write().map_err(|error| Failure::error(format!("{}: cannot be written: {error}", self.path.display())))
    }
}

/// Makes the data directory.
///
/// # Errors
/// When it cannot be used.
pub fn prepare(data_dir: &Path) -> Result<(), Failure> {
    fs::create_dir_all(data_dir).map_err(|error| unusable(data_dir, &error))
}

fn unusable(data_dir: &Path, error: &io::Error) -> Failure {
    let why = match error.kind() {
        io::ErrorKind::AlreadyExists | io::ErrorKind::NotADirectory => "a file is in its place".to_owned(),
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => format!("{error}; free some space there"),
        _ => error.to_string(),
    };
    let message = format!(
        "data_dir = {}: cannot be used: {why}; give a directory that this user may write (--set data_dir=DIR)",
        data_dir.display()
    );
    Failure::with(SettingsError::EXIT_CODE, message)
}

/// Who works on the directory; `None` when nobody does.
///
/// # Errors
/// When the file is there and cannot be read.
pub fn look(data_dir: &Path) -> Result<Option<Holder>, Failure> {
    let path = data_dir.join(PID_FILE);
    let wrong = |error: &dyn std::fmt::Display| Failure::error(format!("{}: {error}", path.display()));
    let mut file = match File::open(&path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(wrong(&error)),
    };
    match flock(&file, FlockOperation::NonBlockingLockShared) {
        Ok(()) => {
            drop(file.unlock());
            return Ok(None);
        }
        Err(rustix::io::Errno::WOULDBLOCK) => {}
        Err(error) => return Err(wrong(&error)),
    }
    let mut text = String::new();
    file.read_to_string(&mut text).map_err(|error| wrong(&error))?;
    match serde_json::from_str(&text) {
        Ok(holder) => Ok(Some(holder)),
        // A process takes the file, and then says who it is.
        Err(_) if text.is_empty() => Err(wrong(&"a process is just starting there; ask again")),
        Err(_) => {
            let what =
                "another program holds this file; end it, or work on a directory of its own (--set data_dir=DIR)";
            Err(wrong(&what))
        }
    }
}

/// Nobody works on the directory.
pub fn nobody(data_dir: &Path) -> Failure {
    let message = format!(
        "no agent-events works on {}; start one with `agent-events run`, or name its directory (--set data_dir=DIR)",
        data_dir.display()
    );
    Failure::with(NOT_RUNNING, message)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_directory_has_one_holder_and_a_leftover_file_means_nothing() {
        let dir = tempfile::tempdir().expect("a directory");
        assert_eq!(look(dir.path()), Ok(None));
        let mut first = Presence::take(dir.path(), 5, None).expect("free");
        first.announce(([127, 0, 0, 1], 8080).into()).expect("written");
        let seen = look(dir.path()).expect("readable").expect("held");
        assert_eq!((seen.pid, seen.api), (std::process::id(), Some(([127, 0, 0, 1], 8080).into())));
        let second = Presence::take(dir.path(), 6, None).err().expect("refused");
        assert!(second.message.contains(&format!("process {}", seen.pid)), "{}", second.message);
        drop(first);
        assert_eq!(look(dir.path()), Ok(None));
        Presence::take(dir.path(), 7, None).expect("free again");
    }

    #[test]
    fn those_who_only_look_keep_nobody_from_starting() {
        let dir = tempfile::tempdir().expect("a directory");
        drop(Presence::take(dir.path(), 1, None).expect("free"));
        let is_over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !is_over.load(Ordering::Relaxed) {
                        drop(look(dir.path()));
                    }
                });
            }
            let refused = (0..2000).find_map(|at| Presence::take(dir.path(), at, None).err());
            is_over.store(true, Ordering::Relaxed);
            assert!(refused.is_none(), "{}", refused.map(|failure| failure.message).unwrap_or_default());
        });
    }

    #[test]
    fn what_is_no_directory_is_a_bad_setting() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        let refused = Presence::take(file.path(), 0, None).err().expect("refused");
        assert_eq!(refused.code, 78);
        assert!(refused.message.contains("data_dir = ") && refused.message.contains("--set data_dir=DIR"));
    }
}
