//! kqueue(2), `EVFILT_VNODE`.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;
use std::time::Duration;

use rustix::event::kqueue::{Event, EventFilter, EventFlags, VnodeEvents, kevent, kqueue};
use rustix::fs::{Mode, OFlags};
use rustix::io::{Errno, FdFlags, fcntl_setfd};

use super::{Change, ChangeKind};

#[derive(Debug)]
pub(super) struct Watch {
    queue: OwnedFd,
    /// Kept open: its events end when it is closed.
    directory: OwnedFd,
}

impl Watch {
    pub(super) fn new(directory: &Path, contents: bool) -> io::Result<Self> {
        // Open for events alone, so that the volume can be unmounted; rustix has no name for it.
        let events_only = OFlags::from_bits_retain(libc::O_EVTONLY as _);
        let flags = events_only | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let directory = rustix::fs::open(directory, flags, Mode::empty())?;
        let queue = kqueue()?;
        fcntl_setfd(&queue, FdFlags::CLOEXEC)?;
        let watch = Self { queue, directory };
        let mut events = VnodeEvents::WRITE | VnodeEvents::DELETE | VnodeEvents::RENAME;
        events.set(VnodeEvents::ATTRIBUTES, contents);
        watch.add(watch.directory.as_fd(), events)?;
        Ok(watch)
    }

    pub(super) fn also(&self, file: BorrowedFd<'_>) -> io::Result<()> {
        self.add(file, VnodeEvents::WRITE | VnodeEvents::EXTEND)
    }

    fn add(&self, fd: BorrowedFd<'_>, flags: VnodeEvents) -> io::Result<()> {
        let filter = EventFilter::Vnode { vnode: fd.as_raw_fd(), flags };
        let how = EventFlags::ADD | EventFlags::CLEAR;
        let change = [Event::new(filter, how, std::ptr::null_mut())];
        let mut none: [Event; 0] = [];
        // SAFETY: a closed descriptor takes its event out of the queue; none is dereferenced.
        unsafe { kevent(&self.queue, &change, &mut none[..], Some(Duration::ZERO))? };
        Ok(())
    }

    pub(super) fn fd(&self) -> &OwnedFd {
        &self.queue
    }

    pub(super) fn into_fd(self) -> OwnedFd {
        self.queue
    }

    pub(super) fn drain(&self) -> io::Result<Vec<Change>> {
        let mut events: Vec<Event> = Vec::with_capacity(64);
        let spare = rustix::buffer::spare_capacity(&mut events);
        // SAFETY: nothing is changed, so no descriptor is named.
        match unsafe { kevent(&self.queue, &[], spare, Some(Duration::ZERO)) } {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        Ok(events.iter().filter_map(|event| self.change(event)).collect())
    }

    fn change(&self, event: &Event) -> Option<Change> {
        let EventFilter::Vnode { vnode, flags } = event.filter() else {
            return None;
        };
        let gone = VnodeEvents::DELETE | VnodeEvents::RENAME | VnodeEvents::REVOKE;
        let kind = if vnode != self.directory.as_raw_fd() {
            ChangeKind::Modified
        } else if flags.intersects(gone) {
            ChangeKind::DirectoryGone
        } else {
            ChangeKind::Unspecified
        };
        Some(Change { name: None, kind })
    }
}
