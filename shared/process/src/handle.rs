//! A hold on one process: its end is awaited and it is signalled through it.
//!
//! Invariant: the kernel's handle is opened first and the identity compared after, so that what
//! was compared is what is held. The other order leaves a gap in which the pid is recycled, and
//! then the wrong process is watched, or killed.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::{Liveness, ProcessId, Signal};

#[cfg(target_os = "linux")]
#[path = "handle/linux.rs"]
mod os;
#[cfg(target_os = "macos")]
#[path = "handle/macos.rs"]
mod os;

/// A hold on one process. Its descriptor becomes readable when the process has ended, and stays
/// so: it may be given to poll(2), epoll or tokio's `AsyncFd`.
///
/// Linux: a pidfd (`pidfd_open(2)`, 5.3). macOS: a kqueue with `EVFILT_PROC`, `NOTE_EXIT`; the
/// event is never taken out of it.
///
/// The process may be a zombie after its end: a handle does not reap.
#[derive(Debug)]
pub struct ProcessHandle {
    id: ProcessId,
    fd: OwnedFd,
    /// The start time was compared after the handle was opened, or the kernel itself vouches.
    verified: bool,
}

/// Why there is no handle.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The process has ended and was reaped (on macOS: has ended).
    #[error("the process has ended")]
    Gone,
    /// The process has ended, and its pid belongs to another one now.
    #[error("the process has ended and its pid was given to another one")]
    Recycled,
    /// It belongs to another boot or pid namespace; its pid means nothing here.
    #[error("the process belongs to another boot or pid namespace")]
    OtherWorld,
    /// The kernel refused: no descriptors left, most of the time.
    #[error("the process cannot be watched: {0}")]
    Os(#[from] io::Error),
}

impl ProcessHandle {
    /// Takes hold of the process that `id` means, and of no other.
    ///
    /// Where `id` has no start time, or it cannot be read now, the handle waits for the end of
    /// whoever has the pid now, and refuses to signal.
    ///
    /// Errors: [`OpenError`]. A zombie can still be held on Linux, and has ended already; on
    /// macOS it is `Gone`.
    pub fn open(id: &ProcessId) -> Result<Self, OpenError> {
        if !id.same_world() {
            return Err(OpenError::OtherWorld);
        }
        let fd = os::open(id.pid)?;
        let verified = match id.living() {
            Liveness::Living => id.start.is_some(),
            // Compared and the same: a zombie. Or whoever was held is reaped already, and then
            // the handle reaches nobody.
            Liveness::Ended => id.start.is_some(),
            Liveness::Unknown => false,
            Liveness::Recycled => return Err(OpenError::Recycled),
            Liveness::OtherWorld => return Err(OpenError::OtherWorld),
        };
        Ok(Self { id: id.clone(), fd, verified })
    }

    /// Takes a pidfd that the kernel gave, of `SO_PEERPIDFD` for example, and finds out whose it
    /// is.
    ///
    /// Errors: `Gone` if the process was reaped, `OtherWorld` if our pid namespace does not show
    /// it, `Os` if the descriptor is no pidfd.
    #[cfg(target_os = "linux")]
    pub fn from_pidfd(fd: OwnedFd) -> Result<Self, OpenError> {
        let id = process_of(fd.as_fd())?;
        Ok(Self { id, fd, verified: true })
    }

    /// Who is held.
    pub fn id(&self) -> &ProcessId {
        &self.id
    }

    /// Sends a signal to the process, or to nobody.
    ///
    /// macOS has no signal through a handle: the start time is compared once more and kill(2)
    /// called at once; the pid could be recycled between the two only if its parent reaped it
    /// and all other pids were used up in that moment.
    ///
    /// Errors: ESRCH (`Uncategorized`) if it was reaped, `PermissionDenied` if it is another
    /// user's or its identity could not be compared.
    pub fn signal(&self, signal: Signal) -> io::Result<()> {
        if !self.verified {
            return Err(io::Error::new(
                io::ErrorKind::PermissionDenied,
                "the process's start time is unknown, so it is not signalled",
            ));
        }
        os::signal(self, signal)
    }

    /// Waits until the process has ended and returns at once if it already has.
    pub fn wait(&self) -> io::Result<()> {
        self.ended_by(None).map(|_| ())
    }

    /// Waits until the process has ended, `limit` at most; zero only asks. Says whether it has.
    pub fn wait_timeout(&self, limit: Duration) -> io::Result<bool> {
        // A limit beyond the clock's range is none.
        self.ended_by(Instant::now().checked_add(limit))
    }

    fn ended_by(&self, deadline: Option<Instant>) -> io::Result<bool> {
        loop {
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            let left = left.and_then(|left| Timespec::try_from(left).ok());
            let mut fds = [PollFd::new(&self.fd, PollFlags::IN)];
            match poll(&mut fds, left.as_ref()) {
                Ok(0) => return Ok(false),
                Ok(_) => return Ok(true),
                // A signal of ours; the deadline stands.
                Err(Errno::INTR) => {}
                Err(error) => return Err(error.into()),
            }
        }
    }
}

/// Whose pidfd it is.
#[cfg(target_os = "linux")]
pub(crate) fn process_of(fd: BorrowedFd<'_>) -> Result<ProcessId, OpenError> {
    let pid = os::pid_of(fd)?;
    let id = ProcessId::of(pid);
    // Still the same: so it was not reaped meanwhile, and the identity read was its own.
    if os::pid_of(fd)? != pid {
        return Err(OpenError::Gone);
    }
    Ok(id?)
}

impl AsFd for ProcessHandle {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl From<ProcessHandle> for OwnedFd {
    fn from(handle: ProcessHandle) -> Self {
        handle.fd
    }
}

impl std::os::fd::AsRawFd for ProcessHandle {
    fn as_raw_fd(&self) -> std::os::fd::RawFd {
        self.fd.as_raw_fd()
    }
}
