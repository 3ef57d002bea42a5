//! A reply's body at the pace of its reader.
//!
//! hyper is told to put the replies to pipelined requests together (`pipeline_flush`), so that a verb
//! that asks twice in one write is answered in one; and with that it takes from a body whatever there
//! is (`Buffered::can_buffer` of hyper 1), without bound. So the bound is here.
//!
//! Invariant: of a body no more than [`MOST`] and one frame wait for a reader who takes nothing,
//! however much there would be and however small its pieces. While the next request is there already
//! hyper holds replies back, and waiting for each other would be for ever: then it may take [`HELD`],
//! and a body that has more ends its connection.

use std::io;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use hyper::body::{Body, Bytes, Frame, SizeHint};

use super::accept::{Boxed, BoxedError};
use super::stream::ServingGuard;

/// Bytes that may wait for the reader.
const MOST: usize = 64 * 1024;
/// Bytes that may wait for the next request to be answered, too.
const HELD: usize = 8 * 1024 * 1024;
/// What hyper puts around a frame, at most.
const AROUND: usize = 24;

/// What is on its way out on one connection. Clones are the same.
#[derive(Clone, Debug, Default)]
pub(super) struct Flow(Arc<Mutex<State>>);

// A std mutex is right: it is held for a few lines, by one task.
#[derive(Debug, Default)]
struct State {
    /// What bodies have given and was not written, so much at most. Not what one write was tried of:
    /// that may be a part of what there is.
    waits: usize,
    /// A write was tried since somebody last asked for one.
    is_tried: bool,
    /// Who waits for the reader.
    waiting: Option<Waker>,
}

impl Flow {
    /// A write was tried.
    pub(super) fn wrote(&self, done: &Poll<io::Result<usize>>) {
        let mut state = self.state();
        state.is_tried = true;
        match done {
            Poll::Ready(Ok(count)) => state.waits = state.waits.saturating_sub(*count),
            Poll::Ready(Err(_)) => state.waits = 0,
            Poll::Pending => return,
        }
        state.wake();
    }

    /// Nothing is left.
    pub(super) fn flushed(&self) {
        let mut state = self.state();
        state.waits = 0;
        state.wake();
    }

    /// Whether a body may give more; where it may not, it is woken when it may. `is_asked`: the body's
    /// own, whether it has asked for a write.
    fn poll_room(&self, is_asked: &mut bool, cx: &mut Context<'_>) -> Poll<Result<(), BoxedError>> {
        let mut state = self.state();
        if state.waits < MOST {
            *is_asked = false;
            return Poll::Ready(Ok(()));
        }
        if !std::mem::replace(is_asked, true) {
            // hyper writes when nothing more comes.
            state.is_tried = false;
            state.waiting = Some(cx.waker().clone());
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        if state.is_tried {
            *is_asked = false;
            state.waiting = Some(cx.waker().clone());
            return Poll::Pending;
        }
        if state.waits < HELD {
            return Poll::Ready(Ok(()));
        }
        Poll::Ready(Err("a request came before so long a reply to the last one was read".into()))
    }

    fn gave(&self, count: usize) {
        self.state().waits += count + AROUND;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn wake(&mut self) {
        if self.waits < MOST
            && let Some(waiting) = self.waiting.take()
        {
            waiting.wake();
        }
    }
}

/// A body that waits for its reader. For as long as it lives, the request is being served.
pub(super) struct Paced {
    body: Boxed,
    flow: Flow,
    is_asked: bool,
    _serving: ServingGuard,
}

impl Paced {
    pub(super) fn new(body: Boxed, flow: Flow, serving: ServingGuard) -> Self {
        Self { body, flow, is_asked: false, _serving: serving }
    }
}

impl Body for Paced {
    type Data = Bytes;
    type Error = BoxedError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let Self { flow, is_asked, .. } = &mut *self;
        if let Err(error) = ready!(flow.poll_room(is_asked, cx)) {
            return Poll::Ready(Some(Err(error)));
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

    fn ask(flow: &Flow, is_asked: &mut bool) -> Poll<bool> {
        let room = flow.poll_room(is_asked, &mut Context::from_waker(Waker::noop()));
        room.map(|room| room.is_ok())
    }

    #[test]
    fn who_takes_nothing_is_given_so_much_and_no_more() {
        let (flow, mut asked) = (Flow::default(), false);
        let mut given = 0;
        // Small pieces, one after the other: a write is tried after each.
        while ask(&flow, &mut asked).is_ready() {
            flow.gave(100);
            flow.wrote(&Poll::Pending);
            given += 100;
            assert!(given <= MOST, "{given}");
        }
        assert!(given > MOST / 2, "{given}");
        for _ in 0..3 {
            flow.wrote(&Poll::Pending);
            assert!(ask(&flow, &mut asked).is_pending());
        }
        // It takes a little, then all.
        flow.wrote(&Poll::Ready(Ok(1000)));
        assert!(ask(&flow, &mut asked).is_ready());
        flow.gave(MOST);
        assert!(ask(&flow, &mut asked).is_pending());
        flow.flushed();
        assert!(ask(&flow, &mut asked).is_ready());
    }

    #[test]
    fn what_is_not_written_for_another_reason_is_not_waited_for() {
        let (flow, mut asked) = (Flow::default(), false);
        flow.gave(MOST);
        // Once for hyper to write; where it does not, the body goes on.
        assert!(ask(&flow, &mut asked).is_pending());
        assert_eq!(ask(&flow, &mut asked), Poll::Ready(true));
        // A write that was tried before the next request came is none for its reply.
        let mut asked = false;
        flow.wrote(&Poll::Pending);
        assert!(ask(&flow, &mut asked).is_pending());
        assert_eq!(ask(&flow, &mut asked), Poll::Ready(true));
        flow.gave(HELD);
        assert_eq!(ask(&flow, &mut asked), Poll::Ready(false), "not without end");
    }
}
