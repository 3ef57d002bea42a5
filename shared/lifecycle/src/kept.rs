//! Files in the home that are read at an agent's start and written while it lives.
//!
//! Invariant: a reader sees a whole file, the old one or the new one; and what is not understood is put
//! aside, never written over.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::Path;

use rustix::fs::{Mode, OFlags};

/// So many unreadable files of one name are kept.
const SET_ASIDE: usize = 9;

/// Reads one. What is no file (somebody's pipe) does not hold us: it is an error.
pub fn read(path: &Path) -> io::Result<Vec<u8>> {
    let flags = OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC;
    let mut file = File::from(rustix::fs::open(path, flags, Mode::empty())?);
    if !file.metadata()?.is_file() {
        return Err(io::Error::other("it is no file"));
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map(|_| bytes)
}

/// Writes one, for its owner alone (0600): beside it (`.new`), and then renamed. Nothing is synced.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, |_| Ok(()))
}

/// The same of what is read after a boot by others: it is on the disk before it has its name, so that a
/// loss of power leaves the old one or the new one (fsync(2)).
#[cfg(feature = "units")]
pub(crate) fn replace_for_good(path: &Path, bytes: &[u8]) -> io::Result<()> {
    put(path, bytes, File::sync_all)
}

fn put(path: &Path, bytes: &[u8], keep: fn(&File) -> io::Result<()>) -> io::Result<()> {
    let mut aside = path.as_os_str().to_owned();
    aside.push(".new");
    let flags =
        OFlags::CREATE | OFlags::TRUNC | OFlags::WRONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let written = rustix::fs::open(&aside, flags, Mode::RUSR | Mode::WUSR)
        .map_err(io::Error::from)
        .map(File::from)
        .and_then(|mut file| file.write_all(bytes).and_then(|()| keep(&file)))
        .and_then(|()| std::fs::rename(&aside, path));
    if written.is_err() {
        // Half a file takes room that others need; it may not be there at all.
        let _ = std::fs::remove_file(&aside);
    }
    written
}

/// Puts one out of the way (`.bad`, `.bad.2`, ...), so that it is not written over: somebody may want to
/// look at it. In words for the log, what became of it.
pub fn set_aside(path: &Path) -> String {
    let numbered = |number: usize| {
        let mut name = path.as_os_str().to_owned();
        name.push(if number == 1 { ".bad".to_owned() } else { format!(".bad.{number}") });
        std::path::PathBuf::from(name)
    };
    let free = (1..=SET_ASIDE).map(numbered).find(|path| !path.exists());
    let aside = free.unwrap_or_else(|| numbered(SET_ASIDE));
    let moved = std::fs::rename(path, &aside);
    let aside = aside.display();
    match moved {
        Ok(()) => format!("set aside as {aside}"),
        Err(error) => format!("and it can't be set aside as {aside}: {error}"),
    }
}
