//! A reader of events: a reply's body that is a position in the ring.
//!
//! Invariant: it has no queue. What it is given is what the ring has when its connection takes more,
//! so a reader that takes nothing makes nothing grow.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use hearth_api::event::ResyncReason;
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::OwnedSemaphorePermit;

use super::ring::Read;
use super::{Begin, Events, Subscribe, Subscribed};
use crate::command::{Command, Port};
use crate::refuse::Refusal;

/// A snapshot may be long: it goes out in pieces, so that who takes nothing holds none of it alone.
const PIECE: usize = 16 * 1024;
/// When a client that lost its stream is to connect again, in milliseconds; told once.
const RETRY: &[u8] = b"retry: 500\n";

type Answer = Pin<Box<dyn Future<Output = Result<Subscribed, Refusal>> + Send>>;

/// The body.
pub(crate) struct Stream {
    events: Events,
    port: Port,
    project: Option<Arc<str>>,
    reader: u64,
    at: At,
    is_begun: bool,
    _place: OwnedSemaphorePermit,
}

/// How far it is.
enum At {
    /// It gets this first.
    First(Subscribed),
    /// It goes on with the event of this number.
    Next(u64),
    /// It has fallen behind and waits for a new snapshot.
    Asking(Answer),
    /// It has had the last word.
    Over,
}

impl Stream {
    /// One that begins with `first`; it holds its place among the streams for as long as it lives.
    pub(crate) fn new(
        events: Events,
        port: Port,
        project: Option<Arc<str>>,
        first: Subscribed,
        place: OwnedSemaphorePermit,
    ) -> Self {
        let reader = events.reader();
        let at = At::First(first);
        Self { events, port, project, reader, at, is_begun: false, _place: place }
    }

    /// Asks for a new snapshot.
    fn ask(&self) -> Answer {
        let (port, project) = (self.port.clone(), self.project.clone());
        let ask = Subscribe { project, begin: Begin::Anew(ResyncReason::TooSlow) };
        Box::pin(async move { port.ask(|reply| Command::Subscribe(ask, reply)).await })
    }

    /// What goes out next; empty: nothing just now, and it is to be asked again.
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Bytes>> {
        match &mut self.at {
            At::First(first) if !first.resync.is_empty() => {
                Poll::Ready(Some(std::mem::take(&mut first.resync)))
            }
            At::First(Subscribed { snapshot, .. }) if !snapshot.is_empty() => {
                let piece = snapshot.len().min(PIECE);
                Poll::Ready(Some(snapshot.split_to(piece)))
            }
            At::First(Subscribed { next, .. }) => {
                self.at = At::Next(*next);
                Poll::Ready(Some(Bytes::new()))
            }
            At::Next(at) => {
                let at = *at;
                let project = self.project.as_deref();
                match ready!(self.events.poll_read(self.reader, at, project, cx)) {
                    Read::Some(bytes, next) => {
                        self.at = next.map_or(At::Over, At::Next);
                        Poll::Ready(Some(bytes))
                    }
                    Read::Gone | Read::Nothing => {
                        self.at = At::Asking(self.ask());
                        Poll::Ready(Some(Bytes::new()))
                    }
                }
            }
            At::Asking(answer) => {
                self.at = match ready!(answer.as_mut().poll(cx)) {
                    Ok(first) => At::First(first),
                    // Nobody answers any more: what was told last is the last word.
                    Err(_) => At::Next(self.events.newest()),
                };
                Poll::Ready(Some(Bytes::new()))
            }
            At::Over => Poll::Ready(None),
        }
    }
}

impl Body for Stream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        if !std::mem::replace(&mut self.is_begun, true) {
            // The next event's first line.
            return Poll::Ready(Some(Ok(Frame::data(Bytes::from_static(RETRY)))));
        }
        let bytes = loop {
            match ready!(self.poll_next(cx)) {
                None => return Poll::Ready(None),
                Some(bytes) if bytes.is_empty() => {}
                Some(bytes) => break bytes,
            }
        };
        Poll::Ready(Some(Ok(Frame::data(bytes))))
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.events.leave(self.reader);
    }
}
