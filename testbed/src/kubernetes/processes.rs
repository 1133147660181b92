//! The flags of each process, and the files that they share.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use super::KubernetesOptions;
use crate::error::{Attempt, Error, Result};
use crate::https::{Https, Request};
use crate::kafka::random;
use crate::process::{Member, Spec};
use crate::recipe::KWOK_STAGES;
use crate::scratch::Scratch;

/// In the data directory; clients of the cluster read it.
pub(super) const KUBECONFIG: &str = "kubeconfig";
/// The API server makes a certificate and the authority that signs it, and writes both here.
pub(super) const CA: &str = "certs/apiserver.crt";

/// Those that make a Deployment roll out, a Job finish and a deleted owner's objects go. Without `nodelifecycle` new nodes
/// keep their not-ready taint and nothing is ever scheduled.
const CONTROLLERS: &str = "deployment,replicaset,statefulset,daemonset,job,cronjob,garbagecollector,namespace,endpointslice,\
                           serviceaccount,ttl-after-finished,nodelifecycle";

/// Starts the API server, which brings its etcd along.
pub(super) fn start_api_server(
    options: &KubernetesOptions,
    binaries: &Binaries,
    files: &Files,
    https: &Arc<Https>,
    port: u16,
    etcd_port: u16,
) -> Result<Member> {
    let etcd = format!("http://127.0.0.1:{etcd_port}");
    let args = api_server_args(options, files, port, &etcd);
    let spec = Spec {
        port: Some(port),
        env: vec![("TESTBED_ETCD_DIR".into(), files.path("etcd")), ("TESTBED_ETCD_URL".into(), etcd)],
        ..files.spec("kube-apiserver", &binaries.kube, args)
    };
    let (https, token) = (https.clone(), files.admin_token.clone());
    Member::start(spec, move || is_ready(&https, &token))
}

fn api_server_args(options: &KubernetesOptions, files: &Files, port: u16, etcd: &str) -> Vec<String> {
    let key = files.signing_key().display().to_string();
    let mut args = vec![
        "kube-apiserver".to_owned(),
        format!("--etcd-servers={etcd}"),
        "--bind-address=127.0.0.1".to_owned(),
        format!("--secure-port={port}"),
        format!("--cert-dir={}", files.path("certs")),
        "--service-cluster-ip-range=10.0.0.0/24".to_owned(),
        "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
        format!("--service-account-signing-key-file={key}"),
        format!("--service-account-key-file={key}"),
        "--api-audiences=api".to_owned(),
        "--authorization-mode=RBAC".to_owned(),
        format!("--token-auth-file={}", files.path("tokens.csv")),
        // Pods may be created before their namespace's default service account exists.
        "--disable-admission-plugins=ServiceAccount".to_owned(),
        "--allow-privileged=true".to_owned(),
        // No Endpoints object for 127.0.0.1, which is not a legal endpoint.
        "--endpoint-reconciler-type=none".to_owned(),
    ];
    if !options.watch_cache {
        args.push("--watch-cache=false".to_owned());
    }
    if let Some(interval) = options.compaction_interval {
        args.push(format!("--etcd-compaction-interval={}ms", interval.as_millis()));
    }
    args.extend(options.api_server_args.iter().cloned());
    args
}

/// `/readyz` as the administrator: it names what is not ready yet.
fn is_ready(https: &Https, token: &str) -> Result<(), String> {
    let request = Request { method: "GET", path: "/readyz", token, content_type: "text/plain", body: "" };
    // Short: a poll that hangs on a half-started server should be tried anew.
    match https.send_within(request, Duration::from_secs(5))? {
        answer if answer.status == 200 => Ok(()),
        answer => Err(format!("/readyz says {}: {}", answer.status, answer.body.trim())),
    }
}

/// Starts controller-manager, scheduler and kwok. They serve nobody: a node becoming ready shows that they work.
pub(super) fn start_controllers(
    binaries: &Binaries,
    files: &Files,
    pod_step: Duration,
    kwok_port: u16,
) -> Result<Vec<Member>> {
    let kubeconfig = format!("--kubeconfig={}", files.path(KUBECONFIG));
    let part = |name: &str, more: &[&str]| -> Vec<String> {
        let flags = ["--leader-elect=false", "--bind-address=127.0.0.1", "--secure-port=0"];
        [name, &kubeconfig].iter().chain(&flags).chain(more).map(|&flag| flag.to_owned()).collect()
    };
    let key = format!("--service-account-private-key-file={}", files.signing_key().display());
    let controllers = format!("--controllers={CONTROLLERS}");
    let manager = part("kube-controller-manager", &[&key, &controllers]);
    let scheduler = part("kube-scheduler", &[]);

    let mut kwok =
        vec![kubeconfig, "--manage-all-nodes=true".into(), format!("--server-address=127.0.0.1:{kwok_port}")];
    for stage in KWOK_STAGES {
        kwok.push(format!("--config={}", write_stage(binaries, files, stage, pod_step)?.display()));
    }
    let alive = || Ok(());
    Ok(vec![
        Member::start(files.spec("kube-controller-manager", &binaries.kube, manager), alive)?,
        Member::start(files.spec("kube-scheduler", &binaries.kube, scheduler), alive)?,
        Member::start(files.spec("kwok", &binaries.kwok.join("kwok"), kwok), alive)?,
    ])
}

