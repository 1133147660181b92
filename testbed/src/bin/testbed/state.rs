//! What `up` leaves for the later verbs: who runs, where, and since when. One directory per part, so that `up kafka` and
//! `up kubernetes` know nothing of each other.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use testbed::{Error, Identity, Part};

/// A part's directory.
#[derive(Debug, Clone)]
pub struct Place {
    pub part: Part,
    pub root: PathBuf,
}

/// What is on disk while a part is up.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The process that owns all others: they end with it.
    pub keeper: Identity,
    /// How long the start took, once it is ready.
    pub ready_after_ms: Option<u64>,
    /// What a client needs: `KUBECONFIG` or `KAFKA_BOOTSTRAP`.
    pub env: BTreeMap<String, String>,
    /// The port that clients use; `up` after `down --keep` asks for it again.
    pub port: Option<u16>,
    /// The processes, by name.
    pub processes: BTreeMap<String, Identity>,
}

impl Place {
    pub fn new(root: &Path, part: Part) -> Self {
        Self { part, root: root.join(part.name()) }
    }

    /// Data and logs.
    pub fn run(&self) -> PathBuf {
        self.root.join("run")
    }

    pub fn options(&self) -> PathBuf {
        self.root.join("options.json")
    }

    pub fn keeper_log(&self) -> PathBuf {
        self.root.join("keeper.log")
    }

    /// Held by the keeper as long as it lives.
    pub fn lock(&self) -> PathBuf {
        self.root.join("lock")
    }

    pub fn state_file(&self) -> PathBuf {
        self.root.join("state.json")
    }

    /// The state, if its keeper lives; what a dead keeper left counts as nothing.
    pub fn running(&self) -> Result<Option<State>> {
        Ok(self.left()?.filter(|state| !state.keeper.is_gone()))
    }

    /// The state, whether its keeper lives or not.
    pub fn left(&self) -> Result<Option<State>> {
        load(&self.state_file())
    }
}

/// `None` if there is no such file.
pub fn load<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    let parsed = serde_json::from_slice(&bytes);
    Ok(Some(parsed.map_err(|error| Error::State { path: path.to_owned(), reason: error.to_string() })?))
}

/// Written beside and renamed: a reader sees the old state or the new one, never half of it.
pub fn save<T: Serialize>(path: &Path, value: &T) -> Result<()> {
    let beside = path.with_extension("new");
    let text = serde_json::to_vec_pretty(value).context("state is plain data")?;
    fs::write(&beside, text).with_context(|| format!("cannot write {}", beside.display()))?;
    fs::rename(&beside, path).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Directory(PathBuf);

    impl Drop for Directory {
        fn drop(&mut self) {
            fs::remove_dir_all(&self.0).ok();
        }
    }

    fn directory(name: &str) -> Directory {
        let path = std::env::temp_dir().join(format!("testbed-state-{name}-{}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Directory(path)
    }

    fn state(keeper: Identity) -> State {
        State {
            ready_after_ms: Some(2_345),
            env: [("KAFKA_BOOTSTRAP".to_owned(), "127.0.0.1:20000".to_owned())].into(),
            port: Some(20_000),
            processes: [("kafka".to_owned(), keeper.clone())].into(),
            keeper,
        }
    }

    #[test]
    fn a_state_comes_back_as_it_was_saved() {
        let directory = directory("round-trip");
        let path = directory.0.join("state.json");
        assert_eq!(load::<State>(&path).unwrap(), None);
        let saved = state(Identity::of_this_process().unwrap());
        save(&path, &saved).unwrap();
        assert_eq!(load(&path).unwrap(), Some(saved));
        assert!(!path.with_extension("new").exists());
    }

    #[test]
    fn a_state_whose_keeper_has_died_is_left_but_not_running() {
        let directory = directory("dead-keeper");
        let place = Place::new(&directory.0, Part::Kafka);
        fs::create_dir_all(&place.root).unwrap();
        let alive = Identity::of_this_process().unwrap();
        save(&place.state_file(), &state(alive.clone())).unwrap();
        assert!(place.running().unwrap().is_some());

        let recycled = Identity { start_ticks: alive.start_ticks + 1, ..alive };
        save(&place.state_file(), &state(recycled)).unwrap();
        assert!(place.running().unwrap().is_none());
        assert!(place.left().unwrap().is_some());
    }

    #[test]
    fn a_broken_state_file_is_named_with_the_remedy() {
        let directory = directory("broken");
        let path = directory.0.join("state.json");
        fs::write(&path, "{\"keeper\": 1}").unwrap();
        let error = load::<State>(&path).unwrap_err().to_string();
        assert!(error.contains("state.json") && error.contains("testbed down"), "{error}");
    }
}
