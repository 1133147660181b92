//! One real Kafka node on loopback.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fmt::Write as _, fs};

use serde::{Deserialize, Serialize};

use crate::cache::{self, built, find_on_path};
use crate::error::{Attempt, Missing, Result};
use crate::ports::Lease;
use crate::process::{Member, Spec, lost_its_port};
use crate::recipe::{Part, SERVER_PROPERTIES, TEMPLATE_CLUSTER_ID};
use crate::scratch::Scratch;

/// How to start Kafka; `KafkaOptions::default()` is what a test wants.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KafkaOptions {
    /// The port on 127.0.0.1; `None` picks a free one.
    pub port: Option<u16>,
    /// JVM heap in MiB. 256 holds what tests do; a benchmark wants more.
    pub heap_mib: u32,
    /// More JVM flags, which win over ours: `-XX:TieredStopAtLevel=4` for the throughput of a long-lived broker.
    pub jvm_args: Vec<String>,
    /// More server properties, which win over the recipe's own.
    pub properties: Vec<(String, String)>,
    /// Keep data and logs here, over several starts, instead of in a temporary directory.
    pub directory: Option<PathBuf>,
}

impl Default for KafkaOptions {
    fn default() -> Self {
        Self { port: None, heap_mib: 256, jvm_args: Vec::new(), properties: Vec::new(), directory: None }
    }
}

/// A running Kafka. Dropping it ends it and removes its data.
#[derive(Debug)]
pub struct Kafka {
    // In this order: the process ends before its directory goes, and its ports are given back last.
    broker: Member,
    scratch: Scratch,
    port: Lease,
    _controller_port: Lease,
}

impl Kafka {
    /// Builds Kafka if need be, starts it, and returns when it takes requests.
    pub fn start(options: KafkaOptions) -> Result<Self> {
        let home = built(Part::Kafka, "kafka")?;
        let classes = built(Part::Kafka, "kafka-classes")?.join(CLASS_ARCHIVE);
        let scratch = Scratch::new("kafka", options.directory.as_deref())?;
        format_data(&home.join("template"), &scratch.data().join("log"))?;
        // A JVM that could not write an archive starts without.
        let archive = classes.is_file().then(|| format!("-XX:SharedArchiveFile={}", classes.display()));
        let jvm_args: Vec<String> = archive.into_iter().chain(options.jvm_args.iter().cloned()).collect();

        // The lease keeps other test beds off a port, not other programs: then a second pair of ports will do.
        for last in [false, false, true] {
            match Self::launch(&options, &home, &jvm_args, &scratch) {
                Ok((broker, port, controller_port)) => {
                    return Ok(Self { broker, scratch, port, _controller_port: controller_port });
                }
                Err(error) if !last && options.port.is_none() && lost_its_port(&error) => {}
                Err(error) => return Err(error),
            }
        }
        unreachable!("the last attempt returns")
    }

    fn launch(
        options: &KafkaOptions,
        home: &Path,
        jvm_args: &[String],
        scratch: &Scratch,
    ) -> Result<(Member, Lease, Lease)> {
        let leases = cache::cache_root().join("ports");
        let port = options.port.map_or_else(|| Lease::any(&leases), |port| Lease::exactly(&leases, port))?;
        let controller_port = Lease::any(&leases)?;

        let properties = scratch.data().join("server.properties");
        let content =
            server_properties(&scratch.data().join("log"), port.port(), controller_port.port(), &options.properties);
        fs::write(&properties, content).attempt(|| format!("write {}", properties.display()))?;

        let spec = Spec {
            name: "kafka",
            port: Some(port.port()),
            program: java()?,
            args: broker_args(home, options.heap_mib, jvm_args, &properties),
            env: Vec::new(),
            directory: scratch.data(),
            log: scratch.logs().join("kafka.log"),
        };
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port.port()));
        let broker = Member::start(spec, move || serves(address))?;
        broker.wait_ready()?;
        Ok((broker, port, controller_port))
    }

    /// `127.0.0.1:PORT`, for `bootstrap.servers`. The same over restarts.
    pub fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port.port())
    }

    /// SIGKILL. See [`Member::kill9`].
    pub fn kill9(&self) -> Result<()> {
        self.broker.kill9()
    }

    /// SIGSTOP. See [`Member::pause`].
    pub fn pause(&self) -> Result<()> {
        self.broker.pause()
    }

    /// SIGCONT. See [`Member::resume`].
    pub fn resume(&self) -> Result<()> {
        self.broker.resume()
    }

    /// A fresh process on the same data and port. See [`Member::restart`].
    pub fn restart(&self) -> Result<()> {
        self.broker.restart()
    }

    /// The broker's process.
    pub fn broker(&self) -> &Member {
        &self.broker
    }

    /// Where `kafka.log` is. Kept when the owner panics, or with `TESTBED_KEEP_LOGS` set.
    pub fn logs_dir(&self) -> PathBuf {
        self.scratch.logs()
    }

    /// Where the broker keeps its partitions: one directory `TOPIC-PARTITION` each.
    pub fn data_dir(&self) -> PathBuf {
        self.scratch.data().join("log")
    }
}

