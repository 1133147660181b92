//! What is built from which registry, and by which commands. The files are embedded, so that the binary builds its parts
//! without a checkout; everything here goes into the hash that names the built directory, so that a changed recipe is rebuilt
//! and an old one is never taken for it.

use std::fmt;
use std::path::Path;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Missing, Result};
use crate::kafka;

/// What can be started.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// One Apache Kafka 4.1 node, broker and controller in one process.
    Kafka,
    /// kube-apiserver 1.37 with etcd, controller-manager, scheduler, and kwok for nodes.
    Kubernetes,
}

impl Part {
    /// Both, in the order in which they are reported.
    pub const ALL: [Self; 2] = [Self::Kafka, Self::Kubernetes];

    /// The word on the command line and in paths.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Kubernetes => "kubernetes",
        }
    }

    pub(crate) fn components(self) -> &'static [&'static Component] {
        match self {
            Self::Kafka => const { &[&KAFKA, &KAFKA_CLASSES] },
            Self::Kubernetes => const { &[&KUBE, &KWOK] },
        }
    }

    /// What it takes to run it once it is built.
    pub(crate) fn needed_to_run(self) -> &'static [Missing] {
        match self {
            Self::Kafka => &[Missing { tool: "java", needed_for: "to run Kafka (version 17 or later)" }],
            Self::Kubernetes => &[],
        }
    }
}

impl fmt::Display for Part {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name())
    }
}

impl FromStr for Part {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .into_iter()
            .find(|part| part.name() == word)
            .ok_or_else(|| format!("`{word}` is not kafka or kubernetes"))
    }
}

/// Given the build directory and the directory that becomes the cache entry.
type Finish = fn(&Path, &Path) -> Result<()>;

/// One directory in the cache.
#[derive(Debug)]
pub(crate) struct Component {
    /// First half of the directory's name.
    pub name: &'static str,
    /// What a person is told while it is built.
    pub estimate: &'static str,
    /// Written to the build directory: name and content, in which `{out}` is replaced as in [`Step`].
    pub files: &'static [(&'static str, &'static str)],
    /// Run there one after another.
    pub steps: &'static [Step],
    /// What no command does: its name, to be changed with it, and the code, given the build directory and `{out}`.
    pub finish: Option<(&'static str, Finish)>,
    /// Needed only as long as the component is not built.
    pub tools: &'static [Missing],
}

/// One command. `{out}` in an argument is the directory that becomes the cache entry.
#[derive(Debug)]
pub(crate) struct Step {
    pub program: &'static str,
    pub args: &'static [&'static str],
    pub env: &'static [(&'static str, &'static str)],
    /// Copy these files, from the directory that the step's output names, into `{out}`: how files get out of a Go module.
    pub copy_from_printed_directory: &'static [&'static str],
}

impl Step {
    const fn run(
        program: &'static str,
        args: &'static [&'static str],
        env: &'static [(&'static str, &'static str)],
    ) -> Self {
        Self { program, args, env, copy_from_printed_directory: &[] }
    }
}

const GO: Missing = Missing { tool: "go", needed_for: "to build the Kubernetes control plane (version 1.26 or later)" };

/// A static binary that does not depend on where it was built.
const GO_ENV: &[(&str, &str)] = &[("CGO_ENABLED", "0"), ("GOFLAGS", "-trimpath -buildvcs=false")];

static KUBE: Component = Component {
    name: "kube",
    estimate: "6 minutes and 4 GB of Go build cache, once per recipe",
    files: &[
        ("go.mod", include_str!("../recipe/kube/go.mod")),
        ("go.sum", include_str!("../recipe/kube/go.sum")),
        ("main.go", include_str!("../recipe/kube/main.go")),
    ],
    steps: &[Step::run(
        "go",
        &[
            "build",
            // Clients refuse to parse the version of a server that was built without one.
            "-ldflags=-s -w -X k8s.io/component-base/version.gitVersion=v1.37.2 \
             -X k8s.io/component-base/version.gitMajor=1 -X k8s.io/component-base/version.gitMinor=37",
            "-o",
            "{out}/testbed-kube",
            ".",
        ],
        GO_ENV,
    )],
    finish: None,
    tools: &[GO],
};

