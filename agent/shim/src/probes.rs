//! Commands that run beside the service and tell how it is: in its surroundings, but in sessions
//! of their own, so that they are no part of its tree.
//!
//! Invariants: each is bounded in time, and one that is cut off ends with all that hangs on it, or has
//! lost its parent and still holds its output (Linux); of its output one line is kept, however much it
//! writes. What a probe that exits in time has put into a session of its own (a daemon) is not
//! followed: it becomes part of the service's tree and ends with that.

use std::io::{self, PipeReader};
use std::os::fd::{AsFd, BorrowedFd};
use std::time::{Duration, Instant};

use hearth_process::Signal;

use crate::command;
use crate::frames::{FromShim, Run};
use crate::reap;
use crate::refusal;
use crate::spawn::{Stdio, spawn};
use crate::surroundings::Surroundings;
use crate::tree;

/// How many may run at a time.
const AT_A_TIME: usize = 32;

/// How much of a line is kept, in bytes.
const LINE: usize = 512;

/// How much is read after its end, before what survives of it is cut off.
const AFTER_END: usize = 1 << 20;

/// Those that run.
#[derive(Default)]
pub struct Probes {
    running: Vec<Probe>,
}

struct Probe {
    id: u64,
    pid: u32,
    due: Option<Instant>,
    pipe: Option<PipeReader>,
    /// Its inode: whoever holds it open was started by the probe.
    inode: Option<u64>,
    tail: Tail,
    fate: Fate,
}

/// What will be told at its end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fate {
    /// Its exit.
    Own,
    /// That its time was over.
    TimedOut,
    /// Nothing: whoever asked does not want to know.
    Cancelled,
}

impl Probes {
    /// Starts one. An answer now means that none was started.
    pub fn start(
        &mut self,
        id: u64,
        run: &Run,
        timeout: Duration,
        surroundings: &Surroundings,
    ) -> Option<FromShim> {
        if self.running.len() >= AT_A_TIME {
            return Some(not_run(id, format!("{AT_A_TIME} probes of this service run already")));
        }
        match begin(run, surroundings) {
            Ok((pid, pipe)) => {
                let inode = rustix::fs::fstat(&pipe).ok().map(|found| found.st_ino);
                let (tail, pipe) = (Tail::default(), Some(pipe));
                let due = Instant::now().checked_add(timeout);
                self.running.push(Probe { id, pid, due, pipe, inode, tail, fate: Fate::Own });
                None
            }
            Err(reason) => Some(not_run(id, reason)),
        }
    }

    /// Ends one without an answer.
    pub fn cancel(&mut self, id: u64) {
        for probe in self.running.iter_mut().filter(|probe| probe.id == id) {
            probe.end(Fate::Cancelled);
        }
    }

    /// Ends all, because the service stops. The answers: that they were cancelled.
    pub fn cancel_all(&mut self) -> Vec<FromShim> {
        let told = self.running.iter_mut().filter(|probe| probe.fate != Fate::Cancelled);
        told.map(|probe| {
            probe.end(Fate::Cancelled);
            not_run(probe.id, "cancelled: the service stops".into())
        })
        .collect()
    }

    /// Ends those whose time is over.
    pub fn end_late(&mut self, now: Instant) {
        for probe in &mut self.running {
            if probe.due.is_some_and(|due| due <= now) {
                probe.end(Fate::TimedOut);
            }
        }
    }

    /// When the next one's time is over.
    pub fn next_due(&self) -> Option<Instant> {
        self.running.iter().filter_map(|probe| probe.due).min()
    }

    /// The leaders of their sessions.
    pub fn pids(&self) -> Vec<u32> {
        self.running.iter().map(|probe| probe.pid).collect()
    }

    /// Their outputs, by pid.
    pub fn open_pipes(&self) -> impl Iterator<Item = (u32, BorrowedFd<'_>)> {
        let probes = self.running.iter();
        probes.filter_map(|probe| probe.pipe.as_ref().map(|pipe| (probe.pid, pipe.as_fd())))
    }

    /// Reads some of one's output.
    pub fn read(&mut self, pid: u32) {
        if let Some(probe) = self.running.iter_mut().find(|probe| probe.pid == pid) {
            probe.read();
        }
    }

