//! Opening a log: which files belong to it, whether everything that was acknowledged is there, and where to go on.
//!
//! The rule for what is not whole: behind the mark of `acked.rs` it was never acknowledged, so it is dropped and named;
//! before the mark, or in any file but the last journal, it is damage, and the log is refused as it was found: nothing is
//! changed before all was looked at.

use super::acked::{Acked, Mark, Said};
use super::codec::{Head, Place};
use super::damage::{Damage, Trouble, named};
use super::files::Directory;
use super::journal::{self, Entry, Journal};
use super::segment::{Fault, Segment};
use super::state::{State, StoredTopic};
use super::{EmbeddedConfig, Sync};
use crate::domain::topic::TopicSpec;
use crate::log::LogError;
use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use xxhash_rust::xxh3::xxh3_64;

/// Where the next group goes.
pub(super) struct Active {
    pub file: Arc<File>,
    pub number: u64,
    /// Everything before is acknowledged.
    pub length: u64,
    pub sequence: u64,
    pub acked: Acked,
}

/// Reads what stands in the directory.
pub(super) fn open(directory: &Directory, config: &EmbeddedConfig) -> Result<(State, Active), LogError> {
    let mut state = State::default();
    match recover(directory, config.sync, &mut state) {
        Ok(active) => Ok((state, active)),
        Err(trouble) => Err(trouble.into_error(&directory.path, &state)),
    }
}

fn recover(directory: &Directory, sync: Sync, state: &mut State) -> Result<Active, Trouble> {
    read_topics(directory, state)?;
    let found = directory.found()?;
    let (acked, said) = Acked::open(&directory.file("acked"), sync)?;
    let mark = match said {
        Said::Mark(mark) => Some(mark),
        Said::Nothing => {
            if !found.journals.is_empty() {
                tracing::warn!(
                    log = %directory.path.display(),
                    "the file `acked` is not there: what the log holds is taken as it is, nobody can tell what is missing"
                );
            }
            None
        }
        Said::Damaged => {
            return Err(Trouble::Refused(LogError::Refused(format!(
                "{} is damaged, so nobody can tell whether all that was acknowledged is there: remove this file to have \
                 what the log holds taken as it is",
                directory.file("acked").display()
            ))));
        }
    };
    let mut obsolete = open_segments(directory, &found.segments, state)?;
    let covered = state.segments.last().map_or(0, |segment| segment.last);
    let (replaced, journals): (Vec<u64>, Vec<u64>) = found.journals.iter().partition(|number| **number <= covered);
    obsolete.extend(replaced.into_iter().map(|number| directory.journal(number)));
    let active = open_journals(directory, &journals, covered, mark, acked, state)?;
    for path in obsolete {
        fs::remove_file(path)?;
    }
    Ok(active)
}

fn read_topics(directory: &Directory, state: &mut State) -> Result<(), Trouble> {
    let path = directory.file("topics");
    let text = match fs::read_to_string(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) if error.kind() != io::ErrorKind::InvalidData => return Err(error.into()),
        read => read.unwrap_or_default(),
    };
    let whole = text.rsplit_once("\n#").filter(|(list, sum)| *sum == checksum(list));
    let topics: Option<Vec<StoredTopic>> = whole.and_then(|(list, _)| serde_json::from_str(list).ok());
    let topics = topics.ok_or_else(|| Damage::new(&path, None, "it is not what was written"))?;
    for StoredTopic { name, partitions, config } in topics {
        let spec = TopicSpec { name, partitions, replication: 1, config };
        state.add(spec).map_err(|what| Damage::new(&path, None, what))?;
    }
    Ok(())
}

fn checksum(list: &str) -> String {
    format!("{:016x}", xxh3_64(list.as_bytes()))
}

/// The content of the file `topics`: all that are there, and one more.
pub(super) fn topics_with(state: &State, spec: &TopicSpec) -> Result<Vec<u8>, LogError> {
    let known = state.names.iter().filter_map(|name| state.topics.get(name)).map(|topic| &topic.spec);
    let stored = |spec: &TopicSpec| StoredTopic {
        name: spec.name.clone(),
        partitions: spec.partitions,
        config: spec.config.clone(),
    };
    let topics: Vec<StoredTopic> = known.chain([spec]).map(stored).collect();
    let list = serde_json::to_string_pretty(&topics)
        .map_err(|error| LogError::Refused(format!("topic {} cannot be written down: {error}", spec.name)))?;
    Ok(format!("{list}\n#{}", checksum(&list)).into_bytes())
}

/// Opens the segments that count; gives the files that others have replaced.
fn open_segments(directory: &Directory, numbers: &[(u64, u64)], state: &mut State) -> Result<Vec<PathBuf>, Trouble> {
    let mut obsolete = Vec::new();
    let mut covered = 0;
    for (first, last) in numbers.iter().copied() {
        let path = directory.segment(first, last);
        if last <= covered {
            obsolete.push(path);
            continue;
        }
        if first != covered + 1 {
            let missing = directory.segment(covered + 1, first - 1);
            return Err(Damage::new(&missing, None, "it is not there, and no other file holds its records").into());
        }
        let segment = match Segment::open(path.clone(), first, last) {
            Ok(segment) => segment,
            Err(Fault::Io(error)) if error.kind() != io::ErrorKind::UnexpectedEof => return Err(error.into()),
            Err(_) => {
                // Which records it held only the files before can tell: each partition went on where they end.
                let next = first_missed(state);
                return Err(Damage::new(&path, next, Fault::Contents.to_string()).into());
            }
        };
        for (place, part) in &segment.parts {
            let next = state.bounds(*place).map(|bounds| bounds.next);
            let Some(bounds) = state.bounds_mut(*place).filter(|_| next == Some(part.start)) else {
                return Err(
                    Damage::new(&path, Some((*place, next.unwrap_or_default())), "it is not what follows").into()
                );
            };
            bounds.next = part.next;
            bounds.first = bounds.first.max(part.floor);
        }
        covered = last;
        state.segments.push(Arc::new(segment));
    }
    Ok(obsolete)
}