/// Without stages kwok does nothing: these make nodes ready and keep them so, and lead pods through their life.
pub(crate) const KWOK_STAGES: &[&str] = &[
    "kustomize/stage/node/fast/node-initialize.yaml",
    "kustomize/stage/node/heartbeat/node-heartbeat.yaml",
    "kustomize/stage/pod/general/pod-create.yaml",
    "kustomize/stage/pod/general/pod-init-container-running.yaml",
    "kustomize/stage/pod/general/pod-init-container-completed.yaml",
    "kustomize/stage/pod/general/pod-ready.yaml",
    "kustomize/stage/pod/general/pod-complete.yaml",
    "kustomize/stage/pod/general/pod-delete.yaml",
];

static KWOK: Component = Component {
    name: "kwok",
    estimate: "2 minutes, once per recipe",
    files: &[("go.mod", include_str!("../recipe/kwok/go.mod")), ("go.sum", include_str!("../recipe/kwok/go.sum"))],
    steps: &[
        Step::run("go", &["build", "-ldflags=-s -w", "-o", "{out}/kwok", "sigs.k8s.io/kwok/cmd/kwok"], GO_ENV),
        Step {
            program: "go",
            args: &["list", "-m", "-f", "{{.Dir}}", "sigs.k8s.io/kwok"],
            env: GO_ENV,
            copy_from_printed_directory: KWOK_STAGES,
        },
    ],
    finish: None,
    tools: &[GO],
};

/// Nobody starts it but Terraform: it belongs to no [`Part`].
pub(crate) static TERRAFORM_PROVIDER: Component = Component {
    name: "terraform-provider-kubectl",
    estimate: "2 minutes, once per recipe",
    files: &[
        ("go.mod", include_str!("../recipe/terraform/go.mod")),
        ("go.sum", include_str!("../recipe/terraform/go.sum")),
    ],
    steps: &[Step::run(
        "go",
        &["build", "-ldflags=-s -w", "-o", "{out}/provider", "github.com/gavinbunney/terraform-provider-kubectl"],
        GO_ENV,
    )],
    finish: None,
    tools: &[Missing { tool: "go", needed_for: "to build the Terraform provider kubectl (version 1.26 or later)" }],
};

static KAFKA: Component = Component {
    name: "kafka",
    estimate: "half a minute, once per recipe",
    files: &[
        ("pom.xml", include_str!("../recipe/kafka/pom.xml")),
        ("format.properties", include_str!("../recipe/kafka/format.properties")),
    ],
    steps: &[
        Step::run(
            "mvn",
            &["-q", "-B", "dependency:copy-dependencies", "-DincludeScope=runtime", "-DoutputDirectory={out}/libs"],
            &[],
        ),
        // Formatting costs a second of JVM at every start; the result holds no port and no path, so one is enough.
        Step::run(
            "java",
            &[
                "-cp",
                "{out}/libs/*",
                "kafka.tools.StorageTool",
                "format",
                "--cluster-id",
                TEMPLATE_CLUSTER_ID,
                "--config",
                "format.properties",
            ],
            &[],
        ),
    ],
    finish: None,
    tools: &[
        Missing { tool: "mvn", needed_for: "to fetch Kafka's jars" },
        Missing { tool: "java", needed_for: "to run Kafka (version 17 or later)" },
    ],
};

