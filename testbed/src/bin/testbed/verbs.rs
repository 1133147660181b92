//! What each word of the command line does.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::process::{Child, Command, ExitCode, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use testbed::{Identity, KafkaOptions, KubernetesOptions, Part, Stopwatch, wait_until};

use crate::UpOptions;
use crate::keeper;
use crate::state::{self, Place, State};

/// For scripts: nothing runs, which is neither success nor a failure of the tool. The same code as `systemctl status`.
const NOT_RUNNING: u8 = 3;

pub fn build(places: &[Place]) -> Result<ExitCode> {
    for place in places {
        testbed::build(place.part, &|line| eprintln!("testbed: {line}"))?;
    }
    // Part of no place, and built only where there is a Terraform to use it.
    if places.len() == Part::ALL.len() && testbed::terraform_available().is_ok() {
        testbed::terraform_provider()?;
    }
    Ok(ExitCode::SUCCESS)
}

pub fn up(places: &[Place], options: &UpOptions) -> Result<ExitCode> {
    let mut started = Vec::new();
    for place in places {
        if place.running()?.is_some_and(|state| state.ready_after_ms.is_some()) {
            eprintln!("testbed: {} already runs (options are those of its first `up`)", place.part);
            continue;
        }
        // In the foreground and before anything starts: it may take minutes, and tells so.
        testbed::build(place.part, &|line| eprintln!("testbed: {line}"))?;
    }
    let clock = Stopwatch::start();
    for place in places {
        if place.running()?.is_none() {
            started.push((place, start_keeper(place, options)?));
        }
    }
    for place in places {
        let keeper = started.iter_mut().find(|(other, _)| other.part == place.part).map(|(_, keeper)| keeper);
        let state = wait_ready(place, keeper)?;
        print_env(&state, "");
    }
    if !started.is_empty() {
        let names: Vec<&str> = started.iter().map(|(place, _)| place.part.name()).collect();
        eprintln!("testbed: {} ready after {:.1} s", names.join(" and "), clock.elapsed().as_secs_f64());
    }
    Ok(ExitCode::SUCCESS)
}

fn start_keeper(place: &Place, options: &UpOptions) -> Result<Child> {
    fs::create_dir_all(&place.root).with_context(|| format!("cannot make {}", place.root.display()))?;
    end(place)?;
    // After `down --keep` clients may still be configured with the old port: have it again if it is free.
    let last_port = state::load::<serde_json::Value>(&place.options())?
        .and_then(|options| options.get("port")?.as_u64())
        .and_then(|port| u16::try_from(port).ok())
        .filter(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    let directory = Some(place.run());
    match place.part {
        Part::Kafka => {
            let options = KafkaOptions {
                port: options.kafka_port.or(last_port),
                heap_mib: options.kafka_heap,
                jvm_args: options.kafka_jvm_arg.clone(),
                properties: options.kafka_property.clone(),
                directory,
            };
            state::save(&place.options(), &options)?;
        }
        Part::Kubernetes => {
            let options = KubernetesOptions {
                port: options.api_port.or(last_port),
                controllers: !options.no_controllers,
                nodes: options.nodes,
                pod_step: Duration::from_millis(options.pod_step),
                watch_cache: !options.no_watch_cache,
                compaction_interval: options.compaction.map(Duration::from_secs),
                api_server_args: options.api_server_arg.clone(),
                directory,
            };
            state::save(&place.options(), &options)?;
        }
    }
    let log = place.keeper_log();
    let output = File::create(&log).with_context(|| format!("cannot write {}", log.display()))?;
    let root = place.root.parent().context("a part's directory lies in the bed's")?;
    let mut command = Command::new(std::env::current_exe().context("cannot find this program's own file")?);
    command.arg("keep").arg(place.part.name()).arg("--dir").arg(root);
    command.stdin(Stdio::null()).stderr(output.try_clone()?).stdout(output);
    command.spawn().context("cannot start the keeper")
}

/// Waits for the keeper to say so; without a `keeper` of ours, for the one that another `up` started.
fn wait_ready(place: &Place, mut keeper: Option<&mut Child>) -> Result<State> {
    const LONG: Duration = Duration::from_secs(300);
    let ready = wait_until(LONG, || -> Result<Option<State>> {
        let state = place.running()?;
        if let Some(state) = state.filter(|state| state.ready_after_ms.is_some()) {
            return Ok(Some(state));
        }
        let ended = match keeper.as_mut() {
            Some(child) => child.try_wait()?.is_some(),
            None => place.running()?.is_none(),
        };
        if ended {
            let said = fs::read_to_string(place.keeper_log()).unwrap_or_default();
            bail!("{} did not start (logs in {}):\n{}", place.part, place.run().join("logs").display(), said.trim());
        }
        Ok(None)
    })?;
    ready.with_context(|| {
        format!("{} is not ready after {LONG:?}; logs in {}", place.part, place.run().join("logs").display())
    })
}

pub fn down(places: &[Place], keep: bool) -> Result<ExitCode> {
    for place in places {
        let was_running = end(place)?;
        if keep {
            keep_port(place)?;
        } else {
            remove(place)?;
        }
        fs::remove_file(place.state_file()).ok();
        let kept =
            if keep && place.run().is_dir() { format!("; kept {}", place.run().display()) } else { String::new() };
        eprintln!("testbed: {} {}{kept}", place.part, if was_running { "ended" } else { "was not running" });
    }
    Ok(ExitCode::SUCCESS)
}

/// Kills the keeper, which takes its processes along, and makes sure of each. `false`: nothing was alive.
fn end(place: &Place) -> Result<bool> {
    // A state that cannot be read names nobody to end; `down` is the remedy, so it must not fail over it.
    let Ok(Some(state)) = place.left() else { return Ok(false) };
    let was_running = !state.keeper.is_gone();
    let everyone: Vec<&Identity> = std::iter::once(&state.keeper).chain(state.processes.values()).collect();
    for identity in &everyone {
        identity.kill9().with_context(|| format!("cannot kill pid {} of {}", identity.pid, place.part))?;
    }
    let gone = wait_until(Duration::from_secs(20), || {
        Ok::<_, anyhow::Error>(everyone.iter().all(|i| i.is_gone()).then_some(()))
    })?;
    if gone.is_none() {
        let left: Vec<String> = everyone.iter().filter(|i| !i.is_gone()).map(|i| i.pid.to_string()).collect();
        bail!("these processes of {} do not end: {}", place.part, left.join(", "));
    }
    Ok(was_running)
}

/// Notes the port in the options file, where the next `up` looks.
fn keep_port(place: &Place) -> Result<()> {
    let (Some(state), Some(mut options)) = (place.left()?, state::load::<serde_json::Value>(&place.options())?) else {
        return Ok(());
    };
    if let Some(port) = state.port {
        options["port"] = port.into();
        state::save(&place.options(), &options)?;
    }
    Ok(())
}

/// Only what the test bed made: a `--dir` may be anybody's directory.
fn remove(place: &Place) -> Result<()> {
    let run = place.run();
    // A process whose keeper was killed while it started is not in the state: it ends with the keeper, but may still be writing.
    let mut last = None;
    let removed = wait_until(Duration::from_secs(5), || match fs::remove_dir_all(&run) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            last = Some(error);
            Ok::<_, anyhow::Error>(None)
        }
        _ => Ok(Some(())),
    })?;
    if let (None, Some(error)) = (removed, last) {
        return Err(error).with_context(|| format!("cannot remove {}", run.display()));
    }
    for file in [place.options(), place.state_file(), place.keeper_log(), place.lock(), place.root.join("control")] {
        fs::remove_file(file).ok();
    }
    // Fails if something else is in it, and then it should stay.
    fs::remove_dir(&place.root).ok();
    Ok(())
}