/// Where the first partition of the log goes on.
fn first_missed(state: &State) -> Option<(Place, i64)> {
    let place = Place { topic: 0, partition: 0 };
    state.bounds(place).map(|bounds| (place, bounds.next))
}

fn open_journals(
    directory: &Directory,
    numbers: &[u64],
    covered: u64,
    mark: Option<Mark>,
    mut acked: Acked,
    state: &mut State,
) -> Result<Active, Trouble> {
    let mut active = None;
    for (number, wanted) in numbers.iter().copied().zip(covered + 1..) {
        if number != wanted {
            let missing = directory.journal(wanted);
            return Err(Damage::new(&missing, first_missed(state), "it is not there").into());
        }
        let is_last = numbers.last() == Some(&number);
        active = Some(open_journal(directory, number, is_last, mark, state)?);
    }
    let newest = numbers.last().copied().unwrap_or(covered);
    if let Some(mark) = mark.filter(|mark| mark.journal > newest && mark.binding) {
        let missing = directory.journal(mark.journal);
        return Err(Damage::new(&missing, first_missed(state), "it is not there").into());
    }
    let (journal, length, sequence) = match active {
        Some(found) => found,
        None => {
            let number = covered + 1;
            let path = directory.journal(number);
            let file = Arc::new(journal::create(&path, number)?);
            directory.sync()?;
            (Journal { number, path: path.into(), file, index: Arc::default() }, journal::HEADER, 0)
        }
    };
    acked.note(journal.number, length)?;
    let active = Active { file: journal.file.clone(), number: journal.number, length, sequence, acked };
    state.journals.push(journal);
    Ok(active)
}

/// Reads one journal; what is torn at the end of the last one is cut off. All but the last are put into the state.
fn open_journal(
    directory: &Directory,
    number: u64,
    is_last: bool,
    mark: Option<Mark>,
    state: &mut State,
) -> Result<(Journal, u64, u64), Trouble> {
    let path = directory.journal(number);
    let file = File::options().read(true).write(true).open(&path)?;
    let mut index: HashMap<Place, Vec<Entry>> = HashMap::new();
    let mut last = None;
    let scan = journal::scan(&file, number, |head: Head, at, _| {
        let Some(bounds) = state.bounds_mut(head.place).filter(|bounds| bounds.next == head.offset) else {
            let what = "it is not what follows in its partition";
            return Err(Trouble::from(Damage::new(&path, Some((head.place, head.offset)), what)));
        };
        bounds.next += 1;
        last = Some((head.place, head.offset));
        let Head { offset, timestamp_ms, .. } = head;
        let length = u32::try_from(head.length).unwrap_or(u32::MAX);
        index.entry(head.place).or_default().push(Entry { offset, timestamp_ms, at, length });
        Ok(())
    })?;
    if scan.good < scan.length || !scan.has_header {
        let acked = mark.filter(|mark| mark.journal >= number);
        let must = acked.is_some_and(|mark| mark.journal > number || mark.length > scan.good);
        let binding = acked.is_none_or(|mark| mark.binding);
        // A sealed journal was whole when the next one was made. And what stands whole behind a break was acknowledged too,
        // or it would never have been written.
        let broken = !is_last || must || journal::whole_group_behind(&file, number, scan.good, scan.length)?;
        let torn = journal::torn_at(&file, scan.good, scan.length)?;
        // Coordinates that cannot be are part of what is broken.
        let known = |head: Option<Head>| {
            let head = head.filter(|head| state.bounds(head.place).is_some_and(|bounds| head.offset >= bounds.next));
            head.map(|head| (head.place, head.offset))
        };
        if broken && (binding || !is_last) {
            let at =
                known(torn.broken).or(last.map(|(place, offset)| (place, offset + 1))).or_else(|| first_missed(state));
            let what = format!("what stands behind byte {} is not what was written", scan.good);
            return Err(Damage::new(&path, at, what).into());
        }
        if scan.length > scan.good {
            tracing::warn!(
                log = %directory.path.display(),
                bytes = scan.length - scan.good,
                first = known(torn.first).map(|at| named(state, at)),
                behind = last.map(|at| named(state, at)),
                whole_records = torn.whole,
                acknowledged = broken,
                "dropped what was not written to its end when the process or the machine stopped"
            );
        }
        file.set_len(scan.good)?;
        file.sync_all()?;
    } else if mark.is_some_and(|mark| mark.binding && mark.journal == number && mark.length > scan.good) {
        let at = last.map(|(place, offset)| (place, offset + 1)).or_else(|| first_missed(state));
        let what = format!("it ends at byte {}, and more was acknowledged", scan.good);
        return Err(Damage::new(&path, at, what).into());
    }
    let file = if scan.has_header { file } else { journal::create(&path, number)? };
    let journal = Journal { number, path: path.into(), file: Arc::new(file), index: Arc::new(index) };
    if !is_last {
        state.journals.push(journal.clone());
    }
    Ok((journal, scan.good.max(journal::HEADER), scan.sequence))
}