/// In the `kafka-classes` directory.
const CLASS_ARCHIVE: &str = "kafka.jsa";

/// Runs a broker until it serves and ends it in good order, which makes the JVM write what it had loaded.
pub(crate) fn archive_classes(work: &Path, out: &Path) -> Result<()> {
    let home = built(Part::Kafka, "kafka")?;
    let scratch = Scratch::new("kafka-classes", Some(work))?;
    format_data(&home.join("template"), &scratch.data().join("log"))?;
    let archive = out.join(CLASS_ARCHIVE);
    let jvm_args = [format!("-XX:ArchiveClassesAtExit={}", archive.display())];
    let (broker, _port, _controller_port) = Kafka::launch(&KafkaOptions::default(), &home, &jvm_args, &scratch)?;
    broker.terminate()
}

fn java() -> Result<PathBuf> {
    let missing = Missing { tool: "java", needed_for: "to run Kafka (version 17 or later)" };
    Ok(find_on_path("java").ok_or(missing)?)
}

fn broker_args(home: &Path, heap_mib: u32, jvm_args: &[String], properties: &Path) -> Vec<String> {
    let mut args = vec![
        format!("-Xmx{heap_mib}m"),
        format!("-Xms{heap_mib}m"),
        "-XX:+UseSerialGC".to_owned(),
        // A test's broker lives too short to earn back what the optimising compiler costs at its start.
        "-XX:TieredStopAtLevel=1".to_owned(),
    ];
    args.extend(jvm_args.iter().cloned());
    for property in ["defaultLogLevel=warn", "showDateTime=true", "dateTimeFormat=HH:mm:ss.SSS"] {
        args.push(format!("-Dorg.slf4j.simpleLogger.{property}"));
    }
    args.push("-cp".to_owned());
    args.push(home.join("libs/*").display().to_string());
    args.push("kafka.Kafka".to_owned());
    args.push(properties.display().to_string());
    args
}

/// The recipe's properties, this run's ports and directory, then the caller's: Java takes the last mention of a key.
fn server_properties(log: &Path, port: u16, controller_port: u16, extra: &[(String, String)]) -> String {
    let mut text = format!(
        "{SERVER_PROPERTIES}\nlisteners=PLAINTEXT://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}\n\
         advertised.listeners=PLAINTEXT://127.0.0.1:{port}\ncontroller.quorum.voters=1@127.0.0.1:{controller_port}\n\
         log.dirs={}\n",
        escape(&log.display().to_string())
    );
    for (key, value) in extra {
        writeln!(text, "{}={}", escape(key), escape(value)).expect("a String takes what is written to it");
    }
    text
}

/// Java's properties format: backslash escapes, a line ends a value.
fn escape(text: &str) -> String {
    text.replace('\\', "\\\\").replace('\n', "\\n").replace('\r', "\\r")
}

