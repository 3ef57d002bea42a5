//! kqueue(2): a directory's events tell only of its entries, so the files being written are watched
//! by descriptors of their own. `EV_CLEAR`: a change is reported once.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, VnodeEvents, kevent, kqueue};

use crate::place;

/// Readable when the directory, the file being written or the directory above may have changed.
#[derive(Debug)]
pub(crate) struct Watch {
    kqueue: OwnedFd,
    /// What is watched: closing a file ends its watch.
    watched: Vec<(PathBuf, File)>,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Watch> {
        Ok(Watch { kqueue: kqueue()?, watched: Vec::new() })
    }

    /// Watches the directory, the deepest one above it, and the log file and index of `number`, or
    /// of the newest file without one. What is watched already stays.
    pub(crate) fn arm(&mut self, dir: &Path, number: Option<u64>) -> io::Result<()> {
        loop {
            let Some(above) = dir.ancestors().skip(1).map(named).find(|path| path.is_dir()) else {
                return Err(io::ErrorKind::NotFound.into());
            };
            let mut paths = vec![above.to_owned(), dir.to_owned()];
            let number = number.or(place::numbers(dir)?.last().copied());
            if let Some(number) = number {
                paths.extend([place::log(dir, number), place::index(dir, number)]);
            }
            self.watched.retain(|(path, file)| paths.contains(path) && is_still(path, file));
            for path in paths {
                self.add(path)?;
            }
            // Made while we looked: watch from further down.
            let deepest = dir.ancestors().skip(1).map(named).find(|path| path.is_dir());
            let inside = self.watched.iter().any(|(path, _)| path == dir);
            if deepest == Some(above) && inside == dir.is_dir() {
                return Ok(());
            }
        }
    }

    fn add(&mut self, path: PathBuf) -> io::Result<()> {
        if self.watched.iter().any(|(watched, _)| *watched == path) {
            return Ok(());
        }
        // O_EVTONLY: for events alone, so that it doesn't keep a volume from being unmounted.
        let opened = File::options().read(true).custom_flags(libc::O_EVTONLY).open(&path);
        let file = match opened {
            Ok(file) => file,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            Err(error) => return Err(error),
        };
        let filter = EventFilter::Vnode {
            vnode: file.as_raw_fd(),
            flags: VnodeEvents::WRITE
                | VnodeEvents::EXTEND
                | VnodeEvents::DELETE
                | VnodeEvents::RENAME,
        };
        let change = Event::new(filter, EventFlags::ADD | EventFlags::CLEAR, std::ptr::null_mut());
        let mut none: Vec<Event> = Vec::new();
        // SAFETY: the descriptor in the filter is open; it is kept in `watched` below and, should it
        // be closed first, kqueue drops the filter by itself.
        unsafe { kevent(&self.kqueue, &[change], &mut none, Some(Duration::ZERO))? };
        self.watched.push((path, file));
        Ok(())
    }

    /// Takes what has been reported, so that the descriptor is readable only for what comes later.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        loop {
            let mut events: Vec<Event> = Vec::with_capacity(16);
            let buffer = rustix::buffer::spare_capacity(&mut events);
            // SAFETY: no filter is changed, so no descriptor is named.
            let got = unsafe { kevent(&self.kqueue, &[], buffer, Some(Duration::ZERO))? };
            if got < 16 {
                return Ok(());
            }
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.kqueue.as_fd()
    }
}

/// The parent of a relative path's first component has an empty name.
fn named(path: &Path) -> &Path {
    if path.as_os_str().is_empty() { Path::new(".") } else { path }
}

/// Whether the open file is what stands at the path.
fn is_still(path: &Path, file: &File) -> bool {
    match (std::fs::metadata(path), file.metadata()) {
        (Ok(there), Ok(open)) => (there.dev(), there.ino()) == (open.dev(), open.ino()),
        (Err(_), _) | (_, Err(_)) => false,
    }
}
