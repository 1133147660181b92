//! What may be typed. The words are those of docs and scripts: none is renamed without an alias.

use crate::http::records::From;
use crate::settings::FlagOverride;
use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;

/// Everything a Kubernetes API server reports, as a durable ordered log in Kafka, served back as live shared state.
#[derive(Debug, Parser)]
#[command(name = "agent-events", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    #[command(flatten)]
    pub global: Global,
    #[command(subcommand)]
    pub command: Command,
}

const EXIT_CODES: &str = "\
Exit codes: 0 ok, 1 error, 2 usage, 3 not running, 10 unhealthy, 12 changes pending, 69 cluster or broker unreachable \
at start, 70 supervisor gave up, 71 a thread is blocked, 72 shutdown deadline passed, 78 bad configuration, 128+n signal n.";

/// Taken by every command.
#[derive(Debug, Args)]
pub struct Global {
    /// Settings file over the defaults; later ones win.
    #[arg(long, global = true, value_name = "FILE", help_heading = "Global options")]
    pub config: Vec<PathBuf>,
    /// One setting, as a TOML dotted key: --set kafka.bootstrap="b1:9092".
    #[arg(long, global = true, value_name = "KEY=VALUE", help_heading = "Global options")]
    pub set: Vec<String>,
    /// The running process to ask [default: the one that works on data_dir, else http://127.0.0.1:8080].
    #[arg(long, global = true, value_name = "URL", help_heading = "Global options")]
    pub server: Option<String>,
}

