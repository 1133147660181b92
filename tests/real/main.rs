//! The product between real parts (a real kube-apiserver with etcd and controllers, a real Kafka), and between those of a
//! laptop (the sandbox, the embedded log): the same trials.
//!
//! Without Go, Maven or Java the trials on real parts are skipped, loudly and counted; with `CI=true` that is a failure.

// Seeds, counts and skips are for whoever reads the run.
#![allow(clippy::print_stdout, clippy::print_stderr)]

#[path = "../kit/accounts.rs"]
mod accounts;
mod between;
mod canaries;
mod chaos;
mod checker;
mod conformance;
mod control;
mod end_to_end;
mod faults;
mod first_command;
#[path = "../kit/front.rs"]
mod front;
mod kinds;
mod kit;
mod laptop;
mod limits;
mod losses;
mod oracle;
mod restart;
mod resume;
mod scope;
mod server;
mod shows;
#[path = "../kit/waiting.rs"]
mod waiting;

use libtest_mimic::{Arguments, Trial};
use std::sync::{Arc, OnceLock};

/// Ends that several trials share, and that the first one starts.
type Shared = Arc<OnceLock<kit::Parts>>;

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
        ("canaries", canaries::TRIALS),
        ("restart", restart::TRIALS),
        ("resume", resume::TRIALS),
        ("scope", scope::TRIALS),
        ("chaos", chaos::TRIALS),
        ("kinds", kinds::TRIALS),
        ("limits", limits::TRIALS),
        ("shows", shows::WITHIN_THE_HISTORY),
    ];
    let all = || groups.into_iter().flat_map(|(group, trials)| trials.iter().map(move |trial| (group, *trial)));
    let (real, forgetful, laptop): (Shared, Shared, Shared) = Default::default();
    let broker = kit::broker();
    let trial = |ends: &Shared, start: fn(kit::Broker) -> kit::Parts, name: String, run: Run| {
        let (ends, broker) = (ends.clone(), broker.clone());
        Trial::test(name, move || {
            run(ends.get_or_init(|| start(broker)));
            Ok(())
        })
    };
    let on_real = |name: String, run: Run| trial(&real, kit::Parts::real, name, run);
    let on_laptop = |name: String, run: Run| trial(&laptop, |_| kit::Parts::laptop(), format!("laptop::{name}"), run);
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
    let forgetting = [
        ("server", server::TRIALS),
        ("between", between::TRIALS),
        ("control", control::ON_REAL),
        ("shows", shows::BEHIND_THE_HISTORY),
    ];
    for (group, more) in forgetting {
        for (name, _, run) in more {
            let trial = trial(&forgetful, kit::Parts::forgetful, format!("{group}::{name}"), Box::new(run));
            trials.push(trial.with_ignored_flag(skip(&both)));
        }
    }
    let alone = [
        ("oracle", oracle::TRIALS.to_vec()),
        ("first_command", first_command::TRIALS.to_vec()),
        ("faults", faults::trials()),
        ("control", control::TRIALS.to_vec()),
        ("shows", shows::POISON.to_vec()),
    ];
    for (group, more) in alone {
        trials.extend(more.into_iter().map(|(name, run)| {
            Trial::test(format!("{group}::{name}"), move || {
                run();
                Ok(())
            })
        }));
    }
    let names = trials.iter().map(|trial| trial.name().to_owned()).collect();
    faults::REGISTERED.set(names).expect("only here");
    eprint!("{}", conformance::differences());
    let conclusion = libtest_mimic::run(&arguments, trials);
    if skip(&both) {
        eprintln!("SKIPPED {} trials on real parts: {}", conclusion.num_ignored, both.join("; "));
    }
    // Ends the API servers and the broker: a static would leave that to chance.
    drop((real, forgetful, laptop, broker));
    conclusion.exit();
}
