//! The state on disk: a snapshot, and a journal of what came after it.
//!
//! A change is handed to the operating system before anyone sees it, so that a killed process loses nothing that was
//! answered; it is on the disk within a second, which is what a power failure may cost. When the journal has grown long, a
//! new one begins, and a thread writes the snapshot that the old one adds up to. Files: `journal-00000007`, `snapshot-00000007`
//! (everything before journal 7), `lock`.

use super::origin::Origin;
use super::state::State;
use super::state::data::{Data, Entry, Kept, Record};
use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc;
use std::time::Duration;

mod frame;
use frame::{Frame, frame};

/// A journal longer than this, and than four snapshots, is long: reading it back takes about a second.
const LONG_BYTES: u64 = 32 << 20;
/// What a power failure may cost.
const SYNC: Duration = Duration::from_secs(1);

/// Opens the state in `dir`, or begins a new one there. The error is a sentence with the remedy.
pub(super) fn open(dir: &Path, origin: Origin) -> Result<State, String> {
    std::fs::create_dir_all(dir).map_err(|e| unusable(dir, &e))?;
    let lock = lock(dir)?;
    let mut data = Data::new();
    let generations = generations(dir)?;
    let snapshot = generations.snapshots.last().copied();
    let mut snapshot_bytes = 0;
    if let Some(number) = snapshot {
        snapshot_bytes = replay_snapshot(&snapshot_path(dir, number), &mut data)?;
        data.forget_history();
    }
    let journals: Vec<u64> = generations.journals.iter().copied().filter(|j| *j >= snapshot.unwrap_or(0)).collect();
    if let Some(missing) = missing(&journals, snapshot) {
        return Err(damaged(&journal_path(dir, missing), "the file is missing, and what goes with it is there"));
    }
    for (i, number) in journals.iter().enumerate() {
        replay_journal(&journal_path(dir, *number), &mut data, i + 1 == journals.len())?;
    }
    let number = journals.last().copied().unwrap_or_else(|| snapshot.unwrap_or(1));
    let path = journal_path(dir, number);
    // The kubeconfig is written once there is a state: with it, and without one, files were lost.
    if data.revision == 0 && dir.join(super::KUBECONFIG).exists() {
        return Err(damaged(&path, "it is empty or missing, and there was a cluster"));
    }
    let file = OpenOptions::new().create(true).append(true).open(&path).map_err(|e| unusable(&path, &e))?;
    let bytes = file.metadata().map_err(|e| unusable(&path, &e))?.len();
    let writer = Writer::spawn(dir.to_owned(), &file).map_err(|e| unusable(&path, &e))?;
    let journal =
        Journal { dir: dir.to_owned(), number, file, path, bytes, snapshot_bytes, broken: None, writer, _lock: lock };
    State::resume(data, Box::new(journal), origin).map_err(|status| format!("{}: {}", dir.display(), status.message))
}

fn journal_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("journal-{number:08}"))
}

fn snapshot_path(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("snapshot-{number:08}"))
}

pub(super) fn unusable(path: &Path, error: &std::io::Error) -> String {
    let remedy = match error.kind() {
        std::io::ErrorKind::PermissionDenied | std::io::ErrorKind::ReadOnlyFilesystem => {
            "make it writable for this user, or choose another directory"
        }
        std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
            "free some space, or choose another directory"
        }
        _ => "choose another directory",
    };
    format!("{}: the sandbox cannot keep its state there: {error}; {remedy}", path.display())
}

fn damaged(path: &Path, what: &str) -> String {
    let dir = path.parent().unwrap_or(path).display();
    format!(
        "{}: the sandbox's state is damaged: {what}. Restore the file from a backup, or begin anew with a data_dir of its own: an \
         empty cluster is another cluster, and has no use for the log of this one. {dir} is left as it is",
        path.display()
    )
}

/// One process owns the directory. The lock goes with the file handle, whatever ends the process.
fn lock(dir: &Path) -> Result<Lock, String> {
    let path = dir.join("lock");
    let options = OpenOptions::new().create(true).truncate(false).read(true).write(true).open(&path);
    let mut file = options.map_err(|e| unusable(&path, &e))?;
    if rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive).is_err() {
        let mut owner = String::new();
        file.read_to_string(&mut owner).unwrap_or_default();
        let owner = owner.trim();
        let owner = if owner.is_empty() { "another process".to_owned() } else { format!("process {owner}") };
        return Err(format!(
            "{}: the sandbox's directory is in use by {owner}; end that process, or choose another directory",
            dir.display()
        ));
    }
    let written = file.set_len(0).and_then(|()| writeln!(file, "{}", std::process::id()));
    written.map_err(|e| unusable(&path, &e))?;
    Ok(Lock(file))
}

