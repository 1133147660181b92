//! The process in the background that owns a part. The kernel ends the part with it, so ending the keeper is all that `down`
//! needs, and nothing is left behind if the keeper is killed. Faults and questions come as one line over a socket in its
//! directory, and are answered by one.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use testbed::{Condition, Identity, Kafka, KafkaOptions, Kubernetes, KubernetesOptions, Member, Part, Stopwatch};

use crate::state::{self, Place, State};

/// Relative, and used from inside the directory: a socket's whole path may hold 107 bytes only.
const SOCKET: &str = "control";

/// One line of `status`.
#[derive(Debug, Serialize, Deserialize)]
pub struct Report {
    pub name: String,
    pub pid: Option<u32>,
    pub port: Option<u16>,
    /// `ready`, or why not.
    pub status: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Question {
    verb: String,
    process: String,
}

type Answer = Result<Vec<Report>, String>;

enum Bed {
    Kafka(Kafka),
    Kubernetes(Kubernetes),
}

impl Bed {
    fn start(place: &Place) -> Result<Self> {
        let missing = || format!("{} is missing: `testbed up` writes it", place.options().display());
        Ok(match place.part {
            Part::Kafka => {
                let options: KafkaOptions = state::load(&place.options())?.with_context(missing)?;
                Self::Kafka(Kafka::start(options)?)
            }
            Part::Kubernetes => {
                let options: KubernetesOptions = state::load(&place.options())?.with_context(missing)?;
                Self::Kubernetes(Kubernetes::start(options)?)
            }
        })
    }

    fn members(&self) -> Vec<&Member> {
        match self {
            Self::Kafka(kafka) => vec![kafka.broker()],
            Self::Kubernetes(kubernetes) => kubernetes.members().collect(),
        }
    }

    fn state(&self, keeper: &Identity, ready_after_ms: u64) -> State {
        let (name, value) = match self {
            Self::Kafka(kafka) => ("KAFKA_BOOTSTRAP", kafka.bootstrap()),
            Self::Kubernetes(cluster) => ("KUBECONFIG", cluster.kubeconfig_path().display().to_string()),
        };
        let members = self.members();
        let identities = members.iter().filter_map(|member| Some((member.name().to_owned(), member.identity()?)));
        State {
            keeper: keeper.clone(),
            ready_after_ms: Some(ready_after_ms),
            env: [(name.to_owned(), value)].into(),
            port: members.first().and_then(|member| member.port()),
            processes: identities.collect(),
        }
    }

    fn reports(&self) -> Vec<Report> {
        let report = |member: &&Member| Report {
            name: member.name().to_owned(),
            pid: member.identity().map(|identity| identity.pid),
            port: member.port(),
            status: match (member.condition(), member.check()) {
                (Condition::Gone, _) => "ended".to_owned(),
                (Condition::Paused, _) => "paused".to_owned(),
                (Condition::Running, Ok(())) => "ready".to_owned(),
                (Condition::Running, Err(answer)) => format!("not ready: {answer}"),
            },
        };
        self.members().iter().map(report).collect()
    }

    fn answer(&self, question: &Question) -> Answer {
        if question.verb == "status" {
            return Ok(self.reports());
        }
        let members = self.members();
        let Some(member) = members.iter().find(|member| member.name() == question.process) else {
            let names: Vec<&str> = members.iter().map(|member| member.name()).collect();
            return Err(format!("there is no process `{}` here, only {}", question.process, names.join(", ")));
        };
        let done = match question.verb.as_str() {
            "kill9" => member.kill9(),
            "pause" => member.pause(),
            "resume" => member.resume(),
            "restart" => member.restart(),
            verb => {
                return Err(format!("the keeper knows no verb `{verb}`: it is of another version, `down` and `up` it"));
            }
        };
        done.map_err(|error| error.to_string())?;
        Ok(self.reports().into_iter().filter(|report| report.name == question.process).collect())
    }
}

/// Starts the part and serves its socket until it is killed.
pub fn keep(place: &Place) -> Result<ExitCode> {
    // A session of its own: the terminal's end and its Ctrl-C are not for us. It fails only for a leader of a group, which is
    // somebody starting the keeper by hand.
    rustix::process::setsid().ok();
    let lock = File::create(place.lock()).with_context(|| format!("cannot open {}", place.lock().display()))?;
    if lock.try_lock().is_err() {
        bail!("another keeper holds {}", place.lock().display());
    }
    let clock = Stopwatch::start();
    let keeper = Identity::of_this_process().context("cannot read /proc/self/stat")?;
    let starting =
        State { keeper: keeper.clone(), ready_after_ms: None, env: [].into(), port: None, processes: [].into() };
    state::save(&place.state_file(), &starting)?;

    let bed = Bed::start(place)?;
    std::env::set_current_dir(&place.root).with_context(|| format!("cannot enter {}", place.root.display()))?;
    fs::remove_file(SOCKET).ok();
    let listener = UnixListener::bind(SOCKET).with_context(|| format!("cannot listen in {}", place.root.display()))?;
    let ready_after_ms = u64::try_from(clock.elapsed().as_millis()).unwrap_or(u64::MAX);
    state::save(&place.state_file(), &bed.state(&keeper, ready_after_ms))?;

    for connection in listener.incoming() {
        // One at a time: verbs on one process exclude each other anyway. A client that went away is not our concern.
        if let Err(error) = connection.map_err(anyhow::Error::from).and_then(|stream| serve(&bed, stream)) {
            eprintln!("testbed keeper: {error:#}");
        }
        state::save(&place.state_file(), &bed.state(&keeper, ready_after_ms))?;
    }
    Ok(ExitCode::SUCCESS)
}

fn serve(bed: &Bed, mut stream: UnixStream) -> Result<()> {
    let mut line = String::new();
    BufReader::new(&stream).read_line(&mut line)?;
    let answer = bed.answer(&serde_json::from_str(&line)?);
    stream.write_all(&serde_json::to_vec(&answer)?)?;
    Ok(())
}

/// Asks the keeper of `place`; `process` counts for fault verbs only.
pub fn ask(place: &Place, verb: &str, process: &str) -> Result<Vec<Report>> {
    std::env::set_current_dir(&place.root).with_context(|| format!("cannot enter {}", place.root.display()))?;
    let mut stream =
        UnixStream::connect(SOCKET).with_context(|| format!("the keeper of {} does not listen", place.part))?;
    let question = Question { verb: verb.to_owned(), process: process.to_owned() };
    stream.write_all(format!("{}\n", serde_json::to_string(&question)?).as_bytes())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    let answer: Answer = serde_json::from_str(&answer).context("the keeper ended in the middle of its answer")?;
    answer.map_err(|reason| anyhow::anyhow!(reason))
}
