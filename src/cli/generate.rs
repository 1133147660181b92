//! `generate rbac | kustomize`: what a cluster must grant and run, made from the settings, so that manifests and program
//! cannot drift apart. `deploy/kustomize/base` is its output, and a test compares the two.
//!
//! The rights come from `domain/rbac`; this file reads the settings and prints. The objects themselves are in `objects`.

mod objects;

use super::args::{Deployed, Generate, Global};
use super::failure::{Failure, USAGE};
use super::output::Out;
use super::tell;
use crate::settings::{ClusterMode, FlagOverride, Loaded, LogEngine, Origin, REDACTED, SettingsError, Sources, load};
use objects::{Document, Plan};
use std::path::Path;

/// What differs from the defaults in a cluster; the base when no --config is given.
const PRODUCTION_TOML: &str = include_str!("../../config/production.toml");

/// Settings that belong to a site and not to a base: they may be missing while a base is made.
const OF_THE_SITE: [(&str, &str); 2] = [("cluster.name", "to-be-set"), ("kafka.bootstrap", "to-be-set:9092")];

/// Prints, or writes below `--to`; the exit code.
pub fn generate(global: &Global, command: Generate, out: &mut Out) -> Result<u8, Failure> {
    match command {
        Generate::Rbac(deployed) => {
            let plan = plan(global, deployed, String::new())?;
            out.text(&stream(&objects::rbac(&plan)))?;
        }
        Generate::Kustomize { deployed, image, to } => {
            let plan = plan(global, deployed, image)?;
            fits_a_pod(&plan)?;
            match to {
                None => out.text(&stream(&objects::all(&plan)))?,
                Some(directory) => write(&directory, &objects::base(&plan))?,
            }
        }
    }
    Ok(0)
}

fn plan(global: &Global, deployed: Deployed, image: String) -> Result<Plan, Failure> {
    for (flag, name) in [("--name", &deployed.name), ("--install-namespace", &deployed.install_namespace)] {
        if !is_dns_label(name) {
            let message = format!("{flag} {name:?}: expected at most 63 small letters, digits and - between them");
            return Err(Failure::with(USAGE, message));
        }
    }
    let files = settings_files(global)?;
    let mut set = if global.config.is_empty() { production_sets() } else { Vec::new() };
    // What the pod is told on its command line, so that it means what is generated here.
    let mut args = Vec::new();
    let mut typed = global.set.clone();
    if global.config.is_empty() && !deployed.watched.namespace.is_empty() {
        // production.toml watches all namespaces; whoever names some means these instead.
        typed.insert(0, "watch.all_namespaces=false".to_owned());
    }
    args.extend(typed.iter().map(|set| format!("--set={set}")));
    set.extend(typed);
    args.extend(deployed.watched.namespace.iter().map(|names| format!("--namespace={names}")));
    if deployed.watched.all_namespaces {
        args.push("--all-namespaces".to_owned());
    }
    args.extend(deployed.watched.resources.iter().map(|kinds| format!("--resources={kinds}")));
    args.extend(deployed.watched.poll_interval.map(|seconds| format!("--poll-interval={seconds}")));
    let flags = deployed.watched.overrides();
    let loaded = load_for_a_site(Sources { files: global.config.clone(), env: Vec::new(), set, flags })?;
    Ok(Plan { name: deployed.name, namespace: deployed.install_namespace, image, files, args, loaded })
}

/// The settings files that the pod reads: name and text.
fn settings_files(global: &Global) -> Result<Vec<(String, String)>, Failure> {
    if global.config.is_empty() {
        return Ok(vec![("production.toml".to_owned(), PRODUCTION_TOML.to_owned())]);
    }
    let mut files: Vec<(String, String)> = Vec::new();
    for path in &global.config {
        let text = std::fs::read_to_string(path)
            .map_err(|error| Failure::with(SettingsError::EXIT_CODE, format!("{}: {error}", path.display())))?;
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let is_key = name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b));
        if !is_key || name == objects::SITE || files.iter().any(|(other, _)| *other == name) {
            let message = format!(
                "--config {}: a ConfigMap holds each file under its name; give every file a name of its own, of letters, \
                 digits and ._-, and not {}",
                path.display(),
                objects::SITE
            );
            return Err(Failure::with(USAGE, message));
        }
        files.push((name, text));
    }
    Ok(files)
}

