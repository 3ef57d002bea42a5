//! Events, for whoever wants to hear of everything: `GET /v1/events`.
//!
//! Theory of operation. What happens is put into one [`ring`], serialized once; a reader is a position
//! in it ([`stream`]), and reads on when its connection takes more. So a reader that is slow, or does
//! not read at all, costs its socket's buffer and hinders nobody; who comes to a position that the
//! ring has let go of is told so and gets a new snapshot. Readers who have read everything are woken
//! together: at once by the first event, and then every [`TOGETHER`] at most, so that a burst is
//! written in a few pieces.
//!
//! Invariant: a snapshot and the position behind it are taken in one turn of the owner, so nothing is
//! lost and nothing told twice between them. And nothing is kept before somebody has asked for the
//! first time: nobody can come back to a number that nobody was given.

mod ring;
mod stream;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use hearth_api::Event;
use hearth_api::event::ResyncReason;
use hyper::body::Bytes;
use tokio::sync::Notify;
use tracing::error;

use ring::{Read, Ring};
pub(crate) use stream::Stream;

/// For so long what happens is put together, after the first that is told at once.
const TOGETHER: Duration = Duration::from_millis(20);

/// The events of this agent; clones are the same.
#[derive(Clone, Debug)]
pub(crate) struct Events(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    instance: String,
    version: String,
    // A std mutex is right: it is held for a push or a read, never across an await.
    heard: Mutex<Heard>,
    /// Rung by the first event for those who wait.
    bell: Notify,
}

#[derive(Debug)]
struct Heard {
    ring: Ring,
    /// Somebody has asked.
    is_kept: bool,
    /// Those who have read everything, by their number.
    waiting: HashMap<u64, Waker>,
    /// How many have ever read.
    readers: u64,
}

/// Where a reader wants to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Begin {
    /// With how things are.
    Now,
    /// Behind this one, which it has had.
    After(u64),
    /// It has had others, and can't be told what came after them.
    Anew(ResyncReason),
}

/// Whose events somebody wants, and from where on.
#[derive(Clone, Debug)]
pub(crate) struct Subscribe {
    /// Of this project, and what is of none; `None`: all.
    pub(crate) project: Option<Arc<str>>,
    /// From where on.
    pub(crate) begin: Begin,
}

/// What a reader gets first (empty: nothing), and the number of the event from which it reads on.
#[derive(Clone, Debug)]
pub(crate) struct Subscribed {
    pub(crate) first: Bytes,
    pub(crate) next: u64,
}

impl Events {
    /// None yet. `version`: the agent's.
    pub(crate) fn new(instance: &str, version: &str) -> Self {
        let ring = Ring::new(ring::EVENTS, ring::BYTES);
        let heard = Heard { ring, is_kept: false, waiting: HashMap::new(), readers: 0 };
        Self(Arc::new(Shared {
            instance: instance.to_owned(),
            version: version.to_owned(),
            heard: Mutex::new(heard),
            bell: Notify::new(),
        }))
    }

    /// Which agent.
    pub(crate) fn instance(&self) -> &str {
        &self.0.instance
    }

    /// The agent's version.
    pub(crate) fn version(&self) -> &str {
        &self.0.version
    }

    /// Whether events are kept: from the first reader on.
    pub(crate) fn is_kept(&self) -> bool {
        self.heard().is_kept
    }

    /// Something has happened. It is made into words only where events are kept. `project`: whose it
    /// is; `None`: of none, so that everybody is told.
    pub(crate) fn tell(&self, project: Option<&Arc<str>>, event: impl FnOnce() -> Event) {
        if !self.is_kept() {
            return;
        }
        let event = event();
        let Some(data) = data(&event) else { return };
        let is_end = matches!(event, Event::End(_));
        let mut heard = self.heard();
        let id = heard.ring.next();
        let bytes = frame(&format!("id: {}:{id}\n", self.0.instance), event.name(), &data);
        heard.ring.push(project.cloned(), bytes.into(), is_end);
        if is_end {
            heard.wake();
        } else if !heard.waiting.is_empty() {
            self.0.bell.notify_one();
        }
    }

    /// Wakes readers, until the agent ends.
    pub(crate) async fn wake_readers(self) {
        loop {
            self.0.bell.notified().await;
            self.heard().wake();
            tokio::time::sleep(TOGETHER).await;
        }
    }

    /// From now on events are kept; says whether they were not before.
    pub(crate) fn keep(&self) -> bool {
        !std::mem::replace(&mut self.heard().is_kept, true)
    }

    /// How one goes on who has had the event `last`.
    pub(crate) fn after(&self, last: u64) -> Begin {
        let heard = self.heard();
        match last.checked_add(1) {
            Some(next) if !heard.is_kept || next > heard.ring.next() => {
                Begin::Anew(ResyncReason::Unknown)
            }
            Some(next) if next < heard.ring.first() => Begin::Anew(ResyncReason::TooOld),
            Some(_) => Begin::After(last),
            None => Begin::Anew(ResyncReason::Unknown),
        }
    }

    /// A snapshot, behind which a reader goes on with what happens from now on. `resync`: why it gets
    /// one although it has had one before.
    pub(crate) fn subscribed(&self, resync: Option<ResyncReason>, snapshot: &Event) -> Subscribed {
        let mut first = Vec::new();
        if let Some(reason) = resync {
            let event = Event::Resync(hearth_api::event::ResyncEvent { reason });
            // Without an id: who loses the stream before the snapshot needs one still.
            first.extend(
                data(&event).map(|data| frame("", event.name(), &data)).unwrap_or_default(),
            );
        }
        let next = self.heard().ring.next();
        if let Some(data) = data(snapshot) {
            let id = format!("id: {}:{}\n", self.0.instance, next - 1);
            first.extend(frame(&id, snapshot.name(), &data));
        }
        Subscribed { first: first.into(), next }
    }

    /// A number for a reader.
    fn reader(&self) -> u64 {
        let mut heard = self.heard();
        heard.readers += 1;
        heard.readers
    }

    /// What there is from `at` on; where there is nothing, `reader` is woken when there is.
    fn poll_read(
        &self,
        reader: u64,
        at: u64,
        project: Option<&str>,
        cx: &mut Context<'_>,
    ) -> Poll<Read> {
        let mut heard = self.heard();
        match heard.ring.read(at, project) {
            Read::Nothing => {
                heard.waiting.insert(reader, cx.waker().clone());
                Poll::Pending
            }
            read @ (Read::Some(..) | Read::Gone) => Poll::Ready(read),
        }
    }

    /// A reader is gone.
    fn leave(&self, reader: u64) {
        self.heard().waiting.remove(&reader);
    }

    /// The number of the newest event.
    fn newest(&self) -> u64 {
        self.heard().ring.next() - 1
    }

    fn heard(&self) -> MutexGuard<'_, Heard> {
        self.0.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Heard {
    fn wake(&mut self) {
        self.waiting.drain().for_each(|(_, waker)| waker.wake());
    }
}

/// The data of an event.
fn data(event: &Event) -> Option<String> {
    let data = event.data();
    data.inspect_err(|error| error!(%error, name = event.name(), "an event can't be written")).ok()
}

/// An event as it goes over the wire (the HTML standard, 9.2.6). JSON has no newline of its own.
fn frame(id: &str, name: &str, data: &str) -> Vec<u8> {
    format!("{id}event: {name}\ndata: {data}\n\n").into_bytes()
}
