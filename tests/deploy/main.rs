//! What `deploy/` ships, on a real API server and a real Kafka: accepted strictly, enough to work with, no right too many,
//! and gone without a trace.
//!
//! Each trial names the tools that it takes. Where one is missing the trial is skipped, loudly and counted; with
//! `CI=true` that is a failure, except for the image, whose tools are few people's.

// Counts and skips are for whoever reads the run.
#![allow(clippy::print_stdout, clippy::print_stderr)]

// librdkafka comes in through the crate, and with it what build.rs puts in its place.
use agent_events as _;

mod image;
mod kit;
mod kustomize;
mod objects;
mod terraform;
mod topic;
#[path = "../kit/waiting.rs"]
mod waiting;

use libtest_mimic::{Arguments, Failed, Trial};
use std::collections::BTreeSet;
use std::sync::{Arc, OnceLock};

fn main() {
    let mut arguments = Arguments::from_args();
    // They share one API server, on which each leaves nothing behind.
    arguments.test_threads = Some(1);
    let parts: Arc<OnceLock<kit::Parts>> = Arc::default();
    let groups = [
        ("kustomize", kustomize::TRIALS, kit::kubectl as fn() -> Result<(), String>, true),
        ("terraform", terraform::TRIALS, kit::terraform, true),
        ("image", image::TRIALS, kit::image_tools, false),
    ];
    let mut reasons = BTreeSet::new();
    let mut trials = Vec::new();
    for (group, members, needs, in_ci) in groups {
        let missing = needs().err();
        let fails = in_ci && testbed::must_not_skip();
        reasons.extend(missing.iter().filter(|_| !fails).map(|why| format!("{group}: {why}")));
        for (name, run) in members {
            let (parts, missing) = (parts.clone(), missing.clone());
            let skip = missing.is_some() && !fails;
            let trial = Trial::test(format!("{group}::{name}"), move || match missing {
                Some(why) => Err(Failed::from(why)),
                None => {
                    run(parts.get_or_init(kit::Parts::start));
                    Ok(())
                }
            });
            trials.push(trial.with_ignored_flag(skip));
        }
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    if !reasons.is_empty() {
        let reasons = reasons.into_iter().collect::<Vec<_>>().join("; ");
        eprintln!("SKIPPED {} trials of deploy/: {reasons}", conclusion.num_ignored);
    }
    // Ends the API server and the broker: a static would leave that to chance.
    drop(parts);
    conclusion.exit();
}
