//! A sandbox cluster of the trials' own, which can die and come back, and the plainest client of it.

use super::kit::PATIENCE;
use agent_events::sandbox::{Faults, LifeOptions, Sandbox, SandboxOptions};
use std::collections::BTreeMap;
use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::sync::Mutex;
use std::time::Duration;
use tempfile::TempDir;
use tokio::runtime::Runtime;

pub struct SandboxCluster {
    dir: TempDir,
    addr: SocketAddr,
    /// Ends with its runtime: that cuts every connection at once, as a killed process would.
    running: Mutex<Option<(Sandbox, Runtime)>>,
}

impl SandboxCluster {
    pub fn start() -> Self {
        let dir = tempfile::tempdir().expect("a directory");
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let (sandbox, runtime) = serve(dir.path().to_owned(), any);
        let addr = sandbox.url().trim_start_matches("http://").parse().expect("an address");
        Self { dir, addr, running: Mutex::new(Some((sandbox, runtime))) }
    }

    pub fn kubeconfig(&self) -> PathBuf {
        self.dir.path().join(agent_events::sandbox::KUBECONFIG)
    }

    /// Address and port.
    pub fn address(&self) -> String {
        self.addr.to_string()
    }

    pub fn kill(&self) {
        let (sandbox, runtime) = self.running.lock().expect("not poisoned").take().expect("it runs");
        runtime.shutdown_background();
        drop(sandbox);
    }

    pub fn restart(&self) {
        *self.running.lock().expect("not poisoned") = Some(serve(self.dir.path().to_owned(), self.addr));
    }

    /// Forgets all history, as etcd's compaction does.
    pub fn compact(&self) {
        let running = self.running.lock().expect("not poisoned");
        running.as_ref().expect("it runs").0.faults().compact();
    }

    /// Answers at once what a real API server thinks over for 3 s; until it is killed.
    pub fn hurry(&self) {
        self.faults().wait_for_future(Duration::from_millis(50));
    }

    /// The faults that can be scripted; gone with the sandbox when it is killed.
    pub fn faults(&self) -> Faults {
        self.running.lock().expect("not poisoned").as_ref().expect("it runs").0.faults().clone()
    }

    /// The newest revision.
    pub fn revision(&self) -> u64 {
        self.running.lock().expect("not poisoned").as_ref().expect("it runs").0.state().revision()
    }

    /// uid → resourceVersion of what is there, asked behind the back of every scripted fault.
    pub fn versions(&self, kind: &str, namespace: &str) -> BTreeMap<String, String> {
        let running = self.running.lock().expect("not poisoned");
        let listed = running.as_ref().expect("it runs").0.state().list(kind, namespace).expect("a kind that it serves");
        listed.objects.iter().map(|o| (o.uid().to_owned(), o.revision().to_string())).collect()
    }

    /// Status and body.
    pub fn request(&self, method: &str, path: &str, content_type: &str, body: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.addr).expect("the sandbox listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout can be set");
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.0\r\nHost: localhost\r\nUser-Agent: trials\r\nContent-Type: {content_type}\r\n\
             Content-Length: {length}\r\n\r\n"
        );
        stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(body.as_bytes())).expect("it reads");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("it answers");
        let (head, body) = answer.split_once("\r\n\r\n").expect("a head");
        (head[9..12].parse().expect("a status"), body.to_owned())
    }
}

fn serve(dir: PathBuf, listen: SocketAddr) -> (Sandbox, Runtime) {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().expect("a runtime");
    let options = SandboxOptions { listen, dir };
    let sandbox = super::kit::eventually("the sandbox has its address and directory", || {
        runtime.block_on(Sandbox::start(options.clone())).ok()
    });
    // Controllers only: what the trials make comes up, and nothing else happens.
    runtime.block_on(async { sandbox.live(LifeOptions::default()) }).expect("it lives");
    (sandbox, runtime)
}