/// The ownership of a directory.
struct Lock(File);

impl Drop for Lock {
    /// Closing the file alone does not end it while a child that another thread is just making holds a copy of it.
    fn drop(&mut self) {
        drop(self.0.unlock());
    }
}

#[derive(Default)]
struct Generations {
    snapshots: Vec<u64>,
    journals: Vec<u64>,
}

fn generations(dir: &Path) -> Result<Generations, String> {
    let mut found = Generations::default();
    for entry in std::fs::read_dir(dir).map_err(|e| unusable(dir, &e))? {
        let entry = entry.map_err(|e| unusable(dir, &e))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if let Some(number) = name.strip_prefix("snapshot-").and_then(|n| n.parse().ok()) {
            found.snapshots.push(number);
        } else if let Some(number) = name.strip_prefix("journal-").and_then(|n| n.parse().ok()) {
            found.journals.push(number);
        }
    }
    found.snapshots.sort_unstable();
    found.journals.sort_unstable();
    Ok(found)
}

/// The first journal that must be there and is not: they are numbered without gaps, from the snapshot's on.
fn missing(journals: &[u64], snapshot: Option<u64>) -> Option<u64> {
    let first = snapshot.unwrap_or(1);
    let last = journals.last().copied().or(snapshot)?;
    (first..=last).find(|number| !journals.contains(number))
}

fn replay_snapshot(path: &Path, data: &mut Data) -> Result<u64, String> {
    let bytes = std::fs::read(path).map_err(|e| unusable(path, &e))?;
    let (mut at, mut ended) = (0, false);
    while at < bytes.len() {
        let Frame::Whole { payload, next } = frame(&bytes, at) else {
            return Err(damaged(path, &format!("the record at byte {at} cannot be read")));
        };
        ended = take(payload, data).map_err(|what| damaged(path, &format!("the record at byte {at}: {what}")))?;
        at = next;
    }
    if ended { Ok(bytes.len() as u64) } else { Err(damaged(path, "its end is missing")) }
}

fn replay_journal(path: &Path, data: &mut Data, last: bool) -> Result<(), String> {
    let bytes = std::fs::read(path).map_err(|e| unusable(path, &e))?;
    let mut at = 0;
    while at < bytes.len() {
        match frame(&bytes, at) {
            Frame::Whole { payload, next } => {
                take(payload, data).map_err(|what| damaged(path, &format!("the record at byte {at}: {what}")))?;
                at = next;
            }
            // A record that was being written when the process or the machine died. Nobody was told of it.
            Frame::Torn if last && !frame::any_whole_after(&bytes, at) => {
                tracing::warn!(path = %path.display(), at, bytes = bytes.len() - at, "a torn record at the journal's end is dropped");
                let file = OpenOptions::new().write(true).open(path).map_err(|e| unusable(path, &e))?;
                file.set_len(at as u64).map_err(|e| unusable(path, &e))?;
                return Ok(());
            }
            Frame::Torn => {
                return Err(damaged(
                    path,
                    &format!("the record at byte {at} cannot be read, and others stand behind it"),
                ));
            }
        }
    }
    Ok(())
}

/// Takes a record in; whether it was a snapshot's end.
fn take(payload: &[u8], data: &mut Data) -> Result<bool, String> {
    let (revision, resource, key, json) = frame::understand(payload).ok_or("it makes no sense")?;
    data.replay(revision, resource, key, json)?;
    Ok(resource.is_empty())
}

struct Journal {
    dir: PathBuf,
    number: u64,
    file: File,
    path: PathBuf,
    bytes: u64,
    snapshot_bytes: u64,
    /// Why nothing can be written any more.
    broken: Option<String>,
    writer: Writer,
    _lock: Lock,
}

impl Record for Journal {
    fn record(&mut self, entry: Entry<'_>) -> Result<(), String> {
        if let Some(why) = &self.broken {
            return Err(why.clone());
        }
        let record = frame::record(entry.revision, entry.resource, entry.key, entry.json);
        if let Err(error) = self.file.write_all(&record) {
            // Half a record must not stand before later ones.
            if let Err(second) = self.file.set_len(self.bytes) {
                self.broken = Some(format!("{}, and {second}; start the sandbox again", unusable(&self.path, &error)));
            }
            return Err(unusable(&self.path, &error));
        }
        self.bytes += record.len() as u64;
        Ok(())
    }

    fn is_long(&self) -> bool {
        self.bytes > LONG_BYTES.max(4 * self.snapshot_bytes) && !self.writer.is_busy()
    }

