//! inotify(7): one descriptor; the directory's watch tells of its files too.
//!
//! A user has 128 of those, if nobody has raised it, and editors take many. Where there is none left
//! a timer stands in for it: a reader that is late is better than one that fails, or is never woken.

use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::inotify::{self, CreateFlags, ReadFlags, WatchFlags};
use rustix::io::Errno;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create,
    timerfd_settime,
};

/// How late a reader is told without inotify.
const LATE: Timespec = Timespec { tv_sec: 0, tv_nsec: 200_000_000 };

/// So many directories above the one that is watched for what comes may be removed together: those
/// of a project and of all logs. Above those others have their files, whose comings and goings are
/// not to wake us.
const REMOVED: usize = 2;

/// Readable when the directory, its files or those above it may have changed.
#[derive(Debug)]
pub(crate) struct Watch {
    /// An inotify, or the timer that stands in for it.
    fd: OwnedFd,
    is_timer: bool,
    /// Watch descriptor of the directory.
    inside: Option<i32>,
    /// Those of the one above it, and of all above that.
    above: Vec<i32>,
    /// Whether they may no longer be what stands at their paths.
    stale: bool,
}

impl Watch {
    pub(crate) fn new() -> io::Result<Watch> {
        match inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK) {
            Ok(inotify) => Ok(Watch::over(inotify, false)),
            // Of this process's own descriptors there may be none left either.
            Err(errno @ (Errno::MFILE | Errno::NFILE)) => {
                Watch::by_timer().map_err(|_| errno.into())
            }
            Err(errno) => Err(errno.into()),
        }
    }

    fn by_timer() -> io::Result<Watch> {
        let flags = TimerfdFlags::CLOEXEC | TimerfdFlags::NONBLOCK;
        let timer = timerfd_create(TimerfdClockId::Monotonic, flags)?;
        let often = Itimerspec { it_interval: LATE, it_value: LATE };
        timerfd_settime(&timer, TimerfdTimerFlags::empty(), &often)?;
        Ok(Watch::over(timer, true))
    }

    fn over(fd: OwnedFd, is_timer: bool) -> Watch {
        Watch { fd, is_timer, inside: None, above: Vec::new(), stale: !is_timer }
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
            let mut all: Vec<i32> = above.iter().map(|(descriptor, _)| *descriptor).collect();
            // One that is moved takes all below it along, to which nothing happens. One that is removed
            // is not gone, and does not say so, as long as somebody has a file open that was below
            // it, as our reader has: the one above tells. Who may not look at one is not told.
            for (n, parent) in parents.enumerate() {
                let removed = if n < REMOVED { WatchFlags::DELETE } else { WatchFlags::empty() };
                all.extend(self.add(parent, WatchFlags::MOVE_SELF | removed).ok().flatten());
            }
            // Removed before that: then another one is at its path, or none.
            let replaced = match above {
                Some((descriptor, above)) => self.add(above, entries)? != Some(descriptor),
                None => false,
            };
            self.replace(all, inside);
            // Made while we looked: watch from further down.
            let below =
                above.and_then(|(_, above)| dir.ancestors().take_while(|p| *p != above).last());
            self.stale = replaced
                || below.is_some_and(|below| below != dir && below.is_dir())
                || (inside.is_none() && dir.is_dir());
        }
        Ok(())
    }

    fn add(&self, path: &Path, flags: WatchFlags) -> io::Result<Option<i32>> {
        // The parent of a relative path's first component.
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        match inotify::add_watch(&self.fd, path, flags | WatchFlags::ONLYDIR) {
            Ok(descriptor) => Ok(Some(descriptor)),
            Err(Errno::NOENT | Errno::NOTDIR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }

    fn replace(&mut self, above: Vec<i32>, inside: Option<i32>) {
        let old = self.above.iter().copied().chain(self.inside);
        for old in old.filter(|old| !above.contains(old) && Some(*old) != inside) {
            // Gone by itself where its directory was removed.
            let _ = inotify::remove_watch(&self.fd, old);
        }
        (self.above, self.inside) = (above, inside);
    }

    /// Takes what has been reported, so that the descriptor is readable only for what comes later.
    pub(crate) fn drain(&mut self) -> io::Result<()> {
        if self.is_timer {
            // How often it has fired, or WouldBlock: not at all.
            let _ = rustix::io::read(&self.fd, &mut [0; 8]);
            return Ok(());
        }
        let mut buffer = [MaybeUninit::uninit(); 4096];
        let mut events = inotify::Reader::new(&self.fd, &mut buffer);
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
        self.fd.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rustix::event::{PollFd, PollFlags, poll};

    #[test]
    fn without_inotify_a_timer_wakes_again_and_again() {
        let mut watch = Watch::by_timer().unwrap();
        for _ in 0..2 {
            watch.arm(Path::new("/nowhere"), None).unwrap();
            poll(&mut [PollFd::new(&watch, PollFlags::IN)], None).unwrap();
            watch.drain().unwrap();
            let now = Timespec { tv_sec: 0, tv_nsec: 0 };
            let ready = poll(&mut [PollFd::new(&watch, PollFlags::IN)], Some(&now)).unwrap();
            assert_eq!(ready, 0, "readable although it was drained");
        }
    }
}
