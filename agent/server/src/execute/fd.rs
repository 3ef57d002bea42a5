//! Waiting, in the runtime, for a descriptor that the kernel makes readable.

use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};

use hearth_logs::Follow;
use hearth_process::ProcessHandle;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Something with a descriptor that tells only whether there is something to do.
pub(crate) struct Waits<T>(T);

impl<T: AsFd> AsRawFd for Waits<T> {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_fd().as_raw_fd()
    }
}

/// Waits until a process has ended.
pub(crate) async fn ended(process: ProcessHandle) -> io::Result<()> {
    // SAFETY: a handle owns one descriptor from its making to its drop.
    let process = unsafe { AsyncFd::register_with_interest(Waits(process), Interest::READABLE)? };
    process.readable().await.map(drop)
}

/// A log that is followed.
pub(crate) struct Followed(AsyncFd<Waits<Follow>>);

impl Followed {
    /// Takes it into the runtime.
    pub(crate) fn new(follow: Follow) -> io::Result<Self> {
        // SAFETY: a follower owns one descriptor, its watch's, from its making to its drop.
        let follow = unsafe { AsyncFd::register_with_interest(Waits(follow), Interest::READABLE)? };
        Ok(Self(follow))
    }

    /// Waits for lines. Cancelling it loses none.
    pub(crate) async fn lines(&mut self) -> io::Result<Vec<hearth_logs::Line>> {
        loop {
            let lines = self.0.get_mut().0.next()?;
            if !lines.is_empty() {
                return Ok(lines);
            }
            // What came since the look made it readable again, so this forgets nothing: the flag
            // is cleared before the next look, not after.
            self.0.readable().await?.clear_ready();
        }
    }

    /// What is there now.
    pub(crate) fn now(&mut self) -> io::Result<Vec<hearth_logs::Line>> {
        self.0.get_mut().0.next()
    }
}
