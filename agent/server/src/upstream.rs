//! The JSON lines that `up`, `down` and `restart` answer with, on their way to the verb.
//!
//! Invariants: a snapshot, every transition in order, one outcome, always last. And the services
//! never wait for a verb: one that reads too slowly loses its stream (it ends without an outcome),
//! one that is gone changes nothing.

use std::path::PathBuf;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hearth_api::stream::{Failed, Line, Outcome};
use hearth_core::Exit;
use hearth_logs::Reader;
use hearth_shim::Record;
use hyper::body::{Body, Bytes, Frame};
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::execute::taken;

/// Lines that may wait for a slow reader.
const BEHIND: usize = 10_000;
/// So many of a failed service's last lines are told.
const TAIL: usize = 20;
/// And of each so many bytes: twenty lines of a megabyte would bury what went wrong, and are one
/// line of JSON.
const LONGEST: usize = 2000;
/// Lines are put together up to this for one write.
const TOGETHER: usize = 16 * 1024;

/// One line, or what the last one is made of.
#[derive(Debug)]
pub(crate) enum Item {
    /// As it is, with its newline.
    Line(Bytes),
    /// The outcome; the logs of what failed are read only when it is sent.
    End(Ending),
}

/// How it ended.
#[derive(Debug)]
pub(crate) struct Ending {
    /// In one word.
    pub(crate) result: hearth_api::Result,
    /// What failed for good.
    pub(crate) failed: Vec<Lost>,
    /// What was asked for and is not ready.
    pub(crate) not_ready: Vec<String>,
    /// What the caller should know besides.
    pub(crate) notes: Vec<String>,
}

/// One that failed.
#[derive(Debug)]
pub(crate) struct Lost {
    /// Its name.
    pub(crate) name: String,
    /// How its last life ended.
    pub(crate) exit: Option<Exit>,
    /// Why, in words.
    pub(crate) message: String,
    /// Its last life; 0: it never had one.
    pub(crate) life: u64,
    /// Where its log is.
    pub(crate) log: PathBuf,
    /// Ports of this machine at which it is tested, and that nobody has looked at.
    pub(crate) tested: Vec<u16>,
    /// The record of its shim, as long as there is one.
    pub(crate) record: PathBuf,
}

impl Ending {
    /// With nothing more to say than the word.
    pub(crate) fn plain(result: hearth_api::Result) -> Self {
        Self { result, failed: Vec::new(), not_ready: Vec::new(), notes: Vec::new() }
    }

    /// Whether there is more to find out, by what may take its time: see [`Ending::looked`].
    pub(crate) fn is_to_be_looked_at(&self) -> bool {
        self.failed.iter().any(|lost| !lost.tested.is_empty())
    }

    /// With what keeps a service from listening where it should, as far as that can be seen. Blocks.
    pub(crate) fn looked(mut self) -> Self {
        for lost in &mut self.failed {
            let shim = Record::read(&lost.record).ok().flatten().map(|record| record.shim.pid);
            for port in lost.tested.drain(..) {
                if let Some(words) = taken::by_stranger(port, shim) {
                    lost.message = format!("{}; {words}", lost.message);
                }
            }
        }
        self
    }

    fn line(self) -> Bytes {
        let Self { result, failed, not_ready, notes } = self;
        let failed = failed.into_iter().map(Lost::with_its_last_lines).collect();
        let outcome = Outcome { result, failed, not_ready, notes, agent: None };
        to_bytes(&Line::Outcome(outcome))
    }
}

impl Lost {
    fn with_its_last_lines(self) -> Failed {
        let lines = match self.life {
            0 => Vec::new(),
            life => Reader::open(self.log).last_lines_of(life, TAIL).unwrap_or_default(),
        };
        let log_tail = lines.iter().map(|line| beginning(&line.bytes)).collect();
        Failed { name: self.name, exit: self.exit, log_tail, message: self.message }
    }
}

/// A line as it is told: its beginning, and how much more there is of it in the log.
fn beginning(line: &[u8]) -> String {
    if line.len() <= LONGEST {
        return String::from_utf8_lossy(line).into_owned();
    }
    // Not in the middle of a character.
    let end = (LONGEST - 3..=LONGEST).rev().find(|at| line[*at] & 0xc0 != 0x80);
    let end = end.unwrap_or(LONGEST);
    let text = String::from_utf8_lossy(&line[..end]);
    format!("{text}... ({} bytes more)", line.len() - end)
}

