//! How far the journal was acknowledged. Without it the last record of a journal whose bits have flipped would look like one
//! that was never written to its end: what is torn may be dropped, what was acknowledged may not.
//!
//! Written behind every group, before anybody is told, and brought to the disk about once a second: so it survives a killed
//! process exactly, and after a power failure it is at most a second behind, never ahead of what the disk holds.
//!
//! Two slots are written in turns, so that one of them is whole at every instruction.

use super::Sync;
use super::codec::Cursor;
use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt as _;
use std::path::Path;
use xxhash_rust::xxh3::xxh3_64;

/// Apart by more than any disk writes in one go.
const SLOTS: [u64; 2] = [0, 4096];
const SLOT: usize = 48;

/// Everything before this place was acknowledged.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub journal: u64,
    pub length: u64,
    /// Whether the disk must still have it: with [`Sync::Process`] not after the machine has gone down.
    pub binding: bool,
}

/// The file and whose turn it is.
#[derive(Debug)]
pub(super) struct Acked {
    file: File,
    turn: u64,
    sync: Sync,
    boot: u64,
    dirty: bool,
    /// What the newest slot says.
    last: Option<[u64; 4]>,
}

/// What the file says.
pub(super) enum Said {
    /// There is no such file: a new log, or somebody removed it to have what is there taken as it is.
    Nothing,
    Mark(Mark),
    /// Neither slot can be read.
    Damaged,
}

impl Acked {
    pub fn open(path: &Path, sync: Sync) -> io::Result<(Self, Said)> {
        let file = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(path)?;
        let is_new = file.metadata()?.len() == 0;
        let boot = this_boot();
        let newest = SLOTS.iter().filter_map(|at| read(&file, *at)).max_by_key(|slot| slot.turn);
        let said = match &newest {
            _ if is_new => Said::Nothing,
            Some(slot) => {
                let binding = !slot.process || (boot != 0 && slot.boot == boot);
                Said::Mark(Mark { journal: slot.journal, length: slot.length, binding })
            }
            None => Said::Damaged,
        };
        let turn = newest.as_ref().map_or(0, |slot| slot.turn);
        let last = newest.map(|slot| [slot.journal, slot.length, slot.boot, u64::from(slot.process)]);
        Ok((Self { file, turn, sync, boot, dirty: false, last }, said))
    }

    /// Everything in that journal before `length`, and all earlier journals, are acknowledged from here on.
    pub fn note(&mut self, journal: u64, length: u64) -> io::Result<()> {
        let words = [journal, length, self.boot, u64::from(self.sync == Sync::Process)];
        if self.last == Some(words) {
            return Ok(());
        }
        let turn = self.turn + 1;
        let mut slot = Vec::with_capacity(SLOT);
        for word in [turn].iter().chain(&words) {
            slot.extend_from_slice(&word.to_le_bytes());
        }
        slot.extend_from_slice(&xxh3_64(&slot).to_le_bytes());
        self.file.write_all_at(&slot, SLOTS[usize::from(turn % 2 == 1)])?;
        (self.turn, self.last, self.dirty) = (turn, Some(words), true);
        Ok(())
    }

    pub fn is_dirty(&self) -> bool {
        self.dirty
    }

    /// A copy of the file, to be brought to the disk without holding anything.
    pub fn take_dirty(&mut self) -> io::Result<File> {
        self.dirty = false;
        self.file.try_clone()
    }
}

struct Slot {
    turn: u64,
    journal: u64,
    length: u64,
    boot: u64,
    process: bool,
}

fn read(file: &File, at: u64) -> Option<Slot> {
    let mut bytes = [0; SLOT];
    file.read_exact_at(&mut bytes, at).ok()?;
    let (content, checksum) = bytes.split_last_chunk::<8>()?;
    if xxh3_64(content) != u64::from_le_bytes(*checksum) {
        return None;
    }
    let mut words = Cursor(content);
    let (turn, journal, length, boot) = (words.u64()?, words.u64()?, words.u64()?, words.u64()?);
    Some(Slot { turn, journal, length, boot, process: words.u64()? != 0 })
}

/// Differs after each start of the machine; 0 where nobody says.
fn this_boot() -> u64 {
    std::fs::read("/proc/sys/kernel/random/boot_id").map_or(0, |id| xxh3_64(&id))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(path: &Path) -> Option<(u64, u64, bool)> {
        match Acked::open(path, Sync::Disk).expect("a file").1 {
            Said::Mark(Mark { journal, length, binding }) => Some((journal, length, binding)),
            Said::Nothing | Said::Damaged => None,
        }
    }

    #[test]
    fn the_newest_mark_counts_and_where_it_is_damaged_the_one_before() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("acked");
        let (mut acked, nothing) = Acked::open(&path, Sync::Disk).expect("a file");
        assert!(matches!(nothing, Said::Nothing));
        for length in [100, 200, 300] {
            acked.note(7, length).expect("there is room");
        }
        assert_eq!(said(&path), Some((7, 300, true)));
        let newest = SLOTS[usize::from(acked.turn % 2 == 1)];
        acked.file.write_all_at(&[0xff], newest + 20).expect("there is room");
        assert_eq!(said(&path), Some((7, 200, true)));
        acked.file.write_all_at(&[0xff; SLOT], SLOTS[0]).expect("there is room");
        acked.file.write_all_at(&[0xff; SLOT], SLOTS[1]).expect("there is room");
        assert!(matches!(Acked::open(&path, Sync::Disk).expect("a file").1, Said::Damaged));
    }

    #[test]
    fn what_only_the_operating_system_had_binds_until_the_machine_has_gone_down() {
        let dir = tempfile::tempdir().expect("a directory");
        let path = dir.path().join("acked");
        let (mut acked, _) = Acked::open(&path, Sync::Process).expect("a file");
        acked.note(1, 100).expect("there is room");
        let is_known = acked.boot != 0;
        assert_eq!(said(&path), Some((1, 100, is_known)));
        acked.boot = acked.boot.wrapping_add(1);
        acked.note(1, 200).expect("there is room");
        assert_eq!(said(&path), Some((1, 200, false)), "another start of the machine");
    }
}
