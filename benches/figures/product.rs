//! The release binary between a real API server and a real Kafka.

use crate::broker::eventually;
use crate::cpu;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tempfile::TempDir;

/// A running `agent-events run`.
pub struct Product {
    child: Child,
    ops: SocketAddr,
    files: TempDir,
}

impl Product {
    /// Starts it on all namespaces and all kinds, with topics of that prefix.
    pub fn start(kubeconfig: &Path, bootstrap: &str, prefix: &str) -> Self {
        let files = tempfile::tempdir().expect("a directory");
        let log = std::fs::File::create(files.path().join("log")).expect("a file");
        let ops: SocketAddr = ([127, 0, 0, 1], free_port()).into();
        let sets = [
            format!("data_dir={:?}", files.path().display().to_string()),
            "cluster.mode=\"kubeconfig\"".to_owned(),
            format!("cluster.kubeconfig={:?}", kubeconfig.display().to_string()),
            "cluster.name=\"bench\"".to_owned(),
            "watch.all_namespaces=true".to_owned(),
            format!("kafka.bootstrap={bootstrap:?}"),
            format!("topics.prefix={prefix:?}"),
            "http.api=\"127.0.0.1:0\"".to_owned(),
            format!("http.ops=\"{ops}\""),
        ];
        let mut command = Command::new(env!("CARGO_BIN_EXE_agent-events"));
        command.arg("run");
        for set in &sets {
            command.args(["--set", set]);
        }
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().expect("the binary starts");
        Self { child, ops, files }
    }

    /// Waits until it is ready: every watcher has its first list.
    pub fn await_ready(&mut self) {
        let ops = self.ops;
        let child = &mut self.child;
        let log = self.files.path().join("log");
        eventually("the product is ready", Duration::from_millis(10), || {
            if let Ok(Some(status)) = child.try_wait() {
                panic!("agent-events ended with {status}: {}", std::fs::read_to_string(&log).unwrap_or_default());
            }
            is_ready(ops)
        });
    }

    /// CPU time so far.
    pub fn cpu(&self) -> Duration {
        cpu::of_process(self.child.id()).expect("it runs")
    }

    /// CPU time so far, by thread.
    pub fn threads(&self) -> cpu::Threads {
        cpu::of_threads(self.child.id())
    }

    /// Resident memory now and at its peak, in MiB.
    pub fn memory(&self) -> (f64, f64) {
        cpu::memory(self.child.id()).expect("it runs")
    }

    /// SIGTERM, and waits for its end.
    pub fn stop(mut self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
        let status = self.child.wait().expect("it ends");
        assert!(status.success(), "agent-events ended with {status}");
    }
}

impl Drop for Product {
    fn drop(&mut self) {
        // It may have ended by itself.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("an address").port()
}

fn is_ready(ops: SocketAddr) -> bool {
    let Ok(mut stream) = TcpStream::connect(ops) else { return false };
    let mut answer = Vec::new();
    let asked = stream
        .set_read_timeout(Some(Duration::from_secs(5)))
        .and_then(|()| stream.write_all(b"GET /readyz HTTP/1.0\r\nHost: localhost\r\n\r\n"))
        .and_then(|()| stream.read_to_end(&mut answer));
    asked.is_ok() && answer.get(9..12) == Some(b"200")
}
