//! The directory of a log: who owns it, which files stand in it, and what is said when it cannot be used.
//!
//! | file | holds |
//! |---|---|
//! | `lock` | the lock of the process that owns the directory, and its number |
//! | `format` | the version of all this |
//! | `topics` | names, partitions and settings |
//! | `acked` | how far the journal was acknowledged (see `acked.rs`) |
//! | `journal-N` | what was appended, as it came, all partitions together |
//! | `segment-A-B` | what stood in the journals A to B, by partition |

use crate::log::LogError;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::path::{Path, PathBuf};

const FORMAT: &str = "agent-events log, format 1\n";
/// Not whole yet: never read, removed at the next open.
const UNFINISHED: &str = ".tmp";

/// An owned directory. The ownership ends when this is dropped.
#[derive(Debug)]
pub(super) struct Directory {
    pub path: PathBuf,
    lock: File,
}

impl Drop for Directory {
    /// Gives the ownership back. Closing the file alone would not: a child that another thread is just making holds a copy
    /// of it until it has begun its own program (flock(2): a lock belongs to the open file description).
    fn drop(&mut self) {
        // What cannot be unlocked goes with the last copy.
        drop(self.lock.unlock());
    }
}

/// The numbered files, in their order.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub journals: Vec<u64>,
    pub segments: Vec<(u64, u64)>,
}

impl Directory {
    /// Makes the directory if need be and takes the ownership of it.
    pub fn own(path: &Path) -> Result<Self, LogError> {
        let said = |error: io::Error| unusable(path, &error);
        fs::create_dir_all(path).map_err(said)?;
        if !path.is_dir() {
            return Err(said(ErrorKind::NotADirectory.into()));
        }
        let is_new = !path.join("format").try_exists().map_err(said)?;
        if is_new {
            refuse_foreign(path)?;
        }
        let lock = lock(path)?;
        let directory = Self { path: path.to_owned(), lock };
        if is_new {
            directory.replace("format", FORMAT.as_bytes()).map_err(said)?;
        }
        let format = fs::read(path.join("format")).map_err(said)?;
        if format != FORMAT.as_bytes() {
            return Err(LogError::Refused(format!(
                "the log in {} has a format that this version does not know ({:?}): run the version that wrote it, or move \
                 the directory away and start with an empty one",
                path.display(),
                String::from_utf8_lossy(&format[..format.len().min(64)]).trim_end()
            )));
        }
        Ok(directory)
    }

    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    pub fn journal(&self, number: u64) -> PathBuf {
        self.path.join(format!("journal-{number:012}"))
    }

    pub fn segment(&self, first: u64, last: u64) -> PathBuf {
        self.path.join(format!("segment-{first:012}-{last:012}"))
    }

    /// Where a file is written until it is whole.
    pub fn unfinished(&self, name: &str) -> PathBuf {
        self.path.join(format!("{name}{UNFINISHED}"))
    }

    /// Makes names durable: those of files that were made, renamed or removed.
    pub fn sync(&self) -> io::Result<()> {
        File::open(&self.path)?.sync_all()
    }

    /// Replaces a small file; after a crash it is the old or the new one.
    pub fn replace(&self, name: &str, content: &[u8]) -> io::Result<()> {
        let unfinished = self.unfinished(name);
        let mut file = File::create(&unfinished)?;
        file.write_all(content)?;
        file.sync_all()?;
        fs::rename(unfinished, self.file(name))?;
        self.sync()
    }

    /// What stands here; what a crash left unfinished is removed.
    pub fn found(&self) -> io::Result<Found> {
        let mut found = Found::default();
        for entry in fs::read_dir(&self.path)? {
            let name = entry?.file_name();
            let Some(name) = name.to_str() else { continue };
            if name.ends_with(UNFINISHED) {
                fs::remove_file(self.path.join(name))?;
            } else if let Some(number) = name.strip_prefix("journal-").and_then(|n| n.parse().ok()) {
                found.journals.push(number);
            } else if let Some((first, last)) = name.strip_prefix("segment-").and_then(|n| n.split_once('-'))
                && let (Ok(first), Ok(last)) = (first.parse(), last.parse())
            {
                found.segments.push((first, last));
            }
        }
        found.journals.sort_unstable();
        // Of two that begin at one journal the longer one first: it replaces the other.
        found.segments.sort_unstable_by_key(|(first, last)| (*first, std::cmp::Reverse(*last)));
        Ok(found)
    }

    /// Bytes of all files.
    pub fn bytes(&self) -> u64 {
        let entries = fs::read_dir(&self.path).into_iter().flatten().flatten();
        entries.filter_map(|entry| entry.metadata().ok()).map(|m| m.len()).sum()
    }
}

/// A directory with somebody else's files is not taken for a new one.
fn refuse_foreign(path: &Path) -> Result<(), LogError> {
    for entry in fs::read_dir(path).map_err(|e| unusable(path, &e))? {
        let name = entry.map_err(|e| unusable(path, &e))?.file_name();
        let name = name.to_string_lossy();
        if name != "lock" && name != "lost+found" && !name.ends_with(UNFINISHED) {
            return Err(LogError::Refused(format!(
                "{} is no log of agent-events, but {name} stands in it: set embedded.dir to a directory that is empty or does \
                 not exist yet",
                path.display()
            )));
        }
    }
    Ok(())
}

fn lock(path: &Path) -> Result<File, LogError> {
    let at = path.join("lock");
    let said = |error: io::Error| unusable(path, &error);
    let mut file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&at).map_err(said)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut owner = String::new();
            // Only for the message: an unreadable number is left out.
            let known = file.read_to_string(&mut owner).is_ok() && !owner.trim().is_empty();
            let owner = if known { format!("process {}", owner.trim()) } else { "another process".to_owned() };
            return Err(LogError::Refused(format!(
                "the log in {} is in use by {owner}: stop it, or give this one a directory of its own with embedded.dir or \
                 data_dir",
                path.display()
            )));
        }
        Err(TryLockError::Error(error)) => return Err(said(error)),
    }
    file.set_len(0).and_then(|()| write!(file, "{}", std::process::id())).map_err(said)?;
    Ok(file)
}

/// Why a directory cannot be used, and what helps.
pub(super) fn unusable(path: &Path, error: &io::Error) -> LogError {
    let remedy = match error.kind() {
        ErrorKind::StorageFull | ErrorKind::QuotaExceeded | ErrorKind::FileTooLarge => {
            "the disk is full: free some space, nothing that was acknowledged is lost"
        }
        ErrorKind::PermissionDenied | ErrorKind::ReadOnlyFilesystem => {
            "make it writable for this user, or set embedded.dir or data_dir to a directory that is"
        }
        ErrorKind::NotADirectory | ErrorKind::AlreadyExists => {
            "a file is in the way: remove it, or set embedded.dir to a directory"
        }
        _ => "see to the disk, or set embedded.dir to another directory",
    };
    LogError::Refused(format!("the log in {} cannot be used: {error}; {remedy}", path.display()))
}
