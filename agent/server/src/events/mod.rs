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
#[derive(Clone, Debug, Default)]
pub(crate) struct Subscribed {
    /// That it can't be told all.
    pub(crate) resync: Bytes,
    /// How things are; shared by all who ask while they stay so.
    pub(crate) snapshot: Bytes,
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
        heard.ring.push(project.cloned(), bytes, is_end);
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

    /// The number that the next event will have.
    pub(crate) fn next(&self) -> u64 {
        self.heard().ring.next()
    }

    /// A snapshot as it goes over the wire, behind which a reader goes on with the event `next`.
    pub(crate) fn snapshot(&self, next: u64, snapshot: &Event) -> Bytes {
        let id = format!("id: {}:{}\n", self.0.instance, next - 1);
        data(snapshot).map(|data| frame(&id, snapshot.name(), &data)).unwrap_or_default()
    }

    /// That a reader can't be told all. It has no id: who loses the stream before the snapshot that
    /// follows is to be told again.
    pub(crate) fn resync(reason: ResyncReason) -> Bytes {
        let event = Event::Resync(hearth_api::event::ResyncEvent { reason });
        data(&event).map(|data| frame("", event.name(), &data)).unwrap_or_default()
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

/// An event as it goes over the wire (the HTML standard, 9.2.6). JSON has no newline of its own. In
/// exactly the memory that it needs: thousands are kept.
fn frame(id: &str, name: &str, data: &str) -> Bytes {
    [id, "event: ", name, "\ndata: ", data, "\n\n"].concat().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use hearth_api::event::{EndEvent, EndReason};

    use super::*;

    fn end() -> Event {
        Event::End(EndEvent { reason: EndReason::Stopping })
    }

    #[test]
    fn nothing_is_kept_or_made_before_somebody_asks() {
        let events = Events::new("abc", "1");
        events.tell(None, || unreachable!("nobody has asked"));
        assert_eq!(events.after(0), Begin::Anew(ResyncReason::Unknown));
        assert!(events.keep() && !events.keep());
        events.tell(None, end);
        assert_eq!(events.next(), 2);
    }

    #[test]
    fn who_comes_back_goes_on_behind_what_is_kept_and_nowhere_else() {
        let events = Events::new("abc", "1");
        events.keep();
        for _ in 0..ring::EVENTS + 5 {
            events.tell(None, end);
        }
        let newest = ring::EVENTS as u64 + 5;
        assert_eq!(events.after(newest), Begin::After(newest));
        assert_eq!(events.after(5), Begin::After(5));
        assert_eq!(events.after(4), Begin::Anew(ResyncReason::TooOld));
        assert_eq!(events.after(newest + 1), Begin::Anew(ResyncReason::Unknown));
        assert_eq!(events.after(u64::MAX), Begin::Anew(ResyncReason::Unknown));
    }

    #[test]
    fn an_event_has_its_lines() {
        let events = Events::new("abc", "1");
        events.keep();
        events.tell(None, end);
        let mut cx = Context::from_waker(Waker::noop());
        let Poll::Ready(Read::Some(bytes, None)) = events.poll_read(1, 1, None, &mut cx) else {
            panic!("it is there, and the last word")
        };
        assert_eq!(&bytes[..], b"id: abc:1\nevent: end\ndata: {\"reason\":\"stopping\"}\n\n");
        assert!(events.poll_read(1, 2, None, &mut cx).is_pending());
    }
}
