//! Waiting, in the runtime, for a descriptor that the kernel makes readable.

use std::future::poll_fn;
use std::io;
use std::os::fd::{AsFd, AsRawFd, RawFd};
use std::task::Poll;

use hearth_logs::Follow;
use hearth_process::ProcessHandle;
use hearth_process::watch::{Change, DirWatch};
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

/// Waits until one of several logs may have something: all are to be looked at then. Cancelling it
/// loses nothing.
pub(crate) async fn any(logs: &[Followed]) -> io::Result<()> {
    poll_fn(|cx| {
        let mut woken = Poll::Pending;
        for log in logs {
            match log.0.poll_read_ready(cx) {
                // Forgotten before the look, as in `lines`.
                Poll::Ready(Ok(mut guard)) => {
                    guard.clear_ready();
                    woken = Poll::Ready(Ok(()));
                }
                Poll::Ready(Err(error)) => return Poll::Ready(Err(error)),
                Poll::Pending => {}
            }
        }
        woken
    })
    .await
}

/// A directory that is watched.
pub(crate) struct Watched(AsyncFd<Waits<DirWatch>>);

impl Watched {
    /// Takes it into the runtime.
    pub(crate) fn new(watch: DirWatch) -> io::Result<Self> {
        // SAFETY: a watch owns one descriptor from its making to its drop.
        let watch = unsafe { AsyncFd::register_with_interest(Waits(watch), Interest::READABLE)? };
        Ok(Self(watch))
    }

    /// Waits for changes.
    pub(crate) async fn changes(&mut self) -> io::Result<Vec<Change>> {
        loop {
            // Cleared before the look, so that what comes after the look is seen.
            self.0.readable().await?.clear_ready();
            let changes = self.0.get_ref().0.drain()?;
            if !changes.is_empty() {
                return Ok(changes);
            }
        }
    }
}