/// production.toml as `--set` arguments: compiled in, it has no path to be read from.
fn production_sets() -> Vec<String> {
    fn leaves(path: &str, value: &toml::Value, into: &mut Vec<String>) {
        match value {
            toml::Value::Table(table) => {
                for (name, value) in table {
                    let path = if path.is_empty() { name.clone() } else { format!("{path}.{name}") };
                    leaves(&path, value, into);
                }
            }
            leaf => into.push(format!("{path}={leaf}")),
        }
    }
    let table = PRODUCTION_TOML.parse::<toml::Table>().expect("the embedded production.toml is TOML");
    let mut sets = Vec::new();
    leaves("", &toml::Value::Table(table), &mut sets);
    sets
}

/// Loads the settings; what only a site knows may be missing.
fn load_for_a_site(mut sources: Sources) -> Result<Loaded, Failure> {
    let error = match load(&sources) {
        Ok(loaded) => return Ok(loaded),
        Err(error) => error,
    };
    let unset =
        |key: &str| error.problems.iter().any(|p| p.key == key && p.value.is_none() && p.origin == Origin::Default);
    for (key, stand_in) in OF_THE_SITE.into_iter().filter(|(key, _)| unset(key)) {
        sources.flags.push(FlagOverride::value(objects::STANDS_IN, key, stand_in));
    }
    Ok(load(&sources)?)
}

/// What a pod cannot do is refused here, not found out there.
fn fits_a_pod(plan: &Plan) -> Result<(), Failure> {
    let settings = &plan.loaded.settings;
    let mut wrong = Vec::new();
    if !matches!(settings.cluster.mode, ClusterMode::InCluster | ClusterMode::Auto) {
        wrong.push("cluster.mode: a pod has its service account and no kubeconfig; set it to \"in-cluster\"");
    }
    if settings.log.engine != LogEngine::Kafka {
        wrong.push("log.engine: the files of the embedded log would go with the pod; set it to \"kafka\"");
    }
    if settings.http.ops.ip().is_loopback() {
        wrong.push("http.ops: the kubelet's probes come from outside the pod; set it to \"0.0.0.0:9090\"");
    }
    if settings.http.ops.port() == 0 {
        wrong.push("http.ops: probes need a port that is known; set it to \"0.0.0.0:9090\"");
    }
    if !settings.data_dir.is_absolute() {
        wrong.push(
            "data_dir: the root of the container is read-only; set it to an absolute path, where a volume is mounted",
        );
    }
    if settings.kafka.sasl_password.is_some() {
        wrong
            .push("kafka.sasl_password: it would stand in a manifest; mount a Secret and set kafka.sasl_password_file");
    }
    let shown = serde_json::json!(settings.kafka.librdkafka);
    if shown.as_object().is_some_and(|entries| entries.values().any(|value| value == REDACTED)) {
        wrong.push("kafka.librdkafka: a password or key would stand in a manifest; mount a Secret and name its file");
    }
    if wrong.is_empty() { Ok(()) } else { Err(Failure::with(SettingsError::EXIT_CODE, wrong.join("\n"))) }
}

/// The documents as one stream that `kubectl apply -f -` takes.
fn stream(documents: &[Document]) -> String {
    documents.iter().map(Document::text).collect::<Vec<_>>().join("---\n")
}

fn write(directory: &Path, files: &[(String, String)]) -> Result<(), Failure> {
    let failed =
        |what: &Path, error: std::io::Error| Failure::error(format!("cannot write {}: {error}", what.display()));
    std::fs::create_dir_all(directory).map_err(|error| failed(directory, error))?;
    for (name, text) in files {
        let path = directory.join(name);
        std::fs::write(&path, text).map_err(|error| failed(&path, error))?;
        tell(&format!("wrote {}", path.display()));
    }
    Ok(())
}

/// RFC 1123, which every name here must be: of a namespace, a Service, a label.
fn is_dns_label(name: &str) -> bool {
    let inner = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-';
    let first = name.bytes().next().is_some_and(|b| b.is_ascii_lowercase());
    first && name.len() <= 63 && name.bytes().all(inner) && !name.ends_with('-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn production_as_arguments_means_what_the_file_means() {
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("config/production.toml");
        let site: Vec<String> = OF_THE_SITE.iter().map(|(key, value)| format!("{key}={value}")).collect();
        let by_file = Sources { files: vec![file], set: site.clone(), ..Sources::default() };
        let by_set = Sources { set: [production_sets(), site].concat(), ..Sources::default() };
        let settings = |sources| load(&sources).expect("sound").settings;
        assert_eq!(settings(by_set), settings(by_file));
    }
}
