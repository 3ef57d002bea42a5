//! inotify(7): one descriptor; the directory's watch tells of its files too.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;

/// Readable when the directory, its files or the one above it may have changed.
#[derive(Debug)]
pub(crate) struct Watch {
    inotify: OwnedFd,
    /// Watch descriptors of the directory and of the one above it.
    inside: Option<i32>,
    above: Option<i32>,
    /// Whether the two may no longer be what stands at their paths.
    stale: bool,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Watch> {
        let inotify = inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?;
        Ok(Watch { inotify, inside: None, above: None, stale: true })
    }

    /// Makes sure that the right directories are watched. The file plays no part here.
    pub(crate) fn arm(&mut self, dir: &Path, _number: Option<u64>) -> io::Result<()> {
        while self.stale {
            self.stale = false;
            let gone = WatchFlags::DELETE_SELF | WatchFlags::MOVE_SELF;
            let entries = WatchFlags::CREATE | WatchFlags::DELETE | WatchFlags::MOVE | gone;
            let mut parents = dir.ancestors().skip(1);
            let above = loop {
                let Some(parent) = parents.next() else { break None };
                if let Some(above) = self.add(parent, entries)? {
                    break Some((above, parent));
                }
            };
            let inside = self.add(dir, WatchFlags::CREATE | WatchFlags::MODIFY | gone)?;
            self.replace(above.map(|(descriptor, _)| descriptor), inside);
            // Made while we looked: watch from further down.
            let below =
                above.and_then(|(_, above)| dir.ancestors().take_while(|p| *p != above).last());
            self.stale = below.is_some_and(|below| below != dir && below.is_dir())
                || (inside.is_none() && dir.is_dir());
        }
        Ok(())
    }

    fn add(&self, path: &Path, flags: WatchFlags) -> io::Result<Option<i32>> {
        // The parent of a relative path's first component.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match inotify::add_watch(&self.inotify, path, flags | WatchFlags::ONLYDIR) {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn replace(&mut self, above: Option<i32>, inside: Option<i32>) {
        let old = [self.above, self.inside].into_iter().flatten();
        for old in old.filter(|&old| Some(old) != above && Some(old) != inside) {
            // Gone by itself where its directory was removed.
            let _ = inotify::remove_watch(&self.inotify, old);
        }
        (self.above, self.inside) = (above, inside);
    }

    /// Takes what has been reported, so that the descriptor is readable only for what comes later.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match events.next() {
                Ok(event) => event,
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => continue,
                Err(errno) => return Err(errno.into()),
            };
            let about_files = ReadFlags::CREATE | ReadFlags::MODIFY;
            let ours = Some(event.wd()) == self.inside;
            self.stale |= !ours || !about_files.contains(event.events());
        }
    }
}

impl AsFd for Watch {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.inotify.as_fd()
    }
}
