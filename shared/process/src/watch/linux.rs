//! `inotify(7)`.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::{Change, ChangeKind};

#[derive(Debug)]
pub(super) struct Watch {
    fd: OwnedFd,
}

impl Watch {
    pub(super) fn new(directory: &Path, contents: bool) -> io::Result<Self> {
        let fd = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        let mut flags = WatchFlags::CREATE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        flags.set(WatchFlags::MODIFY | WatchFlags::ATTRIB, contents);
        inotify::add_watch(&fd, directory, flags)?;
        Ok(Self { fd })
    }

    pub(super) fn also(&self, _file: BorrowedFd<'_>) -> io::Result<()> {
        Ok(())
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.fd
    }

    pub(super) fn drain(&self) -> io::Result<Vec<Change>> {
        let mut changes = Vec::new();
        // Room for one event with the longest name, and for many with short ones.
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = Reader::new(&self.fd, &mut buffer);
        loop {
            match events.next() {
                Ok(event) => {
                    let name = event.file_name();
                    changes.extend(kind(event.events()).map(|kind| Change {
                        name: name.map(|name| OsStr::from_bytes(name.to_bytes()).to_owned()),
                        kind,
                    }));
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(changes),
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// An event has one cause. `None`: IN_IGNORED, which follows DELETE_SELF or UNMOUNT.
fn kind(flags: ReadFlags) -> Option<ChangeKind> {
    let kinds = [
        (ReadFlags::CREATE, ChangeKind::Created),
        (ReadFlags::MOVED_TO, ChangeKind::MovedIn),
        (ReadFlags::MOVED_FROM, ChangeKind::MovedOut),
        (ReadFlags::DELETE, ChangeKind::Deleted),
        (ReadFlags::MODIFY, ChangeKind::Modified),
        (ReadFlags::ATTRIB, ChangeKind::Attributes),
        (ReadFlags::DELETE_SELF, ChangeKind::DirectoryGone),
        (ReadFlags::MOVE_SELF, ChangeKind::DirectoryGone),
        (ReadFlags::UNMOUNT, ChangeKind::DirectoryGone),
        (ReadFlags::QUEUE_OVERFLOW, ChangeKind::Overflow),
    ];
    let found = kinds.iter().find(|(flag, _)| flags.contains(*flag));
    found.map(|(_, kind)| *kind)
}
