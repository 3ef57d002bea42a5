//! A connection that is closed when a request's headers take too long, and, when the agent stops, between two
//! requests.
//!
//! The time runs from a request's first byte, so a client that keeps a connection open and silent
//! costs no timer; a request that arrives in one piece costs none either.
//!
//! Kept true here: whatever has come is answered, and what has not been read resets the connection. hyper flushes
//! no reply while a further request waits in its buffer, and drops both where it is told to close; so it is told
//! that no more will come, as by a client that has said all.

use std::io;
use std::os::fd::AsFd;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::time::{Instant, Sleep, sleep_until};

use super::flow::Flow;

/// Time for the headers of one request.
pub(super) const HEADERS: Duration = Duration::from_secs(10);

/// Requests of a connection: how many have begun to be served, at the end of their headers, and how
/// many of them are served to the end of their replies.
#[derive(Clone, Debug, Default)]
pub(super) struct Serving(Arc<Counts>);

#[derive(Debug, Default)]
struct Counts {
    begun: AtomicUsize,
    ended: AtomicUsize,
    /// No further requests are waited for.
    closes: AtomicBool,
}

/// A request is being served for as long as this is held.
pub(super) struct ServingGuard(Serving);

impl Serving {
    pub(super) fn begin(&self) -> ServingGuard {
        self.0.begun.fetch_add(1, Ordering::AcqRel);
        ServingGuard(self.clone())
    }

    /// The connection ends where no request is on its way: one that has not asked yet is about to, and is
    /// answered.
    pub(super) fn close(&self) {
        self.0.closes.store(true, Ordering::Release);
    }

    /// How many have begun, and whether one is being served.
    fn counts(&self) -> (usize, bool) {
        let begun = self.0.begun.load(Ordering::Acquire);
        (begun, begun != self.0.ended.load(Ordering::Acquire))
    }
}

impl Drop for ServingGuard {
    fn drop(&mut self) {
        self.0.0.ended.fetch_add(1, Ordering::AcqRel);
    }
}

/// The stream.
pub(super) struct BoundedHeaders {
    stream: UnixStream,
    serving: Serving,
    flow: Flow,
    /// Requests whose headers have come.
    had: usize,
    first_byte: Option<Instant>,
    timer: Option<Pin<Box<Sleep>>>,
}

impl BoundedHeaders {
    pub(super) fn new(stream: UnixStream, serving: Serving, flow: Flow) -> Self {
        Self { stream, serving, flow, had: 0, first_byte: None, timer: None }
    }

    /// The stream itself, when nothing of HTTP follows on it.
    pub(super) fn into_stream(self) -> UnixStream {
        self.stream
    }

    fn overdue(&mut self, cx: &mut Context<'_>) -> bool {
        let Some(first_byte) = self.first_byte else { return false };
        let timer = self.timer.get_or_insert_with(|| Box::pin(sleep_until(first_byte + HEADERS)));
        timer.as_mut().poll(cx).is_ready()
    }
}

/// Whether the peer has closed, as opposed to having said all that it has to say: who shuts down his
/// sending side still waits for the reply (`POLLHUP` and `POLLRDHUP`, poll(2)).
pub(super) fn has_gone(stream: impl AsFd) -> bool {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    // Asked for something: macOS tells nothing else (XNU's poll is made of kevents).
    let mut polled = [PollFd::new(&stream, PollFlags::OUT)];
    let now = Timespec { tv_sec: 0, tv_nsec: 0 };
    poll(&mut polled, Some(&now)).is_ok() && polled[0].revents().contains(PollFlags::HUP)
}

impl AsyncRead for BoundedHeaders {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        out: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let (begun, serving) = self.serving.counts();
        // One may have been served without anything having been read meanwhile.
        if serving || begun != self.had {
            self.had = begun;
            self.first_byte = None;
            self.timer = None;
        }
        let before = out.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, out);
        let ended = out.filled().len() == before && out.remaining() > 0;
        if matches!(read, Poll::Ready(Ok(()))) && ended && has_gone(&self.stream) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if !serving && out.filled().len() > before && self.first_byte.is_none() {
            self.first_byte = Some(Instant::now());
        }
        if read.is_pending() && self.overdue(cx) {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        let between = begun > 0 && !serving && self.first_byte.is_none();
        if read.is_pending() && between && self.serving.0.closes.load(Ordering::Acquire) {
            return Poll::Ready(Ok(()));
        }
        read
    }
}

impl AsyncWrite for BoundedHeaders {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.flow.wrote(&done);
        done
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes what it has written, and nothing before that.
        self.flow.flushed();
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    /// The stream is closed right after this, which alone tells a client whose request was not read from one
    /// whose reply is at its end: who is told of the end first can't know.
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let done = Pin::new(&mut self.stream).poll_write_vectored(cx, bytes);
        self.flow.wrote(&done);
        done
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::io::AsyncWriteExt;

    /// Else a connection that is kept would be closed that long after its first byte.
    #[tokio::test]
    async fn the_time_for_headers_ends_with_them_although_nothing_is_read_meanwhile() {
        let (ours, mut theirs) = UnixStream::pair().unwrap();
        let serving = Serving::default();
        let mut stream = BoundedHeaders::new(ours, serving.clone(), Flow::default());
        let read = async |stream: &mut BoundedHeaders| {
            let mut bytes = [0; 8];
            std::future::poll_fn(|cx| {
                let mut out = ReadBuf::new(&mut bytes);
                let read = Pin::new(&mut *stream).poll_read(cx, &mut out);
                Poll::Ready((read.is_pending(), out.filled().len()))
            })
            .await
        };
        for _ in 0..2 {
            theirs.write_all(b"GET").await.unwrap();
            stream.stream.readable().await.unwrap();
            assert_eq!(read(&mut stream).await, (false, 3));
            assert!(stream.first_byte.is_some());
            drop(serving.begin());
            assert_eq!(read(&mut stream).await, (true, 0));
            assert!(stream.first_byte.is_none() && stream.timer.is_none());
        }
    }
}
