//! The loop: one poll(2) over everything, and nothing else ever waits.
//!
//! Invariant: an idle shim sleeps in poll without a timeout. The timeout is set only by what is
//! due by the clock: a probe, a stop, an acknowledgement that does not come.

use std::io;
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::connection::Connection;
use crate::shim::Shim;

/// More connections than this are not kept: there is one agent, and perhaps its successor.
const CONNECTIONS: usize = 16;

/// When no descriptor is left for a connection: try again after this.
const NO_ROOM: Duration = Duration::from_millis(500);

/// What a descriptor is for.
#[derive(Clone, Copy)]
enum Source {
    Output(usize),
    Probe(u32),
    Notify,
    Signals,
    Connection(usize),
    Listener,
}

impl Shim {
    /// Runs until nobody needs the shim any more. Gives its exit code.
    pub fn live(mut self) -> i32 {
        trim();
        // What came together with the start was read with it: poll would not tell of it.
        for number in 0..self.connections.len() {
            self.hear(number);
        }
        self.let_go();
        let mut deaf_until: Option<Instant> = None;
        while !self.leaves() {
            let due = [self.next_due(), deaf_until].into_iter().flatten().min();
            let ready = match self.wait(due, deaf_until.is_none()) {
                Ok(ready) => ready,
                Err(Errno::INTR) => Vec::new(),
                Err(_) => {
                    // No memory in the kernel, the only other thing that can be wrong here: poll
                    // itself can't wait then, and nothing wakes us when there is some again.
                    std::thread::sleep(NO_ROOM);
                    Vec::new()
                }
            };
            for source in ready {
                if self.turn(source).is_err() {
                    deaf_until = Instant::now().checked_add(NO_ROOM);
                }
            }
            let now = Instant::now();
            self.do_what_is_due(now);
            deaf_until = deaf_until.filter(|until| now < *until);
            self.let_go();
        }
        self.go();
        0
    }

    /// Connections that have ended, before the next wait: nothing would tell of them again.
    fn let_go(&mut self) {
        self.lost_agent();
        self.connections.retain(|connection| !connection.ended);
    }

    /// What is ready. Outputs come first, so that what was written before an exit is read before.
    fn wait(&self, due: Option<Instant>, listening: bool) -> Result<Vec<Source>, Errno> {
        let mut sources = Vec::new();
        let mut fds = Vec::new();
        for (number, pipe) in self.output.iter().flat_map(|output| output.open_pipes()) {
            sources.push(Source::Output(number));
            fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        }
        for (pid, pipe) in self.probes.open_pipes() {
            sources.push(Source::Probe(pid));
            fds.push(PollFd::from_borrowed_fd(pipe, PollFlags::IN));
        }
        if let Some(socket) = &self.notify_socket {
            sources.push(Source::Notify);
            fds.push(PollFd::from_borrowed_fd(socket.as_fd(), PollFlags::IN));
        }
        sources.push(Source::Signals);
        fds.push(PollFd::from_borrowed_fd(self.signals.as_fd(), PollFlags::IN));
        for (number, connection) in self.connections.iter().enumerate() {
            let mut flags = PollFlags::IN;
            flags.set(PollFlags::OUT, connection.is_behind());
            sources.push(Source::Connection(number));
            fds.push(PollFd::from_borrowed_fd(connection.as_fd(), flags));
        }
        if listening {
            sources.push(Source::Listener);
            fds.push(PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN));
        }
        let left = due.map(|due| due.saturating_duration_since(Instant::now()));
        let left = left.and_then(|left| Timespec::try_from(left).ok());
        poll(&mut fds, left.as_ref())?;
        let ready = sources.into_iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty());
        Ok(ready.map(|(source, _)| source).collect())
    }

    /// Errors: no room for a connection.
    fn turn(&mut self, source: Source) -> io::Result<()> {
        match source {
            Source::Output(number) => {
                if let Some(output) = &mut self.output {
                    output.copy(number);
                }
            }
            Source::Probe(pid) => self.probes.read(pid),
            Source::Notify => self.hear_notify(),
            Source::Signals => {
                let came = self.signals.take();
                self.signalled(&came);
            }
            Source::Connection(number) => self.hear(number),
            Source::Listener => self.accept()?,
        }
        Ok(())
    }

    fn hear(&mut self, number: usize) {
        if self.connections[number].ended {
            return;
        }
        self.connections[number].write();
        self.connections[number].read();
        while let Some(frame) = self.connections[number].next() {
            self.told(number, frame);
            if self.connections[number].ended {
                break;
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        let socket = match self.listener.accept() {
            Ok((socket, _)) => socket,
            Err(error) => match error.kind() {
                io::ErrorKind::WouldBlock
                | io::ErrorKind::Interrupted
                | io::ErrorKind::ConnectionAborted => return Ok(()),
                _ => return Err(error),
            },
        };
        // A foreigner's connection is dropped here, without a word.
        let Ok(connection) = Connection::accepted(socket) else { return Ok(()) };
        if self.connections.len() >= CONNECTIONS
            && let Some(oldest) = self.connections.iter_mut().find(|known| !known.agent)
        {
            oldest.ended = true;
        }
        self.connections.push(connection);
        Ok(())
    }
}

/// Gives free memory back to the kernel: a shim lives long, and there are many.
pub fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    // SAFETY: no requirement; it gives free pages of the heap back to the kernel.
    unsafe {
        libc::malloc_trim(0);
    }
}
