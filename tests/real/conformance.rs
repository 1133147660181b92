//! One suite of what a Kubernetes API server does, for a real kube-apiserver and for the sandbox.
//!
//! A case asserts what the *real* server was seen to do (1.37); then the sandbox has to do it too. Where it does not, and
//! need not, [`DIFFERENCES`] says why: a difference that is not listed fails, and so does a listed one that is none.

pub mod api;
mod creating;
mod deleting;
mod discovering;
mod forms;
mod kinds;
mod kubectl;
mod listing;
mod patching;
mod replacing;
mod selecting;
mod strategic;
mod watching;

use crate::kit::{Ends, Parts};
use api::Api;
use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::LazyLock;

/// A case and its name, which is a sentence.
pub type Case = (&'static str, fn(&Api<'_>));

/// Names the cases by their functions.
macro_rules! cases {
    ($($case:ident),* $(,)?) => { &[$((stringify!($case), $case)),*] };
}
use cases;

/// What the sandbox does otherwise, by the name of the case, and the reason.
const DIFFERENCES: &[(&str, &str)] = &[
    ("an_apply_removes_what_its_manager_now_leaves_out", NO_OWNERSHIP),
    ("an_apply_to_what_others_own_conflicts_unless_forced", NO_OWNERSHIP),
    ("an_unknown_field_is_refused_only_if_validation_is_strict", NO_SCHEMAS),
    (
        "a_watch_of_garbage_versions_is_refused",
        "a real server's 500 without a reason is its own fault; here it is a 400",
    ),
    (
        "orphans_lose_their_owner_and_stay",
        "orphans are let go at once, without the finalizer that holds their owner meanwhile",
    ),
    ("an_unknown_path_is_not_found", "a Status as everywhere else, where a real server says it in plain text"),
];

const NO_OWNERSHIP: &str = "an apply creates or merges; who owns a field is not kept";
const NO_SCHEMAS: &str = "without schemas no field is unknown";

/// All cases.
pub fn all() -> impl Iterator<Item = Case> {
    let groups = [
        listing::CASES,
        selecting::CASES,
        watching::CASES,
        creating::CASES,
        replacing::CASES,
        patching::CASES,
        strategic::CASES,
        deleting::CASES,
        forms::CASES,
        discovering::CASES,
        kinds::CASES,
        kubectl::CASES,
    ];
    groups.into_iter().flatten().copied()
}

/// Why a case cannot run here, if it cannot.
pub fn missing(name: &str) -> Option<&'static str> {
    let of_kubectl = kubectl::CASES.iter().any(|(case, _)| *case == name);
    static THERE: LazyLock<bool> = LazyLock::new(kubectl::is_there);
    (of_kubectl && !*THERE).then_some("kubectl is not on PATH")
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

/// What the sandbox does otherwise, for whoever reads the run; panics if it names a case that is none, or if a
/// name means two.
pub fn differences() -> String {
    let mut known = BTreeSet::new();
    for (name, _) in all() {
        assert!(known.insert(name), "{name} is the name of two cases");
    }
    let line = |(name, reason): &(&str, &str)| {
        assert!(known.contains(name), "{name} is listed as a difference and is no case");
        format!("  {name}: {reason}\n")
    };
    let lines: String = DIFFERENCES.iter().map(line).collect();
    format!("The sandbox is not as a real API server in\n{lines}")
}
