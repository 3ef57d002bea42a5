//! Waiting for the kernel, with a deadline: several descriptors, or a lock.
//!
//! flock(2) has no timeout, so a thread blocks in it and a pipe tells. Kept true here: a lock that
//! comes when nobody waits for it any more is let go at once.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use hearth_process::locked::LockedFile;
use rustix::event::{PollFd, PollFlags, Timespec};

/// Blocks until one of `fds` is readable or hung up; tells which. All false: the deadline passed.
pub(crate) fn any_readable(fds: &[BorrowedFd<'_>], deadline: Instant) -> io::Result<Vec<bool>> {
    let mut polled: Vec<_> = fds.iter().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec { tv_sec: left.as_secs() as _, tv_nsec: left.subsec_nanos() as _ };
        match rustix::event::poll(&mut polled, Some(&timeout)) {
            Ok(_) => return Ok(polled.iter().map(|fd| !fd.revents().is_empty()).collect()),
            Err(rustix::io::Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
    }
}

/// A lock that is being waited for.
#[derive(Debug)]
pub(crate) struct LockWait {
    bell: OwnedFd,
    slot: Arc<Mutex<Slot>>,
}

#[derive(Debug, Default)]
struct Slot {
    abandoned: bool,
    got: Option<io::Result<LockedFile>>,
}

impl LockWait {
    /// Begins to wait for an exclusive lock on `file`.
    pub(crate) fn begin(file: File) -> io::Result<Self> {
        let (bell, ringer) = pipe()?;
        let slot = Arc::new(Mutex::new(Slot::default()));
        let theirs = Arc::clone(&slot);
        thread::Builder::new().name("lock".into()).stack_size(64 * 1024).spawn(move || {
            let got = LockedFile::exclusive(file);
            let mut slot = theirs.lock().unwrap_or_else(PoisonError::into_inner);
            if !slot.abandoned {
                slot.got = Some(got);
            }
            drop(slot);
            drop(ringer);
        })?;
        Ok(Self { bell, slot })
    }

    /// What came of it; to be asked when the descriptor is readable. `None`: not yet.
    pub(crate) fn take(&self) -> Option<io::Result<LockedFile>> {
        self.slot.lock().unwrap_or_else(PoisonError::into_inner).got.take()
    }
}

impl AsFd for LockWait {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}

impl Drop for LockWait {
    fn drop(&mut self) {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.abandoned = true;
        slot.got = None;
    }
}

/// A pipe, both ends closed on exec.
pub(crate) fn pipe() -> io::Result<(OwnedFd, OwnedFd)> {
    let (reader, writer) = io::pipe()?;
    Ok((reader.into(), writer.into()))
}
