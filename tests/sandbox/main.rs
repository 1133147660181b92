//! The sandbox API server from the outside: over HTTP, by `kubectl`, through its faults, and over its own death; and the product
//! beside it, where a real API server has nothing to add.
//!
//! Without `kubectl` on the PATH its walk-through is counted as ignored, with the reason; under CI=true it fails.
#![allow(clippy::print_stderr, reason = "what is skipped is said aloud")]

#[path = "../kit/accounts.rs"]
mod accounts;
mod capture;
mod credentials;
mod faults;
#[path = "../kit/front.rs"]
mod front;
mod kinds;
mod kit;
mod kubectl;
mod persistence;
mod product;
mod protocol;
mod restart;
#[path = "../kit/waiting.rs"]
mod waiting;

use libtest_mimic::{Arguments, Trial};

fn main() {
    // The tests of sudden death start this very program as the process that dies.
    if let Some(dir) = std::env::var_os(kit::CHILD) {
        return kit::be_a_sandbox(dir.into());
    }
    let trial = |group: &str, (name, run): (&'static str, kit::Run)| {
        Trial::test(format!("{group}::{name}"), move || {
            run();
            Ok(())
        })
    };
    let mut trials = Vec::new();
    trials.extend(protocol::TRIALS.iter().map(|t| trial("protocol", *t)));
    trials.extend(faults::TRIALS.iter().map(|t| trial("faults", *t)));
    trials.extend(kinds::TRIALS.iter().map(|t| trial("kinds", *t)));
    trials.extend(persistence::TRIALS.iter().map(|t| trial("persistence", *t)));
    trials.extend(capture::TRIALS.iter().map(|t| trial("capture", *t)));
    trials.extend(restart::TRIALS.iter().map(|t| trial("restart", *t)));
    trials.extend(credentials::TRIALS.iter().map(|t| trial("credentials", *t)));
    let missing = kubectl::missing();
    let skip = missing.is_some() && !testbed::must_not_skip();
    trials.extend(kubectl::TRIALS.iter().map(|t| trial("kubectl", *t).with_ignored_flag(skip)));
    let conclusion = libtest_mimic::run(&Arguments::from_args(), trials);
    if let (true, Some(why)) = (skip, missing) {
        eprintln!("SKIPPED {} trials of kubectl: {why}", kubectl::TRIALS.len());
    }
    conclusion.exit();
}
