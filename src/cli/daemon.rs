//! `run --daemon`, `stop`, `status`: a process in the background, found again by the pid file of its data directory.
//!
//! The program never forks: it runs itself once more, without `--daemon`, and waits until that process says on its
//! standard output how its start went. What it writes to its own log goes to a file beside the pid file.

use super::args::{Global, Output};
use super::client::{Path, Server};
use super::connect;
use super::failure::Failure;
use super::output::{Out, Table};
use super::presence::{self, Holder};
use crate::app::Running;
use crate::domain::envelope::rfc3339;
use crate::settings::Settings;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use std::fs::OpenOptions;
use std::io::{BufRead as _, BufReader, Read as _, Seek as _, SeekFrom, Write as _};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

/// Name of the log file in the data directory.
const LOG_FILE: &str = "agent-events.log";
/// How long `run --daemon` waits for the first complete state. A cluster that is away longer is no failure of the start.
const START: Duration = Duration::from_secs(30);
/// How much of the log file is looked at for the reason of a failed start.
const LAST_BYTES: u64 = 16 * 1024;
/// Between two looks at whether the process has ended.
const LOOK: Duration = Duration::from_millis(50);

/// How a start went, as one line on the standard output of the background process.
#[derive(Debug, Serialize, Deserialize)]
struct Verdict {
    /// What readiness still waits for.
    missing: Vec<String>,
}

/// Starts this command line again in the background; the exit code.
pub fn start(settings: &Settings, out: &mut Out) -> Result<u8, Failure> {
    let data_dir = &settings.data_dir;
    presence::prepare(data_dir)?;
    if let Some(holder) = presence::look(data_dir)? {
        let text = format!("process {} already works on {}", holder.pid, data_dir.display());
        return Err(Failure::error(format!("{text}; end it with `agent-events stop`")));
    }
    let path = data_dir.join(LOG_FILE);
    let wrong = |what: &str, error: std::io::Error| Failure::error(format!("{what}: {error}"));
    let log = OpenOptions::new().create(true).append(true).open(&path);
    let log = log.map_err(|error| wrong(&format!("{}: cannot be written", path.display()), error))?;
    let began_at = log.metadata().map_or(0, |metadata| metadata.len());
    let program = std::env::current_exe().map_err(|error| wrong("this program cannot be found again", error))?;
    let arguments = std::env::args_os().skip(1).map(|a| if a == "--daemon" { "--daemonized".into() } else { a });
    let child = Command::new(program).args(arguments).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log).spawn();
    let mut child = child.map_err(|error| wrong("the background process cannot be started", error))?;
    let mut line = String::new();
    if let Some(stdout) = child.stdout.take() {
        BufReader::new(stdout)
            .read_line(&mut line)
            .map_err(|error| wrong("the background process is silent", error))?;
    }
    let Ok(verdict) = serde_json::from_str::<Verdict>(&line) else {
        let status = child.wait().map_err(|error| wrong("the background process", error))?;
        let code = status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1);
        if status.success() {
            return Err(Failure::error("it was asked to end while it was starting, and has ended in order"));
        }
        let why = match reasons(&path, began_at) {
            why if why.is_empty() => "it could not say why: is the disk full?".to_owned(),
            why => why,
        };
        let text = format!("it ended at its start ({status}); its log is {}\n{why}", path.display());
        return Err(Failure::with(code, text));
    };
    let api = presence::look(data_dir)?.and_then(|holder| holder.api);
    let page = api.map_or_else(String::new, |api| format!(", http://{api}/"));
    out.line(&format!("process {}{page}, log {}", child.id(), path.display()))?;
    for missing in verdict.missing {
        out.line(&format!("not ready yet: {missing}"))?;
    }
    Ok(0)
}

/// The errors in what the log file got since.
fn reasons(path: &std::path::Path, since: u64) -> String {
    let read = || -> std::io::Result<String> {
        let mut file = std::fs::File::open(path)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(since.max(end.saturating_sub(LAST_BYTES))))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    };
    let text = read().unwrap_or_default();
    let told: Vec<&str> = text.lines().filter(|line| line.contains("error:") || line.contains("ERROR")).collect();
    told.join("\n")
}

/// In the background process: leaves the terminal's session, so that its end is not ours.
pub fn detach() -> Result<(), Failure> {
    match rustix::process::setsid() {
        Ok(_) => Ok(()),
        Err(error) => Err(Failure::error(format!("a session of its own cannot be had: {error}"))),
    }
}

