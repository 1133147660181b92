//! One suite of what a Kubernetes API server does, for a real kube-apiserver and for the sandbox.
//!
//! A case asserts what the *real* server was seen to do (1.37); then the sandbox has to do it too. Where it does not, and
//! need not, [`DIFFERENCES`] says why: a difference that is not listed fails, and so does a listed one that is none.

pub mod api;
mod deleting;
mod discovering;
mod forms;
mod kinds;
mod listing;
mod patching;
mod selecting;
mod watching;
mod writing;

use crate::kit::{Ends, Parts};
use api::Api;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// A case and its name, which is a sentence.
pub type Case = (&'static str, fn(&Api<'_>));

/// Names the cases by their functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case)),*] };
}
use cases;

/// What the sandbox does otherwise, by the name of the case, and the reason.
const DIFFERENCES: &[(&str, &str)] = &[];

/// All cases.
pub fn all() -> impl Iterator<Item = Case> {
    let groups = [
        listing::CASES,
        selecting::CASES,
        watching::CASES,
        writing::CASES,
        patching::CASES,
        deleting::CASES,
        forms::CASES,
        discovering::CASES,
        kinds::CASES,
    ];
    groups.into_iter().flatten().copied()
}

/// Runs a case between these ends.
pub fn run(parts: &Parts, (name, case): Case) {
    let api = Api::new(parts);
    let listed = match &parts.ends {
        Ends::Real { .. } => None,
        Ends::Laptop(_) => DIFFERENCES.iter().find(|(differing, _)| *differing == name),
    };
    let Some((_, reason)) = listed else { return case(&api) };
    let as_on_the_real_one = catch_unwind(AssertUnwindSafe(|| case(&api))).is_ok();
    assert!(!as_on_the_real_one, "the sandbox does the same now; take it off the list of differences ({reason})");
}

/// The list of differences for whoever reads the run; panics if it names a case that is none.
pub fn differences() -> String {
    let known: Vec<&str> = all().map(|(name, _)| name).collect();
    let line = |(name, reason): &(&str, &str)| {
        assert!(known.contains(name), "{name} is listed as a difference and is no case");
        format!("  {name}: {reason}\n")
    };
    DIFFERENCES.iter().map(line).collect()
}
