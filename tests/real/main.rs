//! The product between real parts (a real kube-apiserver with etcd and controllers, a real Kafka), and between those of a
//! laptop (the sandbox, the embedded log): the same trials.
//!
//! Without Go, Maven or Java the trials on real parts are skipped, loudly and counted; with `CI=true` that is a failure.

// Seeds, counts and skips are for whoever reads the run.
#![allow(clippy::print_stdout, clippy::print_stderr)]

mod chaos;
mod checker;
mod conformance;
mod end_to_end;
mod first_command;
mod kit;
mod laptop;
mod restart;
mod resume;

use libtest_mimic::{Arguments, Trial};
use std::sync::{Arc, OnceLock};

/// A trial between its ends.
type Run = Box<dyn FnOnce(&kit::Parts) + Send>;

fn main() {
    let mut arguments = Arguments::from_args();
    // The trials share two cores, one API server and one broker: side by side they would only slow each other down.
    arguments.test_threads = Some(1);
    let missing = |parts: &[testbed::Part]| -> Vec<String> {
        parts.iter().filter_map(|part| testbed::available(*part).err()).map(|missing| missing.to_string()).collect()
    };
    let both = missing(&[testbed::Part::Kafka, testbed::Part::Kubernetes]);
    // Its cases never ask for the broker, which then never starts.
    let kubernetes = missing(&[testbed::Part::Kubernetes]);
    let skip = |missing: &[String]| !missing.is_empty() && !testbed::must_not_skip();
    let groups = [
        ("end_to_end", end_to_end::TRIALS),
        ("restart", restart::TRIALS),
        ("resume", resume::TRIALS),
        ("chaos", chaos::TRIALS),
    ];
    let all = || groups.into_iter().flat_map(|(group, trials)| trials.iter().map(move |trial| (group, *trial)));
    let (real, laptop): (Arc<OnceLock<kit::Parts>>, Arc<OnceLock<kit::Parts>>) = Default::default();
    let trial = |ends: &Arc<OnceLock<kit::Parts>>, start: fn() -> kit::Parts, name: String, run: Run| {
        let ends = ends.clone();
        Trial::test(name, move || {
            run(ends.get_or_init(start));
            Ok(())
        })
    };
    let on_real = |name: String, run: Run| trial(&real, kit::Parts::real, name, run);
    let on_laptop = |name: String, run: Run| trial(&laptop, kit::Parts::laptop, format!("laptop::{name}"), run);
    let mut trials = Vec::new();
    for (group, (name, wants, run)) in all() {
        let name = format!("{group}::{name}");
        if wants == kit::Where::Both {
            trials.push(on_laptop(name.clone(), Box::new(run)));
        }
        trials.push(on_real(name, Box::new(run)).with_ignored_flag(skip(&both)));
    }
    for case in conformance::all() {
        let name = format!("conformance::{}", case.0);
        let run = || -> Run { Box::new(move |parts| conformance::run(parts, case)) };
        let cannot = conformance::missing(case.0).is_some() && !testbed::must_not_skip();
        trials.push(on_real(name.clone(), run()).with_ignored_flag(cannot || skip(&kubernetes)));
        trials.push(on_laptop(name, run()).with_ignored_flag(cannot));
    }
    // The laptop's trials last, and each end's together, as they share what they started.
    trials.sort_by_key(|trial| trial.name().starts_with("laptop::"));
    trials.extend(first_command::TRIALS.iter().map(|(name, run)| {
        Trial::test(format!("first_command::{name}"), || {
            run();
            Ok(())
        })
    }));
    eprint!("{}", conformance::differences());
    let conclusion = libtest_mimic::run(&arguments, trials);
    if skip(&both) {
        eprintln!("SKIPPED {} trials on real parts: {}", conclusion.num_ignored, both.join("; "));
    }
    // Ends the API servers and the broker: a static would leave that to chance.
    drop((real, laptop));
    conclusion.exit();
}