/// The classes that a broker loads, parsed and verified beforehand: a start then takes a third of the CPU time (measured on
/// Java 17: 1.4-1.6 s instead of 3.7-4.7 s). Apart from the jars, because the JVM accepts it only for jars that have not moved.
static KAFKA_CLASSES: Component = Component {
    name: "kafka-classes",
    estimate: "ten seconds, once per recipe",
    // Not read there: they are what the archive depends on.
    files: &[
        ("pom.xml", include_str!("../recipe/kafka/pom.xml")),
        ("format.properties", include_str!("../recipe/kafka/format.properties")),
        ("server.properties", SERVER_PROPERTIES),
    ],
    steps: &[],
    finish: Some(("run a broker and archive its classes, 1", kafka::archive_classes)),
    tools: &[],
};

/// Stands in the formatted template; each new data directory gets its own instead.
pub(crate) const TEMPLATE_CLUSTER_ID: &str = "AAAAAAAAAAAAAAAAAAAAAA";

/// Kafka's settings that no run changes; ports, directories and the caller's own are appended.
pub(crate) const SERVER_PROPERTIES: &str = include_str!("../recipe/kafka/server.properties");

impl Component {
    /// Name and hash of the recipe: the cache directory's name.
    pub(crate) fn directory_name(&self) -> String {
        format!("{}-{:016x}", self.name, self.hash())
    }

    fn hash(&self) -> u64 {
        let mut hash = Fnv::new();
        for (name, content) in self.files {
            hash.field(name);
            hash.field(content);
        }
        for step in self.steps {
            hash.field(step.program);
            step.args.iter().for_each(|arg| hash.field(arg));
            for (name, value) in step.env {
                hash.field(name);
                hash.field(value);
            }
            step.copy_from_printed_directory.iter().for_each(|file| hash.field(file));
        }
        if let Some((name, _)) = self.finish {
            hash.field(name);
        }
        hash.0
    }
}

/// FNV-1a, 64 bits: it names a directory and guards nothing. The standard library's hashes may change between releases,
/// which would rebuild everything for no reason.
struct Fnv(u64);

impl Fnv {
    fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    /// Length first, so that moving a byte from one field to the next changes the hash.
    fn field(&mut self, field: &str) {
        self.bytes(&field.len().to_le_bytes());
        self.bytes(field.as_bytes());
    }
}

/// A short stable name for a text.
pub(crate) fn short_hash(text: &str) -> String {
    let mut hash = Fnv::new();
    hash.bytes(text.as_bytes());
    format!("{:016x}", hash.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn component(files: &'static [(&'static str, &'static str)], steps: &'static [Step]) -> Component {
        Component { name: "x", estimate: "", files, steps, finish: None, tools: &[] }
    }

    #[test]
    fn the_hash_is_the_published_fnv_1a_and_so_stays_the_same_across_releases() {
        assert_eq!(short_hash(""), "cbf29ce484222325");
        assert_eq!(short_hash("foobar"), "85944171f73967e8");
    }

    #[test]
    fn any_change_of_a_recipe_gives_another_directory() {
        static A: &[Step] = &[Step::run("go", &["build", "."], &[])];
        static B: &[Step] = &[Step::run("go", &["build."], &[])];
        static C: &[Step] = &[Step::run("go", &["build", "."], &[("CGO_ENABLED", "0")])];
        static D: &[Step] = &[Step::run("go", &["build", "."], &[("CGO_ENABLED", "1")])];
        let names = [
            component(&[("a", "1")], A),
            component(&[("a", "2")], A),
            component(&[("a1", "")], A),
            component(&[("", "a1")], A),
            component(&[("a", "1")], B),
            component(&[("a", "1")], C),
            component(&[("a", "1")], D),
        ]
        .map(|component| component.directory_name());
        let distinct: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(distinct.len(), names.len(), "{names:?}");
        assert_eq!(component(&[("a", "1")], A).directory_name(), names[0]);
    }

    #[test]
    fn a_part_is_named_by_its_word() {
        for part in Part::ALL {
            assert_eq!(part.name().parse(), Ok(part));
        }
        assert_eq!("kafak".parse::<Part>(), Err("`kafak` is not kafka or kubernetes".to_owned()));
    }
}