pub fn status(places: &[Place]) -> Result<ExitCode> {
    let mut running = false;
    for place in places {
        let Some(state) = place.running()? else {
            println!("{:<11} not running", place.part.name());
            continue;
        };
        running = true;
        let Some(took) = state.ready_after_ms else {
            println!("{:<11} starting (keeper pid {})", place.part.name(), state.keeper.pid);
            continue;
        };
        let logs = place.run().join("logs");
        println!(
            "{:<11} up (keeper pid {}, was ready after {took} ms, logs in {})",
            place.part.name(),
            state.keeper.pid,
            logs.display()
        );
        for report in keeper::ask(place, "status", "")? {
            print_report(&report);
        }
    }
    Ok(if running { ExitCode::SUCCESS } else { ExitCode::from(NOT_RUNNING) })
}

fn print_report(report: &keeper::Report) {
    let number = |value: Option<u32>| value.map_or_else(|| "-".to_owned(), |value| value.to_string());
    let (pid, port) = (number(report.pid), number(report.port.map(u32::from)));
    println!("  {:<24} pid {pid:<8} port {port:<6} {}", report.name, report.status);
}

pub fn env(places: &[Place]) -> Result<ExitCode> {
    let mut running = false;
    for place in places {
        if let Some(state) = place.running()?.filter(|state| state.ready_after_ms.is_some()) {
            running = true;
            print_env(&state, "export ");
        }
    }
    if !running {
        eprintln!("testbed: nothing runs: `testbed up` first");
        return Ok(ExitCode::from(NOT_RUNNING));
    }
    Ok(ExitCode::SUCCESS)
}

fn print_env(state: &State, prefix: &str) {
    for (name, value) in &state.env {
        println!("{prefix}{name}={}", shell_word(value));
    }
}

/// As it is if no shell would touch it, quoted otherwise.
fn shell_word(value: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || "/._-:+@%,".contains(character);
    if value.chars().all(plain) { value.to_owned() } else { format!("'{}'", value.replace('\'', r"'\''")) }
}

pub fn fault(places: &[Place], verb: &str, process: &str) -> Result<ExitCode> {
    let part = if process == "kafka" { Part::Kafka } else { Part::Kubernetes };
    let place = places.iter().find(|place| place.part == part).context("both parts have a place")?;
    if place.running()?.is_none() {
        eprintln!("testbed: {part} is not running: `testbed up {part}` first");
        return Ok(ExitCode::from(NOT_RUNNING));
    }
    keeper::ask(place, verb, process)?.iter().for_each(print_report);
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_with_a_space_or_a_quote_survives_the_shell() {
        assert_eq!(shell_word("/tmp/kube-config_1"), "/tmp/kube-config_1");
        for path in ["/tmp/a b", "/tmp/it's", "$(rm x)", "a;b"] {
            let echoed = Command::new("sh").args(["-c", &format!("printf %s {}", shell_word(path))]).output().unwrap();
            assert_eq!(String::from_utf8(echoed.stdout).unwrap(), path);
        }
    }
}