/// Copies a stage of kwok's into the data directory, a pod's with our pace.
fn write_stage(binaries: &Binaries, files: &Files, stage: &str, pod_step: Duration) -> Result<PathBuf> {
    let name = stage.rsplit('/').next().unwrap_or(stage);
    let source = binaries.kwok.join(name);
    let text = fs::read_to_string(&source).attempt(|| format!("read {}", source.display()))?;
    let text = if name.starts_with("pod-") { paced(&text, pod_step) } else { text };
    let target = files.data.join(name);
    fs::write(&target, text).attempt(|| format!("write {}", target.display()))?;
    Ok(target)
}

/// kwok waits a time between the two by chance. Both are plain lines in its own files; a pod's annotations still win. A deleted
/// pod it lets terminate for any time up to the whole grace period of 30 s; here that is one more step.
fn paced(stage: &str, step: Duration) -> String {
    let pace = |line: &str| {
        let (key, factor) = match line.trim_start().split(':').next() {
            Some(key @ "durationMilliseconds") => (key, 1),
            Some(key @ "jitterDurationMilliseconds") => (key, 2),
            _ => return line.to_owned(),
        };
        let indent = &line[..line.len() - line.trim_start().len()];
        format!("{indent}{key}: {}", step.as_millis() * factor)
    };
    let paced: String = stage.lines().map(|line| pace(line) + "\n").collect();
    paced.replace(
        "expressionFrom: '.metadata.deletionTimestamp'",
        "expressionFrom: '.metadata.annotations[\"pod-delete.stage.kwok.x-k8s.io/jitter-delay\"]'",
    )
}

/// What was built.
pub(super) struct Binaries {
    pub(super) kube: PathBuf,
    /// kwok's directory: the binary and its stages.
    pub(super) kwok: PathBuf,
}

/// What the control plane reads at start, made once per data directory.
pub(super) struct Files {
    data: PathBuf,
    logs: PathBuf,
    pub(super) admin_token: String,
    pub(super) nobody_token: String,
}

impl Files {
    pub(super) fn prepare(scratch: &Scratch, kube: &Path) -> Result<Self> {
        let data = scratch.data();
        let admin_token = secret(&data.join("admin-token"))?;
        let nobody_token = secret(&data.join("nobody-token"))?;
        let tokens = format!("{admin_token},admin,admin,\"system:masters\"\n{nobody_token},nobody,nobody\n");
        write_private(&data.join("tokens.csv"), &tokens)?;
        let files = Self { data, logs: scratch.logs(), admin_token, nobody_token };
        if !files.signing_key().is_file() {
            let status = Command::new(kube).arg("service-account-key").arg(files.signing_key()).status();
            let status = status.attempt(|| format!("run {}", kube.display()))?;
            if !status.success() {
                let source = std::io::Error::other(status.to_string());
                return Err(Error::Io { action: format!("make {}", files.signing_key().display()), source });
            }
        }
        Ok(files)
    }

    fn signing_key(&self) -> PathBuf {
        self.data.join("service-account.key")
    }

    pub(super) fn ca(&self) -> PathBuf {
        self.data.join(CA)
    }

    fn path(&self, name: &str) -> String {
        self.data.join(name).display().to_string()
    }

    fn spec(&self, name: &'static str, program: &Path, args: Vec<String>) -> Spec {
        let log = self.logs.join(format!("{name}.log"));
        Spec { name, port: None, program: program.to_owned(), args, env: Vec::new(), directory: self.data.clone(), log }
    }
}

/// A token of this data directory; random, because any user of the machine can reach a loopback port.
fn secret(path: &Path) -> Result<String> {
    if let Ok(token) = fs::read_to_string(path) {
        return Ok(token);
    }
    let token: String = random::<16>()?.iter().map(|byte| format!("{byte:02x}")).collect();
    write_private(path, &token)?;
    Ok(token)
}

/// For this user's eyes: it holds a token.
pub(super) fn write_private(path: &Path, content: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let file = fs::File::options().write(true).create(true).truncate(true).mode(0o600).open(path);
    file.and_then(|mut file| file.write_all(content.as_bytes())).attempt(|| format!("write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_two_delays_of_a_stage_are_changed() {
        let stage = "  delay:\n    durationMilliseconds: 1000\n    durationFrom:\n      expressionFrom: 'x'\n    \
                     jitterDurationMilliseconds: 5000\n";
        let paced = paced(stage, Duration::from_millis(250));
        let expected = "  delay:\n    durationMilliseconds: 250\n    durationFrom:\n      expressionFrom: 'x'\n    \
                        jitterDurationMilliseconds: 500\n";
        assert_eq!(paced, expected);
    }
    #[test]
    fn a_deleted_pod_is_not_kept_for_its_whole_grace_period() {
        let stage = "    - key: '.metadata.deletionTimestamp'\n      operator: 'Exists'\n  delay:\n    jitterDurationFrom:\n      \
                     expressionFrom: '.metadata.deletionTimestamp'\n";
        let paced = paced(stage, Duration::from_millis(250));
        assert!(paced.contains("- key: '.metadata.deletionTimestamp'"), "which pods it is about stays: {paced}");
        assert!(paced.contains("expressionFrom: '.metadata.annotations["), "{paced}");
    }
}
