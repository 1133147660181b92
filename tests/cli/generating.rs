//! What `generate` writes.

use crate::kit::{command, finish, run, says};

#[test]
fn the_shipped_base_is_what_generate_kustomize_writes() {
    let dir = tempfile::tempdir().expect("a directory");
    let to = dir.path().join("made/base");
    let made = run(&["generate", "kustomize", "--to", to.to_str().expect("UTF-8")]);
    assert_eq!((made.code, made.out.as_str()), (Some(0), ""), "{}", made.err);
    let files = |root: &std::path::Path| -> std::collections::BTreeMap<String, String> {
        let entries = std::fs::read_dir(root).expect("a directory").map(|entry| entry.expect("an entry").path());
        let name = |path: &std::path::Path| path.file_name().expect("a name").to_string_lossy().into_owned();
        entries.map(|path| (name(&path), std::fs::read_to_string(&path).expect("UTF-8"))).collect()
    };
    let shipped = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/kustomize/base");
    let remedy = "agent-events generate kustomize --to deploy/kustomize/base";
    let (made, shipped) = (files(&to), files(&shipped));
    assert_eq!(made.keys().collect::<Vec<_>>(), shipped.keys().collect::<Vec<_>>());
    for (name, text) in &made {
        assert!(shipped[name] == *text, "deploy/kustomize/base/{name} differs from the code; mend it by `{remedy}`");
    }
    let terraform = std::path::Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("deploy/terraform/modules/kafka_k8s_monitor/manifests/production.toml");
    let copy = std::fs::read_to_string(&terraform).expect("UTF-8");
    assert!(copy == made["production.toml"], "{} is no copy of config/production.toml", terraform.display());
}

#[test]
fn generated_rights_follow_the_settings_and_the_flags_and_nothing_else() {
    let all = run(&["generate", "rbac"]);
    assert_eq!((all.code, all.err.as_str()), (Some(0), ""));
    says(&all.out, &["kind: ClusterRoleBinding\n", "- pods\n", "- statefulsets\n", "- kube-system\n"]);
    assert!(!all.out.contains("- secrets") && !all.out.contains("kind: Role\n"), "{}", all.out);
    // Of a pod, not of this shell.
    let mut with_env = command(&["generate", "rbac"]);
    with_env.env("AGENT_EVENTS__WATCH__SECRETS__ENABLED", "true");
    assert_eq!(finish(with_env).out, all.out);

    let named = ["generate", "rbac", "-n", "shop,till", "--resources", "secrets,deployments", "--name", "second"];
    let named = run(&[&named[..], &["--install-namespace", "watching", "--set", "cluster.id=x"]].concat());
    assert_eq!(named.code, Some(0), "{}", named.err);
    says(
        &named.out,
        &["kind: Role\n", "namespace: shop\n", "namespace: till\n", "  namespace: watching\n", "name: second\n"],
    );
    says(&named.out, &["- secrets\n", "can read their values"]);
    assert!(!named.out.contains("ClusterRole") && !named.out.contains("- pods"), "{}", named.out);
}

#[test]
fn a_generated_pod_is_told_what_was_typed_and_what_it_cannot_do_is_refused() {
    let pod = run(&[
        "generate",
        "kustomize",
        "-n",
        "shop",
        "--poll-interval",
        "5",
        "--image",
        "r/x:1",
        "--set",
        "store.ring=9",
    ]);
    assert_eq!(pod.code, Some(0), "{}", pod.err);
    for arg in ["--set=watch.all_namespaces=false", "--set=store.ring=9", "--namespace=shop", "--poll-interval=5"] {
        says(&pod.out, &[&format!("- {arg:?}\n")]);
    }
    says(&pod.out, &["image: \"r/x:1\"\n"]);
    let dir = tempfile::tempdir().expect("a directory");
    let file = dir.path().join("site.toml");
    std::fs::write(&file, "").expect("it is written");
    let local = concat!(env!("CARGO_MANIFEST_DIR"), "/config/local.toml");
    for (args, code, said) in [
        (&["--config", local][..], 78, &["cluster.mode", "\"in-cluster\"", "http.ops", "data_dir"][..]),
        (&["--set", "kafka.sasl_password=hunter2"], 78, &["kafka.sasl_password", "sasl_password_file"]),
        (&["--set", "kafka.librdkafka.\"ssl.key.password\"=hunter2"], 78, &["kafka.librdkafka", "Secret"]),
        (&["--set", "log.engine=embedded"], 78, &["log.engine"]),
        (&["--set", "watch.pods.enabeld=true"], 78, &["watch.pods.enabeld"]),
        (&["--config", "/nonexistent/a.toml"], 78, &["/nonexistent/a.toml"]),
        (&["--config", file.to_str().expect("UTF-8")], 2, &["site.toml", "a name of its own"]),
        (&["--name", "Agent_Events"], 2, &["--name", "small letters"]),
        (&["--to", "/proc/base"], 1, &["/proc/base"]),
    ] {
        let run = run(&[&["generate", "kustomize"][..], args].concat());
        assert_eq!((run.code, run.out.as_str()), (Some(code), ""), "{args:?}: {}", run.err);
        says(&run.err, said);
        assert!(!run.err.contains("hunter2"), "{}", run.err);
    }
}
