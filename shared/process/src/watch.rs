//! Changes in a directory, told by the kernel.
//!
//! Invariant: subscribe, then look, then act. A watch tells that something may have changed since
//! it was made, never what was there before; who looks first and subscribes later sleeps through
//! what happened between.

use std::ffi::OsString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};
use std::path::Path;

#[cfg(target_os = "linux")]
#[path = "watch/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "watch/macos.rs"]
mod os;

/// A watch on one directory (not on what lies below its subdirectories). Its descriptor becomes
/// readable when something has changed: for poll(2), epoll or tokio's `AsyncFd`.
///
/// Linux: `inotify(7)`. macOS: kqueue `EVFILT_VNODE`, which tells that names came or went, but
/// neither which ones nor that a file in the directory was written to: see [`DirWatch::also`].
#[derive(Debug)]
pub struct DirWatch {
    os: os::Watch,
}

/// One change.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// The name in the directory; `None` if it is about the directory itself or, on macOS, unknown.
    pub name: Option<OsString>,
    /// What happened.
    pub kind: ChangeKind,
}

/// What happened in a watched directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ChangeKind {
    /// A name was made: a file, a socket, a link.
    Created,
    /// A name was moved here, or a file of the directory was renamed to it.
    MovedIn,
    /// A name was moved away, or renamed to another.
    MovedOut,
    /// A name was removed.
    Deleted,
    /// The content of a file was written to.
    Modified,
    /// Mode, owner, times or number of links changed.
    Attributes,
    /// The directory itself was removed, moved away or unmounted: nothing more will be told.
    DirectoryGone,
    /// More happened than the kernel kept: look at everything again.
    Overflow,
    /// Something changed, and the system does not say what (macOS).
    Unspecified,
}

impl DirWatch {
    /// Watches names and contents: everything in [`ChangeKind`].
    ///
    /// Errors: `NotFound`, `NotADirectory`; EMFILE and ENOSPC when the user's limits on inotify
    /// are used up (`/proc/sys/fs/inotify`).
    pub fn new(directory: &Path) -> io::Result<Self> {
        os::Watch::new(directory, true).map(|os| Self { os })
    }

    /// Watches names only: no writes and no attributes. For who writes a log in the directory that
    /// it watches, and does not want to be woken by itself.
    pub fn names(directory: &Path) -> io::Result<Self> {
        os::Watch::new(directory, false).map(|os| Self { os })
    }

    /// Lets writes to one open file of the directory be told too. Needed on macOS, where a
    /// directory's watch does not see them; on Linux [`DirWatch::new`] does, and this does nothing.
    /// The watch on the file ends when the file is closed.
    pub fn also(&self, file: impl AsFd) -> io::Result<()> {
        self.os.also(file.as_fd())
    }

    /// Takes all changes that have been told, and returns at once. Empty if there are none.
    pub fn drain(&self) -> io::Result<Vec<Change>> {
        self.os.drain()
    }
}

impl AsFd for DirWatch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.os.fd().as_fd()
    }
}

impl AsRawFd for DirWatch {
    fn as_raw_fd(&self) -> RawFd {
        self.os.fd().as_raw_fd()
    }
}

impl From<DirWatch> for OwnedFd {
    /// The descriptor alone; on macOS the watch on the directory ends with this.
    fn from(watch: DirWatch) -> Self {
        watch.os.into_fd()
    }
}
