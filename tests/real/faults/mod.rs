//! What an API server can do to whoever watches it, line by line of the matrix in docs/FAULTS.md, on the sandbox with
//! scripted faults. After each, the fold of the log, the store and the API server agree, no promise is broken and nothing is
//! lost in silence: [`Scene::settle`] says so, or what is wrong.
//!
//! Waits pass thirty times as fast as in production (`agent_events::testing::hurry`), so that a trial takes seconds.

mod lists;
mod poison;
mod refusals;
mod scene;
mod streams;
mod versions;

pub use scene::Scene;

use std::sync::OnceLock;

/// A trial's name, which is a sentence, and the trial.
pub type Trial = (&'static str, fn());

pub fn trials() -> Vec<Trial> {
    let own: &[Trial] = &[("every_trial_that_the_matrix_names_exists_and_every_line_names_one", matrix_is_whole)];
    [refusals::TRIALS, streams::TRIALS, lists::TRIALS, versions::TRIALS, poison::TRIALS, own].concat()
}

/// The names of all registered trials, for [`matrix_is_whole`].
pub static REGISTERED: OnceLock<Vec<String>> = OnceLock::new();

/// docs/FAULTS.md is a table: | fault | trials |. A trial that was renamed must not leave a line behind that promises it.
fn matrix_is_whole() {
    let page = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/FAULTS.md");
    let page = std::fs::read_to_string(page).expect("the page is there");
    let rows = page.lines().filter(|line| line.starts_with("| ") && !line.starts_with("| fault"));
    let registered = REGISTERED.get().expect("main has put them there");
    let mut lines = 0;
    for row in rows {
        let trials: Vec<&str> = row.split('`').skip(1).step_by(2).filter(|name| name.contains("::")).collect();
        assert!(!trials.is_empty(), "this line names no trial: {row}");
        for trial in trials {
            assert!(registered.iter().any(|known| known == trial), "{trial} is no trial; the line is {row}");
        }
        lines += 1;
    }
    assert!(lines > 20, "the matrix has {lines} lines");
    let unlisted: Vec<_> = trials().into_iter().map(|(name, _)| format!("faults::{name}")).collect();
    let unlisted: Vec<_> =
        unlisted.iter().filter(|name| !page.contains(*name) && !name.contains("every_trial_that")).collect();
    assert!(unlisted.is_empty(), "docs/FAULTS.md does not name {unlisted:#?}");
}
