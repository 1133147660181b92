//! `deploy/Dockerfile`: its last stage, around the binary of this test run (compiling a release takes many minutes), on a
//! base made of Debian packages; run as the shipped pod is run, service account and all.

use super::kit::{NAMESPACE, Parts, Pod, Process, Trial, elsewhere, shipped, succeeds};
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TRIALS: &[Trial] = &[("the_image_runs_as_the_shipped_pod_in_cluster_mode_without_any_privilege", the_image)];

/// A container storage of its own, removed at the end.
struct Storage {
    directory: tempfile::TempDir,
}

impl Storage {
    fn new() -> Self {
        let storage = Self { directory: tempfile::tempdir().expect("a directory") };
        let (run, graph) = (storage.path("run"), storage.path("graph"));
        let text = format!("[storage]\ndriver = \"vfs\"\nrunroot = {run:?}\ngraphroot = {graph:?}\n");
        std::fs::write(storage.path("storage.conf"), text).expect("written");
        // What podman takes for granted and a container that runs this test may lack.
        let text = "[engine]\nruntime = \"runc\"\ncgroup_manager = \"cgroupfs\"\nevents_logger = \"file\"\n\
                    [containers]\ndefault_ulimits = [\"nofile=1024:1024\", \"nproc=1024:1024\"]\n";
        std::fs::write(storage.path("containers.conf"), text).expect("written");
        storage
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, program: &str, args: &[&str]) -> Command {
        let mut command = Command::new(program);
        command.args(args).env("CONTAINERS_STORAGE_CONF", self.path("storage.conf"));
        command.env("CONTAINERS_CONF", self.path("containers.conf"));
        command
    }

    /// Builds `image` from a context.
    fn build(&self, image: &str, context: &Path, more: &[&str]) {
        let context = context.display().to_string();
        let args = [&["bud", "--isolation=chroot", "--tag", image], more, &[&context]].concat();
        succeeds(self.command("buildah", &args), None);
    }
}

impl Drop for Storage {
    /// A container outlives the podman that started it: after a failed trial it would go on, in a directory that is gone.
    fn drop(&mut self) {
        drop(self.command("podman", &["rm", "--all", "--force", "--time=0"]).output());
    }
}

/// Debian with the certificates of public authorities, as a layer; made once per user and release.
fn base_layer() -> PathBuf {
    let release = std::fs::read_to_string("/etc/os-release").expect("it is there");
    let codename = release.lines().find_map(|line| line.strip_prefix("VERSION_CODENAME=")).expect("a Debian release");
    let layer = testbed::cache_root().join(format!("image-base-{codename}-1.tar"));
    if !layer.is_file() {
        std::fs::create_dir_all(testbed::cache_root()).expect("a directory");
        let building = layer.with_extension(format!("{}.tar", std::process::id()));
        let target = building.display().to_string();
        let mut command = Command::new("mmdebstrap");
        command.args(["--variant=minbase", "--include=ca-certificates", "--mode=root", codename, &target]);
        succeeds(command, None);
        std::fs::rename(&building, &layer).expect("moved");
    }
    layer
}

fn the_image(parts: &Parts) {
    let storage = Storage::new();
    let base = storage.path("base");
    std::fs::create_dir(&base).expect("a directory");
    std::fs::copy(base_layer(), base.join("base.tar")).expect("copied");
    std::fs::write(base.join("Dockerfile"), "FROM scratch\nADD base.tar /\n").expect("written");
    storage.build("localhost/base", &base, &[]);

    let context = storage.path("context");
    std::fs::create_dir(&context).expect("a directory");
    std::fs::copy(env!("CARGO_BIN_EXE_agent-events"), context.join("agent-events")).expect("copied");
    let file = format!("--file={}", shipped("Dockerfile").display());
    let args = ["--build-arg=BINARY=prebuilt", "--build-arg=RUNTIME_BASE=localhost/base", &file];
    storage.build("localhost/agent-events", &context, &args);
    let inspect = storage.command("podman", &["image", "inspect", "--format={{.User}}", "localhost/agent-events"]);
    assert_eq!(succeeds(inspect, None).0.trim(), "65532:65532");

    let before = parts.everything();
    let overlay = shipped("kustomize/overlays/dev").display().to_string();
    parts.kubectl(&["apply", "--server-side", "--validate=strict", "--kustomize", &overlay], None);
    let pod = Pod::of(parts, NAMESPACE, "agent-events");
    let account = pod.path("account");
    std::fs::create_dir(&account).expect("a directory");
    std::fs::write(account.join("token"), &pod.token).expect("written");
    std::fs::write(account.join("namespace"), NAMESPACE).expect("written");
    std::fs::copy(parts.cluster.ca_path(), account.join("ca.crt")).expect("copied");
    for (path, mode) in [(pod.directory.path().to_owned(), 0o755), (pod.path("data"), 0o777)] {
        use std::os::unix::fs::PermissionsExt as _;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).expect("allowed");
    }
    let volume = |name: &str, at: &str| format!("--volume={}:{at}", pod.path(name).display());
    let port = parts.cluster.url().rsplit(':').next().map(|port| format!("--env=KUBERNETES_SERVICE_PORT={port}"));
    let mut run = storage.command("podman", &["run", "--rm", "--read-only", "--cap-drop=all", "--network=host"]);
    run.args(["--security-opt=no-new-privileges", "--memory=640m", "--env=KUBERNETES_SERVICE_HOST=127.0.0.1"]);
    run.arg(port.expect("a port"))
        .arg(volume("etc", "/etc/agent-events:ro"))
        .arg(volume("data", "/var/lib/agent-events"));
    run.arg(volume("account", "/var/run/secrets/kubernetes.io/serviceaccount:ro"));
    run.arg("localhost/agent-events").args(&pod.args);
    let mut process = Process::start(&mut run, &elsewhere(parts, "image."));
    process.await_all_up();
    parts.a_change_lands("default", "image.");
    assert_eq!(process.terminate(), Some(0), "podman passes the signal on, and the exit code back");

    parts.kubectl(&["delete", "--kustomize", &overlay], None);
    parts.left_nothing(&before);
}