    fn start_over(&mut self, revision: u64, objects: Vec<Kept>, at_once: bool) -> Result<(), String> {
        let number = self.number + 1;
        let path = journal_path(&self.dir, number);
        let open = || OpenOptions::new().create(true).append(true).open(&path).and_then(|f| Ok((f.try_clone()?, f)));
        let (file, copy) = open().map_err(|e| unusable(&path, &e))?;
        self.snapshot_bytes = objects.iter().map(|(_, _, o)| o.json.len() as u64).sum();
        let job = Job { number, revision, objects, file: copy };
        if at_once {
            // What the old journal says is true no more: it must not outlive this call.
            if let Err(error) = write_snapshot(&self.dir, &job) {
                let why = unusable(&snapshot_path(&self.dir, number), &error);
                self.broken = Some(format!("{why}; start the sandbox again"));
                return Err(why);
            }
            self.writer.follow(job.file);
        } else {
            self.writer.start(job);
        }
        (self.file, self.path, self.number, self.bytes) = (file, path, number, 0);
        Ok(())
    }
}

/// Everything up to a revision, and the journal that goes on from there.
struct Job {
    number: u64,
    revision: u64,
    objects: Vec<Kept>,
    file: File,
}

/// The thread that syncs the journal every second and writes snapshots. Ends when its handle goes, after a last sync.
struct Writer {
    orders: Option<mpsc::Sender<Task>>,
    busy: std::sync::Arc<std::sync::atomic::AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

enum Task {
    Snapshot(Job),
    Follow(File),
}

impl Writer {
    fn spawn(dir: PathBuf, file: &File) -> std::io::Result<Self> {
        let mut file = file.try_clone()?;
        let (orders, tasks) = mpsc::channel();
        let busy = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
        let own = busy.clone();
        let run = move || loop {
            let task = tasks.recv_timeout(SYNC);
            if let Err(error) = file.sync_data() {
                tracing::warn!(%error, "the sandbox's journal could not be synced: a power failure would cost its latest changes");
            }
            match task {
                Ok(Task::Follow(next)) => file = next,
                Ok(Task::Snapshot(job)) => {
                    if let Err(error) = write_snapshot(&dir, &job) {
                        let path = snapshot_path(&dir, job.number);
                        tracing::warn!(path = %path.display(), %error, "the sandbox's snapshot could not be written; its journals stay");
                    }
                    file = job.file;
                    own.store(false, std::sync::atomic::Ordering::Release);
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => return,
            }
        };
        let thread = std::thread::Builder::new().name("sandbox-journal".to_owned()).spawn(run)?;
        Ok(Self { orders: Some(orders), busy, thread: Some(thread) })
    }

    fn is_busy(&self) -> bool {
        self.busy.load(std::sync::atomic::Ordering::Acquire)
    }

    fn start(&self, job: Job) {
        self.busy.store(true, std::sync::atomic::Ordering::Release);
        self.send(Task::Snapshot(job));
    }

    fn follow(&self, file: File) {
        self.send(Task::Follow(file));
    }

    fn send(&self, task: Task) {
        // A thread that is gone has panicked; the journals themselves lose nothing by it.
        if self.orders.as_ref().is_some_and(|o| o.send(task).is_err()) {
            tracing::error!("the thread of the sandbox's journal is gone: no more snapshots, no more syncs");
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        drop(self.orders.take());
        if let Some(thread) = self.thread.take() {
            // It ends after one sync; a panic in it was reported where it happened.
            thread.join().unwrap_or_default();
        }
    }
}

fn write_snapshot(dir: &Path, job: &Job) -> std::io::Result<()> {
    let path = snapshot_path(dir, job.number);
    let new = dir.join("snapshot.new");
    let mut file = std::io::BufWriter::with_capacity(1 << 20, File::create(&new)?);
    for (resource, key, object) in &job.objects {
        file.write_all(&frame::record(object.revision, resource, key, Some(&object.json)))?;
    }
    file.write_all(&frame::record(job.revision, "", "", None))?;
    file.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()?;
    std::fs::rename(&new, &path)?;
    File::open(dir)?.sync_all()?;
    // Only now is what came before superfluous. What cannot be removed now is passed over at the next start.
    for number in
        (0..job.number).rev().take_while(|n| journal_path(dir, *n).exists() || snapshot_path(dir, *n).exists())
    {
        for old in [journal_path(dir, number), snapshot_path(dir, number)] {
            std::fs::remove_file(old).unwrap_or_default();
        }
    }
    Ok(())
}
