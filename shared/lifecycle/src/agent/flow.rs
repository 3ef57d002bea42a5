//! A reply's body at the pace of its reader.
//!
//! hyper is told to put the replies to pipelined requests together (`pipeline_flush`), so that a verb
//! that asks twice in one write is answered in one; and with that it takes from a body whatever there
//! is (`Buffered::can_buffer` of hyper 1), without bound. So the bound is here.
//!
//! Invariant: of a body no more than [`MOST`] and one frame wait for a reader who takes nothing,
//! however much there would be. What hyper does not try to write it may take: while the next request
//! is there already it holds replies back, and waiting for each other would be for ever.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::stream::ServingGuard;

/// Bytes that may wait for the reader.
const MOST: usize = 64 * 1024;

/// What is on its way out on one connection. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow(Arc<Mutex<State>>);

// A std mutex is right: it is held for a few lines, by one task.
#[derive(Debug, Default)]
struct State {
    /// What the last write left over.
    left: usize,
    /// What bodies have given since.
    given: usize,
    /// hyper was given the time to write, and has not.
    is_held_back: bool,
    /// Who waits for the reader.
    waiting: Option<Waker>,
}

impl Flow {
    /// A write of so many bytes was tried: of all that there is.
    pub(super) fn wrote(&self, all: usize, done: &Poll<io::Result<usize>>) {
        let mut state = self.state();
        state.given = 0;
        state.is_held_back = false;
        state.left = match done {
            Poll::Ready(Ok(count)) => all.saturating_sub(*count),
            Poll::Ready(Err(_)) => 0,
            Poll::Pending => all,
        };
        if done.is_ready()
            && let Some(waiting) = state.waiting.take()
        {
            waiting.wake();
        }
    }

    /// Whether a body may give more; where it may not, it is woken when it may.
    fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        let mut state = self.state();
        if state.left + state.given < MOST {
            return Poll::Ready(());
        }
        if state.left > 0 {
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if !std::mem::replace(&mut state.is_held_back, true) {
            // It writes when nothing more comes.
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        Poll::Ready(())
    }

    fn gave(&self, count: usize) {
        self.state().given += count;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A body that waits for its reader. For as long as it lives, the request is being served.
pub(super) struct Paced<B> {
    body: B,
    flow: Flow,
    _serving: ServingGuard,
}

impl<B> Paced<B> {
    pub(super) fn new(body: B, flow: Flow, serving: ServingGuard) -> Self {
        Self { body, flow, _serving: serving }
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for Paced<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if self.flow.poll_room(cx).is_pending() {
            return Poll::Pending;
        }
        let frame = Pin::new(&mut self.body).poll_frame(cx);
        if let Poll::Ready(Some(Ok(frame))) = &frame {
            self.flow.gave(frame.data_ref().map_or(0, Bytes::len));
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Whether there is room, and whether somebody was woken meanwhile.
    fn ask(flow: &Flow) -> bool {
        flow.poll_room(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn who_takes_nothing_is_given_so_much_and_no_more() {
        let flow = Flow::default();
        flow.wrote(100, &Poll::Pending);
        let mut given = 0;
        while ask(&flow) {
            flow.gave(1000);
            given += 1000;
            assert!(given <= MOST + 1000, "{given}");
        }
        assert!(given > MOST - 1100, "{given}");
        // It takes a little: still too much waits. It takes all.
        flow.wrote(given + 100, &Poll::Ready(Ok(100)));
        assert!(!ask(&flow));
        flow.wrote(given, &Poll::Ready(Ok(given)));
        assert!(ask(&flow));
    }

    #[test]
    fn what_is_not_written_for_another_reason_is_not_waited_for() {
        let flow = Flow::default();
        flow.gave(MOST);
        // Once for hyper to write; where it does not, the body goes on.
        assert!(!ask(&flow));
        assert!(ask(&flow) && ask(&flow));
        flow.wrote(MOST, &Poll::Ready(Ok(MOST)));
        flow.gave(MOST);
        assert!(!ask(&flow));
    }
}
