//! `deploy/terraform`, with its provider from a mirror of files: no registry is asked.

use super::kit::{NAMESPACE, Parts, Pod, Trial, cli, shipped, succeeds};
use super::objects;
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

pub const TRIALS: &[Trial] = &[
    ("both_modules_are_valid_formatted_and_pass_their_own_tests", own_tests),
    ("terraform_renders_the_objects_of_the_dev_overlay", the_same_as_the_overlay),
    ("its_variables_do_what_the_flags_of_generate_do", the_same_as_the_flags),
    ("apply_works_a_second_plan_is_empty_and_destroy_leaves_nothing", apply_and_destroy),
];

const MODULE: &str = "modules/kafka_k8s_monitor";
const VERSION: &str = "1.19.0";

/// A copy of `deploy/terraform`, so that no state and no lock file stands in the tree.
struct Workspace {
    directory: tempfile::TempDir,
}

impl Workspace {
    fn new() -> Self {
        let workspace = Self { directory: tempfile::tempdir().expect("a directory") };
        copy(&shipped("terraform"), &workspace.path("terraform"));
        let mirror = workspace.path("mirror").display().to_string();
        let config = format!(
            "disable_checkpoint = true\nprovider_installation {{\n  filesystem_mirror {{ path = {mirror:?} }}\n}}\n"
        );
        std::fs::create_dir_all(&mirror).expect("a directory");
        std::fs::write(workspace.path("terraform.rc"), config).expect("written");
        workspace
    }

    /// With the provider where Terraform looks for it: below the host, the name and the platform that it says itself.
    fn with_provider() -> Self {
        let workspace = Self::new();
        workspace.succeeds(MODULE, &["get"]);
        let said = workspace.succeeds(MODULE, &["providers"]);
        let source = said.split("provider[").nth(1).and_then(|rest| rest.split(']').next());
        let source = source.unwrap_or_else(|| panic!("no provider in {said}"));
        let version: Value = serde_json::from_str(&workspace.succeeds(MODULE, &["version", "-json"])).expect("JSON");
        let platform = version["platform"].as_str().expect("a platform");
        let place = workspace.path("mirror").join(source).join(VERSION).join(platform);
        std::fs::create_dir_all(&place).expect("a directory");
        let provider = testbed::terraform_provider().expect("the provider is built");
        std::os::unix::fs::symlink(provider, place.join(format!("terraform-provider-kubectl_v{VERSION}")))
            .expect("linked");
        workspace
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn command(&self, module: &str, args: &[&str]) -> Command {
        let mut command = Command::new("terraform");
        command.arg(format!("-chdir={}", self.path("terraform").join(module).display())).args(args);
        command.env("TF_CLI_CONFIG_FILE", self.path("terraform.rc")).env("TF_IN_AUTOMATION", "1");
        command.env("TF_CLI_ARGS", "-no-color").env_remove("TF_DATA_DIR");
        command
    }

    #[track_caller]
    fn succeeds(&self, module: &str, args: &[&str]) -> String {
        let mut command = self.command(module, args);
        if ["version", "get", "providers", "output"].contains(&args[0]) {
            command.env_remove("TF_CLI_ARGS");
        }
        succeeds(command, None).0
    }

    /// What the provider-less module renders.
    fn objects(&self, vars: &[&str]) -> BTreeMap<String, Value> {
        let manifests = format!("{MODULE}/manifests");
        self.succeeds(&manifests, &["init"]);
        let vars: Vec<String> = vars.iter().map(|var| format!("-var={var}")).collect();
        let apply = ["apply", "-auto-approve"].into_iter().chain(vars.iter().map(String::as_str));
        self.succeeds(&manifests, &apply.collect::<Vec<_>>());
        let output: Value = serde_json::from_str(&self.succeeds(&manifests, &["output", "-json"])).expect("JSON");
        let mut objects = vec![output["namespace"]["value"].clone()];
        objects.extend(output["objects"]["value"].as_array().expect("a list").iter().cloned());
        objects::comparable(objects)
    }
}

fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).expect("a directory");
    for entry in std::fs::read_dir(from).expect("a directory").map(|entry| entry.expect("an entry")) {
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).expect("copied");
        }
    }
}

fn own_tests(_: &Parts) {
    let workspace = Workspace::with_provider();
    workspace.succeeds("", &["fmt", "-check", "-recursive", "-diff"]);
    for module in [MODULE.to_owned(), format!("{MODULE}/manifests"), "examples/dev".to_owned()] {
        workspace.succeeds(&module, &["init"]);
        workspace.succeeds(&module, &["validate"]);
        if !module.starts_with("examples") {
            let said = workspace.succeeds(&module, &["test"]);
            assert!(said.contains("0 failed") && !said.contains("0 passed"), "{module}: {said}");
        }
    }
}

fn the_same_as_the_overlay(parts: &Parts) {
    let overlay = parts.kubectl(&["kustomize", &shipped("kustomize/overlays/dev").display().to_string()], None);
    let overlay = objects::comparable(objects::of_yaml(&overlay));
    objects::assert_same(&Workspace::new().objects(&["cluster_name=dev"]), &overlay);
}

fn the_same_as_the_flags(_: &Parts) {
    let flags = "--name=second --install-namespace=watching --image=r/x:2 --namespace=shop,till --resources=secrets,pods,statefulsets --poll-interval=5";
    let vars = [
        "name=second",
        "namespace=watching",
        "image=r/x:2",
        "monitor_namespace=shop, till",
        "resources_to_monitor=[\"secrets\",\"pods\",\"statefulsets\"]",
        "poll_interval=5",
        "kafka_replicas=0",
        "kafka_bootstrap=b:9092",
    ];
    let stream = cli(&["generate", "kustomize"].into_iter().chain(flags.split(' ')).collect::<Vec<_>>());
    let [ours, theirs] =
        [Workspace::new().objects(&vars), objects::comparable(objects::of_yaml(&stream))].map(|mut objects| {
            // Terraform knows the site.
            let settings = objects.get_mut("ConfigMap watching second").expect("the settings");
            settings["data"].as_object_mut().expect("files").remove("site.toml").expect("the site's");
            objects
        });
    objects::assert_same(&ours, &theirs);
}

fn apply_and_destroy(parts: &Parts) {
    let before = parts.everything();
    let workspace = Workspace::with_provider();
    let kubeconfig = format!("-var=kubeconfig={}", parts.cluster.kubeconfig_path().display());
    // Nothing here provides volumes, so Kafka's pod stays pending, and the real one is elsewhere.
    let vars = [kubeconfig.as_str(), "-var=wait_for_rollout=false"];
    let example = |args: &[&str]| workspace.succeeds("examples/dev", &[args, &vars].concat());
    workspace.succeeds("examples/dev", &["init"]);
    example(&["apply", "-auto-approve"]);
    example(&["plan", "-detailed-exitcode"]);
    let changed = workspace
        .command("examples/dev", &[&["plan", "-detailed-exitcode", "-var=poll_interval=7"], &vars[..]].concat());
    let changed = { changed }.output().expect("it runs");
    assert_eq!(changed.status.code(), Some(2), "a changed variable is a change");

    let pod = Pod::of(parts, NAMESPACE, "agent-events");
    let mut process = pod.run(parts, "terraform.");
    process.await_all_up();
    let key = parts.a_change_lands("default", "terraform.");
    assert!(key.starts_with("dev/"), "{}", key);
    assert_eq!(process.terminate(), Some(0));

    example(&["destroy", "-auto-approve"]);
    parts.left_nothing(&before);
}