/// A line as it goes over the wire.
pub(crate) fn to_bytes(line: &impl serde::Serialize) -> Bytes {
    // Strings, numbers, lists: there is nothing in them that can't be written.
    let mut bytes = serde_json::to_vec(line).unwrap_or_default();
    bytes.push(b'\n');
    bytes.into()
}

/// The owner's end.
#[derive(Clone, Debug)]
pub(crate) struct Source(mpsc::Sender<Item>);

impl Source {
    /// False: nobody listens, or too slowly; to be dropped.
    pub(crate) fn put(&self, item: Item) -> bool {
        self.0.try_send(item).is_ok()
    }

    /// Nobody listens any more.
    pub(crate) fn is_closed(&self) -> bool {
        self.0.is_closed()
    }
}

/// The verb's end: a reply's body.
#[derive(Debug)]
pub(crate) struct Upstream {
    items: mpsc::Receiver<Item>,
    place: Option<OwnedSemaphorePermit>,
}

/// Both ends.
pub(crate) fn open() -> (Source, Upstream) {
    let (source, items) = mpsc::channel(BEHIND);
    (Source(source), Upstream { items, place: None })
}

impl Upstream {
    /// Keeps its place among the streams for as long as it lives.
    pub(crate) fn holding(mut self, place: Option<OwnedSemaphorePermit>) -> Self {
        self.place = place;
        self
    }
}

impl Body for Upstream {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = |item| match item {
            Item::Line(line) => line,
            Item::End(ending) => ending.line(),
        };
        let Some(first) = ready!(self.items.poll_recv(cx)) else { return Poll::Ready(None) };
        let first = bytes(first);
        let Ok(second) = self.items.try_recv() else {
            return Poll::Ready(Some(Ok(Frame::data(first))));
        };
        let mut together = first.to_vec();
        together.extend_from_slice(&bytes(second));
        while together.len() < TOGETHER {
            match self.items.try_recv() {
                Ok(item) => together.extend_from_slice(&bytes(item)),
                Err(_) => break,
            }
        }
        Poll::Ready(Some(Ok(Frame::data(together.into()))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::BodyExt;

    #[tokio::test]
    async fn what_is_there_goes_out_together_and_the_outcome_last() {
        let (source, stream) = open();
        assert!(source.put(Item::Line("{\"a\":1}\n".into())));
        assert!(source.put(Item::Line("{\"b\":2}\n".into())));
        assert!(source.put(Item::End(Ending::plain(hearth_api::Result::Ready))));
        drop(source);
        let all = stream.collect().await.unwrap().to_bytes();
        let lines: Vec<&str> = std::str::from_utf8(&all).unwrap().lines().collect();
        assert_eq!(lines.len(), 3);
        assert!(lines[2].contains("\"type\":\"outcome\""), "{}", lines[2]);
        assert!(lines[2].contains("\"result\":\"ready\""), "{}", lines[2]);
    }

    #[test]
    fn of_a_line_without_end_the_beginning_is_told() {
        assert_eq!(beginning(b"short \xff"), "short \u{fffd}");
        assert_eq!(beginning(&[b'a'; LONGEST]), "a".repeat(LONGEST));
        let long = beginning(&vec![b'a'; 1 << 20]);
        assert_eq!(
            long,
            format!("{}... ({} bytes more)", "a".repeat(LONGEST), (1 << 20) - LONGEST)
        );
        let wide = beginning(
            "x".chars().chain("é".repeat(LONGEST).chars()).collect::<String>().as_bytes(),
        );
        assert!(!wide.contains('\u{fffd}') && wide.contains("é... ("), "{wide}");
        assert!(beginning(&[0x80; LONGEST + 9]).ends_with("... (9 bytes more)"));
    }

    #[test]
    fn who_reads_too_slowly_is_given_up_and_nothing_grows() {
        let (source, stream) = open();
        let taken =
            (0..BEHIND + 5).take_while(|_| source.put(Item::Line(Bytes::from_static(b"\n"))));
        assert_eq!(taken.count(), BEHIND);
        drop(stream);
        assert!(!source.put(Item::Line(Bytes::new())));
    }
}