/// In the background process: tells the one that started it how it went, once that is known.
pub fn tell_the_starter(running: Arc<Running>) {
    std::thread::spawn(move || {
        let missing = running.ready(START).err().unwrap_or_default();
        let mut stdout = std::io::stdout();
        // Nobody may listen any more; that changes nothing for us.
        drop(serde_json::to_writer(&stdout, &Verdict { missing }));
        drop(stdout.write_all(b"\n").and_then(|()| stdout.flush()));
    });
}

/// `stop`: asks the process to end in order and waits for it.
pub async fn stop(global: &Global, timeout: Duration, force: bool, out: &mut Out) -> Result<u8, Failure> {
    let data_dir = connect::data_dir(global)?;
    let holder = presence::look(&data_dir)?.ok_or_else(|| presence::nobody(&data_dir))?;
    signal(&holder, rustix::process::Signal::TERM)?;
    let asked = tokio::time::Instant::now();
    let mut limit = timeout;
    let mut forced = !force;
    loop {
        // A successor that took the directory meanwhile is not the one we asked.
        if presence::look(&data_dir).ok().flatten().is_none_or(|now| now.pid != holder.pid) {
            out.line(&format!("process {} has ended after {:.1} s", holder.pid, asked.elapsed().as_secs_f64()))?;
            return Ok(0);
        }
        if asked.elapsed() >= limit {
            if forced {
                let hint = if force { "" } else { "; wait longer (--timeout), or end it at once (--force)" };
                let text = format!("process {} has not ended within {}", holder.pid, humantime::format_duration(limit));
                return Err(Failure::error(format!("{text}{hint}")));
            }
            forced = true;
            limit += Duration::from_secs(5);
            signal(&holder, rustix::process::Signal::KILL)?;
        }
        tokio::time::sleep(LOOK).await;
    }
}

fn signal(holder: &Holder, signal: rustix::process::Signal) -> Result<(), Failure> {
    let pid = i32::try_from(holder.pid).ok().and_then(rustix::process::Pid::from_raw);
    let pid = pid.ok_or_else(|| Failure::error(format!("{} is no process id", holder.pid)))?;
    rustix::process::kill_process(pid, signal)
        .map_err(|error| Failure::error(format!("process {} cannot be signalled: {error}", holder.pid)))
}

/// `status`: whether a process works on the data directory, and how it is doing. 3 when none does.
pub async fn status(global: &Global, output: Output, out: &mut Out) -> Result<u8, Failure> {
    let data_dir = connect::data_dir(global)?;
    let Some(holder) = presence::look(&data_dir)? else {
        if output == Output::Json {
            out.pretty(&json!({"running": false, "dataDir": data_dir}))?;
        }
        return Err(presence::nobody(&data_dir));
    };
    let pipeline: Option<Value> = match holder.api {
        Some(api) => Server::parse(&format!("http://{api}"))?.json(Path::of(&["pipeline"]).as_str()).await.ok(),
        None => None,
    };
    let told = |name: &str| pipeline.as_ref().map(|view| view[name].clone()).unwrap_or_default();
    if output == Output::Json {
        out.pretty(&json!({
            "running": true, "pid": holder.pid, "since": rfc3339(holder.since_ms), "api": holder.api,
            "dataDir": data_dir, "logFile": holder.log, "state": told("state"), "ready": told("ready"),
            "cluster": told("cluster"), "log": told("log"), "degraded": told("degraded"),
        }))?;
        return Ok(0);
    }
    let text = |value: Value| value.as_str().unwrap_or_default().to_owned();
    let state = match (&pipeline, told("ready").as_bool()) {
        (None, _) => "it does not answer".to_owned(),
        (Some(_), Some(true)) => text(told("state")),
        (Some(_), _) => format!("{}, not ready yet", text(told("state"))),
    };
    let mut table = Table::default();
    let mut row = |name: &str, value: String| {
        if !value.is_empty() {
            table.row(vec![name.to_owned(), value]);
        }
    };
    row("process", format!("{}, since {}", holder.pid, rfc3339(holder.since_ms)));
    row("state", state);
    row("page", holder.api.map_or_else(String::new, |api| format!("http://{api}/")));
    row("cluster", text(told("cluster")));
    row("log", text(told("log")));
    row("data", data_dir.display().to_string());
    row("log file", holder.log.map_or_else(String::new, |path| path.display().to_string()));
    for degraded in told("degraded").as_array().into_iter().flatten() {
        row("degraded", degraded.as_str().unwrap_or_default().to_owned());
    }
    table.print(out)?;
    Ok(0)
}

/// Where the background process writes its own log.
pub fn log_file(settings: &Settings) -> std::path::PathBuf {
    settings.data_dir.join(LOG_FILE)
}