#[derive(Debug, Subcommand)]
pub enum Command {
    /// Run: capture the cluster, keep the state, answer. In the foreground, unless --daemon.
    #[command(aliases = ["start-k8s-monitor", "start_k8s_monitor"])]
    Run(Run),
    /// End the process that works on data_dir, in order; exit code 3 when there is none.
    #[command(aliases = ["stop-k8s-monitor", "stop_k8s_monitor"])]
    Stop {
        /// How long to wait for its end.
        #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
        timeout: std::time::Duration,
        /// Kill it when it has not ended by then. What was not flushed is read again at the next start.
        #[arg(long)]
        force: bool,
    },
    /// Whether a process works on data_dir, and how it is doing; exit code 3 when there is none.
    Status {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Check settings, cluster, rights, broker and topics: one line each, with the remedy.
    #[command(aliases = ["check-connection", "check_connection"])]
    Check {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Topics as they should be and as they are.
    #[command(subcommand)]
    Topics(Topics),
    /// The same as `topics apply`.
    #[command(name = "setup-kafka", alias = "setup_kafka", hide = true)]
    SetupKafka,
    /// Show objects from the state of the running process.
    Get(Get),
    /// Follow changes of objects; goes on where it was after an interruption.
    Watch(Watch),
    /// Records as they stand in the log, from the running process or, when none runs, from the log itself.
    Tail(Tail),
    /// What the log says is missing from it: changes that were coalesced while nobody could see them, newest first.
    Gaps(Gaps),
    /// Whether the log says what the API server says; exit code 0 only when it does, 1 with the differences, 69 when one
    /// of the two cannot be reached.
    Verify(Verify),
    /// The actors of the running process.
    #[command(subcommand)]
    Actors(Actors),
    /// The settings in force.
    #[command(subcommand)]
    Config(Config),
    /// Manifests, made from the settings: what the process needs of a cluster, and no more.
    #[command(subcommand)]
    Generate(Generate),
    /// The version of this program.
    Version {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// For people or for programs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    #[default]
    Table,
    /// For programs.
    Json,
}

#[derive(Debug, Args)]
pub struct Run {
    #[command(flatten)]
    pub watched: Watched,
    /// End with exit code 69 when the cluster or the broker does not answer at the start, instead of waiting for it.
    #[arg(long)]
    pub require_healthy: bool,
    /// Run in the background; returns once the first state is complete. See `stop` and `status`.
    #[arg(long)]
    pub daemon: bool,
    /// The background process itself.
    #[arg(long, hide = true, conflicts_with = "daemon")]
    pub daemonized: bool,
}

/// What to watch, over the settings.
#[derive(Debug, Args)]
pub struct Watched {
    /// Namespace to watch; repeatable, or a comma list.
    #[arg(short, long, value_name = "NS", conflicts_with = "all_namespaces")]
    pub namespace: Vec<String>,
    /// Watch all namespaces.
    #[arg(short = 'A', long)]
    pub all_namespaces: bool,
    /// Kinds to watch, as a comma list: pods,deployments,certificates.cert-manager.io,*.example.com; * for all.
    #[arg(long, value_name = "KINDS")]
    pub resources: Vec<String>,
    /// Interval of the light audit, and of lists where watching is not allowed.
    #[arg(long, value_name = "SECONDS", value_parser = seconds)]
    pub poll_interval: Option<u64>,
}

impl Watched {
    /// What these flags mean for the settings.
    pub fn overrides(&self) -> Vec<FlagOverride> {
        let mut flags = Vec::new();
        if !self.namespace.is_empty() {
            flags.push(FlagOverride::namespaces(self.namespace.clone()));
        }
        if self.all_namespaces {
            flags.push(FlagOverride::all_namespaces());
        }
        if !self.resources.is_empty() {
            flags.push(FlagOverride::resources(self.resources.clone()));
        }
        flags.extend(self.poll_interval.map(FlagOverride::poll_interval));
        flags
    }
}

/// What is printed from the code that owns the fact.
#[derive(Debug, Subcommand)]
pub enum Generate {
    /// The rights that `run` needs at the API server with these settings, as YAML for kubectl.
    Rbac(Deployed),
    /// Everything that runs in a cluster, as YAML for kubectl, or as a base for kustomize with --to.
    Kustomize {
        #[command(flatten)]
        deployed: Deployed,
        /// The container image.
        #[arg(long, value_name = "IMAGE", default_value = concat!("agent-events:", env!("CARGO_PKG_VERSION")))]
        image: String,
        /// Write the files of a kustomize base into this directory, over those of an earlier run.
        #[arg(long, value_name = "DIR")]
        to: Option<PathBuf>,
    },
}

/// Taken by everything that is generated for a cluster. The settings are those of `config/production.toml`, or of --config
/// when it is given; then --set and these flags. The environment is left out: the pod would not have it.
#[derive(Debug, Args)]
pub struct Deployed {
    #[command(flatten)]
    pub watched: Watched,
    /// Name of every object that is made; two in one cluster need two names.
    #[arg(long, value_name = "NAME", default_value = "agent-events")]
    pub name: String,
    /// Namespace that the process runs in. (--namespace names those that it watches.)
    #[arg(long, value_name = "NS", default_value = "agent-events")]
    pub install_namespace: String,
}

fn seconds(text: &str) -> Result<u64, String> {
    match text.parse() {
        Ok(seconds) if seconds > 0 => Ok(seconds),
        _ => Err("give whole seconds, at least 1".to_owned()),
    }
}

#[derive(Debug, Clone, Copy, Subcommand)]
pub enum Topics {
    /// What `apply` would do; exit code 12 when there is something.
    Plan {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Create what is missing. Changes nothing that exists.
    Apply,
    /// Whether the topics can be used as they are; exit code 10 when not.
    Verify,
    /// The topics with their partitions and records.
    List {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
}

/// How `get` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum GetOutput {
    /// Like kubectl.
    #[default]
    Table,
    /// More columns.
    Wide,
    /// Whole objects.
    Json,
    /// Whole objects.
    Yaml,
    /// kind/name, for scripts.
    Name,
}

#[derive(Debug, Args)]
pub struct Get {
    /// A captured kind, by plural, singular or short name: pods, pod, po; with its group where that is not clear.
    pub kind: String,
    /// One object; all when left out.
    pub name: Option<String>,
    /// Namespace.
    #[arg(short, long, value_name = "NS", default_value = "default", conflicts_with = "all_namespaces")]
    pub namespace: String,
    /// All namespaces.
    #[arg(short = 'A', long, conflicts_with = "name")]
    pub all_namespaces: bool,
    /// Label selector: app=web,tier!=cache.
    #[arg(short = 'l', long, value_name = "SELECTOR", conflicts_with = "name")]
    pub selector: Option<String>,
    /// Field selector: status.phase=Running.
    #[arg(long, value_name = "SELECTOR", conflicts_with = "name")]
    pub field_selector: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: GetOutput,
}

#[derive(Debug, Args)]
pub struct Watch {
    /// Kinds; all when left out.
    pub kinds: Vec<String>,
    /// Namespace; all when left out.
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,
    /// Label selector.
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// Go on behind this cursor of an earlier watch, instead of beginning with what is there.
    #[arg(long, value_name = "CURSOR")]
    pub since: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Gaps {
    /// Only of this kind.
    #[arg(long, value_name = "KIND")]
    pub kind: Option<String>,
    /// Only since then: a time (RFC 3339), or a span such as 10m.
    #[arg(long, value_name = "TIME")]
    pub since: Option<String>,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

#[derive(Debug, Args)]
pub struct Verify {
    /// Only these kinds; repeatable, or a comma list. All that are watched when left out. Kubernetes Events are exempt.
    #[arg(long, value_name = "KINDS", value_delimiter = ',')]
    pub kind: Vec<String>,
    /// Only these kinds, as `run --resources` takes them; where no process runs, also others than the settings name.
    #[arg(long, value_name = "KINDS", value_delimiter = ',', conflicts_with = "kind")]
    pub resources: Vec<String>,
    /// Only this namespace.
    #[arg(short, long, value_name = "NS")]
    pub namespace: Option<String>,
    /// How long what differs is looked at again before it counts.
    #[arg(long, value_name = "DURATION", default_value = "30s", value_parser = humantime::parse_duration)]
    pub wait: std::time::Duration,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: Output,
}

/// How `tail` prints.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum TailOutput {
    /// One short line a record.
    #[default]
    Text,
    /// One JSON document a record.
    Json,
}

#[derive(Debug, Args)]
pub struct Tail {
    /// Topic, with or without the prefix: k8s-pods.
    pub topic: String,
    /// Where to begin: BEGIN, END, a time span such as 10m, or an offset.
    #[arg(long, default_value = "END")]
    pub from: From,
    /// Only this partition.
    #[arg(long, value_name = "N")]
    pub partition: Option<i32>,
    /// End after so many records.
    #[arg(long, value_name = "N")]
    pub max: Option<u64>,
    /// End at the last record instead of waiting for more.
    #[arg(short = 'e', long)]
    pub exit: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value_t)]
    pub output: TailOutput,
}

#[derive(Debug, Subcommand)]
pub enum Actors {
    /// The supervision tree.
    List {
        /// How to print.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Stop an actor and start it again. Needs chaos.enabled in the running process.
    Restart {
        /// As `actors list` shows it: watcher/pods.
        id: String,
    },
    /// Make an actor fail, to see it come back. Needs chaos.enabled in the running process.
    Kill {
        /// As `actors list` shows it: watcher/pods.
        id: String,
        /// Which failure.
        #[arg(long, value_enum, default_value_t)]
        how: How,
    },
}

/// A failure to provoke.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum How {
    /// A panic inside the actor.
    #[default]
    Panic,
    /// It stops as if by its own wish.
    Stop,
    /// It waits for something that never comes.
    Hang,
}

impl How {
    /// As the API takes it.
    pub fn word(self) -> &'static str {
        match self {
            Self::Panic => "panic",
            Self::Stop => "stop",
            Self::Hang => "hang",
        }
    }
}

#[derive(Debug, Subcommand)]
pub enum Config {
    /// Every setting in force, secrets hidden.
    Show {
        /// Where each came from.
        #[arg(long)]
        origin: bool,
        /// How to print; a table is TOML that --config reads back.
        #[arg(short, long, value_enum, default_value_t)]
        output: Output,
    },
    /// Whether the settings are sound.
    Validate,
    /// The defaults, with the reason of each.
    Default,
}
