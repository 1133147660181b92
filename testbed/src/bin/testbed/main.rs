//! `testbed`: the control plane and the Kafka of the tests, on a laptop. `up` leaves a keeper in the background that owns the
//! processes; everything else talks to it or, for `down`, ends it.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command line tool speaks to its terminal")]

mod keeper;
mod state;
mod verbs;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use testbed::Part;

use crate::state::Place;

/// A real Kubernetes control plane and a real Kafka on free loopback ports, built from package registries alone.
#[derive(Parser)]
#[command(name = "testbed", version)]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
    /// Where data, logs and state are; each directory is a bed of its own. Default: `up` in the test bed's cache directory.
    #[arg(long, global = true, value_name = "DIR")]
    dir: Option<PathBuf>,
}

#[derive(Subcommand)]
enum Verb {
    /// Start what is named, or both, and wait until it is ready. Prints what `env` prints.
    Up {
        /// `kafka` or `kubernetes`; both if not named.
        part: Option<Part>,
        #[command(flatten)]
        options: UpOptions,
    },
    /// End what is named, or both, and remove its data.
    Down {
        /// `kafka` or `kubernetes`; both if not named.
        part: Option<Part>,
        /// Leave data and logs; the next `up` goes on with them, on the same port if it is free.
        #[arg(long)]
        keep: bool,
    },
    /// Say what runs: process, pid, port, ready or not. Exit code 3 if nothing does.
    Status {
        /// `kafka` or `kubernetes`; both if not named.
        part: Option<Part>,
    },
    /// Print `export` lines for a shell: `eval "$(testbed env)"`. Exit code 3 if nothing runs.
    Env {
        /// `kafka` or `kubernetes`; both if not named.
        part: Option<Part>,
    },
    /// Build what is named, or both, without starting it.
    Build {
        /// `kafka` or `kubernetes`; both if not named.
        part: Option<Part>,
    },
    /// kill -9 one process (its name as in `status`).
    Kill9 {
        /// As in `status`, for example `kafka` or `kube-apiserver`.
        process: String,
    },
    /// SIGSTOP one process: it answers nothing, its connections stay open.
    Pause {
        /// As in `status`.
        process: String,
    },
    /// SIGCONT one process.
    Resume {
        /// As in `status`.
        process: String,
    },
    /// Start one process anew on the same data and port, after a kill -9 if it runs.
    Restart {
        /// As in `status`.
        process: String,
    },
    /// The keeper in the background; `up` starts it.
    #[command(hide = true)]
    Keep {
        /// What to keep.
        part: Part,
    },
}

/// What `up` may change. Each applies to the part that it is about.
#[derive(Args)]
struct UpOptions {
    /// Kafka's port [default: a free one].
    #[arg(long, value_name = "PORT")]
    kafka_port: Option<u16>,
    /// Kafka's JVM heap in MiB.
    #[arg(long, value_name = "MIB", default_value_t = 256)]
    kafka_heap: u32,
    /// One more flag for Kafka's JVM; may be repeated.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    kafka_jvm_arg: Vec<String>,
    /// A Kafka server property, KEY=VALUE; may be repeated.
    #[arg(long, value_name = "KEY=VALUE", value_parser = parse_property)]
    kafka_property: Vec<(String, String)>,
    /// The API server's port [default: a free one].
    #[arg(long, value_name = "PORT")]
    api_port: Option<u16>,
    /// How many nodes there are for pods.
    #[arg(long, default_value_t = 2)]
    nodes: usize,
    /// How long each step of a pod's life takes (Pending, ContainerCreating, Running, Terminating), up to twice that by chance.
    #[arg(long, value_name = "MILLISECONDS", default_value_t = 250)]
    pod_step: u64,
    /// API server and etcd only: objects are stored and watched, nothing acts on them.
    #[arg(long)]
    no_controllers: bool,
    /// The API server watches etcd directly, so that a compaction gives 410 Gone for every kind.
    #[arg(long)]
    no_watch_cache: bool,
    /// Seconds between compactions of etcd; 20 with --no-watch-cache gives a real 410 Gone within a minute.
    #[arg(long, value_name = "SECONDS")]
    compaction: Option<u64>,
    /// One more flag for kube-apiserver; may be repeated.
    #[arg(long, value_name = "FLAG", allow_hyphen_values = true)]
    api_server_arg: Vec<String>,
}

fn parse_property(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or_else(|| format!("`{text}` is not KEY=VALUE"))?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("testbed: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: Cli) -> anyhow::Result<ExitCode> {
    let root = cli.dir.unwrap_or_else(|| testbed::cache_root().join("up"));
    let root = std::path::absolute(root)?;
    let places = |part: Option<Part>| -> Vec<Place> {
        part.map_or_else(|| Part::ALL.to_vec(), |part| vec![part])
            .into_iter()
            .map(|part| Place::new(&root, part))
            .collect()
    };
    match cli.verb {
        Verb::Up { part, options } => verbs::up(&places(part), &options),
        Verb::Down { part, keep } => verbs::down(&places(part), keep),
        Verb::Status { part } => verbs::status(&places(part)),
        Verb::Env { part } => verbs::env(&places(part)),
        Verb::Build { part } => verbs::build(&places(part)),
        Verb::Kill9 { process } => verbs::fault(&places(None), "kill9", &process),
        Verb::Pause { process } => verbs::fault(&places(None), "pause", &process),
        Verb::Resume { process } => verbs::fault(&places(None), "resume", &process),
        Verb::Restart { process } => verbs::fault(&places(None), "restart", &process),
        Verb::Keep { part } => keeper::keep(&Place::new(&root, part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        use clap::CommandFactory;
        Cli::command().debug_assert();
    }

    #[test]
    fn a_property_is_a_key_and_a_value_that_may_hold_equals_signs() {
        assert_eq!(parse_property("a.b = c=d"), Ok(("a.b".into(), " c=d".into())));
        assert_eq!(parse_property("a.b"), Err("`a.b` is not KEY=VALUE".into()));
    }
}
