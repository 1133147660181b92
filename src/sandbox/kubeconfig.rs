//! The kubeconfig that leads to the sandbox.

use std::io::Write as _;
use std::path::Path;

/// The context's name.
pub const CONTEXT: &str = "agent-events-sandbox";

/// Writes it: whole or not at all, for a reader may come at any time.
pub(super) fn write(path: &Path, url: &str) -> std::io::Result<()> {
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: {CONTEXT}\nclusters:\n- name: {CONTEXT}\n  cluster:\n    server: {url}\n\
         contexts:\n- name: {CONTEXT}\n  context:\n    cluster: {CONTEXT}\n    user: {CONTEXT}\n    namespace: default\n\
         users:\n- name: {CONTEXT}\n  user: {{}}\npreferences: {{}}\n"
    );
    let new = path.with_extension("new");
    let mut file = std::fs::File::create(&new)?;
    file.write_all(text.as_bytes())?;
    std::fs::rename(&new, path)
}