/// Copies the formatted template, under a cluster id of its own, unless the directory is in use since an earlier start.
fn format_data(template: &Path, log: &Path) -> Result<()> {
    if log.join("meta.properties").is_file() {
        return Ok(());
    }
    fs::create_dir_all(log).attempt(|| format!("make {}", log.display()))?;
    let files = fs::read_dir(template).attempt(|| format!("read {}", template.display()))?;
    for file in files.flatten() {
        let name = file.file_name();
        if name == "meta.properties" {
            continue;
        }
        fs::copy(file.path(), log.join(&name))
            .attempt(|| format!("copy {} to {}", file.path().display(), log.display()))?;
    }
    let meta = template.join("meta.properties");
    let text = fs::read_to_string(&meta).attempt(|| format!("read {}", meta.display()))?;
    let text = text.replace(TEMPLATE_CLUSTER_ID, &random_cluster_id()?);
    // Last: it marks the directory as formatted.
    fs::write(log.join("meta.properties"), text).attempt(|| format!("write into {}", log.display()))
}

/// 16 random bytes in Kafka's base64url, as `kafka-storage random-uuid` gives them: 21 free characters, and a 22nd that holds
/// the last two bits. A client that remembers the cluster id must see that a new test is a new cluster.
fn random_cluster_id() -> Result<String> {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let bytes = random::<22>()?;
    let characters = bytes.iter().enumerate().map(|(index, byte)| match index {
        // Kafka refuses an id that begins with a dash: command lines take it for an option.
        0 => ALPHABET[usize::from(byte % 62)],
        21 => ALPHABET[usize::from(byte & 0b11) << 4],
        _ => ALPHABET[usize::from(byte & 0b11_1111)],
    });
    Ok(characters.map(char::from).collect())
}

pub(crate) fn random<const N: usize>() -> Result<[u8; N]> {
    let mut bytes = [0; N];
    let read = fs::File::open("/dev/urandom").and_then(|mut file| file.read_exact(&mut bytes));
    read.attempt(|| "read /dev/urandom".to_owned())?;
    Ok(bytes)
}

/// An open port is not enough: the broker listens before the controller has unfenced it, and topics cannot be led by a fenced
/// broker. Its own metadata names it only from then on.
fn serves(address: SocketAddr) -> Result<(), String> {
    let broker = ask_for_brokers(address).map_err(|error| error.to_string())?;
    if broker == 0 { Err("the broker is fenced still".to_owned()) } else { Ok(()) }
}

/// How many brokers are unfenced, by a Metadata request (version 4: the plainest that both asks for no topic and is still
/// served by Kafka 4) in Kafka's wire format.
fn ask_for_brokers(address: SocketAddr) -> std::io::Result<i32> {
    const TIMEOUT: Duration = Duration::from_secs(2);
    #[rustfmt::skip]
    const REQUEST: &[u8] = &[
        0, 0, 0, 15, // length of what follows
        0, 3, // Metadata
        0, 4, // version
        0, 0, 0, 1, // correlation id
        255, 255, // no client id
        0, 0, 0, 0, // no topics
        0, // do not create any
    ];
    let mut socket = TcpStream::connect_timeout(&address, TIMEOUT)?;
    socket.set_read_timeout(Some(TIMEOUT))?;
    socket.write_all(REQUEST)?;
    // Length, correlation id, throttle time, then the array of brokers with its count first.
    let mut answer = [0; 16];
    socket.read_exact(&mut answer)?;
    Ok(i32::from_be_bytes([answer[12], answer[13], answer[14], answer[15]]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_callers_properties_come_last_and_so_win() {
        let extra = [("num.partitions".to_owned(), "12".to_owned())];
        let text = server_properties(Path::new("/data"), 20_001, 20_002, &extra);
        assert!(text.find("num.partitions=12") > text.find("num.partitions=3"), "{text}");
        assert!(text.contains("listeners=PLAINTEXT://127.0.0.1:20001,CONTROLLER://127.0.0.1:20002\n"));
        assert!(text.contains("log.dirs=/data\n"));
    }

    #[test]
    fn a_value_cannot_smuggle_a_second_property() {
        assert_eq!(escape("a\nb=c\\d"), "a\\nb=c\\\\d");
    }

    #[test]
    fn a_cluster_id_is_one_that_kafka_takes() {
        for _ in 0..200 {
            let id = random_cluster_id().unwrap();
            assert_eq!(id.len(), 22);
            assert!(!id.starts_with(['-', '_']), "{id}");
            assert!(id.ends_with(['A', 'Q', 'g', 'w']), "the last character holds two bits only: {id}");
        }
    }
}
