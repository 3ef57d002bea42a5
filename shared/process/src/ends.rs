//! The ends of many processes, by one descriptor.
//!
//! Invariant: an end is told once for each process that was added, and for no other process: the
//! kernel's handle is opened first and the identity compared after, as [`ProcessHandle`] does. Who
//! waits for ten thousand ends waits for one descriptor, and is woken by none of them before it comes.
//!
//! [`ProcessHandle`]: crate::ProcessHandle

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, RawFd};

use crate::{OpenError, ProcessId};

#[cfg(target_os = "linux")]
#[path = "ends/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "ends/macos.rs"]
mod os;

/// Waits for the ends of any number of processes. Its descriptor is readable while there is an end
/// that was not taken yet: for poll(2), epoll or tokio's `AsyncFd`.
///
/// Linux: an epoll instance (`epoll(7)`) with a pidfd for each process. macOS: one kqueue with
/// `EVFILT_PROC`, `NOTE_EXIT`, and no descriptor for a process.
#[derive(Debug)]
pub struct Ends {
    os: os::Ends,
}

impl Ends {
    /// Errors: EMFILE, ENFILE.
    pub fn new() -> io::Result<Self> {
        Ok(Self { os: os::Ends::new()? })
    }

    /// Waits for the end of this process too, and tells `token` then: one that no other has now. A
    /// zombie has ended.
    ///
    /// Where `id` has no start time, or it cannot be read now, it waits for the end of whoever has the
    /// pid now.
    ///
    /// Errors: [`OpenError`]; `Os` where a limit is reached (ENFILE, ENOMEM; ENOSPC:
    /// `/proc/sys/fs/epoll/max_user_watches`; EMFILE, and that a little before it is, so that a few
    /// descriptors are left for everything else).
    pub fn add(&self, id: &ProcessId, token: u64) -> Result<(), OpenError> {
        self.os.add(id, token)
    }

    /// Waits for it no more.
    pub fn remove(&self, token: u64) {
        self.os.remove(token);
    }

    /// Takes the tokens of those that have ended, and returns at once. Empty if there are none.
    pub fn drain(&self) -> io::Result<Vec<u64>> {
        self.os.drain()
    }
}

impl AsFd for Ends {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.os.fd().as_fd()
    }
}

impl AsRawFd for Ends {
    fn as_raw_fd(&self) -> RawFd {
        self.os.fd().as_raw_fd()
    }
}
