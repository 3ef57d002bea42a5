//! Lines of a reply, as they come, waited for together with Ctrl-C and a deadline.
//!
//! Kept true here: a wait can end in the middle of a line. The reply is read by a thread of its
//! own: it buffers, so that poll(2) on its descriptor would sleep over lines that are here already.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::{Duration, Instant};

use hearth_lifecycle::Reply;
use rustix::event::{PollFd, PollFlags, Timespec};

use crate::{interrupt, output};

/// Lines that may wait here; then they wait where they come from, for a verb whose own reader is slow.
const WAITING: usize = 10_000;

/// What came next.
pub enum Next {
    /// A line, without its newline.
    Line(Vec<u8>),
    /// The stream has ended.
    End,
    /// Ctrl-C.
    Interrupted,
    /// The deadline has passed.
    Late,
    /// Nothing happened for a while.
    Tick,
    /// One of the other descriptors has something.
    Other,
}

/// A pipe that wakes the wait: the reading thread and Ctrl-C write to it.
pub struct Bell(Arc<Pipe>);

struct Pipe {
    reader: OwnedFd,
    writer: OwnedFd,
}

impl Bell {
    /// One a process: Ctrl-C rings it from now on.
    pub fn new() -> io::Result<Self> {
        let (reader, writer) = interrupt::pipe()?;
        interrupt::wake(&writer);
        let pipe = Arc::new(Pipe { reader, writer });
        // The handler, and a thread that hears late of its stream's end, write to it for as long as this
        // process is. So neither end is ever closed: where SIGPIPE is what it was already for a command
        // that takes our place, that would end us before it is there.
        std::mem::forget(Arc::clone(&pipe));
        Ok(Self(pipe))
    }
}

/// When a wait ends without anything having come.
#[derive(Clone, Copy, Debug, Default)]
pub struct Until {
    /// Late from then on.
    pub deadline: Option<Instant>,
    /// A tick after so long.
    pub tick: Option<Duration>,
}

/// Lines on their way from one thread to the other.
#[derive(Default)]
struct Queue {
    lines: Mutex<VecDeque<Next>>,
    /// Told when a full one has room again.
    room: Condvar,
}

impl Queue {
    fn pop(&self) -> Option<Next> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        if lines.len() == WAITING {
            self.room.notify_one();
        }
        lines.pop_front()
    }

    fn push(&self, next: Next) {
        let lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let full = |lines: &mut VecDeque<Next>| lines.len() >= WAITING;
        let lines = self.room.wait_while(lines, full);
        lines.unwrap_or_else(PoisonError::into_inner).push_back(next);
    }
}

/// Lines of a reply, as they come; or none, and the rest of what can be waited for.
pub struct Lines<'a> {
    bell: &'a Bell,
    queue: Arc<Queue>,
}

impl<'a> Lines<'a> {
    /// Begins to read.
    pub fn of(reply: Reply, bell: &'a Bell) -> Self {
        let queue = Arc::new(Queue::default());
        let (theirs, pipe) = (Arc::clone(&queue), Arc::clone(&bell.0));
        std::thread::spawn(move || read_lines(reply, &theirs, &pipe.writer));
        Self { bell, queue }
    }

    /// No lines: what is waited for is the rest.
    pub fn none(bell: &'a Bell) -> Self {
        Self { bell, queue: Arc::default() }
    }

    /// Waits for what comes next. `others` are looked at only when there is no line. Stdout is among
    /// them where its reader may go away: that ends this process.
    pub fn next(
        &self,
        until: Until,
        others: &[BorrowedFd<'_>],
        reader: Option<PollFd<'_>>,
    ) -> Next {
        let Until { deadline, tick } = until;
        loop {
            if interrupt::hit() {
                return Next::Interrupted;
            }
            if let Some(next) = self.queue.pop() {
                return next;
            }
            let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
            if left == Some(Duration::ZERO) {
                return Next::Late;
            }
            let patience = match (left, tick) {
                (Some(left), Some(tick)) => Some(left.min(tick)),
                (left, tick) => left.or(tick),
            };
            let patience = patience.and_then(|patience| Timespec::try_from(patience).ok());
            let mut fds = vec![PollFd::new(&self.bell.0.reader, PollFlags::IN)];
            let others = others.iter().map(|fd| PollFd::from_borrowed_fd(*fd, PollFlags::IN));
            fds.extend(others);
            let last = fds.len();
            fds.extend(reader.clone());
            match rustix::event::poll(&mut fds, patience.as_ref()) {
                Ok(0) if tick.is_some() => return Next::Tick,
                Ok(0) | Err(_) => {}
                Ok(_) => {
                    output::end_if_unread(&fds[last..]);
                    if !fds[0].revents().is_empty() {
                        let mut rung = [0; 512];
                        let _ = rustix::io::read(&self.bell.0.reader, &mut rung);
                    } else {
                        return Next::Other;
                    }
                }
            }
        }
    }
}

/// On a thread of its own, until the stream ends. A line cut short by a dying agent is no line.
fn read_lines(reply: Reply, queue: &Queue, bell: &OwnedFd) {
    let mut reader = BufReader::new(reply);
    loop {
        let mut line = Vec::new();
        let next = match reader.read_until(b'\n', &mut line) {
            Ok(_) if line.last() == Some(&b'\n') => {
                line.pop();
                Next::Line(line)
            }
            Ok(_) | Err(_) => Next::End,
        };
        let end = matches!(next, Next::End);
        queue.push(next);
        // A full pipe rings already.
        let _ = rustix::io::write(bell, b".");
        if end {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `with` gives SIGPIPE back its default right before it becomes the command.
    #[test]
    fn who_rings_when_nobody_waits_any_more_meets_no_broken_pipe() {
        let bell = Bell::new().unwrap();
        let writer = bell.0.writer.try_clone().unwrap();
        drop(bell);
        assert_eq!(rustix::io::write(&writer, b"."), Ok(1));
    }
}
