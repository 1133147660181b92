//! Small files that settings name: read with a limit, and never waited for.

use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;

use rustix::fs::OFlags;

/// No key and no password is as long; whatever is does not belong here.
const BYTES_MAX: u64 = 64 << 10;

/// What a file holds, and what is known about it.
pub(super) fn read(path: &Path) -> io::Result<(Vec<u8>, Metadata)> {
    // Opening a pipe that nobody writes to would wait for ever, and opening a terminal would make it ours.
    let flags = (OFlags::NONBLOCK | OFlags::NOCTTY).bits().cast_signed();
    let file = OpenOptions::new().read(true).custom_flags(flags).open(path)?;
    let about = file.metadata()?;
    if !about.is_file() {
        return Err(io::Error::other("it is no regular file"));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > BYTES_MAX {
        return Err(io::Error::other(format!("it has more than {BYTES_MAX} bytes")));
    }
    Ok((bytes, about))
}