    /// Takes the exit of a child that has ended, if it is one of these. Some(answer) then.
    pub fn ended(&mut self, pid: u32) -> Option<Option<FromShim>> {
        let place = self.running.iter().position(|probe| probe.pid == pid)?;
        let mut probe = self.running.swap_remove(place);
        tree::signal_group(pid, Signal::KILL);
        let ended = reap::reap(pid);
        let mut read = 0;
        while let count @ 1.. = probe.read() {
            read += count;
            if read > AFTER_END {
                break;
            }
        }
        let last_line = probe.tail.line();
        let timed_out = probe.fate == Fate::TimedOut;
        let code = ended.and_then(|ended| ended.code).filter(|_| !timed_out);
        let answer = FromShim::Probed { id: probe.id, code, last_line, timed_out };
        Some((probe.fate != Fate::Cancelled).then_some(answer))
    }
}

impl Probe {
    fn end(&mut self, fate: Fate) {
        self.due = None;
        if self.fate != Fate::Cancelled {
            self.fate = fate;
        }
        tree::kill_probe(self.pid, self.inode);
    }

    /// How many bytes were there; at the end of the pipe it is closed.
    fn read(&mut self) -> usize {
        let Some(pipe) = &self.pipe else { return 0 };
        let mut bytes = [0; 8192];
        match rustix::io::read(pipe, &mut bytes) {
            Ok(0) => self.pipe = None,
            Ok(count) => {
                self.tail.push(&bytes[..count]);
                return count;
            }
            Err(rustix::io::Errno::AGAIN | rustix::io::Errno::INTR) => {}
            Err(_) => self.pipe = None,
        }
        0
    }
}

fn begin(run: &Run, surroundings: &Surroundings) -> Result<(u32, PipeReader), String> {
    let path = surroundings.variable("PATH");
    let command = command::find(run, &surroundings.dir, path)?;
    let pipes = || -> io::Result<_> {
        let null = std::fs::File::open("/dev/null")?;
        let (read, write) = io::pipe()?;
        rustix::io::ioctl_fionbio(&read, true)?;
        Ok((null, read, write))
    };
    let (null, read, write) = pipes().map_err(|error| refusal::why(&error))?;
    let stdio = Stdio { input: null.as_fd(), output: write.as_fd(), error: write.as_fd() };
    let pid = spawn(&command, surroundings, &stdio, None)
        .map_err(|failure| refusal::words(&failure, &command, surroundings))?;
    Ok((pid, read))
}

fn not_run(id: u64, last_line: String) -> FromShim {
    FromShim::Probed { id, code: None, last_line, timed_out: false }
}

/// The last line that is not empty, of the bytes that go by.
#[derive(Default)]
struct Tail {
    whole: Vec<u8>,
    open: Vec<u8>,
}

impl Tail {
    fn push(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (piece, ended) = match piece.strip_suffix(b"\n") {
                Some(piece) => (piece, true),
                None => (piece, false),
            };
            let room = LINE.saturating_sub(self.open.len());
            self.open.extend_from_slice(&piece[..piece.len().min(room)]);
            match ended {
                true if self.open.trim_ascii().is_empty() => self.open.clear(),
                true => self.whole = std::mem::take(&mut self.open),
                false => {}
            }
        }
    }

    fn line(&self) -> String {
        let open = self.open.trim_ascii();
        let line = if open.is_empty() { self.whole.trim_ascii() } else { open };
        String::from_utf8_lossy(line).into_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last(pieces: &[&str]) -> String {
        let mut tail = Tail::default();
        pieces.iter().for_each(|piece| tail.push(piece.as_bytes()));
        tail.line()
    }

    #[test]
    fn the_last_line_is_the_last_with_something_in_it() {
        assert_eq!(last(&[]), "");
        assert_eq!(last(&["one\ntw", "o\n\n  \n"]), "two");
        assert_eq!(last(&["one\ntwo"]), "two");
        assert_eq!(last(&["one\n", " \t"]), "one");
        assert_eq!(last(&["x".repeat(4000).as_str(), "\n"]).len(), LINE);
    }
}
