//! The product between real parts (a real kube-apiserver with etcd and controllers, a real Kafka), and between those of a
//! laptop (the sandbox, the embedded log): the same trials.
//!
//! Without Go, Maven or Java the trials on real parts are skipped, loudly and counted; with `CI=true` that is a failure.

// Seeds, counts and skips are for whoever reads the run.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod chaos;
mod checker;
mod end_to_end;
mod first_command;
mod kit;
mod laptop;
mod restart;

use libtest_mimic::{Arguments, Trial};
use std::sync::{Arc, OnceLock};

fn main() {
    let mut arguments = Arguments::from_args();
    // The trials share two cores, one API server and one broker: side by side they would only slow each other down.
    arguments.test_threads = Some(1);
    let missing: Vec<String> = [testbed::Part::Kafka, testbed::Part::Kubernetes]
        .into_iter()
        .filter_map(|part| testbed::available(part).err())
        .map(|missing| missing.to_string())
        .collect();
    let skip = !missing.is_empty() && !testbed::must_not_skip();
    let groups = [("end_to_end", end_to_end::TRIALS), ("restart", restart::TRIALS), ("chaos", chaos::TRIALS)];
    let all = || groups.into_iter().flat_map(|(group, trials)| trials.iter().map(move |trial| (group, *trial)));
    let trial = |ends: &Arc<OnceLock<kit::Parts>>, start: fn() -> kit::Parts, place: &str, (group, (name, _, run))| {
        let (ends, run): (_, fn(&kit::Parts)) = (ends.clone(), run);
        Trial::test(format!("{place}{group}::{name}"), move || {
            run(ends.get_or_init(start));
            Ok(())
        })
    };
    let (real, laptop): (Arc<OnceLock<kit::Parts>>, Arc<OnceLock<kit::Parts>>) = Default::default();
    let mut trials: Vec<Trial> = all().map(|t| trial(&real, kit::Parts::real, "", t).with_ignored_flag(skip)).collect();
    trials
        .extend(all().filter(|t| t.1.1 == kit::Where::Both).map(|t| trial(&laptop, kit::Parts::laptop, "laptop::", t)));
    trials.extend(first_command::TRIALS.iter().map(|(name, run)| {
        Trial::test(format!("first_command::{name}"), || {
            run();
            Ok(())
        })
    }));
    let conclusion = libtest_mimic::run(&arguments, trials);
    if skip {
        eprintln!("SKIPPED {} trials on real parts: {}", conclusion.num_ignored, missing.join("; "));
    }
    // Ends the API servers and the broker: a static would leave that to chance.
    drop((real, laptop));
    conclusion.exit();
}
