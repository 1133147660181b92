//! Where a started part keeps its data and logs, and who clears that away: the owner at its end, or, if the owner was killed,
//! the next one that starts anything.

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use crate::error::{Attempt, Result};
use crate::identity::Identity;

/// Logs of a failed test are worth a day.
const LOGS_KEPT: Duration = Duration::from_secs(24 * 60 * 60);
const OWNER: &str = "owner.json";

/// A directory with `data/` and `logs/`.
#[derive(Debug)]
pub(crate) struct Scratch {
    root: PathBuf,
    temporary: bool,
}

impl Scratch {
    /// A fresh directory that goes when this value does; `directory` given, that one, which stays.
    pub(crate) fn new(name: &str, directory: Option<&Path>) -> Result<Self> {
        let scratch = match directory {
            Some(root) => Self { root: root.to_owned(), temporary: false },
            None => {
                let runs = runs();
                sweep(&runs);
                Self { root: runs.join(unique(name)), temporary: true }
            }
        };
        for directory in [scratch.data(), scratch.logs()] {
            fs::create_dir_all(&directory).attempt(|| format!("make {}", directory.display()))?;
        }
        if scratch.temporary {
            let owner = serde_json::to_vec(&Identity::of_this_process()).expect("an identity is plain data");
            fs::write(scratch.root.join(OWNER), owner).attempt(|| format!("write into {}", scratch.root.display()))?;
        }
        Ok(scratch)
    }

    pub(crate) fn data(&self) -> PathBuf {
        self.root.join("data")
    }

    pub(crate) fn logs(&self) -> PathBuf {
        self.root.join("logs")
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        if !self.temporary {
            return;
        }
        if std::thread::panicking() || std::env::var_os("TESTBED_KEEP_LOGS").is_some() {
            fs::remove_dir_all(self.data()).ok();
            writeln!(std::io::stderr(), "testbed: logs kept in {}", self.logs().display()).ok();
        } else {
            fs::remove_dir_all(&self.root).ok();
        }
    }
}

/// One per user: another user's leftovers are not ours to remove.
fn runs() -> PathBuf {
    std::env::temp_dir().join(format!("agent-events-testbed-{}", rustix::process::getuid().as_raw()))
}

fn unique(name: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{name}-{}-{}", std::process::id(), NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Removes what owners left that were killed: their data at once, their logs after a day. Best effort: a leftover that cannot
/// be removed must not fail somebody's test.
fn sweep(runs: &Path) {
    for entry in fs::read_dir(runs).into_iter().flatten().flatten() {
        let root = entry.path();
        let owner =
            fs::read(root.join(OWNER)).ok().and_then(|bytes| serde_json::from_slice::<Option<Identity>>(&bytes).ok());
        // No owner yet: it is being made this moment, or somebody else's.
        let Some(Some(owner)) = owner else { continue };
        if !owner.is_gone() {
            continue;
        }
        fs::remove_dir_all(root.join("data")).ok();
        let age =
            fs::metadata(root.join(OWNER)).and_then(|meta| meta.modified()).ok().and_then(|time| time.elapsed().ok());
        if age.is_some_and(|age| age > LOGS_KEPT) {
            fs::remove_dir_all(&root).ok();
        }
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A directory for one unit test.
    pub(crate) struct TestDirectory(PathBuf);

    impl TestDirectory {
        pub(crate) fn new(name: &str) -> Self {
            let path = std::env::temp_dir().join(unique(&format!("testbed-unit-{name}")));
            fs::create_dir_all(&path).unwrap();
            Self(path)
        }

        pub(crate) fn path(&self) -> &Path {
            &self.0
        }
    }

    impl Drop for TestDirectory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn leave_behind(runs: &Path, name: &str, owner: &Identity) -> PathBuf {
        let root = runs.join(name);
        fs::create_dir_all(root.join("data")).unwrap();
        fs::create_dir_all(root.join("logs")).unwrap();
        fs::write(root.join(OWNER), serde_json::to_vec(&Some(owner)).unwrap()).unwrap();
        root
    }

    #[test]
    fn only_the_data_of_dead_owners_is_swept() {
        let directory = TestDirectory::new("sweep");
        let alive = Identity::of_this_process().unwrap();
        let dead = Identity { start_ticks: alive.start_ticks + 1, ..alive.clone() };
        let mine = leave_behind(directory.path(), "mine", &alive);
        let left = leave_behind(directory.path(), "left", &dead);
        sweep(directory.path());
        assert!(mine.join("data").is_dir());
        assert!(!left.join("data").exists());
        assert!(left.join("logs").is_dir(), "the logs of a killed run are what one looks for the same day");
    }

    #[test]
    fn a_temporary_directory_goes_with_its_owner_and_a_given_one_stays() {
        let temporary = Scratch::new("unit", None).unwrap();
        let gone = temporary.root.clone();
        assert!(gone.join("data").is_dir() && gone.join("logs").is_dir());
        drop(temporary);
        assert!(!gone.exists());

        let directory = TestDirectory::new("given");
        drop(Scratch::new("unit", Some(directory.path())).unwrap());
        assert!(directory.path().join("data").is_dir());
    }

    #[test]
    fn a_panic_keeps_the_logs_and_removes_the_data() {
        let (sender, receiver) = std::sync::mpsc::channel();
        let ended = std::thread::spawn(move || {
            let scratch = Scratch::new("unit-panic", None).unwrap();
            sender.send(scratch.root.clone()).unwrap();
            panic!("on purpose: a failing test");
        })
        .join();
        assert!(ended.is_err());
        let root = receiver.recv().unwrap();
        assert!(root.join("logs").is_dir());
        assert!(!root.join("data").exists());
        fs::remove_dir_all(root).unwrap();
    }
}
