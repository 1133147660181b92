//! The product on real parts: a real kube-apiserver with etcd and controllers, and a real Kafka.
//!
//! Without Go, Maven or Java these trials are skipped, loudly and counted; with `CI=true` that is a failure.

mod chaos;
mod checker;
mod end_to_end;
mod kit;
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
    let parts: Arc<OnceLock<kit::Parts>> = Arc::default();
    let trial = |(group, (name, run)): (&str, (&str, fn(&kit::Parts)))| {
        let parts = parts.clone();
        Trial::test(format!("{group}::{name}"), move || {
            run(parts.get_or_init(kit::Parts::start));
            Ok(())
        })
        .with_ignored_flag(skip)
    };
    let groups = [("end_to_end", end_to_end::TRIALS), ("restart", restart::TRIALS), ("chaos", chaos::TRIALS)];
    let trials =
        groups.into_iter().flat_map(|(group, trials)| trials.iter().map(move |t| (group, *t))).map(trial).collect();
    let conclusion = libtest_mimic::run(&arguments, trials);
    if skip {
        eprintln!("SKIPPED {} trials on real parts: {}", conclusion.num_ignored, missing.join("; "));
    }
    // Ends the API server and the broker: a static would leave that to chance.
    drop(parts);
    conclusion.exit();
}
